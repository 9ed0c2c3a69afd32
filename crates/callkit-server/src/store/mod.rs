//! What outlives a restart: running calls, history, devices, and what is still to be sent. One redb database, on disk or in memory.
//!
//! One thread writes, in batches; nobody waits for it. Reads run beside it, each on the state of one moment.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, mpsc};
use std::thread;

use redb::backends::InMemoryBackend;
use redb::{Database, DatabaseError, ReadTransaction, ReadableDatabase, WriteTransaction};
use signaling::ArbiterSnapshot;
use tokio::sync::oneshot;
use tracing::error;

mod backup;
mod calls;
mod devices;
mod history;
pub(crate) mod queue;

pub(crate) use calls::Kept;
#[allow(unused_imports)]
pub(crate) use devices::{Device, PushAddress};
#[allow(unused_imports)]
pub(crate) use history::{Cursor, Page, StoredCall};

use crate::hub::CallKey;
use crate::metering::Metering;
use crate::token::Apps;
use queue::QueueChange;

const FILE: &str = "calls.redb";
/// Changes of one commit; more wait for the next one, so that a commit stays short.
const BATCH: usize = 4_096;

/// Pages of the file held in memory; the system holds more.
const CACHE_BYTES: usize = 16 << 20;

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
    /// A copy is to be written where there is something already.
    #[error("{0} is there already")]
    Exists(PathBuf),
    /// A copy cannot be written.
    #[error("cannot write {path}: {error}")]
    Copy {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The server has stopped.
    #[error("the store is closed")]
    Closed,
}

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    /// For how long a call stays in the history, in days.
    pub(crate) history_days: u32,
    /// Calls in the history of one user; the oldest goes.
    pub(crate) history_per_user: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { history_days: 90, history_per_user: 1_000 }
    }
}

/// A handle on the store; copies are cheap and mean the same store.
#[derive(Clone)]
pub(crate) struct Store {
    changes: mpsc::Sender<Change>,
    shared: Arc<Shared>,
}

struct Shared {
    /// Where the file is, for errors.
    path: PathBuf,
    /// None once closed. Whoever reads or writes holds the lock, so that closing waits for them.
    database: RwLock<Option<Database>>,
    retention: Retention,
    apps: Arc<Apps>,
}

enum Change {
    Call {
        key: CallKey,
        to: Option<Box<ArbiterSnapshot>>,
    },
    History {
        app: String,
        call: Box<StoredCall>,
    },
    Device(Box<devices::Change>),
    Queue(Box<QueueChange>),
    /// Answered once everything before it is written.
    Flush(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}

impl Store {
    /// Opens the store in `folder`, or in memory without one, and reads the calls of the apps that are still served.
    pub(crate) fn open(
        folder: Option<&Path>,
        retention: Retention,
        apps: Arc<Apps>,
        metering: Arc<Metering>,
    ) -> Result<(Self, Vec<Kept>), StoreError> {
        let path = folder.map_or_else(|| PathBuf::from("memory"), |folder| folder.join(FILE));
        let failed = |error: redb::Error| StoreError::File { path: path.clone(), error: Box::new(error) };
        let database = match folder {
            None => Database::builder().set_cache_size(0).create_with_backend(InMemoryBackend::new()),
            Some(folder) => {
                std::fs::create_dir_all(folder)
                    .map_err(|error| StoreError::Folder { path: folder.to_owned(), error })?;
                Database::builder().set_cache_size(CACHE_BYTES).create(&path)
            }
        };
        let database = database.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.clone()),
            error => failed(error.into()),
        })?;
        make_tables(&database).map_err(failed)?;
        let kept = calls::read(&database, &apps).map_err(failed)?;
        let shared = Arc::new(Shared { path: path.clone(), database: RwLock::new(Some(database)), retention, apps });
        let (changes, queue) = mpsc::channel();
        let writer = Arc::clone(&shared);
        thread::Builder::new()
            .name("callkit-store".into())
            .spawn(move || write_all(&writer, &queue, &metering))
            .map_err(|error| StoreError::Folder { path, error })?;
        Ok((Self { changes, shared }, kept))
    }

    /// Writes the call as it is now, soon.
    pub(crate) fn save(&self, key: CallKey, snapshot: Box<ArbiterSnapshot>) {
        self.change(Change::Call { key, to: Some(snapshot) });
    }

    /// Deletes the call, soon.
    pub(crate) fn forget(&self, key: CallKey) {
        self.change(Change::Call { key, to: None });
    }

    /// Waits until everything that was said before is written, or could not be.
    pub(crate) async fn flush(&self) {
        let (done, written) = oneshot::channel();
        self.change(Change::Flush(done));
        written.await.ok();
    }

    /// Waits until everything is written and the file is free; for all handles.
    pub(crate) async fn close(self) {
        let (done, closed) = oneshot::channel();
        self.change(Change::Close(done));
        closed.await.ok();
    }

    fn change(&self, change: Change) {
        self.changes.send(change).ok();
    }

    /// Reads on a thread where waiting for the disk holds up nobody.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let reading = tokio::task::spawn_blocking(move || {
            let database = shared.database.read().unwrap_or_else(PoisonError::into_inner);
            let Some(database) = database.as_ref() else { return Err(StoreError::Closed) };
            let read = || work(&database.begin_read()?);
            read().map_err(|error: redb::Error| shared.failed(error))
        });
        reading.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl Shared {
    fn failed(&self, error: redb::Error) -> StoreError {
        StoreError::File { path: self.path.clone(), error: Box::new(error) }
    }
}

