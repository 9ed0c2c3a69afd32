//! The seam between the engine and its sockets, where connecting is made fast and certain.
//!
//! The engine's settings reach neither its DTLS timers nor the order of ICE and DTLS. But everything it says passes
//! through sockets of ours, so what it lacks is done there, on datagrams, invisible to both ends' engines:
//!
//! - an unanswered DTLS flight is repeated after about a round trip ([`flights`]);
//! - ICE checks are paced and nominate from the start ([`checks`]);
//! - the offer announces the DTLS cookie that the answerer would otherwise fetch by a round trip of its own;
//! - what comes a moment too early — checks before the answer or their candidate is known, a handshake before a pair is
//!   selected, media before the handshake is complete — waits here instead of being dropped or misread by the engine;
//! - an end that is seen at a new address is followed ([`moves`]), and this end's sockets can be replaced under the
//!   engine ([`rebind`]).
//!
//! And what anybody can send is kept from it: it remembers, answers and logs more than it should ([`guard`]).

mod authentic;
mod checks;
mod cookie;
mod flights;
mod guard;
mod incoming;
mod moves;
mod rebind;
mod record;
mod relayed;
mod runtime;
mod socket;
mod sources;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use rtc::crypto::{RTCCryptoProvider, default_provider};
use tokio::sync::Notify;

use crate::config::Swiftness;
use crate::event::{Candidate, lock};
use crate::remote::{self, RemoteCandidates};
use crate::reports::Shared;
use crate::runtime::Runtime;
use crate::shown::{Shown, is_for_a_peer};
pub(crate) use authentic::Authentic;
use checks::{Checks, Outgoing, Pair};
use cookie::{COOKIE_ATTRIBUTE, CookieProvider};
use flights::{Flights, Sent};
use guard::Guard;
use moves::Moves;
pub use rebind::Rebound;
use record::{COOKIE_LENGTH, Handshake};
pub(crate) use runtime::SeamRuntime;
use socket::Port;
use sources::Sources;

/// Datagrams that may wait for the engine to be ready for them.
const HELD_LIMIT: usize = 32;
/// Remote addresses remembered.
const KNOWN_LIMIT: usize = 256;

/// The seam of one path, shared by its sockets.
pub(crate) struct Seam {
    swiftness: Swiftness,
    runtime: Arc<dyn Runtime>,
    shared: Arc<Shared>,
    shown: Arc<Shown>,
    changed: Arc<Notify>,
    crypto: Option<Arc<dyn RTCCryptoProvider>>,
    /// The other end has answered a check of the seam; whoever does not wait at that moment is not told.
    answered: Notify,
    cookie: [u8; COOKIE_LENGTH],
    /// The engine can decrypt: media needs no look at it any more.
    media_open: AtomicBool,
    /// Where the datagram came from that the engine was given last.
    in_hand: Mutex<Option<Pair>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    guard: Guard,
    candidates: RemoteCandidates,
    checks: Checks,
    flights: Flights,
    moves: Moves,
    sources: Sources,
    /// The cookie the other end's DTLS server will ask for.
    remote_cookie: Option<[u8; COOKIE_LENGTH]>,
    remote_fragment: Option<String>,
    dtls_client: bool,
    hello_passed: bool,
    described: bool,
    closed: bool,
    ports: HashMap<SocketAddr, Weak<Port>>,
    /// Remote addresses known from candidates, and since when others have been heard of.
    known: HashSet<SocketAddr>,
    strangers: HashMap<SocketAddr, Instant>,
    early_checks: VecDeque<Held>,
    early_handshake: VecDeque<Held>,
    early_media: VecDeque<Held>,
}

struct Held {
    local: SocketAddr,
    remote: SocketAddr,
    bytes: Vec<u8>,
}

/// What becomes of a datagram the engine sends.
pub(super) enum Way {
    Out,
    OutAs(Vec<u8>),
    Nowhere,
}

impl std::fmt::Debug for Seam {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seam").field("swiftness", &self.swiftness).finish_non_exhaustive()
    }
}

