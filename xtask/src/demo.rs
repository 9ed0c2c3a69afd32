//! `demo`: a real call on this machine.

use crate::{
    cargo::{self, Build},
    cli,
    failure::{Failure, Outcome},
    forecast, process, setup,
};
use clap::{ArgMatches, Command as Cli};
use std::process::Command;

/// For how many ms the command has been running, for the demo to print how long the first sound took.
const RUNNING_MS: &str = "CALLKIT_DEMO_RUNNING_MS";

pub(crate) fn command() -> Cli {
    Cli::new("demo")
        .about("Make a real voice call between two phones through a real server, and show how it went")
        .long_about(
            "Make a real voice call between two phones through a real server, and show how it went\n\n\
             Runs `setup`, builds `callkitd` and the demo, and runs the demo with all arguments passed on.",
        )
        .after_long_help(
            "Examples:\n  \
             cargo xtask demo                       a call with the bundled speech\n  \
             cargo xtask demo --speech my.wav       Alice speaks this file\n  \
             cargo xtask demo --mic                 Alice speaks through the microphone\n  \
             cargo xtask demo --out /tmp/call       where the WAV files and the picture go\n  \
             cargo xtask demo -- --help             everything the demo itself knows",
        )
        .arg(cli::trailing("Passed on to the demo"))
}

/// Builds the server and the demo into one folder, where the demo finds the server beside itself, and runs the demo.
pub(crate) fn run(given: &ArgMatches) -> Outcome {
    let began = forecast::began();
    println!(
        "A real call on this machine, in three steps: what is missing on this system; building a server and two phones \
         ({}); the call, 12 seconds.",
        forecast::of_the_build(BUILD.binaries)
    );
    setup::ensure()?;
    let demo = BUILD.file(&cargo::executable_name("demo"))?;
    process::run(Command::new(demo).args(cli::words(given)).env(RUNNING_MS, began.elapsed().as_millis().to_string()))
}

/// The same where the tests were built before. They share every dependency with the demo: one that is compiled again is a mistake in the features
/// that `tests/Cargo.toml` asks for.
pub(crate) fn run_in_ci() -> Outcome {
    let compiled =
        process::watch(&mut cargo::command(BUILD.line()), |line| line.trim_start().starts_with("Compiling"))?;
    let again: Vec<_> = compiled.iter().filter(|line| !line.contains('(')).map(|line| line.trim()).collect();
    if !again.is_empty() {
        let list = again.join("\n  ");
        return Err(Failure::found(format!("built for the tests and again for the demo:\n  {list}")));
    }
    run(&command().get_matches_from(["demo"]))
}

const BUILD: Build<'_> =
    Build { packages: &["callkit-server", "tests"], binaries: &["callkitd", "demo"], release: false };
