//! ICE connectivity checks as seen on the wire: their pace, their round trip time, and nomination with the first check.
//!
//! The agent looks at its pairs every few milliseconds so that no step waits for a tick; this is what keeps the wire
//! from being flooded by it, and those from being flooded whose addresses somebody has put into an offer: there are at
//! most a hundred pairs, and the time between two checks is kept over all of them (RFC 8445 sections 6.1.2.5 and 14.2). And it nominates only after a check succeeded, which costs a round trip: here the
//! caller's checks say `USE-CANDIDATE` from the start (aggressive nomination, RFC 5245 section 8.1.1.2, which an ICE
//! end of RFC 8445 accepts). Once the other end has confirmed such a check, the agent's own nomination of that pair
//! has been answered before it was asked, and is answered on the spot.
//!
//! The agent decides when a check of the other end comes and its own has succeeded; if they come in the other order it
//! waits for the next. So the last check is shown to it once more when its own succeeds.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc::crypto::RTCCryptoProvider;
use rtc::stun::attributes::{
    ATTR_FINGERPRINT, ATTR_ICE_CONTROLLING, ATTR_MESSAGE_INTEGRITY, ATTR_USE_CANDIDATE, ATTR_USERNAME,
};
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, Setter, TransactionId};
use rtc::stun::xoraddr::XorMappedAddress;

/// Pairs that are checked, the first of those the agent has (RFC 8445 section 6.1.2.5).
const PAIRS: usize = 100;
/// Time between two checks over all pairs: the least there may be (RFC 8445 section 14.2), and a longer one once as many
/// have gone out as two ends with few addresses never need.
const SPACING: Duration = Duration::from_millis(5);
const SLOW_SPACING: Duration = Duration::from_millis(20);
const QUICK: u32 = 400;
/// Checks that may leave at once: the agent looks at all pairs in one go.
const AT_ONCE: u32 = 8;
/// Pairs the other end may have checks remembered for.
const UNMATCHED: usize = 64;
/// Transactions remembered; the oldest are long past any round trip.
const TRANSACTIONS: usize = 512;

/// A local and a remote address.
pub(super) type Pair = (SocketAddr, SocketAddr);

/// What becomes of an outgoing check.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outgoing {
    /// It goes as it is.
    Pass,
    /// This goes in its place.
    Replace(Vec<u8>),
    /// Nothing goes: too soon after the one before.
    Drop,
    /// Nothing goes, and this comes back at once.
    Answer(Vec<u8>),
}

#[derive(Default)]
pub(super) struct Checks {
    remote_password: Option<String>,
    nominate_at_once: bool,
    pace: HashMap<(Pair, bool), Pace>,
    spacing: Spacing,
    transactions: VecDeque<Transaction>,
    confirmed: HashSet<Pair>,
    /// Addresses from which a check was answered: the other end is there.
    answered: HashSet<SocketAddr>,
    /// The other end's last check of each pair that this end has no answer on yet.
    unmatched: HashMap<Pair, Vec<u8>>,
    nominations_heard: VecDeque<TransactionId>,
    selected: bool,
    /// The agent's last check, from which those of the seam are made.
    template: Option<Message>,
    pub(super) rtt: Option<Duration>,
}

struct Pace {
    sent: u32,
    last: Instant,
}

/// The pace over all pairs.
#[derive(Default)]
struct Spacing {
    sent: u32,
    next: Option<Instant>,
}

impl Spacing {
    fn gap(&self) -> Duration {
        if self.sent < QUICK { SPACING } else { SLOW_SPACING }
    }

    fn is_due(&mut self, now: Instant) -> bool {
        let gap = self.gap();
        let next = self.next.map_or(now, |next| next.max(now));
        if next > now + gap * (AT_ONCE - 1) {
            return false;
        }
        self.sent = self.sent.saturating_add(1);
        self.next = Some(next + gap);
        true
    }
}

struct Transaction {
    id: TransactionId,
    pair: Pair,
    at: Instant,
    /// Said `USE-CANDIDATE` on the wire.
    nominating: bool,
    /// The agent itself asked for the nomination.
    agents_own: bool,
}

impl Checks {
    /// A new generation of credentials: nothing learned before holds.
    pub(super) fn start(&mut self, nominate_at_once: bool) {
        *self = Self { nominate_at_once, rtt: self.rtt, ..Self::default() };
    }

    pub(super) fn set_remote_password(&mut self, password: Option<String>) {
        self.remote_password = password;
    }

    /// Whether the agent has chosen a pair, so that what is not STUN finds its way in.
    pub(super) fn is_selected(&self) -> bool {
        self.selected
    }

