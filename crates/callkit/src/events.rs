//! What the app is told, and how it reaches the app's listeners.

mod mapping;
mod naming;

use call_protocol::end::EndReason;
use call_protocol::invite::{CallType, Ext};
use call_protocol::{CallId, ChannelId, Uid, UserId};

use crate::error::CallError;
use crate::microphone::MicrophoneFailure;

#[doc(inline)]
pub use callkit_core::ConnectionState;
pub(crate) use mapping::kit_event;

/// Everything an app can be told; the methods of [`CallKitEventHandler`] as values. Kinds of events, and what they tell, are added over time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallKitEvent {
    /// Callee: somebody calls; ring.
    #[non_exhaustive]
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
    #[non_exhaustive]
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
    #[non_exhaustive]
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
    #[non_exhaustive]
    CallMerged {
        /// The call that was placed here.
        old: CallId,
        /// The call it goes on as.
        call_id: CallId,
        /// Its kind: voice, if the two were of different kinds.
        call_type: CallType,
    },
    /// The call was put on hold here, or goes on.
    #[non_exhaustive]
    CallHeld {
        /// The call.
        call_id: CallId,
        /// Whether it is on hold now.
        held: bool,
    },
    /// The other one put the call on hold, or goes on with it.
    #[non_exhaustive]
    PeerHeld {
        /// The call.
        call_id: CallId,
        /// Whether it is on hold now.
        held: bool,
    },
    /// Caller: the callee's phone is about to ring.
    #[non_exhaustive]
    Ringing {
        /// The call.
        call_id: CallId,
        /// Who is rung.
        user: UserId,
    },
    /// Both sides of a one-to-one call: it was accepted.
    #[non_exhaustive]
    Answer {
        /// The call.
        call_id: CallId,
    },
    /// The local user joined the channel.
    #[non_exhaustive]
    JoinedChannel {
        /// The call.
        call_id: CallId,
        /// The channel.
        channel: ChannelId,
    },
    /// Another one is in the channel.
    #[non_exhaustive]
    UserJoined {
        /// The call.
        call_id: CallId,
        /// Its uid.
        uid: Uid,
        /// Its user, if the mapper knows it.
        user: Option<UserId>,
    },
    /// Another one left a group call.
    #[non_exhaustive]
    UserLeft {
        /// The call.
        call_id: CallId,
        /// Its uid.
        uid: Uid,
        /// Its user, if the mapper knows it.
        user: Option<UserId>,
    },
    /// Another one muted or unmuted its microphone.
    #[non_exhaustive]
    UserMuteAudio {
        /// The call.
        call_id: CallId,
        /// Its uid.
        uid: Uid,
        /// Whether it is muted now.
        muted: bool,
    },
    /// Another one switched its camera off or on.
    #[non_exhaustive]
    UserMuteVideo {
        /// The call.
        call_id: CallId,
        /// Its uid.
        uid: Uid,
        /// Whether it is off now.
        muted: bool,
    },
    /// An invitee of a group call did not come.
    #[non_exhaustive]
    UserRemoved {
        /// The call.
        call_id: CallId,
        /// Who.
        user: UserId,
        /// Why.
        reason: EndReason,
    },
    /// The first sound of another one was played.
    #[non_exhaustive]
    FirstAudio {
        /// The call.
        call_id: CallId,
        /// Its uid.
        uid: Uid,
    },
    /// The other one cannot be heard by the server at the moment, or is back.
    #[non_exhaustive]
    PeerReachable {
        /// The call.
        call_id: CallId,
        /// Whether it can be heard.
        reachable: bool,
        /// How long until the call ends if it stays away, in ms.
        ends_in_ms: u32,
    },
    /// The own network is away, or back: neither the server nor the other end could be reached. The voice is interrupted meanwhile.
    #[non_exhaustive]
    NetworkAvailable {
        /// The call.
        call_id: CallId,
        /// Whether it is there.
        available: bool,
        /// How long until the call ends if it stays away, in ms.
        ends_in_ms: u32,
    },
    /// A call has no microphone, at its beginning or in the middle of it. One that goes on only listens.
    #[non_exhaustive]
    MicrophoneFailed {
        /// The call.
        call_id: CallId,
        /// Why.
        failure: MicrophoneFailure,
    },
    /// A call that had no microphone has one again.
    #[non_exhaustive]
    MicrophoneRestored {
        /// The call.
        call_id: CallId,
    },
    /// The call is over; told exactly once.
    #[non_exhaustive]
    CallEnd {
        /// The call.
        call_id: CallId,
        /// How.
        reason: EndReason,
        /// The code that the other side's app gave, or this one's, if it ended the call with one.
        user_code: Option<String>,
    },
    /// Something that the local user did failed.
    #[non_exhaustive]
    Error {
        /// The call that it is about, if it is about one.
        call_id: Option<CallId>,
        /// What.
        error: CallError,
    },
    /// The access token ends soon, or has ended. Without [`AccessTokenHandler`](crate::AccessTokenHandler) the app is to give a new one by
    /// [`CallKit::renew_access_token`](crate::CallKit::renew_access_token): until then a broken connection may not come back,
    /// and once it has ended no call can be placed; some seconds later the server ends the connection, unless a call runs.
    #[non_exhaustive]
    AccessTokenExpiring {
        /// How long it is still good, in ms; zero when it has ended.
        left_ms: u32,
    },
    /// The connection to the server changed after the sign-in, whose return says that it is there.
    #[non_exhaustive]
    ConnectionChanged {
        /// How it stands now.
        state: ConnectionState,
    },
    /// This listener did not keep up: some of what happened before the next event it is not told. The end of a call that it was told of is never
    /// among that.
    EventsLost {
        /// How many events.
        count: u32,
    },
}

