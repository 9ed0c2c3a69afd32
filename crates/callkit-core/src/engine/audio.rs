//! The sound of the calls: which devices are open, what is played, and who is heard, worked out from the state of the calls.

use std::collections::BTreeSet;

use call_protocol::CallId;
use call_protocol::end::EndReason;
use signaling::Role;

use super::Engine;
use crate::audio_state::{AudioState, CallFacts, KitFacts, audio_state};
use crate::call_media::{AudioChoices, CallMedia};
use crate::device_choice::Outcome;
use crate::error::CallError;
use crate::event::{CallEvent, KitEvent};
use crate::ids::{AudioDeviceId, AudioSessionId, CommandId};
use crate::input::{AudioNotice, DeviceKind};
use crate::output::{DesiredAudio, Output};
use crate::settings::{CallSettings, ToneKind};

/// What follows from the calls.
impl Engine {
    pub(super) fn audio_state(&self) -> AudioState {
        let kit = KitFacts {
            may_open_devices: self.audio.is_active || !self.any_waits_for_activation(),
            speaker: self.audio.speaker,
            plays_tone: self.audio.end_tone.is_some() || self.tone().is_some(),
        };
        let calls: Vec<CallFacts> = self.calls.values().map(CallMedia::facts).collect();
        audio_state(kit, &calls)
    }

    /// Has the sound be what the calls make of it. Called after whatever may change one of them.
    pub(super) fn update_audio(&mut self) {
        if self.audio.is_given_up {
            return;
        }
        let desired = self.desired_audio();
        let is_needed = desired.state.loudspeaker
            || desired.end_tone.is_some()
            || desired.tone.is_some()
            || self.calls.values().any(|media| !media.is_ringing());
        if !is_needed {
            self.set_audio(None);
            return self.settle_choices(false, false);
        }
        let is_hopeless = self.audio.failed.as_ref().is_some_and(|failed| {
            let session = failed.session;
            *failed == DesiredAudio { session, ..desired.clone() }
        });
        if is_hopeless {
            return self.set_audio(None);
        }
        let AudioState { microphone, loudspeaker, .. } = desired.state;
        self.set_audio(Some(desired));
        self.settle_choices(microphone, loudspeaker);
    }

    fn set_audio(&mut self, desired: Option<DesiredAudio>) {
        if self.audio.desired == desired {
            return;
        }
        if let Some(desired) = &desired {
            self.audio.last_session = desired.session.0;
            self.audio.failed = None;
        }
        self.audio.desired.clone_from(&desired);
        self.outputs.push_back(Output::Audio(desired));
    }

    /// There is no sound, and a call has no use without one.
    fn go_without_audio(&mut self, why: String) {
        self.audio.is_given_up = true;
        let needy = self.calls.values().filter(|media| !media.is_ringing());
        let calls: Vec<CallId> = needy.map(|media| media.call_id).collect();
        if calls.is_empty() {
            self.emit_error(None, CallError::Media(why.clone()));
        }
        self.audio.end_tone = None;
        for call_id in calls {
            self.give_up(call_id, CallError::Media(why.clone()), EndReason::Error);
        }
        self.audio.is_given_up = false;
    }

    fn desired_audio(&self) -> DesiredAudio {
        let state = self.audio_state();
        let open = state.open.map(|open| open.call_id);
        let running = self.audio.desired.as_ref().map(|desired| desired.session);
        DesiredAudio {
            session: running.unwrap_or(AudioSessionId(self.audio.last_session + 1)),
            state,
            microphone: self.audio.microphone.chosen(),
            loudspeaker: self.audio.loudspeaker.chosen(),
            tone: self.tone(),
            end_tone: self.audio.end_tone,
            level_interval: open
                .and_then(|call_id| self.settings_of(call_id)?.level_interval)
                .unwrap_or(self.settings.audio.level_interval),
        }
    }

    /// What was chosen for a call with a handler of its own.
    fn settings_of(&self, call_id: CallId) -> Option<CallSettings> {
        self.app_calls.get(call_id)?.own
    }

