//! What the backend of an app may do to its own users, and nobody else.

use std::net::SocketAddr;

use call_protocol::accept::{Answer, AnswerResult};
use call_protocol::disconnect::DisconnectSource;
use call_protocol::end::EndReason;
use call_protocol::session::{Hello, RefuseReason};
use call_protocol::token::{AccessClaims, OperatorClaims};
use call_protocol::{CallId, UserId, Word};
use callkit_server::{AppConfig, Server, ServerConfig};
use serde_json::{Value, json};

use crate::client::{Client, app, config, hello, http, metric, start};
use crate::words::{invite, party};

const CALL: CallId = CallId::from_bits(0x0bde);

async fn order_with(address: SocketAddr, path: &str, token: &str, body: Value) -> (u16, Value) {
    let request = format!("POST /v1/apps/{path}\nauthorization: Bearer {token}\n\n{body}");
    let (status, body) = http(address, &request).await;
    (status, serde_json::from_str(&body).unwrap_or_default())
}

/// By the backend of `shop`.
async fn order(address: SocketAddr, what: &str, body: Value) -> (u16, Value) {
    order_with(address, &format!("shop/{what}"), &app("shop").operator_token(60), body).await
}

fn issued(user: &str, iat: u64) -> Hello {
    let shop = app("shop");
    let (sub, iss) = (shop.app_id.to_string(), shop.api_key.clone());
    let claims = AccessClaims { sub, uid: user.into(), iss, iat, exp: unix_s() + 600 };
    Hello { access_token: shop.sign(&claims), ..hello(&shop, user, "phone") }
}

fn unix_s() -> u64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// Ann calls bob; the call rings, or bob has taken it.
async fn call(ann: &mut Client, bob: &mut Client, is_answered: bool) {
    ann.say(CALL, invite(CALL, "ann", "bob")).await;
    ann.word().await;
    assert!(matches!(bob.word().await, Word::Invite(_)));
    if is_answered {
        let (callee, result) = (party("bob"), AnswerResult::Accept);
        bob.say(CALL, Word::Answer(Answer { callee, result, call_type: None, preparation: false, release: None }))
            .await;
        assert!(matches!(bob.word().await, Word::AnswerConfirm(_)));
        assert!(matches!(ann.word().await, Word::Answer(_)));
    }
}

#[tokio::test]
async fn a_user_is_signed_out_and_hangs_up_with_that() {
    let server = start().await;
    let address = server.local_addr();
    let (mut ann, mut bob) = (Client::sign_in(address, "ann").await, Client::sign_in(address, "bob").await);
    let mut tablet = Client::try_sign_in(address, hello(&app("shop"), "ann", "tablet")).await.unwrap();
    let mut ann_of_bank = Client::try_sign_in(address, hello(&app("bank"), "ann", "phone")).await.unwrap();
    call(&mut ann, &mut bob, true).await;
    let told = order(address, "sign-out", json!({ "user": "ann", "device": "phone" })).await;
    assert_eq!(told, (200, json!({ "sessions": 1 })));
    assert_eq!(ann.end().await, Some(RefuseReason::SignedOut));
    assert!(matches!(bob.word().await, Word::End(end) if end.reason == EndReason::RemoteHangup));
    tablet.hears_nothing().await;

    let mut ann = Client::sign_in(address, "ann").await;
    assert_eq!(order(address, "sign-out", json!({ "user": "ann" })).await, (200, json!({ "sessions": 2 })));
    assert_eq!((ann.end().await, tablet.end().await), (Some(RefuseReason::SignedOut), Some(RefuseReason::SignedOut)));
    assert_eq!(order(address, "sign-out", json!({ "user": "ann" })).await, (200, json!({ "sessions": 0 })));
    ann_of_bank.hears_nothing().await;
    server.stop().await;
}

#[tokio::test]
async fn the_tokens_of_a_user_are_revoked_also_for_a_server_that_starts_later() {
    let folder = tempfile::tempdir().unwrap();
    let config = ServerConfig { data_dir: Some(folder.path().join("data")), ..config() };
    let server = Server::start(config.clone()).await.unwrap();
    let address = server.local_addr();
    let (old, new) = (issued("ann", unix_s() - 1), issued("ann", unix_s() + 3_600));
    let mut ann = Client::try_sign_in(address, old.clone()).await.unwrap();
    let mut bob = Client::sign_in(address, "bob").await;
    assert_eq!(order(address, "revoke", json!({ "user": "ann" })).await, (200, json!({ "sessions": 1 })));
    assert_eq!(ann.end().await, Some(RefuseReason::TokenInvalid));
    bob.hears_nothing().await;
    let refused = |refuse: call_protocol::session::Refuse| {
        assert_eq!(refuse.reason, RefuseReason::TokenInvalid);
        assert!(refuse.detail.contains("revoked"), "{}", refuse.detail);
    };
    refused(Client::try_sign_in(address, old.clone()).await.err().unwrap());
    assert_eq!(metric(address, "callkit_auth_failures_total{reason=\"revoked\"}").await, 1.0);
    server.stop().await;

    let server = Server::start(config).await.unwrap();
    let address = server.local_addr();
    refused(Client::try_sign_in(address, old).await.err().unwrap());
    let mut ann = Client::try_sign_in(address, new).await.unwrap();
    ann.hears_nothing().await;
    server.stop().await;
}