/// Listens to a kit. Every method has an empty default. Methods are called one after another on a thread of this listener's own, in the
/// order in which things happened; they may block, which delays this listener alone, and may call the kit. Of a listener that falls behind by
/// more than 256 events some are lost, never the end of a call that it was told of ([`on_events_lost`](CallKitEventHandler::on_events_lost)).
///
/// A listener that holds a [`CallKit`](crate::CallKit) keeps that signed in; one that is to answer or hang up holds a
/// [`WeakCallKit`](crate::WeakCallKit).
pub trait CallKitEventHandler: Send + Sync {
    /// Every event as a value, before the method that goes with it: for an app that passes all of them on.
    fn on_event(&self, event: &CallKitEvent) {
        let _ = event;
    }
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
    fn on_joined_channel(&self, call_id: CallId, channel: &ChannelId) {
        let _ = (call_id, channel);
    }
    /// Another one is in the channel.
    fn on_user_joined(&self, call_id: CallId, uid: Uid, user: Option<&UserId>) {
        let _ = (call_id, uid, user);
    }
    /// Another one left a group call.
    fn on_user_left(&self, call_id: CallId, uid: Uid, user: Option<&UserId>) {
        let _ = (call_id, uid, user);
    }
    /// Another one muted or unmuted its microphone.
    fn on_user_mute_audio(&self, call_id: CallId, uid: Uid, muted: bool) {
        let _ = (call_id, uid, muted);
    }
    /// Another one switched its camera off or on.
    fn on_user_mute_video(&self, call_id: CallId, uid: Uid, muted: bool) {
        let _ = (call_id, uid, muted);
    }
    /// An invitee of a group call did not come.
    fn on_user_removed(&self, call_id: CallId, user: &UserId, reason: EndReason) {
        let _ = (call_id, user, reason);
    }
    /// The first sound of another one was played.
    fn on_first_audio(&self, call_id: CallId, uid: Uid) {
        let _ = (call_id, uid);
    }
    /// The other one cannot be heard by the server at the moment, or is back.
    fn on_peer_reachable(&self, call_id: CallId, reachable: bool, ends_in_ms: u32) {
        let _ = (call_id, reachable, ends_in_ms);
    }
    /// The own network is away, or back; see [`CallKitEvent::NetworkAvailable`].
    fn on_network_available(&self, call_id: CallId, available: bool, ends_in_ms: u32) {
        let _ = (call_id, available, ends_in_ms);
    }
    /// A call has no microphone; one that goes on only listens.
    fn on_microphone_failed(&self, call_id: CallId, failure: MicrophoneFailure) {
        let _ = (call_id, failure);
    }
    /// A call that had no microphone has one again.
    fn on_microphone_restored(&self, call_id: CallId) {
        let _ = call_id;
    }
    /// The call is over; told exactly once. `user_code` is that of whichever app ended it, if it gave one.
    fn on_call_end(&self, call_id: CallId, reason: EndReason, user_code: Option<&str>) {
        let _ = (call_id, reason, user_code);
    }
    /// Something that the local user did failed; `call_id` is the call that it is about, if it is about one.
    fn on_error(&self, call_id: Option<CallId>, error: &CallError) {
        let _ = (call_id, error);
    }
    /// The access token ends soon, or has ended; see [`CallKitEvent::AccessTokenExpiring`].
    fn on_access_token_expiring(&self, left_ms: u32) {
        let _ = left_ms;
    }
    /// The connection to the server changed after the sign-in, whose return says that it is there.
    fn on_connection_changed(&self, state: &ConnectionState) {
        let _ = state;
    }
    /// This listener did not keep up, and is not told some of what happened; see [`CallKitEvent::EventsLost`].
    fn on_events_lost(&self, count: u32) {
        let _ = count;
    }
}

