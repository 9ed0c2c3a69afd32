//! `demo`: a real call on this machine.

use crate::{
    cargo::{self, Build},
    failure::{Failure, Outcome},
    process, setup,
};
use clap::Args;
use std::process::Command;

/// What the demo itself is told.
#[derive(Args)]
pub(crate) struct Options {
    /// Passed on to the demo
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "DEMO ARGUMENTS")]
    pub(crate) words: Vec<String>,
}

/// Builds the server and the demo into one folder, where the demo finds the server beside itself, and runs the demo.
pub(crate) fn run(options: &Options) -> Outcome {
    setup::ensure()?;
    let build = Build { packages: &["callkit-server", "tests"], binaries: &["callkitd", "demo"], release: false };
    let files = build.run()?;
    let name = cargo::executable_name("demo");
    let demo = files.iter().find(|file| file.file_name().is_some_and(|n| n == name.as_str()));
    let demo = demo.ok_or_else(|| Failure::found(format!("cargo built no {name}")))?;
    process::run(Command::new(demo).args(&options.words))
}
