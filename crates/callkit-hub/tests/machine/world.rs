//! A hub, its devices, and everything that a shell does for it, without waiting for anything.

use std::collections::{BTreeMap, VecDeque};

use call_protocol::account::PushAddress;
use call_protocol::media::{ChannelEventBody, ChannelRequest, ChannelRequestBody};
use call_protocol::session::{RefuseReason, Resume, ServerBody, ServerFrame};
use call_protocol::{CallId, CallMessage, ChannelId, DeviceId, Party, UserId, wire};
use callkit_hub::{
    AppNo, CallKey, CallRecord, Change, Found, Frame, FrameBody, Hub, HubConfig, Identity, Input, KnownDevice,
    LookUpId, Output, Push, Query, Reply, Request, RequestId, RestoredCall, StreamId, Webhook,
};
use signaling::{Address, ArbiterSnapshot, Command, Event, Line, LineConfig, Now, Time};

pub const APP: AppNo = AppNo(0);

/// Everything in one place; a test drives it by what people do.
pub struct World {
    pub config: HubConfig,
    pub hub: Hub,
    pub now_ms: u64,
    pub devices: Vec<Device>,
    pub store: Stored,
    pub pushes: Vec<Push>,
    pub webhooks: Vec<Webhook>,
    pub replies: Vec<Reply>,
    /// What went to streams that are no phone's.
    pub strays: Vec<(StreamId, ServerBody)>,
    /// Every output as text, to compare one run with another.
    pub transcript: Vec<String>,
    streams: u64,
    requests: u64,
}

/// What outlives a hub.
#[derive(Default)]
pub struct Stored {
    pub calls: BTreeMap<CallKey, ArbiterSnapshot>,
    pub records: Vec<CallRecord>,
    pub known: BTreeMap<Party, KnownDevice>,
    /// What is looked up is found when the test says so.
    pub is_slow: bool,
    waiting: Vec<(LookUpId, Query)>,
}

/// A phone: its line, and its end of the session.
pub struct Device {
    pub party: Party,
    pub line: Line,
    pub stream: Option<StreamId>,
    pub session: Option<String>,
    pub events: Vec<Event>,
    pub channel_events: Vec<ChannelEventBody>,
    pub refused: Option<RefuseReason>,
    pub resumed: bool,
    wake: Option<Time>,
    sent: u64,
    received: u64,
    unacknowledged: VecDeque<(u64, CallMessage)>,
}

pub fn party(user: &str, device: &str) -> Party {
    Party { user: UserId::new(user).unwrap(), device: DeviceId::new(device).unwrap() }
}

impl World {
    pub fn new(config: HubConfig, seed: u8) -> World {
        let now = Now { mono: Time(0), unix_ms: 1_700_000_000_000 };
        World {
            hub: Hub::new(config.clone(), [seed; 32], Vec::new(), 0, now),
            config,
            now_ms: 0,
            devices: Vec::new(),
            store: Stored::default(),
            pushes: Vec::new(),
            webhooks: Vec::new(),
            replies: Vec::new(),
            strays: Vec::new(),
            transcript: Vec::new(),
            streams: 0,
            requests: 0,
        }
    }

    pub fn now(&self) -> Now {
        Now { mono: Time(self.now_ms), unix_ms: 1_700_000_000_000 + self.now_ms }
    }

    /// A phone that is not signed in.
    pub fn phone(&mut self, user: &str, device: &str) -> usize {
        let party = party(user, device);
        let line = Line::new(party.clone(), LineConfig::default());
        self.devices.push(Device {
            party,
            line,
            stream: None,
            session: None,
            events: Vec::new(),
            channel_events: Vec::new(),
            refused: None,
            resumed: false,
            wake: None,
            sent: 0,
            received: 0,
            unacknowledged: VecDeque::new(),
        });
        self.devices.len() - 1
    }

    /// Signs in, or goes on with the session of before.
    pub fn sign_in(&mut self, phone: usize) {
        self.streams += 1;
        let stream = StreamId(self.streams);
        let device = &mut self.devices[phone];
        device.stream = Some(stream);
        let resume = device.session.clone().map(|session| Resume { session, received: device.received });
        let (app, party) = (APP, device.party.clone());
        let identity = Identity { app, party, bound: None, woken: None, for_one_call: false, mark: None, access: None };
        self.give(Input::SignedIn { stream, identity, resume, stun_server: "stun:h:1".into() });
    }

    /// The stream of a phone breaks.
    pub fn lose(&mut self, phone: usize) {
        if let Some(stream) = self.devices[phone].stream.take() {
            self.give(Input::StreamEnded(stream));
        }
    }

