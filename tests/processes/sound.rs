//! Sounds as samples, 48 kHz mono: what phones say, and what they have written down.

use std::path::Path;

use rtc_media::{AudioInput, Frame, ReadOutcome};

/// The bundled speech, over and over.
pub fn speech() -> AudioInput {
    AudioInput::Speech { looped: true }
}

/// The bundled speech begun in the middle, over and over: somebody else saying something else at each moment.
pub fn reply() -> Result<AudioInput, String> {
    let mut samples = read(&AudioInput::Speech { looped: false }, usize::MAX)?;
    let middle = samples.len() / 2;
    samples.rotate_left(middle);
    Ok(AudioInput::Samples { samples: samples.into(), looped: true })
}

/// The samples of a WAV file.
pub fn read_wav(path: &Path) -> Result<Vec<f32>, String> {
    read(&AudioInput::Wav { path: path.to_owned(), looped: false }, usize::MAX)
}

/// The first so many samples of an input.
pub fn take(input: &AudioInput, len: usize) -> Result<Vec<f32>, String> {
    let mut samples = read(input, len)?;
    samples.truncate(len);
    Ok(samples)
}

fn read(input: &AudioInput, at_least: usize) -> Result<Vec<f32>, String> {
    let mut source = input.open().map_err(|error| error.to_string())?;
    let mut samples = Vec::new();
    let mut frame = Frame::SILENCE;
    while samples.len() < at_least {
        match source.read(&mut frame).map_err(|error| error.to_string())? {
            ReadOutcome::Finished => break,
            ReadOutcome::Samples | ReadOutcome::Silence => samples.extend_from_slice(&frame.0),
        }
    }
    Ok(samples)
}

/// The root mean square in dB below full scale.
pub fn level_db(samples: &[f32]) -> f32 {
    let mean = samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len().max(1) as f32;
    10.0 * mean.max(1e-12).log10()
}
