//! Every limit holds, with an error that names the place; what is just within it passes.

use call_protocol::invite::{CallType, Invite, InviteError};
use call_protocol::limits::*;
use call_protocol::media::{Candidate, ChannelRequest, ChannelRequestBody, Description};
use call_protocol::session::{ClientBody, ClientFrame, Hello, Refuse, RefuseReason, Resume, ServerBody, ServerFrame};
use call_protocol::wire::{proto, *};
use call_protocol::{AppId, ChannelId, DeviceId, IdError, Uid, UserId, Word};
use prost::Message as _;

use crate::samples;

fn long(bytes: usize) -> String {
    "x".repeat(bytes)
}

fn client(body: ClientBody) -> Result<ClientFrame, WireError> {
    decode_client_frame(&encode_client_frame(&ClientFrame { seq: 1, ack: 0, body: Some(body) }))
}

fn request(body: ChannelRequestBody) -> Result<ClientFrame, WireError> {
    client(ClientBody::Channel(ChannelRequest { channel: ChannelId::new("c").unwrap(), body }))
}

/// Just within the limit passes; one byte more is refused at this place.
fn holds<T: std::fmt::Debug>(place: &'static str, limit: usize, decode: impl Fn(String) -> Result<T, WireError>) {
    decode(long(limit)).unwrap_or_else(|error| panic!("{place} of {limit}: {error}"));
    assert_eq!(decode(long(limit + 1)).unwrap_err(), WireError::TooLarge { place, limit });
}

#[test]
fn ids() {
    type New = fn(String) -> Result<(), IdError>;
    let ids: [(usize, New); 4] = [
        (USER_ID_BYTES, |text| UserId::new(text).map(drop)),
        (DEVICE_ID_BYTES, |text| DeviceId::new(text).map(drop)),
        (APP_ID_BYTES, |text| AppId::new(text).map(drop)),
        (CHANNEL_ID_BYTES, |text| ChannelId::new(text).map(drop)),
    ];
    for (limit, new) in ids {
        assert_eq!(new(long(limit)), Ok(()));
        assert_eq!(new(long(limit + 1)), Err(IdError::TooLong { limit }));
        assert_eq!(new(String::new()), Err(IdError::Empty));
        assert_eq!(new("a\u{7}".to_owned()), Err(IdError::ControlCharacter));
    }
}

#[test]
fn texts_of_a_hello() {
    let hello = |change: &dyn Fn(&mut Hello)| {
        let mut hello = samples::hello();
        change(&mut hello);
        client(ClientBody::Hello(hello))
    };
    holds("hello.app_id", APP_ID_BYTES, |text| hello(&|hello| hello.app_id.clone_from(&text)));
    holds("hello.user", USER_ID_BYTES, |text| hello(&|hello| hello.user.clone_from(&text)));
    holds("hello.device", DEVICE_ID_BYTES, |text| hello(&|hello| hello.device.clone_from(&text)));
    holds("hello.access_token", TOKEN_BYTES, |text| hello(&|hello| hello.access_token.clone_from(&text)));
    holds("hello.agent", NOTE_BYTES, |text| hello(&|hello| hello.agent.clone_from(&text)));
    holds("hello.resume_session", NOTE_BYTES, |text| {
        hello(&|hello| hello.resume = Some(Resume { session: text.clone(), received: 0 }))
    });
}

#[test]
fn texts_of_a_refusal_and_of_a_channel() {
    holds("refuse.detail", NOTE_BYTES, |detail| {
        let body = Some(ServerBody::Refuse(Refuse { reason: RefuseReason::TooMany, detail }));
        decode_server_frame(&encode_server_frame(&ServerFrame { seq: 0, ack: 0, body }))
    });
    holds("join.token", TOKEN_BYTES, |token| request(ChannelRequestBody::Join { token, tracks: Default::default() }));
    holds("renew_token.token", TOKEN_BYTES, |token| request(ChannelRequestBody::RenewToken { token }));
    let to = samples::uid(2);
    holds("description.sdp", SDP_BYTES, |sdp| {
        let description = Description { sdp, ..samples::description() };
        request(ChannelRequestBody::Description { to, description })
    });
    let candidate = |candidate| request(ChannelRequestBody::Candidate { to, candidate });
    let sample = samples::candidate;
    holds("candidate.candidate", CANDIDATE_BYTES, |text| candidate(Candidate { candidate: text, ..sample() }));
    holds("candidate.sdp_mid", CANDIDATE_BYTES, |text| candidate(Candidate { sdp_mid: Some(text), ..sample() }));
    holds("candidate.username_fragment", CANDIDATE_BYTES, |text| {
        candidate(Candidate { username_fragment: Some(text), ..sample() })
    });
}

