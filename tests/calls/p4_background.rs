//! P8: a call that one part of the app verifies and another one adopts.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use callkit::{CallState, DisconnectReason as Reason, DisconnectSource as Source, StartFailReason, VerifyCallParam};

use crate::p4::{Told, Town, ear, end, measured};

#[tokio::test(flavor = "multi_thread")]
async fn p4_p8_a_call_verified_in_the_background_is_adopted_and_its_first_handler_hears_no_more() {
    let town = Town::open().await;
    let (alice, bob) = (town.person("alice", 400.0).await, town.person("bob", 700.0).await);
    let mut here = alice.calls("bob", |param| param).await;
    let (handler, mut in_background) = ear();
    let param = bob.verify_param(&town.cc_param().await);
    let verified = bob.manager.verify_background_call(param, handler).await;
    assert_eq!(verified.reason, StartFailReason::None);
    let background = verified.background_call.unwrap();
    assert_eq!(in_background.next().await, Told::Verified(false));
    let (handler, mut in_front) = ear();
    let call = bob.manager.adopt_background_call(background.id(), handler).await.unwrap();
    assert_eq!(call.state(), CallState::Verified);
    let (another, _) = ear();
    assert!(bob.manager.adopt_background_call("no such id", another).await.is_none());
    call.accept(false).await.unwrap();
    in_front.until_connected().await;
    here.ear.until_connected().await;
    here.call.end().await.unwrap();
    assert_eq!(in_front.until_end().await, end(Reason::Normal, Source::Caller, true));
    assert_eq!(in_front.heard.len(), 2);
    assert_eq!(in_background.drain().await, [Told::Verified(false), Told::Adopted]);
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p8_a_background_call_is_declined_without_anybody_adopting_it() {
    let town = Town::open().await;
    let (alice, bob) = (town.person("alice", 400.0).await, town.person("bob", 700.0).await);
    let mut here = alice.calls("bob", |param| param).await;
    let (handler, mut told) = ear();
    let param = bob.verify_param(&town.cc_param().await);
    let background = bob.manager.verify_background_call(param, handler).await.background_call.unwrap();
    // At once, though it is not yet known whether it rings.
    background.end().await.unwrap();
    assert_eq!(told.until_end().await, end(Reason::Decline, Source::Callee, false));
    assert_eq!(here.ear.until_end().await, end(Reason::Decline, Source::Callee, true));
    let (late, _) = ear();
    assert!(bob.manager.adopt_background_call(background.id(), late).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p8_by_the_id_alone_another_process_adopts_the_call_and_the_first_one_is_replaced() {
    let town = Town::open().await;
    let (alice, bob) = (town.person("alice", 400.0).await, town.person("bob", 700.0).await);
    let mut here = alice.calls("bob", |param| param).await;
    let (handler, mut in_background) = ear();
    let param = bob.verify_param(&town.cc_param().await);
    let background = bob.manager.verify_background_call(param, handler).await.background_call.unwrap();
    assert_eq!(in_background.next().await, Told::Verified(false));
    // The same server by another name: as in another process, what this one remembers of the id is not found.
    let known = String::from_utf8(URL_SAFE_NO_PAD.decode(background.id()).unwrap()).unwrap();
    let unknown = URL_SAFE_NO_PAD.encode(known + "/");
    let (handler, mut in_front) = ear();
    let call = bob.manager.adopt_background_call(&unknown, handler).await.unwrap();
    in_front.until_verified().await;
    call.accept(false).await.unwrap();
    in_front.until_connected().await;
    here.ear.until_connected().await;
    assert_eq!(in_background.drain().await, [Told::Verified(false), Told::Adopted]);
    // Figures were asked for, and are kept: the options went along.
    crate::p4_media::hears(&bob.heard, 400.0).await;
    assert!(call.statistics().await.is_some());
    call.end().await.unwrap();
    assert_eq!(here.ear.until_end().await, end(Reason::Normal, Source::Callee, true));
    assert_eq!(background.end().await, Err(callkit::CallError::NoSuchCall));
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p8_a_call_is_verified_in_the_background_of_a_kit_and_adopted_from_it_with_its_options() {
    let town = Town::open().await;
    let alice = town.person("alice", 400.0).await;
    let bob = town.house.singer("bob", 700.0, |b| b).await;
    let mut here = alice.calls("bob", |param| param).await;
    let param = VerifyCallParam::builder().my_user_id("bob").my_service_id("demo");
    let param = param.cc_param(town.cc_param().await).options(measured()).build().unwrap();
    let (handler, mut in_background) = ear();
    let verified = bob.kit.verify_background_call(param, handler).await;
    assert_eq!(verified.reason, StartFailReason::None);
    let background = verified.background_call.unwrap();
    in_background.until_verified().await;
    let (handler, mut in_front) = ear();
    assert!(bob.kit.adopt_background_call("no such id", ear().0).await.is_none());
    let call = bob.kit.adopt_background_call(background.id(), handler).await.unwrap();
    call.accept(false).await.unwrap();
    in_front.until_connected().await;
    here.ear.until_connected().await;
    bob.hears(400.0).await;
    assert!(call.statistics().await.is_some());
    here.call.end().await.unwrap();
    assert_eq!(in_front.until_end().await, end(Reason::Normal, Source::Caller, true));
    assert_eq!(in_background.drain().await, [Told::Verified(false), Told::Adopted]);
}
