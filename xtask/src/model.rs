//! `model`: every state of small worlds of the signaling machines.

use crate::{
    cargo::{self, Build},
    cli,
    failure::Outcome,
    process,
};
use clap::{ArgMatches, Command as Cli};
use std::process::Command;

pub(crate) fn command() -> Cli {
    Cli::new("model")
        .about("Go through every state of small worlds of the signaling machines and check the rules in each")
        .after_long_help("Examples:\n  cargo xtask model              every world; takes minutes and some GB\n  cargo xtask model glare        one of them\n  cargo xtask model -- --list    which there are")
        .arg(cli::trailing("Passed on to the model check: names of worlds, --faults N, --hands N and more"))
}

/// Builds the model check with optimisation and runs it.
pub(crate) fn run(options: &ArgMatches) -> Outcome {
    let build = Build { packages: &["model"], binaries: &["model-check"], release: true };
    let check = build.file(&cargo::executable_name("model-check"))?;
    process::run(Command::new(check).args(cli::words(options)))
}
