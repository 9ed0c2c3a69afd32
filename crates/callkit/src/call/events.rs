//! What the handler of one call is told, and how it is reached.

use std::sync::{Arc, Mutex};

use call_protocol::disconnect::{DisconnectReason, DisconnectSource};

use super::Call;
use crate::dispatch::lock;
use crate::microphone::MicrophoneFailure;

/// Listens to one call. Every method has an empty default. Methods are called one after another on a thread of this call's own, in
/// the order in which things happened; they may block, which delays nobody else, and may use the call. Of a handler that falls behind by more
/// than 256 events some are lost, levels first, and never the end ([`on_events_lost`](CallEventHandler::on_events_lost)).
pub trait CallEventHandler: Send + Sync {
    /// Caller: the server took the call up, and the callee is being notified: by its devices that are connected, and by a push. Whether one of
    /// them rings is told to the kit-wide listeners only.
    fn on_wait_connected(&self, call: &Call) {
        let _ = call;
    }
    /// Callee: the call is alive; ring. The caller may have offered to be connected without media while this side prepares itself.
    fn on_verified(&self, call: &Call, peer_use_responder_preparation: bool) {
        let _ = (call, peer_use_responder_preparation);
    }
    /// It was accepted. In preparation there is no media yet; whoever `should_finish` is to call
    /// [`finish_preparation`](Call::finish_preparation).
    fn on_connected(&self, call: &Call, in_preparation: bool, should_finish: bool) {
        let _ = (call, in_preparation, should_finish);
    }
    /// The preparation is finished: media begins.
    fn on_preparation_finished(&self, call: &Call) {
        let _ = call;
    }
    /// It is over; told exactly once, and nothing is told after it. `by_remote`: not by this device.
    fn on_disconnected(
        &self,
        call: &Call,
        reason: DisconnectReason,
        source: DisconnectSource,
        by_remote: bool,
        user_code: Option<&str>,
    ) {
        let _ = (call, reason, source, by_remote, user_code);
    }
    /// The other one muted its microphone.
    fn on_peer_mic_muted(&self, call: &Call) {
        let _ = call;
    }
    /// The other one unmuted its microphone.
    fn on_peer_mic_unmuted(&self, call: &Call) {
        let _ = call;
    }
    /// The other one put the call on hold, and perhaps says why.
    fn on_peer_hold(&self, call: &Call, reason: Option<&str>) {
        let _ = (call, reason);
    }
    /// The other one goes on with the call.
    fn on_peer_unhold(&self, call: &Call) {
        let _ = call;
    }
    /// The other one asks that the microphone here be muted, or unmuted; nothing is done about it by itself.
    fn on_my_audio_mute_requested_by_peer(&self, call: &Call, muted: bool) {
        let _ = (call, muted);
    }
    /// One side is without network. If it stays so, the call ends in so many seconds.
    fn on_network_unavailable(&self, call: &Call, is_peer: bool, seconds_until_disconnect: u32) {
        let _ = (call, is_peer, seconds_until_disconnect);
    }
    /// That side is back.
    fn on_network_reavailable(&self, call: &Call, is_peer: bool) {
        let _ = (call, is_peer);
    }
    /// How loud the other one is, 0 to 100, at the interval of [`CallOptions`](super::CallOptions).
    fn on_peer_audio_description_updated(&self, call: &Call, level: u8) {
        let _ = (call, level);
    }
    /// There is no microphone, at the beginning of the call or in the middle of it. A call that goes on only listens.
    fn on_microphone_failed(&self, call: &Call, failure: MicrophoneFailure) {
        let _ = (call, failure);
    }
    /// There is a microphone again.
    fn on_microphone_restored(&self, call: &Call) {
        let _ = call;
    }
    /// A call verified in the background was adopted: this handler is told nothing more.
    fn on_background_call_adopted(&self, call: &Call) {
        let _ = call;
    }
    /// This handler did not keep up: so many of the events before the next one it is not told. Levels are not counted.
    fn on_events_lost(&self, call: &Call, count: u32) {
        let _ = (call, count);
    }
}

/// Listens to this side's own media in one call; the same rules as of [`CallEventHandler`].
pub trait MyMediaStatusHandler: Send + Sync {
    /// The microphone was muted.
    fn on_mic_mute(&self) {}
    /// The microphone was unmuted.
    fn on_mic_unmute(&self) {}
    /// How loud the microphone is, 0 to 100, at the interval of [`CallOptions`](super::CallOptions).
    fn on_audio_description_update(&self, level: u8) {
        let _ = level;
    }
}

/// Who listens to one call at present. The locks are held only to look that up, never while one runs.
pub(crate) struct Listener {
    call: Mutex<Option<Arc<dyn CallEventHandler>>>,
    media: Mutex<Option<Arc<dyn MyMediaStatusHandler>>>,
}

impl Listener {
    pub(crate) fn new() -> Listener {
        Listener { call: Mutex::new(None), media: Mutex::new(None) }
    }

    pub(crate) fn call(&self) -> Option<Arc<dyn CallEventHandler>> {
        lock(&self.call).clone()
    }

    pub(crate) fn media(&self) -> Option<Arc<dyn MyMediaStatusHandler>> {
        lock(&self.media).clone()
    }

    /// Another one listens from now on; the one before is given back.
    pub(crate) fn replace(&self, handler: Arc<dyn CallEventHandler>) -> Option<Arc<dyn CallEventHandler>> {
        lock(&self.call).replace(handler)
    }

    /// Nobody listens any more; whoever did is given back.
    pub(crate) fn retire(&self) -> Option<Arc<dyn CallEventHandler>> {
        lock(&self.call).take()
    }

    pub(crate) fn set_media(&self, handler: Arc<dyn MyMediaStatusHandler>) {
        // Dropped when the lock is free again: it may call back.
        let before = lock(&self.media).replace(handler);
        drop(before);
    }

    pub(crate) fn remove_media(&self) {
        let before = lock(&self.media).take();
        drop(before);
    }
}
