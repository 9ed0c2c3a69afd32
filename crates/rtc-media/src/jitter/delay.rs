//! How long to wait for packets: the distribution of their delays, and the delay that covers nearly all of them.

use std::collections::VecDeque;

use super::Samples;
use crate::SAMPLE_RATE;

/// Follows the transit times of packets and says how much delay lets nearly all of them arrive in time.
///
/// Transit is arrival minus timestamp, on clocks that share nothing, so only differences count. The fastest packet of the last
/// seconds is the base: sliding, it follows the drift of the sender's clock and changes of the path. Delays relative to it
/// go into a histogram that forgets, as in NetEq, the largest of each interval only: a rare late packet is what hurts.
#[derive(Debug)]
pub(super) struct DelayEstimator {
    /// Candidates for the minimum of the window, transit rising towards the back.
    window: VecDeque<(Samples, Samples)>,
    base: Option<Samples>,
    interval: Option<Interval>,
    histogram: Histogram,
}

/// The window of the base. Long enough to hold a fast packet, short enough to follow a change of path.
const BASE_WINDOW: Samples = 3 * SAMPLE_RATE as Samples;
/// Packets in that window at 2.5 ms each; older candidates are dropped before the queue grows.
const MAX_CANDIDATES: usize = 1200;
/// The largest delay of each such interval is counted, so that the quantile speaks of intervals rather than packets.
const INTERVAL: Samples = SAMPLE_RATE as Samples / 10;
/// A rise of the base by more than this is a longer path: the delays since then were counted from the old base and are re-counted. Less
/// is drift. A fall is a shorter path, on which the delays are as they were.
const PATH_CHANGE: Samples = SAMPLE_RATE as Samples / 500;

#[derive(Debug)]
struct Interval {
    start: Samples,
    largest: Samples,
}

impl DelayEstimator {
    /// Nothing known yet; `prior` is believed until the first second of packets says otherwise.
    pub(super) fn new(prior: Samples, quantile: f32, forget_factor: f32) -> DelayEstimator {
        DelayEstimator {
            window: VecDeque::with_capacity(MAX_CANDIDATES),
            base: None,
            interval: None,
            histogram: Histogram::new(prior, quantile, forget_factor),
        }
    }

    /// Counts a packet of `transit` that came at `now`.
    pub(super) fn observe(&mut self, now: Samples, transit: Samples) {
        self.slide_base(now, transit);
        let base = self.base.unwrap_or(transit);
        let delay = transit - base;
        match &mut self.interval {
            Some(interval) if now - interval.start < INTERVAL => interval.largest = interval.largest.max(delay),
            Some(interval) => {
                self.histogram.count(interval.largest);
                *interval = Interval { start: now, largest: delay };
            }
            None => self.interval = Some(Interval { start: now, largest: delay }),
        }
    }

    /// Transit of the fastest packet of late.
    pub(super) fn base(&self) -> Option<Samples> {
        self.base
    }

    /// The delay after the base within which nearly all packets arrive.
    pub(super) fn covering_delay(&self) -> Samples {
        self.histogram.covering_delay()
    }

    /// Forgets the base (a new stream has new timestamps) but not the jitter, which belongs to the path.
    pub(super) fn restart(&mut self) {
        self.window.clear();
        self.base = None;
        self.interval = None;
    }

    fn slide_base(&mut self, now: Samples, transit: Samples) {
        while self.window.back().is_some_and(|&(_, candidate)| candidate >= transit) {
            self.window.pop_back();
        }
        if self.window.len() == MAX_CANDIDATES {
            self.window.pop_front();
        }
        self.window.push_back((now, transit));
        while self.window.len() > 1 && self.window.front().is_some_and(|&(at, _)| now - at > BASE_WINDOW) {
            self.window.pop_front();
        }
        let base = self.window.front().map_or(transit, |&(_, candidate)| candidate);
        let moved = self.base.map_or(0, |old| base - old);
        if moved > PATH_CHANGE {
            self.histogram.shift(-moved);
            if let Some(interval) = &mut self.interval {
                interval.largest = (interval.largest - moved).max(0);
            }
        }
        self.base = Some(base);
    }
}

/// Shares of intervals by their largest delay, in bins of 2 ms up to a second.
#[derive(Debug)]
struct Histogram {
    shares: [f32; BINS],
    scratch: [f32; BINS],
    quantile: f32,
    forget_factor: f32,
    counted: u32,
}

const BIN: Samples = SAMPLE_RATE as Samples / 500;
const BINS: usize = 500;

