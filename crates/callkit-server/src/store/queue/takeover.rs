//! What an earlier run left to be sent goes on by the clock of this one.

use redb::{ReadableTable, WriteTransaction};

use super::super::marks::{self, Marks};
use super::{Item, NEVER, Writer};
use crate::clock::moved;

/// The longest wait that a receiver can ask for, as [`Pace`](crate::outbox::Pace) has it, in ms.
const LONGEST_WAIT_MS: u64 = 3_600_000;

/// Brings what an earlier run left to the clock of this one.
///
/// What is written goes by a clock that takes no part in the steps of the wall clock. If that was set during the run, by so much is everything
/// off; and if it is now before the last moment of that run, it was set since. How long the server was gone, only the wall clock can say.
pub(super) fn take_over(transaction: &WriteTransaction, now: u64) -> Result<(), redb::Error> {
    let marks = Marks::open(transaction)?;
    if let (Some(written), Some(by_wall)) = (marks.get(marks::WRITTEN)?, marks.get(marks::WRITTEN_BY_WALL)?) {
        let to = by_wall.min(now);
        if to.abs_diff(written) > 1_000 {
            Writer::open(transaction)?.move_all(written, to)?;
        }
    }
    Writer::open(transaction)?.hurry(now)
}

impl Writer<'_> {
    /// Moves every time by as much as lies between these two.
    fn move_all(&mut self, from: u64, to: u64) -> Result<(), redb::Error> {
        let seqs: Vec<u64> = self.items.iter()?.map(|row| row.map(|(key, _)| key.value())).collect::<Result<_, _>>()?;
        for seq in seqs {
            let Some(item) = self.item(seq)? else { continue };
            let (created_unix_ms, expires_unix_ms) =
                (moved(item.created_unix_ms, from, to), moved(item.expires_unix_ms, from, to));
            self.expiries.remove((item.expires_unix_ms, seq))?;
            self.expiries.insert((expires_unix_ms, seq), ())?;
            let item = Item { created_unix_ms, expires_unix_ms, ..item };
            self.items.insert(seq, serde_json::to_vec(&item).unwrap_or_default().as_slice())?;
            let Some((due, attempts)) = self.states.get(seq)?.map(|state| state.value()) else { continue };
            if due != NEVER {
                let destination = item.destination();
                self.due.remove((destination.as_str(), due, seq))?;
                self.make_due(seq, &destination, moved(due, from, to), attempts)?;
            }
        }
        Ok(())
    }

    /// What is due later than anybody can have asked for is due now: the clock that said so was ahead.
    fn hurry(&mut self, now: u64) -> Result<(), redb::Error> {
        let latest = now.saturating_add(LONGEST_WAIT_MS);
        let mut late = Vec::new();
        for row in self.states.iter()? {
            let (seq, state) = row?;
            let (due, attempts) = state.value();
            if due != NEVER && due > latest {
                late.push((seq.value(), due, attempts));
            }
        }
        for (seq, due, attempts) in late {
            let Some(item) = self.item(seq)? else { continue };
            let destination = item.destination();
            self.due.remove((destination.as_str(), due, seq))?;
            self.make_due(seq, &destination, now, attempts)?;
        }
        Ok(())
    }
}

/// Makes everything due at this time.
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
pub(in crate::store) fn put_off(transaction: &WriteTransaction, due: u64) {
    let mut writer = Writer::open(transaction).unwrap();
    let rows: Vec<_> =
        writer.states.iter().unwrap().map(|row| row.unwrap()).map(|(k, v)| (k.value(), v.value())).collect();
    for (seq, (before, attempts)) in rows {
        let destination = writer.item(seq).unwrap().unwrap().destination();
        writer.due.remove((destination.as_str(), before, seq)).unwrap();
        writer.make_due(seq, &destination, due, attempts).unwrap();
    }
}
