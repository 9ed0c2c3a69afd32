//! A loudspeaker.

use std::sync::{Arc, atomic::Ordering};

use cpal::{
    Data, FromSample, SizedSample,
    traits::{DeviceTrait, StreamTrait},
};
use rtrb::{Consumer, Producer, RingBuffer};
use rubato::{Adjustable, Async, FixedAsync, Resampler, audioadapter_buffers::direct::InterleavedSlice};

use super::{Plan, Signals, explain, resampler, ring_capacity, with_sample_type};
use crate::{
    AudioSink, DeviceError, FRAME_SAMPLES, Frame, SAMPLE_RATE,
    device::{Direction, drift::DriftControl},
};

/// The piece in which we write.
const FRAME_MS: f64 = 1000.0 * FRAME_SAMPLES as f64 / SAMPLE_RATE as f64;

/// A loudspeaker, playing silence until the first frame.
pub(in crate::device) struct SoundCardSink {
    ring: Producer<f32>,
    signals: Arc<Signals>,
    resampler: Async<f32>,
    drift: DriftControl,
    samples_per_ms: f64,
    /// What the resampler made last.
    output: Vec<f32>,
    xruns_seen: u64,
    frames_to_drop: u32,
    /// Stops the device when dropped.
    stream: Option<Box<dyn StreamTrait + Send>>,
}

impl SoundCardSink {
    pub(in crate::device) fn open<D>(device: &D) -> Result<SoundCardSink, DeviceError>
    where
        D: DeviceTrait,
        D::Stream: Send + 'static,
    {
        let plan = Plan::choose(device, Direction::Output)?;
        let ratio = f64::from(plan.config.sample_rate) / f64::from(SAMPLE_RATE);
        let resampler = resampler(ratio, FRAME_SAMPLES, FixedAsync::Input, Direction::Output)?;
        let drift = DriftControl::new();
        let signals = Signals::new();
        let channels = usize::from(plan.config.channels);
        let margin = (drift.needed_slack_ms(FRAME_MS) * plan.samples_per_ms()) as usize;
        // A second attempt needs a second ring: the first callback took its end with it.
        let ring = std::cell::Cell::new(None);
        let stream = plan.start(Direction::Output, |config, format| {
            let (writer, reader) = RingBuffer::new(ring_capacity(&plan));
            ring.set(Some(writer));
            let mut playback =
                Playback { ring: reader, channels, margin, primed: false, last: 0.0, signals: Arc::clone(&signals) };
            let on_error = Arc::clone(&signals);
            device.build_output_stream_raw(
                config,
                format,
                move |data, _| playback.give(data),
                move |error| on_error.on_error(Direction::Output, &error),
                None,
            )
        })?;
        let ring =
            ring.into_inner().ok_or_else(|| explain(Direction::Output, &cpal::Error::new(cpal::ErrorKind::Other)))?;
        Ok(SoundCardSink {
            ring,
            signals,
            output: vec![0.0; resampler.output_frames_max()],
            resampler,
            drift,
            samples_per_ms: plan.samples_per_ms(),
            xruns_seen: 0,
            frames_to_drop: 0,
            stream: Some(stream),
        })
    }

    fn steer(&mut self) {
        let xruns = self.signals.device_xruns.load(Ordering::Relaxed);
        if xruns != self.xruns_seen {
            self.xruns_seen = xruns;
            self.drift.underrun();
        }
        let left = self.signals.least_left.swap(usize::MAX, Ordering::Relaxed);
        // Between two callbacks nothing new is known; the ring itself holds more than the least.
        let left = left.min(self.ring.buffer().capacity() - self.ring.slots());
        if let Some(excess_ms) = self.drift.observe(left as f64 / self.samples_per_ms, FRAME_MS) {
            self.frames_to_drop = (excess_ms / 10.0) as u32;
            tracing::debug!(excess_ms, "loudspeaker was behind, sound dropped");
        }
        // A ratio within half a percent is within what the resampler was built for.
        let _ = self.resampler.set_resample_ratio_relative(self.drift.ratio(), true);
    }
}

impl AudioSink for SoundCardSink {
    fn write(&mut self, frame: &Frame) -> Result<(), DeviceError> {
        if self.stream.is_none() {
            return Err(DeviceError::Finished);
        }
        self.signals.check(Direction::Output)?;
        self.steer();
        if self.frames_to_drop > 0 {
            self.frames_to_drop -= 1;
            return Ok(());
        }
        let len = self.output.len();
        let input = InterleavedSlice::new(&frame.0, 1, FRAME_SAMPLES);
        let output = InterleavedSlice::new_mut(&mut self.output, 1, len);
        let (Ok(input), Ok(mut output)) = (input, output) else {
            return Err(DeviceError::Lost { direction: Direction::Output });
        };
        let written = match self.resampler.process_into_buffer(&input, &mut output, None) {
            Ok((_, written)) => written,
            Err(error) => {
                return Err(DeviceError::Unsupported { direction: Direction::Output, reason: error.to_string() });
            }
        };
        // A full ring belongs to a device that stands still: what does not fit is lost, and the drift control drops the rest.
        let _ = self.ring.push_partial_slice(&self.output[..written]);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), DeviceError> {
        self.stream = None;
        Ok(())
    }
}

/// The device's side: neither locks nor allocates.
struct Playback {
    ring: Consumer<f32>,
    channels: usize,
    /// What must be in the ring beyond the first buffer before it starts.
    margin: usize,
    primed: bool,
    last: f32,
    signals: Arc<Signals>,
}

/// A gap begins by fading out within a few ms rather than with a click.
const FADE_OUT: f32 = 0.99;

impl Playback {
    fn give(&mut self, data: &mut Data) {
        with_sample_type!(data.sample_format(), give_samples, self, data);
    }
}

fn give_samples<T>(playback: &mut Playback, data: &mut Data)
where
    T: SizedSample + FromSample<f32>,
{
    let channels = playback.channels;
    let Some(samples) = data.as_slice_mut::<T>() else {
        return;
    };
    let wanted = samples.len() / channels;
    let there = playback.ring.slots();
    let was_primed = playback.primed;
    playback.primed = if was_primed { there >= wanted } else { there >= wanted + playback.margin };
    let usable = if was_primed || playback.primed { there.min(wanted) } else { 0 };
    if was_primed && usable < wanted {
        playback.signals.device_xruns.fetch_add(1, Ordering::Relaxed);
    }
    let mut frames = samples.chunks_exact_mut(channels);
    if let Ok(chunk) = playback.ring.read_chunk(usable) {
        let (first, second) = chunk.as_slices();
        for (sample, frame) in first.iter().chain(second).zip(&mut frames) {
            playback.last = *sample;
            frame.fill(T::from_sample_(*sample));
        }
        chunk.commit_all();
    }
    for frame in frames {
        playback.last *= FADE_OUT;
        frame.fill(T::from_sample_(playback.last));
    }
    if playback.primed {
        playback.signals.least_left.fetch_min(playback.ring.slots(), Ordering::Relaxed);
    }
}
