use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use call_protocol::end::EndReason;
use call_protocol::invite::CallType;
use call_protocol::{AppId, CallId, DeviceId, Party, UserId};

use super::queue::{Bell, Busy, Item, Kind, Room, Target};
use callkit_hub::CallRecord;

use super::{Retention, Setting, Store, StoreError};
use crate::clock::{Clock, unix_ms};
use crate::metering::Metering;
use crate::push::PushAddress;
use crate::token::Apps;

const DAY_MS: u64 = 24 * 3_600 * 1_000;

pub(super) fn setting() -> Setting {
    Setting {
        retention: Retention::default(),
        apps: Arc::new(Apps::new(&[], 0)),
        metering: Arc::new(Metering::new()),
        clock: Clock::start(),
    }
}

fn open_with(folder: Option<&Path>, retention: Retention) -> Store {
    Store::open(folder, Setting { retention, ..setting() }, ()).unwrap().0
}

fn open(folder: Option<&Path>) -> Store {
    open_with(folder, Retention::default())
}

pub(super) fn app() -> AppId {
    AppId::new("shop").unwrap()
}

pub(super) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(super) fn device(name: &str) -> DeviceId {
    DeviceId::new(name).unwrap()
}

pub(super) fn call(id: u128, began_unix_ms: u64, callee: &str) -> CallRecord {
    CallRecord {
        call_id: CallId::from_bits(id),
        caller: Party { user: user("ann"), device: device("phone") },
        callee: user(callee),
        call_type: CallType::Audio1v1,
        began_unix_ms,
        ring_ms: 30_000,
        talk_ms: 0,
        caller_reason: EndReason::RemoteNoResponse,
        callee_reason: EndReason::NoResponse,
        disconnect_reason: 1203,
        disconnect_source: 2,
        user_code: None,
        missed: true,
        number: 0,
    }
}

pub(super) fn ids(calls: &[CallRecord]) -> Vec<u128> {
    calls.iter().map(|call| call.call_id.bits()).collect()
}

pub(super) fn item(id: &str, call: u128, created_unix_ms: u64, expires_unix_ms: u64) -> Item {
    Item {
        id: id.into(),
        app: app(),
        call_id: CallId::from_bits(call),
        kind: Kind::CallEvent,
        created_unix_ms,
        expires_unix_ms,
        body: format!("{{\"n\":\"{id}\"}}"),
        target: None,
    }
}

pub(super) fn free() -> Busy {
    Busy { otherwise: Room { own: 1, shared: 99 }, shared: 200, of_service: 200, ..Busy::default() }
}

#[tokio::test]
async fn history_is_paged_newest_first_for_both_users() {
    let store = open(None);
    let now = unix_ms();
    for n in 0..10 {
        store.record(&app(), call(n, now - 1_000 + n as u64 / 2, if n % 2 == 0 { "bob" } else { "eve" }));
    }
    store.record(&AppId::new("bank").unwrap(), call(99, now, "bob"));
    store.flush().await;
    let first = store.page(&app(), &user("ann"), None, 4).await.unwrap();
    assert_eq!(ids(&first.calls), [9, 8, 7, 6]);
    let second = store.page(&app(), &user("ann"), first.next, 4).await.unwrap();
    assert_eq!(ids(&second.calls), [5, 4, 3, 2]);
    store.record(&app(), call(10, now, "bob"));
    store.flush().await;
    let third = store.page(&app(), &user("ann"), second.next, 4).await.unwrap();
    assert_eq!((ids(&third.calls), third.next), (vec![1, 0], None), "a new call does not shift the pages");
    let of_bob = store.page(&app(), &user("bob"), None, 100).await.unwrap();
    assert_eq!(ids(&of_bob.calls), [10, 8, 6, 4, 2, 0]);
    assert_eq!(of_bob.next, None);
}

