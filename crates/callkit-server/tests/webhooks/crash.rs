//! A server that is killed with a full outbox.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use callkit_server::outbox_alone::Outbox;

use crate::endpoint::{Reply, app, ended, quick, serve, soon};

const FOLDER: &str = "OUTBOX_FOLDER";
const BACKEND: &str = "OUTBOX_BACKEND";
const CALLS: u128 = 50;
const EACH: u32 = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_stored_before_a_kill_is_delivered_after_it() {
    // The same program, started by itself below.
    if let (Ok(folder), Ok(backend)) = (std::env::var(FOLDER), std::env::var(BACKEND)) {
        return be_killed(&folder, &backend).await;
    }
    let is_well = Arc::new(AtomicBool::new(false));
    let taken: Arc<Mutex<HashMap<u128, Vec<u32>>>> = Arc::default();
    let (well, book) = (Arc::clone(&is_well), Arc::clone(&taken));
    let address = serve(move |hit| {
        if !well.load(Ordering::SeqCst) {
            return Reply::Status(503);
        }
        let (call, n) = hit.number();
        book.lock().unwrap().entry(call).or_default().push(n);
        Reply::Status(204)
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::what_was_stored_before_a_kill_is_delivered_after_it", "--nocapture"])
        .env(FOLDER, folder.path())
        .env(BACKEND, address.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let stored = tokio::task::spawn_blocking(move || lines.any(|line| line.unwrap().contains("everything is stored")));
    assert!(soon(stored).await.unwrap());
    child.kill().unwrap();
    child.wait().unwrap();

    is_well.store(true, Ordering::SeqCst);
    let (outbox, mut notices, running) =
        Outbox::start_alone(Some(folder.path()), &[app("shop", address)], quick()).unwrap();
    for _ in 0..CALLS * u128::from(EACH) {
        assert_eq!(soon(notices.recv()).await.unwrap().given_up, None);
    }
    soon(outbox.close(running)).await;
    let taken = taken.lock().unwrap();
    assert_eq!(taken.len() as u128, CALLS);
    assert!(taken.values().all(|of_call| *of_call == (0..EACH).collect::<Vec<_>>()), "{taken:?}");
}

async fn be_killed(folder: &str, backend: &str) {
    let shop = app("shop", backend.parse().unwrap());
    let (outbox, _notices, _running) = Outbox::start_alone(Some(folder.as_ref()), &[shop], quick()).unwrap();
    for n in 0..EACH {
        for call in 0..CALLS {
            outbox.enqueue(ended("shop", call, n));
        }
    }
    outbox.stored().await;
    println!("everything is stored");
    std::future::pending::<()>().await;
}
