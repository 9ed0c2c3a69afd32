//! The calls that are over, for both of their users, newest first.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use call_protocol::{AppId, CallId, UserId};
use callkit_hub::CallRecord;
use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::{Change, Retention, Store, StoreError, devices};

/// App, user, begin and call to the call as JSON.
pub(super) const HISTORY: TableDefinition<'static, (&str, &str, u64, u128), &[u8]> = TableDefinition::new("history-1");
/// App and user to the number of calls above.
pub(super) const COUNTS: TableDefinition<'static, (&str, &str), u32> = TableDefinition::new("history-counts-1");
/// The same rows with their begin first: the oldest of all users is found without a search.
pub(super) const AGES: TableDefinition<'static, (u64, u128, &str, &str), ()> = TableDefinition::new("history-ages-1");

/// App, callee and number of a call that was missed to its begin and itself.
pub(super) const MISSED: TableDefinition<'static, (&str, &str, u64), (u64, u128)> =
    TableDefinition::new("history-missed-1");

const DAY_MS: u64 = 24 * 3_600 * 1_000;
/// Old rows deleted with each new one: more than one, so that the old ones run out.
const DELETED_AT_ONCE: usize = 8;
/// Calls of the longest page.
const PAGE: usize = 200;

/// Where a page ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    pub(crate) began_unix_ms: u64,
    pub(crate) call_id: CallId,
}

/// A part of a user's history, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) calls: Vec<CallRecord>,
    /// From where to go on; None at the end.
    pub(crate) next: Option<Cursor>,
}

impl Store {
    /// Adds the call to the history of its two users, soon. The same call again changes nothing but its text.
    pub(crate) fn record(&self, app: &AppId, call: CallRecord) {
        self.note_number(call.number);
        self.change(Change::History { app: app.to_string(), call: Box::new(call) });
    }

    /// Up to `limit` calls (200 at most) of `user` that began before `before`.
    pub(crate) async fn page(
        &self,
        app: &AppId,
        user: &UserId,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let (app, user, from) = (app.clone(), user.clone(), self.oldest());
        let limit = limit.clamp(1, PAGE);
        self.read(move |transaction| {
            let (app, user) = (app.as_str(), user.as_str());
            let end = before.map_or((u64::MAX, u128::MAX), |cursor| (cursor.began_unix_ms, cursor.call_id.bits()));
            let table = transaction.open_table(HISTORY)?;
            if end < (from, 0) {
                return Ok(Page { calls: Vec::new(), next: None });
            }
            let mut rows = table.range((app, user, from, 0)..(app, user, end.0, end.1))?.rev();
            let mut calls = Vec::new();
            for row in rows.by_ref().take(limit) {
                calls.extend(parsed(row?.1.value()));
            }
            let cursor = |call: &CallRecord| Cursor { began_unix_ms: call.began_unix_ms, call_id: call.call_id };
            let next = if rows.next().is_some() { calls.last().map(cursor) } else { None };
            Ok(Page { calls, next })
        })
        .await
    }

    /// The calls that `user` missed and whose number is higher than `known`, oldest end first, and before them up to `older` others.
    pub(crate) async fn missed_after(
        &self,
        app: &AppId,
        user: &UserId,
        known: u64,
        older: usize,
    ) -> Result<Vec<CallRecord>, StoreError> {
        let (app, user) = (app.clone(), user.clone());
        self.read(move |transaction| {
            let (app, name) = (app.as_str(), user.as_str());
            let (history, table) = (transaction.open_table(HISTORY)?, transaction.open_table(MISSED)?);
            let mut found = Vec::new();
            for row in table.range((app, name, 0)..=(app, name, known))?.rev().take(older) {
                found.push(row?.1.value());
            }
            found.reverse();
            for row in table.range((app, name, known.saturating_add(1))..=(app, name, u64::MAX))? {
                found.push(row?.1.value());
            }
            let mut missed = Vec::new();
            for (began, call_id) in found {
                missed.extend(history.get((app, name, began, call_id))?.and_then(|call| parsed(call.value())));
            }
            Ok(missed)
        })
        .await
    }

    /// The begin of the oldest call that is still shown.
    fn oldest(&self) -> u64 {
        self.shared.retention.before(self.clock().unix_ms())
    }
}

