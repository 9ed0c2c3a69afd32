//! What the app is told, and how it reaches the app's listeners.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use callkit::{CallId, CallType, ChannelId, EndReason, Ext, RefuseReason, Uid, UserId};
use futures_util::{Stream, StreamExt};
use tokio::sync::Mutex;

use crate::error::CallError;
use crate::handlers::HandlerError;

/// How a call ended, as the one who is told sees it. The numbers are those on the wire.
#[uniffi::remote(Enum)]
pub enum EndReason {
    /// The local user hung up.
    Hangup = 1,
    /// The other one hung up.
    RemoteHangup = 2,
    /// The local user called and gave up before an answer.
    Cancel = 3,
    /// The caller gave up before an answer.
    RemoteCancel = 4,
    /// The local user said no.
    Refuse = 5,
    /// The callee said no.
    RemoteRefuse = 6,
    /// The callee is in another call; at a callee: it answered so by itself.
    Busy = 7,
    /// The local user did not answer in time.
    NoResponse = 8,
    /// The callee did not answer in time.
    RemoteNoResponse = 9,
    /// Another device of the local user took the call.
    AnsweredElsewhere = 10,
    /// Another device of the local user said no.
    RefusedElsewhere = 11,
    /// The other one can no longer be heard.
    RemoteDrop = 12,
    /// Something failed; an error event says what.
    Error = 13,
}

/// How the kit stands with the server.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum ConnectionState {
    /// Signed in and connected.
    Connected,
    /// The connection broke and is being restored. A running call goes on.
    Reconnecting,
    /// Signed out for good: the server said no. Sign in again.
    SignedOut {
        /// Why.
        reason: RefuseReason,
    },
}

impl From<callkit::ConnectionState> for ConnectionState {
    fn from(state: callkit::ConnectionState) -> ConnectionState {
        match state {
            callkit::ConnectionState::Connected => ConnectionState::Connected,
            callkit::ConnectionState::Reconnecting => ConnectionState::Reconnecting,
            callkit::ConnectionState::SignedOut(reason) => ConnectionState::SignedOut { reason },
        }
    }
}

