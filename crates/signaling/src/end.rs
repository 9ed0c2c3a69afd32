//! End: told to each party once, from that party's side, and remembered for whoever asks late.

use call_protocol::accept::{Answer, AnswerConfirm, AnswerResult};
use call_protocol::end::{Cancel, End, EndReason, Release};
use call_protocol::invite::Invite;
use call_protocol::ring::RingConfirm;
use call_protocol::{CallId, CallMessage, Party, Word};

use crate::arbiter::{Arbiter, Fact, Outcome, State as ArbiterState, To, said_about_end};
use crate::door::{Address, CommandError, Event, Role};
use crate::line::{Call, Line, State};
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

/// Devices of which a call that is over remembers that they know; more than a user has.
const KNOWING: usize = 64;

/// A call that is over here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Over {
    pub(crate) call_id: CallId,
    pub(crate) arbiter: Address,
    pub(crate) reason: EndReason,
    pub(crate) missed: MissedCall,
}

/// Whether the user still has to hear that a call was missed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum MissedCall {
    /// It rang here, or was answered, or the user knows.
    No,
    /// It did not ring here, as the line was busy, and may yet be answered by another device.
    Undecided(Box<Invite>),
    /// It was missed, and its invite, which says whose call it was, has not come yet.
    InviteToCome,
}

/// Whether a call that ended so for a callee before it rang is one that the user missed.
pub(crate) fn is_missed(reason: EndReason) -> bool {
    match reason {
        EndReason::RemoteCancel | EndReason::NoResponse | EndReason::RemoteDrop | EndReason::Error => true,
        EndReason::Hangup
        | EndReason::RemoteHangup
        | EndReason::Cancel
        | EndReason::Refuse
        | EndReason::RemoteRefuse
        | EndReason::Busy
        | EndReason::RemoteNoResponse
        | EndReason::AnsweredElsewhere
        | EndReason::RefusedElsewhere => false,
    }
}

impl Line {
    pub(crate) fn cancel_word(reason: EndReason) -> Word {
        Word::Cancel(reason.into())
    }

    pub(crate) fn end_word(reason: EndReason) -> Word {
        Word::End(reason.into())
    }

    /// With a release that is said to everybody who hears of the end.
    pub(crate) fn hang_up(&mut self, now: Now, call_id: CallId, release: Option<Release>) -> Result<(), CommandError> {
        let call = self.calls.get_mut(&call_id).ok_or(CommandError::NoSuchCall)?;
        call.release = release;
        let arbiter = call.arbiter.clone();
        let (reason, farewell) = match &call.state {
            State::Calling { alerted, .. } => {
                for device in alerted.clone() {
                    let cancel = Word::Cancel(Cancel { reason: EndReason::RemoteCancel, release });
                    self.say_directly(&arbiter, device, call_id, cancel);
                }
                (EndReason::Cancel, Word::Cancel(Cancel { reason: EndReason::Cancel, release }))
            }
            State::Ringing { .. } => {
                let (callee, result) = (self.me.clone(), AnswerResult::Refuse);
                let answer = Answer { callee, result, call_type: None, preparation: false, release };
                (EndReason::Refuse, Word::Answer(answer))
            }
            State::Answering { .. } | State::InCall { .. } => {
                self.tell_other_end(call_id, EndReason::RemoteHangup);
                (EndReason::Hangup, Word::End(End { reason: EndReason::Hangup, release }))
            }
        };
        self.end_call(now, call_id, reason, Some(farewell));
        Ok(())
    }

    pub(crate) fn fail(&mut self, now: Now, call_id: CallId, reason: EndReason) -> Result<(), CommandError> {
        if !self.calls.contains_key(&call_id) {
            return Err(CommandError::NoSuchCall);
        }
        self.tell_other_end(call_id, reason.mirrored());
        self.end_call(now, call_id, reason, Some(Self::end_word(reason)));
        Ok(())
    }

