//! What a receiver must know of an Opus packet without decoding it (RFC 6716, section 3).

/// What the table of contents of one packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PacketInfo {
    /// Samples the packet decodes to, at 48 kHz.
    pub(crate) samples: u32,
    /// Whether it carries a copy of the packet before it (in-band FEC).
    pub(crate) has_fec: bool,
}

/// The longest packet: 120 ms (RFC 6716, section 3.2.5, R5).
pub(crate) const MAX_PACKET_SAMPLES: usize = 5760;

impl PacketInfo {
    /// Reads the table of contents; `None` if this cannot be an Opus packet.
    pub(crate) fn read(packet: &[u8]) -> Option<PacketInfo> {
        let toc = *packet.first()?;
        let samples = opus::packet::get_nb_samples(packet, crate::SAMPLE_RATE).ok()?;
        if samples == 0 || samples > MAX_PACKET_SAMPLES {
            return None;
        }
        Some(PacketInfo { samples: samples as u32, has_fec: has_fec(toc, packet) })
    }
}

/// The LBRR flag of the first SILK frame (RFC 6716, sections 4.2.3 and 4.2.4), as libopus' `opus_packet_has_lbrr` reads it.
fn has_fec(toc: u8, packet: &[u8]) -> bool {
    let configuration = toc >> 3;
    let celt_only = configuration >= 16;
    if celt_only {
        return false;
    }
    let first_frame = match toc & 3 {
        0 => packet.get(1..),
        1 => packet.get(1..1 + (packet.len() - 1) / 2),
        2 => packet.get(1..).and_then(|rest| match rest {
            [0, ..] | [] => None,
            [1..=251, data @ ..] => Some(data),
            [_, _, data @ ..] => Some(data),
            [_] => None,
        }),
        // An arbitrary number of frames is no shape a voice sender uses; its FEC is not worth the parsing.
        _ => None,
    };
    let Some(&header) = first_frame.and_then(|frame| frame.first()) else {
        return false;
    };
    let silk_frames = match configuration {
        0..=11 => match configuration & 3 {
            2 => 2,
            3 => 3,
            _ => 1,
        },
        _ => 1,
    };
    let stereo = toc & 4 != 0;
    let mid = header >> (7 - silk_frames) & 1 == 1;
    let side = stereo && header >> (6 - 2 * silk_frames) & 1 == 1;
    mid || side
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Frame, VoiceEncoder, VoiceEncoderConfig};

    fn speech_packets(fec: bool) -> Vec<Vec<u8>> {
        let config = VoiceEncoderConfig { fec, expected_loss_percent: 20, ..VoiceEncoderConfig::default() };
        let mut encoder = VoiceEncoder::new(config).unwrap();
        let mut source = crate::AudioInput::Voice { seed: 1 }.open().unwrap();
        let mut frame = Frame::default();
        let mut packets = Vec::new();
        for _ in 0..400 {
            source.read(&mut frame).unwrap();
            packets.extend(encoder.push(&frame).unwrap().map(|packet| packet.payload));
        }
        packets
    }

    #[test]
    fn a_packet_of_ours_is_twenty_milliseconds() {
        for packet in speech_packets(true) {
            assert_eq!(PacketInfo::read(&packet).unwrap().samples, 960);
        }
    }

    #[test]
    fn fec_is_seen_where_the_encoder_put_it() {
        let with = speech_packets(true).iter().filter(|packet| PacketInfo::read(packet).unwrap().has_fec).count();
        let without = speech_packets(false).iter().filter(|packet| PacketInfo::read(packet).unwrap().has_fec).count();
        assert!(with > 50, "{with} of 200 packets carry FEC");
        assert_eq!(without, 0);
    }

    #[test]
    fn what_is_no_opus_packet_is_refused() {
        assert_eq!(PacketInfo::read(&[]), None);
        assert_eq!(PacketInfo::read(&[0x03, 0x00]), None, "a packet of no frames");
        assert_eq!(PacketInfo::read(&[0x1b, 0x3f]), None, "63 frames of 60 ms");
    }
}
