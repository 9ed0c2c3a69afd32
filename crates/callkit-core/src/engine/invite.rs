//! Invite: the app calls somebody.

use call_protocol::invite::{CallType, Ext};
use call_protocol::ring::InviteRefusal;
use call_protocol::{CallId, UserId};
use signaling::{Command, Input, InviteOptions, Role};

use super::Engine;
use crate::app_call::NewCall;
use crate::call_media::CallMedia;
use crate::error::CallError;
use crate::reasons::Disconnect;

impl Engine {
    pub(super) fn start_call(&mut self, user: UserId, call_type: CallType, ext: Ext) -> Result<CallId, CallError> {
        if !self.initialized {
            return Err(CallError::NotInitialized);
        }
        if !self.may_call() {
            return Err(CallError::Disconnected);
        }
        let call_id = self.random_call_id();
        let ring_timeout_ms = self.settings.ring_timeout_ms;
        let (peer, callees, options) = (user.clone(), vec![user], InviteOptions::default());
        let choices = self.audio_choices(call_id);
        let role = Role::Caller;
        self.begin_call(NewCall { call_id, peer, call_type, role, choices, own: None, is_background: false });
        self.place(call_id, Command::Invite { call_id, callees, call_type, ext, ring_timeout_ms, options })?;
        Ok(call_id)
    }

    /// Whether there is a way for an invite. With a carrier of its own the app knows itself whether it is connected.
    pub(super) fn may_call(&self) -> bool {
        self.connected || self.settings.has_chat
    }

    /// Places a call that the app knows of already, or takes that back.
    pub(super) fn place(&mut self, call_id: CallId, invite: Command) -> Result<(), CallError> {
        let choices = self.audio_choices(call_id);
        self.calls.insert(call_id, CallMedia::new(call_id, Role::Caller, choices));
        if let Err(error) = self.try_give(Input::Command(invite)) {
            self.calls.remove(&call_id);
            self.discard_call(call_id);
            return Err(error);
        }
        self.fetch_token(call_id);
        Ok(())
    }

    pub(super) fn on_failed(&mut self, call_id: CallId, refusal: InviteRefusal) {
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
        self.emit_error(Some(call_id), error);
    }
}
