//! What a member and its channel say to each other.

use super::{WireError, bounded, party_from_proto, party_to_proto, proto};
use crate::ids::Uid;
use crate::limits;
use crate::media::{
    Candidate, ChannelEvent, ChannelEventBody, ChannelRequest, ChannelRequestBody, Description, DescriptionKind,
    JoinRefusal, LeaveReason, Member, Negotiation, NegotiationBody, Notice, TrackState,
};

pub(super) fn negotiation_to_proto(negotiation: &Negotiation) -> proto::Negotiation {
    use proto::negotiation::Body;
    let body = negotiation.body.as_ref().map(|body| match body {
        NegotiationBody::Description(description) => Body::Description(description_to_proto(description)),
        NegotiationBody::Candidate(candidate) => Body::Candidate(candidate_to_proto(candidate)),
        NegotiationBody::Restart => Body::Restart(proto::Restart {}),
        NegotiationBody::Notice(notice) => Body::Notice(notice_to_proto(notice)),
    });
    proto::Negotiation {
        from: Some(party_to_proto(&negotiation.from)),
        to: Some(party_to_proto(&negotiation.to)),
        seq: negotiation.seq,
        ack: negotiation.ack,
        from_run: negotiation.from_run,
        to_run: negotiation.to_run,
        body,
    }
}

/// A step of a kind unknown here keeps its number, so that the steps after it are taken.
pub(super) fn negotiation_from_proto(negotiation: proto::Negotiation) -> Result<Negotiation, WireError> {
    use proto::negotiation::Body;
    let from = party_from_proto("negotiation.from", negotiation.from)?;
    let to = party_from_proto("negotiation.to", negotiation.to)?;
    let body = match negotiation.body {
        None => None,
        Some(Body::Description(description)) => description_from_proto(description)?.map(NegotiationBody::Description),
        Some(Body::Candidate(candidate)) => Some(NegotiationBody::Candidate(candidate_from_proto(candidate)?)),
        Some(Body::Restart(proto::Restart {})) => Some(NegotiationBody::Restart),
        Some(Body::Notice(notice)) => notice_from_proto(notice)?.map(NegotiationBody::Notice),
    };
    let proto::Negotiation { seq, ack, from_run, to_run, .. } = negotiation;
    Ok(Negotiation { from, to, seq, ack, from_run, to_run, body })
}

fn notice_to_proto(notice: &Notice) -> proto::Notice {
    use proto::notice::Body;
    let body = match notice {
        Notice::PreparationFinished => Body::PreparationFinished(proto::PreparationFinished {}),
        Notice::MuteRequest { muted } => Body::MuteRequest(proto::MuteRequest { muted: *muted }),
        Notice::HoldReason(reason) => Body::HoldReason(reason.clone()),
    };
    proto::Notice { body: Some(body) }
}

fn notice_from_proto(notice: proto::Notice) -> Result<Option<Notice>, WireError> {
    use proto::notice::Body;
    Ok(match notice.body {
        None => None,
        Some(Body::PreparationFinished(proto::PreparationFinished {})) => Some(Notice::PreparationFinished),
        Some(Body::MuteRequest(proto::MuteRequest { muted })) => Some(Notice::MuteRequest { muted }),
        Some(Body::HoldReason(reason)) => {
            Some(Notice::HoldReason(bounded("notice.hold_reason", reason, limits::NOTE_BYTES)?))
        }
    })
}

pub(super) fn channel_request_to_proto(request: &ChannelRequest) -> proto::ChannelRequest {
    use proto::channel_request::Body;
    let (to_uid, body) = match &request.body {
        ChannelRequestBody::Join { token, tracks } => {
            (0, Body::Join(proto::Join { token: token.clone(), tracks: Some(tracks_to_proto(*tracks)) }))
        }
        ChannelRequestBody::Leave => (0, Body::Leave(proto::Leave {})),
        ChannelRequestBody::RenewToken { token } => (0, Body::RenewToken(proto::RenewToken { token: token.clone() })),
        ChannelRequestBody::Description { to, description } => {
            (to.get(), Body::Description(description_to_proto(description)))
        }
        ChannelRequestBody::Candidate { to, candidate } => (to.get(), Body::Candidate(candidate_to_proto(candidate))),
        ChannelRequestBody::Tracks(tracks) => (0, Body::Tracks(tracks_to_proto(*tracks))),
    };
    proto::ChannelRequest { channel: request.channel.to_string(), to_uid, body: Some(body) }
}

