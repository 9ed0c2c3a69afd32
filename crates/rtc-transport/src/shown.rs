//! Which of its addresses a path shows to the other end, and what waits until it shows them all.
//!
//! Sockets are bound at every address from the beginning, so that nothing has to be bound later. What is hidden is not
//! told to the other end, and sends nothing to it: neither checks nor answers ([`is_for_a_peer`]).

use std::net::IpAddr;
use std::sync::Mutex;

use crate::config::{AddressMode, Interfaces};
use crate::event::{Candidate, lock};

const STUN_HEADER: usize = 20;
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const USERNAME: [u8; 2] = [0x00, 0x06];

/// The addresses one path shows.
#[derive(Debug)]
pub(crate) struct Shown {
    interfaces: Interfaces,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    all: bool,
    /// Those shown so far; what was shown once is no secret any more.
    addresses: Vec<IpAddr>,
    /// Candidates of the others.
    waiting: Vec<Candidate>,
}

impl Shown {
    pub(crate) fn new(interfaces: Interfaces, mode: AddressMode) -> Self {
        let state = State { all: mode == AddressMode::All, ..State::default() };
        let shown = Self { interfaces, state: Mutex::new(state) };
        shown.refresh();
        shown
    }

    /// Looks which addresses are those of the default route now; gives the candidates that waited for it.
    pub(crate) fn refresh(&self) -> Vec<Candidate> {
        if lock(&self.state).all {
            return vec![];
        }
        let now = self.interfaces.default_route();
        let mut state = lock(&self.state);
        let State { addresses, waiting, .. } = &mut *state;
        now.into_iter().for_each(|ip| {
            if !addresses.contains(&ip) {
                addresses.push(ip);
            }
        });
        waiting.extract_if(.., |candidate| is_shown(addresses, &candidate.candidate)).collect()
    }

    /// Shows every address from now on; gives the candidates that waited for it.
    pub(crate) fn show_all(&self) -> Vec<Candidate> {
        let mut state = lock(&self.state);
        state.all = true;
        std::mem::take(&mut state.waiting)
    }

    /// Whether the socket at this address may be seen by the other end.
    pub(crate) fn is_shown(&self, ip: IpAddr) -> bool {
        let state = lock(&self.state);
        state.all || state.addresses.contains(&ip)
    }

    /// A candidate that may be told now; one that may not waits.
    pub(crate) fn pass(&self, candidate: Candidate) -> Option<Candidate> {
        let mut state = lock(&self.state);
        if state.all || is_shown(&state.addresses, &candidate.candidate) {
            return Some(candidate);
        }
        state.waiting.push(candidate);
        None
    }

    /// The candidates of sockets that are gone are not told any more.
    pub(crate) fn forget_waiting(&self) {
        lock(&self.state).waiting.clear();
    }

    /// A description without the candidates that may not be told, which follow by themselves.
    pub(crate) fn said(&self, sdp: &str) -> String {
        let state = lock(&self.state);
        let told = |line: &&str| {
            let candidate = line.strip_prefix("a=candidate:");
            state.all || candidate.is_none_or(|candidate| is_shown(&state.addresses, candidate))
        };
        sdp.lines().filter(told).flat_map(|line| [line, "\r\n"]).collect()
    }
}

/// Whether a candidate tells of no address but these. A relay's tells of the relay, and of this end only what it is
/// related to.
fn is_shown(addresses: &[IpAddr], candidate: &str) -> bool {
    let words: Vec<&str> = candidate.split_ascii_whitespace().collect();
    let after = |name: &str| words.iter().position(|word| *word == name).and_then(|at| words.get(at + 1)).copied();
    let own = match after("typ") {
        Some("host") => words.get(4).copied(),
        _ => after("raddr"),
    };
    own.and_then(|ip| ip.parse().ok()).is_some_and(|ip: IpAddr| ip.is_unspecified() || addresses.contains(&ip))
}

