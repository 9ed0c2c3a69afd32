//! What is still to be sent. Bodies lie here and not in memory; whoever sends reads a few at a time.
//!
//! Items of one lane go out one after the other. Only the first of a lane is in the table of what is due, so that finding work costs
//! the same however much waits, and what waits for a dead destination is in nobody's way.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use call_protocol::{AppId, CallId, DeviceId, UserId};
use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tracing::warn;

use super::{Change, Store, StoreError};

mod takeover;

#[cfg(test)]
pub(super) use takeover::put_off;

/// Number to the item as JSON.
pub(super) const ITEMS: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("outbox-1");
/// Number to when it is due (never, while another of its lane is before it) and how often it was tried.
pub(super) const STATES: TableDefinition<'static, u64, (u64, u32)> = TableDefinition::new("outbox-states-1");
/// Lane and number.
pub(super) const LANES: TableDefinition<'static, (&str, u64), ()> = TableDefinition::new("outbox-lanes-1");
/// Destination, time and number, of the first of each lane.
pub(super) const DUE: TableDefinition<'static, (&str, u64, u64), ()> = TableDefinition::new("outbox-due-2");
/// The same as older servers wrote it: all users of a push service were one destination.
const DUE_OF_OLD: TableDefinition<'static, (&str, u64, u64), ()> = TableDefinition::new("outbox-due-1");
/// Until when it makes sense, and number.
pub(super) const EXPIRIES: TableDefinition<'static, (u64, u64), ()> = TableDefinition::new("outbox-expiries-1");

const NEVER: u64 = u64::MAX;
/// Items given up in one go.
const EXPIRED_AT_ONCE: usize = 256;
/// Items looked at in one go; the next look begins behind them.
const LOOKED_AT: usize = 1_024;
/// Between the name of a service and that of a user; no id has it.
const USER_FOLLOWS: char = '\u{1f}';

/// What is sent, and so by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The webhook of a call that rings.
    Notify,
    /// The webhook of a call that is over.
    CallEvent,
    /// The push that wakes a device for a call.
    Push,
    /// The push that tells a device that was woken to stop.
    PushCancel,
}

impl Kind {
    /// The name in logs, bodies and documents.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Notify => "notify",
            Kind::CallEvent => "call_event",
            Kind::Push => "push",
            Kind::PushCancel => "push_cancel",
        }
    }

    /// Kinds with the same name here keep their order within a call.
    fn lane(self) -> &'static str {
        match self {
            Kind::Notify | Kind::CallEvent => "webhook",
            Kind::Push | Kind::PushCancel => "push",
        }
    }
}

/// One thing to send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Item {
    /// The same at each attempt, so that a receiver can tell a repetition.
    pub(crate) id: String,
    pub(crate) app: AppId,
    pub(crate) call_id: CallId,
    pub(crate) kind: Kind,
    pub(crate) created_unix_ms: u64,
    /// Given up at this time.
    pub(crate) expires_unix_ms: u64,
    pub(crate) body: String,
    /// Of a push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<Target>,
}

/// Where a push goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    /// The push service.
    pub(crate) service: String,
    pub(crate) user: UserId,
    pub(crate) device: DeviceId,
}

/// The service of a destination: what all its users share.
pub(crate) fn service_of(destination: &str) -> &str {
    destination.split_once(USER_FOLLOWS).map_or(destination, |(service, _)| service)
}

impl Item {
    /// Whom it goes to: items of one destination share its limits and its bad days. The devices of each user are one: what a user's own
    /// addresses do is nobody else's bad day.
    pub(crate) fn destination(&self) -> String {
        match &self.target {
            None => format!("{}/{}", self.kind.name(), self.app),
            Some(Target { service, user, .. }) => {
                format!("{}/{service}/{}{USER_FOLLOWS}{user}", self.kind.name(), self.app)
            }
        }
    }

    fn lane(&self) -> String {
        let (kind, call, app) = (self.kind.lane(), self.call_id, &self.app);
        match &self.target {
            None => format!("{kind}/{call}/{app}"),
            // The length keeps apart what the names do not.
            Some(Target { user, device, .. }) => {
                let length = user.as_str().len();
                format!("{kind}/{call}/{length}/{user}/{device}/{app}")
            }
        }
    }
}

