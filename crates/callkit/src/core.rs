//! The owner loop: everything a kit knows is changed here and nowhere else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use call_protocol::disconnect::StartFailReason;
use call_protocol::media::NegotiationBody;
use call_protocol::session::{ClientBody, ServerBody, Welcome};
use call_protocol::{AppId, CallId, CallMessage, Party, Uid, UserId, Word};
use rtc_transport::{Interfaces, TurnServer};
use signaling::{Address, Desk, DeskOutput, Event, Input, Now, Route, Time};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::call::{Call, CallEventHandler, FaceCommand, FaceId, Faces, MakeCallParam, VerifyCallParam};
use crate::chat::ChatSender;
use crate::devices::Devices;
use crate::end::wait_for_listeners;
use crate::error::CallError;
use crate::events::{CallKitEvent, ConnectionState};
use crate::figures::Figures;
use crate::handlers::RtcToken;
use crate::link::{LinkCommand, LinkEvent};
use crate::listeners::Teller;
use crate::media::Media;
use crate::paths::WarmPath;
use crate::peer::PeerNotice;
use crate::quality::CallQuality;
use crate::sound::SoundOptions;
use crate::statistics::CallStatistics;
use crate::supplied::Supplied;
use crate::voice::{Voice, VoiceConfig, VoiceNotice};

/// What the app wants.
pub(crate) enum Command {
    InitRtc(Reply<()>),
    ReleaseRtc(oneshot::Sender<()>),
    StartCall {
        user: UserId,
        call_type: call_protocol::invite::CallType,
        ext: call_protocol::invite::Ext,
        reply: Reply<CallId>,
    },
    Answer {
        call_id: CallId,
        reply: Reply<()>,
    },
    Hangup {
        call_id: CallId,
        reply: Reply<()>,
    },
    Hold {
        call_id: CallId,
        held: bool,
        reply: Reply<()>,
    },
    MakeCall {
        param: Box<MakeCallParam>,
        handler: Arc<dyn CallEventHandler>,
        reply: oneshot::Sender<Result<Call, StartFailReason>>,
    },
    VerifyCall {
        param: Box<VerifyCallParam>,
        handler: Arc<dyn CallEventHandler>,
        is_background: bool,
        reply: oneshot::Sender<Result<Call, StartFailReason>>,
    },
    Face {
        face: FaceId,
        command: FaceCommand,
        reply: Reply<()>,
    },
    FaceStatistics {
        face: FaceId,
        reply: oneshot::Sender<Option<CallStatistics>>,
    },
    Mute(bool, Reply<()>),
    Speaker(bool, Reply<()>),
    Quality(oneshot::Sender<Option<CallQuality>>),
    Statistics(CallId, oneshot::Sender<Option<CallStatistics>>),
    /// Whether there is this call.
    IsCall(CallId, oneshot::Sender<bool>),
    AudioActive(bool, Reply<()>),
    SilencePeer(CallId, bool, Reply<()>),
    /// Which microphone is used.
    Microphone(oneshot::Sender<rtc_media::AudioInput>),
    AudioInput(rtc_media::AudioInput, Reply<()>),
    AudioOutput(rtc_media::AudioOutput, Reply<()>),
    AccessToken(String),
    NetworkChanged,
    SignOut(oneshot::Sender<()>),
}

/// How a command's outcome goes back.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, CallError>>;

/// Reports that wait for the owner loop, which never waits for anybody: whoever finds no place waits until there is one, so that what comes over
/// paths and chats is not read faster than it is dealt with.
pub(crate) const REPORTS: usize = 256;

/// What tasks of the loop report back.
pub(crate) enum Report {
    Token {
        call_id: CallId,
        token: Result<RtcToken, String>,
    },
    /// Who is behind this uid, and perhaps behind others.
    Users {
        call_id: CallId,
        uid: Uid,
        users: Vec<(Uid, UserId)>,
    },
    Peer {
        call_id: CallId,
        device: Party,
        serial: u64,
        notice: PeerNotice,
    },
    Voice {
        serial: u64,
        notice: VoiceNotice,
    },
    NetworkChanged,
    Chat {
        from: Party,
        message: CallMessage,
    },
    /// It is time to tell the levels of this call.
    Levels(FaceId),
}

