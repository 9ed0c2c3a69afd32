//! P14: ends that servers and networks are the reason of.

use std::net::{IpAddr, Ipv6Addr};

use callkit::{DisconnectReason as Reason, DisconnectSource as Source, Interfaces, MakeCallParam};
use callkit_server::{LimitsConfig, ServerConfig};

use crate::p4::{Told, Town, ear, end};

const ALICE: f32 = 400.0;
const BOB: f32 = 700.0;

#[tokio::test(flavor = "multi_thread")]
async fn p4_p14_a_device_that_signs_in_a_second_time_takes_the_place_of_the_first() {
    let town = Town::open().await;
    let alice = town.house.singer("alice", ALICE, |builder| builder.device("phone")).await;
    let bob = town.person("bob", BOB).await;
    let param = MakeCallParam::builder().my_user_id("alice").my_service_id("demo");
    let param = param.peer_user_id("bob").peer_service_id("demo").access_token("not used").build().unwrap();
    let (handler, mut told) = ear();
    let _call = alice.kit.make_call(param, handler).await.call.unwrap();
    let there = bob.verifies(&town.cc_param().await).await;
    told.until(&Told::WaitConnected).await;
    let _again = town.house.singer("alice", ALICE, |builder| builder.device("phone")).await;
    assert_eq!(told.until_end().await, end(Reason::MultidevInUse, Source::CloudServer, true));
    drop(there);
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p14_who_calls_too_often_is_told_so() {
    let limits = LimitsConfig { invites_per_user_per_minute: 1, ..LimitsConfig::default() };
    let town = Town::with(ServerConfig { limits, ..ServerConfig::dev_on_loopback() }).await;
    let (alice, bob) = (town.person("alice", ALICE).await, town.person("bob", BOB).await);
    let mut first = alice.calls(&bob.user, |param| param).await;
    first.call.end().await.unwrap();
    first.ear.until_end().await;
    let mut second = alice.calls(&bob.user, |param| param).await;
    assert_eq!(second.ear.until_end().await, end(Reason::ServiceTooManyRequests, Source::CloudServer, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p14_a_server_that_is_about_to_stop_takes_no_new_calls_and_keeps_those_it_has() {
    let town = Town::with(ServerConfig { drain_ms: 20_000, ..ServerConfig::dev_on_loopback() }).await;
    let (alice, bob) = (town.person("alice", ALICE).await, town.person("bob", BOB).await);
    let carol = town.person("carol", BOB).await;
    let (here, mut there) = town.talk(&alice, &bob).await;
    let stopping = tokio::spawn(town.house.server.stop());
    let refused = loop {
        // Until the server has begun to stop it takes her call.
        let mut late = carol.calls("dave", |param| param).await;
        let refused = late.ear.until_end().await;
        if refused.reason != Reason::ServiceInvalidId {
            break refused;
        }
    };
    assert_eq!(refused, end(Reason::ServiceMaintenance, Source::CloudServer, true));
    here.call.end().await.unwrap();
    assert_eq!(there.ear.until_end().await, end(Reason::Normal, Source::Caller, true));
    tokio::time::timeout(crate::house::PATIENCE, stopping).await.expect("no call keeps it any more").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p14_two_networks_that_do_not_reach_each_other() {
    let town = Town::open().await;
    let alice = town.person("alice", ALICE).await;
    let six = Interfaces::Addresses(vec![IpAddr::V6(Ipv6Addr::LOCALHOST)]);
    let bob = town.person_with("bob", BOB, |builder| builder.interfaces(six)).await;
    let (mut here, mut there) = town.ring(&alice, &bob, |param| param).await;
    there.call.accept(false).await.unwrap();
    here.ear.until_connected().await;
    // The side whose time is over first gives up, and the other one hears of it.
    let (here, there) = tokio::join!(async { (here.ear.until_end().await, here.ear.drain().await) }, async {
        (there.ear.until_end().await, there.ear.drain().await)
    });
    assert!([&here.0, &there.0].iter().any(|end| end.reason == Reason::NetworkUnstable), "{here:?} {there:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p14_a_channel_that_does_not_let_this_side_in() {
    let town = Town::open().await;
    let alice = town.person("alice", ALICE).await;
    let mut bob = town.house.phone("bob").await;
    bob.kit.set_rtc_token_handler(|_| async {
        Ok(callkit::RtcToken { token: "no token".into(), uid: callkit::Uid::new(7).unwrap() })
    });
    let mut here = alice.calls("bob", |param| param).await;
    bob.until_rings(here.call.id()).await;
    let param = callkit::VerifyCallParam::builder().my_user_id("bob").my_service_id("demo");
    let param = param.cc_param(town.cc_param().await).build().unwrap();
    let (handler, mut told) = ear();
    let verified = bob.kit.verify_call(param, handler).await.call.unwrap();
    told.until(&Told::Verified(false)).await;
    verified.accept(false).await.unwrap();
    assert_eq!(told.until_end().await, end(Reason::AuthError, Source::CloudServer, true));
    here.ear.until_end().await;
}
