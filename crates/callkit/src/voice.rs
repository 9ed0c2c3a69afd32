//! The voice of the present call: a thread that every 10 ms moves a [`Handset`] on, and threads that open devices for it.

use std::sync::Arc;
use std::sync::mpsc::{self as std_mpsc, TryRecvError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use call_protocol::CallId;
use rtc_media::{
    AudioInput, AudioOutput, AudioSink, AudioSource, Clip, DeviceError, EncodedVoice, Handset, VoiceEncoderConfig,
    VoicePacket, VoiceReceiverConfig,
};
use rtc_transport::{IncomingVoice, MediaPath, OutgoingVoice};

use crate::figures::{Figures, VoiceStats};
use crate::microphone::MicrophoneFailure;

/// Which devices and codec settings a call uses.
#[derive(Clone)]
pub(crate) struct VoiceConfig {
    pub(crate) input: AudioInput,
    pub(crate) output: AudioOutput,
    pub(crate) encoder: VoiceEncoderConfig,
    pub(crate) receiver: VoiceReceiverConfig,
    pub(crate) level_interval: Duration,
}

/// How the sound is to be: worked out anew from the calls whenever one of them changes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    /// Whether the microphone is open.
    pub(crate) microphone: bool,
    /// Whether the loudspeaker is open. While it is not, what comes in is decoded and dropped.
    pub(crate) loudspeaker: bool,
    /// The other side holds the call: nothing is sent, and nothing is awaited.
    pub(crate) paused: bool,
    /// The voice of the other side is not played.
    pub(crate) silenced: bool,
    /// Played over and over.
    pub(crate) tone: Option<Clip>,
    pub(crate) level_interval: Duration,
}

/// What the owner loop and the path want of the voice.
pub(crate) enum VoiceCommand {
    /// Send over this path from now on; what comes in is of this call.
    Attach(CallId, MediaPath),
    /// This call has no sound any more.
    Detach(CallId),
    Packet(IncomingVoice),
    Mute(bool),
    Speaker(bool),
    Want(Wanted),
    /// Play this once and tell when it is over.
    PlayOnce(Clip),
    /// A device was opened, or not, for the wish of this number.
    Microphone(u64, Result<Box<dyn AudioSource>, DeviceError>),
    Loudspeaker(u64, Result<Box<dyn AudioSink>, DeviceError>),
    Stop,
}

/// What the voice tells the owner loop.
#[derive(Debug)]
pub(crate) enum VoiceNotice {
    /// The first decoded sound of the other one was given to the speaker.
    FirstAudio(CallId),
    /// The microphone is open.
    MicrophoneOpened,
    /// There is no microphone; the voice goes on without it.
    MicrophoneFailed { failure: MicrophoneFailure, at_open: bool, why: String },
    /// The loudspeaker or the codec failed; the voice goes on without it.
    Device(String),
    /// What was to be played once is over.
    ClipOver,
}

/// The running voice; stops when dropped.
pub(crate) struct Voice {
    commands: std_mpsc::Sender<VoiceCommand>,
    figures: Arc<Figures>,
    wanted: Option<Wanted>,
    thread: Option<JoinHandle<()>>,
}

const TICK: Duration = Duration::from_millis(10);
/// After so long a stall of the machine the clock starts anew instead of catching up.
const LONGEST_CATCH_UP: Duration = Duration::from_millis(200);
/// Ticks between two looks at the figures of the receiver.
const STATS_EVERY: u64 = 10;

impl Voice {
    /// Starts the thread, with no device yet. `tell` is called on it.
    pub(crate) fn start(
        config: VoiceConfig,
        figures: Arc<Figures>,
        muted: bool,
        speaker: bool,
        tell: impl FnMut(VoiceNotice) + Send + 'static,
    ) -> std::io::Result<Voice> {
        let (commands, receiver) = std_mpsc::channel();
        let (own_commands, own_figures) = (commands.clone(), figures.clone());
        let thread = std::thread::Builder::new().name("callkit-voice".into()).spawn(move || {
            let mut tell: Box<dyn FnMut(VoiceNotice)> = Box::new(tell);
            let handset = Handset::new(config.encoder.clone(), config.receiver.clone(), config.level_interval);
            match handset {
                Ok(mut handset) => {
                    handset.set_muted(muted);
                    Running::new(config, handset, speaker, own_commands, own_figures, tell).run(&receiver);
                }
                Err(error) => tell(VoiceNotice::Device(error.to_string())),
            }
        })?;
        Ok(Voice { commands, figures, wanted: None, thread: Some(thread) })
    }

