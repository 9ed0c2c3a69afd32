//! Accept: one device of the callee takes the call, or the callee says no. The first answer the arbiter hears counts.

use std::collections::BTreeMap;

use call_protocol::accept::{Answer, AnswerConfirm, AnswerResult};
use call_protocol::end::EndReason;
use call_protocol::{CallId, Party, Word};

use crate::arbiter::{Arbiter, Fact, Outcome, State as ArbiterState, To};
use crate::door::{Address, CommandError, Event, Role};
use crate::end::MissedCall;
use crate::line::{Line, State};
use crate::time::{Now, Repeat};

impl Line {
    /// With preparation the call is taken without media, if the caller can.
    pub(crate) fn answer(&mut self, now: Now, call_id: CallId, preparation: bool) -> Result<(), CommandError> {
        let call = self.calls.get_mut(&call_id).ok_or(CommandError::NoSuchCall)?;
        let State::Ringing { .. } = &call.state else { return Err(CommandError::NotRinging) };
        let give_up = now.mono + self.config.answer_confirm_ms;
        let preparation = preparation && call.invite.responder_preparation;
        call.state = State::Answering { call_type: None, preparation, next: Repeat::first(now), give_up };
        self.hold_others(call_id);
        self.send_answer(call_id);
        Ok(())
    }

    /// To the arbiter, and on the media path to the caller: the caller may open the sound before the arbiter's word has come.
    pub(crate) fn send_answer(&mut self, call_id: CallId) {
        let Some(call) = self.calls.get(&call_id) else { return };
        let State::Answering { call_type, preparation, .. } = &call.state else { return };
        let (arbiter, caller) = (call.arbiter.clone(), call.invite.caller.clone());
        let answer = Answer {
            callee: self.me.clone(),
            result: AnswerResult::Accept,
            call_type: *call_type,
            preparation: *preparation,
            release: None,
        };
        self.send(arbiter.clone(), call_id, Word::Answer(answer.clone()));
        self.say_directly(&arbiter, caller, call_id, Word::Answer(answer));
    }

    /// At the caller: what the callee said.
    pub(crate) fn on_answer(&mut self, now: Now, call_id: CallId, answer: Answer) {
        let Some(call) = self.calls.get_mut(&call_id) else { return self.remind_of_end(call_id) };
        let State::Calling { .. } = &call.state else { return };
        if !call.invite.callees.contains(&answer.callee.user) {
            return;
        }
        match answer.result {
            AnswerResult::Accept => {
                call.invite.call_type = answer.call_type.unwrap_or(call.invite.call_type);
                self.begin(now, call_id, Role::Caller, answer.callee, answer.preparation);
            }
            AnswerResult::Refuse => self.end_call(now, call_id, EndReason::RemoteRefuse, None),
            AnswerResult::Busy => self.end_call(now, call_id, EndReason::Busy, None),
        }
    }

    /// At the callee: what counts.
    pub(crate) fn on_answer_confirm(&mut self, now: Now, from: Address, call_id: CallId, confirm: AnswerConfirm) {
        let mine = confirm.winner == self.me;
        self.on_receipt_of_answer(call_id);
        let Some(call) = self.calls.get(&call_id) else {
            return self.on_answer_of_other_call(now, from, call_id, confirm);
        };
        match (&call.state, confirm.result) {
            (State::Answering { preparation, .. }, AnswerResult::Accept) if mine => {
                let (caller, preparation) = (call.invite.caller.clone(), *preparation);
                self.begin(now, call_id, Role::Callee, caller, preparation);
            }
            (State::Ringing { .. } | State::Answering { .. }, result) if !mine => {
                let reason = match result {
                    AnswerResult::Accept => EndReason::AnsweredElsewhere,
                    AnswerResult::Refuse => EndReason::RefusedElsewhere,
                    AnswerResult::Busy => EndReason::Busy,
                };
                self.end_call(now, call_id, reason, None);
            }
            (State::Ringing { .. }, AnswerResult::Accept) => self.leave_an_earlier_life(now, from, call_id),
            // The arbiter holds that this device refused or was busy: an earlier life of it did, or it gave up answering.
            (State::Ringing { .. } | State::Answering { .. }, AnswerResult::Refuse) => {
                self.end_call(now, call_id, EndReason::Refuse, None);
            }
            (State::Ringing { .. } | State::Answering { .. }, AnswerResult::Busy) => {
                self.end_call(now, call_id, EndReason::Busy, None);
            }
            (
                State::Calling { .. } | State::Answering { .. } | State::InCall { .. },
                AnswerResult::Accept | AnswerResult::Refuse | AnswerResult::Busy,
            ) => {}
        }
    }

