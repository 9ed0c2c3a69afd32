//! The bytes: conversions between the domain types and the generated ones, checked in the direction from the wire.
//!
//! Fields and enum values unknown here are passed over; a kind of message unknown here decodes to `None`; whatever is known but
//! unsound (an id that is none, a text over its limit, a missing part) is a [`WireError`] that names the place.

use prost::Message as _;

use crate::accept::{Answer, AnswerConfirm, AnswerResult};
use crate::disconnect::{DisconnectReason, DisconnectSource};
use crate::end::{Cancel, End, EndReason, Release, UserCode};
use crate::ids::{DeviceId, IdError, Party, UserId};
use crate::invite::{CallType, Invite};
use crate::limits;
use crate::media::{KeepAlive, Quality};
use crate::message::{CallMessage, ChatMessage, Word};
use crate::ring::{Alert, InviteRefusal, RingConfirm};

mod account;
mod cc_param;
mod channel;
mod frame;

/// The generated types. Only for the code generated beside them in other crates; everybody else uses the domain types.
#[doc(hidden)]
#[path = "generated/callkit_v1.rs"]
pub mod proto;

pub use account::{history_page_from_proto, history_page_to_proto, history_request_from_proto};
pub use account::{history_request_to_proto, set_push_from_proto, set_push_to_proto};
pub(crate) use cc_param::{cc_param_from_payload, cc_param_to_payload};
pub use frame::{client_frame_from_proto, client_frame_to_proto, decode_client_frame, decode_server_frame};
pub use frame::{encode_client_frame, encode_server_frame, server_frame_from_proto, server_frame_to_proto};

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The bytes are not protobuf of this schema.
    #[error("the bytes are not a message")]
    NotProtobuf,
    /// A part that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// An id is not one.
    #[error("{place}: {error}")]
    Id {
        /// The field.
        place: &'static str,
        /// What is wrong with it.
        error: IdError,
    },
    /// Something is larger than its limit.
    #[error("{place} is over its limit of {limit}")]
    TooLarge {
        /// The field.
        place: &'static str,
        /// The limit of [`crate::limits`].
        limit: usize,
    },
}

/// The bytes of one call message.
pub fn encode_call(message: &CallMessage) -> Vec<u8> {
    call_to_proto(message).encode_to_vec()
}

/// The call message in these bytes; `None` if it is of a kind unknown here.
pub fn decode_call(bytes: &[u8]) -> Result<Option<CallMessage>, WireError> {
    let message = proto::CallMessage::decode(bytes).map_err(|_| WireError::NotProtobuf)?;
    call_from_proto(message)
}

/// The bytes of a word in an app's own chat.
pub fn encode_chat(chat: &ChatMessage) -> Vec<u8> {
    let to_device = chat.to.as_ref().map(DeviceId::to_string).unwrap_or_default();
    let message = Some(call_to_proto(&chat.message));
    proto::ChatMessage { from_device: chat.from.to_string(), to_device, message }.encode_to_vec()
}

/// The word in bytes that came through an app's own chat; `None` if its kind is unknown here.
pub fn decode_chat(bytes: &[u8]) -> Result<Option<ChatMessage>, WireError> {
    let chat = proto::ChatMessage::decode(bytes).map_err(|_| WireError::NotProtobuf)?;
    let device = |place, text: String| text.parse().map_err(|error| WireError::Id { place, error });
    let from = device("chat.from_device", chat.from_device)?;
    let to = (!chat.to_device.is_empty()).then(|| device("chat.to_device", chat.to_device)).transpose()?;
    let message = call_from_proto(chat.message.ok_or(WireError::Missing("chat.message"))?)?;
    Ok(message.map(|message| ChatMessage { from, to, message }))
}

