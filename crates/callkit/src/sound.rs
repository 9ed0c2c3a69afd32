//! The sound of the calls: which devices are open, what is played, and who is heard, worked out from the state of the calls.

use std::collections::BTreeSet;
use std::time::Duration;

use call_protocol::end::EndReason;
use call_protocol::{CallId, Party};
use futures_util::Stream;
use signaling::Role;
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

use crate::audio_state::{AudioState, CallFacts, KitFacts, OpenPath, Stage, audio_state};
use crate::call::{CallKitType, CallOptions, Face};
use crate::core::{Command, Core, Report};
use crate::error::CallError;
use crate::events::CallKitEvent;
use crate::kit::CallKit;
use crate::media::Media;
use crate::microphone::{self, MicrophoneFailure};
use crate::paths::Remote;
use crate::tones::LoadedTones;
use crate::voice::{Voice, VoiceNotice, Wanted};

/// What can be chosen about the sound of a call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SoundOptions {
    /// No device is opened before the app has activated the audio.
    pub(crate) waits_for_activation: bool,
    /// A call whose microphone cannot be opened goes on without it rather than end.
    pub(crate) allow_without_mic: bool,
    pub(crate) tones: LoadedTones,
    pub(crate) level_interval: Duration,
}

/// What this side has chosen about the sound of a call, by whichever face: there is but this, which is obeyed, told to the app, and told to the
/// other side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SoundChoices {
    /// The microphone is muted.
    pub(crate) muted: bool,
    /// The other side is not played.
    pub(crate) silenced: bool,
}

/// The sound of one call.
#[derive(Debug, Default)]
pub(crate) struct CallSound {
    pub(crate) choices: SoundChoices,
    /// The user has taken the call; devices are opened while the arbiter is asked.
    pub(crate) answering: bool,
    /// Caller: the devices that say themselves that they have taken it. Once the arbiter has said which one did, they mean nothing.
    pub(crate) answered_by: BTreeSet<Party>,
    /// Connected, but nothing is to be said or heard yet.
    pub(crate) preparing: bool,
    /// The other side holds the call.
    pub(crate) peer_held: bool,
    /// The microphone was open once in this call.
    pub(crate) had_microphone: bool,
    /// The app was told that there is none.
    pub(crate) lacks_microphone: bool,
}

/// How loud it is, 0 to 100; see [`CallKit::mic_level`].
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct AudioLevels {
    /// The microphone; 0 while it is muted, on hold, or missing.
    pub mic: f32,
    /// The voice of the other side, even where it is not played.
    pub peer: f32,
}

impl Media {
    fn facts(&self) -> CallFacts {
        let path_to = |device| self.remotes.get(device).and_then(Remote::open_path);
        let mut answered = self.sound.answered_by.iter();
        let stage = match (&self.winner, answered.next(), answered.next()) {
            (Some(device), _, _) | (None, Some(device), None) => Stage::Taken { path: path_to(device) },
            (None, Some(_), Some(_)) => Stage::Answering,
            (None, None, _) if self.sound.answering => Stage::Answering,
            (None, None, _) => Stage::Ringing,
        };
        let SoundChoices { muted, silenced } = self.sound.choices;
        let CallSound { preparing, peer_held, .. } = self.sound;
        CallFacts { call_id: self.call_id, stage, held: self.held, peer_held, preparing, muted, silenced }
    }

    fn is_ringing(&self) -> bool {
        self.facts().stage == Stage::Ringing
    }

    /// Whether its user speaks in it, or is about to.
    fn wants_microphone(&self) -> bool {
        !self.is_ringing() && !self.held && !self.sound.preparing
    }

    fn rings_here(&self) -> bool {
        self.role == Role::Callee && self.is_ringing()
    }
}

/// What follows from the calls.
impl Core {
    pub(crate) fn audio_state(&self) -> AudioState {
        let kit = KitFacts {
            may_open_devices: self.audio_active || !self.waits_for_activation(),
            speaker: self.speaker,
            plays_tone: self.end_tone.is_some() || self.tone().is_some(),
        };
        let calls: Vec<CallFacts> = self.calls.values().map(Media::facts).collect();
        audio_state(kit, &calls)
    }

