//! A device whose server, media paths and app are the test.

use std::time::Duration;

use call_protocol::accept::{Answer, AnswerConfirm, AnswerResult};
use call_protocol::invite::{CallType, Invite};
use call_protocol::media::{ChannelEvent, ChannelEventBody, ChannelRequestBody, Member, TrackState};
use call_protocol::ring::{Alert, RingConfirm};
use call_protocol::session::{ClientBody, ClientFrame, ServerBody, ServerFrame, Welcome};
use call_protocol::{AppId, CallId, CallMessage, DeviceId, Party, Uid, UserId, Word};
use callkit_core::{
    AccessToken, AudioSettings, Command, CommandId, DesiredAudio, Engine, Input, KitEvent, Output, PathId, PathNotice,
    PathState, RequestId, Response, Settings, StreamId, StreamNotice, ToneSet,
};
use signaling::{Role, Time};

/// The server's wall clock at time zero.
pub(crate) const UNIX_MS: u64 = 1_700_000_000_000;

/// A device and everything that it has said.
pub(crate) struct Device {
    pub(crate) engine: Engine,
    pub(crate) now: u64,
    /// What it has said since this was taken last.
    pub(crate) said: Vec<Output>,
    last_command: u64,
    /// The stream that it has now, and the number of the last frame on it.
    pub(crate) stream: StreamId,
    seq: u64,
    /// The server answers pings.
    pub(crate) is_heard: bool,
}

pub(crate) fn party(user: &str, device: &str) -> Party {
    Party { user: UserId::new(user).unwrap(), device: DeviceId::new(device).unwrap() }
}

pub(crate) fn settings() -> Settings {
    Settings {
        me: party("alice", "desk"),
        app_id: AppId::new("demo").unwrap(),
        access_token: AccessToken("first".into()),
        cc_param: String::new(),
        agent: "a test".into(),
        ring_timeout_ms: 30_000,
        second_call: Default::default(),
        has_chat: false,
        has_relay: false,
        warm_path: Default::default(),
        one_call: false,
        audio: AudioSettings {
            waits_for_activation: false,
            allow_without_mic: true,
            tones: ToneSet::default(),
            level_interval: Duration::from_millis(500),
        },
        seed: [7; 32],
    }
}

pub(crate) fn welcome(resumed: bool) -> Welcome {
    Welcome {
        session: "s".into(),
        resumed,
        received: 0,
        server_unix_ms: UNIX_MS,
        ping_every_ms: 3_000,
        silence_limit_ms: 10_000,
        resume_window_ms: 15_000,
        stun_servers: vec!["stun:here:1".into()],
        access_left_ms: None,
    }
}

impl Device {
    /// One that is signed in and ready for calls.
    pub(crate) fn ready(settings: Settings) -> Device {
        let mut device = Device {
            engine: Engine::new(settings),
            now: 0,
            said: Vec::new(),
            last_command: 0,
            stream: StreamId(0),
            seq: 0,
            is_heard: true,
        };
        device.is_welcome(false);
        assert_eq!(device.wants(Command::InitRtc), Response::Done(Ok(())));
        device.said.clear();
        device
    }

    pub(crate) fn on_stream(&mut self, notice: StreamNotice) {
        self.give(Input::Stream { stream: self.stream, notice });
    }

    /// The server takes it in, with the session before or a new one.
    pub(crate) fn is_welcome(&mut self, resumed: bool) {
        if !resumed {
            self.seq = 0;
        }
        self.on_stream(StreamNotice::Opened(welcome(resumed)));
    }

    /// The connection breaks.
    pub(crate) fn breaks(&mut self) {
        self.on_stream(StreamNotice::Ended);
    }

    /// The server has received everything so far.
    pub(crate) fn is_acknowledged(&mut self) {
        self.on_stream(StreamNotice::Received(ServerFrame { seq: 0, ack: u64::MAX, body: None }));
    }

    /// Waits until it connects anew, and takes it in.
    pub(crate) fn comes_back(&mut self, resumed: bool) {
        self.said.clear();
        while !self.connects_to_server() {
            self.pass(10);
        }
        self.said.clear();
        self.is_welcome(resumed);
    }

