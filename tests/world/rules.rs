//! The rules of a call, and what the world knows by itself to check them against.

use std::collections::BTreeMap;
use std::fmt;

use call_protocol::CallId;
use call_protocol::end::EndReason;
use signaling::Time;

use crate::plan::Plan;

mod heard;
mod said;
mod time;
mod told;

pub(crate) use told::about;

/// What must hold. The numbers are those of the design.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// All comes to rest: nobody rings, calls or says farewell for ever, and no arbiter stays behind.
    Rest = 0,
    /// At most one device of a callee is ever told that it took the call.
    OneTaker = 1,
    /// Nothing rings after the arbiter ended or answered the call, nor after the deadline.
    NothingRingsOn = 2,
    /// Every party that learned of a call is told its end exactly once, with a reason from the table; nothing after it.
    EndToldOnce = 3,
    /// A message of another call, another caller or a state already left changes nothing.
    StrayChangesNothing = 4,
    /// A user in a call answers busy by itself.
    BusyAnswersItself = 6,
    /// A device that vanishes is noticed in time and its party is told; one that comes back in time resumes.
    VanishedIsNoticed = 7,
    /// What the server tells of a call for metrics and history is true.
    FactsAreTrue = 8,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Rest => f.write_str("all comes to rest"),
            Rule::OneTaker => f.write_str("rule 1 (one taker)"),
            Rule::NothingRingsOn => f.write_str("rule 2 (nothing rings on)"),
            Rule::EndToldOnce => f.write_str("rule 3 (the end is told once)"),
            Rule::StrayChangesNothing => f.write_str("rule 4 (a stray changes nothing)"),
            Rule::BusyAnswersItself => f.write_str("rule 6 (busy answers itself)"),
            Rule::VanishedIsNoticed => f.write_str("rule 7 (the vanished are noticed)"),
            Rule::FactsAreTrue => f.write_str("facts are true"),
        }
    }
}

/// A rule that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// When, in ms from the beginning of the world.
    pub at_ms: u64,
    /// What was seen.
    pub what: String,
}

/// What really happened, as only the world sees it.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) violation: Option<Violation>,
    pub(crate) now: u64,
    pub(crate) truths: BTreeMap<CallId, Truth>,
    /// Calls that are answered and not over.
    pub(crate) talking: Vec<CallId>,
    /// Calls that were begun.
    pub(crate) begun: u64,
    /// When the server was last started.
    server_since: u64,
    liveness_ms: u64,
    resume_window_ms: u64,
}

/// What really happened in one call. Of two, the first is the caller's, the second the callee's.
#[derive(Debug)]
pub(crate) struct Truth {
    pub(crate) caller: usize,
    pub(crate) callee: usize,
    pub(crate) opened_at: u64,
    pub(crate) deadline: u64,
    /// The arbiter told the callee to ring.
    pub(crate) confirmed: bool,
    pub(crate) answered_at: Option<u64>,
    /// Phones that were told that they took the call.
    pub(crate) takers: Vec<usize>,
    pub(crate) ended: Option<(u64, EndReason, EndReason)>,
    /// When the server last heard each.
    pub(crate) heard: [u64; 2],
    /// Whether the arbiter told the other one that this one cannot be heard.
    pub(crate) away: [bool; 2],
    /// When the app of each was closed or crashed while it was in the call.
    pub(crate) vanished: [Option<u64>; 2],
    /// An app that knew of the call lost it.
    pub(crate) hurt: bool,
    /// Whether the user of each hung up, or its app said that the media failed, or signed out.
    pub(crate) hung_up: [bool; 2],
    pub(crate) failed: [bool; 2],
    /// The callee's line said that it is busy.
    pub(crate) busy: bool,
    /// How it ended for each app, in the life in which it took part.
    pub(crate) told: [Option<EndReason>; 2],
}

impl Truth {
    /// Which of the two this phone is.
    pub(crate) fn side(&self, device: usize) -> Option<usize> {
        if device == self.caller {
            Some(0)
        } else if device == self.callee {
            Some(1)
        } else {
            None
        }
    }
}

impl Rules {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            violation: None,
            now: 0,
            truths: BTreeMap::new(),
            talking: Vec::new(),
            begun: 0,
            liveness_ms: plan.arbiter.liveness_ms,
            resume_window_ms: plan.arbiter.resume_window_ms,
            server_since: 0,
        }
    }

    /// Writes down that a rule did not hold; the first time counts.
    pub(crate) fn broken(&mut self, rule: Rule, what: impl Into<String>) {
        if self.violation.is_none() {
            self.violation = Some(Violation { rule, at_ms: self.now, what: what.into() });
        }
    }

    pub(crate) fn expect(&mut self, holds: bool, rule: Rule, what: impl FnOnce() -> String) {
        if !holds {
            self.broken(rule, what());
        }
    }

    /// The server heard a phone speak of a call.
    pub(crate) fn heard(&mut self, call_id: &CallId, from: usize, now: u64) {
        if let Some(truth) = self.truths.get_mut(call_id)
            && let Some(side) = truth.side(from)
        {
            truth.heard[side] = now;
        }
    }

    /// The server was started anew: it could hear nobody meanwhile.
    pub(crate) fn heard_all(&mut self, now: u64) {
        self.server_since = now;
        for truth in self.truths.values_mut() {
            truth.heard = [now; 2];
            truth.away = [false; 2];
        }
    }
}

/// The deadline of an invite as a moment of the world.
pub(crate) fn moment_of_unix(unix_ms: u64) -> u64 {
    Time(unix_ms) - Time(crate::device::BEGIN_UNIX_MS)
}
