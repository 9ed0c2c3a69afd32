//! What an app is told, against what happened.

use call_protocol::CallId;
use call_protocol::end::EndReason;
use signaling::{Command, Event, Line, Phase, Role};

use super::Rule;
use crate::reasons;
use crate::world::World;

impl World {
    /// A command was taken: it must have been one that the state allows.
    pub(crate) fn note_command(&mut self, at: usize, before: &Line, command: &Command) {
        let device = &mut self.devices[at];
        let name = device.name;
        let phase = before.phase();
        let (allowed, call_id) = match command {
            Command::Invite { call_id, ring_timeout_ms, .. } => {
                let told = device.told(*call_id);
                told.role = Some(Role::Caller);
                told.patient_until = self.now + u64::from(*ring_timeout_ms) + self.plan.line.caller_patience_ms;
                self.rules.begun += 1;
                (phase == Phase::Idle, *call_id)
            }
            Command::Answer { call_id } => (phase == Phase::Ringing(*call_id), *call_id),
            Command::Hangup { call_id } => {
                device.told(*call_id).hung_up = true;
                self.note_doing(at, *call_id, |truth, side| truth.hung_up[side] = true);
                (about(phase) == Some(*call_id), *call_id)
            }
            Command::Negotiate { call_id, .. } => (about(phase) == Some(*call_id), *call_id),
            Command::Fail { call_id, .. } => {
                device.told(*call_id).failed = true;
                self.note_doing(at, *call_id, |truth, side| truth.failed[side] = true);
                (about(phase) == Some(*call_id), *call_id)
            }
        };
        let what = || format!("{name} was {phase:?} and took {command:?} of {call_id}");
        self.rules.expect(allowed, Rule::StrayChangesNothing, what);
    }

    fn note_doing(&mut self, at: usize, call_id: CallId, note: impl FnOnce(&mut super::Truth, usize)) {
        if let Some(truth) = self.rules.truths.get_mut(&call_id)
            && let Some(side) = truth.side(at)
        {
            note(truth, side);
        }
    }

    /// The app is told something of a call.
    pub(crate) fn check_told(&mut self, at: usize, event: &Event) {
        let call_id = call_of(event);
        let told = self.devices[at].told.get(&call_id).cloned().unwrap_or_default();
        let name = self.devices[at].name;
        let what = |why: &str| format!("{name} was told {event:?}: {why}");
        let once = told.ended.is_none();
        self.rules.expect(once, Rule::EndToldOnce, || what("it had been told the end of this call"));
        match event {
            Event::Alerted { .. } => {
                self.rules.expect(told.role == Some(Role::Caller), Rule::EndToldOnce, || what("it did not call"));
                self.rules.expect(!told.alerted, Rule::StrayChangesNothing, || what("it had been told so"));
                self.devices[at].told(call_id).alerted = true;
            }
            Event::Ringing { .. } => {
                self.check_ringing(at, call_id, &what);
                let told = self.devices[at].told(call_id);
                told.role = Some(Role::Callee);
                told.rang = true;
            }
            Event::Accepted { role, .. } => {
                self.rules
                    .expect(told.role == Some(*role), Rule::EndToldOnce, || what("it had not heard of this call"));
                self.rules.expect(!told.accepted, Rule::OneTaker, || what("it had been told so"));
                self.check_accepted(at, call_id, *role, &what);
                self.devices[at].told(call_id).accepted = true;
            }
            Event::Negotiation { .. } => {
                self.rules.expect(told.role.is_some(), Rule::StrayChangesNothing, || what("it knows no such call"));
            }
            Event::Failed { .. } => {
                self.rules.expect(told.role == Some(Role::Caller), Rule::EndToldOnce, || what("it did not call"));
                self.devices[at].told(call_id).failed = true;
            }
            Event::Reachability { reachable, .. } => {
                self.rules.expect(told.accepted, Rule::EndToldOnce, || what("it was not in this call"));
                self.rules.expect(told.peer_away == *reachable, Rule::StrayChangesNothing, || what("nothing changed"));
                self.devices[at].told(call_id).peer_away = !reachable;
            }
            Event::Ended { reason, role, .. } => {
                self.rules
                    .expect(told.role == Some(*role), Rule::EndToldOnce, || what("it had not heard of this call"));
                self.check_reason(at, call_id, *reason, &what);
                self.devices[at].told(call_id).ended = Some(*reason);
            }
        }
    }

