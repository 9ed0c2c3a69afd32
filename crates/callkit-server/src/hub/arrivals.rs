//! Who signs in: to a session of before, in place of one, beside one, or for a late question only.

use call_protocol::disconnect::{DisconnectReason, DisconnectSource};
use call_protocol::end::{End, EndReason, Release};
use call_protocol::media::LeaveReason;
use call_protocol::session::{RefuseReason, Resume, ServerBody};
use call_protocol::{CallId, CallMessage, Party, Word};
use signaling::Now;

use super::calls::CallKey;
use super::outbound::Held;
use super::session::{Link, Session, SessionKey};
use super::{Hub, Identity};
use crate::token::AppNo;

impl Hub {
    pub(super) fn on_signed_in(&mut self, now: Now, identity: Identity, resume: Option<Resume>, link: Link) {
        let Identity { app, party, bound, woken, for_one_call, mark: _, access } = identity;
        let device = (app, party.user.clone());
        let known = self.devices.get(&device).into_iter().flatten().copied();
        let is_same = |old: &Session| old.party == party && old.bound == bound;
        let old = known.into_iter().find(|key| self.sessions.get(key).is_some_and(is_same));
        if let (Some(key), Some(resume)) = (old, &resume)
            && let Some(session) = self.sessions.get_mut(&key)
            && session.name == resume.session
            && session.can_resume_from(resume.received)
        {
            if access.is_some_and(|access| access.has_ended) && !self.goes_on_without_token(now, key, &link) {
                return self.refuse_link(now, link, RefuseReason::TokenExpired);
            }
            self.drop_link(now, key, None);
            self.take_up(now, key, link, Some(resume.received));
            return self.expect_alerts(now, key);
        }
        let is_in_call = bound.is_some_and(|call_id| self.calls.is_taken_by(CallKey { app, call_id }, &party));
        if access.is_some_and(|access| access.has_ended) && !is_in_call {
            return self.refuse_link(now, link, RefuseReason::TokenExpired);
        }
        if let Some(call_id) = bound.filter(|_| resume.is_none() && is_in_call) {
            return self.tell_visitor(now, app, party, call_id, link);
        }
        if let Some(old) = old {
            self.channels.on_session_replaced(now, old);
            self.end_session(now, old, Some((RefuseReason::Replaced, String::new())), LeaveReason::Dropped);
        }
        let key = self.new_session(app, party.clone(), bound);
        if let Some(session) = self.sessions.get_mut(&key) {
            session.for_one_call = for_one_call;
            session.woken.clone_from(&woken);
        }
        self.devices.entry(device).or_default().push(key);
        self.take_up(now, key, link, None);
        if let Some(call_id) = bound {
            self.waking.note_came(CallKey { app, call_id }, &party, woken);
            self.silence_the_other(now, app, &party, call_id);
        }
        // A client that asks for a session which is gone has lost nothing itself; one that asks for none was started anew.
        let (is_restarted, scope) = (resume.is_none(), self.scope_of(app, &party));
        match bound {
            Some(call_id) => self.calls.on_verifying(now, CallKey { app, call_id }, &party, is_restarted),
            None if is_restarted => self.calls.on_restarted(now, app, &party, &scope),
            None => self.calls.on_online(now, app, &party, &scope),
        }
        self.bound_devices(now, key);
        if bound.is_none() {
            self.look_for_missed(key, None);
        }
        self.expect_alerts(now, key);
    }

    fn new_session(&mut self, app: AppNo, party: Party, bound: Option<CallId>) -> SessionKey {
        self.last_session += 1;
        let key = SessionKey(self.last_session);
        let name = format!("{:032x}", rand::random::<u128>());
        self.around.living.begin(&name);
        let beside = self.devices.get(&(app, party.user.clone())).into_iter().flatten();
        let beside = beside.filter_map(|key| self.sessions.get(key)).next();
        let held = Held::beside(beside.map(|session| &session.outbound.held), &self.held);
        self.sessions.insert(key, Session::new(name, app, party, bound, held));
        key
    }

    /// A push that came late asks about the call that its own device is in. It hears that there is nothing to ring for, and the call goes on:
    /// what asks is another part of the app than the one that talks.
    fn tell_visitor(&mut self, now: Now, app: AppNo, party: Party, call_id: CallId, link: Link) {
        let key = self.new_session(app, party, Some(call_id));
        if let Some(session) = self.sessions.get_mut(&key) {
            session.is_visitor = true;
        }
        self.take_up(now, key, link, None);
        self.send(now, key, is_elsewhere(call_id));
    }

    /// A device asks about a call with the cc_param of a push: from now on that session rings for it, and not the one it had before, too.
    fn silence_the_other(&mut self, now: Now, app: AppNo, party: &Party, call_id: CallId) {
        let rings = self.calls.rings_for(now, CallKey { app, call_id }, &party.user);
        let keys = self.devices.get(&(app, party.user.clone())).into_iter().flatten();
        let other = |key: &&SessionKey| {
            self.sessions.get(key).is_some_and(|session| session.bound.is_none() && session.party == *party)
        };
        if let Some(other) = keys.filter(|_| rings).find(other).copied() {
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
