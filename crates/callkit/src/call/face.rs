//! What the owner loop knows of a call of this face, and how its handler is told.

use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::SystemTime;

use call_protocol::end::UserCode;
use call_protocol::invite::CallType;
use call_protocol::{CallId, UserId};
use signaling::{Role, Time};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::events::{CallEventHandler, Listener, MyMediaStatusHandler};
use super::param::CallOptions;
use super::reasons::Disconnect;
use super::{Call, CallDirection, CallState};
use crate::core::Command;
use crate::dispatch::{Entry, Rank, Told, Worker, lock};
use crate::events::CallKitEvent;
use crate::sound::SoundChoices;

/// Tells the calls of this face apart, for as long as a kit lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FaceId(pub(super) u64);

/// What the app can want of one call.
pub(crate) enum FaceCommand {
    Accept { preparation: bool },
    End(Ending),
    FinishPreparation,
    Hold(Option<String>),
    Unhold,
    Mute(bool),
    RequestPeerMute(bool),
    SilencePeer(bool),
    AudioActivated,
    Adopt(Arc<dyn CallEventHandler>),
}

/// How the app ends a call.
pub(crate) enum Ending {
    Plain,
    WithCode(UserCode),
    WithError(UserCode),
}

/// What every handle of a call can read.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(super) call_id: CallId,
    pub(super) peer: UserId,
    pub(super) call_type: CallType,
    pub(super) direction: CallDirection,
    pub(super) state: CallState,
    pub(super) held: bool,
    pub(super) peer_held: bool,
    pub(super) muted: bool,
    pub(super) peer_muted: bool,
    pub(super) silenced: bool,
    pub(super) preparing: bool,
    pub(super) began: SystemTime,
    pub(super) connected: Option<SystemTime>,
}

/// What a handler of one call alone comes with.
pub(super) struct Own {
    pub(super) options: CallOptions,
    pub(super) handler: Arc<dyn CallEventHandler>,
    /// It is verified for another part of the app to adopt it.
    pub(super) is_background: bool,
}

/// What a face begins with.
pub(super) struct Beginning {
    pub(super) id: FaceId,
    pub(super) call_id: CallId,
    pub(super) peer: UserId,
    pub(super) call_type: CallType,
    pub(super) role: Role,
    pub(super) choices: SoundChoices,
    /// None where only the kit-wide listeners are told.
    pub(super) own: Option<Own>,
    pub(super) runtime: tokio::runtime::Handle,
    pub(super) commands: mpsc::WeakUnboundedSender<Command>,
}

/// A call of this face: what the app can read of it, and what its own handler is told, where it has one.
pub(crate) struct Face {
    id: FaceId,
    pub(super) role: Role,
    pub(super) options: CallOptions,
    facts: watch::Sender<Facts>,
    listener: Arc<Listener>,
    handles: Arc<Handles>,
    /// Where the handlers run, once there are any.
    worker: OnceLock<Worker<Box<dyn FnOnce() + Send>>>,
    runtime: tokio::runtime::Handle,
    /// It has a handler of its own.
    is_own: bool,
    /// The kit-wide listeners know of this call.
    pub(super) is_shared: bool,
    /// It was verified for another part of the app to adopt it.
    pub(super) is_background: bool,
    /// Caller: it was offered here. Callee: the caller offers it.
    pub(super) preparation_offered: bool,
    /// Callee: it is being accepted with preparation.
    pub(super) prepares: bool,
    /// The app has declined it before it was known to be alive.
    pub(super) declined: Option<Ending>,
    /// Why this side gives the call up, until its end is told.
    pub(super) cause: Option<Disconnect>,
    /// The server says that the other one cannot be heard, until then.
    pub(super) peer_away: Option<Time>,
    /// The handler believes that the other side is without network.
    pub(super) told_away: bool,
    /// When a call that was asked about counts as gone if nothing was heard of it.
    pub(super) give_up: Option<Time>,
    pub(super) levels: Option<Levels>,
}

