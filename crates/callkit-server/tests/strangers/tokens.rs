//! One who guesses tokens, and users who ask for too much.

use call_protocol::ring::{InviteRefusal, RingConfirm};
use call_protocol::session::{ClientBody, Hello, Refuse, RefuseReason, ServerBody};
use call_protocol::{CallId, Word};
use callkit_server::LimitsConfig;
use std::net::{IpAddr, SocketAddr};
use tonic::transport::Endpoint;

use crate::client::{Client, app, hello, metric};
use crate::stranger::{STRANGER, limits, start, users_are_unharmed};
use crate::words::invite;

async fn try_from(ip: impl Into<IpAddr>, server: SocketAddr, hello: Hello) -> Result<Client, Refuse> {
    let endpoint = Endpoint::from_shared(format!("http://{server}")).unwrap().local_address(Some(ip.into()));
    let mut client = Client::open_on(endpoint.connect().await.unwrap()).await;
    client.greet(hello).await.map(|()| client)
}

#[tokio::test]
async fn guesses_are_counted_and_soon_not_looked_at() {
    let server = start(LimitsConfig { sign_ins_per_address_per_minute: 20, ..limits() }).await;
    let address = server.local_addr();
    let mut reasons = Vec::new();
    for number in 0..40 {
        let access_token = app(&format!("guess {number}")).access_token(&"ann".parse().unwrap(), 600);
        let refuse = try_from(STRANGER, address, Hello { access_token, ..hello(&app("shop"), "ann", "phone") }).await;
        reasons.push(refuse.err().unwrap().reason);
    }
    assert_eq!(reasons[..20], [RefuseReason::TokenInvalid; 20]);
    // One more may come back with time while this runs.
    let unlooked = reasons.iter().filter(|reason| **reason == RefuseReason::TooMany).count();
    assert!(unlooked >= 10, "{reasons:?}");
    let signature = metric(address, "callkit_auth_failures_total{reason=\"signature\"}").await;
    assert_eq!(signature, (40 - unlooked) as f64);
    users_are_unharmed(&server, 1).await;
    server.stop().await;
}

#[tokio::test]
async fn a_user_signs_in_so_often_and_another_is_not_held_up() {
    let server = start(LimitsConfig { sign_ins_per_user_per_minute: 3, ..limits() }).await;
    let address = server.local_addr();
    let mut refused = None;
    for device in 0..10 {
        let hello = hello(&app("shop"), "eve", &format!("phone {device}"));
        if let Err(refuse) = Client::try_sign_in(address, hello).await {
            refused = Some(refuse);
        }
    }
    let refused = refused.unwrap();
    assert_eq!(refused.reason, RefuseReason::TooMany);
    assert!(refused.detail.contains("this user"), "{}", refused.detail);
    users_are_unharmed(&server, 1).await;
    server.stop().await;
}

#[tokio::test]
async fn a_device_that_sends_too_many_frames_is_told_and_ended() {
    let server = start(LimitsConfig { frames_per_device_per_minute: 50, ..limits() }).await;
    let address = server.local_addr();
    let mut eve = Client::sign_in(address, "eve").await;
    for nonce in 0..60 {
        let ping = call_protocol::session::ClientFrame { seq: 0, ack: 0, body: Some(ClientBody::Ping { nonce }) };
        // The server may end the stream while this is still being written.
        eve.frames.send(call_protocol::wire::client_frame_to_proto(&ping)).await.ok();
    }
    assert_eq!(eve.end().await, Some(RefuseReason::TooMany));
    users_are_unharmed(&server, 1).await;
    assert_eq!(metric(address, "callkit_limited_total{limit=\"frames_of_device\"}").await, 1.0);
    server.stop().await;
}

#[tokio::test]
async fn frames_count_for_the_device_and_the_user_on_whatever_streams() {
    let of_device = LimitsConfig { frames_per_device_per_minute: 50, ..limits() };
    let of_user = LimitsConfig { frames_per_user_per_minute: 50, ..limits() };
    for (limits, label) in [(of_device, "frames_of_device"), (of_user, "frames_of_user")] {
        let server = start(limits).await;
        let address = server.local_addr();
        let mut sent = 0;
        for stream in 0.. {
            // Of the user all devices count; of the device a sign-in anew is no new one.
            let device = if label == "frames_of_user" { format!("phone {stream}") } else { "phone".into() };
            let mut eve = Client::try_sign_in(address, hello(&app("shop"), "eve", &device)).await.unwrap();
            for nonce in 0..20 {
                let ping =
                    call_protocol::session::ClientFrame { seq: 0, ack: 0, body: Some(ClientBody::Ping { nonce }) };
                // The server may end the stream while this is still being written.
                eve.frames.send(call_protocol::wire::client_frame_to_proto(&ping)).await.ok();
            }
            sent += 20;
            // All are answered, or the stream ends.
            let mut answers = 0;
            while answers < 20
                && let Some(frame) = eve.next().await
            {
                match frame.body {
                    Some(ServerBody::Pong { .. }) => answers += 1,
                    Some(ServerBody::Refuse(refuse)) => assert_eq!(refuse.reason, RefuseReason::TooMany),
                    other => panic!("{other:?}"),
                }
            }
            if answers < 20 {
                break;
            }
        }
        assert!((60..=100).contains(&sent), "{label}: {sent}");
        assert_eq!(metric(address, &format!("callkit_limited_total{{limit=\"{label}\"}}")).await, 1.0);
        users_are_unharmed(&server, 1).await;
        server.stop().await;
    }
}

#[tokio::test]
async fn a_device_that_calls_too_often_is_refused_and_its_calls_go_on() {
    let server = start(LimitsConfig { invites_per_device_per_minute: 4, ..limits() }).await;
    let address = server.local_addr();
    let mut eve = Client::sign_in(address, "eve").await;
    let mut refusals = Vec::new();
    for number in 1..=8 {
        let call_id = CallId::from_bits(100 + number);
        eve.say(call_id, invite(call_id, "eve", "dan")).await;
        match eve.word().await {
            Word::RingConfirm(RingConfirm::Refused { refusal }) => refusals.push(refusal),
            Word::RingConfirm(RingConfirm::Ring { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(refusals, [InviteRefusal::TooMany; 4]);
    assert_eq!(metric(address, "callkit_calls").await, 4.0);
    // The same invite again is no other call.
    let again = CallId::from_bits(101);
    eve.say(again, invite(again, "eve", "dan")).await;
    assert!(matches!(eve.word().await, Word::RingConfirm(RingConfirm::Ring { .. })));
    users_are_unharmed(&server, 1).await;
    server.stop().await;
}
