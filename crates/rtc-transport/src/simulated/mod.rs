//! A network in memory and in virtual time, for tests: hosts, links with delay, jitter, loss, bursts, duplication and
//! a rate, all decided by one seed.
//!
//! A [`Host`] is a [`Runtime`](crate::runtime::Runtime): give it to [`PathConfig::runtime`](crate::PathConfig::runtime) together with its address and the
//! path lives on that host. Time is tokio's paused clock, which jumps to the next thing that happens; a minute of call
//! takes as long as its computing. Times are rounded up to tokio's timer step of 1 ms.
//!
//! ```
//! use std::time::Duration;
//! use rtc_transport::simulated::{Link, Network, run};
//!
//! run(async {
//!     let network = Network::new(7);
//!     let (alice, bob) = (network.host(), network.host());
//!     network.connect(&alice, &bob, Link::delayed(Duration::from_millis(50)).with_loss(0.1));
//! });
//! ```
//!
//! A host can move to another network ([`Host::moves`]) or stand behind a NAT that forgets it ([`Host::behind_nat`],
//! [`Host::renumber`]).
//!
//! Datagrams never leave the process, but the engine insists on binding a real socket for each virtual one, so hosts
//! have addresses of the loopback net 127.0.0.0/8, and how many there can be is limited by open files.

mod host;
mod link;
mod place;
mod socket;

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use crate::event::lock;

pub use host::Host;
use link::Wire;
pub use link::{Link, LinkCounts};
use place::Place;
use socket::Mailbox;

/// Runs `world` to its end on a clock of its own that jumps instead of waiting.
pub fn run<T>(world: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime without threads needs only an epoll handle").block_on(world)
}

/// A network of hosts; a cheap handle.
#[derive(Clone, Debug)]
pub struct Network {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    seed: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    hosts: u32,
    tasks: usize,
    /// Addresses given away so far, which are never used again.
    addresses: u32,
    names: HashMap<String, SocketAddr>,
    sockets: HashMap<SocketAddr, Open>,
    /// Datagrams that left each address.
    sent: HashMap<IpAddr, u64>,
    /// Where each host is now.
    places: HashMap<HostId, Place>,
    /// One direction each.
    wires: HashMap<(HostId, HostId), Wire>,
    unlinked: Link,
    /// What each host has sent, to whomever.
    traffic: HashMap<HostId, Sent>,
    /// What is overheard, while somebody listens.
    overheard: Option<VecDeque<Overheard>>,
}

/// What a host has sent so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Datagrams, also those to addresses where nobody is.
    pub datagrams: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A datagram on the network, as whoever listens sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overheard {
    /// The address it comes from.
    pub from: SocketAddr,
    /// The address it goes to.
    pub to: SocketAddr,
    /// What it carries.
    pub bytes: Vec<u8>,
}

/// A host stays the same wherever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct HostId(u32);

/// An open socket and whose it is.
#[derive(Debug)]
struct Open {
    host: HostId,
    mailbox: Weak<Mailbox>,
}

impl Network {
    /// A network whose every chance is decided by `seed`; hosts that nobody connects reach each other at once.
    pub fn new(seed: u64) -> Self {
        Self { inner: Arc::new(Inner { seed, state: Mutex::default() }) }
    }

    /// A new host with an address of its own.
    pub fn host(&self) -> Arc<Host> {
        let mut state = lock(&self.inner.state);
        state.hosts += 1;
        let id = HostId(state.hosts);
        let address = state.new_address();
        state.places.insert(id, Place::new(address));
        Arc::new(Host::new(self.clone(), id))
    }

    /// Connects two hosts by the same kind of link in both directions.
    pub fn connect(&self, a: &Host, b: &Host, link: Link) {
        self.connect_one_way(a, b, link);
        self.connect_one_way(b, a, link);
    }

    /// Sets the link from one host to another; what is on its way still arrives.
    pub fn connect_one_way(&self, from: &Host, to: &Host, link: Link) {
        let ends = (from.id, to.id);
        let seed = self.inner.seed;
        lock(&self.inner.state).wires.entry(ends).or_insert_with(|| Wire::new(seed, ends)).link = link;
    }

    /// Lets nothing through between two hosts until they are connected again.
    pub fn cut(&self, a: &Host, b: &Host) {
        self.connect(a, b, Link { loss: 1.0, ..Link::default() });
    }

    /// What went over the link from one host to another so far.
    pub fn counts(&self, from: &Host, to: &Host) -> LinkCounts {
        let state = lock(&self.inner.state);
        state.wires.get(&(from.id, to.id)).map_or_else(LinkCounts::default, |wire| wire.counts)
    }

    /// Datagrams that were sent from sockets at an address so far, whatever became of them.
    pub fn sent_from(&self, address: IpAddr) -> u64 {
        lock(&self.inner.state).sent.get(&address).copied().unwrap_or_default()
    }