/// What handles of the call are made of.
pub(super) struct Handles {
    id: FaceId,
    facts: watch::Receiver<Facts>,
    listener: Arc<Listener>,
    lifeline: Lifeline,
}

impl Handles {
    /// A handle for the app. One that nobody holds any more does not keep the kit alive.
    pub(super) fn handle(&self) -> Call {
        Call { id: self.id, line: self.lifeline.hold(), facts: self.facts.clone(), listener: self.listener.clone() }
    }
}

/// By what the handles of a call keep its kit alive: until the last of them is dropped, or the call is over.
struct Lifeline(Mutex<Held>);

struct Held {
    commands: mpsc::WeakUnboundedSender<Command>,
    line: Weak<KitLine>,
    is_cut: bool,
}

/// The way to the kit that all handles of a call share; none once the call is over.
pub(super) struct KitLine(Mutex<Option<mpsc::UnboundedSender<Command>>>);

impl KitLine {
    pub(super) fn commands(&self) -> Option<mpsc::UnboundedSender<Command>> {
        lock(&self.0).clone()
    }
}

impl Lifeline {
    fn new(commands: mpsc::WeakUnboundedSender<Command>) -> Lifeline {
        Lifeline(Mutex::new(Held { commands, line: Weak::new(), is_cut: false }))
    }

    fn hold(&self) -> Arc<KitLine> {
        let mut held = lock(&self.0);
        held.line.upgrade().unwrap_or_else(|| {
            let commands = held.commands.upgrade().filter(|_| !held.is_cut);
            let line = Arc::new(KitLine(Mutex::new(commands)));
            held.line = Arc::downgrade(&line);
            line
        })
    }

    fn cut(&self) {
        let mut held = lock(&self.0);
        held.is_cut = true;
        if let Some(line) = held.line.upgrade() {
            *lock(&line.0) = None;
        }
    }
}

/// The clock of the level reports; stops when dropped.
pub(super) struct Levels(pub(super) JoinHandle<()>);

impl Drop for Levels {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Drop for Face {
    fn drop(&mut self) {
        self.handles.lifeline.cut();
    }
}

impl Face {
    pub(super) fn new(beginning: Beginning) -> Face {
        let Beginning { id, call_id, peer, call_type, role, choices, own, runtime, commands } = beginning;
        let SoundChoices { muted, silenced } = choices;
        let direction = match role {
            Role::Caller => CallDirection::Outgoing,
            Role::Callee => CallDirection::Incoming,
        };
        let facts = Facts {
            call_id,
            peer,
            call_type,
            direction,
            state: CallState::Trying,
            held: false,
            peer_held: false,
            muted,
            peer_muted: false,
            silenced,
            preparing: false,
            began: SystemTime::now(),
            connected: None,
        };
        let is_own = own.is_some();
        let is_background = own.as_ref().is_some_and(|own| own.is_background);
        let (options, handler) = own.map(|own| (own.options, own.handler)).unzip();
        let (facts, known) = watch::channel(facts);
        let listener = Arc::new(Listener::new(handler));
        let lifeline = Lifeline::new(commands);
        let handles = Arc::new(Handles { id, facts: known, listener: listener.clone(), lifeline });
        Face {
            id,
            role,
            options: options.unwrap_or_default(),
            facts,
            listener,
            handles,
            worker: OnceLock::new(),
            runtime,
            is_own,
            is_shared: !is_own,
            is_background,
            preparation_offered: false,
            prepares: false,
            declined: None,
            cause: None,
            peer_away: None,
            told_away: false,
            give_up: None,
            levels: None,
        }
    }

    pub(crate) fn id(&self) -> FaceId {
        self.id
    }

    /// Whether it has a handler of its own.
    pub(super) fn is_own(&self) -> bool {
        self.is_own
    }

