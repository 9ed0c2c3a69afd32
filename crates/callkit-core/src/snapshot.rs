//! What every handle of a call can read.

use call_protocol::invite::CallType;
use call_protocol::{CallId, UserId};
use signaling::Role;

/// How far a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallState {
    /// The server is being asked.
    Trying,
    /// Caller: the callee is being notified, or rings.
    WaitAnswer,
    /// Callee: the call is alive, and rings here.
    Verified,
    /// It was accepted.
    Connected,
    /// It is over.
    Disconnected,
}

/// A call at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallSnapshot {
    /// Its id.
    pub call_id: CallId,
    /// The user at the other end.
    pub peer: UserId,
    /// The kind of call.
    pub call_type: CallType,
    /// Which side this is.
    pub role: Role,
    /// How far it is.
    pub state: CallState,
    /// It is on hold here.
    pub held: bool,
    /// The other one has put it on hold.
    pub peer_held: bool,
    /// The microphone is muted for it.
    pub muted: bool,
    /// The other one has muted its microphone.
    pub peer_muted: bool,
    /// The other one is not played here.
    pub peer_silenced: bool,
    /// It is connected without media until the callee has finished its preparation.
    pub preparing: bool,
}
