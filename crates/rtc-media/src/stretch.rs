//! Makes speech a little shorter or longer, or joins two pieces, without a click and without changing the pitch.
//!
//! The waveform-similarity overlap-add of time-scale modification: find the lag at which the signal resembles itself best (one
//! or more periods of the pitch), then leave out or repeat exactly that much under a cross-fade.

use crate::{SAMPLE_RATE, level::mean_square};

/// The shortest and longest piece taken out or put in: 2.5 ms (400 Hz) and 12.5 ms (80 Hz).
const MIN_LAG: usize = SAMPLE_RATE as usize / 400;
const MAX_LAG: usize = SAMPLE_RATE as usize / 80;
/// Length of a cross-fade: 5 ms.
const FADE: usize = SAMPLE_RATE as usize / 200;
/// The longest stretch compared to find a lag: 10 ms.
const MAX_WINDOW: usize = SAMPLE_RATE as usize / 100;
/// Samples that [`accelerate`] and [`expand`] need to see.
pub(crate) const STRETCH_SAMPLES: usize = MAX_LAG + FADE;
/// Samples of the past that [`splice`] looks at.
pub(crate) const HISTORY_SAMPLES: usize = MAX_LAG + MAX_WINDOW;

/// Signals below this mean square (-60 dBov) can be cut anywhere.
const QUIET: f32 = 1e-6;
/// The lag search compares every fourth sample at every fourth lag first (12 kHz: pitch needs no more), then refines.
const COARSE: usize = 4;

/// How alike two pieces must be before they are faded into each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Care {
    /// Inaudible in speech: a normalised correlation of 0.9.
    Full,
    /// For a delay that must come down soon: 0.5.
    Hurried,
}

/// Leaves out between 2.5 and 12.5 ms near the start of `samples`, at most `limit`; returns how many samples, 0 if no piece is
/// alike enough.
pub(crate) fn accelerate(samples: &mut Vec<f32>, limit: usize, care: Care) -> usize {
    let Some(lag) = lag_to_stretch_by(samples, limit, care) else {
        return 0;
    };
    for n in 0..FADE {
        samples[n] = fade(n, samples[n], samples[n + lag]);
    }
    samples.drain(FADE..FADE + lag);
    lag
}

/// Puts in between 2.5 and 12.5 ms near the start of `samples`, at most `limit`; returns how many samples, 0 if no piece is alike
/// enough.
pub(crate) fn expand(samples: &mut Vec<f32>, limit: usize) -> usize {
    let Some(lag) = lag_to_stretch_by(samples, limit, Care::Full) else {
        return 0;
    };
    let mut head = [0.0f32; STRETCH_SAMPLES];
    head.copy_from_slice(&samples[..STRETCH_SAMPLES]);
    let len = samples.len();
    samples.resize(len + lag, 0.0);
    samples.copy_within(FADE..len, FADE + lag);
    samples[..lag].copy_from_slice(&head[..lag]);
    for n in 0..FADE {
        samples[lag + n] = fade(n, head[lag + n], head[n]);
    }
    lag
}

/// Joins `fresh` to the end of `history` where the two do not follow from each other: shifts `fresh` to where it fits best (leaving
/// out up to 12.5 ms of its start, only if it stays longer than that) and fades over from what history would have gone on with.
/// Returns how many samples were left out.
pub(crate) fn splice(history: &[f32; HISTORY_SAMPLES], fresh: &mut Vec<f32>) -> usize {
    let mut onward = [0.0f32; FADE];
    go_on(history, &mut onward);
    let shift = if fresh.len() >= STRETCH_SAMPLES { best_fit(&onward, fresh) } else { 0 };
    fresh.drain(..shift);
    for (n, sample) in fresh.iter_mut().take(FADE).enumerate() {
        *sample = fade(n, onward[n], *sample);
    }
    shift
}

fn lag_to_stretch_by(samples: &[f32], limit: usize, care: Care) -> Option<usize> {
    if samples.len() < STRETCH_SAMPLES || limit < MIN_LAG {
        return None;
    }
    let max_lag = limit.min(MAX_LAG);
    if mean_square(&samples[..STRETCH_SAMPLES]) < QUIET {
        return Some(max_lag);
    }
    let window = (samples.len() - MAX_LAG).min(MAX_WINDOW);
    let (lag, similarity) =
        most_similar(MIN_LAG..=max_lag, |lag, step| similarity(&samples[..window], &samples[lag..lag + window], step));
    let threshold = match care {
        Care::Full => 0.9,
        Care::Hurried => 0.5,
    };
    (similarity >= threshold).then_some(lag)
}

/// Continues `history` by repeating its last pitch period.
fn go_on(history: &[f32; HISTORY_SAMPLES], onward: &mut [f32; FADE]) {
    let end = HISTORY_SAMPLES;
    let window = MAX_WINDOW;
    let (lag, _) = most_similar(MIN_LAG..=MAX_LAG, |lag, step| {
        similarity(&history[end - window..], &history[end - window - lag..end - lag], step)
    });
    for n in 0..FADE {
        onward[n] = history[end - lag + n % lag];
    }
}