/// What does not change while a kit lives.
pub(crate) struct Settings {
    pub(crate) app_id: AppId,
    pub(crate) call_timeout: Duration,
    pub(crate) voice: VoiceConfig,
    pub(crate) sound: SoundOptions,
    pub(crate) figures: Arc<Figures>,
    pub(crate) interfaces: Interfaces,
    pub(crate) turn_servers: Vec<TurnServer>,
    pub(crate) warm_path: WarmPath,
    /// The kit lives for one call only, and signs out when that is over.
    pub(crate) one_call: bool,
}

/// How long a kit of one call waits for the server, to say that the call is over.
const LINGER: Duration = Duration::from_secs(15);

/// Where the loop sends.
pub(crate) struct Senders {
    pub(crate) link: mpsc::Sender<LinkCommand>,
    pub(crate) chat: Option<ChatSender>,
    /// To itself.
    pub(crate) reports: mpsc::Sender<Report>,
}

/// The state of a kit.
pub(crate) struct Core {
    pub(crate) settings: Settings,
    pub(crate) devices: Devices,
    pub(crate) supplied: Arc<Supplied>,
    pub(crate) teller: Teller,
    pub(crate) desk: Desk,
    /// What carries the words of calls, where it is not the server.
    pub(crate) chat: Option<ChatSender>,
    link: mpsc::Sender<LinkCommand>,
    pub(crate) connected: bool,
    pub(crate) stun_servers: Vec<String>,
    pub(crate) reports: mpsc::Sender<Report>,
    pub(crate) initialized: bool,
    /// The calls to come begin muted.
    pub(crate) muted: bool,
    pub(crate) speaker: bool,
    pub(crate) calls: BTreeMap<CallId, Media>,
    /// What the app can read of each call, and who is told of it alone.
    pub(crate) faces: Faces,
    /// Until when a kit whose one call is over waits for the server.
    lingers: Option<Instant>,
    /// The audio devices, while a call has them.
    pub(crate) voice: Option<Voice>,
    pub(crate) last_voice: u64,
    /// The thread of the voice could not be started, and the calls that need it are being given up.
    pub(crate) without_voice: bool,
    /// The end tone that is being played, although no call has the devices any more, and its number.
    pub(crate) end_tone: Option<(u64, rtc_media::Clip)>,
    pub(crate) last_end_tone: u64,
    /// The app has said that its audio session is active.
    pub(crate) audio_active: bool,
    pub(crate) last_path: u64,
    /// Voices of calls that are over, until their devices are released.
    pub(crate) releasing: Vec<std::thread::JoinHandle<()>>,
    epoch: Instant,
    /// What the server's wall clock showed at the epoch, in ms.
    epoch_unix_ms: u64,
    wake: Option<Time>,
}

impl Core {
    pub(crate) fn new(
        settings: Settings,
        devices: Devices,
        supplied: Arc<Supplied>,
        teller: Teller,
        desk: Desk,
        faces: Faces,
        senders: Senders,
    ) -> Core {
        let Senders { link, chat, reports } = senders;
        Core {
            settings,
            devices,
            supplied,
            teller,
            desk,
            chat,
            link,
            connected: false,
            stun_servers: Vec::new(),
            reports,
            initialized: false,
            muted: false,
            speaker: true,
            calls: BTreeMap::new(),
            faces,
            lingers: None,
            voice: None,
            last_voice: 0,
            without_voice: false,
            end_tone: None,
            last_end_tone: 0,
            audio_active: false,
            last_path: 0,
            releasing: Vec::new(),
            epoch: Instant::now(),
            epoch_unix_ms: 0,
            wake: None,
        }
    }

