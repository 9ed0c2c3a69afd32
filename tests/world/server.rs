//! The server: the arbiters by call, and what a kill does to them.

use std::collections::BTreeMap;

use call_protocol::CallId;
use signaling::{Arbiter, ArbiterConfig, ArbiterSnapshot, Now, Time};

use crate::device::BEGIN_UNIX_MS;

/// The server's calls.
#[derive(Debug, Default)]
pub(crate) struct Server {
    pub(crate) calls: BTreeMap<CallId, Slot>,
    pub(crate) stopped: bool,
    pub(crate) down_until: u64,
    /// Since when it stands still, with all that it knows.
    pub(crate) stalled_since: Option<u64>,
    /// How often it was started; its monotonic clock begins anew each time.
    pub(crate) era: u32,
    started_at: u64,
    /// By how much its wall clock was set.
    pub(crate) clock_set_ms: i64,
    /// Whether it writes its calls down: where it is never killed, that only takes time.
    pub(crate) keeps: bool,
    /// What its store holds: each call as it was after its last change.
    stored: BTreeMap<CallId, ArbiterSnapshot>,
}

/// One call and when it wants to be woken, as a moment of the world.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) arbiter: Arbiter,
    pub(crate) wake: Option<u64>,
}

impl Server {
    pub(crate) fn is_up(&self) -> bool {
        !self.stopped && self.stalled_since.is_none()
    }

    pub(crate) fn now(&self, now: u64) -> Now {
        Now {
            mono: Time(now - self.started_at),
            unix_ms: (BEGIN_UNIX_MS + now).saturating_add_signed(self.clock_set_ms),
        }
    }

    pub(crate) fn moment(&self, time: Time) -> u64 {
        time.0 + self.started_at
    }

    /// Writes a call down, as its store does after each change.
    pub(crate) fn keep(&mut self, call_id: CallId, now: u64) {
        if self.keeps {
            let present = self.now(now);
            match self.calls.get(&call_id) {
                Some(slot) => self.stored.insert(call_id, slot.arbiter.snapshot(present)),
                None => self.stored.remove(&call_id),
            };
        }
    }

    /// Forgets a call, as if its store were lost.
    pub(crate) fn forget(&mut self, call_id: CallId) {
        self.calls.remove(&call_id);
        self.stored.remove(&call_id);
    }

    /// It is killed: what its store holds is all that is left.
    pub(crate) fn kill(&mut self, until: u64) {
        self.calls.clear();
        self.stopped = true;
        self.down_until = until;
    }

    /// Starts with what was written down.
    pub(crate) fn start(&mut self, now: u64, config: ArbiterConfig) -> Vec<CallId> {
        self.era += 1;
        self.stopped = false;
        self.down_until = now;
        self.started_at = now;
        let present = self.now(now);
        for snapshot in self.stored.values() {
            let text = serde_json::to_string(snapshot).expect("a snapshot is JSON");
            let snapshot: ArbiterSnapshot = serde_json::from_str(&text).expect("it was written a line above");
            let arbiter = Arbiter::restore(config, present, snapshot);
            self.calls.insert(arbiter.call_id(), Slot { arbiter, wake: None });
        }
        self.calls.keys().copied().collect()
    }
}
