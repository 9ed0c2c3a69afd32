//! `fuzz`: random bytes for the decoders, random operations for the machines of a call.

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

/// The folders of the fuzz crates, which are no members of the workspace: they need instrumented dependencies.
const FOLDERS: [&str; 2] = ["crates/call-protocol/fuzz", "tests/world/fuzz"];

/// Runs each target under cargo-fuzz; the sanitizer's flags are unstable, hence the bootstrap variable.
pub(crate) fn run(options: &Options) -> Outcome {
    if !process::succeeds("cargo", &["fuzz", "--version"]) {
        return Err(Failure::found("cargo-fuzz is not installed: `cargo install cargo-fuzz`, then run this again"));
    }
    let mut ran = false;
    for folder in FOLDERS {
        let folder = project::root().join(folder);
        let cargo_fuzz = || {
            let mut command = Command::new("cargo");
            command.env("RUSTC_BOOTSTRAP", "1").current_dir(folder.parent().unwrap_or(&folder)).arg("fuzz");
            command
        };
        let targets = process::capture(cargo_fuzz().arg("list"))?;
        for target in targets.lines().filter(|target| options.target.as_deref().is_none_or(|only| only == *target)) {
            let limit = format!("-max_total_time={}", options.minutes * 60);
            process::run(cargo_fuzz().args(["run", target, "--", &limit]))?;
            ran = true;
        }
    }
    let unknown = || Failure::found(format!("there is no target {:?}", options.target.as_deref().unwrap_or_default()));
    if ran { Ok(()) } else { Err(unknown()) }
}
