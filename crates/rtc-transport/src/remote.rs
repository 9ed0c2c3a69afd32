//! Candidates of the other end: which of them are tried.
//!
//! Whoever makes an offer decides to which addresses this end sends checks, before anybody has answered; and every one
//! of them is paired with every address of this end. So there is an end to their number (RFC 8445 section 6.1.2.5: a
//! hundred pairs), with places of their own for each kind, so that no kind displaces the others.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

/// Pairs, less those with addresses that no candidate tells.
const PAIRS: usize = 96;
/// The fewest and the most candidates that are taken, whatever this end has itself: an end of this kind tells eight of
/// its own addresses.
const FEWEST: usize = 8;
const MOST: usize = 20;
/// Candidates read out of one description; the best of these are taken.
const READ: usize = 256;

/// The places taken in one generation of candidates.
#[derive(Debug, Default)]
pub(crate) struct RemoteCandidates {
    taken: HashSet<SocketAddr>,
    hosts: usize,
    reflexive: usize,
    relays: usize,
    others: usize,
}

/// What counts of a candidate line (RFC 8839 section 5.1).
struct Line {
    priority: u32,
    address: SocketAddr,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Host,
    Reflexive,
    Relay,
}

/// A description without its candidates, and these.
pub(crate) fn split(sdp: &str) -> (String, Vec<String>) {
    let (mut rest, mut candidates) = (String::with_capacity(sdp.len()), vec![]);
    for line in sdp.lines() {
        match line.strip_prefix("a=").filter(|line| line.starts_with("candidate:")) {
            Some(candidate) if candidates.len() < READ => candidates.push(candidate.to_owned()),
            Some(_) => {}
            None => {
                rest.push_str(line);
                rest.push_str("\r\n");
            }
        }
    }
    (rest, candidates)
}

/// Sorts candidates by what is promising from an end with these addresses: those of a network that both are in, then by
/// priority. An address that this end has too, such as that of a container bridge, leads back to itself, unless both ends are one machine.
pub(crate) fn sort<T>(candidates: &mut [T], own: &[IpAddr], line: impl Fn(&T) -> &str) {
    candidates.sort_by_cached_key(|candidate| match parse(line(candidate)) {
        Some(line) => {
            let ip = line.address.ip();
            (own.contains(&ip), !is_near(ip, own), std::cmp::Reverse(line.priority))
        }
        None => (true, true, std::cmp::Reverse(0)),
    });
}

impl RemoteCandidates {
    /// Whether the agent is to have a candidate, at an end with these addresses.
    pub(crate) fn admits(&mut self, line: &str, own: &[IpAddr]) -> bool {
        let places = (PAIRS / own.len().max(1)).clamp(FEWEST, MOST);
        let (few, hosts) = (places / 5, places - 2 * (places / 5));
        let Some(Line { address, kind, .. }) = parse(line) else {
            // The agent says what is wrong with it, or knows what to do.
            self.others += 1;
            return self.others <= few;
        };
        if self.taken.contains(&address) {
            return false;
        }
        let (taken, places) = match kind {
            // Some places are left to those of a network that both ends are in.
            Kind::Host if is_near(address.ip(), own) => (&mut self.hosts, hosts),
            Kind::Host => (&mut self.hosts, (hosts - hosts / 8).max(FEWEST)),
            Kind::Reflexive => (&mut self.reflexive, few),
            Kind::Relay => (&mut self.relays, few),
        };
        let room = *taken < places;
        if room {
            *taken += 1;
            self.taken.insert(address);
        }
        room
    }
}

