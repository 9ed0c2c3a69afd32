//! `tidy`: the rules of the tree that the compiler does not check.

mod code;
mod graph;
mod tree;

mod arrows;
mod circles;
mod generated;
mod layout;
mod licences;
mod manifests;
mod modules;
mod shape;
mod surface;
mod text;

use crate::failure::{Failure, Outcome};
use graph::Graph;
use std::fmt;
use tree::Tree;

/// One broken rule: where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    line: usize,
    advice: String,
}

impl Finding {
    fn new(path: &str, line: usize, advice: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, advice: advice.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.advice)
    }
}

/// A rule, by the question that it asks.
type Rule = (&'static str, fn(&Tree, &Graph) -> Vec<Finding>);

const RULES: &[Rule] = &[
    ("arrows between the crates", |tree, graph| arrows::check(tree, graph)),
    ("licences of the whole graph", |_, graph| licences::check(graph)),
    ("dependencies named once", |tree, _| manifests::check(tree)),
    ("lengths and names of files", |tree, _| shape::check(tree)),
    ("every file reached by a mod", modules::check),
    ("no files that import each other in a circle", circles::check),
    ("holes, sleeps and machine paths", |tree, _| text::check(tree)),
    ("generated code named only in wire.rs, no rule in callkit-ffi", |tree, _| generated::check(tree)),
    ("a twin in callkit-ffi for everything that callkit shows", |tree, _| surface::check(tree)),
    ("top level, README and the walls of the pure crates", |tree, _| layout::check(tree)),
];

/// Checks every rule, prints every finding and fails if there is one.
pub(crate) fn run() -> Outcome {
    let tree = Tree::of_project()?;
    let graph = Graph::of_project()?;
    let mut findings = Vec::new();
    for (question, rule) in RULES {
        let found = rule(&tree, &graph);
        println!("{:>4}  {question}", if found.is_empty() { "ok".to_owned() } else { found.len().to_string() });
        findings.extend(found);
    }
    if findings.is_empty() {
        return Ok(());
    }
    findings.sort();
    let list: String = findings.iter().map(|finding| format!("\n{finding}")).collect();
    Err(Failure::found(format!("tidy: {} findings{list}", findings.len())))
}
