//! A sound card in virtual time: a cpal device whose callbacks the test calls, so that clocks and failures are exact.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use cpal::{
    Data, DeviceDescription, DeviceDescriptionBuilder, DeviceId, Error, ErrorKind, FrameCount, InputCallbackInfo,
    InputStreamTimestamp, OutputCallbackInfo, OutputStreamTimestamp, SampleFormat, StreamConfig, StreamInstant,
    SupportedBufferSize, SupportedStreamConfig, SupportedStreamConfigRange,
    traits::{DeviceTrait, StreamTrait},
};

use super::{SoundCardSink, SoundCardSource};
use crate::{AudioSink, AudioSource, DeviceError, Frame, ReadOutcome, SAMPLE_RATE, allocations};

type OnInput = Box<dyn FnMut(&Data, &InputCallbackInfo) + Send>;
type OnOutput = Box<dyn FnMut(&mut Data, &OutputCallbackInfo) + Send>;
type OnError = Box<dyn FnMut(Error) + Send>;

/// What a stream was built with.
#[derive(Default)]
struct Callbacks {
    input: Option<OnInput>,
    output: Option<OnOutput>,
    error: Option<OnError>,
    config: Option<StreamConfig>,
    playing: bool,
}

#[derive(Clone)]
struct Card {
    rate: u32,
    channels: u16,
    format: SampleFormat,
    buffer: SupportedBufferSize,
    refuses: Option<ErrorKind>,
    callbacks: Arc<Mutex<Callbacks>>,
}

struct CardStream(Arc<Mutex<Callbacks>>);

impl Card {
    fn new(rate: u32, channels: u16, format: SampleFormat) -> Card {
        let buffer = SupportedBufferSize::Range { min: 16, max: 8192 };
        Card { rate, channels, format, buffer, refuses: None, callbacks: Arc::default() }
    }

    fn config(&self) -> SupportedStreamConfig {
        SupportedStreamConfig::new(self.channels, self.rate, self.buffer, self.format)
    }

    /// The microphone delivers frames of one mono signal on all channels.
    fn deliver(&self, mono: &[f32]) {
        let mut callbacks = self.callbacks.lock().unwrap();
        let mut samples: Vec<f32> = mono.iter().flat_map(|s| std::iter::repeat_n(*s, self.channels.into())).collect();
        let mut integers: Vec<i16> = samples.iter().map(|s| (s * 32767.0) as i16).collect();
        let mut unsigned: Vec<u16> = samples.iter().map(|s| (s * 32767.0 + 32768.0) as u16).collect();
        let (pointer, len): (*mut (), usize) = match self.format {
            SampleFormat::I16 => (integers.as_mut_ptr().cast(), integers.len()),
            SampleFormat::U16 => (unsigned.as_mut_ptr().cast(), unsigned.len()),
            _ => (samples.as_mut_ptr().cast(), samples.len()),
        };
        // SAFETY: the pointer is to `len` samples of the card's format, which live until the end of this function.
        let data = unsafe { Data::from_parts(pointer, len, self.format) };
        let at = StreamInstant::new(0, 0);
        let info = InputCallbackInfo::new(InputStreamTimestamp { callback: at, capture: at });
        callbacks.input.as_mut().unwrap()(&data, &info);
    }

    /// The loudspeaker takes `frames`; returns its last channel.
    fn take(&self, frames: usize) -> Vec<f32> {
        let mut callbacks = self.callbacks.lock().unwrap();
        let channels = usize::from(self.channels);
        let mut samples = vec![0i32; frames * channels];
        // SAFETY: the pointer is to that many samples of four bytes, the size of I32 and F32.
        let mut data = unsafe { Data::from_parts(samples.as_mut_ptr().cast(), samples.len(), self.format) };
        let at = StreamInstant::new(0, 0);
        let info = OutputCallbackInfo::new(OutputStreamTimestamp { callback: at, playback: at });
        callbacks.output.as_mut().unwrap()(&mut data, &info);
        let to_float = |sample: &i32| match self.format {
            SampleFormat::F32 => f32::from_bits(*sample as u32),
            _ => *sample as f32 / 2_147_483_648.0,
        };
        samples.iter().skip(channels - 1).step_by(channels).map(to_float).collect()
    }

