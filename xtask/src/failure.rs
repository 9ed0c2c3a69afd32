//! Why a task did not succeed, in words for the person who typed the command.

use std::fmt;

/// The outcome of a task.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Why a task did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// A program that the task runs ended with an error, which it has printed itself.
    Program {
        /// The command line.
        line: String,
        /// Its exit status, and what it said where nobody saw it.
        how: String,
    },
    /// A program that the task needs could not be started.
    Start {
        /// The command line.
        line: String,
        /// What the system says.
        cause: std::io::Error,
    },
    /// A file or folder could not be read or written.
    File {
        /// Which one.
        path: std::path::PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The task itself found something wrong.
    Found(String),
}

impl Failure {
    /// A finding of the task itself.
    pub fn found(what: impl Into<String>) -> Self {
        Self::Found(what.into())
    }

    /// Turns an I/O error about `path` into a failure that names it.
    pub fn file(path: impl Into<std::path::PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
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
