//! The voice of the present call: a thread that every 10 ms moves a [`Handset`] on, and threads that open devices for it.

mod opener;
mod slot;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use call_protocol::CallId;
use callkit_core::{
    AudioDeviceId, AudioNotice, AudioSessionId, AudioState, DeviceKind, Hears, OpenPath, PathId, Sends,
};
use rtc_media::{
    AudioInput, AudioOutput, AudioSink, Clip, DeviceError, EncodedVoice, Handset, VoiceEncoderConfig, VoicePacket,
    VoiceReceiverConfig,
};
use rtc_transport::{IncomingVoice, MediaPath, OutgoingVoice};
use tokio::sync::watch;

use self::opener::{Brings, Brought, Opener};
use self::slot::{Arrival, Change, Found, Slot};
use crate::figures::{Figures, VoiceStats};
use crate::microphone::failure_of;

/// The codec settings of a call.
#[derive(Clone)]
pub(crate) struct VoiceConfig {
    pub(crate) encoder: VoiceEncoderConfig,
    pub(crate) receiver: VoiceReceiverConfig,
    pub(crate) level_interval: Duration,
}

/// How the sound is to be: worked out anew from the calls whenever one of them changes. The thread takes it as a whole, so that no part of it
/// is ever applied to another path than the one it was meant for.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) state: AudioState,
    /// The path of `state.open`.
    pub(crate) path: Option<MediaPath>,
    pub(crate) microphone: Chosen<AudioInput>,
    pub(crate) loudspeaker: Chosen<AudioOutput>,
    /// Played over and over.
    pub(crate) tone: Option<Clip>,
    /// Played once, beside the tone, when its number is a new one.
    pub(crate) once: Option<(u64, Clip)>,
    pub(crate) level_interval: Duration,
}

/// A device that the app has chosen.
#[derive(Clone)]
pub(crate) struct Chosen<D> {
    /// Stands for the device: another number, another device.
    pub(crate) number: u64,
    pub(crate) device: D,
}

impl Wanted {
    fn nothing(level_interval: Duration) -> Wanted {
        Wanted {
            state: AudioState::default(),
            path: None,
            microphone: Chosen { number: 0, device: AudioInput::Silence },
            loudspeaker: Chosen { number: 0, device: AudioOutput::Null },
            tone: None,
            once: None,
            level_interval,
        }
    }
}

/// The number of a path stands for the path, and that of a device for the device.
impl PartialEq for Wanted {
    fn eq(&self, other: &Wanted) -> bool {
        let devices = |wanted: &Wanted| (wanted.microphone.number, wanted.loudspeaker.number);
        (&self.state, devices(self), &self.tone, &self.once, self.level_interval)
            == (&other.state, devices(other), &other.tone, &other.once, other.level_interval)
    }
}

/// Where a path hands in what comes over it, with its own number.
#[derive(Clone)]
pub(crate) struct Packets(std_mpsc::SyncSender<(PathId, IncomingVoice)>);

impl Packets {
    pub(crate) fn hand_in(&self, path: PathId, packet: IncomingVoice) {
        // A voice that does not keep up, or has ended, loses it as a network would.
        let _ = self.0.try_send((path, packet));
    }
}

/// The running voice; stops when dropped.
pub(crate) struct Voice {
    /// Tells its notices from those of a voice before it.
    pub(crate) session: AudioSessionId,
    wanted: watch::Sender<Wanted>,
    packets: Packets,
    figures: Arc<Figures>,
    thread: Option<JoinHandle<()>>,
}

const TICK: Duration = Duration::from_millis(10);
/// After so long a stall of the machine the clock starts anew instead of catching up.
const LONGEST_CATCH_UP: Duration = Duration::from_millis(200);
/// Ticks between two looks at the figures of the receiver.
const STATS_EVERY: u64 = 10;
/// Packets that wait for the next tick: five seconds of them at 20 ms, when the jitter buffer would have given up on the first. Further ones are
/// lost.
const PACKETS: usize = 250;

