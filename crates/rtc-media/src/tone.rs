//! Tones that a telephone plays to its own user: made from a cadence or read from a file, and played in steps of 10 ms.

use std::{f32::consts::TAU, fmt, path::Path, sync::Arc};

use crate::{DeviceError, FRAME_SAMPLES, Frame, SAMPLE_RATE, device::read_wav_file};

/// A short sound in memory, 48 kHz mono; clones share it.
#[derive(Clone)]
pub struct Clip(Arc<[f32]>);

impl Clip {
    /// A clip of these 48 kHz mono samples, full scale ±1.0; what is no number becomes silence.
    pub fn new(samples: impl IntoIterator<Item = f32>) -> Clip {
        Clip(samples.into_iter().map(|sample| if sample.is_finite() { sample } else { 0.0 }).collect())
    }

    /// Reads a WAV file of any rate, depth and number of channels, at most an hour; 11 MiB a minute. Blocks.
    ///
    /// # Errors
    /// [`DeviceError::File`] and [`DeviceError::UnsupportedFile`].
    pub fn read_wav(path: &Path) -> Result<Clip, DeviceError> {
        Ok(Clip(read_wav_file(path)?.into()))
    }

    /// Its samples.
    pub fn samples(&self) -> &[f32] {
        &self.0
    }
}

/// The very same clip, not one that sounds the same.
impl PartialEq for Clip {
    fn eq(&self, other: &Clip) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Clip {}

impl fmt::Debug for Clip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clip({} ms)", self.0.len() * 1000 / SAMPLE_RATE as usize)
    }
}

/// Tones in the manner of ITU-T E.180: one frequency, switched on and off in a rhythm.
///
/// 425 Hz is the frequency that E.180 prefers for all of them. What E.180 leaves to each country (the rhythm of a waiting call) or does not know
/// (hold) is chosen so that the tones cannot be taken for one another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cadence {
    /// Frequency.
    pub hz: f32,
    /// Peak, full scale 1.0.
    pub amplitude: f32,
    /// How long the tone is on and then off, in ms, in turn.
    pub on_off_ms: &'static [(u32, u32)],
}

impl Cadence {
    /// The other side is rung: 1 s in 5 s.
    pub const RINGBACK: Cadence = Cadence { hz: 425.0, amplitude: 0.1, on_off_ms: &[(1_000, 4_000)] };
    /// The other side holds the call: two soft short ones in 5 s.
    pub const HOLD: Cadence = Cadence { hz: 425.0, amplitude: 0.05, on_off_ms: &[(250, 250), (250, 4_250)] };
    /// Somebody else calls during a call: two very short ones in 10 s.
    pub const WAITING: Cadence = Cadence { hz: 425.0, amplitude: 0.08, on_off_ms: &[(150, 150), (150, 9_550)] };
    /// The call is over: three in the rhythm of the busy tone.
    pub const END: Cadence = Cadence { hz: 425.0, amplitude: 0.1, on_off_ms: &[(250, 250), (250, 250), (250, 50)] };
    /// Somebody calls: a double ring in 3 s.
    pub const RING: Cadence = Cadence { hz: 660.0, amplitude: 0.2, on_off_ms: &[(400, 200), (400, 2_000)] };

    /// One turn of the rhythm; the edges are rounded over 10 ms, so that nothing clicks.
    pub fn clip(&self) -> Clip {
        let mut samples = Vec::new();
        let of_ms = |ms: u32| (u64::from(ms) * u64::from(SAMPLE_RATE) / 1000) as usize;
        for (on, off) in self.on_off_ms {
            let on = of_ms(*on);
            let edge = FRAME_SAMPLES.min(on / 2).max(1);
            samples.extend((0..on).map(|n| {
                let nearest = n.min(on - 1 - n).min(edge);
                let gain = 0.5 - 0.5 * (std::f32::consts::PI * nearest as f32 / edge as f32).cos();
                gain * self.amplitude * (TAU * self.hz * n as f32 / SAMPLE_RATE as f32).sin()
            }));
            samples.extend(std::iter::repeat_n(0.0, of_ms(*off)));
        }
        Clip::new(samples)
    }
}

