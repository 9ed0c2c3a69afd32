//! `fuzz`: random bytes for the decoders and the server, random operations for the machines of a call.

use crate::{
    cli,
    failure::{Failure, Outcome},
    process, project,
    setup::tools,
};
use clap::{Arg, ArgAction, ArgMatches, Command as Cli, value_parser};
use std::{fs, path::Path, process::Command};

pub(crate) fn command() -> Cli {
    Cli::new("fuzz")
        .about("Feed the decoders and the server random bytes, and the machines of a call random operations")
        .after_long_help("Examples:\n  cargo xtask fuzz --minutes 10            ten minutes for each target\n  cargo xtask fuzz --minutes 60 tokens    an hour for one of them\n  cargo xtask fuzz --list                 which there are\n\nInstalls cargo-fuzz where it is missing.")
        .arg(Arg::new("minutes").long("minutes").default_value("5").value_parser(value_parser!(u64)).help("How long each target runs"))
        .arg(Arg::new("list").long("list").action(ArgAction::SetTrue).help("List the targets and end"))
        .arg(Arg::new("target").num_args(0..).help("Only these targets"))
}

/// A fuzz crate; it is no member of the workspace, since its dependencies are instrumented.
struct Crate {
    folder: &'static str,
    targets: &'static [Target],
}

struct Target {
    name: &'static str,
    feeds: &'static str,
    /// Whether the golden bytes of the wire are what it starts from.
    starts_from_golden: bool,
}

const CRATES: &[Crate] = &[
    Crate {
        folder: "crates/call-protocol/fuzz",
        targets: &[
            Target { name: "decoders", feeds: "bytes to every decoder of the wire", starts_from_golden: true },
            Target {
                name: "cc_param",
                feeds: "texts and payloads to the reader of a push's parameter",
                starts_from_golden: false,
            },
        ],
    },
    Crate {
        folder: "crates/callkit-server/fuzz",
        targets: &[
            Target {
                name: "tokens",
                feeds: "tokens and parameters, forged and broken, to their checks",
                starts_from_golden: false,
            },
            Target {
                name: "http",
                feeds: "requests, pages' bodies and frames of a signed-in device to a server",
                starts_from_golden: false,
            },
        ],
    },
    Crate {
        folder: "tests/world/fuzz",
        targets: &[Target {
            name: "operations",
            feeds: "operations and faults to the machines of a call",
            starts_from_golden: false,
        }],
    },
];

/// Runs each target under cargo-fuzz; the sanitizer's flags are unstable, hence the bootstrap variable.
pub(crate) fn run(options: &ArgMatches) -> Outcome {
    let (targets, minutes) = (cli::strings(options, "target"), *options.get_one("minutes").unwrap_or(&5));
    if options.get_flag("list") {
        for target in CRATES.iter().flat_map(|of| of.targets) {
            println!("{:<12}{}", target.name, target.feeds);
        }
        return Ok(());
    }
    let is_known = |name: &&String| CRATES.iter().flat_map(|of| of.targets).any(|target| target.name == **name);
    if let Some(unknown) = targets.iter().find(|name| !is_known(name)) {
        return Err(Failure::found(format!("there is no target {unknown:?}; see `cargo xtask fuzz --list`")));
    }
    tools::cargo_subcommand("fuzz")?;
    for of in CRATES {
        let is_chosen = |target: &&Target| targets.is_empty() || targets.iter().any(|name| name == target.name);
        for target in of.targets.iter().filter(is_chosen) {
            fuzz(of, target, minutes)?;
        }
    }
    Ok(())
}

fn fuzz(of: &Crate, target: &Target, minutes: u64) -> Outcome {
    let build = project::root().join("target/fuzz");
    let (corpus, artifacts) = (build.join("corpus").join(target.name), build.join("artifacts").join(target.name));
    for folder in [&corpus, &artifacts] {
        fs::create_dir_all(folder).map_err(Failure::file(folder))?;
    }
    if target.starts_from_golden {
        write_golden(&corpus)?;
    }
    let mut command = Command::new("cargo");
    command.env("RUSTC_BOOTSTRAP", "1").current_dir(project::root().join(of.folder));
    command.args(["fuzz", "run", "--fuzz-dir", ".", "--target-dir"]).arg(&build).arg(target.name).arg(&corpus);
    let limits = [format!("-max_total_time={}", minutes * 60), format!("-artifact_prefix={}/", artifacts.display())];
    process::run(command.arg("--").args(limits).args(["-timeout=60", "-rss_limit_mb=4096", "-print_final_stats=1"]))
}

/// The golden files of the wire as bytes: a fuzzer that starts from messages need not find them.
fn write_golden(corpus: &Path) -> Outcome {
    for path in project::files_below(&project::root().join("crates/call-protocol/tests/golden"), "hex")? {
        let digits: Vec<u8> = project::read(&path)?.bytes().filter(u8::is_ascii_hexdigit).collect();
        let digit = |digit: u8| char::from(digit).to_digit(16).unwrap_or_default() as u8;
        let bytes: Vec<u8> =
            digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, &next| byte << 4 | digit(next))).collect();
        let file = corpus.join(path.file_stem().unwrap_or_default());
        fs::write(&file, bytes).map_err(Failure::file(&file))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_targets_are_those_of_the_crates() {
        for of in CRATES {
            let manifest = project::read(&project::root().join(of.folder).join("Cargo.toml")).unwrap();
            let manifest: toml::Table = manifest.parse().unwrap();
            let bins = manifest["bin"].as_array().unwrap();
            let names: Vec<_> = bins.iter().map(|bin| bin["name"].as_str().unwrap()).collect();
            assert_eq!(names, of.targets.iter().map(|target| target.name).collect::<Vec<_>>(), "{}", of.folder);
        }
    }

    #[test]
    fn golden_files_become_the_bytes_they_show() {
        let folder = tempfile::tempdir().unwrap();
        write_golden(folder.path()).unwrap();
        let first =
            project::files_below(&project::root().join("crates/call-protocol/tests/golden"), "hex").unwrap().remove(0);
        let bytes = fs::read(folder.path().join(first.file_stem().unwrap())).unwrap();
        let hex: String =
            bytes.chunks(32).map(|line| line.iter().map(|b| format!("{b:02x}")).collect::<String>() + "\n").collect();
        assert_eq!(hex, project::read(&first).unwrap());
    }
}