impl Seam {
    /// `changed` is told when the other end may have closed the path.
    pub(crate) fn new(
        swiftness: Swiftness,
        runtime: Arc<dyn Runtime>,
        shared: Arc<Shared>,
        shown: Arc<Shown>,
        changed: Arc<Notify>,
    ) -> Self {
        let provider = default_provider().ok();
        let mut cookie = [0; COOKIE_LENGTH];
        let filled = provider.as_ref().is_some_and(|provider| provider.random().fill(&mut cookie).is_ok());
        let crypto = provider.map(|provider| match filled && swiftness.announce_cookie {
            true => Arc::new(CookieProvider::new(provider, cookie)) as Arc<dyn RTCCryptoProvider>,
            false => provider,
        });
        Self {
            swiftness,
            runtime,
            shared,
            shown,
            changed,
            crypto,
            answered: Notify::new(),
            cookie,
            media_open: AtomicBool::new(!swiftness.keep_early),
            in_hand: Mutex::default(),
            state: Mutex::default(),
        }
    }

    /// The provider the engine is to use; none if the build has none, which the engine then reports.
    pub(crate) fn crypto_provider(&self) -> Option<Arc<dyn RTCCryptoProvider>> {
        self.crypto.clone()
    }

    /// A random RTP source and first sequence number (RFC 3550 sections 5.1 and 8.1); the number leaves room for late
    /// packets before the first wrap.
    pub(crate) fn random_ids(&self) -> (u32, u16) {
        let mut bytes = [0; 6];
        if let Some(crypto) = &self.crypto
            && let Err(error) = crypto.random().fill(&mut bytes)
        {
            tracing::warn!(%error, "no randomness for the RTP source");
        }
        let [a, b, c, d, e, f] = bytes;
        (u32::from_be_bytes([a, b, c, d]).max(1), u16::from_be_bytes([e, f]) >> 1)
    }

    /// This end describes itself anew: nothing learned of pairs before holds.
    pub(crate) fn on_new_generation(&self) {
        lock(&self.state).start(self.swiftness);
    }

    /// The engine takes a description of this end.
    pub(crate) fn on_local_description(&self, sdp: &str) {
        lock(&self.state).guard.add_password(attribute(sdp, "ice-pwd"));
    }

    /// An offer as the other end is to get it.
    pub(crate) fn announced(&self, sdp: &str) -> String {
        if self.swiftness.announce_cookie { cookie::announce(sdp, &self.cookie) } else { sdp.to_owned() }
    }

    /// The other end described itself.
    pub(crate) fn on_remote_description(&self, sdp: &str, is_offer: bool) {
        let attribute = |name: &str| attribute(sdp, name);
        let mut state = lock(&self.state);
        let fragment = attribute("ice-ufrag");
        if is_offer && fragment != state.remote_fragment {
            state.start(self.swiftness);
        }
        state.remote_fragment = fragment;
        // The answerer is the client unless the offer claims that part (RFC 8842 section 5.3).
        let setup = attribute("setup");
        state.dtls_client =
            if is_offer { setup.as_deref() != Some("active") } else { setup.as_deref() == Some("passive") };
        state.checks.set_remote_password(attribute("ice-pwd"));
        state.sources.declare(sdp);
        if is_offer && self.swiftness.announce_cookie {
            state.remote_cookie = attribute(COOKIE_ATTRIBUTE).and_then(|hex| cookie::parse(&hex));
        }
    }

    /// The engine has both descriptions: it can answer the checks that came early.
    pub(crate) fn on_described(&self) {
        let mut state = lock(&self.state);
        state.described = true;
        let now = self.now();
        state.strangers.values_mut().for_each(|since| *since = now);
        state.release_checks();
    }

    /// Whether the engine is to have a candidate of the other end.
    pub(crate) fn admits_candidate(&self, candidate: &str) -> bool {
        let mut state = lock(&self.state);
        let own = state.own_addresses();
        state.candidates.admits(candidate, &own)
    }

