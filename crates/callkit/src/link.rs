//! The streams to the server: how one is opened and signed in, and what travels on it. When there is to be one, and what is said on it, the machine
//! decides.

use std::net::SocketAddr;
use std::time::Duration;

use call_protocol::disconnect::DisconnectReason;
use call_protocol::limits;
use call_protocol::session::{ClientBody, ClientFrame, Hello, ServerBody, ServerFrame, Welcome};
use callkit_core::{ConnectFailure, FirstSignIn, Settings, StreamId, StreamNotice, refused};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use crate::dial::{self, Dial};
use crate::error::SignInError;
use crate::wire::{RawClientFrame, RawServerFrame, SignalClient, from_raw, to_raw};

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

/// Frames that wait for the driver, which never waits: a stream reads no frame for which there is no place.
pub(crate) const WAITING: usize = 1_024;
/// Frames that wait for the socket: twice what a session keeps. A server that takes no more does not read.
const FRAMES: usize = 2 * limits::UNACKNOWLEDGED_FRAMES;
/// How long connecting and signing in may take, each.
const SIGN_IN_PATIENCE: Duration = Duration::from_secs(5);
/// How long the server has to read what was sent last.
const LAST_FRAMES: Duration = Duration::from_secs(1);

/// One signed-in stream.
pub(crate) struct Stream {
    frames: tonic::Streaming<RawServerFrame>,
    sender: mpsc::Sender<RawClientFrame>,
    /// The address of this machine from which it leaves.
    local: Option<SocketAddr>,
    pub(crate) welcome: Welcome,
}

/// The first sign-in: a refusal that may pass is tried again for a few seconds.
pub(crate) async fn first_sign_in(endpoint: &Endpoint, settings: &Settings) -> Result<Stream, SignInFailure> {
    let mut first = FirstSignIn::new(settings);
    loop {
        let failure = match sign_in(endpoint, settings.hello()).await {
            Ok(stream) => return Ok(stream),
            Err(failure) => failure,
        };
        let Some(pause) = first.on_failure(connect_failure(&failure.error)) else { return Err(failure) };
        tracing::info!(error = %failure.error, "not signed in yet");
        // sleeps: the pause before the next attempt.
        tokio::time::sleep(pause).await;
    }
}

fn connect_failure(error: &SignInError) -> ConnectFailure {
    match error {
        SignInError::Refused { reason, .. } => ConnectFailure::Refused(*reason),
        SignInError::InvalidParam(_) | SignInError::Unreachable(_) => ConnectFailure::Unreachable,
    }
}

/// Connects and signs in.
async fn sign_in(endpoint: &Endpoint, hello: Hello) -> Result<Stream, SignInFailure> {
    let late = |why: &str| SignInFailure::unreachable(why, DisconnectReason::ServiceConnectionTimeOut);
    let dial = Dial::default();
    let connecting = timeout(SIGN_IN_PATIENCE, endpoint.connect_with_connector(dial.clone())).await;
    let channel = connecting
        .map_err(|_| late("no connection within 5 s"))?
        .map_err(|error| SignInFailure::no_connection(&error))?;
    let (sender, receiver) = mpsc::channel(FRAMES);
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

/// What a stream reports to the driver.
pub(crate) enum StreamReport {
    /// It is there, and the device signed in on it.
    Opened(StreamId, OpenStream, Welcome),
    Notice(StreamId, StreamNotice),
}

/// A stream that the machine has, or is about to have.
pub(crate) struct RunningStream {
    id: StreamId,
    /// Once it is there.
    open: Option<OpenStream>,
    task: JoinHandle<()>,
}

/// The way out of a signed-in stream.
pub(crate) struct OpenStream {
    sender: mpsc::Sender<RawClientFrame>,
    /// The address of this machine from which it leaves.
    local: Option<SocketAddr>,
}

/// Aborts its task: a stream that is let go of is heard no more.
impl Drop for RunningStream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RunningStream {
    /// One that is signed in already: reports what comes.
    pub(crate) fn of(id: StreamId, stream: Stream, reports: mpsc::Sender<StreamReport>) -> RunningStream {
        let Stream { frames, sender, local, .. } = stream;
        let task = tokio::spawn(read(id, frames, reports));
        RunningStream { id, open: Some(OpenStream { sender, local }), task }
    }

    /// Connects, signs in, and reports how that went and what comes then.
    pub(crate) fn connect(
        id: StreamId,
        endpoint: Endpoint,
        hello: Hello,
        reports: mpsc::Sender<StreamReport>,
    ) -> RunningStream {
        let task = tokio::spawn(async move {
            match sign_in(&endpoint, hello).await {
                Ok(Stream { frames, sender, local, welcome }) => {
                    let opened = StreamReport::Opened(id, OpenStream { sender, local }, welcome);
                    if reports.send(opened).await.is_ok() {
                        read(id, frames, reports).await;
                    }
                }
                Err(SignInFailure { error, .. }) => {
                    tracing::debug!(%error, "not back yet");
                    report(id, StreamNotice::Failed(connect_failure(&error)), &reports).await;
                }
            }
        });
        RunningStream { id, open: None, task }
    }

    pub(crate) fn id(&self) -> StreamId {
        self.id
    }

    pub(crate) fn on_opened(&mut self, open: OpenStream) {
        self.open = Some(open);
    }

    /// Whether the frame is on its way. A server that takes no more does not read.
    pub(crate) fn send(&self, frame: &ClientFrame) -> bool {
        self.open.as_ref().is_some_and(|open| open.sender.try_send(to_raw(frame)).is_ok())
    }

    /// Whether this machine no longer has the address from which the stream leaves.
    pub(crate) fn is_gone(&self) -> bool {
        self.open.as_ref().and_then(|open| open.local).is_some_and(dial::is_gone)
    }

    /// Until the server has read everything and ends the stream, for as long as it has for that. `reports` takes what still comes.
    pub(crate) async fn close(mut self, mut reports: mpsc::Receiver<StreamReport>) {
        if self.open.take().is_none() {
            return;
        }
        let rest = async { while reports.recv().await.is_some() {} };
        let ends = async {
            tokio::select! {
                _ = &mut self.task => {}
                () = rest => {}
            }
        };
        let _ = timeout(LAST_FRAMES, ends).await;
    }
}

/// Reports what comes over a stream, until it ends.
async fn read(id: StreamId, mut frames: tonic::Streaming<RawServerFrame>, reports: mpsc::Sender<StreamReport>) {
    while let Ok(Some(frame)) = frames.message().await {
        let (seq, ack) = (frame.seq, frame.ack);
        let frame = from_raw(frame).unwrap_or_else(|error| {
            tracing::warn!(%error, "a frame of the server was not understood");
            ServerFrame { seq, ack, body: None }
        });
        if !report(id, StreamNotice::Received(frame), &reports).await {
            return;
        }
    }
    report(id, StreamNotice::Ended, &reports).await;
}

/// Whether there is still a driver.
async fn report(stream: StreamId, notice: StreamNotice, reports: &mpsc::Sender<StreamReport>) -> bool {
    reports.send(StreamReport::Notice(stream, notice)).await.is_ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
