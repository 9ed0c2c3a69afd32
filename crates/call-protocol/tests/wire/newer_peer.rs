//! A newer peer says more than is understood here: what is understood still holds.

use call_protocol::accept::AnswerResult;
use call_protocol::disconnect::{DisconnectReason, DisconnectSource};
use call_protocol::end::{End, EndReason};
use call_protocol::invite::CallType;
use call_protocol::media::{ChannelEventBody, ChannelRequestBody, JoinRefusal, LeaveReason};
use call_protocol::ring::RingConfirm;
use call_protocol::session::{ClientBody, RefuseReason, ServerBody};
use call_protocol::wire::{proto, *};
use call_protocol::{CallMessage, Word};
use prost::Message as _;

use crate::{golden, samples};

/// A number that no schema of ours will soon use.
const UNKNOWN_FIELD: u32 = 1_000;
const UNKNOWN_VALUE: i32 = 99;

/// Unknown fields of each wire type (protobuf encoding, "Message Structure"): varint, 64 bits, a length and bytes, 32 bits.
fn unknown_fields() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut key = |wire_type: u32, value: &[u8]| {
        prost::encoding::encode_varint(u64::from(UNKNOWN_FIELD << 3 | wire_type), &mut bytes);
        bytes.extend_from_slice(value);
    };
    key(0, &[0x96, 0x01]);
    key(1, &[1, 2, 3, 4, 5, 6, 7, 8]);
    key(2, &[3, b'n', b'e', b'w']);
    key(5, &[1, 2, 3, 4]);
    bytes
}

/// The same message with unknown fields behind its own and inside its body, which is the field with a number from 10 on.
fn extended(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = unknown_fields();
    while !bytes.is_empty() {
        let (tag, wire_type) = prost::encoding::decode_key(&mut bytes).unwrap();
        prost::encoding::encode_key(tag, wire_type, &mut out);
        match wire_type {
            prost::encoding::WireType::Varint => {
                let value = prost::encoding::decode_varint(&mut bytes).unwrap();
                prost::encoding::encode_varint(value, &mut out);
            }
            prost::encoding::WireType::LengthDelimited => {
                let length = prost::encoding::decode_varint(&mut bytes).unwrap() as usize;
                let (value, rest) = bytes.split_at(length);
                bytes = rest;
                let more = if tag >= 10 { unknown_fields() } else { Vec::new() };
                prost::encoding::encode_varint((value.len() + more.len()) as u64, &mut out);
                out.extend_from_slice(value);
                out.extend_from_slice(&more);
            }
            prost::encoding::WireType::SixtyFourBit
            | prost::encoding::WireType::StartGroup
            | prost::encoding::WireType::EndGroup
            | prost::encoding::WireType::ThirtyTwoBit => panic!("the schema has no such field"),
        }
    }
    out.extend_from_slice(&unknown_fields());
    out
}

#[test]
fn unknown_fields_are_passed_over_in_every_message() {
    let [calls, clients, servers] = golden::all();
    for bytes in calls {
        assert_eq!(decode_call(&extended(&bytes)), decode_call(&bytes));
    }
    for bytes in clients {
        assert_eq!(decode_client_frame(&extended(&bytes)), decode_client_frame(&bytes));
    }
    for bytes in servers {
        assert_eq!(decode_server_frame(&extended(&bytes)), decode_server_frame(&bytes));
    }
}

