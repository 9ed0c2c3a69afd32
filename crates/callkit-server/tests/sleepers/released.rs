//! Who wakes late is told that the call is over, and never that it rings.

use call_protocol::disconnect::{DisconnectReason, DisconnectSource};
use call_protocol::end::EndReason;
use call_protocol::media::KeepAlive;
use call_protocol::ring::{Alert, RingConfirm};
use call_protocol::{CallId, Word};
use callkit_server::{Server, ServerConfig};

use crate::backend::{Backend, by_cc_param, call};
use crate::client::{Client, metric_becomes};
use crate::words::party;

const CALL: CallId = CallId::from_bits(0x1a7e);

#[tokio::test]
async fn p4_p4_who_sleeps_the_whole_ring_is_told_that_the_call_is_over() {
    let mut backend = Backend::start().await;
    let server = backend.server().await;
    let address = server.local_addr();
    let mut ann = Client::sign_in(address, "ann").await;
    let cc_param = call(&mut backend, &mut ann, CALL, 1_000).await;
    assert!(matches!(ann.word().await, Word::End(end) if end.reason == EndReason::RemoteNoResponse));
    let event = backend.call_event().await;
    assert_eq!((&event["disconnect_reason_name"], &event["terminate"]), (&"NOANSWER".into(), &18.into()));
    assert_eq!((&event["start_time"], &event["duration"]), (&serde_json::Value::Null, &0.into()));

    let mut bob = Client::try_sign_in(address, by_cc_param(&cc_param)).await.unwrap();
    assert!(matches!(bob.word().await, Word::Cancel(cancel) if cancel.reason == EndReason::NoResponse));
    bob.say(CALL, Word::KeepAlive(KeepAlive::default())).await;
    assert!(matches!(bob.word().await, Word::Cancel(cancel) if cancel.reason == EndReason::NoResponse));
    bob.say(CALL, Word::Alert(Alert { callee: party("bob"), asked_unix_ms: None })).await;
    assert!(matches!(bob.word().await, Word::RingConfirm(RingConfirm::Over { .. })));
    server.stop().await;
}

#[tokio::test]
async fn p4_p4_a_call_that_nobody_remembers_is_told_as_released() {
    let mut backend = Backend::start().await;
    let config = ServerConfig { call_tombstone_ms: 0, ..backend.config() };
    let server = Server::start(config).await.unwrap();
    let address = server.local_addr();
    let mut ann = Client::sign_in(address, "ann").await;
    let cc_param = call(&mut backend, &mut ann, CALL, 1_000).await;
    assert!(matches!(ann.word().await, Word::End(_)));
    metric_becomes(address, "callkit_calls", 0.0).await;

    let mut bob = Client::try_sign_in(address, by_cc_param(&cc_param)).await.unwrap();
    let Word::End(end) = bob.word().await else { panic!() };
    let release = end.release.unwrap();
    assert_eq!((release.reason, release.source), (DisconnectReason::ReleasedCall, DisconnectSource::CloudServer));
    bob.hears_nothing().await;
    server.stop().await;
}

#[tokio::test]
async fn p4_p4_a_cancelled_call_does_not_ring_on_a_phone_that_wakes_later() {
    let mut backend = Backend::start().await;
    let server = backend.server().await;
    let address = server.local_addr();
    let mut ann = Client::sign_in(address, "ann").await;
    let cc_param = call(&mut backend, &mut ann, CALL, 30_000).await;
    ann.say(CALL, Word::Cancel(EndReason::Cancel.into())).await;
    assert!(matches!(ann.word().await, Word::End(_)));
    let event = backend.call_event().await;
    assert_eq!((&event["disconnect_reason"], &event["releaser_type"]), (&1201.into(), &2.into()));
    let mut bob = Client::try_sign_in(address, by_cc_param(&cc_param)).await.unwrap();
    assert!(matches!(bob.word().await, Word::Cancel(cancel) if cancel.reason == EndReason::RemoteCancel));
    bob.hears_nothing().await;
    server.stop().await;
}
