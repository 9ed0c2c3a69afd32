//! A copy of the store while the server runs.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use redb::{Database, Key, ReadTransaction, ReadableTable, TableDefinition, Value, WriteTransaction};

use super::{Store, StoreError, calls, devices, history, marks, queue, revocations};
use crate::private;

impl Store {
    /// Writes everything as it is at this moment to a new file, which a server can open; the server goes on meanwhile.
    ///
    /// The file appears under its name only when it is complete and on the disk. What is there already is not overwritten.
    /// Not cancel safe in one way: the copy goes on when nobody waits for it any more.
    pub(crate) async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        self.flush().await;
        let to = to.to_owned();
        let target = to.clone();
        let copied = self.read(move |transaction| Ok(write(transaction, &target))).await?;
        copied.map_err(|failure| match failure {
            Failure::System(error) if error.kind() == io::ErrorKind::AlreadyExists => StoreError::Exists(to),
            Failure::System(error) => StoreError::Copy { path: to, error },
            Failure::Store(error) => StoreError::File { path: to, error: Box::new(error) },
        })
    }
}

enum Failure {
    System(io::Error),
    Store(redb::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::System(error)
    }
}

fn write(from: &ReadTransaction, to: &Path) -> Result<(), Failure> {
    if to.exists() {
        return Err(Failure::System(io::ErrorKind::AlreadyExists.into()));
    }
    let part = part_of(to);
    let copied = copy_all(from, &part)
        .and_then(|()| File::open(&part)?.sync_all().map_err(Failure::System))
        // Unlike a rename, a link does not replace a file that appeared meanwhile.
        .and_then(|()| fs::hard_link(&part, to).map_err(Failure::System));
    fs::remove_file(&part).ok();
    copied?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all().map_err(Failure::System)
}

/// A name beside the target that nobody else has.
fn part_of(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}.part", rand::random::<u64>()));
    to.with_file_name(name)
}

fn copy_all(from: &ReadTransaction, part: &Path) -> Result<(), Failure> {
    private::make_file(part)?;
    let database = Database::create(part).map_err(redb::Error::from).map_err(Failure::Store)?;
    let copy = || -> Result<(), redb::Error> {
        let to = database.begin_write()?;
        copy_table(from, &to, calls::CALLS)?;
        copy_table(from, &to, history::HISTORY)?;
        copy_table(from, &to, history::COUNTS)?;
        copy_table(from, &to, history::AGES)?;
        copy_table(from, &to, history::MISSED)?;
        copy_table(from, &to, marks::MARKS)?;
        copy_table(from, &to, devices::DEVICES)?;
        copy_table(from, &to, devices::ADDRESSES)?;
        copy_table(from, &to, revocations::REVOCATIONS)?;
        copy_table(from, &to, queue::ITEMS)?;
        copy_table(from, &to, queue::STATES)?;
        copy_table(from, &to, queue::LANES)?;
        copy_table(from, &to, queue::DUE)?;
        copy_table(from, &to, queue::EXPIRIES)?;
        to.commit()?;
        Ok(())
    };
    copy().map_err(Failure::Store)
}

fn copy_table<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    to: &WriteTransaction,
    table: TableDefinition<'static, K, V>,
) -> Result<(), redb::Error> {
    let rows = from.open_table(table)?;
    let mut copy = to.open_table(table)?;
    for row in rows.iter()? {
        let (key, value) = row?;
        copy.insert(key.value(), value.value())?;
    }
    Ok(())
}
