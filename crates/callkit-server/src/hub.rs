//! The one owner of everything that is not a connection: sessions, calls, channels. One task, no locks.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use call_protocol::media::{ChannelRequest, JoinRefusal, LeaveReason};
use call_protocol::session::{RefuseReason, Resume, ServerBody};
use call_protocol::{CallId, CallMessage, DeviceId, Party, UserId};
use hyper::body::Bytes;
use signaling::{ArbiterConfig, Fact, Now, Time};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::info;

mod access;
mod arrivals;
mod calls;
mod cc;
mod channels;
mod devices;
mod goodbye;
mod liveness;
mod missed;
mod orders;
mod outbound;
mod people;
mod records;
mod session;
mod streams;
mod timers;
mod waking;

pub(crate) use calls::{CallKey, Standing};
pub(crate) use cc::{ParamWanted, Question, Wanted};
pub(crate) use liveness::Ear;
pub(crate) use orders::{Order, Ordered};
pub(crate) use session::{LINK_FRAMES, Link, Pulse, StreamId, Until, refusal};

use crate::cc_keys::CcKeys;
use crate::clock::Clock;
use crate::config::ServerConfig;
use crate::connection::Cut;
use crate::dev::Directory;
use crate::gate::Pass;
use crate::health::Health;
use crate::limits::Limits;
use crate::living::Living;
use crate::metering::Metering;
use crate::outbox::{Notice, Outbox};
use crate::revoked::TokenMark;
use crate::store::{Kept, Store};
use crate::stun::StunAddress;
use crate::token::{AppNo, Apps, Grant};
use calls::{CallFact, CallOutput, Calls, CallsConfig, Scope};
use channels::{Asker, Channels, ChannelsConfig};
use missed::{Found, LOOKUPS};
use people::PeopleOf;
use session::{Arrival, Session, SessionKey};
use timers::Timers;
use waking::Wakings;

/// Who signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) app: AppNo,
    pub(crate) party: Party,
    /// Proved by the cc_param of this call, and good for nothing else.
    pub(crate) bound: Option<CallId>,
    /// The device whose push brought the cc_param, which may have another name than the one it signs in by.
    pub(crate) woken: Option<DeviceId>,
    /// There for one call and gone with it.
    pub(crate) for_one_call: bool,
    /// Of the access token, where one was needed.
    pub(crate) mark: Option<TokenMark>,
    /// How long the access token is good, where one was needed.
    pub(crate) access: Option<Until>,
}

/// What comes in from the streams.
#[derive(Debug)]
pub(crate) enum Input {
    /// A stream's client said who it is, and proved it.
    SignedIn { identity: Identity, resume: Option<Resume>, link: Link, pass: Option<Pass>, since: Instant },
    /// A frame other than hello and ping.
    Frame { stream: StreamId, seq: u64, ack: u64, body: Option<Body>, pass: Option<Pass>, since: Instant },
    /// A stream's client sent what is no frame, or too many of them; its session cannot go on.
    Unsound { stream: StreamId, reason: RefuseReason, detail: String },
    /// Somebody without a stream asks about a call.
    Asked(Question),
    /// The backend of an app wants something done.
    Ordered(Ordered),
    /// A callee asks for what a push would have brought.
    ParamWanted(ParamWanted),
    /// Somebody wants to see that the hub goes on.
    Nudged,
    /// The hub is to stand still until this is over, for tests of what then happens.
    Stalled(oneshot::Receiver<()>),
}

impl Input {
    /// Since when it waits for the hub.
    fn since(&self) -> Option<Instant> {
        match self {
            Input::SignedIn { since, .. } | Input::Frame { since, .. } => Some(*since),
            Input::Unsound { .. }
            | Input::Asked(_)
            | Input::Ordered(_)
            | Input::ParamWanted(_)
            | Input::Nudged
            | Input::Stalled(_) => None,
        }
    }
}

/// What a frame holds.
#[derive(Debug)]
pub(crate) enum Body {
    Call(CallMessage),
    /// With what the token of a join or renewal allows.
    Channel(ChannelRequest, Option<Result<Grant, JoinRefusal>>),
    Goodbye,
}

/// The way to the hub.
#[derive(Clone)]
pub(crate) struct HubLink {
    pub(crate) inputs: mpsc::Sender<Input>,
    /// Streams that are over, however they ended. Each holds a place there from its beginning.
    pub(crate) ended: mpsc::Sender<StreamId>,
}

/// What the hub needs from the rest of the server.
pub(crate) struct Surroundings {
    pub(crate) clock: Clock,
    pub(crate) metering: Arc<Metering>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) health: Arc<Health>,
    pub(crate) living: Arc<Living>,
    pub(crate) apps: Arc<Apps>,
    pub(crate) outbox: Outbox,
    pub(crate) cc_keys: Arc<CcKeys>,
    pub(crate) store: Option<Store>,
    pub(crate) directory: Option<Arc<Directory>>,
    pub(crate) stun: StunAddress,
    pub(crate) ear: Ear,
}

