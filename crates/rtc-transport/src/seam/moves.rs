//! An end that is seen at a new address while the path is in use.
//!
//! The agent keeps to the pair it has selected; when a NAT gives the other end a new address, or the other end has new
//! sockets, it sends into the void until the path fails. Here a packet that was encrypted by the other end but comes
//! from elsewhere has both addresses asked, the one in use and the new one. Once the new one has answered under the
//! other end's password and the one in use has not, what the agent sends to the old address goes to the new one, and
//! what comes from there is shown to the agent as coming from the old one. So a path moves in a round trip and a half
//! from the first packet on, without signalling.
//!
//! Packets can be recorded and passed on by a stranger who is faster than the network. So the old address is asked on
//! for a while, and if it answers the path goes back, and is not so quick to leave it again (the model is RFC 9000
//! section 9.3.3). Nothing that is not encrypted counts here, save answers to checks of this end.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtc::stun::message::TransactionId;

use super::checks::Pair;

/// New addresses that are asked at the same time.
const UNVALIDATED: usize = 8;
/// Time between two checks of one address.
const GAP: Duration = Duration::from_millis(50);
/// Checks of one address that goes unanswered, until it has not been heard of for [`FORGOTTEN`].
const TRIES: u32 = 20;
const FORGOTTEN: Duration = Duration::from_secs(5);
/// Unanswered checks remembered.
const ASKED: usize = 64;
/// How long the address that was left is asked, and how often at most.
const BEHIND: Duration = Duration::from_secs(3);
const BEHIND_GAP: Duration = Duration::from_millis(150);
/// After a path went back: how long it is wary, and how long the address in use must then have been silent.
const WARY: Duration = Duration::from_secs(10);
const SILENT: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Moves {
    /// The pair in use, as the agent knows it.
    pair: Option<Pair>,
    /// Where the other end is, if not where the agent thinks.
    moved: Option<SocketAddr>,
    /// When the other end was last surely heard from where it is.
    heard: Option<Instant>,
    unvalidated: VecDeque<Unvalidated>,
    asked: VecDeque<Asked>,
    left: Option<Left>,
    wary_until: Option<Instant>,
}

#[derive(Debug)]
struct Unvalidated {
    at: SocketAddr,
    tries: u32,
    last: Instant,
}

/// The address that was in use before the last move.
#[derive(Debug)]
struct Left {
    at: SocketAddr,
    since: Instant,
    last: Instant,
}

#[derive(Debug)]
struct Asked {
    id: TransactionId,
    at: SocketAddr,
    when: Instant,
}

/// What the answer to a check means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// It was not for this module.
    NotAsked,
    /// The other end is there, where it was or where it is from now on.
    Here,
    /// The other end is there, but also where it was.
    Twice,
}

impl Moves {
    /// The agent uses this pair; none while it has none.
    pub(super) fn select(&mut self, pair: Option<Pair>) {
        if self.pair != pair {
            *self = Self { pair, ..Self::default() };
        }
    }

    /// The pair in use, with the address where the other end is.
    pub(super) fn pair(&self) -> Option<Pair> {
        self.pair.map(|(local, remote)| (local, self.moved.unwrap_or(remote)))
    }

    /// Where to send what the agent sends to `remote`.
    pub(super) fn destination(&self, remote: SocketAddr) -> SocketAddr {
        self.moved.filter(|_| self.pair.is_some_and(|(_, of)| of == remote)).unwrap_or(remote)
    }

    /// Where the agent is to think that something from `from` came from.
    pub(super) fn source(&self, from: SocketAddr) -> SocketAddr {
        self.pair.filter(|_| self.moved == Some(from)).map_or(from, |(_, remote)| remote)
    }

