//! What the hub looks up in the store, a few at a time.

use std::sync::Arc;

use call_protocol::{AppId, UserId};
use callkit_hub::{Found, KnownDevice, LookUpId, Query};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::warn;

use super::services::Services;
use crate::store::{Device, Store};

/// Searches in the store at one time, of each kind: after a restart all devices come back at once.
const AT_ONCE: usize = 8;

pub(super) struct LookUps {
    running: JoinSet<(LookUpId, Found)>,
    permits: Arc<Semaphore>,
    push_permits: Arc<Semaphore>,
}

impl Default for LookUps {
    fn default() -> Self {
        let permits = || Arc::new(Semaphore::new(AT_ONCE));
        Self { running: JoinSet::new(), permits: permits(), push_permits: permits() }
    }
}

impl LookUps {
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// What was found; none where there is nothing to wait for, or a search has failed.
    pub(super) async fn next(&mut self) -> Option<(LookUpId, Found)> {
        self.running.join_next().await?.ok()
    }

    pub(super) fn begin(&mut self, services: &Services, id: LookUpId, query: Query) {
        let (Query::DevicesToPush { app, .. } | Query::Devices { app, .. } | Query::Missed { app, .. }) = &query;
        let (store, app) = (services.store.clone(), services.apps.name(*app).clone());
        let permits = match &query {
            Query::DevicesToPush { .. } => &self.push_permits,
            Query::Devices { .. } | Query::Missed { .. } => &self.permits,
        };
        let permits = Arc::clone(permits);
        self.running.spawn(async move {
            let _permit = permits.acquire().await;
            let found = match query {
                Query::DevicesToPush { user, .. } => Found::Devices(devices(&store, &app, &user).await),
                Query::Devices { user, .. } => {
                    // What was said just before may not be written yet.
                    store.flush().await;
                    Found::Devices(devices(&store, &app, &user).await)
                }
                Query::Missed { user, after, older, .. } => {
                    let missed = store.missed_after(&app, &user, after, older).await;
                    Found::Missed(missed.inspect_err(|error| warn!(%error, "missed calls cannot be read")).ok())
                }
            };
            (id, found)
        });
    }
}

async fn devices(store: &Store, app: &AppId, user: &UserId) -> Option<Vec<KnownDevice>> {
    let devices = store.devices_of(app, user).await;
    let devices = devices.inspect_err(|error| warn!(%error, "devices cannot be read")).ok()?;
    let known = |Device { device, knows, push, .. }| KnownDevice { device, knows, push: push.map(Into::into) };
    Some(devices.into_iter().map(known).collect())
}
