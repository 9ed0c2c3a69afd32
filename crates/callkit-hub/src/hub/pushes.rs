//! A call that rings: the app's backend is told, devices that are away are pushed, and it ends where nobody can be told.

use call_protocol::disconnect::{DisconnectReason, DisconnectSource};
use call_protocol::end::{EndReason, Release};
use call_protocol::{Party, UserId};
use signaling::{ArbiterInput, Now};
use tracing::info;

use super::{Due, Hub};
use crate::calls::OpenedCall;
use crate::ids::{CallKey, SessionKey};
use crate::input::{Delivery, KnownDevice};
use crate::look_ups::Purpose;
use crate::output::{CallParam, Output, Push, Query, Webhook};
use crate::push_fan_out::{AWAY_MS, ToPush};
use crate::session::Session;

/// How long a connected device of a callee may take to say that it rings before it counts as one that does not hear, in ms.
const UNHEARD_MS: u64 = 3_000;

impl Hub {
    /// The app's backend is told, and the devices that are away are pushed.
    pub(super) fn on_opened(&mut self, now: Now, opened: OpenedCall) {
        let OpenedCall { app, invite, app_server_data } = opened;
        let features = self.features(app);
        if !features.ring_webhook && !features.pushes {
            return;
        }
        let key = CallKey { app, call_id: invite.call_id };
        let mut open = 0;
        for callee in invite.callees.iter().filter(|_| features.ring_webhook) {
            open += 1;
            let param = CallParam::of(app, &invite, callee, None);
            let app_server_data = Some(app_server_data.clone()).filter(|data| !data.is_empty());
            self.outputs.push_back(Output::Webhook(Box::new(Webhook::Rings { param, app_server_data })));
        }
        let callees = invite.callees.clone();
        self.pushes.begin(now, key, invite, open);
        if !features.pushes {
            return;
        }
        self.outputs.push_back(Output::RingBegan(key));
        for user in callees {
            if self.sessions.has_user(app, &user) {
                self.timers.push(now.mono + AWAY_MS, Due::Unalerted(key, user.clone()));
            }
            self.look_for_devices(key, user);
        }
    }

    /// Looks for devices of a callee that can be pushed.
    pub(super) fn look_for_devices(&mut self, key: CallKey, user: UserId) {
        if self.pushes.begin_look_up(key) {
            let id = self.look_ups.begin(Purpose::Push { key, user: user.clone() });
            self.outputs.push_back(Output::LookUp { id, query: Query::DevicesToPush { app: key.app, user } });
        }
    }

    /// Connected devices had their time to say that they heard of a call. If one has not, it is looked whether it can be pushed.
    pub(super) fn look_who_alerted(&mut self, key: CallKey, user: UserId) {
        if self.pushes.is_unheard_by_any(key, &user, &self.sessions) {
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
        let Some(Session { app, party, bound: None, .. }) = self.sessions.get(session) else { return };
        let (app, user) = (*app, &party.user);
        if !self.features(app).pushes {
            return;
        }
        for call_id in self.calls.of_user(app, user) {
            let key = CallKey { app, call_id };
            if self.pushes.rings_for(key, user) {
                self.timers.push(now.mono + AWAY_MS, due(key, user.clone()));
            }
        }
    }

    /// The devices of a callee were looked up: those that are away and can be pushed are.
    pub(super) fn on_devices(&mut self, now: Now, key: CallKey, user: UserId, devices: Vec<KnownDevice>) {
        let found = self.pushes.on_devices(now, key, &user, devices, &self.sessions);
        let Some(ToPush { pushes, look_again_at }) = found else { return };
        if let Some(at) = look_again_at {
            self.timers.push(at, Due::Unalerted(key, user));
        }
        self.push(pushes);
        self.look_whom_it_reached(now, key, false);
    }

    /// What became of a webhook that told of a ring, or of a push to ring.
    pub(super) fn on_delivery(&mut self, now: Now, delivery: &Delivery) {
        let stop = self.pushes.on_delivery(delivery);
        self.push(stop);
        self.look_whom_it_reached(now, delivery.call, false);
    }

    /// Ends a call of which nobody could be told. A connected device has a moment to say that it rings, which is over when `waited`.
    pub(super) fn look_whom_it_reached(&mut self, now: Now, key: CallKey, waited: bool) {
        let Some(callees) = self.pushes.reached_nobody(key).filter(|_| self.calls.is_unheard(key)) else { return };
        let is_anybody_here = callees.iter().any(|user| self.sessions.is_anybody_connected(key.app, user));
        if is_anybody_here && !waited {
            return self.timers.push(now.mono + UNHEARD_MS, Due::Unheard(key));
        }
        info!(call = %key.call_id, "nobody could be told");
        let (reason, source) = (DisconnectReason::PushError, DisconnectSource::CloudServer);
        let release = Release { reason, source, user_code: None };
        self.calls.apply(now, key, ArbiterInput::Close { reason: EndReason::Error, release });
    }

    /// The ring is over: devices that were pushed are told to stop.
    pub(super) fn end_ring(&mut self, now: Now, key: CallKey, winner: Option<&Party>) {
        self.outputs.push_back(Output::RingEnded(key));
        let stops = self.pushes.end(now, key, winner, &self.sessions);
        self.push(stops);
    }

    fn push(&mut self, pushes: impl IntoIterator<Item = Push>) {
        self.outputs.extend(pushes.into_iter().map(|push| Output::Push(Box::new(push))));
    }
}
