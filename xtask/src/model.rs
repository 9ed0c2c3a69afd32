//! `model`: every state of small worlds of the signaling machines.

use crate::{
    cargo::{self, Build},
    failure::Outcome,
    process,
};
use clap::Args;
use std::process::Command;

/// What the model check itself is told.
#[derive(Args)]
pub(crate) struct Options {
    /// Passed on to the model check: names of worlds, --faults N, --hands N and more
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "MODEL ARGUMENTS")]
    words: Vec<String>,
}

/// Builds the model check with optimisation and runs it.
pub(crate) fn run(options: &Options) -> Outcome {
    let build = Build { packages: &["model"], binaries: &["model-check"], release: true };
    let check = build.file(&cargo::executable_name("model-check"))?;
    process::run(Command::new(check).args(&options.words))
}
