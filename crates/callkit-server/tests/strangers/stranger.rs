//! A peer of which the server knows nothing but its address, and the users who must not feel it.

use std::net::{Ipv4Addr, SocketAddr};

use call_protocol::{CallId, Word};
use callkit_server::{LimitsConfig, Server, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::client::{Client, config, soon};
use crate::words::invite;

pub const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// The limits of a server that trusts 127.0.0.1 alone.
pub fn limits() -> LimitsConfig {
    LimitsConfig { trusted_addresses: vec!["127.0.0.1/32".parse().unwrap()], ..LimitsConfig::default() }
}

pub async fn start(limits: LimitsConfig) -> Server {
    Server::start(ServerConfig { limits, ..config() }).await.unwrap()
}

pub async fn connect(server: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((STRANGER, 0).into()).unwrap();
    socket.connect(server).await.unwrap()
}

/// Sends bytes and reads until the server closes.
pub async fn say(server: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = connect(server).await;
    // The server may close while this is still being written.
    socket.write_all(bytes).await.ok();
    let mut answer = Vec::new();
    let mut piece = [0; 4_096];
    while let Ok(count @ 1..) = soon("the end", socket.read(&mut piece)).await {
        answer.extend_from_slice(&piece[..count]);
    }
    answer
}

/// The status of a page, asked for over HTTP/1.1.
pub async fn page(server: SocketAddr, path: &str) -> u16 {
    let request = format!("GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n");
    let answer = String::from_utf8(say(server, request.as_bytes()).await).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Two users sign in, and one calls the other.
pub async fn users_are_unharmed(server: &Server, number: u128) {
    let address = server.local_addr();
    let (mut ann, mut bob) = (Client::sign_in(address, "ann").await, Client::sign_in(address, "bob").await);
    let call_id = CallId::from_bits(number);
    ann.say(call_id, invite(call_id, "ann", "bob")).await;
    assert!(matches!(ann.word().await, Word::RingConfirm(_)));
    assert!(matches!(bob.word().await, Word::Invite(_)));
    ann.goodbye().await;
    bob.goodbye().await;
}
