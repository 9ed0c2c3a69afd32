//! The numbered steps between two devices: said again until acknowledged, taken in order, each once.

use std::collections::{BTreeMap, VecDeque};

use call_protocol::media::NegotiationBody;

use crate::time::{Now, Repeat, Time};

/// Steps that wait for their acknowledgement, and steps that came before their turn: a phone on many networks has about twenty candidates.
const STEPS: usize = 64;

/// One step as it is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) from_run: u32,
    pub(crate) to_run: u32,
    pub(crate) body: Option<NegotiationBody>,
}

/// What two devices have said to each other about their media, from one side.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Dialog {
    /// Which process this is, and which the other one; 0 until it has said so.
    run: u32,
    other_run: u32,
    /// The other process before, of which something may still be on its way.
    past_run: u32,
    said: u32,
    unacknowledged: VecDeque<(u32, NegotiationBody)>,
    again: Repeat,
    taken: u32,
    early: BTreeMap<u32, Option<NegotiationBody>>,
    acknowledge_at: Option<Time>,
}

impl Dialog {
    pub(crate) fn new(now: Now) -> Self {
        Self {
            // Later processes of a device have later times.
            run: (now.unix_ms as u32).max(1),
            other_run: 0,
            past_run: 0,
            said: 0,
            unacknowledged: VecDeque::new(),
            again: Repeat::first(now),
            taken: 0,
            early: BTreeMap::new(),
            acknowledge_at: None,
        }
    }

    /// The next step of this side; `None` where too many wait already.
    pub(crate) fn say(&mut self, now: Now, body: NegotiationBody) -> Option<Step> {
        if self.unacknowledged.len() == STEPS {
            return None;
        }
        if self.unacknowledged.is_empty() {
            self.again = Repeat::first(now);
        }
        self.said += 1;
        self.unacknowledged.push_back((self.said, body.clone()));
        self.acknowledge_at = None;
        Some(self.step(self.said, Some(body)))
    }

    fn step(&self, seq: u32, body: Option<NegotiationBody>) -> Step {
        Step { seq, ack: self.taken, from_run: self.run, to_run: self.other_run, body }
    }

    /// Another process speaks for the device: it knows nothing of what the one before took, and what waits is numbered for it.
    fn begin_anew(&mut self, now: Now, run: u32) {
        (self.past_run, self.other_run) = (self.other_run, run);
        (self.taken, self.said) = (0, 0);
        self.early.clear();
        for (seq, _) in &mut self.unacknowledged {
            self.said += 1;
            *seq = self.said;
        }
        self.again = Repeat::first(now);
        self.again.at = now.mono;
    }

    /// What the other side said; gives the steps whose turn it is.
    pub(crate) fn hear(&mut self, now: Now, ack_ms: u64, step: Step) -> Vec<NegotiationBody> {
        let Step { seq, ack, from_run, to_run, body } = step;
        match from_run {
            0 => {}
            past if past == self.past_run => return vec![],
            run if self.other_run == 0 => self.other_run = run,
            run if run != self.other_run => self.begin_anew(now, run),
            _ => {}
        }
        if to_run != 0 && to_run != self.run {
            // Numbered for the process before this one; the answer tells that there is another.
            self.acknowledge_at = Some(now.mono);
            return vec![];
        }
        self.unacknowledged.retain(|(said, _)| *said > ack);
        if seq == 0 {
            return vec![];
        }
        let due = now.mono + ack_ms;
        self.acknowledge_at = Some(self.acknowledge_at.map_or(due, |at| at.min(due)));
        let room = u32::try_from(STEPS).unwrap_or(u32::MAX);
        if seq > self.taken && seq - self.taken <= room {
            self.early.entry(seq).or_insert(body);
        }
        let mut steps = Vec::new();
        while let Some(body) = self.early.remove(&(self.taken + 1)) {
            self.taken += 1;
            // A step of a kind unknown here has its number, too.
            steps.extend(body);
        }
        steps
    }