/// An item with its number and how often it was tried.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    pub(crate) seq: u64,
    pub(crate) attempts: u32,
    pub(crate) item: Item,
}

/// What there is to do.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) due: Vec<Waiting>,
    pub(crate) expired: Vec<Waiting>,
    /// When there may be more to do without anything new, in ms since 1970.
    pub(crate) next_unix_ms: Option<u64>,
    /// Behind which destination to go on, if not all had what they could take.
    pub(crate) last: Option<String>,
}

/// What a sender has at hand while it asks for work.
#[derive(Debug, Clone, Default)]
pub(crate) struct Busy {
    /// Numbers that are not to be given out.
    pub(crate) taken: HashSet<u64>,
    /// What a destination can take now; `otherwise` where it is not named.
    pub(crate) room: HashMap<String, Room>,
    pub(crate) otherwise: Room,
    /// Attempts that are left for all destinations together, beyond those that each has of its own.
    pub(crate) shared: usize,
    /// Attempts that are left for each service, whatever its users have of their own.
    pub(crate) services: HashMap<String, usize>,
    /// The same of services that are not named.
    pub(crate) of_service: usize,
    /// The destination behind which to go on.
    pub(crate) after: String,
}

/// How many items a destination can take now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Room {
    /// Attempts that no other destination can take from it.
    pub(crate) own: usize,
    /// Attempts beyond, out of those that are shared.
    pub(crate) shared: usize,
}

/// How the writer tells the sender what it has written.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    settled: Mutex<Vec<u64>>,
    notify: Notify,
}

impl Bell {
    /// `seq` is settled; 0 stands for news without a number.
    pub(super) fn ring(&self, seq: u64) {
        if seq != 0 {
            self.settled.lock().unwrap_or_else(PoisonError::into_inner).push(seq);
        }
        self.notify.notify_one();
    }

    /// Waits for news; cancel safe.
    pub(crate) async fn wait(&self) {
        self.notify.notified().await;
    }