pub(super) fn channel_request_from_proto(request: proto::ChannelRequest) -> Result<Option<ChannelRequest>, WireError> {
    use proto::channel_request::Body;
    let channel = request.channel.parse().map_err(|error| WireError::Id { place: "channel", error })?;
    let to = |place| uid(place, request.to_uid);
    let Some(body) = request.body else { return Ok(None) };
    let body = match body {
        Body::Join(join) => ChannelRequestBody::Join {
            token: bounded("join.token", join.token, limits::TOKEN_BYTES)?,
            tracks: tracks_from_proto(join.tracks),
        },
        Body::Leave(proto::Leave {}) => ChannelRequestBody::Leave,
        Body::RenewToken(renew) => {
            ChannelRequestBody::RenewToken { token: bounded("renew_token.token", renew.token, limits::TOKEN_BYTES)? }
        }
        Body::Description(description) => {
            let Some(description) = description_from_proto(description)? else { return Ok(None) };
            ChannelRequestBody::Description { to: to("description.to_uid")?, description }
        }
        Body::Candidate(candidate) => {
            ChannelRequestBody::Candidate { to: to("candidate.to_uid")?, candidate: candidate_from_proto(candidate)? }
        }
        Body::Tracks(tracks) => ChannelRequestBody::Tracks(tracks_from_proto(Some(tracks))),
    };
    Ok(Some(ChannelRequest { channel, body }))
}

pub(super) fn channel_event_to_proto(event: &ChannelEvent) -> proto::ChannelEvent {
    use proto::channel_event::Body;
    let (about, body) = match &event.body {
        ChannelEventBody::Joined { uid, members, stun_servers } => (
            uid.get(),
            Body::Joined(proto::Joined {
                uid: uid.get(),
                members: members.iter().map(member_to_proto).collect(),
                stun_servers: stun_servers.clone(),
            }),
        ),
        ChannelEventBody::JoinRefused { reason } => {
            (0, Body::JoinRefused(proto::JoinRefused { reason: join_refusal_to_proto(*reason).into() }))
        }
        ChannelEventBody::MemberJoined(member) => (member.uid.get(), Body::MemberJoined(member_to_proto(member))),
        ChannelEventBody::MemberLeft { uid, reason } => {
            (uid.get(), Body::MemberLeft(proto::MemberLeft { reason: leave_reason_to_proto(*reason).into() }))
        }
        ChannelEventBody::Description { from, description } => {
            (from.get(), Body::Description(description_to_proto(description)))
        }
        ChannelEventBody::Candidate { from, candidate } => (from.get(), Body::Candidate(candidate_to_proto(candidate))),
        ChannelEventBody::Tracks { uid, tracks } => (uid.get(), Body::Tracks(tracks_to_proto(*tracks))),
        ChannelEventBody::TokenExpiring { left_ms } => {
            (0, Body::TokenExpiring(proto::TokenExpiring { left_ms: *left_ms }))
        }
    };
    proto::ChannelEvent { channel: event.channel.to_string(), uid: about, body: Some(body) }
}

pub(super) fn channel_event_from_proto(event: proto::ChannelEvent) -> Result<Option<ChannelEvent>, WireError> {
    use proto::channel_event::Body;
    let channel = event.channel.parse().map_err(|error| WireError::Id { place: "channel", error })?;
    let about = |place| uid(place, event.uid);
    let Some(body) = event.body else { return Ok(None) };
    let body = match body {
        Body::Joined(joined) => ChannelEventBody::Joined {
            uid: uid("joined.uid", joined.uid)?,
            members: joined.members.into_iter().map(member_from_proto).collect::<Result<_, _>>()?,
            stun_servers: joined.stun_servers,
        },
        Body::JoinRefused(refused) => {
            ChannelEventBody::JoinRefused { reason: join_refusal_from_proto(refused.reason()) }
        }
        Body::MemberJoined(member) => ChannelEventBody::MemberJoined(member_from_proto(member)?),
        Body::MemberLeft(left) => ChannelEventBody::MemberLeft {
            uid: about("member_left.uid")?,
            reason: leave_reason_from_proto(left.reason()),
        },
        Body::Description(description) => {
            let Some(description) = description_from_proto(description)? else { return Ok(None) };
            ChannelEventBody::Description { from: about("description.uid")?, description }
        }
        Body::Candidate(candidate) => {
            ChannelEventBody::Candidate { from: about("candidate.uid")?, candidate: candidate_from_proto(candidate)? }
        }
        Body::Tracks(tracks) => {
            ChannelEventBody::Tracks { uid: about("tracks.uid")?, tracks: tracks_from_proto(Some(tracks)) }
        }
        Body::TokenExpiring(expiring) => ChannelEventBody::TokenExpiring { left_ms: expiring.left_ms },
    };
    Ok(Some(ChannelEvent { channel, body }))
}

