//! Several talkers, one ear.

use opus::{Channels, SoftClip};

use crate::Frame;

/// Adds the frames of several talkers.
///
/// What stays within full scale passes bit for bit; what exceeds it is bent smoothly at the peak itself (the soft clip of
/// libopus), so a loud talker never makes the others pump.
///
/// ```
/// # use rtc_media::{Frame, Mixer};
/// let mut mixer = Mixer::new();
/// mixer.add(&Frame([0.25; 480]));
/// mixer.add(&Frame([0.5; 480]));
/// assert_eq!(mixer.take(), Frame([0.75; 480]));
/// ```
pub struct Mixer {
    sum: Frame,
    clip: SoftClip,
}

impl Mixer {
    /// A mixer with nothing in it.
    pub fn new() -> Mixer {
        Mixer { sum: Frame::SILENCE, clip: SoftClip::new(Channels::Mono) }
    }

    /// Adds one talker's 10 ms to the frame being mixed.
    pub fn add(&mut self, talker: &Frame) {
        for (sum, sample) in self.sum.0.iter_mut().zip(&talker.0) {
            *sum += sample;
        }
    }

    /// Takes the mixed frame, within ±1.0, and starts the next; silence if nobody was added.
    pub fn take(&mut self) -> Frame {
        let mut mixed = std::mem::take(&mut self.sum);
        for sample in &mut mixed.0 {
            if !sample.is_finite() {
                *sample = 0.0;
            }
        }
        self.clip.apply(&mut mixed.0);
        mixed
    }
}

impl Default for Mixer {
    fn default() -> Mixer {
        Mixer::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SAMPLE_RATE;

    fn tone(hz: f32, amplitude: f32, frame: usize) -> Frame {
        let mut out = Frame::default();
        for (n, sample) in out.0.iter_mut().enumerate() {
            let t = (frame * 480 + n) as f32 / SAMPLE_RATE as f32;
            *sample = amplitude * (std::f32::consts::TAU * hz * t).sin();
        }
        out
    }

    #[test]
    fn quiet_talkers_pass_bit_for_bit() {
        let mut mixer = Mixer::new();
        for frame in 0..10 {
            let (a, b) = (tone(300.0, 0.4, frame), tone(777.0, 0.5, frame));
            mixer.add(&a);
            mixer.add(&b);
            let expected: Vec<f32> = a.0.iter().zip(&b.0).map(|(a, b)| a + b).collect();
            assert_eq!(mixer.take().0.as_slice(), expected);
        }
    }

    #[test]
    fn loud_talkers_stay_within_full_scale_without_steps() {
        let mut mixer = Mixer::new();
        let mut last = 0.0f32;
        for frame in 0..50 {
            for hz in [210.0, 330.0, 470.0] {
                mixer.add(&tone(hz, 0.6, frame));
            }
            for sample in mixer.take().0 {
                assert!(sample.abs() <= 1.0);
                // Three tones of 0.6 move by at most 0.6 * 2 pi * (210 + 330 + 470) / 48000 = 0.08 a sample.
                assert!((sample - last).abs() < 0.1, "a step of {} in frame {frame}", sample - last);
                last = sample;
            }
        }
    }

    #[test]
    fn a_quiet_talker_keeps_its_loudness_after_a_loud_one() {
        let mut mixer = Mixer::new();
        for frame in 0..20 {
            mixer.add(&tone(200.0, 1.0, frame));
            mixer.add(&tone(333.0, 1.0, frame));
            mixer.take();
        }
        mixer.add(&Frame::SILENCE);
        mixer.take();
        let quiet = tone(300.0, 0.1, 21);
        mixer.add(&quiet);
        assert_eq!(mixer.take(), quiet);
    }

    #[test]
    fn nobody_is_silence_and_garbage_does_not_stick() {
        let mut mixer = Mixer::new();
        assert_eq!(mixer.take(), Frame::SILENCE);
        mixer.add(&Frame([f32::NAN; 480]));
        assert!(mixer.take().0.iter().all(|sample| sample.is_finite()));
        mixer.add(&Frame([0.5; 480]));
        assert_eq!(mixer.take(), Frame([0.5; 480]));
    }
}
