//! Who may be heard, and of what.
//!
//! Anybody can send to a socket. A check is taken if it is sealed with this end's password, an answer if this end has
//! asked, media if its source is one that the other end may have, and what a relay brings is judged by what is inside.
//! Once the handshake is complete, checks come only from addresses that were found before, and nothing of a handshake
//! reaches the engine any more. What is kept of others here has an end.
//!
//! A sealed check can be recorded and sent again, by somebody else too, and sooner than the original comes: each is taken
//! a few times from an address that a candidate told, since an end that lost its answer repeats it, and from few others.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc::crypto::RTCCryptoProvider;
use rtc::stun::attributes::ATTR_USERNAME;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{BINDING_REQUEST, Message, TransactionId};

/// Passwords of this end that are taken: an offer of new ones is on its way while checks with the old ones come.
const PASSWORDS: usize = 2;
/// Checks remembered, to know one that is sent again: four minutes of consent checks.
const CHECKS: usize = 512;
/// How often one check is taken of an address (RFC 8489 section 6.2.1 sends a request seven times).
const SAME: u8 = 7;
/// Addresses that no candidate told of which one check is taken; only one of them can be the other end's.
const FROM: usize = 3;
/// Addresses taken that no candidate told, as behind a NAT (peer-reflexive): one for each pair that can be in use.
const PEERS: usize = 16;
/// STUN and TURN servers remembered, and what they were asked.
const SERVERS: usize = 32;
const QUESTIONS: usize = 256;
/// The least time between two checks of a path in use, over all pairs, and how many may come at once. An end asks for
/// consent a few times a second.
const CONSENT: Duration = Duration::from_millis(50);
const CONSENTS: u32 = 16;
/// Datagrams of a handshake that the engine is given; one with ten losses in a row takes a third of it.
const HANDSHAKE: u32 = 512;

#[derive(Debug, Default)]
pub(super) struct Guard {
    passwords: VecDeque<String>,
    checks: VecDeque<Heard>,
    peers: Vec<SocketAddr>,
    servers: Vec<SocketAddr>,
    questions: VecDeque<(TransactionId, SocketAddr)>,
    next_consent: Option<Instant>,
    handshake: u32,
}

#[derive(Debug)]
struct Heard {
    id: TransactionId,
    from: SocketAddr,
    times: u8,
}

impl Guard {
    /// A new generation: addresses have to be found anew.
    pub(super) fn start(&mut self) {
        self.peers.clear();
    }

    /// The password under which the other end seals its checks.
    pub(super) fn add_password(&mut self, password: Option<String>) {
        let Some(password) = password.filter(|password| !self.passwords.contains(password)) else { return };
        if self.passwords.len() == PASSWORDS {
            self.passwords.pop_front();
        }
        self.passwords.push_back(password);
    }

    /// Whether a check from `from` has passed here.
    pub(super) fn is_peer(&self, from: SocketAddr) -> bool {
        self.peers.contains(&from)
    }

    /// Whether this end has asked a server at `from`.
    pub(super) fn is_server(&self, from: SocketAddr) -> bool {
        self.servers.contains(&from)
    }

    /// This end sends something that is no check to a STUN or TURN server.
    pub(super) fn on_asked_server(&mut self, to: SocketAddr, bytes: &[u8]) {
        if !self.is_server(to) && self.servers.len() < SERVERS {
            self.servers.push(to);
        }
        if let Some(id) = super::checks::transaction(bytes) {
            if self.questions.len() == QUESTIONS {
                self.questions.pop_front();
            }
            self.questions.push_back((id, to));
        }
    }

    /// Whether a STUN message answers what a server was asked.
    pub(super) fn answers_question(&self, from: SocketAddr, bytes: &[u8]) -> bool {
        super::checks::transaction(bytes).is_some_and(|id| self.questions.contains(&(id, from)))
    }

    /// Whether a check is the other end's, and new.
    ///
    /// `told` says that a candidate told the address.
    pub(super) fn admits_check(
        &mut self,
        (from, told): (SocketAddr, bool),
        bytes: &[u8],
        crypto: &Arc<dyn RTCCryptoProvider>,
    ) -> bool {
        let mut message = Message { raw: bytes.to_vec(), ..Message::default() };
        let sealed = message.decode().is_ok()
            && message.typ == BINDING_REQUEST
            && message.contains(ATTR_USERNAME)
            && self
                .passwords
                .iter()
                .any(|password| MessageIntegrity::check(&mut message, password.as_bytes(), crypto.crypto()).is_ok());
        sealed && self.is_new(message.transaction_id, from, told)
    }

