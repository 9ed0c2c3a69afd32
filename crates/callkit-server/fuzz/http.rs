//! What holds for whatever a stranger sends to the port of a server, and whatever a signed-in device sends on its stream: nothing in the
//! server panics, no answer is an error of its own, and each connection ends.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, BufMut};
use call_protocol::session::{ClientBody, ClientFrame, Hello, PROTOCOL_VERSION};
use call_protocol::wire;
use call_protocol::{AppId, UserId};
use callkit_server::{AppConfig, LimitsConfig, Server, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

/// Nothing takes so long: what is still open then stays open for ever.
const PATIENCE: Duration = Duration::from_secs(50);

/// Panics of the server's tasks, which would otherwise be heard by nobody.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// A server in a runtime of its own, and a connection of devices to it.
struct House {
    runtime: Runtime,
    server: Server,
    shop: AppConfig,
    channel: Channel,
    connections: u32,
}

thread_local! {
    static HOUSE: RefCell<House> = RefCell::new(House::open());
}

/// Inputs to start from: good ones of each kind.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let of = |kind: u8, rest: &[u8]| [&[kind], rest].concat();
    let mut frames = Vec::new();
    for (number, body) in [ClientBody::Ping { nonce: 7 }, ClientBody::Goodbye].into_iter().enumerate() {
        let frame = wire::encode_client_frame(&ClientFrame { seq: number as u64, ack: 0, body: Some(body) });
        frames.push(frame.len() as u8);
        frames.extend(frame);
    }
    vec![
        of(0, b"GET /healthz HTTP/1.1\r\nhost: here\r\n\r\n"),
        of(0, b"POST /callkit.v1.Signal/Connect HTTP/1.1\r\ncontent-length: 5\r\n\r\n\0\0\0\0\0"),
        of(0, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        of(1, br#"0{"user":"ann","password":""}"#),
        of(1, br#"1{"user":"ann","password":"none","ttl_s":60}"#),
        of(1, br#"2{"channel":"room","uid":7,"ttl_s":60}"#),
        of(1, br#"3{"channel":"room","uid":7}"#),
        of(2, &frames),
    ]
}

/// The first byte says what the others are.
pub(crate) fn check(bytes: &[u8]) {
    let Some((&kind, rest)) = bytes.split_first() else { return };
    HOUSE.with_borrow_mut(|house| match kind % 3 {
        0 => house.say(rest),
        1 => house.ask(rest),
        _ => house.stream(rest),
    });
    assert_eq!(PANICS.load(Ordering::Relaxed), 0, "something in the server panicked");
}

impl House {
    fn open() -> House {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.fetch_add(1, Ordering::Relaxed);
            before(panic);
        }));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let id = |name: &str| AppId::new(name).expect("a good id");
        let shop = AppConfig::new(id("shop"), "key", "the secret of the shop, long enough");
        let config = ServerConfig {
            apps: vec![shop.clone()],
            dev: true,
            limits: LimitsConfig::none(),
            hello_timeout_ms: 1_000,
            ..ServerConfig::dev_on_loopback()
        };
        let (server, channel) = runtime.block_on(async {
            // A program of Rust's own does not die of a peer that is gone; what libFuzzer starts would.
            drop(signal(SignalKind::pipe()).expect("signals can be caught"));
            let server = Server::start(config).await.expect("the server starts");
            let endpoint = Endpoint::from_shared(format!("http://{}", server.local_addr())).expect("a good address");
            let channel = endpoint.connect().await.expect("the server takes connections");
            (server, channel)
        });
        House { runtime, server, shop, channel, connections: 0 }
    }

    /// Bytes on a connection of their own.
    fn say(&mut self, bytes: &[u8]) {
        let answer = self.exchange(bytes);
        let mut rest = answer.as_slice();
        while let Some(at) = rest.windows(9).position(|window| window == b"HTTP/1.1 ") {
            let status = &rest[at + 9..(at + 12).min(rest.len())];
            assert_ne!(status, b"500", "{:?}", String::from_utf8_lossy(&answer));
            rest = &rest[at + 9..];
        }
    }

    /// A body for one of the pages, with a good token.
    fn ask(&mut self, bytes: &[u8]) {
        let Some((&page, body)) = bytes.split_first() else { return };
        let pages = ["/dev/register", "/dev/access-token", "/dev/rtc-token", "/dev/user-map"];
        let path = pages[usize::from(page) % pages.len()];
        let demo = self.server.apps().iter().find(|app| app.app_id.as_str() == "demo").expect("dev has it");
        let token = demo.access_token(&UserId::new("ann").expect("a good id"), 600);
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\nauthorization: Bearer {token}\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let answer = self.exchange(&[head.as_bytes(), body].concat());
        let status: u16 = std::str::from_utf8(&answer[9..12]).expect("a status").parse().expect("a number");
        assert!((200..500).contains(&status) || status == 507, "{:?}", String::from_utf8_lossy(&answer));
    }

    fn exchange(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.connections = self.connections.wrapping_add(1);
        // One address has too few ports: those that were used rest for a minute.
        let [_, b, c, d] = self.connections.to_be_bytes();
        let from = SocketAddr::from((Ipv4Addr::new(127, b, c, d.max(1)), 0));
        let server = self.server.local_addr();
        self.runtime.block_on(async {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.bind(from).expect("all of 127/8 leads here");
            let mut socket = socket.connect(server).await.expect("the server takes connections");
            // It may close while this is still being written.
            let (mut reading, mut writing) = socket.split();
            let write = async {
                writing.write_all(bytes).await.ok();
                writing.shutdown().await.ok();
            };
            let mut answer = Vec::new();
            let read = timeout(PATIENCE, reading.read_to_end(&mut answer));
            let (_, ended) = tokio::join!(write, read);
            assert!(ended.is_ok(), "the connection stays open");
            answer
        })
    }

    /// Frames of a device that has signed in, each with its length before it.
    fn stream(&mut self, bytes: &[u8]) {
        let user = UserId::new("bob").expect("a good id");
        let hello = Hello {
            protocol_version: PROTOCOL_VERSION,
            app_id: self.shop.app_id.to_string(),
            access_token: self.shop.access_token(&user, 600),
            user: user.to_string(),
            device: "phone".into(),
            resume: None,
            agent: "noise".into(),
            cc_param: String::new(),
            for_one_call: false,
        };
        let hello = ClientFrame { seq: 0, ack: 0, body: Some(ClientBody::Hello(hello)) };
        let mut frames = vec![wire::encode_client_frame(&hello)];
        let (mut rest, mut seq) = (bytes, 0);
        while let Some((&length, more)) = rest.split_first() {
            let (frame, more) = more.split_at(usize::from(length).min(more.len()));
            rest = more;
            frames.push(match wire::decode_client_frame(frame) {
                // A frame out of its turn ends the stream: what could be the next one shall be.
                Ok(frame) if frame.seq != 0 => {
                    seq += 1;
                    wire::encode_client_frame(&ClientFrame { seq, ..frame })
                }
                Ok(_) | Err(_) => frame.to_vec(),
            });
        }
        let channel = self.channel.clone();
        self.runtime.block_on(async {
            // A connection that had no stream for a while is closed by the server, perhaps just now; the next one is a new one.
            let opened = match open(channel.clone(), &frames).await {
                Ok(opened) => Ok(opened),
                Err(_) => open(channel, &frames).await,
            };
            let mut inbound = opened.expect("a stream is opened");
            let ended = timeout(PATIENCE, async {
                while let Ok(Some(frame)) = inbound.message().await {
                    wire::decode_server_frame(&frame).expect("the server speaks the protocol");
                }
            });
            assert!(ended.await.is_ok(), "the stream stays open");
        });
    }
}

/// Opens a stream that brings these frames and ends.
async fn open(channel: Channel, frames: &[Vec<u8>]) -> Result<Streaming<Vec<u8>>, Status> {
    let (sender, outbound) = mpsc::channel(frames.len());
    for frame in frames {
        sender.send(frame.clone()).await.expect("there is room for all");
    }
    drop(sender);
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static("/callkit.v1.Signal/Connect");
    let opened = grpc.streaming(Request::new(ReceiverStream::new(outbound)), path, RawFrames).await?;
    Ok(opened.into_inner())
}

/// Frames as they are.
struct RawFrames;

impl Codec for RawFrames {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        RawFrames
    }

    fn decoder(&mut self) -> Self {
        RawFrames
    }
}

impl Encoder for RawFrames {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, frame: Vec<u8>, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(&frame);
        Ok(())
    }
}

impl Decoder for RawFrames {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, frame: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut bytes = vec![0; frame.remaining()];
        frame.copy_to_slice(&mut bytes);
        Ok(Some(bytes))
    }
}
