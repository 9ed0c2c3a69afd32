//! Sources that need no world, driven by the number of frames read and nothing else.

use std::{f32::consts::TAU, sync::Arc};

use super::{AudioSink, AudioSource, DeviceError, ReadOutcome};
use crate::{FRAME_SAMPLES, Frame, SAMPLE_RATE};

/// Samples in memory.
pub(super) struct Clip {
    samples: Arc<[f32]>,
    position: usize,
    looped: bool,
}

impl Clip {
    pub(super) fn new(samples: Arc<[f32]>, looped: bool) -> Clip {
        Clip { samples, position: 0, looped }
    }
}

impl AudioSource for Clip {
    fn read(&mut self, frame: &mut Frame) -> Result<ReadOutcome, DeviceError> {
        let mut filled = 0;
        while filled < FRAME_SAMPLES {
            if self.position == self.samples.len() && self.looped {
                self.position = 0;
            }
            let piece = (self.samples.len() - self.position).min(FRAME_SAMPLES - filled);
            if piece == 0 {
                break;
            }
            frame.0[filled..filled + piece].copy_from_slice(&self.samples[self.position..self.position + piece]);
            self.position += piece;
            filled += piece;
        }
        frame.0[filled..].fill(0.0);
        Ok(if filled == 0 { ReadOutcome::Finished } else { ReadOutcome::Samples })
    }
}

pub(super) struct Silence;

impl AudioSource for Silence {
    fn read(&mut self, frame: &mut Frame) -> Result<ReadOutcome, DeviceError> {
        frame.clear();
        Ok(ReadOutcome::Samples)
    }
}

pub(super) struct Tone {
    turns_per_sample: f32,
    amplitude: f32,
    turns: f32,
}

impl Tone {
    pub(super) fn new(hz: f32, amplitude: f32) -> Tone {
        Tone { turns_per_sample: hz / SAMPLE_RATE as f32, amplitude, turns: 0.0 }
    }
}

impl AudioSource for Tone {
    fn read(&mut self, frame: &mut Frame) -> Result<ReadOutcome, DeviceError> {
        for sample in &mut frame.0 {
            *sample = self.amplitude * (TAU * self.turns).sin();
            self.turns = (self.turns + self.turns_per_sample).fract();
        }
        Ok(ReadOutcome::Samples)
    }
}

pub(super) struct Noise {
    random: Random,
    amplitude: f32,
}

impl Noise {
    pub(super) fn new(seed: u64, amplitude: f32) -> Noise {
        Noise { random: Random(seed), amplitude }
    }
}

impl AudioSource for Noise {
    fn read(&mut self, frame: &mut Frame) -> Result<ReadOutcome, DeviceError> {
        for sample in &mut frame.0 {
            *sample = self.amplitude * self.random.between(-1.0, 1.0);
        }
        Ok(ReadOutcome::Samples)
    }
}

/// Syllables of a buzzing or hissing source through three formants, with pauses between words.
///
/// Nobody would take it for a person, but codecs, jitter buffers and voice detectors do.
pub(super) struct Voice {
    random: Random,
    base_pitch_hz: f32,
    syllable: Syllable,
    phase: f32,
    pitch_hz: f32,
    loudness: f32,
    formants: [Resonator; 3],
}

struct Syllable {
    samples_left: u32,
    voiced: bool,
    loudness: f32,
    pitch_hz: f32,
}

impl Voice {
    const LOUDNESS: f32 = 0.02;

    pub(super) fn new(seed: u64) -> Voice {
        let mut random = Random(seed);
        let base_pitch_hz = random.between(95.0, 210.0);
        Voice {
            random,
            base_pitch_hz,
            syllable: Syllable { samples_left: 0, voiced: false, loudness: 0.0, pitch_hz: base_pitch_hz },
            phase: 0.0,
            pitch_hz: base_pitch_hz,
            loudness: 0.0,
            formants: Default::default(),
        }
    }

    fn begin_syllable(&mut self) {
        let random = &mut self.random;
        let kind = random.between(0.0, 1.0);
        let (voiced, loudness, milliseconds) = if kind < 0.15 {
            (false, 0.0, random.between(80.0, 350.0))
        } else if kind < 0.3 {
            (false, 0.25, random.between(40.0, 110.0))
        } else {
            (true, random.between(0.5, 1.0), random.between(90.0, 260.0))
        };
        self.syllable = Syllable {
            samples_left: (milliseconds * SAMPLE_RATE as f32 / 1000.0) as u32,
            voiced,
            loudness,
            pitch_hz: self.base_pitch_hz * random.between(0.8, 1.3),
        };
        let ranges = if voiced {
            [(280.0, 800.0, 80.0), (900.0, 2300.0, 110.0), (2400.0, 3100.0, 170.0)]
        } else {
            [(1800.0, 2600.0, 500.0), (3500.0, 4500.0, 900.0), (5000.0, 7000.0, 1500.0)]
        };
        for (formant, (low, high, width)) in self.formants.iter_mut().zip(ranges) {
            formant.tune(random.between(low, high), width);
        }
    }

