//! What everybody who serves one TCP connection shares.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// One accepted TCP connection.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// The server's address as the client sees it.
    pub(crate) local_ip: Option<IpAddr>,
    remote_ip: Option<IpAddr>,
    serving: AtomicUsize,
    served: AtomicBool,
    fell_idle: Notify,
    cut: Notify,
}

/// Held while a request is served.
#[derive(Debug)]
pub(crate) struct Serving(Arc<Connection>);

impl Connection {
    pub(crate) fn new(local_ip: Option<IpAddr>, remote_ip: IpAddr) -> Self {
        Self { local_ip, remote_ip: Some(remote_ip), ..Self::default() }
    }

    /// The client's address as the server sees it.
    pub(crate) fn remote_ip(&self) -> IpAddr {
        self.remote_ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into())
    }

    pub(crate) fn serve(self: &Arc<Self>) -> Serving {
        self.serving.fetch_add(1, Ordering::Relaxed);
        Serving(Arc::clone(self))
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Relaxed) > 0
    }

    /// Waits until the last request that is being served is over.
    pub(crate) async fn falls_idle(&self) {
        self.fell_idle.notified().await;
    }

    /// Whether nothing was asked since the last look, and nothing is being served.
    pub(crate) fn was_idle(&self) -> bool {
        let served = self.served.swap(false, Ordering::Relaxed);
        !self.is_serving() && !served
    }

    /// Cuts the connection, for a peer that does not read its last frame.
    pub(crate) fn cut(&self) {
        self.cut.notify_one();
    }

    pub(crate) async fn is_cut(&self) {
        self.cut.notified().await;
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.served.store(true, Ordering::Relaxed);
        if self.0.serving.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.fell_idle.notify_one();
        }
    }
}
