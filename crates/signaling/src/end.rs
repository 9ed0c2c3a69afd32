//! End: told to each party once, from that party's side, and remembered for whoever asks late.

use call_protocol::accept::{Answer, AnswerConfirm, AnswerResult};
use call_protocol::end::{Cancel, End, EndReason};
use call_protocol::ring::RingConfirm;
use call_protocol::{CallId, CallMessage, Party, Word};

use crate::arbiter::{Arbiter, Fact, Outcome, State as ArbiterState, To};
use crate::line::{Address, CommandError, Event, Line, Role, State};
use crate::time::{Now, Repeat};

/// The last statement of this device about a call, until its receipt has come.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Farewell {
    pub(crate) to: Address,
    pub(crate) word: Word,
    pub(crate) next: Repeat,
}

/// How often a farewell is repeated before the arbiter's own timers are relied on.
const FAREWELL_REPEATS: u8 = 5;

/// A call that is over here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Over {
    pub(crate) call_id: CallId,
    pub(crate) arbiter: Address,
    pub(crate) reason: EndReason,
}

impl Line {
    pub(crate) fn cancel_word() -> Word {
        Word::Cancel(Cancel { reason: EndReason::Cancel })
    }

    pub(crate) fn end_word(reason: EndReason) -> Word {
        Word::End(End { reason })
    }

    pub(crate) fn hang_up(&mut self, now: Now, call_id: CallId) -> Result<(), CommandError> {
        self.call_with(call_id).ok_or(CommandError::NoSuchCall)?;
        let (reason, farewell) = match &self.state {
            State::Idle => return Err(CommandError::NoSuchCall),
            State::Calling { .. } => (EndReason::Cancel, Self::cancel_word()),
            State::Ringing { .. } => {
                let answer = Answer { callee: self.me.clone(), result: AnswerResult::Refuse };
                (EndReason::Refuse, Word::Answer(answer))
            }
            State::Answering { .. } | State::InCall { .. } => (EndReason::Hangup, Self::end_word(EndReason::Hangup)),
        };
        self.end_current(now, reason, Some(farewell));
        Ok(())
    }

    pub(crate) fn fail(&mut self, now: Now, call_id: CallId, reason: EndReason) -> Result<(), CommandError> {
        self.call_with(call_id).ok_or(CommandError::NoSuchCall)?;
        self.end_current(now, reason, Some(Self::end_word(reason)));
        Ok(())
    }

    /// The caller gave up, or the arbiter did. Once the call is answered here, a late cancel changes nothing: End ends it.
    pub(crate) fn on_cancel(&mut self, now: Now, from: Address, call_id: CallId, cancel: Cancel) {
        self.on_receipt_of_answer(call_id);
        self.will_not_ring(now, from, call_id, cancel.reason);
        match &self.state {
            State::Ringing { call, .. } | State::Answering { call, .. } if call.invite.call_id == call_id => {
                self.end_current(now, cancel.reason, None);
            }
            State::Idle
            | State::Calling { .. }
            | State::Ringing { .. }
            | State::Answering { .. }
            | State::InCall { .. } => {}
        }
    }

    pub(crate) fn on_end(&mut self, now: Now, from: Address, call_id: CallId, end: End) {
        self.farewells.remove(&call_id);
        self.will_not_ring(now, from, call_id, end.reason);
        if self.call_with(call_id).is_some() {
            self.end_current(now, end.reason, None);
        }
    }

    /// The arbiter says that the call is over, in reply to an alert or an invite.
    pub(crate) fn on_over(&mut self, now: Now, call_id: CallId, reason: EndReason) {
        self.on_receipt_of_answer(call_id);
        match &self.state {
            State::Calling { call, .. } | State::Ringing { call, .. } if call.invite.call_id == call_id => {
                self.end_current(now, reason, None);
            }
            State::Idle
            | State::Calling { .. }
            | State::Ringing { .. }
            | State::Answering { .. }
            | State::InCall { .. } => {}
        }
    }

