//! Running calls.

use std::collections::HashMap;

use callkit_hub::{CallKey, RestoredCall};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use signaling::ArbiterSnapshot;
use tracing::warn;

use crate::token::Apps;

/// App id and call id to the snapshot as JSON.
pub(super) const CALLS: TableDefinition<'static, (&str, &str), &[u8]> = TableDefinition::new("calls-1");

pub(super) fn read(database: &Database, apps: &Apps) -> Result<Vec<RestoredCall>, redb::Error> {
    let table = database.begin_read()?.open_table(CALLS)?;
    let mut kept = Vec::new();
    for row in table.iter()? {
        let (key, value) = row?;
        let Some(app) = apps.find(key.value().0) else { continue };
        match serde_json::from_slice(value.value()) {
            Ok(snapshot) => kept.push(RestoredCall { app, snapshot }),
            Err(error) => warn!(call = key.value().1, line = error.line(), "a stored call cannot be read"),
        }
    }
    Ok(kept)
}

pub(super) fn write(
    transaction: &WriteTransaction,
    calls: &HashMap<CallKey, Option<Box<ArbiterSnapshot>>>,
    apps: &Apps,
) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(CALLS)?;
    for (key, to) in calls {
        let call_id = key.call_id.to_string();
        let at = (apps.name(key.app).as_str(), call_id.as_str());
        match to {
            Some(snapshot) => {
                let json = serde_json::to_vec(snapshot).unwrap_or_default();
                table.insert(at, json.as_slice())?;
            }
            None => drop(table.remove(at)?),
        }
    }
    Ok(())
}
