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
    pub(crate) body: Option<NegotiationBody>,
}

/// What two devices have said to each other about their media, from one side.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Dialog {
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
        Some(Step { seq: self.said, ack: self.taken, body: Some(body) })
    }

    /// What the other side said; gives the steps whose turn it is.
    pub(crate) fn hear(&mut self, now: Now, ack_ms: u64, step: Step) -> Vec<NegotiationBody> {
        let Step { seq, ack, body } = step;
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
            steps.extend(again.map(|(seq, body)| Step { seq: *seq, ack: self.taken, body: Some(body.clone()) }));
        }
        if self.acknowledge_at.take_if(|at| now.mono >= *at).is_some() && steps.is_empty() {
            steps.push(Step { seq: 0, ack: self.taken, body: None });
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
