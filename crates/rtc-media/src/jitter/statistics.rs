//! What RFC 3550 counts of arrivals: extended numbers, loss, jitter.

use super::Samples;

/// Packets by what became of them, since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ArrivalCounts {
    /// Different packets that came, in time or late.
    pub received: u64,
    /// Packets that never came, as far as numbers tell (RFC 3550, appendix A.3); one on its way counts until it is here.
    pub lost: u64,
    /// Packets that came after their turn or were left out to catch up.
    pub late: u64,
    /// Packets that came again.
    pub duplicate: u64,
    /// Packets that came after one sent later.
    pub reordered: u64,
    /// Times at which the stream started anew.
    pub restarts: u64,
    /// Interarrival jitter in ms (RFC 3550, section 6.4.1).
    pub jitter_ms: f32,
}

#[derive(Debug, Default)]
pub(super) struct ArrivalStatistics {
    stream: Option<Stream>,
    /// Totals of the streams before this one.
    expected_before: u64,
    received_before: u64,
    counts: ArrivalCounts,
}

#[derive(Debug)]
struct Stream {
    first_sequence: i64,
    highest_sequence: i64,
    timestamp_of_highest: Samples,
    received: u64,
    last_transit: Samples,
    /// In samples.
    jitter: f64,
}

impl ArrivalStatistics {
    /// Counts number and timestamp on from the highest so far, without wrapping.
    pub(super) fn unwrap(&self, sequence: u16, timestamp: u32) -> (i64, Samples) {
        match &self.stream {
            None => (i64::from(sequence), Samples::from(timestamp)),
            Some(stream) => {
                let step = sequence.wrapping_sub(stream.highest_sequence as u16) as i16;
                let elapsed = timestamp.wrapping_sub(stream.timestamp_of_highest as u32) as i32;
                (stream.highest_sequence + i64::from(step), stream.timestamp_of_highest + Samples::from(elapsed))
            }
        }
    }

    pub(super) fn highest_sequence(&self) -> Option<i64> {
        self.stream.as_ref().map(|stream| stream.highest_sequence)
    }

    pub(super) fn count(&mut self, now: Samples, sequence: i64, timestamp: Samples) {
        let transit = now - timestamp;
        let stream = self.stream.get_or_insert(Stream {
            first_sequence: sequence,
            highest_sequence: sequence,
            timestamp_of_highest: timestamp,
            received: 0,
            last_transit: transit,
            jitter: 0.0,
        });
        stream.received += 1;
        stream.first_sequence = stream.first_sequence.min(sequence);
        if sequence > stream.highest_sequence {
            stream.highest_sequence = sequence;
            stream.timestamp_of_highest = timestamp;
        } else if sequence < stream.highest_sequence {
            self.counts.reordered += 1;
        }
        let difference = (transit - stream.last_transit).abs() as f64;
        stream.jitter += (difference - stream.jitter) / 16.0;
        stream.last_transit = transit;
    }

    pub(super) fn count_duplicate(&mut self) {
        self.counts.duplicate += 1;
    }

    pub(super) fn count_late(&mut self) {
        self.counts.late += 1;
    }

    pub(super) fn restart(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.expected_before += stream.expected();
            self.received_before += stream.received;
            self.counts.restarts += 1;
        }
    }

    pub(super) fn counts(&self) -> ArrivalCounts {
        let (expected, received, jitter) =
            self.stream.as_ref().map_or((0, 0, 0.0), |stream| (stream.expected(), stream.received, stream.jitter));
        let received = self.received_before + received;
        ArrivalCounts {
            received,
            lost: (self.expected_before + expected).saturating_sub(received),
            jitter_ms: (jitter / super::MILLISECOND as f64) as f32,
            ..self.counts
        }
    }
}

impl Stream {
    fn expected(&self) -> u64 {
        (self.highest_sequence - self.first_sequence + 1).max(0) as u64
    }
}
