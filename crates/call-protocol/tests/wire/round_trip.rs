//! Arbitrary messages come back as they went, and arbitrary bytes never panic.

use call_protocol::accept::{Answer, AnswerConfirm, AnswerResult};
use call_protocol::disconnect::{DisconnectReason, DisconnectSource};
use call_protocol::end::{Cancel, End, EndReason, Release, UserCode};
use call_protocol::invite::{CallType, Invite};
use call_protocol::media::*;
use call_protocol::ring::{Alert, InviteRefusal, RingConfirm};
use call_protocol::session::*;
use call_protocol::wire::*;
use call_protocol::{CallId, CallMessage, ChannelId, ChatMessage, DeviceId, Party, Uid, UserId, Word};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::decoders;

/// Any text without control characters that is an id.
const ID: &str = "[^\\pC]{1,16}";

fn party() -> impl Strategy<Value = Party> {
    (ID, ID)
        .prop_map(|(user, device)| Party { user: UserId::new(user).unwrap(), device: DeviceId::new(device).unwrap() })
}

fn result() -> impl Strategy<Value = AnswerResult> {
    select(vec![AnswerResult::Accept, AnswerResult::Refuse, AnswerResult::Busy])
}

fn call_type() -> impl Strategy<Value = CallType> {
    select(vec![CallType::Audio1v1, CallType::Video1v1, CallType::Multi])
}

fn reason() -> impl Strategy<Value = EndReason> {
    select(EndReason::ALL.to_vec())
}

prop_compose! {
    fn invite()(
        bits in any::<u128>(),
        caller in party(),
        callees in vec(ID, 0..=8),
        call_type in call_type(),
        ext in btree_map(".{0,8}", ".{0,16}", 0..=8),
        ring_timeout_ms in any::<u32>(),
        ring_deadline_unix_ms in any::<u64>(),
        responder_preparation in any::<bool>(),
        app_server_data in ".{0,64}",
    ) -> Invite {
        let call_id = CallId::from_bits(bits);
        let callees = callees.into_iter().map(|user| UserId::new(user).unwrap()).collect();
        Invite {
            call_id, caller, callees, call_type, channel: call_id.channel(), ext, ring_timeout_ms, ring_deadline_unix_ms,
            responder_preparation, app_server_data,
        }
    }
}

fn quality() -> impl Strategy<Value = Quality> {
    (0..=1_000u32, any::<(u32, u32)>()).prop_map(|(lost_permille, (round_trip_ms, jitter_ms))| Quality {
        lost_permille,
        round_trip_ms,
        jitter_ms,
    })
}

fn release() -> impl Strategy<Value = Option<Release>> {
    let code = option::of("[a-z ]{1,64}".prop_map(|text| UserCode::new(&text).unwrap()));
    let reason = (select(DisconnectReason::ALL.to_vec()), select(DisconnectSource::ALL.to_vec()), code);
    option::of(reason.prop_map(|(reason, source, user_code)| Release { reason, source, user_code }))
}

fn ring_confirm() -> impl Strategy<Value = RingConfirm> {
    prop_oneof![
        any::<(u64, Option<u32>, Option<u64>)>().prop_map(|(deadline_unix_ms, left_ms, asked_unix_ms)| {
            RingConfirm::Ring { deadline_unix_ms, left_ms, asked_unix_ms }
        }),
        (reason(), release()).prop_map(|(reason, release)| RingConfirm::Over { reason, release }),
        select(vec![
            InviteRefusal::UnknownUser,
            InviteRefusal::Invalid,
            InviteRefusal::TooMany,
            InviteRefusal::Overloaded
        ])
        .prop_map(|refusal| RingConfirm::Refused { refusal }),
    ]
}

