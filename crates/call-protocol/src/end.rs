//! End: how a call ended, told to each party once, from that party's side.

use std::fmt;

use serde::{Deserialize, Serialize};

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
}

/// The call is over: from a party to the arbiter, from there to the other party, and back as the receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct End {
    /// From a party: how it ended for the sender. From the arbiter: how it ended for the receiver.
    pub reason: EndReason,
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
    fn what_one_party_did_is_what_the_other_saw() {
        for reason in [EndReason::Hangup, EndReason::Cancel, EndReason::Refuse, EndReason::NoResponse] {
            assert_eq!(reason.mirrored().mirrored(), reason);
            assert!(reason.mirrored().name().starts_with("remote_"));
        }
    }
}
