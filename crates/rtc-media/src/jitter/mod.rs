//! Decides, every time the ear needs sound, which packet it comes from or how to do without.
//!
//! The buffer knows packets and time, no codec and no samples: it answers with a [`Decision`] that the receiver carries out. Time
//! comes in with each call.
//!
//! One number steers it: the *wait* of a packet, from the moment at which it could have been here, had it been as fast as the fastest of
//! late, to the moment at which it is decoded. The *target* is the wait that lets nearly all packets arrive in time. The buffer stretches
//! the sound until the wait meets the target. The *delay* it reports adds the sound that is decoded and waits to be heard, less than
//! 10 ms.

mod delay;
mod statistics;
mod store;

use std::time::Instant;

use bytes::Bytes;

use self::{
    delay::DelayEstimator,
    statistics::ArrivalStatistics,
    store::{PacketStore, Waiting},
};
use crate::SAMPLE_RATE;

pub use self::statistics::ArrivalCounts;

/// A time or a length in samples of 48 kHz.
type Samples = i64;

const MILLISECOND: Samples = SAMPLE_RATE as Samples / 1000;

/// How the buffer trades delay for gaps.
#[derive(Clone, Debug, PartialEq)]
pub struct JitterConfig {
    /// The delay never aims below this; it is what protects against a media clock that ticks unevenly. Default 10 ms.
    pub min_delay_ms: u32,
    /// The delay never aims above this: better a gap than a talk over one another. Default 500 ms.
    pub max_delay_ms: u32,
    /// The delay of the first packets, until the path is known. Default 25 ms.
    pub start_delay_ms: u32,
    /// Share of intervals of 100 ms in which every packet is to be in time. Default 0.97.
    pub quantile: f32,
    /// What an interval still weighs after the next one. Default 0.99: half is forgotten in 7 s.
    pub forget_factor: f32,
}

impl Default for JitterConfig {
    fn default() -> JitterConfig {
        JitterConfig { min_delay_ms: 10, max_delay_ms: 500, start_delay_ms: 25, quantile: 0.97, forget_factor: 0.99 }
    }
}

/// A packet as it came, with what its codec's header says.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrival {
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP timestamp, 48 kHz.
    pub timestamp: u32,
    /// Samples it decodes to.
    pub samples: u32,
    /// Whether it carries a copy of the packet before it.
    pub has_fec: bool,
    /// Whether it announces a pause of the sender (discontinuous transmission).
    pub pause: bool,
    /// What the decoder gets.
    pub payload: Bytes,
}

/// What became of an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It waits for its turn.
    Stored,
    /// Its turn is over.
    Late,
    /// It was here before.
    Duplicate,
    /// Its number or timestamp is far from the stream; kept aside until the next one confirms that the stream restarted.
    Doubtful,
    /// It confirmed that the stream restarted: the buffer begins anew with it.
    Restarted,
}

/// Where the next sound comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Nothing to play yet: silence.
    Wait,
    /// Decode this packet.
    Decode {
        /// The packet.
        payload: Bytes,
        /// It does not follow from what was played: fade over.
        splice: bool,
        /// It begins a stream: reset the decoder first.
        fresh: bool,
        /// What to do to the sound so that the delay comes nearer to its target.
        stretch: Stretch,
    },
    /// Decode the copy of a lost packet that `carrier` has.
    RecoverWithFec {
        /// The packet after the lost one; it stays in the buffer.
        carrier: Bytes,
        /// Length of the copy.
        samples: u32,
        /// How much of its start was concealed already and is to be left out.
        skip: u32,
    },
    /// Let the decoder guess this many samples, a multiple of 2.5 ms.
    Conceal {
        /// Length of the guess.
        samples: u32,
    },
    /// The sender pauses: let the decoder make room tone.
    ComfortNoise {
        /// Length of the tone.
        samples: u32,
    },
}

/// How to change the length of the sound; lengths are at most, in samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stretch {
    /// The delay is right.
    Keep,
    /// Leave something out.
    Accelerate {
        /// The most to leave out.
        limit: u32,
        /// The delay is far too long: take a worse fit.
        hurry: bool,
    },
    /// Put something in.
    Expand {
        /// The most to put in.
        limit: u32,
    },
}

