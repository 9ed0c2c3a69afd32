//! The seam between the engine and its sockets.

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use webrtc::peer_connection::crypto::RTCCryptoProvider;

use crate::config::Swiftness;
use crate::reports::Shared;
use crate::runtime::{AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime};

#[derive(Debug)]
pub(crate) struct Seam {
    _swiftness: Swiftness,
}

impl Seam {
    pub(crate) fn new(swiftness: Swiftness, _runtime: Arc<dyn Runtime>, _shared: Arc<Shared>) -> Self {
        Self { _swiftness: swiftness }
    }
    pub(crate) fn crypto_provider(&self) -> Option<Arc<dyn RTCCryptoProvider>> {
        None
    }
    pub(crate) fn random_ids(&self) -> (u32, u16) {
        let mut bytes = [0u8; 6];
        if let Ok(provider) = webrtc::peer_connection::crypto::default_provider() {
            let _ = provider.random().fill(&mut bytes);
        }
        (u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]), u16::from_be_bytes([bytes[4], bytes[5]]) >> 1)
    }
    pub(crate) fn on_offer(&self, sdp: &str) -> String {
        sdp.to_owned()
    }
    pub(crate) fn on_local_description(&self, _sdp: &str) {}
    pub(crate) fn on_remote_description(&self, _sdp: &str, _offer: bool) {}
    pub(crate) fn on_described(&self) {}
    pub(crate) fn on_connected(&self) {}
    pub(crate) fn close(&self) {}
}

#[derive(Debug)]
pub(crate) struct SeamRuntime {
    inner: Arc<dyn Runtime>,
}

impl SeamRuntime {
    pub(crate) fn new(inner: Arc<dyn Runtime>, _seam: Arc<Seam>) -> Self {
        Self { inner }
    }
}

impl Runtime for SeamRuntime {
    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> Box<dyn JoinHandle> {
        self.inner.spawn(future)
    }
    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        self.inner.wrap_udp_socket(socket)
    }
    fn wrap_tcp_listener(&self, listener: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        self.inner.wrap_tcp_listener(listener)
    }
    fn connect_tcp<'a>(
        &'a self,
        remote: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<Arc<dyn AsyncTcpStream>>> + Send + 'a>> {
        self.inner.connect_tcp(remote)
    }
    fn resolve_host<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        self.inner.resolve_host(host)
    }
    fn now(&self) -> Instant {
        self.inner.now()
    }
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        self.inner.sleep(duration)
    }
    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        self.inner.interval(period)
    }
    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.inner.block_on(future);
    }
    fn yield_now(&self) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        self.inner.yield_now()
    }
    fn name(&self) -> &'static str {
        self.inner.name()
    }
}
