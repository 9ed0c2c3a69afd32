//! What outlives a restart: running calls, history, devices, and what is still to be sent. One redb database, on disk or in memory.
//!
//! One thread writes, in batches; nobody waits for it. Reads run beside it, each on the state of one moment.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::thread;
use std::time::{Duration, Instant};

use callkit_hub::{CallKey, CallRecord, RestoredCall};
use redb::backends::InMemoryBackend;
use redb::{Database, DatabaseError, ReadTransaction, ReadableDatabase, WriteTransaction};
use signaling::ArbiterSnapshot;
use tokio::sync::oneshot;
use tracing::{error, info};

mod backup;
mod calls;
mod devices;
mod history;
mod marks;
mod pending;
pub(crate) mod queue;
mod revocations;

pub(crate) use devices::Device;
pub(crate) use history::Cursor;

use crate::clock::Clock;
use crate::metering::Metering;
use crate::private;
use crate::token::Apps;
use history::Steadiness;
use marks::{Belief, Marks};
use pending::{Batch, Bringer, Pending};
use queue::QueueChange;

const FILE: &str = "calls.redb";
/// After how long a commit that failed is tried again; each time in a row twice as long, up to the second value.
const AGAIN_AFTER: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));

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
    /// The file does not hold what a store holds.
    #[error(
        "{path} is damaged ({what}): put a copy in its place that `callkitd backup` made, or move it away to start without what it holds: \
         calls that run, calls of the past, push addresses of devices, what is still to be sent"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the store said.
        what: String,
    },
    /// An error of the disk: until the file could be opened again, nothing is read. What is to be written waits.
    #[error("the store waits for its disk")]
    Waiting,
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

/// What a store is opened with.
pub(crate) struct Setting {
    pub(crate) retention: Retention,
    pub(crate) apps: Arc<Apps>,
    pub(crate) metering: Arc<Metering>,
    pub(crate) clock: Clock,
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
    open: Open,
    /// Whoever reads or writes holds the lock, so that closing waits for them. Changed by the writer alone.
    database: RwLock<State>,
    again_after: (Duration, Duration),
    retention: Retention,
    clock: Clock,
    began: Instant,
    steadiness: Steadiness,
    belief: Mutex<Belief>,
    /// The number given last: what happens later has a higher one.
    last_number: AtomicU64,
    apps: Arc<Apps>,
}

/// How the database is opened.
type Open = Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>;

enum State {
    Open(Database),
    /// After an error; the database refuses everything from then on, and has to be opened again.
    Broken,
    Closed,
}

enum Change {
    History { app: String, call: Box<CallRecord> },
    Device(Box<devices::Change>),
    Queue(Box<QueueChange>),
    Revocation(Box<revocations::Change>),
}

impl Change {
    /// About what it takes in memory.
    fn bytes(&self) -> usize {
        let text = match self {
            Change::Queue(change) => change.text_bytes(),
            Change::History { .. } | Change::Device(_) | Change::Revocation(_) => 0,
        };
        1_024 + text
    }
}

impl Store {
    /// Opens the store in `folder`, or in memory without one, and reads the calls of the apps that are still served. What writes it holds
    /// `alive`.
    pub(crate) fn open(
        folder: Option<&Path>,
        setting: Setting,
        alive: impl Send + 'static,
    ) -> Result<(Self, Vec<RestoredCall>), StoreError> {
        let path = folder.map_or_else(|| PathBuf::from("memory"), |folder| folder.join(FILE));
        if let Some(folder) = folder {
            private::make_folder(folder)
                .and_then(|()| private::keep_file(&path))
                .map_err(|error| StoreError::Folder { path: folder.to_owned(), error })?;
        }
        let file = folder.is_some().then(|| path.clone());
        let open: Open = match file {
            None => Box::new(|| Database::builder().set_cache_size(0).create_with_backend(InMemoryBackend::new())),
            Some(file) => Box::new(move || Database::builder().set_cache_size(CACHE_BYTES).create(&file)),
        };
        Self::open_by(open, path, AGAIN_AFTER, setting, alive)
    }

