//! DTLS flights as seen on the wire, and when to repeat one.
//!
//! The engine repeats an unanswered flight after one second, and it forgets even that when a record arrives which does
//! not complete the flight it waits for: the repeated hello of a client whose answer was lost stops the server's own
//! timer, and the handshake is stuck for good. That is why 5 to 20 % of attempts fail at 10 % loss. Here the last
//! flight is repeated byte for byte until the next one comes. The other end's replay window (RFC 6347 section
//! 4.1.2.6) drops what it has already, so a repetition can fill a gap but never disturb a handshake.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::record::{self, Handshake};
use super::relayed;

/// Datagrams of one flight this end remembers; a flight with a long certificate chain has four or five.
const FLIGHT_LIMIT: usize = 12;
/// Datagrams sent within this time belong to one flight.
const BURST: Duration = Duration::from_millis(10);
/// Repetitions before the pauses grow: four losses in a row are still chance, more are a way that does not work.
const STEADY: u32 = 4;
/// The longest pause between two repetitions.
const SLOWEST: Duration = Duration::from_millis(800);
/// A lost last flight is answered again at most this often, and after so many answers more rarely.
const ANSWER_GAP: Duration = Duration::from_millis(20);
const ANSWERS: u32 = 16;
const LATE_ANSWER_GAP: Duration = Duration::from_secs(1);

/// A datagram of a flight and the way it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

/// The flights of one handshake, from this end.
#[derive(Debug, Default)]
pub(super) struct Flights {
    last: Vec<Sent>,
    last_sent: Option<Instant>,
    next: Option<Instant>,
    pause: Duration,
    repeats: u32,
    complete: bool,
    answers: u32,
    /// The other end is known to be complete too: it lacks nothing.
    settled: bool,
}

impl Flights {
    /// Takes note of a handshake datagram that goes out.
    pub(super) fn on_sent(&mut self, now: Instant, sent: Sent, rtt: Option<Duration>) {
        let same_flight = self.last_sent.is_some_and(|last| now.saturating_duration_since(last) <= BURST)
            // The hello with the cookie is of no use without the one before it.
            || matches!(record::handshake(&sent.bytes), Some(Handshake::ClientHello { sequence, .. }) if sequence > 0);
        if !same_flight {
            self.last.clear();
        }
        if self.last.len() < FLIGHT_LIMIT {
            self.last.push(sent);
        }
        self.last_sent = Some(now);
        self.repeats = 0;
        // One round trip and what the other end needs to compute its answer.
        self.pause = rtt.map_or(Duration::from_millis(100), |rtt| {
            (rtt * 5 / 4 + Duration::from_millis(20)).clamp(Duration::from_millis(40), Duration::from_millis(500))
        });
        self.next = (!self.complete).then(|| now + self.pause);
    }

    /// What to send again when a handshake datagram comes after this end is complete: the last flight, if that is the
    /// server's, of which the other end shows by repeating its own that it was lost (RFC 6347 section 4.2.4). The
    /// client's is never asked for again, and two ends that both answered would do so for ever.
    pub(super) fn answer(&mut self, now: Instant, bytes: &[u8]) -> Vec<Sent> {
        // Repeated by its engine, a flight has other bytes than before.
        let asks = matches!(record::handshake(bytes), Some(Handshake::Other));
        let gap = if self.answers < ANSWERS { ANSWER_GAP } else { LATE_ANSWER_GAP };
        let recently = self.last_sent.is_some_and(|last| now.saturating_duration_since(last) < gap);
        if !self.complete || self.settled || recently || !asks {
            return vec![];
        }
        self.answers += 1;
        self.last_sent = Some(now);
        self.last.clone()
    }

    /// The other end has encrypted something with the keys of the handshake.
    pub(super) fn on_settled(&mut self) {
        if self.complete && !self.settled {
            self.settled = true;
            self.last = vec![];
        }
    }

    /// The handshake is complete: nothing is repeated but the last flight, when asked for.
    pub(super) fn on_complete(&mut self) {
        self.complete = true;
        self.next = None;
    }

