//! The calls of a signed-in device: what each input makes of them, and what is to be done about it.

mod invite;
mod ring;
mod accept;
mod media;
mod end;

mod audio;
mod call_state;
mod channel;
mod commands;
mod connections;
mod microphone;
mod network;
mod own_calls;
mod server;

use std::collections::{BTreeMap, VecDeque};

use call_protocol::session::ClientBody;
use call_protocol::{CallId, Uid};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use signaling::{Address, ArbiterConfig, Desk, LineConfig, Now, Time};

use crate::app_call::AppCalls;
use crate::call_media::CallMedia;
use crate::command::Response;
use crate::device_choice::DeviceChoice;
use crate::error::CallError;
use crate::event::{CallEvent, KitEvent};
use crate::ids::{AudioDeviceId, CallKey, CommandId, PathId, RequestId};
use crate::input::Input;
use crate::output::{DesiredAudio, Output};
use crate::requests::{AccessToken, Answer, Question};
use crate::session::{ServerEvent, Session, SessionOutput};
use crate::settings::Settings;
use crate::snapshot::CallSnapshot;

/// How long a device of one call waits for the server when that is over, to say so, in ms.
const SHUTDOWN_GRACE_MS: u64 = 15_000;

/// The calls of a signed-in device. See the [crate docs](crate) for its door.
pub struct Engine {
    settings: Settings,
    desk: Desk,
    session: Session,
    /// What the session has told, until it is looked at.
    server_events: VecDeque<ServerEvent>,
    random: ChaCha20Rng,
    now: Time,
    /// What the server's wall clock showed at time zero, in ms.
    epoch_unix_ms: u64,
    connected: bool,
    was_connected: bool,
    /// The server does not sign this device in any more.
    is_signed_out: bool,
    stun_servers: Vec<String>,
    initialized: bool,
    calls: BTreeMap<CallId, CallMedia>,
    app_calls: AppCalls,
    audio: Audio,
    questions: BTreeMap<RequestId, Asked>,
    last_request: u64,
    last_path: u64,
    /// When the desk wants to be woken.
    wake: Option<Time>,
    /// Until when a device whose one call is over waits for the server.
    shutdown_at: Option<Time>,
    is_finished: bool,
    outputs: VecDeque<Output>,
}

/// What is known of the sound beside the calls.
struct Audio {
    /// The calls to come begin muted.
    muted: bool,
    speaker: bool,
    /// The app has said that its audio session is active.
    is_active: bool,
    microphone: DeviceChoice,
    loudspeaker: DeviceChoice,
    /// What was last said of how it is to be.
    desired: Option<DesiredAudio>,
    /// What could not be had. It is not tried again until something else is wanted.
    failed: Option<DesiredAudio>,
    /// The sound has failed, and the calls that need it are being given up.
    is_given_up: bool,
    last_session: u64,
    /// The number of the end tone that is being played, although no call has the devices any more.
    end_tone: Option<u64>,
    last_end_tone: u64,
}

/// A question that waits for its answer.
enum Asked {
    AccessToken,
    RtcToken(CallId),
    User { call_id: CallId, uid: Uid },
}

/// Where the figures of a call come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FigureSource {
    /// The path to the other end.
    pub path: PathId,
    /// The call is on hold here: the audio engine's figures are not its own.
    pub held: bool,
}

impl Engine {
    /// The calls of a device that is about to sign in.
    pub fn new(settings: Settings) -> Engine {
        let me = settings.me.clone();
        let arbiter = if settings.has_chat { Address::Device(me.clone()) } else { Address::Server };
        let line = LineConfig { arbiter, second_call: settings.second_call, ..LineConfig::default() };
        Engine {
            desk: Desk::new(me, line, ArbiterConfig::default()),
            session: Session::new(&settings),
            server_events: VecDeque::new(),
            random: ChaCha20Rng::from_seed(settings.seed),
            settings,
            now: Time(0),
            epoch_unix_ms: 0,
            connected: false,
            was_connected: false,
            is_signed_out: false,
            stun_servers: Vec::new(),
            initialized: false,
            calls: BTreeMap::new(),
            app_calls: AppCalls::default(),
            audio: Audio {
                muted: false,
                speaker: true,
                is_active: false,
                microphone: DeviceChoice::new(),
                loudspeaker: DeviceChoice::new(),
                desired: None,
                failed: None,
                is_given_up: false,
                last_session: 0,
                end_tone: None,
                last_end_tone: 0,
            },
            questions: BTreeMap::new(),
            last_request: 0,
            last_path: 0,
            wake: None,
            shutdown_at: None,
            is_finished: false,
            outputs: VecDeque::new(),
        }
    }

