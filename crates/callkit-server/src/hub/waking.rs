//! Who is to be woken for a call, and what is done where nobody can be.

use call_protocol::disconnect::{DisconnectReason, DisconnectSource};
use call_protocol::end::{EndReason, Release};
use call_protocol::invite::Invite;
use call_protocol::{Party, UserId};
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

/// After so long a device that went away while it rang is pushed, in ms: one that changes its network is back by then.
const AWAY_MS: u64 = 3_000;

/// How the waking of a call's devices goes.
pub(super) struct Waking {
    invite: Invite,
    /// When it stops ringing.
    deadline: Time,
    /// Webhooks, searches for devices and pushes whose outcome is not known yet.
    open: usize,
    /// Somebody took a webhook or a push.
    is_reached: bool,
    /// Something was given up.
    has_failed: bool,
    woken: Vec<Woken>,
}

/// A device that was pushed.
struct Woken {
    party: Party,
    address: PushAddress,
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
                    cc_param: self.seal(app, &invite, callee),
                    app_server_data: Some(app_server_data.clone()).filter(|data| !data.is_empty()),
                    ring_deadline_unix_ms: invite.ring_deadline_unix_ms,
                }));
            }
        }
        let callees = invite.callees.clone();
        let deadline = now.mono + u64::from(invite.ring_timeout_ms);
        let waking = Waking { invite, deadline, open, is_reached: false, has_failed: false, woken: Vec::new() };
        self.waking.insert(key, waking);
        callees.into_iter().filter(|_| pushes).for_each(|user| self.look_for_devices(key, user));
    }

    /// Looks for devices of a callee that are away and can be pushed.
    pub(super) fn look_for_devices(&mut self, key: CallKey, user: UserId) {
        let (Some(waking), Some(store)) = (self.waking.get_mut(&key), self.around.store.clone()) else { return };
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

    /// A device went away. What rings for it goes on by a push, if it is not back in a moment.
    pub(super) fn may_have_to_wake(&mut self, now: Now, session: SessionKey) {
        let Some(Session { app, party, bound: None, .. }) = self.sessions.get(&session) else { return };
        let (app, user) = (*app, party.user.clone());
        if !self.around.outbox.pushes(self.around.apps.name(app)) {
            return;
        }
        for call_id in self.calls.of_user(app, &user) {
            let key = CallKey { app, call_id };
            if self.waking.get(&key).is_some_and(|waking| waking.invite.callees.contains(&user)) {
                self.timers.push(now.mono + AWAY_MS, Due::Away(key, user.clone()));
            }
        }
    }

    /// The devices of a callee: those that are away and can be pushed are.
    pub(super) fn on_devices(&mut self, now: Now, key: CallKey, user: &UserId, devices: Vec<Device>) {
        let asleep: Vec<_> = devices
            .into_iter()
            .map(|known| (Party { user: user.clone(), device: known.device }, known.push))
            .filter(|(party, _)| !self.is_connected(key, party) && !self.is_woken(key, party))
            .filter_map(|(party, push)| Some(Woken { party, address: push? }))
            .collect();
        let Some(waking) = self.waking.get_mut(&key) else { return };
        waking.open = waking.open.saturating_sub(1) + asleep.len();
        let invite = waking.invite.clone();
        let cc_param = self.seal(key.app, &invite, user);
        let app_id = self.around.apps.name(key.app);
        for Woken { party, address } in &asleep {
            let (party, address) = (party.clone(), address.clone());
            let order = PushOrder { party, address, kind: PushKind::Ring, cc_param: cc_param.clone() };
            self.around.outbox.push(app_id, &invite, order);
        }
        if let Some(waking) = self.waking.get_mut(&key) {
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
        let Some(waking) = self.waking.get_mut(&key) else { return };
        waking.open = waking.open.saturating_sub(1);
        waking.is_reached |= is_done;
        waking.has_failed |= !is_done;
        if !is_done && let Some(device) = &notice.device {
            // It does not ring, and is not to be told to stop.
            waking.woken.retain(|woken| woken.party != *device);
        }
        self.look_whom_it_reached(now, key, false);
    }

    /// Ends a call of which nobody could be told. A connected device has a moment to say that it rings, which is over when `waited`.
    pub(super) fn look_whom_it_reached(&mut self, now: Now, key: CallKey, waited: bool) {
        let Some(waking) = self.waking.get(&key) else { return };
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

    /// The ring is over: devices that were pushed and are still away stop ringing, except the one that took the call.
    pub(super) fn cancel_pushes(&mut self, now: Now, key: CallKey, winner: Option<&Party>) {
        let Some(waking) = self.waking.remove(&key) else { return };
        if waking.deadline <= now.mono {
            return;
        }
        let app_id = self.around.apps.name(key.app);
        for Woken { party, address } in waking.woken {
            if winner != Some(&party) && !self.is_connected(key, &party) {
                let order = PushOrder { party, address, kind: PushKind::Cancel, cc_param: String::new() };
                self.around.outbox.push(app_id, &waking.invite, order);
            }
        }
    }

    /// Whether a device was pushed for this call already.
    fn is_woken(&self, key: CallKey, party: &Party) -> bool {
        self.waking.get(&key).is_some_and(|waking| waking.woken.iter().any(|woken| woken.party == *party))
    }

    /// Whether a device hears of this call by a stream.
    fn is_connected(&self, key: CallKey, party: &Party) -> bool {
        let keys = self.devices.get(&(key.app, party.user.clone())).into_iter().flatten();
        keys.filter_map(|session| self.sessions.get(session)).any(|session| {
            session.party == *party && session.link.is_some() && session.bound.is_none_or(|bound| bound == key.call_id)
        })
    }

    fn is_anybody_connected(&self, app: AppNo, user: &UserId) -> bool {
        let keys = self.devices.get(&(app, user.clone())).into_iter().flatten();
        keys.filter_map(|session| self.sessions.get(session)).any(|session| session.link.is_some())
    }
}