    fn any_waits_for_activation(&self) -> bool {
        self.calls.keys().any(|call_id| self.waits_for_activation(*call_id))
    }

    fn waits_for_activation(&self, call_id: CallId) -> bool {
        let of_call = self.settings_of(call_id).is_some_and(|settings| settings.waits_for_activation);
        self.settings.audio.waits_for_activation || of_call
    }

    pub(super) fn may_lack_microphone(&self, call_id: CallId) -> bool {
        let of_call = self.settings_of(call_id).map(|settings| settings.allow_without_mic);
        of_call.unwrap_or(self.settings.audio.allow_without_mic)
    }

    /// What is played over and over.
    fn tone(&self) -> Option<ToneKind> {
        let talking = self.calls.values().find(|media| media.peer.is_some() && media.facts().is_talking());
        let present = talking.or_else(|| self.calls.values().find(|media| media.peer.is_some()));
        let rings = self.calls.values().any(CallMedia::rings_here);
        let tones = &self.settings.audio.tones;
        if let Some(present) = present {
            return if rings && tones.waiting {
                Some(ToneKind::Waiting)
            } else if present.audio.preparing {
                None
            } else if present.held {
                tones.holding.then_some(ToneKind::Holding)
            } else {
                Some(ToneKind::Hold).filter(|_| tones.hold && present.audio.peer_held)
            };
        }
        if rings {
            return tones.ring.then_some(ToneKind::Ring);
        }
        let is_heard = self.calls.values().any(|media| media.role == Role::Caller && !media.rung.is_empty());
        Some(ToneKind::Ringback).filter(|_| tones.ringback && is_heard)
    }

    /// The sound of a call is over; the last one lets go of the audio devices once the end tone is.
    pub(super) fn end_audio_of(&mut self, media: &CallMedia) {
        let waits = self.waits_for_activation(media.call_id);
        let may_play = self.settings.audio.tones.end && (self.audio.is_active || !waits);
        let is_last = self.calls.values().all(|other| other.peer.is_none());
        if may_play && self.audio.desired.is_some() && media.peer.is_some() && is_last {
            self.audio.last_end_tone += 1;
            self.audio.end_tone = Some(self.audio.last_end_tone);
        }
        if waits && !self.any_waits_for_activation() {
            // The system takes the audio back with the end of the call.
            self.audio.is_active = false;
        }
        self.update_audio();
    }

    /// Lets go of the devices without an end tone.
    pub(super) fn release_audio(&mut self) {
        self.audio.end_tone = None;
        self.update_audio();
    }
}

/// What the app chooses.
impl Engine {
    pub(super) fn set_speaker(&mut self, on: bool) {
        self.audio.speaker = on;
        self.update_audio();
    }

    pub(super) fn set_audio_active(&mut self, active: bool) {
        self.audio.is_active = active;
        self.update_audio();
    }

    /// What is chosen for a call; one that is only beginning has what is chosen for all.
    pub(super) fn audio_choices(&self, call_id: CallId) -> AudioChoices {
        let chosen = self.calls.get(&call_id).map(|media| media.audio.choices);
        let chosen = chosen.or_else(|| self.app_calls.get(call_id).map(|call| call.choices()));
        chosen.unwrap_or(AudioChoices { muted: self.audio.muted, peer_silenced: false })
    }

    fn choose(&mut self, call_id: CallId, change: impl FnOnce(&mut AudioChoices)) {
        let mut choices = self.audio_choices(call_id);
        change(&mut choices);
        if let Some(media) = self.calls.get_mut(&call_id) {
            media.audio.choices = choices;
        }
        let before = self.app_calls.get(call_id).map(|call| (call.key, call.choices()));
        let AudioChoices { muted, peer_silenced } = choices;
        self.note(call_id, |call| (call.muted, call.peer_silenced) = (muted, peer_silenced));
        if let Some((call, before)) = before
            && before.muted != muted
        {
            self.outputs.push_back(Output::EmitCall { call, event: CallEvent::Muted(muted) });
        }
        self.update_audio();
        self.update_tracks();
    }

