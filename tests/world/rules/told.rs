//! What an app is told, against what happened.

use call_protocol::CallId;
use call_protocol::end::EndReason;
use call_protocol::invite::Invite;
use signaling::{Command, Event, Phase, Role, SecondCall};

use super::{Rule, Truth};
use crate::device::Told;
use crate::plan::Placement;
use crate::reasons;
use crate::world::World;

impl World {
    /// A command was taken: it must have been one that the state allows.
    pub(crate) fn note_command(&mut self, at: usize, before: &[Phase], command: &Command) {
        let has = |wanted: Phase| before.contains(&wanted);
        let in_it = |call_id: &CallId| before.iter().any(|phase| about(*phase) == Some(*call_id));
        let (allowed, call_id) = match command {
            Command::Invite { call_id, ring_timeout_ms, call_type, .. } => {
                let patience = u64::from(*ring_timeout_ms) + self.plan.line.caller_patience_ms;
                let device = &mut self.devices[at];
                device.open.push(*call_id);
                let told = device.told(*call_id);
                told.role = Some(Role::Caller);
                told.kind = Some(*call_type);
                told.patient_until = self.now + patience;
                self.rules.begun += 1;
                self.note_opened_here(at, *call_id);
                (before.is_empty(), *call_id)
            }
            Command::Answer { call_id } | Command::AnswerToPrepare { call_id } => {
                self.devices[at].told(*call_id).answered = true;
                (has(Phase::Ringing(*call_id)), *call_id)
            }
            // A question may be asked at any time.
            Command::Verify { call_id } => (true, *call_id),
            Command::Hangup { call_id } | Command::Release { call_id, .. } => {
                self.devices[at].told(*call_id).hung_up = true;
                self.note_doing(at, *call_id, |truth| truth.hung_up.add(at));
                (in_it(call_id), *call_id)
            }
            Command::Hold { call_id, .. } => (has(Phase::InCall(*call_id)), *call_id),
            Command::Negotiate { call_id, to, body } => {
                if let Some(to) = self.device_of(to) {
                    self.note_step(at, to, *call_id, body);
                }
                (in_it(call_id), *call_id)
            }
            Command::Fail { call_id, .. } => {
                self.devices[at].told(*call_id).failed = true;
                self.note_doing(at, *call_id, |truth| truth.failed.add(at));
                (in_it(call_id), *call_id)
            }
        };
        let what = || format!("{} was {before:?} and took {command:?} of {call_id}", self.devices[at].name);
        self.rules.expect(allowed, Rule::StrayChangesNothing, what);
    }

    /// A device that arbitrates has opened its call.
    fn note_opened_here(&mut self, at: usize, call_id: CallId) {
        if self.plan.placement == Placement::Chat {
            let opened = self.devices[at].desk.arbiters().find(|arbiter| arbiter.call_id() == call_id);
            let Some(invite) = opened.map(|arbiter| arbiter.invite().clone()) else {
                return self.rules.broken(Rule::Rest, "a device that arbitrates did not open its call");
            };
            self.note_opened(at, &invite);
        }
    }

    pub(crate) fn note_doing(&mut self, at: usize, call_id: CallId, note: impl FnOnce(&mut Truth)) {
        let user = self.devices[at].user;
        if let Some(truth) = self.rules.truths.get_mut(&call_id)
            && (truth.caller == at || truth.callee == user)
        {
            note(truth);
        }
    }

