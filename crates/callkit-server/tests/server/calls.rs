//! Calls through two clients, over a restart too.

use call_protocol::accept::{Answer, AnswerResult};
use call_protocol::end::EndReason;
use call_protocol::media::KeepAlive;
use call_protocol::ring::{Alert, InviteRefusal, RingConfirm};
use call_protocol::session::{ClientBody, ServerBody};
use call_protocol::{CallId, Word};
use callkit_server::{Server, ServerConfig};

use crate::client::{Client, app, config, hello, http, metric, start};
use crate::words::{invite, party};

fn accept(callee: &str) -> Word {
    Word::Answer(Answer {
        callee: party(callee),
        result: AnswerResult::Accept,
        call_type: None,
        preparation: false,
        release: None,
    })
}

async fn refusal(client: &mut Client, call_id: CallId, invite: Word) -> InviteRefusal {
    client.say(call_id, invite).await;
    match client.word().await {
        Word::RingConfirm(RingConfirm::Refused { refusal }) => refusal,
        other => panic!("{other:?} instead of a refusal"),
    }
}

/// Ann calls Bob, and Bob answers.
pub async fn talk(ann: &mut Client, bob: &mut Client, call_id: CallId) {
    ann.say(call_id, invite(call_id, "ann", "bob")).await;
    let Word::RingConfirm(RingConfirm::Ring { deadline_unix_ms, left_ms: Some(left_ms), .. }) = ann.word().await else {
        panic!("no deadline")
    };
    let Word::Invite(heard) = bob.word().await else { panic!("no invite") };
    assert_eq!((heard.caller, heard.ring_deadline_unix_ms), (party("ann"), deadline_unix_ms));
    assert_eq!(heard.ext["note"], "hi");

    // Bob claims to be somebody else; the server knows better.
    bob.say(call_id, Word::Alert(Alert { callee: party("eve"), asked_unix_ms: None })).await;
    let Word::RingConfirm(RingConfirm::Ring { deadline_unix_ms: same, left_ms: Some(later), .. }) = bob.word().await
    else {
        panic!("no deadline")
    };
    // Told by the clock as it is when it is told.
    assert!(same.abs_diff(deadline_unix_ms) < 5_000 && later <= left_ms, "{later} of {left_ms} ms");
    assert_eq!(ann.word().await, Word::Alert(Alert { callee: party("bob"), asked_unix_ms: None }));

    bob.say(call_id, accept("eve")).await;
    let Word::AnswerConfirm(confirm) = bob.word().await else { panic!("no confirmation") };
    assert_eq!((confirm.result, confirm.winner), (AnswerResult::Accept, party("bob")));
    assert_eq!(ann.word().await, accept("bob"));
}

