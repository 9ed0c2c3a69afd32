//! What outlives a restart: running calls, history, devices, and what is still to be sent. One redb database, on disk or in memory.
//!
//! One thread writes, in batches; nobody waits for it. Reads run beside it, each on the state of one moment.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use redb::backends::InMemoryBackend;
use redb::{Database, DatabaseError, ReadTransaction, ReadableDatabase, WriteTransaction};
use signaling::ArbiterSnapshot;
use tokio::sync::oneshot;
use tracing::error;

mod backup;
mod calls;
mod devices;
mod history;
mod pending;
pub(crate) mod queue;

pub(crate) use calls::Kept;
pub(crate) use devices::Device;
pub(crate) use history::{Cursor, StoredCall};

use crate::clock::unix_ms;
use crate::hub::CallKey;
use crate::metering::Metering;
use crate::token::Apps;
use history::Steadiness;
use pending::{Batch, Bringer, Pending};
use queue::QueueChange;

const FILE: &str = "calls.redb";
/// After how long a commit that failed is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Pages of the file held in memory; the system holds more.
const CACHE_BYTES: usize = 4 << 20;

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
    /// For how long the wall clock must not have been set before anything is deleted by it.
    pub(crate) steady_for: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { history_days: 90, history_per_user: 1_000, steady_for: Duration::from_secs(3_600) }
    }
}

/// A handle on the store; copies are cheap and mean the same store.
#[derive(Clone)]
pub(crate) struct Store {
    changes: Bringer,
    shared: Arc<Shared>,
    metering: Arc<Metering>,
}

struct Shared {
    /// Where the file is, for errors.
    path: PathBuf,
    /// None once closed. Whoever reads or writes holds the lock, so that closing waits for them.
    database: RwLock<Option<Database>>,
    retention: Retention,
    began: Instant,
    steadiness: Steadiness,
    apps: Arc<Apps>,
}

enum Change {
    History { app: String, call: Box<StoredCall> },
    Device(Box<devices::Change>),
    Queue(Box<QueueChange>),
}

impl Store {
    /// Opens the store in `folder`, or in memory without one, and reads the calls of the apps that are still served. What writes it holds
    /// `alive`.
    pub(crate) fn open(
        folder: Option<&Path>,
        retention: Retention,
        apps: Arc<Apps>,
        metering: Arc<Metering>,
        alive: impl Send + 'static,
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
        let (database, began, steadiness) = (RwLock::new(Some(database)), Instant::now(), Steadiness::default());
        steadiness.lasts(Duration::ZERO, unix_ms());
        let shared = Arc::new(Shared { path: path.clone(), database, retention, began, steadiness, apps });
        let (changes, pending) = Bringer::new();
        let (writer, counting) = (Arc::clone(&shared), Arc::clone(&metering));
        thread::Builder::new()
            .name("callkit-store".into())
            .spawn(move || {
                // However it ends, nobody waits for it any longer.
                let _open = OpenUntilDropped(&pending);
                write_all(&writer, &pending, &counting);
                drop(alive);
            })
            .map_err(|error| StoreError::Folder { path, error })?;
        Ok((Self { changes, shared, metering }, kept))
    }

    /// Writes the call as it is now, soon.
    pub(crate) fn save(&self, key: CallKey, snapshot: Box<ArbiterSnapshot>) {
        self.count(self.changes.call(key, Some(snapshot)));
    }

    /// Deletes the call, soon.
    pub(crate) fn forget(&self, key: CallKey) {
        self.count(self.changes.call(key, None));
    }

    /// Waits until everything that was said before is written, or could not be.
    pub(crate) async fn flush(&self) {
        let (done, written) = oneshot::channel();
        self.changes.flush(done);
        written.await.ok();
    }

    /// Waits until everything is written and the file is free; for all handles.
    pub(crate) async fn close(self) {
        let (done, closed) = oneshot::channel();
        self.changes.close(done);
        closed.await.ok();
    }

    fn change(&self, change: Change) {
        self.count(self.changes.change(change));
    }

    /// What found no room is lost, and counts as not written.
    fn count(&self, has_room: bool) {
        if !has_room {
            self.metering.store_committed(1, Duration::ZERO, false);
        }
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

struct OpenUntilDropped<'a>(&'a Pending);

impl Drop for OpenUntilDropped<'_> {
    fn drop(&mut self) {
        self.0.shut();
    }
}

fn write_all(shared: &Shared, pending: &Pending, metering: &Metering) {
    while let Some(mut batch) = pending.take() {
        if !batch.is_empty() {
            let began = Instant::now();
            let written = write(shared, &batch);
            metering.store_committed(batch.len(), began.elapsed(), written.is_ok());
            if let Err(error) = written {
                error!(%error, "changes are not stored yet and would not outlive a restart");
                if batch.close.is_none() {
                    pending.put_back(batch);
                    pending.pause(AGAIN_AFTER);
                    continue;
                }
            }
        }
        for change in batch.changes.drain(..) {
            if let Change::Queue(change) = change {
                change.settle();
            }
        }
        for done in batch.flushes.drain(..) {
            done.send(()).ok();
        }
        if let Some(done) = batch.close {
            drop(shared.database.write().unwrap_or_else(PoisonError::into_inner).take());
            pending.shut();
            done.send(()).ok();
            return;
        }
    }
}

fn write(shared: &Shared, batch: &Batch) -> Result<(), redb::Error> {
    let database = shared.database.read().unwrap_or_else(PoisonError::into_inner);
    let Some(database) = database.as_ref() else { return Ok(()) };
    let transaction = database.begin_write()?;
    apply(shared, &transaction, batch)?;
    transaction.commit()?;
    Ok(())
}

fn apply(shared: &Shared, transaction: &WriteTransaction, batch: &Batch) -> Result<(), redb::Error> {
    let steady = shared.steadiness.lasts(shared.began.elapsed(), unix_ms());
    let mut history = history::Writer::open(transaction, shared.retention, steady)?;
    let mut devices = devices::Writer::open(transaction)?;
    let mut queue = queue::Writer::open(transaction)?;
    for change in &batch.changes {
        match change {
            Change::History { app, call } => history.record(app, call)?,
            Change::Device(change) => devices.apply(change)?,
            Change::Queue(change) => queue.apply(change)?,
        }
    }
    calls::write(transaction, &batch.calls, &shared.apps)
}

#[cfg(test)]
mod tests;