    /// What is to be said again, or acknowledged, by now.
    pub(crate) fn due(&mut self, now: Now) -> Vec<Step> {
        let mut steps = Vec::new();
        if !self.unacknowledged.is_empty() && now.mono >= self.again.at {
            self.again.again(now);
            let again = self.unacknowledged.iter();
            steps.extend(again.map(|(seq, body)| self.step(*seq, Some(body.clone()))));
        }
        if self.acknowledge_at.take_if(|at| now.mono >= *at).is_some() && steps.is_empty() {
            steps.push(self.step(0, None));
        }
        steps
    }

    pub(crate) fn next(&self) -> Option<Time> {
        let again = (!self.unacknowledged.is_empty()).then_some(self.again.at);
        again.into_iter().chain(self.acknowledge_at).min()
    }

    pub(crate) fn hurry(&mut self, now: Now) {
        self.again.at = now.mono;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(ms: u64) -> Now {
        Now { mono: Time(ms), unix_ms: 1_700_000_000_000 + ms }
    }

    fn candidate(name: &str) -> NegotiationBody {
        NegotiationBody::Candidate(call_protocol::media::Candidate { candidate: name.into(), ..Default::default() })
    }

    /// Carries everything that is due between two ends until both are silent; gives what each took.
    fn carry(mut ms: u64, a: &mut Dialog, b: &mut Dialog) -> [Vec<NegotiationBody>; 2] {
        let mut took = [vec![], vec![]];
        for _ in 0..20 {
            ms += 5_000;
            for step in a.due(now(ms)) {
                took[1].extend(b.hear(now(ms), 100, step));
            }
            for step in b.due(now(ms)) {
                took[0].extend(a.hear(now(ms), 100, step));
            }
        }
        took
    }

    #[test]
    fn a_process_that_takes_over_gets_what_was_not_taken_by_the_one_before_and_nothing_of_it_is_lost() {
        let (mut alice, mut bob) = (Dialog::new(now(0)), Dialog::new(now(1)));
        for name in ["1", "2", "3"] {
            alice.say(now(2), candidate(name)).unwrap();
        }
        let late = bob.say(now(3), candidate("of the first")).unwrap();
        assert_eq!(carry(10, &mut alice, &mut bob)[1].len(), 3);

        let mut next = Dialog::new(now(200_000));
        for name in ["4", "5"] {
            alice.say(now(200_001), candidate(name)).unwrap();
        }
        next.say(now(200_002), candidate("of the next")).unwrap();
        let took = carry(200_010, &mut alice, &mut next);
        assert_eq!(took, [vec![candidate("of the next")], vec![candidate("4"), candidate("5")]]);

        assert_eq!(alice.hear(now(400_000), 100, late), [], "of a process that is gone");
        alice.say(now(400_001), candidate("6")).unwrap();
        next.say(now(400_002), candidate("more")).unwrap();
        assert_eq!(carry(400_010, &mut alice, &mut next), [vec![candidate("more")], vec![candidate("6")]]);
    }

    #[test]
    fn a_process_that_takes_over_and_only_hears_is_found_out() {
        let (mut alice, mut bob) = (Dialog::new(now(0)), Dialog::new(now(1)));
        alice.say(now(2), candidate("1")).unwrap();
        carry(10, &mut alice, &mut bob);
        let mut next = Dialog::new(now(200_000));
        alice.say(now(200_001), candidate("2")).unwrap();
        assert_eq!(carry(200_010, &mut alice, &mut next)[1], [candidate("2")]);
    }

    #[test]
    fn an_end_that_does_not_say_which_process_it_is_is_heard_as_before() {
        let mut alice = Dialog::new(now(0));
        let step = |seq| Step { seq, ack: 0, from_run: 0, to_run: 0, body: Some(candidate("a")) };
        assert_eq!(alice.hear(now(1), 100, step(2)), []);
        assert_eq!(alice.hear(now(2), 100, step(1)).len(), 2);
    }
}
