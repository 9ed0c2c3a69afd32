//! The session with the server: what is sent is numbered and kept until it is acknowledged, a connection that breaks is restored and resumed, and the
//! access token is renewed.

mod access;
mod backoff;
mod first;
mod numbering;

use std::collections::VecDeque;

use call_protocol::Word;
use call_protocol::session::{
    AccessStatus, ClientBody, ClientFrame, Hello, RefuseReason, ServerBody, ServerFrame, Welcome,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use signaling::Time;

pub use self::first::FirstSignIn;

use self::access::{Access, Due};
use self::backoff::Backoff;
use self::numbering::Numbering;
use crate::ids::StreamId;
use crate::input::{ConnectFailure, StreamNotice};
use crate::settings::Settings;

/// An acknowledgement is sent by itself if nothing else has carried it for so long, in ms.
const ACK_DELAY_MS: u64 = 100;
/// How long the server may take to answer after the network has changed, in ms.
const PROBE_PATIENCE_MS: u64 = 2_000;
/// A wake that comes so late shows that the device stood still, in ms.
const STALLED_MS: u64 = 1_000;

/// The session of one device.
pub(crate) struct Session {
    numbering: Numbering,
    access: Access,
    backoff: Backoff,
    random: ChaCha20Rng,
    hello: Hello,
    connection: Connection,
    last_stream: u64,
    outputs: VecDeque<SessionOutput>,
}

/// How the device is connected.
///
/// ```text
///             Opened                    broken, sent away
/// (sign-in) ─────────▶ Connected ─────────────────────────▶ Pausing ◀───────────┐ failed, another network
///                         ▲                                   │ its time is over  │
///                         │              Opened               ▼                   │
///                         └──────────────────────────────── Connecting ───────────┘
///                                                             ▲  another token
/// a token has ended: Pausing ──▶ AwaitingToken ───────────────┘
/// refused for good: SignedOut
/// ```
#[derive(Debug)]
enum Connection {
    /// Nobody has signed in yet.
    New,
    Connected(Stream),
    /// Until the next attempt. `ended`: the access token of which the server says that it has ended.
    Pausing {
        until: Time,
        ended: Option<String>,
    },
    /// That token has ended, and there is no other one yet.
    AwaitingToken {
        ended: String,
    },
    Connecting {
        stream: StreamId,
        access_token: String,
    },
    SignedOut,
}

/// A connection that is there.
#[derive(Debug)]
struct Stream {
    id: StreamId,
    ping_every_ms: u64,
    silence_limit_ms: u64,
    heard: Time,
    ping_at: Time,
    ack_at: Option<Time>,
    /// The ping that is to show whether the connection still leads to the server, and until when it may be answered.
    probes: u64,
    probe_until: Option<Time>,
}

/// What a session says.
#[derive(Debug)]
pub(crate) enum SessionOutput {
    /// Open a stream and sign in on it.
    Connect {
        stream: StreamId,
        hello: Box<Hello>,
    },
    Send {
        stream: StreamId,
        frame: ClientFrame,
    },
    /// Let go of the stream.
    Disconnect(StreamId),
    /// Ask the app's handler for an access token.
    AskAccessToken,
    /// This is the access token from now on.
    AccessToken(String),
    /// For the calls and the app.
    Event(ServerEvent),
}

/// What the session means to the calls and the app.
#[derive(Debug)]
pub(crate) enum ServerEvent {
    /// The connection is there, for the first time or again.
    Connected(Welcome),
    /// It broke, and is being restored.
    Disconnected,
    Received(ServerBody),
    AccessExpiring {
        left_ms: u64,
    },
    /// It will not come back.
    SignedOut(RefuseReason),
}

/// Why a connection ended.
enum Ended {
    Broken,
    Refused(RefuseReason),
}

impl Session {
    pub(crate) fn new(settings: &Settings) -> Session {
        let mut random = ChaCha20Rng::from_seed(settings.seed);
        // Apart from what calls draw.
        random.set_stream(1);
        Session {
            numbering: Numbering::default(),
            access: Access::new(settings.access_token.0.clone()),
            backoff: Backoff::default(),
            random,
            hello: settings.hello(),
            connection: Connection::New,
            last_stream: 0,
            outputs: VecDeque::new(),
        }
    }

    pub(crate) fn poll_output(&mut self) -> Option<SessionOutput> {
        self.outputs.pop_front()
    }

    pub(crate) fn next_wake(&self) -> Option<Time> {
        let connection = match &self.connection {
            Connection::Connected(stream) => stream.deadline(),
            Connection::Pausing { until, .. } => Some(*until),
            Connection::New | Connection::AwaitingToken { .. } | Connection::Connecting { .. } => None,
            Connection::SignedOut => return None,
        };
        connection.into_iter().chain(self.access.next()).min()
    }

    /// Sends something, now or when the connection is back.
    pub(crate) fn send(&mut self, now: Time, body: ClientBody) {
        match &mut self.connection {
            Connection::Connected(stream) => {
                stream.ack_at = None;
                match self.numbering.number(body) {
                    Some(frame) => self.send_frame(frame),
                    None => self.on_ended(now, Ended::Broken),
                }
            }
            Connection::New
            | Connection::Pausing { .. }
            | Connection::AwaitingToken { .. }
            | Connection::Connecting { .. } => {
                if is_worth_keeping(&body) && self.numbering.number(body).is_none() {
                    tracing::warn!("too much waits for the server; dropped");
                }
            }
            Connection::SignedOut => {}
        }
    }

    /// Signs out, where there is a connection.
    pub(crate) fn close(&mut self) {
        self.send_bare(Some(ClientBody::Goodbye));
        self.connection = Connection::SignedOut;
    }

    fn send_frame(&mut self, frame: ClientFrame) {
        if let Connection::Connected(Stream { id, .. }) = self.connection {
            self.outputs.push_back(SessionOutput::Send { stream: id, frame });
        }
    }

    /// A frame that is not numbered, if there is a connection.
    fn send_bare(&mut self, body: Option<ClientBody>) {
        if let Connection::Connected(Stream { id, .. }) = self.connection {
            let frame = self.numbering.bare(body);
            self.outputs.push_back(SessionOutput::Send { stream: id, frame });
        }
    }

    fn emit(&mut self, event: ServerEvent) {
        self.outputs.push_back(SessionOutput::Event(event));
    }
}

/// What happens.
impl Session {
    pub(crate) fn on_wake(&mut self, now: Time) {
        match &self.connection {
            Connection::Connected(_) => self.check_stream(now),
            Connection::Pausing { until, .. } if now >= *until => self.on_pause_over(now),
            Connection::New
            | Connection::Pausing { .. }
            | Connection::AwaitingToken { .. }
            | Connection::Connecting { .. } => {}
            Connection::SignedOut => return,
        }
        while let Some(due) = self.access.due(now) {
            match due {
                Due::Expiring { left_ms } => self.emit(ServerEvent::AccessExpiring { left_ms }),
                Due::Ask => self.outputs.push_back(SessionOutput::AskAccessToken),
            }
        }
    }

    /// Of a stream that is not the present one nothing counts.
    pub(crate) fn on_stream(&mut self, now: Time, id: StreamId, notice: StreamNotice) {
        match (&self.connection, notice) {
            (Connection::New, StreamNotice::Opened(welcome)) => self.on_opened(now, id, welcome),
            (Connection::Connecting { stream, .. }, StreamNotice::Opened(welcome)) if *stream == id => {
                self.on_opened(now, id, welcome);
            }
            (Connection::Connecting { stream, access_token }, StreamNotice::Failed(failure)) if *stream == id => {
                let ended = Some(access_token.clone());
                self.on_connect_failed(now, failure, ended);
            }
            (Connection::Connected(stream), StreamNotice::Received(frame)) if stream.id == id => {
                self.on_frame(now, frame);
            }
            (Connection::Connected(stream), StreamNotice::Failed(_) | StreamNotice::Ended) if stream.id == id => {
                self.on_ended(now, Ended::Broken);
            }
            (
                Connection::New
                | Connection::Connected(_)
                | Connection::Pausing { .. }
                | Connection::AwaitingToken { .. }
                | Connection::Connecting { .. }
                | Connection::SignedOut,
                StreamNotice::Opened(_) | StreamNotice::Failed(_) | StreamNotice::Received(_) | StreamNotice::Ended,
            ) => {}
        }
    }

    fn on_opened(&mut self, now: Time, id: StreamId, welcome: Welcome) {
        self.last_stream = self.last_stream.max(id.0);
        self.access.on_left(now, welcome.access_left_ms);
        let ping_every_ms = u64::from(welcome.ping_every_ms.max(100));
        self.connection = Connection::Connected(Stream {
            id,
            ping_every_ms,
            silence_limit_ms: u64::from(welcome.silence_limit_ms.max(300)),
            heard: now,
            ping_at: now + ping_every_ms,
            ack_at: None,
            probes: 0,
            probe_until: None,
        });
        let again = self.numbering.on_welcome(&welcome);
        again.into_iter().for_each(|frame| self.send_frame(frame));
        self.emit(ServerEvent::Connected(welcome));
    }

    fn on_connect_failed(&mut self, now: Time, failure: ConnectFailure, access_token: Option<String>) {
        match failure {
            ConnectFailure::Refused(reason) if self.is_for_good(reason) => self.on_signed_out(reason),
            ConnectFailure::Refused(reason) => {
                self.backoff.on_failure(reason == RefuseReason::TooMany);
                let is_of_token = matches!(reason, RefuseReason::TokenExpired | RefuseReason::TokenInvalid);
                self.pause(now, access_token.filter(|_| is_of_token));
            }
            ConnectFailure::Unreachable => {
                self.backoff.on_failure(false);
                self.pause(now, None);
            }
        }
    }

    fn on_frame(&mut self, now: Time, frame: ServerFrame) {
        let Connection::Connected(stream) = &mut self.connection else { return };
        stream.heard = now;
        self.numbering.on_ack(frame.ack);
        if frame.seq > self.numbering.received() + 1 {
            return self.on_ended(now, Ended::Broken);
        }
        let body = frame.body.filter(|_| self.numbering.accept(frame.seq));
        if self.numbering.owes_ack() {
            stream.ack_at.get_or_insert(now + ACK_DELAY_MS);
        }
        match body {
            Some(ServerBody::Refuse(refuse)) => self.on_ended(now, Ended::Refused(refuse.reason)),
            Some(ServerBody::Access(status)) => self.on_access(now, status),
            Some(body) => {
                if matches!(&body, ServerBody::Pong { nonce, .. } if *nonce == stream.probes) {
                    stream.probe_until = None;
                }
                self.emit(ServerEvent::Received(body));
            }
            None => {}
        }
    }

    /// The addresses of this machine changed. `is_gone`: that from which the connection leaves is not there any more.
    pub(crate) fn on_network_changed(&mut self, now: Time, is_gone: bool) {
        match &mut self.connection {
            Connection::Connected(_) if is_gone => self.on_ended(now, Ended::Broken),
            Connection::Connected(stream) => {
                stream.probes += 1;
                stream.probe_until = Some(now + PROBE_PATIENCE_MS);
                stream.ack_at = None;
                let nonce = stream.probes;
                self.send_bare(Some(ClientBody::Ping { nonce }));
            }
            // On another network the wait makes no sense.
            Connection::Pausing { .. } => {
                self.backoff.reset();
                self.on_pause_over(now);
            }
            Connection::Connecting { stream, .. } => {
                let stream = *stream;
                self.outputs.push_back(SessionOutput::Disconnect(stream));
                self.backoff.reset();
                self.pause(now, None);
            }
            Connection::New | Connection::AwaitingToken { .. } | Connection::SignedOut => {}
        }
    }

    /// The device wanted to be awake at `due`. What the server said meanwhile still waits to be read, and is not its silence.
    pub(crate) fn check_stall(&mut self, now: Time, due: Option<Time>) {
        let late = due.map_or(0, |due| now - due);
        if late < STALLED_MS {
            return;
        }
        if let Connection::Connected(stream) = &mut self.connection {
            stream.heard = stream.heard + late;
            stream.probe_until = stream.probe_until.map(|until| until + late);
        }
    }

    /// What is due on a stream by now.
    fn check_stream(&mut self, now: Time) {
        let Connection::Connected(stream) = &mut self.connection else { return };
        if stream.probe_until.is_some_and(|until| now >= until) {
            return self.on_ended(now, Ended::Broken);
        }
        if now >= stream.ping_at {
            let silence_ms = now - stream.heard;
            if silence_ms >= stream.silence_limit_ms {
                return self.on_ended(now, Ended::Broken);
            }
            stream.ping_at = now + stream.ping_every_ms.min(stream.silence_limit_ms - silence_ms);
            stream.ack_at = None;
            self.send_bare(Some(ClientBody::Ping { nonce: 0 }));
        } else if stream.ack_at.take_if(|at| now >= *at).is_some() {
            self.send_bare(None);
        }
    }

    fn on_ended(&mut self, now: Time, why: Ended) {
        let Connection::Connected(Stream { id, .. }) = self.connection else { return };
        self.outputs.push_back(SessionOutput::Disconnect(id));
        let ended = match why {
            Ended::Refused(reason) if self.is_for_good(reason) => return self.on_signed_out(reason),
            Ended::Refused(RefuseReason::TokenExpired | RefuseReason::TokenInvalid) => {
                Some(self.access.token().to_owned())
            }
            Ended::Refused(_) | Ended::Broken => None,
        };
        self.backoff.begin(matches!(why, Ended::Refused(_)));
        self.pause(now, ended);
        self.emit(ServerEvent::Disconnected);
    }

    fn on_signed_out(&mut self, reason: RefuseReason) {
        self.connection = Connection::SignedOut;
        self.emit(ServerEvent::SignedOut(reason));
    }

    /// A token that has ended is renewed, and one that is not good any more where there is somebody to ask; a parameter that stood in for
    /// one is not.
    fn is_for_good(&self, reason: RefuseReason) -> bool {
        let is_of_token = match reason {
            RefuseReason::TokenExpired => true,
            RefuseReason::TokenInvalid => self.access.has_handler(),
            RefuseReason::AppUnknown
            | RefuseReason::BadHello
            | RefuseReason::VersionUnsupported
            | RefuseReason::Replaced
            | RefuseReason::ShuttingDown
            | RefuseReason::BadFrame
            | RefuseReason::TooSlow
            | RefuseReason::TooMany
            | RefuseReason::Overloaded
            | RefuseReason::SignedOut
            | RefuseReason::Unknown => false,
        };
        let is_renewed = is_of_token && self.hello.cc_param.is_empty();
        !(reason.is_passing() || is_renewed)
    }

    fn pause(&mut self, now: Time, ended: Option<String>) {
        let until = now + self.backoff.pause_ms(&mut self.random);
        self.connection = Connection::Pausing { until, ended };
    }

    fn on_pause_over(&mut self, now: Time) {
        let Connection::Pausing { ended, .. } = &mut self.connection else { return };
        match ended.take() {
            Some(ended) if ended == self.access.token() => {
                self.access.on_expired(now);
                self.connection = Connection::AwaitingToken { ended };
            }
            Some(_) | None => self.connect(),
        }
    }

    fn connect(&mut self) {
        self.backoff.on_attempt();
        self.last_stream += 1;
        let (stream, access_token) = (StreamId(self.last_stream), self.access.token().to_owned());
        let resume = self.numbering.resume();
        let hello = Hello { access_token: access_token.clone(), resume, ..self.hello.clone() };
        self.outputs.push_back(SessionOutput::Connect { stream, hello: Box::new(hello) });
        self.connection = Connection::Connecting { stream, access_token };
    }
}

/// The access token.
impl Session {
    /// The app gives one by itself.
    pub(crate) fn renew_access(&mut self, now: Time, token: String) {
        self.access.set(token);
        self.on_token(now);
    }

    /// The app has said who gives tokens.
    pub(crate) fn on_access_handler(&mut self, now: Time) {
        self.access.on_handler();
        self.on_wake(now);
    }

    pub(crate) fn on_access_token(&mut self, now: Time, answer: Result<String, String>) {
        if self.access.on_answer(now, answer) {
            self.on_token(now);
        }
    }

    /// There is another token, or the same one again.
    fn on_token(&mut self, now: Time) {
        let access_token = self.access.token().to_owned();
        self.outputs.push_back(SessionOutput::AccessToken(access_token.clone()));
        match &self.connection {
            Connection::Connected(_) => self.send_bare(Some(ClientBody::RenewAccess { access_token })),
            Connection::AwaitingToken { ended } if *ended == access_token => self.access.on_expired(now),
            Connection::AwaitingToken { .. } => self.connect(),
            Connection::New | Connection::Pausing { .. } | Connection::Connecting { .. } | Connection::SignedOut => {}
        }
    }

    fn on_access(&mut self, now: Time, status: AccessStatus) {
        let before = self.access.token().to_owned();
        self.access.on_status(now, status);
        if self.access.token() != before {
            let token = self.access.token().to_owned();
            self.outputs.push_back(SessionOutput::AccessToken(token));
        }
    }
}

impl Stream {
    fn deadline(&self) -> Option<Time> {
        self.ack_at.into_iter().chain(self.probe_until).chain([self.ping_at]).min()
    }
}

/// A sign of life means nothing later.
fn is_worth_keeping(body: &ClientBody) -> bool {
    !matches!(body, ClientBody::Call(message) if matches!(message.word, Word::KeepAlive(_)))
}