fn call_to_proto(message: &CallMessage) -> proto::CallMessage {
    use proto::call_message::Body;
    let body = match &message.word {
        Word::Invite(invite) => Body::Invite(invite_to_proto(invite)),
        Word::Alert(alert) => Body::Alert(alert_to_proto(alert)),
        Word::RingConfirm(confirm) => Body::RingConfirm(ring_confirm_to_proto(*confirm)),
        Word::Answer(answer) => Body::Answer(proto::Answer {
            callee: Some(party_to_proto(&answer.callee)),
            result: answer_result_to_proto(answer.result).into(),
            call_type: answer.call_type.map(|kind| kind as i32),
            preparation: answer.preparation,
            release: answer.release.map(release_to_proto),
        }),
        Word::AnswerConfirm(confirm) => Body::AnswerConfirm(proto::AnswerConfirm {
            result: answer_result_to_proto(confirm.result).into(),
            winner: Some(party_to_proto(&confirm.winner)),
            release: confirm.release.map(release_to_proto),
        }),
        Word::Cancel(Cancel { reason, release }) => {
            Body::Cancel(proto::Cancel { reason: *reason as i32, release: release.map(release_to_proto) })
        }
        Word::End(End { reason, release }) => {
            Body::End(proto::End { reason: *reason as i32, release: release.map(release_to_proto) })
        }
        Word::KeepAlive(KeepAlive { in_call, held, peer_held, quality, hold_reason }) => {
            Body::KeepAlive(proto::KeepAlive {
                in_call: *in_call,
                held: *held,
                peer_held: *peer_held,
                quality: quality.map(quality_to_proto),
                hold_reason: hold_reason.clone().unwrap_or_default(),
            })
        }
        Word::Negotiation(negotiation) => Body::Negotiation(channel::negotiation_to_proto(negotiation)),
        Word::Reachability { reachable, ends_in_ms } => {
            Body::Reachability(proto::Reachability { reachable: *reachable, ends_in_ms: *ends_in_ms })
        }
        Word::Hold { held, reason } => {
            Body::Hold(proto::Hold { held: *held, reason: reason.clone().unwrap_or_default() })
        }
        Word::Missed(invite) => Body::Missed(invite_to_proto(invite)),
    };
    proto::CallMessage { call_id: message.call_id.to_string(), body: Some(body) }
}

fn quality_to_proto(quality: Quality) -> proto::Quality {
    let Quality { lost_permille, round_trip_ms, jitter_ms } = quality;
    proto::Quality { lost_permille, round_trip_ms, jitter_ms }
}

fn quality_from_proto(quality: proto::Quality) -> Quality {
    let proto::Quality { lost_permille, round_trip_ms, jitter_ms } = quality;
    Quality { lost_permille: lost_permille.min(1_000), round_trip_ms, jitter_ms }
}

fn call_from_proto(message: proto::CallMessage) -> Result<Option<CallMessage>, WireError> {
    use proto::call_message::Body;
    let call_id = message.call_id.parse().map_err(|error| WireError::Id { place: "call_id", error })?;
    let Some(body) = message.body else { return Ok(None) };
    let word = match body {
        Body::Invite(invite) => Word::Invite(Box::new(invite_from_proto(call_id, invite)?)),
        Body::Alert(alert) => Word::Alert(alert_from_proto(alert)?),
        Body::RingConfirm(confirm) => Word::RingConfirm(ring_confirm_from_proto(confirm)?),
        Body::Answer(answer) => {
            let Some(result) = answer_result_from_proto(answer.result()) else { return Ok(None) };
            let call_type = answer.call_type.map(call_type_from_number);
            Word::Answer(Answer {
                callee: party_from_proto("answer.callee", answer.callee)?,
                result,
                call_type,
                preparation: answer.preparation,
                release: release_from_proto(answer.release)?,
            })
        }
        Body::AnswerConfirm(confirm) => {
            let Some(result) = answer_result_from_proto(confirm.result()) else { return Ok(None) };
            Word::AnswerConfirm(AnswerConfirm {
                result,
                winner: party_from_proto("answer_confirm.winner", confirm.winner)?,
                release: release_from_proto(confirm.release)?,
            })
        }
        Body::Cancel(cancel) => {
            Word::Cancel(Cancel { reason: end_reason(cancel.reason), release: release_from_proto(cancel.release)? })
        }
        Body::End(end) => Word::End(End { reason: end_reason(end.reason), release: release_from_proto(end.release)? }),
        Body::KeepAlive(proto::KeepAlive { in_call, held, peer_held, quality, hold_reason }) => {
            let quality = quality.map(quality_from_proto);
            let hold_reason = reason_from_proto("keep_alive.hold_reason", hold_reason)?;
            Word::KeepAlive(KeepAlive { in_call, held, peer_held, quality, hold_reason })
        }
        Body::Negotiation(negotiation) => Word::Negotiation(Box::new(channel::negotiation_from_proto(negotiation)?)),
        Body::Reachability(peer) => Word::Reachability { reachable: peer.reachable, ends_in_ms: peer.ends_in_ms },
        Body::Hold(hold) => Word::Hold { held: hold.held, reason: reason_from_proto("hold.reason", hold.reason)? },
        Body::Missed(invite) => Word::Missed(Box::new(invite_from_proto(call_id, invite)?)),
    };
    Ok(Some(CallMessage { call_id, word }))
}

