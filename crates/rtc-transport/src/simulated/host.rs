//! A host of the network: the clock, tasks and sockets of whoever lives on it.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::place::Place;
use super::socket::{Mailbox, VirtualSocket};
use super::{HostId, Network, Open};
use crate::config::{Interfaces, PathConfig};
use crate::event::lock;
use crate::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, LocalAddresses, Runtime,
};

/// A host of a [`Network`].
#[derive(Debug)]
pub struct Host {
    network: Network,
    pub(super) id: HostId,
}

impl Host {
    pub(super) fn new(network: Network, id: HostId) -> Self {
        Self { network, id }
    }

    /// Its own address as it is now, which behind a NAT is not the one that others see.
    pub fn address(&self) -> IpAddr {
        lock(&self.network.inner.state).places[&self.id].address
    }

    /// Moves to another network, as from Wi-Fi to mobile: the old address is gone, and what is sent from or to it with
    /// it. The links stay as they are.
    pub fn moves(&self) {
        let mut state = lock(&self.network.inner.state);
        let address = state.new_address();
        state.places.insert(self.id, Place::new(address));
    }

    /// Gives the host a further address beside its own, as of a VPN.
    pub fn add_address(&self) -> IpAddr {
        let address = lock(&self.network.inner.state).new_address();
        self.change(|place| place.further.push(address));
        address
    }

    /// From now on no default route leads out from the host's address, as on a network of its own.
    pub fn without_default_route(&self) {
        self.change(|place| place.has_route = false);
    }

    /// Gives the host so many further addresses that lead nowhere and are the same on every host, as those of the
    /// bridges for containers are; only Linux has them.
    pub fn has_bridges(&self, count: u8) {
        let bridges = (1..=count).filter(|_| cfg!(target_os = "linux"));
        self.change(|place| place.bridges = bridges.map(|n| IpAddr::from([127, 0, n, 1])).collect());
    }

    /// From now on the host stands behind a NAT.
    pub fn behind_nat(&self) {
        self.change(Place::put_nat);
    }

    /// The host's NAT forgets it: its sockets stay, and others see them at new addresses.
    pub fn renumber(&self) {
        self.change(Place::forget_mappings);
    }

    /// What opens a path on this host, wherever it is then.
    pub fn path_config(self: &Arc<Self>) -> PathConfig {
        PathConfig {
            interfaces: Interfaces::Source(self.clone()),
            runtime: Some(self.clone()),
            ..PathConfig::default()
        }
    }

    fn change(&self, change: impl FnOnce(&mut Place)) {
        if let Some(place) = lock(&self.network.inner.state).places.get_mut(&self.id) {
            change(place);
        }
    }
}

impl LocalAddresses for Host {
    fn addresses(&self) -> Vec<IpAddr> {
        let place = &lock(&self.network.inner.state).places[&self.id];
        let others = place.further.iter().chain(&place.bridges);
        std::iter::once(place.address).chain(others.copied()).collect()
    }

    fn default_route(&self) -> Vec<IpAddr> {
        let place = &lock(&self.network.inner.state).places[&self.id];
        place.has_route.then_some(place.address).into_iter().collect()
    }
}

struct Task(tokio::task::JoinHandle<()>);

impl JoinHandle for Task {
    fn detach(&self) {}

    fn abort(&self) {
        self.0.abort();
    }

    fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

/// Counts a task as running until it is dropped, finished or aborted.
struct Counted(Network);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.task_ended();
    }
}

struct Ticks(tokio::time::Interval);

impl AsyncInterval for Ticks {
    fn tick(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            self.0.tick().await;
        })
    }
}

fn no_tcp<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "the simulated network carries UDP only"))
}

impl Runtime for Host {
    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> Box<dyn JoinHandle> {
        self.network.task_started();
        let counted = Counted(self.network.clone());
        Box::new(Task(tokio::spawn(async move {
            let _counted = counted;
            future.await;
        })))
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let address = socket.local_addr()?;
        let mailbox = Arc::new(Mailbox::default());
        lock(&self.network.inner.state)
            .sockets
            .insert(address, Open { host: self.id, mailbox: Arc::downgrade(&mailbox) });
        let network = self.network.clone();
        Ok(Arc::new(VirtualSocket { network, host: self.id, address, mailbox, _port: socket }))
    }

    fn wrap_tcp_listener(&self, _: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        no_tcp()
    }

    fn connect_tcp<'a>(
        &'a self,
        _: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<Arc<dyn AsyncTcpStream>>> + Send + 'a>> {
        Box::pin(async { no_tcp() })
    }

    fn resolve_host<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        let named = lock(&self.network.inner.state).names.get(host).copied();
        let address = host.parse().ok().or(named);
        let unknown = || io::Error::new(io::ErrorKind::NotFound, "no such name in the simulated network");
        Box::pin(async move { address.map(|address| vec![address]).ok_or_else(unknown) })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        // sleeps: virtual time, the clock of the simulated network
        Box::pin(tokio::time::sleep(duration))
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        Box::new(Ticks(tokio::time::interval(period)))
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        super::run(future);
    }

    fn name(&self) -> &'static str {
        "simulated"
    }
}