#[test]
fn unknown_kinds_are_nothing_and_their_number_still_counts() {
    // A body under a number that is unknown here, beside a known sequence number.
    let unknown = unknown_fields();
    let frame = proto::ClientFrame { seq: 5, ack: 4, body: None }.encode_to_vec();
    let frame = decode_client_frame(&[frame, unknown.clone()].concat()).unwrap();
    assert_eq!((frame.seq, frame.ack, frame.body), (5, 4, None));
    let frame = proto::ServerFrame { seq: 5, ack: 4, body: None }.encode_to_vec();
    let frame = decode_server_frame(&[frame, unknown.clone()].concat()).unwrap();
    assert_eq!((frame.seq, frame.ack, frame.body), (5, 4, None));

    let call_id = samples::invite().call_id.to_string();
    let word = proto::CallMessage { call_id, body: None };
    assert_eq!(decode_call(&[word.encode_to_vec(), unknown].concat()), Ok(None));
    // The same inside a frame: the frame counts, its content is nothing.
    let body = Some(proto::client_frame::Body::Call(word));
    let frame = client_frame_from_proto(proto::ClientFrame { seq: 6, ack: 0, body }).unwrap();
    assert_eq!((frame.seq, frame.body), (6, None));
    let request = proto::ChannelRequest { channel: "c".to_owned(), to_uid: 0, body: None };
    let body = Some(proto::client_frame::Body::Channel(request));
    let frame = client_frame_from_proto(proto::ClientFrame { seq: 7, ack: 0, body }).unwrap();
    assert_eq!((frame.seq, frame.body), (7, None));
    let event = proto::ChannelEvent { channel: "c".to_owned(), uid: 0, body: None };
    let body = Some(proto::server_frame::Body::Channel(event));
    let frame = server_frame_from_proto(proto::ServerFrame { seq: 8, ack: 0, body }).unwrap();
    assert_eq!((frame.seq, frame.body), (8, None));
}

fn word(body: proto::call_message::Body) -> Option<Word> {
    let call_id = samples::invite().call_id.to_string();
    let bytes = proto::CallMessage { call_id, body: Some(body) }.encode_to_vec();
    decode_call(&bytes).unwrap().map(|CallMessage { word, .. }| word)
}

#[test]
fn an_unknown_kind_of_call_is_a_voice_call() {
    for number in [UNKNOWN_VALUE, -1, 4] {
        let invite = encode_call(&samples::call(Word::Invite(Box::new(samples::invite()))));
        let Some(proto::call_message::Body::Invite(mut invite)) =
            proto::CallMessage::decode(invite.as_slice()).unwrap().body
        else {
            panic!("it is an invite")
        };
        invite.call_type = number;
        let Some(Word::Invite(invite)) = word(proto::call_message::Body::Invite(invite)) else { panic!("an invite") };
        assert_eq!(invite.call_type, CallType::Audio1v1, "{number}");
    }
}

#[test]
fn an_unknown_reason_is_an_error() {
    use proto::call_message::Body;
    for reason in [UNKNOWN_VALUE, 0, -1] {
        let Some(Word::Cancel(cancel)) = word(Body::Cancel(proto::Cancel { reason, release: None })) else {
            panic!("a cancel")
        };
        let Some(Word::End(end)) = word(Body::End(proto::End { reason, release: None })) else { panic!("an end") };
        assert_eq!([cancel.reason, end.reason], [EndReason::Error; 2]);
        let over = proto::RingConfirm { reason, ..Default::default() };
        let expected = Word::RingConfirm(RingConfirm::Over { reason: EndReason::Error, release: None });
        assert_eq!(word(Body::RingConfirm(over)), Some(expected));
    }
    let refused = proto::RingConfirm { reason: EndReason::Error as i32, refusal: UNKNOWN_VALUE, ..Default::default() };
    let expected = Word::RingConfirm(RingConfirm::Over { reason: EndReason::Error, release: None });
    assert_eq!(word(Body::RingConfirm(refused)), Some(expected));
}

#[test]
fn an_unknown_disconnect_reason_and_source_have_no_name_and_keep_their_code() {
    use proto::call_message::Body;
    let release = proto::Release { reason: UNKNOWN_VALUE, source: 99, user_code: "code".to_owned() };
    let end = proto::End { reason: EndReason::Hangup as i32, release: Some(release) };
    let Some(Word::End(End { release: Some(release), .. })) = word(Body::End(end)) else { panic!("an end") };
    assert_eq!((release.reason, release.source), (DisconnectReason::Unknown, DisconnectSource::Undefined));
    assert_eq!(release.user_code.unwrap().as_str(), "code");
}

