//! What the three tokens claim. All are JWT, HS256, signed by the app's own backend with the app's secret.
//!
//! Times are NumericDates (RFC 7519, section 2): a fraction of a second is read, and left away.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// Claims of an access token: who signs in. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessClaims {
    /// The app id (documented: service id).
    pub sub: String,
    /// The user id.
    pub uid: String,
    /// The API key that names the secret.
    pub iss: String,
    /// When it was issued, s; 0 where it does not say.
    #[serde(default, deserialize_with = "numeric_date")]
    pub iat: u64,
    /// When it ends, s.
    #[serde(deserialize_with = "numeric_date")]
    pub exp: u64,
}

/// Claims of a channel token: one uid in one channel. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelClaims {
    /// The app id.
    pub sub: String,
    /// The channel.
    pub channel: String,
    /// The number of the member that may join with it.
    pub rtc_uid: u32,
    /// The API key that names the secret.
    pub iss: String,
    /// When it was issued, s; 0 where it does not say.
    #[serde(default, deserialize_with = "numeric_date")]
    pub iat: u64,
    /// When it ends, s.
    #[serde(deserialize_with = "numeric_date")]
    pub exp: u64,
}

/// Claims by which an app's backend shows the server that it has the app's key, to sign its users out, revoke their tokens and end their
/// calls. Times are seconds since 1970. No user's token has the scope, and this one has no user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorClaims {
    /// The app id.
    pub sub: String,
    /// [`OperatorClaims::SCOPE`].
    pub scope: String,
    /// The API key that names the secret.
    pub iss: String,
    /// When it ends, s.
    #[serde(deserialize_with = "numeric_date")]
    pub exp: u64,
}

impl OperatorClaims {
    /// What `scope` says.
    pub const SCOPE: &str = "operator";
}

fn numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    if seconds >= 0.0 && seconds.is_finite() { Ok(seconds as u64) } else { Err(D::Error::custom("not a time")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(times: &str) -> Option<(u64, u64)> {
        let text = format!(r#"{{"sub":"shop","uid":"ann","iss":"k"{times}}}"#);
        serde_json::from_str(&text).ok().map(|claims: AccessClaims| (claims.iat, claims.exp))
    }

    #[test]
    fn a_time_may_have_a_fraction_and_the_issue_may_be_left_out() {
        assert_eq!(read(r#","iat":1700000000,"exp":1700003600"#), Some((1_700_000_000, 1_700_003_600)));
        assert_eq!(read(r#","iat":1700000000.75,"exp":1700003600.999999"#), Some((1_700_000_000, 1_700_003_600)));
        assert_eq!(read(r#","exp":1.7000036e9"#), Some((0, 1_700_003_600)));
        for bad in [r#","iat":1"#, r#","exp":-1"#, r#","exp":"soon""#, r#","exp":null"#] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
