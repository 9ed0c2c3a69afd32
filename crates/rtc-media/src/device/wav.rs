//! WAV files as microphone and loudspeaker.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Read},
    path::{Path, PathBuf},
};

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

use super::{AudioSink, DeviceError};
use crate::{Frame, SAMPLE_RATE, resample::resample_clip};

/// An hour in memory is 690 MiB: longer files are a mistake.
const MAX_SECONDS: u32 = 3600;

/// Reads a whole file as 48 kHz mono.
pub(crate) fn read_file(path: &Path) -> Result<Vec<f32>, DeviceError> {
    let file = File::open(path)
        .map_err(|error| DeviceError::File { path: path.to_owned(), source: hound::Error::IoError(error) })?;
    read(BufReader::new(file), path)
}

/// Reads a whole WAV as 48 kHz mono; `path` names it in errors.
pub(crate) fn read(wav: impl Read, path: &Path) -> Result<Vec<f32>, DeviceError> {
    let unsupported = |reason| DeviceError::UnsupportedFile { path: path.to_owned(), reason };
    let broken = |source| DeviceError::File { path: path.to_owned(), source };
    let reader = WavReader::new(wav).map_err(broken)?;
    let spec = reader.spec();
    if spec.channels == 0 || spec.sample_rate < 1000 || spec.sample_rate > 768_000 {
        return Err(unsupported("the header has no usable sample rate or channels"));
    }
    if reader.duration() / spec.sample_rate > MAX_SECONDS {
        return Err(unsupported("longer than an hour"));
    }
    let mono = match spec.sample_format {
        SampleFormat::Float => down_mix(reader.into_samples::<f32>(), spec.channels),
        SampleFormat::Int => {
            let full_scale = (1u64 << (spec.bits_per_sample - 1)) as f32;
            down_mix(reader.into_samples::<i32>().map(|sample| Ok(sample? as f32 / full_scale)), spec.channels)
        }
    };
    let mono = mono.map_err(broken)?;
    resample_clip(mono, spec.sample_rate, SAMPLE_RATE).ok_or_else(|| unsupported("its sample rate cannot be converted"))
}

fn down_mix(
    mut samples: impl Iterator<Item = Result<f32, hound::Error>>,
    channels: u16,
) -> Result<Vec<f32>, hound::Error> {
    let mut mono = Vec::new();
    while let Some(first) = samples.next() {
        let mut sum = first?;
        for _ in 1..channels {
            sum += samples.next().transpose()?.unwrap_or(0.0);
        }
        let sample = sum / f32::from(channels);
        mono.push(if sample.is_finite() { sample } else { 0.0 });
    }
    Ok(mono)
}

/// Writes 48 kHz mono 16 bit.
///
/// The header is brought up to date every half second, so that a killed program leaves a valid file.
pub(super) struct WavSink {
    path: PathBuf,
    writer: Option<WavWriter<BufWriter<File>>>,
    frames_since_flush: u32,
}

impl WavSink {
    const FLUSH_FRAMES: u32 = 50;

    pub(super) fn create(path: &Path) -> Result<WavSink, DeviceError> {
        let spec =
            WavSpec { channels: 1, sample_rate: SAMPLE_RATE, bits_per_sample: 16, sample_format: SampleFormat::Int };
        let broken = |source| DeviceError::File { path: path.to_owned(), source };
        let mut writer = WavWriter::create(path, spec).map_err(broken)?;
        writer.flush().map_err(broken)?;
        Ok(WavSink { path: path.to_owned(), writer: Some(writer), frames_since_flush: 0 })
    }

    fn failed(&self, source: hound::Error) -> DeviceError {
        DeviceError::File { path: self.path.clone(), source }
    }
}

impl AudioSink for WavSink {
    fn write(&mut self, frame: &Frame) -> Result<(), DeviceError> {
        let writer = self.writer.as_mut().ok_or(DeviceError::Finished)?;
        let mut result = Ok(());
        for sample in &frame.0 {
            let scaled = (sample * 32768.0).round().clamp(-32768.0, 32767.0) as i16;
            result = result.and_then(|()| writer.write_sample(scaled));
        }
        self.frames_since_flush += 1;
        if self.frames_since_flush == WavSink::FLUSH_FRAMES {
            self.frames_since_flush = 0;
            result = result.and_then(|()| writer.flush());
        }
        result.map_err(|source| self.failed(source))
    }

    fn finish(&mut self) -> Result<(), DeviceError> {
        match self.writer.take() {
            Some(writer) => writer.finalize().map_err(|source| self.failed(source)),
            None => Ok(()),
        }
    }
}