    /// A call that the kit-wide listeners were told of gets a handler of its own beside them.
    pub(super) fn is_taken_over(&mut self, own: Own) -> Call {
        (self.is_own, self.is_background, self.options) = (true, own.is_background, own.options);
        self.listener.replace(own.handler);
        self.handle()
    }

    /// Where the kit's handles look it up.
    pub(super) fn handles(&self) -> Arc<Handles> {
        self.handles.clone()
    }

    pub(super) fn facts(&self) -> watch::Ref<'_, Facts> {
        self.facts.borrow()
    }

    pub(super) fn note(&self, change: impl FnOnce(&mut Facts)) {
        self.facts.send_modify(change);
    }

    pub(super) fn handle(&self) -> Call {
        self.handles.handle()
    }

    /// Tells the handler, whoever it is when its turn has come.
    pub(super) fn tell(&self, what: impl FnOnce(&dyn CallEventHandler, &Call) + Send + 'static) {
        self.tell_as(Rank::News, what);
    }

    fn tell_as(&self, rank: Rank, what: impl FnOnce(&dyn CallEventHandler, &Call) + Send + 'static) {
        if !self.is_own {
            return;
        }
        let handles = self.handles.clone();
        self.run(rank, move || {
            if let Some(handler) = handles.listener.call() {
                what(&*handler, &handles.handle());
            }
        });
    }

    fn run(&self, rank: Rank, what: impl FnOnce() + Send + 'static) {
        self.worker.get_or_init(|| self.start_worker()).put(Entry { call: None, rank, what: Box::new(what) });
    }

    fn start_worker(&self) -> Worker<Box<dyn FnOnce() + Send>> {
        let handles = self.handles.clone();
        Worker::start(&self.runtime, move |told: Told<Box<dyn FnOnce() + Send>>| match told {
            Told::This(what) => what(),
            Told::Lost(count) => {
                if let Some(handler) = handles.listener.call() {
                    handler.on_events_lost(&handles.handle(), count);
                }
            }
        })
    }

    /// Tells whoever listens to this side's media, whoever it is when its turn has come.
    fn tell_media(&self, rank: Rank, what: impl FnOnce(&dyn MyMediaStatusHandler) + Send + 'static) {
        if self.listener.media().is_none() {
            return;
        }
        let handles = self.handles.clone();
        self.run(rank, move || {
            if let Some(handler) = handles.listener.media() {
                what(&*handler);
            }
        });
    }

    /// Another part of the app takes the call over: the handler before hears of it as its last.
    pub(super) fn adopted(&mut self, handler: Arc<dyn CallEventHandler>) {
        self.is_background = false;
        let before = self.listener.replace(handler);
        self.say_adopted(before);
    }

    /// Another process takes the call over.
    pub(super) fn adopted_elsewhere(&self) {
        self.note(|facts| facts.state = CallState::Disconnected);
        self.say_adopted(self.listener.retire());
    }

    fn say_adopted(&self, before: Option<Arc<dyn CallEventHandler>>) {
        let handles = self.handles.clone();
        self.run(Rank::News, move || {
            if let Some(handler) = before {
                handler.on_background_call_adopted(&handles.handle());
            }
        });
    }

    pub(super) fn tell_levels(&self, mine: u8, peer: Option<u8>) {
        if let Some(peer) = peer {
            self.tell_as(Rank::Figure, move |handler, call| handler.on_peer_audio_description_updated(call, peer));
        }
        self.tell_media(Rank::Figure, move |handler| handler.on_audio_description_update(mine));
    }

    pub(super) fn tell_away(&self, is_peer: bool, ends_in_ms: u32) {
        let seconds = ends_in_ms.div_ceil(1_000);
        self.tell(move |handler, call| handler.on_network_unavailable(call, is_peer, seconds));
    }

    pub(crate) fn choices(&self) -> SoundChoices {
        let facts = self.facts.borrow();
        SoundChoices { muted: facts.muted, silenced: facts.silenced }
    }

