//! A muted microphone is heard by nobody, whoever muted it, when and in which of two calls; and whoever asks is told the same.

use std::time::Duration;

use callkit::{Call, CallId, CallKitEvent, CallState, MakeCallParam, SecondCall};

use crate::cable::Cable;
use crate::house::{House, Phone, loudness};
use crate::p4::{Ear, Told, Town, ear};
use crate::p4_media::hears;

const ALICE: f32 = 400.0;
const BOB: f32 = 700.0;
const CAROL: f32 = 1_100.0;

/// A call of this phone's with a handler of its own.
pub(crate) async fn makes(phone: &Phone, peer: &str) -> (Call, Ear) {
    let param = MakeCallParam::builder().my_user_id(phone.kit.user().as_str()).my_service_id("demo");
    let param = param.peer_user_id(peer).peer_service_id("demo").access_token("signed in already").build().unwrap();
    let (handler, ear) = ear();
    (phone.kit.make_call(param, handler).await.call.unwrap(), ear)
}

fn is_silent(samples: &[f32]) -> bool {
    loudness(samples) < 0.000_1
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p13_who_mutes_while_it_rings_is_not_heard_however_late_the_words_of_the_server_are() {
    let town = Town::open().await;
    let cable = Cable::to(town.house.address()).await;
    let alice = town.person_with("alice", ALICE, |b| b.server(&cable.url)).await;
    let bob = town.person("bob", BOB).await;
    for attempt in 1..=10 {
        let (mut here, mut there) = town.ring(&alice, &bob, |param| param).await;
        here.call.mute_my_audio(true).await.unwrap();
        // sleeps: that the path stands before the answer is not to be seen from here. Where it did not, the next call rings for longer.
        tokio::time::sleep(Duration::from_millis(300) * attempt).await;
        cable.hold();
        there.call.accept(false).await.unwrap();
        there.ear.until_connected().await;
        let is_open = tokio::time::timeout(Duration::from_secs(3), hears(&alice.heard, BOB)).await.is_ok();
        let was_told = here.call.state() == CallState::Connected;
        cable.mend();
        here.ear.until_connected().await;
        there.ear.until(&Told::PeerMicMuted).await;
        assert!(here.call.is_my_audio_muted() && there.call.is_peer_audio_muted());
        hears(&alice.heard, BOB).await;
        assert!(is_silent(&bob.heard.samples()), "not a word was heard: {}", loudness(&bob.heard.samples()));
        there.call.end().await.unwrap();
        here.ear.until_end().await;
        if is_open && !was_told {
            return;
        }
    }
    panic!("the sound never began before the server said so");
}

/// A call of Bob's to Alice, and one of Carol's that waits, with ids in the wanted order.
async fn two_calls(bob: &mut Phone, alice: &mut Phone, carol: &mut Phone, first_is_smaller: bool) -> (Call, CallId) {
    let is_small = |call_id: CallId| call_id.bits() >> 127 == 0;
    let (first, mut told) = loop {
        let (call, told) = makes(bob, "alice").await;
        if is_small(call.id()) == first_is_smaller {
            break (call, told);
        }
        call.end().await.unwrap();
    };
    alice.until_rings(first.id()).await;
    alice.kit.answer(first.id()).await.unwrap();
    told.until_connected().await;
    alice.hears(BOB).await;
    let second = loop {
        let call_id = carol.dials("bob").await;
        if is_small(call_id) != first_is_smaller {
            break call_id;
        }
        carol.kit.hangup(call_id).await.unwrap();
        carol.until_end_of(call_id).await;
    };
    loop {
        if let CallKitEvent::CallWaiting { call_id, .. } = bob.until("call_waiting").await
            && call_id == second
        {
            return (first, second);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_calls_each_keeps_its_own_mute_whichever_has_the_smaller_id() {
    for first_is_smaller in [true, false] {
        let house = House::open().await;
        let mut alice = house.singer("alice", ALICE, |b| b).await;
        let mut carol = house.singer("carol", CAROL, |b| b).await;
        let mut bob = house.singer("bob", BOB, |b| b.second_call(SecondCall::Waiting)).await;
        let (first, second) = two_calls(&mut bob, &mut alice, &mut carol, first_is_smaller).await;
        first.mute_my_audio(true).await.unwrap();
        alice.hears_nothing().await;
        let from = alice.heard.len();

        bob.kit.answer(second).await.unwrap();
        carol.hears(BOB).await;
        for _ in 0..2 {
            first.unhold().await.unwrap();
            bob.hears(ALICE).await;
            carol.hears_nothing().await;
            bob.kit.unhold(second).await.unwrap();
            carol.hears(BOB).await;
        }
        first.unhold().await.unwrap();
        bob.hears(ALICE).await;
        assert!(first.is_my_audio_muted());
        let heard = alice.heard.samples();
        assert!(is_silent(&heard[from..]), "smaller: {first_is_smaller}: {}", loudness(&heard[from..]));
        first.mute_my_audio(false).await.unwrap();
        alice.hears(BOB).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mute_of_the_kit_and_one_of_the_call_are_one_state_that_both_read_and_the_other_side_is_told() {
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let bob = house.singer("bob", BOB, |b| b).await;
    // Before there is a call, let alone a handler of it.
    bob.kit.mute().await.unwrap();
    let (call, mut told) = makes(&bob, "alice").await;
    assert!(call.is_my_audio_muted() && call.my_media_status().is_my_audio_muted());
    alice.until_rings(call.id()).await;
    alice.kit.answer(call.id()).await.unwrap();
    told.until_connected().await;
    let muted_is_told = |event| matches!(event, CallKitEvent::UserMuteAudio { muted: true, .. });
    assert!(muted_is_told(alice.until("user_mute_audio").await));
    bob.hears(ALICE).await;
    assert!(is_silent(&alice.heard.samples()));

    call.mute_my_audio(false).await.unwrap();
    assert!(!muted_is_told(alice.until("user_mute_audio").await));
    alice.hears(BOB).await;
    assert!(!call.is_my_audio_muted());

    bob.kit.mute().await.unwrap();
    assert!(call.is_my_audio_muted());
    assert!(muted_is_told(alice.until("user_mute_audio").await));
    alice.hears_nothing().await;
    bob.kit.unmute().await.unwrap();
    assert!(!call.is_my_audio_muted());
    assert!(!muted_is_told(alice.until("user_mute_audio").await));
    alice.hears(BOB).await;

    // One that the call has muted is unmuted by the kit as by the call.
    call.mute_my_audio(true).await.unwrap();
    alice.hears_nothing().await;
    bob.kit.unmute().await.unwrap();
    assert!(!call.is_my_audio_muted());
    alice.hears(BOB).await;

    bob.kit.silence_peer(call.id(), true).await.unwrap();
    assert!(call.is_peer_audio_silenced());
    bob.hears_nothing().await;
    call.silence_peer_audio(false).await.unwrap();
    assert!(!call.is_peer_audio_silenced());
    bob.hears(ALICE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mute_outlives_that_both_called_each_other() {
    let house = House::open().await;
    let (mine, other) = (Cable::to(house.address()).await, Cable::to(house.address()).await);
    let alice = house.singer("alice", ALICE, |b| b.server(&mine.url)).await;
    let mut bob = house.singer("bob", BOB, |b| b.server(&other.url)).await;
    // Until it was Alice's call that went on as Bob's.
    loop {
        let from = bob.heard.len();
        mine.hold();
        other.hold();
        let (call, mut told) = makes(&alice, "bob").await;
        call.mute_my_audio(true).await.unwrap();
        let of_alice = call.id();
        let of_bob = bob.dials("alice").await;
        mine.mend();
        other.mend();
        told.until_connected().await;
        alice.hears(BOB).await;
        assert!(call.is_my_audio_muted());
        bob.until("answer").await;
        bob.hears_for(0.5, bob.heard.len()).await;
        assert!(is_silent(&bob.heard.samples()[from..]), "{}", loudness(&bob.heard.samples()[from..]));
        call.end().await.unwrap();
        bob.until_end_of(of_alice.min(of_bob)).await;
        if of_bob < of_alice {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_right_after_an_unhold_holds() {
    let house = House::open().await;
    let (mut alice, mut bob) = (house.singer("alice", ALICE, |b| b).await, house.singer("bob", BOB, |b| b).await);
    let call_id = alice.talks_with(&mut bob).await;
    for _ in 0..20 {
        bob.kit.unhold(call_id).await.unwrap();
        bob.kit.hold(call_id).await.unwrap();
    }
    alice.hears_nothing().await;
    bob.hears_nothing().await;
    bob.kit.unhold(call_id).await.unwrap();
    alice.hears(BOB).await;
    bob.hears(ALICE).await;
}