    fn fail(&self, kind: ErrorKind) {
        self.callbacks.lock().unwrap().error.as_mut().unwrap()(Error::new(kind));
    }

    fn is_playing(&self) -> bool {
        self.callbacks.lock().unwrap().playing
    }

    fn refuse(&self, config: &StreamConfig) -> Result<(), Error> {
        match self.refuses {
            Some(kind) => Err(Error::new(kind)),
            None => {
                self.callbacks.lock().unwrap().config = Some(*config);
                Ok(())
            }
        }
    }
}

impl PartialEq for Card {
    fn eq(&self, other: &Card) -> bool {
        Arc::ptr_eq(&self.callbacks, &other.callbacks)
    }
}
impl Eq for Card {}
impl std::hash::Hash for Card {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.callbacks).hash(state);
    }
}
impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Card")
    }
}
impl fmt::Display for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Card")
    }
}

impl DeviceTrait for Card {
    type SupportedInputConfigs = std::vec::IntoIter<SupportedStreamConfigRange>;
    type SupportedOutputConfigs = std::vec::IntoIter<SupportedStreamConfigRange>;
    type Stream = CardStream;

    fn description(&self) -> Result<DeviceDescription, Error> {
        Ok(DeviceDescriptionBuilder::new("Card").build())
    }

    fn id(&self) -> Result<DeviceId, Error> {
        Err(Error::new(ErrorKind::UnsupportedOperation))
    }

    fn supported_input_configs(&self) -> Result<Self::SupportedInputConfigs, Error> {
        let range = SupportedStreamConfigRange::new(self.channels, self.rate, self.rate, self.buffer, self.format);
        Ok(vec![range].into_iter())
    }

    fn supported_output_configs(&self) -> Result<Self::SupportedOutputConfigs, Error> {
        self.supported_input_configs()
    }

    fn default_input_config(&self) -> Result<SupportedStreamConfig, Error> {
        Ok(self.config())
    }

    fn default_output_config(&self) -> Result<SupportedStreamConfig, Error> {
        Ok(self.config())
    }

    fn build_input_stream_raw<D, E>(
        &self,
        config: StreamConfig,
        _format: SampleFormat,
        on_data: D,
        on_error: E,
        _timeout: Option<Duration>,
    ) -> Result<CardStream, Error>
    where
        D: FnMut(&Data, &InputCallbackInfo) + Send + 'static,
        E: FnMut(Error) + Send + 'static,
    {
        self.refuse(&config)?;
        let mut callbacks = self.callbacks.lock().unwrap();
        callbacks.input = Some(Box::new(on_data));
        callbacks.error = Some(Box::new(on_error));
        Ok(CardStream(Arc::clone(&self.callbacks)))
    }

    fn build_output_stream_raw<D, E>(
        &self,
        config: StreamConfig,
        _format: SampleFormat,
        on_data: D,
        on_error: E,
        _timeout: Option<Duration>,
    ) -> Result<CardStream, Error>
    where
        D: FnMut(&mut Data, &OutputCallbackInfo) + Send + 'static,
        E: FnMut(Error) + Send + 'static,
    {
        self.refuse(&config)?;
        let mut callbacks = self.callbacks.lock().unwrap();
        callbacks.output = Some(Box::new(on_data));
        callbacks.error = Some(Box::new(on_error));
        Ok(CardStream(Arc::clone(&self.callbacks)))
    }
}

impl StreamTrait for CardStream {
    fn play(&self) -> Result<(), Error> {
        self.0.lock().unwrap().playing = true;
        Ok(())
    }

    fn pause(&self) -> Result<(), Error> {
        self.0.lock().unwrap().playing = false;
        Ok(())
    }

    fn buffer_size(&self) -> Result<FrameCount, Error> {
        Ok(480)
    }

    fn now(&self) -> StreamInstant {
        StreamInstant::new(0, 0)
    }
}

