//! Calls of this face in the owner loop.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use call_protocol::disconnect::{DisconnectReason, StartFailReason};
use call_protocol::end::{EndReason, Release};
use call_protocol::invite::Invite;
use call_protocol::media::{NegotiationBody, Notice};
use call_protocol::session::RefuseReason;
use call_protocol::{CallId, Party, limits};
use signaling::{Command, Input, InviteOptions, Phase, Role, Time};
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};

use super::events::CallEventHandler;
use super::face::{Ending, Levels, Own};
use super::param::{CallOptions, MakeCallParam, VerifyCallParam};
use super::reasons::{Disconnect, refused, source_of};
use super::{Call, CallDirection, CallState, Face, FaceCommand, FaceId};
use crate::core::{Core, Report};
use crate::error::CallError;
use crate::events::CallKitEvent;
use crate::media::{Media, PathLink};
use crate::statistics::CallStatistics;

/// After so long a call that was asked about, and that nothing is heard of, counts as gone, in ms: an alert's time and a little more.
const VERIFY_MS: u64 = 12_000;
/// How often the handler of this side's own media is told the level, where the app did not say.
const LEVELS_EVERY: Duration = Duration::from_millis(500);
/// After so long an interruption of the media that the server does not explain it is the other side's, in ms.
const UNEXPLAINED_MS: u64 = 6_000;

/// Beginning.
impl Core {
    pub(crate) fn make_call(
        &mut self,
        param: MakeCallParam,
        handler: Arc<dyn CallEventHandler>,
    ) -> Result<Call, StartFailReason> {
        self.may_start(&param.my_user_id, &param.my_service_id)?;
        if !self.connected && self.chat.is_none() {
            return Err(StartFailReason::InvalidStateToMakeCall);
        }
        let MakeCallParam { peer_user_id, call_type, ext, app_server_data, no_answer, options, .. } = param;
        let call_id = CallId::from_bits(rand::random());
        let own = Own { options, handler, is_background: false };
        let choices = self.sound_choices(call_id);
        let face = self.faces.begin(call_id, peer_user_id.clone(), call_type, Role::Caller, choices, own);
        face.preparation_offered = param.use_responder_preparation;
        let call = face.handle();
        self.calls.insert(call_id, Media::new(call_id, Role::Caller, self.sound_choices(call_id)));
        let ring_timeout_ms = u32::try_from(no_answer.as_millis()).unwrap_or(limits::RING_TIMEOUT_MAX_MS);
        let options = InviteOptions { responder_preparation: param.use_responder_preparation, app_server_data };
        let callees = vec![peer_user_id];
        let command = Command::Invite { call_id, callees, call_type, ext, ring_timeout_ms, options };
        if let Err(error) = self.try_input(Input::Command(command)) {
            self.calls.remove(&call_id);
            self.faces.remove(&call_id);
            return Err(not_made(&error));
        }
        self.fetch_token(call_id);
        Ok(call)
    }

    pub(crate) fn verify_call(
        &mut self,
        param: VerifyCallParam,
        handler: Arc<dyn CallEventHandler>,
        is_background: bool,
    ) -> Result<Call, StartFailReason> {
        let VerifyCallParam { cc_param, options } = param;
        self.may_start(&cc_param.user, &cc_param.app_id)?;
        let call_id = cc_param.call_id;
        let phase = self.desk.line().calls().find(|phase| call_of(*phase) == Some(call_id));
        if self.faces.is_own(call_id) || phase.is_some_and(|phase| phase != Phase::Ringing(call_id)) {
            return Err(StartFailReason::AlreadyExist);
        }
        let rings = self.calls.get(&call_id).map(|media| media.offers_preparation);
        let own = Own { options, handler, is_background };
        let call = match self.faces.take_over(call_id, own) {
            // What rings already the kit-wide listeners know of, and are to hear the end of.
            Ok(call) => call,
            Err(own) => {
                let (give_up, choices) = (self.now().mono + VERIFY_MS, self.sound_choices(call_id));
                let (peer, call_type) = (cc_param.peer.clone(), cc_param.call_type);
                let face = self.faces.begin(call_id, peer, call_type, Role::Callee, choices, own);
                face.give_up = Some(give_up);
                face.handle()
            }
        };
        match rings {
            Some(offers_preparation) => self.verified(call_id, offers_preparation),
            None => self.input(Input::Command(Command::Verify { call_id })),
        }
        Ok(call)
    }

