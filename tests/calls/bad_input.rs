//! What is not right gets a clear error, and nobody else notices.

use std::io::Write;
use std::net::TcpStream;

use callkit::{CallError, CallKitEvent, CallType, EndReason, Ext, HandlerError, JoinRefusal, RefuseReason};
use callkit::{RtcToken, RtcTokenRequest, SignInError, Uid};
use callkit_server::{LimitsConfig, ServerConfig};
use jsonwebtoken::{EncodingKey, Header, encode};

use crate::house::House;

/// A channel token of the reference backend that lives for `ttl_s`.
pub(crate) async fn rtc_token(
    url: &str,
    access_token: &str,
    request: &RtcTokenRequest,
    ttl_s: u64,
) -> Result<RtcToken, HandlerError> {
    let (channel, uid) = (request.channel.to_string(), request.uid.map_or(0, Uid::get));
    let body = serde_json::json!({ "channel": channel, "uid": uid, "ttl_s": ttl_s }).to_string();
    let (url, access_token) = (url.to_owned(), access_token.to_owned());
    let reply = tokio::task::spawn_blocking(move || post(&url, "/dev/rtc-token", &access_token, &body)).await;
    let reply = reply.map_err(|error| HandlerError(error.to_string()))?;
    let reply: serde_json::Value = serde_json::from_str(&reply).map_err(|error| HandlerError(error.to_string()))?;
    let token = reply["token"].as_str().unwrap_or_default().to_owned();
    let uid = u32::try_from(reply["uid"].as_u64().unwrap_or_default()).unwrap_or_default();
    Ok(RtcToken { token, uid: Uid::new(uid).map_err(|error| HandlerError(error.to_string()))? })
}

fn post(url: &str, path: &str, access_token: &str, body: &str) -> String {
    use std::io::Read;
    let host = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).unwrap();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {access_token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned()
}

fn signed(house: &House, change: impl FnOnce(&mut serde_json::Value), secret: Option<&str>) -> String {
    let app = &house.server.apps()[0];
    let mut claims = serde_json::json!({
        "sub": app.app_id.as_str(), "uid": "alice", "iss": app.api_key, "iat": 1, "exp": 4_000_000_000_u64,
    });
    change(&mut claims);
    let key = EncodingKey::from_secret(secret.unwrap_or(&app.secret).as_bytes());
    encode(&Header::default(), &claims, &key).unwrap()
}

async fn refused(house: &House, user: &str, token: &str) -> RefuseReason {
    match house.builder().sign_in(user, token).await {
        Err(SignInError::Refused { reason, detail }) => {
            assert!(!detail.is_empty());
            reason
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("let in"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_expired_or_foreign_access_token_is_refused_with_its_reason() {
    let house = House::open().await;
    let good = signed(&house, |_| {}, None);
    house.builder().sign_in("alice", good).await.unwrap().sign_out().await;
    let wrong_key = signed(&house, |_| {}, Some("another secret of 32 characters.."));
    assert_eq!(refused(&house, "alice", &wrong_key).await, RefuseReason::TokenInvalid);
    assert_eq!(refused(&house, "alice", "not a token").await, RefuseReason::TokenInvalid);
    assert_eq!(refused(&house, "alice", "").await, RefuseReason::TokenInvalid);
    let expired = signed(&house, |claims| claims["exp"] = 1_000.into(), None);
    assert_eq!(refused(&house, "alice", &expired).await, RefuseReason::TokenExpired);
    let foreign = signed(&house, |claims| claims["sub"] = "another app".into(), None);
    assert_eq!(refused(&house, "alice", &foreign).await, RefuseReason::TokenInvalid);
    let unknown = callkit::CallKit::builder("no such app").server(&house.url).sign_in("alice", foreign).await;
    assert!(matches!(unknown, Err(SignInError::Refused { reason: RefuseReason::AppUnknown, .. })));
    let empty = house.builder().sign_in("", "x").await;
    assert!(matches!(empty, Err(SignInError::InvalidParam(what)) if what.contains("user")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_beyond_what_an_address_may_have_is_refused_with_its_reason() {
    let limits = LimitsConfig { trusted_addresses: Vec::new(), connections_per_address: 1, ..LimitsConfig::default() };
    let house = House::with(ServerConfig { limits, ..ServerConfig::dev_on_loopback() }).await;
    let alice = house.builder().sign_in("alice", signed(&house, |_| {}, None)).await.unwrap();
    let bobs = signed(&house, |claims| claims["uid"] = "bob".into(), None);
    assert_eq!(refused(&house, "bob", &bobs).await, RefuseReason::TooMany);
    alice.sign_out().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_another_user_does_not_let_in() {
    let house = House::open().await;
    let bobs = signed(&house, |claims| claims["uid"] = "bob".into(), None);
    let outcome = house.builder().sign_in("alice", bobs).await;
    assert!(matches!(outcome, Err(SignInError::InvalidParam(_) | SignInError::Refused { .. })), "{:?}", outcome.err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_user_cannot_be_called_and_the_caller_is_told_why() {
    let house = House::open().await;
    let mut alice = house.phone("alice").await;
    let call_id = alice.kit.start_single_call("nobody", CallType::Audio1v1, Ext::new()).await.unwrap();
    assert!(matches!(alice.until("error").await, CallKitEvent::Error { error: CallError::UnknownUser, .. }));
    assert_eq!(alice.until_end(call_id).await, EndReason::Error);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_token_for_another_channel_or_uid_is_refused_at_the_join() {
    let house = House::open().await;
    let (mut alice, mut bob) = (house.phone("alice").await, house.phone("bob").await);
    let backend = house.backend("bob").await;
    bob.kit.set_rtc_token_handler(move |mut request: RtcTokenRequest| {
        let backend = backend.clone();
        async move {
            request.channel = callkit::ChannelId::new("elsewhere").unwrap();
            backend.rtc_token(request).await
        }
    });
    let call_id = alice.calls(&mut bob).await;
    bob.kit.answer(call_id).await.unwrap();
    let CallKitEvent::Error { error, .. } = bob.until("error").await else { panic!() };
    assert_eq!(error, CallError::Join(JoinRefusal::TokenInvalid));
    assert_eq!(bob.until_end(call_id).await, EndReason::Error);
    alice.until_end(call_id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_port_disturbs_nobody() {
    let house = House::open().await;
    let (alice, bob, _) = house.two_in_a_call().await;
    for garbage in [
        &b"\x00\x01\x02\xff\xfe\xfd"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff",
    ] {
        let mut stream = TcpStream::connect(house.address()).unwrap();
        stream.write_all(garbage).unwrap();
    }
    let mut carol = house.phone("carol").await;
    let mut dave = house.phone("dave").await;
    carol.calls(&mut dave).await;
    assert!(alice.kit.call_quality().await.is_some() && bob.kit.call_quality().await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_named_as_such() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = callkit::CallKit::builder("demo").server(format!("http://{free}")).sign_in("alice", "x").await;
    assert!(matches!(nobody, Err(SignInError::Unreachable(_))));
    let nonsense = callkit::CallKit::builder("demo").server("::nonsense::").sign_in("alice", "x").await;
    assert!(matches!(nonsense, Err(SignInError::InvalidParam(what)) if what.contains("server")));
}
