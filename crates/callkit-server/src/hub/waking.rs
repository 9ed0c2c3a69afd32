//! Who is to be woken for a call, and what is done where nobody can be.

use std::collections::HashMap;

use call_protocol::disconnect::{DisconnectReason, DisconnectSource};
use call_protocol::end::{EndReason, Release};
use call_protocol::invite::Invite;
use call_protocol::{DeviceId, Party, UserId};
use signaling::{ArbiterInput, Now, Time};
use tracing::{info, warn};

use super::calls::{CallKey, OpenedCall};
use super::cc::media;
use super::missed::Found;
use super::session::{Session, SessionKey};
use super::{Due, Hub};
use crate::outbox::{CallRings, Kind, Notice, PushOrder, Webhook};
use crate::push::{PushAddress, PushKind};
use crate::store::Device;
use crate::token::AppNo;

/// How long a connected device of a callee may take to say that it rings before it counts as one that does not hear, in ms.
const UNHEARD_MS: u64 = 3_000;

/// After so long a device that has not said that it heard of a call is pushed, in ms, whether it is connected or not: one that changes its
/// network is back by then, and one that sleeps with its stream open, as every iPhone does, will not say anything.
const AWAY_MS: u64 = 3_000;

/// The calls whose devices are woken, and those that were and still have to be told to stop.
#[derive(Default)]
pub(super) struct Wakings {
    ringing: HashMap<CallKey, Waking>,
    stopping: HashMap<CallKey, Stopping>,
}

/// How the waking of a call's devices goes.
struct Waking {
    invite: Invite,
    since: Time,
    /// When it stops ringing.
    deadline: Time,
    /// Webhooks, searches for devices and pushes whose outcome is not known yet.
    open: usize,
    /// Somebody took a webhook or a push.
    is_reached: bool,
    /// Something was given up.
    has_failed: bool,
    woken: Vec<Woken>,
    /// The devices that said something of the call.
    heard: Vec<Party>,
    /// Who came by the cc_param of a push, and the device to which that went.
    came: Vec<(Party, DeviceId)>,
}

/// A device that was pushed.
struct Woken {
    party: Party,
    address: PushAddress,
    at: Time,
    /// The push service has it.
    is_sent: bool,
}

/// A call whose ring is over while pushes of it were on their way: what they reach is told to stop once it is known that they went out.
struct Stopping {
    invite: Invite,
    woken: Vec<Woken>,
}

impl Wakings {
    /// A device says something of a call, which it has heard of then.
    pub(super) fn note_heard(&mut self, key: CallKey, party: &Party) {
        if let Some(waking) = self.ringing.get_mut(&key)
            && !waking.heard.contains(party)
        {
            waking.heard.push(party.clone());
        }
    }

    /// Somebody signs in with the cc_param of a push.
    pub(super) fn note_came(&mut self, key: CallKey, party: &Party, woken: Option<DeviceId>) {
        if let (Some(waking), Some(device)) = (self.ringing.get_mut(&key), woken) {
            waking.came.push((party.clone(), device));
        }
    }
}

impl Waking {
    /// Whether who took the call did so on this device.
    fn is_on(&self, device: &Party, winner: &Party) -> bool {
        let came = |(party, woken): &(Party, DeviceId)| party == winner && *woken == device.device;
        device == winner || (device.user == winner.user && self.came.iter().any(came))
    }
}

impl Hub {
    /// The app's backend is told, and the devices that are away are pushed.
    pub(super) fn on_opened(&mut self, now: Now, opened: OpenedCall) {
        let OpenedCall { app, invite, app_server_data } = opened;
        let app_id = self.around.apps.name(app).clone();
        let (notifies, pushes) = (self.around.outbox.takes(&app_id, Kind::Notify), self.around.outbox.pushes(&app_id));
        if !notifies && !pushes {
            return;
        }
        let key = CallKey { app, call_id: invite.call_id };
        let mut open = 0;
        for callee in &invite.callees {
            if notifies {
                open += 1;
                self.around.outbox.enqueue(Webhook::Notify(CallRings {
                    app_id: app_id.clone(),
                    call_id: invite.call_id,
                    from_user_id: invite.caller.user.clone(),
                    to_user_id: callee.clone(),
                    media: media(invite.call_type),
                    cc_param: self.seal(app, &invite, callee, None),
                    app_server_data: Some(app_server_data.clone()).filter(|data| !data.is_empty()),
                    ring_deadline_unix_ms: invite.ring_deadline_unix_ms,
                }));
            }
        }
        let callees = invite.callees.clone();
        let deadline = now.mono + u64::from(invite.ring_timeout_ms);
        let waking = Waking {
            invite,
            since: now.mono,
            deadline,
            open,
            is_reached: false,
            has_failed: false,
            woken: Vec::new(),
            heard: Vec::new(),
            came: Vec::new(),
        };
        self.waking.ringing.insert(key, waking);
        if !pushes {
            return;
        }
        self.around.outbox.ring_begins(&app_id, key.call_id);
        for user in callees {
            if self.devices.contains_key(&(app, user.clone())) {
                self.timers.push(now.mono + AWAY_MS, Due::Unalerted(key, user.clone()));
            }
            self.look_for_devices(key, user);
        }
    }