    /// Sorts candidates of the other end, the promising ones first.
    pub(crate) fn sort_candidates(&self, candidates: &mut [Candidate]) {
        let own = lock(&self.state).own_addresses();
        remote::sort(candidates, &own, |candidate| &candidate.candidate);
    }

    /// The engine knows a candidate of the other end.
    pub(crate) fn on_remote_candidate(&self, candidate: &str) {
        // foundation, component, transport, priority, address, port (RFC 8839 section 5.1)
        let mut words = candidate.split_ascii_whitespace().skip(4);
        let address =
            words.next().and_then(|word| word.parse().ok()).zip(words.next().and_then(|word| word.parse().ok()));
        let Some((ip, port)) = address else { return };
        let mut state = lock(&self.state);
        if state.known.len() < KNOWN_LIMIT {
            state.known.insert(SocketAddr::new(ip, port));
        }
        if state.described {
            state.release_checks();
        }
    }

    /// The engine's handshake is complete.
    pub(crate) fn on_connected(&self) {
        let mut state = lock(&self.state);
        state.flights.on_complete();
        self.media_open.store(true, Ordering::Release);
        let early = std::mem::take(&mut state.early_media);
        state.release(early);
    }

    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
    }

    fn now(&self) -> Instant {
        self.runtime.now()
    }

    fn sleep(&self, duration: Duration) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        self.runtime.sleep(duration)
    }

    fn add_port(&self, local: SocketAddr, port: &Arc<Port>) {
        let mut state = lock(&self.state);
        state.ports.retain(|_, port| port.strong_count() > 0);
        state.ports.insert(local, Arc::downgrade(port));
    }

    /// Looks at a STUN or DTLS datagram the engine sends.
    fn on_sent(&self, local: SocketAddr, remote: SocketAddr, bytes: &[u8]) -> Way {
        let now = self.now();
        let mut state = lock(&self.state);
        let Some(crypto) = &self.crypto else { return Way::Out };
        if let Some(inner) = relayed::inner(bytes) {
            // Of what takes a relay only the handshake is helped: losing it would be fatal, the rest takes its time.
            if record::is_handshake(inner) {
                state.flights.on_sent(now, Sent { local, remote, bytes: bytes.to_vec() }, None);
                state.wake(local);
            }
            return Way::Out;
        }
        if is_stun(bytes) && is_for_a_peer(bytes) && !self.shown.is_shown(local.ip()) {
            return Way::Nowhere;
        }
        if is_stun(bytes) {
            if !checks::is_check_or_answer(bytes) {
                state.guard.on_asked_server(remote, bytes);
            }
            let was_selected = state.checks.is_selected();
            let way = match state.checks.on_sent(now, (local, remote), bytes, crypto) {
                Outgoing::Pass => Way::Out,
                Outgoing::Replace(bytes) => Way::OutAs(bytes),
                Outgoing::Drop => Way::Nowhere,
                Outgoing::Answer(bytes) => {
                    state.release([Held { local, remote, bytes }]);
                    Way::Nowhere
                }
            };
            if !was_selected && state.checks.is_selected() {
                state.flights.on_selected(now, (local, remote));
                state.wake(local);
                state.release_handshake();
            }
            return way;
        }
        if !record::is_handshake(bytes) {
            return Way::Out;
        }
        if let Some(Handshake::ClientHello { sequence: 0 }) = record::handshake(bytes)
            && let Some(cookie) = state.remote_cookie.take()
        {
            state.release([Held { local, remote, bytes: record::hello_verify_request(&cookie) }]);
        }
        let rtt = state.checks.rtt;
        state.flights.on_sent(now, Sent { local, remote, bytes: bytes.to_vec() }, rtt);
        state.wake(local);
        Way::Out
    }

    /// The engine uses this pair: a local address and a remote one.
    pub(crate) fn on_selected(&self, pair: Option<(SocketAddr, SocketAddr)>) {
        lock(&self.state).moves.select(pair);
    }

    /// Where to send what the engine sends to `remote`.
    fn destination(&self, remote: SocketAddr) -> SocketAddr {
        lock(&self.state).moves.destination(remote)
    }

    /// Where the engine is to think that something from `from` came from.
    fn source(&self, from: SocketAddr) -> SocketAddr {
        lock(&self.state).moves.source(from)
    }

    /// When the socket at `local` has to repeat a flight.
    fn next_repeat(&self, local: SocketAddr) -> Option<Instant> {
        let state = lock(&self.state);
        let (of, at) = state.flights.next_repeat()?;
        (of == local && !state.closed && self.swiftness.repeat_flights).then_some(at)
    }

    /// The engine has selected a pair and is to speak first, but has not.
    fn owes_hello(&self) -> bool {
        let state = lock(&self.state);
        self.swiftness.keep_early && state.dtls_client && state.checks.is_selected() && state.flights.is_untouched()
    }

    fn repeat(&self) -> Vec<Sent> {
        let now = self.now();
        lock(&self.state).flights.repeat(now)
    }
}

