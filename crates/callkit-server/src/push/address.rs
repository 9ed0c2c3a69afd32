//! Where a device is reached while its app sleeps.

use std::fmt;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use call_protocol::account;
use hyper::Uri;
use p256::PublicKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::guard::Origin;

/// Bytes of the longest token: APNs says 100 bytes at most (200 digits), FCM names no limit and stays far below this.
const TOKEN_BYTES: usize = 1_024;
/// Hexadecimal digits of the shortest APNs token.
const APNS_TOKEN_DIGITS: usize = 64;
/// Bytes of the longest endpoint; browsers' have up to about 500.
const ENDPOINT_BYTES: usize = 2_048;

/// One device at one push service.
///
/// What a device told, and what is read by serde, has been checked; what is made by hand is checked with [`PushAddress::checked`], and again when it is used.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "account::PushAddress", tag = "service", rename_all = "snake_case")]
pub enum PushAddress {
    /// An iOS device.
    Apns {
        /// The VoIP token (PushKit), hexadecimal. Rings go there.
        token: String,
        /// The token for remote notifications, hexadecimal; another one than the VoIP token. Cancels go there.
        #[serde(skip_serializing_if = "Option::is_none")]
        background_token: Option<String>,
        /// Whether the app was built for development.
        sandbox: bool,
    },
    /// An Android device.
    Fcm {
        /// The registration token.
        token: String,
    },
    /// A browser.
    WebPush {
        /// Where to post to, `https`.
        endpoint: String,
        /// The subscription's public key, base64url.
        p256dh: String,
        /// The subscription's secret, base64url.
        auth: String,
    },
}

/// Why an address is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// An APNs token is not hexadecimal or not of the length that these have.
    #[error("the APNs token is not 64 to 1024 hexadecimal digits")]
    ApnsToken,
    /// An FCM token is empty, too long or not of visible ASCII.
    #[error("the FCM token is not 1 to 1024 visible ASCII characters")]
    FcmToken,
    /// The endpoint is no URL that can be posted to.
    #[error("the endpoint is not an https URL of at most 2048 bytes without a user")]
    Endpoint,
    /// The subscription's key is no point of P-256.
    #[error("p256dh is not an uncompressed P-256 point in base64url")]
    P256dh,
    /// The subscription's secret has another size.
    #[error("auth is not 16 bytes in base64url")]
    Auth,
}

impl From<PushAddress> for account::PushAddress {
    fn from(address: PushAddress) -> Self {
        match address {
            PushAddress::Apns { token, background_token, sandbox } => Self::Apns { token, background_token, sandbox },
            PushAddress::Fcm { token } => Self::Fcm { token },
            PushAddress::WebPush { endpoint, p256dh, auth } => Self::WebPush { endpoint, p256dh, auth },
        }
    }
}

impl TryFrom<account::PushAddress> for PushAddress {
    type Error = AddressError;

    fn try_from(told: account::PushAddress) -> Result<Self, AddressError> {
        let address = match told {
            account::PushAddress::Apns { token, background_token, sandbox } => {
                Self::Apns { token, background_token, sandbox }
            }
            account::PushAddress::Fcm { token } => Self::Fcm { token },
            account::PushAddress::WebPush { endpoint, p256dh, auth } => Self::WebPush { endpoint, p256dh, auth },
        };
        address.checked()
    }
}

impl PushAddress {
    /// The address, if it can be one.
    pub fn checked(self) -> Result<Self, AddressError> {
        self.check()?;
        Ok(self)
    }

    pub(super) fn check(&self) -> Result<(), AddressError> {
        match self {
            PushAddress::Apns { token, background_token, sandbox: _ } => {
                let tokens = [Some(token), background_token.as_ref()];
                let is_sound = tokens.into_iter().flatten().all(|token| is_apns_token(token));
                is_sound.then_some(()).ok_or(AddressError::ApnsToken)
            }
            PushAddress::Fcm { token } => {
                let is_sound = (1..=TOKEN_BYTES).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
                is_sound.then_some(()).ok_or(AddressError::FcmToken)
            }
            PushAddress::WebPush { endpoint, p256dh, auth } => {
                endpoint_uri(endpoint)?;
                public_key(p256dh)?;
                auth_secret(auth).map(drop)
            }
        }
    }

    /// What two addresses share that lead to the same phone: a device has one token for calls, a browser one endpoint.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let place = match self {
            PushAddress::Apns { token, .. } => token.to_ascii_lowercase(),
            PushAddress::Fcm { token } => token.clone(),
            PushAddress::WebPush { endpoint, .. } => endpoint.clone(),
        };
        Sha256::new().chain_update(self.service()).chain_update([0]).chain_update(place).finalize().into()
    }

    /// The service, for a log.
    pub(crate) fn service(&self) -> &'static str {
        match self {
            PushAddress::Apns { .. } => "apns",
            PushAddress::Fcm { .. } => "fcm",
            PushAddress::WebPush { .. } => "web_push",
        }
    }
}