impl Voice {
    /// Starts the thread, with no device yet and nothing flowing. `tell` is called on it.
    pub(crate) fn start(
        session: AudioSessionId,
        config: VoiceConfig,
        figures: Arc<Figures>,
        mut tell: impl FnMut(AudioNotice) + Send + 'static,
    ) -> std::io::Result<Voice> {
        let (wanted, wishes) = watch::channel(Wanted::nothing(config.level_interval));
        let (packets, incoming) = std_mpsc::sync_channel(PACKETS);
        let own_figures = figures.clone();
        let thread = std::thread::Builder::new().name("callkit-voice".into()).spawn(move || {
            let handset = Handset::new(config.encoder.clone(), config.receiver.clone(), config.level_interval);
            let handset = match handset {
                Ok(handset) => handset,
                Err(error) => return tell(AudioNotice::Ended(error.to_string())),
            };
            let cleared = own_figures.clone();
            let mut running = Running::new(config, handset, own_figures, &mut tell);
            let ended = catch_unwind(AssertUnwindSafe(|| running.run(wishes, &incoming)));
            drop(running);
            if ended.is_err() {
                cleared.clear();
                tell(AudioNotice::Ended("the thread of the voice panicked".into()));
            }
        })?;
        Ok(Voice { session, wanted, packets: Packets(packets), figures, thread: Some(thread) })
    }

    /// Has the sound be as it is wanted now.
    pub(crate) fn want(&mut self, wanted: Wanted) {
        self.wanted.send_if_modified(|before| {
            let is_new = *before != wanted;
            if is_new {
                *before = wanted;
            }
            is_new
        });
    }

    pub(crate) fn packets(&self) -> Packets {
        self.packets.clone()
    }

    pub(crate) fn stats(&self) -> VoiceStats {
        self.figures.snapshot()
    }

    /// Stops it; the handle's thread ends when the devices are released and files are complete.
    pub(crate) fn stop(mut self) -> Option<JoinHandle<()>> {
        self.thread.take()
    }
}

struct Running<'a> {
    config: VoiceConfig,
    handset: Handset,
    microphone: Slot,
    loudspeaker: Slot,
    input: AudioInput,
    output: AudioOutput,
    opener: Opener,
    ssrc: Option<u32>,
    open: Option<OpenPath>,
    path: Option<MediaPath>,
    hears: Hears,
    /// The number of the last clip that was played once.
    once: Option<u64>,
    /// The calls whose first sound was told.
    first_audio_told: Vec<CallId>,
    tell: &'a mut dyn FnMut(AudioNotice),
    figures: Arc<Figures>,
}

