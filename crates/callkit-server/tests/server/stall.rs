//! A server that stood still, or could hear nobody: that is nobody's silence. Time stands still but for the steps of a test.

use std::net::SocketAddr;
use std::time::Duration;

use call_protocol::accept::{Answer, AnswerResult};
use call_protocol::media::KeepAlive;
use call_protocol::ring::{Alert, RingConfirm};
use call_protocol::{CallId, Word};
use tokio::time::advance;

use crate::client::{Client, http, start};
use crate::stillness::Stillness;
use crate::words::{invite, party};

const CALL: CallId = CallId::from_bits(7);

async fn ringing(address: SocketAddr) -> (Client, Client) {
    let (mut ann, mut bob) = (Client::sign_in(address, "ann").await, Client::sign_in(address, "bob").await);
    ann.say(CALL, invite(CALL, "ann", "bob")).await;
    assert!(matches!(ann.word().await, Word::RingConfirm(RingConfirm::Ring { .. })));
    assert!(matches!(bob.word().await, Word::Invite(_)));
    bob.say(CALL, Word::Alert(Alert { callee: party("bob"), asked_unix_ms: None })).await;
    assert!(matches!(bob.word().await, Word::RingConfirm(RingConfirm::Ring { .. })));
    assert!(matches!(ann.word().await, Word::Alert(_)));
    (ann, bob)
}

async fn next_but_invites(client: &mut Client) -> Word {
    loop {
        match client.word().await {
            Word::Invite(_) => {}
            word => return word,
        }
    }
}

async fn answers(ann: &mut Client, bob: &mut Client) {
    let (callee, result) = (party("bob"), AnswerResult::Accept);
    let answer = Answer { callee, result, call_type: None, preparation: false, release: None };
    bob.say(CALL, Word::Answer(answer.clone())).await;
    let Word::AnswerConfirm(confirm) = next_but_invites(bob).await else { panic!("no confirmation") };
    assert_eq!((confirm.result, confirm.winner), (AnswerResult::Accept, party("bob")));
    assert_eq!(next_but_invites(ann).await, Word::Answer(answer));
}

async fn talk_on(ann: &mut Client, bob: &mut Client) {
    for client in [ann, bob] {
        client.say(CALL, Word::KeepAlive(KeepAlive { in_call: true, ..KeepAlive::default() })).await;
        client.hears_nothing().await;
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_silent_while_the_server_stands_still() {
    let _still = Stillness::begin();
    let server = start().await;
    let (mut ann, mut bob) = ringing(server.local_addr()).await;
    advance(Duration::from_secs(16)).await;
    answers(&mut ann, &mut bob).await;
    talk_on(&mut ann, &mut bob).await;
    for _ in 0..3 {
        advance(Duration::from_secs(60)).await;
        talk_on(&mut ann, &mut bob).await;
    }
    server.stop().await;
}

/// Time in which the server works and nobody is heard of those who are signed in.
async fn pass(server: SocketAddr, seconds: u32) {
    for _ in 0..4 * seconds {
        advance(Duration::from_millis(250)).await;
        assert_eq!(http(server, "GET /healthz").await.0, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_silent_while_the_server_is_cut_off() {
    let _still = Stillness::begin();
    let server = start().await;
    let address = server.local_addr();
    let (mut ann, mut bob) = ringing(address).await;
    pass(address, 20).await;
    answers(&mut ann, &mut bob).await;
    talk_on(&mut ann, &mut bob).await;
    pass(address, 60).await;
    talk_on(&mut ann, &mut bob).await;
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_is_silent_while_others_are_heard_is_gone_as_ever() {
    let _still = Stillness::begin();
    let server = start().await;
    let address = server.local_addr();
    let (ann, mut bob) = ringing(address).await;
    let mut eve = Client::sign_in(address, "eve").await;
    for _ in 0..6 {
        pass(address, 2).await;
        eve.hears_nothing().await;
        bob.say(CALL, Word::Alert(Alert { callee: party("bob"), asked_unix_ms: None })).await;
    }
    let over = loop {
        match bob.word().await {
            Word::Invite(_) | Word::RingConfirm(RingConfirm::Ring { .. }) => {}
            word => break word,
        }
    };
    assert!(matches!(over, Word::Cancel(_)), "{over:?}");
    drop(ann);
    server.stop().await;
}
