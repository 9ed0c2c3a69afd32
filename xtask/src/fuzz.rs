//! `fuzz`: random bytes for the decoders and the server, random operations for the machines of a call.

use crate::{
    failure::{Failure, Outcome},
    process, project,
    setup::tools,
};
use clap::Args;
use std::{fs, path::Path, process::Command};

/// What to fuzz, and how long.
#[derive(Args)]
pub(crate) struct Options {
    /// How long each target runs
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    /// List the targets and end
    #[arg(long)]
    list: bool,
    /// Only these targets
    target: Vec<String>,
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
pub(crate) fn run(options: &Options) -> Outcome {
    if options.list {
        for target in CRATES.iter().flat_map(|of| of.targets) {
            println!("{:<12}{}", target.name, target.feeds);
        }
        return Ok(());
    }
    let is_known = |name: &&String| CRATES.iter().flat_map(|of| of.targets).any(|target| target.name == **name);
    if let Some(unknown) = options.target.iter().find(|name| !is_known(name)) {
        return Err(Failure::found(format!("there is no target {unknown:?}; see `cargo xtask fuzz --list`")));
    }
    tools::cargo_subcommand("fuzz")?;
    for of in CRATES {
        let is_chosen =
            |target: &&Target| options.target.is_empty() || options.target.iter().any(|name| name == target.name);
        for target in of.targets.iter().filter(is_chosen) {
            fuzz(of, target, options.minutes)?;
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
