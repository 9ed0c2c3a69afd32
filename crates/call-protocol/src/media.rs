//! Media: the channel in which the parties of a call meet.

use serde::{Deserialize, Serialize};

use crate::ids::{ChannelId, Party, Uid};

/// What one member sends at present.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TrackState {
    /// The microphone is muted.
    pub audio_muted: bool,
    /// The camera is off.
    pub video_muted: bool,
}

/// One member of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its number.
    pub uid: Uid,
    /// What it sends.
    pub tracks: TrackState,
}

/// Which half of the offer/answer exchange a description is (RFC 9429).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DescriptionKind {
    /// The caller's proposal.
    Offer,
    /// The callee's reply.
    Answer,
}

/// A session description.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Description {
    /// Offer or answer.
    pub kind: DescriptionKind,
    /// The SDP text.
    pub sdp: String,
}

/// One trickled ICE candidate (RFC 8838).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Candidate {
    /// The candidate attribute's value.
    pub candidate: String,
    /// The media section it belongs to, by name.
    pub sdp_mid: Option<String>,
    /// The media section it belongs to, by position.
    pub sdp_mline_index: Option<u16>,
    /// The ICE generation it belongs to.
    pub username_fragment: Option<String>,
}

/// One step of setting the media up, between the caller and a device of the callee that rings or took the call.
///
/// The steps of one device to another are numbered from 1 on, said again until they are acknowledged, and taken in order, each once.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Negotiation {
    /// Who says it; the server fills in the true one.
    pub from: Party,
    /// Who is to get it.
    pub to: Party,
    /// The number of this step; 0 without a body.
    pub seq: u32,
    /// Every step of the other one up to this number has been taken.
    pub ack: u32,
    /// Which process says it: one that takes a device's call over from another has another number, and steps of its own. 0: not told.
    pub from_run: u32,
    /// For which process of the other device it is numbered. 0: for whichever there is.
    pub to_run: u32,
    /// The step; without one this only acknowledges.
    pub body: Option<NegotiationBody>,
}

/// What a party of a call says every few seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeepAlive {
    /// The sender takes the call to be answered.
    pub in_call: bool,
    /// The sender has put the call on hold.
    pub held: bool,
    /// The sender believes that the other one has put it on hold.
    pub peer_held: bool,
    /// How the other one sounds to the sender; `None` before anything of it has come.
    pub quality: Option<Quality>,
    /// Why the sender holds the call, at most [`NOTE_BYTES`](crate::limits::NOTE_BYTES).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_reason: Option<String>,
}

/// How a call sounds to one of its parties, since it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Quality {
    /// Packets lost of a thousand that were sent to it, 0 to 1000.
    pub lost_permille: u32,
    /// There and back, in ms.
    pub round_trip_ms: u32,
    /// Interarrival jitter in ms (RFC 3550, section 6.4.1).
    pub jitter_ms: u32,
}

/// The kinds of [`Negotiation`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NegotiationBody {
    /// Offer or answer.
    Description(Description),
    /// A way to reach the sender.
    Candidate(Candidate),
    /// The callee asks the caller to find a new way (ICE restart). Offers are the caller's alone, so that two never meet.
    Restart,
    /// Something for the other party's app.
    Notice(Notice),
}

/// What one party's app tells the other's, in order with the steps of the media, each once.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Notice {
    /// The callee has finished its preparation: media may begin.
    PreparationFinished,
    /// Please mute, or unmute, your microphone.
    MuteRequest {
        /// Mute.
        muted: bool,
    },
    /// Why the call is about to be put on hold, at most [`NOTE_BYTES`](crate::limits::NOTE_BYTES). Not said any more: the reason goes with the
    /// hold ([`KeepAlive::hold_reason`]).
    HoldReason(String),
}

/// What a member asks of its channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelRequest {
    /// The channel.
    pub channel: ChannelId,
    /// What is asked.
    pub body: ChannelRequestBody,
}

/// The kinds of [`ChannelRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChannelRequestBody {
    /// Let me in.
    Join {
        /// A channel token ([`crate::token::ChannelClaims`]).
        token: String,
        /// What I send at first.
        tracks: TrackState,
    },
    /// I go.
    Leave,
    /// My new token.
    RenewToken {
        /// A channel token ([`crate::token::ChannelClaims`]).
        token: String,
    },
    /// For one other member.
    Description {
        /// The other member.
        to: Uid,
        /// What it is to get.
        description: Description,
    },
    /// For one other member.
    Candidate {
        /// The other member.
        to: Uid,
        /// What it is to get.
        candidate: Candidate,
    },
    /// What I send from now on.
    Tracks(TrackState),
}

/// What a channel tells a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelEvent {
    /// The channel.
    pub channel: ChannelId,
    /// What is told.
    pub body: ChannelEventBody,
}

/// The kinds of [`ChannelEvent`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChannelEventBody {
    /// You are in.
    Joined {
        /// Your number.
        uid: Uid,
        /// The others.
        members: Vec<Member>,
        /// Servers for server-reflexive candidates, "stun:host:port".
        stun_servers: Vec<String>,
    },
    /// You are not let in.
    JoinRefused {
        /// Why.
        reason: JoinRefusal,
    },
    /// Another one came.
    MemberJoined(Member),
    /// Another one went.
    MemberLeft {
        /// Who.
        uid: Uid,
        /// How.
        reason: LeaveReason,
    },
    /// From another member.
    Description {
        /// The other member.
        from: Uid,
        /// What it sent.
        description: Description,
    },
    /// From another member.
    Candidate {
        /// The other member.
        from: Uid,
        /// What it sent.
        candidate: Candidate,
    },
    /// Another member sends something else from now on.
    Tracks {
        /// Who.
        uid: Uid,
        /// What.
        tracks: TrackState,
    },
    /// Your token ends soon.
    TokenExpiring {
        /// In how many ms.
        left_ms: u32,
    },
}

/// Why a join was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum JoinRefusal {
    /// The token is not signed by the app, or is for another channel, uid or app.
    #[error("the channel token is not valid here")]
    TokenInvalid,
    /// The token's time is over.
    #[error("the channel token has expired")]
    TokenExpired,
    /// No room.
    #[error("the channel is full")]
    ChannelFull,
    /// Another member has this uid.
    #[error("the uid is taken")]
    UidTaken,
}

/// How a member left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaveReason {
    /// It said so.
    Left,
    /// It could no longer be heard.
    Dropped,
    /// Its token expired.
    TokenExpired,
}
