//! Calls that are set up and ended, one after the other: what is left of them.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::Options;
use crate::calls::Pair;
use crate::client::metric;
use crate::process::Callkitd;

/// Pairs that call at the same time. One: the history of a user, of which a server keeps the last thousand calls, is full after the first
/// thousand.
const PAIRS: usize = 1;
/// Calls in a second.
const PER_SECOND: u32 = 200;
/// How long the server remembers a call that is over, here; by default a minute.
const TOMBSTONE_MS: u32 = 500;

pub async fn measure(options: &Options) {
    for keeps_calls in [false, true] {
        println!(
            "{} calls one after the other, {}",
            options.calls,
            if keeps_calls { "kept on disk" } else { "in memory" }
        );
        let lines = format!("call_tombstone_ms = {TOMBSTONE_MS}\nresume_window_ms = 1000");
        let server = Callkitd::start_with(keeps_calls, &lines, 60_000);
        let files_before = server.files();
        let pairs = (0..PAIRS).map(|number| Pair::sign_in(server.address, "pair", number));
        let mut pairs = join_all(pairs).await;

        let mut paced = interval(Duration::from_secs(1).mul_f64(PAIRS as f64 / f64::from(PER_SECOND)));
        // Never faster, so that as much is remembered at any time.
        paced.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut done = 0;
        let mut first = 0.0;
        for part in 1..=10 {
            while done < options.calls * part / 10 {
                paced.tick().await;
                let times = join_all(pairs.iter_mut().map(Pair::call)).await;
                done += times.len();
            }
            forgotten(&server).await;
            let memory = server.memory_kib();
            if part == 1 {
                first = memory;
            }
            let growth = (memory / first - 1.0) * 100.0;
            println!("  after {done:6} calls   {memory:8.0} KiB   {growth:+6.2} % since the first tenth");
        }
        for pair in pairs {
            pair.ann.goodbye().await;
            pair.bob.goodbye().await;
        }
        forgotten(&server).await;
        let mut gauges = Vec::new();
        for name in ["callkit_calls", "callkit_sessions", "callkit_streams", "callkit_hub_queue"] {
            gauges.push(format!("{name} {}", metric(server.address, name).await));
        }
        println!("  at the end: {}", gauges.join(", "));
        let others = until_files(&server, files_before).await;
        println!("  open files and sockets: {files_before} before the first device, {others} after the last");
    }
}

/// Waits until calls that are over are over for the server, too.
async fn forgotten(server: &Callkitd) {
    while metric(server.address, "callkit_calls").await != 0.0 {
        sleep(Duration::from_millis(50)).await; // sleeps: nobody tells when a gauge changes
    }
    sleep(Duration::from_millis(2 * u64::from(TOMBSTONE_MS))).await; // sleeps: the time that the server remembers
}

/// Closed sockets are gone a moment later.
async fn until_files(server: &Callkitd, wanted: usize) -> usize {
    for _ in 0..100 {
        if server.files() <= wanted {
            break;
        }
        sleep(Duration::from_millis(50)).await; // sleeps: nobody tells when a socket is gone
    }
    server.files()
}
