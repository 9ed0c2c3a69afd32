//! Invite: a device calls, the arbiter opens the call, the callee's devices hear of it.

use call_protocol::accept::{Answer, AnswerResult};
use call_protocol::end::EndReason;
use call_protocol::invite::Invite;
use call_protocol::ring::{InviteRefusal, RingConfirm};
use call_protocol::{CallId, CallMessage, Party, Word};

use crate::arbiter::{Arbiter, ArbiterConfig, State as ArbiterState, To};
use crate::door::{Address, CommandError};
use crate::end::{MissedCall, Over};
use crate::line::{Call, Line, SecondCall, State};
use crate::time::{Now, Repeat};

/// What a line makes of a call that comes in. Whatever it is, an invite only makes it ask; it acts when the arbiter has said that the
/// call is alive, because an invite may be an old copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Nothing runs here, or it may wait beside what runs.
    Ring,
    /// The device at the other end of this call calls again: it has lost the call.
    Replaces(CallId),
    /// Both called each other, and the other one's call goes on.
    Merges(CallId),
    /// Both called each other, and the call placed here goes on: the other one will see it.
    Yields,
    /// The user is in another call.
    Busy,
}

impl Line {
    pub(crate) fn invite(&mut self, now: Now, mut invite: Invite) -> Result<(), CommandError> {
        if !self.calls.is_empty() {
            return Err(CommandError::Busy);
        }
        let (call_id, ring_timeout_ms) = (invite.call_id, invite.ring_timeout_ms);
        invite.check()?;
        invite.fold_callees();
        let arbiter = self.config.arbiter.clone();
        self.send(arbiter.clone(), call_id, Word::Invite(Box::new(invite.clone())));
        let give_up = now.mono + u64::from(ring_timeout_ms) + self.config.caller_patience_ms;
        let state = State::Calling {
            confirmed: false,
            alerted: Default::default(),
            answering: Default::default(),
            yielding: Default::default(),
            next: Repeat::first(now),
            give_up,
        };
        self.calls.insert(call_id, Call::new(now, invite, arbiter, state));
        self.look_again_at_alerts(now);
        Ok(())
    }

    /// What is to become of a call, as things are.
    pub(crate) fn admission(&self, invite: &Invite) -> Admission {
        let calls_again = |call: &Call| call.is_with(&invite.caller) && began_at(invite) >= began_at(&call.invite);
        if let Some((call_id, _)) = self.calls.iter().find(|(_, call)| calls_again(call)) {
            return Admission::Replaces(*call_id);
        }
        let mut calls = self.calls.values();
        match (calls.next(), calls.next(), self.config.second_call) {
            (None, _, SecondCall::Busy | SecondCall::Waiting) => Admission::Ring,
            (Some(call), None, second) => match (&call.state, second) {
                (State::Calling { .. }, SecondCall::Busy | SecondCall::Waiting) => {
                    let mine = &call.invite;
                    let each_other = mine.call_type.is_one_to_one()
                        && invite.call_type.is_one_to_one()
                        && mine.callees == [invite.caller.user.clone()];
                    match (each_other, invite.call_id < mine.call_id) {
                        (true, true) => Admission::Merges(mine.call_id),
                        (true, false) => Admission::Yields,
                        (false, true | false) => Admission::Busy,
                    }
                }
                (State::InCall { .. }, SecondCall::Waiting) => Admission::Ring,
                (
                    State::Ringing { .. } | State::Answering { .. } | State::InCall { .. },
                    SecondCall::Busy | SecondCall::Waiting,
                ) => Admission::Busy,
            },
            (Some(_), Some(_), SecondCall::Busy | SecondCall::Waiting) => Admission::Busy,
        }
    }

    /// An invite for a line that may ring is alerted; for a busy one it is answered busy; a repeated one changes nothing.
    pub(crate) fn on_invite(&mut self, now: Now, from: Address, invite: Invite) {
        let call_id = invite.call_id;
        self.verifying.remove(&call_id);
        if self.calls.contains_key(&call_id) || self.alerting.contains_key(&call_id) {
            return;
        }
        let was_busy = self.calls_back(&invite);
        if self.is_over(call_id) {
            return self.was_missed_before_its_invite(now, invite);
        }
        if invite.check().is_err() || !invite.callees.contains(&self.me.user) {
            return;
        }
        match self.admission(&invite) {
            Admission::Ring | Admission::Replaces(_) | Admission::Merges(_) if self.alerting.len() < Self::ALERTS => {
                self.alert(now, invite, from, was_busy);
            }
            Admission::Yields => self.take_the_place_of(invite, from),
            Admission::Ring | Admission::Replaces(_) | Admission::Merges(_) | Admission::Busy => {
                self.answer_busy(now, invite, from);
            }
        }
    }

    /// The call placed here goes on in the place of this one, if it comes to it; else that one may still ring.
    pub(crate) fn take_the_place_of(&mut self, invite: Invite, arbiter: Address) {
        for call in self.calls.values_mut() {
            match &mut call.state {
                State::Calling { yielding, .. } if yielding.len() < Self::ALERTS => {
                    yielding.insert(invite.call_id, (invite.caller.clone(), arbiter.clone()));
                }
                State::Calling { .. } | State::Ringing { .. } | State::Answering { .. } | State::InCall { .. } => {}
            }
        }
    }

