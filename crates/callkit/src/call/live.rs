//! A call that lasts: what its handles read, how they keep the kit alive, and where its handlers run.

use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::SystemTime;

use call_protocol::end::UserCode;
use callkit_core::{CallEvent, CallKey, CallSnapshot, Disconnect};
use rtc_media::Levels;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::events::{CallEventHandler, Listener, MyMediaStatusHandler};
use super::{Call, CallState};
use crate::dispatch::{Entry, Rank, Told, Worker, lock};
use crate::request::Request;

/// What every handle of a call can read.
#[derive(Debug, Clone)]
pub(super) struct CallFacts {
    pub(super) snapshot: CallSnapshot,
    pub(super) began: SystemTime,
    pub(super) connected: Option<SystemTime>,
}

/// A call that lasts.
pub(crate) struct LiveCall {
    facts: watch::Sender<CallFacts>,
    handles: Arc<Handles>,
    /// Where the handlers run, once there are any.
    worker: OnceLock<Worker<Box<dyn FnOnce() + Send>>>,
    runtime: Handle,
    /// It has a handler of its own.
    is_own: bool,
    /// Its handles are given the figures.
    keeps_statistics: bool,
}

/// What handles of the call are made of.
pub(super) struct Handles {
    key: CallKey,
    facts: watch::Receiver<CallFacts>,
    listener: Arc<Listener>,
    lifeline: Lifeline,
}

impl Handles {
    /// A handle for the app. One that nobody holds any more does not keep the kit alive.
    pub(super) fn handle(&self) -> Call {
        Call { key: self.key, line: self.lifeline.hold(), facts: self.facts.clone(), listener: self.listener.clone() }
    }
}

/// By what the handles of a call keep its kit alive: until the last of them is dropped, or the call is over.
struct Lifeline(Mutex<Held>);

struct Held {
    requests: mpsc::WeakUnboundedSender<Request>,
    line: Weak<KitLine>,
    is_cut: bool,
}

/// The way to the kit that all handles of a call share; none once the call is over.
pub(super) struct KitLine(Mutex<Option<mpsc::UnboundedSender<Request>>>);

impl KitLine {
    pub(super) fn requests(&self) -> Option<mpsc::UnboundedSender<Request>> {
        lock(&self.0).clone()
    }
}

impl Lifeline {
    fn new(requests: mpsc::WeakUnboundedSender<Request>) -> Lifeline {
        Lifeline(Mutex::new(Held { requests, line: Weak::new(), is_cut: false }))
    }

