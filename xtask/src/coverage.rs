//! `coverage`: how much of the heart the tests go through.

use crate::{
    cargo,
    failure::{Failure, Outcome},
    process, project,
    setup::tools,
};
use clap::{Arg, ArgAction, ArgMatches, Command as Cli};
use std::{collections::BTreeMap, path::Path};

pub(crate) fn command() -> Cli {
    Cli::new("coverage")
        .about("Measure how many lines of call-protocol and signaling the tests go through; fails below 90 %")
        .after_long_help("Examples:\n  cargo xtask coverage            each file and both crates\n  cargo xtask coverage --missing  also the lines that no test goes through\n\nInstalls cargo-llvm-cov and the tools of LLVM where they are missing.")
        .arg(Arg::new("missing").long("missing").action(ArgAction::SetTrue).help("Also the lines that no test goes through"))
}

/// What has to be covered.
const CRATES: [&str; 2] = ["call-protocol", "signaling"];
/// Whose tests count: their own, and those that drive them from outside.
const DRIVERS: [&str; 4] = ["call-protocol", "signaling", "world", "model"];
/// Lines of each crate, in percent.
const AT_LEAST: f64 = 90.0;

/// Runs the tests of the two crates and those that drive them, and fails if less than nine of ten lines are gone through.
///
/// Neither generated code nor the tests themselves count as lines.
pub(crate) fn run(options: &ArgMatches) -> Outcome {
    let llvm = tools::llvm()?;
    tools::cargo_subcommand("llvm-cov")?;
    let llvm_cov = |words: &[&str]| {
        let mut command = cargo::command(["llvm-cov"]);
        command.args(words).env("LLVM_COV", &llvm.cov).env("LLVM_PROFDATA", &llvm.profdata);
        command
    };
    let file = project::root().join("target/coverage.lcov");
    let runner: &[&str] = if process::succeeds("cargo", &["nextest", "--version"]) {
        &["nextest", "--no-report"]
    } else {
        &["--no-report"]
    };
    process::run(llvm_cov(runner).args(DRIVERS.iter().flat_map(|name| ["-p".to_owned(), cargo::package_spec(name)])))?;
    process::run(llvm_cov(&["report", "--lcov", "--output-path"]).arg(&file))?;
    let lines = lines_of(&project::read(&file)?);

    let mut short = Vec::new();
    for name in CRATES {
        let of_crate = files(&project::root().join("crates").join(name).join("src"), &lines)?;
        for (path, covered) in &of_crate {
            println!("{:>7.1} %  {:>4} of {:>4}  {path}", covered.percent(), covered.hit, covered.all());
            if options.get_flag("missing") && !covered.missed.is_empty() {
                println!("{:21}not: {}", "", ranges(&covered.missed));
            }
        }
        let hit = of_crate.iter().map(|(_, covered)| covered.hit).sum();
        let missed = of_crate.iter().flat_map(|(_, covered)| covered.missed.clone()).collect();
        let whole = Covered { hit, missed };
        println!("{:>7.1} %  {:>4} of {:>4}  {name}\n", whole.percent(), whole.hit, whole.all());
        if whole.percent() < AT_LEAST {
            short.push(format!("{name}: {:.1} % of its lines", whole.percent()));
        }
    }
    if short.is_empty() {
        return Ok(());
    }
    Err(Failure::found(format!("less than {AT_LEAST} % is covered: {}", short.join(", "))))
}

/// How often each line ran, by file.
type Lines = BTreeMap<String, BTreeMap<usize, u64>>;

struct Covered {
    hit: usize,
    missed: Vec<usize>,
}

impl Covered {
    fn all(&self) -> usize {
        self.hit + self.missed.len()
    }

    fn percent(&self) -> f64 {
        if self.all() == 0 { 100.0 } else { 100.0 * self.hit as f64 / self.all() as f64 }
    }
}

/// Reads the `SF` and `DA` records of lcov's format (geninfo(1)).
fn lines_of(lcov: &str) -> Lines {
    let mut lines = Lines::new();
    let mut file = String::new();
    for record in lcov.lines() {
        if let Some(path) = record.strip_prefix("SF:") {
            file = path.replace('\\', "/");
        } else if let Some((line, times)) = record.strip_prefix("DA:").and_then(|data| data.split_once(','))
            && let (Ok(line), Ok(times)) = (line.parse(), times.split(',').next().unwrap_or_default().parse::<u64>())
        {
            *lines.entry(file.clone()).or_default().entry(line).or_default() += times;
        }
    }
    lines
}

/// What is covered of each file of a crate that has code.
fn files(folder: &Path, lines: &Lines) -> Outcome<Vec<(String, Covered)>> {
    let mut found = Vec::new();
    for path in project::files_below(folder, "rs")? {
        let name = cargo::relative(&path);
        let Some(of_file) = lines.get(&path.to_string_lossy().replace('\\', "/")) else { continue };
        if name.contains("/generated/") {
            continue;
        }
        let code = before_the_tests(&project::read(&path)?);
        let (hit, missed): (Vec<_>, Vec<_>) =
            of_file.iter().filter(|(line, _)| **line <= code).partition(|(_, times)| **times > 0);
        found.push((name, Covered { hit: hit.len(), missed: missed.into_iter().map(|(line, _)| *line).collect() }));
    }
    if found.is_empty() {
        return Err(Failure::found(format!("nothing was measured in {}", cargo::relative(folder))));
    }
    Ok(found)
}

/// Lines of a file that are not its tests, which stand at its end.
fn before_the_tests(code: &str) -> usize {
    let lines: Vec<_> = code.lines().collect();
    let is_start = |at: &usize| {
        lines[*at] == "#[cfg(test)]" && lines.get(at + 1).is_some_and(|next| next.starts_with("mod tests {"))
    };
    (0..lines.len()).find(is_start).unwrap_or(lines.len())
}

/// `3-5, 9` for `[3, 4, 5, 9]`.
fn ranges(lines: &[usize]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &line in lines {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == line => *last = line,
            _ => ranges.push((line, line)),
        }
    }
    let text =
        |(first, last): &(usize, usize)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    ranges.iter().map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ran_as_often_as_all_records_of_it_say() {
        let lines = lines_of(
            "SF:/a.rs\nDA:1,2\nDA:2,0\nend_of_record\nSF:/b.rs\nDA:1,0\nend_of_record\nSF:/a.rs\nDA:2,3,hash\n",
        );
        assert_eq!(lines["/a.rs"], BTreeMap::from([(1, 2), (2, 3)]));
        assert_eq!(lines["/b.rs"], BTreeMap::from([(1, 0)]));
    }

    #[test]
    fn tests_at_the_end_are_not_code() {
        assert_eq!(before_the_tests("fn a() {}\n\n#[cfg(test)]\nmod tests {\n}\n"), 2);
        assert_eq!(before_the_tests("#[cfg(test)]\nuse a;\nfn a() {}\n"), 3);
    }

    #[test]
    fn lines_are_told_as_ranges() {
        assert_eq!(ranges(&[3, 4, 5, 9, 11, 12]), "3-5, 9, 11-12");
        assert_eq!(ranges(&[]), "");
    }
}