    fn check_ringing(&mut self, at: usize, call_id: CallId, what: &dyn Fn(&str) -> String) {
        let told = self.devices[at].told.get(&call_id).cloned().unwrap_or_default();
        let skew = self.plan.skew_ms;
        let engaged = self.devices[at]
            .told
            .iter()
            .any(|(other, told)| *other != call_id && told.role.is_some() && told.ended.is_none());
        let truth = self.rules.truths.get(&call_id);
        let confirmed = truth.is_some_and(|truth| truth.confirmed && truth.callee == at);
        let in_time = truth.is_some_and(|truth| self.now < truth.deadline + skew);
        self.rules.expect(confirmed, Rule::NothingRingsOn, || what("the arbiter did not tell it to"));
        self.rules.expect(in_time, Rule::NothingRingsOn, || what("the deadline is over"));
        self.rules.expect(!told.closed, Rule::NothingRingsOn, || what("it had heard that the call is over"));
        self.rules.expect(!told.rang, Rule::StrayChangesNothing, || what("it had rung"));
        self.rules.expect(!engaged, Rule::BusyAnswersItself, || what("it is in another call"));
    }

    fn check_accepted(&mut self, at: usize, call_id: CallId, role: Role, what: &dyn Fn(&str) -> String) {
        let Some(truth) = self.rules.truths.get_mut(&call_id) else {
            self.rules.broken(Rule::OneTaker, what("there is no such call"));
            return;
        };
        let answered = truth.answered_at.is_some() && truth.side(at).is_some();
        truth.side(at).into_iter().for_each(|side| truth.vanished[side] = None);
        if role == Role::Callee && !truth.takers.contains(&at) {
            truth.takers.push(at);
        }
        let takers = truth.takers.len();
        self.rules.expect(answered, Rule::OneTaker, || what("the arbiter did not decide so"));
        self.rules.expect(takers <= 1, Rule::OneTaker, || what("another phone was told so, too"));
    }

    /// An end must have come about the way its reason says.
    fn check_reason(&mut self, at: usize, call_id: CallId, reason: EndReason, what: &dyn Fn(&str) -> String) {
        let told = self.devices[at].told.get(&call_id).cloned().unwrap_or_default();
        if let Some(truth) = self.rules.truths.get_mut(&call_id)
            && let Some(side) = truth.side(at)
        {
            truth.told[side] = Some(reason);
        }
        let truth = self.rules.truths.get(&call_id);
        let so = reasons::came_about(reason, at, &told, truth, self.now + self.plan.skew_ms);
        self.rules.expect(so, Rule::EndToldOnce, || what("it did not come about so"));
    }
}

fn call_of(event: &Event) -> CallId {
    match event {
        Event::Ringing { invite } | Event::Accepted { invite, .. } => invite.call_id,
        Event::Alerted { call_id, .. }
        | Event::Failed { call_id, .. }
        | Event::Negotiation { call_id, .. }
        | Event::Reachability { call_id, .. }
        | Event::Ended { call_id, .. } => *call_id,
    }
}

/// The call that a phase is about.
pub(crate) fn about(phase: Phase) -> Option<CallId> {
    match phase {
        Phase::Idle => None,
        Phase::Calling(call_id) | Phase::Ringing(call_id) | Phase::Answering(call_id) | Phase::InCall(call_id) => {
            Some(call_id)
        }
    }
}