    /// The door in. Time never goes back; the wall clock by which calls ring is the server's, and comes in with what it says.
    pub fn handle_input(&mut self, now: Time, input: Input) {
        if self.is_finished {
            return;
        }
        let (due, session_due) = (self.deadline(), self.session.next_wake());
        self.now = self.now.max(now);
        self.session.check_stall(self.now, session_due);
        self.check_stall(due);
        match input {
            Input::Command { id, command } => self.on_command(id, command),
            Input::HandlesDropped => self.on_handles_dropped(),
            Input::Stream { stream, notice } => self.session.on_stream(self.now, stream, notice),
            Input::AccessHandler => self.session.on_access_handler(self.now),
            Input::Chat { from, message } => {
                self.give(signaling::Input::Message { from: Address::Device(from), message });
            }
            Input::Path { path, notice } => self.on_path(path, notice),
            Input::Audio { session, notice } => self.on_audio(session, notice),
            Input::Answer { request, answer } => self.on_answer(request, answer),
            Input::NetworkChanged { is_stream_gone } => self.on_network_changed(is_stream_gone),
            Input::Wake => self.on_wake(),
        }
        self.follow_session();
        while let Some(event) = self.server_events.pop_front() {
            self.on_server(event);
        }
        if self.is_finished {
            return;
        }
        self.check_asked_calls();
        self.check_peer_networks();
        self.update_audio();
        self.update_tracks();
        if self.is_done() {
            self.finish();
        }
    }

    /// The door out: to be called until it gives `None` after each input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Wake`] is to come in at the latest, if nothing else does.
    pub fn next_wake(&self) -> Option<Time> {
        let levels = self.app_calls.iter().filter_map(|call| call.levels_at);
        let next = self.deadline().into_iter().chain(self.session.next_wake()).chain(levels);
        next.filter(|_| !self.is_finished).min()
    }

    /// When something is due. Levels are no such thing: nobody is kept waiting by them.
    fn deadline(&self) -> Option<Time> {
        let media = self.calls.values().filter_map(CallMedia::deadline);
        let asked = self.app_calls.iter().filter_map(|call| call.give_up);
        self.wake.into_iter().chain(media).chain(asked).chain(self.shutdown_at).min()
    }

    fn on_wake(&mut self) {
        let now = self.now;
        self.session.on_wake(now);
        self.wake = self.wake.filter(|time| *time > now);
        self.give(signaling::Input::Wake);
        self.check_connections();
        self.emit_levels();
    }

    fn on_answer(&mut self, request: RequestId, answer: Answer) {
        match (self.questions.remove(&request), answer) {
            (Some(Asked::RtcToken(call_id)), Answer::RtcToken(token)) => self.on_token(call_id, token),
            (Some(Asked::User { call_id, uid }), Answer::User(users)) => self.on_users(call_id, uid, users),
            (Some(Asked::AccessToken), Answer::AccessToken(token)) => {
                self.session.on_access_token(self.now, token.map(|token| token.0));
            }
            (
                Some(Asked::RtcToken(_) | Asked::User { .. } | Asked::AccessToken),
                Answer::RtcToken(_) | Answer::User(_) | Answer::AccessToken(_),
            ) => tracing::warn!(?request, "an answer to another question"),
            (None, Answer::RtcToken(_) | Answer::User(_) | Answer::AccessToken(_)) => {}
        }
    }

    fn on_handles_dropped(&mut self) {
        // Nobody needs a handle of a call that is over, but its server is still to hear that it is.
        if !self.is_over() {
            self.finish();
        }
    }

    /// Whether it is a device of one call, and that is over.
    fn is_over(&self) -> bool {
        self.settings.one_call && self.app_calls.had_own() && !self.app_calls.has_own()
    }

    /// Whether it is, and the server can be told so; or the server has signed the device out.
    fn is_done(&mut self) -> bool {
        if self.is_signed_out {
            return true;
        }
        if !self.is_over() {
            return false;
        }
        let until = *self.shutdown_at.get_or_insert(self.now + SHUTDOWN_GRACE_MS);
        self.connected || self.now >= until
    }

