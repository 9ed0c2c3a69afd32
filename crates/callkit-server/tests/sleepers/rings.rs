//! Phones that must ring once: late pushes, pushes that waited, phones that sleep with their stream open, phones that changed hands.

use std::sync::atomic::Ordering;
use std::time::Duration;

use call_protocol::accept::{Answer, AnswerConfirm, AnswerResult};
use call_protocol::account::SetPush;
use call_protocol::disconnect::DisconnectReason;
use call_protocol::end::EndReason;
use call_protocol::media::KeepAlive;
use call_protocol::ring::{Alert, RingConfirm};
use call_protocol::session::{ClientBody, Hello};
use call_protocol::{CallId, DeviceId, Word};
use callkit_server::{Server, ServerConfig};

use crate::account::{credentials, register, set_push};
use crate::backend::{Backend, by_cc_param, call};
use crate::client::{Client, app, hello, metric, metric_becomes};
use crate::pushes::{Apple, phone, place};
use crate::service::Heard;
use crate::words::party;

const CALL: CallId = CallId::from_bits(0x0115);

fn accept() -> Word {
    let (callee, result) = (party("bob"), AnswerResult::Accept);
    Word::Answer(Answer { callee, result, call_type: None, preparation: false, release: None })
}

fn alert() -> Word {
    Word::Alert(Alert { callee: party("bob"), asked_unix_ms: None })
}

fn cc_param(ring: &Heard) -> String {
    assert_eq!(ring.json()["kind"], "ring");
    ring.json()["cc_param"].as_str().unwrap().to_owned()
}

fn to(digit: &str) -> String {
    format!("/3/device/{}", digit.repeat(64 / digit.len()))
}

#[tokio::test]
async fn p4_p4_a_late_push_does_not_end_the_call_that_its_phone_is_in() {
    for took_by_cc_param in [true, false] {
        let mut backend = Backend::start().await;
        let server = backend.server().await;
        let address = server.local_addr();
        let mut ann = Client::sign_in(address, "ann").await;
        let cc_param = call(&mut backend, &mut ann, CALL, 30_000).await;
        let mut bob = match took_by_cc_param {
            true => Client::try_sign_in(address, by_cc_param(&cc_param)).await.unwrap(),
            false => Client::sign_in(address, "bob").await,
        };
        assert!(matches!(bob.word().await, Word::Invite(_)));
        bob.say(CALL, accept()).await;
        assert!(matches!(bob.word().await, Word::AnswerConfirm(_)));
        assert!(matches!(ann.word().await, Word::Answer(_)));

        let mut late = Client::try_sign_in(address, by_cc_param(&cc_param)).await.unwrap();
        let Word::End(end) = late.word().await else { panic!() };
        assert_eq!(end.release.unwrap().reason, DisconnectReason::ReleasedCall);
        for word in [alert(), accept(), Word::End(EndReason::Hangup.into())] {
            late.say(CALL, word).await;
            late.word().await;
        }
        late.goodbye().await;
        bob.say(CALL, Word::KeepAlive(KeepAlive { in_call: true, ..KeepAlive::default() })).await;
        bob.is_acknowledged().await;
        bob.hears_nothing().await;
        ann.hears_nothing().await;
        bob.say(CALL, Word::End(EndReason::Hangup.into())).await;
        assert!(matches!(ann.word().await, Word::End(end) if end.reason == EndReason::RemoteHangup));
        server.stop().await;
    }
}