impl<'a> Running<'a> {
    fn new(
        config: VoiceConfig,
        mut handset: Handset,
        figures: Arc<Figures>,
        tell: &'a mut dyn FnMut(AudioNotice),
    ) -> Running<'a> {
        // Until something else is wanted.
        handset.set_muted(true);
        Running {
            config,
            handset,
            microphone: Slot::new(0),
            loudspeaker: Slot::new(0),
            input: AudioInput::Silence,
            output: AudioOutput::Null,
            opener: Opener::new(),
            ssrc: None,
            open: None,
            path: None,
            hears: Hears::Nothing,
            once: None,
            first_audio_told: Vec::new(),
            tell,
            figures,
        }
    }

    fn run(&mut self, mut wishes: watch::Receiver<Wanted>, incoming: &std_mpsc::Receiver<(PathId, IncomingVoice)>) {
        let mut due = Instant::now();
        for tick in 0_u64.. {
            // sleeps: this thread is the media clock. It looks at its wishes once a tick, so that a packet does not wake it: packets
            // carry their time of arrival.
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            // What is wanted comes first: a packet, and a frame of the microphone, are treated as is wanted now.
            match wishes.has_changed() {
                Ok(true) => {
                    let wanted = wishes.borrow_and_update().clone();
                    self.on_wanted(wanted);
                }
                Ok(false) => {}
                Err(_) => return self.finish(),
            }
            self.look_after_devices(Instant::now());
            while let Ok((path, packet)) = incoming.try_recv() {
                // One of another path, or that was on its way as the call was put on hold, is late.
                if self.hears != Hears::Nothing && self.open.is_some_and(|open| open.path == path) {
                    self.insert(packet);
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

    fn on_wanted(&mut self, wanted: Wanted) {
        let AudioState { open, sends, hears, microphone, loudspeaker } = wanted.state;
        let is_other = std::mem::replace(&mut self.open, open) != open;
        self.path = wanted.path;
        if is_other {
            // Nothing of what was said to one is told to another.
            self.say_anew();
        }
        if is_other || (hears == Hears::Nothing && self.hears != Hears::Nothing) {
            self.listen_anew();
        }
        self.hears = hears;
        self.handset.set_sending(sends != Sends::Nothing);
        self.handset.set_muted(sends != Sends::Microphone);
        self.handset.set_peer_audible(hears == Hears::Played);
        self.handset.set_tone(wanted.tone);
        if let Some((number, clip)) = wanted.once.filter(|(number, _)| self.once != Some(*number)) {
            self.once = Some(number);
            self.handset.play_once(clip);
        }
        if wanted.level_interval != self.config.level_interval {
            self.config.level_interval = wanted.level_interval;
            self.handset.set_level_interval(wanted.level_interval);
        }
        (self.input, self.output) = (wanted.microphone.device, wanted.loudspeaker.device);
        let change = self.microphone.set(microphone, wanted.microphone.number);
        self.change_microphone(change);
        let change = self.loudspeaker.set(loudspeaker, wanted.loudspeaker.number);
        self.change_loudspeaker(change);
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
            (self.tell)(AudioNotice::DeviceFailed(error.to_string()));
        }
    }

    fn say_anew(&mut self) {
        if let Err(error) = self.handset.say_anew() {
            (self.tell)(AudioNotice::DeviceFailed(error.to_string()));
        }
    }

    fn tick(&mut self, now: Instant) {
        // What came while the loudspeaker is being opened is heard once it is.
        let tick = if self.loudspeaker.is_awaited() { self.handset.tick_microphone() } else { self.handset.tick(now) };
        if let Some(error) = tick.microphone_failed {
            self.microphone.lost(Instant::now(), &error);
            self.microphone_failed(&error, false);
        }
        if let Some(error) = tick.loudspeaker_failed {
            self.loudspeaker.lost(Instant::now(), &error);
            (self.tell)(AudioNotice::DeviceFailed(error.to_string()));
        }
        if tick.clip_over {
            (self.tell)(AudioNotice::EndToneOver);
        }
        if let Some(voice) = tick.voice {
            self.say(voice);
        }
        self.figures.set_levels(self.handset.levels());
        self.tell_first_audio();
    }

    fn say(&self, voice: EncodedVoice) {
        let Some(path) = &self.path else { return };
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
        let Some(call_id) = self.open.map(|open| open.call_id) else { return };
        let can_be_heard = self.loudspeaker.is_wanted() && !self.loudspeaker.is_awaited();
        if can_be_heard && self.ssrc.is_some() && !self.first_audio_told.contains(&call_id) {
            let stats = self.handset.receiver_stats();
            if stats.total_samples > stats.concealed_samples {
                self.first_audio_told.push(call_id);
                (self.tell)(AudioNotice::FirstAudio(call_id));
            }
        }
    }

    fn finish(&mut self) {
        if let Err(error) = self.handset.finish() {
            tracing::warn!(%error, "the recording is not complete");
        }
        self.figures.clear();
        self.opener.finish();
    }
}

/// The devices: what is to be done about them, and what their threads bring.
impl Running<'_> {
    fn look_after_devices(&mut self, now: Instant) {
        while let Some(brought) = self.opener.next() {
            self.on_brought(now, brought);
        }
        let change = self.microphone.due(now);
        self.change_microphone(change);
        let change = self.loudspeaker.due(now);
        self.change_loudspeaker(change);
        if self.microphone.wants_look(now) {
            self.opener.look_at_input(self.microphone.chosen(), &self.input);
        }
        if self.loudspeaker.wants_look(now) {
            self.opener.look_at_output(self.loudspeaker.chosen(), &self.output);
        }
    }

    fn change_microphone(&mut self, change: Change) {
        match change {
            Change::Nothing => {}
            Change::Open { may_stand_in } => {
                let begun = self.opener.open_input(self.microphone.chosen(), &self.input, may_stand_in);
                self.opening_begun(DeviceKind::Microphone, begun);
            }
            Change::LetGo => {
                self.handset.set_microphone(None);
                self.figures.set_microphone_open(false);
            }
        }
    }

    fn change_loudspeaker(&mut self, change: Change) {
        match change {
            Change::Nothing => {}
            Change::Open { may_stand_in } => {
                let begun = self.opener.open_output(self.loudspeaker.chosen(), &self.output, may_stand_in);
                self.opening_begun(DeviceKind::Loudspeaker, begun);
            }
            Change::LetGo => finish_sink(self.handset.set_loudspeaker(None)),
        }
    }

    fn opening_begun(&mut self, kind: DeviceKind, begun: std::io::Result<()>) {
        let Err(error) = begun else { return };
        match kind {
            DeviceKind::Microphone => self.microphone.cannot_open(Instant::now()),
            DeviceKind::Loudspeaker => self.loudspeaker.cannot_open(Instant::now()),
        }
        (self.tell)(AudioNotice::DeviceFailed(format!("no thread to open it: {error}")));
    }

    fn on_brought(&mut self, now: Instant, brought: Brought) {
        let Brought { number, brings } = brought;
        match brings {
            Brings::Input(opened) => {
                let (found, source) = parts(opened);
                match self.microphone.arrived(now, number, found.as_ref().map(Clone::clone)) {
                    Arrival::Use => {
                        drop(self.handset.set_microphone(source));
                        self.figures.set_microphone_open(true);
                        (self.tell)(AudioNotice::MicrophoneOpened);
                    }
                    Arrival::LetGo => {}
                    Arrival::OpenAnother => self.change_microphone(Change::Open { may_stand_in: false }),
                    Arrival::Failed { is_known } => {
                        if let Some(error) = found.as_ref().err().filter(|_| !is_known) {
                            self.microphone_failed(error, true);
                        }
                    }
                    Arrival::Kept => {}
                }
                self.tell_opened(DeviceKind::Microphone, number, found.as_ref().err(), self.microphone.is_open());
            }
            Brings::Output(opened) => {
                let (found, sink) = parts(opened);
                match self.loudspeaker.arrived(now, number, found.as_ref().map(Clone::clone)) {
                    Arrival::Use => finish_sink(self.handset.set_loudspeaker(sink)),
                    Arrival::LetGo => finish_sink(sink),
                    Arrival::OpenAnother => {
                        finish_sink(sink);
                        self.change_loudspeaker(Change::Open { may_stand_in: false });
                    }
                    Arrival::Failed { is_known } => {
                        if let Some(error) = found.as_ref().err().filter(|_| !is_known) {
                            (self.tell)(AudioNotice::DeviceFailed(error.to_string()));
                        }
                    }
                    Arrival::Kept => {}
                }
                self.tell_opened(DeviceKind::Loudspeaker, number, found.as_ref().err(), self.loudspeaker.is_open());
            }
            Brings::InputNow(device) => {
                let change = self.microphone.seen(now, number, device);
                self.change_microphone(change);
            }
            Brings::OutputNow(device) => {
                let change = self.loudspeaker.seen(now, number, device);
                self.change_loudspeaker(change);
            }
        }
    }

    fn tell_opened(&mut self, kind: DeviceKind, number: u64, error: Option<&DeviceError>, goes_on: bool) {
        let result = error.map_or(Ok(()), |error| Err(error.to_string()));
        if let Err(why) = &result {
            tracing::debug!(?kind, why, "a device was not opened");
        }
        let device = AudioDeviceId(number);
        (self.tell)(AudioNotice::DeviceOpened { kind, device, result, goes_on });
    }

    fn microphone_failed(&mut self, error: &DeviceError, at_open: bool) {
        self.figures.set_microphone_open(false);
        let failure = failure_of(error);
        (self.tell)(AudioNotice::MicrophoneFailed { failure, at_open, why: error.to_string() });
    }
}

fn finish_sink(sink: Option<Box<dyn AudioSink>>) {
    if let Some(mut sink) = sink
        && let Err(error) = sink.finish()
    {
        tracing::warn!(%error, "the recording is not complete");
    }
}

fn parts<D>(opened: Result<(Found, D), DeviceError>) -> (Result<Found, DeviceError>, Option<D>) {
    match opened {
        Ok((found, device)) => (Ok(found), Some(device)),
        Err(error) => (Err(error), None),
    }
}
