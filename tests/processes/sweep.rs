//! A sound that carries its own position, so that what was heard can be laid on what was said: a sine that rises for four seconds,
//! over and over. A gap, whatever filled it (silence, a guess of the decoder, a repeated piece), is a piece of what was heard that is at
//! no place of what was said.

use std::f64::consts::TAU;

use rtc_media::AudioInput;

const RATE: f64 = 48_000.0;
/// How long the sine rises before it begins anew, in ms.
const CYCLE_MS: f64 = 4_000.0;
const LOWEST_HZ: f64 = 400.0;
const HIGHEST_HZ: f64 = 2_400.0;
const AMPLITUDE: f64 = 0.25;

/// What is looked at for one position, in samples and in ms.
const WINDOW: usize = 960;
const WINDOW_MS: u64 = 20;
/// From one look to the next, in samples and in ms.
const HOP: usize = 480;
const HOP_MS: u64 = 10;
/// Quieter than this is silence, root mean square.
const SILENCE: f32 = 0.01;
/// How far two positions may differ from their distance in time and still belong together, in ms. A jitter buffer that stretches moves them
/// by some ms.
const SLACK_MS: f64 = 15.0;
/// So many of the looks before or after have to belong together with one that is right.
const WITNESSES: (usize, usize) = (12, 20);

/// The sweep, over and over.
pub fn input() -> AudioInput {
    let len = (CYCLE_MS * RATE / 1_000.0) as usize;
    let rise = (HIGHEST_HZ - LOWEST_HZ) / len as f64;
    let mut turns = 0.0_f64;
    let samples: Vec<f32> = (0..len)
        .map(|at| {
            let sample = AMPLITUDE * (TAU * turns).sin();
            turns = (turns + (LOWEST_HZ + rise * at as f64) / RATE).fract();
            sample as f32
        })
        .collect();
    AudioInput::Samples { samples: samples.into(), looped: true }
}

/// What was heard of a sweep: for every 10 ms whether it was said.
pub struct Hearing {
    right: Vec<bool>,
}

/// A piece of what was heard that nobody said, in ms from the beginning of the recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Where it begins.
    pub from_ms: u64,
    /// How long it lasts.
    pub len_ms: u64,
}

impl Hearing {
    /// Lays what was heard, 48 kHz mono, on the sweep.
    pub fn of(heard: &[f32]) -> Hearing {
        let looks = heard.len().saturating_sub(WINDOW) / HOP;
        let lags: Vec<Option<f64>> = (0..looks)
            .map(|look| {
                let position = position_ms(&heard[look * HOP..look * HOP + WINDOW])?;
                Some((look as f64 * HOP_MS as f64 - position).rem_euclid(CYCLE_MS))
            })
            .collect();
        let right = (0..looks).map(|look| is_right(&lags, look)).collect();
        Hearing { right }
    }

    /// The longest gap that overlaps these ms of the recording; of length 0 if there is none.
    pub fn longest_gap(&self, from_ms: u64, to_ms: u64) -> Gap {
        let (from, to) = (self.look(from_ms), self.look(to_ms));
        let mut longest = Gap { from_ms, len_ms: 0 };
        let mut start = None;
        for look in from..=to {
            if look < to && !self.right[look] {
                start.get_or_insert(look);
            } else if let Some(start) = start.take() {
                // A look sees the gap as soon as one end of its window touches it.
                let len_ms = ((look - start) as u64 * HOP_MS).saturating_sub(WINDOW_MS);
                if len_ms > longest.len_ms {
                    longest = Gap { from_ms: start as u64 * HOP_MS + WINDOW_MS, len_ms };
                }
            }
        }
        longest
    }

    /// When the sound is first right for `for_ms` on end at or after this moment of the recording, in ms.
    pub fn right_again(&self, from_ms: u64, for_ms: u64) -> Option<u64> {
        let wanted = (for_ms / HOP_MS) as usize;
        let first = (self.look(from_ms)..self.right.len().saturating_sub(wanted))
            .find(|look| self.right[*look..*look + wanted].iter().all(|right| *right))?;
        Some(first as u64 * HOP_MS)
    }

    /// Length of the recording in ms.
    pub fn len_ms(&self) -> u64 {
        self.right.len() as u64 * HOP_MS
    }

    fn look(&self, ms: u64) -> usize {
        ((ms / HOP_MS) as usize).min(self.right.len())
    }
}

/// A look is right if many of those just before it or just after it are at the same distance from what was said.
fn is_right(lags: &[Option<f64>], look: usize) -> bool {
    let Some(lag) = lags[look] else {
        return false;
    };
    let (needed, of) = WITNESSES;
    let agree = |range: std::ops::Range<usize>| {
        let near = |other: &&Option<f64>| other.is_some_and(|other| distance_ms(lag, other) < SLACK_MS);
        lags[range].iter().filter(near).count() >= needed
    };
    agree(look.saturating_sub(of)..look) || agree((look + 1).min(lags.len())..(look + 1 + of).min(lags.len()))
}

