//! What the app is told, and how it reaches the app's listeners.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc as std_mpsc};

use call_protocol::end::EndReason;
use call_protocol::invite::{CallType, Ext};
use call_protocol::session::RefuseReason;
use call_protocol::{CallId, ChannelId, Uid, UserId};
use tokio::sync::mpsc;

use crate::error::CallError;
use crate::microphone::MicrophoneFailure;

/// How the kit stands with the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionState {
    /// Signed in and connected.
    Connected,
    /// The connection broke and is being restored. A running call goes on.
    Reconnecting,
    /// Signed out for good: the server said no. Build and sign in again.
    SignedOut(RefuseReason),
}

/// Everything an app can be told; the methods of [`CallKitEventHandler`] as values.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallKitEvent {
    /// Callee: somebody calls; ring.
    ReceiveCall {
        /// Who calls.
        user: UserId,
        /// The call.
        call_id: CallId,
        /// The kind of call.
        call_type: CallType,
        /// The caller's app data.
        ext: Ext,
    },
    /// Callee: somebody calls while a call runs, and the kit lets a second call wait ([`SecondCall::Waiting`](crate::SecondCall::Waiting)).
    /// Answering it puts the running one on hold.
    CallWaiting {
        /// Who calls.
        user: UserId,
        /// The call.
        call_id: CallId,
        /// The kind of call.
        call_type: CallType,
        /// The caller's app data.
        ext: Ext,
    },
    /// Somebody called, and no device of the user answered; it did not ring here, as this one was busy or away.
    CallMissed {
        /// Who called.
        user: UserId,
        /// The call.
        call_id: CallId,
        /// The kind of call.
        call_type: CallType,
        /// The caller's app data.
        ext: Ext,
    },
    /// The other one called at the same moment: the call placed here goes on as the other one's. Nothing more is told of the old one.
    CallMerged {
        /// The call that was placed here.
        old: CallId,
        /// The call it goes on as.
        call_id: CallId,
        /// Its kind: voice, if the two were of different kinds.
        call_type: CallType,
    },
    /// The call was put on hold here, or goes on.
    CallHeld {
        /// The call.
        call_id: CallId,
        /// Whether it is on hold now.
        held: bool,
    },
    /// The other one put the call on hold, or goes on with it.
    PeerHeld {
        /// The call.
        call_id: CallId,
        /// Whether it is on hold now.
        held: bool,
    },
    /// Caller: the callee's phone is about to ring.
    Ringing {
        /// The call.
        call_id: CallId,
        /// Who is rung.
        user: UserId,
    },
    /// Both sides of a one-to-one call: it was accepted.
    Answer {
        /// The call.
        call_id: CallId,
    },
    /// The local user joined the channel.
    JoinedChannel {
        /// The channel.
        channel: ChannelId,
    },
    /// Another one is in the channel.
    UserJoined {
        /// Its uid.
        uid: Uid,
        /// Its user, if the mapper knows it.
        user: Option<UserId>,
    },
    /// Another one left a group call.
    UserLeft {
        /// Its uid.
        uid: Uid,
        /// Its user, if the mapper knows it.
        user: Option<UserId>,
    },
    /// Another one muted or unmuted its microphone.
    UserMuteAudio {
        /// Its uid.
        uid: Uid,
        /// Whether it is muted now.
        muted: bool,
    },
    /// Another one switched its camera off or on.
    UserMuteVideo {
        /// Its uid.
        uid: Uid,
        /// Whether it is off now.
        muted: bool,
    },
    /// An invitee of a group call did not come.
    UserRemoved {
        /// The call.
        call_id: CallId,
        /// Who.
        user: UserId,
        /// Why.
        reason: EndReason,
    },
    /// The first sound of another one was played.
    FirstAudio {
        /// Its uid.
        uid: Uid,
    },
    /// The other one cannot be heard by the server at the moment, or is back.
    PeerReachable {
        /// The call.
        call_id: CallId,
        /// Whether it can be heard.
        reachable: bool,
        /// How long until the call ends if it stays away, in ms.
        ends_in_ms: u32,
    },
    /// The own network is away, or back: neither the server nor the other end could be reached. The voice is interrupted meanwhile.
    NetworkAvailable {
        /// The call.
        call_id: CallId,
        /// Whether it is there.
        available: bool,
        /// How long until the call ends if it stays away, in ms.
        ends_in_ms: u32,
    },
    /// There is no microphone, at the beginning of a call or in the middle of it. A call that goes on only listens.
    MicrophoneFailed {
        /// Why.
        failure: MicrophoneFailure,
    },
    /// The call is over; told exactly once.
    CallEnd {
        /// The call.
        call_id: CallId,
        /// How.
        reason: EndReason,
    },
    /// Something that the local user did failed.
    Error {
        /// What.
        error: CallError,
    },
    /// The access token ends soon, or has ended. Without [`AccessTokenHandler`](crate::AccessTokenHandler) the app is to give a new one by
    /// [`CallKit::renew_access_token`](crate::CallKit::renew_access_token): until then a broken connection may not come back.
    AccessTokenExpiring {
        /// How long it is still good, in ms; zero when it has ended.
        left_ms: u32,
    },
    /// The connection to the server changed after the sign-in, whose return says that it is there.
    ConnectionChanged {
        /// How it stands now.
        state: ConnectionState,
    },
}

