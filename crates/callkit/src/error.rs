//! What can go wrong, by who is at fault.

use call_protocol::session::RefuseReason;

pub(crate) use callkit_core::CallError;

/// Why signing in failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignInError {
    /// A parameter of the builder makes no sense; the text names it.
    #[error("invalid parameter: {0}")]
    InvalidParam(String),
    /// The server cannot be reached; the text says why.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    /// The server said no.
    #[error("{reason} ({detail})")]
    Refused {
        /// Why.
        reason: RefuseReason,
        /// For the developer.
        detail: String,
    },
}