fn best_fit(onward: &[f32; FADE], fresh: &[f32]) -> usize {
    let (shift, found) = most_similar(0..=MAX_LAG, |shift, step| similarity(onward, &fresh[shift..shift + FADE], step));
    if found >= 0.5 { shift } else { 0 }
}

/// The lag of the highest score, searched coarsely and then refined.
fn most_similar(lags: std::ops::RangeInclusive<usize>, score: impl Fn(usize, usize) -> f32) -> (usize, f32) {
    let (first, last) = (*lags.start(), *lags.end());
    let best = |candidates: &mut dyn Iterator<Item = usize>, step: usize| {
        candidates
            .map(|lag| (lag, score(lag, step)))
            .fold((first, f32::MIN), |best, next| if next.1 > best.1 { next } else { best })
    };
    let (coarse, _) = best(&mut (first..=last).step_by(COARSE), COARSE);
    let fine = coarse.saturating_sub(COARSE).max(first)..=(coarse + COARSE).min(last);
    best(&mut fine.into_iter(), 1)
}

/// Normalised correlation of every `step`th sample, -1 to 1; 0 where either side is silent.
fn similarity(a: &[f32], b: &[f32], step: usize) -> f32 {
    let (mut ab, mut aa, mut bb) = (0.0f32, 0.0f32, 0.0f32);
    for (a, b) in a.iter().step_by(step).zip(b.iter().step_by(step)) {
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    let norm = (aa * bb).sqrt();
    if norm > 1e-12 { ab / norm } else { 0.0 }
}

/// The value `n` samples into a cross-fade; the pieces are alike, so their amplitudes (not their powers) add up to one.
fn fade(n: usize, from: f32, to: f32) -> f32 {
    let share = (n as f32 + 0.5) / FADE as f32;
    from * (1.0 - share) + to * share
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f32, len: usize) -> Vec<f32> {
        (0..len).map(|n| 0.5 * (std::f32::consts::TAU * hz * n as f32 / SAMPLE_RATE as f32).sin()).collect()
    }

    fn largest_step(samples: &[f32]) -> f32 {
        samples.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn a_periodic_sound_gets_shorter_and_longer_without_a_seam() {
        for hz in [90.0, 133.0, 220.0, 415.0] {
            let clean = tone(hz, 1200);
            let step = largest_step(&clean) * 1.1;

            let mut shorter = clean.clone();
            let removed = accelerate(&mut shorter, MAX_LAG, Care::Full);
            assert!((MIN_LAG..=MAX_LAG).contains(&removed), "{hz} Hz: {removed}");
            assert_eq!(shorter.len(), clean.len() - removed);
            assert!(largest_step(&shorter) < step, "{hz} Hz");
            let period = SAMPLE_RATE as f32 / hz;
            let rest = (removed as f32 / period).fract();
            assert!(
                rest.min(1.0 - rest) * period < 6.0,
                "{hz} Hz: {removed} is no whole number of periods of {period}"
            );

            let mut longer = clean.clone();
            let added = expand(&mut longer, MAX_LAG);
            assert!((MIN_LAG..=MAX_LAG).contains(&added), "{hz} Hz: {added}");
            assert_eq!(longer.len(), clean.len() + added);
            assert!(largest_step(&longer) < step, "{hz} Hz");
            assert_eq!(longer[0], clean[0], "what was played before goes on");
            assert_eq!(longer.last(), clean.last());
        }
    }

    #[test]
    fn noise_is_left_alone_unless_there_is_a_hurry() {
        let mut state = 1u32;
        let noise: Vec<f32> = (0..1200)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect();
        assert_eq!(accelerate(&mut noise.clone(), MAX_LAG, Care::Full), 0);
        assert_eq!(expand(&mut noise.clone(), MAX_LAG), 0);
    }

    #[test]
    fn silence_can_be_cut_by_exactly_what_is_asked() {
        let mut silence = vec![0.0; 1200];
        assert_eq!(accelerate(&mut silence, 200, Care::Full), 200);
        assert_eq!(expand(&mut silence, 300), 300);
        assert_eq!(silence.len(), 1300);
    }

    #[test]
    fn too_little_sound_or_too_small_a_wish_changes_nothing() {
        assert_eq!(accelerate(&mut tone(200.0, STRETCH_SAMPLES - 1), MAX_LAG, Care::Full), 0);
        assert_eq!(expand(&mut tone(200.0, 960), MIN_LAG - 1), 0);
    }

    #[test]
    fn a_splice_goes_on_in_phase() {
        let sound = tone(150.0, 4000);
        let mut history = [0.0; HISTORY_SAMPLES];
        history.copy_from_slice(&sound[..HISTORY_SAMPLES]);
        let mut fresh = sound[2500..3460].to_vec();
        splice(&history, &mut fresh);
        let joined: Vec<f32> = history.iter().chain(&fresh).copied().collect();
        assert!(largest_step(&joined) < largest_step(&sound) * 1.25, "{}", largest_step(&joined));
    }
}