    /// Ends the call of the present state: tells the app, and the arbiter if it does not know.
    pub(crate) fn end_current(&mut self, now: Now, reason: EndReason, farewell: Option<Word>) {
        let (call, role) = match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => return,
            State::Calling { call, .. } => (call, Role::Caller),
            State::Ringing { call, .. } | State::Answering { call, .. } => (call, Role::Callee),
            State::InCall { call, role, .. } => (call, role),
        };
        let call_id = call.invite.call_id;
        self.tell(Event::Ended { call_id, reason, role });
        self.leave(now, call_id, call.arbiter, reason, farewell);
    }

    /// Remembers that a call is over here, and says so until the arbiter has acknowledged it.
    pub(crate) fn leave(
        &mut self,
        now: Now,
        call_id: CallId,
        arbiter: Address,
        reason: EndReason,
        farewell: Option<Word>,
    ) {
        if let Some(word) = farewell {
            self.send(arbiter.clone(), call_id, word.clone());
            if self.farewells.len() < Self::FAREWELLS {
                self.farewells.insert(call_id, Farewell { to: arbiter.clone(), word, next: Repeat::first(now) });
            }
        }
        if self.over.len() == Self::MEMORY {
            self.over.pop_front();
        }
        self.over.push_back(Over { call_id, arbiter, reason });
    }

    pub(crate) fn on_receipt_of_answer(&mut self, call_id: CallId) {
        if let Some(Farewell { word: Word::Answer(_), .. }) = self.farewells.get(&call_id) {
            self.farewells.remove(&call_id);
        }
    }

    /// The arbiter believes that a call goes on which is over here: it is told again.
    pub(crate) fn remind_of_end(&mut self, call_id: CallId) {
        if self.farewells.contains_key(&call_id) {
            return;
        }
        if let Some(over) = self.over.iter().find(|over| over.call_id == call_id) {
            let (arbiter, reason) = (over.arbiter.clone(), over.reason);
            self.send(arbiter, call_id, Self::end_word(reason));
        }
    }

    pub(crate) fn repeat_farewells(&mut self, now: Now) {
        let mut due = Vec::new();
        self.farewells.retain(|call_id, farewell| {
            if now.mono < farewell.next.at {
                return true;
            }
            let again = farewell.next.again(now) <= FAREWELL_REPEATS;
            if again {
                due.push((*call_id, farewell.to.clone(), farewell.word.clone()));
            }
            again
        });
        for (call_id, to, word) in due {
            self.send(to, call_id, word);
        }
    }
}

impl Arbiter {
    /// The caller gives up. If an answer came first, the callee is told that the caller went.
    pub(crate) fn on_cancel(&mut self, now: Now, from: Party) {
        if from != self.invite.caller {
            return;
        }
        self.caller_leaves(now, EndReason::Cancel);
    }

    pub(crate) fn on_end(&mut self, now: Now, from: Party, reason: EndReason) {
        if from == self.invite.caller {
            self.caller_leaves(now, reason);
            return;
        }
        match &self.state {
            ArbiterState::Ringing { alerted, .. } if alerted.contains(&from) => {
                self.receipt(from.clone(), reason);
                self.stops_ringing(now, from, reason);
            }
            ArbiterState::Answered { callee, .. } if *callee == from => {
                let outcome = Outcome::Talked { winner: from, caller_reason: reason.mirrored(), callee_reason: reason };
                self.end_talk(now, outcome);
            }
            ArbiterState::Ended { .. } => {
                let reason = self.reason_for(&from);
                self.receipt(from, reason);
            }
            ArbiterState::Ringing { .. } | ArbiterState::Answered { .. } => self.receipt(from, reason),
        }
    }

    /// A device that rang, or whose answer was lost on the way, no longer does.
    fn stops_ringing(&mut self, now: Now, device: Party, reason: EndReason) {
        match reason {
            EndReason::Hangup | EndReason::Refuse | EndReason::Busy => self.decline(now, device, AnswerResult::Refuse),
            // Its clock is ahead: the deadline, which is near, ends the call.
            EndReason::NoResponse => {}
            EndReason::RemoteHangup
            | EndReason::Cancel
            | EndReason::RemoteCancel
            | EndReason::RemoteRefuse
            | EndReason::RemoteNoResponse
            | EndReason::AnsweredElsewhere
            | EndReason::RefusedElsewhere
            | EndReason::RemoteDrop
            | EndReason::Error => {
                let ArbiterState::Ringing { alerted, .. } = &mut self.state else { return };
                alerted.remove(&device);
                if alerted.is_empty() {
                    self.send_to(self.invite.caller.clone(), Word::End(End { reason: reason.mirrored() }));
                    self.call_off(now, reason.mirrored(), reason);
                }
            }
        }
    }

    fn caller_leaves(&mut self, now: Now, reason: EndReason) {
        let caller = self.invite.caller.clone();
        // A caller that gave up on a silent arbiter cancels; the callee's time is not over.
        let gave_up = reason == EndReason::RemoteNoResponse;
        let callee_reason = if gave_up { EndReason::RemoteCancel } else { reason.mirrored() };
        match &self.state {
            ArbiterState::Ringing { .. } => {
                self.receipt(caller, reason);
                self.call_off(now, reason, callee_reason);
            }
            ArbiterState::Answered { callee, .. } => {
                let winner = callee.clone();
                self.end_talk(now, Outcome::Talked { winner, caller_reason: reason, callee_reason });
            }
            ArbiterState::Ended { .. } => {
                let reason = self.reason_for(&caller);
                self.receipt(caller, reason);
            }
        }
    }