    pub(crate) fn send(&self, command: VoiceCommand) {
        // A voice that has ended needs nothing any more.
        let _ = self.commands.send(command);
    }

    /// Has the sound be as it is wanted now.
    pub(crate) fn want(&mut self, wanted: Wanted) {
        if self.wanted.as_ref() != Some(&wanted) {
            self.send(VoiceCommand::Want(wanted.clone()));
            self.wanted = Some(wanted);
        }
    }

    pub(crate) fn commands(&self) -> std_mpsc::Sender<VoiceCommand> {
        self.commands.clone()
    }

    pub(crate) fn stats(&self) -> VoiceStats {
        self.figures.snapshot()
    }

    /// Stops it; the handle's thread ends when the devices are released and files are complete.
    pub(crate) fn stop(mut self) -> Option<JoinHandle<()>> {
        self.send(VoiceCommand::Stop);
        self.thread.take()
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        self.send(VoiceCommand::Stop);
    }
}

/// A device that is wanted or not, and how far it is.
#[derive(Default)]
struct Slot {
    wanted: bool,
    opening: bool,
    /// Tells the device that is wanted now from one that was wanted before.
    serial: u64,
}

impl Slot {
    /// Whether the wish is another one now.
    fn set(&mut self, wanted: bool) -> bool {
        let is_new = std::mem::replace(&mut self.wanted, wanted) != wanted;
        if is_new {
            self.serial += 1;
            self.opening = wanted;
        }
        is_new
    }

    /// Whether a device that was opened is still wanted.
    fn arrived(&mut self, serial: u64) -> bool {
        let is_wanted = self.wanted && self.serial == serial;
        self.opening &= !is_wanted;
        is_wanted
    }
}

struct Running {
    config: VoiceConfig,
    handset: Handset,
    microphone: Slot,
    loudspeaker: Slot,
    opening: Vec<JoinHandle<()>>,
    commands: std_mpsc::Sender<VoiceCommand>,
    ssrc: Option<u32>,
    path: Option<(CallId, MediaPath)>,
    speaker: bool,
    silenced: bool,
    paused: bool,
    /// The calls whose first sound was told.
    first_audio_told: Vec<CallId>,
    tell: Box<dyn FnMut(VoiceNotice)>,
    figures: Arc<Figures>,
}

impl Running {
    fn new(
        config: VoiceConfig,
        handset: Handset,
        speaker: bool,
        commands: std_mpsc::Sender<VoiceCommand>,
        figures: Arc<Figures>,
        tell: Box<dyn FnMut(VoiceNotice)>,
    ) -> Running {
        Running {
            config,
            handset,
            microphone: Slot::default(),
            loudspeaker: Slot::default(),
            opening: Vec::new(),
            commands,
            ssrc: None,
            path: None,
            speaker,
            silenced: false,
            paused: false,
            first_audio_told: Vec::new(),
            tell,
            figures,
        }
    }

    fn run(&mut self, commands: &std_mpsc::Receiver<VoiceCommand>) {
        let mut due = Instant::now();
        for tick in 0_u64.. {
            // sleeps: this thread is the media clock. It looks at its commands once a tick, so that a packet does not wake it: packets
            // carry their time of arrival.
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            loop {
                match commands.try_recv() {
                    Ok(VoiceCommand::Stop) | Err(TryRecvError::Disconnected) => return self.finish(),
                    Ok(command) => self.obey(command),
                    Err(TryRecvError::Empty) => break,
                }
            }
            let late = Instant::now().saturating_duration_since(due) > LONGEST_CATCH_UP;
            if late {
                due = Instant::now();
            }
            // The time of the tick, not of a thread that was woken late: the jitter buffer measures the network, not this machine.
            self.tick(due);
            if tick % STATS_EVERY == 0 {
                self.figures.set_receiver(&self.handset.receiver_stats());
            }
            due += TICK;
        }
    }