    pub(super) fn mute_call(&mut self, call_id: CallId, muted: bool) {
        self.choose(call_id, |choices| choices.muted = muted);
    }

    /// Every call there is, and those to come.
    pub(super) fn mute(&mut self, muted: bool) {
        self.audio.muted = muted;
        let calls: BTreeSet<CallId> = self.calls.keys().copied().chain(self.app_calls.ids()).collect();
        calls.into_iter().for_each(|call_id| self.mute_call(call_id, muted));
    }

    /// Only here, and only until the call ends.
    pub(super) fn mute_peer(&mut self, call_id: CallId, muted: bool) -> Result<(), CallError> {
        if !self.calls.contains_key(&call_id) && !self.app_calls.contains(call_id) {
            return Err(CallError::NoSuchCall);
        }
        self.choose(call_id, |choices| choices.peer_silenced = muted);
        Ok(())
    }

    pub(super) fn choose_microphone(&mut self, device: AudioDeviceId, command: CommandId) {
        let overtaken = self.audio.microphone.choose(device, command);
        self.on_choice(overtaken);
        self.update_audio();
    }

    pub(super) fn choose_loudspeaker(&mut self, device: AudioDeviceId, command: CommandId) {
        let overtaken = self.audio.loudspeaker.choose(device, command);
        self.on_choice(overtaken);
        self.update_audio();
    }

    /// It is known which devices are in use: what was chosen of the others stands.
    fn settle_choices(&mut self, microphone: bool, loudspeaker: bool) {
        let choice = Some(&mut self.audio.microphone).filter(|_| !microphone);
        let outcome = choice.and_then(|choice| choice.is_not_needed());
        self.on_choice(outcome);
        let choice = Some(&mut self.audio.loudspeaker).filter(|_| !loudspeaker);
        let outcome = choice.and_then(|choice| choice.is_not_needed());
        self.on_choice(outcome);
    }

    fn on_choice(&mut self, outcome: Option<Outcome>) {
        if let Some((id, response)) = outcome {
            self.reply(id, response);
        }
    }
}

/// What the audio engine tells.
impl Engine {
    pub(super) fn on_audio(&mut self, session: AudioSessionId, notice: AudioNotice) {
        if self.audio.desired.as_ref().is_none_or(|desired| desired.session != session) {
            return;
        }
        match notice {
            AudioNotice::FirstAudio(call_id) => self.on_first_audio(call_id),
            AudioNotice::MicrophoneOpened => self.on_microphone_opened(),
            AudioNotice::DeviceOpened { kind, device, result, goes_on } => {
                self.on_device_opened(kind, device, result, goes_on);
            }
            AudioNotice::MicrophoneFailed { failure, at_open, why } => {
                self.on_microphone_failed(failure, at_open, &why);
            }
            AudioNotice::DeviceFailed(why) => self.emit_error(self.sounding(), CallError::Device(why)),
            AudioNotice::EndToneOver => self.release_audio(),
            AudioNotice::Ended(why) => self.on_audio_ended(why),
        }
    }

    fn on_audio_ended(&mut self, why: String) {
        let failed = self.audio.desired.clone();
        self.set_audio(None);
        self.go_without_audio(why);
        self.audio.failed = failed;
    }

    fn on_first_audio(&mut self, call_id: CallId) {
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        // Nobody is heard whom the app has not met.
        let known = media.participants.iter().find(|(_, participant)| participant.is_known).map(|(uid, _)| *uid);
        match known {
            Some(uid) => self.emit_of(call_id, KitEvent::FirstAudio { call_id, uid }),
            None => media.first_audio_pending = true,
        }
    }

    fn on_device_opened(&mut self, kind: DeviceKind, device: AudioDeviceId, result: Result<(), String>, goes_on: bool) {
        let opened = match kind {
            DeviceKind::Microphone => self.audio.microphone.opened(device, result, goes_on),
            DeviceKind::Loudspeaker => self.audio.loudspeaker.opened(device, result, goes_on),
        };
        let Some((outcome, goes_back)) = opened else { return };
        self.on_choice(Some(outcome));
        if goes_back {
            self.update_audio();
        }
    }
}
