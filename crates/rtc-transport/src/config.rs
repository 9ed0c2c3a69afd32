//! What a path is opened with.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::negotiation::Politeness;
use crate::runtime::{LocalAddresses, Runtime};

/// How a [`MediaPath`](crate::MediaPath) is opened; every field has a default that suits a phone.
#[derive(Clone, Debug)]
pub struct PathConfig {
    /// STUN servers that tell the public address, as `stun:host:port` (RFC 7064); none by default.
    ///
    /// A name is resolved while the path opens, at most [`PathConfig::resolve_timeout`] long; a server that cannot be
    /// resolved, or is of another kind (`stuns:`, an unknown scheme), is left out and logged.
    pub stun_servers: Vec<String>,
    /// Relays (TURN over UDP, RFC 8656) for ends that cannot reach each other; none by default. Names are resolved like
    /// those of STUN servers, and what is not supported (`turns:`, `?transport=tcp`) is left out like them.
    pub turn_servers: Vec<TurnServer>,
    /// Whether the other end may learn this end's addresses; [`IcePolicy::All`] by default.
    pub policy: IcePolicy,
    /// Which end gives way when both make an offer at once (W3C "perfect negotiation"); by default both tell from their
    /// certificates. Where the application knows which end is the polite one it says so, at both ends.
    pub politeness: Politeness,
    /// Which local addresses take part; [`Interfaces::All`] by default.
    pub interfaces: Interfaces,
    /// Which of them the other end is told of to begin with; [`AddressMode::All`] by default.
    pub address_mode: AddressMode,
    /// Clock, timers, tasks and sockets; tokio with the machine's own sockets by default.
    pub runtime: Option<Arc<dyn Runtime>>,
    /// Silence on the selected pair after which the path reports `Disconnected`; 2.5 s by default.
    pub disconnected_after: Duration,
    /// Further silence after which the path reports `Failed` and only an ICE restart helps; 15 s by default.
    pub failed_after: Duration,
    /// How often consent is renewed on a connected path (RFC 7675), and a silent end says that it is there; 500 ms by
    /// default, which also bounds how soon a silent path that comes back is noticed.
    pub keepalive: Duration,
    /// How long opening may wait for the names of STUN servers; 2 s by default.
    pub resolve_timeout: Duration,
    /// The measures that make connecting fast and certain; all on by default.
    pub swiftness: Swiftness,
}

impl Default for PathConfig {
    fn default() -> Self {
        Self {
            stun_servers: Vec::new(),
            turn_servers: Vec::new(),
            policy: IcePolicy::default(),
            politeness: Politeness::default(),
            interfaces: Interfaces::All,
            address_mode: AddressMode::default(),
            runtime: None,
            disconnected_after: Duration::from_millis(2_500),
            failed_after: Duration::from_secs(15),
            keepalive: Duration::from_millis(500),
            resolve_timeout: Duration::from_secs(2),
            swiftness: Swiftness::default(),
        }
    }
}

/// A relay and what it knows this end by.
#[derive(Clone, PartialEq, Eq)]
pub struct TurnServer {
    /// `turn:host:port` (RFC 7065), the port 3478 if left out. UDP is the only transport.
    pub url: String,
    /// The user name.
    pub username: String,
    /// The password.
    pub credential: String,
}

impl std::fmt::Debug for TurnServer {
    /// Without user name and password, which are nobody's business in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TurnServer").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Which kinds of way a path may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum IcePolicy {
    /// Direct ones and relays.
    #[default]
    All,
    /// Only relays: no description and no candidate tells an address of this end. Costs the way over the relay, and
    /// connecting takes longer, since some measures of [`Swiftness`] work on direct ways only.
    RelayOnly,
}

/// Which of a path's addresses the other end is shown (RFC 8828 section 5.2).
///
/// Of the IPv6 addresses of one interface and prefix only the one that the system sends from takes part in either mode:
/// the temporary one (RFC 8981), where there is one, and not the stable one by which a machine is known again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AddressMode {
    /// Every one that [`PathConfig::interfaces`] gives (mode 1).
    #[default]
    All,
    /// Those that the default routes lead out from, one of each family, and what a STUN server sees of them (mode 2):
    /// other networks of this machine, such as a VPN, stay hidden, and nothing is sent to the other end from them.
    /// An explicit list ([`Interfaces::Addresses`]) is shown as it is.
    ///
    /// Ends that only reach each other over an address that is hidden connect once it is shown
    /// ([`MediaPath::show_all_addresses`](crate::MediaPath::show_all_addresses)).
    DefaultRoute,
}

/// Which local addresses a path uses.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Interfaces {
    /// Every address of every interface that is not loopback, the eight most promising of them; loopback if there is
    /// nothing else.
    #[default]
    All,
    /// 127.0.0.1 only.
    Loopback,
    /// Exactly these.
    Addresses(Vec<IpAddr>),
    /// Those this tells at the time.
    Source(Arc<dyn LocalAddresses>),
}

impl PartialEq for Interfaces {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Interfaces::All, Interfaces::All) | (Interfaces::Loopback, Interfaces::Loopback) => true,
            (Interfaces::Addresses(these), Interfaces::Addresses(those)) => these == those,
            (Interfaces::Source(this), Interfaces::Source(that)) => Arc::ptr_eq(this, that),
            (
                Interfaces::All | Interfaces::Loopback | Interfaces::Addresses(_) | Interfaces::Source(_),
                Interfaces::All | Interfaces::Loopback | Interfaces::Addresses(_) | Interfaces::Source(_),
            ) => false,
        }
    }
}

impl Eq for Interfaces {}

/// The measures of the socket seam that make connecting fast and certain, each of which can be switched off to see
/// what it brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swiftness {
    /// Time between two looks of the ICE agent at its pairs while it connects, 20 ms by default, and at least 50 ms at an
    /// end with three or more addresses; what reaches the wire is paced separately. The engine's own default is 200 ms.
    pub check_interval: Duration,
    /// Repeat a DTLS flight that stays unanswered, from one and a bit round trips on, instead of after the engine's
    /// fixed second.
    pub repeat_flights: bool,
    /// Tell the other end the DTLS cookie in the offer, so that its handshake starts one round trip further on.
    pub announce_cookie: bool,
    /// Nominate with the first check instead of after it (RFC 5245 section 8.1.1.2), one round trip less.
    pub nominate_at_once: bool,
    /// Keep what comes a moment too early for the engine (checks, handshake, media) until it can use it, and have it
    /// act when it can instead of at its next tick.
    pub keep_early: bool,
}

impl Default for Swiftness {
    fn default() -> Self {
        Self {
            check_interval: Duration::from_millis(20),
            repeat_flights: true,
            announce_cookie: true,
            nominate_at_once: true,
            keep_early: true,
        }
    }
}

impl Swiftness {
    /// Nothing of it: the engine as it comes.
    pub fn none() -> Self {
        Self {
            check_interval: Duration::from_millis(200),
            repeat_flights: false,
            announce_cookie: false,
            nominate_at_once: false,
            keep_early: false,
        }
    }
}
