//! Listeners of a kit: objects of another language.

use std::collections::HashMap;
use std::sync::Arc;

use callkit::{CallId, CallType, ChannelId, EndReason, Ext, Uid, UserId};

use super::ConnectionState;
use crate::error::CallError;
use crate::handlers::HandlerError;
use crate::microphone::MicrophoneFailure;

/// Listens to a kit. Methods are called one after another on a thread of this listener's own, in the order in which things happened; they may
/// block, which delays this listener alone, and may call the kit. Of a listener that falls behind by more than 256 events some are lost, never the
/// end of a call that it was told of. Whatever they throw goes to the log and changes nothing.
///
/// A listener that holds a kit keeps that signed in; one that is to answer or hang up holds what [`crate::CallKit::downgrade`] gives.
///
/// One that cares for some events alone derives from `CallKitListener` in Kotlin; in Python and Swift it leaves the other methods out.
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
    fn on_joined_channel(&self, call_id: CallId, channel: ChannelId) -> Result<(), HandlerError>;
    /// Another one is in the channel.
    fn on_user_joined(&self, call_id: CallId, uid: Uid, user: Option<UserId>) -> Result<(), HandlerError>;
    /// Another one left a group call.
    fn on_user_left(&self, call_id: CallId, uid: Uid, user: Option<UserId>) -> Result<(), HandlerError>;
    /// Another one muted or unmuted its microphone.
    fn on_user_mute_audio(&self, call_id: CallId, uid: Uid, muted: bool) -> Result<(), HandlerError>;
    /// Another one switched its camera off or on.
    fn on_user_mute_video(&self, call_id: CallId, uid: Uid, muted: bool) -> Result<(), HandlerError>;
    /// An invitee of a group call did not come.
    fn on_user_removed(&self, call_id: CallId, user: UserId, reason: EndReason) -> Result<(), HandlerError>;
    /// The first sound of another one was played.
    fn on_first_audio(&self, call_id: CallId, uid: Uid) -> Result<(), HandlerError>;
    /// The other one cannot be heard by the server at the moment, or is back.
    fn on_peer_reachable(&self, call_id: CallId, reachable: bool, ends_in_ms: u32) -> Result<(), HandlerError>;
    /// The own network is away, or back: neither the server nor the other end could be reached.
    fn on_network_available(&self, call_id: CallId, available: bool, ends_in_ms: u32) -> Result<(), HandlerError>;
    /// A call has no microphone; one that goes on only listens.
    fn on_microphone_failed(&self, call_id: CallId, failure: MicrophoneFailure) -> Result<(), HandlerError>;
    /// A call that had no microphone has one again.
    fn on_microphone_restored(&self, call_id: CallId) -> Result<(), HandlerError>;
    /// The call is over; told exactly once. `user_code` is that of whichever app ended it, if it gave one.
    fn on_call_end(&self, call_id: CallId, reason: EndReason, user_code: Option<String>) -> Result<(), HandlerError>;
    /// Something that the local user did failed; `call_id` is the call that it is about, if it is about one.
    fn on_error(&self, call_id: Option<CallId>, error: CallError) -> Result<(), HandlerError>;
    /// The access token ends soon, or has ended (0 ms left). Without an [`AccessTokenHandler`](crate::AccessTokenHandler) the app is to give
    /// a new one.
    fn on_access_token_expiring(&self, left_ms: u32) -> Result<(), HandlerError>;
    /// The connection to the server changed after the sign-in, whose return says that it is there.
    fn on_connection_changed(&self, state: ConnectionState) -> Result<(), HandlerError>;
    /// This listener did not keep up: so many of the events before the next one it is not told.
    fn on_events_lost(&self, count: u32) -> Result<(), HandlerError>;
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
    fn on_joined_channel(&self, call_id: CallId, channel: &ChannelId) {
        told(self.0.on_joined_channel(call_id, channel.clone()));
    }
    fn on_user_joined(&self, call_id: CallId, uid: Uid, user: Option<&UserId>) {
        told(self.0.on_user_joined(call_id, uid, user.cloned()));
    }
    fn on_user_left(&self, call_id: CallId, uid: Uid, user: Option<&UserId>) {
        told(self.0.on_user_left(call_id, uid, user.cloned()));
    }
    fn on_user_mute_audio(&self, call_id: CallId, uid: Uid, muted: bool) {
        told(self.0.on_user_mute_audio(call_id, uid, muted));
    }
    fn on_user_mute_video(&self, call_id: CallId, uid: Uid, muted: bool) {
        told(self.0.on_user_mute_video(call_id, uid, muted));
    }
    fn on_user_removed(&self, call_id: CallId, user: &UserId, reason: EndReason) {
        told(self.0.on_user_removed(call_id, user.clone(), reason));
    }
    fn on_first_audio(&self, call_id: CallId, uid: Uid) {
        told(self.0.on_first_audio(call_id, uid));
    }
    fn on_peer_reachable(&self, call_id: CallId, reachable: bool, ends_in_ms: u32) {
        told(self.0.on_peer_reachable(call_id, reachable, ends_in_ms));
    }
    fn on_network_available(&self, call_id: CallId, available: bool, ends_in_ms: u32) {
        told(self.0.on_network_available(call_id, available, ends_in_ms));
    }
    fn on_microphone_failed(&self, call_id: CallId, failure: callkit::MicrophoneFailure) {
        told(self.0.on_microphone_failed(call_id, failure.into()));
    }
    fn on_microphone_restored(&self, call_id: CallId) {
        told(self.0.on_microphone_restored(call_id));
    }
    fn on_call_end(&self, call_id: CallId, reason: EndReason, user_code: Option<&str>) {
        told(self.0.on_call_end(call_id, reason, user_code.map(str::to_owned)));
    }
    fn on_error(&self, call_id: Option<CallId>, error: &callkit::CallError) {
        told(self.0.on_error(call_id, error.clone().into()));
    }
    fn on_access_token_expiring(&self, left_ms: u32) {
        told(self.0.on_access_token_expiring(left_ms));
    }
    fn on_connection_changed(&self, state: &callkit::ConnectionState) {
        let state = ConnectionState::of(state.clone());
        told(state.map_or(Ok(()), |state| self.0.on_connection_changed(state)));
    }
    fn on_events_lost(&self, count: u32) {
        told(self.0.on_events_lost(count));
    }
}

/// A listener cannot change what happened; what it throws is for the developer.
fn told(result: Result<(), HandlerError>) {
    result.unwrap_or_else(|error| tracing::error!(%error, "an event listener failed"));
}