#[test]
fn the_position_of_a_media_section() {
    let limit = usize::from(u16::MAX);
    for (index, fits) in [(u32::from(u16::MAX), true), (u32::from(u16::MAX) + 1, false)] {
        let candidate = proto::Candidate { sdp_mline_index: Some(index), ..Default::default() };
        let body = Some(proto::channel_request::Body::Candidate(candidate));
        let request = proto::ChannelRequest { channel: "c".to_owned(), to_uid: 2, body };
        let body = Some(proto::client_frame::Body::Channel(request));
        let decoded = client_frame_from_proto(proto::ClientFrame { seq: 1, ack: 0, body });
        let refused = Err(WireError::TooLarge { place: "candidate.sdp_mline_index", limit });
        assert_eq!(decoded.map(drop), if fits { Ok(()) } else { refused });
    }
}

fn decoded(invite: &Invite) -> Result<(), WireError> {
    decode_call(&encode_call(&samples::call(Word::Invite(Box::new(invite.clone()))))).map(drop)
}

/// An invite is checked by its sender ([`Invite::check`]) and by whoever reads it.
#[test]
fn invites() {
    let users = |count: usize| (0..count).map(|n| UserId::new(format!("user-{n}")).unwrap()).collect::<Vec<_>>();
    let mut invite = Invite { callees: users(CALLEES), ..samples::invite() };
    assert_eq!((invite.check(), decoded(&invite)), (Ok(()), Ok(())));
    invite.callees = users(CALLEES + 1);
    let too_large = |place, limit| Err(WireError::TooLarge { place, limit });
    assert_eq!(invite.check(), Err(InviteError::TooManyCallees));
    assert_eq!(decoded(&invite), too_large("invite.callees", CALLEES));

    let ext = |count: usize| (0..count).map(|n| (n.to_string(), String::new())).collect();
    invite = Invite { ext: ext(EXT_ENTRIES), ..samples::invite() };
    assert_eq!((invite.check(), decoded(&invite)), (Ok(()), Ok(())));
    invite.ext = ext(EXT_ENTRIES + 1);
    assert_eq!(invite.check(), Err(InviteError::ExtTooLarge));
    assert_eq!(decoded(&invite), too_large("invite.ext", EXT_ENTRIES));

    invite.ext = [("k".to_owned(), long(EXT_BYTES - 1))].into();
    assert_eq!((invite.check(), decoded(&invite)), (Ok(()), Ok(())));
    invite.ext = [("k".to_owned(), long(EXT_BYTES))].into();
    assert_eq!(invite.check(), Err(InviteError::ExtTooLarge));
    assert_eq!(decoded(&invite), too_large("invite.ext", EXT_BYTES));
}

#[test]
fn invites_that_make_no_sense() {
    let one = vec![UserId::new("bob").unwrap()];
    let invite = Invite { callees: one.clone(), call_type: CallType::Audio1v1, ..samples::invite() };
    assert_eq!(invite.check(), Ok(()));
    let check = |change: &dyn Fn(&mut Invite)| {
        let mut invite = invite.clone();
        change(&mut invite);
        invite.check()
    };
    assert_eq!(check(&|invite| invite.callees.clear()), Err(InviteError::NoCallee));
    assert_eq!(check(&|invite| invite.callees = samples::invite().callees), Err(InviteError::NotOneCallee));
    assert_eq!(check(&|invite| invite.callees = vec![invite.caller.user.clone()]), Err(InviteError::OwnId));
    for (ring_timeout_ms, within) in [
        (RING_TIMEOUT_MIN_MS - 1, false),
        (RING_TIMEOUT_MIN_MS, true),
        (RING_TIMEOUT_MAX_MS, true),
        (RING_TIMEOUT_MAX_MS + 1, false),
    ] {
        let expected = if within { Ok(()) } else { Err(InviteError::RingTimeout) };
        assert_eq!(check(&|invite| invite.ring_timeout_ms = ring_timeout_ms), expected, "{ring_timeout_ms}");
    }
}

