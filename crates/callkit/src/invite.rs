//! Invite: the app calls somebody.

use call_protocol::invite::{CallType, Ext};
use call_protocol::ring::InviteRefusal;
use call_protocol::{CallId, UserId};
use signaling::{Input, Role};

use crate::call::Disconnect;
use crate::core::Core;
use crate::error::CallError;
use crate::media::Media;

impl Core {
    pub(crate) fn start_call(&mut self, user: UserId, call_type: CallType, ext: Ext) -> Result<CallId, CallError> {
        if !self.initialized {
            return Err(CallError::NotInitialized);
        }
        // With a carrier of its own the app knows itself whether it is connected.
        if !self.connected && self.chat.is_none() {
            return Err(CallError::Disconnected);
        }
        let call_id = CallId::from_bits(rand::random());
        let ring_timeout_ms = u32::try_from(self.settings.call_timeout.as_millis()).unwrap_or(u32::MAX);
        let (callee, callees, options) = (user.clone(), vec![user], Default::default());
        let command = signaling::Command::Invite { call_id, callees, call_type, ext, ring_timeout_ms, options };
        let choices = self.sound_choices(call_id);
        self.faces.begin_kit_wide(call_id, callee, call_type, Role::Caller, choices);
        self.calls.insert(call_id, Media::new(call_id, Role::Caller, choices));
        if let Err(error) = self.try_input(Input::Command(command)) {
            self.calls.remove(&call_id);
            self.faces.remove(&call_id);
            return Err(error);
        }
        self.fetch_token(call_id);
        Ok(call_id)
    }

    pub(crate) fn on_failed(&mut self, call_id: CallId, refusal: InviteRefusal) {
        if self.note_cause(call_id, Disconnect::not_opened(refusal)) {
            return;
        }
        let error = match refusal {
            InviteRefusal::UnknownUser => CallError::UnknownUser,
            InviteRefusal::Invalid => CallError::InvalidParam("the server did not accept the invite".into()),
            InviteRefusal::TooMany => CallError::TooManyCalls,
            InviteRefusal::Overloaded => CallError::ServerBusy,
            InviteRefusal::TokenExpired => CallError::Disconnected,
        };
        self.fail_with(Some(call_id), error);
    }
}
