//! Calls as the app knows them: how they begin, go on and end, and whom each event reaches.

use std::time::Duration;

use call_protocol::end::{EndReason, Release};
use call_protocol::invite::Invite;
use call_protocol::media::Notice;
use call_protocol::session::RefuseReason;
use call_protocol::{CallId, Party};
use signaling::Role;

use super::Engine;
use crate::app_call::NewCall;
use crate::error::CallError;
use crate::event::{CallEvent, KitEvent};
use crate::ids::CallKey;
use crate::output::Output;
use crate::reasons::{Disconnect, refused};
use crate::snapshot::CallState;

/// How often levels are told, where the app did not say, and how often at most.
const LEVELS_EVERY: Duration = Duration::from_millis(500);
const LEVELS_AT_MOST_EVERY: Duration = Duration::from_millis(20);

/// Beginning.
impl Engine {
    pub(super) fn begin_call(&mut self, new: NewCall) -> CallKey {
        let (call, replaced) = self.app_calls.begin(new);
        let (key, snapshot) = (call.key, call.snapshot.clone());
        self.outputs.extend(replaced.map(|call| Output::CallClosed { call, end: None }));
        self.outputs.push_back(Output::CallOpened { call: key, snapshot });
        key
    }

    /// The call never began.
    pub(super) fn discard_call(&mut self, call_id: CallId) {
        if let Some(call) = self.app_calls.remove(call_id) {
            self.outputs.push_back(Output::CallClosed { call: call.key, end: None });
        }
    }

    /// The call rings here, and the listeners of the kit are about to be told.
    pub(super) fn begin_incoming(&mut self, invite: &Invite) {
        let (call_id, peer, call_type) = (invite.call_id, invite.caller.user.clone(), invite.call_type);
        let (choices, role) = (self.audio_choices(call_id), Role::Callee);
        self.begin_call(NewCall { call_id, peer, call_type, role, choices, own: None, is_background: false });
        if let Some(call) = self.app_calls.get_mut(call_id) {
            call.preparation_offered = invite.responder_preparation;
        }
        self.note(call_id, |call| call.state = CallState::Verified);
    }

    /// Caller: the callee is being notified. A device that has alerted says so, too.
    pub(super) fn on_notifying(&mut self, call_id: CallId) {
        let is_trying = self.app_calls.get(call_id).is_some_and(|call| call.snapshot.state == CallState::Trying);
        if is_trying {
            self.note(call_id, |call| call.state = CallState::WaitAnswer);
            self.emit_call(call_id, CallEvent::WaitConnected);
        }
    }
}

/// Going on.
impl Engine {
    /// Tells the handler of a call that has one of its own, or else the listeners of the kit.
    pub(super) fn emit_of(&mut self, call_id: CallId, event: KitEvent) {
        self.emit_to_own(call_id, &event);
        if self.is_shared(call_id) {
            self.emit(event);
        }
    }

    /// What the listeners of the kit would be told, for the handler of the call. Its beginning and its end are told otherwise.
    fn emit_to_own(&mut self, call_id: CallId, event: &KitEvent) {
        let is_peer = false;
        match event {
            KitEvent::CallHeld { held, .. } => self.note(call_id, |call| call.held = *held),
            KitEvent::UserMuteAudio { muted, .. } => {
                self.note(call_id, |call| call.peer_muted = *muted);
                self.emit_call(call_id, CallEvent::PeerMuted(*muted));
            }
            KitEvent::NetworkAvailable { available: false, ends_in_ms, .. } => {
                self.emit_call(call_id, CallEvent::NetworkUnavailable { is_peer, ends_in_ms: *ends_in_ms });
            }
            KitEvent::NetworkAvailable { available: true, .. } => {
                self.emit_call(call_id, CallEvent::NetworkRestored { is_peer });
            }
            KitEvent::MicrophoneFailed { failure, .. } => {
                self.emit_call(call_id, CallEvent::MicrophoneFailed(*failure));
            }
            KitEvent::MicrophoneRestored { .. } => self.emit_call(call_id, CallEvent::MicrophoneRestored),
            // Has a reason, which the listeners of the kit are not told.
            KitEvent::PeerHeld { .. }
            | KitEvent::ReceiveCall { .. }
            | KitEvent::CallWaiting { .. }
            | KitEvent::CallMissed { .. }
            | KitEvent::CallMerged { .. }
            | KitEvent::Ringing { .. }
            | KitEvent::Answer { .. }
            | KitEvent::JoinedChannel { .. }
            | KitEvent::UserJoined { .. }
            | KitEvent::UserMuteVideo { .. }
            | KitEvent::FirstAudio { .. }
            | KitEvent::PeerReachable { .. }
            | KitEvent::CallEnd { .. }
            | KitEvent::Error { .. }
            | KitEvent::AccessTokenExpiring { .. }
            | KitEvent::ConnectionChanged { .. } => {}
        }
    }

