//! The driver of a kit: one task that gives the machine what comes in and carries out what comes out.

mod outputs;
mod sound;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use call_protocol::CallId;
use call_protocol::disconnect::StartFailReason;
use callkit_core::{
    AudioDeviceId, CallCommand, Command, CommandId, Engine, Input, PathId, Settings, StreamId, StreamNotice,
};
use rtc_media::{AudioInput, AudioOutput};
use rtc_transport::{Interfaces, MediaPath, TurnServer};
use signaling::Time;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tonic::transport::Endpoint;

use self::sound::Sound;
use crate::account::Account;
use crate::call::{Call, CallEventHandler, LiveCalls};
use crate::chat::{Chat, ChatSender};
use crate::link::{RunningStream, Stream, StreamReport, WAITING};
use crate::listeners::Teller;
use crate::network::watch_network;
use crate::peer::Peer;
use crate::report::{REPORTS, Report};
use crate::request::{Reply, Request};
use crate::shutdown::wait_for_listeners;
use crate::supplied::Supplied;

pub(crate) use self::sound::SoundConfig;

/// What a driver works with.
pub(crate) struct Tools {
    pub(crate) endpoint: Endpoint,
    pub(crate) account: Arc<Account>,
    pub(crate) chat: Option<Arc<dyn Chat>>,
    pub(crate) supplied: Arc<Supplied>,
    pub(crate) teller: Teller,
    pub(crate) calls: LiveCalls,
    pub(crate) interfaces: Interfaces,
    pub(crate) turn_servers: Vec<TurnServer>,
    pub(crate) input: AudioInput,
    pub(crate) output: AudioOutput,
    pub(crate) sound: SoundConfig,
}

/// Where a driver hears from.
struct Sources {
    requests: mpsc::UnboundedReceiver<Request>,
    streams: mpsc::Receiver<StreamReport>,
    reports: mpsc::Receiver<Report>,
}

/// A machine and everything that carries out what it says.
struct Driver {
    engine: Engine,
    epoch: Instant,
    endpoint: Endpoint,
    account: Arc<Account>,
    stream: Option<RunningStream>,
    chat: Option<ChatSender>,
    reports: mpsc::Sender<Report>,
    stream_reports: mpsc::Sender<StreamReport>,
    supplied: Arc<Supplied>,
    teller: Teller,
    calls: LiveCalls,
    interfaces: Interfaces,
    turn_servers: Vec<TurnServer>,
    sound: Sound,
    paths: BTreeMap<PathId, RunningPath>,
    commands: BTreeMap<CommandId, Waiting>,
    last_command: u64,
    /// What came of an output at once; given to the machine when all of its outputs are carried out.
    inputs: VecDeque<Input>,
    is_finished: bool,
}

/// A media path and its task.
struct RunningPath {
    peer: Peer,
    /// Once it is open.
    media: Option<MediaPath>,
}

/// Who waits for a command.
enum Waiting {
    Nobody,
    Done(Reply<()>),
    Started(Reply<CallId>),
    /// For a call with this handler; the call is there before the answer.
    Begun {
        handler: Option<Arc<dyn CallEventHandler>>,
        keeps_statistics: bool,
        call: Option<Call>,
        reply: oneshot::Sender<Result<Call, StartFailReason>>,
    },
    Adopted {
        handler: Option<Arc<dyn CallEventHandler>>,
        reply: Reply<()>,
    },
    Released(oneshot::Sender<()>),
}

/// Starts the driver of a device that has signed in on this stream.
pub(crate) fn start(settings: Settings, tools: Tools, requests: mpsc::UnboundedReceiver<Request>, stream: Stream) {
    let (stream_reports, streams) = mpsc::channel(WAITING);
    let (report, reports) = mpsc::channel(REPORTS);
    tokio::spawn(watch_network(tools.interfaces.clone(), report.clone()));
    let mut driver = Driver::new(settings, tools, report, stream_reports);
    driver.begin(stream);
    tokio::spawn(driver.run(Sources { requests, streams, reports }));
}

impl Driver {
    fn new(
        settings: Settings,
        tools: Tools,
        reports: mpsc::Sender<Report>,
        stream_reports: mpsc::Sender<StreamReport>,
    ) -> Driver {
        let Tools { endpoint, account, chat, supplied, teller, calls, interfaces, turn_servers, .. } = tools;
        let chat = chat.map(|chat| ChatSender::start(chat, &settings.me, reports.clone()));
        Driver {
            engine: Engine::new(settings),
            epoch: Instant::now(),
            endpoint,
            account,
            stream: None,
            chat,
            reports,
            stream_reports,
            supplied,
            teller,
            calls,
            interfaces,
            turn_servers,
            sound: Sound::new(tools.sound, tools.input, tools.output),
            paths: BTreeMap::new(),
            commands: BTreeMap::new(),
            last_command: 0,
            inputs: VecDeque::new(),
            is_finished: false,
        }
    }

    /// Takes over the stream of the first sign-in.
    fn begin(&mut self, stream: Stream) {
        let (id, welcome) = (StreamId(0), stream.welcome.clone());
        self.stream = Some(RunningStream::of(id, stream, self.stream_reports.clone()));
        self.give(Input::Stream { stream: id, notice: StreamNotice::Opened(welcome) });
    }

