//! Which RTP sources the engine gets to see.
//!
//! It keeps a state for every source for as long as the path lives, and makes it before it knows that the packet is
//! genuine. So a source that the other end has not declared gets in only while there are few of them.

use std::collections::VecDeque;

/// Sources that a description declares (RFC 5576) and that are known at the same time; a voice has one.
const DECLARED: usize = 32;
/// Sources that were not declared, over the life of a path.
const OTHERS: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Sources {
    declared: VecDeque<u32>,
    others: Vec<u32>,
}

impl Sources {
    /// The other end has described itself.
    pub(super) fn declare(&mut self, sdp: &str) {
        let sources = sdp.lines().filter_map(|line| line.strip_prefix("a=ssrc:")?.split(' ').next()?.parse().ok());
        for source in sources.take(DECLARED) {
            if self.declared.contains(&source) {
                continue;
            }
            if self.declared.len() == DECLARED {
                self.declared.pop_front();
            }
            self.declared.push_back(source);
        }
    }

    /// Whether a packet of RTP or RTCP is for the engine; `expected` says that it came from where the other end is.
    pub(super) fn admit(&mut self, packet: &[u8], expected: bool) -> bool {
        let Some(source) = source(packet) else { return false };
        if self.declared.contains(&source) || self.others.contains(&source) {
            return true;
        }
        let admitted = expected && self.others.len() < OTHERS;
        if admitted {
            self.others.push(source);
        }
        admitted
    }
}

/// The source of a packet, which is in the clear (RFC 3711 section 3.1 and 3.4); RTCP is told by its type (RFC 5761
/// section 4).
fn source(packet: &[u8]) -> Option<u32> {
    let at = if matches!(packet.get(1)?, 192..=223) { 4 } else { 8 };
    Some(u32::from_be_bytes(packet.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rtp(source: u32) -> Vec<u8> {
        [&[0x80, 111, 0, 1, 0, 0, 0, 0][..], &source.to_be_bytes(), &[0; 20]].concat()
    }

    fn rtcp(source: u32) -> Vec<u8> {
        [&[0x80, 200, 0, 1][..], &source.to_be_bytes(), &[0; 20]].concat()
    }

    #[test]
    fn sources_that_are_made_up_get_in_only_while_they_are_few() {
        let mut sources = Sources::default();
        sources.declare("v=0\r\na=ssrc:77 cname:x\r\na=ssrc:77 msid:a b\r\n");
        let admitted =
            (1_000..200_000).filter(|n| sources.admit(&rtp(*n), true) | sources.admit(&rtcp(*n), true)).count();
        assert_eq!(admitted, OTHERS);
        assert!(sources.admit(&rtp(77), false) && sources.admit(&rtcp(77), false), "what was declared always does");
        assert!(sources.admit(&rtp(1_000), false), "and what was admitted goes on");
    }

    #[test]
    fn a_stranger_cannot_use_up_the_places() {
        let mut sources = Sources::default();
        assert!((0..1_000).all(|n| !sources.admit(&rtp(n), false)));
        assert!(sources.admit(&rtp(5), true));
        for short in [&[][..], &[0x80], &[0x80, 200, 0, 1, 0, 0], &rtp(5)[..11]] {
            assert!(!sources.admit(short, true));
        }
    }

    #[test]
    fn descriptions_without_end_declare_a_bounded_number() {
        let mut sources = Sources::default();
        let many: String = (0..5_000).map(|n| format!("a=ssrc:{n} cname:x\r\n")).collect();
        sources.declare(&many);
        sources.declare("a=ssrc:9999 cname:x\r\na=ssrc:nonsense\r\n");
        assert_eq!(sources.declared.len(), DECLARED);
        assert!(sources.admit(&rtp(9_999), false) && !sources.admit(&rtp(4_999), false));
    }
}
