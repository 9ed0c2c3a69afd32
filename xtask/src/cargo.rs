//! Calls of cargo.

use crate::{
    failure::{Failure, Outcome},
    process, project,
};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// A cargo command that runs in the workspace's folder.
pub fn command<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
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

/// The unambiguous spelling of a workspace package: some of its names exist in the registry too.
pub fn package_spec(name: &str) -> String {
    let folder = project::root().join("crates").join(name);
    if folder.is_dir() { format!("path+file://{}", folder.display()) } else { name.to_owned() }
}

/// What to build.
pub struct Build<'a> {
    /// Workspace packages by name.
    pub packages: &'a [&'a str],
    /// Binaries by name; none builds the libraries.
    pub binaries: &'a [&'a str],
    /// With optimisation.
    pub release: bool,
}

impl Build<'_> {
    /// Builds on this terminal and returns the folder in which the programs and libraries lie.
    ///
    /// # Errors
    ///
    /// What was built does not compile.
    pub fn run(&self) -> Outcome<PathBuf> {
        process::run(&mut command(self.line()))?;
        let debug = own_folder()?;
        Ok(if self.release { debug.with_file_name("release") } else { debug })
    }

    /// Builds and returns the path of the file called `name`.
    ///
    /// # Errors
    ///
    /// What was built does not compile, or has no such file.
    pub fn file(&self, name: &str) -> Outcome<PathBuf> {
        let file = self.run()?.join(name);
        if file.is_file() { Ok(file) } else { Err(Failure::found(format!("cargo built no {}", file.display()))) }
    }

    /// The words of the command.
    pub fn line(&self) -> Vec<String> {
        let packages = self.packages.iter().flat_map(|package| ["--package".to_owned(), package_spec(package)]);
        let binaries = self.binaries.iter().flat_map(|binary| ["--bin".to_owned(), (*binary).to_owned()]);
        let libraries = self.binaries.is_empty().then(|| "--lib".to_owned());
        let release = self.release.then(|| "--release".to_owned());
        ["build".to_owned()].into_iter().chain(packages).chain(binaries).chain(libraries).chain(release).collect()
    }
}

/// Where cargo puts what it builds without optimisation: this program was built there itself.
///
/// # Errors
///
/// The system does not say where this program lies.
pub fn own_folder() -> Outcome<PathBuf> {
    let program = std::env::current_exe().map_err(Failure::file("the task runner's own file"))?;
    // A test of the task runner lies one folder deeper.
    let folder = program
        .parent()
        .map(|folder| if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder });
    folder.map(Path::to_path_buf).ok_or_else(|| Failure::found("the task runner lies in no folder"))
}

/// The file name of a program on this platform.
pub fn executable_name(name: &str) -> String {
    format!("{name}{}", std::env::consts::EXE_SUFFIX)
}

/// `path` as it is written from the workspace's folder, with `/` between its parts and no `..` among them.
pub fn relative(path: &Path) -> String {
    let mut parts = Vec::new();
    for part in path.strip_prefix(project::root()).unwrap_or(path).to_string_lossy().replace('\\', "/").split('/') {
        if part == ".." && parts.pop().is_some() {
            continue;
        }
        parts.push(part.to_owned());
    }
    parts.join("/")
}
