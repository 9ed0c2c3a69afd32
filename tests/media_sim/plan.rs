//! What is to happen in a world, all of it from its seed.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rtc_transport::simulated::Link;

/// Who decides about the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// A server.
    Server,
    /// The caller's device; a chat carries what the devices say.
    Caller,
}

/// When a fault begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// This many ms after the first device rings.
    Ringing(u64),
    /// This many ms after the device that took the call knows that it did.
    Talking(u64),
}

/// The one thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The server, or the chat, is dead for some ms.
    Dead(Moment, u64),
    /// A device is at another address, and notices it some ms later.
    Moves(Moment, usize, u64),
    /// Nothing passes between the caller and the device that takes the call for some ms.
    Cut(Moment, u64),
    /// A device has no network at all for some ms.
    Offline(Moment, usize, u64),
}

impl Fault {
    pub(crate) fn lasts_ms(self) -> u64 {
        match self {
            Fault::Dead(_, ms) | Fault::Moves(_, _, ms) | Fault::Cut(_, ms) | Fault::Offline(_, _, ms) => ms,
        }
    }

    pub(crate) fn moment(self) -> Moment {
        match self {
            Fault::Dead(moment, _) | Fault::Moves(moment, ..) | Fault::Cut(moment, _) | Fault::Offline(moment, ..) => {
                moment
            }
        }
    }
}

/// A world before it begins. Device 0 calls, the others are called.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) placement: Placement,
    /// The link between the caller and each device that is called.
    pub(crate) links: Vec<Link>,
    /// How long a message takes to or from the server, or through the chat: ms, at least and at most.
    pub(crate) post_ms: (u64, u64),
    /// The part of messages that a server's way loses, or a chat delivers late.
    pub(crate) post_loss: f64,
    /// The part of messages that come twice.
    pub(crate) post_repeats: f64,
    /// Whether each device sets its media up while it rings.
    pub(crate) warm: Vec<bool>,
    pub(crate) winner: usize,
    /// How long the user lets it ring.
    pub(crate) ring_ms: u64,
    /// How long the user who hangs up has talked.
    pub(crate) talk_ms: u64,
    pub(crate) hangs_up: usize,
    pub(crate) fault: Option<Fault>,
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Plan {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let placement = if rng.random_bool(0.7) { Placement::Server } else { Placement::Caller };
        let devices = 1 + rng.random_range(1..=3_usize);
        let is_lossy = rng.random_bool(0.5);
        let part =
            |rng: &mut ChaCha8Rng| if is_lossy { f64::from(rng.random_range(0..=100_u32)) / 1_000.0 } else { 0.0 };
        let links = (1..devices)
            .map(|_| {
                let link = Link::delayed(Duration::from_millis(rng.random_range(5..=150))).with_loss(part(&mut rng));
                let jitter = Duration::from_millis(rng.random_range(0..=20));
                if is_lossy { link.with_jitter(jitter) } else { link }
            })
            .collect();
        let fastest = rng.random_range(5..=150);
        let post_ms = (fastest, fastest + rng.random_range(0..=50));
        let (post_loss, post_repeats) = (part(&mut rng), part(&mut rng));
        let all_warm = rng.random_bool(0.6);
        let warm = (0..devices).map(|_| all_warm || rng.random_bool(0.3)).collect();
        let winner = rng.random_range(1..devices);
        let ring_ms = rng.random_range(0..=8_000);
        let talk_ms = rng.random_range(1_500..=8_000);
        let hangs_up = if rng.random_bool(0.5) { 0 } else { winner };
        let mut plan = Plan {
            seed,
            placement,
            links,
            post_ms,
            post_loss,
            post_repeats,
            warm,
            winner,
            ring_ms,
            talk_ms,
            hangs_up,
            fault: None,
        };
        plan.go_wrong(&mut rng);
        plan
    }

    fn go_wrong(&mut self, rng: &mut ChaCha8Rng) {
        /// How long after it the users talk on, so that what comes back is heard.
        const AFTERWARDS_MS: u64 = 8_000;
        let who = if rng.random_bool(0.5) { 0 } else { self.winner };
        // Who answers without a network has given up after 10 s, and rightly.
        let (moment, most_ms) = match rng.random_range(0..4) {
            0 => (Moment::Ringing(rng.random_range(0..=self.ring_ms)), 5_000),
            _ => (Moment::Talking(rng.random_range(0..=4_000)), 8_000),
        };
        self.fault = match rng.random_range(0..6) {
            0 => None,
            1 => Some(Fault::Dead(moment, rng.random_range(1_000..=most_ms))),
            2 => Some(Fault::Moves(moment, who, rng.random_range(50..=1_000))),
            3 => Some(Fault::Cut(moment, rng.random_range(1_000..=most_ms))),
            4 => Some(Fault::Offline(moment, who, rng.random_range(1_000..=most_ms))),
            // Who hangs up does so while it is dead.
            _ => {
                let dies = rng.random_range(500..self.talk_ms);
                let dead_ms = self.talk_ms - dies + rng.random_range(2_000..=20_000);
                return self.fault = Some(Fault::Dead(Moment::Talking(dies), dead_ms));
            }
        };
        let Some(lasts_ms) = self.fault.map(Fault::lasts_ms) else { return };
        let begins_ms = match moment {
            Moment::Ringing(_) => 0,
            Moment::Talking(ms) => ms,
        };
        self.talk_ms = begins_ms + lasts_ms + AFTERWARDS_MS;
    }

    pub(crate) fn devices(&self) -> usize {
        self.warm.len()
    }

    /// The link on which the parties talk.
    pub(crate) fn link(&self) -> Link {
        self.links[self.winner - 1]
    }

    /// How long a packet of the voice is on its way at most, in ms.
    pub(crate) fn one_way_ms(&self) -> u64 {
        let link = self.link();
        (link.delay + link.jitter).as_millis() as u64 + 1
    }

    /// Nothing is lost, late or repeated by chance.
    pub(crate) fn is_lossless(&self) -> bool {
        self.links.iter().all(|link| link.loss == 0.0) && self.post_loss == 0.0
    }

    /// Whether the parties set their media up while it rings.
    pub(crate) fn is_warm(&self) -> bool {
        self.warm[0] && self.warm[self.winner]
    }

    /// Whether the fault begins before the call is accepted.
    pub(crate) fn goes_wrong_early(&self) -> bool {
        matches!(self.fault.map(Fault::moment), Some(Moment::Ringing(_)))
    }

    /// Whether something happens to the way of the voice.
    pub(crate) fn hurts_media(&self) -> bool {
        match self.fault {
            None | Some(Fault::Dead(..)) => false,
            Some(Fault::Moves(..) | Fault::Cut(..) | Fault::Offline(..)) => true,
        }
    }
}
