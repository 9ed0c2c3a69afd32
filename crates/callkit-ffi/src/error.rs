//! What can go wrong, by who is at fault.

use std::fmt::Display;

use callkit::{ErrorKind, JoinRefusal, RefuseReason};

/// Which part of a call an error comes from. The numbers are the documented ones.
#[uniffi::remote(Enum)]
pub enum ErrorKind {
    /// The call itself.
    Process = 0,
    /// Media: devices, channel, path.
    Rtc = 1,
    /// Messages: sign-in, connection.
    Im = 2,
}

/// Why a join was refused.
#[uniffi::remote(Enum)]
pub enum JoinRefusal {
    /// The token is not signed by the app, or is for another channel, uid or app.
    TokenInvalid,
    /// The token's time is over.
    TokenExpired,
    /// No room.
    ChannelFull,
    /// Another member has this uid.
    UidTaken,
}

/// Why the server ends a session.
#[uniffi::remote(Enum)]
pub enum RefuseReason {
    /// The access token is not signed by the app, or is for another app or user.
    TokenInvalid,
    /// The access token's time is over.
    TokenExpired,
    /// The server does not serve this app.
    AppUnknown,
    /// The first frame is missing, late or unsound.
    BadHello,
    /// The client is too old or too new.
    VersionUnsupported,
    /// The same device signed in again elsewhere.
    Replaced,
    /// The server stops; come back soon.
    ShuttingDown,
    /// A frame was out of order, too large or unsound.
    BadFrame,
    /// The client does not read what it is sent.
    TooSlow,
    /// Too many of something; come back later.
    TooMany,
    /// The server has more to do than it can; come back later.
    Overloaded,
    /// The app's backend signed the user out.
    SignedOut,
    /// A reason of a newer server.
    Unknown,
}

/// Why something about a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum CallError {
    /// A parameter makes no sense; the text names it.
    #[error("invalid parameter: {detail}")]
    InvalidParam {
        /// For the developer.
        detail: String,
    },
    /// There is a call already.
    #[error("there is a call already")]
    Busy,
    /// The app's token handler failed or there is none; the text says why.
    #[error("no channel token: {detail}")]
    FetchTokenFailed {
        /// For the developer.
        detail: String,
    },
    /// The callee said no.
    #[error("the callee declined")]
    Refused,
    /// The callee is not a user of this app.
    #[error("the callee is not a user of this app")]
    UnknownUser,
    /// Too many calls for now.
    #[error("too many calls; try again later")]
    TooManyCalls,
    /// The server has more to do than it can.
    #[error("the server is too busy; try again later")]
    ServerBusy,
    /// There is no such call, or no longer.
    #[error("there is no such call")]
    NoSuchCall,
    /// The call does not ring here.
    #[error("the call does not ring here")]
    NotRinging,
    /// Readying the media engine must come first.
    #[error("ready the media engine (init_rtc, initRtc) before making or answering a call")]
    NotInitialized,
    /// The channel did not let the local user in.
    #[error("not let into the channel: {refusal}")]
    Join {
        /// Why.
        refusal: JoinRefusal,
    },
    /// An audio device failed; the call goes on without it.
    #[error("audio device: {detail}")]
    Device {
        /// For the developer.
        detail: String,
    },
    /// Media could not be set up, or broke for good.
    #[error("media: {detail}")]
    Media {
        /// For the developer.
        detail: String,
    },
    /// No connection to the server at the moment; it is being restored.
    #[error("no connection to the server at the moment")]
    Disconnected,
    /// The kit is signed out.
    #[error("signed out")]
    SignedOut,
    /// The call is not answered yet.
    #[error("the call is not answered yet")]
    NotAnswered,
}

#[uniffi::export]
impl CallError {
    /// Which part of the call it comes from.
    pub fn kind(&self) -> ErrorKind {
        callkit::CallError::from(self.clone()).kind()
    }

    /// The documented code: general 1, invalid_param 100, busy 101, fetch_token_failed 102.
    pub fn code(&self) -> u32 {
        callkit::CallError::from(self.clone()).code()
    }

    /// The error in a sentence, in English, for logs.
    pub fn text(&self) -> String {
        self.to_string()
    }
}