/// An adaptive jitter buffer.
#[derive(Debug)]
pub struct JitterBuffer {
    config: JitterConfig,
    epoch: Option<Instant>,
    store: PacketStore,
    arrivals: ArrivalStatistics,
    delays: DelayEstimator,
    playout: Playout,
    /// A packet that does not belong to the stream, unless the next one follows it.
    doubtful: Option<(Samples, Arrival)>,
    loss: LossGauge,
    /// How long the packet decoded last waited, smoothed against an uneven clock.
    wait: Samples,
    /// Sound that lay before it, decoded and not yet heard.
    unplayed: Samples,
    discarded: u64,
}

/// ```text
///            first packet has waited long enough                  a packet announces a pause
///  Waiting ────────────────────────────────────────▶ Playing ─────────────────────────────────▶ Playing { paused }
///     ▲                                                 │  ◀──────────────────────────────────────────┘
///     └───────────────── restart ───────────────────────┘                the next packet is due
/// ```
#[derive(Debug)]
enum Playout {
    Waiting {
        /// A stream played before: fade it out rather than cut it.
        resumes: bool,
    },
    Playing(Playing),
}

#[derive(Debug)]
struct Playing {
    /// What follows the sample decoded last.
    next_sequence: i64,
    next_timestamp: Samples,
    /// Samples that were made up since then because nothing was here.
    stalled: Samples,
    /// The sender announced a pause.
    paused: bool,
    /// Since the length of the sound was last changed.
    since_stretch: Samples,
}

/// Deviation from the target that is left alone, most of it because the ear asks on a grid of 10 ms.
const TOO_LONG: Samples = 8 * MILLISECOND;
const TOO_SHORT: Samples = 4 * MILLISECOND;
/// Decoded sound that waits for its frame is delay that protects from nothing.
const TOO_MUCH_UNPLAYED: Samples = 5 * MILLISECOND;
/// Deviation from which a worse fit is taken.
const FAR_TOO_LONG: Samples = 40 * MILLISECOND;
/// Deviation from which packets are left out: after an outage the present matters more than the past.
const HOPELESS: Samples = 300 * MILLISECOND;
/// Pause between two inaudible stretches.
const STRETCH_PAUSE: Samples = 60 * MILLISECOND;
/// A packet may start this much before its due time, half the grid on which the ear asks.
const DUE_EARLY: Samples = 5 * MILLISECOND;
/// Made-up sound for an empty buffer comes in pieces of one frame, so that a late packet is not kept waiting.
const STALL_PIECE: Samples = 10 * MILLISECOND;
/// The longest guess asked for at once, and the unit of all guesses (Opus decodes multiples of 2.5 ms).
const MAX_PIECE: Samples = 20 * MILLISECOND;
const PIECE_UNIT: Samples = 120;

impl JitterBuffer {
    /// An empty buffer.
    pub fn new(config: JitterConfig) -> JitterBuffer {
        let prior = Samples::from(config.start_delay_ms.min(config.max_delay_ms)) * MILLISECOND;
        let delays =
            DelayEstimator::new(prior, config.quantile.clamp(0.5, 0.9999), config.forget_factor.clamp(0.5, 0.99999));
        JitterBuffer {
            config,
            epoch: None,
            store: PacketStore::new(),
            arrivals: ArrivalStatistics::default(),
            delays,
            playout: Playout::Waiting { resumes: false },
            doubtful: None,
            loss: LossGauge::default(),
            wait: 0,
            unplayed: 0,
            discarded: 0,
        }
    }

    /// Takes a packet that came at `now`.
    pub fn insert(&mut self, now: Instant, arrival: Arrival) -> Inserted {
        let now = self.samples_since_epoch(now);
        let (sequence, timestamp) = self.arrivals.unwrap(arrival.sequence, arrival.timestamp);
        if self.is_strange(now, sequence, timestamp) {
            return self.on_strange_arrival(now, arrival);
        }
        self.doubtful = None;
        if self.store.has_seen(sequence) {
            self.arrivals.count_duplicate();
            return Inserted::Duplicate;
        }
        self.arrivals.count(now, sequence, timestamp);
        self.delays.observe(now, now - timestamp);
        if let Playout::Playing(playing) = &self.playout
            && (sequence < playing.next_sequence || timestamp < playing.next_timestamp)
        {
            self.store.note(sequence);
            self.arrivals.count_late();
            return Inserted::Late;
        }
        self.discarded += self.store.put(Waiting {
            sequence,
            timestamp,
            samples: Samples::from(arrival.samples),
            has_fec: arrival.has_fec,
            pause: arrival.pause,
            payload: arrival.payload,
        });
        Inserted::Stored
    }

