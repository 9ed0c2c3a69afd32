//! The tasks that need heavy libraries: `cargo xtask codegen`, `cargo xtask bindings` and `cargo xtask tidy`.

mod bindings;
mod codegen;
mod tidy;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use xtask::{cargo, failure, failure::Outcome, process, project};

/// Generated code, bindings, and the rules of the tree.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Generate the committed code from proto/ (no protoc needed)
    #[command(
        after_long_help = "Examples:\n  cargo xtask codegen          write what is stale\n  cargo xtask codegen --check  only compare; exits with 1 and names each stale file"
    )]
    Codegen {
        /// Only compare; exit with 1 if a file is stale
        #[arg(long)]
        check: bool,
    },
    /// Check the walls between the crates, licences, file lengths, names and other rules of the tree
    #[command(after_long_help = "Each finding is one line: file, line, and what to do about it.")]
    Tidy,
    /// Generate the Python, Kotlin or Swift bindings and the library that they load
    #[command(
        after_long_help = "Examples:\n  cargo xtask bindings all                      into target/bindings/<language>\n  cargo xtask bindings python --out dist/python\n  cargo xtask bindings all --check              generate elsewhere and see that it works"
    )]
    Bindings(bindings::Options),
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Outcome {
    match task {
        Task::Codegen { check } => codegen::run(check),
        Task::Tidy => tidy::run(),
        Task::Bindings(options) => bindings::run(&options),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
