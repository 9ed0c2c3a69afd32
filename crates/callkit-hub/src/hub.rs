//! The hub: joins the machines of sessions, calls, channels and pushes, and carries what one of them wants to the others.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use call_protocol::UserId;
use call_protocol::media::LeaveReason;
use call_protocol::session::ServerBody;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use signaling::{ArbiterConfig, Fact as ArbiterFact, Now, Time};
use tracing::info;

use crate::calls::{CallFact, CallOutput, Calls, CallsConfig};
use crate::channels::{Channels, ChannelsConfig};
use crate::config::{AppFeatures, HubConfig};
use crate::counters::Counters;
use crate::ids::{AppNo, CallKey, SessionKey, StreamId};
use crate::input::{Input, RestoredCall};
use crate::look_ups::LookUps;
use crate::output::{Change, Fact, Output};
use crate::push_fan_out::PushFanOut;
use crate::quota::InviteQuotas;
use crate::sessions::Sessions;
use crate::timers::Timers;

mod sign_in;
mod frames;
mod admission;
mod grants;
mod streams;
mod liveness;
mod tokens;
mod devices;
mod pushes;
mod records;
mod missed;
mod requests;
mod stop;

/// Everything that a server decides, as one machine. The crate's documentation says how it is driven.
pub struct Hub {
    times: Times,
    apps: Vec<AppFeatures>,
    directory: Option<Directory>,
    stage: Stage,
    sessions: Sessions,
    /// Streams that were told to end and have not yet.
    ending: BTreeSet<StreamId>,
    timers: Timers<Due>,
    calls: Calls,
    channels: Channels,
    pushes: PushFanOut,
    quotas: InviteQuotas,
    look_ups: LookUps,
    /// The number of the call that ended last.
    last_number: u64,
    /// What was sent last: the invite of a group is the same for everybody in it.
    encoded: Option<(ServerBody, Bytes)>,
    rng: ChaCha12Rng,
    /// Up to here it was found out whether nobody could be heard.
    discounted_until: Time,
    counters: Counters,
    outputs: VecDeque<Output>,
}

/// The users of the one app that names them all.
struct Directory {
    app: AppNo,
    users: BTreeSet<UserId>,
}

