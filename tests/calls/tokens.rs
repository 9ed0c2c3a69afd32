//! Tokens that run out in mid-call, and handlers that do not help.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use callkit::{
    AudioInput, CallError, CallId, CallKitEvent, ChannelId, ConnectionState, EndReason, HandlerError, JoinRefusal,
    Recording, RtcToken, RtcTokenRequest, Uid, UserId, UserMapper,
};
use callkit_server::{AppConfig, Server, ServerConfig};
use tokio::sync::mpsc;

use crate::cable::Cable;
use crate::house::{House, Phone, count, loudness};

const ALICE: f32 = 400.0;
const BOB: f32 = 700.0;

/// A server that takes a token for over when it is over.
fn strict() -> ServerConfig {
    ServerConfig { token_leeway_s: 0, ..ServerConfig::dev_on_loopback() }
}

fn uid(number: u32) -> Uid {
    Uid::new(number).unwrap()
}

/// Answers each request for a channel token by `answer`, which gets the number of the request; tells of each request.
fn supply(
    phone: &Phone,
    answer: impl Fn(usize, RtcTokenRequest) -> Result<RtcToken, HandlerError> + Send + Sync + 'static,
) -> mpsc::UnboundedReceiver<RtcTokenRequest> {
    let (asked, was_asked) = mpsc::unbounded_channel();
    let (answer, number) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
    phone.kit.set_rtc_token_handler(move |request: RtcTokenRequest| {
        let (answer, number, asked) = (answer.clone(), number.clone(), asked.clone());
        async move {
            // A test that is over does not listen any more.
            let _ = asked.send(request.clone());
            answer(number.fetch_add(1, Ordering::SeqCst), request)
        }
    });
    was_asked
}

/// A token of Alice for so many seconds.
fn token(app: &AppConfig, channel: &ChannelId, ttl_s: u64) -> RtcToken {
    RtcToken { token: app.channel_token(channel, uid(1), ttl_s), uid: uid(1) }
}