    /// Says the end on the media path, too.
    fn tell_other_end(&mut self, call_id: CallId, reason: EndReason) {
        let Some(call) = self.calls.get(&call_id) else { return };
        let other = match &call.state {
            State::Calling { .. } | State::Ringing { .. } => return,
            State::Answering { .. } => call.invite.caller.clone(),
            State::InCall { peer, .. } => peer.clone(),
        };
        let arbiter = call.arbiter.clone();
        let end = Word::End(End { reason, release: call.release });
        self.say_directly(&arbiter, other, call_id, end);
    }

    /// A device says something by itself, on the media path. It counts only where it is at the other end, and only what it may say for
    /// itself: that it answers, that it goes. Whatever is done about it the arbiter is told.
    pub(crate) fn on_direct(&mut self, now: Now, sender: Party, call_id: CallId, word: Word) {
        let Some(call) = self.calls.get_mut(&call_id) else { return };
        match call.arbiter {
            Address::Server => {}
            Address::Device(_) => return,
        }
        let (is_with, said) = (call.is_with(&sender), said_about_end(&word));
        match (&mut call.state, word) {
            (State::Calling { alerted, answering, .. }, Word::Answer(answer)) if alerted.contains(&sender) => {
                // It is said again until the arbiter has confirmed it.
                if answer.result == AnswerResult::Accept && answering.insert(sender.clone()) {
                    self.tell(Event::Answering { call_id, peer: sender });
                }
            }
            (State::Ringing { .. } | State::Answering { .. }, Word::Cancel(Cancel { reason, .. }))
            | (State::Answering { .. } | State::InCall { .. }, Word::End(End { reason, .. }))
                if is_with =>
            {
                call.release = said;
                self.end_call(now, call_id, reason, Some(Self::end_word(reason)));
            }
            (
                State::Calling { .. } | State::Ringing { .. } | State::Answering { .. } | State::InCall { .. },
                Word::Invite(_)
                | Word::Alert(_)
                | Word::RingConfirm(_)
                | Word::Answer(_)
                | Word::AnswerConfirm(_)
                | Word::Cancel(_)
                | Word::End(_)
                | Word::KeepAlive(_)
                | Word::Negotiation(_)
                | Word::Reachability { .. }
                | Word::Hold { .. }
                | Word::Missed(_),
            ) => {}
        }
    }

    /// The caller gave up, or the arbiter did. Once the call is answered here, a late cancel changes nothing: End ends it.
    pub(crate) fn on_cancel(&mut self, now: Now, from: Address, call_id: CallId, cancel: Cancel) {
        self.on_receipt_of_answer(call_id);
        self.on_released(call_id, cancel.reason, cancel.release);
        let missed = is_missed(cancel.reason);
        if let Some(alerting) = self.alerting.get(&call_id) {
            let invite = Box::new(alerting.invite.clone());
            self.will_not_ring(now, from.clone(), call_id, cancel.reason);
            if missed {
                self.tell_missed(now, from, invite);
            }
            return;
        }
        let Some(call) = self.calls.get(&call_id) else {
            if self.is_over(call_id) {
                self.decide_missed(now, call_id, missed);
            } else {
                let missed = if missed { MissedCall::InviteToCome } else { MissedCall::No };
                self.leave(now, call_id, from, cancel.reason, missed, None);
            }
            return;
        };
        match &call.state {
            State::Ringing { .. } | State::Answering { .. } => self.end_call(now, call_id, cancel.reason, None),
            State::Calling { .. } | State::InCall { .. } => {}
        }
    }

    pub(crate) fn on_end(&mut self, now: Now, from: Address, call_id: CallId, end: End) {
        // That a call was missed is acknowledged in the same words; a busy answer may have its receipt later.
        let missed = Self::end_word(EndReason::NoResponse);
        if end.reason != EndReason::Busy || self.farewells.get(&call_id).is_some_and(|farewell| farewell.word != missed)
        {
            self.farewells.remove(&call_id);
        }
        self.on_released(call_id, end.reason, end.release);
        let role = self.calls.get(&call_id).map(Call::role);
        match (end.reason, role) {
            // To a callee this is the receipt of its busy answer, and says nothing of the call, which may still ring.
            (EndReason::Busy, Some(Role::Callee) | None) => {}
            (reason, Some(Role::Caller | Role::Callee)) => self.end_call(now, call_id, reason, None),
            (reason, None) => self.will_not_ring(now, from, call_id, reason),
        }
    }