fn call() -> impl Strategy<Value = CallMessage> {
    let word = prop_oneof![
        invite().prop_map(|invite| Word::Invite(Box::new(invite))),
        (party(), any::<Option<u64>>())
            .prop_map(|(callee, asked_unix_ms)| Word::Alert(Alert { callee, asked_unix_ms })),
        ring_confirm().prop_map(Word::RingConfirm),
        (party(), result(), option::of(call_type()), any::<bool>(), release()).prop_map(
            |(callee, result, call_type, preparation, release)| {
                Word::Answer(Answer { callee, result, call_type, preparation, release })
            }
        ),
        (party(), result(), release()).prop_map(|(winner, result, release)| Word::AnswerConfirm(AnswerConfirm {
            result,
            winner,
            release
        })),
        (reason(), release()).prop_map(|(reason, release)| Word::Cancel(Cancel { reason, release })),
        (reason(), release()).prop_map(|(reason, release)| Word::End(End { reason, release })),
        (any::<(bool, bool, bool)>(), option::of(quality()), hold_reason()).prop_map(
            |((in_call, held, peer_held), quality, hold_reason)| {
                Word::KeepAlive(KeepAlive { in_call, held, peer_held, quality, hold_reason })
            }
        ),
        (any::<bool>(), hold_reason()).prop_map(|(held, reason)| Word::Hold { held, reason }),
        invite().prop_map(|invite| Word::Missed(Box::new(invite))),
        any::<(bool, u32)>().prop_map(|(reachable, ends_in_ms)| Word::Reachability { reachable, ends_in_ms }),
        negotiation().prop_map(|negotiation| Word::Negotiation(Box::new(negotiation))),
    ];
    (any::<u128>(), word).prop_map(|(bits, mut word)| {
        let call_id = CallId::from_bits(bits);
        if let Word::Invite(invite) | Word::Missed(invite) = &mut word {
            invite.call_id = call_id;
        }
        CallMessage { call_id, word }
    })
}

fn hold_reason() -> impl Strategy<Value = Option<String>> {
    option::of("[a-z ]{1,20}")
}

fn uid() -> impl Strategy<Value = Uid> {
    (1..=u32::MAX).prop_map(|number| Uid::new(number).unwrap())
}

fn tracks() -> impl Strategy<Value = TrackState> {
    any::<(bool, bool)>().prop_map(|(audio_muted, video_muted)| TrackState { audio_muted, video_muted })
}

fn member() -> impl Strategy<Value = Member> {
    (uid(), tracks()).prop_map(|(uid, tracks)| Member { uid, tracks })
}

fn description() -> impl Strategy<Value = Description> {
    (select(vec![DescriptionKind::Offer, DescriptionKind::Answer]), ".{0,64}")
        .prop_map(|(kind, sdp)| Description { kind, sdp })
}

prop_compose! {
    fn candidate()(
        candidate in ".{0,64}",
        sdp_mid in option::of(".{0,8}"),
        sdp_mline_index in option::of(any::<u16>()),
        username_fragment in option::of(".{0,8}"),
    ) -> Candidate {
        Candidate { candidate, sdp_mid, sdp_mline_index, username_fragment }
    }
}

fn negotiation() -> impl Strategy<Value = Negotiation> {
    let body = prop_oneof![
        description().prop_map(NegotiationBody::Description),
        candidate().prop_map(NegotiationBody::Candidate),
        Just(NegotiationBody::Restart),
        Just(NegotiationBody::Notice(Notice::PreparationFinished)),
        any::<bool>().prop_map(|muted| NegotiationBody::Notice(Notice::MuteRequest { muted })),
        ".{0,32}".prop_map(|reason| NegotiationBody::Notice(Notice::HoldReason(reason))),
    ];
    let numbers = (any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>());
    (party(), party(), numbers, option::of(body)).prop_map(|(from, to, (seq, ack, from_run, to_run), body)| {
        Negotiation { from, to, seq, ack, from_run, to_run, body }
    })
}

fn request() -> impl Strategy<Value = ChannelRequest> {
    let body = prop_oneof![
        (".{0,32}", tracks()).prop_map(|(token, tracks)| ChannelRequestBody::Join { token, tracks }),
        Just(ChannelRequestBody::Leave),
        ".{0,32}".prop_map(|token| ChannelRequestBody::RenewToken { token }),
        (uid(), description()).prop_map(|(to, description)| ChannelRequestBody::Description { to, description }),
        (uid(), candidate()).prop_map(|(to, candidate)| ChannelRequestBody::Candidate { to, candidate }),
        tracks().prop_map(ChannelRequestBody::Tracks),
    ];
    (ID, body).prop_map(|(channel, body)| ChannelRequest { channel: ChannelId::new(channel).unwrap(), body })
}

fn event() -> impl Strategy<Value = ChannelEvent> {
    use ChannelEventBody::*;
    let refusals =
        vec![JoinRefusal::TokenInvalid, JoinRefusal::TokenExpired, JoinRefusal::ChannelFull, JoinRefusal::UidTaken];
    let leaves = vec![LeaveReason::Left, LeaveReason::Dropped, LeaveReason::TokenExpired];
    let body = prop_oneof![
        (uid(), vec(member(), 0..4), vec(".{0,16}", 0..3)).prop_map(|(uid, members, stun_servers)| Joined {
            uid,
            members,
            stun_servers
        }),
        select(refusals).prop_map(|reason| JoinRefused { reason }),
        member().prop_map(MemberJoined),
        (uid(), select(leaves)).prop_map(|(uid, reason)| MemberLeft { uid, reason }),
        (uid(), description()).prop_map(|(from, description)| Description { from, description }),
        (uid(), candidate()).prop_map(|(from, candidate)| Candidate { from, candidate }),
        (uid(), tracks()).prop_map(|(uid, tracks)| Tracks { uid, tracks }),
        any::<u32>().prop_map(|left_ms| TokenExpiring { left_ms }),
    ];
    (ID, body).prop_map(|(channel, body)| ChannelEvent { channel: ChannelId::new(channel).unwrap(), body })
}

