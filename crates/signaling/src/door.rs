//! The door of a line: what comes in and what goes out.

use call_protocol::end::{EndReason, Release};
use call_protocol::invite::{CallType, Ext, Invite, InviteError};
use call_protocol::media::NegotiationBody;
use call_protocol::ring::InviteRefusal;
use call_protocol::{CallId, CallMessage, Party, UserId};

use crate::time::Time;
use crate::timer::Timer;

/// Where a message comes from or goes to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// The server, which runs the arbiters.
    Server,
    /// A device: the caller's, where that one runs the arbiter; the other party's, for what is said on the media path.
    Device(Party),
}

/// What comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A message; the carrier vouches for its sender.
    Message {
        /// Who sent it.
        from: Address,
        /// What it says.
        message: CallMessage,
    },
    /// The carrier reaches the arbiter again: what waits for its next repetition is said now.
    Connected,
    /// The local user wants something.
    Command(Command),
    /// This device stood still for so long until now: that is nobody's silence.
    Stalled {
        /// For how long.
        ms: u64,
    },
    /// It is later now.
    Wake,
}

/// What the local user can want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Call somebody.
    Invite {
        /// 128 random bits.
        call_id: CallId,
        /// Who is called.
        callees: Vec<UserId>,
        /// The kind of call.
        call_type: CallType,
        /// The app's own data.
        ext: Ext,
        /// How long it may ring, in ms.
        ring_timeout_ms: u32,
        /// What else is offered and carried.
        options: InviteOptions,
    },
    /// Take the call that rings. A running call is put on hold.
    Answer {
        /// The call.
        call_id: CallId,
    },
    /// Take the call that rings, without media until the user is ready; as an answer where the caller has not offered that.
    AnswerToPrepare {
        /// The call.
        call_id: CallId,
    },
    /// Ask about a call of which a push told. If it rings it is alerted as if its invite had just come; if not, `Released` follows.
    Verify {
        /// The call.
        call_id: CallId,
    },
    /// Cancel, decline or end, by state, and say something about it.
    Release {
        /// The call.
        call_id: CallId,
        /// What is said.
        release: Release,
    },
    /// Cancel, decline or end, by state.
    Hangup {
        /// The call.
        call_id: CallId,
    },
    /// Put a running call on hold, or go on with it. At most one call is not on hold: going on with one holds the other.
    Hold {
        /// The call.
        call_id: CallId,
        /// On hold, or not.
        held: bool,
        /// Why it is put on hold, for the other one's app; at most [`NOTE_BYTES`](call_protocol::limits::NOTE_BYTES).
        reason: Option<String>,
    },
    /// Tell a device at the other end a step of setting the media up: while it calls, one that has alerted; else the other party.
    Negotiate {
        /// The call.
        call_id: CallId,
        /// The device.
        to: Party,
        /// The step.
        body: NegotiationBody,
    },
    /// The call cannot go on: its media failed for good.
    Fail {
        /// The call.
        call_id: CallId,
        /// How it ends for the local user: error or remote_drop.
        reason: EndReason,
    },
}

/// What a caller offers and carries beside the invitation itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct InviteOptions {
    /// The callee may take the call without media and prepare itself.
    pub responder_preparation: bool,
    /// For the app's own backend.
    pub app_server_data: String,
}

/// Why a command was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is a call already.
    #[error("there is a call already")]
    Busy,
    /// There is no such call, or no longer.
    #[error("there is no such call")]
    NoSuchCall,
    /// The call does not ring here.
    #[error("the call does not ring here")]
    NotRinging,
    /// The call is not answered yet.
    #[error("the call is not answered yet")]
    NotAnswered,
    /// That device has no part in the call.
    #[error("that device has no part in the call")]
    NoSuchDevice,
    /// The other device has not acknowledged the last 64 steps.
    #[error("too many steps of negotiation wait for the other device")]
    TooManySteps,
    /// The invite breaks a limit.
    #[error(transparent)]
    Invite(#[from] InviteError),
}

/// Which side of a call this device is on. The caller makes the offer when the media is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// It called.
    Caller,
    /// It was called.
    Callee,
}

