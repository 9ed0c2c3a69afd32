//! The voice of one call: a thread that every 10 ms takes a frame from the microphone and gives one to the speaker.

use std::sync::mpsc::{self as std_mpsc, TryRecvError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use call_protocol::CallId;
use rtc_media::{
    AudioInput, AudioOutput, AudioSink, AudioSource, Frame, LevelMeter, Mixer, ReceiverStats, VoiceEncoder,
    VoiceEncoderConfig, VoicePacket, VoiceReceiver, VoiceReceiverConfig,
};
use rtc_transport::{IncomingVoice, MediaPath, OutgoingVoice};
use tokio::sync::watch;

/// Which devices and codec settings a call uses.
#[derive(Clone)]
pub(crate) struct VoiceConfig {
    pub(crate) input: AudioInput,
    pub(crate) output: AudioOutput,
    pub(crate) encoder: VoiceEncoderConfig,
    pub(crate) receiver: VoiceReceiverConfig,
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
    Stop,
}

/// What the voice tells the owner loop.
#[derive(Debug)]
pub(crate) enum VoiceNotice {
    /// The first decoded sound of the other one was given to the speaker.
    FirstAudio(CallId),
    /// A device failed; the voice goes on without it.
    Device(String),
}

/// How the voice does at present.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct VoiceStats {
    pub(crate) input_level: u8,
    pub(crate) output_level: u8,
    pub(crate) receiver: ReceiverStats,
}

/// The running voice; stops when dropped.
pub(crate) struct Voice {
    commands: std_mpsc::Sender<VoiceCommand>,
    stats: watch::Receiver<VoiceStats>,
    thread: Option<JoinHandle<()>>,
}

const TICK: Duration = Duration::from_millis(10);
/// After so long a stall of the machine the clock starts anew instead of catching up.
const LONGEST_CATCH_UP: Duration = Duration::from_millis(200);
/// Ticks between two looks at the figures.
const STATS_EVERY: u64 = 10;

impl Voice {
    /// Starts the thread. `tell` is called on it.
    pub(crate) fn start(
        config: VoiceConfig,
        muted: bool,
        speaker: bool,
        tell: impl FnMut(VoiceNotice) + Send + 'static,
    ) -> std::io::Result<Voice> {
        let (commands, receiver) = std_mpsc::channel();
        let (stats_sender, stats) = watch::channel(VoiceStats::default());
        let thread = std::thread::Builder::new().name("callkit-voice".into()).spawn(move || {
            let codec = VoiceEncoder::new(config.encoder.clone())
                .and_then(|e| Ok((e, VoiceReceiver::new(config.receiver.clone())?)));
            let mut tell: Box<dyn FnMut(VoiceNotice)> = Box::new(tell);
            match codec {
                Ok((encoder, receiver_of_one)) => {
                    let mut running =
                        Running::new(&config, encoder, receiver_of_one, muted, speaker, tell, stats_sender);
                    running.run(&receiver);
                }
                Err(error) => tell(VoiceNotice::Device(format!("Opus: {error}"))),
            }
        })?;
        Ok(Voice { commands, stats, thread: Some(thread) })
    }

    pub(crate) fn send(&self, command: VoiceCommand) {
        // A voice that has ended needs nothing any more.
        let _ = self.commands.send(command);
    }

    pub(crate) fn commands(&self) -> std_mpsc::Sender<VoiceCommand> {
        self.commands.clone()
    }