fn invite_to_proto(invite: &Invite) -> proto::Invite {
    proto::Invite {
        caller: Some(party_to_proto(&invite.caller)),
        callees: invite.callees.iter().map(UserId::to_string).collect(),
        call_type: invite.call_type as i32,
        channel: invite.channel.to_string(),
        ext: invite.ext.clone(),
        ring_timeout_ms: invite.ring_timeout_ms,
        ring_deadline_unix_ms: invite.ring_deadline_unix_ms,
        responder_preparation: invite.responder_preparation,
        app_server_data: invite.app_server_data.clone(),
    }
}

fn invite_from_proto(call_id: crate::CallId, invite: proto::Invite) -> Result<Invite, WireError> {
    if invite.callees.len() > limits::CALLEES {
        return Err(WireError::TooLarge { place: "invite.callees", limit: limits::CALLEES });
    }
    if invite.ext.len() > limits::EXT_ENTRIES {
        return Err(WireError::TooLarge { place: "invite.ext", limit: limits::EXT_ENTRIES });
    }
    if invite.ext.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > limits::EXT_BYTES {
        return Err(WireError::TooLarge { place: "invite.ext", limit: limits::EXT_BYTES });
    }
    let callees = invite.callees.iter().map(UserId::new).collect::<Result<Vec<_>, _>>();
    Ok(Invite {
        call_id,
        caller: party_from_proto("invite.caller", invite.caller)?,
        callees: callees.map_err(|error| WireError::Id { place: "invite.callees", error })?,
        call_type: call_type_from_number(invite.call_type),
        channel: invite.channel.parse().map_err(|error| WireError::Id { place: "invite.channel", error })?,
        ext: invite.ext,
        ring_timeout_ms: invite.ring_timeout_ms,
        ring_deadline_unix_ms: invite.ring_deadline_unix_ms,
        responder_preparation: invite.responder_preparation,
        app_server_data: bounded("invite.app_server_data", invite.app_server_data, limits::APP_SERVER_DATA_BYTES)?,
    })
}

/// A call type of a newer peer is taken as a voice call: everybody can hold one. Other kits number a group voice call 3.
fn call_type_from_number(number: i32) -> CallType {
    match number {
        1 => CallType::Video1v1,
        2 | 3 => CallType::Multi,
        _ => CallType::Audio1v1,
    }
}

/// A reason of a newer peer is an error of a kind unknown here.
fn end_reason(number: i32) -> EndReason {
    EndReason::ALL.into_iter().find(|reason| *reason as i32 == number).unwrap_or(EndReason::Error)
}

fn alert_to_proto(alert: &Alert) -> proto::Alert {
    proto::Alert { callee: Some(party_to_proto(&alert.callee)), asked_unix_ms: alert.asked_unix_ms }
}

fn alert_from_proto(alert: proto::Alert) -> Result<Alert, WireError> {
    Ok(Alert { callee: party_from_proto("alert.callee", alert.callee)?, asked_unix_ms: alert.asked_unix_ms })
}

fn ring_confirm_to_proto(confirm: RingConfirm) -> proto::RingConfirm {
    match confirm {
        RingConfirm::Ring { deadline_unix_ms, left_ms, asked_unix_ms } => proto::RingConfirm {
            valid: true,
            ring_deadline_unix_ms: deadline_unix_ms,
            ring_left_ms: left_ms,
            asked_unix_ms,
            ..Default::default()
        },
        RingConfirm::Over { reason, release } => {
            proto::RingConfirm { reason: reason as i32, release: release.map(release_to_proto), ..Default::default() }
        }
        RingConfirm::Refused { refusal } => proto::RingConfirm {
            reason: EndReason::Error as i32,
            refusal: match refusal {
                InviteRefusal::UnknownUser => proto::InviteRefusal::UnknownUser,
                InviteRefusal::Invalid => proto::InviteRefusal::Invalid,
                InviteRefusal::TooMany => proto::InviteRefusal::TooMany,
                InviteRefusal::Overloaded => proto::InviteRefusal::Overloaded,
                InviteRefusal::TokenExpired => proto::InviteRefusal::TokenExpired,
            }
            .into(),
            ..Default::default()
        },
    }
}

