//! How far a call has come, for whoever runs its arbiter.

use call_protocol::Party;

use crate::arbiter::{Arbiter, Outcome, State};
use crate::time::Now;

impl Arbiter {
    /// The device that took the call, while it lasts.
    pub fn winner(&self) -> Option<&Party> {
        match &self.state {
            State::Answered { callee, .. } => Some(callee),
            State::Ringing { .. } | State::Ended { .. } => None,
        }
    }

    /// How long the call still rings, in ms; `None` when it does not, or no longer.
    pub fn ring_left_ms(&self, now: Now) -> Option<u64> {
        match &self.state {
            State::Ringing { deadline, .. } => Some(*deadline - now.mono).filter(|left_ms| *left_ms > 0),
            State::Answered { .. } | State::Ended { .. } => None,
        }
    }

    /// Whether the call is over; it still answers late statements.
    pub fn has_ended(&self) -> bool {
        match &self.state {
            State::Ended { .. } => true,
            State::Ringing { .. } | State::Answered { .. } => false,
        }
    }

    /// Whether a device of the callee has asked to ring, or the call came further.
    pub fn has_rung(&self) -> bool {
        match &self.state {
            State::Ringing { rang, .. } => *rang,
            State::Answered { .. } | State::Ended { .. } => true,
        }
    }

    /// Whether the call was answered and is over.
    pub fn has_talked(&self) -> bool {
        match &self.state {
            State::Ended { outcome, .. } => match outcome {
                Outcome::Talked { .. } => true,
                Outcome::Declined { .. } | Outcome::Unanswered { .. } => false,
            },
            State::Ringing { .. } | State::Answered { .. } => false,
        }
    }

    /// Whether the call is over and no device of the callee took it or turned it down.
    pub fn is_missed(&self) -> bool {
        match &self.state {
            State::Ended { outcome, .. } => outcome.is_missed(),
            State::Ringing { .. } | State::Answered { .. } => false,
        }
    }

    /// Whether the call was missed and this device of the callee is not known to know.
    pub fn is_missed_unknown_to(&self, device: &Party) -> bool {
        match &self.state {
            State::Ended { outcome, knows, .. } => outcome.is_missed() && !knows.contains(device),
            State::Ringing { .. } | State::Answered { .. } => false,
        }
    }
}
