//! The server: the arbiters by call, and what a restart does to them.

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
    /// How often it was started; its monotonic clock begins anew each time.
    pub(crate) era: u32,
    started_at: u64,
    stored: Vec<String>,
}

/// One call and when it wants to be woken, as a moment of the world.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) arbiter: Arbiter,
    pub(crate) wake: Option<u64>,
}

impl Server {
    pub(crate) fn is_up(&self) -> bool {
        !self.stopped
    }

    pub(crate) fn now(&self, now: u64) -> Now {
        Now { mono: Time(now - self.started_at), unix_ms: BEGIN_UNIX_MS + now }
    }

    pub(crate) fn moment(&self, time: Time) -> u64 {
        time.0 + self.started_at
    }

    /// Stops: every call is written down as a store would keep it.
    pub(crate) fn stop(&mut self, now: u64, until: u64) {
        let present = self.now(now);
        let text = |slot: &Slot| serde_json::to_string(&slot.arbiter.snapshot(present)).expect("a snapshot is JSON");
        self.stored = self.calls.values().map(text).collect();
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
        for text in std::mem::take(&mut self.stored) {
            let snapshot: ArbiterSnapshot = serde_json::from_str(&text).expect("it was written by stop");
            let arbiter = Arbiter::restore(config, present, snapshot);
            self.calls.insert(arbiter.call_id(), Slot { arbiter, wake: None });
        }
        self.calls.keys().copied().collect()
    }
}
