//! Accept: the call is taken, and both sides join its channel.

use call_protocol::invite::Invite;
use call_protocol::{CallId, Party};
use signaling::{Command, Input, Role};

use crate::core::Core;
use crate::error::CallError;
use crate::events::CallKitEvent;
use crate::media::Media;
use crate::paths::WarmPath;

impl Core {
    pub(crate) fn answer(&mut self, call_id: CallId) -> Result<(), CallError> {
        if !self.initialized {
            return Err(CallError::NotInitialized);
        }
        self.try_input(Input::Command(Command::Answer { call_id }))?;
        self.get_ready(call_id);
        Ok(())
    }

    /// The user accepts: what a callee was not to show before is shown, and the audio devices are opened while the arbiter is asked.
    pub(crate) fn get_ready(&mut self, call_id: CallId) {
        self.take_offers(call_id, WarmPath::Full);
        if let Some(media) = self.calls.get_mut(&call_id) {
            media.sound.answering = true;
        }
        self.update_sound();
    }

    /// Both called each other, and the call goes on as the other one's, which is being answered.
    pub(crate) fn on_merged(&mut self, old: CallId, invite: Invite) {
        // It is the same call to the user: what was muted stays muted.
        let choices = self.sound_choices(old);
        self.face_merged(old, &invite);
        let Invite { call_id, call_type, .. } = invite;
        tracing::info!(call = %call_id, %old, "both called: merged");
        self.leave(old);
        self.calls.insert(call_id, Media::new(call_id, Role::Callee, choices));
        self.fetch_token(call_id);
        self.tell_of(call_id, CallKitEvent::CallMerged { old, call_id, call_type });
        self.get_ready(call_id);
    }

    pub(crate) fn on_accepted(&mut self, invite: Invite, peer: Party, preparation: bool) {
        let call_id = invite.call_id;
        tracing::info!(call = %call_id, "accepted");
        // Whoever is told of the answer finds the call connected.
        self.face_accepted(&invite, preparation);
        self.tell_of(call_id, CallKitEvent::Answer { call_id });
        self.settle_on(call_id, peer);
        self.join(call_id);
    }
}
