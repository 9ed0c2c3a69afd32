//! Pushes: sent by the push services' own senders, tried again until the ring is over.

use std::collections::HashMap;
use std::sync::Arc;

use call_protocol::invite::CallType;
use call_protocol::{AppId, CallId, Party, UserId};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::{Courier, Kind, Outcome, Ringing};
use crate::clock::Clock;
use crate::config::AppConfig;
use crate::push::{CallPush, PushAddress, PushConfig, PushKind, PushOutcome, PushSenders, Rejection};
use crate::store::Store;
use crate::store::queue::{Item, Target};

/// A push for one device.
#[derive(Debug, Clone)]
pub(crate) struct PushOrder {
    pub(crate) call_id: CallId,
    /// Who calls.
    pub(crate) caller: UserId,
    pub(crate) call_type: CallType,
    pub(crate) ring_deadline_unix_ms: u64,
    /// Whose device, and which.
    pub(crate) party: Party,
    pub(crate) address: PushAddress,
    pub(crate) kind: PushKind,
    /// Empty for a cancel.
    pub(crate) cc_param: String,
}

/// What an item holds beside its head.
#[derive(Serialize, Deserialize)]
struct Body {
    address: PushAddress,
    cc_param: String,
    caller: UserId,
    call_type: CallType,
}

impl PushOrder {
    pub(super) fn into_item(self, id: String, clock: &Clock, app: AppId) -> Item {
        let PushOrder { call_id, caller, call_type, ring_deadline_unix_ms, party, address, kind, cc_param } = self;
        let Party { user, device } = party;
        let service = address.service().to_owned();
        let body = Body { address, cc_param, caller, call_type };
        Item {
            id,
            app,
            call_id,
            kind: match kind {
                PushKind::Ring => Kind::Push,
                PushKind::Cancel => Kind::PushCancel,
            },
            created_unix_ms: clock.steady_unix_ms(),
            expires_unix_ms: clock.steady_of(ring_deadline_unix_ms),
            body: serde_json::to_string(&body).unwrap_or_default(),
            target: Some(Target { service, user, device }),
        }
    }
}

/// Carries pushes of all apps that have keys for some.
pub(super) struct PushCourier {
    senders: Arc<HashMap<AppId, PushSenders>>,
    store: Store,
    ringing: Arc<Ringing>,
}

/// The senders of each app; of an app that is named twice, the first that names a service counts.
pub(super) fn senders(apps: &[AppConfig]) -> Result<HashMap<AppId, PushSenders>, String> {
    let mut configs: HashMap<AppId, PushConfig> = HashMap::new();
    for app in apps.iter().filter(|app| !app.push.is_empty()) {
        let PushConfig { apns, fcm, web_push, ca_file } = app.push.clone();
        let config = configs.entry(app.app_id.clone()).or_default();
        config.apns = config.apns.take().or(apns);
        config.fcm = config.fcm.take().or(fcm);
        config.web_push = config.web_push.take().or(web_push);
        config.ca_file = config.ca_file.take().or(ca_file);
    }
    let made = configs.into_iter().map(|(app, config)| Ok((app, PushSenders::new(&config)?)));
    made.collect::<Result<_, crate::push::PushConfigError>>().map_err(|error| error.to_string())
}

impl PushCourier {
    pub(super) fn new(senders: Arc<HashMap<AppId, PushSenders>>, store: Store, ringing: Arc<Ringing>) -> Self {
        Self { senders, store, ringing }
    }

    async fn send(&self, item: &Item) -> Outcome {
        let Some(senders) = self.senders.get(&item.app) else {
            return Outcome::GiveUp { why: "no longer configured" };
        };
        let (Ok(body), Some(target)) = (serde_json::from_str::<Body>(&item.body), &item.target) else {
            return Outcome::GiveUp { why: "not readable" };
        };
        if item.kind == Kind::Push && !self.ringing.has(&item.app, item.call_id) {
            return Outcome::GiveUp { why: "the ring is over" };
        }
        let Some(address) = self.address_now(item, target, body.address).await else {
            return Outcome::GiveUp { why: "no address any more" };
        };
        let push = CallPush {
            kind: if item.kind == Kind::PushCancel { PushKind::Cancel } else { PushKind::Ring },
            call_id: item.call_id,
            cc_param: body.cc_param,
            caller: body.caller,
            call_type: body.call_type,
            ring_deadline_unix_ms: self.store.clock().wall_of(item.expires_unix_ms),
        };
        match senders.send(&address, &push).await {
            PushOutcome::Accepted => Outcome::Done,
            PushOutcome::Retry { after } => Outcome::Retry { after: Some(after), why: "not taken" },
            PushOutcome::Gone => {
                self.forget(item, target, &address).await;
                Outcome::GiveUp { why: "gone" }
            }
            PushOutcome::Rejected { why } => {
                if why == Rejection::BadAddress {
                    self.forget(item, target, &address).await;
                }
                Outcome::GiveUp { why: name(why) }
            }
        }
    }

    /// Where the device is reached at this moment: its phone may have another token by now, or be that of another user.
    async fn address_now(&self, item: &Item, target: &Target, before: PushAddress) -> Option<PushAddress> {
        match self.store.devices_of(&item.app, &target.user).await {
            Ok(devices) => devices.into_iter().find(|known| known.device == target.device)?.push,
            Err(_) => Some(before),
        }
    }

    /// Forgets an address that will never work again, unless the device has another one by now.
    async fn forget(&self, item: &Item, target: &Target, address: &PushAddress) {
        let devices = self.store.devices_of(&item.app, &target.user).await.unwrap_or_default();
        let is_its = |push: &Option<PushAddress>| push.as_ref() == Some(address);
        if devices.iter().any(|known| known.device == target.device && is_its(&known.push)) {
            self.store.set_push(&item.app, &target.user, &target.device, None);
            // The next call is not to find it.
            self.store.flush().await;
        }
    }
}

impl Courier for PushCourier {
    fn deliver<'a>(&'a self, item: &'a Item, _attempt: u32) -> BoxFuture<'a, Outcome> {
        self.send(item).boxed()
    }
}

fn name(why: Rejection) -> &'static str {
    match why {
        Rejection::Expired => "out of time",
        Rejection::NotConfigured => "no keys for this service",
        Rejection::BadAddress => "bad address",
        Rejection::NoBackgroundToken => "no background token",
        Rejection::TooLarge => "too large",
        Rejection::Credentials => "keys refused",
        Rejection::Refused { .. } => "refused",
    }
}