#[tokio::test]
async fn missed_calls_are_those_of_the_callee_with_higher_numbers_whatever_the_clock_showed() {
    let store = open_with(None, Retention { history_per_user: 3, ..Retention::default() });
    let now = unix_ms();
    let missed = async |name: &str, known, older| {
        store.flush().await;
        ids(&store.missed_after(&app(), &user(name), known, older).await.unwrap())
    };
    for (number, began) in [(1, now - 500), (2, now + DAY_MS), (3, now - 300), (4, now - 9 * DAY_MS)] {
        let call = CallRecord { missed: number != 3, number: number as u64, ..call(number, began, "bob") };
        store.record(&app(), call.clone());
        store.record(&app(), call);
    }
    assert_eq!(missed("bob", 1, 0).await, [2], "the fourth one began first, and goes since there are too many");
    assert_eq!((missed("bob", 2, 0).await, missed("bob", 2, 1).await), (vec![], vec![2]));
    assert_eq!(missed("bob", 2, 9).await, [1, 2]);
    assert_eq!(missed("ann", 0, 0).await, [], "the caller missed nothing");
}

#[tokio::test]
async fn history_ends_by_age_and_by_number() {
    let folder = tempfile::tempdir().unwrap();
    let now = unix_ms();
    let store = open_with(
        Some(folder.path()),
        Retention { history_days: 400, history_per_user: 5, steady_for: Duration::ZERO },
    );
    store.record(&app(), call(1, now - 100 * DAY_MS, "old"));
    for n in 10..20 {
        store.record(&app(), call(n, now - 1_000 + n as u64, "bob"));
        store.record(&app(), call(n, now - 1_000 + n as u64, "bob"));
    }
    store.flush().await;
    for name in ["ann", "bob"] {
        let page = store.page(&app(), &user(name), None, 100).await.unwrap();
        assert_eq!(ids(&page.calls), [19, 18, 17, 16, 15], "{name}");
    }
    assert_eq!(store.page(&app(), &user("old"), None, 100).await.unwrap().calls.len(), 1);
    store.close().await;

    let store =
        open_with(Some(folder.path()), Retention { history_days: 90, history_per_user: 5, steady_for: Duration::ZERO });
    assert_eq!(
        store.page(&app(), &user("old"), None, 100).await.unwrap().calls,
        [],
        "not shown even before it is deleted"
    );
    let unsure = Retention { history_days: 90, history_per_user: 5, ..Retention::default() };
    store.close().await;
    let store = open_with(Some(folder.path()), unsure);
    store.record(&app(), call(30, now, "bob"));
    store.close().await;
    let store = open_with(Some(folder.path()), Retention { history_days: 400, ..unsure });
    let left = store.page(&app(), &user("old"), None, 100).await.unwrap().calls;
    assert_eq!(ids(&left), [1], "by a clock that nobody knows yet nothing is deleted");
    store.close().await;
    let store = open_with(Some(folder.path()), Retention { steady_for: Duration::ZERO, ..unsure });
    store.record(&app(), call(31, now, "bob"));
    store.close().await;
    let store = open_with(
        Some(folder.path()),
        Retention { history_days: 400, history_per_user: 5, steady_for: Duration::ZERO },
    );
    assert_eq!(store.page(&app(), &user("old"), None, 100).await.unwrap().calls, [], "deleted");
}

#[tokio::test]
async fn a_user_has_32_devices_and_the_longest_unseen_goes() {
    let store = open(None);
    let bob = user("bob");
    for n in 0..40 {
        store.seen(&app(), &bob, &device(&format!("d{n}")), n);
        store.seen(&app(), &bob, &device("d0"), n);
    }
    let push = PushAddress::Apns { token: "ab".repeat(32), background_token: None, sandbox: true };
    store.set_push(&app(), &bob, &device("d39"), Some(push.clone()));
    store.seen(&app(), &user("bobby"), &device("other"), 1);
    store.flush().await;
    let devices = store.devices_of(&app(), &bob).await.unwrap();
    let names: HashSet<_> = devices.iter().map(|known| known.device.to_string()).collect();
    assert_eq!(devices.len(), 32);
    assert!(names.contains("d0") && names.contains("d39") && !names.contains("d1") && !names.contains("d8"));
    let known = devices.iter().find(|known| known.device == device("d39")).unwrap();
    assert_eq!((known.knows, known.push.clone()), (39.min(store.last_number()), Some(push)));
    assert!(!format!("{known:?}").contains("abab"));
    for n in 0..40 {
        store.seen(&app(), &bob, &device(&format!("without push {n}")), 9_000 + n);
    }
    store.flush().await;
    let devices = store.devices_of(&app(), &bob).await.unwrap();
    assert_eq!(devices.len(), 32);
    assert!(
        devices.iter().any(|known| known.device == device("d39")),
        "a push reaches it, however long it was not seen"
    );
    store.set_push(&app(), &bob, &device("d39"), None);
    store.flush().await;
    assert!(store.devices_of(&app(), &bob).await.unwrap().iter().all(|known| known.push.is_none()));
}

