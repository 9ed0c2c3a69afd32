//! How much of what was said was heard, and how late.
//!
//! A measuring tool for demos, tests and benchmarks. It aligns the two recordings and then compares them piece by piece, letting the
//! delay wander slowly as a jitter buffer lets it. It is a waveform measure: it tells the right sound from a wrong, broken or noisy one. It is no
//! opinion score: two clean codecs differ in it by little, and a speech enhancer would be punished.

use realfft::RealFftPlanner;

use crate::{SAMPLE_RATE, resample::resample_clip};

/// What a comparison found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Median delay of heard after spoken, ms.
    pub delay_ms: f32,
    /// 0 (nothing of it) to 1 (the same waveform). A clean Opus call has above 0.85, other speech below 0.2.
    pub similarity: f32,
    /// Share of the spoken pieces that were found again, 0 to 1.
    pub found: f32,
    /// Pieces of speech compared.
    pub pieces: usize,
}

impl Score {
    const NOTHING: Score = Score { delay_ms: 0.0, similarity: 0.0, found: 0.0, pieces: 0 };
}

/// Speech has what matters for alignment below 4 kHz.
const RATE: u32 = 8_000;
/// A piece is 120 ms long: several pitch periods, yet short against the wandering of a delay.
const PIECE: usize = RATE as usize * 120 / 1000;
const STEP: usize = PIECE / 2;
/// How far the delay may wander from one place to the next before it is followed, and so how far a piece is searched for.
const SEARCH: isize = RATE as isize * 80 / 1000;
/// How far a piece is searched for if it is not there (the delay jumped), and how alike it must be to be believed.
const WIDE_SEARCH: isize = RATE as isize * 350 / 1000;
const CERTAIN: f64 = 0.85;
/// After so many pieces not found, only every so many are searched for widely: the sound is gone, or another.
const PATIENCE: usize = 6;
/// A piece belongs to speech if it is at most this much below the loudest pieces, as a ratio of energies (-35 dB).
const ACTIVE: f64 = 3.2e-4;
/// Where nothing was said, sound louder than this against the loudest pieces (-25 dB) is wrong.
const INTRUSION: f64 = 3.2e-3;
/// The correlation that pieces of unrelated speech reach at their best lag, and that therefore counts as nothing.
const CHANCE: f64 = 0.55;
/// A piece this alike was found again.
const FOUND: f64 = 0.7;

/// Between two samples of 8 kHz a sound at 3 kHz turns by half: what is found is looked at again this much finer.
const FINE: usize = 4;

/// Compares two recordings of 48 kHz mono; `heard` may begin later or earlier and be longer or shorter.
///
/// What was spoken after the end of `heard` (by the delay found) is not asked for.
pub fn score(spoken: &[f32], heard: &[f32]) -> Score {
    let (Some((spoken, fine_spoken)), Some((heard, fine_heard))) = (narrow_band(spoken), narrow_band(heard)) else {
        return Score::NOTHING;
    };
    let Some(delay) = global_delay(&spoken, &heard) else {
        return Score::NOTHING;
    };
    let loudest = loudest_piece(&spoken);
    if loudest <= 0.0 {
        return Score::NOTHING;
    }
    let heard_loudest = loudest_piece(&heard);
    let heard_energy = running_energy(&heard);

    let mut center = delay;
    let mut total = 0.0;
    let mut found = 0;
    let mut misses = 0;
    let mut pieces = 0;
    let mut delays = Vec::new();
    for start in (0..spoken.len().saturating_sub(PIECE)).step_by(STEP) {
        let piece = &spoken[start..start + PIECE];
        let Some(there) = window(&heard, start as isize + center) else {
            continue;
        };
        if energy(piece) < loudest * ACTIVE {
            if energy(there) > heard_loudest * INTRUSION && is_quiet_around(&spoken, start, loudest) {
                pieces += 1;
            }
            continue;
        }
        pieces += 1;
        let look = |reach: isize| {
            let lag = best_lag(piece, &heard, &heard_energy, start as isize + center, reach);
            (lag, likeness_nearby(&fine_spoken, start, &fine_heard, start as isize + center + lag))
        };
        let (lag, alike) = look_farther_if_needed(look, misses);
        total += ((alike - CHANCE) / (1.0 - CHANCE)).clamp(0.0, 1.0);
        if alike >= FOUND {
            misses = 0;
            found += 1;
            center += lag;
            delays.push(center);
        } else {
            misses += 1;
        }
    }
    if pieces == 0 {
        return Score::NOTHING;
    }
    delays.sort_unstable();
    let delay = delays.get(delays.len() / 2).copied().unwrap_or(delay);
    Score {
        delay_ms: delay as f32 * 1000.0 / RATE as f32,
        similarity: (total / pieces as f64) as f32,
        found: found as f32 / pieces as f32,
        pieces,
    }
}

/// The lag of a piece and how alike it is there: near where the last one was, or wherever it certainly is.
fn look_farther_if_needed(look: impl Fn(isize) -> (isize, f64), misses: usize) -> (isize, f64) {
    let near = look(SEARCH);
    if near.1 >= FOUND || (misses >= PATIENCE && !misses.is_multiple_of(PATIENCE)) {
        return near;
    }
    let far = look(WIDE_SEARCH);
    if far.1 >= CERTAIN { far } else { near }
}

