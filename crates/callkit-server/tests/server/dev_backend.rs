//! The backend of `--dev`, over HTTP as an app would use it.

use std::net::SocketAddr;

use call_protocol::media::{ChannelEventBody, ChannelRequestBody};
use call_protocol::session::Hello;
use call_protocol::{CallId, CcParam, Uid};
use callkit_server::{Server, ServerConfig};
use serde_json::{Value, json};

use crate::client::{Client, app, hello, http, start};
use crate::words::invite;

async fn post(address: SocketAddr, path: &str, bearer: Option<&str>, body: Value) -> (u16, Value) {
    let bearer = bearer.map(|token| format!("authorization: Bearer {token}\n")).unwrap_or_default();
    let request = format!("POST /dev/{path}\ncontent-type: application/json\n{bearer}\n{body}");
    let (status, body) = http(address, &request.replace("\n\n\n", "\n\n")).await;
    (status, serde_json::from_str(&body).unwrap_or_else(|_| panic!("not JSON: {body}")))
}

async fn account(address: SocketAddr, user: &str) -> String {
    let credentials = json!({ "user": user, "password": "pw" });
    assert_eq!(post(address, "register", None, credentials.clone()).await.0, 201);
    let (status, told) = post(address, "access-token", None, credentials).await;
    assert_eq!((status, &told["app_id"], &told["expires_in_s"]), (200, &json!("demo"), &json!(3_600)));
    told["token"].as_str().unwrap().to_owned()
}

async fn sign_in(address: SocketAddr, user: &str, token: &str) -> Client {
    let hello = Hello { app_id: "demo".into(), access_token: token.to_owned(), ..hello(&app("shop"), user, "phone") };
    Client::try_sign_in(address, hello).await.unwrap()
}

#[tokio::test]
async fn a_callee_gets_the_cc_param_of_the_call_that_rings_for_it_and_nobody_else_does() {
    let server = Server::start(ServerConfig::dev_on_loopback()).await.unwrap();
    let address = server.local_addr();
    let (ann, bob) = (account(address, "ann").await, account(address, "bob").await);
    let mut phone = sign_in(address, "ann", &ann).await;
    let wanted = async |token| post(address, "cc-param", token, json!({})).await;
    assert_eq!(wanted(Some(&bob)).await, (200, json!({ "cc_param": null })), "nothing rings");

    let call_id = CallId::from_bits(7);
    phone.say(call_id, invite(call_id, "ann", "bob")).await;
    phone.is_acknowledged().await;
    let told = wanted(Some(&bob)).await.1;
    let param = CcParam::parse(told["cc_param"].as_str().unwrap()).unwrap();
    assert_eq!((param.call_id, param.user.as_str(), param.peer.as_str()), (call_id, "bob", "ann"));
    assert_eq!(wanted(Some(&ann)).await, (200, json!({ "cc_param": null })), "it rings for the other one");
    assert_eq!(wanted(None).await.0, 401);
    assert_eq!(wanted(Some("made up")).await.0, 401);
}

#[tokio::test]
async fn accounts_tokens_and_uids_lead_to_a_channel() {
    let server = Server::start(ServerConfig::dev_on_loopback()).await.unwrap();
    let address = server.local_addr();
    let (ann, bob) = (account(address, "ann").await, account(address, "bob").await);
    let mut phone = sign_in(address, "ann", &ann).await;

    let (status, told) = post(address, "rtc-token", Some(&ann), json!({ "channel": "room" })).await;
    assert_eq!(status, 200);
    let uid = told["uid"].as_u64().unwrap();
    let again = post(address, "rtc-token", Some(&ann), json!({ "channel": "room", "uid": 0, "ttl_s": 60 })).await.1;
    assert_eq!(again["uid"], uid, "always the same");
    let bobs = post(address, "rtc-token", Some(&bob), json!({ "channel": "room" })).await.1;
    assert_ne!(bobs["uid"], uid);

    let token = told["token"].as_str().unwrap().to_owned();
    phone.ask("room", ChannelRequestBody::Join { token, tracks: Default::default() }).await;
    let joined = Uid::new(u32::try_from(uid).unwrap()).unwrap();
    assert!(matches!(phone.event().await, ChannelEventBody::Joined { uid, .. } if uid == joined));

    let map = |uid: u64| json!({ "channel": "room", "uid": uid });
    assert_eq!(post(address, "user-map", Some(&bob), map(uid)).await, (200, json!({ "user": "ann" })));
    assert_eq!(post(address, "user-map", Some(&bob), map(4_000_000_000)).await.0, 404);
    let taken = post(address, "rtc-token", Some(&bob), json!({ "channel": "room", "uid": uid })).await;
    assert_eq!(taken.0, 409);
    let own = post(address, "rtc-token", Some(&bob), json!({ "channel": "room", "uid": 4_000_000_000_u32 })).await;
    assert_eq!(own.0, 200);
    assert_eq!(post(address, "user-map", Some(&ann), map(4_000_000_000)).await.1["user"], "bob");
    server.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_told_as_json() {
    let server = Server::start(ServerConfig::dev_on_loopback()).await.unwrap();
    let address = server.local_addr();
    let token = account(address, "ann").await;
    let credentials = |user: &str, password: &str| json!({ "user": user, "password": password });
    let room = json!({ "channel": "room" });
    let cases = [
        (post(address, "register", None, credentials("ann", "x")).await, 409, "taken"),
        (post(address, "register", None, credentials("", "x")).await, 400, "user"),
        (post(address, "register", None, credentials("eve", "")).await, 400, "password"),
        (post(address, "register", None, json!({ "user": "eve" })).await, 422, "password"),
        (post(address, "access-token", None, credentials("ann", "wrong")).await, 401, "wrong"),
        (post(address, "access-token", None, credentials("nobody", "pw")).await, 401, "wrong"),
        (post(address, "rtc-token", None, room.clone()).await, 401, "bearer"),
        (post(address, "rtc-token", Some("x"), room.clone()).await, 401, "JWT"),
        (post(address, "rtc-token", Some(&token), json!({ "channel": "" })).await, 422, "channel"),
        (post(address, "rtc-token", Some(&token), json!({ "channel": "room", "ttl_s": 0 })).await, 400, "ttl_s"),
    ];
    for ((status, told), wanted, says) in cases {
        let error = told["error"].as_str().unwrap_or_else(|| panic!("{told}"));
        assert_eq!(status, wanted, "{error}");
        assert!(error.contains(says), "{error:?} does not say {says:?}");
    }
    let huge = format!("POST /dev/register\ncontent-type: application/json\n\n{{\"user\":\"{}\"}}", "x".repeat(10_000));
    assert_eq!(http(address, &huge).await.0, 413);
    server.stop().await;
}

#[tokio::test]
async fn without_dev_there_is_no_such_backend() {
    let server = start().await;
    let request = "POST /dev/register\ncontent-type: application/json\n\n{\"user\":\"ann\",\"password\":\"x\"}";
    assert_eq!(http(server.local_addr(), request).await.0, 404);
    server.stop().await;
}
