//! The bundled speech.

use std::path::Path;

use crate::device::{DeviceError, read_wav};

/// A WAV file with 8 s of synthetic English speech, 16 kHz mono 16 bit, CC0 (`assets/README.md`).
pub const SPEECH_WAV: &[u8] = include_bytes!("../assets/speech.wav");

/// The speech as 48 kHz mono.
pub(crate) fn samples() -> Result<Vec<f32>, DeviceError> {
    read_wav(SPEECH_WAV, Path::new("assets/speech.wav"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AudioLevel, SAMPLE_RATE};

    #[test]
    fn the_speech_is_small_and_about_eight_seconds() {
        assert!(SPEECH_WAV.len() < 300 * 1024);
        let samples = samples().unwrap();
        let seconds = samples.len() as f32 / SAMPLE_RATE as f32;
        assert!((7.0..9.5).contains(&seconds), "{seconds} s");
        assert!((15..30).contains(&AudioLevel::of(&samples).minus_dbov));
    }
}
