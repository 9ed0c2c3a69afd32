//! A sign-in by cc_param is for one call: nothing else can be done with it, and nobody else can make one.

use call_protocol::invite::CallType;
use call_protocol::media::{ChannelEventBody as Event, ChannelRequestBody as Ask, JoinRefusal, TrackState};
use call_protocol::ring::{InviteRefusal, RingConfirm};
use call_protocol::session::{Hello, RefuseReason, Resume};
use call_protocol::{CallId, CcParam, Uid, UserId, Word};
use callkit_server::checks_alone::Checks;
use callkit_server::{Secret, Server, ServerConfig};

use crate::backend::{Backend, by_cc_param, call};
use crate::client::{Client, app, hello, metric};
use crate::words::invite;
use call_protocol::end::EndReason;

const CALL: CallId = CallId::from_bits(0xb0b);
const OTHER: CallId = CallId::from_bits(0xb0b1);

#[tokio::test]
async fn p4_p3_cc_param_is_refused_when_forged() {
    let mut backend = Backend::start().await;
    let server = backend.server().await;
    let mut other_backend = Backend::start().await;
    let other_server = other_backend.server().await;
    let address = server.local_addr();
    let mut ann = Client::sign_in(address, "ann").await;
    let good = call(&mut backend, &mut ann, CALL, 30_000).await;
    let mut other_ann = Client::sign_in(other_server.local_addr(), "ann").await;
    let foreign = call(&mut other_backend, &mut other_ann, CALL, 30_000).await;

    let param = CcParam::parse(&good).unwrap();
    let (_, parts) = CcParam::open(&good).unwrap();
    let resealed = |param: CcParam| param.seal(|_| (parts.key_number, parts.mac));
    let carl = UserId::new("carl").unwrap();
    let cases = [
        ("garbage", by_cc_param("garbage"), "no cc_param"),
        ("cut", by_cc_param(&good[..good.len() - 4]), "cc_param"),
        ("other server", by_cc_param(&foreign), "not signed"),
        ("no signature", by_cc_param(&param.clone().seal(|_| (parts.key_number, [0; 16]))), "not signed"),
        (
            "longer ring",
            by_cc_param(&resealed(CcParam { ring_deadline_unix_ms: u64::MAX, ..param.clone() })),
            "not signed",
        ),
        ("other call", by_cc_param(&resealed(CcParam { call_id: OTHER, ..param.clone() })), "not signed"),
        (
            "other user, changed inside",
            Hello { user: "carl".into(), ..by_cc_param(&resealed(CcParam { user: carl, ..param.clone() })) },
            "not signed",
        ),
        ("other user", Hello { user: "carl".into(), ..by_cc_param(&good) }, "another user"),
        ("other app", Hello { app_id: "bank".into(), ..by_cc_param(&good) }, "not signed"),
    ];
    for (what, hello, expected) in cases {
        let refuse = Client::try_sign_in(address, hello).await.err().unwrap_or_else(|| panic!("{what} was taken"));
        assert_eq!(refuse.reason, RefuseReason::TokenInvalid, "{what}");
        assert!(refuse.detail.contains(expected), "{what}: {}", refuse.detail);
    }
    assert!(metric(address, "callkit_auth_failures_total{reason=\"cc_signature\"}").await >= 6.0);
    assert!(Client::try_sign_in(address, by_cc_param(&good)).await.is_ok(), "and the good one is good");
    server.stop().await;
    other_server.stop().await;
}

#[tokio::test]
async fn p4_p3_a_cc_param_whose_time_is_over_goes_on_with_its_own_session_and_begins_none() {
    let backend = Backend::start().await;
    let secrets = vec![Secret::new("a secret of the server that nobody else has")];
    let config = ServerConfig { server_secret: secrets.clone(), ..backend.config() };
    let server = Server::start(config).await.unwrap();
    let address = server.local_addr();
    let mut ann = Client::sign_in(address, "ann").await;
    ann.say(CALL, invite(CALL, "ann", "bob")).await;
    ann.word().await;
    let checks = Checks::new(&[app("shop")], &secrets).unwrap();
    let sealed = |ring_deadline_unix_ms| {
        checks.seal(&CcParam {
            app_id: app("shop").app_id,
            call_id: CALL,
            user: UserId::new("bob").unwrap(),
            peer: UserId::new("ann").unwrap(),
            call_type: CallType::Audio1v1,
            ring_deadline_unix_ms,
            device: None,
        })
    };
    let now = u64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let (good, over) = (sealed(now + 30_000), sealed(now - 25 * 3_600 * 1_000));
    let made_up = Some(Resume { session: "made up".into(), received: 0 });
    for resume in [None, made_up.clone()] {
        let refuse = Client::try_sign_in(address, Hello { resume, ..by_cc_param(&over) }).await.err().unwrap();
        assert_eq!(refuse.reason, RefuseReason::TokenExpired);
    }
    let mut bob = Client::try_sign_in(address, by_cc_param(&good)).await.unwrap();
    assert!(matches!(bob.word().await, Word::Invite(_)));
    let refuse = Client::try_sign_in(address, Hello { resume: made_up, ..by_cc_param(&over) }).await.err().unwrap();
    assert_eq!(refuse.reason, RefuseReason::TokenExpired);
    bob.hears_nothing().await;

    let resume = Some(Resume { session: bob.session(), received: bob.received });
    drop(bob);
    let bob = Client::try_sign_in(address, Hello { resume, ..by_cc_param(&over) }).await.unwrap();
    assert!(bob.welcome.unwrap().resumed, "a call goes on however long it lasts");
    server.stop().await;
}

