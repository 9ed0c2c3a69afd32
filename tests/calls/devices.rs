//! A user has several devices: all ring, one takes the call, and each is told what concerns it.

use callkit::{AudioInput, CallKitEvent, EndReason};

use crate::house::{House, Phone, count, ends};

const ALICE: f32 = 400.0;
const BOB: f32 = 700.0;

/// Alice calls Bob, and all of these ring.
async fn ring(alice: &mut Phone, bobs: &mut [Phone]) -> callkit::CallId {
    let call_id = alice.dials("bob").await;
    for bob in bobs {
        bob.until("receive_call").await;
    }
    call_id
}

#[tokio::test(flavor = "multi_thread")]
async fn one_device_answers_and_it_alone_has_the_call_and_the_sound() {
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let mut bobs = house.devices("bob", BOB, 3).await;
    let call_id = ring(&mut alice, &mut bobs).await;
    let mut winner = bobs.remove(1);
    winner.kit.answer(call_id).await.unwrap();
    for other in &mut bobs {
        assert_eq!(other.until_end(call_id).await, EndReason::AnsweredElsewhere);
    }
    winner.hears(ALICE).await;
    alice.hears(BOB).await;
    alice.kit.hangup(call_id).await.unwrap();
    assert_eq!(winner.until_end(call_id).await, EndReason::RemoteHangup);
    assert_eq!(count(&winner.seen, "answer"), 1);
    for other in bobs {
        assert!(other.heard.is_empty(), "no device was opened");
        let seen = other.sign_out_and_drain().await;
        assert_eq!(ends(&seen, call_id).len(), 1);
        assert_eq!(count(&seen, "answer") + count(&seen, "joined_channel") + count(&seen, "error"), 0);
    }
    alice.until_end(call_id).await;
    assert_eq!(count(&alice.seen, "ringing"), 1, "told once for each user");
    assert_eq!(count(&alice.seen, "answer"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_device_declines_and_the_others_are_told_so() {
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let mut bobs = house.devices("bob", BOB, 3).await;
    let call_id = ring(&mut alice, &mut bobs).await;
    bobs[2].kit.hangup(call_id).await.unwrap();
    let mut reasons = Vec::new();
    for bob in &mut bobs {
        reasons.push(bob.until_end(call_id).await);
    }
    assert_eq!(reasons, [EndReason::RefusedElsewhere, EndReason::RefusedElsewhere, EndReason::Refuse]);
    assert_eq!(alice.until_end(call_id).await, EndReason::RemoteRefuse);
    for bob in bobs {
        assert_eq!(ends(&bob.sign_out_and_drain().await, call_id).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_caller_cancels_and_all_devices_fall_silent() {
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let mut bobs = house.devices("bob", BOB, 3).await;
    let call_id = ring(&mut alice, &mut bobs).await;
    alice.kit.hangup(call_id).await.unwrap();
    assert_eq!(alice.until_end(call_id).await, EndReason::Cancel);
    for mut bob in bobs {
        assert_eq!(bob.until_end(call_id).await, EndReason::RemoteCancel);
        let seen = bob.sign_out_and_drain().await;
        assert_eq!(ends(&seen, call_id).len(), 1);
        assert_eq!(count(&seen, "call_missed"), 0, "it rang there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_devices_that_ring_one_takes_the_call_and_nine_end() {
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let mut bobs = house.devices("bob", BOB, 10).await;
    let call_id = ring(&mut alice, &mut bobs).await;
    let winner = bobs.pop().unwrap();
    winner.kit.answer(call_id).await.unwrap();
    for other in &mut bobs {
        assert_eq!(other.until_end(call_id).await, EndReason::AnsweredElsewhere);
    }
    // The caller sets up paths to eight ringing devices only: the last one may be one without.
    winner.hears(ALICE).await;
    alice.hears(BOB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_rings_on_the_free_device_only_and_the_busy_one_hears_of_it_if_it_was_missed() {
    let house = House::open().await;
    let (mut alice, mut dave) = (house.singer("alice", ALICE, |b| b).await, house.singer("dave", 900.0, |b| b).await);
    let mut bobs = house.devices("bob", BOB, 1).await;
    let mut desk = bobs.remove(0);
    let running = dave.talks_with(&mut desk).await;
    let mut free = house.singer("bob", BOB, |b| b.device("free")).await;

    // Answered: the busy device is told nothing.
    let answered = alice.talks_with(&mut free).await;
    alice.kit.hangup(answered).await.unwrap();
    alice.until_end(answered).await;
    free.until_end(answered).await;
    // Declined: nothing either.
    let declined = alice.calls(&mut free).await;
    free.kit.hangup(declined).await.unwrap();
    alice.until_end(declined).await;
    free.until_end(declined).await;
    // Given up: the busy device is told once.
    let missed = alice.calls(&mut free).await;
    alice.kit.hangup(missed).await.unwrap();
    assert_eq!(free.until_end(missed).await, EndReason::RemoteCancel);
    let told = desk.until("call_missed").await;
    assert!(
        matches!(told, CallKitEvent::CallMissed { user, call_id, .. } if user.as_str() == "alice" && call_id == missed)
    );
    desk.hears(900.0).await;
    dave.kit.hangup(running).await.unwrap();
    desk.until_end(running).await;
    let seen = desk.sign_out_and_drain().await;
    assert_eq!(count(&seen, "call_missed"), 1);
    assert_eq!(count(&seen, "receive_call"), 1, "the one of Dave");
    assert_eq!(count(&free.sign_out_and_drain().await, "call_missed"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_devices_are_busy_the_caller_is_told_so_and_each_device_that_a_call_was_missed() {
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let mut desk = house.singer("bob", BOB, |b| b.device("desk")).await;
    let mut dave = house.singer("dave", 900.0, |b| b).await;
    dave.talks_with(&mut desk).await;
    let mut phone = house.singer("bob", BOB, |b| b.device("phone")).await;
    let mut carol = house.singer("carol", 1_100.0, |b| b).await;
    // The desk is busy, so the phone rings.
    carol.talks_with(&mut phone).await;
    let call_id = alice.dials("bob").await;
    assert_eq!(alice.until_end(call_id).await, EndReason::Busy);
    assert_eq!(count(&alice.seen, "ringing") + count(&alice.seen, "error"), 0, "{:?}", alice.names());
    for device in [&mut desk, &mut phone] {
        let told = device.until("call_missed").await;
        assert!(matches!(told, CallKitEvent::CallMissed { call_id: missed, .. } if missed == call_id));
    }
    for device in [desk, phone] {
        assert_eq!(count(&device.sign_out_and_drain().await, "call_missed"), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_callers_other_device_hears_nothing_of_the_call() {
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |b| b.device("desk")).await;
    let other = house.singer("alice", ALICE, |b| b.device("phone")).await;
    let mut bob = house.phone_with("bob", AudioInput::Silence, |b| b).await;
    let cancelled = alice.calls(&mut bob).await;
    alice.kit.hangup(cancelled).await.unwrap();
    bob.until_end(cancelled).await;
    alice.until_end(cancelled).await;
    let talked = alice.calls(&mut bob).await;
    bob.kit.answer(talked).await.unwrap();
    bob.hears(ALICE).await;
    bob.kit.hangup(talked).await.unwrap();
    alice.until_end(talked).await;
    assert!(other.heard.is_empty());
    let seen = other.sign_out_and_drain().await;
    assert_eq!(
        seen.iter().filter(|event| event.name() != "connection_changed").collect::<Vec<_>>(),
        [] as [&CallKitEvent; 0]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_crashes_while_it_rings_leaves_the_others_ringing() {
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let mut doomed = house.mortal("bob", BOB, |b| b).await;
    let mut bobs = house.devices("bob", BOB, 1).await;
    let call_id = ring(&mut alice, &mut bobs).await;
    doomed.phone.until("receive_call").await;
    doomed.crash();
    bobs[0].kit.answer(call_id).await.unwrap();
    bobs[0].hears(ALICE).await;
    alice.hears(BOB).await;
}
