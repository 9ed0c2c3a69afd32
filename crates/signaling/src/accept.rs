//! Accept: one device of the callee takes the call, or the callee says no. The first answer the arbiter hears counts.

use call_protocol::accept::{Answer, AnswerConfirm, AnswerResult};
use call_protocol::end::EndReason;
use call_protocol::{CallId, Party, Word};

use crate::arbiter::{Arbiter, Fact, Outcome, State as ArbiterState, To};
use crate::line::{Address, CommandError, Event, Line, Role, State};
use crate::time::{Now, Repeat};

impl Line {
    pub(crate) fn answer(&mut self, now: Now, call_id: CallId) -> Result<(), CommandError> {
        let call = self.call_with(call_id).ok_or(CommandError::NoSuchCall)?.clone();
        let State::Ringing { .. } = &self.state else { return Err(CommandError::NotRinging) };
        self.send_answer(&call.arbiter, call_id, AnswerResult::Accept);
        let give_up = now.mono + self.config.answer_confirm_ms;
        self.state = State::Answering { call, next: Repeat::first(now), give_up };
        Ok(())
    }

    fn send_answer(&mut self, to: &Address, call_id: CallId, result: AnswerResult) {
        let answer = Answer { callee: self.me.clone(), result };
        self.send(to.clone(), call_id, Word::Answer(answer));
    }

    /// At the caller: what the callee said.
    pub(crate) fn on_answer(&mut self, now: Now, call_id: CallId, answer: Answer) {
        let State::Calling { call, .. } = &self.state else {
            self.remind_of_end(call_id);
            return;
        };
        if call.invite.call_id != call_id || !call.invite.callees.contains(&answer.callee.user) {
            self.remind_of_end(call_id);
            return;
        }
        match answer.result {
            AnswerResult::Accept => self.begin(now, Role::Caller, answer.callee),
            AnswerResult::Refuse => self.end_current(now, EndReason::RemoteRefuse, None),
            AnswerResult::Busy => self.end_current(now, EndReason::Busy, None),
        }
    }

    /// At the callee: what counts.
    pub(crate) fn on_answer_confirm(&mut self, now: Now, from: Address, call_id: CallId, confirm: AnswerConfirm) {
        let mine = confirm.winner == self.me;
        self.on_receipt_of_answer(call_id);
        if self.call_with(call_id).is_none() && !self.is_over(call_id) {
            let reason = match confirm.result {
                AnswerResult::Accept if mine => return self.leave_an_earlier_life(now, from, call_id),
                AnswerResult::Accept => EndReason::AnsweredElsewhere,
                AnswerResult::Refuse if mine => EndReason::Refuse,
                AnswerResult::Refuse => EndReason::RefusedElsewhere,
                AnswerResult::Busy => EndReason::Busy,
            };
            self.will_not_ring(now, from, call_id, reason);
            return;
        }
        match (&self.state, confirm.result) {
            (State::Answering { call, .. }, AnswerResult::Accept) if mine && call.invite.call_id == call_id => {
                let caller = call.invite.caller.clone();
                self.begin(now, Role::Callee, caller);
            }
            (State::Ringing { call, .. } | State::Answering { call, .. }, result)
                if !mine && call.invite.call_id == call_id =>
            {
                let reason = match result {
                    AnswerResult::Accept => EndReason::AnsweredElsewhere,
                    AnswerResult::Refuse => EndReason::RefusedElsewhere,
                    AnswerResult::Busy => EndReason::Busy,
                };
                self.end_current(now, reason, None);
            }
            (State::Ringing { call, .. }, AnswerResult::Accept) if call.invite.call_id == call_id => {
                self.leave_an_earlier_life(now, from, call_id);
            }
            // The arbiter holds that this device refused or was busy: an earlier life of it did, or it gave up answering.
            (
                State::Ringing { call, .. } | State::Answering { call, .. },
                result @ (AnswerResult::Refuse | AnswerResult::Busy),
            ) if call.invite.call_id == call_id => {
                let busy = result == AnswerResult::Busy;
                self.end_current(now, if busy { EndReason::Busy } else { EndReason::Refuse }, None);
            }
            (_, AnswerResult::Accept) if mine && self.call_with(call_id).is_none() => self.remind_of_end(call_id),
            (
                State::Idle
                | State::Calling { .. }
                | State::Ringing { .. }
                | State::Answering { .. }
                | State::InCall { .. },
                AnswerResult::Accept | AnswerResult::Refuse | AnswerResult::Busy,
            ) => {}
        }
    }

