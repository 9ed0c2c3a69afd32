//! Accept: the call is taken, and both sides join its channel.

use call_protocol::CallId;
use call_protocol::invite::Invite;
use signaling::{Command, Input};

use crate::core::Core;
use crate::error::CallError;
use crate::events::CallKitEvent;

impl Core {
    pub(crate) fn answer(&mut self, call_id: CallId) -> Result<(), CallError> {
        if !self.initialized {
            return Err(CallError::NotInitialized);
        }
        self.try_input(Input::Command(Command::Answer { call_id }))?;
        self.prepare_path();
        Ok(())
    }

    pub(crate) fn on_accepted(&mut self, invite: Invite) {
        tracing::info!(call = %invite.call_id, "accepted");
        self.teller.tell(CallKitEvent::Answer { call_id: invite.call_id });
        self.join();
    }
}