#[tokio::test]
async fn p4_p3_a_session_by_cc_param_speaks_of_its_call_only() {
    let mut backend = Backend::start().await;
    let server = backend.server().await;
    let address = server.local_addr();
    let mut ann = Client::sign_in(address, "ann").await;
    let mut carl = Client::sign_in(address, "carl").await;
    // Another call of bob's, which rings on bob's own phone.
    let mut own = Client::try_sign_in(address, hello(&app("shop"), "bob", "tablet")).await.unwrap();
    carl.say(OTHER, invite(OTHER, "carl", "bob")).await;
    carl.word().await;
    backend.notify().await;
    assert!(matches!(own.word().await, Word::Invite(heard) if heard.call_id == OTHER));
    let cc_param = call(&mut backend, &mut ann, CALL, 30_000).await;
    let mut bob = Client::try_sign_in(address, by_cc_param(&cc_param)).await.unwrap();
    assert!(matches!(bob.word().await, Word::Invite(heard) if heard.call_id == CALL));

    bob.say(OTHER, Word::End(EndReason::Refuse.into())).await;
    assert!(matches!(bob.word().await, Word::End(_)), "a receipt, as for any stranger");
    carl.hears_nothing().await;
    for call_id in [CallId::from_bits(0xdead), CALL] {
        bob.say(call_id, invite(call_id, "bob", "ann")).await;
        let refused = Word::RingConfirm(RingConfirm::Refused { refusal: InviteRefusal::Invalid });
        assert_eq!(bob.word().await, refused);
    }
    let token = app("shop").channel_token(&"room".parse().unwrap(), Uid::new(9).unwrap(), 600);
    let tracks = TrackState::default();
    let refused = Event::JoinRefused { reason: JoinRefusal::TokenInvalid };
    for (channel, token) in [("room", token), ("room", String::new()), (CALL.channel().as_str(), String::new())] {
        bob.ask(channel, Ask::Join { token, tracks }).await;
        assert_eq!(bob.event().await, refused, "not even the call's own before it was answered here");
    }
    let (second, third) = (CallId::from_bits(0xb0b2), party_invite());
    carl.say(second, third).await;
    carl.word().await;
    own.word().await;
    bob.hears_nothing().await;
    server.stop().await;
}

fn party_invite() -> Word {
    invite(CallId::from_bits(0xb0b2), "carl", "bob")
}

#[tokio::test]
async fn p4_p3_nobody_but_a_party_enters_the_channel_of_a_call_without_a_token() {
    let mut backend = Backend::start().await;
    let server = backend.server().await;
    let address = server.local_addr();
    let mut ann = Client::sign_in(address, "ann").await;
    let mut eve = Client::sign_in(address, "eve").await;
    call(&mut backend, &mut ann, CALL, 30_000).await;
    let join = Ask::Join { token: String::new(), tracks: TrackState::default() };
    eve.ask(CALL.channel().as_str(), join.clone()).await;
    assert_eq!(eve.event().await, Event::JoinRefused { reason: JoinRefusal::TokenInvalid });
    ann.ask(CALL.channel().as_str(), join.clone()).await;
    assert!(matches!(ann.event().await, Event::Joined { .. }));
    ann.ask("room", join).await;
    assert_eq!(ann.event().await, Event::JoinRefused { reason: JoinRefusal::TokenInvalid });
    ann.ask(CALL.channel().as_str(), Ask::RenewToken { token: String::new() }).await;
    ann.hears_nothing().await;
    server.stop().await;
}
