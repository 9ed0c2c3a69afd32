//! Rows about answering.

use callkit::{AudioInput, CallError, CallId, WarmPath};

use crate::house::{House, is_answered};

#[tokio::test(flavor = "multi_thread")]
async fn a8_answer_takes_the_call_that_rings_and_no_other() {
    let house = House::open().await;
    let (mut alice, mut bob) = (house.phone("alice").await, house.phone("bob").await);
    assert_eq!(bob.kit.answer(CallId::from_bits(1)).await, Err(CallError::NoSuchCall));
    let call_id = alice.calls(&mut bob).await;
    assert_eq!(bob.kit.answer(CallId::from_bits(1)).await, Err(CallError::NoSuchCall));
    assert_eq!(alice.kit.answer(call_id).await, Err(CallError::NotRinging));
    bob.kit.answer(call_id).await.unwrap();
    assert_eq!(bob.kit.answer(call_id).await, Err(CallError::NotRinging));
    alice.until("first_audio").await;
    bob.until("first_audio").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e2_on_answer_comes_to_both_sides_on_accept_and_never_on_refusal() {
    let house = House::open().await;
    let (mut alice, mut bob, call_id) = house.two_in_a_call().await;
    for phone in [&alice, &bob] {
        let answers =
            phone.seen.iter().filter(|event| event.name() == "answer" && event.call_id() == Some(call_id)).count();
        assert_eq!(answers, 1, "{:?}", phone.names());
    }
    alice.kit.hangup(call_id).await.unwrap();
    bob.until_end(call_id).await;
    alice.until_end(call_id).await;

    let refused = alice.calls(&mut bob).await;
    bob.kit.hangup(refused).await.unwrap();
    alice.until_end(refused).await;
    bob.until_end(refused).await;
    for phone in [alice, bob] {
        let seen = phone.sign_out_and_drain().await;
        assert!(!is_answered(&seen, refused));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a8_no_device_is_open_and_nothing_is_heard_before_the_answer() {
    let house = House::open().await;
    let (mut alice, mut bob) = (house.phone("alice").await, house.phone("bob").await);
    let call_id = alice.calls(&mut bob).await;
    alice.until("ringing").await;
    assert!(alice.kit.call_quality().await.is_none() && bob.kit.call_quality().await.is_none());
    assert!(alice.heard.is_empty() && bob.heard.is_empty());
    bob.kit.answer(call_id).await.unwrap();
    bob.until("first_audio").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a8_a_caller_that_shows_its_addresses_only_after_the_answer_is_heard_too() {
    let house = House::open().await;
    let mut alice =
        house.phone_with("alice", AudioInput::Speech { looped: true }, |b| b.warm_path(WarmPath::Off)).await;
    let mut bob = house.phone("bob").await;
    let call_id = alice.calls(&mut bob).await;
    bob.kit.answer(call_id).await.unwrap();
    for phone in [&mut alice, &mut bob] {
        phone.until("first_audio").await;
    }
}
