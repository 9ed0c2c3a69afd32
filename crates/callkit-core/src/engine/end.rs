//! End: whoever ends it, the app is told once and the media is freed.

use call_protocol::CallId;
use call_protocol::end::{EndReason, Release};
use signaling::{Command, Input, Phase, Role};

use super::Engine;
use crate::error::CallError;
use crate::event::KitEvent;

impl Engine {
    pub(super) fn hang_up(&mut self, call_id: CallId) -> Result<(), CallError> {
        self.try_give(Input::Command(Command::Hangup { call_id }))
    }

    pub(super) fn release_rtc(&mut self) {
        self.end_present_calls();
        self.release_audio();
        self.initialized = false;
    }

    pub(super) fn end_present_calls(&mut self) {
        for call_id in self.present_calls() {
            self.give(Input::Command(Command::Hangup { call_id }));
        }
    }

    /// The device cannot hold a call any more.
    pub(super) fn give_up_present_calls(&mut self, error: CallError) {
        for call_id in self.present_calls() {
            self.give_up(call_id, error.clone(), EndReason::Error);
        }
    }

    fn present_calls(&self) -> Vec<CallId> {
        self.desk.line().calls().filter_map(call_of).collect()
    }

    /// What the line does with a call.
    pub(super) fn phase_of(&self, call_id: CallId) -> Option<Phase> {
        self.desk.line().calls().find(|phase| call_of(*phase) == Some(call_id))
    }

    /// The call cannot go on.
    pub(super) fn give_up(&mut self, call_id: CallId, error: CallError, reason: EndReason) {
        self.note_error(call_id, error, reason);
        if let Err(error) = self.try_give(Input::Command(Command::Fail { call_id, reason })) {
            tracing::debug!(%error, "over already");
        }
    }

    pub(super) fn on_ended(&mut self, call_id: CallId, reason: EndReason, role: Role, release: Option<Release>) {
        tracing::info!(call = %call_id, %reason, "ended");
        self.leave(call_id);
        let is_shared = self.is_shared(call_id);
        // Whoever is told of the end finds the call gone.
        self.end_app_call(call_id, reason, role, release);
        if is_shared {
            if (reason, role) == (EndReason::RemoteRefuse, Role::Caller) {
                self.emit_error(Some(call_id), CallError::Refused);
            }
            let user_code = release.and_then(|release| release.user_code);
            self.emit(KitEvent::CallEnd { call_id, reason, user_code });
        }
    }
}

fn call_of(phase: Phase) -> Option<CallId> {
    match phase {
        Phase::Idle => None,
        Phase::Calling(call_id) | Phase::Ringing(call_id) | Phase::Answering(call_id) | Phase::InCall(call_id) => {
            Some(call_id)
        }
    }
}