    /// A packet from `from` was encrypted by the other end; gives the addresses to be asked now.
    pub(super) fn on_authentic(&mut self, now: Instant, local: SocketAddr, from: SocketAddr) -> Vec<SocketAddr> {
        let Some((_, remote)) = self.pair().filter(|(of, _)| *of == local) else { return vec![] };
        if remote == from {
            self.heard = Some(now);
            return self.ask_behind(now).into_iter().collect();
        }
        match self.unvalidated.iter_mut().find(|other| other.at == from) {
            Some(known) => {
                let since = now.saturating_duration_since(known.last);
                if since >= FORGOTTEN {
                    known.tries = 0;
                }
                if known.tries == TRIES || since < GAP {
                    return vec![];
                }
                known.tries += 1;
                known.last = now;
            }
            None => {
                if self.unvalidated.len() == UNVALIDATED {
                    self.unvalidated.pop_front();
                }
                self.unvalidated.push_back(Unvalidated { at: from, tries: 1, last: now });
            }
        }
        vec![from, remote]
    }

    fn ask_behind(&mut self, now: Instant) -> Option<SocketAddr> {
        let left = self.left.as_mut()?;
        if now.saturating_duration_since(left.since) > BEHIND {
            self.left = None;
            return None;
        }
        if now.saturating_duration_since(left.last) < BEHIND_GAP {
            return None;
        }
        left.last = now;
        Some(left.at)
    }

    /// A check goes to `at`.
    pub(super) fn on_asked(&mut self, now: Instant, id: TransactionId, at: SocketAddr) {
        if self.asked.len() == ASKED {
            self.asked.pop_front();
        }
        self.asked.push_back(Asked { id, at, when: now });
    }

    /// Whether an answer is to a check of this module.
    pub(super) fn has_asked(&self, id: TransactionId) -> bool {
        self.asked.iter().any(|asked| asked.id == id)
    }

    /// A genuine answer came from `from`.
    pub(super) fn on_answer(&mut self, now: Instant, id: TransactionId, from: SocketAddr) -> Answered {
        let Some(index) = self.asked.iter().position(|asked| asked.id == id && asked.at == from) else {
            return Answered::NotAsked;
        };
        let (Some(asked), Some((_, remote))) = (self.asked.remove(index), self.pair()) else {
            return Answered::NotAsked;
        };
        if remote == from {
            self.heard = Some(now);
            return Answered::Here;
        }
        if self.left.as_ref().is_some_and(|left| left.at == from) {
            self.go_to(now, from);
            self.left = None;
            self.wary_until = Some(now + WARY);
            return Answered::Here;
        }
        let wary = self.wary_until.is_some_and(|until| now < until);
        let alive = self
            .heard
            .is_some_and(|heard| heard > asked.when || (wary && now.saturating_duration_since(heard) < SILENT));
        if alive {
            return Answered::Twice;
        }
        self.go_to(now, from);
        self.left = Some(Left { at: remote, since: now, last: asked.when });
        Answered::Here
    }