impl Drop for CardStream {
    fn drop(&mut self) {
        self.0.lock().unwrap().playing = false;
    }
}

/// A 500 Hz tone at any rate, as long as a device wants it.
struct Tone {
    phase: f64,
    step: f64,
}

impl Tone {
    fn at(rate: f64) -> Tone {
        Tone { phase: 0.0, step: 500.0 / rate }
    }

    fn next(&mut self, samples: usize) -> Vec<f32> {
        (0..samples)
            .map(|_| {
                self.phase = (self.phase + self.step).fract();
                0.5 * (self.phase * std::f64::consts::TAU).sin() as f32
            })
            .collect()
    }
}

/// Largest deviation from being a 500 Hz tone of amplitude 0.5: such a tone obeys x[n+1] + x[n-1] = 2 cos(w) x[n].
fn roughness(samples: &[f32], rate: f64) -> f32 {
    let factor = 2.0 * (std::f64::consts::TAU * 500.0 / rate).cos() as f32;
    samples.windows(3).map(|x| (x[2] + x[0] - factor * x[1]).abs()).fold(0.0, f32::max)
}

fn peak(samples: &[f32]) -> f32 {
    samples.iter().fold(0.0, |peak, sample| peak.max(sample.abs()))
}

/// Runs a microphone whose clock is `ppm` fast, in blocks of `block`; returns what was read and the silent frames after the first second.
fn listen(card: &Card, block: usize, ppm: f64, seconds: usize) -> (Vec<f32>, usize) {
    let mut source = SoundCardSource::open(card).unwrap();
    let rate = f64::from(card.rate);
    let mut tone = Tone::at(rate);
    let (mut delivered, mut heard, mut gaps) = (0usize, Vec::new(), 0);
    let mut frame = Frame::default();
    for tick in 0..seconds * 100 {
        let captured = (tick as f64 + 0.4) * rate / 100.0 * (1.0 + ppm * 1e-6);
        while (delivered + block) as f64 <= captured {
            card.deliver(&tone.next(block));
            delivered += block;
        }
        let outcome = source.read(&mut frame).unwrap();
        if tick >= 100 {
            gaps += usize::from(outcome != ReadOutcome::Samples);
            heard.extend_from_slice(&frame.0);
        }
    }
    (heard, gaps)
}

#[test]
fn a_microphone_of_any_rate_format_and_channels_is_heard() {
    for (rate, channels, format, block) in [
        (48_000, 1, SampleFormat::F32, 480),
        (48_000, 2, SampleFormat::I16, 480),
        (44_100, 2, SampleFormat::F32, 441),
        (16_000, 1, SampleFormat::I16, 160),
        (96_000, 4, SampleFormat::U16, 1024),
        (8_000, 1, SampleFormat::F32, 200),
    ] {
        let card = Card::new(rate, channels, format);
        let (heard, gaps) = listen(&card, block, 0.0, 4);
        assert_eq!(gaps, 0, "{rate} Hz, {channels} channels, {format}");
        assert!((peak(&heard) - 0.5).abs() < 0.02, "{rate} Hz, {format}: peak {}", peak(&heard));
        let rough = roughness(&heard, SAMPLE_RATE.into());
        assert!(rough < 0.002, "{rate} Hz, {channels} channels, {format}: {rough}");
    }
}

#[test]
fn a_microphone_whose_clock_drifts_has_no_gap() {
    for ppm in [-300.0, -40.0, 300.0] {
        let card = Card::new(48_000, 1, SampleFormat::F32);
        let (heard, gaps) = listen(&card, 480, ppm, 60);
        assert_eq!(gaps, 0, "{ppm} ppm");
        let rough = roughness(&heard, SAMPLE_RATE.into());
        assert!(rough < 0.002, "{ppm} ppm: {rough}");
    }
}

