//! From samples to what is printed.

use std::time::Duration;

/// The value below which this share of the samples lies.
pub fn quantile(samples: &mut [f64], share: f64) -> f64 {
    samples.sort_unstable_by(f64::total_cmp);
    samples[((samples.len() - 1) as f64 * share).round() as usize]
}

/// "p50 / p99" in ms.
pub fn latency(times: &[Duration]) -> String {
    let mut ms: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
    format!("{:.2} / {:.2} ms", quantile(&mut ms, 0.5), quantile(&mut ms, 0.99))
}

/// One quantile in ms.
pub fn quantile_ms(times: &[Duration], share: f64) -> f64 {
    let mut ms: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
    quantile(&mut ms, share)
}

/// The median, and from where to where the rounds lay.
pub fn median(rates: &mut [f64]) -> String {
    let (low, high) = (quantile(rates, 0.0), quantile(rates, 1.0));
    format!("{:.0} ({low:.0} to {high:.0})", quantile(rates, 0.5))
}
