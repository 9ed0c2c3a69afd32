//! Calls of cargo, and what it says of the workspace.

use crate::{
    failure::{Failure, Outcome},
    project,
};
use cargo_metadata::{Message, Metadata, MetadataCommand};
use std::{
    io::{BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A cargo command that runs in the workspace's folder.
pub(crate) fn command<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(project::root()).args(args);
    // What `cargo run` sets for xtask itself must not reach the builds below it, or their fingerprints change.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// The dependency graph as resolved in `Cargo.lock`, for this machine's platform only.
pub(crate) fn metadata_for_this_platform() -> Outcome<Metadata> {
    let host = crate::process::capture(Command::new("rustc").args(["--print", "host-tuple"]))?;
    metadata(&["--filter-platform", host.trim()])
}

/// The dependency graph as resolved in `Cargo.lock`, for every platform.
pub(crate) fn metadata(options: &[&str]) -> Outcome<Metadata> {
    MetadataCommand::new()
        .manifest_path(project::root().join("Cargo.toml"))
        .other_options(options.iter().map(|&o| o.to_owned()).collect::<Vec<_>>())
        .exec()
        .map_err(|e| Failure::found(format!("cargo metadata: {e}")))
}

/// The unambiguous spelling of a workspace package: some of its names exist in the registry too.
pub(crate) fn package_spec(name: &str) -> String {
    let folder = project::root().join("crates").join(name);
    if folder.is_dir() { format!("path+file://{}", folder.display()) } else { name.to_owned() }
}

/// What to build.
pub(crate) struct Build<'a> {
    /// Workspace packages by name.
    pub(crate) packages: &'a [&'a str],
    /// Binaries by name; none builds the libraries.
    pub(crate) binaries: &'a [&'a str],
    pub(crate) release: bool,
}

impl Build<'_> {
    /// Builds on this terminal and returns every file that came out, executables and libraries.
    pub(crate) fn run(&self) -> Outcome<Vec<PathBuf>> {
        let arguments = if self.release { self.these_alone() } else { self.as_the_tests_are_built() };
        let line = format!("cargo build {}", arguments.join(" "));
        let mut cargo = command(["build", "--message-format=json-render-diagnostics"]);
        cargo.args(&arguments);
        println!("$ {line}");
        let _ = std::io::stdout().flush();

        let start = |cause| Failure::Start { line: line.clone(), cause };
        let mut child = cargo.stdout(Stdio::piped()).spawn().map_err(start)?;
        let messages = BufReader::new(child.stdout.take().expect("stdout was asked for as a pipe"));
        let mut files = Vec::new();
        for message in Message::parse_stream(messages) {
            if let Message::CompilerArtifact(artifact) = message.map_err(start)? {
                files.extend(artifact.filenames.into_iter().map(PathBuf::from));
                files.extend(artifact.executable.map(PathBuf::from));
            }
        }
        let status = child.wait().map_err(start)?;
        if status.success() { Ok(files) } else { Err(Failure::Program { line, how: status.to_string() }) }
    }

    fn these_alone(&self) -> Vec<String> {
        let packages = self.packages.iter().flat_map(|package| ["-p".to_owned(), package_spec(package)]);
        let binaries = self.binaries.iter().flat_map(|binary| ["--bin".to_owned(), (*binary).to_owned()]);
        let libraries = self.binaries.is_empty().then(|| "--lib".to_owned());
        packages.chain(binaries).chain(libraries).chain(["--release".to_owned()]).collect()
    }

    /// The whole workspace, and its examples for the sake of the development dependencies: only then has every dependency the features that it has
    /// in the tests, and none is built twice.
    fn as_the_tests_are_built(&self) -> Vec<String> {
        let kind = if self.binaries.is_empty() { "--lib" } else { "--bins" };
        ["--workspace", kind, "--examples"].map(str::to_owned).to_vec()
    }

    /// Builds and returns the path of the one file called `name`.
    pub(crate) fn file(&self, name: &str) -> Outcome<PathBuf> {
        let files = self.run()?;
        files
            .into_iter()
            .find(|file| file.file_name().is_some_and(|n| n == name))
            .ok_or_else(|| Failure::found(format!("cargo built no file called {name}")))
    }
}

/// The file name of a program on this platform.
pub(crate) fn executable_name(name: &str) -> String {
    format!("{name}{}", std::env::consts::EXE_SUFFIX)
}

/// `path` as it is written from the workspace's folder, with `/` between its parts and no `..` among them.
pub(crate) fn relative(path: &Path) -> String {
    let mut parts = Vec::new();
    for part in path.strip_prefix(project::root()).unwrap_or(path).to_string_lossy().replace('\\', "/").split('/') {
        if part == ".." && parts.pop().is_some() {
            continue;
        }
        parts.push(part.to_owned());
    }
    parts.join("/")
}
