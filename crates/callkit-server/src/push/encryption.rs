//! A message that only one browser can read: RFC 8291, in the coding `aes128gcm` of RFC 8188.

use aes_gcm::aead::Aead;
use aes_gcm::{Aes128Gcm, KeyInit, Nonce};
use hkdf::Hkdf;
use p256::elliptic_curve::sec1::ToEncodedPoint;
use p256::{PublicKey, SecretKey};
use sha2::Sha256;

/// The one record; every push service takes a body of this size (RFC 8030, section 7.2).
const RECORD_BYTES: usize = 4_096;
/// Salt, record size, key length, key; RFC 8188, section 2.1.
const HEADER_BYTES: usize = 16 + 4 + 1 + 65;
const TAG_BYTES: usize = 16;
/// Ends the last record.
const LAST: u8 = 2;

/// Bytes of the longest text that fits.
pub(super) const TEXT_BYTES: usize = RECORD_BYTES - HEADER_BYTES - TAG_BYTES - 1;

/// What makes every message another one: a key pair used once and a salt.
pub(super) struct Once {
    pub(super) key: SecretKey,
    pub(super) salt: [u8; 16],
}

impl Once {
    pub(super) fn random() -> Self {
        let key = loop {
            // A number outside the group's order comes up once in 2^32.
            if let Ok(key) = SecretKey::from_slice(&rand::random::<[u8; 32]>()) {
                break key;
            }
        };
        Self { key, salt: rand::random() }
    }
}

/// The body of a push message; none if the text is longer than [`TEXT_BYTES`].
pub(super) fn encrypted(text: &[u8], browser: &PublicKey, auth: &[u8; 16], once: &Once) -> Option<Vec<u8>> {
    if text.len() > TEXT_BYTES {
        return None;
    }
    let browser_point = browser.to_encoded_point(false);
    let our_point = once.key.public_key().to_encoded_point(false);
    let shared = p256::ecdh::diffie_hellman(once.key.to_nonzero_scalar(), browser.as_affine());

    let info = [b"WebPush: info\0", browser_point.as_bytes(), our_point.as_bytes()].concat();
    let mut input = [0; 32];
    Hkdf::<Sha256>::new(Some(auth), shared.raw_secret_bytes()).expand(&info, &mut input).ok()?;
    let (mut key, mut nonce) = ([0; 16], [0; 12]);
    let derived = Hkdf::<Sha256>::new(Some(&once.salt), &input);
    derived.expand(b"Content-Encoding: aes128gcm\0", &mut key).ok()?;
    derived.expand(b"Content-Encoding: nonce\0", &mut nonce).ok()?;

    let record = [text, &[LAST]].concat();
    let sealed = Aes128Gcm::new(&key.into()).encrypt(Nonce::from_slice(&nonce), record.as_slice()).ok()?;
    let record_bytes = (RECORD_BYTES as u32).to_be_bytes();
    let key_bytes = [our_point.len() as u8];
    Some([once.salt.as_slice(), &record_bytes, &key_bytes, our_point.as_bytes(), &sealed].concat())
}

#[cfg(test)]
mod tests {
    use super::super::address::{BASE64URL, auth_secret, public_key};
    use super::*;
    use base64::Engine as _;

    const BROWSER: &str = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
    const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";

    /// RFC 8291, section 5 and appendix A.
    #[test]
    fn the_example_of_the_rfc_comes_out_byte_for_byte() {
        let once = Once {
            key: SecretKey::from_slice(&BASE64URL.decode("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw").unwrap())
                .unwrap(),
            salt: BASE64URL.decode("DGv6ra1nlYgDCS1FRnbzlw").unwrap().try_into().unwrap(),
        };
        let text = b"When I grow up, I want to be a watermelon";
        let body = encrypted(text, &public_key(BROWSER).unwrap(), &auth_secret(AUTH).unwrap(), &once).unwrap();
        assert_eq!(
            BASE64URL.encode(body),
            "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
        );
    }

    #[test]
    fn the_longest_text_fills_the_record() {
        let (browser, auth) = (public_key(BROWSER).unwrap(), auth_secret(AUTH).unwrap());
        let body = |bytes: usize| encrypted(&vec![b'a'; bytes], &browser, &auth, &Once::random());
        assert_eq!(body(TEXT_BYTES).unwrap().len(), RECORD_BYTES);
        assert!(body(TEXT_BYTES + 1).is_none());
        assert_ne!(body(1), body(1), "no two messages are alike");
    }
}
