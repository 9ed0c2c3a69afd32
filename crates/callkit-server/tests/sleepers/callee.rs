//! What a callee can do in time with a cc_param alone: take the call, or decline it without an app.

use call_protocol::accept::{Answer, AnswerConfirm, AnswerResult};
use call_protocol::disconnect::{DisconnectReason, DisconnectSource};
use call_protocol::end::EndReason;
use call_protocol::invite::Invite;
use call_protocol::media::{ChannelEventBody as Event, ChannelRequestBody as Ask, KeepAlive, TrackState};
use call_protocol::ring::{Alert, RingConfirm};
use call_protocol::session::{Hello, RefuseReason, Resume, ServerBody};
use call_protocol::{CallId, CcParam, Word};
use callkit_server::{LimitsConfig, Server, ServerConfig};

use crate::backend::{Backend, by_cc_param, call, invite};
use crate::client::{Client, http, metric};
use crate::words::party;

const CALL: CallId = CallId::from_bits(0xca11);

fn answer(result: AnswerResult) -> Word {
    Word::Answer(Answer { callee: party("bob"), result, call_type: None, preparation: false, release: None })
}

fn join() -> Ask {
    Ask::Join { token: String::new(), tracks: TrackState::default() }
}

#[tokio::test]
async fn p4_p7_the_backend_hears_of_a_call_and_what_is_for_it_reaches_no_phone() {
    let mut backend = Backend::start().await;
    let server = backend.server().await;
    let mut ann = Client::sign_in(server.local_addr(), "ann").await;
    let mut bob = Client::sign_in(server.local_addr(), "bob").await;
    let said = Invite { app_server_data: "for the backend".into(), ..invite(CALL, 30_000) };
    ann.say(CALL, Word::Invite(Box::new(said))).await;
    let Word::RingConfirm(RingConfirm::Ring { deadline_unix_ms, .. }) = ann.word().await else { panic!() };
    let Word::Invite(heard) = bob.word().await else { panic!() };
    assert_eq!(heard.app_server_data, "");

    let notify = backend.notify().await;
    assert_eq!(notify["app_svr_data"], "for the backend");
    assert_eq!((&notify["from_user_id"], &notify["to_user_id"]), (&"ann".into(), &"bob".into()));
    assert_eq!((&notify["sid"], &notify["type"]), (&CALL.to_string().into(), &"A".into()));
    assert_eq!(notify["ring_deadline_unix_ms"], deadline_unix_ms);
    let param = CcParam::parse(notify["cc_param"].as_str().unwrap()).unwrap();
    assert_eq!((param.app_id.as_str(), param.user.as_str(), param.peer.as_str()), ("shop", "bob", "ann"));
    assert_eq!((param.call_id, param.ring_deadline_unix_ms), (CALL, deadline_unix_ms));
    server.stop().await;
}

#[tokio::test]
async fn p4_p4_who_wakes_in_time_takes_the_call_by_its_cc_param_and_talks_without_any_token() {
    let mut backend = Backend::start().await;
    let server = backend.server().await;
    let address = server.local_addr();
    let mut ann = Client::sign_in(address, "ann").await;
    let cc_param = call(&mut backend, &mut ann, CALL, 30_000).await;

    let mut bob = Client::try_sign_in(address, by_cc_param(&cc_param)).await.unwrap();
    let Word::Invite(heard) = bob.word().await else { panic!() };
    assert_eq!((heard.call_id, &heard.caller), (CALL, &party("ann")));
    bob.say(CALL, Word::Alert(Alert { callee: party("bob"), asked_unix_ms: None })).await;
    assert!(matches!(bob.word().await, Word::RingConfirm(RingConfirm::Ring { .. })));
    assert_eq!(ann.word().await, Word::Alert(Alert { callee: party("bob"), asked_unix_ms: None }));
    bob.say(CALL, answer(AnswerResult::Accept)).await;
    assert!(matches!(bob.word().await, Word::AnswerConfirm(AnswerConfirm { result: AnswerResult::Accept, .. })));
    assert!(matches!(ann.word().await, Word::Answer(Answer { result: AnswerResult::Accept, .. })));

    let channel = CALL.channel();
    ann.ask(channel.as_str(), join()).await;
    let Event::Joined { uid: of_ann, members, .. } = ann.event().await else { panic!() };
    assert!(members.is_empty());
    bob.ask(channel.as_str(), join()).await;
    let Event::Joined { uid: of_bob, members, .. } = bob.event().await else { panic!() };
    assert_eq!(members.iter().map(|member| member.uid).collect::<Vec<_>>(), [of_ann]);
    assert!(matches!(ann.event().await, Event::MemberJoined(member) if member.uid == of_bob && of_bob != of_ann));

    // A broken connection is resumed by the same proof.
    let resume = Some(Resume { session: bob.session(), received: bob.received });
    let (sent, received) = (bob.sent, bob.received);
    drop(bob);
    let mut bob = Client::open(address).await;
    (bob.sent, bob.received) = (sent, received);
    bob.greet(Hello { resume, ..by_cc_param(&cc_param) }).await.unwrap();
    assert!(bob.welcome.as_ref().unwrap().resumed);

    bob.say(CALL, Word::End(EndReason::Hangup.into())).await;
    assert!(matches!(bob.word().await, Word::End(end) if end.reason == EndReason::Hangup));
    assert!(matches!(ann.word().await, Word::End(end) if end.reason == EndReason::RemoteHangup));
    let event = backend.call_event().await;
    assert_eq!((&event["sid"], &event["disconnect_reason"]), (&CALL.to_string().into(), &1001.into()));
    assert_eq!((&event["releaser_type"], &event["terminate"]), (&1.into(), &16.into()));
    assert!(event["start_time"].is_number() && event["end_time"].as_u64() >= event["start_time"].as_u64());
    assert_eq!(metric(address, "callkit_cc_sign_ins_total").await, 1.0);
    server.stop().await;
}