/// Whether a STUN message is for the other end and not for a server: a check, or an answer to one (RFC 8445 section 7).
pub(crate) fn is_for_a_peer(message: &[u8]) -> bool {
    let Some(kind) = message.get(..2) else { return false };
    if kind != BINDING_REQUEST {
        // Success, error and indication of Binding.
        return matches!(kind, [0x01, 0x01 | 0x11] | [0x00, 0x11]);
    }
    let mut attributes = message.get(STUN_HEADER..).unwrap_or_default();
    while let Some((header, rest)) = attributes.split_first_chunk::<4>() {
        if header[..2] == USERNAME {
            return true;
        }
        let length = usize::from(u16::from_be_bytes([header[2], header[3]])).next_multiple_of(4);
        attributes = rest.get(length..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: &str = "192.0.2.5";

    fn shown(mode: AddressMode) -> Shown {
        let shown = Shown::new(Interfaces::Addresses(vec![]), mode);
        lock(&shown.state).addresses.push(ROUTE.parse().unwrap());
        shown
    }

    fn candidate(line: &str) -> Candidate {
        Candidate { candidate: line.to_owned(), ..Candidate::default() }
    }

    const TOLD: [&str; 4] = [
        "candidate:1 1 udp 5 192.0.2.5 5 typ host",
        "candidate:2 1 udp 5 203.0.113.1 5 typ srflx raddr 192.0.2.5 rport 5",
        "candidate:3 1 udp 5 203.0.113.9 5 typ relay raddr 192.0.2.5 rport 5",
        "candidate:4 1 udp 5 203.0.113.9 5 typ relay raddr 0.0.0.0 rport 0",
    ];
    const HIDDEN: [&str; 4] = [
        "candidate:5 1 udp 5 10.8.0.2 5 typ host",
        "candidate:6 1 udp 5 203.0.113.1 6 typ srflx raddr 10.8.0.2 rport 5",
        "candidate:7 1 udp 5 203.0.113.9 6 typ relay raddr 10.8.0.2 rport 5",
        "candidate:8 1 udp 5 2001:db8::5 5 typ host",
    ];

    #[test]
    fn what_is_hidden_waits_until_all_is_shown() {
        let shown = shown(AddressMode::DefaultRoute);
        assert!(TOLD.iter().all(|line| shown.pass(candidate(line)).is_some()));
        assert!(HIDDEN.iter().all(|line| shown.pass(candidate(line)).is_none()));
        let sdp = |lines: &[&str]| lines.iter().map(|line| format!("a={line}\r\n")).collect::<String>();
        let all = [TOLD, HIDDEN].concat();
        assert_eq!(shown.said(&sdp(&all)), sdp(&TOLD));
        assert!(shown.is_shown(ROUTE.parse().unwrap()) && !shown.is_shown("10.8.0.2".parse().unwrap()));
        assert_eq!(shown.refresh(), []);
        assert_eq!(shown.show_all(), HIDDEN.map(candidate));
        assert!(HIDDEN.iter().all(|line| shown.pass(candidate(line)).is_some()));
        assert_eq!(shown.said(&sdp(&all)), sdp(&all));
    }

    #[test]
    fn another_default_route_shows_its_candidates() {
        let interfaces = Interfaces::Addresses(vec!["10.8.0.2".parse().unwrap()]);
        let shown = Shown { interfaces, state: Mutex::default() };
        assert!(shown.pass(candidate(HIDDEN[0])).is_none() && shown.pass(candidate(HIDDEN[3])).is_none());
        assert_eq!(shown.refresh(), [candidate(HIDDEN[0])]);
        assert_eq!(shown.refresh(), []);
    }

    #[test]
    fn a_check_is_for_the_other_end_and_a_question_to_a_server_is_not() {
        let mut question = vec![0x00, 0x01, 0, 8];
        question.extend([0; 16]);
        question.extend([0x80, 0x22, 0, 4, b'a', b'b', b'c', b'd']);
        assert!(!is_for_a_peer(&question));
        question.extend([0x00, 0x06, 0, 3, b'a', b':', b'b', 0]);
        assert!(is_for_a_peer(&question));
        assert!(is_for_a_peer(&[0x01, 0x01, 0, 0]) && is_for_a_peer(&[0x01, 0x11, 0, 0]));
        for server in [&[0x00, 0x03, 0, 0][..], &[0x00, 0x16, 0, 0], &[0x01, 0x03, 0, 0], &[0x00], &[]] {
            assert!(!is_for_a_peer(server));
        }
    }
}
