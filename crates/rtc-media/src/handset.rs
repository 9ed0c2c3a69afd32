//! What a telephone is without its line: microphone, loudspeaker, codec, tones and meters, moved on by one clock.

use std::time::{Duration, Instant};

use crate::{
    AudioSink, AudioSource, Clip, CodecError, DeviceError, EncodedVoice, Frame, LevelMeter, Mixer, ReceiverStats,
    VoiceEncoder, VoiceEncoderConfig, VoicePacket, VoiceReceiver, VoiceReceiverConfig, level::bar, tone::Player,
};

/// Both ways of one voice: every 10 ms it takes sound from the microphone, codes it, and gives the decoded voice of the other side, mixed with the
/// tones of this side, to the loudspeaker.
///
/// ```text
///  microphone ─▶ mute ─▶ meter ─▶ VoiceEncoder ─▶ Tick::voice
///  loudspeaker ◀─ meter ◀─ Mixer ◀─ silence? ◀─ meter ◀─ VoiceReceiver ◀─ insert
///                            ▲
///                          tones
/// ```
///
/// Devices are opened by whoever uses it, and may come, go and be missing at any time: without a microphone it sends silence, without a loudspeaker
/// what came is decoded and dropped, so that both ways stay at the present moment. Tones go to the loudspeaker alone, never to the other side.
/// After the first second playing allocates nothing, and nothing in here locks; a coded packet is one allocation.
pub struct Handset {
    source: Option<Box<dyn AudioSource>>,
    sink: Option<Box<dyn AudioSink>>,
    encoder: VoiceEncoder,
    receiver: VoiceReceiver,
    receiver_config: VoiceReceiverConfig,
    mixer: Mixer,
    /// Clips being played over and over: the wanted one last, before it those that fade out.
    tone: Option<Player>,
    fading: Option<Player>,
    once: Option<Player>,
    scratch: Frame,
    muted: bool,
    sending: bool,
    audible: bool,
    meters: Meters,
}

struct Meters {
    microphone: LevelMeter,
    peer: LevelMeter,
    played: LevelMeter,
    levels: Levels,
}

/// How loud it is, 0 (-60 dBov and below) to 100 (full scale), linear in decibels: `100 · (60 + L) / 60`, where L is the root mean square of
/// the last interval in dBov (RFC 6464, section 3: decibels relative to the overload point).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Levels {
    /// What is sent of the microphone; 0 while it is muted or nothing is sent.
    pub microphone: f32,
    /// The voice of the other side, whether it is played or not.
    pub peer: f32,
    /// What is played: the voice of the other side, if it is, and the tones.
    pub played: f32,
}

/// What 10 ms brought.
#[derive(Debug, Default)]
pub struct Tick {
    /// A packet to be sent, every second time.
    pub voice: Option<EncodedVoice>,
    /// The microphone failed and is gone.
    pub microphone_failed: Option<DeviceError>,
    /// The loudspeaker failed and is gone.
    pub loudspeaker_failed: Option<DeviceError>,
    /// The clip of [`Handset::play_once`] is over.
    pub clip_over: bool,
}

impl Handset {
    /// A handset without devices, that neither sends nor hears anything yet.
    ///
    /// # Errors
    /// [`CodecError`] if Opus refuses a value of the configuration.
    pub fn new(
        encoder: VoiceEncoderConfig,
        receiver: VoiceReceiverConfig,
        level_interval: Duration,
    ) -> Result<Handset, CodecError> {
        Ok(Handset {
            source: None,
            sink: None,
            encoder: VoiceEncoder::new(encoder)?,
            receiver: VoiceReceiver::new(receiver.clone())?,
            receiver_config: receiver,
            mixer: Mixer::new(),
            tone: None,
            fading: None,
            once: None,
            scratch: Frame::SILENCE,
            muted: false,
            sending: false,
            audible: true,
            meters: Meters::new(level_interval),
        })
    }

    /// Uses this microphone from now on; the one before is given back.
    pub fn set_microphone(&mut self, source: Option<Box<dyn AudioSource>>) -> Option<Box<dyn AudioSource>> {
        std::mem::replace(&mut self.source, source)
    }

    /// Uses this loudspeaker from now on; the one before is given back.
    pub fn set_loudspeaker(&mut self, sink: Option<Box<dyn AudioSink>>) -> Option<Box<dyn AudioSink>> {
        std::mem::replace(&mut self.sink, sink)
    }

    /// Whether there is a microphone.
    pub fn has_microphone(&self) -> bool {
        self.source.is_some()
    }

    /// Whether there is a loudspeaker.
    pub fn has_loudspeaker(&self) -> bool {
        self.sink.is_some()
    }

    /// Sends silence instead of the microphone, so that the other side hears a pause and not a loss. The level is 0 at once.
    pub fn set_muted(&mut self, muted: bool) {
        if std::mem::replace(&mut self.muted, muted) != muted {
            self.meters.reset_microphone();
        }
    }

    /// Whether anything is coded. While it is off, time goes on in the timestamps.
    pub fn set_sending(&mut self, sending: bool) {
        if std::mem::replace(&mut self.sending, sending) != sending {
            self.meters.reset_microphone();
        }
    }