    /// What was answered of a call that does not ring here, or no longer.
    fn on_answer_of_other_call(&mut self, now: Now, from: Address, call_id: CallId, confirm: AnswerConfirm) {
        let mine = confirm.winner == self.me;
        if self.is_over(call_id) {
            self.decide_missed(now, call_id, confirm.result == AnswerResult::Busy);
            if mine && confirm.result == AnswerResult::Accept {
                self.remind_of_end(call_id);
            }
            return;
        }
        let reason = match confirm.result {
            AnswerResult::Accept if mine => return self.leave_an_earlier_life(now, from, call_id),
            AnswerResult::Accept => EndReason::AnsweredElsewhere,
            AnswerResult::Refuse if mine => EndReason::Refuse,
            AnswerResult::Refuse => EndReason::RefusedElsewhere,
            AnswerResult::Busy => EndReason::Busy,
        };
        self.on_released(call_id, reason, confirm.release);
        let busy = confirm.result == AnswerResult::Busy;
        match self.alerting.remove(&call_id) {
            Some(alerting) if busy => {
                self.leave(now, call_id, from.clone(), reason, MissedCall::No, None);
                self.tell_missed(now, from, Box::new(alerting.invite));
            }
            None if busy => self.leave(now, call_id, from, reason, MissedCall::InviteToCome, None),
            Some(_) | None => self.leave(now, call_id, from, reason, MissedCall::No, None),
        }
    }

    /// The arbiter holds that this device took a call that it has not answered: an earlier life of it did, and with that the call is
    /// gone. The other party is not to wait until it is missed.
    fn leave_an_earlier_life(&mut self, now: Now, arbiter: Address, call_id: CallId) {
        let farewell = Some(Self::end_word(EndReason::RemoteDrop));
        self.alerting.remove(&call_id);
        if self.calls.contains_key(&call_id) {
            self.end_call(now, call_id, EndReason::RemoteDrop, farewell);
        } else {
            self.leave(now, call_id, arbiter, EndReason::RemoteDrop, MissedCall::No, farewell);
        }
    }

    fn begin(&mut self, now: Now, call_id: CallId, role: Role, peer: Party, preparation: bool) {
        // The user may have gone on with the other call meanwhile.
        self.hold_others(call_id);
        let Some(call) = self.calls.get_mut(&call_id) else { return };
        let next = now.mono + self.config.keep_alive_ms;
        call.dialogs.retain(|device, _| *device == peer);
        let device = peer.clone();
        let talks = State::InCall {
            role,
            peer: peer.clone(),
            held: false,
            hold_reason: None,
            peer_held: false,
            next,
            peer_away_until: None,
        };
        let before = std::mem::replace(&mut call.state, talks);
        let (invite, arbiter, alive) = (Box::new(call.invite.clone()), call.arbiter.clone(), call.keep_alive());
        self.tell(Event::Accepted { invite, role, peer, preparation });
        self.send(arbiter, call_id, alive);
        if let State::Calling { yielding, .. } = before {
            self.forget_the_calls_of(now, &device, yielding);
        }
        self.look_again_at_alerts(now);
    }

    /// Calls that a device placed before it took this one: what is said late of them must not look as if it had lost this one.
    fn forget_the_calls_of(&mut self, now: Now, device: &Party, yielding: BTreeMap<CallId, (Party, Address)>) {
        let alerting = self.alerting.extract_if(.., |_, alerting| alerting.invite.caller == *device);
        let alerting = alerting.map(|(call_id, alerting)| (call_id, alerting.arbiter));
        let yielding = yielding.into_iter().filter(|(_, (caller, _))| caller == device);
        let yielding = yielding.map(|(call_id, (_, arbiter))| (call_id, arbiter));
        let calls: Vec<(CallId, Address)> = alerting.chain(yielding).collect();
        for (call_id, arbiter) in calls {
            if !self.is_over(call_id) {
                self.leave(now, call_id, arbiter, EndReason::AnsweredElsewhere, MissedCall::No, None);
            }
        }
    }