    /// The numbers settled since the last time.
    pub(crate) fn settled(&self) -> Vec<u64> {
        std::mem::take(&mut *self.settled.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(super) enum QueueChange {
    Put(Item, Arc<Bell>),
    Remove(u64, Arc<Bell>),
    Postpone { seq: u64, due_unix_ms: u64, bell: Arc<Bell> },
}

impl QueueChange {
    pub(super) fn text_bytes(&self) -> usize {
        match self {
            QueueChange::Put(item, _) => item.body.len(),
            QueueChange::Remove(..) | QueueChange::Postpone { .. } => 0,
        }
    }

    /// Tells the sender that this is written.
    pub(super) fn settle(self) {
        match self {
            QueueChange::Put(_, bell) => bell.ring(0),
            QueueChange::Remove(seq, bell) | QueueChange::Postpone { seq, bell, .. } => bell.ring(seq),
        }
    }
}

impl Store {
    /// Keeps the item until it is removed, soon.
    pub(crate) fn put(&self, item: Item, bell: &Arc<Bell>) {
        self.change(Change::Queue(Box::new(QueueChange::Put(item, Arc::clone(bell)))));
    }

    /// The item was sent or given up; the next of its lane can go.
    pub(crate) fn remove(&self, seq: u64, bell: &Arc<Bell>) {
        self.change(Change::Queue(Box::new(QueueChange::Remove(seq, Arc::clone(bell)))));
    }

    /// One more attempt failed; the next is at this time.
    pub(crate) fn postpone(&self, seq: u64, due_unix_ms: u64, bell: &Arc<Bell>) {
        self.change(Change::Queue(Box::new(QueueChange::Postpone { seq, due_unix_ms, bell: Arc::clone(bell) })));
    }

    /// What can be sent now, and what is past its time.
    pub(crate) async fn work(&self, now_unix_ms: u64, busy: Busy) -> Result<Work, StoreError> {
        self.read(move |transaction| look(transaction, now_unix_ms, &busy)).await
    }
}

fn look(transaction: &ReadTransaction, now: u64, busy: &Busy) -> Result<Work, redb::Error> {
    let items = transaction.open_table(ITEMS)?;
    let states = transaction.open_table(STATES)?;
    let due = transaction.open_table(DUE)?;
    let expiries = transaction.open_table(EXPIRIES)?;
    let waiting = |seq: u64| -> Result<Option<Waiting>, redb::Error> {
        let Some(row) = items.get(seq)? else { return Ok(None) };
        let attempts = states.get(seq)?.map_or(0, |state| state.value().1);
        match serde_json::from_slice(row.value()) {
            Ok(item) => Ok(Some(Waiting { seq, attempts, item })),
            Err(error) => {
                warn!(column = error.column(), "something stored to be sent cannot be read");
                Ok(None)
            }
        }
    };
    let mut work = Work::default();
    let mut given = HashSet::new();
    for row in expiries.range((0, 0)..=(NEVER, NEVER))? {
        let (at, seq) = row?.0.value();
        if at > now || work.expired.len() == EXPIRED_AT_ONCE {
            work.next_unix_ms = Some(at.max(now));
            break;
        }
        if !busy.taken.contains(&seq) {
            given.insert(seq);
            work.expired.extend(waiting(seq)?);
        }
    }
    let mut queues: Vec<Queue> = Vec::new();
    let mut found = 0;
    // More than half of what is shared goes to nobody.
    let most = busy.shared.div_ceil(2);
    // One destination after the other, by where its rows begin, from the one on that is next; then those before it.
    let begin = format!("{}\0", busy.after);
    let (mut from, mut is_round) = (begin.clone(), false);
    while found < LOOKED_AT {
        let first = due.range((from.as_str(), 0_u64, 0_u64)..)?.next().transpose()?;
        let destination = first.map(|(key, _)| key.value().0.to_owned());
        let Some(destination) = destination.filter(|destination| !is_round || *destination < begin) else {
            if is_round {
                break;
            }
            (from, is_round) = (String::new(), true);
            continue;
        };
        let room = busy.room.get(&destination).copied().unwrap_or(busy.otherwise);
        let mut seqs = VecDeque::new();
        for row in due.range((destination.as_str(), 0, 0)..=(destination.as_str(), NEVER, NEVER))? {
            let (_, at, seq) = row?.0.value();
            if seqs.len() == room.own + room.shared.min(most) {
                break;
            }
            if at > now {
                work.next_unix_ms = Some(work.next_unix_ms.map_or(at, |next| next.min(at)));
                break;
            }
            if !busy.taken.contains(&seq) && !given.contains(&seq) {
                seqs.push_back(seq);
            }
        }
        // The next text after it, in the order of bytes.
        from = format!("{destination}\0");
        found += seqs.len();
        if !seqs.is_empty() {
            queues.push(Queue { destination, room, seqs });
        }
    }
    let looked_until = queues.last().map(|queue| queue.destination.clone()).filter(|_| found >= LOOKED_AT);
    let HandedOut { chosen, denied_after, last } = hand_out(queues, busy);
    if looked_until.is_some() && !chosen.is_empty() {
        // There is more, and perhaps room for it.
        work.next_unix_ms = Some(now);
    }
    work.last = denied_after.or(looked_until).or(last);
    for seq in chosen {
        work.due.extend(waiting(seq)?);
    }
    Ok(work)
}

/// What of a destination is due, as far as it has room.
struct Queue {
    destination: String,
    room: Room,
    seqs: VecDeque<u64>,
}

/// What is sent.
#[derive(Debug, PartialEq, Eq)]
struct HandedOut {
    chosen: Vec<u64>,
    /// Before the first destination for whose own attempts its service had no room.
    denied_after: Option<String>,
    /// Which one took a shared attempt last.
    last: Option<String>,
}

/// Chooses what is sent: of each destination what it has attempts of its own for, then of each in turn one more, from the destination
/// behind `after` on. None takes more than half of what is left, so that there is something for whoever comes next.
fn hand_out(mut queues: Vec<Queue>, busy: &Busy) -> HandedOut {
    let begin = queues.iter().position(|queue| queue.destination > busy.after).unwrap_or(0);
    queues.rotate_left(begin);
    let (mut chosen, mut last) = (Vec::new(), None);
    let mut services = busy.services.clone();
    let mut left_for = |queue: &Queue, wanted: usize| {
        let left = services.entry(service_of(&queue.destination).to_owned()).or_insert(busy.of_service);
        let given = wanted.min(*left);
        *left -= given;
        given
    };
    let (mut before, mut denied_after) = (busy.after.clone(), None);
    for queue in &mut queues {
        let wanted = queue.room.own.min(queue.seqs.len());
        let own = left_for(queue, wanted);
        chosen.extend(queue.seqs.drain(..own));
        if own < wanted {
            denied_after.get_or_insert(before);
            queue.seqs.clear();
        }
        before = queue.destination.clone();
    }
    let (mut shared, most) = (busy.shared, busy.shared.div_ceil(2));
    for turn in 0..most {
        for queue in queues.iter_mut().filter(|queue| turn < queue.room.shared) {
            if shared > 0
                && !queue.seqs.is_empty()
                && left_for(queue, 1) == 1
                && let Some(seq) = queue.seqs.pop_front()
            {
                shared -= 1;
                chosen.push(seq);
                last = Some(queue.destination.clone());
            }
        }
        queues.retain(|queue| !queue.seqs.is_empty());
        if shared == 0 || queues.is_empty() {
            break;
        }
    }
    HandedOut { chosen, denied_after, last }
}

pub(super) fn make_tables(transaction: &WriteTransaction, now_unix_ms: u64) -> Result<(), redb::Error> {
    transaction.open_table(ITEMS)?;
    transaction.open_table(STATES)?;
    transaction.open_table(LANES)?;
    transaction.open_table(DUE)?;
    transaction.open_table(EXPIRIES)?;
    if transaction.delete_table(DUE_OF_OLD)? {
        write_due_anew(transaction)?;
    }
    takeover::take_over(transaction, now_unix_ms)
}

/// Fills the table of what is due from the others.
fn write_due_anew(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    let writer = &mut Writer::open(transaction)?;
    let mut rows = Vec::new();
    for row in writer.states.iter()? {
        let (seq, state) = row?;
        let (seq, (at, _)) = (seq.value(), state.value());
        if at != NEVER
            && let Some(item) = writer.item(seq)?
        {
            rows.push((item.destination(), at, seq));
        }
    }
    for (destination, at, seq) in rows {
        writer.due.insert((destination.as_str(), at, seq), ())?;
    }
    Ok(())
}

/// The five tables, which change together.
pub(super) struct Writer<'a> {
    items: Table<'a, u64, &'static [u8]>,
    states: Table<'a, u64, (u64, u32)>,
    lanes: Table<'a, (&'static str, u64), ()>,
    due: Table<'a, (&'static str, u64, u64), ()>,
    expiries: Table<'a, (u64, u64), ()>,
}