/// What goes out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Output {
    /// Carry this there.
    Send {
        /// Who is to get it.
        to: Address,
        /// What it says.
        message: CallMessage,
    },
    /// Say this on the media path to that device, if it stands; else drop it. The same has been sent to the arbiter.
    Direct {
        /// Who is to get it, as a message from [`Address::Device`] of this device.
        to: Party,
        /// What it says.
        message: CallMessage,
    },
    /// Tell the app.
    Tell(Event),
    /// Come back at this time at the latest; replaces the time said before.
    WakeAt(Time, Timer),
}

/// What the app is told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// Caller: the arbiter took the call up, and has the callee notified. Once; what a device of the callee says may come before it.
    Notifying {
        /// The call.
        call_id: CallId,
    },
    /// Caller: a device of the callee has the invite and is about to ring. Once for each device.
    Alerted {
        /// The call.
        call_id: CallId,
        /// The device that is about to ring.
        callee: Party,
    },
    /// Callee: ring.
    Ringing {
        /// Who calls, and how.
        invite: Box<Invite>,
        /// There is a running call: this one waits beside it.
        waiting: bool,
    },
    /// The two parties called each other. The call placed here is over and goes on as the other one's, which is being answered;
    /// `Accepted` or `Ended` of that one follows.
    Merged {
        /// The call that was placed here; nothing is told of it after this.
        old: CallId,
        /// The call it goes on as, with the kind both can hold.
        invite: Box<Invite>,
    },
    /// Caller: a device says on the media path that its user accepts; the arbiter has not said yet that it takes the call. Sound may be
    /// opened towards it.
    Answering {
        /// The call.
        call_id: CallId,
        /// The device.
        peer: Party,
    },
    /// The call was accepted: join its channel.
    Accepted {
        /// The call, with the kind that was accepted.
        invite: Box<Invite>,
        /// Which side this is.
        role: Role,
        /// The device at the other end.
        peer: Party,
        /// There is to be no media until the callee has finished its preparation.
        preparation: bool,
    },
    /// A call that was asked about does not ring, or no longer; it never rang here.
    Released {
        /// The call.
        call_id: CallId,
        /// How it ended for this user; error if that could not be learned in time.
        reason: EndReason,
        /// What else was said about the end.
        release: Option<Release>,
    },
    /// The call never began; `Ended` with error follows.
    Failed {
        /// The call.
        call_id: CallId,
        /// Why.
        refusal: InviteRefusal,
    },
    /// A device at the other end says a step of setting the media up; in order, each once.
    Negotiation {
        /// The call.
        call_id: CallId,
        /// Which device.
        from: Party,
        /// The step.
        body: NegotiationBody,
    },
    /// The call was put on hold here, or goes on.
    Held {
        /// The call.
        call_id: CallId,
        /// On hold, or not.
        held: bool,
    },
    /// The other party put the call on hold, or goes on with it.
    PeerHeld {
        /// The call.
        call_id: CallId,
        /// On hold, or not.
        held: bool,
        /// Why, if it says.
        reason: Option<String>,
    },
    /// The other party cannot be heard by the arbiter at the moment, or is back.
    Reachability {
        /// The call.
        call_id: CallId,
        /// Whether it can be heard.
        reachable: bool,
        /// How long until the call ends if it stays away, in ms.
        ends_in_ms: u32,
    },
    /// The call is over; told once for every call that was told before.
    Ended {
        /// The call.
        call_id: CallId,
        /// How.
        reason: EndReason,
        /// Which side this was.
        role: Role,
        /// What else was said about the end.
        release: Option<Release>,
    },
    /// Somebody called, no device of the user answered, and this one did not ring: it was busy, away, or asked too late.
    Missed {
        /// The call.
        invite: Box<Invite>,
    },
}

/// What a line does at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing.
    Idle,
    /// It calls.
    Calling(CallId),
    /// It rings.
    Ringing(CallId),
    /// It answered and waits for the confirmation.
    Answering(CallId),
    /// It is in a call.
    InCall(CallId),
}
