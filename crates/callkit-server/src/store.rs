//! Running calls on disk, so that they outlive a restart. One thread writes, in batches; nobody waits for it.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use signaling::ArbiterSnapshot;
use tokio::sync::oneshot;
use tracing::{error, warn};

use crate::hub::CallKey;
use crate::metering::Metering;
use crate::token::{AppNo, Apps};
use crate::waiting::{Bringer, Taker, waiting};

/// App id and call id to the snapshot as JSON.
const CALLS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("calls-1");
const FILE: &str = "calls.redb";

/// A call of before the start.
pub(crate) struct Kept {
    pub(crate) app: AppNo,
    pub(crate) snapshot: ArbiterSnapshot,
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another server uses it.
    #[error("{0} is in use by another server")]
    InUse(PathBuf),
    /// The folder cannot be made.
    #[error("cannot make {path}: {error}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file cannot be read or written.
    #[error("cannot use {path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the store said.
        error: Box<redb::Error>,
    },
}

/// The way to the writer.
pub(crate) struct Store {
    changes: Bringer<CallKey, Change>,
    closed: oneshot::Receiver<()>,
    metering: Arc<Metering>,
}

/// The call as it is now, or that it is to be forgotten.
type Change = Option<Box<ArbiterSnapshot>>;

impl Store {
    /// Opens the store in `folder` and reads the calls of the apps that are still served.
    pub(crate) fn open(
        folder: &Path,
        apps: Arc<Apps>,
        metering: Arc<Metering>,
    ) -> Result<(Self, Vec<Kept>), StoreError> {
        std::fs::create_dir_all(folder).map_err(|error| StoreError::Folder { path: folder.to_owned(), error })?;
        let path = folder.join(FILE);
        let failed = |error: redb::Error| StoreError::File { path: path.clone(), error: Box::new(error) };
        let database = Database::create(&path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.clone()),
            error => failed(error.into()),
        })?;
        let kept = read(&database, &apps).map_err(failed)?;
        let (changes, queue) = waiting();
        let counting = Arc::clone(&metering);
        let (close, closed) = oneshot::channel();
        thread::Builder::new()
            .name("callkit-store".into())
            .spawn(move || {
                write_all(&database, &queue, &apps, &counting);
                drop(database);
                close.send(()).ok();
            })
            .map_err(|error| StoreError::Folder { path: folder.to_owned(), error })?;
        Ok((Self { changes, closed, metering }, kept))
    }

    /// Writes the call as it is now, soon.
    pub(crate) fn save(&self, key: CallKey, snapshot: Box<ArbiterSnapshot>) {
        self.change(key, Some(snapshot));
    }

    /// Deletes the call, soon.
    pub(crate) fn forget(&self, key: CallKey) {
        self.change(key, None);
    }

    fn change(&self, key: CallKey, to: Change) {
        if !self.changes.bring(key, to) {
            self.metering.store_committed(1, Duration::ZERO, false);
        }
    }

    /// Waits until everything is written and the file is free.
    pub(crate) async fn close(self) {
        drop(self.changes);
        self.closed.await.ok();
    }
}

fn read(database: &Database, apps: &Apps) -> Result<Vec<Kept>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(CALLS) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        table => table?,
    };
    let mut kept = Vec::new();
    for row in table.iter()? {
        let (key, value) = row?;
        let Some(app) = apps.find(key.value().0) else { continue };
        match serde_json::from_slice(value.value()) {
            Ok(snapshot) => kept.push(Kept { app, snapshot }),
            Err(error) => warn!(call = key.value().1, line = error.line(), "a stored call cannot be read"),
        }
    }
    Ok(kept)
}

fn write_all(database: &Database, queue: &Taker<CallKey, Change>, apps: &Apps, metering: &Metering) {
    while let Some(batch) = queue.take() {
        let count = batch.len() as u64;
        let began = Instant::now();
        let written = write(database, &batch, apps);
        metering.store_committed(count, began.elapsed(), written.is_ok());
        match written {
            Ok(()) => {}
            Err(error) => {
                error!(%error, "calls are not stored and would not outlive a restart");
            }
        }
    }
}

fn write(database: &Database, batch: &HashMap<CallKey, Change>, apps: &Apps) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(CALLS)?;
        for (key, to) in batch {
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
    }
    transaction.commit()?;
    Ok(())
}