/// Listens to a kit. Every method has an empty default. Methods are called one after another on a thread of their own, in the
/// order in which things happened; they may block and may call the kit.
pub trait CallKitEventHandler: Send + Sync {
    /// Callee: somebody calls; ring.
    fn on_receive_call(&self, user: &UserId, call_id: CallId, call_type: CallType, ext: &Ext) {
        let _ = (user, call_id, call_type, ext);
    }
    /// Callee: somebody calls while a call runs, and second calls may wait. Answering it puts the running one on hold.
    fn on_call_waiting(&self, user: &UserId, call_id: CallId, call_type: CallType, ext: &Ext) {
        let _ = (user, call_id, call_type, ext);
    }
    /// Somebody called, no device of the user answered, and it did not ring here.
    fn on_call_missed(&self, user: &UserId, call_id: CallId, call_type: CallType, ext: &Ext) {
        let _ = (user, call_id, call_type, ext);
    }
    /// The other one called at the same moment: the call `old` goes on as `call_id`.
    fn on_call_merged(&self, old: CallId, call_id: CallId, call_type: CallType) {
        let _ = (old, call_id, call_type);
    }
    /// The call was put on hold here, or goes on.
    fn on_call_held(&self, call_id: CallId, held: bool) {
        let _ = (call_id, held);
    }
    /// The other one put the call on hold, or goes on with it.
    fn on_peer_held(&self, call_id: CallId, held: bool) {
        let _ = (call_id, held);
    }
    /// Caller: the callee's phone is about to ring.
    fn on_ringing(&self, call_id: CallId, user: &UserId) {
        let _ = (call_id, user);
    }
    /// Both sides of a one-to-one call: it was accepted.
    fn on_answer(&self, call_id: CallId) {
        let _ = call_id;
    }
    /// The local user joined the channel.
    fn on_joined_channel(&self, channel: &ChannelId) {
        let _ = channel;
    }
    /// Another one is in the channel.
    fn on_user_joined(&self, uid: Uid, user: Option<&UserId>) {
        let _ = (uid, user);
    }
    /// Another one left a group call.
    fn on_user_left(&self, uid: Uid, user: Option<&UserId>) {
        let _ = (uid, user);
    }
    /// Another one muted or unmuted its microphone.
    fn on_user_mute_audio(&self, uid: Uid, muted: bool) {
        let _ = (uid, muted);
    }
    /// Another one switched its camera off or on.
    fn on_user_mute_video(&self, uid: Uid, muted: bool) {
        let _ = (uid, muted);
    }
    /// An invitee of a group call did not come.
    fn on_user_removed(&self, call_id: CallId, user: &UserId, reason: EndReason) {
        let _ = (call_id, user, reason);
    }
    /// The first sound of another one was played.
    fn on_first_audio(&self, uid: Uid) {
        let _ = uid;
    }
    /// The other one cannot be heard by the server at the moment, or is back.
    fn on_peer_reachable(&self, call_id: CallId, reachable: bool, ends_in_ms: u32) {
        let _ = (call_id, reachable, ends_in_ms);
    }
    /// The own network is away, or back; see [`CallKitEvent::NetworkAvailable`].
    fn on_network_available(&self, call_id: CallId, available: bool, ends_in_ms: u32) {
        let _ = (call_id, available, ends_in_ms);
    }
    /// There is no microphone; a call that goes on only listens.
    fn on_microphone_failed(&self, failure: MicrophoneFailure) {
        let _ = failure;
    }
    /// The call is over; told exactly once.
    fn on_call_end(&self, call_id: CallId, reason: EndReason) {
        let _ = (call_id, reason);
    }
    /// Something that the local user did failed.
    fn on_error(&self, error: &CallError) {
        let _ = error;
    }
    /// The access token ends soon, or has ended; see [`CallKitEvent::AccessTokenExpiring`].
    fn on_access_token_expiring(&self, left_ms: u32) {
        let _ = left_ms;
    }
    /// The connection to the server changed after the sign-in, whose return says that it is there.
    fn on_connection_changed(&self, state: &ConnectionState) {
        let _ = state;
    }
}

