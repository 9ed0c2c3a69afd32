//! What an app asks outside of any call: where pushes reach its device, and which calls there were.

use callkit::{CallId, CallType, EndReason, PushAddress, UserId};

use crate::kit::CallKit;

/// Where a push reaches a device. What is in it is checked by the server.
#[uniffi::remote(Enum)]
pub enum PushAddress {
    /// Apple's service.
    Apns {
        /// The VoIP token (PushKit), hexadecimal.
        token: String,
        /// The token for remote notifications, hexadecimal.
        background_token: Option<String>,
        /// Whether the app was built for development.
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

/// A part of a user's history.
#[derive(uniffi::Record)]
pub struct HistoryPage {
    /// Newest first.
    pub calls: Vec<PastCall>,
    /// For the next page; empty at the end.
    pub cursor: String,
}

/// A call that is over.
#[derive(uniffi::Record)]
pub struct PastCall {
    /// The call.
    pub call_id: CallId,
    /// Who called.
    pub caller: UserId,
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
    pub user_code: Option<String>,
    /// The user who asks was called and did not answer.
    pub missed: bool,
}

impl From<callkit::PastCall> for PastCall {
    fn from(call: callkit::PastCall) -> PastCall {
        PastCall {
            call_id: call.call_id,
            caller: call.caller.user,
            callee: call.callee,
            call_type: call.call_type,
            began_unix_ms: call.began_unix_ms,
            ring_ms: call.ring_ms,
            talk_ms: call.talk_ms,
            reason: call.reason,
            disconnect_reason: call.disconnect_reason,
            disconnect_source: call.disconnect_source,
            user_code: call.user_code.map(|code| code.as_str().to_owned()),
            missed: call.missed,
        }
    }
}

/// Why a request outside of a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum AccountError {
    /// What was asked for makes no sense; the text says what.
    #[error("invalid parameter: {detail}")]
    InvalidParam {
        /// For the developer.
        detail: String,
    },
    /// The access token is not good, or no longer.
    #[error("the access token was refused")]
    TokenRefused,
    /// Too many requests; later is better.
    #[error("too many requests")]
    TooMany,
    /// The server cannot be reached, or did not understand; the text says why.
    #[error("the server cannot be reached: {detail}")]
    Unreachable {
        /// For the developer.
        detail: String,
    },
}

impl From<callkit::AccountError> for AccountError {
    fn from(error: callkit::AccountError) -> AccountError {
        match error {
            callkit::AccountError::InvalidParam(detail) => AccountError::InvalidParam { detail },
            callkit::AccountError::TokenRefused => AccountError::TokenRefused,
            callkit::AccountError::TooMany => AccountError::TooMany,
            callkit::AccountError::Unreachable(detail) => AccountError::Unreachable { detail },
            // One that is younger than this twin.
            other => AccountError::Unreachable { detail: other.to_string() },
        }
    }
}

#[uniffi::export(async_runtime = "tokio")]
impl CallKit {
    /// Has the server push calls for this device there while it is not connected; none ends that. It stays so until it is changed, or the
    /// push service says that the address is no more.
    pub async fn set_push_address(&self, address: Option<PushAddress>) -> Result<(), AccountError> {
        Ok(self.0.set_push_address(address).await?)
    }

    /// The user's calls that are over, newest first: at most `limit` (1 to 100), from `cursor` on, which is that of the page before, or
    /// empty. An empty cursor in the page says that there are no more.
    pub async fn history(&self, cursor: String, limit: u32, missed_only: bool) -> Result<HistoryPage, AccountError> {
        let page = self.0.history(&cursor, limit, missed_only).await?;
        Ok(HistoryPage { calls: page.calls.into_iter().map(Into::into).collect(), cursor: page.cursor })
    }
}
