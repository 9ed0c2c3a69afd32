//! How many devices a user is signed in on at one time.
//!
//! What a call costs grows with them, and a user makes as many as there are names for them.

use call_protocol::media::LeaveReason;
use call_protocol::session::RefuseReason;
use call_protocol::{DeviceId, UserId};
use signaling::Now;
use tracing::warn;

use super::Hub;
use super::missed::{Found, LOOKUPS_WAITING};
use super::session::{Session, SessionKey};
use crate::token::AppNo;

/// Devices of one user, and beside them as many sessions for one call each: as many as the store knows.
const PER_USER: usize = 32;

impl Hub {
    /// A session began: if the user has too many now, an old one goes. First it is looked up which of them a push reaches.
    pub(super) fn bound_devices(&mut self, now: Now, key: SessionKey) {
        let Some(session) = self.sessions.get(&key) else { return };
        let (app, user, is_bound) = (session.app, session.party.user.clone(), session.bound.is_some());
        if self.sessions_of(app, &user, is_bound).len() <= PER_USER {
            return;
        }
        let Some(store) = self.around.store.clone().filter(|_| !is_bound && self.lookups.len() < LOOKUPS_WAITING)
        else {
            return self.end_the_oldest(now, app, &user, is_bound, &[]);
        };
        let (app_id, permits) = (self.around.apps.name(app).clone(), self.permits.clone());
        self.lookups.spawn(async move {
            let _permit = permits.acquire().await;
            // An address that was just set may not be written yet.
            store.flush().await;
            let devices = store.devices_of(&app_id, &user).await.unwrap_or_else(|error| {
                warn!(%error, "devices cannot be read");
                Vec::new()
            });
            let pushed = devices.into_iter().filter(|known| known.push.is_some()).map(|known| known.device).collect();
            Found::Pushed { app, user, pushed }
        });
    }

    /// Ends sessions until the user has no more than allowed: of devices that no push reaches before others, of those that are in no call
    /// before others, of those whose stream is gone before others, and the oldest before others. The newest one stays.
    pub(super) fn end_the_oldest(&mut self, now: Now, app: AppNo, user: &UserId, is_bound: bool, pushed: &[DeviceId]) {
        let mut sessions = self.sessions_of(app, user, is_bound);
        let rank = |key: &SessionKey| {
            let session = self.sessions.get(key)?;
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
        let keys = self.devices.get(&(app, user.clone())).into_iter().flatten().copied();
        let is_meant = |session: &Session| session.bound.is_some() == is_bound;
        keys.filter(|key| self.sessions.get(key).is_some_and(is_meant)).collect()
    }
}
