//! How long is waited before the next attempt to come back.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::Rng as _;

/// Waits between attempts to come back, in the middle; the last one repeats. They are spread, the first one too, so that the devices of a
/// restarted server do not all come at the same moment.
const BACKOFF_MS: [u64; 6] = [200, 300, 500, 1_000, 1_500, 2_000];
/// The same where the server said that it was too many: what is allowed comes back within a minute.
const TOO_MANY_MS: [u64; 5] = [1_000, 2_000, 5_000, 10_000, 15_000];
/// The first wait where the server itself ended the stream: everybody was told so.
const SENT_AWAY_MS: u64 = 1_000;

/// The attempts to come back since the connection was there last.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    attempt: usize,
    was_sent_away: bool,
    was_too_many: bool,
}

impl Backoff {
    /// The connection broke, or the server ended it itself.
    pub(super) fn begin(&mut self, was_sent_away: bool) {
        *self = Backoff { attempt: 0, was_sent_away, was_too_many: false };
    }

    /// An attempt is being made.
    pub(super) fn on_attempt(&mut self) {
        self.attempt += 1;
    }

    /// It failed; perhaps because it was too many.
    pub(super) fn on_failure(&mut self, was_too_many: bool) {
        self.was_too_many = was_too_many;
    }

    /// On another network the attempts so far mean nothing.
    pub(super) fn reset(&mut self) {
        self.attempt = 0;
    }

    /// The pause before the next attempt, in ms: half to one and a half times what stands in the table.
    pub(super) fn pause_ms(&self, random: &mut ChaCha20Rng) -> u64 {
        let middle_ms = if self.was_too_many {
            TOO_MANY_MS[self.attempt.min(TOO_MANY_MS.len() - 1)]
        } else if self.attempt == 0 && self.was_sent_away {
            SENT_AWAY_MS
        } else {
            BACKOFF_MS[self.attempt.min(BACKOFF_MS.len() - 1)]
        };
        spread(middle_ms, random)
    }
}

/// Half to one and a half times as much.
pub(super) fn spread(middle_ms: u64, random: &mut ChaCha20Rng) -> u64 {
    middle_ms / 2 + random.next_u64() % (middle_ms + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng as _;

    #[test]
    fn those_who_come_back_are_spread_from_the_first_attempt_on() {
        let come = |was_sent_away, first_ms: u64| {
            let mut backoff = Backoff::default();
            backoff.begin(was_sent_away);
            let mut random: Vec<_> = (0..1_000).map(ChaCha20Rng::seed_from_u64).collect();
            let mut pauses: Vec<_> = random.iter_mut().map(|random| backoff.pause_ms(random)).collect();
            pauses.sort_unstable();
            // How many at most within a twentieth of the time.
            let within = first_ms / 20;
            pauses.iter().map(|from| pauses.iter().filter(|at| (*from..from + within).contains(at)).count()).max()
        };
        assert!(come(false, BACKOFF_MS[0]) < Some(100), "a blip: {:?}", come(false, BACKOFF_MS[0]));
        assert!(come(true, SENT_AWAY_MS) < Some(100), "a restart: {:?}", come(true, SENT_AWAY_MS));
    }

    #[test]
    fn attempts_come_later_and_later_and_much_later_where_it_was_too_many() {
        let mut random = ChaCha20Rng::seed_from_u64(1);
        let mut backoff = Backoff::default();
        backoff.begin(false);
        for middle_ms in BACKOFF_MS.into_iter().chain([2_000, 2_000]) {
            let pause = backoff.pause_ms(&mut random);
            assert!((middle_ms / 2..=middle_ms * 3 / 2).contains(&pause), "{pause} for {middle_ms}");
            backoff.on_attempt();
        }
        backoff.on_failure(true);
        assert!(backoff.pause_ms(&mut random) >= 7_500);
        backoff.on_failure(false);
        backoff.reset();
        assert!(backoff.pause_ms(&mut random) <= 300);
    }
}