    fn open_by(
        open: Open,
        path: PathBuf,
        again_after: (Duration, Duration),
        setting: Setting,
        alive: impl Send + 'static,
    ) -> Result<(Self, Vec<RestoredCall>), StoreError> {
        let Setting { retention, apps, metering, clock } = setting;
        let (database, noted, kept) = opened(&path, || {
            let database = open()?;
            let noted = make_tables(&database, &clock)?;
            let kept = calls::read(&database, &apps)?;
            revocations::read(&database, &apps)?;
            Ok((database, noted, kept))
        })?;
        let steadiness = Steadiness::default();
        steadiness.lasts(Duration::ZERO, clock.unix_ms());
        let shared = Arc::new(Shared {
            path: path.clone(),
            open,
            database: RwLock::new(State::Open(database)),
            again_after,
            retention,
            clock,
            began: Instant::now(),
            steadiness,
            belief: Mutex::new(Belief::of(noted.believed_unix_ms)),
            last_number: AtomicU64::new(noted.last_number),
            apps,
        });
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

    /// The clock it goes by.
    pub(crate) fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// A number that is higher than all before, also those of earlier starts.
    pub(crate) fn next_number(&self) -> u64 {
        self.shared.last_number.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Somebody else gave this number: those that follow are higher.
    fn note_number(&self, number: u64) {
        self.shared.last_number.fetch_max(number, Ordering::Relaxed);
    }

    /// The number given last.
    pub(crate) fn last_number(&self) -> u64 {
        self.shared.last_number.load(Ordering::Relaxed)
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
            let database = shared.lock();
            let database = match &*database {
                State::Open(database) => database,
                State::Broken => return Err(StoreError::Waiting),
                State::Closed => return Err(StoreError::Closed),
            };
            let read = || work(&database.begin_read()?);
            read().map_err(|error: redb::Error| shared.failed(error))
        });
        let read = match reading.await {
            Ok(read) => read,
            // A file that is damaged badly enough makes the store panic.
            Err(error) if error.is_panic() => Err(damaged(&self.shared.path)),
            Err(_) => Err(StoreError::Closed),
        };
        if matches!(read, Err(StoreError::File { .. } | StoreError::Damaged { .. })) {
            // From here on every read would fail.
            self.changes.suspect();
        }
        read
    }
}

impl Shared {
    fn lock(&self) -> RwLockReadGuard<'_, State> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = state;
    }

    fn failed(&self, error: redb::Error) -> StoreError {
        failed(&self.path, error)
    }

    /// Writes the batch. If that fails, the database is opened again, so that what is stored can at least be read.
    fn write(&self, batch: &Batch) -> Result<(), redb::Error> {
        self.open_again()?;
        let written = catch_unwind(AssertUnwindSafe(|| self.commit(batch)));
        let written = written.unwrap_or_else(|_| Err(redb::Error::Corrupted("it cannot be written".into())));
        if written.is_err() {
            self.set(State::Broken);
            self.open_again().ok();
        }
        written
    }

    /// Opens the database if it is broken.
    fn open_again(&self) -> Result<(), redb::Error> {
        if matches!(*self.lock(), State::Broken) {
            self.set(State::Open((self.open)()?));
        }
        Ok(())
    }

    /// What began before this is deleted; nothing where the wall clock cannot be believed.
    fn too_old(&self, marks: &mut Marks<'_>) -> Result<Option<u64>, redb::Error> {
        let (passed, unix_ms) = (self.began.elapsed(), self.clock.unix_ms());
        let is_steady = self.steadiness.lasts(passed, unix_ms) >= self.retention.steady_for;
        let (at_least, until) = {
            let mut belief = self.belief.lock().unwrap_or_else(PoisonError::into_inner);
            (belief.at_least(passed, unix_ms), belief.until_unix_ms())
        };
        if let Some(until) = until {
            marks.set(marks::BELIEVED, until)?;
        }
        Ok(at_least.filter(|_| is_steady).map(|at_least| self.retention.before(at_least)))
    }

    fn commit(&self, batch: &Batch) -> Result<(), redb::Error> {
        let database = self.lock();
        let State::Open(database) = &*database else { return Err(redb::Error::DatabaseClosed) };
        let transaction = database.begin_write()?;
        apply(self, &transaction, batch)?;
        transaction.commit()?;
        Ok(())
    }
}

/// What opening gives, or an error that says what to do. A file that is damaged badly enough makes the store panic.
fn opened<T>(path: &Path, open: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(open)) {
        Ok(opened) => opened.map_err(|error| failed(path, error)),
        Err(_) => Err(damaged(path)),
    }
}

fn damaged(path: &Path) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), what: "it cannot be read".into() }
}

fn failed(path: &Path, error: redb::Error) -> StoreError {
    let path = path.to_owned();
    match error {
        redb::Error::DatabaseAlreadyOpen => StoreError::InUse(path),
        redb::Error::Corrupted(what) => StoreError::Damaged { path, what },
        redb::Error::Io(error) if is_damage(&error) => StoreError::Damaged { path, what: error.to_string() },
        error if is_foreign(&error) => StoreError::Damaged { path, what: error.to_string() },
        error => StoreError::File { path, error: Box::new(error) },
    }
}