    /// The arbiter holds that this device took a call that it has not answered: an earlier life of it did, and with that the call is
    /// gone. The other party is not to wait until it is missed.
    fn leave_an_earlier_life(&mut self, now: Now, arbiter: Address, call_id: CallId) {
        let farewell = Some(Self::end_word(EndReason::RemoteDrop));
        self.alerting.remove(&call_id);
        if self.call_with(call_id).is_some() {
            self.end_current(now, EndReason::RemoteDrop, farewell);
        } else {
            self.leave(now, call_id, arbiter, EndReason::RemoteDrop, farewell);
        }
    }

    fn begin(&mut self, now: Now, role: Role, peer: Party) {
        let (State::Calling { call, .. } | State::Answering { call, .. }) =
            std::mem::replace(&mut self.state, State::Idle)
        else {
            return;
        };
        self.tell(Event::Accepted { invite: Box::new(call.invite.clone()), role, peer });
        self.send(call.arbiter.clone(), call.invite.call_id, Word::KeepAlive { in_call: true });
        self.state = State::InCall { call, role, next: now.mono + self.config.keep_alive_ms, peer_away_until: None };
        self.others_are_busy(now);
    }

    pub(crate) fn on_time_answering(&mut self, now: Now) {
        let State::Answering { call, next, give_up } = &mut self.state else { return };
        if now.mono >= *give_up {
            self.end_current(now, EndReason::RemoteDrop, Some(Self::end_word(EndReason::RemoteDrop)));
        } else if now.mono >= next.at {
            next.again(now);
            let (to, call_id) = (call.arbiter.clone(), call.invite.call_id);
            self.send_answer(&to, call_id, AnswerResult::Accept);
        }
    }
}

impl Arbiter {
    pub(crate) fn on_answer(&mut self, now: Now, from: Party, result: AnswerResult) {
        if !self.invite.callees.contains(&from.user) {
            return;
        }
        match &mut self.state {
            ArbiterState::Ringing { alerted, caller_heard, deadline, .. } => match result {
                AnswerResult::Accept => {
                    let left_ms = *deadline - now.mono;
                    let ring_ms = u64::from(self.invite.ring_timeout_ms).saturating_sub(left_ms);
                    let caller_heard = *caller_heard;
                    self.state = ArbiterState::answered(now, caller_heard, from.clone());
                    self.tell_caller_of_answer();
                    self.confirm_answer_to_all(AnswerResult::Accept, from);
                    self.tell(Fact::Answered { call_id: self.invite.call_id, ring_ms });
                }
                AnswerResult::Refuse => self.decline(now, from, AnswerResult::Refuse),
                AnswerResult::Busy => {
                    alerted.remove(&from);
                    if alerted.is_empty() {
                        self.decline(now, from, AnswerResult::Busy);
                    } else {
                        // Another device of the user rings: this one only gets its receipt.
                        self.confirm_answer(from.clone(), AnswerResult::Busy, from);
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

    /// The callee said no, by hand or by being busy.
    pub(crate) fn decline(&mut self, now: Now, by: Party, result: AnswerResult) {
        let answer = Answer { callee: by.clone(), result };
        self.send_to(self.invite.caller.clone(), Word::Answer(answer));
        self.confirm_answer_to_all(result, by.clone());
        self.finish(now, Outcome::Declined { by, result });
    }

    pub(crate) fn tell_caller_of_answer(&mut self) {
        let ArbiterState::Answered { callee, .. } = &self.state else { return };
        let answer = Answer { callee: callee.clone(), result: AnswerResult::Accept };
        self.send_to(self.invite.caller.clone(), Word::Answer(answer));
    }

    pub(crate) fn confirm_answer(&mut self, to: Party, result: AnswerResult, winner: Party) {
        self.send_to(to, Word::AnswerConfirm(AnswerConfirm { result, winner }));
    }

    fn confirm_answer_to_all(&mut self, result: AnswerResult, winner: Party) {
        self.send(To::User(winner.user.clone()), Word::AnswerConfirm(AnswerConfirm { result, winner }));
    }
}
