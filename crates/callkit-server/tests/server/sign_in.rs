//! Who is let in, and what the others are told.

use call_protocol::session::{ClientBody, Hello, RefuseReason, Resume, ServerBody};
use call_protocol::token::AccessClaims;
use callkit_server::{Server, ServerConfig};

use crate::client::{Client, app, config, hello, metric, start};

async fn refusal(server: &Server, hello: Hello) -> (RefuseReason, String) {
    let refuse = Client::try_sign_in(server.local_addr(), hello).await.err().expect("it is refused");
    (refuse.reason, refuse.detail)
}

fn claims() -> AccessClaims {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    AccessClaims { sub: "shop".into(), uid: "ann".into(), iss: "shop-key".into(), iat: now, exp: now + 60 }
}

fn with_token(token: String) -> Hello {
    Hello { access_token: token, ..hello(&app("shop"), "ann", "phone") }
}

#[tokio::test]
async fn a_good_token_is_welcomed_with_the_servers_times() {
    let server = start().await;
    let client = Client::sign_in(server.local_addr(), "ann").await;
    let welcome = client.welcome.clone().unwrap();
    assert!(!welcome.resumed && welcome.received == 0 && welcome.session.len() == 32);
    let times = (welcome.ping_every_ms, welcome.silence_limit_ms, welcome.resume_window_ms);
    assert_eq!(times, (3_000, 10_000, 15_000));
    assert!(welcome.server_unix_ms > 1_700_000_000_000);
    assert_eq!(welcome.stun_servers, [format!("stun:{}", server.udp_addr())]);
    server.stop().await;
}

#[tokio::test]
async fn each_wrong_token_is_refused_for_its_reason() {
    let server = start().await;
    let (shop, bank) = (app("shop"), app("bank"));
    let cases = [
        (with_token("not.a.token".into()), RefuseReason::TokenInvalid, "JWT"),
        (with_token(String::new()), RefuseReason::TokenInvalid, "JWT"),
        (with_token(bank.sign(&claims())), RefuseReason::TokenInvalid, "secret"),
        (with_token(shop.sign(&AccessClaims { sub: "bank".into(), ..claims() })), RefuseReason::TokenInvalid, "sub"),
        (with_token(shop.sign(&AccessClaims { iss: "other".into(), ..claims() })), RefuseReason::TokenInvalid, "iss"),
        (with_token(shop.sign(&AccessClaims { uid: "".into(), ..claims() })), RefuseReason::TokenInvalid, "uid"),
        (
            with_token(shop.sign(&AccessClaims { exp: claims().iat - 60, ..claims() })),
            RefuseReason::TokenExpired,
            "over",
        ),
        (Hello { user: "bob".into(), ..hello(&shop, "ann", "phone") }, RefuseReason::TokenInvalid, "another user"),
        (hello(&app("nowhere"), "ann", "phone"), RefuseReason::AppUnknown, "app_id"),
        (Hello { protocol_version: 99, ..hello(&shop, "ann", "phone") }, RefuseReason::VersionUnsupported, "99"),
        (Hello { device: String::new(), ..hello(&shop, "ann", "phone") }, RefuseReason::BadHello, "device"),
        (
            Hello { access_token: "x".repeat(5_000), ..hello(&shop, "ann", "phone") },
            RefuseReason::BadHello,
            "access_token",
        ),
    ];
    for (hello, reason, says) in cases {
        let (told, detail) = refusal(&server, hello).await;
        assert_eq!(told, reason, "{detail}");
        assert!(detail.contains(says), "{detail:?} does not say {says:?}");
    }
    assert_eq!(metric(server.local_addr(), "callkit_refusals_total{reason=\"token_invalid\"}").await, 7.0);
    assert_eq!(metric(server.local_addr(), "callkit_sign_ins_total").await, 0.0);
    server.stop().await;
}

/// The same device with a token that is over, to go on with a session.
fn late(session: String, received: u64) -> Hello {
    let over = AccessClaims { exp: claims().iat - 60, ..claims() };
    Hello { resume: Some(Resume { session, received }), ..with_token(app("shop").sign(&over)) }
}

#[tokio::test]
async fn a_token_that_is_over_goes_on_with_a_session_that_lives_and_with_no_other() {
    let server = start().await;
    let mut client = Client::sign_in(server.local_addr(), "ann").await;
    assert!(client.welcome.as_ref().unwrap().access_left_ms.is_some_and(|left_ms| left_ms <= 600_000));
    let (reason, _) = refusal(&server, late("made up".into(), 0)).await;
    assert_eq!(reason, RefuseReason::TokenExpired);
    client.hears_nothing().await;
    let again = Client::try_sign_in(server.local_addr(), late(client.session(), 0)).await.unwrap();
    let welcome = again.welcome.clone().unwrap();
    assert_eq!((welcome.resumed, welcome.access_left_ms), (true, Some(0)));
    server.stop().await;
}

#[tokio::test]
async fn an_access_token_is_renewed_in_the_session() {
    let server = start().await;
    let mut client = Client::sign_in(server.local_addr(), "ann").await;
    let shop = app("shop");
    let cases = [
        (shop.sign(&AccessClaims { exp: claims().iat + 5_000, ..claims() }), None, 600_000..=5_000_000),
        (
            shop.sign(&AccessClaims { uid: "bob".into(), ..claims() }),
            Some(RefuseReason::TokenInvalid),
            4_000_000..=5_000_000,
        ),
        (app("bank").sign(&claims()), Some(RefuseReason::TokenInvalid), 4_000_000..=5_000_000),
        (
            shop.sign(&AccessClaims { exp: claims().iat - 60, ..claims() }),
            Some(RefuseReason::TokenExpired),
            4_000_000..=5_000_000,
        ),
    ];
    for (access_token, refused, left) in cases {
        client.frame(0, Some(ClientBody::RenewAccess { access_token })).await;
        let ServerBody::Access(status) = client.body().await else { panic!("no status") };
        assert_eq!(status.refused, refused);
        assert!(left.contains(&status.left_ms), "{}", status.left_ms);
    }
    client.hears_nothing().await;
    server.stop().await;
}

#[tokio::test]
async fn the_first_frame_is_a_hello_and_comes_in_time() {
    let server = Server::start(ServerConfig { hello_timeout_ms: 50, ..config() }).await.unwrap();
    let mut client = Client::open(server.local_addr()).await;
    assert_eq!(client.end().await, Some(RefuseReason::BadHello), "nothing said");
    let mut client = Client::open(server.local_addr()).await;
    client.frame(0, Some(ClientBody::Ping { nonce: 1 })).await;
    assert_eq!(client.end().await, Some(RefuseReason::BadHello), "a ping first");
    server.stop().await;
}

#[tokio::test]
async fn the_same_device_again_replaces_the_first() {
    let server = start().await;
    let address = server.local_addr();
    let mut first = Client::sign_in(address, "ann").await;
    let mut other_device = Client::try_sign_in(address, hello(&app("shop"), "ann", "tablet")).await.unwrap();
    let mut other_app = Client::try_sign_in(address, hello(&app("bank"), "ann", "phone")).await.unwrap();
    let mut second = Client::sign_in(address, "ann").await;
    assert_eq!(first.end().await, Some(RefuseReason::Replaced));
    second.hears_nothing().await;
    other_device.hears_nothing().await;
    other_app.hears_nothing().await;
    assert_eq!(metric(address, "callkit_sessions").await, 3.0);
    server.stop().await;
}
