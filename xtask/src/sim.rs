//! `sim`: random calls from one seed.

use crate::{
    cargo::{self, Build},
    failure::Outcome,
    process,
};
use clap::Args;
use std::process::Command;

/// What the simulation itself is told.
#[derive(Args)]
pub(crate) struct Options {
    /// Passed on to the simulation: --seed N, --calls N and more
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "SIMULATION ARGUMENTS")]
    words: Vec<String>,
}

/// Builds the simulation with optimisation and runs it.
pub(crate) fn run(options: &Options) -> Outcome {
    let build = Build { packages: &["world"], binaries: &["sim"], release: true };
    let sim = build.file(&cargo::executable_name("sim"))?;
    process::run(Command::new(sim).args(&options.words))
}
