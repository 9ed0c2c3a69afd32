//! Who signs in: to a session of before, in place of one, beside one, or for a late question only.

use call_protocol::disconnect::{DisconnectReason, DisconnectSource};
use call_protocol::end::{End, EndReason, Release};
use call_protocol::media::LeaveReason;
use call_protocol::session::{RefuseReason, Resume, ServerBody};
use call_protocol::{CallId, CallMessage, Party, Word};
use rand_chacha::rand_core::Rng as _;
use signaling::Now;

use super::Hub;
use crate::ids::{Address, AppNo, CallKey, SessionKey, StreamId};
use crate::input::Identity;
use crate::output::Output;
use crate::session::NewStream;

impl Hub {
    pub(super) fn on_signed_in(
        &mut self,
        now: Now,
        stream: StreamId,
        identity: Identity,
        resume: Option<Resume>,
        stun_server: String,
    ) {
        let Identity { app, party, bound, woken, for_one_call, mark, access } = identity;
        let access_until = access.filter(|_| bound.is_none()).map(|access| access.until);
        let mut new = NewStream { stream, access_until, mark, stun_server };
        let has_ended = access.is_some_and(|access| access.has_ended);
        let old = self.sessions.key_of(app, &party, bound);
        let session = old.and_then(|key| self.sessions.get(key));
        let goes_on = |resume: &&Resume| {
            session.is_some_and(|old| old.name == resume.session && old.can_resume_from(resume.received))
        };
        let resumed = resume.as_ref().filter(goes_on);
        if let (Some(key), Some(resume)) = (old, resumed) {
            if has_ended && !self.goes_on_without_token(now, key, &mut new) {
                return self.refuse_stream(now, stream, RefuseReason::TokenExpired);
            }
            self.drop_link(now, key, None);
            self.take_up(now, key, new, Some(resume.received));
            return self.expect_alerts(now, key);
        }
        let is_in_call = bound.is_some_and(|call_id| self.calls.is_taken_by(CallKey { app, call_id }, &party));
        if has_ended && !is_in_call {
            return self.refuse_stream(now, stream, RefuseReason::TokenExpired);
        }
        if let Some(call_id) = bound.filter(|_| resume.is_none() && is_in_call) {
            return self.answer_visitor(now, app, party, call_id, new);
        }
        if let Some(old) = old {
            let address = Address { app, party: party.clone(), only_for: bound };
            self.channels.on_session_replaced(now, &address);
            self.end_session(now, old, Some((RefuseReason::Replaced, String::new())), LeaveReason::Dropped);
        }
        let key = self.new_session(app, party.clone(), bound);
        if let Some(session) = self.sessions.get_mut(key) {
            session.for_one_call = for_one_call;
            session.woken.clone_from(&woken);
        }
        self.sessions.list(key);
        self.take_up(now, key, new, None);
        if let Some(call_id) = bound {
            self.pushes.note_came(CallKey { app, call_id }, &party, woken);
            self.silence_the_other(now, app, &party, call_id);
        }
        // A client that asks for a session which is gone has lost nothing itself; one that asks for none was started anew.
        self.tell_of_calls(now, key, resume.is_none());
        self.bound_devices(now, key);
        if bound.is_none() {
            self.look_for_missed(key, None);
        }
        self.expect_alerts(now, key);
    }

    /// A device that has just signed in is told of the calls of which its session speaks.
    fn tell_of_calls(&mut self, now: Now, key: SessionKey, is_restarted: bool) {
        let Some(session) = self.sessions.get(key) else { return };
        let (app, party) = (session.app, session.party.clone());
        let filter = self.sessions.filter_of(app, &party);
        match session.bound {
            Some(call_id) => self.calls.on_verifying(now, CallKey { app, call_id }, &party, is_restarted),
            None if is_restarted => self.calls.on_restarted(now, app, &party, &filter),
            None => self.calls.on_online(now, app, &party, &filter),
        }
    }

    fn new_session(&mut self, app: AppNo, party: Party, bound: Option<CallId>) -> SessionKey {
        let name = format!("{:016x}{:016x}", self.rng.next_u64(), self.rng.next_u64());
        self.outputs.push_back(Output::SessionBegan(name.clone()));
        self.sessions.begin(name, app, party, bound)
    }

    /// A push that came late asks about the call that its own device is in. It hears that there is nothing to ring for, and the call goes on:
    /// what asks is another part of the app than the one that talks.
    fn answer_visitor(&mut self, now: Now, app: AppNo, party: Party, call_id: CallId, new: NewStream) {
        let key = self.new_session(app, party, Some(call_id));
        if let Some(session) = self.sessions.get_mut(key) {
            session.is_visitor = true;
        }
        self.take_up(now, key, new, None);
        self.send(now, key, is_elsewhere(call_id));
    }

    /// A device asks about a call with the cc_param of a push: from now on that session rings for it, and not the one it had before, too.
    fn silence_the_other(&mut self, now: Now, app: AppNo, party: &Party, call_id: CallId) {
        let rings = self.calls.rings_for(now, CallKey { app, call_id }, &party.user);
        if let Some(other) = self.sessions.key_of(app, party, None).filter(|_| rings) {
            self.send(now, other, is_elsewhere(call_id));
        }
    }
}

/// What a session is told of a call that another session of its device has.
fn is_elsewhere(call_id: CallId) -> ServerBody {
    let (reason, source) = (DisconnectReason::ReleasedCall, DisconnectSource::CloudServer);
    let release = Some(Release { reason, source, user_code: None });
    let word = Word::End(End { reason: EndReason::AnsweredElsewhere, release });
    ServerBody::Call(CallMessage { call_id, word })
}
