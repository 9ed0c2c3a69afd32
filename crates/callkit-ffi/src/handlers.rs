//! What the app supplies: tokens, and who is behind a uid.

use std::collections::HashMap;

use async_trait::async_trait;
use callkit::{AppId, ChannelId, RtcToken, RtcTokenRequest, Uid, UserId};

/// For which channel a token is wanted.
#[uniffi::remote(Record)]
pub struct RtcTokenRequest {
    /// The channel to be joined.
    pub channel: ChannelId,
    /// The app.
    pub app_id: AppId,
    /// The uid of the token to be renewed; none when the app is free to choose.
    pub uid: Option<Uid>,
}

/// A channel token and the uid it is for.
#[uniffi::remote(Record)]
pub struct RtcToken {
    /// JWT for one channel and uid.
    pub token: String,
    /// The uid in the token.
    pub uid: Uid,
}

/// Which users are behind the uids of a channel.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct UserMapper {
    /// The channel; an answer for another channel is ignored.
    pub channel: ChannelId,
    /// Uids and their users.
    pub users: HashMap<Uid, UserId>,
}

impl From<callkit::UserMapper> for UserMapper {
    fn from(mapper: callkit::UserMapper) -> UserMapper {
        UserMapper { channel: mapper.channel, users: mapper.users.into_iter().collect() }
    }
}

impl From<UserMapper> for callkit::UserMapper {
    fn from(mapper: UserMapper) -> callkit::UserMapper {
        callkit::UserMapper { channel: mapper.channel, users: mapper.users.into_iter().collect() }
    }
}

/// An app's handler failed. Whatever else a handler throws becomes this too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum HandlerError {
    /// The text is shown to the developer.
    #[error("{detail}")]
    Failed {
        /// For the developer.
        detail: String,
    },
}

impl From<uniffi::UnexpectedUniFFICallbackError> for HandlerError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> HandlerError {
        HandlerError::Failed { detail: error.reason }
    }
}

impl From<callkit::HandlerError> for HandlerError {
    fn from(error: callkit::HandlerError) -> HandlerError {
        HandlerError::Failed { detail: error.0 }
    }
}

impl From<HandlerError> for callkit::HandlerError {
    fn from(error: HandlerError) -> callkit::HandlerError {
        callkit::HandlerError(error.to_string())
    }
}

/// Supplies channel tokens.
#[uniffi::export(foreign)]
#[async_trait]
pub trait RtcTokenHandler: Send + Sync {
    /// A token for this request, from the app's own backend. Called as a call begins or rings, and again before the token expires.
    async fn rtc_token(&self, request: RtcTokenRequest) -> Result<RtcToken, HandlerError>;
}

/// Supplies access tokens.
#[uniffi::export(foreign)]
#[async_trait]
pub trait AccessTokenHandler: Send + Sync {
    /// A new access token of the signed-in user, from the app's own backend. Called before the present one ends, and when the server says
    /// that it has.
    async fn access_token(&self) -> Result<String, HandlerError>;
}

/// Tells who is behind a uid.
#[uniffi::export(foreign)]
#[async_trait]
pub trait UserMapperHandler: Send + Sync {
    /// The user behind this uid, and others if known. Asked once for each unknown uid.
    async fn map_user(&self, channel: ChannelId, uid: Uid) -> Result<UserMapper, HandlerError>;
}
