//! What everybody who serves one TCP connection shares.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::proxy::ClientAddress;

/// One accepted TCP connection.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// The server's address as the client sees it.
    pub(crate) local_ip: Option<IpAddr>,
    remote: Option<ClientAddress>,
    serving: AtomicUsize,
    served: AtomicBool,
    fell_idle: Notify,
    cut: Notify,
}

/// The end of one stream whose peer does not read its last frame, without a word to it.
///
/// A proxy puts the streams of several users on one connection: of those only the one ends. A connection that has no other is cut.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cut {
    connection: Arc<Connection>,
    /// None outside of a task of its own, which HTTP/2 has for each stream.
    stream: Option<Arc<Notify>>,
}

impl Cut {
    /// That of the stream in whose task this is called.
    pub(crate) fn of_this_stream(connection: Arc<Connection>) -> Self {
        Self { connection, stream: STREAM.try_with(Arc::clone).ok() }
    }

    pub(crate) fn cut(&self) {
        match &self.stream {
            Some(stream) if !self.connection.serves_only_one() => stream.notify_one(),
            Some(_) | None => self.connection.cut.notify_one(),
        }
    }
}

tokio::task_local! {
    static STREAM: Arc<Notify>;
}

/// Runs the task of one stream until it ends or its [`Cut`] is used, which resets the stream (RFC 9113, section 6.4).
pub(crate) async fn run_stream(task: impl Future<Output: Send>) {
    let cut = Arc::new(Notify::new());
    let is_cut = Arc::clone(&cut);
    tokio::select! {
        _ = STREAM.scope(cut, task) => {}
        () = is_cut.notified() => {}
    }
}

/// Held while a request is served.
#[derive(Debug)]
pub(crate) struct Serving(Arc<Connection>);

impl Connection {
    pub(crate) fn new(local_ip: Option<IpAddr>, remote: ClientAddress) -> Self {
        Self { local_ip, remote: Some(remote), ..Self::default() }
    }

    /// The peer's address as the server sees it, or as its proxy said when the connection began.
    pub(crate) fn remote(&self) -> ClientAddress {
        self.remote.unwrap_or(IpAddr::from(Ipv4Addr::UNSPECIFIED).into())
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

    /// Whether no other request than one is being served.
    fn serves_only_one(&self) -> bool {
        self.serving.load(Ordering::Relaxed) <= 1
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
