//! Missed calls: looked up when a device signs in, and told to it until it has acknowledged them.

use call_protocol::end::EndReason;
use call_protocol::session::ServerBody;
use call_protocol::{CallId, CallMessage, Party, Word};
use signaling::Now;

use super::Hub;
use crate::calls::EndedCall;
use crate::ids::{AppNo, CallKey, LookUpId, SessionKey};
use crate::input::{Found, KnownDevice};
use crate::look_ups::Purpose;
use crate::missed::{MissedBy, NowKnown};
use crate::output::{Change, Output, Query};
use crate::record::CallRecord;
use crate::session::Session;

/// Missed calls, the last ones of a user, of which it is looked whether they are remembered and not only in the history.
const JUST_OVER: usize = 256;

impl Hub {
    pub(super) fn on_found(&mut self, now: Now, id: LookUpId, found: Found) {
        match (self.look_ups.end(id), found) {
            (Some(Purpose::Push { key, user }), Found::Devices(devices)) => {
                self.on_devices(now, key, user, devices.unwrap_or_default());
            }
            (Some(Purpose::TooManyDevices { app, user }), Found::Devices(devices)) => {
                let devices = devices.unwrap_or_default().into_iter();
                let pushed: Vec<_> = devices.filter(|known| known.push.is_some()).map(|known| known.device).collect();
                self.end_the_oldest(now, app, &user, false, &pushed);
            }
            (Some(Purpose::Devices { session, app, party, until }), Found::Devices(Some(devices))) => {
                self.look_after_last_seen(session, app, party, until, &devices);
            }
            (Some(Purpose::Devices { session, .. }), Found::Devices(None)) => {
                self.on_missed_calls(now, session, &[], None);
            }
            (Some(Purpose::Missed { session, until, since }), Found::Missed(calls)) => {
                let since = since.filter(|_| calls.is_some());
                let mut calls = calls.unwrap_or_default();
                calls.retain(|call| call.number <= until);
                self.on_missed_calls(now, session, &calls, since);
            }
            (Some(Purpose::Missed { .. }), Found::Devices(_))
            | (
                Some(Purpose::Push { .. } | Purpose::TooManyDevices { .. } | Purpose::Devices { .. }),
                Found::Missed(_),
            )
            | (None, Found::Devices(_) | Found::Missed(_)) => {}
        }
    }

    /// Looks which calls a device has missed, after the one it was told of last, or since it was last here.
    pub(super) fn look_for_missed(&mut self, key: SessionKey, after: Option<u64>) {
        let Some(session) = self.sessions.get_mut(key).filter(|session| !session.for_one_call) else { return };
        session.missed.begin_look_up();
        if self.look_ups.is_full() {
            return;
        }
        let (app, user) = (session.app, session.party.user.clone());
        // What ends from here on is told to the device as it happens, and may be in the store before it is looked into.
        let until = self.last_number;
        let (purpose, query) = match after {
            None => {
                let party = session.party.clone();
                (Purpose::Devices { session: key, app, party, until }, Query::Devices { app, user })
            }
            Some(after) => {
                let purpose = Purpose::Missed { session: key, until, since: None };
                (purpose, Query::Missed { app, user, after, older: 0 })
            }
        };
        let id = self.look_ups.begin(purpose);
        self.outputs.push_back(Output::LookUp { id, query });
    }

    /// A device that is new hears of what came since any device of the user was here, and of what is just over.
    fn look_after_last_seen(
        &mut self,
        session: SessionKey,
        app: AppNo,
        party: Party,
        until: u64,
        devices: &[KnownDevice],
    ) {
        let own = devices.iter().find(|known| known.device == party.device);
        let seen = own.or_else(|| devices.iter().max_by_key(|known| known.knows));
        let known = seen.map_or(0, |seen| seen.knows);
        if own.is_none() {
            // From now on it counts for itself, even if it is gone before it was told of anything.
            self.outputs.push_back(Output::Store(Change::Seen { app, party: party.clone(), knows: known }));
        }
        let older = if own.is_none() { JUST_OVER } else { 0 };
        let query = Query::Missed { app, user: party.user, after: known, older };
        let id = self.look_ups.begin(Purpose::Missed { session, until, since: Some(known) });
        self.outputs.push_back(Output::LookUp { id, query });
    }

