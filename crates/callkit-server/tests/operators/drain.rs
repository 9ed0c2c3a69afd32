//! A server that is to stop and lets its calls end first.

use call_protocol::end::EndReason;
use call_protocol::session::RefuseReason;
use call_protocol::{CallId, Word};
use callkit_server::{Server, ServerConfig};

use crate::client::{Client, app, config, hello, http, soon};
use crate::words::invite;

async fn turns(server: std::net::SocketAddr, told: &str) {
    soon(told, async {
        while http(server, "GET /readyz").await != (503, format!("{told}\n")) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn calls_that_run_end_by_themselves_while_nobody_new_is_taken() {
    let server = Server::start(ServerConfig { drain_ms: 600_000, ..config() }).await.unwrap();
    let address = server.local_addr();
    let (mut ann, mut bob) = (Client::sign_in(address, "ann").await, Client::sign_in(address, "bob").await);
    let call_id = CallId::from_bits(1);
    ann.say(call_id, invite(call_id, "ann", "bob")).await;
    ann.word().await;
    bob.word().await;

    let stopping = tokio::spawn(server.stop());
    turns(address, "draining").await;
    assert_eq!(http(address, "GET /healthz").await.0, 200);
    let refused = Client::try_sign_in(address, hello(&app("shop"), "carl", "phone")).await.err().unwrap();
    assert_eq!(refused.reason, RefuseReason::ShuttingDown);
    ann.hears_nothing().await;

    ann.say(call_id, Word::End(EndReason::Hangup.into())).await;
    assert_eq!(bob.end().await, Some(RefuseReason::ShuttingDown));
    soon("the end", stopping).await.unwrap();
}

#[tokio::test]
async fn a_server_without_calls_does_not_wait() {
    let server = Server::start(ServerConfig { drain_ms: 600_000, ..config() }).await.unwrap();
    let mut ann = Client::sign_in(server.local_addr(), "ann").await;
    let stopping = tokio::spawn(server.stop());
    assert_eq!(ann.end().await, Some(RefuseReason::ShuttingDown));
    soon("the end", stopping).await.unwrap();
}