#[tokio::test]
async fn p4_p7_the_phone_that_took_the_call_is_not_told_to_stop_under_whatever_name_it_came() {
    let mut apple = Apple::start().await;
    let server = apple.server(None).await;
    let address = server.local_addr();
    let mut ann = Client::sign_in(address, "ann").await;
    register(address, "phone", phone("a")).await;
    register(address, "tablet", phone("b")).await;
    place(&mut ann, CALL).await;
    let mut rings = [apple.next().await, apple.next().await];
    rings.sort_by(|one, other| one.path.cmp(&other.path));
    assert_eq!(rings.each_ref().map(|ring| ring.path.clone()), [to("a"), to("b")]);
    metric_becomes(address, "callkit_pushes_total{result=\"taken\"}", 2.0).await;

    let one_call = Hello { device: "call-1".into(), ..by_cc_param(&cc_param(&rings[0])) };
    let mut bob = Client::try_sign_in(address, one_call.clone()).await.unwrap();
    assert!(matches!(bob.word().await, Word::Invite(_)));
    bob.say(CALL, alert()).await;
    assert!(matches!(bob.word().await, Word::RingConfirm(RingConfirm::Ring { .. })));
    drop(bob);
    metric_becomes(address, "callkit_streams", 1.0).await;
    let mut bob = Client::try_sign_in(address, one_call).await.unwrap();
    assert!(matches!(bob.word().await, Word::Invite(_)));
    bob.say(CALL, accept()).await;
    assert!(matches!(bob.word().await, Word::AnswerConfirm(AnswerConfirm { result: AnswerResult::Accept, .. })));
    let cancel = apple.next().await;
    assert_eq!((cancel.path.clone(), &cancel.json()["kind"]), (to("b0"), &"cancel".into()));

    bob.say(CALL, Word::End(EndReason::Hangup.into())).await;
    assert!(matches!(bob.word().await, Word::End(_)));
    metric_becomes(address, "callkit_pushes_total{result=\"taken\"}", 3.0).await;
    let second = CallId::from_bits(2);
    for word in [Word::Alert(Alert { callee: party("bob"), asked_unix_ms: None }), accept()] {
        assert_eq!(std::mem::discriminant(&ann.word().await), std::mem::discriminant(&word));
    }
    assert!(matches!(ann.word().await, Word::End(_)));
    place(&mut ann, second).await;
    for _ in 0..2 {
        assert_eq!(apple.next().await.json()["call_id"], second.to_string(), "nothing more was said of the first");
    }
    server.stop().await;
}

