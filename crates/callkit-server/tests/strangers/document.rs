//! `docs/security.md` names tests that there are.

use std::path::Path;

/// All code of the folder and those in it.
fn read(folder: &Path, code: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, code);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            code.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_attempt_has_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut code = String::new();
    for folder in ["crates", "tests"] {
        read(&root.join(folder), &mut code);
    }
    let document = include_str!("../../../../docs/security.md");
    let (mut count, mut is_of_attempts) = (0, false);
    for line in document.lines() {
        is_of_attempts = line.starts_with("| attempt") || (is_of_attempts && line.starts_with('|'));
        if !is_of_attempts || line.starts_with("| attempt") || line.starts_with("| ---") {
            continue;
        }
        let test = line.rsplit('`').nth(1).unwrap_or_else(|| panic!("no test in {line}"));
        assert!(code.contains(&format!("fn {test}(")), "there is no test {test}");
        count += 1;
    }
    assert!(count >= 32, "{count}");
}