/// Whether the file ends early or holds something else, rather than that the disk cannot be read.
fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

/// Whether the file is a database of something else, or of another version.
fn is_foreign(error: &redb::Error) -> bool {
    use redb::Error::{RepairAborted, TableIsMultimap, TableTypeMismatch, TypeDefinitionChanged, UpgradeRequired};
    matches!(
        error,
        TableTypeMismatch { .. }
            | TableIsMultimap(_)
            | TypeDefinitionChanged { .. }
            | UpgradeRequired(_)
            | RepairAborted
    )
}

/// What a store noted of itself before.
struct Noted {
    last_number: u64,
    believed_unix_ms: Option<u64>,
}

/// Makes what an older file does not have, so that nobody meets a table that is not there.
fn make_tables(database: &Database, clock: &Clock) -> Result<Noted, redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(calls::CALLS)?;
    history::make_tables(&transaction)?;
    devices::make_tables(&transaction)?;
    queue::make_tables(&transaction, clock.unix_ms())?;
    transaction.open_table(revocations::REVOCATIONS)?;
    let newest = history::newest(&transaction)?;
    let (last_number, believed_unix_ms) = {
        let marks = &mut Marks::open(&transaction)?;
        let last_number = match marks.get(marks::LAST_NUMBER)? {
            Some(number) => number,
            None => history::number(&transaction, clock.unix_ms())?,
        };
        marks.set(marks::LAST_NUMBER, last_number)?;
        (last_number, marks.get(marks::BELIEVED)?.or(newest))
    };
    transaction.commit()?;
    Ok(Noted { last_number, believed_unix_ms })
}

struct OpenUntilDropped<'a>(&'a Pending);

impl Drop for OpenUntilDropped<'_> {
    fn drop(&mut self) {
        self.0.shut();
    }
}

fn write_all(shared: &Shared, pending: &Pending, metering: &Metering) {
    let (first, longest) = shared.again_after;
    // How long to wait after the next failure, while the last attempt failed.
    let mut failing: Option<Duration> = None;
    while let Some(mut batch) = pending.take() {
        if !batch.is_empty() || batch.is_suspect {
            let began = Instant::now();
            let written = shared.write(&batch);
            metering.store_committed(batch.len(), began.elapsed(), written.is_ok());
            match written {
                Ok(()) => {
                    if failing.take().is_some() {
                        info!("the store works again");
                    }
                }
                Err(error) if batch.close.is_some() => {
                    error!(%error, changes = batch.len(), "changes could not be stored and are lost");
                }
                Err(error) => {
                    if failing.is_none() {
                        error!(%error, "changes are not stored yet and would not outlive a restart");
                    }
                    let pause = failing.unwrap_or(first);
                    failing = Some((pause * 2).min(longest));
                    batch.is_suspect = true;
                    pending.put_back(batch);
                    pending.pause(pause);
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
            shared.set(State::Closed);
            pending.shut();
            done.send(()).ok();
            return;
        }
    }
}

fn apply(shared: &Shared, transaction: &WriteTransaction, batch: &Batch) -> Result<(), redb::Error> {
    let marks = &mut Marks::open(transaction)?;
    let mut history = history::Writer::open(transaction, shared.retention, shared.too_old(marks)?)?;
    let mut devices = devices::Writer::open(transaction)?;
    let mut queue = queue::Writer::open(transaction)?;
    let mut revocations = revocations::Writer::open(transaction)?;
    let (mut last_number, mut is_queued) = (0, false);
    for change in &batch.changes {
        match change {
            Change::History { app, call } => {
                last_number = last_number.max(call.number);
                history.record(app, call)?;
            }
            Change::Device(change) => last_number = last_number.max(devices.apply(change)?),
            Change::Queue(change) => {
                is_queued = true;
                queue.apply(change)?;
            }
            Change::Revocation(change) => revocations.apply(change)?,
        }
    }
    marks.give(last_number)?;
    if is_queued {
        marks.set(marks::WRITTEN, shared.clock.steady_unix_ms())?;
        marks.set(marks::WRITTEN_BY_WALL, shared.clock.unix_ms())?;
    }
    calls::write(transaction, &batch.calls, &shared.apps)
}

#[cfg(test)]
mod clock_tests;
#[cfg(test)]
mod disk_tests;
#[cfg(test)]
mod tests;
