//! Everything that happens without a message.

/// Why a machine wants to be woken. Each line is the specification of its timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Line: a statement without a reply is said again after 1 s, 2 s, 4 s and then every 4 s, while its state lasts.
    Repeat,
    /// Line: a device that rings or is in a call says so every 3 s.
    KeepAlive,
    /// Line: an alert without ring confirmation is forgotten after 10 s; nothing has rung.
    Alert,
    /// Line, callee: ringing stops at the call's one deadline, whether or not the arbiter can be heard: no_response.
    RingDeadline,
    /// Line, caller: 5 s after the deadline the caller gives up on a silent arbiter: remote_no_response.
    CallerPatience,
    /// Line, callee: an answer without confirmation ends the call after 10 s: remote_drop.
    AnswerConfirm,
    /// Line: an arbiter that is another device and says nothing for 10 s is out of reach: what rings stops, remote_drop; of a running call the
    /// app is told, and it ends after 15 s, remote_drop.
    ArbiterLiveness,
    /// Line: a party that was said to be out of reach is taken to be back when the call goes on 5 s after it should have ended.
    PeerBack,
    /// Line: the last statement about a call that is over is said again up to 5 times until the arbiter has acknowledged it.
    Farewell,
    /// Arbiter: an invite is sent again after 1 s, 2 s, 4 s and then every 4 s, for devices that have not heard of it, while it rings.
    InviteRepeat,
    /// Arbiter: 2 s after the first device said that it is in another call the user is busy, if no other device rings by then. At once if
    /// every device known to be there has said so.
    BusyGrace,
    /// Arbiter: the one absolute deadline of a call: no answer until then ends it.
    Deadline,
    /// Arbiter: a caller that rings, or a party of an answered call, that is silent for 10 s is out of reach. Before the answer that ends the
    /// call; after it the other party is told. A device of the callee that is silent for so long while it rings does not ring any more.
    Liveness,
    /// Arbiter: a party of an answered call that stays out of reach until 15 s after it was last heard has dropped.
    ///
    /// Of both this counts only while the other party is heard, until 5 s after its last word: a time in which neither is heard is nobody's
    /// silence, as it may be the arbiter that is cut off. Nor is a time in which whoever runs the arbiter stood still.
    ResumeWindow,
    /// Arbiter: an answered call of which neither party was heard for 10 minutes is over.
    Abandoned,
    /// Arbiter: a call that is over answers late statements until 60 s after its end, or its deadline; then it is forgotten.
    Tombstone,
}
