//! What single commands need beside the build: looked for when such a command runs, and not before.

use super::{is_root, packages::Manager};
use crate::{
    failure::{Failure, Outcome},
    process,
};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The tools of LLVM that read what instrumented programs write.
pub(crate) struct Llvm {
    pub(crate) cov: PathBuf,
    pub(crate) profdata: PathBuf,
}

/// Installs a subcommand of cargo from crates.io, unless it is there.
pub(crate) fn cargo_subcommand(name: &str) -> Outcome {
    if process::succeeds("cargo", &[name, "--version"]) {
        return Ok(());
    }
    // Its own folder of builds: a program's dependencies are not the project's.
    let target = std::env::temp_dir().join("cargo-install");
    let package = format!("cargo-{name}");
    process::run(Command::new("cargo").args(["install", "--locked", &package]).env("CARGO_TARGET_DIR", target))
}

/// The tools that read what this compiler's programs write: rustup's if it has or can get them, else the system's of the same version.
pub(crate) fn llvm() -> Outcome<Llvm> {
    let about = process::capture(Command::new("rustc").arg("-vV"))?;
    let word = |name: &str| about.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let host = word("host:").unwrap_or_default();
    let major = word("LLVM version:").and_then(|version| version.split('.').next()).unwrap_or_default();
    let sysroot = process::capture(Command::new("rustc").args(["--print", "sysroot"]))?;
    let of_rustup = Path::new(sysroot.trim()).join("lib/rustlib").join(host).join("bin");
    let find = || found(&of_rustup, major);
    if let Some(llvm) = find() {
        return Ok(llvm);
    }
    process::succeeds("rustup", &["component", "add", "llvm-tools"]);
    if let Some(llvm) = find() {
        return Ok(llvm);
    }
    let by_hand = || {
        Failure::found(format!(
            "llvm-cov and llvm-profdata of LLVM {major} are missing: `rustup component add llvm-tools`"
        ))
    };
    // Only Debian's packages name the version.
    let apt = Manager::find(&process::succeeds, std::env::consts::OS).filter(|manager| manager.name == "apt");
    let apt = apt.ok_or_else(by_hand)?;
    for step in apt.steps(&[&format!("llvm-{major}")], !is_root()) {
        let outcome = process::run(&mut step.command());
        if !step.may_fail {
            outcome?;
        }
    }
    find().ok_or_else(by_hand)
}

fn found(of_rustup: &Path, major: &str) -> Option<Llvm> {
    let is_there = |program: &Path| process::succeeds(&program.to_string_lossy(), &["--version"]);
    let of_rustup = Llvm { cov: of_rustup.join("llvm-cov"), profdata: of_rustup.join("llvm-profdata") };
    let of_system = Llvm {
        cov: absolute(format!("llvm-cov-{major}").into()),
        profdata: absolute(format!("llvm-profdata-{major}").into()),
    };
    [of_rustup, of_system].into_iter().find(|llvm| is_there(&llvm.cov) && is_there(&llvm.profdata))
}

/// Where the shell finds a program: cargo-llvm-cov wants to be told by path.
fn absolute(program: PathBuf) -> PathBuf {
    if program.is_absolute() {
        return program;
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).map(|folder| folder.join(&program)).find(|path| path.is_file()).unwrap_or(program)
}