#[test]
fn a_microphone_that_stops_is_silent_and_goes_on() {
    let card = Card::new(48_000, 1, SampleFormat::F32);
    let mut source = SoundCardSource::open(&card).unwrap();
    let mut frame = Frame([1.0; 480]);
    assert_eq!(source.read(&mut frame).unwrap(), ReadOutcome::Silence);
    assert_eq!(frame, Frame::SILENCE);
    let mut tone = Tone::at(48_000.0);
    for _ in 0..5 {
        card.deliver(&tone.next(480));
    }
    assert_eq!(source.read(&mut frame).unwrap(), ReadOutcome::Samples);
    for _ in 0..100_000 / 480 {
        card.deliver(&tone.next(480));
    }
    assert_eq!(source.read(&mut frame).unwrap(), ReadOutcome::Samples, "a full ring overwrites nothing");
}

#[test]
fn a_pile_of_old_sound_is_dropped() {
    let card = Card::new(48_000, 1, SampleFormat::F32);
    let mut source = SoundCardSource::open(&card).unwrap();
    let mut tone = Tone::at(48_000.0);
    card.deliver(&tone.next(5_000));
    let mut frame = Frame::default();
    for _ in 0..250 {
        card.deliver(&tone.next(480));
        source.read(&mut frame).unwrap();
    }
    let still_there = (0..100).take_while(|_| source.read(&mut frame).unwrap() == ReadOutcome::Samples).count();
    assert!(still_there <= 2, "{still_there} frames waited");
}

/// Runs a loudspeaker whose clock is `ppm` fast; returns what it played after the first second.
fn speak(card: &Card, block: usize, ppm: f64, seconds: usize) -> Vec<f32> {
    let mut sink = SoundCardSink::open(card).unwrap();
    let mut tone = Tone::at(SAMPLE_RATE.into());
    let rate = f64::from(card.rate);
    let (mut taken, mut played) = (0usize, Vec::new());
    let mut frame = Frame::default();
    for tick in 0..seconds * 100 {
        let due = (tick as f64 + 0.4) * rate / 100.0 * (1.0 + ppm * 1e-6);
        while (taken + block) as f64 <= due {
            let block_played = card.take(block);
            taken += block;
            if tick >= 100 {
                played.extend(block_played);
            }
        }
        frame.0.copy_from_slice(&tone.next(480));
        sink.write(&frame).unwrap();
    }
    played
}

#[test]
fn a_loudspeaker_of_any_rate_format_and_channels_plays() {
    for (rate, channels, format, block) in [
        (48_000, 1, SampleFormat::F32, 480),
        (48_000, 2, SampleFormat::I32, 480),
        (44_100, 2, SampleFormat::F32, 512),
        (96_000, 6, SampleFormat::I32, 960),
        (16_000, 1, SampleFormat::F32, 160),
    ] {
        let card = Card::new(rate, channels, format);
        let played = speak(&card, block, 0.0, 4);
        assert!((peak(&played) - 0.5).abs() < 0.02, "{rate} Hz, {format}: peak {}", peak(&played));
        let rough = roughness(&played, rate.into());
        assert!(rough < 0.004, "{rate} Hz, {channels} channels, {format}: {rough}");
    }
}

#[test]
fn a_loudspeaker_whose_clock_drifts_has_no_gap() {
    for ppm in [-300.0, -40.0, 300.0] {
        let card = Card::new(48_000, 2, SampleFormat::F32);
        let rough = roughness(&speak(&card, 480, ppm, 60), 48_000.0);
        assert!(rough < 0.002, "{ppm} ppm: {rough}");
    }
}

#[test]
fn a_gap_in_playback_fades_and_recovers() {
    let card = Card::new(48_000, 1, SampleFormat::F32);
    let mut sink = SoundCardSink::open(&card).unwrap();
    let frame = Frame([0.5; 480]);
    for _ in 0..4 {
        sink.write(&frame).unwrap();
    }
    card.take(480);
    for _ in 0..6 {
        let block = card.take(480);
        assert!(block.windows(2).all(|pair| (pair[1] - pair[0]).abs() < 0.006), "no click");
    }
    assert!(peak(&card.take(480)) < 0.01);
    for _ in 0..3 {
        sink.write(&frame).unwrap();
    }
    assert!(peak(&card.take(480)) > 0.4);
}

