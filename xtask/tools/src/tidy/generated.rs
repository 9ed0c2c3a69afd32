//! Two invariants that are read off the code: generated code is named only in `wire.rs`, and callkit-ffi decides nothing.

use super::{
    Finding,
    code::{Kind, Token},
    tree::Tree,
};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let sources =
        tree.rust().map(|(path, _)| path).filter(|path| path.starts_with("crates/") && path.contains("/src/"));
    sources
        .flat_map(|path| {
            let tokens = tree.tokens(path);
            let mut findings = if is_wire(path) { Vec::new() } else { names_generated(path, &tokens) };
            if path.starts_with("crates/callkit-ffi/") {
                findings.extend(decides(path, &tokens));
            }
            findings
        })
        .collect()
}

/// `wire.rs`, and the files below it where it has become a folder.
fn is_wire(path: &str) -> bool {
    path.ends_with("/wire.rs") || path.contains("/wire/")
}

fn names_generated(path: &str, tokens: &[Token]) -> Vec<Finding> {
    let mut lines = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let after = |offset: usize, sign| tokens.get(at + offset).is_some_and(|t| t.is_sign(sign));
        let is_path = after(1, ':') && after(2, ':');
        let is_declared = at > 0 && tokens[at - 1].is_word("mod");
        let named = match token.kind {
            Kind::Word if token.text == "generated" => is_path || is_declared,
            Kind::Word if token.text == "proto" => is_path || is_declared || ends_a_path(tokens, at),
            Kind::Text => token.text.contains("generated/"),
            Kind::Word | Kind::Sign => false,
        };
        if named {
            lines.push(token.line);
        }
    }
    let advice = "generated code is named only in wire.rs: convert there and use the domain type here";
    lines.into_iter().map(|line| Finding::new(path, line, advice)).collect()
}

/// Whether the word is the last of `wire::proto`, as in a `use`.
fn ends_a_path(tokens: &[Token], at: usize) -> bool {
    at >= 3 && tokens[at - 1].is_sign(':') && tokens[at - 2].is_sign(':') && tokens[at - 3].is_word("wire")
}

fn decides(path: &str, tokens: &[Token]) -> Vec<Finding> {
    let advice = "callkit-ffi has no `if`: decide in callkit and pass it through here";
    tokens.iter().filter(|t| t.is_word("if")).map(|t| Finding::new(path, t.line, advice)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&Tree::planted(&[(path, text)])).into_iter().map(|f| f.line).collect()
    }

    #[test]
    fn generated_code_is_found_outside_the_wire_module_only() {
        let uses = "use call_protocol::wire::proto;\nfn f(m: proto::Invite) {}\nmod generated;\n#[path = \"generated/a.rs\"] mod a;";
        assert_eq!(lines("crates/callkit/src/line.rs", uses), [1, 2, 3, 4]);
        assert_eq!(lines("crates/callkit/src/wire.rs", uses), [0; 0]);
        assert_eq!(lines("crates/call-protocol/src/wire/ring.rs", uses), [0; 0]);
        assert_eq!(lines("crates/callkit/src/line.rs", "// generated/ and proto::X\nlet generated = proto;"), [0; 0]);
    }

    #[test]
    fn an_if_is_found_in_the_ffi_crate_only() {
        assert_eq!(lines("crates/callkit-ffi/src/lib.rs", "// if\nfn f() { if a {} }"), [2]);
        assert_eq!(lines("crates/callkit/src/lib.rs", "fn f() { if a {} }"), [0; 0]);
    }
}
