//! As much of the DTLS 1.2 record layer (RFC 6347 section 4) as is in the clear and needed here.

/// Bytes of a record header.
const RECORD_HEADER: usize = 13;
/// Bytes of a handshake header.
const HANDSHAKE_HEADER: usize = 12;
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const HELLO_VERIFY_REQUEST: u8 = 3;
/// DTLS 1.2 as it stands on the wire.
const VERSION: [u8; 2] = [0xFE, 0xFD];

/// Length of the cookie the engine makes.
pub(super) const COOKIE_LENGTH: usize = 20;

/// A record of an epoch that never comes, with one byte of content, which is discarded silently (RFC 6347 section
/// 4.1.2.7).
pub(super) const NUDGE: [u8; RECORD_HEADER + 1] =
    [HANDSHAKE, VERSION[0], VERSION[1], 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0];

/// What the first record of a datagram carries, where it matters here.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Handshake {
    ClientHello { sequence: u16 },
    Other,
}

/// Whether a datagram belongs to a DTLS handshake (RFC 7983 for the first byte).
pub(super) fn is_handshake(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(&(CHANGE_CIPHER_SPEC | HANDSHAKE)))
}

/// Whether a datagram is an alert, such as the notice that the other end closes.
pub(super) fn is_alert(datagram: &[u8]) -> bool {
    datagram.first() == Some(&ALERT)
}

/// Whether the first record is one that was encrypted; anybody can make the others.
pub(super) fn is_encrypted(datagram: &[u8]) -> bool {
    datagram.get(..RECORD_HEADER).is_some_and(|header| header[3..5] != [0, 0])
}

/// What the first record carries; `None` if that is encrypted or no handshake message.
pub(super) fn handshake(datagram: &[u8]) -> Option<Handshake> {
    let header = datagram.get(..RECORD_HEADER + HANDSHAKE_HEADER)?;
    let epoch = u16::from_be_bytes([header[3], header[4]]);
    if header[0] != HANDSHAKE || epoch != 0 {
        return None;
    }
    let body = &header[RECORD_HEADER..];
    Some(match body[0] {
        CLIENT_HELLO => Handshake::ClientHello { sequence: u16::from_be_bytes([body[4], body[5]]) },
        _ => Handshake::Other,
    })
}

/// The server's request to repeat the hello with `cookie` (RFC 6347 section 4.2.1), as its first record.
pub(super) fn hello_verify_request(cookie: &[u8; COOKIE_LENGTH]) -> Vec<u8> {
    let body = 2 + 1 + COOKIE_LENGTH;
    let mut datagram = vec![HANDSHAKE];
    datagram.extend_from_slice(&VERSION);
    datagram.extend_from_slice(&[0; 8]);
    datagram.extend_from_slice(&((HANDSHAKE_HEADER + body) as u16).to_be_bytes());
    let length = (body as u32).to_be_bytes();
    datagram.push(HELLO_VERIFY_REQUEST);
    datagram.extend_from_slice(&length[1..]);
    datagram.extend_from_slice(&[0; 5]);
    datagram.extend_from_slice(&length[1..]);
    datagram.extend_from_slice(&VERSION);
    datagram.push(COOKIE_LENGTH as u8);
    datagram.extend_from_slice(cookie);
    datagram
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_laid_out_as_in_rfc_6347() {
        let request = hello_verify_request(&[7; COOKIE_LENGTH]);
        assert_eq!(request.len(), RECORD_HEADER + HANDSHAKE_HEADER + 23);
        assert_eq!(request[..13], [22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 35]);
        assert_eq!(request[13..25], [3, 0, 0, 23, 0, 0, 0, 0, 0, 0, 0, 23]);
        assert_eq!(request[25..28], [0xFE, 0xFD, 20]);
        assert_eq!(handshake(&request), Some(Handshake::Other));
    }

    #[test]
    fn a_short_or_encrypted_datagram_is_not_read() {
        assert_eq!(handshake(&[22, 0xFE, 0xFD]), None);
        let mut encrypted = hello_verify_request(&[7; COOKIE_LENGTH]);
        encrypted[4] = 1;
        assert_eq!(handshake(&encrypted), None);
    }
}
