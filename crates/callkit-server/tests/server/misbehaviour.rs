//! Clients that do what no client should: nobody else is to feel it.

use call_protocol::media::{ChannelEventBody, ChannelRequestBody, Description, DescriptionKind};
use call_protocol::session::{ClientBody, RefuseReason, ServerBody};
use call_protocol::wire::proto;
use call_protocol::{CallId, Uid, limits};
use callkit_server::{Server, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::calls::talk;
use crate::client::{Client, app, config, metric, metric_becomes, soon, start};

/// A call from invite to answer works.
async fn works(server: &Server, number: u128) {
    let address = server.local_addr();
    let (mut ann, mut bob) = (Client::sign_in(address, "ann").await, Client::sign_in(address, "bob").await);
    talk(&mut ann, &mut bob, CallId::from_bits(number)).await;
}

#[tokio::test]
async fn garbage_on_the_port_disturbs_nobody() {
    let server = start().await;
    let mut long = vec![b'x'; 100_000];
    long[50_000] = b'\n';
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let frames_of_nonsense = [&preface[..], &[0xff; 3_000]].concat();
    let oversized_frame = [&preface[..], &[0x7f, 0xff, 0xff, 0, 0, 0, 0, 0, 1], &[0; 40_000]].concat();
    let garbage: [&[u8]; 7] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        &[0; 64],
        b"GET",
        &long,
        b"PRI * HTTP/2.0\r\n",
        &frames_of_nonsense,
        &oversized_frame,
    ];
    for bytes in garbage {
        let mut socket = TcpStream::connect(server.local_addr()).await.unwrap();
        // The server may close while this is still being written.
        socket.write_all(bytes).await.ok();
        socket.shutdown().await.ok();
        let mut answer = Vec::new();
        soon("the end", socket.read_to_end(&mut answer)).await.ok();
    }
    works(&server, 1).await;
    server.stop().await;
}

#[tokio::test]
async fn connections_that_never_speak_are_closed() {
    let server = Server::start(ServerConfig { hello_timeout_ms: 50, ..config() }).await.unwrap();
    for first in [
        &b""[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
        b"GET /healthz HTTP/1.1\r\n",
    ] {
        let mut socket = TcpStream::connect(server.local_addr()).await.unwrap();
        socket.write_all(first).await.unwrap();
        let mut answer = Vec::new();
        soon("the end", socket.read_to_end(&mut answer)).await.unwrap();
    }
    works(&server, 1).await;
    server.stop().await;
}

#[tokio::test]
async fn frames_too_large_or_unsound_end_that_session_only() {
    let server = start().await;
    let address = server.local_addr();
    let mut bystander = Client::sign_in(address, "zoe").await;

    let mut large = Client::sign_in(address, "ann").await;
    let sdp = "x".repeat(limits::FRAME_BYTES + 1);
    let description = proto::Description { kind: 1, sdp };
    let body = proto::channel_request::Body::Description(description);
    let request = proto::ChannelRequest { channel: "room".into(), to_uid: 2, body: Some(body) };
    let body = Some(proto::client_frame::Body::Channel(request.clone()));
    large.frames.send(proto::ClientFrame { seq: 1, ack: 0, body }).await.unwrap();
    assert_eq!(large.end().await, Some(RefuseReason::BadFrame), "over the limit of a frame");

    let mut unsound = Client::sign_in(address, "bob").await;
    let body = Some(proto::client_frame::Body::Channel(proto::ChannelRequest { to_uid: 0, ..request }));
    unsound.frames.send(proto::ClientFrame { seq: 1, ack: 0, body }).await.unwrap();
    assert_eq!(unsound.end().await, Some(RefuseReason::BadFrame), "over the limit of a description");

    let mut twice = Client::sign_in(address, "carl").await;
    twice.frame(0, Some(ClientBody::Hello(crate::client::hello(&app("shop"), "carl", "phone")))).await;
    assert_eq!(twice.end().await, Some(RefuseReason::BadFrame), "a second hello");

    let mut unnumbered = Client::sign_in(address, "dan").await;
    let message = call_protocol::CallMessage {
        call_id: CallId::from_bits(1),
        word: call_protocol::Word::KeepAlive(Default::default()),
    };
    unnumbered.frame(0, Some(ClientBody::Call(message))).await;
    assert_eq!(unnumbered.end().await, Some(RefuseReason::BadFrame), "a word without a number");

    bystander.hears_nothing().await;
    assert_eq!(metric(address, "callkit_refusals_total{reason=\"bad_frame\"}").await, 4.0);
    server.stop().await;
}

#[tokio::test]
async fn a_kind_of_frame_of_a_newer_client_is_counted_and_passed_over() {
    let server = start().await;
    let mut ann = Client::sign_in(server.local_addr(), "ann").await;
    ann.sent += 1;
    ann.frame(1, None).await;
    ann.is_acknowledged().await;
    ann.hears_nothing().await;
    server.stop().await;
}

#[tokio::test]
async fn one_that_does_not_read_is_dropped_and_holds_nobody_up() {
    let times = ServerConfig { ping_every_ms: 100, silence_limit_ms: 3_000, resume_window_ms: 100, ..config() };
    let server = Server::start(times).await.unwrap();
    let address = server.local_addr();
    let (mut deaf, mut ann) = (Client::sign_in(address, "deaf").await, Client::sign_in(address, "ann").await);
    let uid = |number| Uid::new(number).unwrap();
    for (client, number) in [(&mut deaf, 1), (&mut ann, 2)] {
        let token = app("shop").channel_token(&"room".parse().unwrap(), uid(number), 600);
        client.ask("room", ChannelRequestBody::Join { token, tracks: Default::default() }).await;
        assert!(matches!(client.event().await, ChannelEventBody::Joined { .. }));
    }
    // From here on nobody reads at the deaf one's end, nor acknowledges.
    let description = Description { kind: DescriptionKind::Offer, sdp: "x".repeat(limits::SDP_BYTES) };
    for count in 1..=limits::UNACKNOWLEDGED_FRAMES + 16 {
        ann.ask("room", ChannelRequestBody::Description { to: uid(1), description: description.clone() }).await;
        if count % 16 == 0 {
            ann.is_acknowledged().await;
        }
    }
    assert!(metric(address, "callkit_frames_dropped_total").await > 0.0, "it has no more than its share of memory");
    // A client that does not read is not read either, and so it is silent.
    soon("the end of its session", async {
        while metric(address, "callkit_sessions").await != 1.0 {
            ann.frame(0, Some(ClientBody::Ping { nonce: 7 })).await;
            while !matches!(ann.body().await, ServerBody::Pong { .. }) {}
        }
    })
    .await;
    // Its connection is cut though it reads nothing: Ann's and the one that asks are left.
    metric_becomes(address, "callkit_connections", 2.0).await;
    let mut frames = 0;
    while deaf.next().await.is_some() {
        frames += 1;
    }
    assert!(frames < limits::UNACKNOWLEDGED_FRAMES, "what it had got before: {frames}");
    works(&server, 1).await;
    server.stop().await;
}
