//! A wall clock that is off, or set while the server runs or rests.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::queue::{Bell, Item, Kind};
use super::tests::{app, call, device, free, ids, item, setting, user};
use callkit_hub::CallRecord;

use super::{FILE, Retention, Setting, Store};
use crate::clock::{Clock, unix_ms};

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

fn open_by(folder: &Path, wall: fn() -> u64) -> Store {
    let retention = Retention { steady_for: Duration::ZERO, ..Retention::default() };
    Store::open(Some(folder), Setting { retention, clock: Clock::start_by(wall), ..setting() }, ()).unwrap().0
}

async fn history(store: &Store, name: &str) -> Vec<u128> {
    store.flush().await;
    let page = store.page(&app(), &user(name), None, 100).await.unwrap();
    ids(&page.calls)
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_deletes_no_history() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_by(folder.path(), unix_ms);
    for n in 0..20 {
        store.record(&app(), call(n, unix_ms() - u64::try_from(n).unwrap() * DAY_MS, "bob"));
    }
    store.close().await;
    // A year ahead: at a start, which is when a clock is off, and for many calls.
    let store = open_by(folder.path(), || unix_ms() + 365 * DAY_MS);
    for n in 100..120 {
        store.record(&app(), call(n, unix_ms() + 365 * DAY_MS, "bob"));
    }
    store.close().await;
    let store = open_by(folder.path(), unix_ms);
    store.record(&app(), call(200, unix_ms(), "bob"));
    let left = history(&store, "bob").await;
    assert!((0..20).all(|n| left.contains(&n)), "{left:?}");
}

#[tokio::test]
async fn what_is_too_old_goes_as_fast_as_time_passes() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_by(folder.path(), unix_ms);
    store.record(&app(), call(1, unix_ms() - 91 * DAY_MS, "old"));
    store.record(&app(), call(2, unix_ms() - 89 * DAY_MS, "new"));
    store.record(&app(), call(3, unix_ms(), "bob"));
    store.close().await;
    let longer = Retention { history_days: 400, ..Retention::default() };
    let store = Store::open(Some(folder.path()), Setting { retention: longer, ..setting() }, ()).unwrap().0;
    assert_eq!((history(&store, "old").await, history(&store, "new").await), (vec![], vec![2]));
}

/// Numbers are what decides, whatever the clock showed when.
#[tokio::test]
async fn numbers_go_on_after_a_restart_and_are_copied() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_by(folder.path(), || unix_ms() + DAY_MS);
    let number = store.next_number();
    store.record(&app(), CallRecord { number, ..call(1, unix_ms() + DAY_MS, "bob") });
    store.seen(&app(), &user("bob"), &device("phone"), number);
    store.flush().await;
    std::fs::create_dir(folder.path().join("copy")).unwrap();
    store.backup(&folder.path().join("copy").join(FILE)).await.unwrap();
    let last = store.last_number();
    assert!(last > number, "a visit has one, too");
    store.close().await;
    for place in [folder.path().to_owned(), folder.path().join("copy")] {
        let store = open_by(&place, unix_ms);
        assert_eq!(store.last_number(), last);
        let number = store.next_number();
        store.record(&app(), CallRecord { number, ..call(2, unix_ms(), "bob") });
        store.flush().await;
        let phone = &store.devices_of(&app(), &user("bob")).await.unwrap()[0];
        assert_eq!(ids(&store.missed_after(&app(), &user("bob"), phone.knows, 0).await.unwrap()), [2]);
        store.close().await;
    }
}

