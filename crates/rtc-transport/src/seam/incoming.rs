//! What becomes of a datagram that comes: who sent it is judged by [`super::guard`], and what is early waits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rtc::crypto::RTCCryptoProvider;

use super::checks::{self, Pair};
use super::flights::Sent;
use super::moves::Answered;
use super::record::{self, Handshake};
use super::{HELD_LIMIT, Held, Seam, State, hold, is_check, is_media, is_stun, relayed};
use crate::event::lock;

/// How long a check from an address nobody has told of waits for its candidate, which is on its way beside it. Without
/// it the agent takes the address for a peer-reflexive one, and the real candidate for another way.
const CANDIDATE_WAIT: Duration = Duration::from_millis(15);

impl Seam {
    /// Looks at a datagram that came and is no media; gives whether the engine is to have it now, and what to send.
    pub(super) fn on_received(&self, local: SocketAddr, remote: SocketAddr, bytes: &[u8]) -> (bool, Vec<Sent>) {
        let now = self.now();
        let mut state = lock(&self.state);
        let Some(crypto) = &self.crypto else { return (true, vec![]) };
        if state.guard.is_server(remote) {
            if let Some(inner) = relayed::inner(bytes) {
                return self.on_relayed(&mut state, now, remote, inner, crypto);
            }
            if state.guard.answers_question(remote, bytes) {
                return (true, vec![]);
            }
        }
        if is_stun(bytes) {
            let admitted = state.admits_stun(now, (local, remote), bytes, crypto);
            return (admitted && self.on_stun(&mut state, now, (local, remote), bytes, crypto), vec![]);
        }
        let theirs = state.is_theirs(remote);
        if record::is_alert(bytes) {
            let pass = theirs && state.flights.is_complete() && record::is_encrypted(bytes);
            if pass {
                self.changed.notify_one();
            }
            return (pass, vec![]);
        }
        if !record::is_handshake(bytes) {
            return (false, vec![]);
        }
        let early = self.swiftness.keep_early && !state.checks.is_selected() && !state.flights.is_complete();
        if !(theirs || early && state.guard.is_peer(remote)) {
            return (false, vec![]);
        }
        if state.flights.is_complete() {
            // By the way the question came: the pair may be another since the flight went out.
            let to = state.moves.destination(remote);
            let answer = state.answer(now, bytes).into_iter().map(|sent| Sent {
                local,
                remote: to,
                bytes: relayed::inner(&sent.bytes).map(<[u8]>::to_vec).unwrap_or(sent.bytes),
            });
            return (false, answer.collect());
        }
        if early {
            hold(&mut state.early_handshake, Held { local, remote, bytes: bytes.to_vec() });
            return (false, vec![]);
        }
        if let Some(Handshake::ClientHello { sequence }) = record::handshake(bytes) {
            if sequence > 0 && !state.hello_passed {
                // The server can only take the hello with the cookie after the one without; both are repeated.
                return (false, vec![]);
            }
            state.hello_passed = true;
        }
        (state.guard.admits_handshake(), vec![])
    }

    /// Looks at what came through a relay.
    fn on_relayed(
        &self,
        state: &mut State,
        now: Instant,
        server: SocketAddr,
        inner: &[u8],
        crypto: &Arc<dyn RTCCryptoProvider>,
    ) -> (bool, Vec<Sent>) {
        if is_media(inner) {
            return (state.sources.admit(inner, true), vec![]);
        }
        if is_check(inner) {
            return (state.guard.admits_check((server, true), inner, crypto), vec![]);
        }
        if is_stun(inner) {
            // The agent knows what it has asked, and that nobody else can have answered.
            return (!checks::is_indication(inner), vec![]);
        }
        let complete = state.flights.is_complete();
        if record::is_alert(inner) {
            let pass = complete && record::is_encrypted(inner);
            if pass {
                self.changed.notify_one();
            }
            return (pass, vec![]);
        }
        if !record::is_handshake(inner) {
            return (false, vec![]);
        }
        if complete {
            // Over this way only the engine can answer if the flight took another.
            let again = state.answer(now, inner);
            let same_way = again.iter().all(|sent| sent.remote == server);
            return (!again.is_empty() && !same_way, if same_way { again } else { vec![] });
        }
        (state.guard.admits_handshake(), vec![])
    }

    /// Looks at a check or an answer that was admitted; gives whether the engine is to have it now.
    fn on_stun(
        &self,
        state: &mut State,
        now: Instant,
        (local, remote): Pair,
        bytes: &[u8],
        crypto: &Arc<dyn RTCCryptoProvider>,
    ) -> bool {
        let keep = self.swiftness.keep_early;
        let held = || Held { local, remote, bytes: bytes.to_vec() };
        if keep && is_check(bytes) && !state.checks.is_selected() && !state.may_check(now, remote) {
            state.checks.on_received(now, (local, remote), bytes, crypto);
            hold(&mut state.early_checks, held());
            return false;
        }
        let was_selected = state.checks.is_selected();
        let again = state.checks.on_received(now, (local, remote), bytes, crypto);
        if let Some(rtt) = state.checks.rtt {
            lock(&self.shared.accounts).check_rtt = Some(rtt);
        }
        if !was_selected && state.checks.is_selected() {
            // Behind this very datagram, which makes the agent select.
            state.release([held()]);
            state.flights.on_selected(now, (local, remote));
            state.wake(local);
            state.release_handshake();
            return false;
        }
        if let Some(check) = again.filter(|_| keep) {
            state.release([held(), Held { local, remote, bytes: check }]);
            return false;
        }
        true
    }

