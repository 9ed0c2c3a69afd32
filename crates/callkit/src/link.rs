//! The connection to the server: sign-in, frames both ways, liveness, and coming back after a break.

use std::net::SocketAddr;
use std::time::Duration;

use call_protocol::disconnect::DisconnectReason;
use call_protocol::session::{
    AccessStatus, ClientBody, ClientFrame, Hello, PROTOCOL_VERSION, RefuseReason, Resume, ServerBody, Welcome,
};
use call_protocol::{Word, limits};
use callkit_core::{ServerEvent, refused};
use rand::{Rng, RngExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use crate::access::{Access, Renewal};
use crate::dial::{self, Dial};
use crate::error::SignInError;
use crate::session::Session;
use crate::wire::{RawClientFrame, RawServerFrame, SignalClient, from_raw, to_raw};

/// Where and as whom to sign in.
#[derive(Clone)]
pub(crate) struct SignIn {
    pub(crate) endpoint: Endpoint,
    pub(crate) app_id: String,
    pub(crate) access_token: String,
    pub(crate) user: String,
    pub(crate) device: String,
    /// In place of an access token; empty if there is none.
    pub(crate) cc_param: String,
    pub(crate) for_one_call: bool,
}

/// Why a sign-in failed, and how the face of one call names that.
#[derive(Debug)]
pub(crate) struct SignInFailure {
    pub(crate) error: SignInError,
    pub(crate) reason: DisconnectReason,
}

impl SignInFailure {
    fn unreachable(why: impl Into<String>, reason: DisconnectReason) -> SignInFailure {
        SignInFailure { error: SignInError::Unreachable(why.into()), reason }
    }

    /// No connection: the cause is told in words only, as the layers below keep theirs to themselves.
    fn no_connection(error: &dyn std::error::Error) -> SignInFailure {
        let why = innermost(error);
        let reason = if why.contains("certificate") {
            DisconnectReason::ServiceInvalidPeerCert
        } else {
            DisconnectReason::ServiceConnectFail
        };
        SignInFailure::unreachable(why, reason)
    }
}

impl From<SignInError> for SignInFailure {
    fn from(error: SignInError) -> Self {
        let reason = match &error {
            SignInError::InvalidParam(_) => DisconnectReason::ServiceInvalidUrl,
            SignInError::Unreachable(_) => DisconnectReason::ServiceConnectFail,
            SignInError::Refused { reason, .. } => refused(*reason),
        };
        SignInFailure { error, reason }
    }
}

impl From<SignInFailure> for SignInError {
    fn from(failure: SignInFailure) -> Self {
        failure.error
    }
}

/// How the server is reached: with TLS if its address says so, trusting `roots`, or the public authorities where there are none.
pub(crate) fn endpoint(server: String, roots: Vec<Certificate>) -> Result<Endpoint, SignInError> {
    let invalid = |what: &str| SignInError::InvalidParam(format!("server: {what}"));
    let endpoint = Endpoint::from_shared(server).map_err(|_| invalid("not an address like https://host:port"))?;
    let endpoint = endpoint.tcp_nodelay(true);
    if endpoint.uri().scheme_str() != Some("https") {
        return Ok(endpoint);
    }
    let tls = ClientTlsConfig::new();
    let tls = if roots.is_empty() { tls.with_webpki_roots() } else { tls.ca_certificates(roots) };
    endpoint
        .tls_config(tls)
        .map_err(|_| SignInError::InvalidParam("tls_root_certificate: not a certificate in PEM".into()))
}

/// What the driver wants of the link.
pub(crate) enum LinkCommand {
    Send(ClientBody),
    /// The access token for the next sign-in.
    AccessToken(String),
    /// The network changed: the present connection may hang for long, or be as good as before.
    NetworkChanged,
    /// Sign out and end.
    Close,
}

/// What waits for the link, and for the driver. The loop never waits, and looks at everything; the link reads no frame for which the loop has no
/// place.
pub(crate) const WAITING: usize = 1_024;
/// Frames that wait for the socket: twice what a session keeps. A server that takes no more does not read.
const FRAMES: usize = 2 * limits::UNACKNOWLEDGED_FRAMES;
/// How long connecting and signing in may take, each.
const SIGN_IN_PATIENCE: Duration = Duration::from_secs(5);
/// An acknowledgement is sent by itself if nothing else has carried it for so long.
const ACK_DELAY: Duration = Duration::from_millis(100);
/// Waits between attempts to come back, in the middle; the last one repeats. They are spread, the first one too, so that the clients of a
/// restarted server do not all come at the same moment.
const BACKOFF_MS: [u64; 6] = [200, 300, 500, 1_000, 1_500, 2_000];
/// The same where the server said that it was too many: what is allowed comes back within a minute.
const TOO_MANY_MS: [u64; 5] = [1_000, 2_000, 5_000, 10_000, 15_000];
/// The same for the first sign-in, for which somebody waits: after these it has failed.
const FIRST_MS: [u64; 3] = [500, 1_000, 2_000];
/// How long the server may take to answer after the network has changed.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);
/// The first wait where the server itself ended the stream: everybody was told so.
const SENT_AWAY_MS: u64 = 1_000;

/// One signed-in stream.
pub(crate) struct Stream {
    frames: tonic::Streaming<RawServerFrame>,
    sender: mpsc::Sender<RawClientFrame>,
    /// The address of this machine from which it leaves.
    local: Option<SocketAddr>,
    pub(crate) welcome: Welcome,
}

/// The first sign-in: a refusal that may pass is tried again for a few seconds.
pub(crate) async fn first_sign_in(to: &SignIn, luck: &mut impl Rng) -> Result<Stream, SignInFailure> {
    let mut pauses = FIRST_MS.into_iter();
    loop {
        let failure = match sign_in(to, None).await {
            Ok(stream) => return Ok(stream),
            Err(failure) => failure,
        };
        let may_pass = matches!(&failure.error, SignInError::Refused { reason, .. } if reason.is_passing());
        let Some(middle) = pauses.next().filter(|_| may_pass) else { return Err(failure) };
        tracing::info!(error = %failure.error, "not signed in yet");
        // sleeps: the pause before the next attempt.
        tokio::time::sleep(spread(middle, luck)).await;
    }
}

/// Connects and signs in.
pub(crate) async fn sign_in(to: &SignIn, resume: Option<Resume>) -> Result<Stream, SignInFailure> {
    let late = |why: &str| SignInFailure::unreachable(why, DisconnectReason::ServiceConnectionTimeOut);
    let dial = Dial::default();
    let connecting = timeout(SIGN_IN_PATIENCE, to.endpoint.connect_with_connector(dial.clone())).await;
    let channel = connecting
        .map_err(|_| late("no connection within 5 s"))?
        .map_err(|error| SignInFailure::no_connection(&error))?;
    let (sender, receiver) = mpsc::channel(FRAMES);
    let hello = Hello {
        protocol_version: PROTOCOL_VERSION,
        app_id: to.app_id.clone(),
        access_token: to.access_token.clone(),
        user: to.user.clone(),
        device: to.device.clone(),
        resume,
        agent: concat!("callkit ", env!("CARGO_PKG_VERSION")).into(),
        cc_param: to.cc_param.clone(),
        for_one_call: to.for_one_call,
    };
    let hello = ClientFrame { seq: 0, ack: 0, body: Some(ClientBody::Hello(hello)) };
    // The receiver is held below and nothing is in it, so this cannot fail.
    let _ = sender.try_send(to_raw(&hello));
    let mut client = SignalClient::new(channel).max_decoding_message_size(limits::FRAME_BYTES);
    let greeting = async {
        let mut frames = client.connect(ReceiverStream::new(receiver)).await?.into_inner();
        let first = frames.message().await?;
        Ok::<_, tonic::Status>((frames, first))
    };
    let (frames, first) = timeout(SIGN_IN_PATIENCE, greeting)
        .await
        .map_err(|_| late("no answer to the sign-in within 5 s"))?
        .map_err(|status| not_served(&format!("{}: {}", status.code(), status.message())))?;
    let first = first.and_then(|frame| from_raw(frame).ok()).and_then(|frame| frame.body);
    match first {
        Some(ServerBody::Welcome(welcome)) => Ok(Stream { frames, sender, local: dial.local(), welcome }),
        Some(ServerBody::Refuse(refuse)) => {
            Err(SignInError::Refused { reason: refuse.reason, detail: refuse.detail }.into())
        }
        _ => Err(not_served("the server did not greet")),
    }
}

/// There is a server, but not one that serves this.
fn not_served(why: &str) -> SignInFailure {
    SignInFailure::unreachable(why, DisconnectReason::ServiceHttpError)
}

/// The deepest cause: the outer ones only say that something failed.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// Why a stream ended.
enum Ended {
    Broken,
    Refused(RefuseReason),
    Closed,
}

/// The link, whatever stream it has.
struct Link {
    to: SignIn,
    access: Access,
    session: Session,
    commands: mpsc::Receiver<LinkCommand>,
    events: mpsc::Sender<ServerEvent>,
}

/// Keeps the link up until it is closed or refused for good. Its luck spreads the attempts to come back.
pub(crate) async fn run(
    to: SignIn,
    access: Access,
    mut luck: impl Rng,
    first: Stream,
    session: Session,
    commands: mpsc::Receiver<LinkCommand>,
    events: mpsc::Sender<ServerEvent>,
) {
    let mut link = Link { to, access, session, commands, events };
    let mut stream = Some(first);
    let mut attempt = 0;
    let mut first_ms = BACKOFF_MS[0];
    // The driver got the first welcome when it was made.
    let mut known = true;
    // The access token that the server says has ended.
    let mut ended_token: Option<String> = None;
    let mut was_too_many = false;
    loop {
        if let Some(stream) = stream.take() {
            (attempt, was_too_many) = (0, false);
            let up = ServerEvent::Connected(stream.welcome.clone());
            if !std::mem::take(&mut known) && link.events.send(up).await.is_err() {
                return;
            }
            let ended = link.pump(stream).await;
            first_ms = if matches!(ended, Ended::Refused(_)) { SENT_AWAY_MS } else { BACKOFF_MS[0] };
            match ended {
                Ended::Closed => return,
                Ended::Refused(reason) if link.is_for_good(reason) => return link.signed_out(reason).await,
                Ended::Refused(RefuseReason::TokenExpired | RefuseReason::TokenInvalid) => {
                    ended_token = Some(link.to.access_token.clone());
                }
                Ended::Refused(_) | Ended::Broken => {}
            }
            if link.events.send(ServerEvent::Disconnected).await.is_err() {
                return;
            }
        }
        let pause = if was_too_many {
            spread(TOO_MANY_MS[attempt.min(TOO_MANY_MS.len() - 1)], &mut luck)
        } else {
            backoff(attempt, first_ms, &mut luck)
        };
        // sleeps: the pause before the next attempt.
        let pause = tokio::time::sleep(pause);
        match link.collect_until(pause).await {
            Collected::Done(()) => {}
            // On another network the wait makes no sense.
            Collected::Reconnect => attempt = 0,
            Collected::Close => return,
        }
        if let Some(ended) = ended_token.take()
            && !link.has_other_token(&ended).await
        {
            return;
        }
        attempt += 1;
        let (signing, resume) = (link.to.clone(), link.session.resume());
        match link.collect_until(async { sign_in(&signing, resume).await }).await {
            Collected::Done(Ok(new)) => stream = Some(new),
            Collected::Done(Err(SignInFailure { error: SignInError::Refused { reason, .. }, .. })) => {
                if link.is_for_good(reason) {
                    return link.signed_out(reason).await;
                }
                was_too_many = reason == RefuseReason::TooMany;
                let is_of_token = matches!(reason, RefuseReason::TokenExpired | RefuseReason::TokenInvalid);
                ended_token = Some(signing.access_token).filter(|_| is_of_token);
            }
            Collected::Done(Err(SignInFailure { error, .. })) => {
                was_too_many = false;
                tracing::debug!(%error, attempt, "not back yet");
            }
            Collected::Reconnect => attempt = 0,
            Collected::Close => return,
        }
    }
}

/// The pause before an attempt: half to one and a half times what stands in the table.
fn backoff(attempt: usize, first_ms: u64, luck: &mut impl Rng) -> Duration {
    let middle = if attempt == 0 { first_ms } else { BACKOFF_MS[attempt.min(BACKOFF_MS.len() - 1)] };
    spread(middle, luck)
}

fn spread(middle_ms: u64, luck: &mut impl Rng) -> Duration {
    Duration::from_millis(luck.random_range(middle_ms / 2..=middle_ms * 3 / 2))
}

/// What happened without a connection.
enum Step {
    Went,
    /// There is another access token, or the same one again.
    Token,
    Reconnect,
    Close,
}

/// How a wait without a connection ended.
enum Collected<T> {
    Done(T),
    /// The network changed meanwhile.
    Reconnect,
    /// The link is to close.
    Close,
}

impl Link {
    /// A token that has ended is renewed, and one that is not good any more where there is somebody to ask; a parameter that stood in for
    /// one is not.
    fn is_for_good(&self, reason: RefuseReason) -> bool {
        let is_of_token = match reason {
            RefuseReason::TokenExpired => true,
            RefuseReason::TokenInvalid => self.access.has_handler(),
            _ => false,
        };
        let is_renewed = is_of_token && self.to.cc_param.is_empty();
        !(reason.is_passing() || is_renewed)
    }

    async fn signed_out(&mut self, reason: RefuseReason) {
        // Whoever does not listen any more knows.
        let _ = self.events.send(ServerEvent::SignedOut(reason)).await;
    }

    /// Waits for something while keeping what is to be sent.
    async fn collect_until<T>(&mut self, something: impl Future<Output = T>) -> Collected<T> {
        tokio::pin!(something);
        loop {
            tokio::select! {
                done = &mut something => return Collected::Done(done),
                step = self.step() => match step {
                    Step::Went | Step::Token => {}
                    Step::Reconnect => return Collected::Reconnect,
                    Step::Close => return Collected::Close,
                },
            }
        }
    }

    /// Waits for another access token than the one that has ended; false if the link is to close.
    async fn has_other_token(&mut self, ended: &str) -> bool {
        if self.to.access_token == ended {
            self.access.on_expired();
        }
        while self.to.access_token == ended {
            match self.step().await {
                // The same one again.
                Step::Token if self.to.access_token == ended => self.access.on_expired(),
                Step::Token | Step::Went | Step::Reconnect => {}
                Step::Close => return false,
            }
        }
        true
    }

    /// The next thing that happens without a connection. Dropping the future loses nothing.
    async fn step(&mut self) -> Step {
        tokio::select! {
            renewal = self.access.next() => match self.on_renewal(renewal) {
                Some(_) => Step::Token,
                None => Step::Went,
            },
            command = self.commands.recv() => match command {
                Some(LinkCommand::Send(body)) => {
                    if is_worth_keeping(&body) && self.session.number(body).is_none() {
                        tracing::warn!("too much waits for the server; dropped");
                    }
                    Step::Went
                }
                Some(LinkCommand::AccessToken(token)) => {
                    self.set_token(token);
                    Step::Token
                }
                Some(LinkCommand::NetworkChanged) => Step::Reconnect,
                Some(LinkCommand::Close) | None => Step::Close,
            },
        }
    }

    fn set_token(&mut self, token: String) {
        self.to.access_token.clone_from(&token);
        self.access.set(token);
    }

    /// Gives the token that is to be told to the server.
    fn on_renewal(&mut self, renewal: Renewal) -> Option<String> {
        match renewal {
            Renewal::Expiring { left_ms } => {
                // A loop that is so far behind is told of it by the server, too, when it has ended.
                let _ = self.events.try_send(ServerEvent::AccessExpiring { left_ms });
                None
            }
            Renewal::Token(token) => {
                self.to.access_token.clone_from(&token);
                Some(token)
            }
        }
    }
}

/// A sign of life means nothing later.
fn is_worth_keeping(body: &ClientBody) -> bool {
    !matches!(body, ClientBody::Call(message) if matches!(message.word, Word::KeepAlive(_)))
}

impl Link {
    /// Carries frames both ways until the stream ends.
    async fn pump(&mut self, stream: Stream) -> Ended {
        let Stream { mut frames, sender, local, welcome } = stream;
        let send = |frame: ClientFrame| sender.try_send(to_raw(&frame)).is_ok();
        let ping_every = Duration::from_millis(u64::from(welcome.ping_every_ms.max(100)));
        let silence_limit = Duration::from_millis(u64::from(welcome.silence_limit_ms.max(300)));
        self.access.on_left(welcome.access_left_ms);
        let again = self.session.on_welcome(&welcome);
        if !again.into_iter().all(send) {
            return Ended::Broken;
        }
        let mut heard = Instant::now();
        let mut ping_at = heard + ping_every;
        let mut ack_at = None;
        // The ping that is to show whether the connection still leads to the server, and until when it may be answered.
        let (mut probes, mut probe_until) = (0, None);
        loop {
            let ack_due = at(ack_at);
            let probe_due = at(probe_until);
            let sent = tokio::select! {
                biased;
                frame = frames.message() => {
                    heard = Instant::now();
                    let Ok(Some(frame)) = frame else { return Ended::Broken };
                    match on_frame(&mut self.session, frame) {
                        Received::Body(ServerBody::Refuse(refuse)) => return Ended::Refused(refuse.reason),
                        Received::Body(ServerBody::Access(status)) => self.on_access(status),
                        Received::Body(body) => {
                            if matches!(&body, ServerBody::Pong { nonce, .. } if *nonce == probes) {
                                probe_until = None;
                            }
                            if self.events.send(ServerEvent::Received(body)).await.is_err() {
                                return Ended::Closed;
                            }
                        }
                        Received::Nothing => {}
                        Received::Gap => return Ended::Broken,
                    }
                    if self.session.owes_ack() && ack_at.is_none() {
                        ack_at = Some(heard + ACK_DELAY);
                    }
                    true
                }
                command = self.commands.recv() => match command {
                    Some(LinkCommand::Send(body)) => {
                        ack_at = None;
                        match self.session.number(body) {
                            Some(frame) => send(frame),
                            None => return Ended::Broken,
                        }
                    }
                    Some(LinkCommand::AccessToken(token)) => {
                        self.set_token(token.clone());
                        send(self.session.bare(Some(ClientBody::RenewAccess { access_token: token })))
                    }
                    Some(LinkCommand::NetworkChanged) if local.is_some_and(dial::is_gone) => return Ended::Broken,
                    Some(LinkCommand::NetworkChanged) => {
                        probes += 1;
                        probe_until = Some(Instant::now() + PROBE_PATIENCE);
                        ack_at = None;
                        send(self.session.bare(Some(ClientBody::Ping { nonce: probes })))
                    }
                    Some(LinkCommand::Close) | None => {
                        send(self.session.bare(Some(ClientBody::Goodbye)));
                        drop(sender);
                        // The server ends the stream when it has read everything.
                        let rest = async { while let Ok(Some(_)) = frames.message().await {} };
                        let _ = timeout(Duration::from_secs(1), rest).await;
                        return Ended::Closed;
                    }
                },
                renewal = self.access.next() => match self.on_renewal(renewal) {
                    Some(access_token) => send(self.session.bare(Some(ClientBody::RenewAccess { access_token }))),
                    None => true,
                },
                () = sleep_until(ping_at) => {
                    if heard.elapsed() >= silence_limit {
                        return Ended::Broken;
                    }
                    ping_at = Instant::now() + ping_every.min(silence_limit.saturating_sub(heard.elapsed()));
                    ack_at = None;
                    send(self.session.bare(Some(ClientBody::Ping { nonce: 0 })))
                }
                () = probe_due => return Ended::Broken,
                () = ack_due => {
                    ack_at = None;
                    send(self.session.bare(None))
                }
            };
            if !sent {
                return Ended::Broken;
            }
        }
    }

    fn on_access(&mut self, status: AccessStatus) {
        self.access.on_status(status);
        self.to.access_token = self.access.token();
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

enum Received {
    Body(ServerBody),
    Nothing,
    Gap,
}

fn on_frame(session: &mut Session, frame: RawServerFrame) -> Received {
    let seq = frame.seq;
    let ack = frame.ack;
    let decoded = from_raw(frame);
    session.on_ack(ack);
    if seq > session.received() + 1 {
        return Received::Gap;
    }
    if !session.accept(seq) {
        return Received::Nothing;
    }
    match decoded {
        Ok(frame) => frame.body.map_or(Received::Nothing, Received::Body),
        Err(error) => {
            tracing::warn!(%error, "a frame of the server was not understood");
            Received::Nothing
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
