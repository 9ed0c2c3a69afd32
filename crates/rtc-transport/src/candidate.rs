//! What a candidate line of the other end is worth (RFC 8839 section 5.1).
//!
//! The engine knows UDP, addresses and the four types of RFC 8445 and takes everything else for an error, with which it
//! refuses a whole description. So lines are read here first, and it gets only those it can use, without extensions.

use std::net::{IpAddr, SocketAddr};

use crate::error::NegotiationError;

/// Bytes of a line that is looked at; what a candidate says fits into a quarter.
const LONGEST: usize = 1_024;
/// Characters of a foundation (RFC 8839 section 5.1).
const FOUNDATION: usize = 32;

/// A candidate that can be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Usable {
    /// The line for the engine, without `candidate:`.
    pub(crate) line: String,
    /// The user name fragment of its generation, where the line tells it (RFC 8838 section 18).
    pub(crate) fragment: Option<String>,
}

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Usable(Usable),
    /// Well-formed, and not for this end: to be ignored.
    Unsupported(&'static str),
    /// No candidate at all.
    Unreadable,
}

/// Reads a line, with or without `candidate:` before it.
pub(crate) fn read(line: &str) -> Read {
    let line = line.strip_prefix("candidate:").unwrap_or(line);
    if line.len() > LONGEST {
        return Read::Unreadable;
    }
    parse(line).unwrap_or(Read::Unreadable)
}

fn parse(line: &str) -> Option<Read> {
    let mut words = line.split_ascii_whitespace();
    let foundation = words.next().filter(|word| is_foundation(word))?;
    let component: u16 = words.next()?.parse().ok()?;
    let transport = words.next()?;
    let priority: u32 = words.next()?.parse().ok()?;
    let address = words.next()?;
    let port: u16 = words.next()?.parse().ok()?;
    if words.next()? != "typ" {
        return None;
    }
    let kind = words.next()?;
    let rest: Vec<&str> = words.collect();
    // Names and values in turn; a name without a value is none this end knows.
    let extension = |name: &str| rest.chunks_exact(2).find(|pair| pair[0] == name).map(|pair| pair[1]);
    if !transport.eq_ignore_ascii_case("udp") {
        return Some(Read::Unsupported("its transport is not UDP"));
    }
    if component != 1 {
        return Some(Read::Unsupported("it is not for RTP"));
    }
    if !matches!(kind, "host" | "srflx" | "prflx" | "relay") {
        return Some(Read::Unsupported("its type is unknown"));
    }
    let Ok(ip) = address.parse::<IpAddr>() else {
        return Some(Read::Unsupported("it has a name in place of an address"));
    };
    if port == 0 || ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::from([255; 4]) {
        return Some(Read::Unsupported("nobody is at its address"));
    }
    let related = extension("raddr").zip(extension("rport"));
    let related = related.and_then(|(ip, port)| Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?)));
    let mut line = format!("{foundation} {component} udp {priority} {ip} {port} typ {kind}");
    if let Some(related) = related.filter(|_| kind != "host") {
        line.push_str(&format!(" raddr {} rport {}", related.ip(), related.port()));
    }
    Some(Read::Usable(Usable { line, fragment: extension("ufrag").map(str::to_owned) }))
}

