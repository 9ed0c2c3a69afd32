//! The seam between the engine and its sockets, where connecting is made fast and certain.
//!
//! The engine's settings reach neither its DTLS timers nor the order of ICE and DTLS. But everything it says passes
//! through sockets of ours, so what it lacks is done there, on datagrams, invisible to both ends' engines:
//!
//! - an unanswered DTLS flight is repeated after about a round trip ([`flights`]);
//! - ICE checks are paced and nominate from the start ([`checks`]);
//! - the offer announces the DTLS cookie that the answerer would otherwise fetch by a round trip of its own;
//! - what comes a moment too early — checks before the answer is known, a handshake before a pair is selected — waits
//!   here instead of being dropped by the engine.

mod checks;
mod cookie;
mod flights;
mod record;
mod runtime;
mod socket;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use rtc::crypto::{RTCCryptoProvider, default_provider};
use tokio::sync::Notify;

use crate::config::Swiftness;
use crate::event::lock;
use crate::reports::Shared;
use crate::runtime::Runtime;
use checks::{Checks, Outgoing};
use cookie::{COOKIE_ATTRIBUTE, CookieProvider};
use flights::{Flights, Sent};
use record::{COOKIE_LENGTH, Handshake};
pub(crate) use runtime::SeamRuntime;
use socket::Inbox;

/// Datagrams that may wait for the engine to be ready for them.
const HELD_LIMIT: usize = 32;