    /// Whether it has begun to connect.
    pub(crate) fn connects_to_server(&mut self) -> bool {
        let connect = |output: &Output| if let Output::Connect { stream, .. } = output { Some(*stream) } else { None };
        let stream = self.said.iter().rev().find_map(connect);
        self.stream = stream.unwrap_or(self.stream);
        stream.is_some()
    }

    pub(crate) fn says(&mut self, body: ServerBody) {
        self.seq += 1;
        let frame = ServerFrame { seq: self.seq, ack: 0, body: Some(body) };
        self.on_stream(StreamNotice::Received(frame));
    }

    /// What is sent to the server.
    pub(crate) fn frames(&self) -> Vec<ClientFrame> {
        let frame = |output: &Output| if let Output::Send { frame, .. } = output { Some(frame.clone()) } else { None };
        self.said.iter().filter_map(frame).collect()
    }

    pub(crate) fn give(&mut self, input: Input) {
        self.engine.handle_input(Time(self.now), input);
        let mut pings = 0;
        while let Some(output) = self.engine.poll_output() {
            if let Output::Send { frame: ClientFrame { body: Some(ClientBody::Ping { nonce: 0 }), .. }, .. } = &output {
                pings += 1;
            }
            self.said.push(output);
        }
        for _ in 0..if self.is_heard { pings } else { 0 } {
            self.says(ServerBody::Pong { nonce: 0, server_unix_ms: UNIX_MS + self.now });
        }
    }

    /// Lets time pass, and wakes it when it wants that.
    pub(crate) fn pass(&mut self, ms: u64) {
        let until = self.now + ms;
        while let Some(at) = self.engine.next_wake().filter(|at| at.0 <= until) {
            self.now = self.now.max(at.0);
            self.give(Input::Wake);
        }
        self.now = until;
    }

    /// The app wants something that is answered at once.
    pub(crate) fn wants(&mut self, command: Command) -> Response {
        let id = self.commands(command);
        let answer = self.said.iter().position(|output| matches!(output, Output::Reply { id: of, .. } if *of == id));
        let Output::Reply { response, .. } = self.said.remove(answer.unwrap()) else { unreachable!() };
        response
    }

    pub(crate) fn commands(&mut self, command: Command) -> CommandId {
        self.last_command += 1;
        let id = CommandId(self.last_command);
        self.give(Input::Command { id, command });
        id
    }

    /// What it has said since this was asked last.
    pub(crate) fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.said)
    }

    /// What the listeners of the kit were told.
    pub(crate) fn told(&self) -> Vec<KitEvent> {
        let event = |output: &Output| if let Output::Emit(event) = output { Some(event.clone()) } else { None };
        self.said.iter().filter_map(event).collect()
    }

    /// The messages of calls that were sent to the server.
    pub(crate) fn words(&self) -> Vec<Word> {
        let word = |frame: ClientFrame| match frame.body {
            Some(ClientBody::Call(message)) => Some(message.word),
            _ => None,
        };
        self.frames().into_iter().filter_map(word).collect()
    }

    /// What was asked of channels.
    pub(crate) fn channel_requests(&self) -> Vec<ChannelRequestBody> {
        let body = |frame: ClientFrame| match frame.body {
            Some(ClientBody::Channel(request)) => Some(request.body),
            _ => None,
        };
        self.frames().into_iter().filter_map(body).collect()
    }

    pub(crate) fn paths_opened(&self) -> Vec<PathId> {
        let path = |output: &Output| if let Output::OpenPath { path, .. } = output { Some(*path) } else { None };
        self.said.iter().filter_map(path).collect()
    }

    pub(crate) fn questions(&self) -> Vec<RequestId> {
        let ask = |output: &Output| if let Output::Ask { request, .. } = output { Some(*request) } else { None };
        self.said.iter().filter_map(ask).collect()
    }

    /// How the sound is to be, as said last; `None` if nothing was said of it.
    pub(crate) fn audio(&self) -> Option<Option<DesiredAudio>> {
        let audio = |output: &Output| if let Output::Audio(audio) = output { Some(audio.clone()) } else { None };
        self.said.iter().rev().find_map(audio)
    }

    /// Where in what it said the first that is so stands.
    pub(crate) fn place_of(&self, is: impl Fn(&Output) -> bool) -> usize {
        self.said.iter().position(is).unwrap_or_else(|| panic!("{:#?}", self.said))
    }
}