#[tokio::test]
async fn one_token_is_revoked_and_the_sessions_of_others_stay() {
    let server = start().await;
    let address = server.local_addr();
    let lost = Hello { device: "lost".into(), ..issued("ann", unix_s() - 1) };
    let mut on_lost = Client::try_sign_in(address, lost.clone()).await.unwrap();
    let mut ann = Client::sign_in(address, "ann").await;
    let told = order(address, "revoke", json!({ "token": lost.access_token })).await;
    assert_eq!(told, (200, json!({ "sessions": 1 })));
    assert_eq!(on_lost.end().await, Some(RefuseReason::TokenInvalid));
    assert_eq!(Client::try_sign_in(address, lost).await.err().unwrap().reason, RefuseReason::TokenInvalid);
    ann.hears_nothing().await;
    let of_bank = app("bank").access_token(&UserId::new("ann").unwrap(), 600);
    for body in [json!({ "token": of_bank }), json!({ "token": "x" }), json!({}), json!({ "user": "ann", "for_s": 0 })]
    {
        assert_eq!(order(address, "revoke", body.clone()).await.0, 400, "{body}");
    }
    ann.hears_nothing().await;
    server.stop().await;
}

#[tokio::test]
async fn a_call_is_ended_whether_it_rings_or_was_answered() {
    for is_answered in [false, true] {
        let server = start().await;
        let address = server.local_addr();
        let (mut ann, mut bob) = (Client::sign_in(address, "ann").await, Client::sign_in(address, "bob").await);
        call(&mut ann, &mut bob, is_answered).await;
        let body = json!({ "call_id": CALL });
        let by_bank = order_with(address, "bank/end-call", &app("bank").operator_token(60), body.clone()).await;
        assert_eq!(by_bank, (404, json!({ "error": "no_such_call" })), "it is not the bank's");
        assert_eq!(order(address, "end-call", body.clone()).await.0, 204);
        let Word::End(end) = ann.word().await else { panic!() };
        assert_eq!((end.reason, end.release.unwrap().source), (EndReason::RemoteHangup, DisconnectSource::AppServer));
        assert!(matches!((is_answered, bob.word().await), (true, Word::End(_)) | (false, Word::Cancel(_))));
        assert_eq!(order(address, "end-call", body).await.0, 404, "it is over");
        server.stop().await;
    }
}

#[tokio::test]
async fn who_has_not_the_apps_key_does_nothing_to_its_users() {
    let server = start().await;
    let address = server.local_addr();
    let (mut ann, mut bob) = (Client::sign_in(address, "ann").await, Client::sign_in(address, "bob").await);
    call(&mut ann, &mut bob, true).await;
    let (shop, bank) = (app("shop"), app("bank"));
    let other_secret = AppConfig { secret: bank.secret.clone(), ..shop.clone() };
    let claims = |scope: &str, exp| {
        let (sub, iss) = (shop.app_id.to_string(), shop.api_key.clone());
        shop.sign(&OperatorClaims { sub, scope: scope.into(), iss, exp })
    };
    let tokens = [
        ("nothing", String::new()),
        ("a user's token", shop.access_token(&UserId::new("ann").unwrap(), 60)),
        ("another scope", claims("user", unix_s() + 60)),
        ("over", claims(OperatorClaims::SCOPE, unix_s() - 60)),
        ("another app's", bank.operator_token(60)),
        ("signed by another", other_secret.operator_token(60)),
    ];
    let orders = [
        ("sign-out", json!({ "user": "ann" })),
        ("revoke", json!({ "user": "ann" })),
        ("end-call", json!({ "call_id": CALL })),
    ];
    for (what, token) in &tokens {
        for (order, body) in &orders {
            let path = format!("shop/{order}");
            assert_eq!(order_with(address, &path, token, body.clone()).await.0, 401, "{what}: {order}");
        }
    }
    assert_eq!(order_with(address, "nobody/sign-out", &shop.operator_token(60), json!({ "user": "ann" })).await.0, 401);
    // With its own key an app reaches its own users alone.
    let by_bank = order_with(address, "bank/sign-out", &bank.operator_token(60), json!({ "user": "ann" })).await;
    assert_eq!(by_bank, (200, json!({ "sessions": 0 })));
    assert_eq!(http(address, "GET /v1/apps/shop/sign-out").await.0, 405);
    // And what is shown to operators signs nobody in.
    let as_ann = Hello { access_token: shop.operator_token(60), ..hello(&shop, "ann", "tablet") };
    assert_eq!(Client::try_sign_in(address, as_ann).await.err().unwrap().reason, RefuseReason::TokenInvalid);
    ann.hears_nothing().await;
    bob.hears_nothing().await;
    server.stop().await;
}