impl State {
    /// A new generation: nothing learned of pairs before holds.
    fn start(&mut self, swiftness: Swiftness) {
        self.described = false;
        self.known.clear();
        self.strangers.clear();
        self.guard.start();
        self.candidates = RemoteCandidates::default();
        self.checks.start(swiftness.nominate_at_once);
        self.moves.select(None);
    }

    fn port(&self, local: SocketAddr) -> Option<Arc<Port>> {
        self.ports.get(&local).and_then(Weak::upgrade)
    }

    fn own_addresses(&self) -> Vec<IpAddr> {
        let open = self.ports.iter().filter(|(_, port)| port.strong_count() > 0);
        open.map(|(local, _)| local.ip()).collect()
    }

    /// A check of the seam's own.
    fn ask(
        &mut self,
        now: Instant,
        (local, remote): checks::Pair,
        crypto: &Arc<dyn RTCCryptoProvider>,
    ) -> Option<Sent> {
        let (id, bytes) = self.checks.own_check(crypto)?;
        self.moves.on_asked(now, id, remote);
        Some(Sent { local, remote, bytes })
    }

    fn wake(&self, local: SocketAddr) {
        if let Some(port) = self.port(local) {
            port.wake();
        }
    }

    fn release<I: IntoIterator<Item = Held>>(&self, held: I) {
        for Held { local, remote, bytes } in held {
            if let Some(port) = self.port(local) {
                port.put(remote, bytes);
            }
        }
    }

    /// Lets in the checks whose candidates are known by now; a stranger's next check finds its time is up.
    fn release_checks(&mut self) {
        let early = std::mem::take(&mut self.early_checks);
        let (ready, waiting) = early.into_iter().partition(|held| self.known.contains(&held.remote));
        self.early_checks = waiting;
        self.release::<VecDeque<Held>>(ready);
    }

    /// Lets in what came before a pair was selected, the plain hello first whatever the order on the way was.
    fn release_handshake(&mut self) {
        let hello = |held: &Held| match record::handshake(&held.bytes) {
            Some(Handshake::ClientHello { sequence }) => Some(sequence),
            _ => None,
        };
        let mut early: Vec<Held> = std::mem::take(&mut self.early_handshake).into();
        early.retain(|held| self.is_theirs(held.remote));
        early.sort_by_key(hello);
        self.hello_passed |= early.iter().any(|held| hello(held) == Some(0));
        let hello_passed = self.hello_passed;
        self.release(early.into_iter().filter(|held| hello_passed || hello(held).is_none()));
    }
}

fn hold(queue: &mut VecDeque<Held>, held: Held) {
    if queue.len() < HELD_LIMIT && !queue.iter().any(|other| other.bytes == held.bytes) {
        queue.push_back(held);
    }
}

/// RFC 7983.
fn is_stun(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(0..=3))
}

/// RTP or RTCP (RFC 7983).
fn is_media(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(128..=191))
}

/// An attribute of a description (RFC 8866 section 5.13).
fn attribute(sdp: &str, name: &str) -> Option<String> {
    let mut values = sdp.lines().filter_map(|line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'));
    values.next().map(str::to_owned)
}

/// A STUN binding request.
fn is_check(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0, 1])
}
