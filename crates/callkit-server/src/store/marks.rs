//! What the store notes of itself: the last number it gave, how far it believes the wall clock, and by which clock it wrote last.

use std::time::Duration;

use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

/// The name of a mark to its value.
pub(super) const MARKS: TableDefinition<'static, &str, u64> = TableDefinition::new("marks-1");

/// The number given last, of all that was written.
pub(super) const LAST_NUMBER: &str = "last-number";
/// Up to when the wall clock is believed, in ms since 1970.
pub(super) const BELIEVED: &str = "believed-unix-ms";
/// What the clock of what is to be sent showed as that was written last, in ms since 1970.
pub(super) const WRITTEN: &str = "outbox-written-unix-ms";
/// What the wall clock showed then.
pub(super) const WRITTEN_BY_WALL: &str = "outbox-written-by-wall-unix-ms";

pub(super) struct Marks<'a>(Table<'a, &'static str, u64>);

impl<'a> Marks<'a> {
    pub(super) fn open(transaction: &'a WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self(transaction.open_table(MARKS)?))
    }

    pub(super) fn get(&self, name: &str) -> Result<Option<u64>, redb::Error> {
        Ok(self.0.get(name)?.map(|value| value.value()))
    }

    pub(super) fn set(&mut self, name: &str, value: u64) -> Result<(), redb::Error> {
        self.0.insert(name, value)?;
        Ok(())
    }

    /// Notes that this number was given; one that is lower changes nothing.
    pub(super) fn give(&mut self, number: u64) -> Result<(), redb::Error> {
        if self.get(LAST_NUMBER)?.is_none_or(|last| last < number) {
            self.set(LAST_NUMBER, number)?;
        }
        Ok(())
    }
}

/// How far ahead the wall clock may go while this server looks on: in an hour a day. What was not running catches up, and a clock that
/// jumps ahead for a while costs little.
const SPEED: u64 = 24;
/// The year 2020: a clock that shows less was never set.
const NEVER_SET_MS: u64 = 1_577_836_800_000;

/// How far the wall clock is believed where something is deleted by its age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Belief {
    /// None until the clock shows a time that can be.
    until_unix_ms: Option<u64>,
    at: Duration,
}

impl Belief {
    pub(super) fn of(until_unix_ms: Option<u64>) -> Self {
        Self { until_unix_ms, at: Duration::ZERO }
    }

    /// What is to be kept for the next start.
    pub(super) fn until_unix_ms(&self) -> Option<u64> {
        self.until_unix_ms
    }

    /// What time it is at least, to be asked again and again; `mono` counts from the start.
    pub(super) fn at_least(&mut self, mono: Duration, wall_unix_ms: u64) -> Option<u64> {
        let passed_ms = u64::try_from(mono.saturating_sub(self.at).as_millis()).unwrap_or(u64::MAX);
        self.at = mono;
        let until = match self.until_unix_ms {
            None => Some(wall_unix_ms).filter(|at| *at > NEVER_SET_MS),
            Some(until) => Some(until.max(wall_unix_ms.min(until.saturating_add(passed_ms.saturating_mul(SPEED))))),
        };
        self.until_unix_ms = until;
        until.map(|until| until.min(wall_unix_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;
    const DAY_MS: u64 = 24 * HOUR_MS;

    fn hours(hours: u64) -> Duration {
        Duration::from_millis(hours * HOUR_MS)
    }

    #[test]
    fn a_clock_that_is_ahead_is_followed_by_a_day_an_hour_and_forgotten_once_it_is_right() {
        let now = 20_000 * DAY_MS;
        let mut belief = Belief::of(Some(now));
        assert_eq!(belief.at_least(hours(1), now + HOUR_MS), Some(now + HOUR_MS));
        assert_eq!(belief.at_least(hours(3), now + 400 * DAY_MS), Some(now + HOUR_MS + 2 * DAY_MS));
        assert_eq!(belief.at_least(hours(4), now + 4 * HOUR_MS), Some(now + 4 * HOUR_MS));
        let mut next = Belief::of(belief.until_unix_ms());
        assert_eq!(next.at_least(hours(60), now + 50 * DAY_MS), Some(now + 50 * DAY_MS), "a long pause is made up for");
    }

    #[test]
    fn a_clock_that_was_never_set_says_nothing() {
        let mut belief = Belief::default();
        assert_eq!(belief.at_least(hours(1), 5_000), None);
        assert_eq!(belief.at_least(hours(2), 20_000 * DAY_MS), Some(20_000 * DAY_MS));
        assert_eq!(belief.at_least(hours(3), 5_000), Some(5_000), "and what is older than that is deleted by no one");
        assert_eq!(belief.at_least(hours(4), 20_000 * DAY_MS), Some(20_000 * DAY_MS));
    }
}
