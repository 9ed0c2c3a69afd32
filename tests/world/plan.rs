//! What kind of world it is: drawn from the seed, or calm.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use signaling::{ArbiterConfig, LineConfig};

/// The conditions of one world. Probabilities are for each message, times in ms.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many users there are, with one phone each.
    pub users: usize,
    /// How long users call and things break, before all is mended and comes to rest.
    pub chaos_ms: u64,
    /// How long a user waits between two things it does, at most.
    pub idle_ms: u64,
    /// How often a user does something silly.
    pub silly: f64,
    /// How long a call may ring, at least and at most.
    pub ring_ms: (u32, u32),
    /// How long a message travels, at least and at most.
    pub delay_ms: (u64, u64),
    /// Whether messages of one phone keep their order.
    pub in_order: bool,
    /// How often a message is lost.
    pub loss: f64,
    /// How often it arrives twice.
    pub repeat: f64,
    /// How often a second copy arrives very late, up to [`Plan::STRAY_MS`].
    pub stray: f64,
    /// How long until the next fault, at most; none without.
    pub fault_ms: Option<u64>,
    /// How long a fault lasts, at most.
    pub outage_ms: u64,
    /// Whether the carrier keeps what it cannot deliver, as a resumed stream does, or loses it.
    pub holds: bool,
    /// How far a phone's wall clock is off, at most.
    pub skew_ms: u64,
    /// How often somebody tells lies about a call that is not theirs.
    pub forgery: f64,
    /// The knobs of every arbiter.
    pub arbiter: ArbiterConfig,
    /// The knobs of every line.
    pub line: LineConfig,
}

impl Plan {
    /// The latest second copy.
    pub const STRAY_MS: u64 = 40_000;
    /// Older than this no message arrives, however often it was held back: less than an arbiter remembers its call, which is why it
    /// remembers.
    pub const OLDEST_MS: u64 = 55_000;

    /// Nothing is lost or broken; a message takes 10 ms.
    pub fn calm() -> Plan {
        Plan {
            users: 3,
            chaos_ms: 0,
            idle_ms: 0,
            silly: 0.0,
            ring_ms: (30_000, 30_000),
            delay_ms: (10, 10),
            in_order: true,
            loss: 0.0,
            repeat: 0.0,
            stray: 0.0,
            fault_ms: None,
            outage_ms: 0,
            holds: false,
            skew_ms: 0,
            forgery: 0.0,
            arbiter: ArbiterConfig::default(),
            line: LineConfig::default(),
        }
    }

    /// Any world: from a calm one to one that hardly works.
    pub fn random(rng: &mut ChaCha8Rng) -> Plan {
        let sometimes = |rng: &mut ChaCha8Rng, often: f64, most: f64| {
            if rng.random_bool(often) { rng.random_range(0.0..most) } else { 0.0 }
        };
        let fastest = rng.random_range(0..=50);
        let slowest = fastest + [0, 20, 200, 3_000][rng.random_range(0..4)];
        let rough = rng.random_bool(0.7);
        let liveness_ms = [4_000, 10_000, 10_000, 10_000][rng.random_range(0..4)];
        let keep_alive_ms = if liveness_ms == 4_000 { 1_200 } else { 3_000 };
        let shortest = rng.random_range(1_000..=5_000);
        let arbiter = ArbiterConfig {
            liveness_ms,
            resume_window_ms: liveness_ms + rng.random_range(1..=10_000),
            tombstone_ms: 60_000,
        };
        Plan {
            users: rng.random_range(2..=5),
            chaos_ms: rng.random_range(20_000..=240_000),
            idle_ms: rng.random_range(1_000..=20_000),
            silly: sometimes(rng, 0.7, 0.3),
            ring_ms: (shortest, shortest + [0, 5_000, 40_000][rng.random_range(0..3)]),
            delay_ms: (fastest, slowest),
            in_order: rng.random_bool(0.4),
            loss: if rough { sometimes(rng, 0.8, 0.35) } else { 0.0 },
            repeat: if rough { sometimes(rng, 0.6, 0.4) } else { 0.0 },
            stray: if rough { sometimes(rng, 0.4, 0.1) } else { 0.0 },
            fault_ms: (rough && rng.random_bool(0.7)).then(|| rng.random_range(3_000..=60_000)),
            outage_ms: [500, 5_000, 12_000, 30_000][rng.random_range(0..4)],
            holds: rng.random_bool(0.4),
            skew_ms: [0, 0, 300, 2_000][rng.random_range(0..4)],
            forgery: sometimes(rng, 0.5, 0.2),
            arbiter,
            line: LineConfig { keep_alive_ms, ..LineConfig::default() },
        }
    }

    /// Whether the carrier and the machines do what they are to do: then fewer ways to end are allowed.
    pub fn is_faultless(&self) -> bool {
        let prompt = self.delay_ms.1 < 1_000 && self.stray == 0.0;
        prompt && self.loss == 0.0 && self.fault_ms.is_none() && self.skew_ms == 0
    }

    /// The longest way of a message in a world where no old copies turn up; `None` where they do.
    pub fn longest_way_ms(&self) -> Option<u64> {
        // A copy is sent as late as the first one arrives.
        (self.stray == 0.0 && !self.holds).then_some(2 * self.delay_ms.1)
    }
}