    /// Says where the sound after the `unplayed` samples already decoded comes from, at `now`.
    pub fn pull(&mut self, now: Instant, unplayed: usize) -> Decision {
        let now = self.samples_since_epoch(now);
        let target = self.target();
        self.unplayed = unplayed as Samples;
        let Some(base) = self.delays.base() else {
            return self.wait();
        };
        let wait_of = |timestamp: Samples| now - base - timestamp;
        self.discard_hopeless(&wait_of, target);
        let Some(first) = self.store.first() else {
            return self.on_empty();
        };
        let (sequence, timestamp, samples, has_fec) = (first.sequence, first.timestamp, first.samples, first.has_fec);
        let wait = wait_of(timestamp);
        let due = wait >= target - DUE_EARLY;

        let Playout::Playing(playing) = &mut self.playout else {
            return if due { self.start(sequence, wait) } else { self.wait() };
        };
        let gap = timestamp - playing.next_timestamp;
        let lost = sequence - playing.next_sequence;
        if playing.paused || (lost == 0 && gap > 0) {
            return if due { self.resume(sequence, wait) } else { self.on_pause() };
        }
        if gap == 0 {
            return match playing.stalled {
                0 => self.play_on(sequence, wait, target),
                _ => self.resume(sequence, wait),
            };
        }

        let missing = gap - playing.stalled;
        let behind = playing.stalled > 0 && wait > target + TOO_LONG;
        if behind || missing < PIECE_UNIT {
            return self.resume(sequence, wait);
        }
        if has_fec && missing <= samples {
            return self.recover(timestamp, missing, samples);
        }
        let until_copy = if has_fec { missing - samples } else { missing };
        self.conceal(until_copy)
    }

    /// Tells the buffer that the sound was made shorter (negative) or longer by this many samples after its last decision.
    pub fn stretched(&mut self, samples: i64) {
        self.wait += samples;
        if let Playout::Playing(playing) = &mut self.playout
            && samples != 0
        {
            playing.since_stretch = 0;
        }
    }

    /// Whether a packet waits.
    pub fn has_packet(&self) -> bool {
        self.store.first().is_some()
    }

    /// Delay of the sound played last, in ms.
    pub fn delay_ms(&self) -> f32 {
        (self.wait + self.unplayed) as f32 / MILLISECOND as f32
    }

    /// The delay aimed at, in ms.
    pub fn target_ms(&self) -> f32 {
        self.target() as f32 / MILLISECOND as f32
    }

    /// What came, and in which state.
    pub fn arrivals(&self) -> ArrivalCounts {
        let counts = self.arrivals.counts();
        ArrivalCounts { late: counts.late + self.discarded, ..counts }
    }

    fn target(&self) -> Samples {
        let margin = 3 * MILLISECOND;
        let for_the_copy = if self.loss.is_lossy() { MAX_PIECE } else { 0 };
        let (min, max) = (self.config.min_delay_ms.min(self.config.max_delay_ms), self.config.max_delay_ms);
        (self.delays.covering_delay() + margin + for_the_copy)
            .clamp(Samples::from(min) * MILLISECOND, Samples::from(max) * MILLISECOND)
    }

    fn samples_since_epoch(&mut self, now: Instant) -> Samples {
        let epoch = *self.epoch.get_or_insert(now);
        let in_samples = |duration: std::time::Duration| (duration.as_nanos() * 6 / 125_000) as Samples;
        match now.checked_duration_since(epoch) {
            Some(after) => in_samples(after),
            None => -in_samples(epoch.duration_since(now)),
        }
    }