/// Makes what an older file does not have, so that nobody meets a table that is not there.
fn make_tables(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(calls::CALLS)?;
    history::make_tables(&transaction)?;
    transaction.open_table(devices::DEVICES)?;
    queue::make_tables(&transaction)?;
    transaction.commit()?;
    Ok(())
}

fn write_all(shared: &Shared, queue: &mpsc::Receiver<Change>, metering: &Metering) {
    let mut batch = Vec::new();
    while let Ok(first) = queue.recv() {
        batch.push(first);
        batch.extend(queue.try_iter().take(BATCH));
        let (mut flushed, mut closing, mut settled) = (Vec::new(), None, Vec::new());
        let mut changes = Vec::with_capacity(batch.len());
        for change in batch.drain(..) {
            match change {
                Change::Flush(done) => flushed.push(done),
                Change::Close(done) => closing = Some(done),
                change => changes.push(change),
            }
        }
        let count = changes.len() as u64;
        let written = if count == 0 { Ok(()) } else { write(shared, changes, &mut settled) };
        match &written {
            Ok(()) => metering.store_writes.increment(count),
            Err(error) => {
                metering.store_failures.increment(count);
                error!(%error, "changes are not stored and would not outlive a restart");
            }
        }
        for (seq, bell) in settled {
            bell.ring(seq);
        }
        for done in flushed {
            done.send(()).ok();
        }
        if let Some(done) = closing {
            drop(shared.database.write().unwrap_or_else(PoisonError::into_inner).take());
            done.send(()).ok();
            return;
        }
    }
}

fn write(shared: &Shared, changes: Vec<Change>, settled: &mut Vec<queue::Settled>) -> Result<(), redb::Error> {
    // Told of in any case: what could not be written is looked at again as it was.
    for change in &changes {
        if let Change::Queue(change) = change {
            settled.extend(change.settles());
        }
    }
    let database = shared.database.read().unwrap_or_else(PoisonError::into_inner);
    let Some(database) = database.as_ref() else { return Ok(()) };
    let transaction = database.begin_write()?;
    apply(shared, &transaction, changes)?;
    transaction.commit()?;
    Ok(())
}

fn apply(shared: &Shared, transaction: &WriteTransaction, changes: Vec<Change>) -> Result<(), redb::Error> {
    // Of the changes of a call that gathered during the last commit only the newest counts.
    let mut calls = std::collections::HashMap::new();
    let mut history = history::Writer::open(transaction, shared.retention)?;
    let mut devices = devices::Writer::open(transaction)?;
    let mut queue = queue::Writer::open(transaction)?;
    for change in changes {
        match change {
            Change::Call { key, to } => drop(calls.insert(key, to)),
            Change::History { app, call } => history.record(&app, &call)?,
            Change::Device(change) => devices.apply(*change)?,
            Change::Queue(change) => queue.apply(*change)?,
            Change::Flush(_) | Change::Close(_) => {}
        }
    }
    calls::write(transaction, &calls, &shared.apps)
}

#[cfg(test)]
mod tests;
