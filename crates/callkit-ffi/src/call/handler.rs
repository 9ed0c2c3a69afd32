//! Handlers of one call: objects of another language.

use std::sync::Arc;

use callkit::{DisconnectReason, DisconnectSource};

use super::Call;
use crate::handlers::HandlerError;
use crate::microphone::MicrophoneFailure;

/// Listens to one call. Methods are called one after another on a thread of this call's own; they may block, which delays nobody else, and may use
/// the call. Of a handler that falls behind by more than 256 events some are lost, levels first, and never the end. Whatever they throw goes to the
/// log and changes nothing. The handler is let go of when the call is over.
#[uniffi::export(foreign)]
pub trait CallEventHandler: Send + Sync {
    /// Caller: the server took the call up, and the callee is being notified.
    fn on_wait_connected(&self, call: Arc<Call>) -> Result<(), HandlerError>;
    /// Callee: the call is alive; ring.
    fn on_verified(&self, call: Arc<Call>, peer_use_responder_preparation: bool) -> Result<(), HandlerError>;
    /// It was accepted. In preparation there is no media yet; whoever should finish it does so.
    fn on_connected(&self, call: Arc<Call>, in_preparation: bool, should_finish: bool) -> Result<(), HandlerError>;
    /// The preparation is finished: media begins.
    fn on_preparation_finished(&self, call: Arc<Call>) -> Result<(), HandlerError>;
    /// It is over; told exactly once, and nothing is told after it.
    fn on_disconnected(
        &self,
        call: Arc<Call>,
        reason: DisconnectReason,
        source: DisconnectSource,
        by_remote: bool,
        user_code: Option<String>,
    ) -> Result<(), HandlerError>;
    /// The other one muted its microphone.
    fn on_peer_mic_muted(&self, call: Arc<Call>) -> Result<(), HandlerError>;
    /// The other one unmuted its microphone.
    fn on_peer_mic_unmuted(&self, call: Arc<Call>) -> Result<(), HandlerError>;
    /// The other one put the call on hold, and perhaps says why.
    fn on_peer_hold(&self, call: Arc<Call>, reason: Option<String>) -> Result<(), HandlerError>;
    /// The other one goes on with the call.
    fn on_peer_unhold(&self, call: Arc<Call>) -> Result<(), HandlerError>;
    /// The other one asks that the microphone here be muted, or unmuted; nothing is done about it by itself.
    fn on_my_audio_mute_requested_by_peer(&self, call: Arc<Call>, muted: bool) -> Result<(), HandlerError>;
    /// One side is without network. If it stays so, the call ends in so many seconds.
    fn on_network_unavailable(
        &self,
        call: Arc<Call>,
        is_peer: bool,
        seconds_until_disconnect: u32,
    ) -> Result<(), HandlerError>;
    /// That side is back.
    fn on_network_reavailable(&self, call: Arc<Call>, is_peer: bool) -> Result<(), HandlerError>;
    /// How loud the other one is, 0 to 100.
    fn on_peer_audio_description_updated(&self, call: Arc<Call>, level: u8) -> Result<(), HandlerError>;
    /// There is no microphone, at the beginning of the call or in the middle of it. A call that goes on only listens.
    fn on_microphone_failed(&self, call: Arc<Call>, failure: MicrophoneFailure) -> Result<(), HandlerError>;
    /// There is a microphone again.
    fn on_microphone_restored(&self, call: Arc<Call>) -> Result<(), HandlerError>;
    /// A call verified in the background was adopted: this handler is told nothing more.
    fn on_background_call_adopted(&self, call: Arc<Call>) -> Result<(), HandlerError>;
    /// This handler did not keep up: so many of the events before the next one it is not told. Levels are not counted.
    fn on_events_lost(&self, call: Arc<Call>, count: u32) -> Result<(), HandlerError>;
}

/// A foreign handler as one of callkit's.
pub(super) struct Handler(pub(super) Arc<dyn CallEventHandler>);