    /// Whether this line was busy to a call that still rings, and now calls its caller: then the two are across each other, and what was said
    /// is void.
    fn calls_back(&mut self, invite: &Invite) -> bool {
        let was_busy = |over: &Over| match &over.missed {
            MissedCall::Undecided(_) => over.call_id == invite.call_id,
            MissedCall::No | MissedCall::InviteToCome => false,
        };
        let merges = match self.admission(invite) {
            Admission::Merges(_) => true,
            Admission::Ring | Admission::Replaces(_) | Admission::Yields | Admission::Busy => false,
        };
        let calls_back = merges && self.over.iter().any(was_busy);
        if calls_back {
            self.over.retain(|over| over.call_id != invite.call_id);
            self.farewells.remove(&invite.call_id);
        }
        calls_back
    }

    /// The user hears of the call as a missed one, if it turns out that no other device of the user takes it.
    pub(crate) fn answer_busy(&mut self, now: Now, invite: Invite, arbiter: Address) {
        let call_id = invite.call_id;
        let (missed, answer) = (MissedCall::Undecided(Box::new(invite)), self.busy_answer());
        self.leave(now, call_id, arbiter, EndReason::Busy, missed, Some(answer));
    }

    pub(crate) fn busy_answer(&self) -> Word {
        Word::Answer(Answer {
            callee: self.me.clone(),
            result: AnswerResult::Busy,
            call_type: None,
            preparation: false,
            release: None,
        })
    }

    pub(crate) fn on_time_calling(&mut self, now: Now, call_id: CallId) {
        let keep_alive_ms = self.config.keep_alive_ms;
        let Some(call) = self.calls.get_mut(&call_id) else { return };
        let State::Calling { confirmed, next, give_up, .. } = &mut call.state else { return };
        if now.mono >= *give_up {
            self.end_call(now, call_id, EndReason::RemoteNoResponse, Some(Self::cancel_word(EndReason::Cancel)));
        } else if now.mono >= next.at {
            next.again(now);
            let word = if *confirmed {
                next.at = now.mono + keep_alive_ms;
                call.keep_alive()
            } else {
                Word::Invite(Box::new(call.invite.clone()))
            };
            let to = call.arbiter.clone();
            self.send(to, call_id, word);
        }
    }
}

/// When a call began, by the clock of its arbiter; of a call that this line placed zero.
fn began_at(invite: &Invite) -> u64 {
    invite.ring_deadline_unix_ms.saturating_sub(u64::from(invite.ring_timeout_ms))
}

impl Arbiter {
    /// Opens a call: the caller is told the deadline, every device of the callees gets the invite.
    ///
    /// `invite` must have passed [`Invite::check`], and `from` must be who really sent it; it becomes the caller. `online` are the
    /// callees' devices that the driver knows to be within reach; none if it cannot know.
    pub fn open(config: ArbiterConfig, now: Now, from: Party, mut invite: Invite, online: Vec<Party>) -> Arbiter {
        invite.caller = from;
        invite.fold_callees();
        invite.ring_deadline_unix_ms = now.unix_ms + u64::from(invite.ring_timeout_ms);
        let deadline = now.mono + u64::from(invite.ring_timeout_ms);
        let mut arbiter = Arbiter::with_state(config, invite, ArbiterState::ringing(now, deadline, online));
        arbiter.confirm_to_caller(now);
        arbiter.send_invites();
        arbiter
    }

    /// What the caller is told when its call is not opened.
    pub fn refuse(call_id: CallId, refusal: InviteRefusal) -> CallMessage {
        CallMessage { call_id, word: Word::RingConfirm(RingConfirm::Refused { refusal }) }
    }

    /// The caller says its invite again: it missed the reply.
    pub(crate) fn on_invite(&mut self, now: Now, from: &Party) {
        if *from != self.invite.caller {
            return;
        }
        match &mut self.state {
            ArbiterState::Ringing { caller_heard, .. } => {
                *caller_heard = now.mono;
                self.confirm_to_caller(now);
            }
            ArbiterState::Answered { .. } => self.tell_caller_of_answer(),
            ArbiterState::Ended { .. } => {
                let reason = self.reason_for(from);
                self.send_to(from.clone(), Word::RingConfirm(RingConfirm::Over { reason, release: None }));
            }
        }
    }

    /// A device of a callee signed in: if the call still rings it is to know, and if it was missed, too.
    pub(crate) fn on_online(&mut self, party: Party) {
        if !self.invite.callees.contains(&party.user) {
            return;
        }
        match &mut self.state {
            ArbiterState::Ringing { reachable, .. } => {
                reachable.insert(party.clone());
                let invite = Word::Invite(Box::new(self.invite.clone()));
                self.send_to(party, invite);
            }
            ArbiterState::Answered { .. } => {}
            ArbiterState::Ended { outcome, knows, .. } => {
                if outcome.is_missed() && !knows.contains(&party) {
                    let missed = Word::Missed(Box::new(self.invite.clone()));
                    self.send_to(party, missed);
                }
            }
        }
    }

    pub(crate) fn send_invites(&mut self) {
        for callee in self.invite.callees.clone() {
            let invite = Word::Invite(Box::new(self.invite.clone()));
            self.send(To::User(callee), invite);
        }
    }

    fn confirm_to_caller(&mut self, now: Now) {
        let deadline_unix_ms = self.invite.ring_deadline_unix_ms;
        let left_ms = self.ring_left_ms(now).and_then(|left| u32::try_from(left).ok());
        let confirm = RingConfirm::Ring { deadline_unix_ms, left_ms, asked_unix_ms: None };
        self.send_to(self.invite.caller.clone(), Word::RingConfirm(confirm));
    }
}
