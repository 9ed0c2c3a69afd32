//! How fast, how often and how long things are tried.

use std::time::Duration;

use rand::{Rng, RngExt};

/// The knobs of an outbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Pace {
    /// The shortest wait after a failure. Default 1 s.
    pub backoff_min: Duration,
    /// The longest wait after a failure. Default 5 min.
    pub backoff_max: Duration,
    /// The longest wait that a receiver can ask for. Default 1 h.
    pub retry_after_max: Duration,
    /// Attempts to one destination at one time. Default 32.
    pub per_destination: usize,
    /// Attempts at one time that the destinations share, beyond the one that each has of its own. Default 256.
    pub at_once: usize,
    /// A destination whose failures take so long to come has no part of what is shared until it answers. Default 1 s.
    pub slow_after: Duration,
    /// Failures in a row after which a destination counts as dead and is only probed. Default 16.
    pub dead_after: u32,
    /// The longest pause between two probes. Default 30 s.
    pub probe_max: Duration,
    /// How long a connection may take. Default 3 s.
    pub connect_timeout: Duration,
    /// How long an attempt may take. Default 10 s.
    pub timeout: Duration,
    /// Where the randomness of waits comes from. Default: the system.
    pub seed: Option<u64>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(5 * 60),
            retry_after_max: Duration::from_secs(3_600),
            per_destination: 32,
            at_once: 256,
            slow_after: Duration::from_secs(1),
            dead_after: 16,
            probe_max: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(3),
            timeout: Duration::from_secs(10),
            seed: None,
        }
    }
}

impl Pace {
    /// The wait after the failure of attempt number `attempt`, in ms: anything from the shortest to twice as much with each failure,
    /// so that those who failed together do not come back together.
    pub(super) fn backoff_ms(&self, attempt: u32, after: Option<Duration>, rng: &mut impl Rng) -> u64 {
        let (min, max) = (ms(self.backoff_min), ms(self.backoff_max).max(ms(self.backoff_min)));
        let ceiling = min.saturating_mul(1 << attempt.min(32)).clamp(min, max);
        let wait = rng.random_range(min..=ceiling);
        after.map_or(wait, |after| wait.max(ms(after.min(self.retry_after_max))))
    }

    /// The pause before the next probe of a destination that failed this often in a row, in ms.
    pub(super) fn probe_ms(&self, failures: u32) -> u64 {
        let over = failures.saturating_sub(self.dead_after).min(32);
        ms(self.backoff_min).saturating_mul(1 << over).min(ms(self.probe_max))
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn waits_grow_to_the_limit_spread_and_follow_the_seed() {
        let pace = Pace::default();
        let waits = |seed| {
            let mut rng = StdRng::seed_from_u64(seed);
            (1..200).map(|attempt| pace.backoff_ms(attempt, None, &mut rng)).collect::<Vec<_>>()
        };
        let of_one = waits(1);
        assert_eq!(of_one, waits(1));
        assert_ne!(of_one, waits(2));
        assert!(of_one.iter().all(|wait| (1_000..=300_000).contains(wait)));
        assert!(of_one[0] <= 2_000 && of_one[1] <= 4_000);
        let late = &of_one[20..];
        assert!(late.iter().any(|wait| *wait > 200_000) && late.iter().any(|wait| *wait < 100_000));
    }

    #[test]
    fn a_receiver_can_ask_for_more_time_within_bounds() {
        let pace = Pace::default();
        let mut rng = StdRng::seed_from_u64(1);
        let mut asked = |s| pace.backoff_ms(1, Some(Duration::from_secs(s)), &mut rng);
        assert!(asked(0) >= 1_000, "not sooner than without it");
        assert_eq!(asked(60), 60_000);
        assert_eq!(asked(1 << 40), 3_600_000);
    }

    #[test]
    fn a_dead_destination_is_probed_ever_less() {
        let pace = Pace::default();
        assert_eq!(pace.probe_ms(16), 1_000);
        assert_eq!(pace.probe_ms(18), 4_000);
        assert_eq!(pace.probe_ms(u32::MAX), 30_000);
    }
}
