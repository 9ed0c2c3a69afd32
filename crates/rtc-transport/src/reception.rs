//! What is known of one incoming RTP stream: extended sequence, loss and interarrival jitter by RFC 3550 (appendices
//! A.1, A.3 and A.8), and loss over the last few seconds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How far back short-term loss and bitrate look.
const WINDOW: Duration = Duration::from_secs(5);
/// A jump of the sequence number this far is a new stream rather than loss (RFC 3550 A.1, MAX_DROPOUT).
const MAX_DROPOUT: u16 = 3_000;
/// A silence this long says nothing of the network: whether the sender's clock ran on meanwhile is its own affair.
const PAUSE: Duration = Duration::from_secs(1);

/// One incoming RTP stream.
#[derive(Debug, Default)]
pub(crate) struct Reception {
    base: u64,
    highest: u64,
    started: bool,
    received: u64,
    bytes: u64,
    transit: Option<f64>,
    last_at: Option<Instant>,
    jitter_units: f64,
    clock_rate: f64,
    expected_at_report: u64,
    received_at_report: u64,
    recent: VecDeque<Arrived>,
    seen: SeenWindow,
    epoch: Option<Instant>,
}

#[derive(Debug)]
struct Arrived {
    at: Instant,
    extended: u64,
    bytes: usize,
}

/// What a report block says of a stream (RFC 3550 section 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReportBlock {
    pub(crate) fraction_lost: u8,
    pub(crate) total_lost: u32,
    pub(crate) highest: u32,
    pub(crate) jitter: u32,
}

impl Reception {
    pub(crate) fn new(clock_rate: u32) -> Self {
        Self { clock_rate: f64::from(clock_rate), ..Self::default() }
    }

    /// Takes a packet into account; a repeated one is not counted and gives `false`.
    pub(crate) fn on_packet(&mut self, at: Instant, sequence: u16, timestamp: u32, bytes: usize) -> bool {
        let extended = self.extend(sequence);
        if !self.seen.insert(extended) {
            return false;
        }
        self.received += 1;
        self.bytes += bytes as u64;
        self.follow_jitter(at, timestamp);
        self.recent.push_back(Arrived { at, extended, bytes });
        self.forget(at);
        true
    }

    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Packets that should have come and did not, since the start; duplicates do not hide a loss.
    pub(crate) fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }

    pub(crate) fn jitter_ms(&self) -> f32 {
        if self.clock_rate == 0.0 { 0.0 } else { (self.jitter_units / self.clock_rate * 1_000.0) as f32 }
    }

    /// The part lost of what was sent in the last seconds, 0 to 1.
    pub(crate) fn recent_loss(&mut self, now: Instant) -> f32 {
        self.forget(now);
        let (Some(first), Some(last)) =
            (self.recent.iter().map(|a| a.extended).min(), self.recent.iter().map(|a| a.extended).max())
        else {
            return 0.0;
        };
        let expected = last - first + 1;
        1.0 - self.recent.len() as f32 / expected as f32
    }

    /// Payload bits a second over the last seconds.
    pub(crate) fn recent_bitrate(&mut self, now: Instant) -> u32 {
        self.forget(now);
        let Some(first) = self.recent.front() else { return 0 };
        let span = now.saturating_duration_since(first.at).as_secs_f64().max(0.2);
        (self.recent.iter().map(|a| a.bytes).sum::<usize>() as f64 * 8.0 / span) as u32
    }

    /// The block of the next receiver report; starts a new report interval.
    pub(crate) fn report(&mut self) -> ReportBlock {
        let expected = self.expected();
        let expected_now = expected - self.expected_at_report;
        let received_now = self.received - self.received_at_report;
        self.expected_at_report = expected;
        self.received_at_report = self.received;
        let lost_now = expected_now.saturating_sub(received_now);
        ReportBlock {
            fraction_lost: (lost_now << 8).checked_div(expected_now).map_or(0, |part| part.min(255) as u8),
            total_lost: self.lost().min(0x7F_FFFF) as u32,
            highest: self.highest as u32,
            jitter: self.jitter_units as u32,
        }
    }

    fn expected(&self) -> u64 {
        if self.started { self.highest - self.base + 1 } else { 0 }
    }

    fn extend(&mut self, sequence: u16) -> u64 {
        if !self.started {
            self.started = true;
            // One cycle up, so that a packet from before the first one has a place.
            self.base = 0x1_0000 + u64::from(sequence);
            self.highest = self.base;
            return self.base;
        }
        let ahead = sequence.wrapping_sub(self.highest as u16);
        if ahead < 0x8000 {
            if ahead > MAX_DROPOUT {
                // A restarted sender: what lies between was never sent.
                self.base += u64::from(ahead) - 1;
            }
            self.highest += u64::from(ahead);
            self.highest
        } else {
            let extended = self.highest - u64::from(self.highest as u16).wrapping_sub(u64::from(sequence)) % 0x1_0000;
            self.base = self.base.min(extended);
            extended
        }
    }

    fn follow_jitter(&mut self, at: Instant, timestamp: u32) {
        let epoch = *self.epoch.get_or_insert(at);
        let arrival = at.saturating_duration_since(epoch).as_secs_f64() * self.clock_rate;
        let transit = arrival - f64::from(timestamp);
        let paused = self.last_at.replace(at).is_some_and(|last| at.saturating_duration_since(last) > PAUSE);
        if let Some(before) = self.transit.replace(transit).filter(|_| !paused) {
            let mut difference = (transit - before).rem_euclid(4_294_967_296.0);
            if difference > 2_147_483_648.0 {
                difference -= 4_294_967_296.0;
            }
            self.jitter_units += (difference.abs() - self.jitter_units) / 16.0;
        }
    }

    fn forget(&mut self, now: Instant) {
        while self.recent.front().is_some_and(|a| now.saturating_duration_since(a.at) > WINDOW) {
            self.recent.pop_front();
        }
    }
}