    /// Looks at a STUN message the agent sends.
    pub(super) fn on_sent(
        &mut self,
        now: Instant,
        pair: Pair,
        bytes: &[u8],
        crypto: &Arc<dyn RTCCryptoProvider>,
    ) -> Outgoing {
        let Some(message) = decode(bytes) else { return Outgoing::Pass };
        if message.typ == BINDING_SUCCESS {
            // A nomination is confirmed only by an agent that took the pair.
            self.selected |= self.nominations_heard.contains(&message.transaction_id);
            return Outgoing::Pass;
        }
        // A check carries a user name; a request to a STUN server does not.
        if message.typ != BINDING_REQUEST || !message.contains(ATTR_USERNAME) {
            return Outgoing::Pass;
        }
        let agents_own = message.contains(ATTR_USE_CANDIDATE);
        if !agents_own {
            self.template = Some(message.clone());
        }
        if agents_own
            && self.confirmed.contains(&pair)
            && let Some(answer) = self.confirmation(&message, pair.0, crypto)
        {
            self.selected = true;
            return Outgoing::Answer(answer);
        }
        if !self.is_due(now, (pair, agents_own)) {
            return Outgoing::Drop;
        }
        // Nominating is the right of the controlling end, which stays the same over restarts.
        let may_nominate = self.nominate_at_once && message.contains(ATTR_ICE_CONTROLLING);
        let replaced = match may_nominate && !self.selected && !agents_own {
            true => self.with_nomination(&message, crypto),
            false => None,
        };
        if self.transactions.len() == TRANSACTIONS {
            self.transactions.pop_front();
        }
        let nominating = agents_own || replaced.is_some();
        self.transactions.push_back(Transaction { id: message.transaction_id, pair, at: now, nominating, agents_own });
        replaced.map_or(Outgoing::Pass, Outgoing::Replace)
    }

    /// Looks at a STUN message that came, before the agent does; gives a check the agent is to see again after it.
    pub(super) fn on_received(
        &mut self,
        now: Instant,
        pair: Pair,
        bytes: &[u8],
        crypto: &Arc<dyn RTCCryptoProvider>,
    ) -> Option<Vec<u8>> {
        let mut message = decode(bytes)?;
        if message.typ == BINDING_REQUEST {
            self.on_check(pair, &message);
        }
        if message.typ != BINDING_SUCCESS {
            return None;
        }
        let at = self.transactions.iter().position(|sent| sent.id == message.transaction_id && sent.pair == pair)?;
        let password = self.remote_password.as_ref()?;
        MessageIntegrity::check(&mut message, password.as_bytes(), crypto.crypto()).ok()?;
        let sent = self.transactions.remove(at)?;
        let rtt = now.saturating_duration_since(sent.at);
        self.rtt = Some(self.rtt.map_or(rtt, |known| (known * 3 + rtt) / 4));
        self.answered.insert(sent.pair.1);
        if sent.nominating {
            self.confirmed.insert(sent.pair);
        }
        self.selected |= sent.agents_own;
        self.unmatched.remove(&pair).filter(|_| !self.selected)
    }

    /// Whether a message from the other address of a pair answers a check that went there.
    pub(super) fn has_asked(&self, pair: Pair, bytes: &[u8]) -> bool {
        is_success(bytes)
            && transaction(bytes)
                .is_some_and(|id| self.transactions.iter().any(|sent| sent.id == id && sent.pair == pair))
    }

    /// Whether the other end has answered a check from this address.
    pub(super) fn has_answered(&self, remote: SocketAddr) -> bool {
        self.answered.contains(&remote)
    }

    fn on_check(&mut self, pair: Pair, check: &Message) {
        if check.contains(ATTR_USE_CANDIDATE) {
            if self.nominations_heard.len() == TRANSACTIONS {
                self.nominations_heard.pop_front();
            }
            self.nominations_heard.push_back(check.transaction_id);
        }
        let known = self.unmatched.contains_key(&pair);
        if !self.selected && (known || self.unmatched.len() < UNMATCHED) {
            self.unmatched.insert(pair, check.raw.clone());
        }
    }

    /// Ten checks of a pair 20 ms apart, then ever slower, and no pair a second time before all others had their turn: the
    /// agent always asks for them in the same order.
    fn is_due(&mut self, now: Instant, of: (Pair, bool)) -> bool {
        let pairs = self.pace.keys().filter(|(_, agents_own)| !agents_own).count();
        let known = self.pace.get(&of);
        if known.is_none() && pairs == PAIRS && !of.1 {
            return false;
        }
        let sent = known.map_or(0, |pace| pace.sent);
        let gap = match sent {
            0..10 => 20,
            10..30 => 50,
            _ => 200,
        };
        // The pair in use is alone; and a pair on which the other end has been heard goes before all others (triggered
        // checks, RFC 8445 section 7.3.1.4).
        let first = self.selected || self.unmatched.contains_key(&of.0);
        let others = if first { 0 } else { pairs as u32 };
        let gap = Duration::from_millis(gap).max(self.spacing.gap() * others * 3 / 2);
        // Timers of 1 ms may fire a little early or late; a check is not put off by a whole tick for that.
        let early = known.is_some_and(|pace| now.saturating_duration_since(pace.last) + Duration::from_millis(1) < gap);
        if early || !(first || self.spacing.is_due(now)) {
            return false;
        }
        self.pace.insert(of, Pace { sent: sent + 1, last: now });
        true
    }

