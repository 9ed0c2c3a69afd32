//! Handles on the calls of a signed-in kit, and the call that an event is about.

use callkit::{CallDirection, CallError, CallKitEvent, CallState, CallType, EndReason, Ext, SecondCall};

use crate::house::House;

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_a_kit_has_a_handle_from_the_first_event_to_its_end() {
    let house = House::open().await;
    let (mut alice, mut bob) = (house.phone("alice").await, house.phone("bob").await);
    assert!(alice.kit.calls().is_empty());
    let call_id = alice.calls(&mut bob).await;
    let (here, there) = (alice.kit.call(call_id).unwrap(), bob.kit.call(call_id).unwrap());
    assert_eq!((there.id(), there.peer_user_id().as_str()), (call_id, "alice"));
    assert_eq!((there.state(), there.direction()), (CallState::Verified, CallDirection::Incoming));
    assert_eq!((there.call_type(), there.connected_at()), (CallType::Audio1v1, None));
    assert_eq!((here.state(), here.direction()), (CallState::WaitAnswer, CallDirection::Outgoing));
    there.accept(false).await.unwrap();
    alice.until("first_audio").await;
    bob.until("first_audio").await;
    for call in [&here, &there] {
        assert_eq!(call.state(), CallState::Connected);
        assert!(call.connected_at().unwrap() >= call.began_at());
        assert!(call.statistics().await.is_some());
    }
    there.hold(Some("tea")).await.unwrap();
    bob.until("call_held").await;
    alice.until("peer_held").await;
    assert!(there.is_on_hold() && here.is_peer_on_hold() && !here.is_on_hold());
    there.unhold().await.unwrap();
    alice.until("peer_held").await;
    there.mute_my_audio(true).await.unwrap();
    alice.until("user_mute_audio").await;
    assert!(here.is_peer_audio_muted() && there.is_my_audio_muted());
    here.end().await.unwrap();
    assert_eq!(bob.until_end(call_id).await, EndReason::RemoteHangup);
    assert_eq!(alice.until_end(call_id).await, EndReason::Hangup);
    assert!(bob.kit.call(call_id).is_none() && bob.kit.calls().is_empty());
    assert_eq!((there.state(), there.end().await), (CallState::Disconnected, Err(CallError::NoSuchCall)));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_there_is_has_a_handle_the_oldest_first() {
    let house = House::open().await;
    let mut alice = house.phone("alice").await;
    let mut bob = house.singer("bob", 700.0, |b| b.second_call(SecondCall::Waiting)).await;
    let carol = house.phone("carol").await;
    let first = alice.talks_with(&mut bob).await;
    let second = carol.dials("bob").await;
    bob.until("call_waiting").await;
    let kit = bob.kit.clone();
    let states = || kit.calls().iter().map(|call| (call.id(), call.state(), call.is_on_hold())).collect::<Vec<_>>();
    assert_eq!(states(), [(first, CallState::Connected, false), (second, CallState::Verified, false)]);
    bob.kit.answer(second).await.unwrap();
    bob.until("first_audio").await;
    assert_eq!(states(), [(first, CallState::Connected, true), (second, CallState::Connected, false)]);
    bob.kit.hangup(first).await.unwrap();
    bob.until_end_of(first).await;
    assert_eq!(states().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_cannot_be_taken_by_its_handle_before_the_media_is_ready() {
    let house = House::open().await;
    let alice = house.phone("alice").await;
    let backend = house.backend("bob").await;
    let kit = house.builder().sign_in("bob", backend.access_token()).await.unwrap();
    let mut bob = crate::house::Phone::of(kit, callkit::Recording::new());
    let call_id = alice.kit.start_single_call("bob", CallType::Audio1v1, Ext::new()).await.unwrap();
    bob.until("receive_call").await;
    let call = bob.kit.call(call_id).unwrap();
    assert_eq!(call.accept(false).await, Err(CallError::NotInitialized));
    call.end().await.unwrap();
    assert_eq!(bob.until_end(call_id).await, EndReason::Refuse);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_about_a_call_names_it() {
    let house = House::open().await;
    let (mut alice, mut bob) = (house.phone("alice").await, house.phone("bob").await);
    let call_id = alice.talks_with(&mut bob).await;
    bob.kit.mute().await.unwrap();
    alice.until("user_mute_audio").await;
    alice.kit.hangup(call_id).await.unwrap();
    bob.until_end(call_id).await;
    alice.until_end(call_id).await;
    let declined = alice.calls(&mut bob).await;
    bob.kit.hangup(declined).await.unwrap();
    assert_eq!(alice.until_end(declined).await, EndReason::RemoteRefuse);
    let seen = alice.sign_out_and_drain().await;
    for name in ["joined_channel", "user_joined", "first_audio", "user_mute_audio"] {
        let of: Vec<_> = seen.iter().filter(|event| event.name() == name).map(CallKitEvent::call_id).collect();
        assert_eq!(of, [Some(call_id)], "{name}");
    }
    let refused = seen.iter().find(|event| event.name() == "error").unwrap();
    assert_eq!(refused.call_id(), Some(declined));
}
