//! The steps that set the media up: between two devices in one life each, in order, each once.

use call_protocol::CallId;
use call_protocol::media::NegotiationBody;

use super::Rule;
use crate::world::World;

/// What one device said to another in one call.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    /// The life of the speaker this is about; the steps of an earlier one are void.
    from_life: u32,
    /// The steps by their numbers, with the life the listener had.
    said: Vec<(u64, u32)>,
    /// The life of the listener in which it heard, and which step it heard last.
    heard: Option<(u32, usize)>,
}

impl World {
    pub(crate) fn note_step(&mut self, from: usize, to: usize, call_id: CallId, body: &NegotiationBody) {
        let (life, listens) = (self.devices[from].life, self.devices[to].life);
        let steps = self.rules.dialogs.entry((call_id, from, to)).or_default();
        if steps.from_life != life {
            *steps = Steps { from_life: life, ..Steps::default() };
        }
        steps.said.push((number(body), listens));
    }

    pub(crate) fn check_step(&mut self, from: usize, to: usize, call_id: CallId, body: &NegotiationBody) {
        if self.lost_its_steps(from, to, call_id) {
            return;
        }
        let life = self.devices[to].life;
        let what = |why: &str, world: &World| {
            format!("{} heard {body:?} of {}: {why}", world.devices[to].name, world.devices[from].name)
        };
        let Some(steps) = self.rules.dialogs.get_mut(&(call_id, from, to)) else {
            let what = what("it never said anything", self);
            return self.rules.broken(Rule::StepsInOrder, what);
        };
        let number = number(body);
        let Some(at) = steps.said.iter().position(|(said, _)| *said == number) else {
            // What an earlier life of the speaker said may come late.
            let stale = steps.from_life > 0;
            let what = what("it never said so", self);
            return self.rules.expect(stale, Rule::StepsInOrder, || what);
        };
        let expected = match steps.heard {
            Some((heard_in, last)) if heard_in == life => last + 1,
            // A listener that was started anew begins with what is said to it from then on.
            Some(_) | None => steps.said.iter().position(|(_, listens)| *listens == life).unwrap_or(at),
        };
        // What was said to the life before may be heard by this one.
        let fresh = steps.heard.is_none_or(|(heard_in, _)| heard_in != life) && at <= expected;
        steps.heard = Some((life, at));
        let what = what(&format!("it is step {at} of {expected}"), self);
        self.rules.expect(at == expected || fresh, Rule::StepsInOrder, || what);
    }

    /// A device that lost the call while it rang, and rings anew, does not know what was said: the two count on from different numbers.
    fn lost_its_steps(&self, from: usize, to: usize, call_id: CallId) -> bool {
        let truth = self.rules.truths.get(&call_id);
        truth.is_some_and(|truth| truth.hurt.has(from) || truth.hurt.has(to))
    }

    /// By now all that was said between two who talk must have been heard.
    pub(crate) fn check_steps_are_complete(&mut self) {
        let mut missing = None;
        for ((call_id, from, to), steps) in &self.rules.dialogs {
            let talks = |at: usize, other: usize| {
                let device = &self.devices[at];
                let told = device.told.get(call_id);
                device.alive && told.is_some_and(|told| told.peer == Some(other) && told.ended.is_none())
            };
            if self.lost_its_steps(*from, *to, *call_id)
                || !talks(*from, *to)
                || !talks(*to, *from)
                || steps.from_life != self.devices[*from].life
            {
                continue;
            }
            let life = self.devices[*to].life;
            let last_said = steps.said.iter().rposition(|(_, listens)| *listens == life);
            let last_heard = steps.heard.filter(|(heard_in, _)| *heard_in == life).map(|(_, last)| last);
            if last_said > last_heard {
                missing = Some(format!(
                    "{} never heard step {last_said:?} of {} in {call_id}, only {last_heard:?}",
                    self.devices[*to].name, self.devices[*from].name
                ));
            }
        }
        if let Some(what) = missing {
            self.rules.broken(Rule::StepsInOrder, what);
        }
    }
}

/// What tells this step from every other one.
fn number(body: &NegotiationBody) -> u64 {
    let text = match body {
        NegotiationBody::Candidate(candidate) => &candidate.candidate,
        NegotiationBody::Description(description) => &description.sdp,
        NegotiationBody::Restart | NegotiationBody::Notice(_) => return u64::MAX,
    };
    text.parse().unwrap_or_else(|_| text.bytes().fold(u64::MAX, |sum, byte| sum.wrapping_mul(31) ^ u64::from(byte)))
}