    /// A check of the seam's own, like those of the agent.
    pub(super) fn own_check(&self, crypto: &Arc<dyn RTCCryptoProvider>) -> Option<(TransactionId, Vec<u8>)> {
        let id = TransactionId::new();
        Some((id, self.seal(copied(self.template.as_ref()?, id), crypto)?))
    }

    /// The transaction of an answer that only the other end can have given.
    pub(super) fn genuine_answer(&self, bytes: &[u8], crypto: &Arc<dyn RTCCryptoProvider>) -> Option<TransactionId> {
        let mut message = decode(bytes).filter(|message| message.typ == BINDING_SUCCESS)?;
        let password = self.remote_password.as_ref()?;
        MessageIntegrity::check(&mut message, password.as_bytes(), crypto.crypto()).ok()?;
        Some(message.transaction_id)
    }

    fn with_nomination(&self, check: &Message, crypto: &Arc<dyn RTCCryptoProvider>) -> Option<Vec<u8>> {
        let mut setters = copied(check, check.transaction_id);
        setters.push(Box::new(UseCandidate));
        self.seal(setters, crypto)
    }

    /// What the other end answers to a nomination of the pair at `local`, which it has accepted already.
    fn confirmation(
        &self,
        nomination: &Message,
        local: SocketAddr,
        crypto: &Arc<dyn RTCCryptoProvider>,
    ) -> Option<Vec<u8>> {
        let mapped = XorMappedAddress { ip: local.ip(), port: local.port() };
        let setters: Vec<Box<dyn Setter + '_>> =
            vec![Box::new(BINDING_SUCCESS), Box::new(nomination.transaction_id), Box::new(mapped)];
        self.seal(setters, crypto)
    }

    fn seal<'a>(
        &self,
        mut setters: Vec<Box<dyn Setter + 'a>>,
        crypto: &'a Arc<dyn RTCCryptoProvider>,
    ) -> Option<Vec<u8>> {
        let password = self.remote_password.clone()?;
        setters.push(Box::new(MessageIntegrity::new_short_term_integrity_with_provider(password, crypto.crypto())));
        setters.push(Box::new(FINGERPRINT));
        let mut message = Message::new();
        message.build(&setters).ok()?;
        Some(message.raw)
    }
}

struct UseCandidate;

impl Setter for UseCandidate {
    fn add_to(&self, message: &mut Message) -> rtc::shared::error::Result<()> {
        message.add(ATTR_USE_CANDIDATE, &[]);
        Ok(())
    }
}

/// What a check says, to be sealed anew.
fn copied(check: &Message, id: TransactionId) -> Vec<Box<dyn Setter + '_>> {
    let mut setters: Vec<Box<dyn Setter + '_>> = vec![Box::new(BINDING_REQUEST), Box::new(id)];
    for attribute in &check.attributes.0 {
        if attribute.typ != ATTR_MESSAGE_INTEGRITY && attribute.typ != ATTR_FINGERPRINT {
            setters.push(Box::new(attribute.clone()));
        }
    }
    setters
}

/// A check, or an answer to one. A check carries a user name; a request to a STUN server does not.
pub(super) fn is_check_or_answer(bytes: &[u8]) -> bool {
    match bytes.get(..2) {
        Some([0, 1]) => decode(bytes).is_some_and(|message| message.contains(ATTR_USERNAME)),
        Some([1, 0x01 | 0x11]) => true,
        _ => false,
    }
}

/// A STUN indication (RFC 8489 section 5), to which there is no answer.
pub(super) fn is_indication(bytes: &[u8]) -> bool {
    matches!(bytes, [high, low, ..] if high & 0x01 == 0 && low & 0x10 != 0)
}

/// A STUN binding success.
fn is_success(bytes: &[u8]) -> bool {
    bytes.starts_with(&[1, 1])
}

/// The transaction of a STUN message (RFC 8489 section 5).
pub(super) fn transaction(bytes: &[u8]) -> Option<TransactionId> {
    Some(TransactionId(bytes.get(8..20)?.try_into().ok()?))
}

