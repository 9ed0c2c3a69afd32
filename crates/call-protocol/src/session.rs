//! Sign-in and the numbered frames between a device and the server.

use serde::{Deserialize, Serialize};

use crate::media::{ChannelEvent, ChannelRequest};
use crate::message::CallMessage;

/// The version of the protocol spoken here. A server refuses a version it does not know.
pub const PROTOCOL_VERSION: u32 = 1;

/// How often a client pings by default, in ms. Three pings fit into the silence limit.
pub const PING_EVERY_MS: u32 = 3_000;
/// After how much silence a stream is given up by default, in ms (liveness).
pub const SILENCE_LIMIT_MS: u32 = 10_000;
/// How long a broken session can be resumed by default, in ms.
pub const RESUME_WINDOW_MS: u32 = 15_000;

/// The first frame of a client.
#[derive(Clone, PartialEq, Eq)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`].
    pub protocol_version: u32,
    /// The app.
    pub app_id: String,
    /// JWT HS256 by the app's backend ([`crate::token::AccessClaims`]).
    pub access_token: String,
    /// The user who is meant to sign in. The token decides who it is; a token of somebody else is refused.
    pub user: String,
    /// The device that signs in.
    pub device: String,
    /// The session to go on with.
    pub resume: Option<Resume>,
    /// Free text for the server's log.
    pub agent: String,
    /// In place of an access token: the sign-in counts for the call of this parameter alone ([`crate::CcParam`]). Empty if there is none.
    pub cc_param: String,
    /// The device is there for one call and gone with it: nothing is remembered of it, and it is told of no missed calls.
    pub for_one_call: bool,
}

impl std::fmt::Debug for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hello")
            .field("version", &self.protocol_version)
            .field("resume", &self.resume)
            .finish_non_exhaustive()
    }
}

/// Where a broken session stands at the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// The session's name.
    pub session: String,
    /// The highest number received in it.
    pub received: u64,
}

/// The server's reply to a good [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The session's name, for a resume.
    pub session: String,
    /// Whether it is the one that was to be resumed.
    pub resumed: bool,
    /// The highest number the server received in a resumed session.
    pub received: u64,
    /// The server's wall clock in ms.
    pub server_unix_ms: u64,
    /// How often the client pings, in ms.
    pub ping_every_ms: u32,
    /// After how much silence either side gives the stream up, in ms.
    pub silence_limit_ms: u32,
    /// How long a broken session can be resumed, in ms.
    pub resume_window_ms: u32,
    /// Servers for server-reflexive candidates, "stun:host:port".
    pub stun_servers: Vec<String>,
    /// How long the access token of the session is good from now on, in ms; `None` where that has no end or is not told.
    pub access_left_ms: Option<u64>,
}

/// How the access token of a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessStatus {
    /// How long it is good from now on, in ms; zero when it has ended.
    pub left_ms: u64,
    /// Why a new token was not taken; the one before it counts. A reason unknown here is that the token is not valid.
    pub refused: Option<RefuseReason>,
}

/// Why the server ends a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum RefuseReason {
    /// The access token is not signed by the app, or is for another app or user.
    #[error("the access token is not valid")]
    TokenInvalid,
    /// The access token's time is over.
    #[error("the access token has expired")]
    TokenExpired,
    /// The server does not serve this app.
    #[error("the app is not known to the server")]
    AppUnknown,
    /// The first frame is missing, late or unsound.
    #[error("the sign-in was not understood")]
    BadHello,
    /// The client is too old or too new.
    #[error("this version of the protocol is not served")]
    VersionUnsupported,
    /// The same device signed in again elsewhere.
    #[error("the device signed in again elsewhere")]
    Replaced,
    /// The server stops; come back soon.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// A frame was out of order, too large or unsound.
    #[error("a frame was not understood")]
    BadFrame,
    /// The client does not read what it is sent.
    #[error("the client is too slow")]
    TooSlow,
    /// Too many of something; come back later.
    #[error("too many requests")]
    TooMany,
    /// The server has more to do than it can; come back later.
    #[error("the server is too busy")]
    Overloaded,
    /// The app's backend signed the user out.
    #[error("signed out by the app's backend")]
    SignedOut,
    /// A reason of a newer server.
    #[error("refused for a reason unknown here")]
    Unknown,
}

impl RefuseReason {
    /// Whether trying again with the same token can help.
    pub fn is_passing(self) -> bool {
        match self {
            RefuseReason::ShuttingDown
            | RefuseReason::TooSlow
            | RefuseReason::TooMany
            | RefuseReason::Overloaded
            | RefuseReason::BadFrame => true,
            RefuseReason::TokenInvalid
            | RefuseReason::TokenExpired
            | RefuseReason::AppUnknown
            | RefuseReason::BadHello
            | RefuseReason::VersionUnsupported
            | RefuseReason::Replaced
            | RefuseReason::SignedOut
            | RefuseReason::Unknown => false,
        }
    }
}

/// The server's last frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refuse {
    /// Why.
    pub reason: RefuseReason,
    /// For the developer who reads the log.
    pub detail: String,
}

/// What a client sends.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientFrame {
    /// Counts from 1; zero for frames that are not numbered.
    pub seq: u64,
    /// The highest number received from the server.
    pub ack: u64,
    /// What it holds; `None` is a bare acknowledgement or a kind unknown here.
    pub body: Option<ClientBody>,
}

/// The kinds of [`ClientFrame`].
#[derive(Clone, PartialEq)]
pub enum ClientBody {
    /// Sign in.
    Hello(Hello),
    /// For the arbiter of a call.
    Call(CallMessage),
    /// For a channel.
    Channel(ChannelRequest),
    /// Are you there?
    Ping {
        /// Comes back in the pong.
        nonce: u64,
    },
    /// Sign out.
    Goodbye,
    /// The access token from now on: JWT HS256 by the app's backend ([`crate::token::AccessClaims`]).
    RenewAccess {
        /// Of the same user.
        access_token: String,
    },
}

impl std::fmt::Debug for ClientBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ClientBody::Hello(hello) => f.debug_tuple("Hello").field(hello).finish(),
            ClientBody::Call(message) => f.debug_tuple("Call").field(message).finish(),
            ClientBody::Channel(request) => f.debug_tuple("Channel").field(request).finish(),
            ClientBody::Ping { nonce } => f.debug_struct("Ping").field("nonce", nonce).finish(),
            ClientBody::Goodbye => f.write_str("Goodbye"),
            ClientBody::RenewAccess { .. } => f.debug_struct("RenewAccess").finish_non_exhaustive(),
        }
    }
}

/// What the server sends.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerFrame {
    /// Counts from 1; zero for frames that are not numbered.
    pub seq: u64,
    /// The highest number received from the client.
    pub ack: u64,
    /// What it holds; `None` is a bare acknowledgement or a kind unknown here.
    pub body: Option<ServerBody>,
}

/// The kinds of [`ServerFrame`].
#[derive(Debug, Clone, PartialEq)]
pub enum ServerBody {
    /// You are signed in.
    Welcome(Welcome),
    /// The stream ends.
    Refuse(Refuse),
    /// From the arbiter of a call.
    Call(CallMessage),
    /// From a channel.
    Channel(ChannelEvent),
    /// Yes, I am here.
    Pong {
        /// That of the ping.
        nonce: u64,
        /// The server's wall clock in ms.
        server_unix_ms: u64,
    },
    /// How the access token stands: in answer to a new one, and when it is about to end.
    Access(AccessStatus),
}
