//! The server goes away in mid-call and comes back.

use callkit::{AudioInput, CallId, CallKitEvent, ConnectionState, EndReason, RefuseReason};
use callkit_server::{Server, ServerConfig};

use crate::house::{House, Phone, loudness};

async fn until_state(phone: &mut Phone, wanted: &ConnectionState) {
    loop {
        if let CallKitEvent::ConnectionChanged { state, .. } = phone.until("connection_changed").await
            && state == *wanted
        {
            return;
        }
    }
}

/// Two phones in a call whose server has stopped, and the configuration that starts the same one again: same port, app and store.
async fn cut_off_in_a_call(folder: &tempfile::TempDir) -> (Phone, Phone, CallId, ServerConfig) {
    let mut config = ServerConfig { data_dir: Some(folder.path().to_owned()), ..ServerConfig::dev_on_loopback() };
    let house = House::with(config.clone()).await;
    let (alice, bob, call_id) = house.two_in_a_call().await;
    let House { server, .. } = house;
    config.listen = server.local_addr();
    config.apps = server.apps().to_vec();
    server.stop().await;
    (alice, bob, call_id, config)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_voice_goes_on_without_the_server_and_the_call_ends_properly_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, mut bob, call_id, config) = cut_off_in_a_call(&folder).await;
    for phone in [&mut alice, &mut bob] {
        until_state(phone, &ConnectionState::Reconnecting).await;
    }
    for phone in [&alice, &bob] {
        assert!(loudness(&phone.hears_for(2.0, phone.heard.len()).await) > 0.01, "the voice goes on");
    }

    let server = Server::start(config).await.unwrap();
    for phone in [&mut alice, &mut bob] {
        until_state(phone, &ConnectionState::Connected).await;
    }
    for phone in [&alice, &bob] {
        assert!(loudness(&phone.hears_for(2.0, phone.heard.len()).await) > 0.01, "and on");
        assert!(!phone.names().contains(&"call_end"));
    }
    alice.kit.hangup(call_id).await.unwrap();
    assert_eq!(bob.until_end(call_id).await, EndReason::RemoteHangup);
    assert_eq!(alice.until_end(call_id).await, EndReason::Hangup);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hang_up_while_the_server_is_away_reaches_the_other_side_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, mut bob, call_id, config) = cut_off_in_a_call(&folder).await;
    until_state(&mut alice, &ConnectionState::Reconnecting).await;
    alice.kit.hangup(call_id).await.unwrap();
    assert_eq!(alice.until_end(call_id).await, EndReason::Hangup);
    let server = Server::start(config).await.unwrap();
    assert_eq!(bob.until_end(call_id).await, EndReason::RemoteHangup);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_signs_in_again_elsewhere_is_told_and_its_call_ends_with_an_error() {
    let house = House::open().await;
    let backend = house.backend("alice").await;
    let mut alice = house.phone_with("alice", AudioInput::Silence, |b| b.device("the phone")).await;
    let mut bob = house.phone("bob").await;
    let call_id = alice.calls(&mut bob).await;
    let again = house.builder().device("the phone").sign_in("alice", backend.access_token()).await.unwrap();
    until_state(&mut alice, &ConnectionState::SignedOut(RefuseReason::Replaced)).await;
    assert_eq!(alice.until_end(call_id).await, EndReason::Error);
    again.sign_out().await;
}
