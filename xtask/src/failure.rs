//! Why a task did not succeed, in words for the person who typed the command.

use std::fmt;

/// The outcome of a task.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Why a task did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A program that the task runs ended with an error, which it has printed itself.
    Program { line: String, how: String },
    /// A program that the task needs could not be started.
    Start { line: String, cause: std::io::Error },
    /// A file or folder could not be read or written.
    File { path: std::path::PathBuf, cause: std::io::Error },
    /// The task itself found something wrong.
    Found(String),
}

impl Failure {
    /// A finding of the task itself.
    pub(crate) fn found(what: impl Into<String>) -> Self {
        Self::Found(what.into())
    }

    /// Turns an I/O error about `path` into a failure that names it.
    pub(crate) fn file(path: impl Into<std::path::PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |cause| Self::File { path, cause }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program { line, how } => write!(f, "`{line}` failed ({how})"),
            Self::Start { line, cause } => write!(f, "cannot start `{line}`: {cause}"),
            Self::File { path, cause } => write!(f, "{}: {cause}", path.display()),
            Self::Found(what) => f.write_str(what),
        }
    }
}
