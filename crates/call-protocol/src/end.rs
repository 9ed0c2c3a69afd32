//! End: how a call ended, told to each party once, from that party's side.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::disconnect::{DisconnectReason, DisconnectSource};
use crate::limits;

/// How a call ended, as the one who is told sees it. The numbers are those on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The local user hung up.
    Hangup = 1,
    /// The other one hung up.
    RemoteHangup = 2,
    /// The local user called and gave up before an answer.
    Cancel = 3,
    /// The caller gave up before an answer.
    RemoteCancel = 4,
    /// The local user said no.
    Refuse = 5,
    /// The callee said no.
    RemoteRefuse = 6,
    /// The callee is in another call; at a callee: it answered so by itself.
    Busy = 7,
    /// The local user did not answer in time.
    NoResponse = 8,
    /// The callee did not answer in time.
    RemoteNoResponse = 9,
    /// Another device of the local user took the call.
    AnsweredElsewhere = 10,
    /// Another device of the local user said no.
    RefusedElsewhere = 11,
    /// The other one can no longer be heard.
    RemoteDrop = 12,
    /// Something failed; an error event says what.
    Error = 13,
}

impl EndReason {
    /// Every reason.
    pub const ALL: [EndReason; 13] = [
        EndReason::Hangup,
        EndReason::RemoteHangup,
        EndReason::Cancel,
        EndReason::RemoteCancel,
        EndReason::Refuse,
        EndReason::RemoteRefuse,
        EndReason::Busy,
        EndReason::NoResponse,
        EndReason::RemoteNoResponse,
        EndReason::AnsweredElsewhere,
        EndReason::RefusedElsewhere,
        EndReason::RemoteDrop,
        EndReason::Error,
    ];

    /// The documented name, in snake case.
    pub fn name(self) -> &'static str {
        match self {
            EndReason::Hangup => "hangup",
            EndReason::RemoteHangup => "remote_hangup",
            EndReason::Cancel => "cancel",
            EndReason::RemoteCancel => "remote_cancel",
            EndReason::Refuse => "refuse",
            EndReason::RemoteRefuse => "remote_refuse",
            EndReason::Busy => "busy",
            EndReason::NoResponse => "no_response",
            EndReason::RemoteNoResponse => "remote_no_response",
            EndReason::AnsweredElsewhere => "answered_elsewhere",
            EndReason::RefusedElsewhere => "refused_elsewhere",
            EndReason::RemoteDrop => "remote_drop",
            EndReason::Error => "error",
        }
    }

    /// The same end, as the other party sees it.
    pub fn mirrored(self) -> EndReason {
        match self {
            EndReason::Hangup => EndReason::RemoteHangup,
            EndReason::RemoteHangup => EndReason::Hangup,
            EndReason::Cancel => EndReason::RemoteCancel,
            EndReason::RemoteCancel => EndReason::Cancel,
            EndReason::Refuse => EndReason::RemoteRefuse,
            EndReason::RemoteRefuse => EndReason::Refuse,
            EndReason::NoResponse => EndReason::RemoteNoResponse,
            EndReason::RemoteNoResponse => EndReason::NoResponse,
            EndReason::Busy => EndReason::Busy,
            EndReason::AnsweredElsewhere | EndReason::RefusedElsewhere => EndReason::RemoteHangup,
            EndReason::RemoteDrop => EndReason::RemoteDrop,
            EndReason::Error => EndReason::RemoteDrop,
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The caller gives up before an answer; the arbiter tells every device of the callee.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cancel {
    /// How the call ended for the receiver of this message.
    pub reason: EndReason,
    /// What else is said about it.
    pub release: Option<Release>,
}

/// The call is over: from a party to the arbiter, from there to the other party, and back as the receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct End {
    /// From a party: how it ended for the sender. From the arbiter: how it ended for the receiver.
    pub reason: EndReason,
    /// What else is said about it.
    pub release: Option<Release>,
}

impl From<EndReason> for Cancel {
    fn from(reason: EndReason) -> Cancel {
        Cancel { reason, release: None }
    }
}

impl From<EndReason> for End {
    fn from(reason: EndReason) -> End {
        End { reason, release: None }
    }
}

/// What is said about an end beyond its reason, the same to both parties: by the app of whoever ended it, or by the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Release {
    /// Why, by the names of the face of one call.
    pub reason: DisconnectReason,
    /// Who ended it.
    pub source: DisconnectSource,
    /// The app's own code.
    pub user_code: Option<UserCode>,
}

/// An app's own code for an end: 1 to [`USER_CODE_BYTES`](crate::limits::USER_CODE_BYTES) bytes of text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserCode {
    /// What is unused is zero, so that equal texts are equal.
    bytes: [u8; limits::USER_CODE_BYTES],
    len: u8,
}

/// A code that cannot be one: it is empty or too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a code has 1 to {} bytes", limits::USER_CODE_BYTES)]
pub struct UserCodeError;

impl UserCode {
    /// The code with this text.
    pub fn new(text: &str) -> Result<UserCode, UserCodeError> {
        let mut bytes = [0; limits::USER_CODE_BYTES];
        let room = bytes.get_mut(..text.len()).filter(|room| !room.is_empty()).ok_or(UserCodeError)?;
        room.copy_from_slice(text.as_bytes());
        let len = u8::try_from(text.len()).map_err(|_| UserCodeError)?;
        Ok(UserCode { bytes, len })
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        // Only whole texts get in.
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl fmt::Debug for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserCode({:?})", self.as_str())
    }
}

impl fmt::Display for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for UserCode {
    type Error = UserCodeError;

    fn try_from(text: String) -> Result<UserCode, UserCodeError> {
        UserCode::new(&text)
    }
}

impl From<UserCode> for String {
    fn from(code: UserCode) -> String {
        code.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_wires_and_all_is_complete() {
        for (at, reason) in EndReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at + 1);
        }
    }

    #[test]
    fn a_code_is_a_short_text() {
        let longest = "x".repeat(limits::USER_CODE_BYTES);
        assert_eq!(UserCode::new(&longest).unwrap().as_str(), longest);
        assert_eq!(UserCode::new("fraud é").unwrap().to_string(), "fraud é");
        assert_eq!(UserCode::new(""), Err(UserCodeError));
        assert_eq!(UserCode::new(&"x".repeat(limits::USER_CODE_BYTES + 1)), Err(UserCodeError));
    }

    #[test]
    fn what_one_party_did_is_what_the_other_saw() {
        for reason in [EndReason::Hangup, EndReason::Cancel, EndReason::Refuse, EndReason::NoResponse] {
            assert_eq!(reason.mirrored().mirrored(), reason);
            assert!(reason.mirrored().name().starts_with("remote_"));
        }
    }
}