/// The seam of one path, shared by its sockets.
pub(crate) struct Seam {
    swiftness: Swiftness,
    runtime: Arc<dyn Runtime>,
    shared: Arc<Shared>,
    changed: Arc<Notify>,
    crypto: Option<Arc<dyn RTCCryptoProvider>>,
    cookie: [u8; COOKIE_LENGTH],
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    checks: Checks,
    flights: Flights,
    /// The cookie the other end's DTLS server will ask for.
    remote_cookie: Option<[u8; COOKIE_LENGTH]>,
    remote_fragment: Option<String>,
    hello_passed: bool,
    described: bool,
    closed: bool,
    inboxes: HashMap<SocketAddr, Weak<Inbox>>,
    early_checks: VecDeque<Held>,
    early_handshake: VecDeque<Held>,
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
        changed: Arc<Notify>,
    ) -> Self {
        let provider = default_provider().ok();
        let mut cookie = [0; COOKIE_LENGTH];
        let filled = provider.as_ref().is_some_and(|provider| provider.random().fill(&mut cookie).is_ok());
        let crypto = provider.map(|provider| match filled && swiftness.announce_cookie {
            true => Arc::new(CookieProvider::new(provider, cookie)) as Arc<dyn RTCCryptoProvider>,
            false => provider,
        });
        Self { swiftness, runtime, shared, changed, crypto, cookie, state: Mutex::default() }
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

    /// This end makes an offer; gives what to send to the other end.
    pub(crate) fn on_offer(&self, sdp: &str) -> String {
        let mut state = lock(&self.state);
        state.described = false;
        state.checks.start(self.swiftness.nominate_at_once);
        drop(state);
        if self.swiftness.announce_cookie { cookie::announce(sdp, &self.cookie) } else { sdp.to_owned() }
    }

    /// The other end described itself.
    pub(crate) fn on_remote_description(&self, sdp: &str, is_offer: bool) {
        let attribute = |name: &str| {
            sdp.lines()
                .find_map(|line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'))
                .map(str::to_owned)
        };
        let mut state = lock(&self.state);
        let fragment = attribute("ice-ufrag");
        if is_offer && fragment != state.remote_fragment {
            state.checks.start(self.swiftness.nominate_at_once);
            state.described = false;
        }
        state.remote_fragment = fragment;
        state.checks.set_remote_password(attribute("ice-pwd"));
        if is_offer && self.swiftness.announce_cookie {
            state.remote_cookie = attribute(COOKIE_ATTRIBUTE).and_then(|hex| cookie::parse(&hex));
        }
    }

    /// The engine has both descriptions: it can answer the checks that came early.
    pub(crate) fn on_described(&self) {
        let mut state = lock(&self.state);
        state.described = true;
        let early = std::mem::take(&mut state.early_checks);
        state.release(early);
    }

    /// The engine's handshake is complete.
    pub(crate) fn on_connected(&self) {
        lock(&self.state).flights.on_complete();
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

    fn add_socket(&self, local: SocketAddr, inbox: &Arc<Inbox>) {
        lock(&self.state).inboxes.insert(local, Arc::downgrade(inbox));
    }

    /// Looks at a STUN or DTLS datagram the engine sends.
    fn on_sent(&self, local: SocketAddr, remote: SocketAddr, bytes: &[u8]) -> Way {
        let now = self.now();
        let mut state = lock(&self.state);
        let Some(crypto) = &self.crypto else { return Way::Out };
        if is_stun(bytes) {
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
        if self.swiftness.repeat_flights {
            let rtt = state.checks.rtt;
            state.flights.on_sent(now, Sent { local, remote, bytes: bytes.to_vec() }, rtt);
            state.wake(local);
        }
        Way::Out
    }

    /// Looks at a STUN or DTLS datagram that came; gives whether the engine is to have it now, and what to send.
    fn on_received(&self, local: SocketAddr, remote: SocketAddr, bytes: &[u8]) -> (bool, Vec<Sent>) {
        let now = self.now();
        let mut state = lock(&self.state);
        let Some(crypto) = &self.crypto else { return (true, vec![]) };
        let held = || Held { local, remote, bytes: bytes.to_vec() };
        if is_stun(bytes) {
            if is_check(bytes) && !state.described {
                hold(&mut state.early_checks, held());
                return (false, vec![]);
            }
            let was_selected = state.checks.is_selected();
            let again = state.checks.on_received(now, (local, remote), bytes, crypto);
            if let Some(rtt) = state.checks.rtt {
                lock(&self.shared.accounts).check_rtt = Some(rtt);
            }
            if !was_selected && state.checks.is_selected() {
                // Behind this very datagram, which makes the agent select.
                state.release([held()]);
                state.release_handshake();
                return (false, vec![]);
            }
            if let Some(check) = again {
                state.release([held(), Held { local, remote, bytes: check }]);
                return (false, vec![]);
            }
            return (true, vec![]);
        }
        if !record::is_handshake(bytes) {
            if record::is_alert(bytes) && state.flights.is_complete() {
                self.changed.notify_one();
            }
            return (true, vec![]);
        }
        if !state.checks.is_selected() && !state.flights.is_complete() {
            hold(&mut state.early_handshake, held());
            return (false, vec![]);
        }
        if let Some(Handshake::ClientHello { sequence }) = record::handshake(bytes) {
            if sequence > 0 && !state.hello_passed {
                // The server can only take the hello with the cookie after the one without; both are repeated.
                return (false, vec![]);
            }
            state.hello_passed = true;
        }
        let again = match self.swiftness.repeat_flights {
            true => state.flights.on_received(now, bytes),
            false => vec![],
        };
        (true, again)
    }

    /// When the socket at `local` has to repeat a flight.
    fn next_repeat(&self, local: SocketAddr) -> Option<Instant> {
        let state = lock(&self.state);
        let (of, at) = state.flights.next_repeat()?;
        (of == local && !state.closed).then_some(at)
    }

    fn repeat(&self) -> Vec<Sent> {
        let now = self.now();
        lock(&self.state).flights.repeat(now)
    }
}

impl State {
    fn inbox(&self, local: SocketAddr) -> Option<Arc<Inbox>> {
        self.inboxes.get(&local).and_then(Weak::upgrade)
    }

    fn wake(&self, local: SocketAddr) {
        if let Some(inbox) = self.inbox(local) {
            inbox.wake();
        }
    }

    fn release(&self, held: impl IntoIterator<Item = Held>) {
        for Held { local, remote, bytes } in held {
            if let Some(inbox) = self.inbox(local) {
                inbox.put(remote, bytes);
            }
        }
    }

    /// Lets in what came before a pair was selected, the plain hello first whatever the order on the way was.
    fn release_handshake(&mut self) {
        let hello = |held: &Held| match record::handshake(&held.bytes) {
            Some(Handshake::ClientHello { sequence }) => Some(sequence),
            _ => None,
        };
        let mut early: Vec<Held> = std::mem::take(&mut self.early_handshake).into();
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

/// A STUN binding request.
fn is_check(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0, 1])
}