    /// Has the sound be what the calls make of it. Called after whatever may change one of them.
    pub(crate) fn update_sound(&mut self) {
        if self.without_voice {
            return;
        }
        let wanted = self.wanted_sound();
        let is_needed = wanted.state.loudspeaker
            || wanted.once.is_some()
            || wanted.tone.is_some()
            || self.calls.values().any(|media| !media.is_ringing());
        if !is_needed {
            self.listen_to(None);
            self.releasing.retain(|voice| !voice.is_finished());
            self.releasing.extend(self.voice.take().and_then(Voice::stop));
            return self.settle_choices(false, false);
        }
        if let Err(error) = self.run_voice() {
            return self.go_without_voice(error.to_string());
        }
        if let Some(voice) = &mut self.voice {
            let AudioState { open, microphone, loudspeaker, .. } = wanted.state;
            voice.want(wanted);
            self.listen_to(open);
            self.settle_choices(microphone, loudspeaker);
        }
    }

    fn run_voice(&mut self) -> std::io::Result<()> {
        if self.voice.is_none() {
            self.last_voice += 1;
            let (serial, reports) = (self.last_voice, self.reports.clone());
            // They are rare: a place is there unless the owner loop stands still.
            let tell = move |notice| drop(reports.blocking_send(Report::Voice { serial, notice }));
            let (config, figures) = (self.settings.voice.clone(), self.settings.figures.clone());
            self.voice = Some(Voice::start(serial, config, figures, tell)?);
        }
        Ok(())
    }

    /// There is no voice, and a call has no use without one.
    fn go_without_voice(&mut self, why: String) {
        self.without_voice = true;
        let calls: Vec<CallId> =
            self.calls.values().filter(|media| !media.is_ringing()).map(|media| media.call_id).collect();
        if calls.is_empty() {
            self.fail_with(None, CallError::Media(why.clone()));
        }
        self.end_tone = None;
        for call_id in calls {
            self.give_up(call_id, CallError::Media(why.clone()), EndReason::Error);
        }
        self.without_voice = false;
    }

    /// What comes over this path goes to the voice, and what comes over others nowhere.
    fn listen_to(&mut self, open: Option<OpenPath>) {
        let packets = self.voice.as_ref().map(Voice::packets);
        for media in self.calls.values_mut() {
            let call_id = media.call_id;
            for remote in media.remotes.values_mut() {
                let path = remote.open_path().map(|path| OpenPath { call_id, path });
                let is_open = path.is_some() && path == open;
                remote.listen(packets.clone().filter(|_| is_open));
            }
        }
    }

    fn wanted_sound(&self) -> Wanted {
        let state = self.audio_state();
        let media = state.open.and_then(|open| self.calls.get(&open.call_id));
        let is_open = |remote: &&Remote| remote.open_path() == state.open.map(|open| open.path);
        Wanted {
            state,
            path: media.and_then(|media| media.remotes.values().find(is_open)?.path.clone()),
            microphone: self.devices.microphone.chosen(),
            loudspeaker: self.devices.loudspeaker.chosen(),
            tone: self.tone(),
            once: self.end_tone.clone(),
            level_interval: media
                .and_then(|media| self.level_interval_of(media))
                .unwrap_or(self.settings.sound.level_interval),
        }
    }

    fn waits_for_activation(&self) -> bool {
        self.calls.values().any(|media| self.waits(media))
    }

    fn waits(&self, media: &Media) -> bool {
        let of_system = |options: &CallOptions| options.callkit_type == CallKitType::User;
        self.settings.sound.waits_for_activation || self.options_of(media.call_id).is_some_and(of_system)
    }

    fn may_lack_microphone(&self, media: &Media) -> bool {
        let of_call = self.options_of(media.call_id).map(|options| options.allow_call_without_mic);
        of_call.unwrap_or(self.settings.sound.allow_without_mic)
    }

    fn level_interval_of(&self, media: &Media) -> Option<Duration> {
        self.options_of(media.call_id)?.audio_description_interval
    }

    /// What is played over and over.
    fn tone(&self) -> Option<rtc_media::Clip> {
        let has_call = |media: &&Media| media.winner.is_some();
        let talking = self.calls.values().find(|media| media.winner.is_some() && media.facts().is_talking());
        let present = talking.or_else(|| self.calls.values().find(has_call));
        let ringing = self.calls.values().find(|media| media.rings_here());
        let tones = &self.settings.sound.tones;
        if let Some(present) = present {
            return match ringing {
                Some(_) if tones.waiting.is_some() => tones.waiting.clone(),
                Some(_) | None if present.sound.preparing => None,
                Some(_) | None if present.held => tones.holding.clone(),
                Some(_) | None if present.sound.peer_held => tones.hold.clone(),
                Some(_) | None => None,
            };
        }
        if ringing.is_some() {
            return tones.ring.clone();
        }
        let is_heard = self.calls.values().any(|media| media.role == Role::Caller && !media.rung.is_empty());
        tones.ringback.clone().filter(|_| is_heard)
    }

