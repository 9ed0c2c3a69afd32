//! `live`: what happens to calls of real processes when processes, networks and machines fail.

use crate::{
    cargo::{self, Build},
    failure::Outcome,
    process, setup,
};
use clap::Args;
use std::process::Command;

/// What the scenarios themselves are told.
#[derive(Args)]
pub(crate) struct Options {
    /// Passed on: names of scenarios, --short; `cargo xtask live -- --help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "SCENARIOS AND ARGUMENTS")]
    words: Vec<String>,
}

/// Builds server and scenarios with optimisation and runs them.
pub(crate) fn run(options: &Options) -> Outcome {
    setup::ensure()?;
    run_with(&options.words, true)
}

/// Shows in less than a minute that the promises hold; the figures mean nothing in this profile.
pub(crate) fn run_short() -> Outcome {
    run_with(&["--short".to_owned()], false)
}

fn run_with(words: &[String], release: bool) -> Outcome {
    let build = Build { packages: &["callkit-server", "tests"], binaries: &["callkitd", "live"], release };
    let live = build.file(&cargo::executable_name("live"))?;
    process::run(Command::new(live).args(words))
}
