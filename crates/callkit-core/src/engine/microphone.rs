//! Microphones that are denied, missing or fail, and what becomes of a call then.

use call_protocol::CallId;
use call_protocol::end::EndReason;

use super::Engine;
use crate::call_media::CallMedia;
use crate::error::CallError;
use crate::event::{KitEvent, MicrophoneFailure};

impl Engine {
    pub(super) fn on_microphone_opened(&mut self) {
        let mut restored = Vec::new();
        for media in self.calls.values_mut() {
            media.audio.had_microphone = true;
            if std::mem::take(&mut media.audio.lacks_microphone) {
                restored.push(media.call_id);
            }
        }
        for call_id in restored {
            self.emit_of(call_id, KitEvent::MicrophoneRestored { call_id });
        }
    }

    /// A call that had a microphone only listens from now on; one that never had one ends, unless it may be without. Told to whoever is told
    /// of the call.
    pub(super) fn on_microphone_failed(&mut self, failure: MicrophoneFailure, at_open: bool, why: &str) {
        let speaking = self.calls.values().filter(|media| media.wants_microphone());
        let cannot_start =
            |media: &CallMedia| at_open && !media.audio.had_microphone && !self.may_lack_microphone(media.call_id);
        let concerned: Vec<(CallId, bool)> = speaking.map(|media| (media.call_id, cannot_start(media))).collect();
        for (call_id, ends) in concerned {
            if let Some(media) = self.calls.get_mut(&call_id) {
                media.audio.lacks_microphone = true;
            }
            self.emit_of(call_id, KitEvent::MicrophoneFailed { call_id, failure });
            if ends {
                self.give_up(call_id, CallError::Device(why.to_owned()), EndReason::Error);
            } else if self.is_shared(call_id) {
                self.emit_error(Some(call_id), CallError::Device(why.to_owned()));
            }
        }
    }
}
