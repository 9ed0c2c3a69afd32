//! The figures of the voice: written by its thread every 10 ms, read by anybody at any time, without a lock between them.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use rtc_media::{Levels, ReceiverStats};

/// Each figure is whole; two of them may be of neighbouring ticks, which no reader minds.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    microphone_is_open: AtomicBool,
    /// Levels and delays are the bits of an `f32`.
    microphone: AtomicU32,
    peer: AtomicU32,
    played: AtomicU32,
    delay_ms: AtomicU32,
    target_ms: AtomicU32,
    late: AtomicU64,
    recovered: AtomicU64,
    total_samples: AtomicU64,
    concealed_samples: AtomicU64,
}

impl Figures {
    pub(crate) fn set_levels(&self, levels: Levels) {
        self.microphone.store(levels.microphone.to_bits(), Relaxed);
        self.peer.store(levels.peer.to_bits(), Relaxed);
        self.played.store(levels.played.to_bits(), Relaxed);
    }

    pub(crate) fn levels(&self) -> Levels {
        Levels { microphone: float(&self.microphone), peer: float(&self.peer), played: float(&self.played) }
    }

    pub(crate) fn set_receiver(&self, stats: &ReceiverStats) {
        self.delay_ms.store(stats.delay_ms.to_bits(), Relaxed);
        self.target_ms.store(stats.target_ms.to_bits(), Relaxed);
        self.late.store(stats.late, Relaxed);
        self.recovered.store(stats.fec_recovered, Relaxed);
        self.total_samples.store(stats.total_samples, Relaxed);
        self.concealed_samples.store(stats.concealed_samples, Relaxed);
    }

    pub(crate) fn set_microphone_open(&self, open: bool) {
        self.microphone_is_open.store(open, Relaxed);
    }

    pub(crate) fn microphone_is_open(&self) -> bool {
        self.microphone_is_open.load(Relaxed)
    }

    pub(crate) fn snapshot(&self) -> VoiceStats {
        let total = self.total_samples.load(Relaxed);
        VoiceStats {
            levels: self.levels(),
            delay_ms: float(&self.delay_ms),
            target_ms: float(&self.target_ms),
            late: self.late.load(Relaxed),
            recovered: self.recovered.load(Relaxed),
            // Two counters of one moment are not promised; a part is never more than the whole.
            concealed: (self.concealed_samples.load(Relaxed) as f32 / total.max(1) as f32).min(1.0),
        }
    }

    /// There is no voice any more.
    pub(crate) fn clear(&self) {
        self.set_levels(Levels::default());
        self.set_receiver(&ReceiverStats::default());
        self.set_microphone_open(false);
    }
}

/// How the voice does at present.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct VoiceStats {
    pub(crate) levels: Levels,
    pub(crate) delay_ms: f32,
    pub(crate) target_ms: f32,
    pub(crate) late: u64,
    pub(crate) recovered: u64,
    /// The part of what was played that had to be guessed, 0 to 1.
    pub(crate) concealed: f32,
}

fn float(bits: &AtomicU32) -> f32 {
    f32::from_bits(bits.load(Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_cleared() {
        let figures = Figures::default();
        assert_eq!(figures.snapshot(), VoiceStats::default());
        figures.set_levels(Levels { microphone: 12.5, peer: 40.0, played: 41.0 });
        let stats = ReceiverStats {
            delay_ms: 30.0,
            target_ms: 40.0,
            late: 2,
            fec_recovered: 3,
            total_samples: 1_000,
            concealed_samples: 250,
            ..ReceiverStats::default()
        };
        figures.set_receiver(&stats);
        let read = figures.snapshot();
        assert_eq!(read.levels, Levels { microphone: 12.5, peer: 40.0, played: 41.0 });
        assert_eq!(
            (read.delay_ms, read.target_ms, read.late, read.recovered, read.concealed),
            (30.0, 40.0, 2, 3, 0.25)
        );
        figures.clear();
        assert_eq!(figures.snapshot(), VoiceStats::default());
    }
}
