//! An end that is seen at a new address while the path is in use.
//!
//! The agent keeps to the pair it has selected; when a NAT gives the other end a new address, or the other end has new
//! sockets, it sends into the void until the path fails. Here what comes from a stranger is answered with a check, and
//! once the other end has confirmed it there under its password, what the agent sends to the old address goes to the
//! new one, and what comes from there is shown to the agent as coming from the old one. So a path moves in a round trip
//! and a half from the first packet on, without signalling.
//!
//! It does not move while the address in use is still heard of: a stranger who repeats packets of the other end must
//! not draw the media to itself.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtc::stun::message::TransactionId;

use super::checks::Pair;

/// Strangers that are asked at the same time; more are somebody who makes them up.
const STRANGERS: usize = 8;
/// Time between two checks of one stranger.
const GAP: Duration = Duration::from_millis(50);
/// Checks of one stranger that goes unanswered.
const TRIES: u32 = 20;
/// Unanswered checks remembered.
const ASKED: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Moves {
    /// The pair in use, as the agent knows it.
    pair: Option<Pair>,
    /// Where the other end is, if not where the agent thinks.
    moved: Option<SocketAddr>,
    /// When the other end was last heard from where it is.
    heard: Option<Instant>,
    strangers: VecDeque<Stranger>,
    asked: VecDeque<Asked>,
}

#[derive(Debug)]
struct Stranger {
    at: SocketAddr,
    tries: u32,
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

    /// Takes note of a sender; gives whether it is a stranger to be asked now.
    pub(super) fn on_heard(&mut self, now: Instant, local: SocketAddr, from: SocketAddr) -> bool {
        let Some((of, remote)) = self.pair() else { return false };
        if of != local {
            return false;
        }
        if remote == from {
            self.heard = Some(now);
            return false;
        }
        if let Some(stranger) = self.strangers.iter_mut().find(|stranger| stranger.at == from) {
            if stranger.tries == TRIES || now.saturating_duration_since(stranger.last) < GAP {
                return false;
            }
            stranger.tries += 1;
            stranger.last = now;
            return true;
        }
        if self.strangers.len() == STRANGERS {
            self.strangers.pop_front();
        }
        self.strangers.push_back(Stranger { at: from, tries: 1, last: now });
        true
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
        let (Some(asked), Some((_, agents))) = (self.asked.remove(index), self.pair) else {
            return Answered::NotAsked;
        };
        if self.pair().is_some_and(|(_, remote)| remote == from) {
            self.heard = Some(now);
            return Answered::Here;
        }
        if self.heard.is_some_and(|heard| heard > asked.when) {
            return Answered::Twice;
        }
        self.moved = (from != agents).then_some(from);
        self.heard = Some(now);
        self.strangers.clear();
        Answered::Here
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
    fn the_path_follows_a_stranger_who_answers_and_back_again() {
        let (mut moves, start) = in_use();
        for (from, to) in [(OLD, NEW), (NEW, OLD)] {
            assert!(!moves.on_heard(start, at(LOCAL), at(from)));
            let later = start + ms(1_000);
            assert!(moves.on_heard(later, at(LOCAL), at(to)));
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
        assert!(moves.on_heard(start, at(LOCAL), at(NEW)));
        let id = ask(&mut moves, start, NEW);
        moves.on_heard(start + ms(20), at(LOCAL), at(OLD));
        assert_eq!(moves.on_answer(start + ms(100), id, at(NEW)), Answered::Twice);
        let id = ask(&mut moves, start + ms(200), NEW);
        assert_eq!(moves.on_answer(start + ms(300), id, at("203.0.113.9:1")), Answered::NotAsked);
        assert_eq!(moves.on_answer(start + ms(300), TransactionId::new(), at(NEW)), Answered::NotAsked);
        assert_eq!(moves.destination(at(OLD)), at(OLD));
        assert_eq!(moves.on_answer(start + ms(300), id, at(NEW)), Answered::Here);
    }

    #[test]
    fn strangers_are_asked_at_a_pace_and_not_for_ever() {
        let (mut moves, start) = in_use();
        let asked = (0..1_000).filter(|n| moves.on_heard(start + ms(n * 5), at(LOCAL), at(NEW))).count();
        assert_eq!(asked, TRIES as usize);
        assert!(!moves.on_heard(start, at("192.0.2.9:9"), at("203.0.113.9:1")), "another socket has another pair");
        for port in 0..100 {
            moves.on_heard(start, at(LOCAL), SocketAddr::new([203, 0, 113, 1].into(), port));
        }
        assert_eq!(moves.strangers.len(), STRANGERS);
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
