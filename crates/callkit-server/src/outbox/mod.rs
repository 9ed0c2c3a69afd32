//! What the server has to tell others: at least once, in order within a call, and never in the way of a call.
//!
//! Whatever is to be sent is stored first and sent from the store, a few items at a time, so that memory does not grow with what waits
//! and a crash loses nothing. Each destination has its own limits and its own bad days: one that is dead holds up nobody else.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use call_protocol::{AppId, CallId, Party};
use futures_util::future::BoxFuture;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

mod courier;
mod dispatch;
mod pace;
mod push;
mod ringing;
mod signature;
mod webhook;

pub use crate::store::queue::Kind;
pub use courier::WebhookConfig;
pub(crate) use courier::check;
pub use pace::Pace;
pub(crate) use push::PushOrder;
pub(crate) use ringing::Ringing;
pub use signature::sign;
pub use webhook::{CallEnded, CallRings, Media, Quality, Webhook};

use crate::clock::Clock;
use crate::config::AppConfig;
use crate::metering::Metering;
use crate::push::PushSenders;
use crate::store::queue::{Bell, Item};
use crate::store::{Retention, Setting, Store, StoreError};
use crate::token::Apps;
use courier::WebhookCourier;
use dispatch::Dispatch;
use push::PushCourier;

/// Outcomes that may wait for whoever hears them.
const NOTICES: usize = 1_024;

/// How an attempt went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// To be tried again, not before `after` if the other side said so.
    Retry {
        after: Option<Duration>,
        why: &'static str,
    },
    /// There is no point in trying again.
    GiveUp {
        why: &'static str,
    },
}

/// Who carries items of a kind. It must come to an end by itself.
pub(crate) trait Courier: Send + Sync {
    /// Tries once; `attempt` counts from 1.
    fn deliver<'a>(&'a self, item: &'a Item, attempt: u32) -> BoxFuture<'a, Outcome>;
}

/// What became of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The app.
    pub app: AppId,
    /// The call it was about.
    pub call_id: CallId,
    /// What it was.
    pub kind: Kind,
    /// Of a push: whose device, and which.
    pub device: Option<Party>,
    /// None: delivered. Otherwise given up, with the reason in a word or two, without private data.
    pub given_up: Option<&'static str>,
}

/// The way in; copies are cheap and mean the same outbox.
#[derive(Clone)]
pub struct Outbox {
    store: Store,
    bell: Arc<Bell>,
    hooks: Arc<HashMap<AppId, WebhookConfig>>,
    senders: Arc<HashMap<AppId, PushSenders>>,
    ringing: Arc<Ringing>,
    stop: watch::Sender<bool>,
}

impl Outbox {
    /// Starts to send what the store still has and what comes, in a task of the current runtime. `ringing` are the calls that ring already.
    ///
    /// Outcomes come from the receiver; it may be dropped, and must otherwise be read. The task holds `alive`.
    pub(crate) fn start(
        store: Store,
        apps: &[AppConfig],
        pace: Pace,
        ringing: Ringing,
        alive: impl Send + 'static,
    ) -> Result<(Self, mpsc::Receiver<Notice>, JoinHandle<()>), String> {
        let mut hooks: HashMap<AppId, WebhookConfig> = HashMap::new();
        for app in apps {
            if let Some(webhooks) = &app.webhooks {
                hooks.entry(app.app_id.clone()).or_insert_with(|| webhooks.clone());
            }
        }
        let hooks = Arc::new(hooks);
        let mut couriers: HashMap<Kind, Arc<dyn Courier>> = HashMap::new();
        // A server that tells nobody needs no certificate authorities.
        if !hooks.is_empty() {
            let courier: Arc<dyn Courier> = Arc::new(WebhookCourier::new(Arc::clone(&hooks), &pace)?);
            couriers.extend([(Kind::Notify, Arc::clone(&courier)), (Kind::CallEvent, courier)]);
        }
        let (senders, ringing) = (Arc::new(push::senders(apps)?), Arc::new(ringing));
        if !senders.is_empty() {
            let courier: Arc<dyn Courier> =
                Arc::new(PushCourier::new(Arc::clone(&senders), store.clone(), Arc::clone(&ringing)));
            couriers.extend([(Kind::Push, Arc::clone(&courier)), (Kind::PushCancel, courier)]);
        }
        let bell = Arc::new(Bell::default());
        let (notices, heard) = mpsc::channel(NOTICES);
        let (stop, stops) = watch::channel(false);
        let rng = pace.seed.map_or_else(|| StdRng::seed_from_u64(rand::random()), StdRng::seed_from_u64);
        let dispatch = Dispatch::new(store.clone(), Arc::clone(&bell), couriers, pace, rng, notices);
        let running = tokio::spawn(async move {
            dispatch.run(stops).await;
            drop(alive);
        });
        Ok((Self { store, bell, hooks, senders, ringing, stop }, heard, running))
    }

    /// An outbox with a store of its own in `folder`, or in memory: for tests and measurements.
    pub fn start_alone(
        folder: Option<&Path>,
        apps: &[AppConfig],
        pace: Pace,
    ) -> Result<(Self, mpsc::Receiver<Notice>, JoinHandle<()>), StoreError> {
        let setting = Setting {
            retention: Retention::default(),
            apps: Arc::new(Apps::new(apps, 0)),
            metering: Arc::new(Metering::new()),
            clock: Clock::start(),
        };
        let (store, _) = Store::open(folder, setting, ())?;
        Self::start(store, apps, pace, Ringing::default(), ()).map_err(|_| StoreError::Closed)
    }

    /// Whether the app is told of this; what it is not told of is dropped by [`Outbox::enqueue`].
    pub fn takes(&self, app: &AppId, kind: Kind) -> bool {
        self.hooks.get(app).is_some_and(|hooks| hooks.url(kind).is_some())
    }

    /// Sends the webhook, soon; never waits. It survives a crash from about the next commit of the store on.
    pub fn enqueue(&self, webhook: Webhook) {
        let Some(hooks) = self.hooks.get(webhook.app()).filter(|_| self.takes(webhook.app(), webhook.kind())) else {
            return;
        };
        let id = format!("{:032x}", rand::random::<u128>());
        let item = webhook.into_item(id, self.store.clock(), u64::from(hooks.give_up_after_s) * 1_000);
        self.store.put(item, &self.bell);
    }

    /// Whether the app's devices can be pushed.
    pub(crate) fn pushes(&self, app: &AppId) -> bool {
        self.senders.contains_key(app)
    }

    /// A call rings: from now on, until it is said that it does no longer, pushes to ring are sent for it.
    pub(crate) fn ring_begins(&self, app: &AppId, call_id: CallId) {
        self.ringing.begins(app, call_id);
    }

    /// A call rings no longer. A push to ring that is still to be sent is given up; one that is being sent at this moment may arrive.
    pub(crate) fn ring_ends(&self, app: &AppId, call_id: CallId) {
        self.ringing.ends(app, call_id);
    }

    /// Sends the push, soon; never waits. Given up when the ring is over.
    pub(crate) fn push(&self, app: &AppId, order: PushOrder) {
        let id = format!("{:032x}", rand::random::<u128>());
        self.store.put(order.into_item(id, self.store.clock(), app.clone()), &self.bell);
    }

    /// Waits until what was given before is in the store.
    pub async fn stored(&self) {
        self.store.flush().await;
    }

    /// Sends no more; what is on its way at this moment is sent again by the next start. Does not close the store.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Stops and frees the file of [`Outbox::start_alone`].
    pub async fn close(self, running: JoinHandle<()>) {
        self.stop();
        running.await.ok();
        self.store.close().await;
    }
}
