//! A client that speaks frames and keeps no rules of its own.

use std::net::SocketAddr;
use std::time::Duration;

use call_protocol::media::{ChannelEventBody, ChannelRequest, ChannelRequestBody};
use call_protocol::session::{
    ClientBody, ClientFrame, Hello, PROTOCOL_VERSION, Refuse, RefuseReason, Resume, ServerBody, ServerFrame, Welcome,
};
use call_protocol::wire::{self, proto};
use call_protocol::{AppId, CallId, CallMessage, ChannelId, UserId, Word};
use callkit_server::{AppConfig, Server, ServerConfig};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;

/// Nothing here takes so long; a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Fails a test that would wait for ever.
pub async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what} never came"))
}

pub fn app(name: &str) -> AppConfig {
    let secret = format!("the secret of {name}, long enough");
    AppConfig::new(AppId::new(name).unwrap(), format!("{name}-key"), secret)
}

pub fn config() -> ServerConfig {
    let apps = vec![app("shop"), app("bank")];
    ServerConfig { apps, dev: false, close_grace_ms: 300, ..ServerConfig::dev_on_loopback() }
}

pub async fn start() -> Server {
    Server::start(config()).await.unwrap()
}

pub fn hello(app: &AppConfig, user: &str, device: &str) -> Hello {
    Hello {
        protocol_version: PROTOCOL_VERSION,
        app_id: app.app_id.to_string(),
        access_token: app.access_token(&UserId::new(user).unwrap(), 600),
        user: user.into(),
        device: device.into(),
        resume: None,
        agent: "test".into(),
        cc_param: String::new(),
        for_one_call: false,
    }
}

/// One stream to a server.
pub struct Client {
    pub frames: mpsc::Sender<proto::ClientFrame>,
    pub inbound: Streaming<proto::ServerFrame>,
    pub welcome: Option<Welcome>,
    /// The last number sent, and the last one received in order.
    pub sent: u64,
    pub received: u64,
}

impl Client {
    /// A stream on which nothing was said yet.
    pub async fn open(address: SocketAddr) -> Client {
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self::open_on(channel).await
    }

    pub async fn open_on(channel: Channel) -> Client {
        let (frames, outbound) = mpsc::channel(64);
        let mut grpc = Grpc::new(channel);
        grpc.ready().await.unwrap();
        let path = PathAndQuery::from_static("/callkit.v1.Signal/Connect");
        let codec: ProstCodec<proto::ClientFrame, proto::ServerFrame> = ProstCodec::default();
        let response = grpc.streaming(Request::new(ReceiverStream::new(outbound)), path, codec).await.unwrap();
        Client { frames, inbound: response.into_inner(), welcome: None, sent: 0, received: 0 }
    }

    pub async fn try_sign_in(address: SocketAddr, hello: Hello) -> Result<Client, Refuse> {
        let mut client = Self::open(address).await;
        client.greet(hello).await?;
        Ok(client)
    }

    pub async fn sign_in(address: SocketAddr, user: &str) -> Client {
        Self::try_sign_in(address, hello(&app("shop"), user, "phone")).await.unwrap()
    }

    pub async fn greet(&mut self, hello: Hello) -> Result<(), Refuse> {
        self.frame(0, Some(ClientBody::Hello(hello))).await;
        match self.body().await {
            ServerBody::Welcome(welcome) => self.welcome = Some(welcome),
            ServerBody::Refuse(refuse) => return Err(refuse),
            other => panic!("{other:?} instead of a welcome"),
        }
        Ok(())
    }

    /// Takes the session up again on a new connection, as of what was received here.
    pub async fn resume(self, address: SocketAddr, user: &str) -> Client {
        let session = self.session();
        let (sent, received) = (self.sent, self.received);
        drop(self);
        let resume = Some(Resume { session, received });
        let mut client = Self::open(address).await;
        (client.sent, client.received) = (sent, received);
        client.greet(Hello { resume, ..hello(&app("shop"), user, "phone") }).await.unwrap();
        if !client.welcome.as_ref().unwrap().resumed {
            (client.sent, client.received) = (0, 0);
        }
        client
    }

    pub fn session(&self) -> String {
        self.welcome.as_ref().unwrap().session.clone()
    }

