//! What the server does under pressure: very many calls one after the other, very many connections that say nothing, and far more calls
//! than it can carry.
//!
//! The server is the program `callkitd` in a process of its own. `cargo bench -p callkit-server --bench pressure -- --help`.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, dead_code, reason = "a measurement that fails may panic")]

#[path = "../signaling/figures.rs"]
mod figures;
#[path = "../signaling/process.rs"]
mod process;

#[path = "../signaling/calls.rs"]
mod calls;
#[path = "../signaling/devices.rs"]
mod devices;

mod many_calls;
mod overload;
mod silence;

#[path = "../../tests/server/client.rs"]
mod client;
#[path = "../../tests/server/words.rs"]
mod words;

use clap::Parser;

/// Memory over many calls, silent connections, overload.
#[derive(Parser, Clone)]
pub struct Options {
    /// Only these: calls, silence, overload
    only: Vec<String>,
    /// Calls that are set up and ended
    #[arg(long, default_value_t = 10_000)]
    calls: usize,
    /// Connections that say nothing
    #[arg(long, default_value_t = 10_000)]
    silent: usize,
    /// How many times the sustainable rate is asked for
    #[arg(long, default_value_t = 10.0)]
    times: f64,
    /// Devices that ask for too much
    #[arg(long, default_value_t = 500)]
    callers: usize,
    /// Length of each measurement of overload in s
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// The server's `overload_delay_ms`
    #[arg(long, default_value_t = callkit_server::LimitsConfig::default().overload_delay_ms)]
    overload_delay_ms: u32,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    process::raise_file_limit(options.silent.max(options.callers) + 1_000);
    if !process::part_the_cores() {
        println!("one core only: the load and the server share it");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let is_wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    runtime.block_on(async {
        if is_wanted("calls") {
            many_calls::measure(&options).await;
        }
        if is_wanted("silence") {
            silence::measure(&options).await;
        }
        if is_wanted("overload") {
            overload::measure(&options).await;
        }
    });
}
