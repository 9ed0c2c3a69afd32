//! How loud: the level a packet carries (RFC 6464) and the level an app shows.

use std::time::Duration;

use crate::{FRAME_SAMPLES, Frame, SAMPLE_RATE};

/// The loudness of one packet or frame as RFC 6464 words it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioLevel {
    /// Loudness as -dBov, 0 (a full-scale square wave) to 127 (digital silence).
    pub minus_dbov: u8,
    /// Whether somebody seems to speak.
    pub voice: bool,
}

impl AudioLevel {
    /// Digital silence.
    pub const SILENCE: AudioLevel = AudioLevel { minus_dbov: 127, voice: false };

    /// Measures `samples` (full scale ±1.0), without a guess at voice.
    pub fn of(samples: &[f32]) -> AudioLevel {
        AudioLevel { minus_dbov: minus_dbov(mean_square(samples)), voice: false }
    }
}

impl Default for AudioLevel {
    fn default() -> AudioLevel {
        AudioLevel::SILENCE
    }
}

/// One reading of a [`LevelMeter`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LevelReading {
    /// Loudness for a bar on a screen: 0 (-60 dBov and below) to 100 (full scale), linear in decibels.
    pub level: u8,
    /// RMS of the interval in dBov, -127.0 for digital silence.
    pub rms_dbov: f32,
    /// Largest sample of the interval in dBov, -127.0 for digital silence.
    pub peak_dbov: f32,
}

/// Loudness over an interval, one [`LevelReading`] at the end of each.
///
/// Counts samples rather than time, so it is right on any clock.
#[derive(Clone, Debug)]
pub struct LevelMeter {
    interval_samples: u64,
    samples: u64,
    sum_of_squares: f64,
    peak: f32,
}

impl LevelMeter {
    /// A reading twice a second.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_millis(500);

    /// A meter with a reading every `interval`, which is rounded up to whole 10 ms frames.
    pub fn new(interval: Duration) -> LevelMeter {
        let samples = (interval.as_micros() as u64 * u64::from(SAMPLE_RATE)).div_ceil(1_000_000);
        let frames = samples.div_ceil(FRAME_SAMPLES as u64).max(1);
        LevelMeter { interval_samples: frames * FRAME_SAMPLES as u64, samples: 0, sum_of_squares: 0.0, peak: 0.0 }
    }

    /// Takes one frame; returns the reading when the frame completes an interval.
    pub fn push(&mut self, frame: &Frame) -> Option<LevelReading> {
        for sample in &frame.0 {
            self.sum_of_squares += f64::from(sample * sample);
            self.peak = self.peak.max(sample.abs());
        }
        self.samples += FRAME_SAMPLES as u64;
        if self.samples < self.interval_samples {
            return None;
        }
        let rms_dbov = dbov((self.sum_of_squares / self.samples as f64) as f32);
        let level = bar(rms_dbov).round() as u8;
        let reading = LevelReading { level, rms_dbov, peak_dbov: dbov(self.peak * self.peak) };
        self.reset();
        Some(reading)
    }

    /// Begins the interval anew.
    pub fn reset(&mut self) {
        self.samples = 0;
        self.sum_of_squares = 0.0;
        self.peak = 0.0;
    }
}

impl Default for LevelMeter {
    fn default() -> LevelMeter {
        LevelMeter::new(LevelMeter::DEFAULT_INTERVAL)
    }
}

/// Guesses whether somebody speaks: louder than the room by a margin, with a hang-over between words.
///
/// The room is the quietest level of late; it is followed downwards at once and upwards at 2 dB a second.
#[derive(Clone, Debug)]
pub(crate) struct VoiceActivity {
    room_dbov: f32,
    hangover_frames: u32,
}

impl VoiceActivity {
    const ROOM_START_DBOV: f32 = -50.0;
    const ROOM_LIMITS_DBOV: (f32, f32) = (-75.0, -30.0);
    const ROOM_RISE_DB_PER_FRAME: f32 = 0.02;
    const MARGIN_DB: f32 = 10.0;
    const HANGOVER_FRAMES: u32 = 20;

