//! Words of the application beside the voice, as RTCP APP packets (RFC 3550 section 6.7).
//!
//! They are encrypted like every RTCP packet, need no set-up of their own, and are there as soon as media is. A data
//! channel would open only 400 ms after the path is connected.

use bytes::{BufMut, Bytes, BytesMut};
use rtc::rtcp::goodbye::Goodbye;
use rtc::rtcp::raw_packet::RawPacket;
use rtc::rtcp::receiver_report::ReceiverReport;

/// The name by which an APP packet is known for ours.
const NAME: [u8; 4] = *b"CALL";
/// The name of the packet that says that its sender closes the path.
const CLOSING: [u8; 4] = *b"SHUT";
/// The reason in the BYE of an end that closes. Without it BYE says that a source has ended (RFC 3550 section 6.6), and
/// ends of other kinds say that when they go silent on hold, too.
const LEAVING: &[u8] = b"path closed";
/// RTCP version 2, no padding.
const VERSION: u8 = 0x80;
const GOODBYE: u8 = 203;
const APPLICATION_DEFINED: u8 = 204;
/// Version and subtype, type, length, source and name.
const HEADER: usize = 12;

/// The packet that carries `word`. Its subtype tells how many zeros fill the last 32 bits.
pub(crate) fn packet(source: u32, word: &[u8]) -> RawPacket {
    named(NAME, source, word)
}

/// What says that this end closes the path, also where the encryption's own notice does not come through: BYE behind an
/// empty report, as every end of RTP understands it, and the packet that ends of this crate before it know.
pub(crate) fn closing(source: u32) -> Vec<Box<dyn rtc::rtcp::Packet>> {
    let report = ReceiverReport { ssrc: source, ..ReceiverReport::default() };
    vec![Box::new(report), Box::new(bye(source)), Box::new(named(CLOSING, source, &[]))]
}

fn bye(source: u32) -> RawPacket {
    let text = 1 + LEAVING.len();
    let length = 8 + text.next_multiple_of(4);
    let mut bytes = BytesMut::with_capacity(length);
    bytes.put_u8(VERSION | 1);
    bytes.put_u8(GOODBYE);
    bytes.put_u16((length / 4 - 1) as u16);
    bytes.put_u32(source);
    bytes.put_u8(LEAVING.len() as u8);
    bytes.put_slice(LEAVING);
    bytes.put_bytes(0, text.next_multiple_of(4) - text);
    RawPacket(bytes.freeze())
}

/// Whether a BYE says that its sender closes the path.
pub(crate) fn is_last_bye(bye: &Goodbye) -> bool {
    bye.reason.as_ref() == LEAVING
}

/// Whether a packet says that its sender closes the path.
pub(crate) fn is_closing(RawPacket(bytes): &RawPacket) -> bool {
    bytes.get(1) == Some(&APPLICATION_DEFINED) && bytes.get(8..HEADER) == Some(&CLOSING)
}

fn named(name: [u8; 4], source: u32, word: &[u8]) -> RawPacket {
    let zeros = word.len().wrapping_neg() % 4;
    let mut bytes = BytesMut::with_capacity(HEADER + word.len() + zeros);
    bytes.put_u8(VERSION | zeros as u8);
    bytes.put_u8(APPLICATION_DEFINED);
    bytes.put_u16(((HEADER + word.len() + zeros) / 4 - 1) as u16);
    bytes.put_u32(source);
    bytes.put_slice(&name);
    bytes.put_slice(word);
    bytes.put_bytes(0, zeros);
    RawPacket(bytes.freeze())
}

/// The word in a packet; `None` if it is none of ours.
pub(crate) fn word(RawPacket(bytes): &RawPacket) -> Option<Bytes> {
    let header = bytes.get(..HEADER)?;
    let zeros = header[0].checked_sub(VERSION)?;
    if zeros > 3 || header[1] != APPLICATION_DEFINED || header[8..] != NAME {
        return None;
    }
    let end = bytes.len().checked_sub(usize::from(zeros))?;
    (end >= HEADER).then(|| bytes.slice(HEADER..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_any_length_comes_out_as_it_went_in() {
        for length in [0, 1, 2, 3, 4, 5, 1_199, 1_200] {
            let said: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let packet = packet(0x0102_0304, &said);
            assert!(packet.0.len().is_multiple_of(4));
            assert_eq!(usize::from(u16::from_be_bytes([packet.0[2], packet.0[3]])), packet.0.len() / 4 - 1);
            assert_eq!(word(&packet).unwrap(), said);
        }
    }

    #[test]
    fn a_packet_of_somebody_else_is_no_word() {
        let closing = named(CLOSING, 1, &[]);
        assert!(is_closing(&closing) && word(&closing).is_none() && !is_closing(&packet(1, b"SHUT")));
        let ours = packet(1, b"held").0;
        for (at, byte) in [(0, 0x84), (0, 0xA0), (1, 203), (8, b'X')] {
            let mut bytes = ours.to_vec();
            bytes[at] = byte;
            assert_eq!(word(&RawPacket(bytes.into())), None);
        }
        assert_eq!(word(&RawPacket(ours.slice(..11))), None);
        let mut none_left = ours.slice(..12).to_vec();
        none_left[0] = 0x81;
        assert_eq!(word(&RawPacket(none_left.into())), None);
    }
    #[test]
    fn a_close_is_a_compound_packet_with_a_bye_that_says_why() {
        let packets = closing(0x0102_0304);
        let mut bytes = BytesMut::new();
        packets.iter().for_each(|packet| bytes.extend_from_slice(&packet.marshal().unwrap()));
        let mut bytes = bytes.freeze();
        let read = rtc::rtcp::packet::unmarshal(&mut bytes).unwrap();
        assert!(read[0].as_any().is::<ReceiverReport>(), "RFC 3550 section 6.1: a report comes first");
        let bye = read[1].as_any().downcast_ref::<Goodbye>().unwrap();
        assert_eq!(bye.sources, [0x0102_0304]);
        assert!(is_last_bye(bye) && !is_last_bye(&Goodbye { sources: vec![1], ..Goodbye::default() }));
        assert!(is_closing(read[2].as_any().downcast_ref().unwrap()));
    }
}
