//! `bench`: measurements, each of which prints its own figures.

use crate::{
    cargo::{self, Build},
    cli,
    failure::{Failure, Outcome},
    process, setup,
};
use clap::{Arg, ArgAction, ArgMatches, Command as Cli};
use std::process::Command;

pub(crate) fn command() -> Cli {
    Cli::new("bench")
        .about("Measure, and print the figures")
        .after_long_help("Examples:\n  cargo xtask bench --list\n  cargo xtask bench call-setup voice\n  cargo xtask bench call-setup -- --help   what this benchmark can vary")
        .arg(Arg::new("name").num_args(0..).help("Which to run; all where none is named"))
        .arg(Arg::new("list").long("list").action(ArgAction::SetTrue).help("List the benchmarks and end"))
        .arg(cli::last("Passed on to each benchmark"))
}

struct Benchmark {
    name: &'static str,
    measures: &'static str,
    lives: Lives,
}

/// Where a benchmark lives: beside what it measures, or with the tests where it needs the whole kit.
enum Lives {
    /// A subcommand of the binary `bench` of the package `tests`.
    WithTheTests,
    /// A bench target of this package.
    In(&'static str),
}

const SIGNALING: &str = "signaling";

const BENCHMARKS: &[Benchmark] = &[
    Benchmark {
        name: "call-setup",
        measures: "invite to ring, answer to first sound, over real calls",
        lives: Lives::WithTheTests,
    },
    Benchmark {
        name: "voice",
        measures: "mouth-to-ear delay, CPU and memory of a call side, what was heard against what was said",
        lives: Lives::WithTheTests,
    },
    Benchmark {
        name: SIGNALING,
        measures: "server memory for each device, call negotiations per second of one core, recovery after kill -9, XMPP beside it",
        lives: Lives::In("callkit-server"),
    },
    Benchmark {
        name: "pressure",
        measures: "memory over many calls, connections that say nothing, ten times the calls that the server can carry",
        lives: Lives::In("callkit-server"),
    },
    Benchmark {
        name: "webhooks",
        measures: "100,000 webhooks to an endpoint that fails a third of the time: what is lost, order, memory",
        lives: Lives::In("callkit-server"),
    },
    Benchmark {
        name: "connect",
        measures: "time from offer to an encrypted path, clean and with loss and delay",
        lives: Lives::In("rtc-transport"),
    },
    Benchmark {
        name: "jitter",
        measures: "delay and concealment of the jitter buffer over recorded kinds of network",
        lives: Lives::In("rtc-media"),
    },
];

/// Runs the named benchmarks in release.
pub(crate) fn run(options: &ArgMatches) -> Outcome {
    let words = cli::words(options);
    if options.get_flag("list") {
        for benchmark in BENCHMARKS {
            println!("{:<12}{}", benchmark.name, benchmark.measures);
        }
        return Ok(());
    }
    for benchmark in chosen(&cli::strings(options, "name"))? {
        println!("\n=== {}: {}", benchmark.name, benchmark.measures);
        match benchmark.lives {
            Lives::WithTheTests => {
                let build =
                    Build { packages: &["callkit-server", "tests"], binaries: &["callkitd", "bench"], release: true };
                let program = build.file(&cargo::executable_name("bench"))?;
                process::run(Command::new(program).arg(benchmark.name).args(&words))?;
            }
            Lives::In(package) => {
                if benchmark.name == SIGNALING && !words.iter().any(|word| word == "--short") {
                    setup::offer_compared();
                }
                let line = ["bench", "--package", &cargo::package_spec(package), "--bench", benchmark.name, "--"];
                process::run(cargo::command(line).args(&words))?;
            }
        }
    }
    Ok(())
}

/// Shows that the benchmarks of processes work; their figures mean nothing in this profile.
pub(crate) fn run_short() -> Outcome {
    let build = Build { packages: &["callkit-server", "tests"], binaries: &["callkitd", "bench"], release: false };
    let program = build.file(&cargo::executable_name("bench"))?;
    process::run(Command::new(&program).args(["call-setup", "--calls", "5", "--loopback"]))?;
    process::run(Command::new(&program).args(["voice", "--seconds", "5"]))?;
    let line = ["bench", "--workspace", "--profile", "dev", "--bench", SIGNALING, "--", "--short"];
    process::run(&mut cargo::command(line))
}

fn chosen(names: &[String]) -> Outcome<Vec<&'static Benchmark>> {
    if names.is_empty() {
        return Ok(BENCHMARKS.iter().collect());
    }
    let find = |name: &String| {
        BENCHMARKS.iter().find(|b| b.name == name).ok_or_else(|| {
            let known = BENCHMARKS.iter().map(|b| b.name).collect::<Vec<_>>().join(", ");
            Failure::found(format!("there is no benchmark `{name}`; there are {known}"))
        })
    };
    names.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn benchmarks_run_in_the_order_in_which_they_are_named() {
        let names: Vec<_> = chosen(&["voice".into(), "call-setup".into()]).unwrap().iter().map(|b| b.name).collect();
        assert_eq!(names, ["voice", "call-setup"]);
        assert_eq!(chosen(&[]).unwrap().len(), BENCHMARKS.len());
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let said = chosen(&["voise".into()]).err().unwrap().to_string();
        assert!(said.contains("`voise`") && said.contains("voice"), "{said}");
    }
}
