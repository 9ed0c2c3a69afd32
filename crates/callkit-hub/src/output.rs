//! The way out: what a hub wants done.

use call_protocol::account::PushAddress;
use call_protocol::disconnect::{DisconnectReason, DisconnectSource};
use call_protocol::end::EndReason;
use call_protocol::invite::{CallType, Invite};
use call_protocol::media::Quality;
use call_protocol::ring::InviteRefusal;
use call_protocol::session::RefuseReason;
use call_protocol::{CallId, DeviceId, Party, UserId};
use signaling::ArbiterSnapshot;

use crate::frame::Frame;
use crate::ids::{AppNo, CallKey, LookUpId, RequestId, StreamId};
use crate::record::CallRecord;

/// What is to be done, in this order.
#[derive(Debug)]
pub enum Output {
    /// Send this by that stream, if it is still there. Where it finds no room, [`Input::TooSlow`](crate::Input::TooSlow) says so.
    Send {
        /// The stream.
        stream: StreamId,
        /// What it is sent.
        frame: Frame,
    },
    /// End a stream after what was sent, and after this, for which there may be no room either.
    Close {
        /// The stream.
        stream: StreamId,
        /// Why it ends.
        refusal: Option<Frame>,
    },
    /// End a stream now, whether its client reads or not.
    Cut(StreamId),
    /// The reply to a request.
    Reply {
        /// Which request.
        id: RequestId,
        /// What it is.
        reply: Reply,
    },
    /// Store this, soon.
    Store(Change),
    /// Look this up; [`Input::Found`](crate::Input::Found) is to follow.
    LookUp {
        /// Names what is found.
        id: LookUpId,
        /// What is wanted.
        query: Query,
    },
    /// Tell an app's backend, soon.
    Webhook(Box<Webhook>),
    /// Push a device, soon; [`Input::Delivery`](crate::Input::Delivery) is to follow one to ring.
    Push(Box<Push>),
    /// From now on pushes to ring may go out for this call.
    RingBegan(CallKey),
    /// A push to ring that has not gone out is to go no more.
    RingEnded(CallKey),
    /// This session can be gone on with from now on.
    SessionBegan(String),
    /// This session is gone.
    SessionEnded(String),
    /// Say who was heard when, in the very next input: [`Input::Heard`](crate::Input::Heard).
    AskWhoWasHeard,
    /// Nobody could be heard for so long until now, in ms: that is nobody's silence.
    Stalled {
        /// For how long.
        ms: u64,
    },
    /// For the metrics.
    Fact(Fact),
}

/// The reply to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// How a call is for the callee who asked, or was before it said no.
    Status(CallStatus),
    /// What a push would have brought; none if no call rings.
    Param(Option<CallParam>),
    /// How many sessions or calls were ended.
    Ended(usize),
}

/// What a call is for a callee who asks about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallStatus {
    /// It rings.
    Rings {
        /// Until then, in ms since 1970.
        deadline_unix_ms: u64,
    },
    /// It was answered, or is over, or never was.
    Released,
}

/// A change of what is stored.
#[derive(Debug)]
pub enum Change {
    /// The call as it is now.
    Save(CallKey, Box<ArbiterSnapshot>),
    /// The call can be forgotten.
    Forget(CallKey),
    /// A call is over.
    Record(AppNo, Box<CallRecord>),
    /// A device was here, and knows of every call that it missed up to the one of this number.
    Seen {
        /// The app.
        app: AppNo,
        /// The user and the device.
        party: Party,
        /// The number.
        knows: u64,
    },
}

/// What is to be looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// The devices of a user, for pushes that ring: nothing is to wait before it.
    DevicesToPush {
        /// The app.
        app: AppNo,
        /// The user.
        user: UserId,
    },
    /// The devices of a user, with every change of before.
    Devices {
        /// The app.
        app: AppNo,
        /// The user.
        user: UserId,
    },
    /// The calls that a user missed whose numbers are higher, and before them some older ones.
    Missed {
        /// The app.
        app: AppNo,
        /// The user.
        user: UserId,
        /// The number.
        after: u64,
        /// How many older ones.
        older: usize,
    },
}

/// What a cc_param says. The shell seals it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallParam {
    /// The app.
    pub app: AppNo,
    /// The call.
    pub call_id: CallId,
    /// Who is called.
    pub user: UserId,
    /// Who calls.
    pub caller: UserId,
    /// The kind of call.
    pub call_type: CallType,
    /// When it stops ringing, in ms since 1970.
    pub ring_deadline_unix_ms: u64,
    /// The device that it goes to, if to one.
    pub device: Option<DeviceId>,
}

impl CallParam {
    pub(crate) fn of(app: AppNo, invite: &Invite, user: &UserId, device: Option<&DeviceId>) -> Self {
        Self {
            app,
            call_id: invite.call_id,
            user: user.clone(),
            caller: invite.caller.user.clone(),
            call_type: invite.call_type,
            ring_deadline_unix_ms: invite.ring_deadline_unix_ms,
            device: device.cloned(),
        }
    }
}

/// What an app's backend is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Webhook {
    /// A call rings for somebody.
    Rings {
        /// Which, and for whom.
        param: CallParam,
        /// What the caller's app had to say to its backend.
        app_server_data: Option<String>,
    },
    /// A call is over.
    Ended(EndNotice),
}

/// A call that is over, for one of its callees.
#[derive(Debug, Clone, PartialEq)]
pub struct EndNotice {
    /// The app.
    pub app: AppNo,
    /// The call.
    pub call_id: CallId,
    /// Who called.
    pub caller: UserId,
    /// Who was called.
    pub callee: UserId,
    /// The kind of call.
    pub call_type: CallType,
    /// When it was opened, in ms since 1970.
    pub began_unix_ms: u64,
    /// When it was answered, in ms since 1970.
    pub answered_unix_ms: Option<u64>,
    /// When it ended, in ms since 1970.
    pub ended_unix_ms: u64,
    /// How it ended for the caller.
    pub caller_reason: EndReason,
    /// How it ended for the callee.
    pub callee_reason: EndReason,
    /// The documented reason.
    pub disconnect_reason: DisconnectReason,
    /// Who ended it.
    pub disconnect_source: DisconnectSource,
    /// The app's own code for it.
    pub user_code: Option<String>,
    /// How it sounded to the caller, as far as its device told.
    pub caller_quality: Option<Quality>,
    /// How it sounded to who took it.
    pub callee_quality: Option<Quality>,
}

/// A push for one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// What it is to do there.
    pub kind: PushKind,
    /// Of which call, and for whom.
    pub param: CallParam,
    /// The device.
    pub device: DeviceId,
    /// Where that is reached.
    pub address: PushAddress,
}

/// What a push is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushKind {
    /// Let the device ring.
    Ring,
    /// Let it stop.
    Cancel,
}

/// What happened, for the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// A stream was ended, with this reason.
    Refused(RefuseReason),
    /// An invite was refused.
    InviteRefused(InviteRefusal),
    /// An invite met a limit.
    Limited(InviteLimit),
    /// A channel was to be joined without a token, and is not that of an own call.
    TokenMissing,
    /// A call was answered after so long, in ms.
    Answered {
        /// How long it rang.
        ring_ms: u64,
    },
    /// A call is over.
    Ended(EndReason),
}

/// Which limit of invites was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InviteLimit {
    /// That of a device.
    Device,
    /// That of a user.
    User,
    /// That of an app.
    App,
}