fn description_to_proto(description: &Description) -> proto::Description {
    let kind = match description.kind {
        DescriptionKind::Offer => proto::DescriptionKind::Offer,
        DescriptionKind::Answer => proto::DescriptionKind::Answer,
    };
    proto::Description { kind: kind.into(), sdp: description.sdp.clone() }
}

fn description_from_proto(description: proto::Description) -> Result<Option<Description>, WireError> {
    let kind = match description.kind() {
        proto::DescriptionKind::Unspecified => return Ok(None),
        proto::DescriptionKind::Offer => DescriptionKind::Offer,
        proto::DescriptionKind::Answer => DescriptionKind::Answer,
    };
    Ok(Some(Description { kind, sdp: bounded("description.sdp", description.sdp, limits::SDP_BYTES)? }))
}

fn candidate_to_proto(candidate: &Candidate) -> proto::Candidate {
    proto::Candidate {
        candidate: candidate.candidate.clone(),
        sdp_mid: candidate.sdp_mid.clone(),
        sdp_mline_index: candidate.sdp_mline_index.map(u32::from),
        username_fragment: candidate.username_fragment.clone(),
    }
}

fn candidate_from_proto(candidate: proto::Candidate) -> Result<Candidate, WireError> {
    let index = candidate.sdp_mline_index.map(u16::try_from).transpose();
    let short = |place, text: Option<String>| text.map(|t| bounded(place, t, limits::CANDIDATE_BYTES)).transpose();
    Ok(Candidate {
        candidate: bounded("candidate.candidate", candidate.candidate, limits::CANDIDATE_BYTES)?,
        sdp_mid: short("candidate.sdp_mid", candidate.sdp_mid)?,
        username_fragment: short("candidate.username_fragment", candidate.username_fragment)?,
        sdp_mline_index: index
            .map_err(|_| WireError::TooLarge { place: "candidate.sdp_mline_index", limit: usize::from(u16::MAX) })?,
    })
}

fn join_refusal_to_proto(reason: JoinRefusal) -> proto::JoinRefusal {
    match reason {
        JoinRefusal::TokenInvalid => proto::JoinRefusal::TokenInvalid,
        JoinRefusal::TokenExpired => proto::JoinRefusal::TokenExpired,
        JoinRefusal::ChannelFull => proto::JoinRefusal::ChannelFull,
        JoinRefusal::UidTaken => proto::JoinRefusal::UidTaken,
    }
}

fn join_refusal_from_proto(reason: proto::JoinRefusal) -> JoinRefusal {
    match reason {
        proto::JoinRefusal::Unspecified | proto::JoinRefusal::TokenInvalid => JoinRefusal::TokenInvalid,
        proto::JoinRefusal::TokenExpired => JoinRefusal::TokenExpired,
        proto::JoinRefusal::ChannelFull => JoinRefusal::ChannelFull,
        proto::JoinRefusal::UidTaken => JoinRefusal::UidTaken,
    }
}

fn leave_reason_to_proto(reason: LeaveReason) -> proto::LeaveReason {
    match reason {
        LeaveReason::Left => proto::LeaveReason::Left,
        LeaveReason::Dropped => proto::LeaveReason::Dropped,
        LeaveReason::TokenExpired => proto::LeaveReason::TokenExpired,
    }
}

fn leave_reason_from_proto(reason: proto::LeaveReason) -> LeaveReason {
    match reason {
        proto::LeaveReason::Unspecified | proto::LeaveReason::Left => LeaveReason::Left,
        proto::LeaveReason::Dropped => LeaveReason::Dropped,
        proto::LeaveReason::TokenExpired => LeaveReason::TokenExpired,
    }
}

fn tracks_to_proto(tracks: TrackState) -> proto::TrackState {
    proto::TrackState { audio_muted: tracks.audio_muted, video_muted: tracks.video_muted }
}

fn tracks_from_proto(tracks: Option<proto::TrackState>) -> TrackState {
    let tracks = tracks.unwrap_or_default();
    TrackState { audio_muted: tracks.audio_muted, video_muted: tracks.video_muted }
}

fn member_to_proto(member: &Member) -> proto::Member {
    proto::Member { uid: member.uid.get(), tracks: Some(tracks_to_proto(member.tracks)) }
}

fn member_from_proto(member: proto::Member) -> Result<Member, WireError> {
    Ok(Member { uid: uid("member.uid", member.uid)?, tracks: tracks_from_proto(member.tracks) })
}

fn uid(place: &'static str, number: u32) -> Result<Uid, WireError> {
    Uid::new(number).map_err(|error| WireError::Id { place, error })
}
