//! Calls with a handler of their own: how they begin, and what the app can want of any one call.

use call_protocol::disconnect::{DisconnectReason, StartFailReason};
use call_protocol::end::Release;
use call_protocol::media::{NegotiationBody, Notice};
use call_protocol::{AppId, CallId, UserId, limits};
use signaling::{Command, Input, InviteOptions, Phase, Role};

use super::Engine;
use crate::app_call::NewCall;
use crate::command::{Ending, MakeCall, VerifyCall};
use crate::error::CallError;
use crate::event::CallEvent;
use crate::ids::{CallKey, CommandId};
use crate::output::Output;
use crate::reasons::source_of;
use crate::snapshot::CallState;

/// After so long a call that was asked about, and that nothing is heard of, counts as gone, in ms: an alert's time and a little more.
const VERIFY_MS: u64 = 12_000;

/// Beginning.
impl Engine {
    pub(super) fn make_call(&mut self, id: CommandId, call: MakeCall) -> Result<CallKey, StartFailReason> {
        self.may_start(&call.user, &call.app_id)?;
        if !self.may_call() {
            return Err(StartFailReason::InvalidStateToMakeCall);
        }
        let MakeCall { peer, call_type, ext, app_server_data, ring_timeout_ms, .. } = call;
        let call_id = self.random_call_id();
        let (choices, role, own) = (self.audio_choices(call_id), Role::Caller, Some(call.settings));
        let callees = vec![peer.clone()];
        let key = self.begin_call(NewCall { call_id, peer, call_type, role, choices, own, is_background: false });
        self.outputs.push_back(Output::SetHandler { call: key, command: id });
        if let Some(begun) = self.app_calls.get_mut(call_id) {
            begun.preparation_offered = call.offers_preparation;
        }
        let options = InviteOptions { responder_preparation: call.offers_preparation, app_server_data };
        let invite = Command::Invite { call_id, callees, call_type, ext, ring_timeout_ms, options };
        self.place(call_id, invite).map_err(|error| not_made(&error))?;
        Ok(key)
    }

    pub(super) fn verify_call(&mut self, id: CommandId, call: VerifyCall) -> Result<CallKey, StartFailReason> {
        let VerifyCall { user, app_id, call_id, peer, call_type, is_background, settings } = call;
        self.may_start(&user, &app_id)?;
        let is_past_ringing = self.phase_of(call_id).is_some_and(|phase| phase != Phase::Ringing(call_id));
        if self.app_calls.is_own(call_id) || is_past_ringing {
            return Err(StartFailReason::AlreadyExist);
        }
        let rings = self.calls.get(&call_id).map(|media| media.preparation_offered);
        let key = match self.app_calls.take_over(call_id, settings, is_background) {
            // What rings already the listeners of the kit know of, and are to hear the end of.
            Some(key) => key,
            None => {
                let (choices, role, own) = (self.audio_choices(call_id), Role::Callee, Some(settings));
                let key = self.begin_call(NewCall { call_id, peer, call_type, role, choices, own, is_background });
                let give_up = self.now + VERIFY_MS;
                if let Some(begun) = self.app_calls.get_mut(call_id) {
                    begun.give_up = Some(give_up);
                }
                key
            }
        };
        self.outputs.push_back(Output::SetHandler { call: key, command: id });
        match rings {
            Some(preparation_offered) => self.on_verified(call_id, preparation_offered),
            None => self.give(Input::Command(Command::Verify { call_id })),
        }
        Ok(key)
    }

    fn may_start(&self, user: &UserId, app: &AppId) -> Result<(), StartFailReason> {
        if !self.initialized {
            Err(StartFailReason::NotInitialized)
        } else if *user != self.settings.me.user {
            Err(StartFailReason::InvalidUserId)
        } else if *app != self.settings.app_id {
            Err(StartFailReason::InvalidServiceId)
        } else {
            Ok(())
        }
    }

    /// The call rings here, and its own handler is told.
    pub(super) fn on_verified(&mut self, call_id: CallId, preparation_offered: bool) {
        let Some(call) = self.app_calls.get_mut(call_id) else { return };
        call.give_up = None;
        call.preparation_offered = preparation_offered;
        if let Some(ending) = call.declined.take() {
            if let Err(error) = self.end(call_id, ending) {
                tracing::debug!(%error, "over already");
            }
            return;
        }
        self.note(call_id, |call| call.state = CallState::Verified);
        self.emit_call(call_id, CallEvent::Verified { preparation_offered });
    }
}

