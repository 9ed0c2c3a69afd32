//! `setup`: what a build, a test run and the demo need from the operating system.

mod needs;
mod packages;
pub(crate) mod tools;

use crate::{
    cargo,
    failure::{Failure, Outcome},
    process,
};
use clap::{Arg, ArgAction, ArgMatches, Command as Cli};
use needs::{COMPARED, KOTLIN, NEEDS, Need};
use packages::Manager;
use std::collections::BTreeSet;

/// The machine as the needs see it.
struct Machine<'a> {
    /// Whether a program with these arguments starts and exits with 0.
    runs: &'a dyn Fn(&str, &[&str]) -> bool,
    /// The names of all packages that a default build compiles on this platform.
    graph: BTreeSet<String>,
    /// As in `std::env::consts::OS`.
    os: &'a str,
}

impl Machine<'_> {
    fn missing(&self) -> Vec<&'static Need> {
        NEEDS.iter().filter(|need| need.is_wanted(self) && !need.is_there(self)).collect()
    }
}

pub(crate) fn command() -> Cli {
    Cli::new("setup")
        .about("Install what the build, the tests and the demo need from the operating system")
        .long_about("Install what the build, the tests and the demo need from the operating system\n\nLooks for each thing the way the build does, says what it is for, and installs what is missing through apt, dnf, pacman or brew (with sudo where needed).")
        .after_long_help("Examples:\n  cargo xtask setup          install what is missing\n  cargo xtask setup --check  only tell; exits with 1 if something is missing")
        .arg(Arg::new("check").long("check").action(ArgAction::SetTrue).help("Only tell what is missing; exit with 1 if something is"))
}

/// The `setup` command: reports every need, and installs what is missing unless it is only to tell.
pub(crate) fn run(options: &ArgMatches) -> Outcome {
    let check_only = options.get_flag("check");
    let machine = this_machine();
    for need in NEEDS {
        let state = match (need.is_wanted(&machine), need.is_there(&machine)) {
            (_, true) => "found",
            (true, false) => "MISSING",
            (false, false) => "not needed",
        };
        println!("{state:>10}  {}: {}", need.name, need.purpose);
    }
    let missing = machine.missing();
    if missing.is_empty() {
        println!("Nothing is missing.");
        return Ok(());
    }
    if check_only {
        let list = by_hand(&missing, Manager::find(machine.runs, machine.os));
        return Err(Failure::found(format!("{} missing; `cargo xtask setup` installs:{list}", missing.len())));
    }
    install(&machine, &missing)
}

/// Makes sure that a build can start: silent where nothing is missing.
pub(crate) fn ensure() -> Outcome {
    let machine = this_machine();
    let missing = machine.missing();
    if missing.is_empty() { Ok(()) } else { install(&machine, &missing) }
}

/// Installs what the benchmark of signaling compares with, where that needs neither a password nor a question. What is missing in the
/// end the benchmark leaves out, and says so.
pub(crate) fn offer_compared() {
    let machine = this_machine();
    let missing: Vec<_> = COMPARED.iter().filter(|need| !need.is_there(&machine)).collect();
    if missing.is_empty() {
        return;
    }
    let outcome = if is_root() { install(&machine, &missing) } else { Err(Failure::found("only root may install")) };
    match outcome {
        // A package of a server starts it; the benchmark starts its own.
        Ok(()) if process::succeeds("systemctl", &["list-units", "--quiet"]) => {
            for need in missing {
                process::succeeds("systemctl", &["disable", "--now", need.name]);
            }
        }
        Ok(()) => {}
        Err(failure) => println!("not compared with all that it could be: {failure}{}", by_hand(&missing, None)),
    }
}

/// Makes sure that Kotlin can be compiled and run.
pub(crate) fn for_kotlin() -> Outcome {
    let machine = this_machine();
    let missing: Vec<_> = KOTLIN.iter().filter(|need| !need.is_there(&machine)).collect();
    if missing.is_empty() { Ok(()) } else { install(&machine, &missing) }
}

