//! The DTLS cookie told in the offer.
//!
//! A DTLS 1.2 server asks a client to repeat its hello with a cookie before it answers (RFC 6347 section 4.2.1), lest
//! it be used to flood others. An ICE end has checked the address already, so the round trip buys nothing, but the
//! engine cannot leave it out. So the offer says what the cookie will be, and the client's hello with it goes out at
//! once. Ends that know nothing of this ignore the attribute and take the round trip.

use std::sync::Arc;

use rtc::crypto::{CryptoError, RTCCrypto, RTCCryptoProvider, RTCRandom};

use super::record::COOKIE_LENGTH;

/// The SDP attribute, at session level.
pub(super) const COOKIE_ATTRIBUTE: &str = "x-dtls-cookie";

/// The description with the cookie in it.
pub(super) fn announce(sdp: &str, cookie: &[u8; COOKIE_LENGTH]) -> String {
    let hex: String = cookie.iter().map(|byte| format!("{byte:02x}")).collect();
    let line = format!("a={COOKIE_ATTRIBUTE}:{hex}\r\n");
    let at = sdp.find("m=").unwrap_or(sdp.len());
    format!("{}{line}{}", &sdp[..at], &sdp[at..])
}

/// The cookie of an announcement; `None` if it is none.
pub(super) fn parse(hex: &str) -> Option<[u8; COOKIE_LENGTH]> {
    let hex = hex.trim();
    if hex.len() != 2 * COOKIE_LENGTH || !hex.is_ascii() {
        return None;
    }
    let mut cookie = [0; COOKIE_LENGTH];
    for (byte, digits) in cookie.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(cookie)
}

/// The engine's provider, with the announced cookie where it draws one: the only thing of that length it draws.
pub(super) struct CookieProvider {
    provider: Arc<dyn RTCCryptoProvider>,
    random: CookieRandom,
}

struct CookieRandom {
    provider: Arc<dyn RTCCryptoProvider>,
    cookie: [u8; COOKIE_LENGTH],
}

impl CookieProvider {
    pub(super) fn new(provider: Arc<dyn RTCCryptoProvider>, cookie: [u8; COOKIE_LENGTH]) -> Self {
        Self { random: CookieRandom { provider: provider.clone(), cookie }, provider }
    }
}

impl RTCCryptoProvider for CookieProvider {
    fn name(&self) -> &'static str {
        self.provider.name()
    }

    fn crypto(&self) -> &dyn RTCCrypto {
        self.provider.crypto()
    }

    fn random(&self) -> &dyn RTCRandom {
        &self.random
    }
}

impl RTCRandom for CookieRandom {
    fn fill(&self, output: &mut [u8]) -> Result<(), CryptoError> {
        if output.len() == COOKIE_LENGTH {
            output.copy_from_slice(&self.cookie);
            return Ok(());
        }
        self.provider.random().fill(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_survives_its_announcement_before_the_first_media_section() {
        let cookie: [u8; COOKIE_LENGTH] = std::array::from_fn(|n| n as u8 * 13);
        let sdp = announce("v=0\r\ns=-\r\nm=audio 9\r\na=mid:0\r\n", &cookie);
        let line = sdp.lines().nth(2).unwrap();
        assert_eq!(parse(line.strip_prefix("a=x-dtls-cookie:").unwrap()), Some(cookie));
        assert!(sdp.ends_with("m=audio 9\r\na=mid:0\r\n"));
    }

    #[test]
    fn what_is_no_cookie_is_not_taken_for_one() {
        for wrong in ["", "00", &"zz".repeat(20), &"é".repeat(20), &"00".repeat(21)] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
