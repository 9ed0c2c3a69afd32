//! The parts that a server cannot do without, and the news that one of them has ended.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::error;

/// A part that a server cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// The task that owns sessions, calls and channels.
    Hub,
    /// The thread that writes the store.
    Store,
    /// The task that sends webhooks and pushes.
    Outbox,
    /// The task that accepts TCP connections.
    Accepting,
    /// The task that answers STUN.
    Stun,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Hub => "hub",
            Part::Store => "store",
            Part::Outbox => "outbox",
            Part::Accepting => "accept loop",
            Part::Stun => "STUN socket",
        })
    }
}

/// A server that can no longer do its work: a part of it has ended, by a fault of its own. Only a new start helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {part} has ended by a fault of the server; it has to be started again")]
#[non_exhaustive]
pub struct Failed {
    /// What ended first.
    pub part: Part,
}

/// Which parts of one server live.
#[derive(Debug, Default)]
pub(crate) struct Vitals {
    failed: watch::Sender<Option<Part>>,
    is_up: AtomicBool,
    is_stopping: AtomicBool,
}

impl Vitals {
    /// The server has started: from now on its failure is logged, not only told.
    pub(crate) fn start(&self) {
        self.is_up.store(true, Ordering::Relaxed);
    }

    /// From now on parts may end.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    /// Runs a part as a task; that it ends is told, however it ends.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        part: Part,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let alive = self.alive(part);
        tokio::spawn(async move {
            work.await;
            drop(alive);
        })
    }

    /// What a part holds for as long as it lives.
    pub(crate) fn alive(self: &Arc<Self>, part: Part) -> Alive {
        Alive { part, vitals: Arc::clone(self) }
    }

    /// The part that ended first, if one did.
    pub(crate) fn failed(&self) -> Option<Part> {
        *self.failed.borrow()
    }

    /// Waits until a part has ended. Cancel safe.
    pub(crate) async fn fails(&self) -> Failed {
        let mut failed = self.failed.subscribe();
        match failed.wait_for(Option::is_some).await.map(|part| *part) {
            Ok(Some(part)) => Failed { part },
            // It cannot close: the sender is here.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}

/// Held by a part; dropped too early, it tells.
#[derive(Debug)]
pub(crate) struct Alive {
    part: Part,
    vitals: Arc<Vitals>,
}

impl Drop for Alive {
    fn drop(&mut self) {
        if self.vitals.is_stopping.load(Ordering::Relaxed) {
            return;
        }
        let is_first = self.vitals.failed.send_if_modified(|failed| {
            let is_first = failed.is_none();
            failed.get_or_insert(self.part);
            is_first
        });
        if is_first && self.vitals.is_up.load(Ordering::Relaxed) {
            error!(part = %self.part, "a part that the server cannot do without has ended");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_part_that_ends_is_told_however_it_ends() {
        let vitals = Arc::new(Vitals::default());
        let stun = vitals.spawn(Part::Stun, std::future::pending());
        assert_eq!(vitals.failed(), None);
        let hub = vitals.spawn(Part::Hub, async { panic!("a planted fault") });
        assert!(hub.await.unwrap_err().is_panic());
        assert_eq!(vitals.fails().await.part, Part::Hub);
        stun.abort();
        stun.await.unwrap_err();
        assert_eq!(vitals.failed(), Some(Part::Hub), "the first one is the cause");
    }

    #[tokio::test]
    async fn a_part_of_a_server_that_stops_may_end() {
        let vitals = Arc::new(Vitals::default());
        vitals.stop();
        vitals.spawn(Part::Outbox, async {}).await.unwrap();
        assert_eq!(vitals.failed(), None);
    }
}