#[tokio::test]
async fn p4_p7_a_push_to_ring_that_waited_is_not_sent_once_the_call_is_over() {
    let mut apple = Apple::start().await;
    let server = apple.server(None).await;
    let address = server.local_addr();
    let mut ann = Client::sign_in(address, "ann").await;
    register(address, "phone", phone("a")).await;
    apple.status.store(503, Ordering::Relaxed);
    place(&mut ann, CALL).await;
    assert_eq!(apple.next().await.json()["call_id"], CALL.to_string(), "it is tried, and will be again");
    ann.say(CALL, Word::Cancel(EndReason::Cancel.into())).await;
    assert!(matches!(ann.word().await, Word::End(_)));
    apple.status.store(200, Ordering::Relaxed);
    metric_becomes(address, "callkit_pushes_total{result=\"given_up\"}", 1.0).await;

    let second = CallId::from_bits(2);
    place(&mut ann, second).await;
    for kind in ["ring", "cancel"] {
        let push = apple.next().await.json();
        assert_eq!((&push["call_id"], &push["kind"]), (&second.to_string().into(), &kind.into()));
        ann.say(second, Word::Cancel(EndReason::Cancel.into())).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn p4_p7_a_phone_that_sleeps_with_its_stream_open_is_pushed_and_rings_once() {
    let mut apple = Apple::start().await;
    let server = apple.server(None).await;
    let address = server.local_addr();
    let mut ann = Client::sign_in(address, "ann").await;
    let mut tablet = Client::try_sign_in(address, hello(&app("shop"), "bob", "tablet")).await.unwrap();
    let mut asleep = Client::sign_in(address, "bob").await;
    register(address, "phone", phone("a")).await;
    register(address, "tablet", phone("b")).await;
    place(&mut ann, CALL).await;
    assert!(matches!(tablet.word().await, Word::Invite(_)));
    tablet.say(CALL, alert()).await;
    assert!(matches!(tablet.word().await, Word::RingConfirm(RingConfirm::Ring { .. })));
    assert!(matches!(ann.word().await, Word::Alert(_)));

    let ring = apple.next().await;
    assert_eq!(ring.path, to("a"), "the tablet rings already");
    let mut woken = Client::try_sign_in(address, by_cc_param(&cc_param(&ring))).await.unwrap();
    assert!(matches!(woken.word().await, Word::Invite(_)));
    woken.say(CALL, alert()).await;
    assert!(matches!(woken.word().await, Word::RingConfirm(RingConfirm::Ring { .. })));
    assert!(matches!(ann.word().await, Word::Alert(alert) if alert.callee == party("bob")));

    // Now it reads what came while it slept, and answers that, too.
    assert!(matches!(asleep.word().await, Word::Invite(_)));
    while !matches!(asleep.word().await, Word::End(_)) {}
    asleep.say(CALL, alert()).await;
    assert!(matches!(asleep.word().await, Word::RingConfirm(RingConfirm::Over { .. })));
    asleep.say(CALL, Word::End(EndReason::Refuse.into())).await;
    assert!(matches!(asleep.word().await, Word::End(_)));
    woken.hears_nothing().await;
    ann.hears_nothing().await;

    ann.say(CALL, Word::Cancel(EndReason::Cancel.into())).await;
    assert!(matches!(woken.word().await, Word::Cancel(_)), "by its stream");
    metric_becomes(address, "callkit_pushes_total{result=\"taken\"}", 1.0).await;
    assert!(apple.heard.try_recv().is_err(), "and by no push");
    server.stop().await;
}

#[tokio::test]
async fn p4_p7_a_phone_that_was_pushed_in_its_sleep_and_never_said_a_word_is_told_to_stop() {
    let mut apple = Apple::start().await;
    let server = apple.server(None).await;
    let address = server.local_addr();
    let mut ann = Client::sign_in(address, "ann").await;
    let _asleep = Client::sign_in(address, "bob").await;
    register(address, "phone", phone("a")).await;
    place(&mut ann, CALL).await;
    assert_eq!(apple.next().await.path, to("a"));
    ann.say(CALL, Word::Cancel(EndReason::Cancel.into())).await;
    assert_eq!(apple.next().await.path, to("a0"), "its stream is open, and nobody reads it");
    server.stop().await;
}

#[tokio::test]
async fn p4_p7_a_phone_that_rang_and_fell_silent_is_pushed() {
    let mut apple = Apple::start().await;
    let config = apple.server_config(None);
    let config = ServerConfig { ping_every_ms: 300, silence_limit_ms: 1_000, ..config };
    let server = Server::start(config).await.unwrap();
    let address = server.local_addr();
    let mut ann = Client::sign_in(address, "ann").await;
    let mut bob = Client::sign_in(address, "bob").await;
    let mut carl = Client::sign_in(address, "carl").await;
    register(address, "phone", phone("a")).await;
    place(&mut ann, CALL).await;
    assert!(matches!(bob.word().await, Word::Invite(_)));
    bob.say(CALL, alert()).await;
    let pushed = loop {
        // Somebody speaks: it is not the server that is cut off.
        carl.frame(0, Some(ClientBody::Ping { nonce: 0 })).await;
        // sleeps: a client pings every so often
        if let Ok(pushed) = tokio::time::timeout(Duration::from_millis(200), apple.next()).await {
            break pushed;
        }
    };
    assert_eq!(pushed.path, to("a"));
    server.stop().await;
}

#[tokio::test]
async fn p4_p7_a_push_that_waits_does_not_reach_the_next_user_of_the_phone() {
    let mut apple = Apple::start().await;
    let server = apple.server(None).await;
    let address = server.local_addr();
    let mut ann = Client::sign_in(address, "ann").await;
    register(address, "phone", phone("a")).await;
    apple.status.store(503, Ordering::Relaxed);
    place(&mut ann, CALL).await;
    assert_eq!(apple.next().await.path, to("a"));
    let device = DeviceId::new("phone").unwrap();
    let request = SetPush { credentials: credentials("carl"), device, address: Some(phone("a")) };
    set_push(address, &request).await.unwrap();
    apple.status.store(200, Ordering::Relaxed);
    metric_becomes(address, "callkit_pushes_total{result=\"given_up\"}", 1.0).await;
    while let Ok(push) = apple.heard.try_recv() {
        assert_eq!(push.json()["kind"], "ring", "tried before the phone changed hands");
    }
    assert_eq!(metric(address, "callkit_pushes_total{result=\"taken\"}").await, 0.0);
    server.stop().await;
}
