//! Missed calls are told to each device once, also by a server that was not there when they were missed.

use call_protocol::end::EndReason;
use call_protocol::ring::Alert;
use call_protocol::session::{Hello, ServerBody};
use call_protocol::{CallId, Word};
use callkit_server::{Server, ServerConfig};

use crate::backend::{Backend, invite};
use crate::client::{Client, app, hello};
use crate::words::party;

fn id(number: u128) -> CallId {
    CallId::from_bits(number)
}

async fn device(server: &Server, device: &str) -> Client {
    Client::try_sign_in(server.local_addr(), hello(&app("shop"), "bob", device)).await.unwrap()
}

/// A call that ann gives up; the last one rings to its end, so that the server then remembers none of them.
async fn miss(ann: &mut Client, numbers: std::ops::RangeInclusive<u128>) {
    let last = *numbers.end();
    for number in numbers {
        ann.say(id(number), Word::Invite(Box::new(invite(id(number), 1_000)))).await;
        ann.word().await;
        if number != last {
            ann.say(id(number), Word::Cancel(EndReason::Cancel.into())).await;
        }
        assert!(matches!(ann.word().await, Word::End(_)));
    }
}

/// Reads and acknowledges as many missed calls.
async fn hear(bob: &mut Client, count: usize) -> Vec<u128> {
    let (mut heard, mut receipts) = (Vec::new(), 0);
    while heard.len() < count {
        let ServerBody::Call(message) = bob.body().await else { panic!() };
        match message.word {
            Word::Missed(invite) => {
                assert_eq!(invite.caller, party("ann"));
                heard.push(message.call_id.bits());
                bob.say(message.call_id, Word::End(EndReason::NoResponse.into())).await;
            }
            Word::End(_) => receipts += 1,
            other => panic!("{other:?}"),
        }
    }
    while receipts < count {
        assert!(matches!(bob.word().await, Word::End(_)), "a receipt");
        receipts += 1;
    }
    heard
}

/// A call there and back: time enough for whatever else might come, which fails the test.
async fn hears_only_a_call(ann: &mut Client, bob: &mut Client, number: u128) {
    ann.say(id(number), Word::Invite(Box::new(invite(id(number), 30_000)))).await;
    ann.word().await;
    let mut is_invited = false;
    while !is_invited {
        match bob.word().await {
            Word::Invite(heard) => is_invited = heard.call_id == id(number),
            Word::End(_) => {}
            other => panic!("{other:?}"),
        }
    }
    bob.say(id(number), Word::Alert(Alert { callee: party("bob"), asked_unix_ms: None })).await;
    assert!(matches!(bob.word().await, Word::RingConfirm(_)));
    assert!(matches!(ann.word().await, Word::Alert(_)));
    ann.say(id(number), Word::Cancel(EndReason::Cancel.into())).await;
    assert!(matches!(ann.word().await, Word::End(_)));
    assert!(matches!(bob.word().await, Word::Cancel(_)));
    bob.hears_nothing().await;
}

#[tokio::test]
async fn p4_p7_missed_calls_are_told_after_a_restart_to_each_device_once() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start().await;
    let config = ServerConfig { data_dir: Some(folder.path().into()), call_tombstone_ms: 0, ..backend.config() };
    let server = Server::start(config.clone()).await.unwrap();
    for name in ["phone", "tablet"] {
        device(&server, name).await.goodbye().await;
    }
    let mut ann = Client::sign_in(server.local_addr(), "ann").await;
    miss(&mut ann, 1..=40).await;
    server.stop().await;

    let server = Server::start(config).await.unwrap();
    let mut ann = Client::sign_in(server.local_addr(), "ann").await;
    let mut phone = device(&server, "phone").await;
    assert_eq!(hear(&mut phone, 40).await, (1..=40).collect::<Vec<_>>(), "oldest first, more than fit at once");
    phone.goodbye().await;
    let mut phone = device(&server, "phone").await;
    hears_only_a_call(&mut ann, &mut phone, 100).await;
    phone.goodbye().await;
    let mut tablet = device(&server, "tablet").await;
    let heard = hear(&mut tablet, 41).await;
    assert_eq!(heard.iter().filter(|number| **number == 100).count(), 1, "{heard:?}");
    assert!(heard.iter().filter(|number| **number != 100).eq((1..=40).collect::<Vec<_>>().iter()));
    server.stop().await;
}

#[tokio::test]
async fn p4_p7_what_the_server_still_remembers_is_not_told_twice() {
    let backend = Backend::start().await;
    let server = backend.server().await;
    let mut ann = Client::sign_in(server.local_addr(), "ann").await;
    device(&server, "phone").await.goodbye().await;
    ann.say(id(1), Word::Invite(Box::new(invite(id(1), 1_000)))).await;
    ann.word().await;
    assert!(matches!(ann.word().await, Word::End(_)));
    let mut phone = device(&server, "phone").await;
    assert_eq!(hear(&mut phone, 1).await, [1]);
    hears_only_a_call(&mut ann, &mut phone, 2).await;
    phone.goodbye().await;
    let mut phone = device(&server, "phone").await;
    hears_only_a_call(&mut ann, &mut phone, 3).await;
    server.stop().await;
}

#[tokio::test]
async fn p4_p7_what_was_told_and_not_acknowledged_is_told_again() {
    let backend = Backend::start().await;
    let server = Server::start(ServerConfig { call_tombstone_ms: 0, ..backend.config() }).await.unwrap();
    let mut ann = Client::sign_in(server.local_addr(), "ann").await;
    device(&server, "phone").await.goodbye().await;
    miss(&mut ann, 1..=2).await;
    for _ in 0..2 {
        let mut phone = device(&server, "phone").await;
        for number in [1, 2] {
            assert!(matches!(phone.word().await, Word::Missed(invite) if invite.call_id == id(number)));
        }
        phone.goodbye().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_device_of_one_call_is_told_of_no_missed_calls_and_not_remembered() {
    let server = Server::start(ServerConfig { call_tombstone_ms: 0, ..crate::client::config() }).await.unwrap();
    let mut ann = Client::sign_in(server.local_addr(), "ann").await;
    device(&server, "phone").await.goodbye().await;
    miss(&mut ann, 1..=1).await;
    let of_one_call = |name: &str| Hello { for_one_call: true, ..hello(&app("shop"), "bob", name) };
    for number in 0..3 {
        let hello = of_one_call(&format!("call-{number}"));
        let mut bob = Client::try_sign_in(server.local_addr(), hello).await.unwrap();
        hears_only_a_call(&mut ann, &mut bob, 10 + number).await;
        bob.goodbye().await;
    }
    // Had one of them counted, a device that is new would count from there.
    let mut tablet = device(&server, "tablet").await;
    assert!(hear(&mut tablet, 4).await.contains(&1));
    server.stop().await;
}