    /// Ends whatever there is.
    fn finish(&mut self) {
        self.end_present_calls();
        self.release_audio();
        self.close_app_calls();
        self.session.close();
        self.follow_session();
        self.is_finished = true;
        self.outputs.push_back(Output::Finished);
    }

    /// The present, by the clock of the server.
    fn server_now(&self) -> Now {
        Now { mono: self.now, unix_ms: self.epoch_unix_ms + self.now.0 }
    }

    /// The server's wall clock shows this. It may be set, and this device's own clock may run fast or slow.
    fn set_server_clock(&mut self, server_unix_ms: u64) {
        self.epoch_unix_ms = server_unix_ms.saturating_sub(self.now.0);
    }

    fn random_call_id(&mut self) -> CallId {
        let (high, low) = (self.random.next_u64(), self.random.next_u64());
        CallId::from_bits(u128::from(high) << 64 | u128::from(low))
    }

    fn ask(&mut self, asked: Asked, question: Question) {
        self.last_request += 1;
        let request = RequestId(self.last_request);
        self.questions.insert(request, asked);
        self.outputs.push_back(Output::Ask { request, question });
    }

    fn reply(&mut self, id: CommandId, response: Response) {
        self.outputs.push_back(Output::Reply { id, response });
    }

    fn send(&mut self, body: ClientBody) {
        self.session.send(self.now, body);
        self.follow_session();
    }

    /// Passes on what the session says. What it tells is looked at once the present input is dealt with.
    fn follow_session(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                SessionOutput::Connect { stream, hello } => self.outputs.push_back(Output::Connect { stream, hello }),
                SessionOutput::Send { stream, frame } => self.outputs.push_back(Output::Send { stream, frame }),
                SessionOutput::Disconnect(stream) => self.outputs.push_back(Output::Disconnect { stream }),
                SessionOutput::AskAccessToken => self.ask(Asked::AccessToken, Question::AccessToken),
                SessionOutput::AccessToken(token) => self.outputs.push_back(Output::AccessToken(AccessToken(token))),
                SessionOutput::Event(event) => self.server_events.push_back(event),
            }
        }
    }

    fn emit(&mut self, event: KitEvent) {
        self.outputs.push_back(Output::Emit(event));
    }

    fn emit_error(&mut self, call_id: Option<CallId>, error: CallError) {
        self.emit(KitEvent::Error { call_id, error });
    }

    /// Tells the own handler of a call, where it has one.
    fn emit_call(&mut self, call_id: CallId, event: CallEvent) {
        if let Some(call) = self.app_calls.get(call_id).filter(|call| call.is_own()) {
            self.outputs.push_back(Output::EmitCall { call: call.key, event });
        }
    }

    /// Changes what handles of a call can read.
    fn note(&mut self, call_id: CallId, change: impl FnOnce(&mut CallSnapshot)) {
        let Some(call) = self.app_calls.get_mut(call_id) else { return };
        let before = call.snapshot.clone();
        change(&mut call.snapshot);
        if call.snapshot != before {
            let (call, snapshot) = (call.key, call.snapshot.clone());
            self.outputs.push_back(Output::CallSnapshot { call, snapshot });
        }
    }
}

/// What the shell may ask.
impl Engine {
    /// Whether there is this call, and it is more than asked about.
    pub fn has_call(&self, call_id: CallId) -> bool {
        self.calls.contains_key(&call_id)
    }

    /// The call of this key.
    pub fn call_of(&self, call: CallKey) -> Option<CallId> {
        self.app_calls.find(call)
    }

    /// Where the figures of a call come from; `None` before it has a path.
    pub fn figure_source(&self, call_id: CallId) -> Option<FigureSource> {
        let media = self.calls.get(&call_id)?;
        Some(FigureSource { path: media.open_path()?, held: media.held })
    }

    /// The call that has the audio devices: the running one that is not on hold.
    pub fn sounding(&self) -> Option<CallId> {
        self.calls.values().find(|media| media.peer.is_some() && !media.held).map(|media| media.call_id)
    }

    /// The microphone that is used.
    pub fn microphone(&self) -> AudioDeviceId {
        self.audio.microphone.chosen()
    }

    /// Whether a microphone of the app may still be used.
    pub fn uses_microphone(&self, device: AudioDeviceId) -> bool {
        self.audio.microphone.uses(device)
    }

    /// Whether a loudspeaker of the app may still be used.
    pub fn uses_loudspeaker(&self, device: AudioDeviceId) -> bool {
        self.audio.loudspeaker.uses(device)
    }
}
