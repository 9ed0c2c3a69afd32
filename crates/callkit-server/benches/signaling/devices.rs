//! Many devices that are signed in and otherwise idle: each pings, and comes back when its stream breaks.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use call_protocol::session::{ClientBody, ClientFrame, Hello, Resume, ServerBody};
use call_protocol::wire;
use futures_util::{StreamExt, stream};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use crate::client::{Client, app, hello};

/// Sign-ins that are under way at one time.
const AT_ONCE: usize = 64;
/// As the server's welcome says.
const PING_EVERY: Duration = Duration::from_secs(3);
/// Waits between attempts to come back, as the kit's own client has them; the last one repeats.
const BACKOFF_MS: [u64; 6] = [0, 200, 500, 1_000, 1_500, 2_000];

/// Where and as whom a device signs in.
#[derive(Clone)]
pub struct Place {
    pub server: SocketAddr,
    pub user: String,
    pub number: usize,
}

impl Place {
    /// One attempt.
    pub async fn sign_in(&self, resume: Option<Resume>) -> Option<Client> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.server)).unwrap();
        // One address has too few ports for very many connections; Linux has more addresses that lead back.
        let from = cfg!(target_os = "linux").then(|| IpAddr::from([127, 0, 0, 1 + (self.number % 8) as u8]));
        let channel = endpoint.local_address(from).connect().await.ok()?;
        let mut client = open(channel).await?;
        let hello = Hello { resume, ..hello(&app("shop"), &self.user, "phone") };
        say(&mut client, ClientBody::Hello(hello)).await?;
        let first = client.inbound.message().await.ok().flatten()?;
        match wire::server_frame_from_proto(first).unwrap().body {
            Some(ServerBody::Welcome(welcome)) => client.welcome = Some(welcome),
            other => panic!("{other:?} instead of a welcome"),
        }
        Some(client)
    }

    /// Attempts until one succeeds. The old session is named, so that the server can tell a break from a new start.
    pub async fn come_back(&self, session: &str) -> Client {
        let mut waits = BACKOFF_MS.iter().chain(std::iter::repeat(&BACKOFF_MS[5]));
        loop {
            let wait = *waits.next().unwrap_or(&0);
            let spread = if wait == 0 { 0 } else { rand::random_range(0..wait / 4) };
            sleep(Duration::from_millis(wait + spread)).await; // sleeps: the backoff of the kit's client
            let resume = Some(Resume { session: session.to_owned(), received: 0 });
            if let Some(client) = self.sign_in(resume).await {
                return client;
            }
        }
    }
}

/// A stream on which nothing was said yet; `None` where the server is just going.
async fn open(channel: Channel) -> Option<Client> {
    let (frames, outbound) = mpsc::channel(16);
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.ok()?;
    let path = PathAndQuery::from_static("/callkit.v1.Signal/Connect");
    let codec: ProstCodec<wire::proto::ClientFrame, wire::proto::ServerFrame> = ProstCodec::default();
    let response = grpc.streaming(Request::new(ReceiverStream::new(outbound)), path, codec).await.ok()?;
    Some(Client { frames, inbound: response.into_inner(), welcome: None, sent: 0, received: 0 })
}

/// Sends an unnumbered frame.
pub async fn say(client: &mut Client, body: ClientBody) -> Option<()> {
    let frame = wire::client_frame_to_proto(&ClientFrame { seq: 0, ack: client.received, body: Some(body) });
    client.frames.send(frame).await.ok()
}

/// What a device reports.
pub enum Report {
    Pinged,
    Back(Instant),
}

/// Devices that live until this is dropped.
pub struct Devices {
    pub took: Duration,
    count: usize,
    /// How many pings each is to send now.
    pings: watch::Sender<u32>,
    reports: mpsc::UnboundedReceiver<Report>,
}

impl Devices {
    pub async fn sign_in(server: SocketAddr, name: &str, count: usize) -> Devices {
        let (pings, orders) = watch::channel(0);
        let (sender, reports) = mpsc::unbounded_channel();
        let started = Instant::now();
        let places = (0..count).map(|number| Place { server, user: format!("{name}-{number}@example.org"), number });
        stream::iter(places)
            .for_each_concurrent(AT_ONCE, async |place| {
                let client = place.sign_in(None).await.expect("a device signs in");
                tokio::spawn(live(place, client, orders.clone(), sender.clone()));
            })
            .await;
        Devices { took: started.elapsed(), count, pings, reports }
    }

    /// Each device pings so many times, eight pings at once, and has its answers when this returns.
    pub async fn ping(&mut self, times: u32) {
        self.pings.send_replace(times);
        for _ in 0..self.count {
            assert!(matches!(self.reports.recv().await, Some(Report::Pinged)));
        }
    }

    /// When each was signed in again, once all of them are.
    pub async fn are_back(&mut self) -> Vec<Instant> {
        let mut times = Vec::new();
        while times.len() < self.count {
            if let Some(Report::Back(at)) = self.reports.recv().await {
                times.push(at);
            }
        }
        times
    }
}

async fn live(
    place: Place,
    mut client: Client,
    mut orders: watch::Receiver<u32>,
    reports: mpsc::UnboundedSender<Report>,
) {
    // Not all at the same moment.
    let mut wait = PING_EVERY.mul_f64(rand::random());
    loop {
        let is_up = tokio::select! {
            order = orders.changed() => {
                if order.is_err() {
                    return;
                }
                let pings = *orders.borrow_and_update();
                let answered = ping(&mut client, pings).await.is_some();
                reports.send(Report::Pinged).ok();
                answered
            }
            frame = client.inbound.message() => matches!(frame, Ok(Some(_))),
            // sleeps: the interval of a client's pings
            () = sleep(wait) => {
                wait = PING_EVERY;
                say(&mut client, ClientBody::Ping { nonce: 0 }).await.is_some()
            }
        };
        if !is_up {
            client = place.come_back(&client.session()).await;
            reports.send(Report::Back(Instant::now())).ok();
        }
    }
}

async fn ping(client: &mut Client, times: u32) -> Option<()> {
    for _ in 0..times / 8 {
        for nonce in 1..=8 {
            say(client, ClientBody::Ping { nonce }).await?;
        }
        loop {
            let frame = client.inbound.message().await.ok().flatten()?;
            let frame = wire::server_frame_from_proto(frame).unwrap();
            if matches!(frame.body, Some(ServerBody::Pong { nonce: 8, .. })) {
                break;
            }
        }
    }
    Some(())
}