    fn is_strange(&self, now: Samples, sequence: i64, timestamp: Samples) -> bool {
        const MAX_DROPOUT: i64 = 250;
        const MAX_MISORDER: i64 = 150;
        const MAX_SHIFT: Samples = 3 * SAMPLE_RATE as Samples;
        let (Some(highest), Some(base)) = (self.arrivals.highest_sequence(), self.delays.base()) else {
            return false;
        };
        let jump = sequence - highest;
        !(-MAX_MISORDER..=MAX_DROPOUT).contains(&jump) || (now - timestamp - base).abs() > MAX_SHIFT
    }

    fn on_strange_arrival(&mut self, now: Samples, arrival: Arrival) -> Inserted {
        let follows = self.doubtful.as_ref().is_some_and(|(_, previous)| {
            let step = arrival.sequence.wrapping_sub(previous.sequence);
            let elapsed = arrival.timestamp.wrapping_sub(previous.timestamp);
            (1..=3).contains(&step) && elapsed < SAMPLE_RATE
        });
        let previous = self.doubtful.replace((now, arrival.clone()));
        let Some((came, previous)) = previous.filter(|_| follows) else {
            return Inserted::Doubtful;
        };
        self.doubtful = None;
        self.restart();
        for (came, arrival) in [(came, previous), (now, arrival)] {
            let (sequence, timestamp) = self.arrivals.unwrap(arrival.sequence, arrival.timestamp);
            self.arrivals.count(came, sequence, timestamp);
            self.delays.observe(came, came - timestamp);
            self.store.put(Waiting {
                sequence,
                timestamp,
                samples: Samples::from(arrival.samples),
                has_fec: arrival.has_fec,
                pause: arrival.pause,
                payload: arrival.payload,
            });
        }
        Inserted::Restarted
    }

    fn restart(&mut self) {
        self.store.clear();
        self.arrivals.restart();
        self.delays.restart();
        let resumes = match self.playout {
            Playout::Playing(_) => true,
            Playout::Waiting { resumes } => resumes,
        };
        self.playout = Playout::Waiting { resumes };
    }

    fn wait(&self) -> Decision {
        match self.playout {
            Playout::Waiting { resumes: true } => Decision::Conceal { samples: STALL_PIECE as u32 },
            Playout::Waiting { resumes: false } | Playout::Playing(_) => Decision::Wait,
        }
    }

    fn on_empty(&mut self) -> Decision {
        match &mut self.playout {
            Playout::Waiting { .. } => self.wait(),
            Playout::Playing(playing) if playing.paused => self.on_pause(),
            Playout::Playing(playing) => {
                playing.stalled += STALL_PIECE;
                Decision::Conceal { samples: STALL_PIECE as u32 }
            }
        }
    }

    fn on_pause(&mut self) -> Decision {
        if let Playout::Playing(playing) = &mut self.playout {
            playing.stalled += STALL_PIECE;
        }
        Decision::ComfortNoise { samples: STALL_PIECE as u32 }
    }

    fn start(&mut self, sequence: i64, wait: Samples) -> Decision {
        self.wait = wait;
        self.decode(sequence, true, true, Stretch::Keep)
    }

    /// Plays a packet that does not follow from the sound before it.
    fn resume(&mut self, sequence: i64, wait: Samples) -> Decision {
        self.wait = wait;
        self.decode(sequence, true, false, Stretch::Keep)
    }

    fn play_on(&mut self, sequence: i64, wait: Samples, target: Samples) -> Decision {
        self.wait += (wait - self.wait) / 8;
        let excess = self.wait - target;
        let rested = matches!(&self.playout, Playout::Playing(playing) if playing.since_stretch >= STRETCH_PAUSE);
        let stretch = if excess > FAR_TOO_LONG {
            Stretch::Accelerate { limit: excess as u32, hurry: true }
        } else if excess > TOO_LONG && rested {
            Stretch::Accelerate { limit: (excess + self.unplayed) as u32, hurry: false }
        } else if excess >= 0 && self.unplayed > TOO_MUCH_UNPLAYED && rested {
            Stretch::Accelerate { limit: self.unplayed as u32, hurry: false }
        } else if excess < -TOO_SHORT && rested {
            Stretch::Expand { limit: (2 * MILLISECOND - excess) as u32 }
        } else {
            Stretch::Keep
        };
        self.decode(sequence, false, false, stretch)
    }

