//! Too much of what is allowed.

use call_protocol::session::RefuseReason;
use callkit_server::{LimitsConfig, Server, ServerConfig};
use tokio::io::AsyncReadExt;

use crate::client::{Client, app, config, hello, metric, metric_becomes, soon};
use crate::stranger::{connect, limits, page, start, users_are_unharmed};

#[tokio::test]
async fn an_address_has_so_many_connections_and_the_others_are_turned_away() {
    let server = start(LimitsConfig { connections_per_address: 10, ..limits() }).await;
    let address = server.local_addr();
    let mut kept = Vec::new();
    for _ in 0..10 {
        kept.push(connect(address).await);
    }
    for _ in 0..90 {
        assert_eq!(page(address, "/healthz").await, 429);
    }
    users_are_unharmed(&server, 1).await;
    assert_eq!(metric(address, "callkit_connections_total{result=\"limited\"}").await, 90.0);
    assert_eq!(metric(address, "callkit_limited_total{limit=\"connections_at_once\"}").await, 90.0);

    drop(kept);
    metric_becomes(address, "callkit_connections", 1.0).await;
    assert_eq!(page(address, "/healthz").await, 200, "there is room again");
    server.stop().await;
}

#[tokio::test]
async fn an_address_connects_so_often_a_minute() {
    let server = start(LimitsConfig { connections_per_address_per_minute: 20, ..limits() }).await;
    let mut turned_away = 0;
    for _ in 0..60 {
        turned_away += usize::from(page(server.local_addr(), "/healthz").await == 429);
    }
    assert!(turned_away >= 39, "{turned_away}");
    users_are_unharmed(&server, 1).await;
    server.stop().await;
}

#[tokio::test]
async fn pages_are_served_so_often_and_metrics_to_no_stranger() {
    let server = start(LimitsConfig { http_requests_per_address_per_minute: 5, ..limits() }).await;
    let address = server.local_addr();
    assert_eq!(page(address, "/metrics").await, 403);
    for _ in 0..4 {
        assert_eq!(page(address, "/healthz").await, 200);
    }
    assert_eq!(page(address, "/healthz").await, 429);
    users_are_unharmed(&server, 1).await;
    assert_eq!(metric(address, "callkit_limited_total{limit=\"http_requests_of_address\"}").await, 1.0);
    server.stop().await;
}

#[tokio::test]
async fn a_sign_in_on_a_connection_too_many_is_refused_with_its_reason() {
    let nobody = LimitsConfig { trusted_addresses: Vec::new(), ..limits() };
    for limits in [
        LimitsConfig { connections_per_address: 1, ..nobody.clone() },
        LimitsConfig { connections_per_address_per_minute: 1, ..nobody },
    ] {
        let server = start(limits).await;
        let mut ann = Client::sign_in(server.local_addr(), "ann").await;
        for _ in 0..40 {
            let refused = Client::try_sign_in(server.local_addr(), hello(&app("shop"), "bob", "phone")).await;
            let refused = refused.err().expect("there is no room");
            assert_eq!(refused.reason, RefuseReason::TooMany);
            assert!(refused.detail.contains("too many connections"), "{}", refused.detail);
        }
        ann.hears_nothing().await;
        server.stop().await;
    }
}

/// Ten thousand need more sockets than a test can count on; the benchmark has them.
#[tokio::test]
async fn a_thousand_connections_that_say_nothing_are_closed_and_a_user_stays() {
    let limits = LimitsConfig { connections_per_address: 0, connections_per_address_per_minute: 0, ..limits() };
    let server = Server::start(ServerConfig { limits, hello_timeout_ms: 200, ..config() }).await.unwrap();
    let address = server.local_addr();
    let mut user = Client::sign_in(address, "zoe").await;
    let mut silent = Vec::new();
    for _ in 0..1_000 {
        silent.push(connect(address).await);
    }
    for socket in &mut silent {
        assert_eq!(soon("the end", socket.read(&mut [0; 16])).await.unwrap(), 0);
    }
    user.hears_nothing().await;
    metric_becomes(address, "callkit_connections", 2.0).await;
    users_are_unharmed(&server, 1).await;
    server.stop().await;
}