fn distance_ms(one: f64, other: f64) -> f64 {
    let apart = (one - other).rem_euclid(CYCLE_MS);
    apart.min(CYCLE_MS - apart)
}

/// The position in the sweep that has the pitch of this piece; none if it is silent or has no pitch of the sweep.
fn position_ms(piece: &[f32]) -> Option<f64> {
    let mean = piece.iter().map(|sample| sample * sample).sum::<f32>() / piece.len() as f32;
    if mean.sqrt() < SILENCE {
        return None;
    }
    let rises = piece.windows(2).enumerate().filter(|(_, pair)| pair[0] < 0.0 && pair[1] >= 0.0);
    let crossings: Vec<f64> = rises.map(|(at, pair)| at as f64 + f64::from(pair[0] / (pair[0] - pair[1]))).collect();
    let (first, last) = (crossings.first()?, crossings.last()?);
    if crossings.len() < 3 {
        return None;
    }
    let hz = (crossings.len() - 1) as f64 * RATE / (last - first);
    // What is measured is the pitch in the middle of the crossings.
    let middle_ms = (first + last) / 2.0 * 1_000.0 / RATE;
    let at_ms = (hz - LOWEST_HZ) / (HIGHEST_HZ - LOWEST_HZ) * CYCLE_MS;
    (-SLACK_MS..CYCLE_MS + SLACK_MS).contains(&at_ms).then_some(at_ms - middle_ms)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use rtc_media::{Frame, VoiceEncoder, VoiceEncoderConfig, VoicePacket, VoiceReceiver, VoiceReceiverConfig};

    use super::*;

    /// What is heard of 12 s of the sweep through the codec and the jitter buffer, where packets may get lost.
    fn heard(lost: impl Fn(u64) -> bool) -> Hearing {
        let mut source = input().open().unwrap();
        let mut encoder = VoiceEncoder::new(VoiceEncoderConfig::default()).unwrap();
        let mut receiver = VoiceReceiver::new(VoiceReceiverConfig::default()).unwrap();
        let start = Instant::now();
        let mut sequence = 0_u16;
        let mut samples = Vec::new();
        for tick in 0..1_200_u64 {
            let now = start + Duration::from_millis(tick * 10);
            let mut frame = Frame::SILENCE;
            source.read(&mut frame).unwrap();
            if let Some(voice) = encoder.push(&frame).unwrap() {
                sequence += 1;
                if !lost(tick * 10) {
                    let (timestamp, marker, payload) = (voice.timestamp, voice.marker, voice.payload.into());
                    receiver.insert(now, VoicePacket { sequence, timestamp, marker, payload });
                }
            }
            samples.extend_from_slice(&receiver.pull(now).0);
        }
        Hearing::of(&samples)
    }

    #[test]
    fn what_comes_through_the_codec_unharmed_has_no_gap() {
        let hearing = heard(|_| false);
        assert_eq!(hearing.longest_gap(500, 11_900).len_ms, 0, "{:?}", hearing.longest_gap(500, 11_900));
        assert!(hearing.right_again(0, 100).unwrap() < 300);
    }

    #[test]
    fn a_gap_is_as_long_as_what_was_lost() {
        for len in [60, 200, 1_000, 3_000] {
            let hearing = heard(|ms| (5_000..5_000 + len).contains(&ms));
            let gap = hearing.longest_gap(500, 11_900);
            assert!(gap.len_ms.abs_diff(len) <= 60, "{len}: {gap:?}");
            assert!(gap.from_ms.abs_diff(5_000) <= 120, "{len}: {gap:?}");
            assert_eq!(hearing.longest_gap(500, 4_900).len_ms, 0);
            let again = hearing.right_again(5_000 + len / 2, 100).unwrap();
            assert!(again.abs_diff(5_000 + len) <= 160, "{len}: {again}");
        }
    }

    #[test]
    fn silence_and_another_sound_are_gaps_from_end_to_end() {
        let silence = Hearing::of(&vec![0.0; 96_000]);
        assert!(silence.longest_gap(0, 2_000).len_ms > 1_900);
        let mut tone = AudioInput::Tone { hz: 1_000.0, amplitude: 0.25 }.open().unwrap();
        let mut samples = Vec::new();
        let mut frame = Frame::SILENCE;
        for _ in 0..200 {
            tone.read(&mut frame).unwrap();
            samples.extend_from_slice(&frame.0);
        }
        assert!(Hearing::of(&samples).longest_gap(0, 2_000).len_ms > 1_900, "a held tone does not go on");
        assert_eq!(Hearing::of(&samples).right_again(0, 100), None);
    }
}
