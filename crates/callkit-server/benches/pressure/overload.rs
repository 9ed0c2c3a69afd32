//! Far more calls than the server can carry: what becomes of those it takes, and of the rest.
//!
//! First pairs call as fast as they can: that is the sustainable rate. Then devices ask for many times that, whatever is answered,
//! while a few pairs go on with calls of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use call_protocol::end::EndReason;
use call_protocol::ring::{InviteRefusal, RingConfirm};
use call_protocol::session::{ClientBody, ClientFrame, ServerBody};
use call_protocol::{CallId, CallMessage, Word, wire};
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::Options;
use crate::calls::{Pair, Tried};
use crate::client::{Client, app, hello, metric};
use crate::devices::Place;
use crate::figures::{latency, quantile_ms};
use crate::process::{Callkitd, memory_kib};

/// Pairs whose calls are looked at.
const PAIRS: usize = 16;
/// Pairs with which the sustainable rate is found.
const LOAD: usize = 32;
/// How often a device sends its part.
const TICK: Duration = Duration::from_millis(20);

#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    taken: AtomicU64,
    overloaded: AtomicU64,
    other: AtomicU64,
    ended: AtomicU64,
}

pub async fn measure(options: &Options) {
    println!("overload, overload_delay_ms = {}", options.overload_delay_ms);
    let server =
        Callkitd::start_with(false, "call_tombstone_ms = 500\nsilence_limit_ms = 120000", options.overload_delay_ms);
    let mut pairs = join_all((0..PAIRS).map(|number| Pair::sign_in(server.address, "probe", number))).await;
    let so_long = Duration::from_secs_f64(options.seconds);

    let load = join_all((0..LOAD).map(|number| Pair::sign_in(server.address, "load", number))).await;
    let started = Instant::now();
    let load = load.into_iter().map(|mut pair| {
        tokio::spawn(async move {
            let mut times = Vec::new();
            while started.elapsed() < so_long {
                if let Tried::Done(done) = pair.try_call().await {
                    times.push(done.ring);
                }
            }
            times
        })
    });
    let load: Vec<_> = join_all(load).await.into_iter().flat_map(Result::unwrap).collect();
    let rate = load.len() as f64 / started.elapsed().as_secs_f64();
    println!("  sustainable: calls per second              {rate:.0}; invite → ring {}", latency(&load));

    let place = |number| Place { server: server.address, user: format!("flood-{number}"), number };
    let callers: Vec<_> = (0..options.callers).map(place).collect();
    // As much as it can carry, which is what normal means here.
    let (normal, _) = probe(options, &mut pairs, &server, &callers, rate, 0.5).await;
    let (heavy, peak) = probe(options, &mut pairs, &server, &callers, rate, options.times).await;
    let ratio = quantile_ms(&heavy, 0.99) / quantile_ms(&normal, 0.99);
    println!("  p99 of what was taken, against normal      {ratio:.2} times");
    sleep(Duration::from_secs(3)).await; // sleeps: what was taken is forgotten
    println!("  memory at most, and afterwards             {peak:.0} KiB, {:.0} KiB", server.memory_kib());
    let mut shed = Vec::new();
    for what in ["invite", "sign_in"] {
        shed.push(format!(
            "{} {what}s",
            metric(server.address, &format!("callkit_shed_total{{what=\"{what}\"}}")).await
        ));
    }
    println!("  shed, as the server counts                 {}", shed.join(", "));
}

