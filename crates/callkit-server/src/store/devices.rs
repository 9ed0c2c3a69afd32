//! The devices of a user, and where a push reaches them.
//!
//! A push address belongs to one device of the app, the one that told it last: who signs in on the phone of another, or starts an app that
//! does not remember the name of its device, takes it over.

use call_protocol::{AppId, DeviceId, UserId};
use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use crate::push::PushAddress;

/// App, user and device to what is known of it, as JSON.
pub(super) const DEVICES: TableDefinition<'static, (&str, &str, &str), &[u8]> = TableDefinition::new("devices-1");
/// App and digest of a push address to the user and the device that have it.
pub(super) const ADDRESSES: TableDefinition<'static, (&str, &[u8]), (&str, &str)> =
    TableDefinition::new("push-addresses-1");

/// Devices of one user. A person has few; apps that are installed anew leave old ones behind. The one longest unseen goes, of those that no
/// push reaches if there are any.
const PER_USER: usize = 32;

/// A device of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) device: DeviceId,
    /// It knows of every call that it missed up to the one of this number.
    pub(crate) knows: u64,
    /// The number of its last visit: of two devices the one seen later has the higher one.
    pub(crate) visit: u64,
    pub(crate) push: Option<PushAddress>,
}

#[derive(Default, Serialize, Deserialize)]
struct Row {
    /// For people and for servers older than the numbers; nothing is decided by it here.
    seen_unix_ms: u64,
    /// None where a server wrote it that has no numbers.
    #[serde(default)]
    knows: Option<u64>,
    #[serde(default)]
    visit: u64,
    push: Option<PushAddress>,
}

pub(super) struct Change {
    app: AppId,
    user: UserId,
    device: DeviceId,
    /// The number of this visit.
    visit: u64,
    unix_ms: u64,
    what: What,
}

enum What {
    /// It knows of what it missed up to this number.
    Seen(u64),
    Push(Option<PushAddress>),
}

impl Store {
    /// The device was here, and knows of every call that it missed up to the one of this number.
    pub(crate) fn seen(&self, app: &AppId, user: &UserId, device: &DeviceId, knows: u64) {
        self.change_device(app, user, device, What::Seen(knows));
    }

    /// A push reaches the device here from now on, and no other device of the app, or it reaches it nowhere.
    pub(crate) fn set_push(&self, app: &AppId, user: &UserId, device: &DeviceId, push: Option<PushAddress>) {
        self.change_device(app, user, device, What::Push(push));
    }

    /// All devices of a user.
    pub(crate) async fn devices_of(&self, app: &AppId, user: &UserId) -> Result<Vec<Device>, StoreError> {
        let (app, user, last) = (app.clone(), user.clone(), self.last_number());
        self.read(move |transaction| {
            let table = transaction.open_table(DEVICES)?;
            let mut devices = of_user(&table, app.as_str(), user.as_str())?;
            devices.iter_mut().for_each(|device| device.knows = device.knows.min(last));
            Ok(devices)
        })
        .await
    }

    fn change_device(&self, app: &AppId, user: &UserId, device: &DeviceId, what: What) {
        let (visit, unix_ms) = (self.next_number(), self.clock().unix_ms());
        let (app, user, device) = (app.clone(), user.clone(), device.clone());
        let change = Change { app, user, device, visit, unix_ms, what };
        self.change(super::Change::Device(Box::new(change)));
    }
}

/// Makes the tables, and finds out whose each address is where an older file does not say: that of the device seen last.
pub(super) fn make_tables(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    let mut writer = Writer::open(transaction)?;
    if writer.addresses.first()?.is_some() {
        return Ok(());
    }
    let mut reached = Vec::new();
    for row in writer.devices.iter()? {
        let (key, value) = row?;
        let (app, user, device) = key.value();
        if let Ok(Row { seen_unix_ms, visit, push: Some(push), .. }) = serde_json::from_slice(value.value()) {
            reached.push(((visit, seen_unix_ms), app.to_owned(), user.to_owned(), device.to_owned(), push));
        }
    }
    reached.sort_by_key(|(seen, ..)| *seen);
    for (_, app, user, device, push) in &reached {
        writer.take_over((app, user, device), push)?;
    }
    Ok(())
}

/// Gives the devices of an older file numbers: which calls a device knew of was a matter of when it was seen. `known_at` says which number
/// that was. The last number given comes back.
pub(super) fn number(
    transaction: &WriteTransaction,
    known_at: impl Fn(u64) -> u64,
    mut last: u64,
) -> Result<u64, redb::Error> {
    let mut writer = Writer::open(transaction)?;
    let mut found = Vec::new();
    for row in writer.devices.iter()? {
        let (key, value) = row?;
        let (app, user, device) = key.value();
        if let Ok(row) = serde_json::from_slice::<Row>(value.value()) {
            found.push((row, app.to_owned(), user.to_owned(), device.to_owned()));
        }
    }
    found.sort_by_key(|(row, ..)| row.seen_unix_ms);
    for (row, app, user, device) in found {
        last += 1;
        let row = Row { knows: Some(known_at(row.seen_unix_ms)), visit: last, ..row };
        writer.write((&app, &user, &device), &row)?;
    }
    Ok(last)
}

