//! Benchmarks of the whole kit: real server, real phones, each a process of its own.
//!
//! Run through `cargo xtask bench call-setup` and `cargo xtask bench voice`.

mod call_setup;
mod voice;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Benchmarks of the whole kit; each prints its own figures.
#[derive(Parser)]
#[command(name = "bench")]
struct Options {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Subcommand)]
enum Benchmark {
    /// Invite to ring, and answer to first sound, over real calls
    CallSetup(call_setup::Options),
    /// Mouth-to-ear delay, CPU and memory of a call side, heard against said
    Voice(voice::Options),
}

fn main() -> ExitCode {
    tests::processes::phone::run_if_asked();
    let options = Options::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ran = match options.benchmark {
        Benchmark::CallSetup(options) => call_setup::run(&runtime, &options),
        Benchmark::Voice(options) => runtime.block_on(voice::run(&options)),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
