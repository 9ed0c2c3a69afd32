//! How long it takes to connect: `cargo bench -p rtc-transport --bench connect`.
//!
//! "Connected" is counted from the moment the callee makes its answer; the callee knows the caller's candidates by
//! then, and answer and candidates travel as long as the media does, as over a server half-way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc_transport::simulated::{Host, Link, Network, pass, run};
use rtc_transport::{Interfaces, MediaPath, PathConfig, PathEvent, PathEvents, PathState, Swiftness};

/// Connecting takes too long to wait for.
const GIVE_UP: Duration = Duration::from_secs(20);

struct Connected {
    caller: Option<Duration>,
    callee: Option<Duration>,
}

async fn connected(
    events: &mut PathEvents,
    other: &MediaPath,
    signalling: Duration,
    since: impl Fn() -> Duration,
) -> Option<Duration> {
    loop {
        match events.recv().await? {
            PathEvent::LocalCandidate(candidate) => {
                let other = other.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(signalling).await;
                    let _ = other.add_candidate(candidate).await;
                });
            }
            PathEvent::StateChanged(PathState::Connected) => return Some(since()),
            PathEvent::StateChanged(PathState::Failed) => return None,
            _ => {}
        }
    }
}

async fn connect(caller: PathConfig, callee: PathConfig, signalling: Duration) -> Connected {
    let (caller, mut caller_events) = MediaPath::open(caller).await.expect("caller opens");
    let (callee, mut callee_events) = MediaPath::open(callee).await.expect("callee opens");
    let offer = caller.create_offer().await.expect("offer");
    // While it rings the caller's candidates reach the callee.
    tokio::time::sleep(signalling + Duration::from_millis(20)).await;
    while let Some(event) = caller_events.try_recv() {
        if let PathEvent::LocalCandidate(candidate) = event {
            callee.add_candidate(candidate).await.expect("candidate");
        }
    }
    let real = Instant::now();
    let virtually = tokio::time::Instant::now();
    let since = || if signalling.is_zero() { real.elapsed() } else { virtually.elapsed() };
    let answer = callee.accept_offer(&offer).await.expect("answer");
    let deliver = async {
        tokio::time::sleep(signalling).await;
        caller.accept_answer(&answer).await.expect("answer taken");
    };
    let (_, caller_after, callee_after) = tokio::join!(
        deliver,
        tokio::time::timeout(GIVE_UP, connected(&mut caller_events, &callee, signalling, since)),
        tokio::time::timeout(GIVE_UP, connected(&mut callee_events, &caller, signalling, since)),
    );
    caller.close().await;
    callee.close().await;
    Connected { caller: caller_after.ok().flatten(), callee: callee_after.ok().flatten() }
}

fn simulated(seed: u64, link: Link, swiftness: Swiftness) -> Connected {
    run(async {
        let network = Network::new(seed);
        let (alice, bob) = (network.host(), network.host());
        network.connect(&alice, &bob, link);
        let config = |host: &Arc<Host>| PathConfig { swiftness, ..host.path_config() };
        let connected = connect(config(&alice), config(&bob), link.delay).await;
        pass(Duration::from_millis(1)).await;
        connected
    })
}

fn print(name: &str, runs: &[Connected]) {
    let line = |side: &str, times: Vec<Option<Duration>>| {
        let mut took: Vec<f64> = times.iter().flatten().map(|time| time.as_secs_f64() * 1_000.0).collect();
        took.sort_by(f64::total_cmp);
        if took.is_empty() {
            println!("{name:<34} {side:<7} none of {} connected", times.len());
            return;
        }
        let at = |part: f64| took[((took.len() - 1) as f64 * part).round() as usize];
        println!(
            "{name:<34} {side:<7} p50 {:>7.1} ms   p99 {:>7.1} ms   longest {:>7.1} ms   {} of {}",
            at(0.5),
            at(0.99),
            at(1.0),
            took.len(),
            times.len()
        );
    };
    line("caller", runs.iter().map(|run| run.caller).collect());
    line("callee", runs.iter().map(|run| run.callee).collect());
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let count = |full: u64| if quick { full / 10 } else { full };
    println!("From the callee's answer to connected.\n");
    for (measures, swiftness) in [("", Swiftness::default()), (", engine as it comes", Swiftness::none())] {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runs = runtime.expect("a runtime").block_on(async {
            let mut runs = vec![];
            for _ in 0..count(100) {
                let config = PathConfig { interfaces: Interfaces::Loopback, swiftness, ..PathConfig::default() };
                runs.push(connect(config.clone(), config, Duration::ZERO).await);
            }
            runs
        });
        print(&format!("loopback{measures}"), &runs);
        let ms = Duration::from_millis;
        let links = [
            ("50 ms each way", Link::delayed(ms(50)), 20),
            ("100 ms each way", Link::delayed(ms(100)), 20),
            ("50 ms each way, 10 % loss", Link::delayed(ms(50)).with_loss(0.1), 400),
        ];
        for (name, link, runs) in links {
            let runs: Vec<Connected> = (0..count(runs).max(2)).map(|seed| simulated(seed, link, swiftness)).collect();
            print(&format!("{name}{measures}"), &runs);
        }
        println!();
    }
}
