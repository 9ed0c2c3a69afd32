//! What a datagram to or from a TURN server carries (RFC 8656 sections 11 and 12).

/// Bytes of the header of ChannelData.
const CHANNEL_HEADER: usize = 4;
/// Bytes of a STUN header.
const STUN_HEADER: usize = 20;
const SEND_INDICATION: [u8; 2] = [0x00, 0x16];
const DATA_INDICATION: [u8; 2] = [0x00, 0x17];
const DATA: [u8; 2] = [0x00, 0x13];

/// The datagram inside, if this one is relayed.
pub(super) fn inner(datagram: &[u8]) -> Option<&[u8]> {
    if matches!(datagram.first()?, 0x40..=0x4F) {
        let length = usize::from(u16::from_be_bytes([*datagram.get(2)?, *datagram.get(3)?]));
        return datagram.get(CHANNEL_HEADER..CHANNEL_HEADER + length);
    }
    let kind = datagram.get(..2)?;
    if kind != SEND_INDICATION && kind != DATA_INDICATION {
        return None;
    }
    let mut attributes = datagram.get(STUN_HEADER..)?;
    while let Some((header, rest)) = attributes.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[..2] == DATA {
            return rest.get(..length);
        }
        attributes = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_relaying_are_seen_through() {
        assert_eq!(inner(&[0x40, 0x01, 0, 3, 22, 1, 2, 0]), Some(&[22, 1, 2][..]));
        let mut indication = vec![0x00, 0x17, 0, 20];
        indication.extend([0; 16]);
        indication.extend([0x00, 0x12, 0, 5, 1, 1, 1, 1, 1, 0, 0, 0]);
        indication.extend([0x00, 0x13, 0, 2, 22, 7, 0, 0]);
        assert_eq!(inner(&indication), Some(&[22, 7][..]));
    }

    #[test]
    fn what_is_not_relayed_or_cut_short_is_not() {
        for datagram in [&[][..], &[0x40], &[0x40, 0, 0, 9, 1], &[0, 1, 0, 0], &[0, 0x17], &[22, 0xFE, 0xFD, 0]] {
            assert_eq!(inner(datagram), None, "{datagram:?}");
        }
        let mut endless = vec![0x00, 0x16, 0, 4];
        endless.extend([0; 16]);
        endless.extend([0x00, 0x13, 0xFF, 0xFF]);
        assert_eq!(inner(&endless), None);
    }
}
