//! Peers that begin and never finish: the sockets are real, time is not.

use std::time::Duration;

use callkit_server::{Server, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, advance};

use crate::client::{config, http};
use crate::stillness::Stillness;
use crate::stranger::{connect, limits, users_are_unharmed};

const STEP: Duration = Duration::from_millis(250);

/// Sends `begin`, then one more byte of `more` at each step, over and over, and tells how much time goes by until the server closes.
async fn dribble(server: &Server, begin: &[u8], more: &[u8]) -> Duration {
    let (mut reading, mut writing) = connect(server.local_addr()).await.into_split();
    writing.write_all(begin).await.unwrap();
    let closed = tokio::spawn(async move {
        let mut nowhere = [0; 1_024];
        while reading.read(&mut nowhere).await.is_ok_and(|count| count > 0) {}
    });
    let since = Instant::now();
    for byte in more.iter().cycle() {
        if closed.is_finished() {
            break;
        }
        assert!(since.elapsed() < Duration::from_secs(60), "it stays open");
        writing.write_all(&[*byte]).await.ok();
        advance(STEP).await;
        assert_eq!(http(server.local_addr(), "GET /healthz").await.0, 200);
    }
    since.elapsed()
}

#[tokio::test(start_paused = true)]
async fn headers_that_come_byte_by_byte_are_not_waited_for() {
    let _still = Stillness::begin();
    let server = Server::start(ServerConfig { limits: limits(), ..config() }).await.unwrap();
    let limit = Duration::from_millis(ServerConfig::default().hello_timeout_ms.into());
    for begin in ["GET /healthz HTTP/1.1\r\nx-", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\u{40}\u{4}\0\0\0\0\0"] {
        let open = dribble(&server, begin.as_bytes(), b"a").await;
        assert!(open <= limit * 2 + STEP * 4, "{begin:?}: {open:?}");
    }
    users_are_unharmed(&server, 1).await;
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_byte_by_byte_is_not_waited_for() {
    let _still = Stillness::begin();
    let server = Server::start(ServerConfig { limits: limits(), dev: true, ..config() }).await.unwrap();
    let begin =
        "POST /dev/register HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{";
    let open = dribble(&server, begin.as_bytes(), b" ").await;
    assert!(open <= Duration::from_secs(16), "{open:?}");
    users_are_unharmed(&server, 1).await;
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_of_which_the_stranger_closed_its_half_is_closed() {
    let _still = Stillness::begin();
    let server = Server::start(ServerConfig { limits: limits(), ..config() }).await.unwrap();
    let mut socket = connect(server.local_addr()).await;
    socket.write_all(b"GET /healthz HT").await.unwrap();
    socket.shutdown().await.unwrap();
    let mut answer = Vec::new();
    crate::client::soon("the end", socket.read_to_end(&mut answer)).await.ok();
    users_are_unharmed(&server, 1).await;
    server.stop().await;
}
