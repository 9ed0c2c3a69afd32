//! The command line.

use crate::{
    bench, bindings, ci, codegen, coverage, demo, failure::Outcome, fuzz, live, model, setup, sim, test, tidy,
};
use clap::{Parser, Subcommand};

/// Builds, tests, measures and shows the call kit.
///
/// On a bare machine start with `cargo xtask demo` or `cargo xtask test`: both install what is missing first.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the build, the tests and the demo need from the operating system
    ///
    /// Looks for each thing the way the build does, says what it is for, and installs what is missing through apt, dnf,
    /// pacman or brew (with sudo where needed).
    #[command(
        after_long_help = "Examples:\n  cargo xtask setup          install what is missing\n  cargo xtask setup --check  only tell; exits with 1 if something is missing"
    )]
    Setup {
        /// Only tell what is missing; exit with 1 if something is
        #[arg(long)]
        check: bool,
    },
    /// Make a real voice call between two phones through a real server, and show how it went
    ///
    /// Runs `setup`, builds `callkitd` and the demo, and runs the demo with all arguments passed on.
    #[command(
        after_long_help = "Examples:\n  cargo xtask demo                       a call with the bundled speech\n  cargo xtask demo --speech my.wav       Alice speaks this file\n  cargo xtask demo --mic                 Alice speaks through the microphone\n  cargo xtask demo --out /tmp/call       where the WAV files and the picture go\n  cargo xtask demo -- --help             everything the demo itself knows"
    )]
    Demo(demo::Options),
    /// Run every test of the workspace, documentation examples included
    ///
    /// Runs `setup` first. Uses `cargo nextest` where it is installed and `cargo test` elsewhere.
    #[command(
        after_long_help = "Examples:\n  cargo xtask test                       everything\n  cargo xtask test ring                  tests whose name contains `ring`\n  cargo xtask test -p signaling          one package\n  cargo xtask test -- --no-capture       words for the runner"
    )]
    Test(test::Options),
    /// Run every check that continuous integration runs beside the tests
    ///
    /// Runs all steps, then lists their times and every failure.
    #[command(
        after_long_help = "Examples:\n  cargo xtask ci            every step\n  cargo xtask ci tidy docs  these steps only"
    )]
    Ci(ci::Options),
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
    /// Measure, and print the figures
    #[command(
        after_long_help = "Examples:\n  cargo xtask bench --list\n  cargo xtask bench call-setup voice\n  cargo xtask bench call-setup -- --help   what this benchmark can vary"
    )]
    Bench(bench::Options),
    /// Simulate random calls from a seed and check the rules after every step
    #[command(
        after_long_help = "Examples:\n  cargo xtask sim --seed 7\n  cargo xtask sim --calls 1000000\n  cargo xtask sim -- --help    everything the simulation itself knows"
    )]
    Sim(sim::Options),
    /// Go through every state of small worlds of the signaling machines and check the rules in each
    #[command(
        after_long_help = "Examples:\n  cargo xtask model              every world; takes minutes and some GB\n  cargo xtask model glare        one of them\n  cargo xtask model -- --list    which there are"
    )]
    Model(model::Options),
    /// Break real processes, networks and machines in mid-call, and print what happens to the calls
    #[command(
        after_long_help = "Examples:\n  cargo xtask live                  everything; networks need Linux, root, Python and `ip`\n  cargo xtask live server-killed    one scenario\n  cargo xtask live -- --short       less than a minute, without networks\n  cargo xtask live -- --help        the scenarios\n\nIt fails if a promise is broken; a figure that misses its aim is only marked."
    )]
    Live(live::Options),
    /// Feed the decoders and the server random bytes, and the machines of a call random operations
    #[command(
        after_long_help = "Examples:\n  cargo xtask fuzz --minutes 10            ten minutes for each target\n  cargo xtask fuzz --minutes 60 tokens    an hour for one of them\n  cargo xtask fuzz --list                 which there are\n\nInstalls cargo-fuzz where it is missing."
    )]
    Fuzz(fuzz::Options),
    /// Measure how many lines of call-protocol and signaling the tests go through; fails below 90 %
    #[command(
        after_long_help = "Examples:\n  cargo xtask coverage            each file and both crates\n  cargo xtask coverage --missing  also the lines that no test goes through\n\nInstalls cargo-llvm-cov and the tools of LLVM where they are missing."
    )]
    Coverage(coverage::Options),
}

/// Runs the task that the command line names.
pub(crate) fn run(cli: Cli) -> Outcome {
    match cli.task {
        Task::Setup { check } => setup::run(check),
        Task::Demo(options) => demo::run(&options),
        Task::Test(options) => test::run(&options),
        Task::Ci(options) => ci::run(&options),
        Task::Codegen { check } => codegen::run(check),
        Task::Tidy => tidy::run(),
        Task::Bindings(options) => bindings::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Sim(options) => sim::run(&options),
        Task::Model(options) => model::run(&options),
        Task::Live(options) => live::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Coverage(options) => coverage::run(&options),
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

    #[test]
    fn every_task_has_a_line_of_help_that_fits() {
        for task in Cli::command().get_subcommands() {
            let about = task.get_about().map(ToString::to_string).unwrap_or_default();
            assert!((10..100).contains(&about.len()) && !about.contains('\n'), "{}: {about:?}", task.get_name());
        }
    }

    #[test]
    fn words_for_the_demo_reach_it_untouched() {
        let cli = Cli::try_parse_from(["xtask", "demo", "--speech", "a.wav", "--mic"]).unwrap();
        let Task::Demo(options) = cli.task else { panic!("demo was asked for") };
        assert_eq!(options.words, ["--speech", "a.wav", "--mic"]);
    }
}
