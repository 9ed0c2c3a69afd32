//! One direction between two hosts.

use std::time::Duration;

use tokio::time::Instant;

use super::HostId;

/// What one direction does to datagrams; the default delivers all at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// One-way delay.
    pub delay: Duration,
    /// Further delay, evenly spread from zero to this.
    pub jitter: Duration,
    /// Whether jitter may change the order; otherwise a datagram waits for the one before it.
    pub reorders: bool,
    /// The part of datagrams lost, 0 to 1.
    pub loss: f64,
    /// Mean length of a run of losses (Gilbert model); 1 and below: losses are independent.
    pub burst: f64,
    /// The part of datagrams delivered twice, 0 to 1.
    pub duplicates: f64,
    /// Bits a second; none: unlimited.
    pub rate: Option<u64>,
    /// What the queue before a limited rate holds, as time; more is dropped.
    pub queue: Duration,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            reorders: false,
            loss: 0.0,
            burst: 1.0,
            duplicates: 0.0,
            rate: None,
            queue: Duration::from_millis(200),
        }
    }
}

impl Link {
    /// A link with this one-way delay and no other fault.
    pub fn delayed(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }

    /// The same with this part of datagrams lost, independently.
    pub fn with_loss(self, loss: f64) -> Self {
        Self { loss, ..self }
    }

    /// The same with this part of datagrams lost in runs of this mean length.
    pub fn with_bursts(self, loss: f64, burst: f64) -> Self {
        Self { loss, burst, ..self }
    }

    /// The same with up to this much further delay, which may change the order.
    pub fn with_jitter(self, jitter: Duration) -> Self {
        Self { jitter, reorders: true, ..self }
    }
}

/// What one direction has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounts {
    /// Datagrams sent into it.
    pub sent: u64,
    /// Those of them lost.
    pub lost: u64,
    /// Those of them delivered twice.
    pub duplicated: u64,
    /// Bytes sent into it.
    pub bytes: u64,
    /// Bytes of the largest datagram sent into it.
    pub largest: usize,
}

#[derive(Debug)]
pub(super) struct Wire {
    pub(super) link: Link,
    pub(super) counts: LinkCounts,
    chance: Chance,
    losing: bool,
    free_at: Option<Instant>,
    last_delivery: Option<Instant>,
}

impl Wire {
    pub(super) fn new(seed: u64, (HostId(from), HostId(to)): (HostId, HostId)) -> Self {
        let chance = Chance(seed ^ u64::from(from).rotate_left(40) ^ u64::from(to).wrapping_mul(0x9E37_79B9));
        Self {
            link: Link::default(),
            counts: LinkCounts::default(),
            chance,
            losing: false,
            free_at: None,
            last_delivery: None,
        }
    }

    /// When a datagram sent now arrives, and when its copy does.
    pub(super) fn carry(&mut self, now: Instant, bytes: usize) -> [Option<Instant>; 2] {
        self.counts.sent += 1;
        self.counts.bytes += bytes as u64;
        self.counts.largest = self.counts.largest.max(bytes);
        let Some(leaves) = self.queue(now, bytes).filter(|_| !self.is_lost()) else {
            self.counts.lost += 1;
            return [None, None];
        };
        let first = self.arrival(leaves);
        let copied = self.link.duplicates > 0.0 && self.chance.next() < self.link.duplicates;
        self.counts.duplicated += u64::from(copied);
        [Some(first), copied.then(|| self.arrival(leaves))]
    }

    fn queue(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        let Some(rate) = self.link.rate else { return Some(now) };
        let starts = self.free_at.map_or(now, |free| free.max(now));
        if starts - now > self.link.queue {
            return None;
        }
        let leaves = starts + Duration::from_secs_f64(bytes as f64 * 8.0 / rate as f64);
        self.free_at = Some(leaves);
        Some(leaves)
    }

    fn is_lost(&mut self) -> bool {
        let Link { loss, burst, .. } = self.link;
        let chance = match (burst > 1.0 && loss < 1.0, self.losing) {
            (false, _) => loss,
            (true, true) => 1.0 - 1.0 / burst,
            (true, false) => loss / (burst * (1.0 - loss)),
        };
        self.losing = chance >= 1.0 || (chance > 0.0 && self.chance.next() < chance);
        self.losing
    }

    fn arrival(&mut self, leaves: Instant) -> Instant {
        let jitter = match self.link.jitter.is_zero() {
            true => Duration::ZERO,
            false => self.link.jitter.mul_f64(self.chance.next()),
        };
        let mut at = leaves + self.link.delay + jitter;
        if !self.link.reorders {
            at = self.last_delivery.map_or(at, |last| last.max(at));
            self.last_delivery = Some(at);
        }
        at
    }
}

/// SplitMix64: small, and the same on every platform and for ever, which is all a seed needs.
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    /// Evenly from 0 up to 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(link: Link) -> Wire {
        let ends = (HostId(1), HostId(2));
        Wire { link, ..Wire::new(1, ends) }
    }

    fn losses(link: Link) -> Vec<bool> {
        let (mut wire, now) = (wire(link), Instant::now());
        (0..100_000).map(|_| wire.carry(now, 100)[0].is_none()).collect()
    }

    #[test]
    fn loss_is_as_much_as_asked_for_and_comes_in_runs_when_asked() {
        for (burst, longest) in [(1.0, 1.15), (4.0, 4.3)] {
            let lost = losses(Link::default().with_bursts(0.1, burst));
            let count = lost.iter().filter(|lost| **lost).count();
            assert!((9_000..11_000).contains(&count), "{count}");
            let runs = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count();
            let mean = count as f64 / runs as f64;
            assert!(mean > burst * 0.9 && mean < longest, "{mean}");
        }
    }

    #[test]
    fn a_rate_delays_and_its_full_queue_drops() {
        let now = Instant::now();
        let mut wire = wire(Link { rate: Some(80_000), ..Link::default() });
        let arrivals: Vec<_> = (0..40).map(|_| wire.carry(now, 100)[0]).collect();
        assert_eq!(arrivals[0], Some(now + Duration::from_millis(10)));
        assert_eq!(arrivals[1], Some(now + Duration::from_millis(20)));
        assert_eq!(arrivals.iter().flatten().count(), 21);
    }

    #[test]
    fn the_same_seed_gives_the_same_fate() {
        let link = Link::default().with_loss(0.3);
        assert_eq!(losses(link), losses(link));
    }
}
