//! What waits to be written: of each call only its newest state, so that a slow disk holds up nobody and fills no memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callkit_hub::CallKey;
use signaling::ArbiterSnapshot;
use tokio::sync::oneshot;

use super::Change;

/// Calls whose states may wait, and other changes: a disk that stands still for minutes. A state or change has about 1 KiB.
const WAITING: usize = 65_536;
/// Bytes of all changes that may wait; some are larger than others.
const WAITING_BYTES: usize = 64 << 20;
/// Changes of one commit; more wait for the next one, so that a commit stays short.
const BATCH: usize = 4_096;

/// The state of a call as it is to be, or that it is to be forgotten.
pub(super) type Calls = HashMap<CallKey, Option<Box<ArbiterSnapshot>>>;

/// What one commit writes.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) calls: Calls,
    pub(super) changes: VecDeque<Change>,
    /// The database is to be tried, even if there is nothing to write: somebody met an error.
    pub(super) is_suspect: bool,
    /// Told once everything before it is written.
    pub(super) flushes: Vec<oneshot::Sender<()>>,
    pub(super) close: Option<oneshot::Sender<()>>,
}

impl Batch {
    pub(super) fn len(&self) -> u64 {
        (self.calls.len() + self.changes.len()) as u64
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.changes.is_empty()
    }

    fn asks_nothing(&self) -> bool {
        self.is_empty() && !self.is_suspect && self.flushes.is_empty() && self.close.is_none()
    }
}

/// Shared by everybody who changes the store and its writer.
pub(super) struct Pending {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    batch: Batch,
    /// Of the changes in the batch.
    bytes: usize,
    bringers: usize,
    is_closed: bool,
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something to write and takes the oldest of it; `None` when nothing more will come.
    pub(super) fn take(&self) -> Option<Batch> {
        let is_idle = |state: &mut State| state.batch.asks_nothing() && state.bringers > 0;
        let waited = self.changed.wait_while(self.lock(), is_idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.batch.asks_nothing() {
            return None;
        }
        let mut batch = std::mem::take(&mut state.batch);
        state.bytes = 0;
        if batch.changes.len() > BATCH {
            // Flushes and the end wait for all of it.
            state.batch.changes = batch.changes.split_off(BATCH);
            state.bytes = bytes(&state.batch.changes);
            state.batch.flushes = std::mem::take(&mut batch.flushes);
            state.batch.close = batch.close.take();
        }
        Some(batch)
    }

    /// Puts back what could not be written; what came meanwhile is newer.
    pub(super) fn put_back(&self, mut batch: Batch) {
        let mut state = self.lock();
        let newer = std::mem::take(&mut state.batch);
        state.bytes += bytes(&batch.changes);
        batch.calls.extend(newer.calls);
        batch.changes.extend(newer.changes);
        batch.flushes.extend(newer.flushes);
        batch.is_suspect |= newer.is_suspect;
        batch.close = batch.close.or(newer.close);
        state.batch = batch;
    }

    /// Nothing is written any more; who waits is let go.
    pub(super) fn shut(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        (state.batch, state.bytes) = (Batch::default(), 0);
    }

    /// Waits as long, or until the store is to be closed.
    pub(super) fn pause(&self, pause: Duration) {
        let goes_on = |state: &mut State| state.batch.close.is_none() && state.bringers > 0;
        drop(self.changed.wait_timeout_while(self.lock(), pause, goes_on));
    }
}

/// The end that brings; the writer is told when the last one is dropped.
pub(super) struct Bringer(Arc<Pending>);

impl Bringer {
    pub(super) fn new() -> (Self, Arc<Pending>) {
        let state = Mutex::new(State { batch: Batch::default(), bytes: 0, bringers: 1, is_closed: false });
        let pending = Arc::new(Pending { state, changed: Condvar::new() });
        (Self(Arc::clone(&pending)), pending)
    }

    /// Replaces what waits for this call. False if there is no room, and it is lost.
    pub(super) fn call(&self, key: CallKey, to: Option<Box<ArbiterSnapshot>>) -> bool {
        let mut state = self.0.lock();
        let has_room = state.batch.calls.len() < WAITING || state.batch.calls.contains_key(&key);
        if state.is_closed || !has_room {
            return false;
        }
        state.batch.calls.insert(key, to);
        self.0.changed.notify_one();
        true
    }

    /// Adds to what waits. False if there is no room, and it is lost.
    pub(super) fn change(&self, change: Change) -> bool {
        let mut state = self.0.lock();
        let is_full = state.batch.changes.len() >= WAITING || state.bytes >= WAITING_BYTES;
        if state.is_closed || is_full {
            return false;
        }
        state.bytes += change.bytes();
        state.batch.changes.push_back(change);
        self.0.changed.notify_one();
        true
    }

    /// A read failed: the writer is to look whether the database still works.
    pub(super) fn suspect(&self) {
        self.ask(|batch| batch.is_suspect = true);
    }

    pub(super) fn flush(&self, done: oneshot::Sender<()>) {
        self.ask(|batch| batch.flushes.push(done));
    }

    pub(super) fn close(&self, done: oneshot::Sender<()>) {
        self.ask(|batch| batch.close = Some(done));
    }

    fn ask(&self, what: impl FnOnce(&mut Batch)) {
        let mut state = self.0.lock();
        if !state.is_closed {
            what(&mut state.batch);
            self.0.changed.notify_one();
        }
    }
}

fn bytes(changes: &VecDeque<Change>) -> usize {
    changes.iter().map(Change::bytes).sum()
}

impl Clone for Bringer {
    fn clone(&self) -> Self {
        self.0.lock().bringers += 1;
        Self(Arc::clone(&self.0))
    }
}

impl Drop for Bringer {
    fn drop(&mut self) {
        self.0.lock().bringers -= 1;
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use call_protocol::CallId;
    use callkit_hub::AppNo;

    use super::*;

    fn key(number: u128) -> CallKey {
        CallKey { app: AppNo(0), call_id: CallId::from_bits(number) }
    }

    #[test]
    fn only_the_newest_of_a_call_waits_and_the_end_comes_after_it() {
        let (bringer, pending) = Bringer::new();
        for _ in 0..1_000 {
            assert!(bringer.call(key(1), None));
        }
        bringer.call(key(2), None);
        assert_eq!(pending.take().map(|batch| batch.len()), Some(2));
        bringer.call(key(1), None);
        drop(bringer);
        assert_eq!(pending.take().map(|batch| batch.len()), Some(1));
        assert!(pending.take().is_none());
    }

    #[test]
    fn what_waits_is_bounded() {
        let (bringer, pending) = Bringer::new();
        for number in 0..WAITING {
            assert!(bringer.call(key(number as u128), None));
        }
        assert!(!bringer.call(key(WAITING as u128), None));
        assert!(bringer.call(key(7), None), "one that waits already is replaced");
        assert_eq!(pending.take().unwrap().calls.len(), WAITING);
        assert!(bringer.call(key(WAITING as u128), None));
    }

    #[test]
    fn what_could_not_be_written_comes_again_and_the_newer_counts() {
        let (bringer, pending) = Bringer::new();
        bringer.call(key(1), None);
        let batch = pending.take().unwrap();
        bringer.call(key(1), None);
        bringer.call(key(2), None);
        pending.put_back(batch);
        assert_eq!(pending.take().map(|batch| batch.len()), Some(2));
    }
}
