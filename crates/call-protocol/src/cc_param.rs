//! What a push carries: enough to ask about one call and to decline it, and nothing else.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::ids::{AppId, CallId, DeviceId, UserId};
use crate::invite::CallType;
use crate::{limits, wire};

/// The first byte of every one of this shape.
const VERSION: u8 = 1;
/// Bytes of the signature: HMAC-SHA256, cut to half.
pub const MAC_BYTES: usize = 16;
/// Version, number of the key, signature.
const HEAD_BYTES: usize = 2 + MAC_BYTES;

/// The parameter of an incoming call, bound to one user and one call, signed by the server, worthless after the ring's deadline.
///
/// A client reads it, and cannot check its signature; the server does, whenever it is used.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CcParam {
    /// The app.
    pub app_id: AppId,
    /// The call.
    pub call_id: CallId,
    /// Who is called.
    pub user: UserId,
    /// Who calls.
    pub peer: UserId,
    /// The kind of call.
    pub call_type: CallType,
    /// When it stops ringing, in ms of the server's wall clock.
    pub ring_deadline_unix_ms: u64,
    /// The device that the push went to, where the server sent it: who comes by it is on that device, whatever it calls itself.
    pub device: Option<DeviceId>,
}

/// The parts of a text that are to be checked before it is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Which of the server's keys signed it.
    pub key_number: u8,
    /// The signature.
    pub mac: [u8; MAC_BYTES],
    /// What is signed.
    pub payload: Vec<u8>,
}

impl CcParam {
    /// Reads a text; `None` if it is not one, as when it was cut or comes from elsewhere.
    pub fn parse(text: &str) -> Option<CcParam> {
        Self::open(text).map(|(param, _)| param)
    }

    /// Reads a text, with the parts by which its signature is checked.
    pub fn open(text: &str) -> Option<(CcParam, Sealed)> {
        if text.len() > limits::CC_PARAM_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (head, payload) = bytes.split_at_checked(HEAD_BYTES)?;
        let (&[version, key_number], mac) = head.split_first_chunk::<2>()?;
        if version != VERSION {
            return None;
        }
        let param = wire::cc_param_from_payload(payload).ok()?;
        Some((param, Sealed { key_number, mac: mac.try_into().ok()?, payload: payload.to_vec() }))
    }

    /// The text, signed: `sign` gets the bytes and gives the number of the key and the signature.
    pub fn seal(&self, sign: impl FnOnce(&[u8]) -> (u8, [u8; MAC_BYTES])) -> String {
        let payload = wire::cc_param_to_payload(self);
        let (key_number, mac) = sign(&payload);
        let mut bytes = vec![VERSION, key_number];
        bytes.extend_from_slice(&mac);
        bytes.extend_from_slice(&payload);
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn param(user: &str, peer: &str) -> CcParam {
        CcParam {
            app_id: AppId::new("shop").unwrap(),
            call_id: CallId::from_bits(7),
            user: UserId::new(user).unwrap(),
            peer: UserId::new(peer).unwrap(),
            call_type: CallType::Video1v1,
            ring_deadline_unix_ms: 1_700_000_030_000,
            device: None,
        }
    }

    fn signature(bytes: &[u8]) -> (u8, [u8; MAC_BYTES]) {
        (3, [u8::try_from(bytes.len() % 251).unwrap(); MAC_BYTES])
    }

    #[test]
    fn what_was_sealed_is_read_and_can_be_checked() {
        let sealed = param("bob", "alice").seal(signature);
        assert!(sealed.len() < 160, "it has to fit into a push: {} bytes", sealed.len());
        let (read, parts) = CcParam::open(&sealed).unwrap();
        assert_eq!(read, param("bob", "alice"));
        assert_eq!((parts.key_number, parts.mac), signature(&parts.payload));
    }

    #[test]
    fn the_longest_ids_fit() {
        let long = "x".repeat(limits::USER_ID_BYTES);
        let mut longest = param(&long, &long);
        longest.app_id = AppId::new("y".repeat(limits::APP_ID_BYTES)).unwrap();
        longest.ring_deadline_unix_ms = u64::MAX;
        longest.device = Some(DeviceId::new("z".repeat(limits::DEVICE_ID_BYTES)).unwrap());
        assert_eq!(CcParam::parse(&longest.seal(signature)), Some(longest));
    }

    #[test]
    fn what_is_cut_or_comes_from_elsewhere_is_none() {
        let sealed = param("bob", "alice").seal(signature);
        for cut in 0..sealed.len() {
            // A cut between two fields leaves out the last ones, which then miss.
            let read = CcParam::parse(&sealed[..cut]);
            assert!(read.as_ref().is_none_or(|read| *read != param("bob", "alice")), "cut at {cut}");
        }
        for text in ["", "hello", "AAAA", &"A".repeat(10_000), &sealed.replace('A', "+")] {
            assert_eq!(CcParam::parse(text), None, "{text}");
        }
    }
}