    /// The engine is given a datagram of the network, or none.
    pub(super) fn hand_over(&self, pair: Option<Pair>) {
        *lock(&self.in_hand) = pair;
    }

    /// What was handed over was encrypted by the other end: it is complete, and where that came from it may be.
    pub(crate) fn on_authentic(&self) {
        let now = self.now();
        let pair = *lock(&self.in_hand);
        let mut state = lock(&self.state);
        state.flights.on_settled();
        let (Some((local, from)), Some(crypto)) = (pair, &self.crypto) else { return };
        let asked = state.moves.on_authentic(now, local, from);
        if asked.is_empty() {
            return;
        }
        let checks: Vec<Sent> = asked.into_iter().filter_map(|to| state.ask(now, (local, to), crypto)).collect();
        if let Some(port) = state.port(local) {
            port.send_soon(checks);
        }
    }

    /// Whether a datagram answers a check of the seam, which the engine knows nothing of.
    pub(super) fn on_answer(&self, from: SocketAddr, bytes: &[u8]) -> bool {
        let now = self.now();
        let mut state = lock(&self.state);
        if !checks::transaction(bytes).is_some_and(|id| state.moves.has_asked(id)) {
            return false;
        }
        let genuine = self.crypto.as_ref().and_then(|crypto| state.checks.genuine_answer(bytes, crypto));
        if let Some(id) = genuine {
            match state.moves.on_answer(now, id, from) {
                Answered::Here => self.answered.notify_waiters(),
                Answered::Twice | Answered::NotAsked => {}
            }
        }
        true
    }

    pub(super) fn is_media_open(&self) -> bool {
        self.media_open.load(Ordering::Acquire)
    }

    /// Whether the engine is to have what came from an address as it is: nothing but media that it can decrypt.
    pub(super) fn admits_voice<'a>(&self, from: SocketAddr, mut datagrams: impl Iterator<Item = &'a [u8]>) -> bool {
        if !self.is_media_open() {
            return false;
        }
        let mut state = lock(&self.state);
        let known = state.is_theirs(state.moves.source(from));
        datagrams.all(|datagram| is_media(datagram) && state.sources.admit(datagram, known))
    }

    /// Whether the engine is to have a media datagram now; one that overtakes the end of the handshake waits for it.
    pub(super) fn on_media(&self, local: SocketAddr, remote: SocketAddr, bytes: &[u8]) -> bool {
        let mut state = lock(&self.state);
        let known = state.is_theirs(remote);
        if !state.sources.admit(bytes, known) {
            return false;
        }
        // Asked under the lock, which is held while what waited is released: the order stays.
        if self.is_media_open() {
            return true;
        }
        if known && state.early_media.len() < HELD_LIMIT {
            state.early_media.push_back(Held { local, remote, bytes: bytes.to_vec() });
        }
        false
    }
}

impl State {
    /// Whether the other end is known to have this address: a candidate told it, or a check was answered from there. A
    /// sealed check that comes from there is not enough, since anybody can pass one on.
    pub(super) fn is_theirs(&self, remote: SocketAddr) -> bool {
        self.known.contains(&remote) || self.checks.has_answered(remote)
    }

    /// Whether the engine may be shown a STUN message of the other end.
    fn admits_stun(&mut self, now: Instant, pair: Pair, bytes: &[u8], crypto: &Arc<dyn RTCCryptoProvider>) -> bool {
        let (_, remote) = pair;
        if !is_check(bytes) {
            return self.checks.has_asked(pair, bytes);
        }
        let told = self.known.contains(&remote);
        if !self.in_use() {
            return self.guard.admits_check((remote, told), bytes, crypto) && (told || self.guard.admits_peer(remote));
        }
        self.is_theirs(remote)
            && self.guard.admits_check((remote, told), bytes, crypto)
            && self.guard.admits_consent(now)
    }

    /// What to send when something of a handshake comes that is over here.
    fn answer(&mut self, now: Instant, bytes: &[u8]) -> Vec<Sent> {
        if self.dtls_client { vec![] } else { self.flights.answer(now, bytes) }
    }

    /// The path is found and encrypted.
    fn in_use(&self) -> bool {
        self.checks.is_selected() && self.flights.is_complete()
    }

    /// Whether the engine can make the right thing of a check from `remote`.
    fn may_check(&mut self, now: Instant, remote: SocketAddr) -> bool {
        if self.known.contains(&remote) {
            return self.described;
        }
        let since = *self.strangers.entry(remote).or_insert(now);
        self.described && now.saturating_duration_since(since) >= CANDIDATE_WAIT
    }
}
