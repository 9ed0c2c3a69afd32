//! Holes left open, waiting by sleeping, and paths of one machine.

use super::{Finding, code::Token, tree::Tree};

const HOLES: &[&str] = &["todo", "unimplemented", "dbg"];

/// The comment that lets one `sleep(` stand: it has to say why nothing better can be waited for.
const SLEEPS: &str = "// sleeps:";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let in_code = tree.rust().flat_map(|(path, text)| {
        let tokens = tree.tokens(path);
        [holes(path, &tokens), marks(path, text), sleeps(path, text, &tokens)].concat()
    });
    in_code.chain(tree.files().flat_map(|(path, text)| machine_paths(path, text))).collect()
}

fn holes(path: &str, tokens: &[Token]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for three in tokens.windows(3) {
        let [first, second, third] = three else { continue };
        if second.is_sign('!') && third.is_sign('(') && HOLES.iter().any(|hole| first.is_word(hole)) {
            findings.push(Finding::new(path, first.line, format!("fill the hole that `{}!` leaves", first.text)));
        }
        if first.is_sign('#') && second.is_sign('[') && third.is_word("ignore") {
            findings.push(Finding::new(
                path,
                first.line,
                "a test that is ignored proves nothing: mend it or delete it",
            ));
        }
    }
    findings
}

fn marks(path: &str, text: &str) -> Vec<Finding> {
    let mark = concat!("FIX", "ME");
    let marked = text.lines().enumerate().filter(|(_, line)| line.contains(mark));
    marked.map(|(index, _)| Finding::new(path, index + 1, format!("do what the {mark} asks for, now"))).collect()
}

fn sleeps(path: &str, text: &str, tokens: &[Token]) -> Vec<Finding> {
    let lines: Vec<&str> = text.lines().collect();
    // The reason stands on the line or in the comment right above it.
    let argued = |line: usize| lines[line.saturating_sub(3)..line].iter().any(|line| line.contains(SLEEPS));
    let mut findings = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        // A clock that was passed in is asked by `.sleep(…)`: whoever passed it in decides whether it really waits.
        let of_a_clock = at > 0 && (tokens[at - 1].is_word("fn") || tokens[at - 1].is_sign('.'));
        if pair[0].is_word("sleep") && pair[1].is_sign('(') && !of_a_clock && !argued(pair[0].line) {
            let advice =
                format!("wait for the event or use virtual time; where neither can be, say why in `{SLEEPS} …` above");
            findings.push(Finding::new(path, pair[0].line, advice));
        }
    }
    findings
}

fn machine_paths(path: &str, text: &str) -> Vec<Finding> {
    let homes = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")];
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for home in homes {
            // Inside a longer path or an address the same letters mean something else.
            let starts_a_path =
                |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}>)".contains(c));
            if line.match_indices(home).any(|(at, _)| starts_a_path(at)) {
                findings.push(Finding::new(
                    path,
                    index + 1,
                    format!("`{home}…` exists on one machine: use a relative path"),
                ));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&Tree::planted(&[(path, text)])).into_iter().map(|f| f.line).collect()
    }

    fn of_rust(text: &str) -> Vec<usize> {
        lines("crates/a/src/lib.rs", text)
    }

    #[test]
    fn every_kind_of_hole_is_found_at_its_line() {
        assert_eq!(of_rust("\ntodo!()"), [2]);
        assert_eq!(of_rust("\n\nunimplemented!(\"later\")"), [3]);
        assert_eq!(of_rust("dbg!(1)"), [1]);
        assert_eq!(of_rust("#[ignore = \"slow\"]"), [1]);
        assert_eq!(of_rust(concat!("// FIX", "ME later")), [1]);
    }

    #[test]
    fn speaking_of_a_hole_is_none() {
        assert_eq!(of_rust("// never todo!()\nlet s = \"todo!()\"; let todo = 1;"), [0; 0]);
    }

    #[test]
    fn a_sleep_needs_its_reason() {
        assert_eq!(of_rust("fn f() {\n    std::thread::sleep(d);\n}"), [2]);
        assert_eq!(of_rust("fn f() {\n    // sleeps: the device has no event for this\n    sleep(d);\n}"), [0; 0]);
        assert_eq!(of_rust("fn sleep(d: Duration);\nsleep_until(d);\nself.runtime.sleep(d)"), [0; 0]);
    }

    #[test]
    fn a_path_of_one_machine_is_found_in_any_file() {
        assert_eq!(lines("docs/a.md", concat!("see /ho", "me/me/notes")), [1]);
        assert_eq!(lines("proto/a.proto", concat!("\n// /ro", "ot/x")), [2]);
        assert_eq!(lines("docs/a.md", concat!("https://example.com/ho", "me/page and target/wo", "rk/x")), [0; 0]);
    }
}