#[tokio::test]
async fn p4_p4_a_full_sign_in_beside_a_call_taken_by_cc_param_does_not_end_it() {
    let mut backend = Backend::start().await;
    let server = backend.server().await;
    let address = server.local_addr();
    let mut ann = Client::sign_in(address, "ann").await;
    let cc_param = call(&mut backend, &mut ann, CALL, 30_000).await;
    let mut bob = Client::try_sign_in(address, by_cc_param(&cc_param)).await.unwrap();
    assert!(matches!(bob.word().await, Word::Invite(_)));
    bob.say(CALL, answer(AnswerResult::Accept)).await;
    assert!(matches!(bob.word().await, Word::AnswerConfirm(_)));
    assert!(matches!(ann.word().await, Word::Answer(_)));

    let mut app = Client::sign_in(address, "bob").await;
    app.hears_nothing().await;
    bob.say(CALL, Word::KeepAlive(KeepAlive { in_call: true, ..KeepAlive::default() })).await;
    bob.is_acknowledged().await;
    ann.hears_nothing().await;
    app.goodbye().await;
    ann.hears_nothing().await;
    bob.goodbye().await;
    assert!(matches!(ann.word().await, Word::End(end) if end.reason == EndReason::RemoteHangup));
    server.stop().await;
}

#[tokio::test]
async fn p4_p4_a_phone_killed_while_it_rings_rings_again_when_it_is_back() {
    let mut backend = Backend::start().await;
    let server = backend.server().await;
    let address = server.local_addr();
    let mut ann = Client::sign_in(address, "ann").await;
    let cc_param = call(&mut backend, &mut ann, CALL, 30_000).await;
    let mut lives = Vec::new();
    for _ in 0..2 {
        let mut bob = Client::try_sign_in(address, by_cc_param(&cc_param)).await.unwrap();
        assert!(matches!(bob.word().await, Word::Invite(_)));
        bob.say(CALL, Word::Alert(Alert { callee: party("bob"), asked_unix_ms: None })).await;
        assert!(matches!(bob.word().await, Word::RingConfirm(RingConfirm::Ring { .. })));
        assert!(matches!(ann.word().await, Word::Alert(_)));
        // The first life is not closed: the server cannot know yet that it is gone.
        lives.push(bob);
    }
    let mut bob = lives.pop().unwrap();
    assert_eq!(lives[0].end().await, Some(RefuseReason::Replaced));
    bob.say(CALL, answer(AnswerResult::Accept)).await;
    assert!(matches!(bob.word().await, Word::AnswerConfirm(AnswerConfirm { result: AnswerResult::Accept, .. })));
    assert!(matches!(ann.word().await, Word::Answer(Answer { result: AnswerResult::Accept, .. })));
    server.stop().await;
}

#[tokio::test]
async fn p4_p4_a_phone_that_wakes_finds_its_call_after_a_restart_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let mut backend = Backend::start().await;
    let config = ServerConfig { data_dir: Some(folder.path().into()), ..backend.config() };
    let server = Server::start(config.clone()).await.unwrap();
    let mut ann = Client::sign_in(server.local_addr(), "ann").await;
    let cc_param = call(&mut backend, &mut ann, CALL, 30_000).await;
    server.stop().await;
    let server = Server::start(config).await.unwrap();
    let mut bob = Client::try_sign_in(server.local_addr(), by_cc_param(&cc_param)).await.unwrap();
    assert!(matches!(bob.word().await, Word::Invite(heard) if heard.call_id == CALL));
    server.stop().await;
}

fn post(path: &str, body: serde_json::Value) -> String {
    format!("POST {path}\ncontent-type: application/json\n\n{body}")
}

