//! How long it takes to connect and to be heard: `cargo bench -p rtc-transport --bench connect`.
//!
//! Counted from the moment the callee makes its answer. The callee knows the caller's candidates by then, and answer
//! and candidates travel as long as the media does, as over a server half-way. Both ends send a voice packet each
//! 20 ms from the moment they are connected; "sound" is the first one that arrives.
//!
//! Over loopback real sockets and real time; otherwise the simulated network in virtual time, where computing takes
//! none. `--quick` makes a tenth of the runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc_transport::simulated::{Host, Link, Network, run};
use rtc_transport::{Interfaces, MediaPath, OutgoingVoice, PathConfig, PathEvent, PathEvents, PathState, Swiftness};

/// Connecting takes too long to wait for.
const GIVE_UP: Duration = Duration::from_secs(20);

/// When one end was connected, and when it heard the other.
type Times = (Duration, Duration);

struct Attempt {
    caller: Option<Times>,
    callee: Option<Times>,
}

async fn follow(
    path: MediaPath,
    mut events: PathEvents,
    other: &MediaPath,
    signalling: Duration,
    since: impl Fn() -> Duration,
) -> Option<Times> {
    let (mut connected, mut sound) = (None, None);
    loop {
        match events.recv().await? {
            PathEvent::LocalCandidate(candidate) => {
                let other = other.clone();
                tokio::spawn(async move {
                    // sleeps: the delay of the signalling that is measured with
                    tokio::time::sleep(signalling).await;
                    let _ = other.add_candidate(candidate).await;
                });
            }
            PathEvent::StateChanged(PathState::Connected) => {
                connected.get_or_insert(since());
                tokio::spawn(speak(path.clone()));
            }
            PathEvent::StateChanged(PathState::Failed) => return None,
            PathEvent::Voice(_) => {
                sound.get_or_insert(since());
            }
            _ => {}
        }
        if let (Some(connected), Some(sound)) = (connected, sound) {
            return Some((connected, sound));
        }
    }
}

async fn speak(path: MediaPath) {
    for n in 0u32.. {
        let payload = Bytes::from_static(&[0; 80]);
        let voice = OutgoingVoice { payload, timestamp: 960 * n, marker: n == 0, level: 30, voice_activity: true };
        if path.send_voice(voice).is_err() {
            return;
        }
        // sleeps: the pace at which the connection is looked at
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn attempt(caller: PathConfig, callee: PathConfig, signalling: Duration) -> Attempt {
    let (caller, mut caller_events) = MediaPath::open(caller).await.expect("caller opens");
    let (callee, callee_events) = MediaPath::open(callee).await.expect("callee opens");
    let offer = caller.create_offer().await.expect("offer");
    // While it rings the caller's candidates reach the callee.
    // sleeps: the delay of the signalling that is measured with
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
        // sleeps: the delay of the signalling that is measured with
        tokio::time::sleep(signalling).await;
        caller.accept_answer(&answer).await.expect("answer taken");
    };
    let (_, at_caller, at_callee) = tokio::join!(
        deliver,
        tokio::time::timeout(GIVE_UP, follow(caller.clone(), caller_events, &callee, signalling, since)),
        tokio::time::timeout(GIVE_UP, follow(callee.clone(), callee_events, &caller, signalling, since)),
    );
    caller.close().await;
    callee.close().await;
    Attempt { caller: at_caller.ok().flatten(), callee: at_callee.ok().flatten() }
}

fn simulated(seed: u64, link: Link, swiftness: Swiftness) -> Attempt {
    run(async {
        let network = Network::new(seed);
        let (alice, bob) = (network.host(), network.host());
        network.connect(&alice, &bob, link);
        let config = |host: &Arc<Host>| PathConfig { swiftness, ..host.path_config() };
        attempt(config(&alice), config(&bob), link.delay).await
    })
}

fn print(name: &str, attempts: &[Attempt]) {
    let done: Vec<(Times, Times)> = attempts.iter().filter_map(|a| a.caller.zip(a.callee)).collect();
    println!("{name}: {} of {} connected", done.len(), attempts.len());
    let line = |what: &str, time: fn(&(Times, Times)) -> Duration| {
        let mut took: Vec<f64> = done.iter().map(|times| time(times).as_secs_f64() * 1_000.0).collect();
        took.sort_by(f64::total_cmp);
        if took.is_empty() {
            return;
        }
        let at = |part: f64| took[((took.len() - 1) as f64 * part).round() as usize];
        println!("  {what:<20} p50 {:>7.1} ms   p99 {:>7.1} ms   max {:>7.1} ms", at(0.5), at(0.99), at(1.0));
    };
    line("caller connected", |(caller, _)| caller.0);
    line("callee connected", |(_, callee)| callee.0);
    line("sound at the callee", |(_, callee)| callee.1);
    line("sound at the caller", |(caller, _)| caller.1);
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let count = |full: u64| if quick { (full / 10).max(2) } else { full };
    let ms = Duration::from_millis;
    for (kind, swiftness) in [("", Swiftness::default()), (" (engine as it comes)", Swiftness::none())] {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let attempts = runtime.expect("a runtime").block_on(async {
            let mut attempts = vec![];
            for _ in 0..count(100) {
                let config = PathConfig { interfaces: Interfaces::Loopback, swiftness, ..PathConfig::default() };
                attempts.push(attempt(config.clone(), config, Duration::ZERO).await);
            }
            attempts
        });
        print(&format!("loopback{kind}"), &attempts);
        let links = [
            ("50 ms each way", Link::delayed(ms(50)), 20),
            ("100 ms each way", Link::delayed(ms(100)), 20),
            ("50 ms each way, 10 % loss", Link::delayed(ms(50)).with_loss(0.1), 400),
        ];
        for (name, link, runs) in links {
            let attempts: Vec<Attempt> = (0..count(runs)).map(|seed| simulated(seed, link, swiftness)).collect();
            print(&format!("{name}{kind}"), &attempts);
        }
        println!();
    }
}
