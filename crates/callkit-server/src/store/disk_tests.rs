//! A disk that is full for a while, one that cannot be read, and a file that is damaged.

use std::fs::OpenOptions;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redb::backends::FileBackend;
use redb::{Database, StorageBackend, StorageError};
use tokio::sync::watch;

use super::tests::{app, call, device, free, ids, item, setting, user};
use super::{FILE, Setting, Store, StoreError};
use crate::clock::unix_ms;
use crate::metering::Metering;
use crate::store::queue::Bell;

/// A file on a disk that can have a bad time.
#[derive(Debug)]
struct Disk {
    file: FileBackend,
    trouble: Arc<Trouble>,
}

#[derive(Debug, Default)]
struct Trouble {
    is_full: AtomicBool,
    is_unreadable: AtomicBool,
    /// Writes and reads refused.
    refused: watch::Sender<u32>,
}

impl Trouble {
    fn refuse(&self, is_so: &AtomicBool, kind: io::ErrorKind) -> io::Result<()> {
        if is_so.load(Ordering::Relaxed) {
            self.refused.send_modify(|refused| *refused += 1);
            return Err(kind.into());
        }
        Ok(())
    }

    fn write(&self) -> io::Result<()> {
        self.refuse(&self.is_full, io::ErrorKind::StorageFull)
    }

    fn read(&self) -> io::Result<()> {
        self.refuse(&self.is_unreadable, io::ErrorKind::Other)
    }

    async fn is_met(&self, times: u32) {
        let mut refused = self.refused.subscribe();
        let mut met = *refused.borrow();
        let enough = met + times;
        while met < enough {
            refused.changed().await.unwrap();
            met = *refused.borrow_and_update();
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.trouble.read()?;
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.trouble.write()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.trouble.write()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.trouble.write()?;
        self.file.write(offset, data)
    }
}

/// Nobody tells when it is so: the store has a thread of its own.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// A store on such a disk, which tries again after a moment.
fn store_on(folder: &tempfile::TempDir, trouble: &Arc<Trouble>) -> (Store, Arc<Metering>) {
    let (path, trouble, metering) = (folder.path().join(FILE), Arc::clone(trouble), Arc::new(Metering::new()));
    let file = path.clone();
    let open = Box::new(move || {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&file)
            .map_err(StorageError::Io)?;
        let disk = Disk { file: FileBackend::new(file)?, trouble: Arc::clone(&trouble) };
        // Nothing is held in memory, so that what is read is read from the disk.
        Database::builder().set_cache_size(0).create_with_backend(disk)
    });
    let moment = Duration::from_millis(2);
    let setting = Setting { metering: Arc::clone(&metering), ..setting() };
    let opened = Store::open_by(open, path, (moment, moment), setting, ());
    (opened.unwrap().0, metering)
}

#[tokio::test]
async fn what_comes_while_the_disk_is_full_is_written_once_it_has_room() {
    let (folder, trouble) = (tempfile::tempdir().unwrap(), Arc::new(Trouble::default()));
    let (store, metering) = store_on(&folder, &trouble);
    let (bell, now) = (Arc::new(Bell::default()), unix_ms());
    store.record(&app(), call(1, now, "bob"));
    store.put(item("before", 1, 10, 1_000), &bell);
    store.flush().await;
    assert!(metering.store_works());

    trouble.is_full.store(true, Ordering::Relaxed);
    store.record(&app(), call(2, now, "bob"));
    store.put(item("meanwhile", 2, 10, 1_000), &bell);
    trouble.is_met(20).await;
    store.seen(&app(), &user("bob"), &device("phone"), 7);
    until("it is not ready", || !metering.store_works()).await;

    trouble.is_full.store(false, Ordering::Relaxed);
    store.flush().await;
    assert!(metering.store_works());
    assert_eq!(ids(&store.page(&app(), &user("bob"), None, 9).await.unwrap().calls), [2, 1]);
    assert_eq!(store.devices_of(&app(), &user("bob")).await.unwrap().len(), 1);
    let due = store.work(20, free()).await.unwrap().due;
    assert_eq!(due.iter().map(|waiting| waiting.item.id.as_str()).collect::<Vec<_>>(), ["before", "meanwhile"]);
    store.close().await;
    let (store, _) = store_on(&folder, &trouble);
    assert_eq!(ids(&store.page(&app(), &user("bob"), None, 9).await.unwrap().calls), [2, 1], "it is on the disk");
}

#[tokio::test]
async fn a_disk_that_could_not_be_read_for_a_moment_is_read_again_without_anything_to_write() {
    let (folder, trouble) = (tempfile::tempdir().unwrap(), Arc::new(Trouble::default()));
    let (store, metering) = store_on(&folder, &trouble);
    store.record(&app(), call(1, unix_ms(), "bob"));
    store.flush().await;
    trouble.is_unreadable.store(true, Ordering::Relaxed);
    store.page(&app(), &user("bob"), None, 9).await.unwrap_err();
    until("it is not ready", || !metering.store_works()).await;
    trouble.is_met(5).await;
    trouble.is_unreadable.store(false, Ordering::Relaxed);
    // What was asked for meanwhile is done: the flush comes behind it.
    store.flush().await;
    assert_eq!(ids(&store.page(&app(), &user("bob"), None, 9).await.unwrap().calls), [1]);
    assert!(metering.store_works());
}

#[tokio::test]
async fn a_store_on_a_full_disk_can_be_closed() {
    let (folder, trouble) = (tempfile::tempdir().unwrap(), Arc::new(Trouble::default()));
    let (store, _) = store_on(&folder, &trouble);
    trouble.is_full.store(true, Ordering::Relaxed);
    store.record(&app(), call(1, unix_ms(), "bob"));
    trouble.is_met(3).await;
    store.close().await;
}

#[tokio::test]
async fn a_damaged_file_says_what_to_do() {
    let open = |folder: &tempfile::TempDir| Store::open(Some(folder.path()), setting(), ());
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(&folder).unwrap();
    for n in 0..200 {
        store.record(&app(), call(n, unix_ms(), "bob"));
    }
    store.close().await;
    let file = folder.path().join(FILE);
    let good = std::fs::read(&file).unwrap();
    let garbage = vec![0xA5; good.len()];
    let broken: [(&str, Vec<u8>); 4] = [
        ("garbage", garbage.clone()),
        ("cut", good[..4_096].to_vec()),
        ("a text", b"no database at all".to_vec()),
        ("a good beginning", [&good[..good.len() / 8], &garbage[good.len() / 8..]].concat()),
    ];
    for (name, bytes) in broken {
        std::fs::write(&file, bytes).unwrap();
        match open(&folder) {
            Err(error @ StoreError::Damaged { .. }) => {
                let said = error.to_string();
                assert!(said.contains("calls.redb is damaged") && said.contains("callkitd backup"), "{name}: {said}");
            }
            Err(error) => panic!("{name}: {error}"),
            // What is damaged may be what nobody looks at before it is read.
            Ok((store, _)) => store.close().await,
        }
    }
}