impl Histogram {
    fn new(prior: Samples, quantile: f32, forget_factor: f32) -> Histogram {
        let mut shares = [0.0; BINS];
        shares[bin(prior)] = 1.0;
        Histogram { shares, scratch: [0.0; BINS], quantile, forget_factor, counted: 0 }
    }

    fn count(&mut self, delay: Samples) {
        self.counted = self.counted.saturating_add(1);
        // Early on every interval weighs the same, so that the prior is gone after a second or two.
        let weight = (1.0 - self.forget_factor).max(1.5 / (self.counted as f32 + 1.5));
        for share in &mut self.shares {
            *share *= 1.0 - weight;
        }
        self.shares[bin(delay)] += weight;
    }

    /// The upper edge of the bin in which the quantile falls.
    fn covering_delay(&self) -> Samples {
        let total: f32 = self.shares.iter().sum();
        let mut above = total;
        for (n, share) in self.shares.iter().enumerate() {
            above -= share;
            if above <= total * (1.0 - self.quantile) + f32::EPSILON {
                return (n as Samples + 1) * BIN;
            }
        }
        BINS as Samples * BIN
    }

    /// Adds `by` to every delay counted so far; what falls below zero is zero.
    fn shift(&mut self, by: Samples) {
        let bins = (by as f64 / BIN as f64).round() as i64;
        self.scratch.fill(0.0);
        for (n, share) in self.shares.iter().enumerate() {
            let to = (n as i64 + bins).clamp(0, BINS as i64 - 1);
            self.scratch[to as usize] += share;
        }
        self.shares = self.scratch;
    }
}

fn bin(delay: Samples) -> usize {
    (delay.max(0) / BIN).min(BINS as Samples - 1) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Samples = SAMPLE_RATE as Samples / 1000;

    fn estimator() -> DelayEstimator {
        DelayEstimator::new(25 * MS, 0.95, 0.99)
    }

    /// Packets every 20 ms; `transit(n)` in ms.
    fn feed(estimator: &mut DelayEstimator, packets: std::ops::Range<i64>, transit: impl Fn(i64) -> f64) {
        for n in packets {
            let transit = (transit(n) * MS as f64) as Samples;
            estimator.observe(n * 20 * MS + transit, transit);
        }
    }

    #[test]
    fn the_prior_holds_at_first_and_a_clean_path_replaces_it_within_three_seconds() {
        let mut estimator = estimator();
        assert_eq!(estimator.covering_delay(), 26 * MS);
        feed(&mut estimator, 0..150, |_| 40.0);
        assert_eq!(estimator.covering_delay(), 2 * MS);
    }

    #[test]
    fn jitter_is_covered() {
        let mut estimator = estimator();
        feed(&mut estimator, 0..1000, |n| 40.0 + (n * 7 % 31) as f64);
        assert!((30 * MS..=34 * MS).contains(&estimator.covering_delay()), "{}", estimator.covering_delay() / MS);
    }

    #[test]
    fn a_rare_spike_does_not_raise_the_delay_for_long() {
        let mut estimator = estimator();
        feed(&mut estimator, 0..500, |_| 40.0);
        feed(&mut estimator, 500..510, |_| 300.0);
        feed(&mut estimator, 510..1000, |_| 40.0);
        assert!(estimator.covering_delay() <= 4 * MS, "{}", estimator.covering_delay() / MS);
    }

    #[test]
    fn drift_is_no_jitter() {
        for ppm in [200.0, -200.0] {
            let mut estimator = estimator();
            feed(&mut estimator, 0..6000, |n| 100.0 + n as f64 * 0.02 * ppm / 1000.0);
            assert!(estimator.covering_delay() <= 4 * MS, "{ppm} ppm: {}", estimator.covering_delay() / MS);
            let transit = (100.0 + 6000.0 * 0.02 * ppm / 1000.0) * MS as f64;
            let base = estimator.base().unwrap() as f64;
            assert!((base - transit).abs() < MS as f64, "{ppm} ppm: base {base}, transit {transit}");
        }
    }

    #[test]
    fn a_longer_path_raises_the_base_rather_than_the_delay() {
        let mut estimator = estimator();
        feed(&mut estimator, 0..500, |_| 40.0);
        feed(&mut estimator, 500..760, |_| 140.0);
        assert!(estimator.covering_delay() <= 4 * MS, "{}", estimator.covering_delay() / MS);
        assert_eq!(estimator.base(), Some(140 * MS));
    }

    #[test]
    fn a_shorter_path_lowers_the_base_at_once() {
        let mut estimator = estimator();
        feed(&mut estimator, 0..500, |_| 140.0);
        feed(&mut estimator, 500..501, |_| 40.0);
        assert_eq!(estimator.base(), Some(40 * MS));
    }
}