/// Plays one clip, over and over or once. Allocates nothing.
#[derive(Debug)]
pub(crate) struct Player {
    clip: Clip,
    position: usize,
    looped: bool,
    /// Fades out in the next frame and is then over.
    stopping: bool,
    over: bool,
}

impl Player {
    pub(crate) fn new(clip: Clip, looped: bool) -> Player {
        let over = clip.samples().is_empty();
        Player { clip, position: 0, looped, stopping: false, over }
    }

    pub(crate) fn clip(&self) -> &Clip {
        &self.clip
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Ends within 10 ms, without a click.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
    }

    /// Fills `frame` with the next 10 ms.
    pub(crate) fn read(&mut self, frame: &mut Frame) {
        frame.clear();
        if self.over {
            return;
        }
        let samples = self.clip.samples();
        for (n, out) in frame.0.iter_mut().enumerate() {
            if self.position == samples.len() {
                if !self.looped {
                    self.over = true;
                    break;
                }
                self.position = 0;
            }
            let gain = if self.stopping { 1.0 - n as f32 / FRAME_SAMPLES as f32 } else { 1.0 };
            *out = gain * samples[self.position];
            self.position += 1;
        }
        self.over |= self.stopping || (!self.looped && self.position == samples.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AudioLevel;

    fn read(player: &mut Player, frames: usize) -> Vec<f32> {
        let mut frame = Frame::default();
        (0..frames)
            .flat_map(|_| {
                player.read(&mut frame);
                frame.0
            })
            .collect()
    }

    #[test]
    fn a_cadence_is_as_long_as_its_rhythm_and_has_its_frequency() {
        let clip = Cadence::RINGBACK.clip();
        assert_eq!(clip.samples().len(), 5 * 48_000);
        let on = &clip.samples()[..48_000];
        let rising = on.windows(2).filter(|pair| pair[0] <= 0.0 && pair[1] > 0.0).count();
        assert!((424..=426).contains(&rising), "{rising}");
        assert_eq!(AudioLevel::of(&clip.samples()[48_000..]).minus_dbov, 127);
        // A sine of amplitude 0.1 is at -23 dBov.
        assert_eq!(AudioLevel::of(on).minus_dbov, 23);
    }

    #[test]
    fn no_tone_begins_or_ends_with_a_click() {
        for cadence in [Cadence::RINGBACK, Cadence::HOLD, Cadence::WAITING, Cadence::END, Cadence::RING] {
            let clip = cadence.clip();
            let fastest = cadence.amplitude * TAU * cadence.hz / 48_000.0 * 1.05;
            let twice: Vec<f32> = clip.samples().iter().chain(clip.samples()).copied().collect();
            let step = twice.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
            assert!(step <= fastest, "{cadence:?}: a step of {step}");
        }
    }

    #[test]
    fn a_looped_clip_goes_on_where_it_began_and_a_single_one_is_over() {
        let clip = Clip::new((0..700).map(|n| n as f32));
        let looped = read(&mut Player::new(clip.clone(), true), 3);
        assert_eq!(&looped[698..702], [698.0, 699.0, 0.0, 1.0]);
        let mut once = Player::new(clip, false);
        let sound = read(&mut once, 2);
        assert!(once.is_over());
        assert_eq!((sound[699], sound[700]), (699.0, 0.0));
        assert_eq!(read(&mut once, 1), [0.0; 480]);
    }

    #[test]
    fn a_stopped_clip_fades_within_one_frame() {
        let mut player = Player::new(Clip::new([0.5; 9_600]), true);
        read(&mut player, 1);
        player.stop();
        let last = read(&mut player, 1);
        assert!(last[0] > 0.49 && last[479] < 0.01 && player.is_over());
        assert!(last.windows(2).all(|pair| pair[0] >= pair[1]));
    }

    #[test]
    fn an_empty_clip_is_over_and_what_is_no_number_is_silence() {
        let mut player = Player::new(Clip::new([]), true);
        assert!(player.is_over());
        assert_eq!(read(&mut player, 1), [0.0; 480]);
        assert_eq!(Clip::new([f32::NAN, 0.5]).samples(), [0.0, 0.5]);
    }
}