/// Lets devices ask for so many times the rate and pairs call meanwhile; how long invites of these took, and the most memory used.
async fn probe(
    options: &Options,
    pairs: &mut [Pair],
    server: &Callkitd,
    callers: &[Place],
    rate: f64,
    times: f64,
) -> (Vec<Duration>, f64) {
    let counts = Arc::new(Counts::default());
    let each = rate * times / callers.len() as f64;
    // On threads of their own, which give way, so that those who are looked at do not wait for them on this side.
    let mut crowd = tokio::runtime::Builder::new_multi_thread();
    let give_way = || rustix::process::setpriority_process(None, 19).expect("whoever runs may always give way");
    let crowd = crowd.worker_threads(2).on_thread_start(give_way).enable_all().build().unwrap();
    let all = callers.to_vec();
    let entering = crowd.spawn(async move { stream::iter(all).map(enter).buffered(16).collect::<Vec<_>>().await });
    let devices = entering.await.unwrap();
    for (client, place) in devices {
        crowd.spawn(flood(client, place, each, Arc::clone(&counts)));
    }
    sleep(Duration::from_secs(1)).await; // sleeps: what is measured is the steady state
    let (started, so_long) = (Instant::now(), Duration::from_secs_f64(options.seconds));
    let cpu = server.cpu();
    let id = server.id();
    let watch = tokio::spawn(async move {
        let mut peak = 0_f64;
        while started.elapsed() < so_long {
            peak = peak.max(memory_kib(id));
            sleep(Duration::from_millis(50)).await; // sleeps: memory is looked at again and again
        }
        peak
    });
    let tried = join_all(pairs.iter_mut().map(async |pair| {
        let (mut took, mut refused) = (Vec::new(), 0);
        while started.elapsed() < so_long {
            match pair.try_call().await {
                Tried::Done(times) => took.extend([times.ring, times.confirm]),
                Tried::Overloaded => {
                    refused += 1;
                    sleep(Duration::from_millis(20)).await; // sleeps: nobody calls again at once
                }
            }
        }
        (took, refused)
    }))
    .await;
    let seconds = started.elapsed().as_secs_f64();
    let cpu = (server.cpu() - cpu).as_secs_f64() / seconds;
    let peak = watch.await.unwrap();
    crowd.shutdown_background();
    let refused: u64 = tried.iter().map(|(_, refused)| refused).sum();
    let took: Vec<_> = tried.into_iter().flat_map(|(took, _)| took).collect();
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64 / seconds;
    println!(
        "  {times:4.1} times: {:.0} invites a second sent, {:.0} taken, {:.0} told of overload, {:.0} otherwise; {:.0} % of a core",
        count(&counts.sent),
        count(&counts.taken),
        count(&counts.overloaded),
        count(&counts.other),
        cpu * 100.0
    );
    println!("    pairs beside it: {} answers in time, {refused} told of overload; {}", took.len(), latency(&took));
    (took, peak)
}

/// Signs in, however often the server says that it has too much to do.
async fn enter(place: Place) -> (Client, Place) {
    loop {
        if let Ok(client) = Client::try_sign_in(place.server, hello(&app("shop"), &place.user, "phone")).await {
            return (client, place);
        }
        sleep(Duration::from_millis(200)).await; // sleeps: nobody signs in again at once
    }
}

/// Invites of one device, so many a second, each given up as soon as it is taken.
async fn flood(mut client: Client, place: Place, rate: f64, counts: Arc<Counts>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut owed, mut seq, mut received) = (rand::random::<f64>(), 0, 0);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                owed += rate * TICK.as_secs_f64();
                while owed >= 1.0 {
                    owed -= 1.0;
                    let call_id = CallId::from_bits(rand::random());
                    seq += 1;
                    let word = crate::words::invite(call_id, &place.user, "nobody");
                    let body = Some(ClientBody::Call(CallMessage { call_id, word }));
                    let frame = wire::client_frame_to_proto(&ClientFrame { seq, ack: received, body });
                    if client.frames.send(frame).await.is_err() {
                        return;
                    }
                    counts.sent.fetch_add(1, Ordering::Relaxed);
                }
            }
            frame = client.inbound.message() => {
                let Ok(Some(frame)) = frame else { counts.ended.fetch_add(1, Ordering::Relaxed); return };
                let frame = wire::server_frame_from_proto(frame).unwrap();
                received = received.max(frame.seq);
                let Some(ServerBody::Call(CallMessage { call_id, word: Word::RingConfirm(confirm) })) = frame.body else { continue };
                match confirm {
                    RingConfirm::Refused { refusal: InviteRefusal::TooMany | InviteRefusal::Overloaded } => {
                        counts.overloaded.fetch_add(1, Ordering::Relaxed)
                    }
                    RingConfirm::Refused { refusal: InviteRefusal::UnknownUser | InviteRefusal::Invalid | InviteRefusal::TokenExpired }
                    | RingConfirm::Over { .. } => {
                        counts.other.fetch_add(1, Ordering::Relaxed)
                    }
                    RingConfirm::Ring { .. } => {
                        seq += 1;
                        let word = Word::Cancel(EndReason::Hangup.into());
                        let body = Some(ClientBody::Call(CallMessage { call_id, word }));
                        let frame = wire::client_frame_to_proto(&ClientFrame { seq, ack: received, body });
                        client.frames.send(frame).await.ok();
                        counts.taken.fetch_add(1, Ordering::Relaxed)
                    }
                };
            }
        }
    }
}