    fn hold(&self) -> Arc<KitLine> {
        let mut held = lock(&self.0);
        held.line.upgrade().unwrap_or_else(|| {
            let requests = held.requests.upgrade().filter(|_| !held.is_cut);
            let line = Arc::new(KitLine(Mutex::new(requests)));
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

impl Drop for LiveCall {
    fn drop(&mut self) {
        self.handles.lifeline.cut();
    }
}

impl LiveCall {
    pub(super) fn new(
        key: CallKey,
        snapshot: CallSnapshot,
        runtime: Handle,
        requests: mpsc::WeakUnboundedSender<Request>,
    ) -> LiveCall {
        let (facts, known) = watch::channel(CallFacts { snapshot, began: SystemTime::now(), connected: None });
        let (listener, lifeline) = (Arc::new(Listener::new()), Lifeline::new(requests));
        let handles = Arc::new(Handles { key, facts: known, listener, lifeline });
        LiveCall { facts, handles, worker: OnceLock::new(), runtime, is_own: false, keeps_statistics: true }
    }

    /// Where the kit's handles look it up.
    pub(super) fn handles(&self) -> Arc<Handles> {
        self.handles.clone()
    }

    pub(super) fn handle(&self) -> Call {
        self.handles.handle()
    }

    pub(super) fn keeps_statistics(&self) -> bool {
        self.keeps_statistics
    }

    pub(super) fn set_keeps_statistics(&mut self, keeps: bool) {
        self.keeps_statistics = keeps;
    }

    /// Handles read this from now on.
    pub(super) fn update(&self, snapshot: CallSnapshot) {
        self.facts.send_modify(|facts| {
            if snapshot.state == CallState::Connected && facts.connected.is_none() {
                facts.connected = Some(SystemTime::now());
            }
            facts.snapshot = snapshot;
        });
    }

    /// Another handler is told from now on: the one before hears of it as its last.
    pub(super) fn set_handler(&mut self, handler: Arc<dyn CallEventHandler>) {
        self.is_own = true;
        if let Some(before) = self.handles.listener.replace(handler) {
            self.tell_adopted(before);
        }
    }

    fn tell_adopted(&self, before: Arc<dyn CallEventHandler>) {
        let handles = self.handles.clone();
        self.run(Rank::News, move || before.on_background_call_adopted(&handles.handle()));
    }

    /// Tells whoever listens. `levels` are those of the sound at present.
    pub(super) fn emit(&self, event: CallEvent, levels: Levels) {
        match event {
            CallEvent::WaitConnected => self.tell(|handler, call| handler.on_wait_connected(call)),
            CallEvent::Verified { preparation_offered } => {
                self.tell(move |handler, call| handler.on_verified(call, preparation_offered));
            }
            CallEvent::Connected { in_preparation, should_finish } => {
                self.tell(move |handler, call| handler.on_connected(call, in_preparation, should_finish));
            }
            CallEvent::PreparationFinished => self.tell(|handler, call| handler.on_preparation_finished(call)),
            CallEvent::PeerMuted(true) => self.tell(|handler, call| handler.on_peer_mic_muted(call)),
            CallEvent::PeerMuted(false) => self.tell(|handler, call| handler.on_peer_mic_unmuted(call)),
            CallEvent::PeerHeld { held: true, reason } => {
                self.tell(move |handler, call| handler.on_peer_hold(call, reason.as_deref()));
            }
            CallEvent::PeerHeld { held: false, .. } => self.tell(|handler, call| handler.on_peer_unhold(call)),
            CallEvent::MuteRequested(muted) => {
                self.tell(move |handler, call| handler.on_my_audio_mute_requested_by_peer(call, muted));
            }
            CallEvent::NetworkUnavailable { is_peer, ends_in_ms } => {
                let seconds = ends_in_ms.div_ceil(1_000);
                self.tell(move |handler, call| handler.on_network_unavailable(call, is_peer, seconds));
            }
            CallEvent::NetworkRestored { is_peer } => {
                self.tell(move |handler, call| handler.on_network_reavailable(call, is_peer));
            }
            CallEvent::MicrophoneFailed(failure) => {
                self.tell(move |handler, call| handler.on_microphone_failed(call, failure.into()));
            }
            CallEvent::MicrophoneRestored => self.tell(|handler, call| handler.on_microphone_restored(call)),
            CallEvent::AdoptedElsewhere => {
                if let Some(before) = self.handles.listener.retire() {
                    self.tell_adopted(before);
                }
            }
            CallEvent::Muted(true) => self.tell_media(Rank::News, |handler| handler.on_mic_mute()),
            CallEvent::Muted(false) => self.tell_media(Rank::News, |handler| handler.on_mic_unmute()),
            CallEvent::Levels { has_sound, peer } => {
                self.tell_levels(if has_sound { levels } else { Levels::default() }, peer);
            }
        }
    }

    fn tell_levels(&self, levels: Levels, peer: bool) {
        let (mine, theirs) = (percent(levels.microphone), percent(levels.peer));
        if peer {
            self.tell_as(Rank::Figure, move |handler, call| handler.on_peer_audio_description_updated(call, theirs));
        }
        self.tell_media(Rank::Figure, move |handler| handler.on_audio_description_update(mine));
    }

    /// Tells the handler, whoever it is when its turn has come.
    fn tell(&self, what: impl FnOnce(&dyn CallEventHandler, &Call) + Send + 'static) {
        self.tell_as(Rank::News, what);
    }

    fn tell_as(&self, rank: Rank, what: impl FnOnce(&dyn CallEventHandler, &Call) + Send + 'static) {
        let handles = self.handles.clone();
        self.run(rank, move || {
            if let Some(handler) = handles.listener.call() {
                what(&*handler, &handles.handle());
            }
        });
    }

    /// Tells whoever listens to this side's media, whoever it is when its turn has come.
    fn tell_media(&self, rank: Rank, what: impl FnOnce(&dyn MyMediaStatusHandler) + Send + 'static) {
        if self.handles.listener.media().is_none() {
            return;
        }
        let handles = self.handles.clone();
        self.run(rank, move || {
            if let Some(handler) = handles.listener.media() {
                what(&*handler);
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

    /// The end, which is told once, and lets go of the handlers.
    pub(super) fn end(&self, end: Disconnect) {
        self.facts.send_modify(|facts| facts.snapshot.state = CallState::Disconnected);
        let Disconnect { reason, source, by_remote, user_code } = end;
        let handles = self.handles.clone();
        self.handles.lifeline.cut();
        if !self.is_own && self.handles.listener.media().is_none() {
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
}

fn percent(level: f32) -> u8 {
    // A float that is too large or no number is cut off.
    level.round() as u8
}
