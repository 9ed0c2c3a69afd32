//! The sound as the machine wants it: the voice's thread, what it plays, and which path has it.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::thread::JoinHandle;

use callkit_core::{AudioDeviceId, AudioNotice, DesiredAudio, Input, ToneKind};
use rtc_media::{AudioInput, AudioOutput, Clip, Levels};

use super::Driver;
use crate::figures::{Figures, VoiceStats};
use crate::report::Report;
use crate::shutdown::wait_for_voices;
use crate::tones::LoadedTones;
use crate::voice::{Chosen, Voice, VoiceConfig, Wanted};

/// What does not change about the sound of a kit.
pub(crate) struct SoundConfig {
    pub(crate) voice: VoiceConfig,
    pub(crate) tones: LoadedTones,
    pub(crate) figures: Arc<Figures>,
}

/// The voice and what it may use.
pub(super) struct Sound {
    config: SoundConfig,
    microphones: BTreeMap<AudioDeviceId, AudioInput>,
    loudspeakers: BTreeMap<AudioDeviceId, AudioOutput>,
    last_device: u64,
    voice: Option<Voice>,
    /// Voices of calls that are over, until their devices are released.
    releasing: Vec<JoinHandle<()>>,
}

impl Sound {
    pub(super) fn new(config: SoundConfig, input: AudioInput, output: AudioOutput) -> Sound {
        let first = AudioDeviceId(1);
        Sound {
            config,
            microphones: BTreeMap::from([(first, input)]),
            loudspeakers: BTreeMap::from([(first, output)]),
            last_device: first.0,
            voice: None,
            releasing: Vec::new(),
        }
    }

    fn next_device(&mut self) -> AudioDeviceId {
        self.last_device += 1;
        AudioDeviceId(self.last_device)
    }

    pub(super) fn add_microphone(&mut self, input: AudioInput) -> AudioDeviceId {
        let device = self.next_device();
        self.microphones.insert(device, input);
        device
    }

    pub(super) fn add_loudspeaker(&mut self, output: AudioOutput) -> AudioDeviceId {
        let device = self.next_device();
        self.loudspeakers.insert(device, output);
        device
    }

    /// Keeps those of which `in_use` says so, as microphone and as loudspeaker.
    pub(super) fn retain_devices(&mut self, in_use: impl Fn(AudioDeviceId) -> (bool, bool)) {
        self.microphones.retain(|device, _| in_use(*device).0);
        self.loudspeakers.retain(|device, _| in_use(*device).1);
    }

    pub(super) fn microphone(&self, device: AudioDeviceId) -> AudioInput {
        self.microphones.get(&device).cloned().unwrap_or(AudioInput::Silence)
    }

    fn loudspeaker(&self, device: AudioDeviceId) -> AudioOutput {
        self.loudspeakers.get(&device).cloned().unwrap_or(AudioOutput::Null)
    }

    fn clip(&self, tone: ToneKind) -> Option<Clip> {
        let tones = &self.config.tones;
        match tone {
            ToneKind::Ringback => tones.ringback.clone(),
            ToneKind::Ring => tones.ring.clone(),
            ToneKind::Hold => tones.hold.clone(),
            ToneKind::Holding => tones.holding.clone(),
            ToneKind::Waiting => tones.waiting.clone(),
        }
    }

    pub(super) fn levels(&self) -> Levels {
        self.config.figures.levels()
    }

    /// `None` without a voice.
    pub(super) fn stats(&self) -> Option<VoiceStats> {
        self.voice.as_ref().map(Voice::stats)
    }

    /// Waits for the devices of voices that are over to be released.
    pub(super) fn released(&mut self) -> impl Future<Output = ()> + Send + use<> {
        wait_for_voices(std::mem::take(&mut self.releasing))
    }
}

impl Driver {
    pub(super) fn set_audio(&mut self, desired: Option<DesiredAudio>) {
        let Some(desired) = desired else { return self.stop_audio() };
        if let Err(error) = self.run_voice(&desired) {
            let notice = AudioNotice::Ended(error.to_string());
            return self.inputs.push_back(Input::Audio { session: desired.session, notice });
        }
        let open = desired.state.open.map(|open| open.path);
        let Sound { config, .. } = &self.sound;
        let wanted = Wanted {
            state: desired.state,
            path: open.and_then(|path| self.paths.get(&path)?.media.clone()),
            microphone: Chosen { number: desired.microphone.0, device: self.sound.microphone(desired.microphone) },
            loudspeaker: Chosen { number: desired.loudspeaker.0, device: self.sound.loudspeaker(desired.loudspeaker) },
            tone: desired.tone.and_then(|tone| self.sound.clip(tone)),
            once: desired.end_tone.zip(config.tones.end.clone()),
            level_interval: desired.level_interval,
        };
        if let Some(voice) = &mut self.sound.voice {
            voice.want(wanted);
            let packets = voice.packets();
            for (path, running) in &mut self.paths {
                running.peer.attach_audio(Some(packets.clone()).filter(|_| Some(*path) == open));
            }
        }
    }

    fn run_voice(&mut self, desired: &DesiredAudio) -> std::io::Result<()> {
        let session = desired.session;
        if self.sound.voice.as_ref().is_some_and(|voice| voice.session != session) {
            self.stop_audio();
        }
        if self.sound.voice.is_none() {
            let reports = self.reports.clone();
            // They are rare: a place is there unless the driver stands still.
            let tell = move |notice| drop(reports.blocking_send(Report::Input(Input::Audio { session, notice })));
            let (config, figures) = (self.sound.config.voice.clone(), self.sound.config.figures.clone());
            self.sound.voice = Some(Voice::start(session, config, figures, tell)?);
        }
        Ok(())
    }

    fn stop_audio(&mut self) {
        self.paths.values_mut().for_each(|running| running.peer.attach_audio(None));
        let stopped = self.sound.voice.take().and_then(Voice::stop);
        self.sound.releasing.retain(|voice| !voice.is_finished());
        self.sound.releasing.extend(stopped);
    }
}
