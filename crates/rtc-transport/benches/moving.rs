//! How long the voice is away when an end moves to another network: `cargo bench -p rtc-transport --bench moving`.
//!
//! Counted from the change until each end hears the other again, a packet each 20 ms, in virtual time over the simulated
//! network. The end that moves acts at once, as if told by the system; `NetworkWatch` adds up to 250 ms. Signalling takes
//! as long as media. `--quick` makes a tenth of the runs.

use std::time::Duration;

use bytes::Bytes;
use rtc_transport::simulated::{Link, Network, pass, run};
use rtc_transport::{MediaPath, OutgoingVoice, PathEvent, PathEvents, PathState, Rebound};
use tokio::time::Instant;

#[derive(Clone, Copy)]
enum Change {
    /// A NAT gives the caller a new address.
    Nat,
    /// The caller has a new address and new sockets.
    Rebind,
    /// The caller has a new address and asks for an ICE restart.
    Restart,
}

fn carry(candidate: rtc_transport::Candidate, to: &MediaPath, delay: Duration) {
    let to = to.clone();
    tokio::spawn(async move {
        pass(delay).await;
        let _ = to.add_candidate(candidate).await;
    });
}

async fn connected(events: &mut PathEvents, other: &MediaPath, delay: Duration) {
    while let Some(event) = events.recv().await {
        match event {
            PathEvent::LocalCandidate(candidate) => carry(candidate, other, delay),
            PathEvent::StateChanged(PathState::Connected) => return,
            _ => {}
        }
    }
}

async fn speak(path: MediaPath) {
    for n in 0u32.. {
        let payload = Bytes::from_static(&[0; 80]);
        let voice = OutgoingVoice { payload, timestamp: 960 * n, marker: false, level: 30, voice_activity: true };
        let _ = path.send_voice(voice);
        pass(Duration::from_millis(20)).await;
    }
}

/// When voice said after `change` is heard, by its number.
async fn heard(events: &mut PathEvents, other: &MediaPath, delay: Duration, change: Instant) -> Duration {
    loop {
        match events.recv().await.expect("the path is open") {
            PathEvent::LocalCandidate(candidate) => carry(candidate, other, delay),
            // What comes sooner was on its way before.
            PathEvent::Voice(_) if change.elapsed() > delay => return change.elapsed(),
            _ => {}
        }
    }
}

async fn attempt(seed: u64, link: Link, change: Change) -> (Duration, Duration) {
    let delay = link.delay;
    let network = Network::new(seed);
    let (alice, bob) = (network.host(), network.host());
    network.connect(&alice, &bob, link);
    if matches!(change, Change::Nat) {
        alice.behind_nat();
    }
    let (caller, mut caller_events) = MediaPath::open(alice.path_config()).await.expect("caller opens");
    let (callee, mut callee_events) = MediaPath::open(bob.path_config()).await.expect("callee opens");
    let answer = callee.accept_offer(&caller.create_offer().await.expect("offer")).await.expect("answer");
    caller.accept_answer(&answer).await.expect("answer taken");
    tokio::join!(connected(&mut caller_events, &callee, delay), connected(&mut callee_events, &caller, delay));
    tokio::spawn(speak(caller.clone()));
    tokio::spawn(speak(callee.clone()));
    // The phase of the change among consent checks and packets is chance.
    pass(Duration::from_millis(1_000 + seed * 37 % 500)).await;
    while caller_events.try_recv().is_some() || callee_events.try_recv().is_some() {}
    let start = Instant::now();
    let act = async {
        match change {
            Change::Nat => alice.renumber(),
            Change::Rebind => {
                alice.moves();
                assert_eq!(caller.rebind().await, Rebound::Answered, "nothing stands in the way");
            }
            Change::Restart => {
                alice.moves();
                let offer = caller.restart_ice().await.expect("offer");
                pass(delay).await;
                let answer = callee.accept_offer(&offer).await.expect("answer");
                pass(delay).await;
                caller.accept_answer(&answer).await.expect("answer taken");
            }
        }
    };
    let (_, at_caller, at_callee) = tokio::join!(
        act,
        heard(&mut caller_events, &callee, delay, start),
        heard(&mut callee_events, &caller, delay, start)
    );
    (at_caller, at_callee)
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let runs = if quick { 5 } else { 50 };
    let ms = Duration::from_millis;
    let kinds =
        [("a NAT renumbers", Change::Nat), ("new sockets", Change::Rebind), ("an ICE restart", Change::Restart)];
    let links = [
        ("50 ms each way", Link::delayed(ms(50))),
        ("100 ms each way", Link::delayed(ms(100))),
        ("50 ms each way, 10 % loss", Link::delayed(ms(50)).with_loss(0.1)),
    ];
    for (what, change) in kinds {
        for (over, link) in links {
            let times: Vec<_> = (0..runs).map(|seed| run(attempt(seed, link, change))).collect();
            let line = |mut times: Vec<Duration>| {
                times.sort();
                let at = |part: f64| times[((times.len() - 1) as f64 * part).round() as usize].as_millis();
                format!("p50 {:>4} ms, p99 {:>4} ms", at(0.5), at(0.99))
            };
            println!(
                "{what}, {over}: voice back at the end that moved {}; at the other {}",
                line(times.iter().map(|times| times.0).collect()),
                line(times.iter().map(|times| times.1).collect()),
            );
        }
    }
}