#[tokio::test]
async fn p4_p7_a_call_is_declined_over_http_without_an_app() {
    let mut backend = Backend::start().await;
    let server = backend.server().await;
    let address = server.local_addr();
    let mut ann = Client::sign_in(address, "ann").await;
    let mut other = Client::try_sign_in(
        address,
        Hello { device: "tablet".into(), ..crate::client::hello(&crate::client::app("shop"), "bob", "phone") },
    )
    .await
    .unwrap();
    let cc_param = call(&mut backend, &mut ann, CALL, 30_000).await;
    assert!(matches!(other.word().await, Word::Invite(_)));

    let (status, body) = http(address, &post("/v1/verify", serde_json::json!({ "cc_param": cc_param }))).await;
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["state"]), (200, &"ringing".into()));
    assert!(body["ring_deadline_unix_ms"].as_u64() > body["server_unix_ms"].as_u64());

    let wanted = serde_json::json!({ "cc_param": cc_param, "user_code": "in a meeting" });
    assert_eq!(http(address, &post("/v1/decline", wanted.clone())).await, (204, String::new()));
    let Word::Answer(answer) = ann.word().await else { panic!() };
    let release = answer.release.unwrap();
    assert_eq!((answer.result, answer.callee.user.as_str()), (AnswerResult::Refuse, "bob"));
    assert_eq!((release.reason, release.source), (DisconnectReason::Decline, DisconnectSource::Callee));
    assert_eq!(release.user_code.unwrap().as_str(), "in a meeting");
    assert!(matches!(other.word().await, Word::AnswerConfirm(AnswerConfirm { result: AnswerResult::Refuse, .. })));
    let event = backend.call_event().await;
    assert_eq!((&event["disconnect_reason"], &event["terminate"]), (&1002.into(), &21.into()));
    assert_eq!((&event["user_rel_code"], &event["duration"]), (&"in a meeting".into(), &0.into()));

    assert_eq!(http(address, &post("/v1/decline", wanted)).await, (410, r#"{"error":"released_call"}"#.into()));
    let over = http(address, &post("/v1/verify", serde_json::json!({ "cc_param": cc_param }))).await;
    assert_eq!(over, (200, r#"{"state":"released_call"}"#.into()));
    server.stop().await;
}

#[tokio::test]
async fn p4_p7_what_is_malformed_or_forged_declines_nothing() {
    let mut backend = Backend::start().await;
    let server = backend.server().await;
    let address = server.local_addr();
    let mut ann = Client::sign_in(address, "ann").await;
    let cc_param = call(&mut backend, &mut ann, CALL, 30_000).await;
    let forged = CcParam::parse(&cc_param).unwrap().seal(|_| (0, [7; 16]));
    for (body, expected) in [
        (serde_json::json!({ "cc_param": forged }), 401),
        (serde_json::json!({ "cc_param": "x" }), 400),
        (serde_json::json!({ "cc_param": 7 }), 400),
        (serde_json::json!({ "cc_param": cc_param, "user_code": "x".repeat(65) }), 400),
        (serde_json::json!({}), 400),
        (serde_json::json!({ "cc_param": "x".repeat(5_000) }), 413),
    ] {
        assert_eq!(http(address, &post("/v1/decline", body.clone())).await.0, expected, "{body}");
        if body.get("user_code").is_none() {
            assert_eq!(http(address, &post("/v1/verify", body.clone())).await.0, expected, "{body}");
        }
    }
    assert_eq!(http(address, "GET /v1/decline").await.0, 405);
    ann.hears_nothing().await;
    assert!(metric(address, "callkit_auth_failures_total{reason=\"cc_signature\"}").await >= 2.0);
    assert!(metric(address, "callkit_http_declines_total{result=\"refused\"}").await >= 2.0);
    let mut bob = Client::try_sign_in(address, by_cc_param(&cc_param)).await.unwrap();
    assert!(matches!(bob.body().await, ServerBody::Call(message) if matches!(message.word, Word::Invite(_))));
    server.stop().await;
}

#[tokio::test]
async fn p4_p7_who_holds_a_cc_param_asks_so_often_and_the_user_is_not_held_up() {
    let mut backend = Backend::start().await;
    let limits = LimitsConfig { sign_ins_per_user_per_minute: 3, ..LimitsConfig::none() };
    let server = Server::start(ServerConfig { limits, ..backend.config() }).await.unwrap();
    let address = server.local_addr();
    let mut ann = Client::sign_in(address, "ann").await;
    let cc_param = call(&mut backend, &mut ann, CALL, 30_000).await;
    let verify = post("/v1/verify", serde_json::json!({ "cc_param": cc_param }));
    for expected in [200, 200, 200, 429, 429] {
        assert_eq!(http(address, &verify).await.0, expected);
    }
    let refuse = Client::try_sign_in(address, by_cc_param(&cc_param)).await.err().unwrap();
    assert_eq!(refuse.reason, RefuseReason::TooMany);
    let mut bob = Client::sign_in(address, "bob").await;
    assert!(matches!(bob.word().await, Word::Invite(_)));
    server.stop().await;
}
