//! Many webhooks to an endpoint that fails a third of the time: what is delivered, in which order, and what it takes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use callkit_server::outbox_alone::{Outbox, Pace};
use tokio::sync::Notify;

use crate::endpoint::{Reply, app, ended, serve, soon};

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    pub delivered: u64,
    /// Events of which the one before in their call was not delivered yet.
    pub out_of_order: u64,
    /// Events delivered again.
    pub repeated: u64,
    pub attempts: u64,
    pub took: Duration,
    /// Resident memory in KiB at the start, after a quarter was delivered and at the end; 0 where it cannot be told.
    pub resident_kib: [u64; 3],
}

struct Backend {
    /// The number each call's next event has.
    next: Vec<AtomicU32>,
    attempts: AtomicU64,
    delivered: AtomicU64,
    out_of_order: AtomicU64,
    repeated: AtomicU64,
    news: Notify,
}

impl Backend {
    fn take(&self, call: u128, n: u32) -> Reply {
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        let next = &self.next[usize::try_from(call).unwrap()];
        let expected = next.load(Ordering::SeqCst);
        if n > expected {
            self.out_of_order.fetch_add(1, Ordering::Relaxed);
        }
        // A third, spread evenly and the same at each run.
        if attempt.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 < u64::from(u32::MAX / 3) {
            return Reply::Status(if attempt.is_multiple_of(2) { 500 } else { 503 });
        }
        if n == expected {
            next.store(n + 1, Ordering::SeqCst);
            self.delivered.fetch_add(1, Ordering::Relaxed);
            self.news.notify_one();
        } else {
            self.repeated.fetch_add(1, Ordering::Relaxed);
        }
        Reply::Status(204)
    }

    async fn until(&self, delivered: u64) {
        while self.delivered.load(Ordering::Relaxed) < delivered {
            self.news.notified().await;
        }
    }
}

/// `each` webhooks of each of `calls` calls, given as the store takes them.
pub async fn run(folder: &Path, calls: u32, each: u32, pace: Pace) -> Figures {
    let backend = Arc::new(Backend {
        next: (0..calls).map(|_| AtomicU32::new(0)).collect(),
        attempts: AtomicU64::new(0),
        delivered: AtomicU64::new(0),
        out_of_order: AtomicU64::new(0),
        repeated: AtomicU64::new(0),
        news: Notify::new(),
    });
    let answering = Arc::clone(&backend);
    let address = serve(move |hit| {
        let (call, n) = hit.number();
        answering.take(call, n)
    })
    .await;
    let (outbox, notices, running) = Outbox::start_alone(Some(folder), &[app("shop", address)], pace).unwrap();
    drop(notices);
    let all = u64::from(calls) * u64::from(each);
    let mut resident_kib = [resident(), 0, 0];
    let begin = Instant::now();
    let giving = async {
        for n in 0..each {
            for call in 0..calls {
                outbox.enqueue(ended("shop", u128::from(call), n));
                if call % 1_000 == 999 {
                    outbox.stored().await;
                }
            }
        }
    };
    let watching = async {
        backend.until(all / 4).await;
        resident_kib[1] = resident();
        let mut before = 0;
        while tokio::time::timeout(Duration::from_secs(60), backend.until(all)).await.is_err() {
            let delivered = backend.delivered.load(Ordering::Relaxed);
            assert!(delivered > before, "stuck at {delivered} of {all}");
            before = delivered;
        }
        resident_kib[2] = resident();
    };
    tokio::join!(giving, watching);
    let took = begin.elapsed();
    soon(outbox.close(running)).await;
    Figures {
        delivered: backend.delivered.load(Ordering::Relaxed),
        out_of_order: backend.out_of_order.load(Ordering::Relaxed),
        repeated: backend.repeated.load(Ordering::Relaxed),
        attempts: backend.attempts.load(Ordering::Relaxed),
        took,
        resident_kib,
    }
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or(0)
}