    /// Whether the listeners of the kit hear of this call.
    pub(super) fn is_shared(&self, call_id: CallId) -> bool {
        self.app_calls.get(call_id).is_none_or(|call| call.is_shared)
    }

    pub(super) fn connect_app_call(&mut self, invite: &Invite, preparation: bool) {
        let call_id = invite.call_id;
        self.set_preparing(call_id, preparation);
        self.note(call_id, |call| {
            call.state = CallState::Connected;
            call.preparing = preparation;
            call.call_type = invite.call_type;
        });
        let now = self.now;
        let Some(call) = self.app_calls.get_mut(call_id) else { return };
        call.levels_at = Some(now);
        let should_finish = preparation && call.role() == Role::Callee;
        self.emit_call(call_id, CallEvent::Connected { in_preparation: preparation, should_finish });
    }

    pub(super) fn emit_levels(&mut self) {
        let now = self.now;
        let open = self.audio_state().open.map(|open| open.call_id);
        for call_id in self.app_calls.ids() {
            let Some(call) = self.app_calls.get_mut(call_id) else { continue };
            if call.levels_at.is_none_or(|at| now < at) {
                continue;
            }
            let chosen = call.own.and_then(|own| own.level_interval);
            let every = chosen.unwrap_or(LEVELS_EVERY).max(LEVELS_AT_MOST_EVERY);
            call.levels_at = Some(now + u64::try_from(every.as_millis()).unwrap_or(u64::MAX));
            let event = CallEvent::Levels { has_sound: open == Some(call_id), peer: chosen.is_some() };
            let call = call.key;
            self.outputs.push_back(Output::EmitCall { call, event });
        }
    }

    pub(super) fn on_prepared(&mut self, call_id: CallId) {
        if !self.app_calls.get(call_id).is_some_and(|call| call.prepares) {
            return;
        }
        self.note(call_id, |call| call.preparing = false);
        self.emit_call(call_id, CallEvent::PreparationFinished);
        self.set_preparing(call_id, false);
    }

    /// While its callee prepares a call has no sound.
    pub(super) fn set_preparing(&mut self, call_id: CallId, prepares: bool) {
        if let Some(call) = self.app_calls.get_mut(call_id) {
            call.prepares = prepares;
        }
        if let Some(media) = self.calls.get_mut(&call_id) {
            media.audio.preparing = prepares;
        }
    }

    /// The other one's app says something to this one.
    pub(super) fn on_notice(&mut self, call_id: CallId, from: &Party, notice: Notice) {
        let is_peer = self.calls.get(&call_id).is_some_and(|media| media.peer.as_ref() == Some(from));
        let Some(call) = self.app_calls.get(call_id).filter(|_| is_peer) else { return };
        match notice {
            Notice::PreparationFinished if call.role() == Role::Caller => self.on_prepared(call_id),
            Notice::PreparationFinished => {}
            Notice::MuteRequest { muted } => self.emit_call(call_id, CallEvent::MuteRequested(muted)),
            // Of an older kit: which hold it belongs to is not to be known.
            Notice::HoldReason(_) => {}
        }
    }

