//! Ring: a device has the invite, asks, and rings only when told that the call is alive.

use serde::{Deserialize, Serialize};

use crate::end::{EndReason, Release};
use crate::ids::Party;

/// "I have the invite, may I ring?" From a callee's device to the arbiter, and from there to the caller.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Alert {
    /// The device that asks; the server fills in the true one.
    pub callee: Party,
    /// When this is said, in ms since 1970 by the device; the answer brings it back, and by that the device knows which of its alerts it
    /// answers. Not passed on to the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_unix_ms: Option<u64>,
}

/// The arbiter's answer to an alert, and to the caller's invite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RingConfirm {
    /// The call is alive: ring until the deadline.
    Ring {
        /// When ringing ends, in ms of the server's wall clock.
        deadline_unix_ms: u64,
        /// How long it still rings from the moment at which this is said, in ms; `None` from an arbiter that does not tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        left_ms: Option<u32>,
        /// The [`Alert::asked_unix_ms`] that this answers; `None` to the caller, and from an arbiter that does not tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        asked_unix_ms: Option<u64>,
    },
    /// The call is over: do not ring.
    Over {
        /// How it ended for the receiver.
        reason: EndReason,
        /// What else was said about the end.
        release: Option<Release>,
    },
    /// The call never began. Only to the caller.
    Refused {
        /// Why.
        refusal: InviteRefusal,
    },
}

/// Why an invite was not taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum InviteRefusal {
    /// No such user.
    #[error("the callee is not a user of this app")]
    UnknownUser,
    /// It breaks a limit or makes no sense.
    #[error("the invite is not valid")]
    Invalid,
    /// Too many calls; come back later.
    #[error("too many calls")]
    TooMany,
    /// The server has more to do than it can; come back later.
    #[error("the server is too busy")]
    Overloaded,
    /// The access token of the caller's session has ended: it is to be renewed first.
    #[error("the access token has expired")]
    TokenExpired,
}