#[test]
fn an_unknown_answer_is_no_answer() {
    use proto::call_message::Body;
    let party = proto::Party { user: "bob".to_owned(), device: "phone".to_owned() };
    let answer = |result| Body::Answer(proto::Answer { callee: Some(party.clone()), result, ..Default::default() });
    let confirm =
        |result| Body::AnswerConfirm(proto::AnswerConfirm { winner: Some(party.clone()), result, release: None });
    assert_eq!(word(answer(UNKNOWN_VALUE)), None);
    assert_eq!(word(confirm(UNKNOWN_VALUE)), None);
    let Some(Word::Answer(known)) = word(answer(1)) else { panic!("an answer") };
    assert_eq!(known.result, AnswerResult::Accept);
}

fn client_body(channel: proto::channel_request::Body) -> Option<ClientBody> {
    let request = proto::ChannelRequest { channel: "c".to_owned(), to_uid: 2, body: Some(channel) };
    let body = Some(proto::client_frame::Body::Channel(request));
    decode_client_frame(&proto::ClientFrame { seq: 1, ack: 0, body }.encode_to_vec()).unwrap().body
}

fn event_body(channel: proto::channel_event::Body) -> Option<ChannelEventBody> {
    let event = proto::ChannelEvent { channel: "c".to_owned(), uid: 2, body: Some(channel) };
    let body = Some(proto::server_frame::Body::Channel(event));
    match decode_server_frame(&proto::ServerFrame { seq: 1, ack: 0, body }.encode_to_vec()).unwrap().body {
        Some(ServerBody::Channel(event)) => Some(event.body),
        Some(other) => panic!("{other:?}"),
        None => None,
    }
}

#[test]
fn unknown_values_in_a_channel_are_the_mildest_known_or_nothing() {
    let description = proto::Description { kind: UNKNOWN_VALUE, sdp: "v=0".to_owned() };
    assert_eq!(client_body(proto::channel_request::Body::Description(description.clone())), None);
    assert_eq!(event_body(proto::channel_event::Body::Description(description)), None);
    let left = proto::channel_event::Body::MemberLeft(proto::MemberLeft { reason: UNKNOWN_VALUE });
    let Some(ChannelEventBody::MemberLeft { reason, .. }) = event_body(left) else { panic!("somebody left") };
    assert_eq!(reason, LeaveReason::Left);
    let refused = proto::channel_event::Body::JoinRefused(proto::JoinRefused { reason: UNKNOWN_VALUE });
    assert_eq!(event_body(refused), Some(ChannelEventBody::JoinRefused { reason: JoinRefusal::TokenInvalid }));
    // What an older peer leaves out is off.
    let join = proto::channel_request::Body::Join(proto::Join { token: "t".to_owned(), tracks: None });
    let Some(ClientBody::Channel(request)) = client_body(join) else { panic!("a request") };
    let ChannelRequestBody::Join { tracks, .. } = request.body else { panic!("a join") };
    assert_eq!(tracks, Default::default());
}

#[test]
fn an_unknown_refusal_is_a_refusal() {
    let refuse = proto::Refuse { reason: UNKNOWN_VALUE, detail: "why".to_owned() };
    let body = Some(proto::server_frame::Body::Refuse(refuse));
    let frame = decode_server_frame(&proto::ServerFrame { seq: 0, ack: 0, body }.encode_to_vec()).unwrap();
    let Some(ServerBody::Refuse(refuse)) = frame.body else { panic!("a refusal") };
    assert_eq!(refuse.reason, RefuseReason::Unknown);
    assert!(!refuse.reason.is_passing(), "who does not know why does not knock for ever");
}

#[test]
fn a_claim_that_is_unknown_here_is_passed_over() {
    let token = r#"{"sub":"demo","uid":"alice","iss":"key-1","iat":1,"exp":2,"scope":"calls","aud":["a","b"]}"#;
    let claims: call_protocol::token::AccessClaims = serde_json::from_str(token).unwrap();
    assert_eq!(claims.uid, "alice");
    let token = r#"{"sub":"demo","channel":"c","rtc_uid":1,"iss":"key-1","iat":1,"exp":2,"role":"host"}"#;
    let claims: call_protocol::token::ChannelClaims = serde_json::from_str(token).unwrap();
    assert_eq!(claims.rtc_uid, 1);
}