    /// Looks for devices of a callee that can be pushed.
    pub(super) fn look_for_devices(&mut self, key: CallKey, user: UserId) {
        let (Some(waking), Some(store)) = (self.waking.ringing.get_mut(&key), self.around.store.clone()) else {
            return;
        };
        waking.open += 1;
        let (app_id, permits) = (self.around.apps.name(key.app).clone(), self.push_permits.clone());
        self.lookups.spawn(async move {
            let _permit = permits.acquire().await;
            let devices = store.devices_of(&app_id, &user).await.unwrap_or_else(|error| {
                warn!(%error, "devices to push cannot be read");
                Vec::new()
            });
            Found::Devices { key, user, devices }
        });
    }

    /// Connected devices had their time to say that they heard of a call. If one has not, it is looked whether it can be pushed.
    pub(super) fn look_who_alerted(&mut self, key: CallKey, user: UserId) {
        let Some(waking) = self.waking.ringing.get(&key) else { return };
        let keys = self.devices.get(&(key.app, user.clone())).into_iter().flatten();
        let mut sessions = keys.filter_map(|key| self.sessions.get(key)).filter(|session| session.bound.is_none());
        if sessions.any(|session| !waking.heard.contains(&session.party)) {
            self.look_for_devices(key, user);
        }
    }

    /// A device went away. What rings for it goes on by a push, if it is not back in a moment.
    pub(super) fn may_have_to_wake(&mut self, now: Now, session: SessionKey) {
        self.look_later(now, session, Due::Away);
    }

    /// A device is there: it is told of what rings, and in a moment it should have said that it heard.
    pub(super) fn expect_alerts(&mut self, now: Now, session: SessionKey) {
        self.look_later(now, session, Due::Unalerted);
    }

    fn look_later(&mut self, now: Now, session: SessionKey, due: fn(CallKey, UserId) -> Due) {
        let Some(Session { app, party, bound: None, .. }) = self.sessions.get(&session) else { return };
        let (app, user) = (*app, party.user.clone());
        if !self.around.outbox.pushes(self.around.apps.name(app)) {
            return;
        }
        for call_id in self.calls.of_user(app, &user) {
            let key = CallKey { app, call_id };
            if self.waking.ringing.get(&key).is_some_and(|waking| waking.invite.callees.contains(&user)) {
                self.timers.push(now.mono + AWAY_MS, due(key, user.clone()));
            }
        }
    }

    /// The devices of a callee: those that are away and can be pushed are, and those that should have said by now that they heard.
    pub(super) fn on_devices(&mut self, now: Now, key: CallKey, user: &UserId, devices: Vec<Device>) {
        let Some(waking) = self.waking.ringing.get(&key) else { return };
        let (mut asleep, mut undecided) = (Vec::new(), None);
        for Device { device, push, .. } in devices {
            let (party, Some(address)) = (Party { user: user.clone(), device }, push) else { continue };
            if waking.woken.iter().any(|woken| woken.party == party) {
                continue;
            }
            let sessions: Vec<&Session> = self.sessions_on(key, &party).collect();
            let newest = sessions.iter().map(|session| session.since.max(waking.since) + AWAY_MS).max();
            match newest {
                Some(_) if sessions.iter().any(|session| waking.heard.contains(&session.party)) => {}
                Some(until) if now.mono < until => undecided = undecided.max(Some(until)),
                Some(_) | None => asleep.push(Woken { party, address, at: now.mono, is_sent: false }),
            }
        }
        if let Some(until) = undecided {
            self.timers.push(until, Due::Unalerted(key, user.clone()));
        }
        let app_id = self.around.apps.name(key.app);
        for Woken { party, address, .. } in &asleep {
            let cc_param = self.seal(key.app, &waking.invite, user, Some(&party.device));
            let order = PushOrder { party: party.clone(), address: address.clone(), kind: PushKind::Ring, cc_param };
            self.around.outbox.push(app_id, &waking.invite, order);
        }
        if let Some(waking) = self.waking.ringing.get_mut(&key) {
            waking.open = waking.open.saturating_sub(1) + asleep.len();
            waking.woken.extend(asleep);
        }
        self.look_whom_it_reached(now, key, false);
    }