fn phone(digit: &str) -> PushAddress {
    PushAddress::Apns { token: digit.repeat(64), background_token: None, sandbox: true }
}

/// The devices of a user that a push reaches.
async fn reached(store: &Store, name: &str) -> Vec<String> {
    store.flush().await;
    let devices = store.devices_of(&app(), &user(name)).await.unwrap();
    devices.iter().filter(|known| known.push.is_some()).map(|known| known.device.to_string()).collect()
}

#[tokio::test]
async fn what_a_push_reaches_is_the_last_to_be_forgotten() {
    let store = open(None);
    let bob = user("bob");
    store.set_push(&app(), &bob, &device("phone"), Some(phone("a")));
    for n in 0..100 {
        store.seen(&app(), &bob, &device(&format!("call-{n}")), unix_ms() + n);
    }
    assert_eq!(reached(&store, "bob").await, ["phone"]);
    assert_eq!(store.devices_of(&app(), &bob).await.unwrap().len(), 32);
    for n in 0..40 {
        store.set_push(&app(), &bob, &device(&format!("p{n:02}")), Some(phone(&format!("{n:02}"))));
    }
    assert_eq!(reached(&store, "bob").await.len(), 32, "these are bounded, too");
}

#[tokio::test]
async fn an_address_belongs_to_the_device_that_told_it_last() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(Some(folder.path()));
    for start in 0..5 {
        store.set_push(&app(), &user("bob"), &device(&format!("rust-{start}")), Some(phone("a")));
    }
    store.set_push(&app(), &user("bob"), &device("tablet"), Some(phone("b")));
    assert_eq!(reached(&store, "bob").await, ["rust-4", "tablet"], "five starts are one phone");
    let upper = PushAddress::Apns { token: "A".repeat(64), background_token: None, sandbox: true };
    store.set_push(&app(), &user("carl"), &device("phone"), Some(upper));
    let bank = AppId::new("bank").unwrap();
    store.set_push(&bank, &user("bob"), &device("phone"), Some(phone("b")));
    assert_eq!(
        (reached(&store, "bob").await, reached(&store, "carl").await),
        (vec!["tablet".into()], vec!["phone".into()])
    );
    store.close().await;

    // What the phone is told of its former user changes nothing for the present one.
    let store = open(Some(folder.path()));
    store.set_push(&app(), &user("bob"), &device("rust-4"), None);
    store.set_push(&app(), &user("carl"), &device("phone"), Some(phone("c")));
    assert_eq!(reached(&store, "carl").await, ["phone"]);
    store.set_push(&app(), &user("bob"), &device("old"), Some(phone("a")));
    assert_eq!(
        (reached(&store, "bob").await, reached(&store, "carl").await.len()),
        (vec!["old".into(), "tablet".into()], 1)
    );
}

#[tokio::test]
async fn a_file_that_does_not_say_whose_an_address_is_gives_it_to_the_device_seen_last() {
    let folder = tempfile::tempdir().unwrap();
    let old = redb::Database::create(folder.path().join("calls.redb")).unwrap();
    let transaction = old.begin_write().unwrap();
    {
        let mut devices = transaction.open_table(super::devices::DEVICES).unwrap();
        for (who, seen) in [("ann", 3), ("bob", 7), ("carl", 5)] {
            let row = serde_json::json!({ "seen_unix_ms": seen, "push": phone("a") });
            devices.insert(("shop", who, "phone"), row.to_string().as_bytes()).unwrap();
        }
    }
    transaction.commit().unwrap();
    drop(old);
    let store = open(Some(folder.path()));
    assert_eq!(reached(&store, "bob").await, ["phone"]);
    assert!(reached(&store, "ann").await.is_empty() && reached(&store, "carl").await.is_empty());
}

