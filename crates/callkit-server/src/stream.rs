//! One gRPC stream: sign-in, then frames to the hub and frames from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use call_protocol::media::{ChannelRequestBody, JoinRefusal};
use call_protocol::session::{AccessStatus, ClientBody, ClientFrame, Hello, RefuseReason, Resume, ServerBody};
use call_protocol::{ChannelId, UserId, Word, limits};
use callkit_hub::{AppNo, Frame, FrameBody, Grant, Identity, StreamId};
use futures_util::{Stream, stream};
use signaling::Time;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tonic::{Code, Status, Streaming};
use tracing::{debug, info};

use crate::cc_keys::CcKeys;
use crate::clock::Clock;
use crate::connection::{Connection, Cut, Serving};
use crate::gate::{Gate, Pass, Turn};
use crate::health::Health;
use crate::hub_link::{HubLink, LINK_FRAMES, LastHeard, Link, ToHub};
use crate::limits::{FrameQuota, Limit, Limits};
use crate::living::Living;
use crate::metering::Metering;
use crate::proxy::ClientAddress;
use crate::sign_in;
use crate::token::{Apps, AuthFailure, TokenError};
use crate::wire::Received;

/// What all streams share.
pub(crate) struct Door {
    pub(crate) apps: Arc<Apps>,
    pub(crate) cc_keys: Arc<CcKeys>,
    pub(crate) hub: HubLink,
    pub(crate) clock: Clock,
    /// When anybody was last heard.
    pub(crate) heard: LastHeard,
    pub(crate) metering: Arc<Metering>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) health: Arc<Health>,
    pub(crate) living: Arc<Living>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) hello_timeout: Duration,
    /// After how much silence a client has vanished, in ms.
    pub(crate) silence_limit_ms: u64,
    pub(crate) last_stream: AtomicU64,
}

/// The answer to a stream of frames.
pub(crate) fn open(
    door: Arc<Door>,
    connection: Arc<Connection>,
    from: ClientAddress,
    inbound: Streaming<Received>,
) -> impl Stream<Item = Result<Frame, Status>> {
    let at_door = AtDoor { door, serving: connection.serve(), connection, from, inbound };
    stream::unfold(Stage::Door(Box::new(at_door)), Stage::next)
}

/// The answer to a stream on a connection that is one too many.
pub(crate) fn turn_away(
    door: Arc<Door>,
    mut inbound: Streaming<Received>,
    why: &'static str,
) -> impl Stream<Item = Result<Frame, Status>> {
    stream::once(async move {
        // Whoever has not yet said hello may not be ready to listen.
        timeout(door.hello_timeout, inbound.message()).await.ok();
        door.metering.refused(RefuseReason::TooMany);
        Ok(Frame::refusal(RefuseReason::TooMany, why))
    })
}

/// Where a stream is. Its frames are pulled by the connection, so that a client that does not read is not read either.
enum Stage {
    Door(Box<AtDoor>),
    Open(Box<Open>),
    Over,
}

struct AtDoor {
    door: Arc<Door>,
    serving: Serving,
    connection: Arc<Connection>,
    from: ClientAddress,
    inbound: Streaming<Received>,
}

struct Open {
    door: Arc<Door>,
    app: AppNo,
    user: UserId,
    stream: StreamId,
    heard: LastHeard,
    cut: Cut,
    inbound: Streaming<Received>,
    outbound: mpsc::Receiver<Frame>,
    acknowledged: u64,
    /// The highest number that the client was told to have been received, for the acknowledgement in a pong.
    received: u64,
    /// When the access token of the client ends; none where none was needed.
    access_until: Option<Time>,
    /// Nothing more is read: what came was unsound, and the hub is about to end the stream.
    is_deaf: bool,
    /// New work that waits for its turn; nothing is read meanwhile, so that what came later stays later.
    waiting: Option<Box<Waiting>>,
    quota: FrameQuota,
    /// Room to tell the hub of the end, whatever else waits there.
    ended: Option<mpsc::OwnedPermit<StreamId>>,
    _serving: Serving,
}

/// A frame with new work, and its turn.
struct Waiting {
    turn: Turn,
    seq: u64,
    ack: u64,
    body: FrameBody,
}

