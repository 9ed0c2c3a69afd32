//! Real microphones and loudspeakers, through cpal.
//!
//! The device's callback and the media clock meet in a lock-free ring; the callback converts samples and nothing else. Reading and
//! writing resample between the device's clock and ours.

mod capture;
mod playback;
#[cfg(test)]
mod tests;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use cpal::{
    BufferSize, ErrorKind, SampleFormat, StreamConfig, SupportedBufferSize, SupportedStreamConfig,
    SupportedStreamConfigRange,
    traits::{DeviceTrait, HostTrait, StreamTrait},
};
use rubato::{Async, FixedAsync, PolynomialDegree, SincInterpolationParameters, SincInterpolationType, WindowFunction};

pub(super) use self::{capture::SoundCardSource, playback::SoundCardSink};
use super::{DeviceError, Direction};
use crate::{FRAME_SAMPLES, SAMPLE_RATE};

/// Names of the devices of one direction.
pub(super) fn names(direction: Direction) -> Vec<String> {
    let host = cpal::default_host();
    let Ok(devices) = host.devices() else {
        return Vec::new();
    };
    devices.filter(|device| goes(device, direction)).filter_map(|device| name(&device)).collect()
}

/// The device of this name, or the system's.
pub(super) fn find(direction: Direction, wanted: Option<&str>) -> Result<cpal::Device, DeviceError> {
    let host = cpal::default_host();
    let Some(wanted) = wanted else {
        let default = match direction {
            Direction::Input => host.default_input_device(),
            Direction::Output => host.default_output_device(),
        };
        return default.ok_or_else(|| DeviceError::NoDevice { direction, reason: "the system has none".to_owned() });
    };
    let mut devices = host.devices().map_err(|error| explain(direction, &error))?;
    devices
        .find(|device| goes(device, direction) && name(device).as_deref() == Some(wanted))
        .ok_or_else(|| DeviceError::UnknownDevice { direction, name: wanted.to_owned() })
}

/// What tells a device from every other one.
pub(super) fn id(device: &cpal::Device) -> Option<String> {
    device.id().ok().map(|id| id.to_string())
}

fn goes(device: &cpal::Device, direction: Direction) -> bool {
    match direction {
        Direction::Input => device.supports_input(),
        Direction::Output => device.supports_output(),
    }
}

fn name(device: &cpal::Device) -> Option<String> {
    device.description().ok().map(|description| description.name().to_owned())
}

fn explain(direction: Direction, error: &cpal::Error) -> DeviceError {
    match error.kind() {
        ErrorKind::PermissionDenied => DeviceError::Denied { direction },
        ErrorKind::DeviceBusy => DeviceError::Busy { direction },
        ErrorKind::DeviceNotAvailable | ErrorKind::HostUnavailable => {
            DeviceError::NoDevice { direction, reason: error.to_string() }
        }
        _ => DeviceError::Unsupported { direction, reason: error.to_string() },
    }
}

/// What the callbacks tell the media clock.
#[derive(Debug)]
struct Signals {
    lost: AtomicBool,
    /// Times at which the device's side found the ring full (capture) or empty (playback).
    device_xruns: AtomicU64,
    /// The least the callback left in the ring since this was last read; `usize::MAX` if it did not run.
    least_left: AtomicUsize,
    /// Frames in the last callback.
    block: AtomicUsize,
}

impl Signals {
    fn new() -> Arc<Signals> {
        Arc::new(Signals {
            lost: AtomicBool::new(false),
            device_xruns: AtomicU64::new(0),
            least_left: AtomicUsize::new(usize::MAX),
            block: AtomicUsize::new(0),
        })
    }

    fn on_error(&self, direction: Direction, error: &cpal::Error) {
        match error.kind() {
            ErrorKind::Xrun | ErrorKind::DeviceChanged | ErrorKind::RealtimeDenied => {
                tracing::debug!(%direction, %error, "sound device");
            }
            _ => {
                tracing::warn!(%direction, %error, "sound device lost");
                self.lost.store(true, Ordering::Release);
            }
        }
    }

    fn check(&self, direction: Direction) -> Result<(), DeviceError> {
        if self.lost.load(Ordering::Acquire) { Err(DeviceError::Lost { direction }) } else { Ok(()) }
    }
}

/// How a device is run: its own rate if it is 48 kHz or cannot be, its own channels and samples, buffers of 5 ms if it lets us.
struct Plan {
    config: StreamConfig,
    format: SampleFormat,
}