    fn decode(&mut self, sequence: i64, splice: bool, fresh: bool, stretch: Stretch) -> Decision {
        let Some(packet) = self.store.take(sequence) else {
            return Decision::Wait;
        };
        let since_stretch = match &self.playout {
            Playout::Playing(playing) => {
                self.loss.count(sequence - playing.next_sequence);
                playing.since_stretch + packet.samples
            }
            Playout::Waiting { .. } => STRETCH_PAUSE,
        };
        self.playout = Playout::Playing(Playing {
            next_sequence: packet.sequence + 1,
            next_timestamp: packet.end(),
            stalled: 0,
            paused: packet.pause,
            since_stretch,
        });
        Decision::Decode { payload: packet.payload, splice, fresh, stretch }
    }

    /// Plays the last `missing` samples before `timestamp` from the copy that the packet there carries.
    fn recover(&mut self, timestamp: Samples, missing: Samples, samples: Samples) -> Decision {
        let Some(carrier) = self.store.first() else {
            return Decision::Wait;
        };
        let (payload, sequence) = (carrier.payload.clone(), carrier.sequence);
        if let Playout::Playing(playing) = &self.playout {
            self.loss.count_lost(sequence - playing.next_sequence);
        }
        self.pass_over(timestamp, sequence);
        Decision::RecoverWithFec { carrier: payload, samples: samples as u32, skip: (samples - missing) as u32 }
    }

    fn conceal(&mut self, missing: Samples) -> Decision {
        let samples = (missing.min(MAX_PIECE) / PIECE_UNIT * PIECE_UNIT).max(PIECE_UNIT);
        if let Playout::Playing(playing) = &mut self.playout {
            let timestamp = playing.next_timestamp + playing.stalled + samples;
            let sequence = playing.next_sequence;
            self.pass_over(timestamp, sequence);
        }
        Decision::Conceal { samples: samples as u32 }
    }

    /// Gives up on everything before `timestamp`.
    fn pass_over(&mut self, timestamp: Samples, sequence: i64) {
        if let Playout::Playing(playing) = &mut self.playout {
            playing.next_timestamp = timestamp;
            playing.next_sequence = sequence;
            playing.stalled = 0;
        }
    }

    /// After an outage its packets come in one heap: leaves out those whose successor is due as well.
    fn discard_hopeless(&mut self, wait_of: &impl Fn(Samples) -> Samples, target: Samples) {
        let Some(first) = self.store.first() else {
            return;
        };
        if wait_of(first.timestamp) <= target + HOPELESS {
            return;
        }
        let mut sequence = first.sequence;
        while let Some(next) = self.store.after(sequence).filter(|next| wait_of(next.timestamp) >= target) {
            let next = next.sequence;
            self.store.take(sequence);
            self.discarded += 1;
            sequence = next;
        }
        if let (Playout::Playing(playing), Some(first)) = (&mut self.playout, self.store.first()) {
            playing.next_timestamp = first.timestamp;
            playing.next_sequence = first.sequence;
            playing.stalled = playing.stalled.max(1);
        }
    }
}

/// Whether so much is lost that waiting one packet longer, for the copy in the next, pays.
#[derive(Debug, Default)]
struct LossGauge {
    share: f32,
    lossy: bool,
}

impl LossGauge {
    const WEIGHT: f32 = 1.0 / 150.0;
    const LOSSY: f32 = 0.012;
    const CLEAN: f32 = 0.003;

    /// Counts a packet played, and those missing before it.
    fn count(&mut self, missing: i64) {
        self.count_lost(missing);
        self.share -= self.share * LossGauge::WEIGHT;
        self.lossy &= self.share > LossGauge::CLEAN;
    }

    fn count_lost(&mut self, packets: i64) {
        for _ in 0..packets.clamp(0, 10) {
            self.share += (1.0 - self.share) * LossGauge::WEIGHT;
        }
        self.lossy |= self.share > LossGauge::LOSSY;
    }

    fn is_lossy(&self) -> bool {
        self.lossy
    }
}