/// Inputs that may wait; a stream that brings more waits itself, and with it its client.
const INPUTS: usize = 1_024;
/// Inputs handled before timers are looked at.
const BATCH: usize = 64;

pub(crate) struct Hub {
    around: Surroundings,
    times: Times,
    sessions: HashMap<SessionKey, Session>,
    devices: HashMap<(AppNo, UserId), Vec<SessionKey>>,
    streams: HashMap<StreamId, SessionKey>,
    /// Streams that were told to end and have not yet.
    ending: HashMap<StreamId, Cut>,
    timers: Timers<Due>,
    calls: Calls,
    channels: Channels,
    waking: Wakings,
    /// What is being looked up in the store.
    lookups: JoinSet<Found>,
    /// Bytes kept for all devices.
    held: Arc<AtomicUsize>,
    /// What was sent last: the invite of a group is the same for everybody in it.
    encoded: Option<(ServerBody, Bytes)>,
    permits: Arc<Semaphore>,
    push_permits: Arc<Semaphore>,
    last_session: u64,
    /// Up to here it was found out whether nobody could be heard.
    discounted_until: Time,
    stalled: Option<oneshot::Receiver<()>>,
}

/// The configuration's times, in ms.
struct Times {
    ping_every: u32,
    silence_limit: u32,
    resume_window: u32,
    ack_delay: u64,
    close_grace: u64,
    /// By how much the end of a token may be past.
    token_leeway: u64,
    /// How long a device that was told that its access token has ended may take to bring another one.
    token_grace: u64,
}

/// Why the hub wakes.
enum Due {
    /// Frames of this session wait for their acknowledgement.
    Acknowledge(SessionKey),
    /// This session was not resumed.
    ResumeWindow(SessionKey),
    /// Look who has fallen silent.
    Silence,
    /// This stream was told to end: by now it should have.
    Cut(StreamId),
    /// Nobody could be told of this call: by now a connected device should have rung.
    Unheard(CallKey),
    /// A device of this user went away while this call rang: by now it should be back.
    Away(CallKey, UserId),
    /// This user's connected devices were told of this call: by now they should have said that they heard.
    Unalerted(CallKey, UserId),
}

impl Hub {
    /// The hub and the ways to it; it runs in the caller's task.
    pub(crate) fn new(config: &ServerConfig, around: Surroundings, kept: Vec<Kept>) -> Self {
        let now = around.clock.now();
        let arbiter = ArbiterConfig {
            liveness_ms: config.call_liveness_ms.into(),
            resume_window_ms: config.resume_window_ms.into(),
            tombstone_ms: config.call_tombstone_ms.into(),
            ..ArbiterConfig::default()
        };
        let calls = CallsConfig {
            arbiter,
            per_device: config.max_calls_per_device,
            quiet_until: now.mono + u64::from(config.resume_window_ms) + 15_000,
            keeps: around.store.is_some(),
        };
        let channels =
            ChannelsConfig { per_device: config.max_channels_per_device, rejoin_ms: config.resume_window_ms.into() };
        let mut hub = Self {
            around,
            times: Times {
                ping_every: config.ping_every_ms,
                silence_limit: config.silence_limit_ms,
                resume_window: config.resume_window_ms,
                ack_delay: config.ack_delay_ms.into(),
                close_grace: config.close_grace_ms.into(),
                token_leeway: u64::from(config.token_leeway_s) * 1_000,
                token_grace: config.silence_limit_ms.into(),
            },
            sessions: HashMap::new(),
            devices: HashMap::new(),
            streams: HashMap::new(),
            ending: HashMap::new(),
            timers: Timers::new(),
            calls: Calls::new(calls),
            channels: Channels::new(channels),
            waking: Wakings::default(),
            lookups: JoinSet::new(),
            held: Arc::default(),
            encoded: None,
            permits: Arc::new(Semaphore::new(LOOKUPS)),
            push_permits: Arc::new(Semaphore::new(LOOKUPS)),
            last_session: 0,
            discounted_until: now.mono,
            stalled: None,
        };
        for Kept { app, snapshot } in kept {
            hub.calls.restore(now, app, snapshot);
        }
        hub.look_for_silence(now);
        hub.pass_on(now);
        hub
    }

    /// `streams` can be open at one time.
    pub(crate) fn link(streams: usize) -> (HubLink, mpsc::Receiver<Input>, mpsc::Receiver<StreamId>) {
        let (inputs, inbox) = mpsc::channel(INPUTS);
        let (ended, endings) = mpsc::channel(streams.min(Semaphore::MAX_PERMITS));
        (HubLink { inputs, ended }, inbox, endings)
    }