    fn is_new(&mut self, id: TransactionId, from: SocketAddr, told: bool) -> bool {
        if let Some(heard) = self.checks.iter_mut().find(|heard| heard.id == id && heard.from == from) {
            heard.times = heard.times.saturating_add(1);
            return heard.times <= SAME;
        }
        if !told && self.checks.iter().filter(|heard| heard.id == id).count() >= FROM {
            return false;
        }
        if self.checks.len() == CHECKS {
            self.checks.pop_front();
        }
        self.checks.push_back(Heard { id, from, times: 1 });
        true
    }

    /// Whether an address that no candidate told may be taken, now that its check was admitted.
    pub(super) fn admits_peer(&mut self, from: SocketAddr) -> bool {
        if self.is_peer(from) {
            return true;
        }
        let room = self.peers.len() < PEERS;
        if room {
            self.peers.push(from);
        }
        room
    }

    /// Whether it is time for another check of a path in use.
    pub(super) fn admits_consent(&mut self, now: Instant) -> bool {
        let next = self.next_consent.map_or(now, |next| next.max(now));
        if next > now + CONSENT * CONSENTS {
            return false;
        }
        self.next_consent = Some(next + CONSENT);
        true
    }

    /// Whether the engine may be given one more datagram of the handshake.
    pub(super) fn admits_handshake(&mut self) -> bool {
        self.handshake = self.handshake.saturating_add(1);
        self.handshake <= HANDSHAKE
    }
}

#[cfg(test)]
mod tests {
    use rtc::crypto::default_provider;
    use rtc::stun::message::Setter;
    use rtc::stun::textattrs::Username;

    use super::*;

    const OURS: &str = "this end's password";

    fn at(port: u16) -> SocketAddr {
        SocketAddr::new([203, 0, 113, 1].into(), port)
    }

    fn check(password: &str) -> Vec<u8> {
        let crypto = default_provider().unwrap();
        let setters: Vec<Box<dyn Setter + '_>> = vec![
            Box::new(BINDING_REQUEST),
            Box::new(TransactionId::new()),
            Box::new(Username::new(ATTR_USERNAME, "us:them".to_owned())),
            Box::new(MessageIntegrity::new_short_term_integrity_with_provider(password.to_owned(), crypto.crypto())),
        ];
        let mut message = Message::new();
        message.build(&setters).unwrap();
        message.raw
    }

    #[test]
    fn a_check_is_taken_under_this_ends_password_from_few_addresses_and_so_often() {
        let (mut guard, crypto) = (Guard::default(), default_provider().unwrap());
        let unknown = |port| (at(port), false);
        assert!(!guard.admits_check(unknown(1), &check(OURS), &crypto), "there is no password yet");
        guard.add_password(Some(OURS.to_owned()));
        assert!(!guard.admits_check(unknown(1), &check("another"), &crypto));
        for length in 0..28 {
            assert!(!guard.admits_check(unknown(1), &check(OURS)[..length], &crypto));
        }
        let genuine = check(OURS);
        for n in 0..20 {
            assert_eq!(guard.admits_check(unknown(1), &genuine, &crypto), n < SAME);
        }
        let relayed = check(OURS);
        let taken = (1..100).filter(|port| guard.admits_check(unknown(*port), &relayed, &crypto)).count();
        assert_eq!(taken, FROM, "somebody has recorded it");
        assert!(guard.admits_check((at(200), true), &relayed, &crypto), "and was quicker than the other end");
        guard.add_password(Some("the next".to_owned()));
        assert!(guard.admits_check(unknown(1), &check(OURS), &crypto), "those on their way");
        guard.add_password(Some("and the next".to_owned()));
        assert!(!guard.admits_check(unknown(1), &check(OURS), &crypto));
    }

    #[test]
    fn what_is_kept_has_an_end() {
        let mut guard = Guard::default();
        assert_eq!((1..1_000).filter(|port| guard.admits_peer(at(*port))).count(), PEERS);
        for n in 0..1_000 {
            guard.on_asked_server(at(n), &[0; 20]);
            guard.is_new(TransactionId::new(), at(n), false);
        }
        assert_eq!((guard.servers.len(), guard.questions.len(), guard.checks.len()), (SERVERS, QUESTIONS, CHECKS));
        assert_eq!((0..2_000).filter(|_| guard.admits_handshake()).count(), HANDSHAKE as usize);
    }

    #[test]
    fn consent_is_given_at_a_pace() {
        let (mut guard, start) = (Guard::default(), Instant::now());
        let given = (0..1_000).filter(|n| guard.admits_consent(start + Duration::from_millis(*n))).count();
        assert!((20..=40).contains(&given), "{given} in a second");
    }
}
