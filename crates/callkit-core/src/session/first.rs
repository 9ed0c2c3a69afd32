//! The first sign-in, for which somebody waits.

use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;

use super::backoff::spread;
use crate::input::ConnectFailure;
use crate::settings::Settings;

/// Waits between attempts, in the middle: after these it has failed.
const FIRST_MS: [u64; 3] = [500, 1_000, 2_000];

/// How often the first sign-in is tried: a refusal that may pass is tried again for a few seconds, and nothing else is.
pub struct FirstSignIn {
    random: ChaCha20Rng,
    attempt: usize,
}

impl FirstSignIn {
    /// Before the first attempt.
    pub fn new(settings: &Settings) -> FirstSignIn {
        let mut random = ChaCha20Rng::from_seed(settings.seed);
        // Apart from what the session draws, and calls.
        random.set_stream(2);
        FirstSignIn { random, attempt: 0 }
    }

    /// An attempt failed; gives the pause before the next one, if there is to be one.
    pub fn on_failure(&mut self, failure: ConnectFailure) -> Option<Duration> {
        let may_pass = match failure {
            ConnectFailure::Refused(reason) => reason.is_passing(),
            ConnectFailure::Unreachable => false,
        };
        let middle_ms = FIRST_MS.get(self.attempt).filter(|_| may_pass)?;
        self.attempt += 1;
        Some(Duration::from_millis(spread(*middle_ms, &mut self.random)))
    }
}