#[tokio::test]
async fn a_lane_gives_out_one_item_at_a_time_and_the_next_after_it() {
    let store = open(None);
    let bell = Arc::new(Bell::default());
    for (id, call) in [("a1", 1), ("a2", 1), ("b1", 2), ("a3", 1)] {
        store.put(item(id, call, 10, 1_000), &bell);
    }
    store.flush().await;
    let names = |work: &super::queue::Work| work.due.iter().map(|w| w.item.id.clone()).collect::<Vec<_>>();
    let work = store.work(20, free()).await.unwrap();
    assert_eq!(names(&work), ["a1", "b1"]);
    assert_eq!(work.next_unix_ms, Some(1_000), "when the first expires");
    store.postpone(work.due[0].seq, 500, &bell);
    store.remove(work.due[1].seq, &bell);
    store.flush().await;
    assert_eq!(bell.settled(), [work.due[0].seq, work.due[1].seq]);
    let work = store.work(20, free()).await.unwrap();
    assert_eq!((names(&work), work.next_unix_ms), (vec![], Some(500)));
    let work = store.work(500, free()).await.unwrap();
    assert_eq!((names(&work), work.due[0].attempts), (vec!["a1".into()], 1));
    let busy = Busy { taken: [work.due[0].seq].into(), ..free() };
    assert_eq!(names(&store.work(500, busy).await.unwrap()), Vec::<String>::new());
    store.remove(work.due[0].seq, &bell);
    store.flush().await;
    assert_eq!(names(&store.work(500, free()).await.unwrap()), ["a2"]);
    let work = store.work(1_000, free()).await.unwrap();
    let expired: Vec<_> = work.expired.iter().map(|w| w.item.id.clone()).collect();
    assert_eq!((expired, names(&work)), (vec!["a2".into(), "a3".into()], vec![]));
}

#[tokio::test]
async fn a_destination_without_room_is_in_nobodys_way() {
    let store = open(None);
    let bell = Arc::new(Bell::default());
    for n in 0..50 {
        store.put(item(&format!("s{n}"), n, 10, 1_000), &bell);
    }
    store.put(Item { app: AppId::new("bank").unwrap(), ..item("b", 1, 10, 1_000) }, &bell);
    store.put(Item { kind: Kind::Notify, ..item("n", 100, 10, 1_000) }, &bell);
    store.flush().await;
    let busy = Busy { room: [("call_event/shop".to_owned(), Room::default())].into(), ..free() };
    let work = store.work(20, busy).await.unwrap();
    let names: Vec<_> = work.due.iter().map(|waiting| waiting.item.id.as_str()).collect();
    assert_eq!(names, ["b", "n"]);
    let work = store.work(20, Busy { shared: 8, ..free() }).await.unwrap();
    assert_eq!(work.due.len(), 3 + 4, "each has one of its own, and one destination half of what is shared");
}