/// What the server says.
impl Device {
    pub(crate) fn hears(&mut self, call_id: CallId, word: Word) {
        self.says(ServerBody::Call(CallMessage { call_id, word }));
    }

    pub(crate) fn hears_of_channel(&mut self, call_id: CallId, body: ChannelEventBody) {
        self.says(ServerBody::Channel(ChannelEvent { channel: call_id.channel(), body }));
    }

    /// Is in the channel, and sees the other one there.
    pub(crate) fn joins(&mut self, call_id: CallId) {
        let members = vec![Member { uid: Uid::new(2).unwrap(), tracks: TrackState::default() }];
        let uid = Uid::new(1).unwrap();
        self.hears_of_channel(call_id, ChannelEventBody::Joined { uid, members, stun_servers: Vec::new() });
    }

    fn ring(&self) -> Word {
        let deadline_unix_ms = UNIX_MS + self.now + 30_000;
        Word::RingConfirm(RingConfirm::Ring { deadline_unix_ms, left_ms: Some(30_000), asked_unix_ms: None })
    }
}

/// A call with Bob.
impl Device {
    /// Calls him; his phone rings.
    pub(crate) fn calls_bob(&mut self) -> CallId {
        let (user, call_type) = (UserId::new("bob").unwrap(), CallType::Audio1v1);
        let started = self.wants(Command::StartCall { user, call_type, ext: Default::default() });
        let Response::Started(Ok(call_id)) = started else { panic!("{started:?}") };
        self.hears(call_id, self.ring());
        self.hears(call_id, Word::Alert(Alert { callee: party("bob", "phone"), asked_unix_ms: None }));
        call_id
    }

    /// He takes it.
    pub(crate) fn bob_answers(&mut self, call_id: CallId) {
        let (callee, result) = (party("bob", "phone"), AnswerResult::Accept);
        let answer = Answer { callee, result, call_type: None, preparation: false, release: None };
        self.hears(call_id, Word::Answer(answer));
    }

    /// He calls; it rings here.
    pub(crate) fn bob_calls(&mut self) -> CallId {
        let call_id = CallId::from_bits(99);
        self.bob_invites(call_id);
        self.hears(call_id, self.ring());
        call_id
    }

    pub(crate) fn bob_invites(&mut self, call_id: CallId) {
        let invite = Invite {
            call_id,
            caller: party("bob", "phone"),
            callees: vec![UserId::new("alice").unwrap()],
            call_type: CallType::Audio1v1,
            channel: call_id.channel(),
            ext: Default::default(),
            ring_timeout_ms: 30_000,
            ring_deadline_unix_ms: UNIX_MS + self.now + 30_000,
            responder_preparation: false,
            app_server_data: String::new(),
        };
        self.hears(call_id, Word::Invite(Box::new(invite)));
    }

    /// The arbiter says that it is this device that has taken his call.
    pub(crate) fn is_confirmed(&mut self, call_id: CallId) {
        let confirm = AnswerConfirm { result: AnswerResult::Accept, winner: party("alice", "desk"), release: None };
        self.hears(call_id, Word::AnswerConfirm(confirm));
    }

    /// The path to him opens and stands.
    pub(crate) fn connects(&mut self, path: PathId) {
        self.give(Input::Path { path, notice: PathNotice::Opened });
        self.give(Input::Path { path, notice: PathNotice::State(PathState::Connected) });
    }

    /// A call with him whose media stands, and its path.
    pub(crate) fn talks(&mut self) -> (CallId, PathId) {
        let call_id = self.calls_bob();
        let path = self.paths_opened()[0];
        self.bob_answers(call_id);
        self.connects(path);
        (call_id, path)
    }

    pub(crate) fn role_of_paths(&self) -> Vec<Role> {
        let role =
            |output: &Output| if let Output::OpenPath { config, .. } = output { Some(config.role) } else { None };
        self.said.iter().filter_map(role).collect()
    }
}
