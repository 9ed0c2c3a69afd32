//! `fuzz`: random bytes for the decoders.

use crate::{
    failure::{Failure, Outcome},
    process, project,
};
use clap::Args;
use std::process::Command;

/// How long to fuzz.
#[derive(Args)]
pub(crate) struct Options {
    /// How long each target runs
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    /// Only this target
    target: Option<String>,
}

/// The folder of the fuzz crate, which is no member of the workspace: it needs instrumented dependencies.
const FOLDER: &str = "crates/call-protocol/fuzz";

/// Runs each target under cargo-fuzz; the sanitizer's flags are unstable, hence the bootstrap variable.
pub(crate) fn run(options: &Options) -> Outcome {
    let folder = project::root().join(FOLDER);
    if !folder.is_dir() {
        return Err(Failure::found(format!("there is no {FOLDER}")));
    }
    if !process::succeeds("cargo", &["fuzz", "--version"]) {
        return Err(Failure::found("cargo-fuzz is not installed: `cargo install cargo-fuzz`, then run this again"));
    }
    let cargo_fuzz = || {
        let mut command = Command::new("cargo");
        command.env("RUSTC_BOOTSTRAP", "1").current_dir(folder.parent().unwrap_or(&folder)).arg("fuzz");
        command
    };
    let targets = match &options.target {
        Some(target) => vec![target.clone()],
        None => process::capture(cargo_fuzz().arg("list"))?.lines().map(str::to_owned).collect(),
    };
    for target in targets {
        let limit = format!("-max_total_time={}", options.minutes * 60);
        process::run(cargo_fuzz().args(["run", &target, "--", &limit]))?;
    }
    Ok(())
}
