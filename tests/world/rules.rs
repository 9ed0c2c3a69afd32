//! The rules of a call, and what the world knows by itself to check them against.

use std::collections::BTreeMap;
use std::fmt;

use call_protocol::CallId;
use call_protocol::end::EndReason;
use call_protocol::invite::Invite;

use crate::plan::Plan;

mod glare;
mod heard;
mod missed;
mod said;
mod steps;
mod time;
mod told;

pub(crate) use glare::Glare;
pub(crate) use steps::Steps;
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
    /// Two users who call each other end up in one call.
    GlareIsOneCall = 5,
    /// A user in a call answers busy by itself, or gets a waiting call; busy counts only where no other device is free.
    BusyAnswersItself = 6,
    /// A device that vanishes is noticed in time and its party is told; one that comes back in time resumes.
    VanishedIsNoticed = 7,
    /// What is told of a call for metrics and history is true.
    FactsAreTrue = 8,
    /// The steps that set the media up arrive in order, each once.
    StepsInOrder = 9,
    /// A call nobody answered is told as missed where it did not ring, once; no other call is.
    MissedToldOnce = 10,
    /// At most one call of a device is not on hold, and both sides agree on who holds.
    OneUnheld = 11,
}

impl Rule {
    /// The seven of the design.
    pub const OF_THE_DESIGN: [Rule; 7] = [
        Rule::OneTaker,
        Rule::NothingRingsOn,
        Rule::EndToldOnce,
        Rule::StrayChangesNothing,
        Rule::GlareIsOneCall,
        Rule::BusyAnswersItself,
        Rule::VanishedIsNoticed,
    ];
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rule::Rest => "all comes to rest",
            Rule::OneTaker => "rule 1 (one taker)",
            Rule::NothingRingsOn => "rule 2 (nothing rings on)",
            Rule::EndToldOnce => "rule 3 (the end is told once)",
            Rule::StrayChangesNothing => "rule 4 (a stray changes nothing)",
            Rule::GlareIsOneCall => "rule 5 (who call each other are in one call)",
            Rule::BusyAnswersItself => "rule 6 (busy answers itself)",
            Rule::VanishedIsNoticed => "rule 7 (the vanished are noticed)",
            Rule::FactsAreTrue => "facts are true",
            Rule::StepsInOrder => "steps come in order, each once",
            Rule::MissedToldOnce => "missed calls are told once",
            Rule::OneUnheld => "at most one call is not on hold",
        })
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

/// Some of the devices of the world.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Some16(u16);

impl Some16 {
    pub(crate) fn add(&mut self, device: usize) {
        self.0 |= 1 << device;
    }

    pub(crate) fn remove(&mut self, device: usize) {
        self.0 &= !(1 << device);
    }

    pub(crate) fn has(self, device: usize) -> bool {
        self.0 & (1 << device) != 0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether there are others than this one.
    pub(crate) fn has_others(self, device: usize) -> bool {
        self.0 & !(1 << device) != 0
    }
}

/// What really happened, as only the world sees it.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) violation: Option<Violation>,
    pub(crate) now: u64,
    pub(crate) truths: BTreeMap<CallId, Truth>,
    /// The calls in the order in which they were opened.
    pub(crate) recent: Vec<CallId>,
    /// Calls that are answered and not over.
    pub(crate) talking: Vec<CallId>,
    /// Calls that were begun.
    pub(crate) begun: u64,
    /// When the server was last started.
    pub(crate) server_is_back_at: u64,
    pub(crate) glares: Vec<Glare>,
    /// Steps of negotiation by their numbers, and how they arrived.
    pub(crate) steps: u64,
    pub(crate) steps_seen: u64,
    pub(crate) dialogs: BTreeMap<(CallId, usize, usize), Steps>,
    commands: u64,
    pub(crate) liveness_ms: u64,
    pub(crate) resume_window_ms: u64,
}

