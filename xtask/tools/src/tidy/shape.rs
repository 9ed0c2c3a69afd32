//! Lengths and names of Rust files.

use super::{Finding, tree::Tree};

/// A file past this length has two subjects.
const LONGEST: usize = 600;

/// Names that say nothing of what is inside.
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "common", "misc", "base"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust().flat_map(|(path, text)| too_long(path, text).into_iter().chain(empty_name(tree, path))).collect()
}

fn too_long(path: &str, text: &str) -> Option<Finding> {
    let lines = text.lines().count();
    let advice = format!("{lines} lines: split it by subject, {LONGEST} is the most");
    (lines > LONGEST).then(|| Finding::new(path, LONGEST + 1, advice))
}

fn empty_name(tree: &Tree, path: &str) -> Vec<Finding> {
    let finding = |line, name: &str| Finding::new(path, line, format!("`{name}` says nothing: name it by its subject"));
    let parts = path.trim_end_matches(".rs").split('/').filter(|part| EMPTY_NAMES.contains(part));
    let mut findings: Vec<_> = parts.map(|part| finding(1, part)).collect();
    let tokens = tree.tokens(path);
    for pair in tokens.windows(3) {
        // `mod util;` is reported at the file itself.
        if pair[0].is_word("mod") && EMPTY_NAMES.contains(&pair[1].text.as_str()) && pair[2].is_sign('{') {
            findings.push(finding(pair[1].line, &pair[1].text));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<usize> {
        check(&Tree::planted(&[(path, text)])).into_iter().map(|f| f.line).collect()
    }

    #[test]
    fn a_long_file_is_found_and_a_generated_one_is_not() {
        assert_eq!(found("crates/a/src/lib.rs", &"\n".repeat(600)), [0; 0]);
        assert_eq!(found("crates/a/src/lib.rs", &"\n".repeat(601)), [601]);
        assert_eq!(found("crates/a/src/generated/b.rs", &"\n".repeat(601)), [0; 0]);
    }

    #[test]
    fn an_empty_name_is_found_as_file_folder_and_inline_module() {
        assert_eq!(found("crates/a/src/utils.rs", ""), [1]);
        assert_eq!(found("tests/common/mod.rs", ""), [1]);
        assert_eq!(found("crates/a/src/lib.rs", "\nmod helpers {}"), [2]);
        assert_eq!(found("crates/a/src/database.rs", "// mod util {}"), [0; 0]);
    }
}
