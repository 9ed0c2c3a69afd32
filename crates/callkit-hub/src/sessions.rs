//! All sessions, found by their numbers, by who has them, and by their streams.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use call_protocol::{CallId, DeviceId, Party, UserId};

use crate::calls::CallFilter;
use crate::ids::{AppNo, CallKey, SessionKey, StreamId};
use crate::outbound::Held;
use crate::session::Session;

#[derive(Default)]
pub(crate) struct Sessions {
    sessions: BTreeMap<SessionKey, Session>,
    /// The sessions of each user in the order in which they began, but for those that ask late and have no part in anything.
    users: BTreeMap<AppNo, BTreeMap<UserId, Vec<SessionKey>>>,
    streams: BTreeMap<StreamId, SessionKey>,
    /// Bytes kept for all devices.
    held: Arc<AtomicUsize>,
    last: u64,
}

impl Sessions {
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// How many users are signed in.
    pub(crate) fn users(&self) -> usize {
        self.users.values().map(BTreeMap::len).sum()
    }

    pub(crate) fn get(&self, key: SessionKey) -> Option<&Session> {
        self.sessions.get(&key)
    }

    pub(crate) fn get_mut(&mut self, key: SessionKey) -> Option<&mut Session> {
        self.sessions.get_mut(&key)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (SessionKey, &Session)> {
        self.sessions.iter().map(|(key, session)| (*key, session))
    }

    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut Session> {
        self.sessions.values_mut()
    }

    /// Those of which this holds.
    pub(crate) fn keys_of(&self, is_meant: impl Fn(&Session) -> bool) -> Vec<SessionKey> {
        self.all().filter(|(_, session)| is_meant(session)).map(|(key, _)| key).collect()
    }

    pub(crate) fn by_stream(&self, stream: StreamId) -> Option<SessionKey> {
        self.streams.get(&stream).copied()
    }

    /// From now on this stream is that of this session.
    pub(crate) fn bind(&mut self, stream: StreamId, key: SessionKey) {
        self.streams.insert(stream, key);
    }

    pub(crate) fn unbind(&mut self, stream: StreamId) -> Option<SessionKey> {
        self.streams.remove(&stream)
    }

    /// Begins a session; it is not found by its user before [`Sessions::list`].
    pub(crate) fn begin(&mut self, name: String, app: AppNo, party: Party, bound: Option<CallId>) -> SessionKey {
        self.last += 1;
        let key = SessionKey(self.last);
        let beside = self.of_user(app, &party.user).map(|(_, session)| &session.outbound.held).next();
        let held = Held::beside(beside, &self.held);
        self.sessions.insert(key, Session::new(name, app, party, bound, held));
        key
    }

    /// From now on the session is found by its user.
    pub(crate) fn list(&mut self, key: SessionKey) {
        let Some(Session { app, party, .. }) = self.sessions.get(&key) else { return };
        self.users.entry(*app).or_default().entry(party.user.clone()).or_default().push(key);
    }

    pub(crate) fn remove(&mut self, key: SessionKey) -> Option<Session> {
        let session = self.sessions.remove(&key)?;
        if let Some(users) = self.users.get_mut(&session.app)
            && let Some(keys) = users.get_mut(&session.party.user)
        {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                users.remove(&session.party.user);
            }
        }
        Some(session)
    }

    /// The sessions of a user in the order in which they began.
    pub(crate) fn of_user(&self, app: AppNo, user: &UserId) -> impl Iterator<Item = (SessionKey, &Session)> + use<'_> {
        let keys = self.users.get(&app).and_then(|users| users.get(user));
        keys.into_iter().flatten().filter_map(|key| Some((*key, self.sessions.get(key)?)))
    }

    pub(crate) fn has_user(&self, app: AppNo, user: &UserId) -> bool {
        self.users.get(&app).is_some_and(|users| users.contains_key(user))
    }

    pub(crate) fn is_anybody_connected(&self, app: AppNo, user: &UserId) -> bool {
        self.of_user(app, user).any(|(_, session)| session.link.is_some())
    }

    /// The devices of a user that are connected.
    pub(crate) fn online(&self, app: AppNo, user: &UserId) -> Vec<Party> {
        let sessions = self.of_user(app, user).map(|(_, session)| session);
        let online = sessions.filter(|session| session.link.is_some() && session.bound.is_none());
        online.map(|session| session.party.clone()).collect()
    }

    /// Which calls a device speaks of in a session that is bound to none: those for which it has no session of its own.
    pub(crate) fn filter_of(&self, app: AppNo, party: &Party) -> CallFilter {
        let sessions = self.of_user(app, &party.user).filter(|(_, session)| session.party == *party);
        CallFilter::AllBut(sessions.filter_map(|(_, session)| session.bound).collect())
    }

    /// The session that a device has for this call alone, or for all others.
    pub(crate) fn key_of(&self, app: AppNo, party: &Party, bound: Option<CallId>) -> Option<SessionKey> {
        let is_meant = |session: &Session| session.party == *party && session.bound == bound;
        self.of_user(app, &party.user).find(|(_, session)| is_meant(session)).map(|(key, _)| key)
    }

    /// The sessions that are to hear of a call: where a device signed in for this call alone, that session and no other of the device.
    pub(crate) fn recipients(&self, call: CallKey, user: &UserId, device: Option<&DeviceId>) -> Vec<SessionKey> {
        let sessions = || self.of_user(call.app, user);
        let is_bound = |session: &Session| session.bound == Some(call.call_id);
        let has_its_own =
            |device: &DeviceId| sessions().any(|(_, session)| is_bound(session) && session.party.device == *device);
        let meant = sessions().filter(|(_, session)| device.is_none_or(|device| session.party.device == *device));
        let meant = meant.filter(|(_, session)| {
            is_bound(session) || (session.bound.is_none() && !has_its_own(&session.party.device))
        });
        meant.map(|(key, _)| key).collect()
    }

    /// The sessions by which a device hears of this call: its own, and that of whoever its push has brought.
    pub(crate) fn hearing_of(&self, call: CallKey, party: &Party) -> impl Iterator<Item = &Session> {
        self.of_user(call.app, &party.user).map(|(_, session)| session).filter(move |session| {
            let is_its = session.party.device == party.device || session.woken.as_ref() == Some(&party.device);
            is_its && session.link.is_some() && session.bound.is_none_or(|bound| bound == call.call_id)
        })
    }
}