/// How far the hub has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Serving,
    /// The calls that run go on; no new ones are opened.
    Draining,
    /// Everybody was told that the server stops; their streams are waited for.
    Stopping,
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
    /// A hub that goes on with the calls of before and counts on from the number that was given last. The seed is to be random: the names
    /// of sessions come from it, and knowing one is proof.
    pub fn new(config: HubConfig, seed: [u8; 32], calls: Vec<RestoredCall>, last_number: u64, now: Now) -> Self {
        let arbiter = ArbiterConfig {
            liveness_ms: config.call_liveness_ms.into(),
            resume_window_ms: config.resume_window_ms.into(),
            tombstone_ms: config.call_tombstone_ms.into(),
            ..ArbiterConfig::default()
        };
        let calls_config = CallsConfig {
            arbiter,
            per_device: config.max_calls_per_device,
            quiet_until: now.mono + u64::from(config.resume_window_ms) + 15_000,
        };
        let channels =
            ChannelsConfig { per_device: config.max_channels_per_device, rejoin_ms: config.resume_window_ms.into() };
        let mut rng = ChaCha12Rng::from_seed(seed);
        let mut hub = Self {
            times: Times {
                ping_every: config.ping_every_ms,
                silence_limit: config.silence_limit_ms,
                resume_window: config.resume_window_ms,
                ack_delay: config.ack_delay_ms.into(),
                close_grace: config.close_grace_ms.into(),
                token_leeway: u64::from(config.token_leeway_s) * 1_000,
                token_grace: config.silence_limit_ms.into(),
            },
            apps: config.apps,
            directory: config.directory.map(|app| Directory { app, users: BTreeSet::new() }),
            stage: Stage::Serving,
            sessions: Sessions::default(),
            ending: BTreeSet::new(),
            timers: Timers::new(),
            calls: Calls::new(calls_config, rng.next_u64()),
            channels: Channels::new(channels),
            pushes: PushFanOut::default(),
            quotas: InviteQuotas::new(config.invites, rng.next_u64()),
            look_ups: LookUps::default(),
            last_number,
            encoded: None,
            rng,
            discounted_until: now.mono,
            counters: Counters::default(),
            outputs: VecDeque::new(),
        };
        for RestoredCall { app, snapshot } in calls {
            hub.calls.restore(now, app, snapshot);
        }
        hub.expect_silence(now);
        hub.pass_on(now);
        hub
    }

    /// Takes up what happened; what is to be done about it comes out of [`Hub::poll_output`].
    pub fn handle_input(&mut self, now: Now, input: Input) {
        if self.stage == Stage::Stopping {
            return self.handle_last_input(now, input);
        }
        self.look_for_stall(now);
        match input {
            Input::SignedIn { stream, identity, resume, stun_server } => {
                self.on_signed_in(now, stream, identity, resume, stun_server);
            }
            Input::Frame { stream, seq, ack, body, is_admitted } => {
                self.on_frame(now, stream, seq, ack, body, is_admitted);
            }
            Input::Unsound { stream, reason, detail } => self.on_unsound(now, stream, reason, detail),
            Input::StreamEnded(stream) => self.on_stream_ended(now, stream),
            Input::TooSlow(stream) => self.on_too_slow(now, stream),
            Input::Heard { anybody, streams } => self.on_heard(now, anybody, &streams),
            Input::AccessRenewed { stream, until, mark } => self.on_access_renewed(stream, until, mark),
            Input::Requested { id, request } => self.on_request(now, id, request),
            Input::Delivery(delivery) => self.on_delivery(now, &delivery),
            Input::Found { id, found } => self.on_found(now, id, found),
            Input::Registered(user) => self.on_registered(user),
            Input::Draining => self.stage = Stage::Draining,
            Input::Stopping => self.on_stopping(now),
            Input::Wake => self.on_wake(now),
        }
        self.pass_on(now);
    }

    /// What is to be done next, if anything.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Wake`] is to come at the latest.
    pub fn next_wake(&self) -> Option<Time> {
        match self.stage {
            Stage::Serving | Stage::Draining => {
                [self.timers.next(), self.calls.next_wake(), self.channels.next_wake()].into_iter().flatten().min()
            }
            Stage::Stopping => self.timers.next(),
        }
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        Counters {
            sessions: self.sessions.len(),
            calls: self.calls.running(),
            channels: self.channels.count(),
            members: self.channels.members(),
            limit_keys: self.quotas.keys(),
            ..self.counters
        }
    }

    fn on_wake(&mut self, now: Now) {
        self.calls.on_wake(now);
        self.channels.on_wake(now);
        while let Some((_, due)) = self.timers.pop_due(now.mono) {
            match due {
                Due::Acknowledge(key) => self.on_acknowledgement_due(key),
                Due::ResumeWindow(key) => {
                    let window = u64::from(self.times.resume_window);
                    let lost_at = self.sessions.get(key).and_then(|session| session.lost_at);
                    if lost_at.is_some_and(|at| now.mono >= at + window) {
                        info!(session = key.0, "not resumed");
                        self.end_session(now, key, None, LeaveReason::Dropped);
                    }
                }
                Due::Unheard(key) => self.look_whom_it_reached(now, key, true),
                Due::Away(key, user) => self.look_for_devices(key, user),
                Due::Unalerted(key, user) => self.look_who_alerted(key, user),
                Due::Silence => self.outputs.push_back(Output::AskWhoWasHeard),
                Due::Cut(stream) => self.cut(stream),
            }
        }
    }

    /// Carries out what calls and channels want.
    fn pass_on(&mut self, now: Now) {
        loop {
            if let Some(output) = self.calls.poll_output() {
                self.carry_out(now, output);
            } else if let Some(output) = self.channels.poll_output() {
                self.send_to(now, &output.to, ServerBody::Channel(output.event));
            } else {
                return;
            }
        }
    }

    fn carry_out(&mut self, now: Now, output: CallOutput) {
        match output {
            CallOutput::Send { app, to, message } => self.route(now, app, to, message),
            CallOutput::Save(key, snapshot) => self.outputs.push_back(Output::Store(Change::Save(key, snapshot))),
            CallOutput::Forget(key) => self.outputs.push_back(Output::Store(Change::Forget(key))),
            CallOutput::Opened(opened) => self.on_opened(now, *opened),
            CallOutput::Answered(key, winner) => self.end_ring(now, key, Some(&winner)),
            CallOutput::Ended(ended) => self.on_ended(now, &ended),
            CallOutput::Fact(fact) => self.note_fact(fact),
        }
    }

    fn note_fact(&mut self, fact: CallFact) {
        let fact = match fact {
            CallFact::Opened => {
                self.counters.calls_opened += 1;
                return;
            }
            CallFact::Arbiter(ArbiterFact::Ringing { .. }) => return,
            CallFact::Refused(refusal) => Fact::InviteRefused(refusal),
            CallFact::Arbiter(ArbiterFact::Answered { ring_ms, .. }) => {
                self.counters.calls_answered += 1;
                Fact::Answered { ring_ms }
            }
            CallFact::Arbiter(ArbiterFact::Ended { caller_reason, .. }) => Fact::Ended(caller_reason),
        };
        self.outputs.push_back(Output::Fact(fact));
    }

    fn on_registered(&mut self, user: UserId) {
        if let Some(directory) = &mut self.directory {
            directory.users.insert(user);
        }
    }

    /// What an app wants; nothing for one that is not in the configuration.
    fn features(&self, app: AppNo) -> AppFeatures {
        self.apps.get(usize::from(app.0)).copied().unwrap_or_default()
    }
}
