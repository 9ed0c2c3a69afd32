//! The walls between the crates: who may depend on whom, and what must never come along.

use super::{Finding, graph::Graph, tree::Tree};

/// The only arrows between the crates; development dependencies obey them too.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("call-protocol", &[]),
    ("signaling", &["call-protocol"]),
    ("rtc-media", &[]),
    ("rtc-transport", &[]),
    ("callkit-core", &["call-protocol", "signaling"]),
    ("callkit", &["call-protocol", "signaling", "callkit-core", "rtc-media", "rtc-transport"]),
    ("callkit-ffi", &["callkit"]),
    ("callkit-hub", &["call-protocol", "signaling"]),
    ("callkit-server", &["call-protocol", "signaling", "callkit-hub"]),
    (
        "tests",
        &["call-protocol", "signaling", "rtc-media", "rtc-transport", "callkit", "callkit-ffi", "callkit-server"],
    ),
    ("world", &["call-protocol", "signaling"]),
    ("model", &["call-protocol", "signaling"]),
    ("xtask", &[]),
    ("xtask-tools", &["xtask"]),
];

/// What must not be compiled into a crate, and why.
const KEPT_OUT: &[(&str, &[&str], &str)] = &[
    (
        "callkit-server",
        &["cpal", "alsa", "opus", "opusic-sys", "openh264", "openh264-sys2", "nokhwa", "v4l"],
        "the server has no microphone, camera or codec",
    ),
    ("call-protocol", IMPURE, "words have no clock, no sockets and no luck"),
    ("xtask", &["cc", "cmake", "pkg-config", "bindgen"], "`cargo xtask setup` builds before anything is set up"),
    ("signaling", IMPURE, "time and randomness come in through the machine's door"),
    ("callkit-core", IMPURE, "time and the seed of what is random come in through the machine's door"),
    ("callkit-hub", IMPURE, "time and a seed come in through the machine's door"),
];

const IMPURE: &[&str] = &["tokio", "rand", "getrandom", "socket2", "mio", "async-std", "smol", "chrono", "time"];

pub(super) fn check(tree: &Tree, graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (id, package) in graph.ours() {
        let here = |name: &str| tree.line_of(&package.manifest, name);
        let allowed = MAY_DEPEND_ON.iter().find(|(name, _)| *name == package.name).map(|(_, allowed)| *allowed);
        if allowed.is_none() {
            let advice = format!(
                "give `{}` its arrows in xtask/tools/src/tidy/arrows.rs and in docs/architecture.md",
                package.name
            );
            findings.push(Finding::new(&package.manifest, 1, advice));
        }
        for dependency in &package.declared {
            let name = dependency.name.as_str();
            // Tests may switch on a feature of the crate that they belong to.
            let itself = name == package.name;
            if dependency.ours && !itself && !allowed.unwrap_or_default().contains(&name) {
                let advice = format!(
                    "`{}` must not depend on `{name}`: only the arrows of docs/architecture.md exist",
                    package.name
                );
                findings.push(Finding::new(&package.manifest, here(name), advice));
            }
            if !dependency.ours && is_engine(name) && !may_name_engine(&package.name, name) {
                let advice = format!(
                    "`{}` must not name `{name}`: the WebRTC engine is known to rtc-transport alone",
                    package.name
                );
                findings.push(Finding::new(&package.manifest, here(name), advice));
            }
        }
        for (_, forbidden, why) in KEPT_OUT.iter().filter(|(name, ..)| *name == package.name) {
            // The library of a pure crate must be pure; elsewhere what a build script needs counts too.
            let ways = graph.reached(id, if *forbidden == IMPURE { |e| e.normal } else { |e| !e.dev_only });
            for (reached, way) in ways {
                let name = graph.packages.get(&reached).map_or("", |p| p.name.as_str());
                if forbidden.contains(&name) {
                    let first = way.get(1).map_or(name, String::as_str);
                    let advice =
                        format!("keep `{name}` out of `{}` (through {}): {why}", package.name, way.join(" → "));
                    findings.push(Finding::new(&package.manifest, here(first), advice));
                }
            }
        }
    }
    findings
}

fn is_engine(name: &str) -> bool {
    matches!(name, "webrtc" | "rtc" | "str0m") || name.starts_with("rtc-") || name.starts_with("webrtc-")
}

fn may_name_engine(package: &str, engine: &str) -> bool {
    match package {
        "rtc-transport" => engine != "str0m",
        "callkit-server" => matches!(engine, "rtc-stun" | "str0m"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::graph::planted::graph, *};

    fn findings(lines: &[&str]) -> Vec<String> {
        check(&Tree::planted(&[]), &graph(lines)).into_iter().map(|f| f.to_string()).collect()
    }

    #[test]
    fn the_arrows_of_the_design_are_accepted() {
        let found = findings(&[
            "call-protocol -> prost",
            "signaling -> call-protocol",
            "callkit -> call-protocol, signaling, rtc-media, rtc-transport, tokio",
            "rtc-media -> cpal",
            "rtc-transport -> webrtc, rtc, tokio",
            "callkit-ffi -> callkit",
            "callkit-hub -> call-protocol, signaling",
            "callkit-server -> call-protocol, signaling, callkit-hub, tokio, rtc-stun",
            "tests -> callkit, callkit-server",
            "prost = ",
            "tokio = mio",
            "mio = ",
            "cpal = alsa",
            "webrtc = rtc",
            "rtc = rtc-stun",
        ]);
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn an_arrow_between_strangers_is_found_at_its_line() {
        let tree =
            Tree::planted(&[("crates/rtc-media/Cargo.toml", "[dependencies]\nsignaling = { workspace = true }\n")]);
        let found =
            check(&tree, &graph(&["rtc-media -> signaling", "signaling -> call-protocol", "call-protocol -> "]));
        assert_eq!(found.len(), 1);
        assert!(
            found[0]
                .to_string()
                .starts_with("crates/rtc-media/Cargo.toml:2: `rtc-media` must not depend on `signaling`")
        );
    }

    #[test]
    fn nobody_sees_the_tests() {
        assert!(findings(&["callkit -> tests", "tests -> "])[0].contains("must not depend on `tests`"));
    }

    #[test]
    fn a_crate_without_arrows_is_found() {
        assert!(findings(&["callkit-extra -> "])[0].contains("give `callkit-extra` its arrows"));
    }

    #[test]
    fn the_engine_is_named_by_one_crate() {
        assert!(findings(&["callkit -> webrtc", "webrtc = "])[0].contains("must not name `webrtc`"));
        assert!(findings(&["callkit-server -> rtc-media", "rtc-media = "])[0].contains("must not name `rtc-media`"));
    }

    #[test]
    fn what_comes_along_by_a_detour_is_found_with_its_way() {
        let found = findings(&["signaling -> helpful", "helpful = tokio", "tokio = "]);
        assert!(found[0].contains("keep `tokio` out of `signaling` (through signaling → helpful)"), "{found:?}");
        let found = findings(&["callkit-server -> neteq", "neteq = cpal", "cpal = "]);
        assert!(found[0].contains("keep `cpal` out of `callkit-server`"), "{found:?}");
    }
}
