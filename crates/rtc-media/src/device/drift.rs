//! Two clocks that both call themselves 48 kHz: the device's and the media clock's.
//!
//! Between them lies a ring. What is left in it after the reader took its share is the slack; if the slack shrinks the reader
//! is too fast, if it grows too slow. The reader's (or writer's) resampling ratio is nudged so that the least slack of each second stays at
//! a margin and one quantum, the piece in which the writer writes: while reader and writer keep step nobody sees where between two pieces
//! the reader stands, so up to a quantum of the slack may not be there when the step slips.

/// Steers a resampling ratio by the slack of a ring. Slack and margin are in ms.
#[derive(Debug)]
pub(super) struct DriftControl {
    least_slack: f64,
    observations: u32,
    margin: f64,
    integral: f64,
    correction: f64,
    windows_with_excess: u32,
}

/// Observations in a window, at one every 10 ms.
const WINDOW: u32 = 100;
/// What the steering adds per ms of error and second. The two make a loop of 10 s time constant, critically damped.
const PROPORTIONAL: f64 = 1e-4;
const INTEGRAL: f64 = 2.5e-6;
/// Half a percent bends the pitch by a twelfth of a semitone: nobody hears it, and no two clocks differ by more.
const MAX_CORRECTION: f64 = 0.005;
/// The slack aimed at: it covers a media clock that ticks late.
const START_MARGIN_MS: f64 = 5.0;
const MAX_MARGIN_MS: f64 = 40.0;
/// An underrun shows that the margin was too small.
const MARGIN_STEP_MS: f64 = 5.0;
/// It shrinks again by this much a second.
const MARGIN_DECAY_MS: f64 = 0.05;
/// Slack beyond the margin that is thrown away rather than steered away, once it stayed for two windows.
const EXCESS_MS: f64 = 40.0;

impl DriftControl {
    pub(super) fn new() -> DriftControl {
        DriftControl {
            least_slack: f64::INFINITY,
            observations: 0,
            margin: START_MARGIN_MS,
            integral: 0.0,
            correction: 0.0,
            windows_with_excess: 0,
        }
    }

    /// Takes the least slack since the last observation, every 10 ms. Returns how many ms are too much and should be dropped.
    pub(super) fn observe(&mut self, slack_ms: f64, quantum_ms: f64) -> Option<f64> {
        self.least_slack = self.least_slack.min(slack_ms);
        self.observations += 1;
        if self.observations < WINDOW {
            return None;
        }
        let error = self.least_slack - self.needed_slack_ms(quantum_ms);
        self.observations = 0;
        self.least_slack = f64::INFINITY;
        self.margin = (self.margin - MARGIN_DECAY_MS).max(START_MARGIN_MS);

        self.windows_with_excess = if error > EXCESS_MS { self.windows_with_excess + 1 } else { 0 };
        if self.windows_with_excess >= 2 {
            self.windows_with_excess = 0;
            return Some(error);
        }
        self.integral = (self.integral + error * INTEGRAL).clamp(-MAX_CORRECTION, MAX_CORRECTION);
        self.correction = (self.integral + error * PROPORTIONAL).clamp(-MAX_CORRECTION, MAX_CORRECTION);
        None
    }

    /// The ring ran dry.
    pub(super) fn underrun(&mut self) {
        self.margin = (self.margin + MARGIN_STEP_MS).min(MAX_MARGIN_MS);
    }

    /// Slack that must be left after the first read.
    pub(super) fn needed_slack_ms(&self, quantum_ms: f64) -> f64 {
        self.margin + quantum_ms
    }

    /// Factor on the resampling ratio (output samples per input sample): below 1 uses the ring up faster or fills it slower.
    pub(super) fn ratio(&self) -> f64 {
        1.0 - self.correction
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ring whose writer is `ppm` too fast; returns the slack over time and the last ratio.
    fn simulate(ppm: f64, seconds: u32, start: f64) -> (Vec<f64>, f64) {
        let mut control = DriftControl::new();
        let mut slack: f64 = start;
        let mut slacks = Vec::new();
        for _ in 0..seconds * 100 {
            slack += 10.0 * (1.0 + ppm * 1e-6) - 10.0 / control.ratio();
            if slack < 0.0 {
                control.underrun();
                slack += 10.0;
            }
            if let Some(excess) = control.observe(slack, 0.0) {
                slack -= excess;
            }
            slacks.push(slack);
        }
        (slacks, control.ratio())
    }

    #[test]
    fn clocks_that_differ_are_absorbed_without_a_gap() {
        for ppm in [-200.0, -50.0, 0.0, 50.0, 200.0] {
            let (slacks, ratio) = simulate(ppm, 300, START_MARGIN_MS);
            assert!(slacks.iter().all(|slack| (1.0..12.0).contains(slack)), "{ppm} ppm: {:?}", slacks.last());
            assert!(((1.0 - ratio) * 1e6 - ppm).abs() < 5.0, "{ppm} ppm: ratio {ratio}");
            assert!((slacks[slacks.len() - 1] - START_MARGIN_MS).abs() < 0.5, "{ppm} ppm: {:?}", slacks.last());
        }
    }

    #[test]
    fn a_pile_is_thrown_away_at_once_and_a_small_one_steered_away() {
        let (slacks, _) = simulate(0.0, 5, 200.0);
        assert!(slacks[250] < 10.0, "{}", slacks[250]);
        let (slacks, _) = simulate(0.0, 60, 30.0);
        assert!(slacks.windows(2).all(|pair| (pair[1] - pair[0]).abs() < 0.06));
        assert!(slacks[5_999] < 8.0, "{}", slacks[5_999]);
    }

    #[test]
    fn an_underrun_widens_the_margin_for_a_while() {
        let mut control = DriftControl::new();
        control.underrun();
        assert_eq!(control.needed_slack_ms(0.0), START_MARGIN_MS + MARGIN_STEP_MS);
        for _ in 0..200 * WINDOW {
            control.observe(10.0, 0.0);
        }
        assert_eq!(control.needed_slack_ms(0.0), START_MARGIN_MS);
    }
}
