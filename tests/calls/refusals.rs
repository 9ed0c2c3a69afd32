//! A server that refuses for a while, and one that no longer takes a token.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use callkit::{CallKitEvent, ConnectionState, Recording, RefuseReason, UserId};
use callkit_server::{AppConfig, LimitsConfig, Server, ServerConfig};
use tokio::sync::mpsc;

use crate::house::{House, PATIENCE, Phone};
use crate::p4::{Town, ear};

const ALICE: f32 = 400.0;
const BOB: f32 = 700.0;

async fn until_state(phone: &mut Phone, wanted: ConnectionState) {
    loop {
        let event = phone.until("connection_changed").await;
        if matches!(event, CallKitEvent::ConnectionChanged { state, .. } if state == wanted) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_sign_in_that_is_one_too_many_is_tried_again() {
    let limits = LimitsConfig { trusted_addresses: Vec::new(), connections_per_address: 1, ..LimitsConfig::default() };
    let house = House::with(ServerConfig { limits, ..ServerConfig::dev_on_loopback() }).await;
    let bobs = house.server.apps()[0].access_token(&UserId::new("bob").unwrap(), 600);
    let alices = house.server.apps()[0].access_token(&UserId::new("alice").unwrap(), 600);
    let alice = house.builder().sign_in("alice", alices).await.unwrap();
    let bob = tokio::spawn(house.builder().sign_in("bob", bobs));
    // sleeps: he is refused meanwhile
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!bob.is_finished());
    alice.sign_out().await;
    bob.await.unwrap().unwrap().sign_out().await;
    house.server.stop().await;
}

/// The server comes back with another secret: the tokens of before are forged, as far as it can tell.
async fn another_secret(house: House) -> (Server, AppConfig) {
    let House { server, .. } = house;
    let app = server.apps()[0].clone();
    let app = AppConfig { secret: "another secret, long enough".into(), ..app };
    let config = ServerConfig {
        listen: server.local_addr(),
        apps: vec![app.clone()],
        dev: false,
        ..ServerConfig::dev_on_loopback()
    };
    server.stop().await;
    (Server::start(config).await.unwrap(), app)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_good_any_more_is_renewed_where_there_is_somebody_to_ask() {
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |builder| builder).await;
    let (asks, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(std::sync::OnceLock::<AppConfig>::new()));
    let (count, signer) = (asks.clone(), asked.clone());
    alice.kit.set_access_token_handler(move || {
        let nth = count.fetch_add(1, Ordering::Relaxed);
        let token = signer.get().map(|app| app.access_token(&UserId::new("alice").unwrap(), 600));
        // The first one is no better.
        async move { if nth == 0 { Ok("no token".into()) } else { token.ok_or("the secret is not known yet".into()) } }
    });
    let carols = house.server.apps()[0].access_token(&UserId::new("carol").unwrap(), 600);
    let mut carol = Phone::of(house.builder().sign_in("carol", carols).await.unwrap(), Recording::new());
    let (server, app) = another_secret(house).await;
    asked.set(app).unwrap();
    until_state(&mut alice, ConnectionState::Reconnecting).await;
    until_state(&mut alice, ConnectionState::Connected).await;
    assert!(asks.load(Ordering::Relaxed) >= 2);
    // She has nobody.
    until_state(&mut carol, ConnectionState::SignedOut(RefuseReason::TokenInvalid)).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p1_the_handler_of_a_manager_renews_the_tokens_of_the_calls_that_it_makes() {
    let town = Town::open().await;
    let (alice, bob) = (town.person("alice", ALICE).await, town.person("bob", BOB).await);
    let (asks, mut asked) = mpsc::unbounded_channel();
    let app = town.house.server.apps()[0].clone();
    let token = |ttl_s| app.access_token(&UserId::new("alice").unwrap(), ttl_s);
    let (short, long) = (token(4), token(600));
    alice.manager.clone().set_access_token_handler(move || {
        asks.send(()).unwrap();
        let long = long.clone();
        async move { Ok(long) }
    });
    let (handler, mut here) = ear();
    let param = alice.param(&bob.user).access_token(short).build().unwrap();
    let call = alice.manager.make_call(param, handler).await.call.unwrap();
    let mut there = bob.verifies(&town.cc_param().await).await;
    there.ear.until_verified().await;
    there.call.accept(false).await.unwrap();
    here.until_connected().await;
    tokio::time::timeout(PATIENCE, asked.recv()).await.expect("asked for a token").unwrap();
    call.end().await.unwrap();
    here.until_end().await;
    town.house.server.stop().await;
}