/// It wrote down when a device was seen.
#[tokio::test]
async fn a_file_of_before_there_were_numbers_gets_them() {
    let (folder, now) = (tempfile::tempdir().unwrap(), unix_ms());
    let old = redb::Database::create(folder.path().join(FILE)).unwrap();
    let transaction = old.begin_write().unwrap();
    {
        let mut history = transaction.open_table(super::history::HISTORY).unwrap();
        let mut devices = transaction.open_table(super::devices::DEVICES).unwrap();
        // They rang 30 s each; the third one was answered.
        for (id, ago) in [(1, 400_000), (2, 300_000), (3, 250_000), (4, 200_000)] {
            let call = CallRecord { missed: id != 3, ..call(id, now - ago, "bob") };
            let mut row = serde_json::to_value(&call).unwrap();
            row.as_object_mut().unwrap().remove("number").unwrap();
            for who in ["ann", "bob"] {
                history.insert(("shop", who, now - ago, id), row.to_string().as_bytes()).unwrap();
            }
        }
        let seen = [("phone", now - 265_000), ("tablet", now - 500_000), ("ahead", now + DAY_MS)];
        for (name, seen) in seen {
            let row = serde_json::json!({ "seen_unix_ms": seen, "push": null });
            devices.insert(("shop", "bob", name), row.to_string().as_bytes()).unwrap();
        }
    }
    transaction.commit().unwrap();
    drop(old);
    for _ in 0..2 {
        let store = open_by(folder.path(), unix_ms);
        let devices = store.devices_of(&app(), &user("bob")).await.unwrap();
        let mut missed = Vec::new();
        for known in devices {
            let calls = store.missed_after(&app(), &user("bob"), known.knows, 0).await.unwrap();
            missed.push((known.device.to_string(), ids(&calls)));
        }
        let wanted = [("ahead", vec![]), ("phone", vec![4]), ("tablet", vec![1, 2, 4])];
        assert_eq!(missed, wanted.map(|(name, calls)| (name.to_owned(), calls)));
        assert_eq!(history(&store, "ann").await, [4, 3, 2, 1]);
        store.close().await;
    }
}

fn due(store: &Store) -> impl Future<Output = Vec<String>> {
    let (store, now) = (store.clone(), store.clock().steady_unix_ms());
    async move {
        let work = store.work(now, free()).await.unwrap();
        assert!(work.expired.is_empty(), "{:?}", work.expired);
        work.due.iter().map(|waiting| waiting.item.id.clone()).collect()
    }
}

/// An item as one made now by the clock of the store.
fn fresh(store: &Store, id: &str, call: u128) -> Item {
    let now = store.clock().steady_unix_ms();
    Item { kind: Kind::CallEvent, ..item(id, call, now, now + DAY_MS) }
}

#[tokio::test]
async fn what_is_to_be_sent_neither_stalls_nor_expires_as_the_clock_is_set_while_the_server_runs() {
    static AHEAD_MS: AtomicU64 = AtomicU64::new(10 * DAY_MS);
    let wall = || unix_ms() - 10 * DAY_MS + AHEAD_MS.load(Ordering::Relaxed);
    for ahead_ms in [0, 20 * DAY_MS] {
        let (folder, bell) = (tempfile::tempdir().unwrap(), Arc::new(Bell::default()));
        AHEAD_MS.store(10 * DAY_MS, Ordering::Relaxed);
        let store = open_by(folder.path(), wall);
        store.put(fresh(&store, "a", 1), &bell);
        store.flush().await;
        AHEAD_MS.store(ahead_ms, Ordering::Relaxed);
        assert_eq!(due(&store).await, ["a"]);
        store.put(fresh(&store, "b", 2), &bell);
        store.flush().await;
        assert_eq!(due(&store).await, ["a", "b"]);
        store.close().await;
        // The next start begins with the clock as it is now.
        let store = open_by(folder.path(), wall);
        assert_eq!(due(&store).await, ["a", "b"]);
        let left = store.work(store.clock().steady_unix_ms() + DAY_MS + HOUR_MS, free()).await.unwrap();
        assert_eq!(left.expired.len(), 2, "and each has its day");
    }
}

#[tokio::test]
async fn what_a_clock_that_was_ahead_put_off_is_due_at_the_next_start() {
    let (folder, bell) = (tempfile::tempdir().unwrap(), Arc::new(Bell::default()));
    let store = open_by(folder.path(), || unix_ms() + 9 * DAY_MS);
    store.put(fresh(&store, "a", 1), &bell);
    store.put(fresh(&store, "b", 2), &bell);
    store.flush().await;
    let (work, now) = (store.work(unix_ms() + 9 * DAY_MS, free()).await.unwrap(), store.clock().steady_unix_ms());
    store.postpone(work.due[0].seq, now + 60_000, &bell);
    store.close().await;
    let store = open_by(folder.path(), unix_ms);
    assert_eq!(due(&store).await, ["b"]);
    let work = store.work(store.clock().steady_unix_ms() + 60_000, free()).await.unwrap();
    assert_eq!(work.due.iter().map(|due| due.attempts).collect::<Vec<_>>(), [0, 1], "it waits as long as it was to");
    store.close().await;

    // An older server left no word of its clock.
    let database = redb::Database::create(folder.path().join(FILE)).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(super::marks::MARKS).unwrap().retain(|_, _| false).unwrap();
    super::queue::put_off(&transaction, unix_ms() + 9 * DAY_MS);
    transaction.commit().unwrap();
    drop(database);
    assert_eq!(due(&open_by(folder.path(), unix_ms)).await.len(), 2);
}