    pub(crate) fn new() -> VoiceActivity {
        VoiceActivity { room_dbov: VoiceActivity::ROOM_START_DBOV, hangover_frames: 0 }
    }

    /// Takes one 10 ms frame, returns whether it belongs to speech.
    pub(crate) fn push(&mut self, frame: &Frame) -> bool {
        let level = dbov(mean_square(&frame.0));
        let (floor, ceiling) = VoiceActivity::ROOM_LIMITS_DBOV;
        self.room_dbov = level.min(self.room_dbov + VoiceActivity::ROOM_RISE_DB_PER_FRAME).clamp(floor, ceiling);
        if level > self.room_dbov + VoiceActivity::MARGIN_DB {
            self.hangover_frames = VoiceActivity::HANGOVER_FRAMES;
            return true;
        }
        self.hangover_frames = self.hangover_frames.saturating_sub(1);
        self.hangover_frames > 0
    }
}

pub(crate) fn mean_square(samples: &[f32]) -> f32 {
    if samples.is_empty() {
        return 0.0;
    }
    samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32
}

/// Decibels relative to full scale of a mean square, -127.0 at the lowest.
pub(crate) fn dbov(mean_square: f32) -> f32 {
    (10.0 * mean_square.max(1e-20).log10()).max(-127.0)
}

fn minus_dbov(mean_square: f32) -> u8 {
    (-dbov(mean_square)).clamp(0.0, 127.0).round() as u8
}

/// A level for a bar on a screen: what is quieter than -60 dBov is a quiet room.
pub(crate) fn bar(dbov: f32) -> f32 {
    ((dbov + 60.0) / 60.0 * 100.0).clamp(0.0, 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(amplitude: f32) -> Frame {
        let mut frame = Frame::default();
        for (n, sample) in frame.0.iter_mut().enumerate() {
            *sample = amplitude * (n as f32 * std::f32::consts::TAU * 1000.0 / SAMPLE_RATE as f32).sin();
        }
        frame
    }

    #[test]
    fn a_full_scale_sine_is_three_decibels_below_full_scale() {
        assert_eq!(AudioLevel::of(&tone(1.0).0).minus_dbov, 3);
        assert_eq!(AudioLevel::of(&tone(0.1).0).minus_dbov, 23);
        assert_eq!(AudioLevel::of(&[0.0; 480]).minus_dbov, 127);
        assert_eq!(AudioLevel::of(&[1.0; 480]).minus_dbov, 0);
    }

    #[test]
    fn the_meter_reads_once_an_interval() {
        let mut meter = LevelMeter::default();
        for _ in 0..49 {
            assert_eq!(meter.push(&tone(0.1)), None);
        }
        let reading = meter.push(&tone(0.1)).unwrap();
        assert_eq!(reading.level, 62);
        assert!((reading.rms_dbov + 23.0).abs() < 0.1, "{reading:?}");
        assert!((reading.peak_dbov + 20.0).abs() < 0.1, "{reading:?}");
        assert_eq!(meter.push(&tone(0.1)), None);
    }

    #[test]
    fn a_meter_shorter_than_a_frame_reads_every_frame() {
        let mut meter = LevelMeter::new(Duration::from_millis(1));
        assert_eq!(meter.push(&Frame::default()).unwrap().level, 0);
    }

    #[test]
    fn voice_is_what_rises_above_the_room() {
        let mut activity = VoiceActivity::new();
        for _ in 0..100 {
            activity.push(&tone(0.003));
        }
        assert!(!activity.push(&tone(0.003)));
        assert!(activity.push(&tone(0.05)));
        assert!(activity.push(&tone(0.003)), "the hang-over bridges a gap between words");
        for _ in 0..VoiceActivity::HANGOVER_FRAMES {
            activity.push(&tone(0.003));
        }
        assert!(!activity.push(&tone(0.003)));
    }
}