    /// Runs until the app signs out or lets go of the kit.
    pub(crate) async fn run(
        mut self,
        mut commands: mpsc::UnboundedReceiver<Command>,
        mut link_events: mpsc::Receiver<LinkEvent>,
        mut reports: mpsc::Receiver<Report>,
        link_task: JoinHandle<()>,
    ) {
        let mut signed_out = None;
        let mut has_handles = true;
        loop {
            let wake = self.next_wake();
            tokio::select! {
                command = commands.recv(), if has_handles => match command {
                    Some(Command::SignOut(done)) => {
                        signed_out = Some(done);
                        break;
                    }
                    Some(command) => {
                        self.look_for_stall(wake);
                        self.on_app(command);
                    }
                    // Nobody needs a handle of a call that is over, but its server is still to hear that it is.
                    None if self.is_over() => has_handles = false,
                    None => break,
                },
                event = link_events.recv() => match event {
                    Some(event) => {
                        self.look_for_stall(wake);
                        self.on_link(event);
                    }
                    None => break,
                },
                Some(report) = reports.recv() => {
                    self.look_for_stall(wake);
                    self.on_report(report);
                }
                () = async { match wake { Some(at) => tokio::time::sleep_until(at).await, None => std::future::pending().await } } => {
                    self.look_for_stall(wake);
                    self.on_time();
                }
            }
            self.look_at_asked();
            self.look_at_networks();
            self.update_sound();
            self.update_tracks();
            if self.is_done() {
                break;
            }
        }
        self.end_whatever_there_is();
        self.hush();
        self.faces_closed();
        // The link ends by itself within its own time limits, as nothing that it tells finds no place.
        let rest = async { while link_events.recv().await.is_some() {} };
        let chat = self.chat.take();
        let last_words = async {
            if let Some(chat) = chat {
                chat.close().await;
            }
        };
        let _ = tokio::join!(self.link.send(LinkCommand::Close), link_task, rest, last_words);
        self.wait_for_devices().await;
        let listeners = self.teller.close();
        if let Some(done) = signed_out {
            wait_for_listeners(listeners).await;
            let _ = done.send(());
        }
    }

    pub(crate) fn now(&self) -> Now {
        let mono = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { mono: Time(mono), unix_ms: self.epoch_unix_ms + mono }
    }

    fn next_wake(&self) -> Option<Instant> {
        let media = self.calls.values().filter_map(Media::deadline);
        let next = self.wake.into_iter().chain(media).chain(self.next_face_wake()).min();
        let next = next.map(|time| self.epoch + Duration::from_millis(time.0));
        next.into_iter().chain(self.lingers).min()
    }

    /// Whether it is a kit of one call, and that is over.
    fn is_over(&self) -> bool {
        self.settings.one_call && self.faces.had_own() && !self.faces.has_own()
    }

    /// Whether it is, and the server can be told so.
    fn is_done(&mut self) -> bool {
        if !self.is_over() {
            return false;
        }
        let until = *self.lingers.get_or_insert_with(|| Instant::now() + LINGER);
        self.connected || Instant::now() >= until
    }

    fn on_app(&mut self, command: Command) {
        // A caller that no longer waits for its reply does not care about it.
        match command {
            Command::InitRtc(reply) => {
                self.initialized = true;
                let _ = reply.send(Ok(()));
            }
            Command::ReleaseRtc(done) => self.release_rtc(done),
            Command::StartCall { user, call_type, ext, reply } => {
                let _ = reply.send(self.start_call(user, call_type, ext));
            }
            Command::Answer { call_id, reply } => {
                let _ = reply.send(self.answer(call_id));
            }
            Command::Hangup { call_id, reply } => {
                let _ = reply.send(self.hang_up(call_id));
            }
            Command::Hold { call_id, held, reply } => {
                let command = signaling::Command::Hold { call_id, held, reason: None };
                let _ = reply.send(self.try_input(Input::Command(command)));
            }
            Command::MakeCall { param, handler, reply } => {
                let _ = reply.send(self.make_call(*param, handler));
            }
            Command::VerifyCall { param, handler, is_background, reply } => {
                let _ = reply.send(self.verify_call(*param, handler, is_background));
            }
            Command::Face { face, command, reply } => {
                let _ = reply.send(self.on_face(face, command));
            }
            Command::FaceStatistics { face, reply } => self.face_statistics(face, reply),
            Command::Mute(muted, reply) => {
                self.mute(muted);
                let _ = reply.send(Ok(()));
            }
            Command::Speaker(on, reply) => {
                self.speaker(on);
                let _ = reply.send(Ok(()));
            }
            Command::Quality(reply) => {
                let _ = reply.send(self.quality());
            }
            Command::Statistics(call_id, reply) => {
                let _ = reply.send(self.statistics(call_id));
            }
            Command::IsCall(call_id, reply) => {
                let _ = reply.send(self.calls.contains_key(&call_id));
            }
            Command::AudioActive(active, reply) => {
                self.set_audio_active(active);
                let _ = reply.send(Ok(()));
            }
            Command::SilencePeer(call_id, silenced, reply) => {
                let _ = reply.send(self.silence_peer(call_id, silenced));
            }
            Command::Microphone(reply) => {
                let _ = reply.send(self.devices.microphone.chosen().device);
            }
            Command::AudioInput(input, reply) => self.choose_microphone(input, reply),
            Command::AudioOutput(output, reply) => self.choose_loudspeaker(output, reply),
            Command::AccessToken(token) => {
                self.tell_link(LinkCommand::AccessToken(token));
            }
            Command::NetworkChanged => self.on_network_changed(),
            Command::SignOut(_) => {}
        }
    }

