//! Every dependency is named once, in the workspace's table; every member obeys the workspace's lints.

use super::{Finding, tree::Tree};
use toml::{Table, Value};

const KINDS: &[&str] = &["dependencies", "dev-dependencies", "build-dependencies"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let members = tree.files().filter(|(path, _)| path.ends_with("/Cargo.toml") && !path.contains("/fuzz/"));
    members.flat_map(|(path, text)| of_member(tree, path, text)).collect()
}

fn of_member(tree: &Tree, path: &str, text: &str) -> Vec<Finding> {
    let manifest: Table = match toml::from_str(text) {
        Ok(manifest) => manifest,
        Err(error) => return vec![Finding::new(path, 1, format!("make it TOML: {}", error.message()))],
    };
    let platforms = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(|targets| targets.values());
    let mut findings = Vec::new();
    let lints = manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(Value::as_bool);
    if lints != Some(true) {
        findings.push(Finding::new(path, 1, "obey the workspace's lints: add `[lints]` with `workspace = true`"));
    }
    for section in platforms.filter_map(Value::as_table).chain([&manifest]) {
        for (name, value) in KINDS.iter().filter_map(|kind| section.get(*kind)).filter_map(Value::as_table).flatten() {
            let itself = value.get("path").and_then(Value::as_str) == Some(".");
            if !itself && value.get("workspace").and_then(Value::as_bool) != Some(true) {
                let advice = format!("name `{name}` in [workspace.dependencies] and say `workspace = true` here");
                findings.push(Finding::new(path, tree.line_of(path, name), advice));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(manifest: &str) -> Vec<usize> {
        let manifest = format!("{manifest}[lints]\nworkspace = true\n");
        check(&Tree::planted(&[("crates/a/Cargo.toml", &manifest)])).into_iter().map(|f| f.line).collect()
    }

    #[test]
    fn a_member_without_the_lints_is_found() {
        let found = check(&Tree::planted(&[("crates/a/Cargo.toml", "[package]\nname = \"a\"\n")]));
        assert!(found[0].to_string().contains("obey the workspace's lints"), "{found:?}");
    }

    #[test]
    fn a_version_of_its_own_is_found_in_every_kind_of_section() {
        assert_eq!(lines("[dependencies]\nserde = \"1\"\n"), [2]);
        assert_eq!(lines("[dev-dependencies]\na = { workspace = true }\nb = { path = \"../b\" }\n"), [3]);
        assert_eq!(lines("[target.'cfg(unix)'.dependencies]\nlibc = \"1\"\n"), [2]);
    }

    #[test]
    fn the_workspace_table_is_enough_and_a_crate_may_name_itself() {
        assert_eq!(lines("[dev-dependencies]\na = { path = \".\", features = [\"simulated\"] }\n"), [0; 0]);
        assert_eq!(lines("[dependencies]\na.workspace = true\nb = { workspace = true, features = [\"c\"] }\n"), [0; 0]);
    }

    #[test]
    fn a_manifest_that_is_no_toml_is_found() {
        assert_eq!(lines("[dependencies\n").len(), 1);
    }
}