#[tokio::test]
async fn a_call_from_invite_to_end() {
    let server = start().await;
    let address = server.local_addr();
    let (mut ann, mut bob) = (Client::sign_in(address, "ann").await, Client::sign_in(address, "bob").await);
    let call_id = CallId::from_bits(7);
    talk(&mut ann, &mut bob, call_id).await;
    assert_eq!(metric(address, "callkit_calls").await, 1.0);
    bob.say(call_id, Word::End(EndReason::Hangup.into())).await;
    assert_eq!(ann.word().await, Word::End(EndReason::RemoteHangup.into()));
    assert_eq!(bob.word().await, Word::End(EndReason::Hangup.into()), "the receipt");
    for (name, value) in [
        ("callkit_calls", 0.0),
        ("callkit_calls_opened_total", 1.0),
        ("callkit_calls_answered_total", 1.0),
        ("callkit_ring_seconds_count", 1.0),
        ("callkit_calls_ended_total{reason=\"remote_hangup\"}", 1.0),
    ] {
        assert_eq!(metric(address, name).await, value, "{name}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_callee_that_comes_later_gets_the_invite_and_a_cancelled_one_does_not_ring() {
    let server = start().await;
    let address = server.local_addr();
    let mut ann = Client::sign_in(address, "ann").await;
    let call_id = CallId::from_bits(7);
    ann.say(call_id, invite(call_id, "ann", "bob")).await;
    assert!(matches!(ann.word().await, Word::RingConfirm(RingConfirm::Ring { .. })));
    let mut bob = Client::sign_in(address, "bob").await;
    assert!(matches!(bob.word().await, Word::Invite(_)));
    ann.say(call_id, Word::Cancel(EndReason::Cancel.into())).await;
    assert_eq!(ann.word().await, Word::End(EndReason::Cancel.into()), "the receipt");
    assert_eq!(bob.word().await, Word::Cancel(EndReason::RemoteCancel.into()));
    bob.say(call_id, Word::Alert(Alert { callee: party("bob"), asked_unix_ms: None })).await;
    let over = Word::RingConfirm(RingConfirm::Over { reason: EndReason::RemoteCancel, release: None });
    assert_eq!(bob.word().await, over);
    server.stop().await;
}

#[tokio::test]
async fn invites_that_cannot_be_are_refused() {
    let config = ServerConfig { dev: true, max_calls_per_device: 1, ..config() };
    let server = Server::start(config).await.unwrap();
    let address = server.local_addr();
    let (mut ann, mut eve) = (Client::sign_in(address, "ann").await, Client::sign_in(address, "eve").await);
    let ids: Vec<_> = (1..9).map(CallId::from_bits).collect();
    assert_eq!(refusal(&mut ann, ids[0], invite(ids[0], "ann", "ann")).await, InviteRefusal::Invalid);
    ann.say(ids[1], invite(ids[1], "ann", "bob")).await;
    assert!(matches!(ann.word().await, Word::RingConfirm(RingConfirm::Ring { .. })), "nobody lists the users of shop");
    assert_eq!(refusal(&mut eve, ids[1], invite(ids[1], "ann", "bob")).await, InviteRefusal::Invalid, "Ann's call");
    assert_eq!(refusal(&mut ann, ids[2], invite(ids[2], "ann", "carl")).await, InviteRefusal::TooMany);

    // The development backend does know who there is.
    let demo = server.apps().iter().find(|app| app.app_id.as_str() == "demo").unwrap().clone();
    let mut dan = Client::try_sign_in(address, hello(&demo, "dan", "phone")).await.unwrap();
    assert_eq!(refusal(&mut dan, ids[3], invite(ids[3], "dan", "nobody")).await, InviteRefusal::UnknownUser);
    let (status, _) = http(
        address,
        "POST /dev/register\ncontent-type: application/json\n\n{\"user\":\"somebody\",\"password\":\"x\"}",
    )
    .await;
    assert_eq!(status, 201);
    dan.say(ids[3], invite(ids[3], "dan", "somebody")).await;
    assert!(matches!(dan.word().await, Word::RingConfirm(RingConfirm::Ring { .. })));
    assert_eq!(metric(address, "callkit_invites_refused_total{reason=\"invalid\"}").await, 2.0);
    server.stop().await;
}

#[tokio::test]
async fn the_same_user_in_two_apps_is_two_strangers() {
    let server = start().await;
    let address = server.local_addr();
    let mut ann = Client::sign_in(address, "ann").await;
    let mut bob_of_bank = Client::try_sign_in(address, hello(&app("bank"), "bob", "phone")).await.unwrap();
    let call_id = CallId::from_bits(7);
    ann.say(call_id, invite(call_id, "ann", "bob")).await;
    assert!(matches!(ann.word().await, Word::RingConfirm(RingConfirm::Ring { .. })));
    bob_of_bank.hears_nothing().await;
    bob_of_bank.say(call_id, accept("bob")).await;
    assert!(matches!(bob_of_bank.word().await, Word::Cancel(_)), "no such call there");
    ann.hears_nothing().await;
    server.stop().await;
}

#[tokio::test]
async fn a_device_that_signs_out_hangs_up() {
    let server = start().await;
    let address = server.local_addr();
    let (mut ann, mut bob) = (Client::sign_in(address, "ann").await, Client::sign_in(address, "bob").await);
    talk(&mut ann, &mut bob, CallId::from_bits(7)).await;
    ann.goodbye_with_words().await;
    assert_eq!(bob.word().await, Word::End(EndReason::RemoteHangup.into()));
    server.stop().await;
}

impl Client {
    /// Signs out; what was still on the way is read and dropped.
    async fn goodbye_with_words(mut self) {
        self.frame(0, Some(ClientBody::Goodbye)).await;
        self.end().await;
    }
}

#[tokio::test]
async fn a_party_that_vanishes_is_noticed() {
    let times = ServerConfig { call_liveness_ms: 60, resume_window_ms: 120, ..config() };
    let server = Server::start(times).await.unwrap();
    let address = server.local_addr();
    let (mut ann, mut bob) = (Client::sign_in(address, "ann").await, Client::sign_in(address, "bob").await);
    let call_id = CallId::from_bits(7);
    talk(&mut ann, &mut bob, call_id).await;
    drop(bob);
    // Ann stays alive in the call, Bob does not.
    let mut told = Vec::new();
    while !matches!(told.last(), Some(Word::End(_))) {
        ann.say(call_id, Word::KeepAlive(KeepAlive { in_call: true, ..Default::default() })).await;
        ann.frame(0, Some(ClientBody::Ping { nonce: 1 })).await;
        while let ServerBody::Call(message) = ann.body().await {
            told.push(message.word);
        }
    }
    assert!(matches!(told[0], Word::Reachability { reachable: false, .. }), "{told:?}");
    assert_eq!(told.last(), Some(&Word::End(EndReason::RemoteDrop.into())));
    server.stop().await;
}

/// No word but of the restart: its app was killed, and what it was in is gone.
#[tokio::test]
async fn an_app_that_was_started_anew_has_left_its_calls() {
    let server = start().await;
    let address = server.local_addr();
    let (mut ann, mut bob) = (Client::sign_in(address, "ann").await, Client::sign_in(address, "bob").await);
    talk(&mut ann, &mut bob, CallId::from_bits(7)).await;
    let _ann = Client::sign_in(address, "ann").await;
    assert_eq!(bob.word().await, Word::End(EndReason::RemoteDrop.into()));
    server.stop().await;
}

#[tokio::test]
async fn a_call_that_was_missed_is_told_to_a_device_that_signs_in_later_until_it_says_that_it_knows() {
    let folder = tempfile::tempdir().unwrap();
    let config = ServerConfig { data_dir: Some(folder.path().join("data")), ..config() };
    let server = Server::start(config.clone()).await.unwrap();
    let mut ann = Client::sign_in(server.local_addr(), "ann").await;
    let missed = CallId::from_bits(7);
    ann.say(missed, invite(missed, "ann", "bob")).await;
    assert!(matches!(ann.word().await, Word::RingConfirm(RingConfirm::Ring { .. })));
    ann.say(missed, Word::Cancel(EndReason::Cancel.into())).await;
    assert_eq!(ann.word().await, Word::End(EndReason::Cancel.into()));
    server.stop().await;

    let server = Server::start(config).await.unwrap();
    let address = server.local_addr();
    for _ in 0..2 {
        let mut bob = Client::sign_in(address, "bob").await;
        assert!(matches!(bob.word().await, Word::Missed(invite) if invite.call_id == missed));
    }
    let mut bob = Client::sign_in(address, "bob").await;
    assert!(matches!(bob.word().await, Word::Missed(_)));
    bob.say(missed, Word::End(EndReason::NoResponse.into())).await;
    assert!(matches!(bob.word().await, Word::End(_)), "the receipt");
    let mut bob = Client::sign_in(address, "bob").await;
    bob.hears_nothing().await;
    server.stop().await;
}

#[tokio::test]
async fn a_call_outlives_a_restart_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let config = ServerConfig { data_dir: Some(folder.path().join("data")), ..config() };
    let server = Server::start(config.clone()).await.unwrap();
    let address = server.local_addr();
    let (mut ann, mut bob) = (Client::sign_in(address, "ann").await, Client::sign_in(address, "bob").await);
    let (talks, rings) = (CallId::from_bits(7), CallId::from_bits(8));
    talk(&mut ann, &mut bob, talks).await;
    ann.say(rings, invite(rings, "ann", "carl")).await;
    assert!(matches!(ann.word().await, Word::RingConfirm(RingConfirm::Ring { .. })));
    server.stop().await;

    let server = Server::start(config).await.unwrap();
    let address = server.local_addr();
    // Their clients ask for the session that the server has lost, so they have not lost their calls.
    let (mut ann, mut bob) = (ann.resume(address, "ann").await, bob.resume(address, "bob").await);
    assert_eq!(metric(address, "callkit_calls").await, 2.0);
    ann.say(talks, Word::KeepAlive(KeepAlive { in_call: true, ..Default::default() })).await;
    bob.say(talks, Word::KeepAlive(KeepAlive { in_call: true, ..Default::default() })).await;
    ann.hears_nothing().await;
    let mut carl = Client::sign_in(address, "carl").await;
    assert!(matches!(carl.word().await, Word::Invite(_)), "it still rings");
    ann.say(talks, Word::End(EndReason::Hangup.into())).await;
    assert_eq!(bob.word().await, Word::End(EndReason::RemoteHangup.into()));
    server.stop().await;
}

#[tokio::test]
async fn a_call_that_the_server_lost_goes_on_for_a_while() {
    let server = start().await;
    let mut ann = Client::sign_in(server.local_addr(), "ann").await;
    ann.say(CallId::from_bits(7), Word::KeepAlive(KeepAlive { in_call: true, ..Default::default() })).await;
    ann.hears_nothing().await;
    ann.say(CallId::from_bits(7), Word::KeepAlive(KeepAlive { in_call: false, ..Default::default() })).await;
    assert_eq!(ann.word().await, Word::End(EndReason::RemoteDrop.into()), "one that only rang does not");
    server.stop().await;
}