    pub(crate) fn stats(&self) -> VoiceStats {
        *self.stats.borrow()
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

struct Running {
    source: Option<Box<dyn AudioSource>>,
    sink: Option<Box<dyn AudioSink>>,
    encoder: VoiceEncoder,
    receiver: VoiceReceiver,
    receiver_config: VoiceReceiverConfig,
    ssrc: Option<u32>,
    mixer: Mixer,
    path: Option<(CallId, MediaPath)>,
    muted: bool,
    speaker: bool,
    input_meter: LevelMeter,
    output_meter: LevelMeter,
    figures: VoiceStats,
    /// The calls whose first sound was told.
    first_audio_told: Vec<CallId>,
    tell: Box<dyn FnMut(VoiceNotice)>,
    stats: watch::Sender<VoiceStats>,
}

impl Running {
    fn new(
        config: &VoiceConfig,
        encoder: VoiceEncoder,
        receiver: VoiceReceiver,
        muted: bool,
        speaker: bool,
        mut tell: Box<dyn FnMut(VoiceNotice)>,
        stats: watch::Sender<VoiceStats>,
    ) -> Running {
        let source = config.input.open().map_err(|error| tell(VoiceNotice::Device(error.to_string()))).ok();
        let sink = config.output.open().map_err(|error| tell(VoiceNotice::Device(error.to_string()))).ok();
        Running {
            source,
            sink,
            encoder,
            receiver,
            receiver_config: config.receiver.clone(),
            ssrc: None,
            mixer: Mixer::new(),
            path: None,
            muted,
            speaker,
            input_meter: LevelMeter::new(config.level_interval),
            output_meter: LevelMeter::new(config.level_interval),
            figures: VoiceStats::default(),
            first_audio_told: Vec::new(),
            tell,
            stats,
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
            self.capture();
            // The time of the tick, not of a thread that was woken late: the jitter buffer measures the network, not this machine.
            self.play(due);
            if tick % STATS_EVERY == 0 {
                self.figures.receiver = self.receiver.stats();
                self.stats.send_replace(self.figures);
            }
            due += TICK;
        }
    }

    fn obey(&mut self, command: VoiceCommand) {
        match command {
            VoiceCommand::Attach(call_id, path) => self.path = Some((call_id, path)),
            VoiceCommand::Detach(call_id) => {
                if self.path.take_if(|(attached, _)| *attached == call_id).is_some() {
                    // What does not come any more is not a loss that is to be guessed.
                    self.ssrc = None;
                    self.listen_anew();
                }
            }
            // One that was on its way as the call was put on hold is late.
            VoiceCommand::Packet(packet) if self.path.is_some() => self.insert(packet),
            VoiceCommand::Packet(_) => {}
            VoiceCommand::Mute(muted) => self.muted = muted,
            VoiceCommand::Speaker(speaker) => self.speaker = speaker,
            VoiceCommand::Stop => {}
        }
    }

    fn insert(&mut self, packet: IncomingVoice) {
        if self.ssrc.is_some_and(|ssrc| ssrc != packet.ssrc) {
            // Another source is another stream: its numbers have nothing to do with the old ones.
            self.listen_anew();
        }
        self.ssrc = Some(packet.ssrc);
        let IncomingVoice { arrival, sequence, timestamp, marker, payload, .. } = packet;
        self.receiver.insert(arrival, VoicePacket { sequence, timestamp, marker, payload });
    }

    fn listen_anew(&mut self) {
        match VoiceReceiver::new(self.receiver_config.clone()) {
            Ok(receiver) => self.receiver = receiver,
            Err(error) => (self.tell)(VoiceNotice::Device(format!("Opus: {error}"))),
        }
    }

    fn capture(&mut self) {
        let mut frame = Frame::SILENCE;
        if let Some(source) = &mut self.source
            && let Err(error) = source.read(&mut frame)
        {
            self.source = None;
            (self.tell)(VoiceNotice::Device(error.to_string()));
        }
        if self.muted {
            // Silence is sent on, so that the other end hears a pause and not a loss.
            frame.clear();
        }
        if let Some(reading) = self.input_meter.push(&frame) {
            self.figures.input_level = reading.level;
        }
        let Some((_, path)) = &self.path else { return };
        match self.encoder.push(&frame) {
            Ok(Some(voice)) => {
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
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "a frame was not encoded"),
        }
    }

    fn play(&mut self, now: Instant) {
        let heard = self.receiver.pull(now);
        self.mixer.add(heard);
        let mut frame = self.mixer.take();
        if let Some(reading) = self.output_meter.push(&frame) {
            self.figures.output_level = reading.level;
        }
        if !self.speaker {
            frame.clear();
        }
        if let Some(sink) = &mut self.sink
            && let Err(error) = sink.write(&frame)
        {
            self.sink = None;
            (self.tell)(VoiceNotice::Device(error.to_string()));
        }
        let Some(call_id) = self.path.as_ref().map(|(call_id, _)| *call_id) else { return };
        if self.ssrc.is_some() && !self.first_audio_told.contains(&call_id) {
            let stats = self.receiver.stats();
            if stats.total_samples > stats.concealed_samples {
                self.first_audio_told.push(call_id);
                (self.tell)(VoiceNotice::FirstAudio(call_id));
            }
        }
    }

    fn finish(&mut self) {
        if let Some(sink) = &mut self.sink
            && let Err(error) = sink.finish()
        {
            tracing::warn!(%error, "the recording is not complete");
        }
    }
}