    fn next_sample(&mut self) -> f32 {
        if self.syllable.samples_left == 0 {
            self.begin_syllable();
        }
        self.syllable.samples_left -= 1;
        self.pitch_hz += (self.syllable.pitch_hz - self.pitch_hz) * 0.0005;
        self.loudness += (self.syllable.loudness - self.loudness) * 0.002;
        self.phase += self.pitch_hz / SAMPLE_RATE as f32;
        let breath = self.random.between(-1.0, 1.0);
        let source = if !self.syllable.voiced {
            breath * 0.6
        } else if self.phase >= 1.0 {
            12.0
        } else {
            breath * 0.02
        };
        self.phase = self.phase.fract();
        let throat: f32 = self.formants.iter_mut().map(|formant| formant.filter(source)).sum();
        (throat * self.loudness * Voice::LOUDNESS * 8.0).clamp(-0.95, 0.95)
    }
}

impl AudioSource for Voice {
    fn read(&mut self, frame: &mut Frame) -> Result<ReadOutcome, DeviceError> {
        for n in 0..FRAME_SAMPLES {
            frame.0[n] = self.next_sample();
        }
        Ok(ReadOutcome::Samples)
    }
}

/// A resonance of the throat: a two-pole filter of unit gain at its centre.
#[derive(Default)]
struct Resonator {
    feedback: [f32; 2],
    gain: f32,
    past: [f32; 2],
}

impl Resonator {
    fn tune(&mut self, hz: f32, width_hz: f32) {
        let radius = (-std::f32::consts::PI * width_hz / SAMPLE_RATE as f32).exp();
        let angle = TAU * hz / SAMPLE_RATE as f32;
        self.feedback = [2.0 * radius * angle.cos(), -radius * radius];
        self.gain = (1.0 - radius) * 2.0;
    }

    fn filter(&mut self, input: f32) -> f32 {
        let output = self.gain * input + self.feedback[0] * self.past[0] + self.feedback[1] * self.past[1];
        self.past = [output, self.past[0]];
        output
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014): small, seedable, good enough for sounds.
struct Random(u64);

impl Random {
    fn between(&mut self, low: f32, high: f32) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        low + (high - low) * (mixed >> 40) as f32 / (1u64 << 24) as f32
    }
}

pub(super) struct Nowhere;

impl AudioSink for Nowhere {
    fn write(&mut self, _frame: &Frame) -> Result<(), DeviceError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AudioInput, AudioLevel};

    fn read(input: &AudioInput, frames: usize) -> Vec<f32> {
        let mut source = input.open().unwrap();
        let mut frame = Frame::default();
        let mut samples = Vec::new();
        for _ in 0..frames {
            source.read(&mut frame).unwrap();
            samples.extend_from_slice(&frame.0);
        }
        samples
    }

    #[test]
    fn a_clip_ends_or_begins_anew_in_the_middle_of_a_frame() {
        let samples: Arc<[f32]> = (0..700).map(|n| n as f32).collect();
        let once = AudioInput::Samples { samples: Arc::clone(&samples), looped: false };
        let mut source = once.open().unwrap();
        let mut frame = Frame::default();
        assert_eq!(source.read(&mut frame).unwrap(), ReadOutcome::Samples);
        assert_eq!(source.read(&mut frame).unwrap(), ReadOutcome::Samples);
        assert_eq!((frame.0[219], frame.0[220]), (699.0, 0.0));
        assert_eq!(source.read(&mut frame).unwrap(), ReadOutcome::Finished);

        let looped = read(&AudioInput::Samples { samples, looped: true }, 3);
        assert_eq!(&looped[698..702], [698.0, 699.0, 0.0, 1.0]);
    }

    #[test]
    fn an_empty_clip_is_finished_even_if_looped() {
        let mut source = AudioInput::Samples { samples: Arc::new([]), looped: true }.open().unwrap();
        assert_eq!(source.read(&mut Frame::default()).unwrap(), ReadOutcome::Finished);
    }

    #[test]
    fn a_tone_has_its_frequency_and_loudness() {
        let samples = read(&AudioInput::Tone { hz: 440.0, amplitude: 0.5 }, 100);
        let rising = samples.windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0).count();
        assert!((439..=441).contains(&rising), "{rising}");
        assert_eq!(AudioLevel::of(&samples).minus_dbov, 9);
    }

    #[test]
    fn the_same_seed_speaks_the_same_and_another_differently() {
        let voice = read(&AudioInput::Voice { seed: 3 }, 300);
        assert_eq!(voice, read(&AudioInput::Voice { seed: 3 }, 300));
        assert_ne!(voice, read(&AudioInput::Voice { seed: 4 }, 300));
        let level = AudioLevel::of(&voice).minus_dbov;
        assert!((15..40).contains(&level), "-{level} dBov");
        assert_ne!(
            read(&AudioInput::Noise { seed: 1, amplitude: 0.1 }, 1),
            read(&AudioInput::Noise { seed: 2, amplitude: 0.1 }, 1)
        );
    }
}
