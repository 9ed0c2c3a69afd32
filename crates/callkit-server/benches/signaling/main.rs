//! What the server's signaling costs and how fast it is, in front of many signed-in devices.
//!
//! The server is the program `callkitd` in a process of its own; the devices are here, each with a TCP connection of its own. In one run:
//! memory for each device, calls negotiated per second of one core and their latency (in memory and kept on disk), the way back after
//! `kill -9`, and the same kind of exchange through the XMPP servers that this machine has. `cargo xtask bench signaling -- --help`.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, dead_code, reason = "a measurement that fails may panic")]

mod figures;
mod process;

mod calls;
mod devices;

mod negotiations;
mod recovery;
mod xmpp;

#[path = "../../tests/server/client.rs"]
mod client;
#[path = "../../tests/server/words.rs"]
mod words;

use clap::Parser;
use devices::Devices;
use process::Callkitd;

/// Memory for each device, negotiations of one core, recovery after a kill, and XMPP servers beside it.
#[derive(Parser, Clone)]
pub struct Options {
    /// Devices that are signed in, each with its own TCP connection
    #[arg(long, default_value_t = 10_000)]
    devices: usize,
    /// Pings of each device before its memory is read a second time
    #[arg(long, default_value_t = 400)]
    pings: u32,
    /// Pairs that call at the same time, where calls per second are measured
    #[arg(long, default_value_t = 32)]
    pairs: usize,
    /// Rounds of each measurement of calls per second; the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of a round in s
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Calls one after the other, where latency is measured
    #[arg(long, default_value_t = 1_000)]
    calls: usize,
    /// Calls that ring while the server is killed
    #[arg(long, default_value_t = 100)]
    pending: usize,
    /// Clients of the XMPP servers; 0 leaves them out
    #[arg(long, default_value_t = 2_000)]
    xmpp_clients: usize,
    /// A few seconds with small numbers, to see that it works
    #[arg(long)]
    short: bool,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let mut options = Options::parse();
    if options.short {
        options =
            Options { devices: 200, pings: 16, pairs: 4, rounds: 1, seconds: 0.5, calls: 20, pending: 5, ..options };
        options.xmpp_clients = 0;
    }
    process::raise_file_limit(options.devices + 4 * options.pairs + 2 * options.pending + 200);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        in_memory(&options).await;
        on_disk(&options).await;
        xmpp::compare(&options).await;
    });
}

async fn in_memory(options: &Options) {
    println!("callkitd, calls in memory only");
    let server = Callkitd::start(false);
    // What the first devices make the process load is not theirs.
    let _warm = Devices::sign_in(server.address, "warm", 50).await;
    let before = server.memory_kib();
    let mut devices = Devices::sign_in(server.address, "device", options.devices).await;
    let each = |now: f64| (now - before) / options.devices as f64;
    println!("  {} devices signed in, in {:.1} s", options.devices, devices.took.as_secs_f64());
    println!("  memory of each, just signed in             {:6.1} KiB", each(server.memory_kib()));
    let cpu = server.cpu();
    devices.ping(options.pings).await;
    let cpu = (server.cpu() - cpu).as_secs_f64();
    println!("  memory of each, after {:4} pings           {:6.1} KiB", options.pings, each(server.memory_kib()));
    let pings = f64::from(options.pings) * options.devices as f64;
    println!("  processor time of a ping, eight at once    {:6.1} µs", cpu / pings * 1e6);
    negotiations::measure(options, &server).await;
}

async fn on_disk(options: &Options) {
    println!("callkitd, calls kept on disk");
    let mut server = Callkitd::start(true);
    let mut devices = Devices::sign_in(server.address, "device", options.devices).await;
    negotiations::measure(options, &server).await;
    recovery::measure(options, &mut server, &mut devices).await;
}