fn is_foundation(word: &str) -> bool {
    (1..=FOUNDATION).contains(&word.len())
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

/// A candidate that came by itself; none if it is to be ignored.
pub(crate) fn usable(line: &str) -> Result<Option<Usable>, NegotiationError> {
    match read(line) {
        Read::Usable(usable) => Ok(Some(usable)),
        Read::Unsupported(why) => {
            tracing::info!(why, "a candidate of the other end is left out");
            Ok(None)
        }
        Read::Unreadable => Err(NegotiationError::UnreadableCandidate),
    }
}

/// The other end's description with those candidates only that can be used: one that cannot be does not make the
/// others worthless.
pub(crate) fn without_unusable(sdp: &str) -> String {
    let mut left = String::with_capacity(sdp.len());
    for line in sdp.lines() {
        match line.strip_prefix("a=candidate:") {
            Some(candidate) => match usable(candidate) {
                Ok(Some(usable)) => {
                    left.push_str("a=candidate:");
                    left.push_str(&usable.line);
                    left.push_str("\r\n");
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "a candidate in a description is left out"),
            },
            None => {
                left.push_str(line);
                left.push_str("\r\n");
            }
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(read: Read) -> Option<String> {
        match read {
            Read::Usable(usable) => Some(usable.line),
            Read::Unsupported(_) | Read::Unreadable => None,
        }
    }

    #[test]
    fn what_can_be_used_is_kept_without_its_extensions() {
        let host = "1 1 udp 2130706431 192.0.2.5 50000 typ host";
        assert_eq!(line(read(&format!("candidate:{host}"))).unwrap(), host);
        assert_eq!(line(read(&format!("{host} generation 0 network-cost 999 odd"))).unwrap(), host);
        assert_eq!(line(read(&host.replace("udp", "UDP"))).unwrap(), host);
        let reflexive = "842163049 1 udp 1677729535 203.0.113.7 4711 typ srflx";
        let told = "candidate:842163049 1 udp 1677729535 203.0.113.7 4711 typ srflx generation 0 raddr 10.0.0.1 rport 9 ufrag abcd";
        let Read::Usable(usable) = read(told) else { panic!("it is usable") };
        assert_eq!(usable.line, format!("{reflexive} raddr 10.0.0.1 rport 9"));
        assert_eq!(usable.fragment.unwrap(), "abcd");
        // The address a candidate is related to is for diagnosis only.
        assert_eq!(line(read(&format!("{reflexive} raddr hidden.local rport 9"))).unwrap(), reflexive);
        assert!(line(read("1 1 udp 5 2001:db8::1 5 typ host")).is_some());
    }

    #[test]
    fn what_is_well_formed_and_not_for_this_end_is_ignored() {
        for unsupported in [
            "1 1 tcp 2105458943 192.0.2.5 9 typ host tcptype active",
            "1 1 TCP 2105458943 192.0.2.5 50000 typ host tcptype passive",
            "1 1 sctp 2105458943 192.0.2.5 50000 typ host",
            "1 2 udp 2130706430 192.0.2.5 50001 typ host",
            "1 1 udp 2130706431 192.0.2.5 50000 typ quantum",
            "1 1 udp 2130706431 1b0e5e25-2c2b-4a5c-8b9e-0f4f2f4b9a3d.local 50000 typ host",
            "1 1 udp 2130706431 phone.example 50000 typ host",
            "1 1 udp 2130706431 fe80::1%eth0 50000 typ host",
            "1 1 udp 2130706431 0.0.0.0 50000 typ host",
            "1 1 udp 2130706431 224.0.0.251 5353 typ host",
            "1 1 udp 2130706431 255.255.255.255 5353 typ host",
            "1 1 udp 2130706431 192.0.2.5 0 typ host",
        ] {
            assert!(matches!(read(unsupported), Read::Unsupported(_)), "{unsupported}");
            assert!(matches!(usable(unsupported), Ok(None)), "{unsupported}");
        }
    }

    #[test]
    fn what_is_no_candidate_says_so() {
        let long = format!("1 1 udp 5 192.0.2.5 5 typ host {}", "x ".repeat(LONGEST));
        for nonsense in [
            "nonsense",
            "candidate:",
            "1 1 udp x 192.0.2.5 5 typ host",
            "1 x udp 5 192.0.2.5 5 typ host",
            "1 1 udp 5 192.0.2.5 99999 typ host",
            "1 1 udp 5 192.0.2.5 5 kind host",
            "1 1 udp 5 192.0.2.5 5 typ",
            "b@d 1 udp 5 192.0.2.5 5 typ host",
            &long,
        ] {
            assert_eq!(read(nonsense), Read::Unreadable, "{nonsense}");
            assert!(matches!(usable(nonsense), Err(NegotiationError::UnreadableCandidate)), "{nonsense}");
        }
    }

    #[test]
    fn a_description_keeps_what_is_no_candidate_and_the_candidates_of_use() {
        let sdp = "v=0\r\na=candidate:1 1 tcp 5 192.0.2.5 9 typ host tcptype active\r\na=candidate:nonsense\r\n\
                   a=candidate:2 1 udp 5 192.0.2.5 5 typ host generation 0\r\na=mid:0\r\n";
        let left = "v=0\r\na=candidate:2 1 udp 5 192.0.2.5 5 typ host\r\na=mid:0\r\n";
        assert_eq!(without_unusable(sdp), left);
        assert_eq!(without_unusable(left), left);
    }
}
