//! The tasks whose libraries take minutes to compile: they are a program of their own, which is built when one of them is asked for.

use crate::{cargo, cli, failure::Outcome, process};
use clap::{ArgMatches, Command as Cli};

pub(crate) fn codegen() -> Cli {
    passed_on("codegen", "Generate the committed code from proto/ (no protoc needed)")
}

pub(crate) fn tidy() -> Cli {
    passed_on("tidy", "Check the walls between the crates, licences, file lengths, names and other rules of the tree")
}

pub(crate) fn bindings() -> Cli {
    passed_on("bindings", "Generate the Python, Kotlin or Swift bindings and the library that they load")
}

/// The program knows its own arguments, and its own help.
fn passed_on(name: &'static str, about: &'static str) -> Cli {
    Cli::new(name).about(about).disable_help_flag(true).arg(cli::trailing("What it is told; --help tells more"))
}

/// Runs the task `name` with the words that follow it.
pub(crate) fn run_named(name: &str, given: &ArgMatches) -> Outcome {
    let words = cli::words(given);
    run(&[&[name], &words.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat())
}

/// Builds the program and runs it with these words.
pub(crate) fn run(words: &[&str]) -> Outcome {
    process::run(cargo::command(["run", "--package", "xtask-tools", "--"]).args(words))
}
