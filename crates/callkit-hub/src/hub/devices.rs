//! How many devices a user is signed in on at one time.
//!
//! What a call costs grows with them, and a user makes as many as there are names for them.

use call_protocol::media::LeaveReason;
use call_protocol::session::RefuseReason;
use call_protocol::{DeviceId, UserId};
use signaling::Now;

use super::Hub;
use crate::ids::{AppNo, SessionKey};
use crate::look_ups::Purpose;
use crate::output::{Output, Query};

/// Devices of one user, and beside them as many sessions for one call each: as many as the store knows.
const PER_USER: usize = 32;

impl Hub {
    /// A session began: if the user has too many now, an old one goes. First it is looked up which of them a push reaches.
    pub(super) fn bound_devices(&mut self, now: Now, key: SessionKey) {
        let Some(session) = self.sessions.get(key) else { return };
        let (app, user, is_bound) = (session.app, session.party.user.clone(), session.bound.is_some());
        if self.sessions_of(app, &user, is_bound).len() <= PER_USER {
            return;
        }
        if is_bound || self.look_ups.is_full() {
            return self.end_the_oldest(now, app, &user, is_bound, &[]);
        }
        let id = self.look_ups.begin(Purpose::TooManyDevices { app, user: user.clone() });
        self.outputs.push_back(Output::LookUp { id, query: Query::Devices { app, user } });
    }

    /// Ends sessions until the user has no more than allowed: of devices that no push reaches before others, of those that are in no call
    /// before others, of those whose stream is gone before others, and the oldest before others. The newest one stays.
    pub(super) fn end_the_oldest(&mut self, now: Now, app: AppNo, user: &UserId, is_bound: bool, pushed: &[DeviceId]) {
        let mut sessions = self.sessions_of(app, user, is_bound);
        let rank = |key: &SessionKey| {
            let session = self.sessions.get(*key)?;
            let is_in_call = self.calls.is_in_call(app, &session.party);
            Some((pushed.contains(&session.party.device), is_in_call, session.link.is_some(), *key))
        };
        sessions.sort_unstable();
        sessions.pop();
        sessions.sort_by_cached_key(rank);
        let over = (sessions.len() + 1).saturating_sub(PER_USER);
        for key in sessions.into_iter().take(over) {
            let detail = "the user signed in on too many devices".to_owned();
            self.end_session(now, key, Some((RefuseReason::Replaced, detail)), LeaveReason::Dropped);
        }
    }

    fn sessions_of(&self, app: AppNo, user: &UserId, is_bound: bool) -> Vec<SessionKey> {
        let meant = self.sessions.of_user(app, user).filter(|(_, session)| session.bound.is_some() == is_bound);
        meant.map(|(key, _)| key).collect()
    }
}