    /// Both called each other, and the app's call goes on as the other one's.
    pub(super) fn merge_app_calls(&mut self, old: CallId, invite: &Invite) {
        let Some(mut call) = self.app_calls.remove(old) else { return };
        // Whoever asked about the other one's call has nothing left to ring for.
        self.disconnect(invite.call_id, Disconnect::released(EndReason::AnsweredElsewhere, None));
        call.snapshot.call_id = invite.call_id;
        call.snapshot.call_type = invite.call_type;
        call.snapshot.role = Role::Callee;
        let (key, snapshot) = (call.key, call.snapshot.clone());
        self.app_calls.insert(call);
        self.outputs.push_back(Output::CallSnapshot { call: key, snapshot });
    }
}

/// Ending.
impl Engine {
    /// An error of a call is told to the listeners of the kit, unless the call has a handler of its own, which hears the end that comes of it.
    pub(super) fn note_error(&mut self, call_id: CallId, error: CallError, reason: EndReason) {
        if let Some(call) = self.app_calls.get_mut(call_id) {
            let cause = Disconnect::given_up(&error, reason, call.role());
            call.cause.get_or_insert(cause);
            if !call.is_shared {
                return;
            }
        }
        self.emit_error(Some(call_id), error);
    }

    /// Why the end that comes now does so. Whether the call's own handler alone is told.
    pub(super) fn note_cause(&mut self, call_id: CallId, cause: Disconnect) -> bool {
        let Some(call) = self.app_calls.get_mut(call_id) else { return false };
        call.cause = Some(cause);
        !call.is_shared
    }

    pub(super) fn end_app_call(&mut self, call_id: CallId, reason: EndReason, role: Role, release: Option<Release>) {
        let cause = self.app_calls.get_mut(call_id).and_then(|call| call.cause.take());
        self.disconnect(call_id, cause.unwrap_or_else(|| Disconnect::of(reason, role, release)));
    }

    /// A call that was asked about is over.
    pub(super) fn on_released(&mut self, call_id: CallId, reason: EndReason, release: Option<Release>) {
        let end = match reason {
            EndReason::Busy => Disconnect::of(EndReason::Busy, Role::Callee, None),
            reason => Disconnect::released(reason, release),
        };
        self.disconnect(call_id, end);
    }

    fn disconnect(&mut self, call_id: CallId, end: Disconnect) {
        if let Some(call) = self.app_calls.remove(call_id) {
            tracing::debug!(reason = end.reason.number(), "disconnected");
            self.outputs.push_back(Output::CallClosed { call: call.key, end: Some(end) });
        }
    }

    /// The server does not sign this device in any more; how the ends that come of it are named.
    pub(super) fn note_signed_out(&mut self, reason: RefuseReason) {
        let end = Disconnect::by_server(refused(reason));
        for call_id in self.app_calls.ids() {
            let Some(call) = self.app_calls.get_mut(call_id) else { continue };
            if call.is_background && reason == RefuseReason::Replaced {
                self.note(call_id, |call| call.state = CallState::Disconnected);
                self.emit_call(call_id, CallEvent::AdoptedElsewhere);
            } else {
                call.cause = Some(end);
            }
        }
        // What was only being asked about has no end of its own.
        let asked = self.app_calls.ids().into_iter().filter(|call_id| !self.calls.contains_key(call_id));
        let asked: Vec<CallId> = asked.collect();
        for call_id in asked {
            self.disconnect(call_id, end);
        }
    }

    /// Nothing is told of calls that the app has let go of.
    pub(super) fn close_app_calls(&mut self) {
        for call_id in self.app_calls.ids() {
            self.disconnect(call_id, Disconnect::of(EndReason::Hangup, Role::Callee, None));
        }
    }

    /// What was asked about may have ended without ringing: by being busy, or because the arbiter fell silent.
    pub(super) fn check_asked_calls(&mut self) {
        let now = self.now;
        let mut over = Vec::new();
        for call in self.app_calls.iter() {
            let (call_id, Some(give_up)) = (call.snapshot.call_id, call.give_up) else { continue };
            match self.desk.line().outcome(call_id) {
                Some(reason) => over.push((call_id, reason)),
                None if now >= give_up => over.push((call_id, EndReason::Error)),
                None => {}
            }
        }
        for (call_id, reason) in over {
            self.on_released(call_id, reason, None);
        }
    }
}