#[tokio::test]
async fn a_copy_has_everything_while_the_server_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(Some(&folder.path().join("data")));
    let bell = Arc::new(Bell::default());
    store.record(&app(), call(1, unix_ms(), "bob"));
    store.seen(&app(), &user("bob"), &device("phone"), 5);
    store.put(item("a1", 1, 10, 1_000), &bell);
    store.put(item("a2", 1, 10, 1_000), &bell);
    let target = folder.path().join("copy").join("calls.redb");
    std::fs::create_dir(target.parent().unwrap()).unwrap();
    store.backup(&target).await.unwrap();
    assert!(matches!(store.backup(&target).await, Err(StoreError::Exists(_))));
    assert_eq!(std::fs::read_dir(target.parent().unwrap()).unwrap().count(), 1, "nothing else is left");
    assert!(store.backup(&folder.path().join("nowhere").join("x")).await.is_err());
    store.record(&app(), call(2, unix_ms(), "bob"));
    store.flush().await;
    assert_eq!(store.page(&app(), &user("bob"), None, 9).await.unwrap().calls.len(), 2);

    let copy = open(target.parent());
    assert_eq!(ids(&copy.page(&app(), &user("bob"), None, 9).await.unwrap().calls), [1]);
    assert_eq!(copy.devices_of(&app(), &user("bob")).await.unwrap().len(), 1);
    let work = copy.work(20, free()).await.unwrap();
    assert_eq!(work.due[0].item, item("a1", 1, 10, 1_000));
    copy.remove(work.due[0].seq, &bell);
    copy.flush().await;
    assert_eq!(copy.work(20, free()).await.unwrap().due[0].item.id, "a2", "its order is copied, too");
}

#[cfg(unix)]
#[tokio::test]
async fn what_is_kept_is_nobody_elses_to_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folder = tempfile::tempdir().unwrap();
    let (data, copy) = (folder.path().join("in").join("data"), folder.path().join("copy.redb"));
    let store = open(Some(&data));
    store.backup(&copy).await.unwrap();
    let file = data.join("calls.redb");
    assert_eq!((mode(&data), mode(&file), mode(&copy)), (0o700, 0o600, 0o600));
    store.close().await;
    // As an older version made it.
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o750)).unwrap();
    open(Some(&data)).close().await;
    assert_eq!((mode(&data), mode(&file)), (0o750, 0o600), "the folder is the operator's");
}

#[tokio::test]
async fn a_closed_store_says_so_and_frees_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(Some(folder.path()));
    let other = store.clone();
    let second = Store::open(Some(folder.path()), setting(), ());
    assert!(matches!(second, Err(StoreError::InUse(_))));
    store.close().await;
    assert!(matches!(other.devices_of(&app(), &user("bob")).await, Err(StoreError::Closed)));
    other.seen(&app(), &user("bob"), &device("phone"), 5);
    other.flush().await;
    open(Some(folder.path()));
}

#[tokio::test]
async fn a_file_of_before_there_was_more_than_calls_still_opens() {
    let folder = tempfile::tempdir().unwrap();
    let old = redb::Database::create(folder.path().join("calls.redb")).unwrap();
    let transaction = old.begin_write().unwrap();
    transaction.open_table(super::calls::CALLS).unwrap().insert(("shop", "not a call"), b"{}".as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(old);
    let store = open(Some(folder.path()));
    store.record(&app(), call(1, unix_ms(), "bob"));
    store.close().await;
    let store = open(Some(folder.path()));
    assert_eq!(store.page(&app(), &user("bob"), None, 9).await.unwrap().calls.len(), 1);
}

/// It had one destination for all users of a push service.
#[tokio::test]
async fn what_an_older_server_left_to_be_sent_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(Some(folder.path()));
    let target = Target { service: "apns".into(), user: user("bob"), device: device("phone") };
    let push = Item { kind: Kind::Push, target: Some(target), ..item("p", 1, 10, 1_000) };
    store.put(push, &Arc::new(Bell::default()));
    store.close().await;

    let database = redb::Database::create(folder.path().join("calls.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.delete_table(super::queue::DUE).unwrap();
    let due_of_old: redb::TableDefinition<'_, (&str, u64, u64), ()> = redb::TableDefinition::new("outbox-due-1");
    transaction.open_table(due_of_old).unwrap().insert(("push/apns/shop", 10, 1), ()).unwrap();
    transaction.commit().unwrap();
    drop(database);

    let store = open(Some(folder.path()));
    let work = store.work(20, free()).await.unwrap();
    let ids: Vec<_> = work.due.iter().map(|waiting| waiting.item.id.as_str()).collect();
    assert_eq!(ids, ["p"]);
    let room = [("push/apns/shop\u{1f}bob".to_owned(), Room::default())].into();
    assert!(store.work(20, Busy { room, ..free() }).await.unwrap().due.is_empty(), "its destination is bob's own");
}
