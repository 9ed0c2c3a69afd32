//! The sound of the calls: which devices are open, what is played, and who is heard, worked out from the state of the calls.

use std::time::Duration;

use call_protocol::CallId;
use call_protocol::end::EndReason;
use futures_util::Stream;
use signaling::Role;
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

use crate::call::{CallKitType, CallOptions};
use crate::core::{Command, Core, Report};
use crate::error::CallError;
use crate::events::CallKitEvent;
use crate::kit::CallKit;
use crate::media::Media;
use crate::microphone::{self, MicrophoneFailure};
use crate::tones::LoadedTones;
use crate::voice::{Voice, VoiceCommand, VoiceNotice, Wanted};

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

/// The sound of one call.
#[derive(Debug, Default)]
pub(crate) struct CallSound {
    /// The user has taken the call; devices are opened while the arbiter is asked.
    pub(crate) answering: bool,
    /// Connected, but nothing is to be said or heard yet.
    pub(crate) preparing: bool,
    /// The other side holds the call.
    pub(crate) peer_held: bool,
    /// The other side is not played.
    pub(crate) silenced: bool,
    /// The microphone was open once in this call.
    had_microphone: bool,
}

/// How loud it is, 0 to 100; see [`CallKit::mic_level`].
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct AudioLevels {
    /// The microphone; 0 while it is muted, on hold, or missing.
    pub mic: f32,
    /// The voice of the other side, even where it is not played.
    pub peer: f32,
}

impl Media {
    /// Whether it is the call that has the sound.
    fn is_talking(&self) -> bool {
        self.winner.is_some() && !self.held && !self.sound.preparing
    }

    fn rings_here(&self) -> bool {
        self.role == Role::Callee && self.winner.is_none() && !self.sound.answering
    }
}

/// What follows from the calls.
impl Core {
    /// Has the sound be what the calls make of it. Called after whatever may change one of them.
    pub(crate) fn update_sound(&mut self) {
        let wanted = self.wanted_sound();
        let is_needed = self.lingering
            || wanted.tone.is_some()
            || self.calls.values().any(|media| media.winner.is_some() || media.sound.answering);
        if !is_needed {
            self.releasing.retain(|voice| !voice.is_finished());
            self.releasing.extend(self.voice.take().and_then(Voice::stop));
            return;
        }
        if let Err(error) = self.run_voice() {
            return self.fail_with(CallError::Media(error.to_string()));
        }
        if let Some(voice) = &mut self.voice {
            voice.want(wanted);
        }
    }

    fn run_voice(&mut self) -> std::io::Result<()> {
        if self.voice.is_none() {
            let reports = self.reports.clone();
            let tell = move |notice| drop(reports.send(Report::Voice(notice)));
            let (config, figures) = (self.settings.voice.clone(), self.settings.figures.clone());
            self.voice = Some(Voice::start(config, figures, self.muted, self.speaker, tell)?);
        }
        Ok(())
    }

    /// Opens the audio devices, if they are not open: once the user has accepted, before anybody is to be heard.
    pub(crate) fn start_voice(&mut self, call_id: CallId) -> std::io::Result<()> {
        self.run_voice()?;
        if let Some(media) = self.calls.get_mut(&call_id) {
            media.sound.answering = true;
        }
        self.update_sound();
        Ok(())
    }

