//! Notices that the addresses of the machine have changed.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::addresses::outward;
use crate::config::Interfaces;
use crate::runtime::{Runtime, tokio as tokio_runtime};

/// Time between two looks. The systems' own notices differ on each, are closed to apps on Android, and do not tell what
/// counts here; a look costs some microseconds.
const LOOK: Duration = Duration::from_millis(250);

/// Watches the addresses a path can use and the way into the internet, as when a phone leaves its Wi-Fi.
#[derive(Debug)]
pub struct NetworkWatch {
    interfaces: Interfaces,
    runtime: Arc<dyn Runtime>,
    known: Seen,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    addresses: BTreeSet<IpAddr>,
    outward: Vec<IpAddr>,
}

impl NetworkWatch {
    /// Watches all interfaces of the machine from now on, on the tokio runtime of whoever waits.
    pub fn new() -> Self {
        Self::of(Interfaces::All, tokio_runtime())
    }

    /// Watches what a path opened with these would use, on the clock of `runtime`.
    pub fn of(interfaces: Interfaces, runtime: Arc<dyn Runtime>) -> Self {
        let mut watch = Self { interfaces, runtime, known: Seen::default() };
        watch.known = watch.look();
        watch
    }

    /// Waits until the addresses or the way into the internet are other than they were when this was made or last
    /// returned; then call [`MediaPath::rebind`](crate::MediaPath::rebind).
    ///
    /// A change is noticed within 250 ms. Cancel safe: a change is only taken by a call that returns, and what changes
    /// while nobody waits is told by the next call at once.
    pub async fn changed(&mut self) {
        loop {
            let now = self.look();
            if now != self.known {
                self.known = now;
                return;
            }
            self.runtime.sleep(LOOK).await;
        }
    }

    /// A machine that cannot tell its addresses looks unchanged.
    fn look(&self) -> Seen {
        match self.interfaces.addresses() {
            Ok(addresses) => Seen {
                addresses: addresses.into_iter().collect(),
                outward: if self.interfaces == Interfaces::All { outward() } else { vec![] },
            },
            Err(error) => {
                tracing::debug!(%error, "the addresses of the machine");
                self.known.clone()
            }
        }
    }
}

impl Default for NetworkWatch {
    fn default() -> Self {
        Self::new()
    }
}