    /// A call that was not answered ends: every device of the callees is told. The caller is told by whoever calls this.
    pub(crate) fn call_off(&mut self, now: Now, caller_reason: EndReason, callee_reason: EndReason) {
        for callee in self.invite.callees.clone() {
            self.send(To::User(callee), Word::Cancel(Cancel { reason: callee_reason }));
        }
        self.finish(now, Outcome::Unanswered { caller_reason, callee_reason });
    }

    /// An answered call ends: both parties are told, the one who ended it as the receipt.
    pub(crate) fn end_talk(&mut self, now: Now, outcome: Outcome) {
        if let Outcome::Talked { winner, caller_reason, callee_reason } = &outcome {
            self.receipt(self.invite.caller.clone(), *caller_reason);
            self.receipt(winner.clone(), *callee_reason);
        }
        self.finish(now, outcome);
    }

    fn receipt(&mut self, to: Party, reason: EndReason) {
        self.send_to(to, Word::End(End { reason }));
    }

    pub(crate) fn finish(&mut self, now: Now, outcome: Outcome) {
        let talk_ms = match &self.state {
            ArbiterState::Answered { talk, .. } => talk.ms(now),
            ArbiterState::Ringing { .. } => 0,
            ArbiterState::Ended { .. } => return,
        };
        let (caller_reason, callee_reason) = (outcome.caller_reason(), outcome.callee_reason());
        self.state = ArbiterState::Ended { outcome, forget: now.mono + self.config.tombstone_ms };
        self.tell(Fact::Ended { call_id: self.invite.call_id, caller_reason, callee_reason, talk_ms });
    }

    /// How the call ended for this party.
    pub(crate) fn reason_for(&self, party: &Party) -> EndReason {
        let ArbiterState::Ended { outcome, .. } = &self.state else { return EndReason::Error };
        if *party == self.invite.caller {
            return outcome.caller_reason();
        }
        match outcome {
            Outcome::Talked { winner, .. } if winner != party => EndReason::AnsweredElsewhere,
            Outcome::Declined { by, result: AnswerResult::Refuse } if by != party => EndReason::RefusedElsewhere,
            Outcome::Talked { .. } | Outcome::Declined { .. } | Outcome::Unanswered { .. } => outcome.callee_reason(),
        }
    }

    /// Somebody speaks of a call that is over: what it missed is said again.
    pub(crate) fn last_word(&mut self, to: Party) {
        let reason = self.reason_for(&to);
        let ArbiterState::Ended { outcome, .. } = &self.state else { return };
        let word = match outcome {
            _ if to == self.invite.caller => Word::End(End { reason }),
            Outcome::Declined { by, result } => {
                Word::AnswerConfirm(AnswerConfirm { result: *result, winner: by.clone() })
            }
            Outcome::Talked { winner, .. } if *winner == to => Word::End(End { reason }),
            Outcome::Talked { winner, .. } => {
                Word::AnswerConfirm(AnswerConfirm { result: AnswerResult::Accept, winner: winner.clone() })
            }
            Outcome::Unanswered { .. } => Word::Cancel(Cancel { reason }),
        };
        self.send_to(to, word);
    }

    /// What to say to somebody who speaks of a call that has no arbiter, or no longer.
    ///
    /// `None` where nothing is to be said: an invite is to be opened or refused, and what only an arbiter says is ignored.
    pub fn reply_to_unknown(from: &Party, message: &CallMessage) -> Option<CallMessage> {
        let word = match &message.word {
            Word::Alert(_) => Word::RingConfirm(RingConfirm::Over { reason: EndReason::RemoteCancel }),
            Word::Answer(Answer { result: AnswerResult::Accept, .. }) => {
                Word::Cancel(Cancel { reason: EndReason::RemoteCancel })
            }
            Word::Answer(answer) => Word::AnswerConfirm(AnswerConfirm { result: answer.result, winner: from.clone() }),
            Word::Cancel(cancel) => Word::End(End { reason: cancel.reason }),
            Word::End(end) => Word::End(*end),
            Word::KeepAlive { .. } => Word::End(End { reason: EndReason::RemoteDrop }),
            Word::Invite(_)
            | Word::RingConfirm(_)
            | Word::AnswerConfirm(_)
            | Word::Negotiation(_)
            | Word::Reachability { .. } => return None,
        };
        Some(CallMessage { call_id: message.call_id, word })
    }
}