    pub(crate) fn on_time_answering(&mut self, now: Now, call_id: CallId) {
        let Some(call) = self.calls.get_mut(&call_id) else { return };
        let State::Answering { next, give_up, .. } = &mut call.state else { return };
        if now.mono >= *give_up {
            self.end_call(now, call_id, EndReason::RemoteDrop, Some(Self::end_word(EndReason::RemoteDrop)));
        } else if now.mono >= next.at {
            next.again(now);
            self.send_answer(call_id);
        }
    }
}

impl Arbiter {
    pub(crate) fn on_answer(&mut self, now: Now, from: Party, answer: Answer) {
        let Answer { result, call_type, preparation, .. } = answer;
        if !self.invite.callees.contains(&from.user) {
            return;
        }
        match &mut self.state {
            ArbiterState::Ringing { alerted, busy, busy_until, caller_heard, deadline, .. } => match result {
                AnswerResult::Accept => {
                    let left_ms = *deadline - now.mono;
                    let ring_ms = u64::from(self.invite.ring_timeout_ms).saturating_sub(left_ms);
                    let caller_heard = *caller_heard;
                    self.state = ArbiterState::answered(
                        now,
                        caller_heard,
                        from.clone(),
                        call_type,
                        preparation && self.invite.responder_preparation,
                    );
                    self.tell_caller_of_answer();
                    self.confirm_answer_to_all(AnswerResult::Accept, from);
                    self.tell(Fact::Answered { call_id: self.invite.call_id, ring_ms });
                }
                AnswerResult::Refuse => self.decline(now, from, AnswerResult::Refuse),
                AnswerResult::Busy => {
                    alerted.remove(&from);
                    busy.insert(from.clone());
                    busy_until.get_or_insert((now.mono + self.config.busy_grace_ms).min(*deadline));
                    if !self.settle_busy(now) {
                        // Another device of the user rings, or may: this one only gets its receipt.
                        self.receipt(from, EndReason::Busy);
                    }
                }
            },
            ArbiterState::Answered { callee, .. } => {
                let winner = callee.clone();
                self.confirm_answer(from, AnswerResult::Accept, winner);
            }
            ArbiterState::Ended { .. } => self.last_word(from),
        }
    }

    /// Ends the call if the user is busy: no device rings, and each one that is there has said so, or the others had their time to say
    /// anything else.
    pub(crate) fn settle_busy(&mut self, now: Now) -> bool {
        let ArbiterState::Ringing { alerted, busy, busy_until, reachable, .. } = &self.state else { return false };
        let everybody = !reachable.is_empty() && reachable.is_subset(busy);
        let in_time = busy_until.is_some_and(|until| now.mono < until);
        let Some(by) = busy.first().cloned() else { return false };
        if !alerted.is_empty() || (in_time && !everybody) {
            return false;
        }
        self.decline(now, by, AnswerResult::Busy);
        true
    }

    /// The callee said no, by hand or by being busy.
    pub(crate) fn decline(&mut self, now: Now, by: Party, result: AnswerResult) {
        let answer = Answer { callee: by.clone(), result, call_type: None, preparation: false, release: None };
        self.send_to(self.invite.caller.clone(), Word::Answer(answer));
        self.confirm_answer_to_all(result, by.clone());
        self.finish(now, Outcome::Declined { by, result });
    }

    pub(crate) fn tell_caller_of_answer(&mut self) {
        let ArbiterState::Answered { callee, call_type, preparation, .. } = &self.state else { return };
        let answer = Answer {
            callee: callee.clone(),
            result: AnswerResult::Accept,
            call_type: *call_type,
            preparation: *preparation,
            release: None,
        };
        self.send_to(self.invite.caller.clone(), Word::Answer(answer));
    }

    pub(crate) fn confirm_answer(&mut self, to: Party, result: AnswerResult, winner: Party) {
        self.send_to(to, Word::AnswerConfirm(AnswerConfirm { result, winner, release: None }));
    }

    fn confirm_answer_to_all(&mut self, result: AnswerResult, winner: Party) {
        self.send(To::User(winner.user.clone()), Word::AnswerConfirm(AnswerConfirm { result, winner, release: None }));
    }
}