fn is_root() -> bool {
    process::capture(std::process::Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

fn this_machine() -> Machine<'static> {
    let graph = packages_of_a_build().unwrap_or_else(|failure| {
        eprintln!("xtask: {failure}\nThe dependency graph is not at hand; only what every build needs is looked for.");
        BTreeSet::new()
    });
    Machine { runs: &process::succeeds, graph, os: std::env::consts::OS }
}

/// The names of all packages that a build of the workspace compiles on this platform.
fn packages_of_a_build() -> Outcome<BTreeSet<String>> {
    let line = ["tree", "--workspace", "--prefix", "none", "--format", "{p}"];
    let tree = process::capture(&mut cargo::command(line))?;
    // `name v1.2.3`, and the folder or a mark behind it.
    Ok(tree.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

fn install(machine: &Machine<'_>, missing: &[&'static Need]) -> Outcome {
    let Some(manager) = Manager::find(machine.runs, machine.os) else {
        let list = by_hand(missing, None);
        return Err(Failure::found(format!("no apt, dnf, pacman or brew here; install by hand:{list}")));
    };
    println!("To be installed with {}:{}", manager.name, by_hand(missing, Some(manager)));
    let packages: Vec<&str> = missing.iter().flat_map(|need| manager.packages_of(need)).collect();
    if packages.is_empty() {
        return Err(Failure::found(format!(
            "{} has none of it; install by hand:{}",
            manager.name,
            by_hand(missing, None)
        )));
    }

    let root = manager.needs_root && !is_root();
    if root && !(machine.runs)("sudo", &["-V"]) {
        let list = by_hand(missing, Some(manager));
        return Err(Failure::found(format!("installing needs root and there is no sudo; install by hand:{list}")));
    }
    for step in manager.steps(&packages, root) {
        let outcome = process::run(&mut step.command());
        match outcome {
            Ok(()) => {}
            // Lists that cannot be refreshed may still be good enough to install from.
            Err(failure) if step.may_fail => eprintln!("xtask: {failure}; going on with the lists there are"),
            Err(failure) => {
                let list = by_hand(missing, Some(manager));
                return Err(Failure::found(format!(
                    "{failure}\n{} could not install what is missing (no network, or no rights?); install by hand:{list}",
                    manager.name
                )));
            }
        }
    }

    let still: Vec<_> = missing.iter().copied().filter(|need| !need.is_there(machine)).collect();
    if still.is_empty() {
        return Ok(());
    }
    let list = by_hand(&still, Some(manager));
    Err(Failure::found(format!("{} succeeded and yet this is not found; install by hand:{list}", manager.name)))
}

/// One line for each need: package, name, purpose.
fn by_hand(needs: &[&'static Need], manager: Option<&Manager>) -> String {
    let line = |need: &&'static Need| {
        let packages = manager.map(|m| m.packages_of(need).join(" ")).filter(|p| !p.is_empty());
        let what = packages.unwrap_or_else(|| need.without_a_manager.to_owned());
        format!("\n  {what}: {}, {}", need.name, need.purpose)
    };
    needs.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine<'a>(runs: &'a dyn Fn(&str, &[&str]) -> bool, graph: &[&str], os: &'a str) -> Machine<'a> {
        Machine { runs, graph: graph.iter().map(|&name| name.to_owned()).collect(), os }
    }

    fn names(missing: &[&'static Need]) -> Vec<&'static str> {
        missing.iter().map(|need| need.name).collect()
    }

    #[test]
    fn a_machine_with_everything_misses_nothing() {
        assert_eq!(names(&machine(&|_, _| true, &["alsa-sys", "openh264-sys2"], "linux").missing()), [""; 0]);
    }

    #[test]
    fn headers_are_looked_for_as_the_build_does_not_by_package_name() {
        let no_alsa = |program: &str, args: &[&str]| !(program == "pkg-config" && args.contains(&"alsa"));
        assert_eq!(names(&machine(&no_alsa, &["alsa-sys"], "linux").missing()), ["ALSA headers"]);
        assert_eq!(names(&machine(&no_alsa, &["alsa-sys"], "macos").missing()), [""; 0]);
    }

    #[test]
    fn a_tool_of_a_codec_is_wanted_only_where_the_graph_has_the_codec() {
        let no_nasm = |program: &str, _: &[&str]| program != "nasm";
        assert_eq!(names(&machine(&no_nasm, &[], "linux").missing()), [""; 0]);
        assert_eq!(names(&machine(&no_nasm, &["openh264-sys2"], "linux").missing()), ["NASM"]);
    }

    #[test]
    fn without_a_package_manager_everything_missing_is_named_with_its_purpose() {
        let bare = machine(&|_, _| false, &["alsa-sys"], "linux");
        let said = install(&bare, &bare.missing()).unwrap_err().to_string();
        for need in bare.missing() {
            assert!(said.contains(need.name) && said.contains(need.purpose), "{}: {said}", need.name);
        }
    }
}
