//! `sim`: random calls from one seed.

use crate::{
    cargo::{self, Build},
    cli,
    failure::Outcome,
    process,
};
use clap::{ArgMatches, Command as Cli};
use std::process::Command;

pub(crate) fn command() -> Cli {
    Cli::new("sim")
        .about("Simulate random calls from a seed and check the rules after every step")
        .after_long_help("Examples:\n  cargo xtask sim --seed 7\n  cargo xtask sim --calls 1000000\n  cargo xtask sim -- --help    everything the simulation itself knows")
        .arg(cli::trailing("Passed on to the simulation: --seed N, --calls N and more"))
}

/// Builds the simulation with optimisation and runs it.
pub(crate) fn run(options: &ArgMatches) -> Outcome {
    let build = Build { packages: &["world"], binaries: &["sim"], release: true };
    let sim = build.file(&cargo::executable_name("sim"))?;
    process::run(Command::new(sim).args(cli::words(options)))
}
