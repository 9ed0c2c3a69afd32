//! The project's task runner; `cargo xtask --help` lists what it does.

mod cli;

mod bench;
mod ci;
mod coverage;
mod demo;
mod fuzz;
mod heavy;
mod kotlin;
mod live;
mod model;
mod setup;
mod sim;
mod test;

mod examples;
mod forecast;

use std::process::ExitCode;
use xtask::{cargo, failure, process, project};

fn main() -> ExitCode {
    match cli::run(&cli::command().get_matches()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}
