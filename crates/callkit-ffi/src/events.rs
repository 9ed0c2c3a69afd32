//! What the app is told, and how it reaches the app's listeners.

mod listener;

use std::collections::HashMap;
use std::pin::Pin;

use callkit::{CallId, CallType, ChannelId, EndReason, RefuseReason, Uid, UserId};
use futures_util::{Stream, StreamExt};
use tokio::sync::Mutex;

pub use listener::CallKitEventHandler;
pub(crate) use listener::Listener;

use crate::error::CallError;
use crate::microphone::MicrophoneFailure;

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

impl ConnectionState {
    /// None for a state that is younger than this twin.
    fn of(state: callkit::ConnectionState) -> Option<ConnectionState> {
        Some(match state {
            callkit::ConnectionState::Connected => ConnectionState::Connected,
            callkit::ConnectionState::Reconnecting => ConnectionState::Reconnecting,
            callkit::ConnectionState::SignedOut(reason) => ConnectionState::SignedOut { reason },
            _ => return None,
        })
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
        /// The call.
        call_id: CallId,
        /// The channel.
        channel: ChannelId,
    },
    /// Another one is in the channel.
    UserJoined {
        /// The call.
        call_id: CallId,
        /// Its uid.
        uid: Uid,
        /// Its user, if the mapper knows it.
        user: Option<UserId>,
    },
    /// Another one left a group call.
    UserLeft {
        /// The call.
        call_id: CallId,
        /// Its uid.
        uid: Uid,
        /// Its user, if the mapper knows it.
        user: Option<UserId>,
    },
    /// Another one muted or unmuted its microphone.
    UserMuteAudio {
        /// The call.
        call_id: CallId,
        /// Its uid.
        uid: Uid,
        /// Whether it is muted now.
        muted: bool,
    },
    /// Another one switched its camera off or on.
    UserMuteVideo {
        /// The call.
        call_id: CallId,
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
        /// The call.
        call_id: CallId,
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
    /// A call has no microphone, at its beginning or in the middle of it. One that goes on only listens.
    MicrophoneFailed {
        /// The call.
        call_id: CallId,
        /// Why.
        failure: MicrophoneFailure,
    },
    /// A call that had no microphone has one again.
    MicrophoneRestored {
        /// The call.
        call_id: CallId,
    },
    /// The call is over; told exactly once.
    CallEnd {
        /// The call.
        call_id: CallId,
        /// How.
        reason: EndReason,
        /// The code that the other side's app gave, or this one's, if it ended the call with one.
        user_code: Option<String>,
    },
    /// Something that the local user did failed.
    Error {
        /// The call that it is about, if it is about one.
        call_id: Option<CallId>,
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
    /// Whoever reads did not keep up: some of what happened before the next event it is not told. The end of a call that it was told of is never
    /// among that.
    EventsLost {
        /// How many events.
        count: u32,
    },
}

impl CallKitEvent {
    /// None for an event that is younger than this twin.
    fn of(event: callkit::CallKitEvent) -> Option<CallKitEvent> {
        use callkit::CallKitEvent as Event;
        Some(match event {
            Event::ReceiveCall { user, call_id, call_type, ext, .. } => {
                CallKitEvent::ReceiveCall { user, call_id, call_type, ext: ext.into_iter().collect() }
            }
            Event::CallWaiting { user, call_id, call_type, ext, .. } => {
                CallKitEvent::CallWaiting { user, call_id, call_type, ext: ext.into_iter().collect() }
            }
            Event::CallMissed { user, call_id, call_type, ext, .. } => {
                CallKitEvent::CallMissed { user, call_id, call_type, ext: ext.into_iter().collect() }
            }
            Event::CallMerged { old, call_id, call_type, .. } => CallKitEvent::CallMerged { old, call_id, call_type },
            Event::CallHeld { call_id, held, .. } => CallKitEvent::CallHeld { call_id, held },
            Event::PeerHeld { call_id, held, .. } => CallKitEvent::PeerHeld { call_id, held },
            Event::Ringing { call_id, user, .. } => CallKitEvent::Ringing { call_id, user },
            Event::Answer { call_id, .. } => CallKitEvent::Answer { call_id },
            Event::JoinedChannel { call_id, channel, .. } => CallKitEvent::JoinedChannel { call_id, channel },
            Event::UserJoined { call_id, uid, user, .. } => CallKitEvent::UserJoined { call_id, uid, user },
            Event::UserLeft { call_id, uid, user, .. } => CallKitEvent::UserLeft { call_id, uid, user },
            Event::UserMuteAudio { call_id, uid, muted, .. } => CallKitEvent::UserMuteAudio { call_id, uid, muted },
            Event::UserMuteVideo { call_id, uid, muted, .. } => CallKitEvent::UserMuteVideo { call_id, uid, muted },
            Event::UserRemoved { call_id, user, reason, .. } => CallKitEvent::UserRemoved { call_id, user, reason },
            Event::FirstAudio { call_id, uid, .. } => CallKitEvent::FirstAudio { call_id, uid },
            Event::PeerReachable { call_id, reachable, ends_in_ms, .. } => {
                CallKitEvent::PeerReachable { call_id, reachable, ends_in_ms }
            }
            Event::NetworkAvailable { call_id, available, ends_in_ms, .. } => {
                CallKitEvent::NetworkAvailable { call_id, available, ends_in_ms }
            }
            Event::MicrophoneFailed { call_id, failure, .. } => {
                CallKitEvent::MicrophoneFailed { call_id, failure: failure.into() }
            }
            Event::MicrophoneRestored { call_id, .. } => CallKitEvent::MicrophoneRestored { call_id },
            Event::CallEnd { call_id, reason, user_code, .. } => CallKitEvent::CallEnd { call_id, reason, user_code },
            Event::Error { call_id, error, .. } => CallKitEvent::Error { call_id, error: error.into() },
            Event::AccessTokenExpiring { left_ms, .. } => CallKitEvent::AccessTokenExpiring { left_ms },
            Event::ConnectionChanged { state, .. } => {
                CallKitEvent::ConnectionChanged { state: ConnectionState::of(state)? }
            }
            Event::EventsLost { count, .. } => CallKitEvent::EventsLost { count },
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
