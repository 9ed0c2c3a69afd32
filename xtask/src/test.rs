//! `test`: every test of the workspace, with nextest where it is installed.

use crate::{
    cargo, cli,
    failure::{Failure, Outcome},
    forecast, process, project, setup,
};
use clap::{Arg, ArgAction, ArgMatches, Command as Cli};

pub(crate) fn command() -> Cli {
    let flag = |name| Arg::new(name).long(name).action(ArgAction::SetTrue);
    Cli::new("test")
        .about("Run every test of the workspace, documentation examples included")
        .long_about("Run every test of the workspace, documentation examples included\n\nRuns `setup` first. Uses `cargo nextest` where it is installed and `cargo test` elsewhere.")
        .after_long_help("Examples:\n  cargo xtask test                       everything\n  cargo xtask test ring                  tests whose name contains `ring`\n  cargo xtask test -p signaling          one package\n  cargo xtask test -- --no-capture       words for the runner")
        .arg(Arg::new("filter").num_args(0..).help("Run only the tests whose name contains one of these"))
        .arg(Arg::new("package").short('p').long("package").action(ArgAction::Append).help("Test only this package (may be repeated)"))
        .arg(flag("release").help("Build with optimisation"))
        .arg(flag("no-doc").help("Skip the documentation examples"))
        .arg(cli::last("Passed on to the runner: `cargo nextest run`, or `cargo test` where nextest is not installed"))
}

/// Which tests, and what else the runner is told.
struct Options {
    /// Only the tests whose name contains one of these.
    filter: Vec<String>,
    package: Vec<String>,
    release: bool,
    no_doc: bool,
    extra: Vec<String>,
}

impl From<&ArgMatches> for Options {
    fn from(given: &ArgMatches) -> Options {
        Options {
            filter: cli::strings(given, "filter"),
            package: cli::strings(given, "package"),
            release: given.get_flag("release"),
            no_doc: given.get_flag("no-doc"),
            extra: cli::words(given),
        }
    }
}

pub(crate) fn run(given: &ArgMatches) -> Outcome {
    let options = Options::from(given);
    println!(
        "The tests, in three steps: what is missing on this system; building (a first build takes {}); the tests (some 2 minutes).",
        forecast::of_a_first_build()
    );
    setup::ensure()?;
    // The documentation examples come first so that the runner's summary is the last thing on the screen.
    let examples = options.examples().map_or(Ok(()), |words| process::run(&mut cargo::command(words)));
    let nextest = process::succeeds("cargo", &["nextest", "--version"]);
    let tests = process::run(&mut cargo::command(if nextest { options.nextest() } else { options.cargo_test() }));
    match (examples, tests) {
        (Ok(()), outcome) => outcome,
        (outcome, Ok(())) => outcome,
        (Err(examples), Err(tests)) => Err(Failure::found(format!("{examples}\n{tests}"))),
    }
}

impl Options {
    fn selection(&self) -> Vec<String> {
        let mut line = Vec::new();
        for package in &self.package {
            line.extend(["--package".to_owned(), cargo::package_spec(package)]);
        }
        if line.is_empty() {
            line.push("--workspace".to_owned());
        }
        if self.release {
            line.push("--release".to_owned());
        }
        line
    }

    /// The command for the documentation examples; none where no chosen package has a library for cargo to look into.
    fn examples(&self) -> Option<Vec<String>> {
        let has_library = |name: &String| project::root().join("crates").join(name).join("src/lib.rs").exists();
        if self.no_doc || !(self.package.is_empty() || self.package.iter().all(has_library)) {
            return None;
        }
        let kind = words(&["test", "--doc", "--no-fail-fast"]);
        Some([kind, self.selection(), words(&["--"]), self.filter.clone()].concat())
    }

    fn nextest(&self) -> Vec<String> {
        [words(&["nextest", "run"]), self.selection(), self.extra.clone(), self.filter.clone()].concat()
    }

    fn cargo_test(&self) -> Vec<String> {
        // `--tests` stands for libraries, binaries and `tests/`; documentation examples have a command of their own.
        let kinds = words(&["test", "--no-fail-fast", "--tests"]);
        [kinds, self.selection(), self.extra.clone(), words(&["--"]), self.filter.clone()].concat()
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(package: &[&str], filter: &[&str], extra: &[&str]) -> Options {
        Options { filter: words(filter), package: words(package), release: false, no_doc: false, extra: words(extra) }
    }

    #[test]
    fn the_whole_workspace_is_tested_unless_a_package_is_named() {
        let all = options(&[], &[], &[]);
        assert_eq!(all.nextest().join(" "), "nextest run --workspace");
        assert_eq!(all.examples().unwrap().join(" "), "test --doc --no-fail-fast --workspace --");
        let one = options(&["signaling"], &[], &[]).nextest().join(" ");
        assert!(one.starts_with("nextest run --package path+file://") && one.ends_with("/crates/signaling"), "{one}");
    }

    #[test]
    fn filters_reach_both_runners_and_extra_words_stand_where_each_wants_them() {
        let some = options(&[], &["ring", "accept"], &["--no-capture"]);
        assert_eq!(some.nextest().join(" "), "nextest run --workspace --no-capture ring accept");
        assert!(some.cargo_test().join(" ").ends_with("--workspace --no-capture -- ring accept"));
    }

    #[test]
    fn a_package_without_a_library_has_no_examples_to_run() {
        assert_eq!(options(&["xtask"], &[], &[]).examples(), None);
    }
}
