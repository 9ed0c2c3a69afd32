//! What a cc_param is good for: it is sealed when a call opens, and whoever brings it speaks of that call and of nothing else.

use call_protocol::end::UserCode;
use call_protocol::invite::{CallType, Invite};
use call_protocol::media::{ChannelRequest, ChannelRequestBody, JoinRefusal};
use call_protocol::ring::InviteRefusal;
use call_protocol::session::ServerBody;
use call_protocol::{CallId, CallMessage, CcParam, DeviceId, Party, UserId, Word};
use signaling::{Arbiter, Now};
use tokio::sync::oneshot;

use super::Hub;
use super::calls::{CallKey, Scope, Standing};
use super::session::SessionKey;
use crate::outbox::Media;
use crate::token::{AppNo, AuthFailure, Grant, TokenError};

/// A question about a call from somebody who has no stream, only a cc_param that was found good.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) key: CallKey,
    pub(crate) user: UserId,
    pub(crate) wanted: Wanted,
    /// How the call was before.
    pub(crate) answer: oneshot::Sender<Standing>,
}

/// What is wanted.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// To know whether it rings.
    Verify,
    /// To say no.
    Decline(Option<UserCode>),
}

/// A callee of the development backend asks for the cc_param of the call that rings for it, newest first.
#[derive(Debug)]
pub(crate) struct ParamWanted {
    pub(crate) app: AppNo,
    pub(crate) user: UserId,
    /// `None` if no call rings for it.
    pub(crate) answer: oneshot::Sender<Option<String>>,
}

/// For how long a party may be in its own call's channel without a token: until the call ends, which ends it.
const CALL_GRANT_MS: u64 = 365 * 24 * 3_600 * 1_000;

impl Hub {
    pub(super) fn seal(&self, app: AppNo, invite: &Invite, callee: &UserId, device: Option<&DeviceId>) -> String {
        let app_id = self.around.apps.name(app);
        let param = CcParam {
            app_id: app_id.clone(),
            call_id: invite.call_id,
            user: callee.clone(),
            peer: invite.caller.user.clone(),
            call_type: invite.call_type,
            ring_deadline_unix_ms: invite.ring_deadline_unix_ms,
            device: device.cloned(),
        };
        param.seal(|payload| self.around.cc_keys.sign(app_id, payload))
    }

    /// Which calls a device speaks of in a session that is bound to none: those for which it has no session of its own.
    pub(super) fn scope_of(&self, app: AppNo, party: &Party) -> Scope {
        let keys = self.devices.get(&(app, party.user.clone())).into_iter().flatten();
        let sessions = keys.filter_map(|key| self.sessions.get(key)).filter(|session| session.party == *party);
        Scope::AllBut(sessions.filter_map(|session| session.bound).collect())
    }

    /// Whether a session says what it may not: one that is bound to a call of another one, and any other of a call that its device has a
    /// session of its own for.
    pub(super) fn is_not_its(&self, key: SessionKey, message: &CallMessage) -> bool {
        let Some(session) = self.sessions.get(&key) else { return true };
        match session.bound {
            Some(_) if session.is_visitor => true,
            Some(bound) => message.call_id != bound || matches!(message.word, Word::Invite(_)),
            None => self.bound_session(session.app, &session.party, message.call_id).is_some(),
        }
    }

    /// The session that a device has for this call alone.
    pub(super) fn bound_session(&self, app: AppNo, party: &Party, call_id: CallId) -> Option<SessionKey> {
        let mut keys = self.devices.get(&(app, party.user.clone())).into_iter().flatten().copied();
        keys.find(|key| {
            self.sessions.get(key).is_some_and(|session| session.bound == Some(call_id) && session.party == *party)
        })
    }

