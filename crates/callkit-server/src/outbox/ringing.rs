//! Which calls ring at this moment: a push to ring is sent for no other, however long it waited.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use call_protocol::{AppId, CallId};

/// Told by whoever runs the calls, asked by whoever sends.
#[derive(Debug, Default)]
pub(crate) struct Ringing(Mutex<HashSet<(AppId, CallId)>>);

impl Ringing {
    /// These ring already, as after a restart.
    pub(crate) fn of(calls: impl IntoIterator<Item = (AppId, CallId)>) -> Self {
        Self(Mutex::new(calls.into_iter().collect()))
    }

    pub(super) fn begins(&self, app: &AppId, call_id: CallId) {
        self.lock().insert((app.clone(), call_id));
    }

    pub(super) fn ends(&self, app: &AppId, call_id: CallId) {
        self.lock().remove(&(app.clone(), call_id));
    }

    pub(super) fn has(&self, app: &AppId, call_id: CallId) -> bool {
        self.lock().contains(&(app.clone(), call_id))
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<(AppId, CallId)>> {
        // The set is whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