impl CallKitEvent {
    /// Calls the method of `handler` that goes with this event.
    pub fn deliver(&self, handler: &dyn CallKitEventHandler) {
        match self {
            CallKitEvent::ReceiveCall { user, call_id, call_type, ext } => {
                handler.on_receive_call(user, *call_id, *call_type, ext)
            }
            CallKitEvent::CallWaiting { user, call_id, call_type, ext } => {
                handler.on_call_waiting(user, *call_id, *call_type, ext);
            }
            CallKitEvent::CallMissed { user, call_id, call_type, ext } => {
                handler.on_call_missed(user, *call_id, *call_type, ext);
            }
            CallKitEvent::CallMerged { old, call_id, call_type } => handler.on_call_merged(*old, *call_id, *call_type),
            CallKitEvent::CallHeld { call_id, held } => handler.on_call_held(*call_id, *held),
            CallKitEvent::PeerHeld { call_id, held } => handler.on_peer_held(*call_id, *held),
            CallKitEvent::Ringing { call_id, user } => handler.on_ringing(*call_id, user),
            CallKitEvent::Answer { call_id } => handler.on_answer(*call_id),
            CallKitEvent::JoinedChannel { channel } => handler.on_joined_channel(channel),
            CallKitEvent::UserJoined { uid, user } => handler.on_user_joined(*uid, user.as_ref()),
            CallKitEvent::UserLeft { uid, user } => handler.on_user_left(*uid, user.as_ref()),
            CallKitEvent::UserMuteAudio { uid, muted } => handler.on_user_mute_audio(*uid, *muted),
            CallKitEvent::UserMuteVideo { uid, muted } => handler.on_user_mute_video(*uid, *muted),
            CallKitEvent::UserRemoved { call_id, user, reason } => handler.on_user_removed(*call_id, user, *reason),
            CallKitEvent::FirstAudio { uid } => handler.on_first_audio(*uid),
            CallKitEvent::PeerReachable { call_id, reachable, ends_in_ms } => {
                handler.on_peer_reachable(*call_id, *reachable, *ends_in_ms)
            }
            CallKitEvent::NetworkAvailable { call_id, available, ends_in_ms } => {
                handler.on_network_available(*call_id, *available, *ends_in_ms);
            }
            CallKitEvent::MicrophoneFailed { failure } => handler.on_microphone_failed(*failure),
            CallKitEvent::CallEnd { call_id, reason } => handler.on_call_end(*call_id, *reason),
            CallKitEvent::Error { error } => handler.on_error(error),
            CallKitEvent::AccessTokenExpiring { left_ms } => handler.on_access_token_expiring(*left_ms),
            CallKitEvent::ConnectionChanged { state } => handler.on_connection_changed(state),
        }
    }
}

/// Events kept for a kit that has no listener yet: a call may ring before the app has had the time to add one.
const EARLY_EVENTS: usize = 64;

/// The listeners of a kit. The locks are held only to look them up, never while one runs.
#[derive(Default)]
pub(crate) struct Listeners {
    keyed: Mutex<BTreeMap<String, Arc<dyn CallKitEventHandler>>>,
    streams: Mutex<Streams>,
}

#[derive(Default)]
struct Streams {
    senders: Vec<mpsc::UnboundedSender<CallKitEvent>>,
    /// What happened before anybody listened; `None` once somebody has.
    early: Option<Vec<CallKitEvent>>,
    closed: bool,
}

impl Listeners {
    fn tell(&self, event: CallKitEvent) {
        let mut streams = lock(&self.streams);
        let handlers: Vec<_> = lock(&self.keyed).values().cloned().collect();
        if let Some(early) = &mut streams.early {
            if early.len() < EARLY_EVENTS {
                early.push(event);
            }
            return;
        }
        streams.senders.retain(|stream| stream.send(event.clone()).is_ok());
        drop(streams);
        for handler in handlers {
            // A listener that panics must not silence the others, nor end the call.
            if catch_unwind(AssertUnwindSafe(|| event.deliver(&*handler))).is_err() {
                tracing::error!("an event listener panicked");
            }
        }
    }

    /// Somebody listens: what happened before is told now.
    fn tell_early(&self) {
        let early = lock(&self.streams).early.take();
        for event in early.into_iter().flatten() {
            self.tell(event);
        }
    }