prop_compose! {
    fn hello()(
        protocol_version in any::<u32>(),
        app_id in ".{0,16}",
        access_token in ".{0,32}",
        user in ".{0,16}",
        device in ".{0,16}",
        resume in option::of((".{1,16}", any::<u64>())),
        agent in ".{0,16}",
        cc_param in "[A-Za-z0-9_-]{0,32}",
        for_one_call in any::<bool>(),
    ) -> Hello {
        let resume = resume.map(|(session, received)| Resume { session, received });
        Hello { protocol_version, app_id, access_token, user, device, resume, agent, cc_param, for_one_call }
    }
}

fn client_frame() -> impl Strategy<Value = ClientFrame> {
    let body = prop_oneof![
        hello().prop_map(ClientBody::Hello),
        call().prop_map(ClientBody::Call),
        request().prop_map(ClientBody::Channel),
        any::<u64>().prop_map(|nonce| ClientBody::Ping { nonce }),
        Just(ClientBody::Goodbye),
        "[A-Za-z0-9_.-]{0,32}".prop_map(|access_token| ClientBody::RenewAccess { access_token }),
    ];
    (any::<u64>(), any::<u64>(), option::of(body)).prop_map(|(seq, ack, body)| ClientFrame { seq, ack, body })
}

prop_compose! {
    fn welcome()(
        session in ".{0,16}",
        resumed in any::<bool>(),
        (received, server_unix_ms) in any::<(u64, u64)>(),
        (ping_every_ms, silence_limit_ms, resume_window_ms) in any::<(u32, u32, u32)>(),
        stun_servers in vec(".{0,16}", 0..3),
        access_left_ms in any::<Option<u64>>(),
    ) -> Welcome {
        Welcome {
            session, resumed, received, server_unix_ms, ping_every_ms, silence_limit_ms, resume_window_ms, stun_servers,
            access_left_ms,
        }
    }
}

fn server_frame() -> impl Strategy<Value = ServerFrame> {
    let refusals =
        vec![RefuseReason::TokenInvalid, RefuseReason::Replaced, RefuseReason::TooMany, RefuseReason::Unknown];
    let known = refusals[..3].to_vec();
    let body = prop_oneof![
        welcome().prop_map(ServerBody::Welcome),
        (select(refusals.clone()), ".{0,32}")
            .prop_map(|(reason, detail)| ServerBody::Refuse(Refuse { reason, detail })),
        call().prop_map(ServerBody::Call),
        event().prop_map(ServerBody::Channel),
        any::<(u64, u64)>().prop_map(|(nonce, server_unix_ms)| ServerBody::Pong { nonce, server_unix_ms }),
        (any::<u64>(), option::of(select(known)))
            .prop_map(|(left_ms, refused)| ServerBody::Access(AccessStatus { left_ms, refused })),
    ];
    (any::<u64>(), any::<u64>(), option::of(body)).prop_map(|(seq, ack, body)| ServerFrame { seq, ack, body })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    #[test]
    fn call_messages_come_back(message in call()) {
        prop_assert_eq!(decode_call(&encode_call(&message)), Ok(Some(message)));
    }

    #[test]
    fn chat_messages_come_back(from in ID, to in option::of(ID), message in call()) {
        let device = |id: String| DeviceId::new(id).unwrap();
        let chat = ChatMessage { from: device(from), to: to.map(device), message };
        prop_assert_eq!(decode_chat(&encode_chat(&chat)), Ok(Some(chat)));
    }

    #[test]
    fn client_frames_come_back(frame in client_frame()) {
        prop_assert_eq!(decode_client_frame(&encode_client_frame(&frame)), Ok(frame));
    }

    #[test]
    fn server_frames_come_back(frame in server_frame()) {
        prop_assert_eq!(decode_server_frame(&encode_server_frame(&frame)), Ok(frame));
    }

    #[test]
    fn call_messages_come_back_from_json(message in call()) {
        let text = serde_json::to_string(&message).unwrap();
        prop_assert_eq!(serde_json::from_str::<CallMessage>(&text).unwrap(), message);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..256)) {
        decoders::check(&bytes);
    }
}
