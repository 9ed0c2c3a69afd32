//! Accept: the call is taken, and both sides join its channel.

use call_protocol::invite::Invite;
use call_protocol::{CallId, Party};
use signaling::{Command, Input, Role};

use super::Engine;
use crate::call_media::CallMedia;
use crate::error::CallError;
use crate::event::KitEvent;
use crate::settings::WarmPath;

impl Engine {
    pub(super) fn answer(&mut self, call_id: CallId) -> Result<(), CallError> {
        if !self.initialized {
            return Err(CallError::NotInitialized);
        }
        self.try_give(Input::Command(Command::Answer { call_id }))?;
        self.prepare_media(call_id);
        Ok(())
    }

    /// The user accepts: what a callee was not to show before is shown, and the audio devices are opened while the arbiter is asked.
    pub(super) fn prepare_media(&mut self, call_id: CallId) {
        self.take_offers(call_id, WarmPath::Full);
        if let Some(media) = self.calls.get_mut(&call_id) {
            media.audio.answering = true;
        }
        self.update_audio();
    }

    /// Both called each other, and the call goes on as the other one's, which is being answered.
    pub(super) fn on_merged(&mut self, old: CallId, invite: Invite) {
        // It is the same call to the user: what was muted stays muted.
        let choices = self.audio_choices(old);
        self.merge_app_calls(old, &invite);
        let Invite { call_id, call_type, .. } = invite;
        tracing::info!(call = %call_id, %old, "both called: merged");
        self.leave(old);
        self.calls.insert(call_id, CallMedia::new(call_id, Role::Callee, choices));
        self.fetch_token(call_id);
        self.emit_of(call_id, KitEvent::CallMerged { old, call_id, call_type });
        self.prepare_media(call_id);
    }

    pub(super) fn on_accepted(&mut self, invite: Invite, peer: Party, preparation: bool) {
        let call_id = invite.call_id;
        tracing::info!(call = %call_id, "accepted");
        // Whoever is told of the answer finds the call connected.
        self.connect_app_call(&invite, preparation);
        self.emit_of(call_id, KitEvent::Answer { call_id });
        self.connect_to(call_id, peer);
        self.join(call_id);
    }

    /// Caller: a device says itself that it has taken the call, before the arbiter has said so.
    pub(super) fn on_answering(&mut self, call_id: CallId, device: Party) {
        // Whether its callee is about to prepare only the arbiter's word tells.
        if self.app_calls.get(call_id).is_some_and(|call| call.preparation_offered) {
            return;
        }
        if let Some(media) = self.calls.get_mut(&call_id) {
            media.audio.answered_by.insert(device);
        }
    }
}