impl<'a> Writer<'a> {
    pub(super) fn open(transaction: &'a WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            items: transaction.open_table(ITEMS)?,
            states: transaction.open_table(STATES)?,
            lanes: transaction.open_table(LANES)?,
            due: transaction.open_table(DUE)?,
            expiries: transaction.open_table(EXPIRIES)?,
        })
    }

    pub(super) fn apply(&mut self, change: &QueueChange) -> Result<(), redb::Error> {
        match change {
            QueueChange::Put(item, _) => self.put(item),
            QueueChange::Remove(seq, _) => self.remove(*seq),
            QueueChange::Postpone { seq, due_unix_ms, .. } => self.postpone(*seq, *due_unix_ms),
        }
    }

    fn put(&mut self, item: &Item) -> Result<(), redb::Error> {
        let seq = self.items.last()?.map_or(0, |(key, _)| key.value()) + 1;
        let json = serde_json::to_vec(item).unwrap_or_default();
        self.items.insert(seq, json.as_slice())?;
        self.expiries.insert((item.expires_unix_ms, seq), ())?;
        let lane = item.lane();
        let is_first = self.first_of(&lane)?.is_none();
        self.lanes.insert((lane.as_str(), seq), ())?;
        if is_first {
            self.make_due(seq, &item.destination(), item.created_unix_ms, 0)
        } else {
            self.states.insert(seq, (NEVER, 0))?;
            Ok(())
        }
    }

    fn remove(&mut self, seq: u64) -> Result<(), redb::Error> {
        let Some(item) = self.item(seq)? else { return Ok(()) };
        let lane = item.lane();
        self.items.remove(seq)?;
        self.expiries.remove((item.expires_unix_ms, seq))?;
        self.lanes.remove((lane.as_str(), seq))?;
        let due = self.states.remove(seq)?.map_or(NEVER, |state| state.value().0);
        if due == NEVER {
            return Ok(());
        }
        self.due.remove((item.destination().as_str(), due, seq))?;
        if let Some(next) = self.first_of(&lane)?
            && let Some(item) = self.item(next)?
        {
            self.make_due(next, &item.destination(), item.created_unix_ms, 0)?;
        }
        Ok(())
    }

    fn postpone(&mut self, seq: u64, due_unix_ms: u64) -> Result<(), redb::Error> {
        let Some(item) = self.item(seq)? else { return Ok(()) };
        let Some((due, attempts)) = self.states.get(seq)?.map(|state| state.value()) else { return Ok(()) };
        let destination = item.destination();
        self.due.remove((destination.as_str(), due, seq))?;
        self.make_due(seq, &destination, due_unix_ms, attempts.saturating_add(1))
    }

    fn make_due(&mut self, seq: u64, destination: &str, due: u64, attempts: u32) -> Result<(), redb::Error> {
        self.due.insert((destination, due, seq), ())?;
        self.states.insert(seq, (due, attempts))?;
        Ok(())
    }

    fn first_of(&self, lane: &str) -> Result<Option<u64>, redb::Error> {
        let first = self.lanes.range((lane, 0)..=(lane, NEVER))?.next().transpose()?;
        Ok(first.map(|(key, _)| key.value().1))
    }

    fn item(&self, seq: u64) -> Result<Option<Item>, redb::Error> {
        Ok(self.items.get(seq)?.and_then(|row| serde_json::from_slice(row.value()).ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(destination: &str, room: Room, seqs: std::ops::Range<u64>) -> Queue {
        Queue { destination: destination.into(), room, seqs: seqs.collect() }
    }

    const ALL: Room = Room { own: 1, shared: 31 };

    fn busy(shared: usize, after: &str) -> Busy {
        Busy { shared, after: after.into(), of_service: 256, ..Busy::default() }
    }

    #[test]
    fn each_has_one_of_its_own_and_the_rest_is_shared_in_turn() {
        let queues = vec![queue("a", ALL, 0..50), queue("b", ALL, 100..103), queue("c", ALL, 200..250)];
        let HandedOut { mut chosen, last, .. } = hand_out(queues, &busy(9, "a"));
        chosen[..3].sort_unstable();
        assert_eq!(chosen, [0, 100, 200, 101, 201, 1, 102, 202, 2, 203, 3, 204]);
        assert_eq!(last.as_deref(), Some("c"));
    }

    #[test]
    fn nobody_can_take_what_is_anothers_own_nor_all_that_is_shared() {
        let HandedOut { chosen, .. } = hand_out(vec![queue("a", ALL, 0..50)], &busy(8, ""));
        assert_eq!(chosen.len(), 1 + 4);
        let handed = hand_out(vec![queue("a", ALL, 0..50), queue("b", ALL, 100..150)], &busy(0, ""));
        assert_eq!(handed, HandedOut { chosen: vec![0, 100], denied_after: None, last: None });
        let full = Room { own: 0, shared: 0 };
        let HandedOut { chosen, .. } =
            hand_out(vec![queue("a", full, 0..50), queue("b", Room { own: 1, shared: 0 }, 100..150)], &busy(8, ""));
        assert_eq!(chosen, [100]);
    }

    #[test]
    fn a_service_has_so_many_at_once_and_its_users_take_turns() {
        let user = |n: u64| queue(&format!("push/apns/shop{USER_FOLLOWS}user {n:02}"), ALL, n * 100..n * 100 + 50);
        let mut busy = Busy { of_service: 4, ..busy(64, "") };
        let mut served = Vec::new();
        for _ in 0..5 {
            let HandedOut { chosen, denied_after, .. } = hand_out((0..10).map(user).collect(), &busy);
            assert_eq!(chosen.len(), 4);
            served.extend(chosen);
            busy.after = denied_after.unwrap();
        }
        served.sort_unstable();
        assert_eq!(served, (0..10).flat_map(|n| [n * 100, n * 100]).collect::<Vec<_>>(), "each as often as another");
    }
}