    /// The app is told something of a call.
    pub(crate) fn check_told(&mut self, at: usize, event: &Event) {
        let call_id = call_of(event);
        let told = self.devices[at].told.get(&call_id).cloned().unwrap_or_default();
        let name = self.devices[at].name.clone();
        let what = |why: &str| format!("{name} was told {event:?}: {why}");
        if let Event::Missed { invite } = event {
            return self.check_missed(at, invite);
        }
        self.rules.expect(told.ended.is_none(), Rule::EndToldOnce, || what("it had been told the end of this call"));
        self.rules.expect(!told.missed, Rule::MissedToldOnce, || what("it had been told that it missed it"));
        let calls = told.role == Some(Role::Caller);
        match event {
            Event::Notifying { .. } => {
                self.rules.expect(calls, Rule::EndToldOnce, || what("it did not call"));
                self.rules.expect(!told.notifying, Rule::StrayChangesNothing, || what("it had been told so"));
                self.devices[at].told(call_id).notifying = true;
            }
            Event::Alerted { callee, .. } => {
                let device = self.device_of(callee);
                let new = device.is_some_and(|device| !told.alerted.contains(&device));
                self.rules.expect(calls, Rule::EndToldOnce, || what("it did not call"));
                self.rules.expect(new, Rule::StrayChangesNothing, || what("it had been told so"));
                self.devices[at].told(call_id).alerted.extend(device);
            }
            Event::Ringing { waiting, .. } => {
                self.check_ringing(at, call_id, *waiting, &what);
                self.now_knows(at, call_id, Role::Callee).rang = true;
            }
            Event::Merged { old, invite } => self.check_merged(at, *old, invite, &what),
            Event::Answering { peer, .. } => {
                let device = self.device_of(peer);
                let new = calls && told.peer.is_none() && told.answering != device;
                // Its app may have crashed since.
                let answered = device.is_some_and(|device| {
                    let device = &self.devices[device];
                    let crashed = device.life > 0 || !device.alive;
                    crashed || device.told.get(&call_id).is_some_and(|told| told.answered)
                });
                self.rules.expect(new, Rule::StrayChangesNothing, || what("it had been told so"));
                self.rules.expect(answered, Rule::OneTaker, || what("nobody answered there"));
                self.devices[at].told(call_id).answering = device;
            }
            Event::Accepted { invite, role, peer, .. } => {
                self.rules
                    .expect(told.role == Some(*role), Rule::EndToldOnce, || what("it had not heard of this call"));
                self.rules.expect(told.peer.is_none(), Rule::OneTaker, || what("it had been told so"));
                self.check_accepted(at, call_id, *role, &what);
                let peer = self.device_of(peer);
                let kind = peer
                    .and_then(|peer| self.devices[peer].told.get(&call_id))
                    .and_then(|told| told.peer.and(told.kind).filter(|_| told.ended.is_none()));
                // What an earlier life of the callee's app answered may count in a chat.
                let hurt = self.rules.truths.get(&call_id).is_some_and(|truth| !truth.hurt.is_empty());
                let agreed = hurt || kind.is_none_or(|kind| kind == invite.call_type);
                self.rules.expect(agreed, Rule::GlareIsOneCall, || what("the other one takes it for another kind"));
                let told = self.devices[at].told(call_id);
                told.peer = peer;
                told.kind = Some(invite.call_type);
            }
            Event::Negotiation { from, body, .. } => {
                self.rules.expect(told.role.is_some(), Rule::StrayChangesNothing, || what("it knows no such call"));
                if let Some(from) = self.device_of(from) {
                    self.check_step(from, at, call_id, body);
                    self.devices[at].told(call_id).heard_from.push(from);
                }
            }
            Event::Failed { .. } => {
                self.rules.expect(calls, Rule::EndToldOnce, || what("it did not call"));
                self.devices[at].told(call_id).failed = true;
            }
            Event::Held { held, .. } => {
                self.rules.expect(told.peer.is_some(), Rule::EndToldOnce, || what("it was not in this call"));
                self.rules.expect(told.held != *held, Rule::StrayChangesNothing, || what("nothing changed"));
                self.devices[at].told(call_id).held = *held;
            }
            Event::PeerHeld { held, .. } => {
                self.rules.expect(told.peer.is_some(), Rule::EndToldOnce, || what("it was not in this call"));
                self.rules.expect(told.peer_held != *held, Rule::StrayChangesNothing, || what("nothing changed"));
                self.devices[at].told(call_id).peer_held = *held;
            }
            Event::Reachability { reachable, .. } => {
                self.rules.expect(told.peer.is_some(), Rule::EndToldOnce, || what("it was not in this call"));
                self.rules.expect(told.peer_away == *reachable, Rule::StrayChangesNothing, || what("nothing changed"));
                self.devices[at].told(call_id).peer_away = !reachable;
                self.check_reachability_told(at, call_id, *reachable, &what);
            }
            Event::Ended { reason, role, .. } => {
                self.rules
                    .expect(told.role == Some(*role), Rule::EndToldOnce, || what("it had not heard of this call"));
                self.check_reason(at, call_id, *reason, &what);
                self.no_longer_knows(at, call_id, *reason);
            }
            // Nobody in these worlds asks about the call of a push.
            Event::Released { .. } => self.rules.expect(false, Rule::StrayChangesNothing, || what("it had not asked")),
            Event::Missed { .. } => {}
        }
    }

