//! A peer that vanishes without a word: no goodbye, no end of its TCP connection, as a phone does that leaves its network.
//!
//! The sockets are real and time is not: it stands still but for the steps a test takes.

use std::net::SocketAddr;
use std::time::Duration;

use call_protocol::{CallId, Word};
use callkit_server::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance};

use crate::client::{Client, http, start};
use crate::stillness::Stillness;
use crate::words::invite;

/// One step of time.
const STEP: Duration = Duration::from_millis(250);

/// How much time goes by until the server has closed this connection, to a step or two. Something happens on the network in each step.
async fn time_until_closed(server: SocketAddr, mut closed: JoinHandle<()>) -> Duration {
    let since = Instant::now();
    while !closed.is_finished() {
        assert!(since.elapsed() < Duration::from_secs(60), "it stays open");
        advance(STEP).await;
        assert_eq!(http(server, "GET /healthz").await.0, 200);
    }
    (&mut closed).await.unwrap();
    since.elapsed()
}

/// Reads until the server closes.
async fn drain(mut socket: TcpStream) {
    let mut nowhere = [0; 1024];
    while socket.read(&mut nowhere).await.is_ok_and(|read| read > 0) {}
}

/// A network between one client and the server that swallows everything from some moment on, in both directions.
struct Network {
    address: SocketAddr,
    swallow: oneshot::Sender<()>,
    closed: JoinHandle<()>,
}

impl Network {
    async fn to(server: SocketAddr) -> Network {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (swallow, mut swallowed) = oneshot::channel();
        let closed = tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut server = TcpStream::connect(server).await.unwrap();
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => panic!("somebody hung up"),
                _ = &mut swallowed => {}
            }
            // What the server still sends is taken and goes nowhere; neither connection is closed here.
            drain(server).await;
            drop(client);
        });
        Network { address, swallow, closed }
    }

    /// Swallows from now on; how much time goes by until the server has closed its end.
    async fn vanish(self, server: SocketAddr) -> Duration {
        self.swallow.send(()).unwrap();
        time_until_closed(server, self.closed).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_that_vanished_loses_its_connection_in_about_ten_seconds_and_its_session_waits() {
    let _still = Stillness::begin();
    let server = start().await;
    let network = Network::to(server.local_addr()).await;
    let mut bob = Client::sign_in(network.address, "bob").await;
    bob.hears_nothing().await;
    let noticed = network.vanish(server.local_addr()).await;
    assert!((Duration::from_secs(10)..Duration::from_secs(14)).contains(&noticed), "{noticed:?}");

    // What is said while it is away waits for it.
    let mut ann = Client::sign_in(server.local_addr(), "ann").await;
    let call_id = CallId::from_bits(1);
    ann.say(call_id, invite(call_id, "ann", "bob")).await;
    ann.word().await;
    let mut bob = bob.resume(server.local_addr(), "bob").await;
    assert!(bob.welcome.as_ref().unwrap().resumed);
    assert!(matches!(bob.word().await, Word::Invite(_)));
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_device_that_vanishes_before_its_hello_is_not_waited_for() {
    let _still = Stillness::begin();
    let server = start().await;
    let network = Network::to(server.local_addr()).await;
    let at_the_door = Client::open(network.address).await;
    let noticed = network.vanish(server.local_addr()).await;
    assert!(noticed <= limit() * 2 + STEP * 4, "{noticed:?}");
    drop(at_the_door);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_vanishes_before_its_first_request_is_not_waited_for() {
    let _still = Stillness::begin();
    let server = start().await;
    for said in ["", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0", "GET /healthz HT"] {
        let mut socket = TcpStream::connect(server.local_addr()).await.unwrap();
        socket.write_all(said.as_bytes()).await.unwrap();
        let noticed = time_until_closed(server.local_addr(), tokio::spawn(drain(socket))).await;
        assert!(noticed <= limit() + STEP * 4, "{said:?}: {noticed:?}");
    }
    server.stop().await;
}

fn limit() -> Duration {
    Duration::from_millis(ServerConfig::default().hello_timeout_ms.into())
}
