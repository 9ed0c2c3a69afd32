//! The devices of a user, and where a push reaches them.

use call_protocol::{AppId, DeviceId, UserId};
use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use crate::clock::unix_ms;
use crate::push::PushAddress;

/// App, user and device to what is known of it, as JSON.
pub(super) const DEVICES: TableDefinition<'static, (&str, &str, &str), &[u8]> = TableDefinition::new("devices-1");

/// Devices of one user; of those that no push reaches the one longest unseen goes, and if there are none, of the others. A person has few;
/// apps that are installed anew leave old ones behind.
const PER_USER: usize = 32;

/// A device of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) device: DeviceId,
    pub(crate) seen_unix_ms: u64,
    pub(crate) push: Option<PushAddress>,
}

#[derive(Default, Serialize, Deserialize)]
struct Row {
    seen_unix_ms: u64,
    push: Option<PushAddress>,
}

pub(super) struct Change {
    app: AppId,
    user: UserId,
    device: DeviceId,
    what: What,
}

enum What {
    Seen(u64),
    Push(Option<PushAddress>),
}

impl Store {
    /// The device was here at this time.
    pub(crate) fn seen(&self, app: &AppId, user: &UserId, device: &DeviceId, unix_ms: u64) {
        self.change_device(app, user, device, What::Seen(unix_ms));
    }

    /// A push reaches the device here from now on, or nowhere.
    pub(crate) fn set_push(&self, app: &AppId, user: &UserId, device: &DeviceId, push: Option<PushAddress>) {
        self.change_device(app, user, device, What::Push(push));
    }

    /// All devices of a user.
    pub(crate) async fn devices_of(&self, app: &AppId, user: &UserId) -> Result<Vec<Device>, StoreError> {
        let (app, user) = (app.clone(), user.clone());
        self.read(move |transaction| {
            let table = transaction.open_table(DEVICES)?;
            Ok(of_user(&table, app.as_str(), user.as_str())?)
        })
        .await
    }

    fn change_device(&self, app: &AppId, user: &UserId, device: &DeviceId, what: What) {
        let change = Change { app: app.clone(), user: user.clone(), device: device.clone(), what };
        self.change(super::Change::Device(Box::new(change)));
    }
}

pub(super) struct Writer<'a> {
    devices: Table<'a, (&'static str, &'static str, &'static str), &'static [u8]>,
}

impl<'a> Writer<'a> {
    pub(super) fn open(transaction: &'a WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self { devices: transaction.open_table(DEVICES)? })
    }

    pub(super) fn apply(&mut self, change: &Change) -> Result<(), redb::Error> {
        let Change { app, user, device, what } = change;
        let key = (app.as_str(), user.as_str(), device.as_str());
        let known: Option<Row> = self.devices.get(key)?.and_then(|row| serde_json::from_slice(row.value()).ok());
        let is_new = known.is_none();
        let mut row = known.unwrap_or_default();
        match what {
            // A time to come was noted by a clock that was ahead: it would hide what is missed until then.
            What::Seen(at) if row.seen_unix_ms > unix_ms() => row.seen_unix_ms = *at,
            What::Seen(at) => row.seen_unix_ms = row.seen_unix_ms.max(*at),
            What::Push(push) => {
                row.push.clone_from(push);
                if is_new {
                    row.seen_unix_ms = unix_ms();
                }
            }
        }
        let json = serde_json::to_vec(&row).unwrap_or_default();
        self.devices.insert(key, json.as_slice())?;
        if is_new {
            let devices = of_user(&self.devices, key.0, key.1)?;
            if devices.len() > PER_USER
                && let Some(oldest) = devices.iter().min_by_key(|device| (device.push.is_some(), device.seen_unix_ms))
            {
                self.devices.remove((key.0, key.1, oldest.device.as_str()))?;
            }
        }
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
            devices.push(Device { device, seen_unix_ms: row.seen_unix_ms, push: row.push });
        }
    }
    Ok(devices)
}
