//! What can go wrong, by who is at fault.

use call_protocol::media::JoinRefusal;

/// Which part of a call an error comes from. The numbers are the documented ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The call itself.
    Process = 0,
    /// Media: devices, channel, path.
    Rtc = 1,
    /// Messages: sign-in, connection.
    Im = 2,
}

/// Why something about a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// A parameter makes no sense; the text names it.
    #[error("invalid parameter: {0}")]
    InvalidParam(String),
    /// There is a call already.
    #[error("there is a call already")]
    Busy,
    /// The app's token handler failed or there is none; the text says why.
    #[error("no channel token: {0}")]
    FetchTokenFailed(String),
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
    /// `init_rtc()` must come first.
    #[error("call init_rtc() before making or answering a call")]
    NotInitialized,
    /// The channel did not let the local user in.
    #[error("not let into the channel: {0}")]
    Join(JoinRefusal),
    /// An audio device failed; the call goes on without it.
    #[error("audio device: {0}")]
    Device(String),
    /// Media could not be set up, or broke for good.
    #[error("media: {0}")]
    Media(String),
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

impl CallError {
    /// Which part of the call it comes from.
    pub fn kind(&self) -> ErrorKind {
        match self {
            CallError::InvalidParam(_)
            | CallError::Busy
            | CallError::FetchTokenFailed(_)
            | CallError::Refused
            | CallError::UnknownUser
            | CallError::TooManyCalls
            | CallError::ServerBusy
            | CallError::NoSuchCall
            | CallError::NotRinging
            | CallError::NotAnswered => ErrorKind::Process,
            CallError::NotInitialized | CallError::Join(_) | CallError::Device(_) | CallError::Media(_) => {
                ErrorKind::Rtc
            }
            CallError::Disconnected | CallError::SignedOut => ErrorKind::Im,
        }
    }

    /// The documented code: general 1, invalid_param 100, busy 101, fetch_token_failed 102.
    pub fn code(&self) -> u32 {
        match self {
            CallError::InvalidParam(_) => 100,
            CallError::Busy => 101,
            CallError::FetchTokenFailed(_) => 102,
            CallError::Refused
            | CallError::UnknownUser
            | CallError::TooManyCalls
            | CallError::ServerBusy
            | CallError::NoSuchCall
            | CallError::NotRinging
            | CallError::NotInitialized
            | CallError::Join(_)
            | CallError::Device(_)
            | CallError::Media(_)
            | CallError::Disconnected
            | CallError::SignedOut
            | CallError::NotAnswered => 1,
        }
    }
}

impl From<signaling::CommandError> for CallError {
    fn from(error: signaling::CommandError) -> Self {
        match error {
            signaling::CommandError::Busy => CallError::Busy,
            signaling::CommandError::NoSuchCall => CallError::NoSuchCall,
            signaling::CommandError::NotRinging => CallError::NotRinging,
            signaling::CommandError::NotAnswered => CallError::NotAnswered,
            // Steps of negotiation are not the app's.
            signaling::CommandError::NoSuchDevice | signaling::CommandError::TooManySteps => CallError::NoSuchCall,
            signaling::CommandError::Invite(error) => CallError::InvalidParam(error.to_string()),
        }
    }
}