/// Everything an app can be told; the methods of [`CallKitEventHandler`] as values.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
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
        ext: HashMap<String, String>,
    },
    /// Callee: somebody calls while a call runs, and the kit lets a second call wait. Answering it puts the running one on hold.
    CallWaiting {
        /// Who calls.
        user: UserId,
        /// The call.
        call_id: CallId,
        /// The kind of call.
        call_type: CallType,
        /// The caller's app data.
        ext: HashMap<String, String>,
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
        ext: HashMap<String, String>,
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
    /// The access token ends soon, or has ended. Without an [`AccessTokenHandler`](crate::AccessTokenHandler) the app is to give a new one.
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

impl CallKitEvent {
    /// None for an event that is younger than this twin.
    fn of(event: callkit::CallKitEvent) -> Option<CallKitEvent> {
        use callkit::CallKitEvent as Event;
        Some(match event {
            Event::ReceiveCall { user, call_id, call_type, ext } => {
                CallKitEvent::ReceiveCall { user, call_id, call_type, ext: ext.into_iter().collect() }
            }
            Event::CallWaiting { user, call_id, call_type, ext } => {
                CallKitEvent::CallWaiting { user, call_id, call_type, ext: ext.into_iter().collect() }
            }
            Event::CallMissed { user, call_id, call_type, ext } => {
                CallKitEvent::CallMissed { user, call_id, call_type, ext: ext.into_iter().collect() }
            }
            Event::CallMerged { old, call_id, call_type } => CallKitEvent::CallMerged { old, call_id, call_type },
            Event::CallHeld { call_id, held } => CallKitEvent::CallHeld { call_id, held },
            Event::PeerHeld { call_id, held } => CallKitEvent::PeerHeld { call_id, held },
            Event::Ringing { call_id, user } => CallKitEvent::Ringing { call_id, user },
            Event::Answer { call_id } => CallKitEvent::Answer { call_id },
            Event::JoinedChannel { channel } => CallKitEvent::JoinedChannel { channel },
            Event::UserJoined { uid, user } => CallKitEvent::UserJoined { uid, user },
            Event::UserLeft { uid, user } => CallKitEvent::UserLeft { uid, user },
            Event::UserMuteAudio { uid, muted } => CallKitEvent::UserMuteAudio { uid, muted },
            Event::UserMuteVideo { uid, muted } => CallKitEvent::UserMuteVideo { uid, muted },
            Event::UserRemoved { call_id, user, reason } => CallKitEvent::UserRemoved { call_id, user, reason },
            Event::FirstAudio { uid } => CallKitEvent::FirstAudio { uid },
            Event::PeerReachable { call_id, reachable, ends_in_ms } => {
                CallKitEvent::PeerReachable { call_id, reachable, ends_in_ms }
            }
            Event::CallEnd { call_id, reason } => CallKitEvent::CallEnd { call_id, reason },
            Event::Error { error } => CallKitEvent::Error { error: error.into() },
            Event::AccessTokenExpiring { left_ms } => CallKitEvent::AccessTokenExpiring { left_ms },
            Event::ConnectionChanged { state } => CallKitEvent::ConnectionChanged { state: state.into() },
            _ => return None,
        })
    }
}

/// The events of a kit as values, one after another.
#[derive(uniffi::Object)]
pub struct EventStream(Mutex<Pin<Box<dyn Stream<Item = CallKitEvent> + Send>>>);

impl EventStream {
    pub(crate) fn new(events: impl Stream<Item = callkit::CallKitEvent> + Send + 'static) -> EventStream {
        EventStream(Mutex::new(Box::pin(events.filter_map(async |event| CallKitEvent::of(event)))))
    }
}

#[uniffi::export]
impl EventStream {
    /// The next event; none when the kit is signed out or gone. Cancelled, it loses no event.
    pub async fn next(&self) -> Option<CallKitEvent> {
        self.0.lock().await.next().await
    }
}

/// Listens to a kit. Methods are called one after another on a thread of their own, in the order in which things happened; they may
/// block and may call the kit. Whatever they throw goes to the log and changes nothing.
///
/// Every method must be there; who wants only some events reads the stream instead ([`crate::CallKit::events`]).
#[uniffi::export(foreign)]
pub trait CallKitEventHandler: Send + Sync {
    /// Callee: somebody calls; ring.
    fn on_receive_call(
        &self,
        user: UserId,
        call_id: CallId,
        call_type: CallType,
        ext: HashMap<String, String>,
    ) -> Result<(), HandlerError>;
    /// Callee: somebody calls while a call runs, and second calls may wait. Answering it puts the running one on hold.
    fn on_call_waiting(
        &self,
        user: UserId,
        call_id: CallId,
        call_type: CallType,
        ext: HashMap<String, String>,
    ) -> Result<(), HandlerError>;
    /// Somebody called, no device of the user answered, and it did not ring here.
    fn on_call_missed(
        &self,
        user: UserId,
        call_id: CallId,
        call_type: CallType,
        ext: HashMap<String, String>,
    ) -> Result<(), HandlerError>;
    /// The other one called at the same moment: the call `old` goes on as `call_id`.
    fn on_call_merged(&self, old: CallId, call_id: CallId, call_type: CallType) -> Result<(), HandlerError>;
    /// The call was put on hold here, or goes on.
    fn on_call_held(&self, call_id: CallId, held: bool) -> Result<(), HandlerError>;
    /// The other one put the call on hold, or goes on with it.
    fn on_peer_held(&self, call_id: CallId, held: bool) -> Result<(), HandlerError>;
    /// Caller: the callee's phone is about to ring.
    fn on_ringing(&self, call_id: CallId, user: UserId) -> Result<(), HandlerError>;
    /// Both sides of a one-to-one call: it was accepted.
    fn on_answer(&self, call_id: CallId) -> Result<(), HandlerError>;
    /// The local user joined the channel.
    fn on_joined_channel(&self, channel: ChannelId) -> Result<(), HandlerError>;
    /// Another one is in the channel.
    fn on_user_joined(&self, uid: Uid, user: Option<UserId>) -> Result<(), HandlerError>;
    /// Another one left a group call.
    fn on_user_left(&self, uid: Uid, user: Option<UserId>) -> Result<(), HandlerError>;
    /// Another one muted or unmuted its microphone.
    fn on_user_mute_audio(&self, uid: Uid, muted: bool) -> Result<(), HandlerError>;
    /// Another one switched its camera off or on.
    fn on_user_mute_video(&self, uid: Uid, muted: bool) -> Result<(), HandlerError>;
    /// An invitee of a group call did not come.
    fn on_user_removed(&self, call_id: CallId, user: UserId, reason: EndReason) -> Result<(), HandlerError>;
    /// The first sound of another one was played.
    fn on_first_audio(&self, uid: Uid) -> Result<(), HandlerError>;
    /// The other one cannot be heard by the server at the moment, or is back.
    fn on_peer_reachable(&self, call_id: CallId, reachable: bool, ends_in_ms: u32) -> Result<(), HandlerError>;
    /// The call is over; told exactly once.
    fn on_call_end(&self, call_id: CallId, reason: EndReason) -> Result<(), HandlerError>;
    /// Something that the local user did failed.
    fn on_error(&self, error: CallError) -> Result<(), HandlerError>;
    /// The access token ends soon, or has ended (0 ms left). Without an [`AccessTokenHandler`](crate::AccessTokenHandler) the app is to give
    /// a new one.
    fn on_access_token_expiring(&self, left_ms: u32) -> Result<(), HandlerError>;
    /// The connection to the server changed after the sign-in, whose return says that it is there.
    fn on_connection_changed(&self, state: ConnectionState) -> Result<(), HandlerError>;
}

/// A foreign listener as one of callkit's.
pub(crate) struct Listener(pub(crate) Arc<dyn CallKitEventHandler>);

impl callkit::CallKitEventHandler for Listener {
    fn on_receive_call(&self, user: &UserId, call_id: CallId, call_type: CallType, ext: &Ext) {
        told(self.0.on_receive_call(user.clone(), call_id, call_type, ext.clone().into_iter().collect()));
    }
    fn on_call_waiting(&self, user: &UserId, call_id: CallId, call_type: CallType, ext: &Ext) {
        told(self.0.on_call_waiting(user.clone(), call_id, call_type, ext.clone().into_iter().collect()));
    }
    fn on_call_missed(&self, user: &UserId, call_id: CallId, call_type: CallType, ext: &Ext) {
        told(self.0.on_call_missed(user.clone(), call_id, call_type, ext.clone().into_iter().collect()));
    }
    fn on_call_merged(&self, old: CallId, call_id: CallId, call_type: CallType) {
        told(self.0.on_call_merged(old, call_id, call_type));
    }
    fn on_call_held(&self, call_id: CallId, held: bool) {
        told(self.0.on_call_held(call_id, held));
    }
    fn on_peer_held(&self, call_id: CallId, held: bool) {
        told(self.0.on_peer_held(call_id, held));
    }
    fn on_ringing(&self, call_id: CallId, user: &UserId) {
        told(self.0.on_ringing(call_id, user.clone()));
    }
    fn on_answer(&self, call_id: CallId) {
        told(self.0.on_answer(call_id));
    }
    fn on_joined_channel(&self, channel: &ChannelId) {
        told(self.0.on_joined_channel(channel.clone()));
    }
    fn on_user_joined(&self, uid: Uid, user: Option<&UserId>) {
        told(self.0.on_user_joined(uid, user.cloned()));
    }
    fn on_user_left(&self, uid: Uid, user: Option<&UserId>) {
        told(self.0.on_user_left(uid, user.cloned()));
    }
    fn on_user_mute_audio(&self, uid: Uid, muted: bool) {
        told(self.0.on_user_mute_audio(uid, muted));
    }
    fn on_user_mute_video(&self, uid: Uid, muted: bool) {
        told(self.0.on_user_mute_video(uid, muted));
    }
    fn on_user_removed(&self, call_id: CallId, user: &UserId, reason: EndReason) {
        told(self.0.on_user_removed(call_id, user.clone(), reason));
    }
    fn on_first_audio(&self, uid: Uid) {
        told(self.0.on_first_audio(uid));
    }
    fn on_peer_reachable(&self, call_id: CallId, reachable: bool, ends_in_ms: u32) {
        told(self.0.on_peer_reachable(call_id, reachable, ends_in_ms));
    }
    fn on_call_end(&self, call_id: CallId, reason: EndReason) {
        told(self.0.on_call_end(call_id, reason));
    }
    fn on_error(&self, error: &callkit::CallError) {
        told(self.0.on_error(error.clone().into()));
    }
    fn on_access_token_expiring(&self, left_ms: u32) {
        told(self.0.on_access_token_expiring(left_ms));
    }
    fn on_connection_changed(&self, state: &callkit::ConnectionState) {
        told(self.0.on_connection_changed(state.clone().into()));
    }
}

/// A listener cannot change what happened; what it throws is for the developer.
fn told(result: Result<(), HandlerError>) {
    result.unwrap_or_else(|error| tracing::error!(%error, "an event listener failed"));
}