impl CallError {
    pub(crate) fn unfit(what: &str, why: impl Display) -> CallError {
        CallError::InvalidParam { detail: format!("{what}: {why}") }
    }
}

impl From<callkit::CallError> for CallError {
    fn from(error: callkit::CallError) -> CallError {
        match error {
            callkit::CallError::InvalidParam(detail) => CallError::InvalidParam { detail },
            callkit::CallError::Busy => CallError::Busy,
            callkit::CallError::FetchTokenFailed(detail) => CallError::FetchTokenFailed { detail },
            callkit::CallError::Refused => CallError::Refused,
            callkit::CallError::UnknownUser => CallError::UnknownUser,
            callkit::CallError::TooManyCalls => CallError::TooManyCalls,
            callkit::CallError::ServerBusy => CallError::ServerBusy,
            callkit::CallError::NoSuchCall => CallError::NoSuchCall,
            callkit::CallError::NotRinging => CallError::NotRinging,
            callkit::CallError::NotInitialized => CallError::NotInitialized,
            callkit::CallError::Join(refusal) => CallError::Join { refusal },
            callkit::CallError::Device(detail) => CallError::Device { detail },
            callkit::CallError::Media(detail) => CallError::Media { detail },
            callkit::CallError::Disconnected => CallError::Disconnected,
            callkit::CallError::SignedOut => CallError::SignedOut,
            callkit::CallError::NotAnswered => CallError::NotAnswered,
            // One that is younger than this twin.
            other => CallError::Media { detail: other.to_string() },
        }
    }
}

impl From<CallError> for callkit::CallError {
    fn from(error: CallError) -> callkit::CallError {
        match error {
            CallError::InvalidParam { detail } => callkit::CallError::InvalidParam(detail),
            CallError::Busy => callkit::CallError::Busy,
            CallError::FetchTokenFailed { detail } => callkit::CallError::FetchTokenFailed(detail),
            CallError::Refused => callkit::CallError::Refused,
            CallError::UnknownUser => callkit::CallError::UnknownUser,
            CallError::TooManyCalls => callkit::CallError::TooManyCalls,
            CallError::ServerBusy => callkit::CallError::ServerBusy,
            CallError::NoSuchCall => callkit::CallError::NoSuchCall,
            CallError::NotRinging => callkit::CallError::NotRinging,
            CallError::NotInitialized => callkit::CallError::NotInitialized,
            CallError::Join { refusal } => callkit::CallError::Join(refusal),
            CallError::Device { detail } => callkit::CallError::Device(detail),
            CallError::Media { detail } => callkit::CallError::Media(detail),
            CallError::Disconnected => callkit::CallError::Disconnected,
            CallError::SignedOut => callkit::CallError::SignedOut,
            CallError::NotAnswered => callkit::CallError::NotAnswered,
        }
    }
}

/// Why signing in failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum SignInError {
    /// A parameter of the configuration makes no sense; the text names it.
    #[error("invalid parameter: {detail}")]
    InvalidParam {
        /// For the developer.
        detail: String,
    },
    /// The server cannot be reached; the text says why.
    #[error("the server cannot be reached: {detail}")]
    Unreachable {
        /// For the developer.
        detail: String,
    },
    /// The server said no.
    #[error("{reason} ({detail})")]
    Refused {
        /// Why.
        reason: RefuseReason,
        /// For the developer.
        detail: String,
    },
}

#[uniffi::export]
impl SignInError {
    /// The error in a sentence, in English, for logs.
    pub fn text(&self) -> String {
        self.to_string()
    }
}

impl SignInError {
    pub(crate) fn unfit(what: &str, why: impl Display) -> SignInError {
        SignInError::InvalidParam { detail: format!("{what}: {why}") }
    }
}

impl From<callkit::SignInError> for SignInError {
    fn from(error: callkit::SignInError) -> SignInError {
        match error {
            callkit::SignInError::InvalidParam(detail) => SignInError::InvalidParam { detail },
            callkit::SignInError::Unreachable(detail) => SignInError::Unreachable { detail },
            callkit::SignInError::Refused { reason, detail } => SignInError::Refused { reason, detail },
            // One that is younger than this twin.
            other => SignInError::Unreachable { detail: other.to_string() },
        }
    }
}