    /// The arbiter says that the call is over, in reply to an alert or an invite.
    pub(crate) fn on_over(&mut self, now: Now, call_id: CallId, reason: EndReason) {
        self.on_receipt_of_answer(call_id);
        let Some(call) = self.calls.get(&call_id) else { return };
        match &call.state {
            State::Calling { .. } | State::Ringing { .. } => self.end_call(now, call_id, reason, None),
            State::Answering { .. } | State::InCall { .. } => {}
        }
    }

    /// Ends a call: tells the app, and the arbiter if it does not know.
    pub(crate) fn end_call(&mut self, now: Now, call_id: CallId, reason: EndReason, farewell: Option<Word>) {
        let Some(call) = self.calls.remove(&call_id) else { return };
        self.tell(Event::Ended { call_id, reason, role: call.role(), release: call.release });
        self.leave(now, call_id, call.arbiter, reason, MissedCall::No, farewell);
    }

    /// Remembers that a call is over here, and says so until the arbiter has acknowledged it.
    pub(crate) fn leave(
        &mut self,
        now: Now,
        call_id: CallId,
        arbiter: Address,
        reason: EndReason,
        missed: MissedCall,
        farewell: Option<Word>,
    ) {
        if let Some(word) = farewell {
            self.say_farewell(now, arbiter.clone(), call_id, word);
        }
        if self.over.len() == Self::MEMORY {
            self.over.pop_front();
        }
        self.over.push_back(Over { call_id, arbiter, reason, missed });
    }