    fn close(&self) {
        let mut streams = lock(&self.streams);
        streams.senders.clear();
        streams.closed = true;
    }
}

/// Data behind these locks is whole between any two statements, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

enum Task {
    Tell(CallKitEvent),
    /// Something for one handler alone.
    Run(Box<dyn FnOnce() + Send>),
    /// A listener was added.
    Listened,
    Close,
}

/// The thread on which listeners run, and who they are.
#[derive(Clone)]
pub(crate) struct Teller {
    tasks: std_mpsc::Sender<Task>,
    listeners: Arc<Listeners>,
}

impl Teller {
    /// Starts the thread; it ends with [`Teller::close`].
    pub(crate) fn start(runtime: tokio::runtime::Handle) -> std::io::Result<Teller> {
        let (tasks, todo) = std_mpsc::channel();
        let listeners = Arc::new(Listeners::default());
        lock(&listeners.streams).early = Some(Vec::new());
        let told = listeners.clone();
        std::thread::Builder::new().name("callkit-events".into()).spawn(move || {
            let _entered = runtime.enter();
            for task in todo {
                match task {
                    Task::Tell(event) => {
                        tracing::debug!(event = event.name(), "told");
                        told.tell(event);
                    }
                    Task::Run(what) => {
                        if catch_unwind(AssertUnwindSafe(what)).is_err() {
                            tracing::error!("an event handler panicked");
                        }
                    }
                    Task::Listened => told.tell_early(),
                    Task::Close => break,
                }
            }
            told.close();
        })?;
        Ok(Teller { tasks, listeners })
    }

    pub(crate) fn tell(&self, event: CallKitEvent) {
        self.put(Task::Tell(event));
    }

    /// Runs this on the listeners' thread, after everything that was told before.
    pub(crate) fn run(&self, what: impl FnOnce() + Send + 'static) {
        self.put(Task::Run(Box::new(what)));
    }

    /// Everything told so far is delivered, then every stream ends.
    pub(crate) fn close(&self) {
        self.put(Task::Close);
    }

    pub(crate) fn add(&self, key: String, handler: Arc<dyn CallKitEventHandler>) {
        lock(&self.listeners.keyed).insert(key, handler);
        self.put(Task::Listened);
    }

    pub(crate) fn remove(&self, key: &str) {
        lock(&self.listeners.keyed).remove(key);
    }

    pub(crate) fn clear(&self) {
        lock(&self.listeners.keyed).clear();
    }

    pub(crate) fn stream(&self) -> mpsc::UnboundedReceiver<CallKitEvent> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut streams = lock(&self.listeners.streams);
        if !streams.closed {
            streams.senders.push(sender);
        }
        drop(streams);
        self.put(Task::Listened);
        receiver
    }

    fn put(&self, task: Task) {
        // After the close nobody listens any more.
        let _ = self.tasks.send(task);
    }
}

impl CallKitEvent {
    /// The event's name in snake case, for logs and transcripts.
    pub fn name(&self) -> &'static str {
        match self {
            CallKitEvent::ReceiveCall { .. } => "receive_call",
            CallKitEvent::CallWaiting { .. } => "call_waiting",
            CallKitEvent::CallMissed { .. } => "call_missed",
            CallKitEvent::CallMerged { .. } => "call_merged",
            CallKitEvent::CallHeld { .. } => "call_held",
            CallKitEvent::PeerHeld { .. } => "peer_held",
            CallKitEvent::Ringing { .. } => "ringing",
            CallKitEvent::Answer { .. } => "answer",
            CallKitEvent::JoinedChannel { .. } => "joined_channel",
            CallKitEvent::UserJoined { .. } => "user_joined",
            CallKitEvent::UserLeft { .. } => "user_left",
            CallKitEvent::UserMuteAudio { .. } => "user_mute_audio",
            CallKitEvent::UserMuteVideo { .. } => "user_mute_video",
            CallKitEvent::UserRemoved { .. } => "user_removed",
            CallKitEvent::FirstAudio { .. } => "first_audio",
            CallKitEvent::PeerReachable { .. } => "peer_reachable",
            CallKitEvent::NetworkAvailable { .. } => "network_available",
            CallKitEvent::MicrophoneFailed { .. } => "microphone_failed",
            CallKitEvent::CallEnd { .. } => "call_end",
            CallKitEvent::Error { .. } => "error",
            CallKitEvent::AccessTokenExpiring { .. } => "access_token_expiring",
            CallKitEvent::ConnectionChanged { .. } => "connection_changed",
        }
    }
}