    /// A phone signs out.
    pub fn say_goodbye(&mut self, phone: usize) {
        let device = &mut self.devices[phone];
        let (stream, ack) = (device.stream.unwrap(), device.received);
        device.session = None;
        self.give(Input::Frame { stream, seq: 0, ack, body: Some(FrameBody::Goodbye), is_admitted: false });
    }

    /// Everything that is being looked up is found.
    pub fn find(&mut self) {
        for (id, query) in std::mem::take(&mut self.store.waiting) {
            let found = self.store.look_up(&query);
            self.give(Input::Found { id, found });
        }
    }

    /// A phone asks something of a channel, without a token.
    pub fn ask_channel(&mut self, phone: usize, channel: ChannelId, body: ChannelRequestBody) {
        let device = &mut self.devices[phone];
        device.sent += 1;
        let (stream, seq, ack) = (device.stream.unwrap(), device.sent, device.received);
        let body = Some(FrameBody::Channel(ChannelRequest { channel, body }, None));
        self.give(Input::Frame { stream, seq, ack, body, is_admitted: false });
    }

    pub fn command(&mut self, phone: usize, command: Command) {
        let now = self.now();
        self.devices[phone].line.handle_input(now, signaling::Input::Command(command)).unwrap();
        self.settle();
    }

    pub fn calls(&mut self, phone: usize, user: &str, call_id: CallId) {
        let callees = vec![UserId::new(user).unwrap()];
        let call_type = call_protocol::invite::CallType::Audio1v1;
        let (ext, ring_timeout_ms, options) = (Default::default(), 30_000, Default::default());
        self.command(phone, Command::Invite { call_id, callees, call_type, ext, ring_timeout_ms, options });
    }

    pub fn ask(&mut self, request: Request) -> Reply {
        self.requests += 1;
        self.give(Input::Requested { id: RequestId(self.requests), request });
        self.replies.pop().unwrap()
    }

    /// Lets so much time pass, from wake to wake.
    pub fn pass(&mut self, ms: u64) {
        let until = self.now_ms + ms;
        loop {
            let lines = self.devices.iter().filter_map(|device| device.wake);
            let next = lines.chain(self.hub.next_wake()).min().filter(|next| next.0 <= until);
            let Some(next) = next else { break };
            self.now_ms = self.now_ms.max(next.0);
            let now = self.now();
            for device in self.devices.iter_mut().filter(|device| device.wake.is_some_and(|at| at <= now.mono)) {
                device.wake = None;
                device.line.handle_input(now, signaling::Input::Wake).unwrap();
            }
            self.give(Input::Wake);
        }
        self.now_ms = until;
        self.give(Input::Wake);
    }

    /// The server is started anew with what it stored; nobody is connected.
    pub fn restart(&mut self) {
        for device in &mut self.devices {
            device.stream = None;
        }
        let calls = self.store.calls.iter();
        let calls = calls.map(|(key, snapshot)| RestoredCall { app: key.app, snapshot: snapshot.clone() }).collect();
        let last = self.store.records.iter().map(|record| record.number).max().unwrap_or(0);
        self.hub = Hub::new(self.config.clone(), [99; 32], calls, last, self.now());
    }

    pub fn give(&mut self, input: Input) {
        self.hub.handle_input(self.now(), input);
        self.settle();
    }