    fn go_to(&mut self, now: Instant, address: SocketAddr) {
        self.moved = self.pair.is_some_and(|(_, agents)| agents != address).then_some(address);
        self.heard = Some(now);
        self.unvalidated.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: &str = "192.0.2.1:1000";
    const OLD: &str = "198.51.100.1:2000";
    const NEW: &str = "198.51.100.1:2001";

    fn at(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn in_use() -> (Moves, Instant) {
        let mut moves = Moves::default();
        moves.select(Some((at(LOCAL), at(OLD))));
        (moves, Instant::now())
    }

    fn ask(moves: &mut Moves, now: Instant, address: &str) -> TransactionId {
        let id = TransactionId::new();
        moves.on_asked(now, id, at(address));
        id
    }

    #[test]
    fn the_path_follows_an_end_that_answers_elsewhere_and_back_again() {
        let (mut moves, start) = in_use();
        for (n, from, to) in [(0, OLD, NEW), (1, NEW, OLD)] {
            let start = start + ms(n * 20_000);
            assert!(moves.on_authentic(start, at(LOCAL), at(from)).is_empty());
            let later = start + ms(10_000);
            moves.on_authentic(later - ms(1), at(LOCAL), at(from));
            assert_eq!(moves.on_authentic(later, at(LOCAL), at(to)), [at(to), at(from)], "both are asked");
            let id = ask(&mut moves, later, to);
            assert_eq!(moves.destination(at(OLD)), at(from), "not before it has answered");
            assert_eq!(moves.on_answer(later + ms(100), id, at(to)), Answered::Here);
            assert_eq!(moves.destination(at(OLD)), at(to));
            assert_eq!(moves.source(at(to)), at(OLD), "the agent sees no change");
            assert_eq!(moves.pair(), Some((at(LOCAL), at(to))));
        }
    }

    #[test]
    fn nothing_moves_while_the_old_address_is_heard_or_another_answers() {
        let (mut moves, start) = in_use();
        assert_eq!(moves.on_authentic(start, at(LOCAL), at(NEW)).len(), 2);
        let (old, new) = (ask(&mut moves, start, OLD), ask(&mut moves, start, NEW));
        assert_eq!(moves.on_answer(start + ms(20), old, at(OLD)), Answered::Here);
        assert_eq!(moves.on_answer(start + ms(100), new, at(NEW)), Answered::Twice);
        let id = ask(&mut moves, start + ms(200), NEW);
        assert_eq!(moves.on_answer(start + ms(300), id, at("203.0.113.9:1")), Answered::NotAsked);
        assert_eq!(moves.on_answer(start + ms(300), TransactionId::new(), at(NEW)), Answered::NotAsked);
        assert_eq!(moves.destination(at(OLD)), at(OLD));
        assert_eq!(moves.on_answer(start + ms(300), id, at(NEW)), Answered::Here);
    }

    #[test]
    fn a_path_that_was_drawn_away_goes_back_and_is_wary() {
        let (mut moves, start) = in_use();
        moves.on_authentic(start, at(LOCAL), at(NEW));
        let id = ask(&mut moves, start, NEW);
        assert_eq!(moves.on_answer(start + ms(10), id, at(NEW)), Answered::Here);
        // What comes from there has the old address asked on, which answers.
        assert_eq!(moves.on_authentic(start + ms(200), at(LOCAL), at(NEW)), [at(OLD)]);
        let id = ask(&mut moves, start + ms(200), OLD);
        assert_eq!(moves.on_answer(start + ms(300), id, at(OLD)), Answered::Here);
        assert_eq!(moves.destination(at(OLD)), at(OLD));
        let mut draw = |after: u64| {
            moves.on_authentic(start + ms(after), at(LOCAL), at(NEW));
            let id = ask(&mut moves, start + ms(after), NEW);
            moves.on_answer(start + ms(after + 10), id, at(NEW))
        };
        assert_eq!(draw(500), Answered::Twice, "it was heard less than a second before");
        assert_eq!(draw(1_500), Answered::Here, "it has been silent for a second");
        let asked =
            (0..100).filter(|n| !moves.on_authentic(start + ms(2_000 + n * 100), at(LOCAL), at(NEW)).is_empty());
        assert!(asked.count() < 30, "and not for ever");
    }

    #[test]
    fn addresses_are_asked_at_a_pace_and_not_for_ever() {
        let (mut moves, start) = in_use();
        let asked = (0..600).filter(|n| !moves.on_authentic(start + ms(n * 5), at(LOCAL), at(NEW)).is_empty()).count();
        assert_eq!(asked, TRIES as usize);
        let elsewhere = moves.on_authentic(start, at("192.0.2.9:9"), at("203.0.113.9:1"));
        assert!(elsewhere.is_empty(), "another socket has another pair");
        for port in 0..100 {
            moves.on_authentic(start, at(LOCAL), SocketAddr::new([203, 0, 113, 1].into(), port));
        }
        assert_eq!(moves.unvalidated.len(), UNVALIDATED);
    }

    #[test]
    fn a_new_pair_forgets_what_was_moved() {
        let (mut moves, start) = in_use();
        let id = ask(&mut moves, start, NEW);
        moves.on_answer(start + ms(1), id, at(NEW));
        moves.select(Some((at(LOCAL), at(OLD))));
        assert_eq!(moves.destination(at(OLD)), at(NEW), "the same pair told again is no new one");
        moves.select(None);
        assert_eq!((moves.destination(at(OLD)), moves.pair()), (at(OLD), None));
    }
}