impl Stage {
    async fn next(self) -> Option<(Result<Frame, Status>, Stage)> {
        let (frame, stage) = match self {
            Stage::Door(at_door) => {
                let door = Arc::clone(&at_door.door);
                // Boxed: the sign-in is over soon, and its size would stay with every stream.
                match Box::pin(at_door.sign_in()).await {
                    Ok(open) => return Box::pin(Stage::Open(open).next()).await,
                    Err((reason, detail)) => {
                        info!(%reason, %detail, "sign-in refused");
                        door.metering.refused(reason);
                        (Frame::refusal(reason, detail), Stage::Over)
                    }
                }
            }
            Stage::Open(mut open) => {
                let frame = open.next().await?;
                (frame, Stage::Open(open))
            }
            Stage::Over => return None,
        };
        Some((Ok(frame), stage))
    }
}

impl AtDoor {
    async fn sign_in(mut self: Box<Self>) -> Result<Box<Open>, (RefuseReason, String)> {
        let bad = |detail: String| (RefuseReason::BadHello, detail);
        let limit = self.door.hello_timeout;
        let first = timeout(limit, self.inbound.message()).await;
        let first = first.map_err(|_| bad(format!("no hello within {} ms", limit.as_millis())))?;
        let frame = first.map_err(|status| bad(why(&status)))?.ok_or_else(|| bad("the stream has no frame".into()))?;
        let frame = frame.map_err(|error| bad(error.to_string()))?;
        let Some(ClientBody::Hello(hello)) = frame.body else {
            return Err(bad("the first frame is not a hello".into()));
        };
        let identity = self.admit(&hello)?;
        debug!(agent = %hello.agent.escape_debug(), "hello");
        // A callee who wakes for a call that rings is a part of work that was accepted before. So is who comes back to a session, where
        // there is one: after a restart all devices ask for one that is gone.
        let pass = match identity.bound.is_none() && !self.is_back(&hello) {
            true => Some(self.wait_for_turn().await?),
            false => None,
        };
        self.enter(identity, hello.resume, pass).await
    }

    /// Whether it comes back to a session that is there.
    fn is_back(&self, hello: &Hello) -> bool {
        hello.resume.as_ref().is_some_and(|resume| self.door.living.has(&resume.session))
    }

    /// Who signs in, if they may. What costs least is looked at first.
    fn admit(&self, hello: &Hello) -> Result<Identity, (RefuseReason, String)> {
        let Door { apps, cc_keys, clock, metering, limits, health, .. } = &*self.door;
        let many = |what: &str| (RefuseReason::TooMany, format!("{what}: come back in a minute"));
        limits.sign_in_from(self.from).map_err(|_| many("too many sign-ins of this address"))?;
        let identity = sign_in::check(apps, cc_keys, clock, hello).map_err(|denied| {
            if let Some(failure) = denied.failure {
                metering.auth_failed(failure);
            }
            (denied.reason, denied.detail)
        })?;
        let is_old = identity.bound.is_some() || self.is_back(hello);
        let takes = if is_old { health.takes_callees() } else { health.takes_sign_ins() };
        if !takes {
            return Err((RefuseReason::ShuttingDown, String::new()));
        }
        let within = match identity.bound {
            None => limits.sign_in_of(identity.app, &identity.party.user),
            // Apart, so that whoever holds a cc_param of a user does not use up what the user has.
            Some(call_id) => limits.sign_in_for(identity.app, call_id),
        };
        within.map_err(|_| many("too many sign-ins of this user"))?;
        Ok(identity)
    }

    async fn wait_for_turn(&self) -> Result<Pass, (RefuseReason, String)> {
        let Door { gate, health, metering, .. } = &*self.door;
        metering.gate_turns.increment(1);
        match gate.turn().await {
            Ok(pass) if health.takes_work(&pass) => Ok(pass),
            Ok(_) | Err(_) => {
                metering.shed_sign_ins.increment(1);
                Err((RefuseReason::Overloaded, "come back in a few seconds".into()))
            }
        }
    }

