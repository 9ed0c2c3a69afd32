//! What a path costs that is connected and waits, as while a phone rings: `cargo bench -p rtc-transport --bench warm`.
//!
//! Real sockets on loopback and one thread for all paths. Each pair of paths stands for two devices, so a device has
//! half of what is printed for a pair; the figures are for one path. Memory and computing time are read from `/proc`,
//! and only on Linux. `--quick` takes a tenth of the time.

use std::time::{Duration, Instant};

use rtc_transport::{Interfaces, MediaPath, PathConfig, PathEvent, PathEvents, PathState};

/// Two ends and their events, which must be kept.
struct Pair {
    caller: (MediaPath, PathEvents),
    callee: (MediaPath, PathEvents),
}

async fn connected(events: &mut PathEvents, other: &MediaPath) {
    while let Some(event) = events.recv().await {
        match event {
            PathEvent::LocalCandidate(candidate) => other.add_candidate(candidate).await.expect("candidate"),
            PathEvent::StateChanged(PathState::Connected) => return,
            _ => {}
        }
    }
}

/// Opens and connects a pair; gives how long it took from the first call on.
async fn connect() -> (Pair, Duration) {
    let start = Instant::now();
    let config = PathConfig { interfaces: Interfaces::Loopback, ..PathConfig::default() };
    let (caller, mut caller_events) = MediaPath::open(config.clone()).await.expect("caller opens");
    let (callee, mut callee_events) = MediaPath::open(config).await.expect("callee opens");
    let offer = caller.create_offer().await.expect("offer");
    let answer = callee.accept_offer(&offer).await.expect("answer");
    caller.accept_answer(&answer).await.expect("answer taken");
    tokio::join!(connected(&mut caller_events, &callee), connected(&mut callee_events, &caller));
    (Pair { caller: (caller, caller_events), callee: (callee, callee_events) }, start.elapsed())
}

/// Bytes of memory of this process.
fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Computing time of this process's only thread so far.
fn computed() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(stat.split_ascii_whitespace().next()?.parse().ok()?))
}

fn milliseconds(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part).round() as usize].as_secs_f64() * 1_000.0;
    format!("p50 {:.1} ms, slowest {:.1} ms", at(0.5), at(1.0))
}

async fn at_once(count: usize, rounds: usize) {
    let (mut single, mut all) = (vec![], vec![]);
    for _ in 0..rounds {
        let start = Instant::now();
        let tasks: Vec<_> = (0..count).map(|_| tokio::spawn(connect())).collect();
        let mut pairs = vec![];
        for task in tasks {
            let (pair, took) = task.await.expect("it connects");
            single.push(took);
            pairs.push(pair);
        }
        all.push(start.elapsed());
        for Pair { caller, callee } in pairs {
            caller.0.close().await;
            callee.0.close().await;
        }
    }
    println!("{count} pairs at once: one connected {}; all connected {}", milliseconds(single), milliseconds(all));
}

async fn idle(count: usize, time: Duration) {
    let before = memory();
    let mut pairs = vec![];
    for _ in 0..count {
        pairs.push(connect().await.0);
    }
    // sleeps: what connecting leaves to be done is no idling
    tokio::time::sleep(Duration::from_secs(1)).await;
    let paths = 2 * count;
    if let Some((before, now)) = before.zip(memory()) {
        println!("{paths} paths connected: {:.0} KiB of memory each", (now - before) as f64 / 1024.0 / paths as f64);
    }
    let start = computed();
    // sleeps: idling is what is measured
    tokio::time::sleep(time).await;
    if let Some((start, now)) = start.zip(computed()) {
        let part = (now - start).as_secs_f64() / time.as_secs_f64() / paths as f64;
        println!("{paths} paths waiting for {} s: {:.3} % of a core each", time.as_secs(), part * 100.0);
    }
    for Pair { caller, callee } in pairs {
        caller.0.close().await;
        callee.0.close().await;
    }
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        // What the first path sets up for the process is no cost of a path.
        drop(connect().await);
        let time = Duration::from_secs(if quick { 2 } else { 20 });
        idle(8, time).await;
        idle(64, time).await;
        let rounds = if quick { 3 } else { 30 };
        for count in [1, 4, 8] {
            at_once(count, rounds).await;
        }
    });
}
