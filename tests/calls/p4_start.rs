//! P1, P3, P11 and P14: calls that do not start, and servers that do not sign in.

use callkit::{
    AudioInput, CallKit, CallManager, CallOptions, CcParam, DisconnectReason as Reason, DisconnectSource as Source,
    MakeCallParam, StartFailReason, VerifyCallParam,
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
    assert_eq!(fate(at("no address"), complete()).await, by_server(Reason::ServiceInvalidUrl));
    // A port that was free a moment ago.
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(fate(at(&format!("http://{free}")), complete()).await, by_server(Reason::ServiceConnectFail));
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p14_a_server_that_is_none_or_says_nothing() {
    let complete = || param().build().unwrap();
    // It speaks HTTP, but knows nothing of calls.
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = other.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(other, axum::Router::new()).await });
    let web = CallManager::new(CallKit::builder("demo").server(format!("http://{address}")));
    let reason = fate(web, complete()).await.reason;
    assert!(matches!(reason, Reason::ServiceHttpError | Reason::ServiceConnectFail), "{reason:?}");
    // It takes connections and is silent.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let quiet = CallManager::new(CallKit::builder("demo").server(format!("http://{address}")));
    assert_eq!(fate(quiet, complete()).await, by_server(Reason::ServiceConnectionTimeOut));
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
    let mut there = bob.verifies(&text).await;
    there.ear.until_verified().await;
    here.ear.until(&Told::WaitConnected).await;
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