    async fn enter(
        self: Box<Self>,
        identity: Identity,
        resume: Option<Resume>,
        pass: Option<Pass>,
    ) -> Result<Box<Open>, (RefuseReason, String)> {
        let AtDoor { door, serving, connection, inbound, .. } = *self;
        let stream = StreamId(door.last_stream.fetch_add(1, Ordering::Relaxed) + 1);
        let (frames, outbound) = mpsc::channel(LINK_FRAMES);
        let now = door.clock.mono();
        door.heard.hear(now);
        let (heard, cut) = (LastHeard::default(), Cut::of_this_stream(Arc::clone(&connection)));
        heard.hear(now);
        let link = Link { stream, frames, heard: heard.clone(), cut: cut.clone(), local_ip: connection.local_ip };
        let (app, user) = (identity.app, identity.party.user.clone());
        let access_until = identity.access.filter(|_| identity.bound.is_none()).map(|access| access.until);
        let Ok(ended) = door.hub.ended.clone().try_reserve_owned() else {
            door.limits.met(Limit::Streams);
            return Err((RefuseReason::TooMany, "the server has no room for another stream".into()));
        };
        door.metering.streams.increment(1.0);
        // Before the hub hears of it, so that its end is told whatever happens.
        let open = Open {
            quota: door.limits.frames_of(app, &identity.party, identity.bound),
            door,
            app,
            user,
            stream,
            heard,
            cut,
            inbound,
            outbound,
            acknowledged: 0,
            received: 0,
            access_until,
            is_deaf: false,
            waiting: None,
            ended: Some(ended),
            _serving: serving,
        };
        let input = ToHub::SignedIn { identity, resume, link, pass, since: Instant::now() };
        let sent = open.door.hub.inputs.send(input).await;
        sent.map_err(|_| (RefuseReason::ShuttingDown, String::new()))?;
        Ok(Box::new(open))
    }
}