fn ring_confirm_from_proto(confirm: proto::RingConfirm) -> Result<RingConfirm, WireError> {
    if confirm.valid {
        let proto::RingConfirm {
            ring_deadline_unix_ms: deadline_unix_ms, ring_left_ms: left_ms, asked_unix_ms, ..
        } = confirm;
        return Ok(RingConfirm::Ring { deadline_unix_ms, left_ms, asked_unix_ms });
    }
    let refused = |refusal| RingConfirm::Refused { refusal };
    Ok(match confirm.refusal() {
        proto::InviteRefusal::Unspecified => {
            RingConfirm::Over { reason: end_reason(confirm.reason), release: release_from_proto(confirm.release)? }
        }
        proto::InviteRefusal::UnknownUser => refused(InviteRefusal::UnknownUser),
        proto::InviteRefusal::Invalid => refused(InviteRefusal::Invalid),
        proto::InviteRefusal::TooMany => refused(InviteRefusal::TooMany),
        proto::InviteRefusal::Overloaded => refused(InviteRefusal::Overloaded),
        proto::InviteRefusal::TokenExpired => refused(InviteRefusal::TokenExpired),
    })
}

fn release_to_proto(release: Release) -> proto::Release {
    proto::Release {
        reason: release.reason.number(),
        source: release.source as u32,
        user_code: release.user_code.map(String::from).unwrap_or_default(),
    }
}

/// A reason or source of a newer peer has no name here.
fn release_from_proto(release: Option<proto::Release>) -> Result<Option<Release>, WireError> {
    let Some(proto::Release { reason, source, user_code }) = release else { return Ok(None) };
    let too_large = |_| WireError::TooLarge { place: "release.user_code", limit: limits::USER_CODE_BYTES };
    let user_code = (!user_code.is_empty()).then(|| UserCode::new(&user_code).map_err(too_large)).transpose()?;
    let source = i32::try_from(source).ok().and_then(DisconnectSource::from_number);
    Ok(Some(Release {
        reason: DisconnectReason::from_number(reason).unwrap_or(DisconnectReason::Unknown),
        source: source.unwrap_or(DisconnectSource::Undefined),
        user_code,
    }))
}

fn answer_result_to_proto(result: AnswerResult) -> proto::AnswerResult {
    match result {
        AnswerResult::Accept => proto::AnswerResult::Accept,
        AnswerResult::Refuse => proto::AnswerResult::Refuse,
        AnswerResult::Busy => proto::AnswerResult::Busy,
    }
}

fn answer_result_from_proto(result: proto::AnswerResult) -> Option<AnswerResult> {
    match result {
        proto::AnswerResult::Unspecified => None,
        proto::AnswerResult::Accept => Some(AnswerResult::Accept),
        proto::AnswerResult::Refuse => Some(AnswerResult::Refuse),
        proto::AnswerResult::Busy => Some(AnswerResult::Busy),
    }
}

fn party_to_proto(party: &Party) -> proto::Party {
    proto::Party { user: party.user.to_string(), device: party.device.to_string() }
}

fn party_from_proto(place: &'static str, party: Option<proto::Party>) -> Result<Party, WireError> {
    let party = party.ok_or(WireError::Missing(place))?;
    Ok(Party {
        user: party.user.parse().map_err(|error| WireError::Id { place, error })?,
        device: party.device.parse().map_err(|error| WireError::Id { place, error })?,
    })
}

fn reason_from_proto(place: &'static str, reason: String) -> Result<Option<String>, WireError> {
    Ok((!reason.is_empty()).then_some(bounded(place, reason, limits::NOTE_BYTES)?))
}

fn bounded(place: &'static str, text: String, limit: usize) -> Result<String, WireError> {
    if text.len() > limit { Err(WireError::TooLarge { place, limit }) } else { Ok(text) }
}
