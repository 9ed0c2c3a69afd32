//! What lies at the top level, how long the README is, and the lints that keep the pure crates pure.

use super::{Finding, tree::Tree};
use std::collections::BTreeSet;
use toml::Table;

/// Besides files whose name begins with a dot.
const TOP_LEVEL: &[&str] =
    &["Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "crates", "docs", "proto", "tests", "xtask"];

const LONGEST_README: usize = 200;

/// Crates that read no clock and touch no file, and what their `.clippy.toml` has to forbid at least.
const PURE: &[&str] = &["crates/call-protocol", "crates/signaling", "crates/callkit-core", "crates/callkit-hub"];
const FORBIDDEN_THERE: &[&str] = &["std::time::Instant::now", "std::time::SystemTime::now", "std::thread::sleep"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    [top_level(tree), readme(tree), walls(tree)].concat()
}

fn top_level(tree: &Tree) -> Vec<Finding> {
    let names: BTreeSet<&str> = tree.files().map(|(path, _)| path.split('/').next().unwrap_or(path)).collect();
    let strange = names.into_iter().filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(name));
    strange
        .map(|name| Finding::new(name, 1, "move it into the folder of its subject: the top level is complete"))
        .collect()
}

fn readme(tree: &Tree) -> Vec<Finding> {
    let lines = tree.text("README.md").map_or(0, |text| text.lines().count());
    let advice = format!("{lines} lines: move what a new user does not need into docs/, {LONGEST_README} is the most");
    if lines > LONGEST_README { vec![Finding::new("README.md", LONGEST_README + 1, advice)] } else { Vec::new() }
}

fn walls(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for folder in PURE.iter().filter(|folder| tree.has(&format!("{folder}/Cargo.toml"))) {
        let path = format!("{folder}/.clippy.toml");
        let forbidden = forbidden_methods(tree.text(&path).unwrap_or_default());
        for method in FORBIDDEN_THERE.iter().filter(|method| !forbidden.contains(**method)) {
            findings.push(Finding::new(&path, 1, format!("add `{method}` to disallowed-methods: this crate is pure")));
        }
    }
    findings
}

fn forbidden_methods(clippy: &str) -> BTreeSet<String> {
    let table: Table = toml::from_str(clippy).unwrap_or_default();
    let methods = table.get("disallowed-methods").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let path = |method: toml::Value| method.get("path").unwrap_or(&method).as_str().map(str::to_owned);
    methods.into_iter().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::planted(files)).into_iter().map(|f| f.to_string()).collect()
    }

    #[test]
    fn a_stray_at_the_top_level_is_found() {
        assert_eq!(found(&[("Cargo.toml", ""), (".ci/run", ""), ("docs/a.md", "")]), [""; 0]);
        assert!(found(&[("notes.txt", "")])[0].starts_with("notes.txt:1: "));
        assert!(found(&[("scripts/a.sh", "")])[0].starts_with("scripts:1: "));
    }

    #[test]
    fn a_long_readme_is_found() {
        assert_eq!(found(&[("README.md", &"x\n".repeat(200))]), [""; 0]);
        assert!(found(&[("README.md", &"x\n".repeat(201))])[0].starts_with("README.md:201: 201 lines"));
    }

    #[test]
    fn a_pure_crate_without_its_wall_is_found() {
        let manifest = ("crates/signaling/Cargo.toml", "");
        assert_eq!(found(&[manifest]).len(), 3);
        let wall = "disallowed-methods = [\"std::thread::sleep\", { path = \"std::time::Instant::now\" }]";
        let left = found(&[manifest, ("crates/signaling/.clippy.toml", wall)]);
        assert_eq!(left.len(), 1);
        assert!(left[0].contains("std::time::SystemTime::now"), "{left:?}");
    }
}