impl Open {
    /// The next frame for the client; `None` ends the stream.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            tokio::select! {
                biased;
                frame = self.outbound.recv() => {
                    if frame.is_none() && self.is_silent() {
                        // Nobody is there to read the end of the stream or to close the connection.
                        self.cut.cut();
                    }
                    self.received = frame.as_ref().map_or(self.received, |frame| self.received.max(frame.ack));
                    return frame;
                }
                pass = turn_of(&mut self.waiting), if self.waiting.is_some() => {
                    if let Some(waiting) = self.waiting.take() {
                        let Waiting { seq, ack, body, .. } = *waiting;
                        Box::pin(self.pass_on(seq, ack, Some(body), pass)).await;
                    }
                }
                message = self.inbound.message(), if !self.is_deaf && self.waiting.is_none() => match message {
                    Ok(Some(frame)) => {
                        let now = self.door.clock.mono();
                        self.heard.hear(now);
                        self.door.heard.hear(now);
                        if self.door.limits.frame(self.quota).is_err() {
                            Box::pin(self.too_many()).await;
                            continue;
                        }
                        // Boxed: between frames, which is nearly always, it takes no room.
                        if let Some(reply) = Box::pin(self.on_frame(frame)).await {
                            return Some(reply);
                        }
                    }
                    Ok(None) => return None,
                    Err(status) if is_unsound(&status) => Box::pin(self.unsound(why(&status))).await,
                    Err(status) => {
                        debug!(stream = self.stream.0, code = ?status.code(), "stream broke");
                        return None;
                    }
                },
            }
        }
    }

    fn is_silent(&self) -> bool {
        self.door.clock.mono() - self.heard.at() >= self.door.silence_limit_ms
    }

    async fn on_frame(&mut self, frame: Received) -> Option<Frame> {
        let ClientFrame { seq, ack, body } = match frame {
            Ok(frame) => frame,
            Err(error) => {
                self.unsound(error.to_string()).await;
                return None;
            }
        };
        let body = match body {
            Some(ClientBody::Ping { nonce }) => {
                if ack > self.acknowledged {
                    self.pass_on(0, ack, None, None).await;
                }
                let pong = ServerBody::Pong { nonce, server_unix_ms: self.door.clock.unix_ms() };
                return Some(Frame::new(self.received, Some(pong)));
            }
            Some(ClientBody::RenewAccess { access_token }) => return Some(self.renew_access(&access_token).await),
            Some(ClientBody::Hello(_)) => {
                self.unsound("a second hello".into()).await;
                return None;
            }
            Some(ClientBody::Call(message)) if matches!(message.word, Word::Invite(_)) => {
                self.door.metering.gate_turns.increment(1);
                let (turn, body) = (self.door.gate.turn(), FrameBody::Call(message));
                self.waiting = Some(Box::new(Waiting { turn, seq, ack, body }));
                return None;
            }
            Some(ClientBody::Call(message)) => Some(FrameBody::Call(message)),
            Some(ClientBody::Channel(request)) => {
                let grant = match &request.body {
                    // Without a token it is for the hub to say whether the channel is that of the party's own call.
                    ChannelRequestBody::Join { token, .. } | ChannelRequestBody::RenewToken { token } => {
                        (!token.is_empty()).then(|| self.check(&request.channel, token))
                    }
                    ChannelRequestBody::Leave
                    | ChannelRequestBody::Description { .. }
                    | ChannelRequestBody::Candidate { .. }
                    | ChannelRequestBody::Tracks(_) => None,
                };
                Some(FrameBody::Channel(request, grant))
            }
            Some(ClientBody::Goodbye) => Some(FrameBody::Goodbye),
            None => None,
        };
        self.pass_on(seq, ack, body, None).await;
        None
    }

    /// Here and not in the hub, since signatures take time and streams run side by side.
    fn check(&self, channel: &ChannelId, token: &str) -> Result<Grant, JoinRefusal> {
        self.door.apps.check_channel(self.app, channel, token).map_err(|error| {
            info!(stream = self.stream.0, %error, "channel token refused");
            self.door.metering.auth_failed(AuthFailure::Token(error));
            match error {
                TokenError::Expired => JoinRefusal::TokenExpired,
                _ => JoinRefusal::TokenInvalid,
            }
        })
    }

    /// Here for the same reason. The hub hears of it before the client does.
    async fn renew_access(&mut self, token: &str) -> Frame {
        let door = Arc::clone(&self.door);
        let Door { apps, clock, metering, .. } = &*door;
        let now = clock.mono();
        let refused = match sign_in::check_renewal(apps, self.app, &self.user, token) {
            Ok(access) => {
                let until = now + access.left_ms;
                self.access_until = Some(until);
                self.tell(ToHub::AccessRenewed { stream: self.stream, until, mark: access.mark }).await;
                None
            }
            Err(reason) => {
                info!(stream = self.stream.0, %reason, "access token refused");
                metering.refused(reason);
                Some(reason)
            }
        };
        let left_ms = self.access_until.map_or(0, |until| until - now);
        let status = ServerBody::Access(AccessStatus { left_ms, refused });
        Frame::new(self.received, Some(status))
    }

    async fn pass_on(&mut self, seq: u64, ack: u64, body: Option<FrameBody>, pass: Option<Pass>) {
        self.acknowledged = self.acknowledged.max(ack);
        self.tell(ToHub::Frame { stream: self.stream, seq, ack, body, pass, since: Instant::now() }).await;
    }

    /// What the client sent cannot be understood: the hub refuses it and ends the stream, after what is still to be read.
    async fn unsound(&mut self, detail: String) {
        self.is_deaf = true;
        self.tell(ToHub::Unsound { stream: self.stream, reason: RefuseReason::BadFrame, detail }).await;
    }

    async fn too_many(&mut self) {
        self.is_deaf = true;
        let detail = "too many frames of this device: come back in a minute".to_owned();
        self.tell(ToHub::Unsound { stream: self.stream, reason: RefuseReason::TooMany, detail }).await;
    }

    async fn tell(&mut self, input: ToHub) {
        // Only a server that stops has no hub; its last frame is in the queue already.
        self.door.hub.inputs.send(input).await.ok();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.door.metering.streams.decrement(1.0);
        if let Some(ended) = self.ended.take() {
            ended.send(self.stream);
        }
    }
}

/// The turn of what waits; never comes if nothing does.
async fn turn_of(waiting: &mut Option<Box<Waiting>>) -> Option<Pass> {
    match waiting {
        // The gate keeps its word for as long as the stream is there.
        Some(waiting) => (&mut waiting.turn).await.ok(),
        None => std::future::pending().await,
    }
}

/// Whether the client sent a frame that is too large, rather than that the connection broke.
fn is_unsound(status: &Status) -> bool {
    status.code() == Code::OutOfRange
}

/// What is wrong, without what the client sent.
fn why(status: &Status) -> String {
    match status.code() {
        Code::OutOfRange => format!("a frame is over {} bytes", limits::FRAME_BYTES),
        code => format!("the stream failed: {code:?}"),
    }
}