impl callkit::CallEventHandler for Handler {
    fn on_wait_connected(&self, call: &callkit::Call) {
        told(self.0.on_wait_connected(Call::of(call.clone())));
    }
    fn on_verified(&self, call: &callkit::Call, peer_use_responder_preparation: bool) {
        told(self.0.on_verified(Call::of(call.clone()), peer_use_responder_preparation));
    }
    fn on_connected(&self, call: &callkit::Call, in_preparation: bool, should_finish: bool) {
        told(self.0.on_connected(Call::of(call.clone()), in_preparation, should_finish));
    }
    fn on_preparation_finished(&self, call: &callkit::Call) {
        told(self.0.on_preparation_finished(Call::of(call.clone())));
    }
    fn on_disconnected(
        &self,
        call: &callkit::Call,
        reason: DisconnectReason,
        source: DisconnectSource,
        by_remote: bool,
        user_code: Option<&str>,
    ) {
        let user_code = user_code.map(str::to_owned);
        told(self.0.on_disconnected(Call::of(call.clone()), reason, source, by_remote, user_code));
    }
    fn on_peer_mic_muted(&self, call: &callkit::Call) {
        told(self.0.on_peer_mic_muted(Call::of(call.clone())));
    }
    fn on_peer_mic_unmuted(&self, call: &callkit::Call) {
        told(self.0.on_peer_mic_unmuted(Call::of(call.clone())));
    }
    fn on_peer_hold(&self, call: &callkit::Call, reason: Option<&str>) {
        told(self.0.on_peer_hold(Call::of(call.clone()), reason.map(str::to_owned)));
    }
    fn on_peer_unhold(&self, call: &callkit::Call) {
        told(self.0.on_peer_unhold(Call::of(call.clone())));
    }
    fn on_my_audio_mute_requested_by_peer(&self, call: &callkit::Call, muted: bool) {
        told(self.0.on_my_audio_mute_requested_by_peer(Call::of(call.clone()), muted));
    }
    fn on_network_unavailable(&self, call: &callkit::Call, is_peer: bool, seconds_until_disconnect: u32) {
        told(self.0.on_network_unavailable(Call::of(call.clone()), is_peer, seconds_until_disconnect));
    }
    fn on_network_reavailable(&self, call: &callkit::Call, is_peer: bool) {
        told(self.0.on_network_reavailable(Call::of(call.clone()), is_peer));
    }
    fn on_peer_audio_description_updated(&self, call: &callkit::Call, level: u8) {
        told(self.0.on_peer_audio_description_updated(Call::of(call.clone()), level));
    }
    fn on_microphone_failed(&self, call: &callkit::Call, failure: callkit::MicrophoneFailure) {
        told(self.0.on_microphone_failed(Call::of(call.clone()), failure.into()));
    }
    fn on_microphone_restored(&self, call: &callkit::Call) {
        told(self.0.on_microphone_restored(Call::of(call.clone())));
    }
    fn on_background_call_adopted(&self, call: &callkit::Call) {
        told(self.0.on_background_call_adopted(Call::of(call.clone())));
    }
    fn on_events_lost(&self, call: &callkit::Call, count: u32) {
        told(self.0.on_events_lost(Call::of(call.clone()), count));
    }
}

/// Listens to this side's own media in one call.
#[uniffi::export(foreign)]
pub trait MyMediaStatusHandler: Send + Sync {
    /// The microphone was muted.
    fn on_mic_mute(&self) -> Result<(), HandlerError>;
    /// The microphone was unmuted.
    fn on_mic_unmute(&self) -> Result<(), HandlerError>;
    /// How loud the microphone is, 0 to 100.
    fn on_audio_description_update(&self, level: u8) -> Result<(), HandlerError>;
}

pub(super) struct MyMedia(pub(super) Arc<dyn MyMediaStatusHandler>);

impl callkit::MyMediaStatusHandler for MyMedia {
    fn on_mic_mute(&self) {
        told(self.0.on_mic_mute());
    }
    fn on_mic_unmute(&self) {
        told(self.0.on_mic_unmute());
    }
    fn on_audio_description_update(&self, level: u8) {
        told(self.0.on_audio_description_update(level));
    }
}

/// A handler cannot change what happened; what it throws is for the developer.
fn told(result: Result<(), HandlerError>) {
    result.unwrap_or_else(|error| tracing::error!(%error, "the handler of a call failed"));
}
