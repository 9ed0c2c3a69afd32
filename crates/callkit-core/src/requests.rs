//! What is asked of the app's handlers, and what they answer.

use call_protocol::{AppId, ChannelId, Uid, UserId};

/// A question to one of the app's handlers. Each is answered once; a handler that fails, is not there or takes too long has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// A channel token.
    RtcToken(RtcTokenRequest),
    /// Who is behind a uid.
    User {
        /// The channel.
        channel: ChannelId,
        /// The uid.
        uid: Uid,
    },
    /// An access token.
    AccessToken,
}

/// What a handler says. The text of an error is for the developer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Question::RtcToken`].
    RtcToken(Result<RtcToken, String>),
    /// To [`Question::User`].
    User(Result<UserMapper, String>),
    /// To [`Question::AccessToken`].
    AccessToken(Result<AccessToken, String>),
}

/// An access token: a JWT of the app's backend.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(pub String);

impl std::fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessToken").finish_non_exhaustive()
    }
}

/// For which channel a token is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtcTokenRequest {
    /// The channel to be joined.
    pub channel: ChannelId,
    /// The app.
    pub app_id: AppId,
    /// The uid of the token to be renewed; `None` when the app is free to choose.
    pub uid: Option<Uid>,
}

/// A channel token and the uid it is for.
#[derive(Clone, PartialEq, Eq)]
pub struct RtcToken {
    /// JWT with the claims of [`call_protocol::token::ChannelClaims`].
    pub token: String,
    /// The uid in the token.
    pub uid: Uid,
}

impl std::fmt::Debug for RtcToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RtcToken").field("uid", &self.uid).finish_non_exhaustive()
    }
}

/// Which users are behind the uids of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserMapper {
    /// The channel; an answer for another channel is ignored.
    pub channel: ChannelId,
    /// Uids and their users.
    pub users: Vec<(Uid, UserId)>,
}
