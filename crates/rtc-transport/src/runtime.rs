//! The clock, timers, tasks and sockets a path runs on, so that a test can bring its own.
//!
//! The traits are the engine's own, under this crate's name: whoever implements [`Runtime`] needs no dependency on
//! the engine.

use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;

pub use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, EcnCodepoint, JoinHandle, RecvMeta, Runtime,
    Transmit,
};

/// The machine's clock and sockets on the tokio runtime of whoever opens the path.
pub fn tokio() -> Arc<dyn Runtime> {
    Arc::new(webrtc::runtime::TokioRuntime)
}

/// The addresses a machine has, asked anew each time sockets are bound or the network is watched.
pub trait LocalAddresses: Debug + Send + Sync {
    /// Those there are now, the best one first.
    fn addresses(&self) -> Vec<IpAddr>;

    /// Those of them that the default routes lead out from; unless told otherwise the first of each family.
    fn default_route(&self) -> Vec<IpAddr> {
        let addresses = self.addresses();
        let first = |v4: bool| addresses.iter().copied().find(|ip| ip.is_ipv4() == v4);
        [first(true), first(false)].into_iter().flatten().collect()
    }
}
