//! Missed calls, told to each device once, however long it was away.
//!
//! Each call that is over has a number, in the order of their ends, and of each device it is noted up to which number it knows what it
//! missed: what it was told and has not acknowledged it does not know. No clock has a part in that. It is told a few at a time, as it
//! acknowledges, however many there are: others make them, and none of them ends a session.

use call_protocol::end::EndReason;
use call_protocol::invite::Invite;
use call_protocol::session::ServerBody;
use call_protocol::{AppId, CallMessage, DeviceId, Party, UserId, Word, limits};
use signaling::Now;
use tracing::warn;

use super::Hub;
use super::calls::{CallKey, EndedCall, MissedBy};
use super::session::{Session, SessionKey};
use crate::store::{Device, Store, StoreError, StoredCall};
use crate::token::AppNo;

/// Calls told at one time; the next ones follow when these are acknowledged.
const AT_ONCE: usize = 32;
/// Missed calls, the last ones of a user, of which it is looked whether they are remembered and not only in the history.
const JUST_OVER: usize = 256;
/// Searches in the store at one time, of each kind: after a restart all devices come back at once.
pub(super) const LOOKUPS: usize = 8;
/// Missed calls of which a device may not have acknowledged yet that it was told; of more it is told again when it signs in anew.
const UNSURE: usize = 64;
/// Searches that may wait; a device that finds no room is told at its next sign-in.
pub(super) const LOOKUPS_WAITING: usize = 65_536;

/// What was looked up in the store.
pub(super) enum Found {
    Devices {
        key: CallKey,
        user: UserId,
        devices: Vec<Device>,
    },
    /// The devices that a push reaches.
    Pushed {
        app: AppNo,
        user: UserId,
        pushed: Vec<DeviceId>,
    },
    /// Missed calls, oldest end first.
    Missed {
        session: SessionKey,
        missed: Missed,
    },
}

/// What a device may have missed.
#[derive(Default)]
pub(super) struct Missed {
    /// Oldest end first.
    calls: Vec<StoredCall>,
    /// What has no higher number is not told if only the history knows of it; none where that was said before.
    since: Option<u64>,
}

impl Hub {
    pub(super) fn on_found(&mut self, now: Now, found: Found) {
        match found {
            Found::Devices { key, user, devices } => self.on_devices(now, key, &user, devices),
            Found::Pushed { app, user, pushed } => self.end_the_oldest(now, app, &user, false, &pushed),
            Found::Missed { session, missed } => self.on_missed_calls(now, session, &missed),
        }
    }

    /// Looks which calls a device has missed, after the one it was told of last, or since it was last here.
    pub(super) fn look_for_missed(&mut self, key: SessionKey, after: Option<u64>) {
        let (Some(session), Some(store)) = (self.sessions.get_mut(&key), self.around.store.clone()) else { return };
        if session.for_one_call {
            return;
        }
        let (app_id, party) = (self.around.apps.name(session.app).clone(), session.party.clone());
        session.is_looked_up = true;
        if self.lookups.len() >= LOOKUPS_WAITING {
            return;
        }
        let permits = self.permits.clone();
        // What ends from here on is told to the device as it happens, and may be in the store before it is looked into.
        let until = store.last_number();
        self.lookups.spawn(async move {
            let _permit = permits.acquire().await;
            let mut missed = missed(&store, &app_id, &party, after).await.unwrap_or_else(|error| {
                warn!(%error, "missed calls cannot be read");
                Missed::default()
            });
            missed.calls.retain(|call| call.number <= until);
            Found::Missed { session: key, missed }
        });
    }