    fn on_link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up { welcome } => {
                self.teller.tell(CallKitEvent::ConnectionChanged { state: ConnectionState::Connected });
                self.on_up(welcome);
            }
            LinkEvent::Down => {
                self.connected = false;
                self.teller.tell(CallKitEvent::ConnectionChanged { state: ConnectionState::Reconnecting });
            }
            LinkEvent::Frame(ServerBody::Call(message)) => {
                self.input(Input::Message { from: Address::Server, message });
            }
            LinkEvent::Frame(ServerBody::Channel(event)) => self.on_channel(event),
            LinkEvent::Frame(ServerBody::Pong { server_unix_ms, .. }) => self.set_clock(server_unix_ms),
            LinkEvent::Frame(ServerBody::Welcome(_) | ServerBody::Refuse(_) | ServerBody::Access(_)) => {}
            LinkEvent::AccessExpiring { left_ms } => {
                let left_ms = u32::try_from(left_ms).unwrap_or(u32::MAX);
                self.teller.tell(CallKitEvent::AccessTokenExpiring { left_ms });
            }
            LinkEvent::SignedOut(reason) => {
                self.connected = false;
                tracing::info!(%reason, "signed out");
                self.teller.tell(CallKitEvent::ConnectionChanged { state: ConnectionState::SignedOut(reason) });
                self.faces_signed_out(reason);
                self.give_up_whatever_there_is(CallError::SignedOut);
            }
        }
        self.update_network();
    }

    pub(crate) fn on_up(&mut self, welcome: Welcome) {
        self.set_clock(welcome.server_unix_ms);
        self.stun_servers = welcome.stun_servers;
        self.connected = true;
        // Whatever the arbiters missed of this device meanwhile they hear at once.
        self.input(Input::Connected);
        if !welcome.resumed {
            self.join_again();
        }
    }

    /// The server's wall clock shows this. It may be set, and this device's own clock may run fast or slow.
    fn set_clock(&mut self, server_unix_ms: u64) {
        let elapsed = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.epoch_unix_ms = server_unix_ms.saturating_sub(elapsed);
    }

    fn on_report(&mut self, report: Report) {
        match report {
            Report::Token { call_id, token } => self.on_token(call_id, token),
            Report::Users { call_id, uid, users } => self.on_users(call_id, uid, users),
            Report::Peer { call_id, device, serial, notice } => {
                self.on_peer(call_id, device, serial, notice);
                self.update_network();
            }
            Report::Voice { serial, notice } => self.on_voice(serial, notice),
            Report::NetworkChanged => self.on_network_changed(),
            Report::Levels(face) => self.on_levels(face),
            Report::Chat { from, message } => self.input(Input::Message { from: Address::Device(from), message }),
        }
    }

    fn on_time(&mut self) {
        let now = self.now().mono;
        self.wake = self.wake.filter(|time| *time > now);
        self.input(Input::Wake);
        self.on_time_media();
    }

    /// Gives the line an input that cannot fail, and carries out what it says.
    pub(crate) fn input(&mut self, input: Input) {
        if let Err(error) = self.try_input(input) {
            tracing::warn!(%error, "the line refused");
        }
    }

    /// Gives the line an input and carries out what it says.
    pub(crate) fn try_input(&mut self, input: Input) -> Result<(), CallError> {
        let result = self.desk.handle_input(self.now(), input);
        // What is to be said goes first: the end of a call closes the media path, on which its last words are said.
        let mut events = Vec::new();
        while let Some(output) = self.desk.poll_output() {
            match output {
                DeskOutput::Send { to, message } => self.send_call(to, message),
                DeskOutput::Direct { to, message } => self.say_directly(&to, &message),
                DeskOutput::Tell(event) => events.push(event),
                DeskOutput::Fact(fact) => tracing::debug!(?fact, "arbitrated"),
                DeskOutput::WakeAt(time, _timer) => self.wake = Some(time),
            }
        }
        events.into_iter().for_each(|event| self.on_event(event));
        self.update_sound();
        self.update_tracks();
        result.map_err(CallError::from)
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Notifying { call_id } => self.face_waits(call_id),
            Event::Alerted { call_id, callee } => self.on_alerted(call_id, callee),
            Event::Ringing { invite, waiting } => self.on_ringing(*invite, waiting),
            Event::Merged { old, invite } => self.on_merged(old, *invite),
            Event::Answering { call_id, peer } => self.on_answering(call_id, peer),
            Event::Accepted { invite, peer, preparation, .. } => self.on_accepted(*invite, peer, preparation),
            Event::Failed { call_id, refusal } => self.on_failed(call_id, refusal),
            Event::Negotiation { call_id, from, body: NegotiationBody::Notice(notice) } => {
                self.on_notice(call_id, &from, notice);
            }
            Event::Negotiation { call_id, from, body } => self.on_negotiation(call_id, from, body),
            Event::Held { call_id, held } => self.on_held(call_id, held),
            Event::PeerHeld { call_id, held, reason } => self.on_peer_held(call_id, held, reason),
            Event::Missed { invite } => self.on_missed(*invite),
            Event::Reachability { call_id, reachable, ends_in_ms } => {
                self.face_reachability(call_id, reachable, ends_in_ms);
                self.tell_of(call_id, CallKitEvent::PeerReachable { call_id, reachable, ends_in_ms });
            }
            // Only the face of one call asks about a call.
            Event::Released { call_id, reason, release } => self.face_released(call_id, reason, release),
            Event::Ended { call_id, reason, role, release } => self.on_ended(call_id, reason, role, release),
        }
    }

    fn send_call(&mut self, to: Route, mut message: CallMessage) {
        if let Word::KeepAlive(alive) = &mut message.word
            && alive.in_call
        {
            alive.quality = self.heard_quality(message.call_id);
        }
        tracing::debug!(call = %message.call_id, word = message.word.name(), "said");
        match &to {
            Route::Server => return self.send(ClientBody::Call(message)),
            Route::Device(device) => {
                // What two devices tell each other all the time need not burden the app's carrier; what is urgent goes both ways.
                let has_path = self.is_connected_to(message.call_id, device);
                match &message.word {
                    Word::KeepAlive(_) | Word::Hold { .. } if has_path => return self.say_directly(device, &message),
                    Word::Answer(_) | Word::AnswerConfirm(_) | Word::Cancel(_) | Word::End(_) => {
                        self.say_directly(device, &message);
                    }
                    Word::Invite(_)
                    | Word::Alert(_)
                    | Word::RingConfirm(_)
                    | Word::KeepAlive(_)
                    | Word::Negotiation(_)
                    | Word::Reachability { .. }
                    | Word::Hold { .. }
                    | Word::Missed(_) => {}
                }
            }
            Route::User(_) => match &message.word {
                Word::AnswerConfirm(confirm) => self.say_directly(&confirm.winner, &message),
                Word::Cancel(_) => self.say_to_all(&message),
                Word::Invite(_)
                | Word::Alert(_)
                | Word::RingConfirm(_)
                | Word::Answer(_)
                | Word::End(_)
                | Word::KeepAlive(_)
                | Word::Negotiation(_)
                | Word::Reachability { .. }
                | Word::Hold { .. }
                | Word::Missed(_) => {}
            },
        }
        if let Some(chat) = &self.chat {
            chat.send(to, &message);
        }
    }

    pub(crate) fn look_after_link(&self) {
        self.tell_link(LinkCommand::NetworkChanged);
    }

    pub(crate) fn send(&mut self, body: ClientBody) {
        self.tell_link(LinkCommand::Send(body));
    }

    fn tell_link(&self, command: LinkCommand) {
        // The link ends only after this loop, or after it has said that it is signed out.
        if let Err(mpsc::error::TrySendError::Full(_)) = self.link.try_send(command) {
            tracing::warn!("too much waits for the link; dropped");
        }
    }

    /// Reports something to itself, once what is going on is done.
    pub(crate) fn report(&self, report: Report) {
        let reports = self.reports.clone();
        tokio::spawn(async move { reports.send(report).await });
    }

    pub(crate) fn fail_with(&self, call_id: Option<CallId>, error: CallError) {
        self.teller.tell(CallKitEvent::Error { call_id, error });
    }
}