    fn obey(&mut self, command: VoiceCommand) {
        match command {
            VoiceCommand::Attach(call_id, path) => {
                self.path = Some((call_id, path));
                self.follow();
            }
            VoiceCommand::Detach(call_id) => {
                if self.path.take_if(|(attached, _)| *attached == call_id).is_some() {
                    self.listen_anew();
                    self.follow();
                }
            }
            // One that was on its way as the call was put on hold is late.
            VoiceCommand::Packet(packet) if self.path.is_some() && !self.paused => self.insert(packet),
            VoiceCommand::Packet(_) => {}
            VoiceCommand::Mute(muted) => self.handset.set_muted(muted),
            VoiceCommand::Speaker(speaker) => {
                self.speaker = speaker;
                self.follow();
            }
            VoiceCommand::Want(wanted) => self.on_wanted(wanted),
            VoiceCommand::PlayOnce(clip) => self.handset.play_once(clip),
            VoiceCommand::Microphone(serial, opened) => self.on_microphone(serial, opened),
            VoiceCommand::Loudspeaker(serial, opened) => self.on_loudspeaker(serial, opened),
            VoiceCommand::Stop => {}
        }
    }

    fn on_wanted(&mut self, wanted: Wanted) {
        if wanted.paused && !self.paused {
            self.listen_anew();
        }
        (self.paused, self.silenced) = (wanted.paused, wanted.silenced);
        self.follow();
        self.handset.set_tone(wanted.tone);
        if wanted.level_interval != self.config.level_interval {
            self.config.level_interval = wanted.level_interval;
            self.handset.set_level_interval(wanted.level_interval);
        }
        if self.microphone.set(wanted.microphone) {
            self.handset.set_microphone(None);
            self.figures.set_microphone_open(false);
            if wanted.microphone {
                let (serial, input, commands) =
                    (self.microphone.serial, self.config.input.clone(), self.commands.clone());
                self.open(move || drop(commands.send(VoiceCommand::Microphone(serial, input.open()))));
            }
        }
        if self.loudspeaker.set(wanted.loudspeaker) {
            let before = self.handset.set_loudspeaker(None);
            self.finish_sink(before);
            if wanted.loudspeaker {
                let (serial, output, commands) =
                    (self.loudspeaker.serial, self.config.output.clone(), self.commands.clone());
                self.open(move || drop(commands.send(VoiceCommand::Loudspeaker(serial, output.open()))));
            }
        }
    }

    /// Opens a device on a thread of its own: the system may take its time, and the rest of the sound goes on.
    fn open(&mut self, work: impl FnOnce() + Send + 'static) {
        self.opening.retain(|opening| !opening.is_finished());
        match std::thread::Builder::new().name("callkit-device".into()).spawn(work) {
            Ok(thread) => self.opening.push(thread),
            Err(error) => {
                (self.microphone.opening, self.loudspeaker.opening) = (false, false);
                (self.tell)(VoiceNotice::Device(format!("no thread to open it: {error}")));
            }
        }
    }

    fn on_microphone(&mut self, serial: u64, opened: Result<Box<dyn AudioSource>, DeviceError>) {
        if !self.microphone.arrived(serial) {
            return;
        }
        match opened {
            Ok(source) => {
                self.handset.set_microphone(Some(source));
                self.figures.set_microphone_open(true);
                (self.tell)(VoiceNotice::MicrophoneOpened);
            }
            Err(error) => self.microphone_failed(&error, true),
        }
    }

    fn on_loudspeaker(&mut self, serial: u64, opened: Result<Box<dyn AudioSink>, DeviceError>) {
        match opened {
            Ok(sink) if self.loudspeaker.arrived(serial) => drop(self.handset.set_loudspeaker(Some(sink))),
            Ok(sink) => self.finish_sink(Some(sink)),
            Err(error) if self.loudspeaker.arrived(serial) => (self.tell)(VoiceNotice::Device(error.to_string())),
            Err(_) => {}
        }
    }