    /// What a session says of calls that are not its own changes nothing, as from any stranger.
    pub(super) fn answer_stranger(&mut self, now: Now, key: SessionKey, message: &CallMessage) {
        let Some(session) = self.sessions.get(&key) else { return };
        let reply = match message.word {
            Word::Invite(_) => Some(Arbiter::refuse(message.call_id, InviteRefusal::Invalid)),
            Word::Alert(_)
            | Word::RingConfirm(_)
            | Word::Answer(_)
            | Word::AnswerConfirm(_)
            | Word::Cancel(_)
            | Word::End(_)
            | Word::KeepAlive(_)
            | Word::Negotiation(_)
            | Word::Reachability { .. }
            | Word::Hold { .. }
            | Word::Missed(_) => Arbiter::reply_to_unknown(&session.party, message),
        };
        if let Some(reply) = reply {
            self.send(now, key, ServerBody::Call(reply));
        }
    }

    /// What allows a join or a renewal: the token, or without one that the channel is the own one of the party's call.
    pub(super) fn granted(
        &self,
        now: Now,
        key: SessionKey,
        request: &ChannelRequest,
        grant: Option<Result<Grant, JoinRefusal>>,
    ) -> Option<Result<Grant, JoinRefusal>> {
        match &request.body {
            ChannelRequestBody::Join { .. } | ChannelRequestBody::RenewToken { .. } => {}
            ChannelRequestBody::Leave
            | ChannelRequestBody::Description { .. }
            | ChannelRequestBody::Candidate { .. }
            | ChannelRequestBody::Tracks(_) => return grant,
        }
        let session = self.sessions.get(&key)?;
        let (app, party) = (session.app, &session.party);
        if session.is_visitor {
            return Some(Err(JoinRefusal::TokenInvalid));
        }
        let is_foreign = |call_id| self.calls.channel_of(CallKey { app, call_id }) != Some(&request.channel);
        if session.bound.is_some_and(is_foreign) {
            return Some(Err(JoinRefusal::TokenInvalid));
        }
        if grant.is_some() {
            return grant;
        }
        let scope = session.bound.map_or_else(|| Scope::AllBut(Vec::new()), Scope::Only);
        let own = self.calls.own_call(app, party, &request.channel, &scope);
        // Who came in with a token of the app's backend need not be of the call, whatever the channel is called.
        let own = own.filter(|own| self.channels.has_only(app, &request.channel, &own.parties));
        let Some(own) = own else {
            self.around.metering.auth_failed(AuthFailure::Token(TokenError::Shape));
            return Some(Err(JoinRefusal::TokenInvalid));
        };
        let uid = self.channels.uid_of_party(app, &request.channel, party, if own.is_caller { 1 } else { 2 })?;
        Some(Ok(Grant { uid, until_unix_ms: now.unix_ms + CALL_GRANT_MS, of_call: true }))
    }

    pub(super) fn on_asked(&mut self, now: Now, question: Question) {
        let Question { key, user, wanted, answer } = question;
        let standing = match wanted {
            Wanted::Verify => self.calls.standing(now, key, &user),
            Wanted::Decline(user_code) => {
                let standing = self.calls.decline(now, key, user, user_code);
                self.pass_on(now);
                standing
            }
        };
        // Whoever asked may be gone.
        answer.send(standing).ok();
    }
}

impl Hub {
    pub(super) fn on_param_wanted(&self, now: Now, wanted: ParamWanted) {
        let ParamWanted { app, user, answer } = wanted;
        let keys = self.calls.of_user(app, &user).into_iter().rev().map(|call_id| CallKey { app, call_id });
        let mut rings = keys.filter(|key| matches!(self.calls.standing(now, *key, &user), Standing::Rings { .. }));
        let invite = rings.next().and_then(|key| self.calls.invite_of(key));
        // Whoever asked may be gone.
        answer.send(invite.map(|invite| self.seal(app, invite, &user, None))).ok();
    }
}

pub(super) fn media(call_type: CallType) -> Media {
    match call_type {
        CallType::Audio1v1 => Media::Audio,
        CallType::Video1v1 | CallType::Multi => Media::Video,
    }
}
