//! The way in: what a hub is told.

use call_protocol::account::PushAddress;
use call_protocol::end::UserCode;
use call_protocol::media::{ChannelRequest, JoinRefusal};
use call_protocol::session::{RefuseReason, Resume};
use call_protocol::{CallId, CallMessage, DeviceId, Party, Uid, UserId};
use signaling::{ArbiterSnapshot, Time};

use crate::ids::{AppNo, CallKey, LookUpId, RequestId, StreamId, TokenMark};
use crate::record::CallRecord;

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// A stream's client said who it is, and proved it.
    SignedIn {
        /// Its stream.
        stream: StreamId,
        /// Who it is.
        identity: Identity,
        /// The session that it wants to go on with.
        resume: Option<Resume>,
        /// What it is told of servers for its candidates, "stun:host:port".
        stun_server: String,
    },
    /// A frame other than hello and ping. A ping comes as a frame without number and body if it acknowledges anything.
    Frame {
        /// The stream that brought it.
        stream: StreamId,
        /// Its number.
        seq: u64,
        /// What it acknowledges.
        ack: u64,
        /// What it says.
        body: Option<FrameBody>,
        /// Whether the server has room for the call that it opens, if it opens one.
        is_admitted: bool,
    },
    /// A stream's client sent what is no frame, or too many of them; its session cannot go on.
    Unsound {
        /// The stream.
        stream: StreamId,
        /// Why it ends.
        reason: RefuseReason,
        /// The same in words.
        detail: String,
    },
    /// A stream is over, however it ended. Told of each that was told of by [`Input::SignedIn`].
    StreamEnded(StreamId),
    /// What was sent to a stream, or its last frame, found no room there: its client does not read.
    TooSlow(StreamId),
    /// The answer to [`Output::AskWhoWasHeard`](crate::Output::AskWhoWasHeard).
    Heard {
        /// When anybody was heard last, those whose streams are over among them.
        anybody: Time,
        /// When each stream was heard last.
        streams: Vec<(StreamId, Time)>,
    },
    /// A stream's client brought a new access token.
    AccessRenewed {
        /// The stream.
        stream: StreamId,
        /// When it ends.
        until: Time,
        /// What tells it from others.
        mark: TokenMark,
    },
    /// Somebody without a stream wants something; [`Output::Reply`](crate::Output::Reply) follows.
    Requested {
        /// Names the reply.
        id: RequestId,
        /// What is wanted.
        request: Request,
    },
    /// What became of a webhook that told of a ring, or of a push to ring.
    Delivery(Delivery),
    /// What a look-up found.
    Found {
        /// Of which look-up.
        id: LookUpId,
        /// What it is.
        found: Found,
    },
    /// There is such a user of the app that has a directory.
    Registered(UserId),
    /// The server takes no new work from now on.
    Draining,
    /// The server stops: everybody is told so. The hub is to be driven until [`Hub::is_stopped`](crate::Hub::is_stopped).
    Stopping,
    /// It is later now.
    Wake,
}

/// Who signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The app.
    pub app: AppNo,
    /// The user and the device.
    pub party: Party,
    /// Proved by the cc_param of this call, and good for nothing else.
    pub bound: Option<CallId>,
    /// The device whose push brought the cc_param, which may have another name than the one it signs in by.
    pub woken: Option<DeviceId>,
    /// There for one call and gone with it.
    pub for_one_call: bool,
    /// Of the access token, where one was needed.
    pub mark: Option<TokenMark>,
    /// How long the access token is good, where one was needed.
    pub access: Option<AccessUntil>,
}

/// How an access token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessUntil {
    /// When it ends, or now where it has.
    pub until: Time,
    /// It has ended: it is good only to go on with a session that lives.
    pub has_ended: bool,
}

/// What a frame says.
#[derive(Debug)]
pub enum FrameBody {
    /// Of a call.
    Call(CallMessage),
    /// Of a channel, with what the token of a join or renewal allows; none where there was no token.
    Channel(ChannelRequest, Option<Result<Grant, JoinRefusal>>),
    /// The client signs out.
    Goodbye,
}

/// What a channel token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// Who its bearer is in the channel.
    pub uid: Uid,
    /// Until when, in ms since 1970.
    pub until_unix_ms: u64,
    /// Not a token allows it but that the party is in the channel's call.
    pub of_call: bool,
}

/// What somebody without a stream can want, who was found to be allowed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// To know whether a call rings for this callee.
    Verify {
        /// The call.
        call: CallKey,
        /// The callee.
        user: UserId,
    },
    /// A callee says no.
    Decline {
        /// The call.
        call: CallKey,
        /// The callee.
        user: UserId,
        /// The app's own code.
        user_code: Option<UserCode>,
    },
    /// What a push would have brought this user of the call that rings for it, the newest first.
    Param {
        /// The app.
        app: AppNo,
        /// The user.
        user: UserId,
    },
    /// End the sessions of a user, or of one device.
    SignOut {
        /// The app.
        app: AppNo,
        /// The user.
        user: UserId,
        /// The device, for one only.
        device: Option<DeviceId>,
    },
    /// End the sessions of a user that are there by tokens that count no longer.
    Revoke {
        /// The app.
        app: AppNo,
        /// The user.
        user: UserId,
        /// Which tokens.
        tokens: RevokedTokens,
    },
    /// End a call.
    EndCall(CallKey),
}

/// Which access tokens of a user count no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevokedTokens {
    /// Those issued until then, in s since 1970.
    IssuedUntil(u64),
    /// The one with this digest.
    One([u8; 32]),
}

impl RevokedTokens {
    pub(crate) fn has(self, mark: TokenMark) -> bool {
        match self {
            RevokedTokens::IssuedUntil(issued_until_s) => mark.issued_s <= issued_until_s,
            RevokedTokens::One(digest) => mark.digest == digest,
        }
    }
}

/// What became of a webhook or a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The call that it was about.
    pub call: CallKey,
    /// Of a push: whose device, and which.
    pub device: Option<Party>,
    /// It was taken; else it was given up.
    pub is_done: bool,
}

/// What a look-up found; none where the store could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// All devices of a user.
    Devices(Option<Vec<KnownDevice>>),
    /// Calls that a user missed, oldest end first.
    Missed(Option<Vec<CallRecord>>),
}

/// A device that the store knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownDevice {
    /// The device.
    pub device: DeviceId,
    /// It knows of every call that it missed up to the one of this number.
    pub knows: u64,
    /// Where a push reaches it.
    pub push: Option<PushAddress>,
}

/// A call of before the start, as it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredCall {
    /// The app.
    pub app: AppNo,
    /// The call.
    pub snapshot: ArbiterSnapshot,
}