#[test]
fn frames() {
    let (_, frame) = samples::client_frames().remove(0);
    let over = [encode_client_frame(&frame), vec![0; FRAME_BYTES]].concat();
    assert_eq!(decode_client_frame(&over), Err(WireError::TooLarge { place: "frame", limit: FRAME_BYTES }));
    assert_eq!(decode_server_frame(&over), Err(WireError::TooLarge { place: "frame", limit: FRAME_BYTES }));
    // The largest thing that a frame carries fits, with its envelope.
    let description = Description { sdp: long(SDP_BYTES), ..samples::description() };
    let body = ChannelRequestBody::Description { to: samples::uid(2), description };
    request(body).unwrap();
}

#[test]
fn parts_that_are_missing_or_no_ids() {
    use proto::call_message::Body;
    let party = |user: &str, device: &str| Some(proto::Party { user: user.to_owned(), device: device.to_owned() });
    let call = |call_id: &str, body| {
        decode_call(&proto::CallMessage { call_id: call_id.to_owned(), body: Some(body) }.encode_to_vec())
    };
    let good = samples::invite().call_id.to_string();
    let alert = |callee| Body::Alert(proto::Alert { callee, asked_unix_ms: None });
    let id = |place, error| Err(WireError::Id { place, error });
    assert_eq!(call("", alert(party("bob", "phone"))), id("call_id", IdError::Empty));
    assert_eq!(call("abc", alert(party("bob", "phone"))), id("call_id", IdError::NotHexadecimal));
    assert_eq!(call(&good, alert(None)), Err(WireError::Missing("alert.callee")));
    assert_eq!(call(&good, alert(party("", "phone"))), id("alert.callee", IdError::Empty));
    assert_eq!(call(&good, alert(party("bob", "a\nb"))), id("alert.callee", IdError::ControlCharacter));
    let answer = Body::Answer(proto::Answer { callee: None, result: 1, ..Default::default() });
    assert_eq!(call(&good, answer), Err(WireError::Missing("answer.callee")));
    let confirm = Body::AnswerConfirm(proto::AnswerConfirm { winner: None, result: 1, release: None });
    assert_eq!(call(&good, confirm), Err(WireError::Missing("answer_confirm.winner")));
    let invite = Body::Invite(proto::Invite { channel: "c".to_owned(), ..Default::default() });
    assert_eq!(call(&good, invite), Err(WireError::Missing("invite.caller")));
    let invite = proto::Invite { caller: party("a", "p"), callees: vec![long(129)], ..Default::default() };
    assert_eq!(call(&good, Body::Invite(invite)), id("invite.callees", IdError::TooLong { limit: USER_ID_BYTES }));
    let invite = proto::Invite { caller: party("a", "p"), callees: vec!["b".to_owned()], ..Default::default() };
    assert_eq!(call(&good, Body::Invite(invite)), id("invite.channel", IdError::Empty));

    // Who a description is for must be said.
    let body = Some(proto::channel_request::Body::Description(proto::Description { kind: 1, sdp: "v=0".to_owned() }));
    let request = proto::ChannelRequest { channel: "c".to_owned(), to_uid: 0, body };
    let body = Some(proto::client_frame::Body::Channel(request));
    let frame = client_frame_from_proto(proto::ClientFrame { seq: 1, ack: 0, body });
    let zero = WireError::Id { place: "description.to_uid", error: IdError::Zero };
    assert_eq!(frame, Err(zero));
    assert_eq!(Uid::new(0), Err(IdError::Zero));
    assert_eq!(decode_call(b"\xff\xff\xff"), Err(WireError::NotProtobuf));
    assert_eq!(decode_client_frame(b"GET / HTTP/1.1\r\n\r\n"), Err(WireError::NotProtobuf));
}

#[test]
fn errors_say_where_and_what() {
    let errors = [
        WireError::NotProtobuf,
        WireError::Missing("alert.callee"),
        WireError::Id { place: "invite.callees", error: IdError::TooLong { limit: 128 } },
        WireError::TooLarge { place: "invite.ext", limit: 32 },
    ];
    insta::assert_snapshot!(errors.map(|error| error.to_string()).join("\n"), @"
    the bytes are not a message
    alert.callee is missing
    invite.callees: it is longer than 128 bytes
    invite.ext is over its limit of 32
    ");
}