/// The band from 300 Hz to 4 kHz, sampled at 8 kHz and finer.
fn narrow_band(samples: &[f32]) -> Option<(Vec<f32>, Vec<f32>)> {
    if samples.len() < SAMPLE_RATE as usize / 4 {
        return None;
    }
    let mut samples = resample_clip(samples.to_vec(), SAMPLE_RATE, RATE)?;
    high_pass(&mut samples);
    high_pass(&mut samples);
    let fine = resample_clip(samples.clone(), RATE, RATE * FINE as u32)?;
    Some((samples, fine))
}

/// Takes away what is below 300 Hz, 6 dB an octave: hum lies there, and codecs turn its phase.
fn high_pass(samples: &mut [f32]) {
    let keep = 1.0 / (1.0 + std::f32::consts::TAU * 300.0 / RATE as f32);
    let (mut last_in, mut last_out) = (0.0, 0.0);
    for sample in samples {
        last_out = keep * (last_out + *sample - last_in);
        last_in = std::mem::replace(sample, last_out);
    }
}

/// The delay (samples of 8 kHz) at which the whole recordings correlate best.
fn global_delay(spoken: &[f32], heard: &[f32]) -> Option<isize> {
    let len = (spoken.len() + heard.len()).next_power_of_two();
    let mut planner = RealFftPlanner::<f32>::new();
    let forward = planner.plan_fft_forward(len);
    let spectrum = |samples: &[f32]| {
        let mut input = forward.make_input_vec();
        input[..samples.len()].copy_from_slice(samples);
        let mut output = forward.make_output_vec();
        forward.process(&mut input, &mut output).ok().map(|()| output)
    };
    let (mut product, other) = (spectrum(heard)?, spectrum(spoken)?);
    for (heard, spoken) in product.iter_mut().zip(&other) {
        *heard *= spoken.conj();
    }
    // The first and last bins of a real spectrum are real; rounding must not say otherwise.
    for edge in [0, len / 2] {
        product[edge].im = 0.0;
    }
    let backward = planner.plan_fft_inverse(len);
    let mut correlation = backward.make_output_vec();
    backward.process(&mut product, &mut correlation).ok()?;
    let delay = |bin: usize| if bin < heard.len() { bin as isize } else { bin as isize - len as isize };
    // A sound that repeats itself fits at more than one place: the nearer is meant.
    let nearness = |bin: usize| 1.0 / (1.0 + delay(bin).unsigned_abs() as f32 / (20 * RATE) as f32);
    (0..len).max_by(|a, b| (correlation[*a] * nearness(*a)).total_cmp(&(correlation[*b] * nearness(*b)))).map(delay)
}

/// Energy of one of the louder pieces: loud enough to be speech, not an outlier.
fn loudest_piece(samples: &[f32]) -> f64 {
    let mut energies: Vec<f64> = samples.chunks_exact(PIECE).map(energy).collect();
    energies.sort_unstable_by(f64::total_cmp);
    energies.get(energies.len() * 19 / 20).copied().unwrap_or(0.0)
}

/// Whether nothing is said just before and after, so that an echo of a syllable is not taken for an intrusion.
fn is_quiet_around(spoken: &[f32], start: usize, loudest: f64) -> bool {
    let from = start.saturating_sub(2 * PIECE);
    let to = (start + 3 * PIECE).min(spoken.len());
    energy(&spoken[from..to]) < loudest * ACTIVE
}

fn window(heard: &[f32], start: isize) -> Option<&[f32]> {
    let start = usize::try_from(start).ok()?;
    heard.get(start..start + PIECE)
}

/// The lag within `reach` around `expected` at which `piece` is found best.
fn best_lag(piece: &[f32], heard: &[f32], heard_energy: &[f64], expected: isize, reach: isize) -> isize {
    let piece_energy = energy(piece);
    let mut best = (0, 0.0);
    for lag in -reach..=reach {
        let start = expected + lag;
        let Some(candidate) = window(heard, start) else {
            continue;
        };
        let start = start as usize;
        let norm = (piece_energy * (heard_energy[start + PIECE] - heard_energy[start])).sqrt();
        let alike = if norm > SILENT { f64::from(dot(piece, candidate)) / norm } else { 0.0 };
        if alike > best.1 {
            best = (lag, alike);
        }
    }
    best.0
}

/// The best likeness within a sample of 8 kHz around the place found.
fn likeness_nearby(fine_spoken: &[f32], start: usize, fine_heard: &[f32], expected: isize) -> f64 {
    let Some(piece) = fine_spoken.get(start * FINE..(start + PIECE) * FINE) else {
        return 0.0;
    };
    let reach = FINE as isize;
    (-reach..=reach)
        .filter_map(|offset| {
            let from = usize::try_from(expected * FINE as isize + offset).ok()?;
            fine_heard.get(from..from + piece.len())
        })
        .map(|candidate| likeness(piece, candidate))
        .fold(0.0, f64::max)
}

/// Normalised correlation; silence is like nothing.
fn likeness(a: &[f32], b: &[f32]) -> f64 {
    let norm = (energy(a) * energy(b)).sqrt();
    if norm > SILENT { f64::from(dot(a, b)) / norm } else { 0.0 }
}

/// Roots of products of energies below this belong to silence.
const SILENT: f64 = 1e-5;

/// Energy of everything before each sample.
fn running_energy(samples: &[f32]) -> Vec<f64> {
    let mut sum = 0.0;
    let sums = samples.iter().map(|sample| {
        sum += f64::from(*sample) * f64::from(*sample);
        sum
    });
    std::iter::once(0.0).chain(sums).collect()
}

fn energy(samples: &[f32]) -> f64 {
    f64::from(dot(samples, samples))
}

/// Eight sums side by side, which the processor adds at once.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 8;
    let mut sums = [0.0f32; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}