fn decode(bytes: &[u8]) -> Option<Message> {
    let mut message = Message { raw: bytes.to_vec(), ..Message::default() };
    message.decode().ok()?;
    Some(message)
}

#[cfg(test)]
mod tests {
    use rtc::crypto::default_provider;
    use rtc::stun::attributes::AttrType;
    use rtc::stun::textattrs::Username;

    use super::*;

    const REMOTE: &str = "the other end's password";
    const START: Duration = Duration::from_secs(0);

    struct Agent {
        checks: Checks,
        crypto: Arc<dyn RTCCryptoProvider>,
        start: Instant,
        pair: Pair,
    }

    impl Agent {
        fn new() -> Self {
            let mut checks = Checks::default();
            checks.start(true);
            checks.set_remote_password(Some(REMOTE.to_owned()));
            let pair = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
            Self { checks, crypto: default_provider().unwrap(), start: Instant::now(), pair }
        }

        fn check(&self, attributes: &[AttrType]) -> Message {
            let mut setters: Vec<Box<dyn Setter + '_>> = vec![
                Box::new(BINDING_REQUEST),
                Box::new(TransactionId::new()),
                Box::new(Username::new(ATTR_USERNAME, "them:us".to_owned())),
            ];
            for attribute in attributes {
                setters.push(Box::new(rtc::stun::attributes::RawAttribute {
                    typ: *attribute,
                    length: 8,
                    value: vec![0; if *attribute == ATTR_USE_CANDIDATE { 0 } else { 8 }],
                }));
            }
            let mut message = Message::new();
            message.build(&setters).unwrap();
            message
        }

        fn send(&mut self, after: Duration, message: &Message) -> Outgoing {
            self.checks.on_sent(self.start + after, self.pair, &message.raw, &self.crypto)
        }

        fn answer(&mut self, after: Duration, to: &Message, password: &str) {
            let mut answer = Message::new();
            let integrity =
                MessageIntegrity::new_short_term_integrity_with_provider(password.to_owned(), self.crypto.crypto());
            answer.build(&[Box::new(BINDING_SUCCESS), Box::new(to.transaction_id), Box::new(integrity)]).unwrap();
            let raw = answer.raw.clone();
            self.checks.on_received(self.start + after, self.pair, &raw, &self.crypto);
        }
    }

    #[test]
    fn the_controlling_end_nominates_at_once_under_the_other_ends_password() {
        let mut agent = Agent::new();
        let check = agent.check(&[ATTR_ICE_CONTROLLING]);
        let Outgoing::Replace(sent) = agent.send(START, &check) else { panic!("it is replaced") };
        let mut sent = decode(&sent).unwrap();
        assert_eq!(sent.transaction_id, check.transaction_id);
        assert!(sent.contains(ATTR_USE_CANDIDATE) && sent.contains(ATTR_FINGERPRINT) && sent.contains(ATTR_USERNAME));
        MessageIntegrity::check(&mut sent, REMOTE.as_bytes(), agent.crypto.crypto()).unwrap();
        let mut controlled = Agent::new();
        let check = controlled.check(&[]);
        assert_eq!(controlled.send(START, &check), Outgoing::Pass);
    }

    #[test]
    fn only_a_genuine_answer_confirms_a_nomination() {
        let nominate = [ATTR_ICE_CONTROLLING, ATTR_USE_CANDIDATE];
        for (password, confirmed) in [("someone else's", false), (REMOTE, true)] {
            let mut agent = Agent::new();
            let check = agent.check(&[ATTR_ICE_CONTROLLING]);
            agent.send(START, &check);
            agent.answer(Duration::from_millis(80), &check, password);
            let own = agent.check(&nominate);
            let sent = agent.send(Duration::from_millis(81), &own);
            assert_eq!(matches!(sent, Outgoing::Answer(_)), confirmed, "{sent:?}");
            assert_eq!(agent.checks.is_selected(), confirmed);
            assert_eq!(agent.checks.rtt, confirmed.then_some(Duration::from_millis(80)));
        }
    }

    #[test]
    fn checks_are_paced_and_requests_to_a_stun_server_are_not() {
        let mut agent = Agent::new();
        let passed = (0..2_000u64)
            .filter(|n| {
                let check = agent.check(&[]);
                agent.send(Duration::from_millis(n * 5), &check) == Outgoing::Pass
            })
            .count();
        assert!((70..90).contains(&passed), "10 each 20 ms, 20 each 50 ms, then 5 a second for 9 s: {passed}");
        let mut request = Message::new();
        request.build(&[Box::new(BINDING_REQUEST), Box::new(TransactionId::new())]).unwrap();
        assert_eq!(agent.send(Duration::from_secs(10), &request), Outgoing::Pass);
        assert_eq!(agent.send(Duration::from_secs(10), &request), Outgoing::Pass);
    }
}