pub(super) struct Writer<'a> {
    devices: Table<'a, (&'static str, &'static str, &'static str), &'static [u8]>,
    addresses: Table<'a, (&'static str, &'static [u8]), (&'static str, &'static str)>,
}

type Key<'a> = (&'a str, &'a str, &'a str);

impl<'a> Writer<'a> {
    pub(super) fn open(transaction: &'a WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self { devices: transaction.open_table(DEVICES)?, addresses: transaction.open_table(ADDRESSES)? })
    }

    /// The highest number in it comes back.
    pub(super) fn apply(&mut self, change: &Change) -> Result<u64, redb::Error> {
        let Change { app, user, device, visit, unix_ms, what } = change;
        let key = (app.as_str(), user.as_str(), device.as_str());
        let known = self.row(key)?;
        let is_new = known.is_none();
        let mut row = known.unwrap_or_default();
        match what {
            What::Seen(knows) => row.knows = Some(row.knows.unwrap_or_default().max(*knows)),
            What::Push(push) => {
                if let Some(before) = row.push.take() {
                    self.let_go(key, &before)?;
                }
                if let Some(push) = push {
                    self.take_over(key, push)?;
                }
                row.push.clone_from(push);
            }
        }
        if is_new || matches!(what, What::Seen(_)) {
            (row.seen_unix_ms, row.visit) = (*unix_ms, *visit);
        }
        // Who tells an address is here, and was told before what it had missed.
        row.knows.get_or_insert(visit.saturating_sub(1));
        self.write(key, &row)?;
        if is_new {
            self.make_room(key.0, key.1)?;
        }
        Ok(row.knows.unwrap_or_default().max(*visit))
    }

    /// The address is that of this device from now on; whoever had it has none.
    fn take_over(&mut self, key: Key<'_>, push: &PushAddress) -> Result<(), redb::Error> {
        let (app, user, device) = key;
        let digest = push.digest();
        let before = self.addresses.insert((app, digest.as_slice()), (user, device))?;
        let before = before.map(|before| (before.value().0.to_owned(), before.value().1.to_owned()));
        let Some((of_user, of_device)) =
            before.filter(|(before, other)| (before.as_str(), other.as_str()) != (user, device))
        else {
            return Ok(());
        };
        let other = (app, of_user.as_str(), of_device.as_str());
        match self.row(other)? {
            Some(row) if row.push.as_ref().is_some_and(|push| push.digest() == digest) => {
                self.write(other, &Row { push: None, ..row })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The device has this address no longer.
    fn let_go(&mut self, (app, user, device): Key<'_>, push: &PushAddress) -> Result<(), redb::Error> {
        let digest = push.digest();
        let at = (app, digest.as_slice());
        let is_its = self.addresses.get(at)?.is_some_and(|owner| owner.value() == (user, device));
        if is_its {
            self.addresses.remove(at)?;
        }
        Ok(())
    }

    fn make_room(&mut self, app: &str, user: &str) -> Result<(), redb::Error> {
        let devices = of_user(&self.devices, app, user)?;
        let oldest = devices.iter().min_by_key(|device| (device.push.is_some(), device.visit));
        let Some(oldest) = oldest.filter(|_| devices.len() > PER_USER) else { return Ok(()) };
        let key = (app, user, oldest.device.as_str());
        if let Some(push) = &oldest.push {
            self.let_go(key, push)?;
        }
        self.devices.remove(key)?;
        Ok(())
    }

    fn row(&self, key: Key<'_>) -> Result<Option<Row>, redb::Error> {
        Ok(self.devices.get(key)?.and_then(|row| serde_json::from_slice(row.value()).ok()))
    }

    fn write(&mut self, key: Key<'_>, row: &Row) -> Result<(), redb::Error> {
        let json = serde_json::to_vec(row).unwrap_or_default();
        self.devices.insert(key, json.as_slice())?;
        Ok(())
    }
}

fn of_user(
    table: &impl ReadableTable<(&'static str, &'static str, &'static str), &'static [u8]>,
    app: &str,
    user: &str,
) -> Result<Vec<Device>, redb::StorageError> {
    let mut devices = Vec::new();
    for row in table.range((app, user, "")..)? {
        let (key, value) = row?;
        let (of_app, of_user, device) = key.value();
        if (of_app, of_user) != (app, user) {
            break;
        }
        if let (Ok(device), Ok(row)) = (DeviceId::new(device), serde_json::from_slice::<Row>(value.value())) {
            // Without a number nobody knows what it missed: it is told nothing rather than all again.
            let knows = row.knows.unwrap_or(u64::MAX);
            devices.push(Device { device, knows, visit: row.visit, push: row.push });
        }
    }
    Ok(devices)
}
