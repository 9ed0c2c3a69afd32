//! A Rust file that no `mod` reaches is never compiled, and its tests never run.

use super::{
    Finding,
    code::{Kind, Token},
    graph::Graph,
    tree::Tree,
};
use std::collections::BTreeSet;

pub(super) fn check(tree: &Tree, graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    // A package may build files that lie in the folder of another one.
    let reached: BTreeSet<String> = graph.ours().flat_map(|(_, package)| reached_from(tree, &package.roots)).collect();
    for (_, package) in graph.ours() {
        let Some(folder) = package.manifest.strip_suffix("Cargo.toml") else { continue };
        // A folder with a manifest of its own is another package, outside the workspace.
        let foreign = |path: &str| {
            let mut above = path[folder.len()..].match_indices('/').map(|(at, _)| &path[..folder.len() + at]);
            above.any(|parent| tree.has(&format!("{parent}/Cargo.toml")))
        };
        for (path, _) in tree.files().filter(|(path, _)| path.starts_with(folder) && path.ends_with(".rs")) {
            if !reached.contains(path) && !foreign(path) {
                findings.push(Finding::new(path, 1, "no `mod` reaches this file: declare it or delete it"));
            }
        }
    }
    findings
}

fn reached_from(tree: &Tree, roots: &[String]) -> BTreeSet<String> {
    let mut reached: BTreeSet<String> = roots.iter().cloned().collect();
    let mut next: Vec<String> = roots.to_vec();
    while let Some(path) = next.pop() {
        let is_folder_root = roots.contains(&path) || path.ends_with("/mod.rs");
        for candidate in declared_in(&path, is_folder_root, &tree.tokens(&path)) {
            if tree.has(&candidate) && reached.insert(candidate.clone()) {
                next.push(candidate);
            }
        }
    }
    reached
}

/// Where the modules that a file declares may lie.
fn declared_in(path: &str, is_folder_root: bool, tokens: &[Token]) -> Vec<String> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let children = if is_folder_root { folder.to_owned() } else { path.trim_end_matches(".rs").to_owned() };
    let mut found = Vec::new();
    // The inline modules around the current word, each with the depth of braces outside it.
    let mut inside: Vec<(String, usize)> = Vec::new();
    let mut depth = 0;
    let mut path_attribute: Option<String> = None;
    for (at, token) in tokens.iter().enumerate() {
        let following = |offset: usize| tokens.get(at + offset);
        if token.is_sign('{') {
            depth += 1;
        } else if token.is_sign('}') {
            depth -= 1;
            inside.retain(|(_, outside)| *outside < depth);
            path_attribute = None;
        } else if token.is_word("path") && following(1).is_some_and(|t| t.is_sign('=')) {
            path_attribute = following(2).filter(|t| t.kind == Kind::Text).map(|t| t.text.clone());
        } else if token.is_word("include") && following(1).is_some_and(|t| t.is_sign('!')) {
            found.extend(following(3).filter(|t| t.kind == Kind::Text).map(|t| join(folder, &t.text)));
        } else if token.is_word("mod")
            && let (Some(name), Some(end)) = (following(1), following(2))
        {
            if end.is_sign('{') {
                inside.push((name.text.clone(), depth));
            } else if end.is_sign(';') {
                let around = inside.iter().map(|(name, _)| name.as_str()).fold(children.clone(), |f, n| join(&f, n));
                match path_attribute.take() {
                    Some(given) => found.push(join(if inside.is_empty() { folder } else { &around }, &given)),
                    None => found.extend([".rs", "/mod.rs"].map(|end| join(&around, &format!("{}{end}", name.text)))),
                }
            }
        }
    }
    found
}

/// `folder/relative` with `..` and `.` resolved.
fn join(folder: &str, relative: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in relative.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::{super::graph::planted::graph, *};

    fn unreached(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> = files.iter().map(|(path, text)| (format!("crates/a/{path}"), *text)).collect();
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        check(&Tree::planted(&files), &graph(&["a -> "])).into_iter().map(|f| f.path).collect()
    }

    #[test]
    fn every_way_to_declare_a_module_reaches_its_file() {
        let found = unreached(&[
            (
                "src/lib.rs",
                "mod b; mod c; #[cfg(test)] mod tests { mod d; } #[path = \"odd/e.rs\"] mod f; include!(\"g.rs\");",
            ),
            ("src/b.rs", "pub mod inner;"),
            ("src/b/inner.rs", ""),
            ("src/c/mod.rs", "mod below;"),
            ("src/c/below.rs", ""),
            ("src/tests/d.rs", ""),
            ("src/odd/e.rs", ""),
            ("src/g.rs", ""),
        ]);
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn a_forgotten_file_is_found_even_where_a_comment_names_it() {
        let found = unreached(&[("src/lib.rs", "// mod lost;\nmod kept;"), ("src/kept.rs", ""), ("src/lost.rs", "")]);
        assert_eq!(found, ["crates/a/src/lost.rs"]);
    }

    #[test]
    fn a_module_after_an_inline_one_lies_outside_it() {
        let found = unreached(&[("src/lib.rs", "mod x { fn y() {} } mod z;"), ("src/z.rs", ""), ("src/x/z.rs", "")]);
        assert_eq!(found, ["crates/a/src/x/z.rs"]);
    }

    #[test]
    fn a_package_inside_a_package_is_its_own_affair() {
        let found = unreached(&[("src/lib.rs", ""), ("fuzz/Cargo.toml", ""), ("fuzz/fuzz_targets/decode.rs", "")]);
        assert_eq!(found, [""; 0]);
    }
}