    fn may_start(&self, user: &call_protocol::UserId, app: &call_protocol::AppId) -> Result<(), StartFailReason> {
        if !self.initialized {
            Err(StartFailReason::NotInitialized)
        } else if *user != self.desk.line().party().user {
            Err(StartFailReason::InvalidUserId)
        } else if *app != self.settings.app_id {
            Err(StartFailReason::InvalidServiceId)
        } else {
            Ok(())
        }
    }

    /// The call rings here; whether its handler is told, and the kit-wide listeners are not.
    pub(crate) fn rings_in_its_own_face(&mut self, invite: &Invite) -> bool {
        if !self.faces.is_own(invite.call_id) {
            return false;
        }
        self.verified(invite.call_id, invite.responder_preparation);
        true
    }

    /// The call rings here, and the kit-wide listeners are about to be told.
    pub(crate) fn face_rings(&mut self, invite: &Invite) {
        let (call_id, peer) = (invite.call_id, invite.caller.user.clone());
        let choices = self.sound_choices(call_id);
        let face = self.faces.begin_kit_wide(call_id, peer, invite.call_type, Role::Callee, choices);
        face.preparation_offered = invite.responder_preparation;
        face.note(|facts| facts.state = CallState::Verified);
    }

    fn verified(&mut self, call_id: CallId, offers_preparation: bool) {
        let Some(face) = self.faces.get_mut(&call_id) else { return };
        face.give_up = None;
        face.preparation_offered = offers_preparation;
        if let Some(ending) = face.declined.take() {
            if let Err(error) = self.end(call_id, ending) {
                tracing::debug!(%error, "over already");
            }
            return;
        }
        face.note(|facts| facts.state = CallState::Verified);
        face.tell(move |handler, call| handler.on_verified(call, offers_preparation));
    }
}

/// What the app wants.
impl Core {
    pub(crate) fn on_face(&mut self, face: FaceId, command: FaceCommand) -> Result<(), CallError> {
        let call_id = self.call_of_face(face)?;
        match command {
            FaceCommand::Accept { preparation } => self.accept(call_id, preparation),
            FaceCommand::End(ending) => self.end(call_id, ending),
            FaceCommand::FinishPreparation => self.finish_preparation(call_id),
            FaceCommand::Hold(reason) => self.hold_with_reason(call_id, reason),
            FaceCommand::Unhold => self.try_input(Input::Command(Command::Hold { call_id, held: false, reason: None })),
            FaceCommand::Mute(muted) => {
                self.mute_call(call_id, muted);
                Ok(())
            }
            FaceCommand::RequestPeerMute(muted) => self.notify_peer(call_id, Notice::MuteRequest { muted }),
            FaceCommand::SilencePeer(silenced) => self.silence_peer(call_id, silenced),
            FaceCommand::AudioActivated => self.on_audio_activated(call_id),
            FaceCommand::Adopt(handler) => {
                self.faces.get_mut(&call_id).ok_or(CallError::NoSuchCall)?.adopted(handler);
                Ok(())
            }
        }
    }

    fn call_of_face(&self, face: FaceId) -> Result<CallId, CallError> {
        let found = self.faces.iter().find(|(_, known)| known.id() == face);
        found.map(|(call_id, _)| *call_id).ok_or(CallError::NoSuchCall)
    }

    fn accept(&mut self, call_id: CallId, preparation: bool) -> Result<(), CallError> {
        if !self.initialized {
            return Err(CallError::NotInitialized);
        }
        let Some(face) = self.faces.get_mut(&call_id) else { return Err(CallError::NoSuchCall) };
        // Still asked about: nothing rings yet.
        if face.facts().state == CallState::Trying {
            return Err(CallError::NotRinging);
        }
        let prepares = preparation && face.preparation_offered;
        let command = if prepares { Command::AnswerToPrepare { call_id } } else { Command::Answer { call_id } };
        self.try_input(Input::Command(command))?;
        self.prepare(call_id, prepares);
        self.get_ready(call_id);
        Ok(())
    }