    fn now_knows(&mut self, at: usize, call_id: CallId, role: Role) -> &mut Told {
        let device = &mut self.devices[at];
        if !device.open.contains(&call_id) {
            device.open.push(call_id);
        }
        let told = device.told(call_id);
        told.role = Some(role);
        told
    }

    fn no_longer_knows(&mut self, at: usize, call_id: CallId, reason: EndReason) {
        let device = &mut self.devices[at];
        device.open.retain(|open| *open != call_id);
        device.told(call_id).ended = Some(reason);
    }

    fn check_ringing(&mut self, at: usize, call_id: CallId, waiting: bool, what: &dyn Fn(&str) -> String) {
        let device = &self.devices[at];
        let told = device.told.get(&call_id).cloned().unwrap_or_default();
        let others: Vec<_> = device.open.iter().filter(|other| **other != call_id).collect();
        let talks = |call_id: &&CallId| device.told.get(*call_id).is_some_and(|told| told.peer.is_some());
        let may_wait =
            device.config.second_call == SecondCall::Waiting && others.len() == 1 && others.iter().all(talks);
        let engaged = !others.is_empty();
        let truth = self.rules.truths.get(&call_id);
        // A device that was started anew may take the receipt of its earlier life for an answer to what it asks.
        let receipt = |truth: &Truth| truth.receipts.has(at) && device.life > 0;
        let confirmed = truth.is_some_and(|truth| truth.confirmed.has(at) || receipt(truth));
        let in_time = truth.is_some_and(|truth| self.now < truth.deadline + self.plan.clocks_ms());
        self.rules.expect(confirmed, Rule::NothingRingsOn, || what("the arbiter did not tell it to"));
        self.rules.expect(in_time, Rule::NothingRingsOn, || what("the deadline is over"));
        self.rules.expect(!told.closed, Rule::NothingRingsOn, || what("it had heard that the call is over"));
        self.rules.expect(!told.rang, Rule::StrayChangesNothing, || what("it had rung"));
        self.rules.expect(!engaged || may_wait, Rule::BusyAnswersItself, || what("it is in another call"));
        self.rules.expect(engaged == waiting, Rule::BusyAnswersItself, || what("it does not wait as it says"));
    }

    /// The call placed here goes on as the one that came in: a smaller one of the user that was called.
    fn check_merged(&mut self, at: usize, old: CallId, invite: &Invite, what: &dyn Fn(&str) -> String) {
        let told = self.devices[at].told.get(&old).cloned().unwrap_or_default();
        let mine = self.devices[at].party.user.clone();
        let calls = told.role == Some(Role::Caller) && told.peer.is_none();
        let caller = self.device_of(&invite.caller).map(|caller| self.devices[caller].user);
        let each_other =
            invite.callees == [mine] && self.rules.truths.get(&old).is_none_or(|truth| Some(truth.callee) == caller);
        self.rules.expect(calls, Rule::GlareIsOneCall, || what("it did not call"));
        self.rules.expect(invite.call_id < old, Rule::GlareIsOneCall, || what("the smaller one goes on"));
        self.rules.expect(each_other, Rule::GlareIsOneCall, || what("they did not call each other"));
        self.no_longer_knows(at, old, EndReason::AnsweredElsewhere);
        self.devices[at].told(old).merged = true;
        if let Some(truth) = self.rules.truths.get_mut(&old) {
            truth.merged = true;
            truth.told.insert(at, EndReason::AnsweredElsewhere);
        }
        self.now_knows(at, invite.call_id, Role::Callee).answered = true;
    }