/// What the app wants of a call.
impl Engine {
    pub(super) fn accept(&mut self, call_id: CallId, preparation: bool) -> Result<(), CallError> {
        if !self.initialized {
            return Err(CallError::NotInitialized);
        }
        let call = self.app_calls.get(call_id).ok_or(CallError::NoSuchCall)?;
        // Still asked about: nothing rings yet.
        if call.snapshot.state == CallState::Trying {
            return Err(CallError::NotRinging);
        }
        let prepares = preparation && call.preparation_offered;
        let command = if prepares { Command::AnswerToPrepare { call_id } } else { Command::Answer { call_id } };
        self.try_give(Input::Command(command))?;
        self.set_preparing(call_id, prepares);
        self.prepare_media(call_id);
        Ok(())
    }

    pub(super) fn end(&mut self, call_id: CallId, ending: Ending) -> Result<(), CallError> {
        let phase = self.phase_of(call_id);
        let call = self.app_calls.get_mut(call_id).ok_or(CallError::NoSuchCall)?;
        let source = source_of(call.role());
        let plain = match phase {
            // It is being asked about: it is declined as soon as it turns out to be alive.
            None => {
                call.declined = Some(ending);
                return Ok(());
            }
            Some(Phase::Calling(_)) => DisconnectReason::Cancel,
            Some(Phase::Ringing(_)) => DisconnectReason::Decline,
            Some(Phase::Answering(_) | Phase::InCall(_) | Phase::Idle) => DisconnectReason::Normal,
        };
        let (reason, user_code) = match ending {
            Ending::Plain => return self.hang_up(call_id),
            Ending::WithCode(code) => (plain, Some(code)),
            Ending::WithError(code) => (DisconnectReason::UserError, Some(code)),
        };
        let release = Release { reason, source, user_code };
        self.try_give(Input::Command(Command::Release { call_id, release }))
    }

    pub(super) fn hold_with_reason(&mut self, call_id: CallId, reason: Option<String>) -> Result<(), CallError> {
        let state = self.app_calls.get(call_id).map(|call| call.snapshot.state);
        if state != Some(CallState::Connected) {
            return Err(CallError::NotAnswered);
        }
        if reason.as_ref().is_some_and(|reason| reason.len() > limits::NOTE_BYTES) {
            return Err(CallError::InvalidParam(format!("reason: at most {} bytes", limits::NOTE_BYTES)));
        }
        self.try_give(Input::Command(Command::Hold { call_id, held: true, reason }))
    }

    pub(super) fn request_peer_mute(&mut self, call_id: CallId, muted: bool) -> Result<(), CallError> {
        self.notify_peer(call_id, Notice::MuteRequest { muted })
    }

    fn notify_peer(&mut self, call_id: CallId, notice: Notice) -> Result<(), CallError> {
        let peer = self.calls.get(&call_id).and_then(|media| media.peer.clone()).ok_or(CallError::NotAnswered)?;
        let body = NegotiationBody::Notice(notice);
        self.try_give(Input::Command(Command::Negotiate { call_id, to: peer, body }))
    }

    pub(super) fn finish_preparation(&mut self, call_id: CallId) -> Result<(), CallError> {
        let call = self.app_calls.get(call_id).ok_or(CallError::NoSuchCall)?;
        if call.snapshot.state != CallState::Connected {
            return Err(CallError::NotAnswered);
        }
        if !call.prepares || call.role() != Role::Callee {
            return Err(CallError::InvalidParam("there is no preparation of this side to be finished".into()));
        }
        self.notify_peer(call_id, Notice::PreparationFinished)?;
        self.on_prepared(call_id);
        Ok(())
    }
}

/// Why the line did not take a call up.
fn not_made(error: &CallError) -> StartFailReason {
    match error {
        CallError::Busy => StartFailReason::InvalidStateToMakeCall,
        CallError::InvalidParam(_) => StartFailReason::InvalidParam,
        CallError::FetchTokenFailed(_)
        | CallError::Refused
        | CallError::UnknownUser
        | CallError::TooManyCalls
        | CallError::ServerBusy
        | CallError::NoSuchCall
        | CallError::NotRinging
        | CallError::NotInitialized
        | CallError::Join(_)
        | CallError::Device(_)
        | CallError::Media(_)
        | CallError::Disconnected
        | CallError::SignedOut
        | CallError::NotAnswered => StartFailReason::InternalUndefined,
    }
}
