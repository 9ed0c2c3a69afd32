//! What a user's app asks outside of any call: where pushes reach a device, and which calls there were.

use std::fmt;

use serde::Deserialize;

use crate::end::{EndReason, UserCode};
use crate::ids::{CallId, DeviceId, Party, UserId};
use crate::invite::CallType;

/// Calls of the longest page.
pub const PAGE_CALLS: u32 = 100;

/// Who asks, as in a sign-in.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The app.
    pub app_id: String,
    /// JWT HS256 by the app's backend ([`crate::token::AccessClaims`]).
    pub access_token: String,
    /// The user who asks; a token of somebody else is refused.
    pub user: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// A push reaches the device there from now on, or nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetPush {
    /// Who asks.
    pub credentials: Credentials,
    /// The device.
    pub device: DeviceId,
    /// Where; `None` ends the pushes.
    pub address: Option<PushAddress>,
}

/// Where a push reaches a device. What is in it is checked by the server.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "service", rename_all = "snake_case", deny_unknown_fields)]
pub enum PushAddress {
    /// Apple's service.
    Apns {
        /// The VoIP token (PushKit), hexadecimal.
        token: String,
        /// The token for remote notifications, hexadecimal.
        #[serde(default)]
        background_token: Option<String>,
        /// Whether the app was built for development.
        #[serde(default)]
        sandbox: bool,
    },
    /// Google's service.
    Fcm {
        /// The registration token.
        token: String,
    },
    /// A browser's.
    WebPush {
        /// Where to post to.
        endpoint: String,
        /// The subscription's public key, base64url.
        p256dh: String,
        /// The subscription's secret, base64url.
        auth: String,
    },
}

/// Without what is private: only the service.
impl fmt::Debug for PushAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PushAddress::Apns { .. } => "Apns",
            PushAddress::Fcm { .. } => "Fcm",
            PushAddress::WebPush { .. } => "WebPush",
        })
    }
}

/// The calls of the user that are over, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRequest {
    /// Who asks.
    pub credentials: Credentials,
    /// From the page before; empty for the newest calls.
    pub cursor: String,
    /// Calls wanted, 1 to [`PAGE_CALLS`].
    pub limit: u32,
    /// Only the calls that the user missed.
    pub missed_only: bool,
}

/// A part of a user's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryPage {
    /// Newest first.
    pub calls: Vec<PastCall>,
    /// For the next page; empty at the end.
    pub cursor: String,
}

/// A call that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastCall {
    /// The call.
    pub call_id: CallId,
    /// Who called.
    pub caller: Party,
    /// Who was called.
    pub callee: UserId,
    /// The kind of call.
    pub call_type: CallType,
    /// When it began to ring, in ms of the server's wall clock.
    pub began_unix_ms: u64,
    /// How long it rang, in ms.
    pub ring_ms: u64,
    /// How long the parties talked, in ms; zero if it was not answered.
    pub talk_ms: u64,
    /// How it ended for the user who asks.
    pub reason: EndReason,
    /// The documented number of the disconnect reason.
    pub disconnect_reason: i32,
    /// The documented number of the disconnect source.
    pub disconnect_source: i32,
    /// The app's own code.
    pub user_code: Option<UserCode>,
    /// The user who asks was called and did not answer.
    pub missed: bool,
}