    fn wanted_sound(&self) -> Wanted {
        let sound = &self.settings.sound;
        let talking = self.calls.values().find(|media| media.is_talking());
        let is_active = self.audio_active || !self.waits_for_activation();
        let tone = self.tone();
        let answering = |media: &Media| media.sound.answering && media.winner.is_none() && !media.sound.preparing;
        let has_sound = |media: &Media| media.winner.is_some() && !media.sound.preparing;
        let has_call = self.calls.values().any(|media| has_sound(media) || answering(media));
        Wanted {
            // On hold the microphone is let go of: whoever looks at its lamp sees that nobody listens.
            microphone: is_active && (talking.is_some() || self.calls.values().any(answering)),
            loudspeaker: is_active && (has_call || tone.is_some() || self.lingering),
            paused: talking.is_some_and(|media| media.sound.peer_held),
            silenced: talking.is_some_and(|media| media.sound.silenced),
            tone,
            level_interval: talking.and_then(|media| self.level_interval_of(media)).unwrap_or(sound.level_interval),
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
        let may = |options: &CallOptions| options.allow_call_without_mic;
        self.settings.sound.allow_without_mic || self.options_of(media.call_id).is_some_and(may)
    }

    fn level_interval_of(&self, media: &Media) -> Option<Duration> {
        self.options_of(media.call_id)?.audio_description_interval
    }

    /// What is played over and over.
    fn tone(&self) -> Option<rtc_media::Clip> {
        let has_call = |media: &&Media| media.winner.is_some();
        let talking = self.calls.values().find(|media| media.is_talking());
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
        let Some(voice) = &self.voice else { return };
        voice.send(VoiceCommand::Detach(media.call_id));
        let (waits, end) = (self.waits(media), self.settings.sound.tones.end.clone());
        let is_active = self.audio_active || !waits;
        let is_last = self.calls.values().all(|other| other.winner.is_none());
        if let Some(clip) = end.filter(|_| media.winner.is_some() && is_last && is_active) {
            voice.send(VoiceCommand::PlayOnce(clip));
            self.lingering = true;
        }
        if waits && !self.waits_for_activation() {
            // The system takes the audio back with the end of the call.
            self.audio_active = false;
        }
        self.update_sound();
    }

    /// Lets go of the devices without an end tone.
    pub(crate) fn hush(&mut self) {
        self.lingering = false;
        self.update_sound();
    }
}

/// What the app, the other side and the devices do.
impl Core {
    pub(crate) fn set_audio_active(&mut self, active: bool) {
        self.audio_active = active;
        self.update_sound();
    }

    /// Only here, and only until the call ends.
    pub(crate) fn silence_peer(&mut self, call_id: CallId, silenced: bool) -> Result<(), CallError> {
        let media = self.calls.get_mut(&call_id).ok_or(CallError::NoSuchCall)?;
        media.sound.silenced = silenced;
        self.update_sound();
        Ok(())
    }

    pub(crate) fn on_peer_held(&mut self, call_id: CallId, held: bool) {
        if let Some(media) = self.calls.get_mut(&call_id) {
            media.sound.peer_held = held;
        }
        self.update_sound();
        self.tell_of(call_id, CallKitEvent::PeerHeld { call_id, held });
    }

    pub(crate) fn on_voice(&mut self, notice: VoiceNotice) {
        match notice {
            VoiceNotice::FirstAudio(call_id) => {
                let Some(media) = self.calls.get_mut(&call_id) else { return };
                match media.others.keys().next().copied() {
                    Some(uid) => self.tell_of(call_id, CallKitEvent::FirstAudio { uid }),
                    None => media.first_audio_untold = true,
                }
            }
            VoiceNotice::MicrophoneOpened => {
                self.calls.values_mut().for_each(|media| media.sound.had_microphone = true);
            }
            VoiceNotice::MicrophoneFailed { failure, at_open, why } => {
                self.on_microphone_failed(failure, at_open, why);
            }
            VoiceNotice::Device(why) => self.fail_with(CallError::Device(why)),
            VoiceNotice::ClipOver => self.hush(),
        }
    }

    /// A call that had a microphone only listens from now on; one that never had one ends, unless it may be without.
    fn on_microphone_failed(&mut self, failure: MicrophoneFailure, at_open: bool, why: String) {
        self.teller.tell(CallKitEvent::MicrophoneFailed { failure });
        let cannot_start = |media: &&Media| {
            at_open
                && (media.winner.is_some() || media.sound.answering)
                && !media.sound.had_microphone
                && !self.may_lack_microphone(media)
        };
        let ending: Vec<CallId> = self.calls.values().filter(cannot_start).map(|media| media.call_id).collect();
        if ending.is_empty() {
            self.fail_with(CallError::Device(why.clone()));
        }
        for call_id in ending {
            self.give_up(call_id, CallError::Device(why.clone()), EndReason::Error);
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