    /// The sound of a call is over; the last one lets go of the audio devices once the end tone is.
    pub(crate) fn end_sound_of(&mut self, media: &Media) {
        let (waits, end) = (self.waits(media), self.settings.sound.tones.end.clone());
        let is_active = self.audio_active || !waits;
        let is_last = self.calls.values().all(|other| other.winner.is_none());
        if let Some(clip) = end.filter(|_| self.voice.is_some() && media.winner.is_some() && is_last && is_active) {
            self.last_end_tone += 1;
            self.end_tone = Some((self.last_end_tone, clip));
        }
        if waits && !self.waits_for_activation() {
            // The system takes the audio back with the end of the call.
            self.audio_active = false;
        }
        self.update_sound();
    }

    /// Lets go of the devices without an end tone.
    pub(crate) fn hush(&mut self) {
        self.end_tone = None;
        self.update_sound();
    }
}

/// What the app, the other side and the devices do.
impl Core {
    pub(crate) fn set_audio_active(&mut self, active: bool) {
        self.audio_active = active;
        self.update_sound();
    }

    /// What is chosen for a call; one that is only beginning has what is chosen for all.
    pub(crate) fn sound_choices(&self, call_id: CallId) -> SoundChoices {
        let chosen = self.calls.get(&call_id).map(|media| media.sound.choices);
        let chosen = chosen.or_else(|| self.faces.get(&call_id).map(Face::choices));
        chosen.unwrap_or(SoundChoices { muted: self.muted, silenced: false })
    }

    fn choose_sound(&mut self, call_id: CallId, change: impl FnOnce(&mut SoundChoices)) {
        let mut choices = self.sound_choices(call_id);
        change(&mut choices);
        if let Some(media) = self.calls.get_mut(&call_id) {
            media.sound.choices = choices;
        }
        if let Some(face) = self.faces.get(&call_id) {
            face.chosen(choices);
        }
        self.update_sound();
        self.update_tracks();
    }

    pub(crate) fn mute_call(&mut self, call_id: CallId, muted: bool) {
        self.choose_sound(call_id, |choices| choices.muted = muted);
    }

    /// Every call there is, and those to come.
    pub(crate) fn mute(&mut self, muted: bool) {
        self.muted = muted;
        let calls: BTreeSet<CallId> = self.calls.keys().chain(self.faces.keys()).copied().collect();
        calls.into_iter().for_each(|call_id| self.mute_call(call_id, muted));
    }

    /// Only here, and only until the call ends.
    pub(crate) fn silence_peer(&mut self, call_id: CallId, silenced: bool) -> Result<(), CallError> {
        if !self.calls.contains_key(&call_id) && !self.faces.contains_key(&call_id) {
            return Err(CallError::NoSuchCall);
        }
        self.choose_sound(call_id, |choices| choices.silenced = silenced);
        Ok(())
    }

    pub(crate) fn on_peer_held(&mut self, call_id: CallId, held: bool, reason: Option<String>) {
        if let Some(media) = self.calls.get_mut(&call_id) {
            media.sound.peer_held = held;
        }
        if let Some(face) = self.faces.get(&call_id) {
            face.peer_held(held, reason);
        }
        self.tell_of(call_id, CallKitEvent::PeerHeld { call_id, held });
    }

    pub(crate) fn on_voice(&mut self, serial: u64, notice: VoiceNotice) {
        if self.voice.as_ref().is_none_or(|voice| voice.serial != serial) {
            return;
        }
        match notice {
            VoiceNotice::FirstAudio(call_id) => {
                let Some(media) = self.calls.get_mut(&call_id) else { return };
                // Nobody is heard whom the app has not met.
                let known = media.others.iter().find(|(_, other)| other.told).map(|(uid, _)| *uid);
                match known {
                    Some(uid) => self.tell_of(call_id, CallKitEvent::FirstAudio { call_id, uid }),
                    None => media.first_audio_untold = true,
                }
            }
            VoiceNotice::MicrophoneOpened => self.on_microphone_opened(),
            VoiceNotice::Opened { direction, number, result, goes_on } => {
                self.on_device_opened(direction, number, result, goes_on);
            }
            VoiceNotice::MicrophoneFailed { failure, at_open, why } => {
                self.on_microphone_failed(failure, at_open, why);
            }
            VoiceNotice::Device(why) => self.fail_with(self.sounding(), CallError::Device(why)),
            VoiceNotice::ClipOver => self.hush(),
            VoiceNotice::Ended(why) => {
                self.listen_to(None);
                self.voice = None;
                self.go_without_voice(why);
            }
        }
    }

