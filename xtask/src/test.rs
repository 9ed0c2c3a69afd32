//! `test`: every test of the workspace, with nextest where it is installed.

use crate::{
    cargo,
    failure::{Failure, Outcome},
    process, project, setup,
};
use clap::Args;

/// Which tests, and what else the runner is told.
#[derive(Args)]
pub(crate) struct Options {
    /// Run only the tests whose name contains one of these.
    filter: Vec<String>,
    /// Test only this package (may be repeated).
    #[arg(short, long)]
    package: Vec<String>,
    /// Build with optimisation.
    #[arg(long)]
    release: bool,
    /// Skip the documentation examples.
    #[arg(long)]
    no_doc: bool,
    /// Passed on to the runner: `cargo nextest run`, or `cargo test` where nextest is not installed.
    #[arg(last = true)]
    extra: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Outcome {
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