impl Plan {
    fn choose<D: DeviceTrait>(device: &D, direction: Direction) -> Result<Plan, DeviceError> {
        let default = match direction {
            Direction::Input => device.default_input_config(),
            Direction::Output => device.default_output_config(),
        }
        .map_err(|error| explain(direction, &error))?;
        let supported = match direction {
            Direction::Input => {
                device.supported_input_configs().ok().and_then(|configs| at_our_rate(configs, &default))
            }
            Direction::Output => {
                device.supported_output_configs().ok().and_then(|configs| at_our_rate(configs, &default))
            }
        }
        .unwrap_or(default);
        if !can_convert(supported.sample_format()) {
            let reason = format!("sample format {}", supported.sample_format());
            return Err(DeviceError::Unsupported { direction, reason });
        }
        let wanted = supported.sample_rate() / 200;
        let buffer_size = match *supported.buffer_size() {
            SupportedBufferSize::Range { min, max } => BufferSize::Fixed(wanted.clamp(min, max.max(min))),
            SupportedBufferSize::Unknown => BufferSize::Default,
        };
        let config =
            StreamConfig { channels: supported.channels().max(1), sample_rate: supported.sample_rate(), buffer_size };
        Ok(Plan { config, format: supported.sample_format() })
    }

    /// Builds and starts a stream, with the device's own buffer size if it does not like ours.
    fn start<S: StreamTrait + Send + 'static>(
        &self,
        direction: Direction,
        build: impl Fn(StreamConfig, SampleFormat) -> Result<S, cpal::Error>,
    ) -> Result<Box<dyn StreamTrait + Send>, DeviceError> {
        let stream = build(self.config, self.format)
            .or_else(|_| build(StreamConfig { buffer_size: BufferSize::Default, ..self.config }, self.format));
        let stream = stream.map_err(|error| explain(direction, &error))?;
        stream.play().map_err(|error| explain(direction, &error))?;
        Ok(Box::new(stream))
    }

    fn samples_per_ms(&self) -> f64 {
        f64::from(self.config.sample_rate) / 1000.0
    }
}

fn at_our_rate(
    mut configs: impl Iterator<Item = SupportedStreamConfigRange>,
    default: &SupportedStreamConfig,
) -> Option<SupportedStreamConfig> {
    let like_default = |range: &SupportedStreamConfigRange| {
        range.channels() == default.channels() && range.sample_format() == default.sample_format()
    };
    configs.find_map(|range| if like_default(&range) { range.try_with_sample_rate(SAMPLE_RATE) } else { None })
}

fn can_convert(format: SampleFormat) -> bool {
    !matches!(format, SampleFormat::DsdU8 | SampleFormat::DsdU16 | SampleFormat::DsdU32)
}

/// Calls a generic function with the type of a sample format.
macro_rules! with_sample_type {
    ($format:expr, $call:ident, $($argument:expr),*) => {
        match $format {
            cpal::SampleFormat::I8 => $call::<i8>($($argument),*),
            cpal::SampleFormat::I16 => $call::<i16>($($argument),*),
            cpal::SampleFormat::I24 => $call::<cpal::I24>($($argument),*),
            cpal::SampleFormat::I32 => $call::<i32>($($argument),*),
            cpal::SampleFormat::I64 => $call::<i64>($($argument),*),
            cpal::SampleFormat::U8 => $call::<u8>($($argument),*),
            cpal::SampleFormat::U16 => $call::<u16>($($argument),*),
            cpal::SampleFormat::U24 => $call::<cpal::U24>($($argument),*),
            cpal::SampleFormat::U32 => $call::<u32>($($argument),*),
            cpal::SampleFormat::U64 => $call::<u64>($($argument),*),
            cpal::SampleFormat::F32 => $call::<f32>($($argument),*),
            cpal::SampleFormat::F64 => $call::<f64>($($argument),*),
            _ => {}
        }
    };
}
use with_sample_type;

/// Between the device's rate and ours, with room for the drift of either.
fn resampler(ratio: f64, chunk: usize, fixed: FixedAsync, direction: Direction) -> Result<Async<f32>, DeviceError> {
    /// A little more than the drift control ever asks for.
    const MAX_RELATIVE_RATIO: f64 = 1.01;
    let resampler = if ratio == 1.0 {
        Async::new_poly(ratio, MAX_RELATIVE_RATIO, PolynomialDegree::Septic, chunk, 1, fixed)
    } else {
        let parameters = SincInterpolationParameters::new(64, WindowFunction::BlackmanHarris2)
            .oversampling_factor(256)
            .interpolation(SincInterpolationType::Linear);
        Async::new_sinc(ratio, MAX_RELATIVE_RATIO, &parameters, chunk, 1, fixed)
    };
    resampler.map_err(|error| DeviceError::Unsupported { direction, reason: error.to_string() })
}

/// A ring holds this much: an eighth of a second rides out any hiccup that is worth riding out.
fn ring_capacity(plan: &Plan) -> usize {
    (plan.samples_per_ms() * 125.0) as usize + 4 * FRAME_SAMPLES
}
