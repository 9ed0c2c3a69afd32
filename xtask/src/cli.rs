//! The command line.

use crate::{bench, ci, coverage, demo, failure::Outcome, fuzz, heavy, kotlin, live, model, setup, sim, test};
use clap::{Arg, ArgAction, ArgMatches, Command};

/// A task: how it is asked for, and what it does.
struct Task {
    command: fn() -> Command,
    run: fn(&ArgMatches) -> Outcome,
}

/// In the order in which a newcomer needs them.
const TASKS: &[Task] = &[
    Task { command: setup::command, run: setup::run },
    Task { command: demo::command, run: demo::run },
    Task { command: test::command, run: test::run },
    Task { command: ci::command, run: ci::run },
    Task { command: heavy::codegen, run: |given| heavy::run_named("codegen", given) },
    Task { command: heavy::tidy, run: |given| heavy::run_named("tidy", given) },
    Task { command: heavy::bindings, run: |given| heavy::run_named("bindings", given) },
    Task { command: kotlin::command, run: |_| kotlin::run() },
    Task { command: bench::command, run: bench::run },
    Task { command: sim::command, run: sim::run },
    Task { command: model::command, run: model::run },
    Task { command: live::command, run: live::run },
    Task { command: fuzz::command, run: fuzz::run },
    Task { command: coverage::command, run: coverage::run },
];

pub(crate) fn command() -> Command {
    Command::new("xtask")
        .bin_name("cargo xtask")
        .about("Builds, tests, measures and shows the call kit.")
        .long_about(
            "Builds, tests, measures and shows the call kit.\n\n\
             On a bare machine start with `cargo xtask demo` or `cargo xtask test`: both install what is missing first.",
        )
        .disable_help_subcommand(true)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(TASKS.iter().map(|task| (task.command)()))
}

/// Runs the task that the command line names.
pub(crate) fn run(given: &ArgMatches) -> Outcome {
    let Some((name, given)) = given.subcommand() else { return Ok(()) };
    let task = TASKS.iter().find(|task| (task.command)().get_name() == name);
    task.map_or(Ok(()), |task| (task.run)(given))
}

/// Every word of an argument that takes several.
pub(crate) fn strings(given: &ArgMatches, argument: &str) -> Vec<String> {
    given.get_many::<String>(argument).into_iter().flatten().cloned().collect()
}

const WORDS: &str = "words";

/// All that follows is for another program, whatever it looks like.
pub(crate) fn trailing(help: &'static str) -> Arg {
    let arg = Arg::new(WORDS).num_args(0..).action(ArgAction::Append).value_name("ARGUMENTS").help(help);
    arg.trailing_var_arg(true).allow_hyphen_values(true)
}

/// What follows `--` is for another program.
pub(crate) fn last(help: &'static str) -> Arg {
    Arg::new(WORDS).num_args(0..).action(ArgAction::Append).value_name("ARGUMENTS").help(help).last(true)
}

/// What another program is told.
pub(crate) fn words(given: &ArgMatches) -> Vec<String> {
    strings(given, WORDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_task_has_a_line_of_help_that_fits() {
        for task in command().get_subcommands() {
            let about = task.get_about().map(ToString::to_string).unwrap_or_default();
            assert!((10..100).contains(&about.len()) && !about.contains('\n'), "{}: {about:?}", task.get_name());
        }
    }

    #[test]
    fn words_for_another_program_reach_it_untouched() {
        for line in [
            &["demo", "--speech", "a.wav", "--mic"][..],
            &["bindings", "--help"],
            &["tidy"],
            &["sim", "--seed", "7"],
            &["live", "server-killed"],
        ] {
            let given = command().try_get_matches_from([&["xtask"], line].concat()).unwrap();
            assert_eq!(words(given.subcommand().unwrap().1), line[1..], "{line:?}");
        }
        let given = command().try_get_matches_from(["xtask", "bench", "voice", "--", "--seconds", "5"]).unwrap();
        assert_eq!(words(given.subcommand().unwrap().1), ["--seconds", "5"]);
    }
}
