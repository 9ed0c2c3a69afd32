//! What is left of calls and devices that are gone: nothing.

use call_protocol::accept::{Answer, AnswerResult};
use call_protocol::end::EndReason;
use call_protocol::ring::Alert;
use call_protocol::{CallId, Word};
use callkit_server::{LimitsConfig, Server, ServerConfig};
use tokio::runtime::Handle;

use crate::client::{Client, config, metric, metric_becomes, soon};
use crate::words::{invite, party};

/// The next such word; others are passed over.
async fn until(client: &mut Client, is_meant: impl Fn(&Word) -> bool) {
    while !is_meant(&client.word().await) {}
}

/// The shortest call that was answered.
async fn call(ann: &mut Client, bob: &mut Client, call_id: CallId) {
    ann.say(call_id, invite(call_id, "ann", "bob")).await;
    until(bob, |word| matches!(word, Word::Invite(_))).await;
    bob.say(call_id, Word::Alert(Alert { callee: party("bob"), asked_unix_ms: None })).await;
    until(bob, |word| matches!(word, Word::RingConfirm(_))).await;
    let answer = Answer {
        callee: party("bob"),
        result: AnswerResult::Accept,
        call_type: None,
        preparation: false,
        release: None,
    };
    bob.say(call_id, Word::Answer(answer)).await;
    until(bob, |word| matches!(word, Word::AnswerConfirm(_))).await;
    until(ann, |word| matches!(word, Word::Answer(_))).await;
    ann.say(call_id, Word::End(EndReason::Hangup.into())).await;
    until(bob, |word| matches!(word, Word::End(_))).await;
    until(ann, |word| matches!(word, Word::End(_))).await;
}

/// Ten thousand calls, and what they leave in memory, are the benchmark's.
#[tokio::test]
async fn three_hundred_calls_leave_no_task_and_no_socket() {
    let folder = tempfile::tempdir().unwrap();
    let config = ServerConfig {
        limits: LimitsConfig::none(),
        data_dir: Some(folder.path().join("data")),
        call_tombstone_ms: 20,
        resume_window_ms: 1_000,
        ..config()
    };
    let server = Server::start(config).await.unwrap();
    let address = server.local_addr();
    // What the first device makes the server start is not of the calls.
    Client::sign_in(address, "warm").await.goodbye().await;
    metric_becomes(address, "callkit_connections", 1.0).await;
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();

    for round in 0..3 {
        let (mut ann, mut bob) = (Client::sign_in(address, "ann").await, Client::sign_in(address, "bob").await);
        for number in 0..100 {
            call(&mut ann, &mut bob, CallId::from_bits(1_000 * round + number)).await;
        }
        assert!(tasks() > before, "two devices and their connections");
        ann.goodbye().await;
        bob.goodbye().await;
    }
    for gauge in ["callkit_calls", "callkit_sessions", "callkit_streams"] {
        metric_becomes(address, gauge, 0.0).await;
    }
    // The one that asks.
    metric_becomes(address, "callkit_connections", 1.0).await;
    assert_eq!(metric(address, "callkit_calls_answered_total").await, 300.0);
    soon("the end of the tasks", async {
        while tasks() > before {
            tokio::task::yield_now().await;
        }
    })
    .await;
    server.stop().await;
}
