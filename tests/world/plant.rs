//! Bugs planted on purpose: each breaks one rule, so that a test can show that its check sees it.

/// What is wrong in this world. No shipped code knows of it: the world itself lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// Rule 1: a phone that answers is told at once that it took the call, whatever the arbiter thinks.
    EveryAnswerCounts,
    /// Rule 2: an alert about a call that is over is confirmed as if it still rang.
    RingConfirmAfterEnd,
    /// Rule 2: a phone that rings has no clock.
    NoRingDeadline,
    /// Rule 3: the app is told every end twice.
    EndedTwice,
    /// Rule 3: the app is told an event of a call that it was told the end of.
    TalkAfterEnd,
    /// Rule 3: a cancelled callee is told that the caller hung up.
    WrongReason,
    /// Rule 3: an app is never told that the other one hung up.
    EndUntold,
    /// Rule 4: whatever anybody says about a call is taken as the arbiter's word.
    TrustsStrangers,
    /// Rule 6: a busy line says nothing.
    SilentWhenBusy,
    /// Rule 7: the server never looks at its clock.
    ServerWithoutClock,
    /// Rest: the server never forgets a call.
    ServerNeverForgets,
}

impl Plant {
    /// Every one.
    pub const ALL: [Plant; 11] = [
        Plant::EveryAnswerCounts,
        Plant::RingConfirmAfterEnd,
        Plant::NoRingDeadline,
        Plant::EndedTwice,
        Plant::TalkAfterEnd,
        Plant::WrongReason,
        Plant::EndUntold,
        Plant::TrustsStrangers,
        Plant::SilentWhenBusy,
        Plant::ServerWithoutClock,
        Plant::ServerNeverForgets,
    ];
}
