//! Everything that is to happen later, soonest first.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use signaling::Time;

/// How many moments that nobody wants any more may lie about.
const UNWANTED: usize = 1_024;

/// A heap of moments. What is no longer wanted is passed over by its owner when its time comes, or thrown out by [`Timers::tidy`] before.
pub(crate) struct Timers<K> {
    heap: BinaryHeap<Reverse<Entry<K>>>,
    pushed: u64,
}

struct Entry<K> {
    at: Time,
    order: u64,
    what: K,
}

impl<K> Timers<K> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), pushed: 0 }
    }

    pub(crate) fn push(&mut self, at: Time, what: K) {
        self.pushed += 1;
        self.heap.push(Reverse(Entry { at, order: self.pushed, what }));
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    /// Puts off what is chosen by so many ms.
    pub(crate) fn postpone(&mut self, ms: u64, is_chosen: impl Fn(&K) -> bool) {
        for mut entry in self.heap.drain().collect::<Vec<_>>() {
            if is_chosen(&entry.0.what) {
                entry.0.at = entry.0.at + ms;
            }
            self.heap.push(entry);
        }
    }

    /// Takes the next one that is due, with the time it was set to.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<(Time, K)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| (entry.at, entry.what))
    }
}

impl<K> Timers<K> {
    /// Throws out what is no longer wanted, where that is most of the heap; `wanted` is how many can be, at most. It costs little for
    /// each moment that was ever set.
    ///
    /// A deadline of half a minute or an hour would otherwise outlive its short call or visit by so long, and thousands of them with it.
    pub(crate) fn tidy(&mut self, wanted: usize, is_wanted: impl Fn(Time, &K) -> bool) {
        if self.heap.len() > 2 * wanted + UNWANTED {
            self.heap.retain(|Reverse(entry)| is_wanted(entry.at, &entry.what));
        }
    }
}

impl<K> Entry<K> {
    fn rank(&self) -> (Time, u64) {
        (self.at, self.order)
    }
}

impl<K> PartialEq for Entry<K> {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl<K> Eq for Entry<K> {}

impl<K> PartialOrd for Entry<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Entry<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_ones_come_in_the_order_of_time_and_then_of_pushing() {
        let mut timers = Timers::new();
        for (at, what) in [(5, 'c'), (3, 'a'), (9, 'd'), (3, 'b')] {
            timers.push(Time(at), what);
        }
        let mut due = Vec::new();
        while let Some((_, what)) = timers.pop_due(Time(5)) {
            due.push(what);
        }
        assert_eq!(due, ['a', 'b', 'c']);
        assert_eq!(timers.next(), Some(Time(9)));
    }
    #[test]
    fn what_nobody_wants_any_more_does_not_pile_up() {
        let mut timers = Timers::new();
        for number in 0..100_000 {
            timers.push(Time(1_000_000 + number), number);
            timers.tidy(10, |at, what| at == Time(1_000_000 + what) && what % 10_000 == 7);
            assert!(timers.heap.len() <= 1_024 + 2 * 10, "{}", timers.heap.len());
        }
        assert_eq!(timers.pop_due(Time(2_000_000)).map(|(_, what)| what), Some(7));
        assert_eq!(timers.pop_due(Time(2_000_000)).map(|(_, what)| what), Some(10_007));
    }
}
