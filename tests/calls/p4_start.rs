//! P1, P3, P11 and P14: calls that do not start, and servers that do not sign in.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use callkit::{
    AudioInput, CallKit, CallKitType, CallManager, CallOptions, CcParam, DeviceError, Direction,
    DisconnectReason as Reason, DisconnectSource as Source, MakeCallParam, MicrophoneFailure, StartFailReason,
    VerifyCallParam,
};

use crate::house::House;
use crate::p4::{Told, Town, ear, end, measured};

fn param() -> callkit::MakeCallParamBuilder {
    MakeCallParam::builder()
        .my_user_id("alice")
        .my_service_id("demo")
        .peer_user_id("bob")
        .peer_service_id("demo")
        .access_token("no token")
}

/// How a call by this manager ends that does not even sign in.
async fn fate(manager: CallManager, param: MakeCallParam) -> crate::p4::End {
    let (handler, mut told) = ear();
    let made = manager.make_call(param, handler).await;
    assert_eq!(made.reason, StartFailReason::None);
    let end = told.until_end().await;
    assert_eq!(told.drain().await.len(), 1);
    end
}

fn by_caller(reason: Reason) -> crate::p4::End {
    end(reason, Source::Caller, false)
}

fn by_server(reason: Reason) -> crate::p4::End {
    end(reason, Source::CloudServer, true)
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p14_a_sign_in_that_fails_is_the_end_of_the_call() {
    let house = House::open().await;
    let manager = || CallManager::new(house.builder().audio_input(AudioInput::Silence));
    let complete = || param().build().unwrap();
    assert_eq!(fate(manager(), complete()).await, by_server(Reason::ServiceAccessTokenError));
    let foreign = param().my_service_id("bank").peer_service_id("bank").build().unwrap();
    assert_eq!(fate(manager(), foreign).await, by_server(Reason::ServiceInvalidId));
    let at = |server: &str| CallManager::new(CallKit::builder("demo").server(server));
    assert_eq!(fate(at("no address"), complete()).await, by_caller(Reason::ServiceInvalidUrl));
    // A port that was free a moment ago.
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(fate(at(&format!("http://{free}")), complete()).await, by_caller(Reason::ServiceConnectFail));
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p14_a_server_that_is_none_or_says_nothing() {
    let complete = || param().build().unwrap();
    // It speaks HTTP, but knows nothing of calls.
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = other.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(other, axum::Router::new()).await });
    let web = CallManager::new(CallKit::builder("demo").server(format!("http://{address}")));
    let told = fate(web, complete()).await;
    assert!(matches!(told.reason, Reason::ServiceHttpError | Reason::ServiceConnectFail), "{told:?}");
    assert_eq!((told.source, told.by_remote), (Source::Caller, false));
    // It takes connections and is silent.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let quiet = CallManager::new(CallKit::builder("demo").server(format!("http://{address}")));
    assert_eq!(fate(quiet, complete()).await, by_caller(Reason::ServiceConnectionTimeOut));
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p3_cc_param_is_read_by_its_bearer_and_refused_when_forged() {
    let town = Town::open().await;
    let (alice, bob) = (town.person("alice", 400.0).await, town.person("bob", 700.0).await);
    let mut here = alice.calls("bob", |param| param).await;
    let text = town.cc_param().await;
    let read = CcParam::parse(&text).unwrap();
    assert_eq!((read.peer.as_str(), read.call_type), ("alice", callkit::CallType::Audio1v1));
    assert_eq!(CcParam::parse(&text[1..]), None);
    // The same, signed by somebody else.
    let forged = read.seal(|_| (0, [7; 16]));
    let mut refused = bob.verifies(&forged).await;
    assert_eq!(refused.ear.next().await, Told::Disconnected(by_server(Reason::ServiceAccessTokenError)));
    // It is for one user only.
    let theft = VerifyCallParam::builder().my_user_id("carol").my_service_id("demo").cc_param(&text).build();
    assert_eq!(theft.unwrap_err().reason(), StartFailReason::DecodeCallParam);
    // What was read is as good as its text.
    let param = VerifyCallParam::builder().my_user_id("bob").my_service_id("demo").cc_param(&read).build().unwrap();
    let (handler, mut told) = ear();
    let verified = bob.manager.verify_call(param, handler).await;
    assert_eq!((verified.reason, read.as_str()), (StartFailReason::None, text.as_str()));
    told.until_verified().await;
    here.ear.until(&Told::WaitConnected).await;
    assert!(!format!("{read:?}").contains("alice"), "it stays out of logs");
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p11_without_a_microphone_a_call_starts_only_where_it_may() {
    let town = Town::open().await;
    let none = || AudioInput::Device("no such microphone".into());
    let alice = town.person_with("alice", 400.0, |builder| builder.audio_input(none())).await;
    let bob = town.person("bob", 700.0).await;
    let (handler, _) = ear();
    let made = alice.manager.make_call(alice.param("bob").build().unwrap(), handler).await;
    assert_eq!(made.reason, StartFailReason::NoRecordAudioPermission);
    assert!(made.call.is_none());
    let options = CallOptions { allow_call_without_mic: true, ..measured() };
    let (mut here, there) = town.ring(&alice, &bob, |param| param.options(options)).await;
    there.call.accept(false).await.unwrap();
    here.ear.until_connected().await;
    crate::p4_media::hears(&alice.heard, 700.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p14_a_kit_takes_only_calls_of_its_own_user_once_it_is_ready() {
    let house = House::open().await;
    let backend = house.backend("alice").await;
    let builder = house.builder().audio_input(AudioInput::Silence);
    let kit = builder.sign_in("alice", backend.access_token()).await.unwrap();
    let reason = async |param: MakeCallParam| {
        let (handler, _) = ear();
        kit.make_call(param, handler).await.reason
    };
    assert_eq!(reason(param().build().unwrap()).await, StartFailReason::NotInitialized);
    kit.init_rtc().await.unwrap();
    assert_eq!(reason(param().my_user_id("carol").build().unwrap()).await, StartFailReason::InvalidUserId);
    let bank = param().my_service_id("bank").peer_service_id("bank");
    assert_eq!(reason(bank.build().unwrap()).await, StartFailReason::InvalidServiceId);
    kit.sign_out().await;
    assert_eq!(reason(param().build().unwrap()).await, StartFailReason::InvalidStateToMakeCall);
}

/// Somebody whose microphone is denied, but only once it was tried as often as that.
async fn denied_after(town: &Town, user: &str, tries: usize) -> crate::p4::Person {
    let left = Arc::new(AtomicUsize::new(tries));
    let microphone = AudioInput::custom(move || match left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)) {
        Ok(_) => AudioInput::Silence.open(),
        Err(_) => Err(DeviceError::Denied { direction: Direction::Input }),
    });
    town.person_with(user, 700.0, |builder| builder.audio_input(microphone)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p11_a_denied_microphone_is_told_to_the_handler_of_the_call_and_the_call_listens() {
    let town = Town::open().await;
    let (alice, bob) = (town.person("alice", 400.0).await, denied_after(&town, "bob", 0).await);
    let mut here = alice.calls("bob", |param| param).await;
    let options = CallOptions { allow_call_without_mic: true, ..measured() };
    let param = VerifyCallParam::builder().my_user_id("bob").my_service_id("demo");
    let param = param.cc_param(town.cc_param().await).options(options).build().unwrap();
    let (handler, mut told) = ear();
    let there = bob.manager.verify_call(param, handler).await.call.unwrap();
    told.until_verified().await;
    there.accept(false).await.unwrap();
    told.until(&Told::MicrophoneFailed(MicrophoneFailure::Denied)).await;
    here.ear.until_connected().await;
    crate::p4_media::hears(&bob.heard, 400.0).await;
    there.end().await.unwrap();
    assert_eq!(told.until_end().await, end(Reason::Normal, Source::Callee, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p13_a_call_that_may_not_do_without_a_microphone_ends_when_the_system_activates_the_audio_and_there_is_none()
{
    let town = Town::open().await;
    let (alice, bob) = (town.person("alice", 400.0).await, denied_after(&town, "bob", 0).await);
    let mut here = alice.calls("bob", |param| param).await;
    let options = CallOptions { callkit_type: CallKitType::User, ..measured() };
    let param = VerifyCallParam::builder().my_user_id("bob").my_service_id("demo");
    let param = param.cc_param(town.cc_param().await).options(options).build().unwrap();
    let (handler, mut told) = ear();
    let verified = bob.manager.verify_call(param, handler).await;
    // The system has not lent the microphone yet: nobody can know.
    assert_eq!(verified.reason, StartFailReason::None);
    let there = verified.call.unwrap();
    told.until_verified().await;
    there.accept(false).await.unwrap();
    told.until_connected().await;
    here.ear.until_connected().await;
    there.notify_callkit_audio_activation().await.unwrap();
    told.until(&Told::MicrophoneFailed(MicrophoneFailure::Denied)).await;
    assert_eq!(told.until_end().await, end(Reason::AudioTxNoSrc, Source::Callee, false));
    here.ear.until_end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p14_a_microphone_that_is_denied_after_the_call_has_started_ends_it() {
    let town = Town::open().await;
    let (alice, bob) = (town.person("alice", 400.0).await, denied_after(&town, "bob", 1).await);
    let mut here = alice.calls("bob", |param| param).await;
    let mut there = bob.verifies(&town.cc_param().await).await;
    there.ear.until_verified().await;
    there.call.accept(false).await.unwrap();
    assert_eq!(there.ear.until_end().await, end(Reason::AudioTxNoSrc, Source::Callee, false));
    assert!(there.ear.heard.contains(&Told::MicrophoneFailed(MicrophoneFailure::Denied)), "{:?}", there.ear.heard);
    here.ear.until_end().await;
}
