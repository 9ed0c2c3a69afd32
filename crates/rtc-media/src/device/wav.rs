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
/// An hour of two channels, 96 kHz, 24 bit.
const MAX_BYTES: u64 = 2_100_000_000;

/// Reads a whole file as 48 kHz mono.
pub(crate) fn read_file(path: &Path) -> Result<Vec<f32>, DeviceError> {
    let file = File::open(path)
        .map_err(|error| DeviceError::File { path: path.to_owned(), source: hound::Error::IoError(error) })?;
    read(BufReader::new(file), path)
}

/// Reads a whole WAV as 48 kHz mono; `path` names it in errors. Of a file whose header promises more than there is, it is what is there.
pub(crate) fn read(wav: impl Read, path: &Path) -> Result<Vec<f32>, DeviceError> {
    let unsupported = |reason| DeviceError::UnsupportedFile { path: path.to_owned(), reason };
    let broken = |source| DeviceError::File { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let read = wav.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| broken(hound::Error::IoError(error)))?;
    if read as u64 > MAX_BYTES {
        return Err(unsupported("longer than an hour"));
    }
    tell_true_length(&mut bytes);
    let reader = WavReader::new(bytes.as_slice()).map_err(broken)?;
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

/// Makes the length of the sound in the header the true one: whoever writes into a pipe cannot know it (and writes 0 or `0xFFFF_FFFF`), and a file may
/// have been cut.
fn tell_true_length(bytes: &mut [u8]) {
    let (mut at, mut frame) = (12, 1);
    while let Some(&[a, b, c, d, e, f, g, h]) = bytes.get(at..at + 8) {
        let (body, told) = (at + 8, u32::from_le_bytes([e, f, g, h]));
        match &[a, b, c, d] {
            b"fmt " => {
                let align = bytes.get(body + 12..body + 14).map_or(1, |align| u16::from_le_bytes([align[0], align[1]]));
                frame = usize::from(align.max(1));
            }
            b"data" => {
                let there = bytes.len() - body;
                if told == 0 || told as usize > there {
                    let whole = u32::try_from(there - there % frame).unwrap_or(u32::MAX);
                    bytes[at + 4..body].copy_from_slice(&whole.to_le_bytes());
                }
                return;
            }
            _ => {}
        }
        // A chunk of odd length has a byte behind it that is not counted.
        at = body + told as usize + told as usize % 2;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A WAV of 1,000 samples of two channels, 16 bit, 48 kHz, as a writer into a pipe or a cut download leaves it.
    fn stereo(told: Option<u32>, cut: usize) -> Vec<u8> {
        let spec =
            WavSpec { channels: 2, sample_rate: SAMPLE_RATE, bits_per_sample: 16, sample_format: SampleFormat::Int };
        let mut bytes = std::io::Cursor::new(Vec::new());
        let mut writer = WavWriter::new(&mut bytes, spec).unwrap();
        for _ in 0..2_000 {
            writer.write_sample(8_192_i16).unwrap();
        }
        writer.finalize().unwrap();
        let mut bytes = bytes.into_inner();
        let data = bytes.windows(4).position(|id| id == b"data").unwrap();
        if let Some(told) = told {
            bytes[4..8].copy_from_slice(&told.to_le_bytes());
            bytes[data + 4..data + 8].copy_from_slice(&told.to_le_bytes());
        }
        bytes.truncate(bytes.len() - cut);
        bytes
    }

    #[test]
    fn what_is_there_is_read_whatever_length_the_header_tells() {
        for (told, cut, samples) in [
            (None, 0, 1_000),
            (Some(u32::MAX), 0, 1_000),
            (Some(0), 0, 1_000),
            (None, 401, 899),
            (Some(u32::MAX), 3, 999),
        ] {
            let sound = read(stereo(told, cut).as_slice(), Path::new("a.wav")).unwrap();
            assert_eq!(sound, vec![0.25; samples], "{told:?}, {cut} bytes cut off");
        }
    }

    #[test]
    fn what_is_no_wav_is_refused() {
        for bytes in [&b""[..], b"RIFF", b"RIFF\x04\0\0\0WAVE", &[0xff; 100], &stereo(None, 0)[..30]] {
            assert!(read(bytes, Path::new("a.wav")).is_err(), "{bytes:?}");
        }
    }
}
