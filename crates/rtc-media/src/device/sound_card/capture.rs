//! A microphone.

use std::sync::{Arc, atomic::Ordering};

use cpal::{
    Data, FromSample, SizedSample,
    traits::{DeviceTrait, StreamTrait},
};
use rtrb::{Consumer, Producer, RingBuffer};
use rubato::{Adjustable, Async, FixedAsync, Resampler, audioadapter_buffers::direct::InterleavedSlice};

use super::{Plan, Signals, explain, resampler, ring_capacity, with_sample_type};
use crate::{
    AudioSource, DeviceError, FRAME_SAMPLES, Frame, ReadOutcome, SAMPLE_RATE,
    device::{Direction, drift::DriftControl},
};

/// A microphone, recording from the moment it is opened.
pub(in crate::device) struct SoundCardSource {
    ring: Consumer<f32>,
    signals: Arc<Signals>,
    resampler: Async<f32>,
    drift: DriftControl,
    samples_per_ms: f64,
    /// What the resampler takes next.
    input: Vec<f32>,
    primed: bool,
    /// Stops the device when dropped.
    _stream: Box<dyn StreamTrait + Send>,
}

impl SoundCardSource {
    pub(in crate::device) fn open<D>(device: &D) -> Result<SoundCardSource, DeviceError>
    where
        D: DeviceTrait,
        D::Stream: Send + 'static,
    {
        let plan = Plan::choose(device, Direction::Input)?;
        let ratio = f64::from(SAMPLE_RATE) / f64::from(plan.config.sample_rate);
        let resampler = resampler(ratio, FRAME_SAMPLES, FixedAsync::Output, Direction::Input)?;
        let signals = Signals::new();
        let channels = usize::from(plan.config.channels);
        // A second attempt needs a second ring: the first callback took its end with it.
        let ring = std::cell::Cell::new(None);
        let stream = plan.start(Direction::Input, |config, format| {
            let (writer, reader) = RingBuffer::new(ring_capacity(&plan));
            ring.set(Some(reader));
            let mut capture = Capture { ring: writer, channels, signals: Arc::clone(&signals) };
            let on_error = Arc::clone(&signals);
            device.build_input_stream_raw(
                config,
                format,
                move |data, _| capture.take(data),
                move |error| on_error.on_error(Direction::Input, &error),
                None,
            )
        })?;
        let ring =
            ring.into_inner().ok_or_else(|| explain(Direction::Input, &cpal::Error::new(cpal::ErrorKind::Other)))?;
        Ok(SoundCardSource {
            ring,
            signals,
            input: vec![0.0; resampler.input_frames_max()],
            resampler,
            drift: DriftControl::new(),
            samples_per_ms: plan.samples_per_ms(),
            primed: false,
            _stream: stream,
        })
    }

    /// Whether the ring holds what a read needs; at first and after a gap also the margin.
    fn is_ready(&mut self, needed: usize) -> bool {
        let slack_ms = if self.primed { 0.0 } else { self.drift.needed_slack_ms(self.block_ms()) };
        let margin = (slack_ms * self.samples_per_ms) as usize;
        let ready = self.ring.slots() >= needed + margin;
        if self.primed && !ready {
            self.drift.underrun();
        }
        self.primed = ready;
        ready
    }

    /// The piece in which the device delivers.
    fn block_ms(&self) -> f64 {
        self.signals.block.load(Ordering::Relaxed) as f64 / self.samples_per_ms
    }

    fn steer(&mut self) {
        let slack_ms = self.ring.slots() as f64 / self.samples_per_ms;
        if let Some(excess_ms) = self.drift.observe(slack_ms, self.block_ms()) {
            let excess = ((excess_ms * self.samples_per_ms) as usize).min(self.ring.slots());
            if let Ok(pile) = self.ring.read_chunk(excess) {
                pile.commit_all();
            }
            tracing::debug!(excess_ms, "microphone was ahead, sound dropped");
        }
        // A ratio within half a percent is within what the resampler was built for.
        let _ = self.resampler.set_resample_ratio_relative(self.drift.ratio(), true);
    }
}

impl AudioSource for SoundCardSource {
    fn read(&mut self, frame: &mut Frame) -> Result<ReadOutcome, DeviceError> {
        self.signals.check(Direction::Input)?;
        let needed = self.resampler.input_frames_next();
        if !self.is_ready(needed) || self.ring.pop_entire_slice(&mut self.input[..needed]).is_err() {
            frame.clear();
            return Ok(ReadOutcome::Silence);
        }
        let input = InterleavedSlice::new(&self.input, 1, needed);
        let output = InterleavedSlice::new_mut(&mut frame.0, 1, FRAME_SAMPLES);
        let (Ok(input), Ok(mut output)) = (input, output) else {
            return Err(DeviceError::Lost { direction: Direction::Input });
        };
        if let Err(error) = self.resampler.process_into_buffer(&input, &mut output, None) {
            return Err(DeviceError::Unsupported { direction: Direction::Input, reason: error.to_string() });
        }
        self.steer();
        Ok(ReadOutcome::Samples)
    }
}

/// The device's side: neither locks nor allocates.
struct Capture {
    ring: Producer<f32>,
    channels: usize,
    signals: Arc<Signals>,
}

impl Capture {
    fn take(&mut self, data: &Data) {
        with_sample_type!(data.sample_format(), take_samples, self, data);
    }
}

fn take_samples<T>(capture: &mut Capture, data: &Data)
where
    T: SizedSample,
    f32: FromSample<T>,
{
    let Some(samples) = data.as_slice::<T>() else {
        return;
    };
    let frames = samples.len() / capture.channels;
    capture.signals.block.store(frames, Ordering::Relaxed);
    let room = capture.ring.slots().min(frames);
    if room < frames {
        capture.signals.device_xruns.fetch_add(1, Ordering::Relaxed);
    }
    if let Ok(chunk) = capture.ring.write_chunk_uninit(room) {
        let share = 1.0 / capture.channels as f32;
        chunk.fill_from_iter(
            samples
                .chunks_exact(capture.channels)
                .map(|frame| frame.iter().map(|sample| f32::from_sample_(*sample)).sum::<f32>() * share),
        );
    }
}