    fn on_missed_calls(&mut self, now: Now, key: SessionKey, missed: &Missed) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let app = session.app;
        (session.is_looked_up, session.told_until) = (false, None);
        session.told_since = missed.since.unwrap_or(session.told_since);
        let mut told: Vec<Invite> = Vec::new();
        let mut last = None;
        for call in &missed.calls {
            let invite = match self.calls.missed_by(CallKey { app, call_id: call.call_id }, &session.party) {
                MissedBy::Nobody => continue,
                MissedBy::Forgotten if call.number <= session.told_since => continue,
                MissedBy::Forgotten => invite_of(call),
                MissedBy::Remembered(invite) => invite.clone(),
            };
            if told.len() == AT_ONCE {
                session.told_until = last;
                break;
            }
            last = Some(call.number);
            session.untold.insert(call.call_id, call.number);
            told.push(invite);
        }
        self.note_here(key);
        for invite in told {
            let (call_id, word) = (invite.call_id, Word::Missed(Box::new(invite)));
            self.send(now, key, ServerBody::Call(CallMessage { call_id, word }));
        }
    }

    /// A device said something of a call: perhaps that it knows that it missed it.
    pub(super) fn on_missed_known(&mut self, key: SessionKey, message: &CallMessage) {
        let Word::End(end) = &message.word else { return };
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if end.reason != EndReason::NoResponse || session.untold.remove(&message.call_id).is_none() {
            return;
        }
        if session.untold.is_empty() && !session.is_looked_up {
            match session.told_until.take() {
                Some(after) => self.look_for_missed(key, Some(after)),
                None => self.note_here(key),
            }
            self.on_caught_up(key);
        }
    }

    /// A device is about to be told of a missed call. False if it is not to be: it is there for one call only.
    pub(super) fn on_missed_told(&mut self, key: SessionKey, invite: &Invite) -> bool {
        let hears = |session: &&mut Session| session.bound.is_some() || !session.for_one_call;
        let Some(session) = self.sessions.get_mut(&key).filter(hears) else { return false };
        // Its number may be any that is not noted yet.
        session.untold.entry(invite.call_id).or_insert(session.noted + 1);
        true
    }

    /// A call was missed: the devices that are here know, once they have acknowledged what they were told.
    pub(super) fn on_missed(&mut self, ended: &EndedCall, number: u64) {
        for callee in &ended.invite.callees {
            for key in self.devices.get(&(ended.app, callee.clone())).cloned().unwrap_or_default() {
                let Some(session) = self.sessions.get_mut(&key).filter(|session| session.behind_since.is_none()) else {
                    continue;
                };
                if session.unsure.len() < UNSURE {
                    session.unsure.push_back((session.outbound.last(), number));
                } else {
                    session.behind_since = Some(number);
                }
                self.on_caught_up(key);
            }
        }
    }

    /// A device was never told that a call rang, as it has not acknowledged what it was told before: if it missed the call it is told that
    /// when it has.
    pub(super) fn on_unseen(&mut self, key: SessionKey, call: CallKey) {
        // The call is recorded after its devices were told.
        let next = self.around.store.as_ref().map_or(0, Store::last_number) + 1;
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if session.bound.is_none() && !matches!(self.calls.missed_by(call, &session.party), MissedBy::Nobody) {
            session.behind_since.get_or_insert(next);
        }
    }

    /// A device may have acknowledged what it was told.
    pub(super) fn on_caught_up(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let acknowledged = session.outbound.acknowledged();
        let before = session.unsure.len();
        while session.unsure.front().is_some_and(|(last, _)| *last <= acknowledged) {
            session.unsure.pop_front();
        }
        let knows_more = session.unsure.len() < before;
        let is_told = session.untold.is_empty() && !session.is_looked_up && session.told_until.is_none();
        let looks = is_told && !session.outbound.is_behind() && session.behind_since.is_some();
        if knows_more {
            self.note_here(key);
        }
        if looks {
            if let Some(session) = self.sessions.get_mut(&key) {
                session.behind_since = None;
            }
            self.look_for_missed(key, None);
        }
    }

    fn note_here(&mut self, key: SessionKey) {
        let known = self.sessions.get(&key).and_then(|session| self.note_known(session));
        if let (Some(known), Some(session)) = (known, self.sessions.get_mut(&key)) {
            session.noted = session.noted.max(known);
        }
    }

    /// Writes down up to which call the device of a session knows of all that it missed: the last one, but for what it has not acknowledged
    /// or was not told yet.
    pub(super) fn note_known(&self, session: &Session) -> Option<u64> {
        let Session { app, party, bound: None, for_one_call: false, is_looked_up: false, .. } = session else {
            return None;
        };
        let store = self.around.store.as_ref()?;
        let untold = session.untold.values().min().copied();
        let unsure = session.unsure.front().map(|(_, number)| *number);
        let further = session.told_until.map(|number| number + 1);
        let unknown = [untold, unsure, further, session.behind_since].into_iter().flatten().min();
        let known = unknown.map_or_else(|| store.last_number(), |unknown| unknown - 1);
        if known >= session.noted {
            store.seen(self.around.apps.name(*app), &party.user, &party.device, known);
        }
        Some(known)
    }
}

/// A device that is new hears of what came since any device of the user was here, and of what is just over.
async fn missed(store: &Store, app: &AppId, party: &Party, after: Option<u64>) -> Result<Missed, StoreError> {
    // What was noted when the last session ended may not be written yet.
    store.flush().await;
    let (after, since, older) = match after {
        Some(after) => (after, None, 0),
        None => {
            let devices = store.devices_of(app, &party.user).await?;
            let own = devices.iter().find(|known| known.device == party.device);
            let seen = own.or_else(|| devices.iter().max_by_key(|known| known.knows));
            let known = seen.map_or(0, |seen| seen.knows);
            if own.is_none() {
                // From now on it counts for itself, even if it is gone before it was told of anything.
                store.seen(app, &party.user, &party.device, known);
            }
            (known, Some(known), if own.is_none() { JUST_OVER } else { 0 })
        }
    };
    let calls = store.missed_after(app, &party.user, after, older).await?;
    Ok(Missed { calls, since })
}

/// The invite of a call of which only its record is left.
fn invite_of(call: &StoredCall) -> Invite {
    let rang_ms = u32::try_from(call.ring_ms).unwrap_or(u32::MAX);
    let ring_timeout_ms = rang_ms.clamp(limits::RING_TIMEOUT_MIN_MS, limits::RING_TIMEOUT_MAX_MS);
    Invite {
        call_id: call.call_id,
        caller: call.caller.clone(),
        callees: vec![call.callee.clone()],
        call_type: call.call_type,
        channel: call.call_id.channel(),
        ext: Default::default(),
        ring_timeout_ms,
        ring_deadline_unix_ms: call.began_unix_ms.saturating_add(ring_timeout_ms.into()),
        responder_preparation: false,
        app_server_data: String::new(),
    }
}