    /// What became of a webhook or a push.
    pub(super) fn on_notice(&mut self, now: Now, notice: &Notice) {
        let metering = &self.around.metering;
        let is_done = notice.given_up.is_none();
        match (notice.kind, is_done) {
            (Kind::Notify | Kind::CallEvent, true) => metering.webhooks_delivered.increment(1),
            (Kind::Notify | Kind::CallEvent, false) => metering.webhooks_given_up.increment(1),
            (Kind::Push | Kind::PushCancel, true) => metering.pushes_taken.increment(1),
            (Kind::Push | Kind::PushCancel, false) => metering.pushes_given_up.increment(1),
        }
        match notice.kind {
            Kind::Notify | Kind::Push => {}
            Kind::CallEvent | Kind::PushCancel => return,
        }
        let Some(app) = self.around.apps.find(notice.app.as_str()) else { return };
        let key = CallKey { app, call_id: notice.call_id };
        if let Some(device) = &notice.device {
            self.stop_what_went_out(key, device, is_done);
        }
        let Some(waking) = self.waking.ringing.get_mut(&key) else { return };
        waking.open = waking.open.saturating_sub(1);
        waking.is_reached |= is_done;
        waking.has_failed |= !is_done;
        // One that was given up does not ring, and is not to be told to stop.
        waking.woken.retain(|woken| is_done || Some(&woken.party) != notice.device.as_ref());
        let sent = waking.woken.iter_mut().filter(|woken| Some(&woken.party) == notice.device.as_ref());
        sent.for_each(|woken| woken.is_sent = true);
        self.look_whom_it_reached(now, key, false);
    }

    /// Ends a call of which nobody could be told. A connected device has a moment to say that it rings, which is over when `waited`.
    pub(super) fn look_whom_it_reached(&mut self, now: Now, key: CallKey, waited: bool) {
        let Some(waking) = self.waking.ringing.get(&key) else { return };
        let is_lost = waking.open == 0 && !waking.is_reached && waking.has_failed;
        if !is_lost || !waking.invite.call_type.is_one_to_one() || !self.calls.is_unheard(key) {
            return;
        }
        let callees = waking.invite.callees.iter();
        let is_anybody_here = callees.into_iter().any(|user| self.is_anybody_connected(key.app, user));
        if is_anybody_here && !waited {
            return self.timers.push(now.mono + UNHEARD_MS, Due::Unheard(key));
        }
        info!(call = %key.call_id, "nobody could be told");
        let (reason, source) = (DisconnectReason::PushError, DisconnectSource::CloudServer);
        let release = Release { reason, source, user_code: None };
        self.calls.say(now, key, ArbiterInput::Close { reason: EndReason::Error, release });
    }

    /// The ring is over. Devices that were pushed are told to stop, but for the one that took the call and those that hear it anyway; where
    /// the push to ring is still on its way, after it.
    pub(super) fn cancel_pushes(&mut self, now: Now, key: CallKey, winner: Option<&Party>) {
        let app_id = self.around.apps.name(key.app).clone();
        self.around.outbox.ring_ends(&app_id, key.call_id);
        let Some(mut waking) = self.waking.ringing.remove(&key) else { return };
        if waking.deadline <= now.mono {
            return;
        }
        let mut woken = std::mem::take(&mut waking.woken);
        woken.retain(|woken| {
            let took_it = winner.is_some_and(|winner| waking.is_on(&woken.party, winner));
            // One that slept with its stream open when it was pushed may still.
            let hears = |session: &Session| session.since >= woken.at || waking.heard.contains(&session.party);
            !took_it && !self.sessions_on(key, &woken.party).any(hears)
        });
        let (sent, on_their_way): (Vec<_>, Vec<_>) = woken.into_iter().partition(|woken| woken.is_sent);
        for woken in sent {
            self.tell_to_stop(key, &waking.invite, woken);
        }
        self.waking.stopping.retain(|_, stopping| stopping.invite.ring_deadline_unix_ms > now.unix_ms);
        if !on_their_way.is_empty() {
            self.waking.stopping.insert(key, Stopping { invite: waking.invite, woken: on_their_way });
        }
    }

    /// It is known what became of a push to ring. One that went out before its ring was over is followed by one to stop.
    fn stop_what_went_out(&mut self, key: CallKey, device: &Party, is_sent: bool) {
        let Some(Stopping { invite, woken }) = self.waking.stopping.get_mut(&key) else { return };
        let Some(at) = woken.iter().position(|woken| woken.party == *device) else { return };
        let (invite, told) = (invite.clone(), woken.swap_remove(at));
        if woken.is_empty() {
            self.waking.stopping.remove(&key);
        }
        if is_sent {
            self.tell_to_stop(key, &invite, told);
        }
    }

    fn tell_to_stop(&self, key: CallKey, invite: &Invite, Woken { party, address, .. }: Woken) {
        let order = PushOrder { party, address, kind: PushKind::Cancel, cc_param: String::new() };
        self.around.outbox.push(self.around.apps.name(key.app), invite, order);
    }

    /// The sessions by which a device hears of this call: its own, and that of whoever its push has brought.
    fn sessions_on(&self, key: CallKey, party: &Party) -> impl Iterator<Item = &Session> {
        let keys = self.devices.get(&(key.app, party.user.clone())).into_iter().flatten();
        keys.filter_map(|session| self.sessions.get(session)).filter(move |session| {
            let is_its = session.party.device == party.device || session.woken.as_ref() == Some(&party.device);
            is_its && session.link.is_some() && session.bound.is_none_or(|bound| bound == key.call_id)
        })
    }

    fn is_anybody_connected(&self, app: AppNo, user: &UserId) -> bool {
        let keys = self.devices.get(&(app, user.clone())).into_iter().flatten();
        keys.filter_map(|session| self.sessions.get(session)).any(|session| session.link.is_some())
    }
}