    /// Works until told to stop, then says goodbye to everybody and closes the store.
    pub(crate) async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Input>,
        mut endings: mpsc::Receiver<StreamId>,
        mut notices: mpsc::Receiver<Notice>,
        mut stop: oneshot::Receiver<()>,
    ) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let next = self.next_wake();
            let wake = next.map(|time| self.around.clock.instant(time));
            tokio::select! {
                biased;
                _ = &mut stop => break,
                // Before the endings: what a stream brought comes before its end.
                _ = inbox.recv_many(&mut batch, BATCH) => {}
                Some(stream) = endings.recv() => self.on_stream_ended(stream),
                Some(notice) = notices.recv() => self.on_notice(self.around.clock.now(), &notice),
                Some(Ok(found)) = self.lookups.join_next(), if !self.lookups.is_empty() => {
                    self.on_found(self.around.clock.now(), found);
                }
                () = async { match wake { Some(at) => sleep_until(at).await, None => std::future::pending().await } } => {}
            }
            self.measure(&batch, inbox.len());
            let now = self.around.clock.now();
            self.look_for_stall(now, next);
            for input in batch.drain(..) {
                self.handle_input(now, input);
                self.pass_on(now);
            }
            self.on_wake(now);
            self.pass_on(now);
            self.count();
            if let Some(until) = self.stalled.take() {
                until.await.ok();
            }
            self.around.health.turned();
        }
        self.say_goodbye(inbox, endings).await;
        self.around.outbox.stop();
        if let Some(store) = self.around.store.take() {
            store.close().await;
        }
    }

    /// How far behind the hub is.
    fn measure(&self, batch: &[Input], waiting: usize) {
        let Surroundings { metering, health, .. } = &self.around;
        metering.hub_queue.set(waiting as f64);
        if let Some(since) = batch.iter().filter_map(Input::since).min() {
            let delay = since.elapsed();
            metering.hub_delay.record(delay);
            health.waited(delay);
        }
    }

    fn handle_input(&mut self, now: Now, input: Input) {
        match input {
            Input::SignedIn { identity, resume, link, pass, .. } => {
                self.on_signed_in(now, identity, resume, link);
                drop(pass);
            }
            Input::Frame { stream, seq, ack, body, pass, .. } => {
                let Some(key) = self.streams.get(&stream).copied() else { return };
                self.around.metering.frames_in.increment(1);
                self.on_frame(now, key, seq, ack, body, pass.as_ref());
            }
            Input::Unsound { stream, reason, detail } => {
                let Some(key) = self.streams.get(&stream).copied() else { return };
                self.end_session(now, key, Some((reason, detail)), LeaveReason::Dropped);
            }
            Input::Asked(question) => self.on_asked(now, question),
            Input::Ordered(ordered) => self.on_ordered(now, ordered),
            Input::ParamWanted(wanted) => self.on_param_wanted(now, wanted),
            Input::Nudged => {}
            Input::Stalled(until) => self.stalled = Some(until),
        }
    }

    fn on_frame(&mut self, now: Now, key: SessionKey, seq: u64, ack: u64, body: Option<Body>, pass: Option<&Pass>) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if !session.on_ack(now.mono, ack) {
            let detail = format!("ack {ack} was never sent");
            return self.end_session(now, key, Some((RefuseReason::BadFrame, detail)), LeaveReason::Dropped);
        }
        self.on_acknowledged(now, key);
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let arrival = match (seq, &body) {
            (0, None | Some(Body::Goodbye)) => Arrival::New,
            (0, Some(_)) => Arrival::Gap,
            (seq, _) => session.on_numbered(seq),
        };
        match arrival {
            Arrival::Gap => {
                let detail = format!("frame {seq} after {}", session.received());
                return self.drop_link(now, key, Some((RefuseReason::BadFrame, detail)));
            }
            Arrival::Duplicate => {
                let sent = session.send_unnumbered(None);
                return self.check_pace(now, key, sent);
            }
            Arrival::New => {}
        }
        let (app, party, bound, is_visitor) = (session.app, session.party.clone(), session.bound, session.is_visitor);
        let local_ip = session.link.as_ref().and_then(|link| link.pulse.connection.local_ip);
        let has_ended_token = session.has_ended_token(now.mono, self.times.token_leeway);
        match body {
            None => {}
            Some(Body::Goodbye) if is_visitor => return self.end_session(now, key, None, LeaveReason::Left),
            Some(Body::Goodbye) => {
                let scope = bound.map_or_else(|| self.scope_of(app, &party), Scope::Only);
                self.calls.on_signed_out(now, app, &party, &scope);
                self.channels.on_session_over(key, LeaveReason::Left);
                self.pass_on(now);
                return self.end_session(now, key, None, LeaveReason::Left);
            }
            Some(Body::Call(message)) if self.is_not_its(key, &message) => self.answer_stranger(now, key, &message),
            Some(Body::Call(message)) => {
                self.on_missed_known(key, &message);
                self.waking.note_heard(CallKey { app, call_id: message.call_id }, &party);
                let directory = self.around.directory.as_deref().filter(|directory| directory.app == app);
                let around = &self.around;
                let (devices, sessions) = (&self.devices, &self.sessions);
                let people = PeopleOf { app, directory, around, pass, has_ended_token, devices, sessions };
                self.calls.on_message(now, app, party, message, &people);
            }
            Some(Body::Channel(request, grant)) => {
                let grant = self.granted(now, key, &request, grant);
                let stun_server = self.around.stun.announced(local_ip);
                let asker = Asker { session: key, app, party, stun_server };
                self.channels.on_request(now, &asker, request.channel, request.body, grant);
            }
        }
        self.pass_on(now);
        self.acknowledge(now, key);
    }

    /// Carries out what calls and channels want said, and stores what is to be kept.
    fn pass_on(&mut self, now: Now) {
        loop {
            if let Some(output) = self.calls.poll_output() {
                self.carry_out(now, output);
            } else if let Some(output) = self.channels.poll_output() {
                self.send(now, output.session, ServerBody::Channel(output.event));
            } else {
                return;
            }
        }
    }

    fn carry_out(&mut self, now: Now, output: CallOutput) {
        match output {
            CallOutput::Send { app, to, message } => self.carry(now, app, to, message),
            CallOutput::Save(key, snapshot) => {
                if let Some(store) = &self.around.store {
                    store.save(key, snapshot);
                }
            }
            CallOutput::Forget(key) => {
                if let Some(store) = &self.around.store {
                    store.forget(key);
                }
            }
            CallOutput::Opened(opened) => self.on_opened(now, *opened),
            CallOutput::Answered(key, winner) => self.cancel_pushes(now, key, Some(&winner)),
            CallOutput::Ended(ended) => self.on_ended(now, &ended),
            CallOutput::Tell(fact) => self.meter(fact),
        }
    }

    fn meter(&self, fact: CallFact) {
        let metering = &self.around.metering;
        match fact {
            CallFact::Opened => metering.calls_opened.increment(1),
            CallFact::Refused(refusal) => metering.invite_refused(refusal),
            CallFact::Arbiter(Fact::Ringing { .. }) => {}
            CallFact::Arbiter(Fact::Answered { ring_ms, .. }) => {
                metering.calls_answered.increment(1);
                metering.ring_seconds.record(std::time::Duration::from_millis(ring_ms));
            }
            CallFact::Arbiter(Fact::Ended { caller_reason, .. }) => metering.ended(caller_reason),
        }
    }

    fn next_wake(&self) -> Option<Time> {
        [self.timers.next(), self.calls.next_wake(), self.channels.next_wake()].into_iter().flatten().min()
    }

    fn on_wake(&mut self, now: Now) {
        self.calls.on_wake(now);
        self.channels.on_wake(now);
        while let Some((_, due)) = self.timers.pop_due(now.mono) {
            match due {
                Due::Acknowledge(key) => {
                    let Some(session) = self.sessions.get_mut(&key) else { continue };
                    session.ack_waits = false;
                    if session.owes_ack() {
                        let sent = session.send_unnumbered(None);
                        self.check_pace(now, key, sent);
                    }
                }
                Due::ResumeWindow(key) => {
                    let window = u64::from(self.times.resume_window);
                    let lost_at = self.sessions.get(&key).and_then(|session| session.lost_at);
                    if lost_at.is_some_and(|at| now.mono >= at + window) {
                        info!(session = key.0, "not resumed");
                        self.end_session(now, key, None, LeaveReason::Dropped);
                    }
                }
                Due::Unheard(key) => self.look_whom_it_reached(now, key, true),
                Due::Away(key, user) => self.look_for_devices(key, user),
                Due::Unalerted(key, user) => self.look_who_alerted(key, user),
                Due::Silence => self.look_for_silence(now),
                Due::Cut(stream) => {
                    if let Some(cut) = self.ending.remove(&stream) {
                        cut.cut();
                    }
                }
            }
        }
    }

    fn count(&self) {
        let metering = &self.around.metering;
        self.around.health.set_calls(self.calls.running());
        metering.sessions.set(self.sessions.len() as f64);
        metering.calls.set(self.calls.running() as f64);
        metering.channels.set(self.channels.count() as f64);
        metering.members.set(self.channels.members() as f64);
    }
}