#[test]
fn a_lost_device_is_told_and_can_be_opened_again() {
    let card = Card::new(48_000, 1, SampleFormat::F32);
    let mut source = SoundCardSource::open(&card).unwrap();
    assert!(card.is_playing());
    card.fail(ErrorKind::Xrun);
    assert!(source.read(&mut Frame::default()).is_ok(), "the device recovers from an xrun by itself");
    card.fail(ErrorKind::DeviceNotAvailable);
    assert!(matches!(source.read(&mut Frame::default()), Err(DeviceError::Lost { .. })));
    drop(source);
    assert!(!card.is_playing());
    let mut source = SoundCardSource::open(&card).unwrap();
    assert!(source.read(&mut Frame::default()).is_ok());

    let mut sink = SoundCardSink::open(&card).unwrap();
    card.fail(ErrorKind::StreamInvalidated);
    assert!(matches!(sink.write(&Frame::SILENCE), Err(DeviceError::Lost { .. })));
    sink.finish().unwrap();
    assert!(matches!(sink.write(&Frame::SILENCE), Err(DeviceError::Finished)));
}

#[test]
fn a_device_that_refuses_says_why() {
    let refusing = |kind| Card { refuses: Some(kind), ..Card::new(48_000, 1, SampleFormat::F32) };
    let open = |kind| SoundCardSource::open(&refusing(kind)).err().unwrap();
    assert!(matches!(open(ErrorKind::PermissionDenied), DeviceError::Denied { .. }));
    assert!(matches!(open(ErrorKind::DeviceBusy), DeviceError::Busy { .. }));
    assert!(matches!(open(ErrorKind::DeviceNotAvailable), DeviceError::NoDevice { .. }));
    assert!(matches!(open(ErrorKind::UnsupportedConfig), DeviceError::Unsupported { .. }));
    let dsd = Card::new(48_000, 1, SampleFormat::DsdU8);
    assert!(matches!(SoundCardSink::open(&dsd).err().unwrap(), DeviceError::Unsupported { .. }));
}

#[test]
fn buffers_of_five_milliseconds_are_asked_for() {
    let card = Card::new(48_000, 1, SampleFormat::F32);
    let _source = SoundCardSource::open(&card).unwrap();
    let asked = card.callbacks.lock().unwrap().config.unwrap();
    assert_eq!(asked.buffer_size, cpal::BufferSize::Fixed(240));
}

#[test]
fn neither_callbacks_nor_the_media_clock_allocate() {
    for (rate, channels) in [(48_000, 2), (44_100, 1)] {
        let card = Card::new(rate, channels, SampleFormat::F32);
        let mut source = SoundCardSource::open(&card).unwrap();
        let mut callbacks = std::mem::take(&mut *card.callbacks.lock().unwrap());
        let mut sink = SoundCardSink::open(&card).unwrap();
        let mut playback = card.callbacks.lock().unwrap().output.take().unwrap();
        let capture = callbacks.input.as_mut().unwrap();

        let mut samples = vec![0.1f32; (rate / 100) as usize * usize::from(channels)];
        let at = StreamInstant::new(0, 0);
        let mut frame = Frame::default();
        let allocated = allocations::during(|| {
            for n in 0..500 {
                // SAFETY: the pointer is to that many f32 samples, which outlive the call.
                let mut data =
                    unsafe { Data::from_parts(samples.as_mut_ptr().cast(), samples.len(), SampleFormat::F32) };
                // Now and then a callback is missing and another comes twice.
                for _ in 0..[1, 1, 1, 0, 2][n % 5] {
                    capture(&data, &InputCallbackInfo::new(InputStreamTimestamp { callback: at, capture: at }));
                    playback(&mut data, &OutputCallbackInfo::new(OutputStreamTimestamp { callback: at, playback: at }));
                }
                assert!(source.read(&mut frame).is_ok() && sink.write(&frame).is_ok());
            }
        });
        assert_eq!(allocated, 0, "{rate} Hz");
    }
}