    /// What a host has sent so far, to whomever.
    pub fn sent(&self, host: &Host) -> Sent {
        lock(&self.inner.state).traffic.get(&host.id).copied().unwrap_or_default()
    }

    /// The addresses of a host's open sockets, as the host knows them.
    pub fn sockets(&self, host: &Host) -> Vec<SocketAddr> {
        let state = lock(&self.inner.state);
        let open = state.sockets.iter().filter(|(_, open)| open.host == host.id && open.mailbox.strong_count() > 0);
        open.map(|(address, _)| *address).collect()
    }

    /// The datagrams that were sent since this was last called, but for those of [`Network::inject`]; the first call
    /// begins to listen. Of many that nobody asks for the last are kept.
    pub fn overhear(&self) -> Vec<Overheard> {
        lock(&self.inner.state).overheard.replace(VecDeque::new()).unwrap_or_default().into()
    }

    /// Has `host` send a datagram from an address that it made up.
    pub fn inject(&self, host: &Host, datagram: &Overheard) {
        self.carry(&mut lock(&self.inner.state), host.id, datagram.from, datagram.to, &datagram.bytes);
    }

    /// Gives a name to an address, for hosts that resolve it.
    pub fn name(&self, name: &str, address: SocketAddr) {
        lock(&self.inner.state).names.insert(name.to_owned(), address);
    }

    /// Sockets that are open on all hosts.
    pub fn open_sockets(&self) -> usize {
        lock(&self.inner.state).sockets.values().filter(|open| open.mailbox.strong_count() > 0).count()
    }

    /// Tasks of all hosts that have not ended.
    pub fn running_tasks(&self) -> usize {
        lock(&self.inner.state).tasks
    }

    fn send(&self, sender: HostId, from: SocketAddr, to: SocketAddr, datagram: &[u8]) {
        const OVERHEARD: usize = 512;
        let mut state = lock(&self.inner.state);
        *state.sent.entry(from.ip()).or_default() += 1;
        let sent = state.traffic.entry(sender).or_default();
        *sent = Sent { datagrams: sent.datagrams + 1, bytes: sent.bytes + datagram.len() as u64 };
        let Some(from) = state.seen_from(sender, from) else { return };
        if let Some(overheard) = &mut state.overheard {
            if overheard.len() == OVERHEARD {
                overheard.pop_front();
            }
            overheard.push_back(Overheard { from, to, bytes: datagram.to_vec() });
        }
        self.carry(&mut state, sender, from, to, datagram);
    }

    fn carry(&self, state: &mut State, sender: HostId, from: SocketAddr, to: SocketAddr, datagram: &[u8]) {
        let now = tokio::time::Instant::now();
        let Some((receiver, mailbox)) = state.receiver(to) else { return };
        let ends = (sender, receiver);
        let wire = state.wires.entry(ends).or_insert_with(|| {
            let mut wire = Wire::new(self.inner.seed, ends);
            wire.link = state.unlinked;
            wire
        });
        for at in wire.carry(now, datagram.len()).into_iter().flatten() {
            mailbox.put(at, from, datagram);
        }
    }

    fn task_started(&self) {
        lock(&self.inner.state).tasks += 1;
    }

    fn task_ended(&self) {
        lock(&self.inner.state).tasks -= 1;
    }
}

impl State {
    /// 127.1.0.1 upwards; macOS has no loopback but 127.0.0.1, where ports alone tell the hosts apart.
    fn new_address(&mut self) -> IpAddr {
        self.addresses += 1;
        let [_, high, middle, low] = self.addresses.to_be_bytes();
        IpAddr::V4(match cfg!(target_os = "linux") {
            true => Ipv4Addr::new(127, high + 1, middle, low),
            false => Ipv4Addr::LOCALHOST,
        })
    }

    /// The address others see a datagram come from; none where the socket's own address is gone.
    fn seen_from(&mut self, sender: HostId, socket: SocketAddr) -> Option<SocketAddr> {
        self.places.get_mut(&sender)?.outward(socket)
    }

    /// Who gets what is sent to `address`.
    fn receiver(&self, address: SocketAddr) -> Option<(HostId, Arc<Mailbox>)> {
        let inside = self.places.values().find_map(|place| place.inward(address)).unwrap_or(address);
        let open = self.sockets.get(&inside)?;
        let reachable = self.places.get(&open.host).is_some_and(|place| place.takes(address, inside));
        Some((open.host, open.mailbox.upgrade()?)).filter(|_| reachable)
    }
}

/// How long it is until virtual `duration` has passed; for tests that let the world run on.
pub async fn pass(duration: Duration) {
    // sleeps: virtual time, the clock of the simulated network
    tokio::time::sleep(duration).await;
}