fn parse(line: &str) -> Option<Line> {
    let mut words = line.split_ascii_whitespace().skip(2);
    words.next().filter(|transport| transport.eq_ignore_ascii_case("udp"))?;
    let priority = words.next()?.parse().ok()?;
    let address = SocketAddr::new(words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let kind = match (words.next()?, words.next()?) {
        ("typ", "host") => Kind::Host,
        ("typ", "srflx" | "prflx") => Kind::Reflexive,
        ("typ", "relay") => Kind::Relay,
        _ => return None,
    };
    Some(Line { priority, address, kind })
}

/// Whether an address is probably of a network that this end is in, and not its own.
fn is_near(ip: IpAddr, own: &[IpAddr]) -> bool {
    let same = |other: &IpAddr| match (ip, other) {
        (IpAddr::V4(ip), IpAddr::V4(other)) => ip.octets()[..3] == other.octets()[..3],
        (IpAddr::V6(ip), IpAddr::V6(other)) => ip.octets()[..8] == other.octets()[..8],
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    };
    !own.contains(&ip) && own.iter().any(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(n: u32, ip: &str, kind: &str) -> String {
        format!("candidate:1 1 udp {} {ip} {} typ {kind}", 1_000 - n, 1_000 + n)
    }

    fn own(count: u8) -> Vec<IpAddr> {
        (0..count).map(|n| IpAddr::from([172, 18, n, 1])).chain([IpAddr::from([10, 7, 9, 1])]).collect()
    }

    fn admitted(candidates: &[String], own: &[IpAddr]) -> Vec<String> {
        let mut remote = RemoteCandidates::default();
        candidates.iter().filter(|line| remote.admits(line, own)).cloned().collect()
    }

    #[test]
    fn candidates_without_number_make_at_most_a_hundred_pairs_and_no_kind_displaces_another() {
        let mut offered: Vec<String> = (0..550).map(|n| candidate(n, "198.51.100.9", "host")).collect();
        offered.push(candidate(600, "203.0.113.1", "srflx"));
        offered.push(candidate(601, "203.0.113.2", "relay"));
        for count in 1..8 {
            let own = own(count - 1);
            let admitted = admitted(&offered, &own);
            assert!(admitted.len() * own.len() <= PAIRS && admitted.len() >= FEWEST, "{}", admitted.len());
            assert!(admitted.ends_with(&offered[550..]));
        }
    }

    #[test]
    fn what_is_near_goes_first_and_what_this_end_has_too_goes_last() {
        let mut offered: Vec<String> = (0..40).map(|n| candidate(n, &format!("172.18.{n}.1"), "host")).collect();
        offered.push(candidate(90, "10.7.9.2", "host"));
        offered.push(candidate(50, "192.168.9.2", "host"));
        offered.push("candidate:1 1 tcp 1 10.7.9.2 9 typ host".to_owned());
        sort(&mut offered, &own(40), |line| line);
        assert!(offered[0].contains("10.7.9.2 1090") && offered[1].contains("192.168.9.2"), "{:?}", &offered[..2]);
        assert!(admitted(&offered, &own(7)).contains(&candidate(90, "10.7.9.2", "host")));
        let late: Vec<String> = (0..40).map(|n| candidate(n, &format!("172.99.{n}.1"), "host")).collect();
        let late = [late, vec![candidate(90, "10.7.9.2", "host")]].concat();
        assert_eq!(admitted(&late, &own(3)).last(), late.last(), "a place is left for it");
    }

    #[test]
    fn a_description_is_taken_apart_and_the_same_candidate_counts_once() {
        let sdp = "v=0\r\na=candidate:1 1 udp 9 192.0.2.1 5 typ host\r\na=mid:0\r\na=end-of-candidates\r\n";
        let (rest, candidates) = split(sdp);
        assert_eq!(rest, "v=0\r\na=mid:0\r\na=end-of-candidates\r\n");
        assert_eq!(candidates, ["candidate:1 1 udp 9 192.0.2.1 5 typ host"]);
        assert_eq!(admitted(&[candidates.clone(), candidates].concat(), &own(1)).len(), 1);
        let unknown =
            ["nonsense", "candidate:1 1 tcp 9 192.0.2.1 5 typ host", "candidate:1 1 udp 9 x.local 5 typ host"];
        let unknown = unknown.map(str::to_owned);
        assert_eq!(admitted(&unknown, &own(1)), unknown);
        assert!(admitted(&std::array::from_fn::<_, 99, _>(|_| unknown[0].clone()), &own(1)).len() <= 4);
    }
}
