//! The packets that wait, in the order of their numbers.

use bytes::Bytes;

use super::Samples;

/// A packet with its number and timestamp counted on without wrapping.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Waiting {
    pub(super) sequence: i64,
    pub(super) timestamp: Samples,
    pub(super) samples: Samples,
    pub(super) has_fec: bool,
    pub(super) pause: bool,
    pub(super) payload: Bytes,
}

impl Waiting {
    pub(super) fn end(&self) -> Samples {
        self.timestamp + self.samples
    }
}

/// Packets by number, and which of the last numbers were here before.
#[derive(Debug)]
pub(super) struct PacketStore {
    slots: Vec<Slot>,
    /// No packet below this number is here.
    lowest: i64,
    /// One more than the highest number ever put in.
    end: i64,
}

#[derive(Clone, Debug, Default)]
enum Slot {
    #[default]
    Empty,
    Gone(i64),
    Here(Waiting),
}

/// 256 packets of 20 ms are 5 s: no call waits longer. A sender of 2.5 ms packets still gets 640 ms.
const CAPACITY: i64 = 256;

impl PacketStore {
    pub(super) fn new() -> PacketStore {
        PacketStore { slots: vec![Slot::Empty; CAPACITY as usize], lowest: 0, end: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.slots.fill(Slot::Empty);
        self.lowest = 0;
        self.end = 0;
    }

    /// Whether this number was put in before, as far back as the store remembers.
    pub(super) fn has_seen(&self, sequence: i64) -> bool {
        match &self.slots[slot(sequence)] {
            Slot::Empty => false,
            Slot::Gone(seen) => *seen == sequence,
            Slot::Here(packet) => packet.sequence == sequence,
        }
    }

    /// Puts a packet in that was not seen before; returns how many it pushed out because nobody took them for 5 s.
    pub(super) fn put(&mut self, packet: Waiting) -> u64 {
        let sequence = packet.sequence;
        if self.is_empty() {
            self.lowest = sequence;
        }
        let mut pushed_out = 0;
        while let Some(first) = self.first().filter(|first| first.sequence <= sequence - CAPACITY) {
            let first = first.sequence;
            self.take(first);
            pushed_out += 1;
        }
        self.lowest = self.lowest.min(sequence);
        self.end = self.end.max(sequence + 1);
        self.slots[slot(sequence)] = Slot::Here(packet);
        pushed_out
    }

    /// Notes a number as seen without keeping its packet.
    pub(super) fn note(&mut self, sequence: i64) {
        if !matches!(self.slots[slot(sequence)], Slot::Here(_)) {
            self.slots[slot(sequence)] = Slot::Gone(sequence);
        }
    }

    /// The packet of the lowest number.
    pub(super) fn first(&self) -> Option<&Waiting> {
        self.from(self.lowest)
    }

    /// The packet after `sequence`.
    pub(super) fn after(&self, sequence: i64) -> Option<&Waiting> {
        self.from(sequence + 1)
    }

    /// Takes a packet out; its number stays known.
    pub(super) fn take(&mut self, sequence: i64) -> Option<Waiting> {
        if !matches!(&self.slots[slot(sequence)], Slot::Here(packet) if packet.sequence == sequence) {
            return None;
        }
        self.lowest = self.lowest.max(sequence + 1);
        match std::mem::replace(&mut self.slots[slot(sequence)], Slot::Gone(sequence)) {
            Slot::Here(packet) => Some(packet),
            Slot::Empty | Slot::Gone(_) => None,
        }
    }

    fn is_empty(&self) -> bool {
        self.first().is_none()
    }

    fn from(&self, sequence: i64) -> Option<&Waiting> {
        let start = sequence.max(self.lowest).max(self.end - CAPACITY);
        (start..self.end).find_map(|wanted| match &self.slots[slot(wanted)] {
            Slot::Here(packet) if packet.sequence == wanted => Some(packet),
            Slot::Here(_) | Slot::Gone(_) | Slot::Empty => None,
        })
    }
}

fn slot(sequence: i64) -> usize {
    sequence.rem_euclid(CAPACITY) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sequence: i64) -> Waiting {
        Waiting {
            sequence,
            timestamp: sequence * 960,
            samples: 960,
            has_fec: false,
            pause: false,
            payload: Bytes::from_static(b"x"),
        }
    }

    #[test]
    fn packets_come_out_in_order_and_once() {
        let mut store = PacketStore::new();
        for sequence in [12, 10, 13, 11] {
            assert_eq!(store.put(packet(sequence)), 0);
        }
        for sequence in 10..=13 {
            assert_eq!(store.first().map(|first| first.sequence), Some(sequence));
            assert!(store.take(sequence).is_some());
            assert!(store.take(sequence).is_none());
            assert!(store.has_seen(sequence));
        }
        assert_eq!(store.first(), None);
        assert!(!store.has_seen(14));
    }

    #[test]
    fn what_nobody_takes_is_pushed_out_from_the_front() {
        let mut store = PacketStore::new();
        let pushed_out: u64 = (-50..300).map(|sequence| store.put(packet(sequence))).sum();
        assert_eq!(pushed_out, 350 - CAPACITY as u64);
        assert_eq!(store.first().map(|first| first.sequence), Some(300 - CAPACITY));
    }

    #[test]
    fn a_gap_wider_than_the_store_is_no_search_without_end() {
        let mut store = PacketStore::new();
        store.put(packet(5));
        assert_eq!(store.put(packet(5 + 100_000)), 1);
        assert_eq!(store.first().map(|first| first.sequence), Some(100_005));
    }
}