impl fmt::Debug for PushAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PushAddress").field(&self.service()).finish()
    }
}

fn is_apns_token(token: &str) -> bool {
    (APNS_TOKEN_DIGITS..=TOKEN_BYTES).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_hexdigit())
}

pub(super) fn endpoint_uri(endpoint: &str) -> Result<Uri, AddressError> {
    let uri = (endpoint.len() <= ENDPOINT_BYTES).then(|| endpoint.parse::<Uri>().ok()).flatten();
    uri.filter(|uri| Origin::of(uri).is_some_and(|origin| origin.is_https())).ok_or(AddressError::Endpoint)
}

pub(super) fn public_key(p256dh: &str) -> Result<PublicKey, AddressError> {
    let bytes = BASE64URL.decode(p256dh).map_err(|_| AddressError::P256dh)?;
    // 0x04 and two coordinates; RFC 8291, section 3.1.
    if bytes.len() != 65 {
        return Err(AddressError::P256dh);
    }
    PublicKey::from_sec1_bytes(&bytes).map_err(|_| AddressError::P256dh)
}

pub(super) fn auth_secret(auth: &str) -> Result<[u8; 16], AddressError> {
    BASE64URL.decode(auth).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(AddressError::Auth)
}

/// Browsers give base64url without padding; some libraries add it.
pub(super) const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use super::*;

    const P256DH: &str = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
    const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";

    fn browser(endpoint: &str, p256dh: &str, auth: &str) -> PushAddress {
        let [endpoint, p256dh, auth] = [endpoint, p256dh, auth].map(str::to_owned);
        PushAddress::WebPush { endpoint, p256dh, auth }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let token = "0f".repeat(32);
        for address in [
            PushAddress::Apns { token: token.clone(), background_token: None, sandbox: true },
            PushAddress::Apns { token: token.clone(), background_token: Some("a0".repeat(32)), sandbox: false },
            PushAddress::Fcm { token: "abc:DEF-_1".into() },
            browser("https://push.example/1", P256DH, AUTH),
        ] {
            let text = serde_json::to_string(&address).unwrap();
            assert_eq!(serde_json::from_str::<PushAddress>(&text).unwrap(), address, "{text}");
        }
        let text = serde_json::to_string(&PushAddress::Fcm { token: "t".into() }).unwrap();
        assert_eq!(text, r#"{"service":"fcm","token":"t"}"#);
    }

    #[test]
    fn what_is_no_address_is_not_read() {
        let read = |value: serde_json::Value| serde_json::from_value::<PushAddress>(value).map_err(|e| e.to_string());
        let apns = |token: &str| read(serde_json::json!({ "service": "apns", "token": token }));
        assert!(apns(&"0F".repeat(32)).is_ok());
        for token in [String::new(), "0f".repeat(31), "0g".repeat(32), "0f".repeat(600), "../".repeat(30)] {
            assert!(apns(&token).unwrap_err().contains("APNs"), "{token}");
        }
        let dead = serde_json::json!({ "service": "apns", "token": "0f".repeat(32), "background_token": "x" });
        assert!(read(dead).is_err());
        for token in [String::new(), "a b".into(), "a\n".into(), "é".into(), "a".repeat(1_025)] {
            assert!(read(serde_json::json!({ "service": "fcm", "token": token })).unwrap_err().contains("FCM"));
        }
        assert!(read(serde_json::json!({ "service": "fcm", "token": "a", "more": 1 })).is_err());
    }

    #[test]
    fn a_subscription_is_a_https_url_a_point_and_a_secret() {
        assert!(browser("https://push.example:8443/a?b=c", P256DH, AUTH).checked().is_ok());
        assert!(browser("https://push.example/", &format!("{P256DH}="), &format!("{AUTH}==")).checked().is_ok());
        for endpoint in [
            "",
            "push.example/1",
            "/1",
            "http://push.example/1",
            "ftp://push.example",
            "https://",
            "https://u:p@push.example/1",
        ] {
            assert_eq!(browser(endpoint, P256DH, AUTH).checked(), Err(AddressError::Endpoint), "{endpoint}");
        }
        let long = format!("https://push.example/{}", "a".repeat(2_048));
        assert_eq!(browser(&long, P256DH, AUTH).checked(), Err(AddressError::Endpoint));
        let off_the_curve = P256DH.replace("iw4", "iw8");
        for key in ["", "AAAA", AUTH, "~", &off_the_curve] {
            assert_eq!(browser("https://push.example/1", key, AUTH).checked(), Err(AddressError::P256dh), "{key}");
        }
        assert_eq!(browser("https://push.example/1", P256DH, P256DH).checked(), Err(AddressError::Auth));
    }

    #[test]
    fn no_address_is_shown() {
        let shown = format!("{:?}", browser("https://push.example/secret", P256DH, AUTH));
        assert_eq!(shown, r#"PushAddress("web_push")"#);
    }
}
