//! 100,000 webhooks of 10,000 calls to an endpoint that fails a third of the time: `cargo bench -p callkit-server --bench webhooks`.

#![allow(clippy::unwrap_used)]
#![allow(missing_docs)]
#![allow(dead_code)]
#![allow(unreachable_pub)]

use std::time::Duration;

use callkit_server::outbox_alone::Pace;

#[path = "../tests/webhooks/endpoint.rs"]
mod endpoint;
#[path = "../tests/webhooks/load.rs"]
mod load;

#[tokio::main]
async fn main() {
    let calls = std::env::var("CALLS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000);
    let folder = tempfile::tempdir().unwrap();
    let pace =
        Pace { backoff_min: Duration::from_millis(5), backoff_max: Duration::from_millis(100), ..endpoint::quick() };
    let figures = load::run(folder.path(), calls, 10, pace).await;
    let [start, quarter, end] = figures.resident_kib;
    println!("webhooks given              {}", u64::from(calls) * 10);
    println!("delivered                   {}", figures.delivered);
    println!("delivered again             {}", figures.repeated);
    println!("out of order                {}", figures.out_of_order);
    println!("attempts                    {}", figures.attempts);
    println!("took                        {:.1} s", figures.took.as_secs_f64());
    println!("delivered per second        {:.0}", figures.delivered as f64 / figures.took.as_secs_f64());
    println!("resident memory, KiB        {start} at the start, {quarter} at 25 %, {end} at 100 %");
}