    fn end(&mut self, call_id: CallId, ending: Ending) -> Result<(), CallError> {
        let Some(face) = self.faces.get(&call_id) else { return Err(CallError::NoSuchCall) };
        let source = source_of(face.role);
        let phase = self.desk.line().calls().find(|phase| call_of(*phase) == Some(call_id));
        let plain = match phase {
            // It is being asked about: it is declined as soon as it turns out to be alive.
            None => {
                if let Some(face) = self.faces.get_mut(&call_id) {
                    face.declined = Some(ending);
                }
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
        self.try_input(Input::Command(Command::Release { call_id, release }))
    }

    fn hold_with_reason(&mut self, call_id: CallId, reason: Option<String>) -> Result<(), CallError> {
        let is_connected = self.faces.get(&call_id).is_some_and(|face| face.facts().state == CallState::Connected);
        if !is_connected {
            return Err(CallError::NotAnswered);
        }
        if reason.as_ref().is_some_and(|reason| reason.len() > limits::NOTE_BYTES) {
            return Err(CallError::InvalidParam(format!("reason: at most {} bytes", limits::NOTE_BYTES)));
        }
        self.try_input(Input::Command(Command::Hold { call_id, held: true, reason }))
    }

    fn notify_peer(&mut self, call_id: CallId, notice: Notice) -> Result<(), CallError> {
        let winner = self.calls.get(&call_id).and_then(|media| media.winner.clone()).ok_or(CallError::NotAnswered)?;
        let body = NegotiationBody::Notice(notice);
        self.try_input(Input::Command(Command::Negotiate { call_id, to: winner, body }))
    }

    fn on_audio_activated(&mut self, call_id: CallId) -> Result<(), CallError> {
        if !self.faces.contains_key(&call_id) {
            return Err(CallError::NoSuchCall);
        }
        self.set_audio_active(true);
        Ok(())
    }

    pub(crate) fn face_statistics(&self, face: FaceId, reply: oneshot::Sender<Option<CallStatistics>>) {
        let asked_for = |face: &&Face| !face.is_own() || face.options.enable_statistics;
        let call_id = self.call_of_face(face).ok();
        let call_id = call_id.filter(|call_id| self.faces.get(call_id).filter(asked_for).is_some());
        // Who no longer waits for it does not care.
        let _ = reply.send(call_id.and_then(|call_id| self.statistics(call_id)));
    }
}

/// What happens.
impl Core {
    /// Tells the handler of a call of this face, or else the kit-wide listeners.
    pub(crate) fn tell_of(&mut self, call_id: CallId, event: CallKitEvent) {
        if let Some(face) = self.faces.get_mut(&call_id) {
            face.translate(&event);
        }
        if self.is_kit_wide(call_id) {
            self.teller.tell(event);
        }
    }

    /// Whether the kit-wide listeners hear of this call.
    pub(crate) fn is_kit_wide(&self, call_id: CallId) -> bool {
        self.faces.get(&call_id).is_none_or(|face| face.is_shared)
    }

    /// Caller: the callee is being notified. A device that has alerted says so, too.
    pub(crate) fn face_waits(&mut self, call_id: CallId) {
        let Some(face) = self.faces.get(&call_id) else { return };
        if face.facts().state == CallState::Trying {
            face.note(|facts| facts.state = CallState::WaitAnswer);
            face.tell(|handler, call| handler.on_wait_connected(call));
        }
    }

    /// An error of a call is told kit-wide, unless the call has a handler of its own, which hears the end that comes of it.
    pub(crate) fn note_error(&mut self, call_id: CallId, error: CallError, reason: EndReason) {
        if let Some(face) = self.faces.get_mut(&call_id) {
            let cause = Disconnect::given_up(&error, reason, face.role);
            face.cause.get_or_insert(cause);
            if !face.is_shared {
                return;
            }
        }
        self.fail_with(Some(call_id), error);
    }

    /// Why the end that comes now does so.
    pub(crate) fn note_cause(&mut self, call_id: CallId, cause: Disconnect) -> bool {
        let Some(face) = self.faces.get_mut(&call_id) else { return false };
        face.cause = Some(cause);
        !face.is_shared
    }

    pub(crate) fn face_accepted(&mut self, invite: &Invite, preparation: bool) {
        let call_id = invite.call_id;
        self.prepare(call_id, preparation);
        let Some(face) = self.faces.get_mut(&call_id) else { return };
        face.note(|facts| {
            facts.state = CallState::Connected;
            facts.connected = Some(SystemTime::now());
            facts.preparing = preparation;
            facts.call_type = invite.call_type;
        });
        let should_finish = preparation && face.role == Role::Callee;
        face.tell(move |handler, call| handler.on_connected(call, preparation, should_finish));
        let every = face.options.audio_description_interval.unwrap_or(LEVELS_EVERY);
        let (id, reports) = (face.id(), self.reports.clone());
        let mut ticks = interval(every.max(Duration::from_millis(20)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        face.levels = Some(Levels(tokio::spawn(async move {
            loop {
                ticks.tick().await;
                if reports.send(Report::Levels(id)).await.is_err() {
                    return;
                }
            }
        })));
    }

    pub(crate) fn on_levels(&self, face: FaceId) {
        let Ok(call_id) = self.call_of_face(face) else { return };
        let Some(face) = self.faces.get(&call_id) else { return };
        let has_sound = self.audio_state().open.is_some_and(|open| open.call_id == call_id);
        let levels = if has_sound { self.settings.figures.levels() } else { Default::default() };
        let peer = face.options.audio_description_interval.is_some().then(|| percent(levels.peer));
        face.tell_levels(percent(levels.microphone), peer);
    }

    fn finish_preparation(&mut self, call_id: CallId) -> Result<(), CallError> {
        let Some(face) = self.faces.get(&call_id) else { return Err(CallError::NoSuchCall) };
        if face.facts().state != CallState::Connected {
            return Err(CallError::NotAnswered);
        }
        if !face.prepares || face.role != Role::Callee {
            return Err(CallError::InvalidParam("there is no preparation of this side to be finished".into()));
        }
        self.notify_peer(call_id, Notice::PreparationFinished)?;
        self.prepared(call_id);
        Ok(())
    }

    fn prepared(&mut self, call_id: CallId) {
        let Some(face) = self.faces.get(&call_id).filter(|face| face.prepares) else { return };
        face.note(|facts| facts.preparing = false);
        face.tell(|handler, call| handler.on_preparation_finished(call));
        self.prepare(call_id, false);
    }

    /// While its callee prepares a call has no sound.
    fn prepare(&mut self, call_id: CallId, prepares: bool) {
        if let Some(face) = self.faces.get_mut(&call_id) {
            face.prepares = prepares;
        }
        if let Some(media) = self.calls.get_mut(&call_id) {
            media.sound.preparing = prepares;
        }
    }

    /// The other one's app says something to this one.
    pub(crate) fn on_notice(&mut self, call_id: CallId, from: &Party, notice: Notice) {
        let is_winner = self.calls.get(&call_id).is_some_and(|media| media.winner.as_ref() == Some(from));
        let Some(face) = self.faces.get_mut(&call_id).filter(|_| is_winner) else { return };
        match notice {
            Notice::PreparationFinished if face.role == Role::Caller => self.prepared(call_id),
            Notice::PreparationFinished => {}
            Notice::MuteRequest { muted } => {
                face.tell(move |handler, call| handler.on_my_audio_mute_requested_by_peer(call, muted));
            }
            // Of an older kit: which hold it belongs to is not to be known.
            Notice::HoldReason(_) => {}
        }
    }

    /// Both called each other, and the call of this face goes on as the other one's.
    pub(crate) fn face_merged(&mut self, old: CallId, invite: &Invite) {
        let Some(mut face) = self.faces.remove(&old) else { return };
        // A face that asked about the other one's call has nothing left to ring for.
        self.disconnect(invite.call_id, Disconnect::released(EndReason::AnsweredElsewhere, None));
        face.role = Role::Callee;
        face.note(|facts| {
            facts.call_id = invite.call_id;
            facts.call_type = invite.call_type;
            facts.direction = CallDirection::Incoming;
        });
        self.faces.insert(invite.call_id, face);
    }

    pub(crate) fn face_ended(&mut self, call_id: CallId, reason: EndReason, role: Role, release: Option<Release>) {
        let cause = self.faces.get_mut(&call_id).and_then(|face| face.cause.take());
        self.disconnect(call_id, cause.unwrap_or_else(|| Disconnect::of(reason, role, release)));
    }

    /// A call that was asked about is over.
    pub(crate) fn face_released(&mut self, call_id: CallId, reason: EndReason, release: Option<Release>) {
        let end = match reason {
            EndReason::Busy => Disconnect::of(EndReason::Busy, Role::Callee, None),
            reason => Disconnect::released(reason, release),
        };
        self.disconnect(call_id, end);
    }

    fn disconnect(&mut self, call_id: CallId, end: Disconnect) {
        if let Some(mut face) = self.faces.remove(&call_id) {
            face.tell_end(end);
        }
    }

    /// The server does not sign this device in any more; how the ends that come of it are named.
    pub(crate) fn faces_signed_out(&mut self, reason: RefuseReason) {
        for face in self.faces.values_mut() {
            if face.is_background && reason == RefuseReason::Replaced {
                face.adopted_elsewhere();
            } else {
                face.cause = Some(Disconnect::by_server(refused(reason)));
            }
        }
        // What was only being asked about has no end of its own.
        let asked: Vec<CallId> = self.faces.keys().copied().filter(|id| !self.calls.contains_key(id)).collect();
        for call_id in asked {
            self.disconnect(call_id, Disconnect::by_server(refused(reason)));
        }
    }

    /// Nothing is told of calls that the app has let go of.
    pub(crate) fn faces_closed(&mut self) {
        let left: Vec<CallId> = self.faces.keys().copied().collect();
        for call_id in left {
            self.disconnect(call_id, Disconnect::of(EndReason::Hangup, Role::Callee, None));
        }
    }
}

/// Time and network.
impl Core {
    pub(crate) fn next_face_wake(&self) -> Option<Time> {
        self.faces.values().filter_map(|face| face.give_up).min()
    }

    /// What was asked about may have ended without ringing: by being busy, or because the arbiter fell silent.
    pub(crate) fn look_at_asked(&mut self) {
        let now = self.now().mono;
        let asked = self.faces.iter().filter(|(_, face)| face.give_up.is_some());
        let mut over = Vec::new();
        for (call_id, face) in asked {
            match self.desk.line().outcome(*call_id) {
                Some(reason) => over.push((*call_id, reason)),
                None if face.give_up.is_some_and(|at| now >= at) => over.push((*call_id, EndReason::Error)),
                None => {}
            }
        }
        for (call_id, reason) in over {
            self.face_released(call_id, reason, None);
        }
    }

    pub(crate) fn face_reachability(&mut self, call_id: CallId, reachable: bool, ends_in_ms: u32) {
        let now = self.now().mono;
        let Some(face) = self.faces.get_mut(&call_id) else { return };
        face.peer_away = (!reachable).then(|| now + u64::from(ends_in_ms));
        self.look_at_network(call_id);
    }

    pub(crate) fn look_at_networks(&mut self) {
        let calls: Vec<CallId> = self.faces.keys().copied().collect();
        calls.into_iter().for_each(|call_id| self.look_at_network(call_id));
    }

    /// The other side is without network if the server says so, or says nothing for long while there is no media. Of this side's own network
    /// both faces hear alike.
    pub(crate) fn look_at_network(&mut self, call_id: CallId) {
        let now = self.now().mono;
        let Some(face) = self.faces.get_mut(&call_id) else { return };
        let interrupted = match self.calls.get(&call_id).map(|media| media.link) {
            Some(PathLink::Interrupted { give_up, since, .. }) => Some((give_up, now - since)),
            Some(PathLink::Idle | PathLink::SettingUp { .. } | PathLink::Connected) | None => None,
        };
        let unexplained = interrupted.filter(|(_, lasted)| self.connected && *lasted >= UNEXPLAINED_MS);
        let peer = face.peer_away.or(unexplained.map(|(give_up, _)| give_up));
        let was_away = std::mem::replace(&mut face.told_away, peer.is_some());
        match peer {
            Some(until) if !was_away => face.tell_away(true, u32::try_from(until - now).unwrap_or(u32::MAX)),
            None if was_away => face.tell(|handler, call| handler.on_network_reavailable(call, true)),
            Some(_) | None => {}
        }
    }
}

/// Sound.
impl Core {
    /// Caller: the callee may be about to prepare, which only the arbiter's word tells.
    pub(crate) fn may_be_prepared(&self, call_id: CallId) -> bool {
        self.faces.get(&call_id).is_some_and(|face| face.preparation_offered)
    }

    /// What was chosen for a call with a handler of its own.
    pub(crate) fn options_of(&self, call_id: CallId) -> Option<&CallOptions> {
        self.faces.get(&call_id).filter(|face| face.is_own()).map(|face| &face.options)
    }

    /// The call that has the audio devices: the running one that is not on hold.
    pub(crate) fn sounding(&self) -> Option<CallId> {
        self.calls.values().find(|media| media.winner.is_some() && !media.held).map(|media| media.call_id)
    }
}

fn percent(level: f32) -> u8 {
    // A float that is too large or no number is cut off.
    level.round() as u8
}

fn call_of(phase: Phase) -> Option<CallId> {
    match phase {
        Phase::Idle => None,
        Phase::Calling(call_id) | Phase::Ringing(call_id) | Phase::Answering(call_id) | Phase::InCall(call_id) => {
            Some(call_id)
        }
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
