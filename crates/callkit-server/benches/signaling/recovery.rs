//! `kill -9` while many devices are signed in and calls ring; then the way back.

use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::Options;
use crate::calls::Pair;
use crate::client::Client;
use crate::devices::Devices;
use crate::figures::quantile;
use crate::process::Callkitd;

/// How long a call that is still there is waited for.
const PATIENCE: Duration = Duration::from_secs(25);

/// How a pending call got on.
struct Fate {
    back: Instant,
    /// When the callee knew that it may go on ringing.
    rings: Option<Instant>,
    /// When its answer counted.
    answered: Option<Instant>,
}

pub async fn measure(options: &Options, server: &mut Callkitd, devices: &mut Devices) {
    let (kill, killed) = watch::channel(false);
    let pairs = (0..options.pending).map(|number| Pair::sign_in(server.address, "pending", number));
    let mut tasks = Vec::new();
    for mut pair in join_all(pairs).await {
        let (call_id, _) = pair.ring().await;
        let mut killed = killed.clone();
        tasks.push(tokio::spawn(async move {
            killed.wait_for(|killed| *killed).await.unwrap();
            let Pair { ann, bob, places, .. } = &mut pair;
            let (ann, bob) = join(over(ann), over(bob)).await;
            (pair.ann, pair.bob) = join(places[0].come_back(&ann), places[1].come_back(&bob)).await;
            let mut fate = Fate { back: Instant::now(), rings: None, answered: None };
            if let Ok(true) = timeout(PATIENCE, pair.alert(call_id)).await {
                fate.rings = Some(Instant::now());
            }
            if let Ok(true) = timeout(PATIENCE, pair.answer(call_id)).await {
                fate.answered = Some(Instant::now());
                pair.end(call_id).await;
            }
            fate
        }));
    }
    sleep(Duration::from_secs(1)).await; // sleeps: the store writes a little later, and nobody is told when
    kill.send_replace(true);
    let killing = Instant::now();
    server.kill_and_restart();
    let since = |at: Instant| at.saturating_duration_since(server.started).as_secs_f64();
    let mut back: Vec<f64> = devices.are_back().await.into_iter().map(since).collect();
    let fates: Vec<Fate> = join_all(tasks).await.into_iter().map(|fate| fate.unwrap()).collect();
    back.extend(fates.iter().map(|fate| since(fate.back)));

    println!(
        "  kill -9 with {} devices and {} calls that ring; since the new process's start:",
        back.len(),
        fates.len()
    );
    println!(
        "    the new process started                  {:6.0} ms after the kill",
        (server.started - killing).as_secs_f64() * 1e3
    );
    println!("    ready                                    {:6.0} ms", server.ready_after.as_secs_f64() * 1e3);
    println!(
        "    half of the devices, all signed in again {:6.2}, {:.2} s",
        quantile(&mut back, 0.5),
        quantile(&mut back, 1.0)
    );
    for (what, moments) in [
        ("calls that still ring  ", fates.iter().filter_map(|fate| fate.rings).map(since).collect::<Vec<_>>()),
        ("calls that are answered", fates.iter().filter_map(|fate| fate.answered).map(since).collect()),
    ] {
        let last = moments.iter().copied().fold(0.0, f64::max);
        println!("    {what}                  {:6} of {}, the last after {last:.2} s", moments.len(), fates.len());
    }
}

/// Waits for the end of the stream; the session that it carried.
async fn over(client: &mut Client) -> String {
    while let Ok(Some(_)) = client.inbound.message().await {}
    client.session()
}
