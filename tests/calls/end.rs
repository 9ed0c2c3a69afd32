//! Rows about ending.

use callkit::{CallError, CallId, CallKitEvent, CallType, EndReason, Ext};

use crate::house::{House, Phone, ends};

#[tokio::test(flavor = "multi_thread")]
async fn a9_hangup_cancels_declines_or_ends_by_state() {
    let house = House::open().await;
    let (mut alice, mut bob) = (house.phone("alice").await, house.phone("bob").await);
    assert_eq!(alice.kit.hangup(CallId::from_bits(9)).await, Err(CallError::NoSuchCall));

    let cancelled = alice.calls(&mut bob).await;
    alice.kit.hangup(cancelled).await.unwrap();
    assert_eq!(alice.until_end(cancelled).await, EndReason::Cancel);
    assert_eq!(bob.until_end(cancelled).await, EndReason::RemoteCancel);

    let declined = alice.calls(&mut bob).await;
    bob.kit.hangup(declined).await.unwrap();
    assert_eq!(bob.until_end(declined).await, EndReason::Refuse);
    assert_eq!(alice.until_end(declined).await, EndReason::RemoteRefuse);

    let ended = alice.calls(&mut bob).await;
    bob.kit.answer(ended).await.unwrap();
    bob.until("first_audio").await;
    bob.kit.hangup(ended).await.unwrap();
    assert_eq!(bob.until_end(ended).await, EndReason::Hangup);
    assert_eq!(alice.until_end(ended).await, EndReason::RemoteHangup);
}

#[tokio::test(flavor = "multi_thread")]
async fn a9_release_rtc_ends_whatever_call_there_is() {
    let house = House::open().await;
    let (mut alice, mut bob, call_id) = house.two_in_a_call().await;
    alice.kit.release_rtc().await.unwrap();
    assert_eq!(alice.until_end(call_id).await, EndReason::Hangup);
    assert_eq!(bob.until_end(call_id).await, EndReason::RemoteHangup);
    let heard = alice.heard.len();
    assert_eq!(
        alice.kit.start_single_call("bob", CallType::Audio1v1, Ext::new()).await,
        Err(CallError::NotInitialized)
    );
    assert_eq!(alice.heard.len(), heard, "the devices are released");
    alice.kit.init_rtc().await.unwrap();
    let again = alice.calls(&mut bob).await;
    alice.kit.release_rtc().await.unwrap();
    assert_eq!(bob.until_end(again).await, EndReason::RemoteCancel);
}

#[tokio::test(flavor = "multi_thread")]
async fn a15_a_one_to_one_call_ends_for_both_when_either_hangs_up_and_both_are_free_again() {
    let house = House::open().await;
    let (mut alice, mut bob, call_id) = house.two_in_a_call().await;
    alice.kit.hangup(call_id).await.unwrap();
    assert_eq!(bob.until_end(call_id).await, EndReason::RemoteHangup);
    alice.until_end(call_id).await;
    let back = bob.calls(&mut alice).await;
    alice.kit.answer(back).await.unwrap();
    bob.until("first_audio").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e8_on_call_end_comes_exactly_once_to_each_side() {
    let house = House::open().await;
    let (mut alice, mut bob, call_id) = house.two_in_a_call().await;
    // Both at the same moment.
    let (one, other) = tokio::join!(alice.kit.hangup(call_id), bob.kit.hangup(call_id));
    assert!(one.is_ok() || other.is_ok());
    alice.until_end(call_id).await;
    bob.until_end(call_id).await;
    for phone in [alice, bob] {
        assert_eq!(ends(&phone.sign_out_and_drain().await, call_id).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e8_a_busy_callee_ends_the_call_with_busy_and_goes_on_with_its_own() {
    let house = House::open().await;
    let (mut alice, mut bob, call_id) = house.two_in_a_call().await;
    let mut carol = house.phone("carol").await;
    let second = carol.kit.start_single_call("bob", CallType::Audio1v1, Ext::new()).await.unwrap();
    assert_eq!(carol.until_end(second).await, EndReason::Busy);
    bob.kit.hangup(call_id).await.unwrap();
    assert_eq!(alice.until_end(call_id).await, EndReason::RemoteHangup);
    assert_eq!(bob.until_end(call_id).await, EndReason::Hangup);
    assert!(
        !bob.seen
            .iter()
            .any(|event| matches!(event, CallKitEvent::ReceiveCall { user, .. } if user.as_str() == "carol"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn e9_a_refusal_gives_the_caller_an_error_and_then_the_end() {
    let house = House::open().await;
    let (mut alice, mut bob) = (house.phone("alice").await, house.phone("bob").await);
    let call_id = alice.calls(&mut bob).await;
    bob.kit.hangup(call_id).await.unwrap();
    alice.until_end(call_id).await;
    let names = alice.names();
    assert_eq!(&names[names.len() - 2..], ["error", "call_end"]);
    assert!(alice.errors().contains(&CallError::Refused));
    let seen = bob.sign_out_and_drain().await;
    assert!(!seen.iter().any(|event| event.name() == "error"), "whoever declines has made no mistake");
}

#[tokio::test(flavor = "multi_thread")]
async fn e8_a_dropped_kit_ends_its_call_at_once() {
    let house = House::open().await;
    let (mut alice, bob, call_id) = house.two_in_a_call().await;
    let Phone { kit, heard, .. } = bob;
    drop(kit);
    assert_eq!(alice.until_end(call_id).await, EndReason::RemoteHangup);
    drop(heard);
}