/// Which of the last 1,024 extended sequence numbers have been seen.
#[derive(Debug, Default)]
struct SeenWindow {
    highest: u64,
    bits: [u64; 16],
}

impl SeenWindow {
    const SPAN: u64 = 1_024;

    /// `false` if it was seen before or is too old to tell.
    fn insert(&mut self, extended: u64) -> bool {
        if extended > self.highest {
            let from = (self.highest + 1).max(extended.saturating_sub(Self::SPAN - 1));
            for number in from..=extended {
                self.bits[(number / 64 % 16) as usize] &= !(1 << (number % 64));
            }
            self.highest = extended;
        } else if self.highest - extended >= Self::SPAN {
            return false;
        }
        let (word, bit) = ((extended / 64 % 16) as usize, 1u64 << (extended % 64));
        let new = self.bits[word] & bit == 0;
        self.bits[word] |= bit;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(20);

    fn feed(reception: &mut Reception, start: Instant, numbers: impl IntoIterator<Item = u32>) {
        for n in numbers {
            reception.on_packet(start + FRAME * n, (65_500 + n) as u16, 4_294_960_000u32.wrapping_add(n * 960), 80);
        }
    }

    #[test]
    fn loss_is_counted_across_the_wrap_of_the_sequence_number() {
        let (mut reception, start) = (Reception::new(48_000), Instant::now());
        feed(&mut reception, start, (0..200).filter(|n| n % 10 != 5));
        assert_eq!((reception.received(), reception.lost()), (180, 20));
        assert!((reception.recent_loss(start + FRAME * 200) - 0.1).abs() < 0.01);
        let block = reception.report();
        assert_eq!((block.total_lost, block.fraction_lost), (20, (20 * 256 / 200) as u8));
        assert_eq!(reception.report().fraction_lost, 0);
    }

    #[test]
    fn neither_a_late_nor_a_repeated_packet_is_a_loss() {
        let (mut reception, start) = (Reception::new(48_000), Instant::now());
        feed(&mut reception, start, [1, 0, 3, 2, 2, 4, 4, 4]);
        assert_eq!((reception.received(), reception.lost()), (5, 0));
    }

    #[test]
    fn a_steady_stream_has_no_jitter_even_where_the_timestamp_wraps() {
        let (mut reception, start) = (Reception::new(48_000), Instant::now());
        feed(&mut reception, start, 0..200);
        assert!(reception.jitter_ms() < 0.01, "{}", reception.jitter_ms());
    }

    #[test]
    fn alternating_delay_gives_the_jitter_of_rfc_3550() {
        let (mut reception, start) = (Reception::new(48_000), Instant::now());
        for n in 0..1_000u32 {
            let late = if n % 2 == 0 { Duration::ZERO } else { Duration::from_millis(8) };
            reception.on_packet(start + FRAME * n + late, n as u16, n * 960, 80);
        }
        assert!((reception.jitter_ms() - 8.0).abs() < 0.1, "{}", reception.jitter_ms());
    }

    #[test]
    fn a_restarted_sender_is_not_a_loss_of_thousands() {
        let (mut reception, start) = (Reception::new(48_000), Instant::now());
        reception.on_packet(start, 10, 0, 80);
        reception.on_packet(start + FRAME, 20_000, 960, 80);
        assert_eq!(reception.lost(), 0);
    }
}