    fn microphone_failed(&mut self, error: &DeviceError, at_open: bool) {
        self.figures.set_microphone_open(false);
        let failure = MicrophoneFailure::from(error);
        (self.tell)(VoiceNotice::MicrophoneFailed { failure, at_open, why: error.to_string() });
    }

    /// Passes on what follows from several wishes.
    fn follow(&mut self) {
        self.handset.set_sending(self.path.is_some() && !self.paused);
        self.handset.set_peer_audible(self.speaker && !self.silenced);
    }

    fn insert(&mut self, packet: IncomingVoice) {
        if self.ssrc.is_some_and(|ssrc| ssrc != packet.ssrc) {
            // Another source is another stream: its numbers have nothing to do with the old ones.
            self.listen_anew();
        }
        self.ssrc = Some(packet.ssrc);
        let IncomingVoice { arrival, sequence, timestamp, marker, payload, .. } = packet;
        self.handset.insert(arrival, VoicePacket { sequence, timestamp, marker, payload });
    }

    /// What does not come any more is not a loss that is to be guessed.
    fn listen_anew(&mut self) {
        self.ssrc = None;
        if let Err(error) = self.handset.listen_anew() {
            (self.tell)(VoiceNotice::Device(error.to_string()));
        }
    }

    fn tick(&mut self, now: Instant) {
        // What came while the loudspeaker is being opened is heard once it is.
        let tick = if self.loudspeaker.opening { self.handset.tick_microphone() } else { self.handset.tick(now) };
        if let Some(error) = tick.microphone_failed {
            self.microphone_failed(&error, false);
        }
        if let Some(error) = tick.loudspeaker_failed {
            (self.tell)(VoiceNotice::Device(error.to_string()));
        }
        if tick.clip_over {
            (self.tell)(VoiceNotice::ClipOver);
        }
        if let Some(voice) = tick.voice {
            self.say(voice);
        }
        self.figures.set_levels(self.handset.levels());
        self.tell_first_audio();
    }

    fn say(&self, voice: EncodedVoice) {
        let Some((_, path)) = &self.path else { return };
        let packet = OutgoingVoice {
            payload: voice.payload.into(),
            timestamp: voice.timestamp,
            marker: voice.marker,
            level: voice.level.minus_dbov,
            voice_activity: voice.level.voice,
        };
        // Before the path is connected, and while it is interrupted, there is nobody to hear it.
        let _ = path.send_voice(packet);
    }

    fn tell_first_audio(&mut self) {
        let Some(call_id) = self.path.as_ref().map(|(call_id, _)| *call_id) else { return };
        let can_be_heard = self.loudspeaker.wanted && !self.loudspeaker.opening;
        if can_be_heard && self.ssrc.is_some() && !self.first_audio_told.contains(&call_id) {
            let stats = self.handset.receiver_stats();
            if stats.total_samples > stats.concealed_samples {
                self.first_audio_told.push(call_id);
                (self.tell)(VoiceNotice::FirstAudio(call_id));
            }
        }
    }

    fn finish_sink(&self, sink: Option<Box<dyn AudioSink>>) {
        if let Some(mut sink) = sink
            && let Err(error) = sink.finish()
        {
            tracing::warn!(%error, "the recording is not complete");
        }
    }

    fn finish(&mut self) {
        if let Err(error) = self.handset.finish() {
            tracing::warn!(%error, "the recording is not complete");
        }
        self.figures.clear();
        for opening in self.opening.drain(..) {
            // What it opens is dropped with the commands.
            if opening.join().is_err() {
                tracing::error!("a device panicked as it was opened");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_was_wanted_before_is_not_the_one_that_is_wanted_now() {
        let mut slot = Slot::default();
        assert!(slot.set(true) && slot.opening);
        let first = slot.serial;
        assert!(!slot.set(true), "no news");
        assert!(slot.set(false) && !slot.opening);
        assert!(!slot.arrived(first), "nobody wants it any more");
        assert!(slot.set(true));
        assert!(!slot.arrived(first) && slot.opening, "the second one is still on its way");
        let second = slot.serial;
        assert!(slot.arrived(second) && !slot.opening);
    }
}