/// Whether every tenth of a second was heard.
fn is_without_gap(sound: &[f32]) -> bool {
    sound.chunks(4_800).all(|part| loudness(part) > 0.05)
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_renewed_in_time_and_the_voice_has_no_gap() {
    let house = House::with(strict()).await;
    let app = house.server.apps()[0].clone();
    let (mut alice, mut bob) = (house.singer("alice", ALICE, |b| b).await, house.singer("bob", BOB, |b| b).await);
    let mut was_asked = supply(&alice, move |_, request| Ok(token(&app, &request.channel, 3)));
    let call_id = alice.talks_with(&mut bob).await;
    alice.hears(BOB).await;
    bob.hears(ALICE).await;
    let since = (alice.heard.len(), bob.heard.len());
    let first = was_asked.recv().await.unwrap();
    assert_eq!((first.channel.as_str(), first.uid), (call_id.to_string().as_str(), None));
    for _ in 0..3 {
        let again = was_asked.recv().await.unwrap();
        assert_eq!((again.channel, again.uid), (first.channel.clone(), Some(uid(1))));
    }
    let until = (alice.heard.len(), bob.heard.len());
    assert!(is_without_gap(&alice.heard.samples()[since.0..until.0]));
    assert!(is_without_gap(&bob.heard.samples()[since.1..until.1]));
    alice.kit.hangup(call_id).await.unwrap();
    assert_eq!(bob.until_end(call_id).await, EndReason::RemoteHangup);
    assert_eq!((count(&bob.seen, "user_joined"), count(&bob.seen, "user_left")), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_fails_once_is_told_of_and_asked_again_before_the_token_is_over() {
    let house = House::with(strict()).await;
    let app = house.server.apps()[0].clone();
    let (mut alice, mut bob) = (house.singer("alice", ALICE, |b| b).await, house.singer("bob", BOB, |b| b).await);
    let mut was_asked = supply(&alice, move |number, request| match number {
        1 => Err(HandlerError::from("the backend is on fire")),
        _ => Ok(token(&app, &request.channel, 5)),
    });
    let call_id = alice.talks_with(&mut bob).await;
    let failed = CallError::FetchTokenFailed("the backend is on fire".into());
    assert_eq!(alice.until_error().await, failed);
    for _ in 0..4 {
        was_asked.recv().await.unwrap();
    }
    alice.hears(BOB).await;
    bob.hears(ALICE).await;
    alice.kit.hangup(call_id).await.unwrap();
    assert_eq!(bob.until_end(call_id).await, EndReason::RemoteHangup);
    assert_eq!(count(&bob.seen, "user_joined"), 1, "Alice was in the channel all the time: {:?}", bob.names());
    assert_eq!(count(&alice.sign_out_and_drain().await, "error"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_goes_on_failing_ends_the_call_when_the_token_is_over() {
    let house = House::with(strict()).await;
    let app = house.server.apps()[0].clone();
    let (mut alice, mut bob) = (house.singer("alice", ALICE, |b| b).await, house.singer("bob", BOB, |b| b).await);
    let _was_asked = supply(&alice, move |number, request| match number {
        0 => Ok(token(&app, &request.channel, 4)),
        _ => Err(HandlerError::from("the backend is on fire")),
    });
    let call_id = alice.talks_with(&mut bob).await;
    let failed = CallError::FetchTokenFailed("the backend is on fire".into());
    assert_eq!(alice.until_error().await, failed);
    alice.hears(BOB).await;
    assert_eq!(alice.until_end(call_id).await, EndReason::Error);
    assert_eq!(bob.until_end(call_id).await, EndReason::RemoteDrop);
    let CallKitEvent::Error { error, .. } = &alice.seen[alice.seen.len() - 2] else { panic!("{:?}", alice.names()) };
    assert_eq!(*error, failed, "why it ended: {:?}", alice.names());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_token_for_something_else_ends_the_call_with_its_reason() {
    let house = House::with(strict()).await;
    let app = house.server.apps()[0].clone();
    let (mut alice, mut bob) = (house.singer("alice", ALICE, |b| b).await, house.singer("bob", BOB, |b| b).await);
    let _was_asked = supply(&alice, move |number, request| match number {
        0 => Ok(token(&app, &request.channel, 4)),
        _ => Ok(token(&app, &ChannelId::new("elsewhere").unwrap(), 4)),
    });
    let call_id = alice.talks_with(&mut bob).await;
    let error = CallError::Join(JoinRefusal::TokenInvalid);
    assert_eq!(alice.until_error().await, error);
    assert_eq!(alice.until_end(call_id).await, EndReason::Error);
    assert_eq!(bob.until_end(call_id).await, EndReason::RemoteDrop);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_over_at_the_join_ends_the_call_with_its_reason() {
    let house = House::with(strict()).await;
    let app = house.server.apps()[0].clone();
    let (mut alice, mut bob) = (house.singer("alice", ALICE, |b| b).await, house.singer("bob", BOB, |b| b).await);
    let _was_asked = supply(&alice, move |_, request| Ok(token(&app, &request.channel, 0)));
    let call_id = alice.calls(&mut bob).await;
    bob.kit.answer(call_id).await.unwrap();
    let error = CallError::Join(JoinRefusal::TokenExpired);
    assert_eq!(alice.until_error().await, error);
    assert_eq!(alice.until_end(call_id).await, EndReason::Error);
    assert_eq!(bob.until_end(call_id).await, EndReason::RemoteDrop);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_token_that_ran_out_while_the_server_was_away_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = ServerConfig { data_dir: Some(folder.path().to_owned()), ..strict() };
    let house = House::with(config.clone()).await;
    let app = house.server.apps()[0].clone();
    let (mut alice, mut bob) = (house.singer("alice", ALICE, |b| b).await, house.singer("bob", BOB, |b| b).await);
    let mut was_asked =
        supply(&alice, move |number, request| Ok(token(&app, &request.channel, if number == 0 { 4 } else { 600 })));
    let call_id = alice.talks_with(&mut bob).await;
    was_asked.recv().await.unwrap();
    let House { server, .. } = house;
    (config.listen, config.apps) = (server.local_addr(), server.apps().to_vec());
    server.stop().await;
    // The voice goes on meanwhile, and is a clock.
    alice.hears_for(4.5, alice.heard.len()).await;
    let server = Server::start(config).await.unwrap();
    let again = tokio::time::timeout(crate::house::PATIENCE, was_asked.recv()).await.unwrap().unwrap();
    assert_eq!(again.uid, Some(uid(1)));
    alice.hears_for(1.0, alice.heard.len()).await;
    alice.hears(BOB).await;
    bob.hears(ALICE).await;
    alice.kit.hangup(call_id).await.unwrap();
    assert_eq!(bob.until_end(call_id).await, EndReason::RemoteHangup);
    assert_eq!(alice.until_end(call_id).await, EndReason::Hangup);
    assert_eq!(count(&alice.seen, "error"), 0, "{:?}", alice.names());
    server.stop().await;
}

/// Who comes back to the channel under another number, as its first token has run out.
#[tokio::test(flavor = "multi_thread")]
async fn a3_what_the_mapper_says_of_others_is_kept_and_it_is_not_asked_for_them() {
    let house = House::with(strict()).await;
    let app = house.server.apps()[0].clone();
    let (mut alice, mut bob) = (house.singer("alice", ALICE, |b| b).await, house.singer("bob", BOB, |b| b).await);
    let (asked, mut was_asked) = mpsc::unbounded_channel();
    bob.kit.set_user_mapper_handler(move |channel: ChannelId, of: Uid| {
        let asked = asked.clone();
        async move {
            let _ = asked.send(of);
            let user = |name: &str| UserId::new(name).unwrap();
            Ok(UserMapper { channel, users: vec![(uid(2), user("alice-again")), (of, user("alice"))] })
        }
    });
    let over_at = AtomicU64::new(0);
    let _requests = supply(&alice, move |number, request| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        if number == 0 {
            over_at.store(now + 3, Ordering::SeqCst);
            return Ok(token(&app, &request.channel, 3));
        }
        // No renewal comes in time, so that she has to go in anew.
        if now < over_at.load(Ordering::SeqCst) {
            return Err(HandlerError::from("not yet"));
        }
        Ok(RtcToken { token: app.channel_token(&request.channel, uid(2), 600), uid: uid(2) })
    });
    let call_id = alice.talks_with(&mut bob).await;
    let joined = loop {
        match bob.until("user_joined").await {
            CallKitEvent::UserJoined { uid: of, user, .. } if of == uid(2) => break user,
            _ => {}
        }
    };
    assert_eq!(joined.unwrap().as_str(), "alice-again");
    assert_eq!(was_asked.try_recv(), Ok(uid(1)));
    assert!(was_asked.try_recv().is_err(), "asked for what it had said");
    alice.kit.hangup(call_id).await.unwrap();
    bob.until_end(call_id).await;
}

async fn until_state(phone: &mut Phone, wanted: ConnectionState) {
    loop {
        let event = phone.until("connection_changed").await;
        if matches!(event, CallKitEvent::ConnectionChanged { state, .. } if state == wanted) {
            return;
        }
    }
}

/// Alice, whose access token is over when this returns and who gives no new one, in a call; and her cable.
async fn in_a_call_with_an_old_access_token(house: &House) -> (Phone, Phone, CallId, Cable) {
    let cable = Cable::to(house.address()).await;
    let backend = house.backend("alice").await;
    let access = |ttl_s| house.server.apps()[0].access_token(&UserId::new("alice").unwrap(), ttl_s);
    let tone = AudioInput::Tone { hz: ALICE, amplitude: 0.3 };
    let heard = Recording::new();
    let builder = house.builder().server(&cable.url).device("phone").audio_input(tone).audio_output(heard.output());
    let kit = builder.sign_in("alice", access(600)).await.unwrap();
    kit.set_rtc_token_handler(move |request| {
        let backend = backend.clone();
        async move { backend.rtc_token(request).await }
    });
    kit.init_rtc().await.unwrap();
    let mut alice = Phone::of(kit, heard);
    let mut bob = house.singer("bob", BOB, |b| b).await;
    let call_id = alice.talks_with(&mut bob).await;
    // No call is placed with one that has ended.
    alice.kit.renew_access_token(access(2));
    // sleeps: the token is checked against the wall clock.
    tokio::time::sleep(Duration::from_millis(3_100)).await;
    (alice, bob, call_id, cable)
}

fn new_access_token(app: &AppConfig) -> String {
    app.access_token(&UserId::new("alice").unwrap(), 600)
}

/// Both hear each other and may hang up.
async fn goes_on(mut alice: Phone, mut bob: Phone, call_id: CallId) {
    alice.hears(BOB).await;
    bob.hears(ALICE).await;
    assert_eq!(alice.ends(call_id), []);
    assert_eq!(count(&alice.seen, "error"), 0, "{:?}", alice.names());
    bob.kit.hangup(call_id).await.unwrap();
    assert_eq!(alice.until_end(call_id).await, EndReason::RemoteHangup);
    assert_eq!(bob.until_end(call_id).await, EndReason::Hangup);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_lives_is_taken_up_with_an_access_token_that_is_over() {
    let house = House::with(strict()).await;
    let (mut alice, bob, call_id, cable) = in_a_call_with_an_old_access_token(&house).await;
    cable.cut();
    until_state(&mut alice, ConnectionState::Reconnecting).await;
    cable.mend();
    until_state(&mut alice, ConnectionState::Connected).await;
    assert!(count(&alice.seen, "access_token_expiring") > 0, "{:?}", alice.names());
    goes_on(alice, bob, call_id).await;
}

/// The server is started anew, with another memory than that of its store.
async fn server_restarts(house: House, config: &mut ServerConfig) -> Server {
    let House { server, .. } = house;
    (config.listen, config.apps) = (server.local_addr(), server.apps().to_vec());
    server.stop().await;
    Server::start(config.clone()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_new_access_token_a_kit_waits_for_one_and_keeps_its_call() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = ServerConfig { data_dir: Some(folder.path().to_owned()), ..strict() };
    let house = House::with(config.clone()).await;
    let app = house.server.apps()[0].clone();
    let (mut alice, bob, call_id, _cable) = in_a_call_with_an_old_access_token(&house).await;
    let server = server_restarts(house, &mut config).await;
    until_state(&mut alice, ConnectionState::Reconnecting).await;
    // Refused: nothing but a new token helps. The voice goes on meanwhile, and is a clock.
    alice.hears_for(3.0, alice.heard.len()).await;
    assert!(!alice.seen.iter().any(|event| matches!(
        event,
        CallKitEvent::ConnectionChanged { state: ConnectionState::SignedOut(_) | ConnectionState::Connected, .. }
    )));
    alice.kit.renew_access_token(new_access_token(&app));
    until_state(&mut alice, ConnectionState::Connected).await;
    goes_on(alice, bob, call_id).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_handler_is_asked_for_an_access_token_when_the_server_says_that_it_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = ServerConfig { data_dir: Some(folder.path().to_owned()), ..strict() };
    let house = House::with(config.clone()).await;
    let app = house.server.apps()[0].clone();
    let (mut alice, bob, call_id, _cable) = in_a_call_with_an_old_access_token(&house).await;
    let server = server_restarts(house, &mut config).await;
    until_state(&mut alice, ConnectionState::Reconnecting).await;
    alice.kit.set_access_token_handler(move || {
        let token = new_access_token(&app);
        async move { Ok(token) }
    });
    until_state(&mut alice, ConnectionState::Connected).await;
    goes_on(alice, bob, call_id).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_backend_renews_the_access_token_before_it_is_over() {
    let house = House::with(strict()).await;
    let backend = house.backend("alice").await;
    let first = house.server.apps()[0].access_token(&UserId::new("alice").unwrap(), 4);
    let kit = house.builder().sign_in("alice", first.clone()).await.unwrap();
    let mut alice = Phone::supplied(kit, &backend, Recording::new()).await;
    let known = backend.access_token();
    let CallKitEvent::AccessTokenExpiring { left_ms, .. } = alice.until("access_token_expiring").await else {
        panic!()
    };
    assert!(left_ms <= 1_000, "{left_ms}");
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let renewed = async {
        while backend.access_token() == known {
            tick.tick().await;
        }
    };
    tokio::time::timeout(crate::house::PATIENCE, renewed).await.expect("a new token");
    alice.kit.sign_out().await;
}
