//! P2, P4, P5, P6 and P14: a call by the face of one call, from its beginning to each of its ends.

use std::time::Duration;

use callkit::{
    CallDirection, CallError, CallKitEvent, CallState, CallType, DisconnectReason as Reason,
    DisconnectSource as Source, Ext, StartFailReason,
};

use crate::cable::Cable;
use crate::house::House;
use crate::p4::{Person, Told, Town, ear, end};

const ALICE: f32 = 400.0;
const BOB: f32 = 700.0;

async fn two(town: &Town) -> (Person, Person) {
    (town.person("alice", ALICE).await, town.person("bob", BOB).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p2_p4_two_phones_without_a_kit_talk_by_a_token_and_a_cc_param() {
    let town = Town::open().await;
    let (alice, bob) = two(&town).await;
    let mut here = alice.calls("bob", |param| param.app_server_data("order 7")).await;
    // The server may have taken it up already.
    assert!(matches!(here.call.state(), CallState::Trying | CallState::WaitAnswer));
    assert_eq!(here.call.direction(), CallDirection::Outgoing);
    let pushed = town.pushed().await;
    assert_eq!((&pushed["to_user_id"], &pushed["app_svr_data"]), (&"bob".into(), &"order 7".into()));
    let mut there = bob.verifies(pushed["cc_param"].as_str().unwrap()).await;
    assert_eq!(there.ear.next().await, Told::Verified(false));
    assert_eq!(there.call.state(), CallState::Verified);
    assert_eq!(there.call.direction(), CallDirection::Incoming);
    assert_eq!((there.call.id(), there.call.peer_user_id().as_str()), (here.call.id(), "alice"));
    assert_eq!(there.call.call_type(), CallType::Audio1v1);
    assert_eq!(here.ear.next().await, Told::WaitConnected);
    assert_eq!(here.call.state(), CallState::WaitAnswer);
    there.call.accept(false).await.unwrap();
    let connected = Told::Connected { in_preparation: false, should_finish: false };
    assert_eq!(here.ear.next().await, connected);
    assert_eq!(there.ear.next().await, connected);
    hears(&alice, BOB).await;
    hears(&bob, ALICE).await;
    there.call.end().await.unwrap();
    assert_eq!(there.ear.next().await, Told::Disconnected(end(Reason::Normal, Source::Callee, false)));
    assert_eq!(here.ear.next().await, Told::Disconnected(end(Reason::Normal, Source::Callee, true)));
    assert_eq!(here.call.state(), CallState::Disconnected);
    assert_eq!(here.call.end().await, Err(CallError::NoSuchCall));
    // Nothing is told after the end, and the phones are signed out.
    for line in [here, there] {
        drop(line.call);
        assert_eq!(line.ear.drain().await.iter().filter(|told| matches!(told, Told::Disconnected(_))).count(), 1);
    }
}

async fn hears(person: &Person, hz: f32) {
    crate::p4_media::hears(&person.heard, hz).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p6_a_call_that_rings_is_cancelled_or_declined_with_or_without_a_code() {
    let town = Town::open().await;
    let (alice, bob) = two(&town).await;
    for code in [None, Some("changed my mind")] {
        let (mut here, mut there) = town.ring(&alice, &bob, |param| param).await;
        match code {
            None => here.call.end().await.unwrap(),
            Some(code) => here.call.end_with_code(code).await.unwrap(),
        }
        let cancelled = |by_remote| crate::p4::End {
            user_code: code.map(str::to_owned),
            ..end(Reason::Cancel, Source::Caller, by_remote)
        };
        assert_eq!(here.ear.until_end().await, cancelled(false));
        assert_eq!(there.ear.until_end().await, cancelled(true));

        let (mut here, mut there) = town.ring(&alice, &bob, |param| param).await;
        match code {
            None => there.call.end().await.unwrap(),
            Some(code) => there.call.end_with_code(code).await.unwrap(),
        }
        let declined = |by_remote| crate::p4::End {
            user_code: code.map(str::to_owned),
            ..end(Reason::Decline, Source::Callee, by_remote)
        };
        assert_eq!(there.ear.until_end().await, declined(false));
        assert_eq!(here.ear.until_end().await, declined(true));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p6_an_error_of_the_app_ends_a_call_for_both_with_its_code() {
    let town = Town::open().await;
    let (alice, bob) = two(&town).await;
    let (mut here, mut there) = town.talk(&alice, &bob).await;
    let too_long = "x".repeat(65);
    assert!(matches!(here.call.end_with_error(&too_long).await, Err(CallError::InvalidParam(_))));
    here.call.end_with_error("fraud").await.unwrap();
    assert_eq!(here.ear.until_end().await, end(Reason::UserError, Source::Caller, false).with("fraud"));
    assert_eq!(there.ear.until_end().await, end(Reason::UserError, Source::Caller, true).with("fraud"));

    let (mut here, mut there) = town.talk(&alice, &bob).await;
    there.call.end_with_code("bye").await.unwrap();
    assert_eq!(there.ear.until_end().await, end(Reason::Normal, Source::Callee, false).with("bye"));
    assert_eq!(here.ear.until_end().await, end(Reason::Normal, Source::Callee, true).with("bye"));
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p4_a_call_that_is_over_is_released_and_never_rings() {
    let town = Town::open().await;
    let (alice, bob) = two(&town).await;
    let mut here = alice.calls("bob", |param| param).await;
    let cc_param = town.cc_param().await;
    here.call.end().await.unwrap();
    here.ear.until_end().await;
    let mut late = bob.verifies(&cc_param).await;
    assert_eq!(late.ear.next().await, Told::Disconnected(end(Reason::ReleasedCall, Source::CloudServer, true)));
    assert_eq!(late.call.accept(false).await, Err(CallError::NoSuchCall));
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p14_nobody_answers() {
    let town = Town::open().await;
    let (alice, bob) = two(&town).await;
    let (mut here, mut there) = town.ring(&alice, &bob, |param| param.no_answer(Duration::from_secs(2))).await;
    assert_eq!(here.ear.until_end().await, end(Reason::NoAnswer, Source::Caller, false));
    assert_eq!(there.ear.until_end().await, end(Reason::NoAnswer, Source::Caller, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p14_another_device_answers_or_declines() {
    let town = Town::open().await;
    let (alice, bob) = two(&town).await;
    for accepts in [true, false] {
        let mut here = alice.calls("bob", |param| param).await;
        let cc_param = town.cc_param().await;
        let (mut one, mut other) = (bob.verifies(&cc_param).await, bob.verifies(&cc_param).await);
        one.ear.until_verified().await;
        other.ear.until_verified().await;
        let elsewhere = if accepts {
            one.call.accept(false).await.unwrap();
            here.ear.until_connected().await;
            Reason::MultidevAnswer
        } else {
            one.call.end().await.unwrap();
            assert_eq!(here.ear.until_end().await, end(Reason::Decline, Source::Callee, true));
            Reason::MultidevDecline
        };
        assert_eq!(other.ear.until_end().await, end(elsewhere, Source::CloudServer, true));
        // It does not matter any more where it is over already.
        let _ = one.call.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p14_a_busy_user_and_one_who_does_not_exist() {
    let town = Town::open().await;
    let (alice, bob) = two(&town).await;
    let (carol, mut dave) = (town.house.phone("carol").await, town.house.phone("dave").await);
    let mut carol = carol;
    carol.talks_with(&mut dave).await;
    let mut busy = alice.calls("dave", |param| param).await;
    assert_eq!(busy.ear.until_end().await, end(Reason::Busy, Source::Callee, true));
    let mut nobody = bob.calls("nobody", |param| param).await;
    assert_eq!(nobody.ear.until_end().await, end(Reason::ServiceInvalidId, Source::CloudServer, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p14_a_party_that_vanishes() {
    let town = Town::open().await;
    let alice = town.person("alice", ALICE).await;
    let mut bob = town.house.mortal("bob", BOB, |builder| builder).await;
    let mut here = alice.calls("bob", |param| param).await;
    let rings = bob.phone.until("receive_call").await;
    let callkit::CallKitEvent::ReceiveCall { call_id, .. } = rings else { panic!() };
    bob.phone.kit.answer(call_id).await.unwrap();
    here.ear.until_connected().await;
    bob.phone.until("first_audio").await;
    bob.crash();
    loop {
        match here.ear.next().await {
            Told::NetworkUnavailable { is_peer: true, seconds } => assert!((1..=15).contains(&seconds), "{seconds}"),
            Told::Disconnected(why) => {
                assert_eq!(why.reason, Reason::UnavailableNetwork);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p13_the_own_network_is_told_as_away_and_as_back() {
    let town = Town::open().await;
    let cable = Cable::to(town.house.address()).await;
    let alice = town.person_with("alice", ALICE, |builder| builder.server(&cable.url)).await;
    let mut bob = town.house.mortal("bob", BOB, |builder| builder).await;
    let mut here = alice.calls("bob", |param| param).await;
    bob.phone.until_rings(here.call.id()).await;
    bob.phone.kit.answer(here.call.id()).await.unwrap();
    here.ear.until_connected().await;
    hears(&alice, BOB).await;
    // Neither the server nor the other end: as far as Alice can see it is her network.
    cable.cut();
    bob.crash();
    let seconds = loop {
        if let Told::NetworkUnavailable { is_peer: false, seconds } = here.ear.next().await {
            break seconds;
        }
    };
    assert!((10..=15).contains(&seconds), "{seconds} s");
    cable.mend();
    here.ear.until(&Told::NetworkReavailable { is_peer: false }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_calls_of_a_kit_have_their_own_handler_and_the_kit_wide_listeners_do_not_hear_of_them() {
    let house = House::open().await;
    let (alice, mut bob) = (house.phone("alice").await, house.phone("bob").await);
    let param = callkit::MakeCallParam::builder()
        .my_user_id("alice")
        .my_service_id("demo")
        .peer_user_id("bob")
        .peer_service_id("demo")
        .access_token("not used")
        .build()
        .unwrap();
    let (handler, mut told) = ear();
    let made = alice.kit.make_call(param.clone(), handler).await;
    let call = made.call.unwrap();
    bob.until_rings(call.id()).await;
    // A kit has one call at a time that it makes, by either face.
    let (second, _) = ear();
    assert_eq!(alice.kit.make_call(param, second).await.reason, StartFailReason::InvalidStateToMakeCall);
    let also = alice.kit.start_single_call("bob", CallType::Audio1v1, Ext::new()).await;
    assert_eq!(also, Err(CallError::Busy));
    bob.kit.answer(call.id()).await.unwrap();
    told.until_connected().await;
    bob.until("first_audio").await;
    bob.kit.hangup(call.id()).await.unwrap();
    assert_eq!(told.until_end().await, end(Reason::Normal, Source::Callee, true));
    // And then again by the other face.
    let mut alice = alice;
    let next = alice.calls(&mut bob).await;
    bob.kit.answer(next).await.unwrap();
    alice.until("joined_channel").await;
    let seen = alice.sign_out_and_drain().await;
    let of_first = seen.iter().filter(|event| format!("{event:?}").contains(&call.id().to_string()));
    assert_eq!(of_first.collect::<Vec<_>>(), Vec::<&callkit::CallKitEvent>::new());
    assert!(crate::house::count(&seen, "joined_channel") == 1, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_a_call_that_rings_kit_wide_and_is_then_verified_is_told_to_both_and_needs_no_token() {
    let town = Town::open().await;
    let alice = town.person("alice", ALICE).await;
    let mut bob = town.house.phone("bob").await;
    bob.kit.set_rtc_token_handler(|_| async { Err(callkit::HandlerError::from("the backend is on fire")) });
    let mut here = alice.calls("bob", |param| param).await;
    bob.until_rings(here.call.id()).await;
    let param = callkit::VerifyCallParam::builder().my_user_id("bob").my_service_id("demo");
    let param = param.cc_param(town.cc_param().await).build().unwrap();
    let (handler, mut told) = ear();
    let verified = bob.kit.verify_call(param.clone(), handler).await.call.unwrap();
    assert_eq!(told.next().await, Told::Verified(false));
    let (again, _) = ear();
    assert_eq!(bob.kit.verify_call(param, again).await.reason, StartFailReason::AlreadyExist);
    verified.accept(false).await.unwrap();
    told.until_connected().await;
    here.ear.until_connected().await;
    bob.until("answer").await;
    bob.until("joined_channel").await;
    here.call.mute_my_audio(true).await.unwrap();
    told.until(&Told::PeerMicMuted).await;
    here.call.end().await.unwrap();
    assert_eq!(told.until_end().await, end(Reason::Normal, Source::Caller, true));
    bob.until_end(here.call.id()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_two_who_call_each_other_end_up_in_one_call() {
    let house = House::open().await;
    let (alice, bob) = (house.phone("alice").await, house.phone("bob").await);
    let param = |me: &str, peer: &str| {
        let param = callkit::MakeCallParam::builder().my_user_id(me).my_service_id("demo");
        param.peer_user_id(peer).peer_service_id("demo").access_token("not used").build().unwrap()
    };
    // Who hears of the other one's call first cannot make one: then they did not cross, and try again.
    let (one, other, mut at_alice, mut at_bob) = loop {
        let ((from_alice, mut at_alice), (from_bob, mut at_bob)) = (ear(), ear());
        let (one, other) = tokio::join!(
            alice.kit.make_call(param("alice", "bob"), from_alice),
            bob.kit.make_call(param("bob", "alice"), from_bob)
        );
        let (made, ear) = match (one.call, other.call) {
            (Some(one), Some(other)) => break (one, other, at_alice, at_bob),
            (Some(made), None) => (made, &mut at_alice),
            (None, Some(made)) => (made, &mut at_bob),
            (None, None) => continue,
        };
        made.end().await.unwrap();
        ear.until_end().await;
    };
    at_alice.until_connected().await;
    at_bob.until_connected().await;
    assert_eq!(one.id(), other.id());
    let directions = [one.direction(), other.direction()];
    assert!(directions.contains(&CallDirection::Outgoing) && directions.contains(&CallDirection::Incoming));
    one.end().await.unwrap();
    assert_eq!(at_alice.until_end().await.reason, Reason::Normal);
    assert_eq!(at_bob.until_end().await.reason, Reason::Normal);
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p5_on_wait_connected_comes_when_the_callee_is_notified_though_nobody_has_woken() {
    let town = Town::open().await;
    let (alice, bob) = two(&town).await;
    // No device of his is connected: his phone sleeps, and will be woken by the push.
    let mut here = alice.calls("bob", |param| param).await;
    assert_eq!(here.ear.next().await, Told::WaitConnected);
    assert_eq!(here.call.state(), CallState::WaitAnswer);
    let mut there = bob.verifies(&town.cc_param().await).await;
    there.ear.until_verified().await;
    there.call.accept(false).await.unwrap();
    // It is told once, though his phone rang after that.
    assert_eq!(here.ear.next().await, Told::Connected { in_preparation: false, should_finish: false });
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p5_a_caller_whose_server_has_not_taken_the_call_up_waits_for_nobody() {
    let town = Town::open().await;
    let alice = town.person("alice", ALICE).await;
    let mut here = alice.calls("nobody-of-this-app", |param| param).await;
    assert_eq!(here.ear.until_end().await, end(Reason::ServiceInvalidId, Source::CloudServer, true));
    assert!(!here.ear.heard.contains(&Told::WaitConnected), "{:?}", here.ear.heard);
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p6_a_kit_wide_callee_is_told_the_code_of_the_caller() {
    let town = Town::open().await;
    let alice = town.person("alice", ALICE).await;
    let mut bob = town.house.phone("bob").await;
    for answers in [false, true] {
        let mut here = alice.calls("bob", |param| param).await;
        bob.until_rings(here.call.id()).await;
        if answers {
            bob.kit.answer(here.call.id()).await.unwrap();
            here.ear.until_connected().await;
        }
        here.call.end_with_code("changed my mind").await.unwrap();
        let CallKitEvent::CallEnd { call_id, user_code, .. } = bob.until("call_end").await else { panic!() };
        assert_eq!((call_id, user_code.as_deref()), (here.call.id(), Some("changed my mind")));
    }
    // And the other way about, and without one.
    for code in [Some("no time"), None] {
        let mut here = alice.calls("bob", |param| param).await;
        bob.until_rings(here.call.id()).await;
        let there = bob.kit.call(here.call.id()).unwrap();
        match code {
            Some(code) => there.end_with_code(code).await.unwrap(),
            None => there.end().await.unwrap(),
        }
        let declined =
            crate::p4::End { user_code: code.map(str::to_owned), ..end(Reason::Decline, Source::Callee, true) };
        assert_eq!(here.ear.until_end().await, declined);
        let CallKitEvent::CallEnd { user_code, .. } = bob.until("call_end").await else { panic!() };
        assert_eq!(user_code.as_deref(), code);
    }
}