    /// Carries out everything that anybody wants until nobody wants anything.
    fn settle(&mut self) {
        loop {
            if let Some(output) = self.hub.poll_output() {
                self.transcript.push(format!("{} {output:?}", self.now_ms));
                self.perform(output);
            } else if !self.devices_speak() {
                return;
            }
        }
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Send { stream, frame } => self.deliver(stream, frame),
            Output::Close { stream, refusal } => {
                if let Some(refusal) = refusal {
                    self.deliver(stream, refusal);
                }
                for device in self.devices.iter_mut().filter(|device| device.stream == Some(stream)) {
                    device.stream = None;
                }
                self.hub.handle_input(self.now(), Input::StreamEnded(stream));
            }
            Output::Cut(stream) => self.hub.handle_input(self.now(), Input::StreamEnded(stream)),
            Output::Reply { reply, .. } => self.replies.push(reply),
            Output::Store(change) => self.store.apply(change),
            Output::LookUp { id, query } => {
                self.store.waiting.push((id, query));
                if !self.store.is_slow {
                    self.find();
                }
            }
            Output::Webhook(webhook) => self.webhooks.push(*webhook),
            Output::Push(push) => self.pushes.push(*push),
            Output::AskWhoWasHeard => {
                let streams: Vec<_> = self.devices.iter().filter_map(|device| device.stream).collect();
                let streams = streams.into_iter().map(|stream| (stream, self.now().mono)).collect();
                let heard = Input::Heard { anybody: self.now().mono, streams };
                self.hub.handle_input(self.now(), heard);
            }
            Output::RingBegan(_)
            | Output::RingEnded(_)
            | Output::SessionBegan(_)
            | Output::SessionEnded(_)
            | Output::Stalled { .. }
            | Output::Fact(_) => {}
        }
    }

    fn deliver(&mut self, stream: StreamId, frame: Frame) {
        let now = self.now();
        let ServerFrame { seq, ack, body } = read(&frame);
        let Some(device) = self.devices.iter_mut().find(|device| device.stream == Some(stream)) else {
            return self.strays.extend(body.map(|body| (stream, body)));
        };
        device.unacknowledged.retain(|(seq, _)| *seq > ack);
        if seq > 0 {
            assert!(seq <= device.received + 1, "a frame is missing before {seq}");
            if seq <= device.received {
                return;
            }
            device.received = seq;
        }
        match body {
            Some(ServerBody::Welcome(welcome)) => {
                device.resumed = welcome.resumed;
                if welcome.resumed {
                    device.unacknowledged.retain(|(seq, _)| *seq > welcome.received);
                } else {
                    (device.sent, device.received) = (0, 0);
                    device.unacknowledged.clear();
                }
                device.session = Some(welcome.session);
                let again: Vec<_> = device.unacknowledged.iter().cloned().collect();
                let ack = device.received;
                device.line.handle_input(now, signaling::Input::Connected).unwrap();
                for (seq, message) in again {
                    let body = Some(FrameBody::Call(message));
                    self.hub.handle_input(now, Input::Frame { stream, seq, ack, body, is_admitted: true });
                }
            }
            Some(ServerBody::Call(message)) => {
                let from = Address::Server;
                device.line.handle_input(now, signaling::Input::Message { from, message }).unwrap();
            }
            Some(ServerBody::Refuse(refuse)) => device.refused = Some(refuse.reason),
            Some(ServerBody::Channel(event)) => device.channel_events.push(event.body),
            Some(ServerBody::Pong { .. } | ServerBody::Access(_)) | None => {}
        }
    }

    /// Whether any line had something to say.
    fn devices_speak(&mut self) -> bool {
        let now = self.now();
        let mut frames = Vec::new();
        let mut spoke = false;
        for device in &mut self.devices {
            while let Some(output) = device.line.poll_output() {
                spoke = true;
                match output {
                    signaling::Output::Send { message, .. } => {
                        let Some(stream) = device.stream else { continue };
                        device.sent += 1;
                        device.unacknowledged.push_back((device.sent, message.clone()));
                        frames.push((stream, device.sent, device.received, message));
                    }
                    signaling::Output::Direct { .. } => {}
                    signaling::Output::Tell(event) => device.events.push(event),
                    signaling::Output::WakeAt(at, _) => device.wake = Some(at),
                }
            }
        }
        for (stream, seq, ack, message) in frames {
            let body = Some(FrameBody::Call(message));
            self.hub.handle_input(now, Input::Frame { stream, seq, ack, body, is_admitted: true });
        }
        spoke
    }
}

impl Stored {
    /// A push reaches this device.
    pub fn reach(&mut self, party: Party) {
        let device = party.device.clone();
        let push = Some(PushAddress::Fcm { token: "token".into() });
        self.known.insert(party, KnownDevice { device, knows: 0, push });
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Save(key, snapshot) => drop(self.calls.insert(key, *snapshot)),
            Change::Forget(key) => drop(self.calls.remove(&key)),
            Change::Record(_, record) => self.records.push(*record),
            Change::Seen { party, knows, .. } => {
                let device = party.device.clone();
                self.known.entry(party).or_insert(KnownDevice { device, knows: 0, push: None }).knows = knows;
            }
        }
    }

    fn look_up(&self, query: &Query) -> Found {
        match query {
            Query::DevicesToPush { user, .. } | Query::Devices { user, .. } => {
                let of_user = self.known.iter().filter(|(party, _)| party.user == *user);
                Found::Devices(Some(of_user.map(|(_, known)| known.clone()).collect()))
            }
            Query::Missed { user, after, .. } => {
                let missed = self.records.iter().filter(|call| call.missed && call.callee == *user);
                Found::Missed(Some(missed.filter(|call| call.number > *after).cloned().collect()))
            }
        }
    }
}

/// The frame as it comes out of the wire.
fn read(frame: &Frame) -> ServerFrame {
    let head = ServerFrame { seq: frame.seq, ack: frame.ack, body: None };
    let bytes = [wire::encode_server_frame(&head), frame.body.to_vec()].concat();
    wire::decode_server_frame(&bytes).unwrap()
}