    fn on_missed_calls(&mut self, now: Now, key: SessionKey, calls: &[CallRecord], since: Option<u64>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let (app, party) = (session.app, session.party.clone());
        let missed_by = |call: &CallRecord| self.calls.missed_by(CallKey { app, call_id: call.call_id }, &party);
        let told = session.missed.on_found(calls, since, missed_by);
        self.note_here(key);
        for invite in told {
            let (call_id, word) = (invite.call_id, Word::Missed(Box::new(invite)));
            self.send(now, key, ServerBody::Call(CallMessage { call_id, word }));
        }
    }

    /// A device said something of a call: perhaps that it knows that it missed it.
    pub(super) fn on_missed_known(&mut self, key: SessionKey, message: &CallMessage) {
        let (Word::End(end), Some(session)) = (&message.word, self.sessions.get_mut(key)) else { return };
        if end.reason != EndReason::NoResponse {
            return;
        }
        match session.missed.on_known(message.call_id) {
            NowKnown::Nothing => return,
            NowKnown::More(after) => self.look_for_missed(key, Some(after)),
            NowKnown::All => self.note_here(key),
        }
        self.on_caught_up(key);
    }

    /// A device is about to be told of a missed call. False if it is not to be: it is there for one call only.
    pub(super) fn on_missed_told(&mut self, key: SessionKey, call_id: CallId) -> bool {
        let hears = |session: &&mut Session| session.bound.is_some() || !session.for_one_call;
        let session = self.sessions.get_mut(key).filter(hears);
        session.map(|session| session.missed.on_told(call_id)).is_some()
    }

    /// A call was missed: the devices that are here know, once they have acknowledged what they were told.
    pub(super) fn on_missed(&mut self, ended: &EndedCall, number: u64) {
        for callee in &ended.invite.callees {
            let keys: Vec<SessionKey> = self.sessions.of_user(ended.app, callee).map(|(key, _)| key).collect();
            for key in keys {
                let Some(session) = self.sessions.get_mut(key) else { continue };
                if session.missed.on_missed(session.outbound.last(), number) {
                    self.on_caught_up(key);
                }
            }
        }
    }

    /// A device was never told that a call rang, as it has not acknowledged what it was told before: if it missed the call it is told that
    /// when it has.
    pub(super) fn on_unseen(&mut self, key: SessionKey, call: CallKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.bound.is_none() && !matches!(self.calls.missed_by(call, &session.party), MissedBy::Nobody) {
            // The call is recorded after its devices were told.
            session.missed.on_untold(self.last_number + 1);
        }
    }

    /// A device may have acknowledged what it was told.
    pub(super) fn on_caught_up(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.missed.on_acknowledged(session.outbound.acknowledged()) {
            self.note_here(key);
        }
        let Some(session) = self.sessions.get_mut(key) else { return };
        if !session.outbound.is_behind() && session.missed.catches_up() {
            self.look_for_missed(key, None);
        }
    }

    fn note_here(&mut self, key: SessionKey) {
        let known = self.sessions.get(key).and_then(|session| self.known_by(session));
        let (Some(known), Some(session)) = (known, self.sessions.get_mut(key)) else { return };
        if known >= session.missed.noted() {
            self.outputs.push_back(Output::Store(seen(session, known)));
        }
        session.missed.set_noted(known);
    }

    /// Writes down up to which call the device of a session knows of all that it missed.
    pub(super) fn store_seen(&mut self, session: &Session) {
        if let Some(known) = self.known_by(session).filter(|known| *known >= session.missed.noted()) {
            self.outputs.push_back(Output::Store(seen(session, known)));
        }
    }

    fn known_by(&self, session: &Session) -> Option<u64> {
        let remembers = session.bound.is_none() && !session.for_one_call;
        session.missed.known(self.last_number).filter(|_| remembers)
    }
}

fn seen(session: &Session, knows: u64) -> Change {
    Change::Seen { app: session.app, party: session.party.clone(), knows }
}