    fn say_farewell(&mut self, now: Now, to: Address, call_id: CallId, word: Word) {
        self.send(to.clone(), call_id, word.clone());
        if self.farewells.len() < Self::FAREWELLS {
            self.farewells.insert(call_id, Farewell { to, word, next: Repeat::first(now) });
        }
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

/// Missed calls.
impl Line {
    /// The arbiter says that a call was missed while this device was away. Its receipt is an end.
    pub(crate) fn on_missed(&mut self, now: Now, from: Address, invite: Invite) {
        let call_id = invite.call_id;
        let mut untold = Some(Box::new(invite));
        if let Some(over) = self.over.iter_mut().find(|over| over.call_id == call_id) {
            untold = match std::mem::replace(&mut over.missed, MissedCall::No) {
                MissedCall::No => None,
                MissedCall::Undecided(_) | MissedCall::InviteToCome => untold,
            };
        } else if self.calls.contains_key(&call_id) {
            return;
        } else {
            self.will_not_ring(now, from.clone(), call_id, EndReason::NoResponse);
        }
        match untold {
            Some(invite) => self.tell_missed(now, from, invite),
            None => self.send(from, call_id, Self::end_word(EndReason::NoResponse)),
        }
    }

    /// The arbiter is told, too, until it has acknowledged it: this device need not hear of it again.
    pub(crate) fn tell_missed(&mut self, now: Now, arbiter: Address, invite: Box<Invite>) {
        self.say_farewell(now, arbiter, invite.call_id, Self::end_word(EndReason::NoResponse));
        self.tell(Event::Missed { invite });
    }

    /// How a call ended to which this line was busy.
    pub(crate) fn decide_missed(&mut self, now: Now, call_id: CallId, missed: bool) {
        let Some(over) = self.over.iter_mut().find(|over| over.call_id == call_id) else { return };
        match std::mem::replace(&mut over.missed, MissedCall::No) {
            MissedCall::Undecided(invite) if missed => {
                let arbiter = over.arbiter.clone();
                self.tell_missed(now, arbiter, invite);
            }
            MissedCall::InviteToCome => over.missed = MissedCall::InviteToCome,
            MissedCall::Undecided(_) | MissedCall::No => {}
        }
    }

    /// The end of a call came before its invite, which now tells whose call was missed.
    pub(crate) fn was_missed_before_its_invite(&mut self, now: Now, invite: Invite) {
        let sound = invite.check().is_ok() && invite.callees.contains(&self.me.user);
        let Some(over) = self.over.iter_mut().find(|over| over.call_id == invite.call_id) else { return };
        if sound && over.missed == MissedCall::InviteToCome {
            over.missed = MissedCall::No;
            let arbiter = over.arbiter.clone();
            self.tell_missed(now, arbiter, Box::new(invite));
        }
    }
}

impl Arbiter {
    /// The caller gives up. If an answer came first, the callee is told that the caller went.
    pub(crate) fn on_cancel(&mut self, now: Now, from: Party, reason: EndReason) {
        if from != self.invite.caller {
            return;
        }
        // Both called each other: the call goes on as the other one, so nobody missed it.
        let merged = reason == EndReason::AnsweredElsewhere;
        self.caller_leaves(now, if merged { reason } else { EndReason::Cancel });
    }

    pub(crate) fn on_end(&mut self, now: Now, from: Party, reason: EndReason) {
        if from == self.invite.caller {
            self.caller_leaves(now, reason);
            return;
        }
        match &self.state {
            ArbiterState::Ringing { alerted, .. } if alerted.contains_key(&from) => {
                self.receipt(from.clone(), reason);
                self.stops_ringing(now, from, reason);
            }
            ArbiterState::Answered { callee, .. } if *callee == from => {
                let outcome = Outcome::Talked { winner: from, caller_reason: reason.mirrored(), callee_reason: reason };
                self.end_talk(now, outcome);
            }
            ArbiterState::Ended { .. } => {
                if reason == EndReason::NoResponse {
                    self.note_knows(&from);
                    return self.receipt(from, reason);
                }
                let reason = self.reason_for(&from);
                self.receipt(from, reason);
            }
            ArbiterState::Ringing { .. } | ArbiterState::Answered { .. } => self.receipt(from, reason),
        }
    }

    /// A device that rang, or whose answer was lost on the way, no longer does.
    fn stops_ringing(&mut self, now: Now, device: Party, reason: EndReason) {
        match reason {
            EndReason::Hangup | EndReason::Refuse => self.decline(now, device, AnswerResult::Refuse),
            EndReason::Busy => {
                let (callee, result) = (device.clone(), AnswerResult::Busy);
                let answer = Answer { callee, result, call_type: None, preparation: false, release: None };
                self.on_answer(now, device, answer);
            }
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
                let ArbiterState::Ringing { alerted, knows, .. } = &mut self.state else { return };
                alerted.remove(&device);
                knows.insert(device);
                if alerted.is_empty() {
                    self.send_to(self.invite.caller.clone(), Word::End(reason.mirrored().into()));
                    self.call_off(now, reason.mirrored(), reason);
                }
            }
        }
    }

    fn caller_leaves(&mut self, now: Now, reason: EndReason) {
        let caller = self.invite.caller.clone();
        // A caller that gave up on a silent arbiter cancels; the callee's time is not over. One whose call goes on as another one leaves
        // nobody who missed it.
        let callee_reason = match reason {
            EndReason::RemoteNoResponse => EndReason::RemoteCancel,
            EndReason::AnsweredElsewhere => EndReason::AnsweredElsewhere,
            EndReason::Hangup
            | EndReason::RemoteHangup
            | EndReason::Cancel
            | EndReason::RemoteCancel
            | EndReason::Refuse
            | EndReason::RemoteRefuse
            | EndReason::Busy
            | EndReason::NoResponse
            | EndReason::RefusedElsewhere
            | EndReason::RemoteDrop
            | EndReason::Error => reason.mirrored(),
        };
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

    /// Whoever runs this arbiter ends the call.
    pub(crate) fn close(&mut self, now: Now, reason: EndReason, release: Release) {
        let caller = self.invite.caller.clone();
        match &self.state {
            ArbiterState::Ringing { .. } => {
                self.release = Some(release);
                self.receipt(caller, reason);
                self.call_off(now, reason, EndReason::RemoteCancel);
            }
            ArbiterState::Answered { callee, .. } => {
                self.release = Some(release);
                let winner = callee.clone();
                self.end_talk(now, Outcome::Talked { winner, caller_reason: reason, callee_reason: reason });
            }
            ArbiterState::Ended { .. } => {}
        }
    }

    /// A call that was not answered ends: every device of the callees is told. The caller is told by whoever calls this.
    pub(crate) fn call_off(&mut self, now: Now, caller_reason: EndReason, callee_reason: EndReason) {
        for callee in self.invite.callees.clone() {
            self.send(To::User(callee), Word::Cancel(callee_reason.into()));
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

    pub(crate) fn receipt(&mut self, to: Party, reason: EndReason) {
        self.send_to(to, Word::End(reason.into()));
    }

    /// A device has acknowledged that the call was missed.
    fn note_knows(&mut self, device: &Party) {
        let ArbiterState::Ended { outcome, knows, .. } = &mut self.state else { return };
        if outcome.is_missed() && self.invite.callees.contains(&device.user) && knows.len() < KNOWING {
            knows.insert(device.clone());
        }
    }

    pub(crate) fn finish(&mut self, now: Now, outcome: Outcome) {
        let talk_ms = match &self.state {
            ArbiterState::Answered { talk, .. } => talk.ms(now),
            ArbiterState::Ringing { .. } => 0,
            ArbiterState::Ended { .. } => return,
        };
        let (caller_reason, callee_reason) = (outcome.caller_reason(), outcome.callee_reason());
        let (until, knows) = match &self.state {
            // A caller that has not heard of it repeats its invite until the deadline. A device that rang has been told how that ended.
            ArbiterState::Ringing { deadline, alerted, knows, .. } => {
                (now.mono.max(*deadline), alerted.keys().chain(knows).cloned().collect())
            }
            ArbiterState::Answered { .. } | ArbiterState::Ended { .. } => (now.mono, Default::default()),
        };
        self.state = ArbiterState::Ended { outcome, forget: until + self.config.tombstone_ms, knows };
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
            _ if to == self.invite.caller => Word::End(reason.into()),
            Outcome::Declined { by, result } => {
                Word::AnswerConfirm(AnswerConfirm { result: *result, winner: by.clone(), release: None })
            }
            Outcome::Talked { winner, .. } if *winner == to => Word::End(reason.into()),
            Outcome::Talked { winner, .. } => Word::AnswerConfirm(AnswerConfirm {
                result: AnswerResult::Accept,
                winner: winner.clone(),
                release: None,
            }),
            Outcome::Unanswered { .. } => Word::Cancel(reason.into()),
        };
        self.send_to(to, word);
    }

    /// What to say to somebody who speaks of a call that has no arbiter, or no longer.
    ///
    /// `None` where nothing is to be said: an invite is to be opened or refused, and what only an arbiter says is ignored.
    pub fn reply_to_unknown(from: &Party, message: &CallMessage) -> Option<CallMessage> {
        let word = match &message.word {
            Word::Alert(_) => Word::RingConfirm(RingConfirm::Over { reason: EndReason::RemoteDrop, release: None }),
            Word::Answer(Answer { result: AnswerResult::Accept, .. }) => Word::Cancel(EndReason::RemoteCancel.into()),
            // Only a receipt: another device may have taken the call.
            Word::Answer(Answer { result: AnswerResult::Busy, .. }) => Word::End(EndReason::Busy.into()),
            Word::Answer(answer) => {
                Word::AnswerConfirm(AnswerConfirm { result: answer.result, winner: from.clone(), release: None })
            }
            Word::Cancel(cancel) => Word::End(cancel.reason.into()),
            Word::End(end) => Word::End(*end),
            Word::KeepAlive(_) => Word::End(EndReason::RemoteDrop.into()),
            Word::Invite(_)
            | Word::RingConfirm(_)
            | Word::AnswerConfirm(_)
            | Word::Negotiation(_)
            | Word::Reachability { .. }
            | Word::Hold { .. }
            | Word::Missed(_) => return None,
        };
        Some(CallMessage { call_id: message.call_id, word })
    }
}
