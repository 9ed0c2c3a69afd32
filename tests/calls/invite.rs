//! Rows about signing in and calling.

use std::time::Duration;

use callkit::{AudioInput, CallError, CallKit, CallKitEvent, CallType, EndReason, Ext, HandlerError, SignInError};

use crate::house::House;

#[tokio::test(flavor = "multi_thread")]
async fn a1_the_builder_signs_in_and_its_call_timeout_ends_a_ring() {
    let house = House::open().await;
    let mut alice =
        house.phone_with("alice", AudioInput::Silence, |b| b.call_timeout(Duration::from_millis(1_200))).await;
    let mut bob = house.phone("bob").await;
    let call_id = alice.calls(&mut bob).await;
    assert_eq!(alice.until_end(call_id).await, EndReason::RemoteNoResponse);
    assert_eq!(bob.until_end(call_id).await, EndReason::NoResponse);
    let too_short = CallKit::builder("demo").call_timeout(Duration::ZERO).sign_in("alice", "x").await;
    assert!(matches!(too_short, Err(SignInError::InvalidParam(what)) if what.contains("call_timeout")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a2_the_token_handler_is_asked_for_the_channel_and_its_failure_ends_the_join() {
    let house = House::open().await;
    let (mut alice, mut bob) = (house.phone("alice").await, house.phone("bob").await);
    bob.kit.set_rtc_token_handler(|_| async { Err(HandlerError::from("the backend is on fire")) });
    let call_id = alice.calls(&mut bob).await;
    bob.kit.answer(call_id).await.unwrap();
    let CallKitEvent::Error { error, .. } = bob.until("error").await else { panic!("an error") };
    assert_eq!(error, CallError::FetchTokenFailed("the backend is on fire".into()));
    assert_eq!(error.code(), 102);
    assert_eq!(bob.until_end(call_id).await, EndReason::Error);
    assert_eq!(alice.until_end(call_id).await, EndReason::RemoteDrop);
}

#[tokio::test(flavor = "multi_thread")]
async fn a2_the_token_handler_is_asked_again_before_the_token_expires() {
    let house = House::open().await;
    let (mut alice, mut bob) = (house.phone("alice").await, house.phone("bob").await);
    let backend = house.backend("alice").await;
    let (asked, mut was_asked) = tokio::sync::mpsc::unbounded_channel();
    let url = house.url.clone();
    alice.kit.set_rtc_token_handler(move |request: callkit::RtcTokenRequest| {
        let (asked, url, access) = (asked.clone(), url.clone(), backend.access_token());
        async move {
            asked.send(request.clone()).map_err(|_| HandlerError::from("the test is over"))?;
            crate::bad_input::rtc_token(&url, &access, &request, 4).await
        }
    });
    let call_id = alice.calls(&mut bob).await;
    bob.kit.answer(call_id).await.unwrap();
    alice.until("first_audio").await;
    let first = was_asked.recv().await.unwrap();
    assert_eq!((first.channel.as_str(), first.app_id.as_str()), (call_id.to_string().as_str(), "demo"));
    let again = tokio::time::timeout(crate::house::PATIENCE, was_asked.recv()).await.unwrap().unwrap();
    assert!(again.uid.is_some(), "a renewal names the uid");
    let third = tokio::time::timeout(crate::house::PATIENCE, was_asked.recv()).await.unwrap().unwrap();
    assert_eq!(third.uid, again.uid, "the renewed token is renewed in turn: the call outlives its tokens");
    alice.kit.hangup(call_id).await.unwrap();
    assert_eq!(alice.until_end(call_id).await, EndReason::Hangup);
}

#[tokio::test(flavor = "multi_thread")]
async fn a5_nothing_is_called_or_answered_before_init_rtc() {
    let house = House::open().await;
    let backend = house.backend("alice").await;
    let kit = house.builder().sign_in("alice", backend.access_token()).await.unwrap();
    let early = kit.start_single_call("bob", CallType::Audio1v1, Ext::new()).await;
    assert_eq!(early, Err(CallError::NotInitialized));
    let mut bob = house.phone("bob").await;
    kit.init_rtc().await.unwrap();
    kit.init_rtc().await.unwrap();
    let call_id = kit.start_single_call("bob", CallType::Audio1v1, Ext::new()).await.unwrap();
    bob.until("receive_call").await;
    bob.kit.release_rtc().await.unwrap();
    assert_eq!(bob.until_end(call_id).await, EndReason::Refuse);
    assert_eq!(bob.kit.answer(call_id).await, Err(CallError::NotInitialized));
}

#[tokio::test(flavor = "multi_thread")]
async fn a6_start_single_call_rings_the_callee_with_its_type_and_ext() {
    let house = House::open().await;
    let (mut alice, mut bob) = (house.phone("alice").await, house.phone("bob").await);
    let ext = Ext::from([("room".to_owned(), "kitchen".to_owned())]);
    let call_id = alice.kit.start_single_call("bob", CallType::Video1v1, ext.clone()).await.unwrap();
    let event = bob.until("receive_call").await;
    let user = alice.kit.user().clone();
    assert!(
        matches!(event, CallKitEvent::ReceiveCall { user: who, call_id: of, call_type: CallType::Video1v1, ext: with, .. } if who == user && of == call_id && with == ext)
    );
    assert!(matches!(alice.until("ringing").await, CallKitEvent::Ringing { user, .. } if user.as_str() == "bob"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a6_start_single_call_refuses_what_makes_no_sense() {
    let house = House::open().await;
    let (mut alice, mut bob) = (house.phone("alice").await, house.phone("bob").await);
    let call = |user: &'static str, call_type| alice.kit.start_single_call(user, call_type, Ext::new());
    for (user, call_type) in [("", CallType::Audio1v1), ("alice", CallType::Audio1v1), ("bob", CallType::Multi)] {
        let error = call(user, call_type).await.unwrap_err();
        assert!(matches!(error, CallError::InvalidParam(_)), "{error:?}");
        assert_eq!(error.code(), 100);
    }
    let large = Ext::from([("k".to_owned(), "v".repeat(5_000))]);
    let error = alice.kit.start_single_call("bob", CallType::Audio1v1, large).await.unwrap_err();
    assert_eq!(error.code(), 100);
    alice.calls(&mut bob).await;
    let error = alice.kit.start_single_call("carol", CallType::Audio1v1, Ext::new()).await.unwrap_err();
    assert_eq!((error.clone(), error.code()), (CallError::Busy, 101));
}

#[tokio::test(flavor = "multi_thread")]
async fn a17_the_reference_backend_registers_signs_and_maps() {
    let house = House::open().await;
    let backend = house.backend("alice").await;
    let again = callkit::DevBackend::sign_in(&house.url, "alice", "another password").await;
    assert!(matches!(again, Err(callkit::DevBackendError::Refused(_))));
    let channel = callkit::ChannelId::new("somewhere").unwrap();
    let app_id = callkit::AppId::new("demo").unwrap();
    let request = callkit::RtcTokenRequest { channel: channel.clone(), app_id, uid: None };
    let token = backend.rtc_token(request).await.unwrap();
    let mapper = backend.map_user(channel.clone(), token.uid).await.unwrap();
    assert_eq!(mapper.channel, channel);
    assert_eq!(mapper.users, [(token.uid, callkit::UserId::new("alice").unwrap())]);
    let nobody = callkit::Uid::new(4_000_000_000).unwrap();
    assert!(backend.map_user(channel, nobody).await.is_err());
}