    /// Nothing has been sent yet.
    pub(super) fn is_untouched(&self) -> bool {
        self.last_sent.is_none()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// The agent has selected a pair, on which the last flight goes on if it is not answered: after a restart the sockets
    /// it went out by are gone.
    pub(super) fn on_selected(&mut self, now: Instant, (local, remote): (SocketAddr, SocketAddr)) {
        for sent in &mut self.last {
            let bytes = relayed::inner(&sent.bytes).map(<[u8]>::to_vec);
            *sent = Sent { local, remote, bytes: bytes.unwrap_or_else(|| std::mem::take(&mut sent.bytes)) };
        }
        self.next = self.next.map(|_| now);
    }

    /// When the last flight is to be repeated, and by which socket.
    pub(super) fn next_repeat(&self) -> Option<(SocketAddr, Instant)> {
        Some((self.last.first()?.local, self.next?))
    }

    /// What is to be sent again by now.
    pub(super) fn repeat(&mut self, now: Instant) -> Vec<Sent> {
        if self.next.is_none_or(|next| now < next) {
            return vec![];
        }
        self.repeats += 1;
        if self.repeats >= STEADY {
            self.pause = (self.pause * 3 / 2).min(SLOWEST);
        }
        self.next = Some(now + self.pause);
        self.last.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Option<Duration> = Some(Duration::from_millis(100));

    fn sent(bytes: &[u8]) -> Sent {
        let address = "127.0.0.1:9".parse().unwrap();
        Sent { local: address, remote: address, bytes: bytes.to_vec() }
    }

    #[test]
    fn a_flight_is_repeated_until_the_next_one_goes_out() {
        let (mut flights, start) = (Flights::default(), Instant::now());
        flights.on_sent(start, sent(b"hello"), RTT);
        let (_, first) = flights.next_repeat().unwrap();
        assert_eq!(first - start, Duration::from_millis(145));
        assert!(flights.repeat(start + Duration::from_millis(100)).is_empty());
        assert_eq!(flights.repeat(first), vec![sent(b"hello")]);
        let mut pauses = vec![];
        for _ in 0..10 {
            let (_, next) = flights.next_repeat().unwrap();
            pauses.push((next - start).as_millis());
            flights.repeat(next);
        }
        assert_eq!(pauses[..4], [290, 435, 580, 797], "steady first");
        assert_eq!(pauses[9] - pauses[8], SLOWEST.as_millis(), "it backs off");
        let later = start + Duration::from_secs(9);
        flights.on_sent(later, sent(b"finished"), RTT);
        assert_eq!(flights.repeat(later + Duration::from_secs(1)), vec![sent(b"finished")]);
    }

    /// As much of a client's flight as matters.
    fn theirs() -> Vec<u8> {
        let mut flight = vec![22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 4, 0, 12, 16];
        flight.resize(60, 0);
        flight
    }

    #[test]
    fn a_complete_handshake_repeats_its_last_flight_only_when_the_other_end_repeats_its_own() {
        let (mut flights, start) = (Flights::default(), Instant::now());
        assert!(flights.answer(start, &theirs()).is_empty());
        flights.on_sent(start, sent(b"last"), RTT);
        flights.on_complete();
        assert_eq!(flights.next_repeat(), None);
        let later = start + Duration::from_millis(150);
        assert_eq!(flights.answer(later, &theirs()), vec![sent(b"last")]);
        assert!(flights.answer(later, &theirs()).is_empty(), "not for every copy");
        let mut encrypted = theirs();
        encrypted[4] = 1;
        for other in [&[22][..], &[22, 0xFE, 0xFD], &[20; 40], &encrypted] {
            assert!(flights.answer(later + ANSWER_GAP, other).is_empty());
        }
    }

    #[test]
    fn who_repeats_the_other_ends_flight_for_ever_is_answered_rarely_and_not_once_it_has_encrypted() {
        let (mut flights, start) = (Flights::default(), Instant::now());
        flights.on_sent(start, sent(b"last"), RTT);
        flights.on_settled();
        flights.on_complete();
        let answers = |flights: &mut Flights, from: u64| {
            let at = |n: u64| start + Duration::from_millis(from + n * 5);
            (0..2_000).filter(|n| !flights.answer(at(*n), &theirs()).is_empty()).count() as u32
        };
        let answered = answers(&mut flights, 50);
        assert!((ANSWERS..ANSWERS + 11).contains(&answered), "{answered} in ten seconds");
        flights.on_settled();
        assert_eq!(answers(&mut flights, 20_000), 0);
        assert!(flights.last.is_empty());
    }
}