    pub async fn raw(&mut self, frame: ClientFrame) {
        self.frames.send(wire::client_frame_to_proto(&frame)).await.unwrap();
    }

    pub async fn frame(&mut self, seq: u64, body: Option<ClientBody>) {
        let ack = self.received;
        self.raw(ClientFrame { seq, ack, body }).await;
    }

    pub async fn numbered(&mut self, body: ClientBody) {
        self.sent += 1;
        self.frame(self.sent, Some(body)).await;
    }

    pub async fn say(&mut self, call_id: CallId, word: Word) {
        self.numbered(ClientBody::Call(CallMessage { call_id, word })).await;
    }

    pub async fn ask(&mut self, channel: &str, body: ChannelRequestBody) {
        let channel = ChannelId::new(channel).unwrap();
        self.numbered(ClientBody::Channel(ChannelRequest { channel, body })).await;
    }

    pub async fn goodbye(mut self) {
        self.frame(0, Some(ClientBody::Goodbye)).await;
        assert_eq!(self.end().await, None);
    }

    /// The next frame; `None` when the stream is over, however it ended.
    pub async fn next(&mut self) -> Option<ServerFrame> {
        let frame = soon("a frame", self.inbound.message()).await.ok().flatten()?;
        let frame = wire::server_frame_from_proto(frame).unwrap();
        if frame.seq != 0 {
            assert_eq!(frame.seq, self.received + 1, "lost or doubled");
            self.received = frame.seq;
        }
        Some(frame)
    }

    /// What the next frame that is not a bare acknowledgement holds.
    pub async fn body(&mut self) -> ServerBody {
        loop {
            let frame = self.next().await.expect("the stream is open");
            if let Some(body) = frame.body {
                return body;
            }
        }
    }

    pub async fn word(&mut self) -> Word {
        match self.body().await {
            ServerBody::Call(message) => message.word,
            other => panic!("{other:?} instead of a call message"),
        }
    }

    pub async fn event(&mut self) -> ChannelEventBody {
        match self.body().await {
            ServerBody::Channel(event) => event.body,
            other => panic!("{other:?} instead of a channel event"),
        }
    }

    /// Reads to the end and gives the reason if the server told one.
    pub async fn end(&mut self) -> Option<RefuseReason> {
        let mut reason = None;
        while let Some(frame) = self.next().await {
            if let Some(ServerBody::Refuse(refuse)) = frame.body {
                reason = Some(refuse.reason);
            }
        }
        reason
    }

    /// Goes there and back: whatever was sent to this client before is in its inbox now, and it is empty of words and events.
    pub async fn hears_nothing(&mut self) {
        self.frame(0, Some(ClientBody::Ping { nonce: 77 })).await;
        loop {
            match self.next().await.expect("the stream is open").body {
                None => {}
                Some(ServerBody::Pong { nonce: 77, .. }) => return,
                Some(other) => panic!("{other:?} out of nowhere"),
            }
        }
    }

    /// Waits until the server has handled everything sent so far.
    pub async fn is_acknowledged(&mut self) {
        while self.next().await.expect("the stream is open").ack < self.sent {}
    }
}

/// Asks for a page over HTTP/1.1: method, path, headers and body in one text; the status and the body come back.
pub async fn http(address: SocketAddr, request: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let mut text = format!("{line} HTTP/1.1\r\nhost: here\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for header in headers.lines() {
        text += &format!("{header}\r\n");
    }
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    socket.write_all(format!("{text}\r\n{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("an answer", socket.read_to_string(&mut answer)).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, body.to_owned())
}

/// The value of one line of the metrics page.
pub async fn metric(server: SocketAddr, name: &str) -> f64 {
    let (_, page) = http(server, "GET /metrics").await;
    metric_of(&page, name)
}

/// The value of one line of a page that was read already.
pub fn metric_of(page: &str, name: &str) -> f64 {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned);
    let line = page.lines().find_map(value).unwrap_or_else(|| panic!("no {name} in\n{page}"));
    line.trim().parse().unwrap()
}

/// Waits until a metric has a value; it is looked at again and again, since nobody tells when it changes.
pub async fn metric_becomes(server: SocketAddr, name: &str, wanted: f64) {
    soon(name, async {
        while metric(server, name).await != wanted {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
