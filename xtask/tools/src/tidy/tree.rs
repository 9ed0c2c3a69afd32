//! The project's files as git sees them.

use super::code::{self, Token};
use crate::{
    failure::Outcome,
    process,
    project::{self, read},
};
use std::{collections::BTreeMap, process::Command};

/// Every text file of the project, tracked or about to be, by its path from the workspace's folder.
pub(super) struct Tree {
    files: BTreeMap<String, String>,
}

impl Tree {
    pub(super) fn of_project() -> Outcome<Self> {
        let root = project::root();
        let listing = ["ls-files", "--cached", "--others", "--exclude-standard", "-z"];
        let names = process::capture(Command::new("git").current_dir(&root).args(listing))?;
        let mut files = BTreeMap::new();
        for name in names.split('\0').filter(|name| !name.is_empty()) {
            let path = root.join(name);
            // A deleted file is still listed until the deletion is committed; one that is no text has nothing to read.
            if path.is_file() {
                files.insert(name.to_owned(), read(&path).unwrap_or_default());
            }
        }
        Ok(Self { files })
    }

    /// A tree with a violation planted in it.
    #[cfg(test)]
    pub(super) fn planted(files: &[(&str, &str)]) -> Self {
        Self { files: files.iter().map(|&(path, text)| (path.to_owned(), text.to_owned())).collect() }
    }

    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Rust written by hand: neither generated nor golden.
    pub(super) fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        let by_hand = |path: &str| !path.split('/').any(|part| part == "generated" || part == "golden");
        self.files().filter(move |(path, _)| path.ends_with(".rs") && by_hand(path))
    }

    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    pub(super) fn tokens(&self, path: &str) -> Vec<Token> {
        self.text(path).map(code::tokens).unwrap_or_default()
    }

    /// The first line of `path` that begins with `start`, or 1.
    pub(super) fn line_of(&self, path: &str, start: &str) -> usize {
        let text = self.text(path).unwrap_or_default();
        text.lines().position(|line| line.starts_with(start)).map_or(1, |index| index + 1)
    }
}
