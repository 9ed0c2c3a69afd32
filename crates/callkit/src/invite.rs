//! Invite: the app calls somebody.

use call_protocol::invite::{CallType, Ext};
use call_protocol::ring::InviteRefusal;
use call_protocol::{CallId, UserId};
use signaling::{Input, Role};

use crate::core::Core;
use crate::error::CallError;
use crate::media::Media;

impl Core {
    pub(crate) fn start_call(&mut self, user: UserId, call_type: CallType, ext: Ext) -> Result<CallId, CallError> {
        if !self.initialized {
            return Err(CallError::NotInitialized);
        }
        if !self.connected {
            return Err(CallError::Disconnected);
        }
        let call_id = CallId::from_bits(rand::random());
        let ring_timeout_ms = u32::try_from(self.settings.call_timeout.as_millis()).unwrap_or(u32::MAX);
        let command = signaling::Command::Invite { call_id, callees: vec![user], call_type, ext, ring_timeout_ms };
        self.try_input(Input::Command(command))?;
        self.media = Some(Media::new(call_id, Role::Caller));
        self.fetch_token();
        if self.settings.offer_while_ringing {
            self.prepare_path();
        }
        Ok(call_id)
    }

    pub(crate) fn on_failed(&mut self, refusal: InviteRefusal) {
        self.fail_with(match refusal {
            InviteRefusal::UnknownUser => CallError::UnknownUser,
            InviteRefusal::Invalid => CallError::InvalidParam("the server did not accept the invite".into()),
            InviteRefusal::TooMany => CallError::TooManyCalls,
        });
    }
}
