//! Licences under which a dependency may come.

use super::{Finding, graph::Graph};
use spdx::{Expression, ParseMode};

/// Permissive licences, and the MPL, whose duty ends at the file (uniffi).
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "OFL-1.1",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

pub(super) fn check(graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in graph.packages.values() {
        let advice = match &package.licence {
            None => "has no licence that can be read".to_owned(),
            Some(text) => match Expression::parse_mode(text, ParseMode::LAX) {
                Err(error) => format!("has a licence that is no SPDX expression, `{text}` ({})", error.reason),
                Ok(licence) if licence.evaluate(|one| ALLOWED.contains(&one.to_string().as_str())) => continue,
                Ok(_) => format!("comes under `{text}`"),
            },
        };
        let advice =
            format!("{} {} {advice}: replace it, or argue for it in docs/decisions/", package.name, package.version);
        findings.push(Finding::new("Cargo.lock", 1, advice));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{super::graph::planted::graph, *};

    fn accepted(licence: Option<&str>) -> bool {
        let mut graph = graph(&["one = "]);
        graph.packages.get_mut("one").unwrap().licence = licence.map(str::to_owned);
        check(&graph).is_empty()
    }

    #[test]
    fn one_allowed_side_of_an_or_is_enough() {
        assert!(accepted(Some("MIT OR Apache-2.0")));
        assert!(accepted(Some("GPL-3.0-only OR MIT")));
        assert!(accepted(Some("MIT/Apache-2.0")));
        assert!(accepted(Some("Apache-2.0 WITH LLVM-exception OR GPL-2.0")));
    }

    #[test]
    fn every_side_of_an_and_must_be_allowed() {
        assert!(accepted(Some("(MIT OR Apache-2.0) AND Unicode-3.0")));
        assert!(!accepted(Some("MIT AND AGPL-3.0-only")));
    }

    #[test]
    fn copyleft_nonsense_and_silence_are_found() {
        assert!(!accepted(Some("AGPL-3.0-only")));
        assert!(!accepted(Some("ask me")));
        assert!(!accepted(None));
    }
}
