//! A network in virtual time: packets go in with the time they were sent, come out with the time they arrive, all from a seed.
#![allow(clippy::unwrap_used, reason = "what a test unwraps is what it tests")]
#![allow(dead_code, reason = "each test and benchmark uses its own part")]

pub(crate) mod call;

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// An arbitrary origin of virtual time: only differences count.
#[expect(clippy::disallowed_methods, reason = "there is no other way to make an Instant")]
pub(crate) fn epoch() -> Instant {
    Instant::now()
}

pub(crate) fn ms(milliseconds: f64) -> Duration {
    Duration::from_nanos((milliseconds * 1e6) as u64)
}

/// What a path does to packets. Times in ms.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    pub(crate) delay: f64,
    /// Mean of the exponential part of the delay.
    pub(crate) jitter: f64,
    /// Share of packets lost on their own.
    pub(crate) loss: f64,
    /// Bursts: the chance that a packet begins one, and the mean number of packets it takes.
    pub(crate) burst: (f64, f64),
    /// Spikes, during which the path stands still and then delivers all at once: chance a packet, length.
    pub(crate) spike: (f64, f64),
    pub(crate) duplicates: f64,
    /// Whether jitter may put packets out of order; otherwise they queue.
    pub(crate) reorders: bool,
    /// A step of the delay: from this time on, by this much.
    pub(crate) step: (f64, f64),
}

impl Default for Path {
    fn default() -> Path {
        Path {
            delay: 40.0,
            jitter: 0.0,
            loss: 0.0,
            burst: (0.0, 1.0),
            spike: (0.0, 0.0),
            duplicates: 0.0,
            reorders: false,
            step: (f64::INFINITY, 0.0),
        }
    }
}

pub(crate) struct Network {
    path: Path,
    random: ChaCha8Rng,
    burst_left: u32,
    blocked_until: f64,
    last_arrival: f64,
    pub(crate) lost: u64,
}

impl Network {
    pub(crate) fn seeded(seed: u64, path: Path) -> Network {
        Network {
            path,
            random: ChaCha8Rng::seed_from_u64(seed),
            burst_left: 0,
            blocked_until: 0.0,
            last_arrival: 0.0,
            lost: 0,
        }
    }

    /// Arrival times (ms) of a packet sent at `sent` (ms): none, one or two.
    pub(crate) fn send(&mut self, sent: f64) -> Vec<f64> {
        if self.burst_left > 0 {
            self.burst_left -= 1;
            self.lost += 1;
            return Vec::new();
        }
        if self.random.random_bool(self.path.burst.0) {
            let length = 1.0 + exponential(&mut self.random) * (self.path.burst.1 - 1.0);
            self.burst_left = length.round() as u32 - 1;
            self.lost += 1;
            return Vec::new();
        }
        if self.random.random_bool(self.path.loss) {
            self.lost += 1;
            return Vec::new();
        }
        if self.random.random_bool(self.path.spike.0) {
            self.blocked_until = sent + self.path.spike.1;
        }
        let step = if sent >= self.path.step.0 { self.path.step.1 } else { 0.0 };
        let mut arrival = sent.max(self.blocked_until)
            + (self.path.delay + step).max(0.0)
            + exponential(&mut self.random) * self.path.jitter;
        if !self.path.reorders {
            arrival = arrival.max(self.last_arrival);
        }
        self.last_arrival = arrival;
        let mut arrivals = vec![arrival];
        if self.random.random_bool(self.path.duplicates) {
            arrivals.push(arrival + exponential(&mut self.random) * 20.0);
        }
        arrivals
    }
}

fn exponential(random: &mut ChaCha8Rng) -> f64 {
    -(1.0 - random.random::<f64>()).ln()
}
