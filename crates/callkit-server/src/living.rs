//! The sessions that can be resumed: the hub writes them down, the door reads.
//!
//! Who comes back to one is a part of what was accepted before: no turn at the gate, and also while the server drains. The names are not to
//! be guessed, so knowing one is proof enough for that; that the device is the right one, the hub sees.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
pub(crate) struct Living(Mutex<HashSet<String>>);

impl Living {
    pub(crate) fn has(&self, session: &str) -> bool {
        self.lock().contains(session)
    }

    pub(crate) fn begin(&self, session: &str) {
        self.lock().insert(session.to_owned());
    }

    pub(crate) fn end(&self, session: &str) {
        self.lock().remove(session);
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