impl CallKitEvent {
    /// Calls [`CallKitEventHandler::on_event`] and the method of `handler` that goes with this event.
    pub fn deliver(&self, handler: &dyn CallKitEventHandler) {
        handler.on_event(self);
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
            CallKitEvent::JoinedChannel { call_id, channel } => handler.on_joined_channel(*call_id, channel),
            CallKitEvent::UserJoined { call_id, uid, user } => handler.on_user_joined(*call_id, *uid, user.as_ref()),
            CallKitEvent::UserLeft { call_id, uid, user } => handler.on_user_left(*call_id, *uid, user.as_ref()),
            CallKitEvent::UserMuteAudio { call_id, uid, muted } => handler.on_user_mute_audio(*call_id, *uid, *muted),
            CallKitEvent::UserMuteVideo { call_id, uid, muted } => handler.on_user_mute_video(*call_id, *uid, *muted),
            CallKitEvent::UserRemoved { call_id, user, reason } => handler.on_user_removed(*call_id, user, *reason),
            CallKitEvent::FirstAudio { call_id, uid } => handler.on_first_audio(*call_id, *uid),
            CallKitEvent::PeerReachable { call_id, reachable, ends_in_ms } => {
                handler.on_peer_reachable(*call_id, *reachable, *ends_in_ms)
            }
            CallKitEvent::NetworkAvailable { call_id, available, ends_in_ms } => {
                handler.on_network_available(*call_id, *available, *ends_in_ms);
            }
            CallKitEvent::MicrophoneFailed { call_id, failure } => handler.on_microphone_failed(*call_id, *failure),
            CallKitEvent::MicrophoneRestored { call_id } => handler.on_microphone_restored(*call_id),
            CallKitEvent::CallEnd { call_id, reason, user_code } => {
                handler.on_call_end(*call_id, *reason, user_code.as_deref());
            }
            CallKitEvent::Error { call_id, error } => handler.on_error(*call_id, error),
            CallKitEvent::AccessTokenExpiring { left_ms } => handler.on_access_token_expiring(*left_ms),
            CallKitEvent::ConnectionChanged { state } => handler.on_connection_changed(state),
            CallKitEvent::EventsLost { count } => handler.on_events_lost(*count),
        }
    }
}
