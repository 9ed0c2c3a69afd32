//! One message of every kind, with every field set.

use call_protocol::accept::{Answer, AnswerConfirm, AnswerResult};
use call_protocol::disconnect::{DisconnectReason, DisconnectSource};
use call_protocol::end::{Cancel, End, EndReason, Release, UserCode};
use call_protocol::invite::{CallType, Invite};
use call_protocol::media::*;
use call_protocol::ring::{Alert, InviteRefusal, RingConfirm};
use call_protocol::session::*;
use call_protocol::token::{AccessClaims, ChannelClaims, OperatorClaims};
use call_protocol::{CallId, CallMessage, ChatMessage, DeviceId, Party, Uid, UserId, Word};

pub(crate) fn party(user: &str) -> Party {
    Party { user: UserId::new(user).unwrap(), device: DeviceId::new("phone-1").unwrap() }
}

pub(crate) fn call(word: Word) -> CallMessage {
    CallMessage { call_id: CallId::from_bits(0x0123_4567_89ab_cdef_0011_2233_4455_6677), word }
}

pub(crate) fn invite() -> Invite {
    let call_id = CallId::from_bits(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
    Invite {
        call_id,
        caller: party("alice"),
        callees: vec![UserId::new("bob@example.org").unwrap(), UserId::new("José 🎧").unwrap()],
        call_type: CallType::Multi,
        channel: call_id.channel(),
        ext: [("avatar", "7"), ("topic", "tea")].map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ring_timeout_ms: 30_000,
        ring_deadline_unix_ms: 1_700_000_030_000,
        responder_preparation: true,
        app_server_data: "order 7".to_owned(),
    }
}

pub(crate) fn release() -> Option<Release> {
    let user_code = Some(UserCode::new("fraud").unwrap());
    Some(Release { reason: DisconnectReason::UserError, source: DisconnectSource::Callee, user_code })
}

/// Every kind of word; the name says which.
pub(crate) fn words() -> Vec<(&'static str, Word)> {
    let answer = |result| {
        Word::Answer(Answer { callee: party("bob"), result, call_type: None, preparation: false, release: None })
    };
    let confirm = |result| Word::AnswerConfirm(AnswerConfirm { result, winner: party("bob"), release: None });
    let negotiation = |body| {
        Word::Negotiation(Box::new(Negotiation {
            from: party("alice"),
            to: party("bob"),
            seq: 7,
            ack: 3,
            from_run: 11,
            to_run: 12,
            body: Some(body),
        }))
    };
    let ring = |left_ms, asked_unix_ms| {
        Word::RingConfirm(RingConfirm::Ring { deadline_unix_ms: 1_700_000_030_000, left_ms, asked_unix_ms })
    };
    let refused = |refusal| Word::RingConfirm(RingConfirm::Refused { refusal });
    vec![
        ("invite", Word::Invite(Box::new(invite()))),
        ("alert", Word::Alert(Alert { callee: party("bob"), asked_unix_ms: None })),
        ("alert_asked", Word::Alert(Alert { callee: party("bob"), asked_unix_ms: Some(4_711) })),
        ("ring_confirm_ring", ring(None, None)),
        ("ring_confirm_ring_left", ring(Some(30_000), None)),
        ("ring_confirm_ring_asked", ring(Some(30_000), Some(4_711))),
        (
            "ring_confirm_over",
            Word::RingConfirm(RingConfirm::Over { reason: EndReason::RemoteCancel, release: release() }),
        ),
        ("ring_confirm_unknown_user", refused(InviteRefusal::UnknownUser)),
        ("ring_confirm_invalid", refused(InviteRefusal::Invalid)),
        ("ring_confirm_too_many", refused(InviteRefusal::TooMany)),
        ("ring_confirm_overloaded", refused(InviteRefusal::Overloaded)),
        ("ring_confirm_token_expired", refused(InviteRefusal::TokenExpired)),
        ("answer_accept", answer(AnswerResult::Accept)),
        ("answer_refuse", answer(AnswerResult::Refuse)),
        ("answer_busy", answer(AnswerResult::Busy)),
        ("answer_confirm_accept", confirm(AnswerResult::Accept)),
        ("answer_confirm_refuse", confirm(AnswerResult::Refuse)),
        ("answer_confirm_busy", confirm(AnswerResult::Busy)),
        (
            "answer_refuse_with_code",
            Word::Answer(Answer {
                callee: party("bob"),
                result: AnswerResult::Refuse,
                call_type: None,
                preparation: false,
                release: release(),
            }),
        ),
        (
            "answer_confirm_refuse_with_code",
            Word::AnswerConfirm(AnswerConfirm {
                result: AnswerResult::Refuse,
                winner: party("bob"),
                release: release(),
            }),
        ),
        ("cancel", Word::Cancel(EndReason::Cancel.into())),
        ("cancel_with_code", Word::Cancel(Cancel { reason: EndReason::Cancel, release: release() })),
        ("end", Word::End(EndReason::Hangup.into())),
        ("end_with_code", Word::End(End { reason: EndReason::Hangup, release: release() })),
        ("keep_alive", Word::KeepAlive(KeepAlive { in_call: true, held: true, ..KeepAlive::default() })),
        (
            "keep_alive_with_quality",
            Word::KeepAlive(KeepAlive {
                in_call: true,
                quality: Some(Quality { lost_permille: 12, round_trip_ms: 48, jitter_ms: 3 }),
                ..KeepAlive::default()
            }),
        ),
        ("keep_alive_with_hold_reason", {
            let hold_reason = Some("a parcel".to_owned());
            Word::KeepAlive(KeepAlive { in_call: true, held: true, hold_reason, ..KeepAlive::default() })
        }),
        ("hold", Word::Hold { held: true, reason: None }),
        ("hold_with_reason", Word::Hold { held: true, reason: Some("a parcel".to_owned()) }),
        ("missed", Word::Missed(Box::new(invite()))),
        (
            "answer_voice_only",
            Word::Answer(Answer {
                callee: party("bob"),
                result: AnswerResult::Accept,
                call_type: Some(CallType::Audio1v1),
                preparation: true,
                release: None,
            }),
        ),
        (
            "negotiation_ack",
            Word::Negotiation(Box::new(Negotiation {
                from: party("bob"),
                to: party("alice"),
                seq: 0,
                ack: 8,
                from_run: 0,
                to_run: 0,
                body: None,
            })),
        ),
        ("reachability", Word::Reachability { reachable: false, ends_in_ms: 5_000 }),
        ("negotiation_description", negotiation(NegotiationBody::Description(description()))),
        ("negotiation_preparation_finished", negotiation(NegotiationBody::Notice(Notice::PreparationFinished))),
        ("negotiation_mute_request", negotiation(NegotiationBody::Notice(Notice::MuteRequest { muted: true }))),
        ("negotiation_hold_reason", negotiation(NegotiationBody::Notice(Notice::HoldReason("a parcel".to_owned())))),
        ("negotiation_restart", negotiation(NegotiationBody::Restart)),
        ("negotiation_candidate", negotiation(NegotiationBody::Candidate(candidate()))),
    ]
}

/// To a device, and to every one of a user.
pub(crate) fn chats() -> Vec<(&'static str, ChatMessage)> {
    let chat = |to| {
        let message = call(Word::End(EndReason::Hangup.into()));
        ChatMessage { from: DeviceId::new("phone").unwrap(), to, message }
    };
    vec![("to_device", chat(Some(DeviceId::new("desk").unwrap()))), ("to_user", chat(None))]
}

pub(crate) fn description() -> Description {
    Description { kind: DescriptionKind::Offer, sdp: "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\n".to_owned() }
}

pub(crate) fn candidate() -> Candidate {
    Candidate {
        candidate: "candidate:1 1 udp 2130706431 192.0.2.7 50000 typ host".to_owned(),
        sdp_mid: Some("0".to_owned()),
        sdp_mline_index: Some(0),
        username_fragment: Some("ufrag".to_owned()),
    }
}

pub(crate) fn uid(number: u32) -> Uid {
    Uid::new(number).unwrap()
}

/// Every kind of request to a channel.
pub(crate) fn requests() -> Vec<(&'static str, ChannelRequest)> {
    let tracks = TrackState { audio_muted: true, video_muted: false };
    let answer = Description { kind: DescriptionKind::Answer, ..description() };
    let bodies = vec![
        ("join", ChannelRequestBody::Join { token: "aaa.bbb.ccc".to_owned(), tracks }),
        ("leave", ChannelRequestBody::Leave),
        ("renew_token", ChannelRequestBody::RenewToken { token: "aaa.bbb.ccc".to_owned() }),
        ("description_offer", ChannelRequestBody::Description { to: uid(2), description: description() }),
        ("description_answer", ChannelRequestBody::Description { to: uid(2), description: answer }),
        ("candidate", ChannelRequestBody::Candidate { to: uid(2), candidate: candidate() }),
        ("tracks", ChannelRequestBody::Tracks(tracks)),
    ];
    let channel = CallId::from_bits(7).channel();
    bodies.into_iter().map(|(name, body)| (name, ChannelRequest { channel: channel.clone(), body })).collect()
}

/// Every kind of event from a channel.
pub(crate) fn events() -> Vec<(&'static str, ChannelEvent)> {
    let tracks = TrackState { audio_muted: true, video_muted: true };
    let member = Member { uid: uid(u32::MAX), tracks };
    let refused = |reason| ChannelEventBody::JoinRefused { reason };
    let left = |reason| ChannelEventBody::MemberLeft { uid: uid(2), reason };
    let stun_servers = vec!["stun:stun.example.org:3478".to_owned()];
    let bodies = vec![
        ("joined", ChannelEventBody::Joined { uid: uid(1), members: vec![member], stun_servers }),
        ("join_refused_token_invalid", refused(JoinRefusal::TokenInvalid)),
        ("join_refused_token_expired", refused(JoinRefusal::TokenExpired)),
        ("join_refused_channel_full", refused(JoinRefusal::ChannelFull)),
        ("join_refused_uid_taken", refused(JoinRefusal::UidTaken)),
        ("member_joined", ChannelEventBody::MemberJoined(member)),
        ("member_left", left(LeaveReason::Left)),
        ("member_dropped", left(LeaveReason::Dropped)),
        ("member_token_expired", left(LeaveReason::TokenExpired)),
        ("description", ChannelEventBody::Description { from: uid(2), description: description() }),
        ("candidate", ChannelEventBody::Candidate { from: uid(2), candidate: candidate() }),
        ("tracks", ChannelEventBody::Tracks { uid: uid(2), tracks }),
        ("token_expiring", ChannelEventBody::TokenExpiring { left_ms: 30_000 }),
    ];
    let channel = CallId::from_bits(7).channel();
    bodies.into_iter().map(|(name, body)| (name, ChannelEvent { channel: channel.clone(), body })).collect()
}

pub(crate) fn hello() -> Hello {
    Hello {
        protocol_version: PROTOCOL_VERSION,
        app_id: "demo".to_owned(),
        access_token: "aaa.bbb.ccc".to_owned(),
        user: "alice".to_owned(),
        device: "phone-1".to_owned(),
        resume: Some(Resume { session: "s-1".to_owned(), received: 41 }),
        agent: "golden".to_owned(),
        cc_param: String::new(),
        for_one_call: false,
    }
}

/// Every kind of frame from a client.
pub(crate) fn client_frames() -> Vec<(&'static str, ClientFrame)> {
    let frame = |seq, ack, body| ClientFrame { seq, ack, body };
    let (_, request) = requests().remove(0);
    vec![
        ("hello", frame(0, 0, Some(ClientBody::Hello(hello())))),
        ("hello_new", frame(0, 0, Some(ClientBody::Hello(Hello { resume: None, ..hello() })))),
        (
            "hello_with_cc_param",
            frame(
                0,
                0,
                Some(ClientBody::Hello(Hello {
                    access_token: String::new(),
                    cc_param: "AQAAAA".to_owned(),
                    resume: None,
                    ..hello()
                })),
            ),
        ),
        (
            "hello_for_one_call",
            frame(0, 0, Some(ClientBody::Hello(Hello { resume: None, for_one_call: true, ..hello() }))),
        ),
        (
            "call",
            frame(
                1,
                2,
                Some(ClientBody::Call(call(Word::KeepAlive(KeepAlive {
                    in_call: true,
                    held: false,
                    peer_held: true,
                    quality: None,
                    ..KeepAlive::default()
                })))),
            ),
        ),
        ("channel", frame(2, 2, Some(ClientBody::Channel(request)))),
        ("ping", frame(0, 3, Some(ClientBody::Ping { nonce: 99 }))),
        ("goodbye", frame(3, 3, Some(ClientBody::Goodbye))),
        ("renew_access", frame(0, 3, Some(ClientBody::RenewAccess { access_token: "e30.e30.c2ln".to_owned() }))),
        ("acknowledgement", frame(0, u64::MAX, None)),
    ]
}

/// Every kind of frame from the server.
pub(crate) fn server_frames() -> Vec<(&'static str, ServerFrame)> {
    let frame = |seq, ack, body| ServerFrame { seq, ack, body };
    let welcome = Welcome {
        session: "s-1".to_owned(),
        resumed: true,
        received: 41,
        server_unix_ms: 1_700_000_000_000,
        ping_every_ms: PING_EVERY_MS,
        silence_limit_ms: SILENCE_LIMIT_MS,
        resume_window_ms: RESUME_WINDOW_MS,
        stun_servers: vec!["stun:stun.example.org:3478".to_owned()],
        access_left_ms: None,
    };
    let with_end = Welcome { access_left_ms: Some(3_600_000), ..welcome.clone() };
    let access = |left_ms, refused| Some(ServerBody::Access(AccessStatus { left_ms, refused }));
    let (_, event) = events().remove(0);
    let pong = ServerBody::Pong { nonce: 99, server_unix_ms: 1_700_000_000_000 };
    let mut frames = vec![
        ("welcome", frame(0, 0, Some(ServerBody::Welcome(welcome)))),
        ("welcome_with_access_left", frame(0, 0, Some(ServerBody::Welcome(with_end)))),
        ("access", frame(0, 3, access(60_000, None))),
        ("access_refused", frame(0, 3, access(0, Some(RefuseReason::TokenInvalid)))),
        ("call", frame(1, 2, Some(ServerBody::Call(call(Word::End(EndReason::RemoteHangup.into())))))),
        ("channel", frame(2, 2, Some(ServerBody::Channel(event)))),
        ("pong", frame(0, 3, Some(pong))),
        ("acknowledgement", frame(0, u64::MAX, None)),
    ];
    let refusals = [
        ("refuse_token_invalid", RefuseReason::TokenInvalid),
        ("refuse_token_expired", RefuseReason::TokenExpired),
        ("refuse_app_unknown", RefuseReason::AppUnknown),
        ("refuse_bad_hello", RefuseReason::BadHello),
        ("refuse_version_unsupported", RefuseReason::VersionUnsupported),
        ("refuse_replaced", RefuseReason::Replaced),
        ("refuse_shutting_down", RefuseReason::ShuttingDown),
        ("refuse_bad_frame", RefuseReason::BadFrame),
        ("refuse_too_slow", RefuseReason::TooSlow),
        ("refuse_too_many", RefuseReason::TooMany),
        ("refuse_overloaded", RefuseReason::Overloaded),
        ("refuse_signed_out", RefuseReason::SignedOut),
        ("refuse_unknown", RefuseReason::Unknown),
    ];
    frames.extend(refusals.map(|(name, reason)| {
        (name, frame(0, 0, Some(ServerBody::Refuse(Refuse { reason, detail: "for the log".to_owned() }))))
    }));
    frames
}

pub(crate) fn access_claims() -> AccessClaims {
    AccessClaims {
        sub: "demo".to_owned(),
        uid: "alice".to_owned(),
        iss: "key-1".to_owned(),
        iat: 1_700_000_000,
        exp: 1_700_003_600,
    }
}

pub(crate) fn channel_claims() -> ChannelClaims {
    ChannelClaims {
        sub: "demo".to_owned(),
        channel: "00000000000000000000000000000007".to_owned(),
        rtc_uid: 1,
        iss: "key-1".to_owned(),
        iat: 1_700_000_000,
        exp: 1_700_003_600,
    }
}

pub(crate) fn operator_claims() -> OperatorClaims {
    OperatorClaims {
        sub: "demo".to_owned(),
        scope: OperatorClaims::SCOPE.to_owned(),
        iss: "key-1".to_owned(),
        exp: 1_700_003_600,
    }
}