/// What really happened in one call.
#[derive(Debug)]
pub(crate) struct Truth {
    /// The device that called, and in which life.
    pub(crate) caller: usize,
    pub(crate) caller_life: u32,
    /// The user that was called; the number of users if there is no such user.
    pub(crate) callee: usize,
    pub(crate) invite: Invite,
    pub(crate) opened_at: u64,
    pub(crate) deadline: u64,
    /// Devices that asked whether they may ring, and did not say busy since.
    pub(crate) asked: Some16,
    /// Devices that the arbiter told to ring.
    pub(crate) confirmed: Some16,
    /// Devices that were told that it rings as the receipt of a busy answer.
    pub(crate) receipts: Some16,
    pub(crate) answered_at: Option<u64>,
    /// The device that took it, as the arbiter says.
    pub(crate) winner: Option<usize>,
    /// Devices that were told that they took the call.
    pub(crate) takers: Some16,
    pub(crate) ended: Option<(u64, EndReason, EndReason)>,
    /// When the arbiter last heard the caller, and the winner.
    pub(crate) heard: [u64; 2],
    /// Until when neither of the two was heard, the last time that this lasted.
    pub(crate) unheard_until: u64,
    /// When the arbiter last heard any device speak of it.
    pub(crate) spoken_at: u64,
    /// Whether the other one was told that this one cannot be heard.
    pub(crate) away: [bool; 2],
    /// When the app of each was closed or crashed while it was in the call.
    pub(crate) vanished: [Option<u64>; 2],
    /// Devices whose app knew of the call and lost it.
    pub(crate) hurt: Some16,
    /// Devices whose user hung up, or whose app said that the media failed, or signed out.
    pub(crate) hung_up: Some16,
    pub(crate) failed: Some16,
    /// Devices whose line said that it is busy.
    pub(crate) busy: Some16,
    /// It goes on as another one.
    pub(crate) merged: bool,
    /// How it ended for each app that was told, in the life in which it took part.
    pub(crate) told: BTreeMap<usize, EndReason>,
}

impl Truth {
    /// Which of the two at the ends this device is, if it is one of them: the caller's, or the one that took the call.
    pub(crate) fn side(&self, device: usize) -> Option<usize> {
        if device == self.caller {
            Some(0)
        } else if Some(device) == self.winner {
            Some(1)
        } else {
            None
        }
    }

    /// What the caller was told, and the device that took the call or stands for the callee.
    pub(crate) fn ends(&self) -> [Option<EndReason>; 2] {
        let callee = match self.winner {
            Some(winner) => self.told.get(&winner),
            None => self.told.iter().find(|(device, _)| **device != self.caller).map(|(_, reason)| reason),
        };
        [self.told.get(&self.caller).copied(), callee.copied()]
    }
}

impl Rules {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            violation: None,
            now: 0,
            truths: BTreeMap::new(),
            recent: Vec::new(),
            talking: Vec::new(),
            begun: 0,
            server_is_back_at: 0,
            glares: Vec::new(),
            steps: 0,
            steps_seen: 0,
            dialogs: BTreeMap::new(),
            commands: 0,
            liveness_ms: plan.arbiter.liveness_ms,
            resume_window_ms: plan.arbiter.resume_window_ms,
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

    /// Every eighth command is looked at closely: a copy of a device costs more than the command.
    pub(crate) fn is_curious(&mut self) -> bool {
        self.commands += 1;
        self.commands.is_multiple_of(8)
    }

    pub(crate) fn invite_of(&self, call_id: CallId) -> Option<Invite> {
        self.truths.get(&call_id).map(|truth| truth.invite.clone())
    }

    /// The arbiter heard a device speak of a call.
    pub(crate) fn heard(&mut self, call_id: &CallId, from: usize, now: u64) {
        if let Some(truth) = self.truths.get_mut(call_id) {
            truth.spoken_at = now;
            let Some(side) = truth.side(from) else { return };
            let unheard_ms = now - truth.heard[0].max(truth.heard[1]);
            if truth.winner.is_some() && unheard_ms > self.liveness_ms / 2 {
                truth.heard[1 - side] += unheard_ms;
                truth.unheard_until = now;
            }
            truth.heard[side] = now;
        }
    }

    /// How long one side is silent, as far as that counts: while the other one is heard.
    pub(crate) fn silence(&self, truth: &Truth, side: usize) -> u64 {
        let until = self.now.min(truth.heard[1 - side] + self.liveness_ms / 2);
        until.saturating_sub(truth.heard[side])
    }

    /// The server could hear nobody for so long.
    pub(crate) fn stalled(&mut self, now: u64, ms: u64) {
        self.server_is_back_at = now;
        for truth in self.truths.values_mut() {
            truth.heard = truth.heard.map(|heard| (heard + ms).min(now));
        }
    }

    /// The server was started anew: it could hear nobody meanwhile.
    pub(crate) fn heard_all(&mut self, now: u64) {
        self.server_is_back_at = now;
        for truth in self.truths.values_mut() {
            truth.heard = [now; 2];
            truth.away = [false; 2];
        }
    }
}
