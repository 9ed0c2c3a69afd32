//! `live`: what happens to calls of real processes when processes, networks and machines fail.

use crate::{
    cargo::{self, Build},
    cli,
    failure::Outcome,
    process, setup,
};
use clap::{ArgMatches, Command as Cli};
use std::process::Command;

pub(crate) fn command() -> Cli {
    Cli::new("live")
        .about("Break real processes, networks and machines in mid-call, and print what happens to the calls")
        .after_long_help("Examples:\n  cargo xtask live                  everything; networks need Linux, root, Python and `ip`\n  cargo xtask live server-killed    one scenario\n  cargo xtask live -- --short       less than a minute, without networks\n  cargo xtask live -- --help        the scenarios\n\nIt fails if a promise is broken; a figure that misses its aim is only marked.")
        .arg(cli::trailing("Passed on: names of scenarios, --short; `cargo xtask live -- --help` lists them"))
}

/// Builds server and scenarios with optimisation and runs them.
pub(crate) fn run(options: &ArgMatches) -> Outcome {
    setup::ensure()?;
    run_with(&cli::words(options), true)
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