    /// Whether the voice of the other side is played. It is decoded and measured in any case.
    pub fn set_peer_audible(&mut self, audible: bool) {
        self.audible = audible;
    }

    /// Plays a clip over and over; none ends the one that is played. The same clip again changes nothing.
    pub fn set_tone(&mut self, clip: Option<Clip>) {
        if self.tone.as_ref().map(Player::clip) == clip.as_ref() {
            return;
        }
        if let Some(mut before) = self.tone.take() {
            before.stop();
            self.fading = Some(before);
        }
        self.tone = clip.map(|clip| Player::new(clip, true));
    }

    /// Plays a clip once, beside the tone; [`Tick::clip_over`] tells the end.
    pub fn play_once(&mut self, clip: Clip) {
        self.once = Some(Player::new(clip, false));
    }

    /// Measures over another interval, rounded up to 10 ms.
    pub fn set_level_interval(&mut self, interval: Duration) {
        self.meters = Meters { levels: self.meters.levels, ..Meters::new(interval) };
    }

    /// Takes a packet that came at `now`, in any order, any number of times.
    pub fn insert(&mut self, now: Instant, packet: VoicePacket) {
        self.receiver.insert(now, packet);
    }

    /// The next packets are of another stream: nothing of the old one is waited for.
    ///
    /// # Errors
    /// [`CodecError`]; the old receiver stays.
    pub fn listen_anew(&mut self) -> Result<(), CodecError> {
        self.receiver = VoiceReceiver::new(self.receiver_config.clone())?;
        self.meters.reset_peer();
        Ok(())
    }

    /// What is said next goes to another one, who hears nothing of what was said before: neither the half of a packet nor the copy of the last one
    /// that the next would carry.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn say_anew(&mut self) -> Result<(), CodecError> {
        self.meters.reset_microphone();
        self.encoder.start_anew()
    }

    /// How loud it is.
    pub fn levels(&self) -> Levels {
        self.meters.levels
    }

    /// How the voice of the other side fares.
    pub fn receiver_stats(&self) -> ReceiverStats {
        self.receiver.stats()
    }

    /// Moves on by 10 ms.
    pub fn tick(&mut self, now: Instant) -> Tick {
        let mut tick = Tick::default();
        self.capture(&mut tick);
        self.play(now, &mut tick);
        tick
    }

    /// Moves the microphone on by 10 ms and leaves the voice of the other side waiting: for a loudspeaker that is being opened.
    pub fn tick_microphone(&mut self) -> Tick {
        let mut tick = Tick::default();
        self.capture(&mut tick);
        tick
    }

    /// Lets go of the devices.
    ///
    /// # Errors
    /// [`DeviceError`] if what the loudspeaker was to keep is not complete.
    pub fn finish(&mut self) -> Result<(), DeviceError> {
        self.source = None;
        self.sink.take().map_or(Ok(()), |mut sink| sink.finish())
    }

    fn capture(&mut self, tick: &mut Tick) {
        let frame = &mut self.scratch;
        frame.clear();
        if let Some(source) = &mut self.source
            && let Err(error) = source.read(frame)
        {
            self.source = None;
            tick.microphone_failed = Some(error);
            frame.clear();
        }
        if self.muted || !self.sending {
            frame.clear();
        }
        self.meters.microphone(frame);
        if !self.sending {
            return self.encoder.skip(1);
        }
        match self.encoder.push(frame) {
            Ok(voice) => tick.voice = voice,
            Err(error) => tracing::warn!(%error, "a frame was not encoded"),
        }
    }

    fn play(&mut self, now: Instant, tick: &mut Tick) {
        let heard = self.receiver.pull(now);
        self.meters.peer(heard);
        if self.audible {
            self.mixer.add(heard);
        }
        for player in [&mut self.tone, &mut self.fading, &mut self.once].into_iter().flatten() {
            player.read(&mut self.scratch);
            self.mixer.add(&self.scratch);
        }
        self.fading.take_if(|player| player.is_over());
        tick.clip_over = self.once.take_if(|player| player.is_over()).is_some();
        let frame = self.mixer.take();
        self.meters.played(&frame);
        if let Some(sink) = &mut self.sink
            && let Err(error) = sink.write(&frame)
        {
            self.sink = None;
            tick.loudspeaker_failed = Some(error);
        }
    }
}

impl Meters {
    fn new(interval: Duration) -> Meters {
        let meter = LevelMeter::new(interval);
        Meters { microphone: meter.clone(), peer: meter.clone(), played: meter, levels: Levels::default() }
    }

    fn microphone(&mut self, frame: &Frame) {
        if let Some(reading) = self.microphone.push(frame) {
            self.levels.microphone = bar(reading.rms_dbov);
        }
    }

    fn peer(&mut self, frame: &Frame) {
        if let Some(reading) = self.peer.push(frame) {
            self.levels.peer = bar(reading.rms_dbov);
        }
    }

    fn played(&mut self, frame: &Frame) {
        if let Some(reading) = self.played.push(frame) {
            self.levels.played = bar(reading.rms_dbov);
        }
    }

    fn reset_microphone(&mut self) {
        self.microphone.reset();
        self.levels.microphone = 0.0;
    }

    fn reset_peer(&mut self) {
        self.peer.reset();
        self.levels.peer = 0.0;
    }
}