    /// Runs until the machine has signed out: because the app wants it, or lets go of the kit.
    async fn run(mut self, sources: Sources) {
        let Sources { mut requests, mut streams, mut reports } = sources;
        let mut signed_out = None;
        let mut has_handles = true;
        while !self.is_finished {
            let wake = self.engine.next_wake().map(|at| self.epoch + Duration::from_millis(at.0));
            tokio::select! {
                request = requests.recv(), if has_handles => match request {
                    Some(Request::SignOut(done)) => {
                        signed_out = Some(done);
                        self.command(Command::SignOut, Waiting::Nobody);
                    }
                    Some(request) => self.on_request(request),
                    None => {
                        has_handles = false;
                        self.give(Input::HandlesDropped);
                    }
                },
                Some(report) = streams.recv() => self.on_stream(report),
                Some(report) = reports.recv() => self.on_report(report),
                () = async { match wake { Some(at) => tokio::time::sleep_until(at).await, None => std::future::pending().await } } => {
                    self.give(Input::Wake);
                }
            }
        }
        self.paths.clear();
        let stream = self.stream.take();
        let last_frames = async {
            if let Some(stream) = stream {
                stream.close(streams).await;
            }
        };
        let chat = self.chat.take();
        let last_words = async {
            if let Some(chat) = chat {
                chat.close().await;
            }
        };
        tokio::join!(last_frames, last_words);
        self.sound.released().await;
        let listeners = self.teller.close();
        if let Some(done) = signed_out {
            wait_for_listeners(listeners).await;
            let _ = done.send(());
        }
    }

    /// Gives the machine an input, and carries out what it says.
    fn give(&mut self, input: Input) {
        self.inputs.push_back(input);
        while let Some(input) = self.inputs.pop_front() {
            let elapsed = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.engine.handle_input(Time(elapsed), input);
            while let Some(output) = self.engine.poll_output() {
                self.carry_out(output);
            }
        }
    }

    fn command(&mut self, command: Command, waiting: Waiting) {
        self.last_command += 1;
        let id = CommandId(self.last_command);
        self.commands.insert(id, waiting);
        self.give(Input::Command { id, command });
    }

    fn on_request(&mut self, request: Request) {
        // Whoever no longer waits for an answer does not care about it.
        match request {
            Request::Do(command, reply) => self.command(command, Waiting::Done(reply)),
            Request::Notify(command) => self.command(command, Waiting::Nobody),
            Request::StartCall(command, reply) => self.command(command, Waiting::Started(reply)),
            Request::BeginCall { command, handler, keeps_statistics, reply } => {
                let handler = Some(handler);
                self.command(command, Waiting::Begun { handler, keeps_statistics, call: None, reply });
            }
            Request::Call(call, command, reply) => {
                self.command(Command::Call { call, command }, Waiting::Done(reply));
            }
            Request::Adopt(call, handler, reply) => {
                let command = Command::Call { call, command: CallCommand::Adopt };
                self.command(command, Waiting::Adopted { handler: Some(handler), reply });
            }
            Request::ReleaseRtc(done) => self.command(Command::ReleaseRtc, Waiting::Released(done)),
            Request::SetAudioInput(input, reply) => {
                let device = self.sound.add_microphone(input);
                self.command(Command::ChooseMicrophone(device), Waiting::Done(reply));
                self.forget_devices();
            }
            Request::SetAudioOutput(output, reply) => {
                let device = self.sound.add_loudspeaker(output);
                self.command(Command::ChooseLoudspeaker(device), Waiting::Done(reply));
                self.forget_devices();
            }
            Request::Microphone(reply) => {
                let _ = reply.send(self.sound.microphone(self.engine.microphone()));
            }
            Request::Quality(reply) => {
                let _ = reply.send(self.quality());
            }
            Request::Statistics(call_id, reply) => {
                let _ = reply.send(self.statistics(call_id));
            }
            Request::CallStatistics(call, reply) => {
                let call_id = self.engine.call_of(call).filter(|_| self.calls.keeps_statistics(call));
                let _ = reply.send(call_id.and_then(|call_id| self.statistics(call_id)));
            }
            Request::IsCall(call_id, reply) => {
                let _ = reply.send(self.engine.has_call(call_id));
            }
            Request::AccessHandler => self.give(Input::AccessHandler),
            Request::NetworkChanged => self.on_network_changed(),
            Request::SignOut(_) => {}
        }
    }

    fn on_stream(&mut self, report: StreamReport) {
        match report {
            StreamReport::Opened(id, open, welcome) => {
                if let Some(stream) = self.stream.as_mut().filter(|stream| stream.id() == id) {
                    stream.on_opened(open);
                    self.give(Input::Stream { stream: id, notice: StreamNotice::Opened(welcome) });
                }
            }
            StreamReport::Notice(stream, notice) => self.give(Input::Stream { stream, notice }),
        }
    }

    fn on_report(&mut self, report: Report) {
        match report {
            Report::Input(input) => self.give(input),
            Report::NetworkChanged => self.on_network_changed(),
            Report::PathOpened(path, media) => {
                if let Some(running) = self.paths.get_mut(&path) {
                    running.media = Some(media);
                    let notice = callkit_core::PathNotice::Opened;
                    self.give(Input::Path { path, notice });
                }
            }
        }
    }

    fn on_network_changed(&mut self) {
        let is_stream_gone = self.stream.as_ref().is_some_and(RunningStream::is_gone);
        self.give(Input::NetworkChanged { is_stream_gone });
    }

    /// Devices of an earlier choice are let go of.
    fn forget_devices(&mut self) {
        let engine = &self.engine;
        let in_use = |device: AudioDeviceId| (engine.uses_microphone(device), engine.uses_loudspeaker(device));
        self.sound.retain_devices(in_use);
    }
}
