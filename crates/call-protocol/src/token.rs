//! What the two tokens claim. Both are JWT, HS256, signed by the app's own backend with the app's secret.

use serde::{Deserialize, Serialize};

/// Claims of an access token: who signs in. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessClaims {
    /// The app id (documented: service id).
    pub sub: String,
    /// The user id.
    pub uid: String,
    /// The API key that names the secret.
    pub iss: String,
    /// When it was issued, s.
    pub iat: u64,
    /// When it ends, s.
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
    /// When it was issued, s.
    pub iat: u64,
    /// When it ends, s.
    pub exp: u64,
}
