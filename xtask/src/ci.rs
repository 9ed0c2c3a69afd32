//! `ci`: every check that runs beside the tests.

use crate::{
    bench, cargo, cli, demo, examples,
    failure::{Failure, Outcome},
    heavy, kotlin, live, process,
};
use clap::{Arg, ArgMatches, Command as Cli};
use std::time::{Duration, Instant};

pub(crate) fn command() -> Cli {
    let names = STEPS.iter().map(|step| step.name).collect::<Vec<_>>().join(", ");
    Cli::new("ci")
        .about("Run every check that continuous integration runs beside the tests")
        .long_about("Run every check that continuous integration runs beside the tests\n\nRuns all steps, then lists their times and every failure.")
        .after_long_help("Examples:\n  cargo xtask ci            every step\n  cargo xtask ci tidy docs  these steps only")
        .arg(Arg::new("step").num_args(0..).help(format!("Only these steps: {names}")))
}

struct Step {
    name: &'static str,
    what: &'static str,
    run: fn() -> Outcome,
}

const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        what: "the code is formatted",
        run: || process::run(&mut cargo::command(["fmt", "--all", "--check"])),
    },
    Step {
        name: "clippy",
        what: "no lint fires",
        run: || {
            let line = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
            process::run(&mut cargo::command(line))
        },
    },
    Step {
        name: "docs",
        what: "the documentation builds without a warning",
        run: || {
            let line = ["doc", "--no-deps", "--workspace"];
            process::run(cargo::command(line).env("RUSTDOCFLAGS", "-D warnings"))
        },
    },
    Step { name: "codegen", what: "the generated code is fresh", run: || heavy::run(&["codegen", "--check"]) },
    Step { name: "tidy", what: "the rules of the tree hold", run: || heavy::run(&["tidy"]) },
    Step {
        name: "bindings",
        what: "the bindings come out and load",
        run: || heavy::run(&["bindings", "all", "--check"]),
    },
    Step { name: "kotlin", what: "the Kotlin bindings compile, and two phones call each other", run: kotlin::run },
    Step { name: "examples", what: "the two programs of README call each other", run: examples::run },
    Step { name: "demo", what: "a real call works", run: demo::run_in_ci },
    Step { name: "live", what: "calls outlive what breaks, in short", run: live::run_short },
    Step { name: "bench", what: "the benchmarks of the whole kit run, in short", run: bench::run_short },
];

/// Runs every step, whatever happened to those before it, and fails if one failed.
pub(crate) fn run(options: &ArgMatches) -> Outcome {
    let steps = chosen(&cli::strings(options, "step"))?;
    let mut rows = Vec::new();
    for step in steps {
        println!("\n=== {}: {}", step.name, step.what);
        let start = Instant::now();
        let outcome = (step.run)();
        if let Err(failure) = &outcome {
            println!("{failure}");
        }
        rows.push((step.name, start.elapsed(), outcome));
    }
    println!("\n=== summary\n{}", summary(&rows));
    let failed: Vec<_> = rows.iter().filter(|(_, _, outcome)| outcome.is_err()).map(|(name, ..)| *name).collect();
    if failed.is_empty() { Ok(()) } else { Err(Failure::found(format!("failed: {}", failed.join(", ")))) }
}

fn chosen(names: &[String]) -> Outcome<Vec<&'static Step>> {
    if let Some(unknown) = names.iter().find(|name| !STEPS.iter().any(|step| step.name == **name)) {
        return Err(Failure::found(format!("there is no step `{unknown}`; see `cargo xtask ci --help`")));
    }
    Ok(STEPS.iter().filter(|step| names.is_empty() || names.iter().any(|name| name == step.name)).collect())
}

fn summary(rows: &[(&str, Duration, Outcome)]) -> String {
    let row = |(name, took, outcome): &(&str, Duration, Outcome)| match outcome {
        Ok(()) => format!("  ok      {name:<10}{:>8.1} s\n", took.as_secs_f64()),
        Err(failure) => {
            format!("  FAILED  {name:<10}{:>8.1} s\n{}\n", took.as_secs_f64(), indent(&failure.to_string()))
        }
    };
    rows.iter().map(row).collect()
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("          {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_has_every_step_and_every_failure() {
        let rows = [
            ("fmt", Duration::from_millis(1500), Ok(())),
            ("tidy", Duration::from_secs(2), Err(Failure::found("two\nlines"))),
        ];
        let said = summary(&rows);
        assert!(said.contains("ok      fmt            1.5 s"), "{said}");
        assert!(said.contains("FAILED  tidy           2.0 s\n          two\n          lines"), "{said}");
    }

    #[test]
    fn steps_are_chosen_by_name_and_an_unknown_one_is_refused() {
        let names: Vec<_> = chosen(&["tidy".into(), "fmt".into()]).unwrap().iter().map(|s| s.name).collect();
        assert_eq!(names, ["fmt", "tidy"]);
        assert!(chosen(&["lint".into()]).err().unwrap().to_string().contains("`lint`"));
    }

    #[test]
    fn the_help_names_every_step() {
        let help = command().render_long_help().to_string();
        for step in STEPS {
            assert!(help.contains(step.name), "{}", step.name);
        }
    }
}