    fn on_microphone_opened(&mut self) {
        let mut restored = Vec::new();
        for media in self.calls.values_mut() {
            media.sound.had_microphone = true;
            if std::mem::take(&mut media.sound.lacks_microphone) {
                restored.push(media.call_id);
            }
        }
        for call_id in restored {
            self.tell_of(call_id, CallKitEvent::MicrophoneRestored { call_id });
        }
    }

    /// A call that had a microphone only listens from now on; one that never had one ends, unless it may be without. Told to whoever is told
    /// of the call.
    fn on_microphone_failed(&mut self, failure: MicrophoneFailure, at_open: bool, why: String) {
        let speaking = self.calls.values().filter(|media| media.wants_microphone());
        let cannot_start = |media: &Media| at_open && !media.sound.had_microphone && !self.may_lack_microphone(media);
        let concerned: Vec<(CallId, bool)> = speaking.map(|media| (media.call_id, cannot_start(media))).collect();
        for (call_id, ends) in concerned {
            if let Some(media) = self.calls.get_mut(&call_id) {
                media.sound.lacks_microphone = true;
            }
            self.tell_of(call_id, CallKitEvent::MicrophoneFailed { call_id, failure });
            if ends {
                self.give_up(call_id, CallError::Device(why.clone()), EndReason::Error);
            } else if self.is_kit_wide(call_id) {
                self.fail_with(Some(call_id), CallError::Device(why.clone()));
            }
        }
    }
}

/// Sound.
impl CallKit {
    /// How loud the microphone is that the other side hears: 0 (-60 dBov and below) to 100 (full scale), linear in decibels, over the last
    /// [`level_interval`](crate::Builder::level_interval); 0 while muted, on hold or without a call. May be read at any time, and costs nothing.
    pub fn mic_level(&self) -> f32 {
        self.figures.levels().microphone
    }

    /// The same for the voice of the other side, whether it is played or not.
    pub fn peer_level(&self) -> f32 {
        self.figures.levels().peer
    }

    /// Both levels at every interval, for as long as it is read; the first at once. An interval of less than 10 ms is taken for 10 ms.
    pub fn audio_levels(&self, interval: Duration) -> impl Stream<Item = AudioLevels> + Send + Unpin + use<> {
        let figures = self.figures.clone();
        let mut clock = tokio::time::interval(interval.max(Duration::from_millis(10)));
        clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Box::pin(futures_util::stream::unfold((figures, clock), |(figures, mut clock)| async move {
            clock.tick().await;
            let levels = figures.levels();
            Some((AudioLevels { mic: levels.microphone, peer: levels.peer }, (figures, clock)))
        }))
    }

    /// The system has activated the app's audio session, or taken it back: devices are opened, or let go of. Only of a kit that
    /// [waits for it](crate::Builder::wait_for_audio_activation); the end of the call takes it back by itself.
    pub async fn set_audio_active(&self, active: bool) -> Result<(), CallError> {
        self.ask(|reply| Command::AudioActive(active, reply)).await
    }

    /// Stops playing the other side of a call, or plays it again; only here, and until the call ends. Its level is still measured.
    ///
    /// # Errors
    /// [`CallError::NoSuchCall`].
    pub async fn silence_peer(&self, call_id: CallId, silenced: bool) -> Result<(), CallError> {
        self.ask(|reply| Command::SilencePeer(call_id, silenced, reply)).await
    }

    /// Whether the microphone could be opened now, for an app that asks before it calls. It is opened for a moment, unless it is open.
    pub async fn check_microphone(&self) -> Result<(), MicrophoneFailure> {
        if self.figures.microphone_is_open() {
            return Ok(());
        }
        let (reply, input) = oneshot::channel();
        let asked = self.commands.send(Command::Microphone(reply)).is_ok();
        match input.await {
            Ok(input) if asked => microphone::probe(input).await,
            Ok(_) | Err(_) => Err(MicrophoneFailure::Unusable),
        }
    }
}