/// Whether the wall clock can be believed as to how old something is: nothing is deleted by one that was just set, or may be about to be.
#[derive(Debug, Default)]
pub(super) struct Steadiness(Mutex<Option<(Duration, u64)>>);

/// By how much the two clocks may drift apart without that one counts as set, in ms.
const SET_MS: u64 = 600_000;

impl Steadiness {
    /// For how long the wall clock has gone as the other one; to be asked again and again.
    pub(super) fn lasts(&self, mono: Duration, unix_ms: u64) -> Duration {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (began, began_unix_ms) = since.unwrap_or((mono, unix_ms));
        let lasted = mono.saturating_sub(began);
        let expected = began_unix_ms.saturating_add(u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX));
        let is_set = expected.abs_diff(unix_ms) > SET_MS;
        *since = Some(if is_set { (mono, unix_ms) } else { (began, began_unix_ms) });
        if is_set { Duration::ZERO } else { lasted }
    }
}

impl Retention {
    /// What began before this is too old, at that time.
    pub(super) fn before(&self, unix_ms: u64) -> u64 {
        unix_ms.saturating_sub(u64::from(self.history_days) * DAY_MS)
    }
}

pub(super) fn make_tables(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(HISTORY)?;
    transaction.open_table(COUNTS)?;
    transaction.open_table(AGES)?;
    transaction.open_table(MISSED)?;
    Ok(())
}

/// When the newest call began.
pub(super) fn newest(transaction: &WriteTransaction) -> Result<Option<u64>, redb::Error> {
    Ok(transaction.open_table(AGES)?.last()?.map(|(key, _)| key.value().0))
}

/// Gives the missed calls of an older file numbers, in the order in which they ended, and its devices those up to which they were told: what
/// ended until they were seen. The last number given comes back.
pub(super) fn number(transaction: &WriteTransaction, now_unix_ms: u64) -> Result<u64, redb::Error> {
    let mut found = Vec::new();
    for row in transaction.open_table(HISTORY)?.iter()? {
        let (key, value) = row?;
        let (app, user, began, call_id) = key.value();
        let call = parsed(value.value()).filter(|call| call.missed && call.callee.as_str() == user);
        found.extend(call.map(|call| (ended(&call), began, call_id, app.to_owned(), user.to_owned())));
    }
    found.sort_unstable();
    let (mut history, mut missed) = (transaction.open_table(HISTORY)?, transaction.open_table(MISSED)?);
    let mut ends = Vec::new();
    for (number, (end, began, call_id, app, user)) in (1..).zip(&found) {
        let key = (app.as_str(), user.as_str(), *began, *call_id);
        let call = history.get(key)?.and_then(|call| parsed(call.value()));
        let Some(call) = call.map(|call| CallRecord { number, ..call }) else { continue };
        history.insert(key, serde_json::to_vec(&call).unwrap_or_default().as_slice())?;
        missed.insert((app.as_str(), user.as_str(), number), (*began, *call_id))?;
        ends.push((*end, number));
    }
    // A time to come was noted by a clock that was ahead: it says nothing but that the device was here.
    let known_at = |seen: u64| {
        let before = ends.partition_point(|(end, _)| *end <= seen.min(now_unix_ms));
        before.checked_sub(1).and_then(|at| ends.get(at)).map_or(0, |(_, number)| *number)
    };
    devices::number(transaction, known_at, found.len() as u64)
}

/// When a call ended that was not answered, in ms since 1970.
fn ended(call: &CallRecord) -> u64 {
    call.began_unix_ms.saturating_add(call.ring_ms)
}

/// The four tables, which change together.
pub(super) struct Writer<'a> {
    history: Table<'a, (&'static str, &'static str, u64, u128), &'static [u8]>,
    counts: Table<'a, (&'static str, &'static str), u32>,
    ages: Table<'a, (u64, u128, &'static str, &'static str), ()>,
    missed: Table<'a, (&'static str, &'static str, u64), (u64, u128)>,
    retention: Retention,
    /// What began before this is deleted.
    before: Option<u64>,
}

