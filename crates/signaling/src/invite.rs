//! Invite: a device calls, the arbiter opens the call, the callee's devices hear of it.

use call_protocol::accept::{Answer, AnswerResult};
use call_protocol::end::EndReason;
use call_protocol::invite::{CallType, Ext, Invite};
use call_protocol::ring::{InviteRefusal, RingConfirm};
use call_protocol::{CallId, CallMessage, Party, UserId, Word};

use crate::arbiter::{Arbiter, ArbiterConfig, State as ArbiterState, To};
use crate::line::{Address, Call, CommandError, Line, State};
use crate::time::{Now, Repeat};

impl Line {
    pub(crate) fn invite(
        &mut self,
        now: Now,
        call_id: CallId,
        callees: Vec<UserId>,
        call_type: CallType,
        ext: Ext,
        ring_timeout_ms: u32,
    ) -> Result<(), CommandError> {
        if self.state != State::Idle {
            return Err(CommandError::Busy);
        }
        let invite = Invite {
            call_id,
            caller: self.me.clone(),
            callees,
            call_type,
            channel: call_id.channel(),
            ext,
            ring_timeout_ms,
            ring_deadline_unix_ms: 0,
        };
        invite.check()?;
        let arbiter = self.config.arbiter.clone();
        self.send(arbiter.clone(), call_id, Word::Invite(Box::new(invite.clone())));
        let give_up = now.mono + u64::from(ring_timeout_ms) + self.config.caller_patience_ms;
        let call = Call { invite, arbiter };
        self.state = State::Calling { call, confirmed: false, alerted: false, next: Repeat::first(now), give_up };
        Ok(())
    }

    /// An invite for a free line is alerted; for a busy one it is answered busy; a repeated one changes nothing.
    pub(crate) fn on_invite(&mut self, now: Now, from: Address, invite: Invite) {
        let call_id = invite.call_id;
        let known = self.call_with(call_id).is_some() || self.alerting.contains_key(&call_id) || self.is_over(call_id);
        if known || invite.check().is_err() || !invite.callees.contains(&self.me.user) {
            return;
        }
        if self.state == State::Idle && self.alerting.len() < Self::ALERTS {
            self.alert(now, Call { invite, arbiter: from });
        } else {
            self.answer_busy(now, call_id, from);
        }
    }

    pub(crate) fn answer_busy(&mut self, now: Now, call_id: CallId, arbiter: Address) {
        let answer = Answer { callee: self.me.clone(), result: AnswerResult::Busy };
        self.leave(now, call_id, arbiter, EndReason::Busy, Some(Word::Answer(answer)));
    }

    pub(crate) fn on_time_calling(&mut self, now: Now) {
        let State::Calling { call, confirmed, next, give_up, .. } = &mut self.state else { return };
        if now.mono >= *give_up {
            self.end_current(now, EndReason::RemoteNoResponse, Some(Self::cancel_word()));
        } else if now.mono >= next.at {
            next.again(now);
            let (to, call_id) = (call.arbiter.clone(), call.invite.call_id);
            let word = if *confirmed {
                next.at = now.mono + self.config.keep_alive_ms;
                Word::KeepAlive { in_call: false }
            } else {
                Word::Invite(Box::new(call.invite.clone()))
            };
            self.send(to, call_id, word);
        }
    }
}

impl Arbiter {
    /// Opens a call: the caller is told the deadline, every device of the callees gets the invite.
    ///
    /// `invite` must have passed [`Invite::check`], and `from` must be who really sent it; it becomes the caller.
    pub fn open(config: ArbiterConfig, now: Now, from: Party, mut invite: Invite) -> Arbiter {
        invite.caller = from;
        invite.ring_deadline_unix_ms = now.unix_ms + u64::from(invite.ring_timeout_ms);
        let deadline = now.mono + u64::from(invite.ring_timeout_ms);
        let mut arbiter = Arbiter::with_state(config, invite, ArbiterState::ringing(now, deadline));
        arbiter.confirm_to_caller();
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
                self.confirm_to_caller();
            }
            ArbiterState::Answered { .. } => self.tell_caller_of_answer(),
            ArbiterState::Ended { .. } => {
                let reason = self.reason_for(from);
                self.send_to(from.clone(), Word::RingConfirm(RingConfirm::Over { reason }));
            }
        }
    }

    /// A device of a callee signed in: if the call still rings, it is to know.
    pub(crate) fn on_online(&mut self, party: Party) {
        let rings = match &self.state {
            ArbiterState::Ringing { .. } => true,
            ArbiterState::Answered { .. } | ArbiterState::Ended { .. } => false,
        };
        if rings && self.invite.callees.contains(&party.user) {
            let invite = Word::Invite(Box::new(self.invite.clone()));
            self.send_to(party, invite);
        }
    }

    pub(crate) fn send_invites(&mut self) {
        for callee in self.invite.callees.clone() {
            let invite = Word::Invite(Box::new(self.invite.clone()));
            self.send(To::User(callee), invite);
        }
    }

    fn confirm_to_caller(&mut self) {
        let confirm = RingConfirm::Ring { deadline_unix_ms: self.invite.ring_deadline_unix_ms };
        self.send_to(self.invite.caller.clone(), Word::RingConfirm(confirm));
    }
}