    /// What this side has chosen about its sound, whichever face it was chosen by.
    pub(crate) fn chosen(&self, choices: SoundChoices) {
        let before = self.choices();
        if before == choices {
            return;
        }
        let SoundChoices { muted, silenced } = choices;
        self.note(|facts| (facts.muted, facts.silenced) = (muted, silenced));
        if before.muted == muted {
            return;
        }
        self.tell_media(Rank::News, move |handler| if muted { handler.on_mic_mute() } else { handler.on_mic_unmute() });
    }

    /// The end, which is told once, and lets go of the handlers.
    pub(super) fn tell_end(&mut self, end: Disconnect) {
        self.levels = None;
        self.note(|facts| facts.state = CallState::Disconnected);
        tracing::debug!(reason = end.reason.number(), "disconnected");
        let Disconnect { reason, source, by_remote, user_code } = end;
        let handles = self.handles.clone();
        self.handles.lifeline.cut();
        if !self.is_own && self.listener.media().is_none() {
            return;
        }
        self.run(Rank::End, move || {
            handles.listener.remove_media();
            if let Some(handler) = handles.listener.retire() {
                let user_code = user_code.as_ref().map(UserCode::as_str);
                handler.on_disconnected(&handles.handle(), reason, source, by_remote, user_code);
            }
        });
    }

    pub(crate) fn peer_held(&self, held: bool, reason: Option<String>) {
        self.note(|facts| facts.peer_held = held);
        if held {
            self.tell(move |handler, call| handler.on_peer_hold(call, reason.as_deref()));
        } else {
            self.tell(|handler, call| handler.on_peer_unhold(call));
        }
    }

    /// What the kit-wide listeners would be told, in the words of this face. Its beginning and its end have their own.
    pub(super) fn translate(&mut self, event: &CallKitEvent) {
        match event {
            CallKitEvent::CallHeld { held, .. } => self.note(|facts| facts.held = *held),
            CallKitEvent::UserMuteAudio { muted: true, .. } => {
                self.note(|facts| facts.peer_muted = true);
                self.tell(|handler, call| handler.on_peer_mic_muted(call));
            }
            CallKitEvent::UserMuteAudio { muted: false, .. } => {
                self.note(|facts| facts.peer_muted = false);
                self.tell(|handler, call| handler.on_peer_mic_unmuted(call));
            }
            CallKitEvent::NetworkAvailable { available: false, ends_in_ms, .. } => self.tell_away(false, *ends_in_ms),
            CallKitEvent::MicrophoneFailed { failure, .. } => {
                let failure = *failure;
                self.tell(move |handler, call| handler.on_microphone_failed(call, failure));
            }
            CallKitEvent::MicrophoneRestored { .. } => {
                self.tell(|handler, call| handler.on_microphone_restored(call));
            }
            CallKitEvent::NetworkAvailable { available: true, .. } => {
                self.tell(|handler, call| handler.on_network_reavailable(call, false));
            }
            // Has a reason, which the kit-wide listeners are not told.
            CallKitEvent::PeerHeld { .. }
            | CallKitEvent::ReceiveCall { .. }
            | CallKitEvent::CallWaiting { .. }
            | CallKitEvent::CallMissed { .. }
            | CallKitEvent::CallMerged { .. }
            | CallKitEvent::Ringing { .. }
            | CallKitEvent::Answer { .. }
            | CallKitEvent::JoinedChannel { .. }
            | CallKitEvent::UserJoined { .. }
            | CallKitEvent::UserLeft { .. }
            | CallKitEvent::UserMuteVideo { .. }
            | CallKitEvent::UserRemoved { .. }
            | CallKitEvent::FirstAudio { .. }
            | CallKitEvent::PeerReachable { .. }
            | CallKitEvent::CallEnd { .. }
            | CallKitEvent::Error { .. }
            | CallKitEvent::AccessTokenExpiring { .. }
            | CallKitEvent::EventsLost { .. }
            | CallKitEvent::ConnectionChanged { .. } => {}
        }
    }
}