impl<'a> Writer<'a> {
    pub(super) fn open(
        transaction: &'a WriteTransaction,
        retention: Retention,
        before: Option<u64>,
    ) -> Result<Self, redb::Error> {
        Ok(Self {
            history: transaction.open_table(HISTORY)?,
            counts: transaction.open_table(COUNTS)?,
            ages: transaction.open_table(AGES)?,
            missed: transaction.open_table(MISSED)?,
            retention,
            before,
        })
    }

    pub(super) fn record(&mut self, app: &str, call: &CallRecord) -> Result<(), redb::Error> {
        let callee = call.callee.as_str();
        let key = (app, callee, call.began_unix_ms, call.call_id.bits());
        let before = self.history.get(key)?.and_then(|row| parsed(row.value()));
        if let Some(before) = before.filter(|before| before.missed) {
            self.missed.remove((app, callee, before.number))?;
        }
        let json = serde_json::to_vec(call).unwrap_or_default();
        for user in [call.caller.user.as_str(), callee] {
            self.add(app, user, call, &json)?;
        }
        if call.missed {
            self.missed.insert((app, callee, call.number), (key.2, key.3))?;
        }
        self.before.map_or(Ok(()), |before| self.delete_old(before))
    }

    fn add(&mut self, app: &str, user: &str, call: &CallRecord, json: &[u8]) -> Result<(), redb::Error> {
        let (began, call_id) = (call.began_unix_ms, call.call_id.bits());
        if self.history.insert((app, user, began, call_id), json)?.is_some() {
            return Ok(());
        }
        self.ages.insert((began, call_id, app, user), ())?;
        let count = self.count(app, user)? + 1;
        self.counts.insert((app, user), count)?;
        if count <= self.retention.history_per_user {
            return Ok(());
        }
        let first = {
            let mut rows = self.history.range((app, user, 0, 0)..=(app, user, u64::MAX, u128::MAX))?;
            let first = rows.next().transpose()?;
            first.map(|(key, _)| (key.value().2, key.value().3))
        };
        match first {
            Some((began, call_id)) => self.remove(app, user, began, call_id),
            None => Ok(()),
        }
    }

    fn delete_old(&mut self, before: u64) -> Result<(), redb::Error> {
        for _ in 0..DELETED_AT_ONCE {
            let first = self.ages.first()?.map(|(key, _)| {
                let (began, call_id, app, user) = key.value();
                (began, call_id, app.to_owned(), user.to_owned())
            });
            match first {
                Some((began, call_id, app, user)) if began < before => {
                    self.remove(&app, &user, began, call_id)?;
                }
                Some(_) | None => return Ok(()),
            }
        }
        Ok(())
    }

    fn remove(&mut self, app: &str, user: &str, began: u64, call_id: u128) -> Result<(), redb::Error> {
        let gone = self.history.remove((app, user, began, call_id))?.and_then(|row| parsed(row.value()));
        if let Some(gone) = gone.filter(|gone| gone.missed && gone.callee.as_str() == user) {
            self.missed.remove((app, user, gone.number))?;
        }
        self.ages.remove((began, call_id, app, user))?;
        match self.count(app, user)?.saturating_sub(1) {
            0 => drop(self.counts.remove((app, user))?),
            left => drop(self.counts.insert((app, user), left)?),
        }
        Ok(())
    }

    fn count(&self, app: &str, user: &str) -> Result<u32, redb::Error> {
        Ok(self.counts.get((app, user))?.map_or(0, |count| count.value()))
    }
}

/// None for what a newer server wrote and this one cannot read.
fn parsed(json: &[u8]) -> Option<CallRecord> {
    serde_json::from_slice(json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_was_set_is_not_believed_for_a_while() {
        let (steadiness, hour) = (Steadiness::default(), Duration::from_secs(3_600));
        let asked = |hours: u32, unix_hours: u64| steadiness.lasts(hour * hours, unix_hours * 3_600_000);
        assert_eq!([asked(0, 500), asked(1, 501), asked(2, 502)], [0, 1, 2].map(|hours| hour * hours));
        assert_eq!([asked(3, 9_000), asked(4, 9_001)], [0, 1].map(|hours| hour * hours), "ahead by a year");
        assert_eq!([asked(5, 505), asked(7, 507)], [0, 2].map(|hours| hour * hours), "and right again");
    }
}
