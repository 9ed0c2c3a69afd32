//! What a session may say, and which channels it may join.

use call_protocol::media::{ChannelRequest, ChannelRequestBody, JoinRefusal};
use call_protocol::ring::InviteRefusal;
use call_protocol::session::ServerBody;
use call_protocol::{CallMessage, Word};
use signaling::{Arbiter, Now};

use super::Hub;
use crate::calls::CallFilter;
use crate::ids::{CallKey, SessionKey};
use crate::input::Grant;
use crate::output::{Fact, Output};

/// For how long a party may be in its own call's channel without a token: until the call ends, which ends it.
const CALL_GRANT_MS: u64 = 365 * 24 * 3_600 * 1_000;

impl Hub {
    /// Whether a session says what it may not: one that is bound to a call of another one, and any other of a call that its device has a
    /// session of its own for.
    pub(super) fn is_not_its(&self, key: SessionKey, message: &CallMessage) -> bool {
        let Some(session) = self.sessions.get(key) else { return true };
        match session.bound {
            Some(_) if session.is_visitor => true,
            Some(bound) => message.call_id != bound || matches!(message.word, Word::Invite(_)),
            None => self.sessions.key_of(session.app, &session.party, Some(message.call_id)).is_some(),
        }
    }

    /// What a session says of calls that are not its own changes nothing, as from any stranger.
    pub(super) fn answer_stranger(&mut self, now: Now, key: SessionKey, message: &CallMessage) {
        let Some(session) = self.sessions.get(key) else { return };
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
        &mut self,
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
        let session = self.sessions.get(key)?;
        let (app, party) = (session.app, &session.party);
        let is_foreign = |call_id| self.calls.channel_of(CallKey { app, call_id }) != Some(&request.channel);
        if session.bound.is_some_and(is_foreign) {
            return Some(Err(JoinRefusal::TokenInvalid));
        }
        if grant.is_some() {
            return grant;
        }
        let filter = session.bound.map_or_else(|| CallFilter::AllBut(Vec::new()), CallFilter::Only);
        let own = self.calls.own_call(app, party, &request.channel, &filter);
        // Who came in with a token of the app's backend need not be of the call, whatever the channel is called.
        let own = own.filter(|own| self.channels.has_only(app, &request.channel, &own.parties));
        let Some(own) = own else {
            self.outputs.push_back(Output::Fact(Fact::TokenMissing));
            return Some(Err(JoinRefusal::TokenInvalid));
        };
        let uid = self.channels.uid_of_party(app, &request.channel, party, if own.is_caller { 1 } else { 2 })?;
        Some(Ok(Grant { uid, until_unix_ms: now.unix_ms + CALL_GRANT_MS, of_call: true }))
    }
}
