//! A proxy in front of the server: limits by address hold for the clients it speaks for.

use std::net::SocketAddr;

use callkit_server::{LimitsConfig, ProxyTells, Server, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{config, soon};

/// Two requests a minute for each address, and all of this machine are proxies.
async fn start(proxies_tell_by: ProxyTells) -> Server {
    let limits = LimitsConfig {
        http_requests_per_address_per_minute: 2,
        trusted_proxies: vec!["127.0.0.1/32".parse().unwrap()],
        proxies_tell_by,
        ..LimitsConfig::default()
    };
    Server::start(ServerConfig { limits, ..config() }).await.unwrap()
}

/// The status of a page that is asked for with these bytes before the request and these headers in it.
async fn page(server: SocketAddr, before: &[u8], path: &str, headers: &str) -> Option<u16> {
    let mut socket = TcpStream::connect(server).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n{headers}\r\n");
    socket.write_all(&[before, request.as_bytes()].concat()).await.unwrap();
    let mut answer = String::new();
    // A connection that is closed at once may be reset.
    soon("an answer", socket.read_to_string(&mut answer)).await.ok();
    answer.split(' ').nth(1).map(|status| status.parse().unwrap())
}

#[tokio::test]
async fn clients_behind_a_proxy_are_told_apart_and_none_reads_the_metrics() {
    let server = start(ProxyTells::XForwardedFor).await;
    let address = server.local_addr();
    for client in ["192.0.2.1", "192.0.2.2", "127.0.0.1"] {
        // What the client itself wrote stands before what the proxy added.
        let headers = format!("x-forwarded-for: 10.9.8.7, {client}\r\n");
        for expected in [200, 200, 429] {
            assert_eq!(page(address, b"", "/healthz", &headers).await, Some(expected), "{client}");
        }
    }
    let headers = "x-forwarded-for: 192.0.2.3\r\n";
    assert_eq!(page(address, b"", "/metrics", headers).await, Some(403));
    assert_eq!(page(address, b"", "/metrics", "").await, Some(403), "nor the proxy itself");
    server.stop().await;
}

#[tokio::test]
async fn a_proxy_can_say_who_connects_before_the_connection_begins() {
    let server = start(ProxyTells::ProxyProtocol).await;
    let address = server.local_addr();
    let version_1 = |client: &str| format!("PROXY TCP4 {client} 198.51.100.1 50000 443\r\n").into_bytes();
    let version_2 = |client: [u8; 4]| {
        let head: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";
        [head, &client, &[198, 51, 100, 1], &50_000_u16.to_be_bytes(), &443_u16.to_be_bytes()].concat()
    };
    for before in [version_1("192.0.2.1"), version_2([192, 0, 2, 2])] {
        for expected in [200, 200, 429] {
            // A header of the request says nothing here: whoever is behind the proxy may have written it.
            let headers = "x-forwarded-for: 203.0.113.77\r\n";
            assert_eq!(page(address, &before, "/healthz", headers).await, Some(expected));
        }
        assert_eq!(page(address, &before, "/metrics", "").await, Some(429));
    }
    assert_eq!(page(address, &version_1("192.0.2.3"), "/metrics", "").await, Some(403));
    assert_eq!(page(address, b"", "/healthz", "").await, None, "a proxy that says nothing is not served");
    server.stop().await;
}

/// A proxy on the same machine that the configuration does not name.
#[tokio::test]
async fn what_was_passed_on_does_not_read_the_metrics_even_if_nobody_named_the_proxy() {
    let server = Server::start(config()).await.unwrap();
    let address = server.local_addr();
    assert_eq!(page(address, b"", "/metrics", "").await, Some(200));
    for headers in ["x-forwarded-for: 192.0.2.1\r\n", "forwarded: for=192.0.2.1\r\n"] {
        assert_eq!(page(address, b"", "/metrics", headers).await, Some(403));
    }
    server.stop().await;
}
