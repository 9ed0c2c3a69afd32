//! What waits to be written: of each call only its newest state, so that a slow disk holds up nobody and fills no memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Calls whose states may wait: a disk that stands still for minutes. A state of a call has about 1 KiB.
const WAITING: usize = 65_536;

struct Shared<K, V> {
    state: Mutex<State<K, V>>,
    changed: Condvar,
}

struct State<K, V> {
    waiting: HashMap<K, V>,
    is_closed: bool,
}

impl<K, V> Shared<K, V> {
    fn lock(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end that brings; the other end is told when it is dropped.
pub(crate) struct Bringer<K, V>(Arc<Shared<K, V>>);

/// The end that writes.
pub(crate) struct Taker<K, V>(Arc<Shared<K, V>>);

pub(crate) fn waiting<K: Eq + Hash, V>() -> (Bringer<K, V>, Taker<K, V>) {
    let state = Mutex::new(State { waiting: HashMap::new(), is_closed: false });
    let shared = Arc::new(Shared { state, changed: Condvar::new() });
    (Bringer(Arc::clone(&shared)), Taker(shared))
}

impl<K: Eq + Hash, V> Bringer<K, V> {
    /// Replaces what waits for this key. False if there is no room, and it is lost.
    pub(crate) fn bring(&self, key: K, value: V) -> bool {
        let mut state = self.0.lock();
        if state.waiting.len() >= WAITING && !state.waiting.contains_key(&key) {
            return false;
        }
        state.waiting.insert(key, value);
        self.0.changed.notify_one();
        true
    }
}

impl<K, V> Drop for Bringer<K, V> {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_one();
    }
}

impl<K: Eq + Hash, V> Taker<K, V> {
    /// Waits for something to write and takes all of it; `None` when nothing more will come.
    pub(crate) fn take(&self) -> Option<HashMap<K, V>> {
        let is_idle = |state: &mut State<K, V>| state.waiting.is_empty() && !state.is_closed;
        let waited = self.0.changed.wait_while(self.0.lock(), is_idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let all = std::mem::take(&mut state.waiting);
        if all.is_empty() { None } else { Some(all) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_waits_and_the_end_comes_after_it() {
        let (bringer, taker) = waiting();
        for state in 0..1_000 {
            assert!(bringer.bring("call", state));
        }
        bringer.bring("other", 1);
        assert_eq!(taker.take(), Some(HashMap::from([("call", 999), ("other", 1)])));
        bringer.bring("call", 1_000);
        drop(bringer);
        assert_eq!(taker.take(), Some(HashMap::from([("call", 1_000)])));
        assert_eq!(taker.take(), None);
    }

    #[test]
    fn what_waits_is_bounded() {
        let (bringer, taker) = waiting();
        for key in 0..WAITING {
            assert!(bringer.bring(key, 0));
        }
        assert!(!bringer.bring(WAITING, 0));
        assert!(bringer.bring(7, 1), "one that waits already is replaced");
        assert_eq!(taker.take().unwrap().len(), WAITING);
        assert!(bringer.bring(WAITING, 0));
    }
}