    fn check_accepted(&mut self, at: usize, call_id: CallId, role: Role, what: &dyn Fn(&str) -> String) {
        let took = self.devices[at].told.get(&call_id).is_some_and(|told| told.answered || role == Role::Caller);
        let Some(truth) = self.rules.truths.get_mut(&call_id) else {
            self.rules.broken(Rule::OneTaker, what("there is no such call"));
            return;
        };
        let answered = truth.answered_at.is_some() && truth.side(at).is_some();
        truth.side(at).into_iter().for_each(|side| truth.vanished[side] = None);
        if role == Role::Callee {
            truth.takers.add(at);
        }
        let alone = role == Role::Caller || !truth.takers.has_others(at);
        self.rules.expect(answered, Rule::OneTaker, || what("the arbiter did not decide so"));
        self.rules.expect(alone, Rule::OneTaker, || what("another device was told so, too"));
        self.rules.expect(took, Rule::OneTaker, || what("its user did not answer"));
    }

    /// An end must have come about the way its reason says.
    fn check_reason(&mut self, at: usize, call_id: CallId, reason: EndReason, what: &dyn Fn(&str) -> String) {
        let told = self.devices[at].told.get(&call_id).cloned().unwrap_or_default();
        self.note_doing(at, call_id, |truth| {
            // A later life of the app may hear of the same end in other words.
            truth.told.entry(at).or_insert(reason);
        });
        let lost = self.arbiter_is_lost(call_id);
        let truth = self.rules.truths.get(&call_id);
        let case = reasons::Case {
            at,
            told: &told,
            truth,
            now: self.now + self.plan.clocks_ms(),
            troubled: self.troubled || lost || self.calls_again_in_mid_call(call_id),
            lost,
            crossed: self.is_crossed(call_id),
        };
        let so = reasons::came_about(reason, &case);
        self.rules.expect(so, Rule::EndToldOnce, || what("it did not come about so"));
    }

    /// Whether the device that calls took a call of the same user before, and that user's device may hear of that only now.
    fn is_crossed(&self, call_id: CallId) -> bool {
        let Some(truth) = self.rules.truths.get(&call_id) else { return false };
        self.rules.recent.iter().rev().take(64).any(|other| {
            let other = &self.rules.truths[other];
            other.winner == Some(truth.caller) && self.devices[other.caller].user == truth.callee
        })
    }

    /// The device that decided about a call has lost it.
    pub(crate) fn arbiter_is_lost(&self, call_id: CallId) -> bool {
        let Some(truth) = self.rules.truths.get(&call_id) else { return false };
        let caller = &self.devices[truth.caller];
        self.plan.placement == Placement::Chat && (!caller.alive || caller.life != truth.caller_life)
    }
}

fn call_of(event: &Event) -> CallId {
    match event {
        Event::Ringing { invite, .. } | Event::Accepted { invite, .. } | Event::Missed { invite } => invite.call_id,
        Event::Merged { old, .. } => *old,
        Event::Notifying { call_id }
        | Event::Alerted { call_id, .. }
        | Event::Answering { call_id, .. }
        | Event::Failed { call_id, .. }
        | Event::Negotiation { call_id, .. }
        | Event::Held { call_id, .. }
        | Event::PeerHeld { call_id, .. }
        | Event::Reachability { call_id, .. }
        | Event::Released { call_id, .. }
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
