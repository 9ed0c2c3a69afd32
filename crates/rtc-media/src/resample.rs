//! Sample rates other than ours.

use rubato::{Fft, FixedSync, Resampler, audioadapter_buffers::direct::InterleavedSlice};

/// Converts a whole clip; `None` if the rates cannot be converted into each other.
pub(crate) fn resample_clip(samples: Vec<f32>, from_hz: u32, to_hz: u32) -> Option<Vec<f32>> {
    if from_hz == to_hz || samples.is_empty() {
        return Some(samples);
    }
    let mut resampler = Fft::<f32>::new(from_hz as usize, to_hz as usize, 1024, 1, FixedSync::Both).ok()?;
    let input = InterleavedSlice::new(&samples, 1, samples.len()).ok()?;
    Some(resampler.process_all(&input, samples.len(), None).ok()?.take_data())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_keeps_its_frequency_amplitude_and_place() {
        for rate in [8_000u32, 11_025, 16_000, 22_050, 44_100, 96_000] {
            let tone = |rate: u32, n: usize| 0.5 * (std::f32::consts::TAU * 300.0 * n as f32 / rate as f32).sin();
            let clip: Vec<f32> = (0..rate as usize).map(|n| tone(rate, n)).collect();
            let converted = resample_clip(clip, rate, 48_000).unwrap();
            assert!((47_990..=48_010).contains(&converted.len()), "{rate} Hz: {} samples", converted.len());
            // Where the rates have no small ratio the delay is trimmed to within 2.2 samples (45 µs), by which this tone moves 0.04.
            for (n, sample) in converted.iter().enumerate().take(45_000).skip(3_000) {
                assert!((sample - tone(48_000, n)).abs() < 0.05, "{rate} Hz, sample {n}: {sample}");
            }
        }
    }
}
