//! The project's task runner; `cargo xtask --help` lists what it does.

mod cli;

mod bench;
mod bindings;
mod ci;
mod codegen;
mod coverage;
mod demo;
mod fuzz;
mod live;
mod model;
mod setup;
mod sim;
mod test;
mod tidy;

mod cargo;
mod failure;
mod process;
mod project;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}
