//! callkit-ffi has a twin of everything that callkit shows, so that nothing falls out as callkit grows.

use super::{
    Finding,
    code::{Kind, Token},
    tree::Tree,
};
use std::collections::{BTreeMap, BTreeSet};

const RUST: &str = "crates/callkit/src/";
/// Some of what callkit shows is defined here.
const CORE: &str = "crates/callkit-core/src/";
const TWIN: &str = "crates/callkit-ffi/src/";
const ADVICE: &str = "has no twin in callkit-ffi: add it, or say in xtask/tools/src/tidy/surface.rs why there is none";

/// Types whose twin has another name.
const RENAMED: &[(&str, &str)] = &[
    ("Builder", "CallKitConfig"),
    ("MakeCallResult", "StartCallResult"),
    ("VerifyCallResult", "StartCallResult"),
    ("MakeCallParamBuilder", "MakeCallParam"),
    ("VerifyCallParamBuilder", "VerifyCallParam"),
];

/// What has no twin, and why.
const ABSENT: &[(&str, &str)] = &[
    ("Builder::sign_in", "the configuration is given to CallKit's sign_in"),
    ("Builder::tls_root_certificate", "a list in the configuration"),
    ("Builder::turn_server", "a list in the configuration"),
    ("CallKit::builder", "CallKitConfig is a record, built by its own language"),
    ("CallKitEvent::call_id", "other languages read the field of the event"),
    ("CallKitEvent::deliver", "listeners of other languages are told by the kit alone"),
    ("CallKitEvent::name", "other languages have the event's own type"),
    ("CallKitEventHandler::on_event", "other languages read CallKit's events()"),
    ("Call::my_media_status", "its handler is set on the call itself"),
    ("CcParam::as_str", "the field `text` of the record"),
    ("CcParam::parse", "a function, parse_cc_param, as a record has no constructor"),
    ("MakeCallParam::builder", "a record, built by its own language"),
    ("MakeCallParamBuilder::build", "checked when the call is made"),
    ("MyMediaStatus", "its handler is set on the call itself"),
    ("ParamError", "its reason and text are in the result of the call"),
    ("Tones::standard", "a function, standard_tones, as a record has no constructor"),
    ("VerifyCallParam::builder", "a record, built by its own language"),
    ("VerifyCallParamBuilder::build", "checked when the call is verified"),
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    compare(&Surface::of(tree, &[RUST, CORE], false), &Surface::of(tree, &[TWIN], true), ABSENT)
}

fn compare(rust: &Surface, twin: &Surface, absent: &[(&str, &str)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut needed = BTreeSet::new();
    for (name, shown) in rust.types.iter().filter(|(name, _)| rust.exported.contains(*name)) {
        let twin_name = RENAMED.iter().find(|(from, _)| from == name).map_or(name.as_str(), |(_, to)| to);
        let there = twin.types.get(twin_name);
        let members = shown.members.iter().map(|(member, place)| (format!("{name}::{member}"), Some(member), place));
        for (path, member, place) in std::iter::once((name.clone(), None, &shown.place)).chain(members) {
            let has_twin = match (there, member) {
                (None, _) => false,
                (Some(_), None) => true,
                // A duration is a number of ms elsewhere.
                (Some(there), Some(member)) => {
                    there.members.contains_key(member) || there.members.contains_key(&format!("{member}_ms"))
                }
            };
            if has_twin {
                continue;
            }
            let excused = absent.iter().find(|(what, _)| *what == path || *what == name.as_str());
            match excused {
                Some((what, _)) => drop(needed.insert(*what)),
                // Its members are told with it.
                None if there.is_none() && member.is_some() => {}
                None => findings.push(Finding::new(&place.0, place.1, format!("{path} {ADVICE}"))),
            }
        }
    }
    for (what, _) in absent.iter().filter(|(what, _)| !needed.contains(what)) {
        let name = what.split("::").next().unwrap_or(what);
        if rust.types.contains_key(name) && rust.exported.contains(name) {
            let advice = format!("{what} is said to have no twin in callkit-ffi, and has one or is gone");
            findings.push(Finding::new("xtask/tools/src/tidy/surface.rs", 1, advice));
        }
    }
    findings
}

/// Where something is: file and line.
type Place = (String, usize);

/// What a crate shows.
#[derive(Default)]
struct Surface {
    types: BTreeMap<String, Shown>,
    /// What the `pub use` of its lib.rs names.
    exported: BTreeSet<String>,
}

#[derive(Default)]
struct Shown {
    place: Place,
    members: BTreeMap<String, Place>,
}

impl Surface {
    /// Of a twin only what is given to other languages counts.
    /// What a crate shows is named in the first folder.
    fn of(tree: &Tree, folders: &[&str], is_twin: bool) -> Surface {
        let mut surface = Surface::default();
        let root = format!("{}lib.rs", folders[0]);
        for (path, _) in tree.rust().filter(|(path, _)| folders.iter().any(|folder| path.starts_with(folder))) {
            let tokens = tree.tokens(path);
            if path == root {
                surface.exported.extend(exported(&tokens));
            }
            Reader { path, tokens: &tokens, is_twin, surface: &mut surface }.read();
        }
        surface
    }

    fn add(&mut self, name: &str, member: Option<&str>, place: Place) {
        let shown = self.types.entry(name.to_owned()).or_default();
        match member {
            None => shown.place = place,
            Some(member) => drop(shown.members.insert(member.to_owned(), place)),
        }
    }
}

/// Every word of a `pub use`.
fn exported(tokens: &[Token]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for at in 1..tokens.len() {
        if tokens[at].is_word("use") && tokens[at - 1].is_word("pub") {
            let used = tokens[at..].iter().take_while(|token| !token.is_sign(';'));
            names.extend(used.filter(|token| token.kind == Kind::Word).map(|token| token.text.clone()));
        }
    }
    names
}

struct Reader<'a> {
    path: &'a str,
    tokens: &'a [Token],
    is_twin: bool,
    surface: &'a mut Surface,
}

impl Reader<'_> {
    fn read(&mut self) {
        let mut at = 0;
        let mut attributes = 0;
        while at < self.tokens.len() {
            let is_public = at > 0 && self.tokens[at - 1].is_word("pub");
            let word = &self.tokens[at];
            let open = self.body(at);
            let is_given = !self.is_twin || self.tokens[attributes..at].iter().any(|token| token.is_word("uniffi"));
            if is_public && (word.is_word("enum") || word.is_word("struct") || word.is_word("trait")) {
                let name = self.tokens.get(at + 1).map(|token| token.text.clone()).unwrap_or_default();
                self.surface.add(&name, None, self.place(at));
                if let Some(open) = open.filter(|_| is_given) {
                    if word.is_word("enum") {
                        self.variants(&name, open);
                    } else if word.is_word("struct") {
                        self.fields(&name, open, true, "");
                    } else {
                        self.functions(&name, open, false);
                    }
                }
            } else if word.is_word("impl")
                && let (Some(open), Some(name)) = (open, self.tokens.get(at + 1))
                && name.kind == Kind::Word
                && open == at + 2
                && is_given
            {
                let name = name.text.clone();
                self.functions(&name, open, true);
            }
            // What stands before an item since the one before it are its attributes.
            at = match open.filter(|_| self.is_item(at)) {
                Some(open) => {
                    attributes = self.end(open);
                    attributes
                }
                None => at + 1,
            };
            if at > 0 && self.tokens[at - 1].is_sign(';') {
                attributes = at;
            }
        }
    }

    fn is_item(&self, at: usize) -> bool {
        ["enum", "struct", "trait", "impl", "fn", "mod", "macro_rules"].iter().any(|item| self.tokens[at].is_word(item))
    }

    fn place(&self, at: usize) -> Place {
        (self.path.to_owned(), self.tokens[at].line)
    }

    /// The brace that opens the body of the item at `at`; none for one that ends with a semicolon before it.
    fn body(&self, at: usize) -> Option<usize> {
        let found = (at..self.tokens.len()).find(|&at| self.tokens[at].is_sign('{') || self.tokens[at].is_sign(';'))?;
        Some(found).filter(|&found| self.tokens[found].is_sign('{'))
    }

    /// Behind what the bracket at `open` closes.
    fn end(&self, open: usize) -> usize {
        let mut depth = 0_usize;
        for at in open..self.tokens.len() {
            if ['{', '(', '['].iter().any(|&sign| self.tokens[at].is_sign(sign)) {
                depth += 1;
            } else if ['}', ')', ']'].iter().any(|&sign| self.tokens[at].is_sign(sign)) {
                depth -= 1;
            }
            if depth == 0 {
                return at + 1;
            }
        }
        self.tokens.len()
    }

    /// The places right inside the bracket at `open`, without what is in brackets below it.
    fn inside(&self, open: usize) -> Vec<usize> {
        let (mut places, mut at, end) = (Vec::new(), open + 1, self.end(open) - 1);
        while at < end {
            places.push(at);
            at = if ['{', '(', '['].iter().any(|&sign| self.tokens[at].is_sign(sign)) { self.end(at) } else { at + 1 };
        }
        places
    }

    fn variants(&mut self, name: &str, open: usize) {
        for at in self.inside(open) {
            let before = &self.tokens[at - 1];
            let is_first = [',', '{', ']'].iter().any(|&sign| before.is_sign(sign));
            if self.tokens[at].kind != Kind::Word || !is_first {
                continue;
            }
            let variant = self.tokens[at].text.clone();
            self.surface.add(name, Some(&variant), self.place(at));
            if self.tokens.get(at + 1).is_some_and(|token| token.is_sign('{')) {
                self.fields(name, at + 1, false, &format!("{variant}."));
            }
        }
    }

    fn fields(&mut self, name: &str, open: usize, are_marked: bool, prefix: &str) {
        for at in self.inside(open) {
            let after = |offset: usize| self.tokens.get(at + offset).is_some_and(|token| token.is_sign(':'));
            let is_field = after(1) && !after(2) && !self.tokens[at - 1].is_sign(':');
            let is_shown = !are_marked || self.tokens[at - 1].is_word("pub");
            if self.tokens[at].kind == Kind::Word && is_field && is_shown {
                let field = format!("{prefix}{}", self.tokens[at].text);
                self.surface.add(name, Some(&field), self.place(at));
            }
        }
    }

    fn functions(&mut self, name: &str, open: usize, are_marked: bool) {
        for at in self.inside(open) {
            if self.tokens[at].is_word("setters") && self.tokens[at + 1].is_sign('!') {
                self.setters(name, at + 2);
            }
            let before =
                self.tokens[..at].iter().rev().find(|token| !token.is_word("async") && !token.is_word("const"));
            let is_shown = !are_marked || before.is_some_and(|token| token.is_word("pub"));
            if self.tokens[at].is_word("fn") && is_shown {
                let function = self.tokens[at + 1].text.clone();
                self.surface.add(name, Some(&function), self.place(at));
            }
        }
    }

    /// The macro of the builders of parameters: `name: type => value;`.
    fn setters(&mut self, name: &str, open: usize) {
        for at in self.inside(open) {
            let is_first = self.tokens[at - 1].is_sign('{') || self.tokens[at - 1].is_sign(';');
            if self.tokens[at].kind == Kind::Word && is_first {
                let setter = self.tokens[at].text.clone();
                self.surface.add(name, Some(&setter), self.place(at));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: &str = "pub use kit::{CallKit, CallKitEvent, CallKitEventHandler, Builder};";
    const KIT: &str = "
        pub struct CallKit { user: String }
        impl CallKit { pub async fn answer(&self) { if a { b } } pub(crate) fn ask(&self) {} fn own(&self) {} }
        pub(crate) struct Inner; impl Inner { pub fn not_shown(&self) {} }
        #[non_exhaustive] pub enum CallKitEvent { #[non_exhaustive] Answer { call_id: a::CallId }, Other(Vec<u8>), Third }
        impl Clone for CallKitEvent { fn clone(&self) {} }
        pub trait CallKitEventHandler: Send { fn on_answer(&self, call_id: CallId) { let _ = call_id; } }
        pub struct Builder; impl Builder { setters! { device: impl Into<String> => Some(device.into()); every: Duration => every; } }";
    const TWIN_KIT: &str = "
        #[derive(uniffi::Object)] pub struct CallKit(callkit::CallKit);
        #[uniffi::export] impl CallKit { pub async fn answer(&self) {} }
        #[derive(uniffi::Enum)] pub enum CallKitEvent { Answer { call_id: CallId }, Other { bytes: Vec<u8> }, Third }
        #[uniffi::export(foreign)] pub trait CallKitEventHandler { fn on_answer(&self, call_id: CallId); }
        #[derive(uniffi::Record)] pub struct CallKitConfig { pub device: String, pub every_ms: u64 }";

    fn found(kit: &str, twin: &str, absent: &[(&str, &str)]) -> Vec<String> {
        let files = [(format!("{RUST}lib.rs"), LIB), (format!("{RUST}kit.rs"), kit), (format!("{TWIN}kit.rs"), twin)];
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        let tree = Tree::planted(&files);
        let findings = compare(&Surface::of(&tree, &[RUST, CORE], false), &Surface::of(&tree, &[TWIN], true), absent);
        findings.into_iter().map(|f| f.advice.split(' ').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn what_has_a_twin_is_not_found() {
        assert_eq!(found(KIT, TWIN_KIT, &[]), [""; 0]);
    }

    #[test]
    fn what_falls_out_is_found() {
        for (gone, instead, what) in [
            ("pub async fn answer(&self) {}", "", "CallKit::answer"),
            ("Answer { call_id: CallId }", "Answer", "CallKitEvent::Answer.call_id"),
            (", Third", "", "CallKitEvent::Third"),
            ("fn on_answer(&self, call_id: CallId);", "", "CallKitEventHandler::on_answer"),
            ("pub device: String,", "", "Builder::device"),
            ("every_ms", "often", "Builder::every"),
            ("pub struct CallKitConfig", "pub struct Config", "Builder"),
            // It is there, but no other language sees it.
            ("#[uniffi::export] impl CallKit", "impl CallKit", "CallKit::answer"),
        ] {
            assert!(TWIN_KIT.contains(gone), "{gone}");
            assert_eq!(found(KIT, &TWIN_KIT.replace(gone, instead), &[]), [what], "{gone}");
        }
    }

    #[test]
    fn an_excuse_counts_and_one_that_nobody_needs_is_found() {
        let without = TWIN_KIT.replace("pub async fn answer(&self) {}", "");
        assert_eq!(found(KIT, &without, &[("CallKit::answer", "why")]), [""; 0]);
        assert_eq!(found(KIT, TWIN_KIT, &[("CallKit::answer", "why")]), ["CallKit::answer"]);
    }
}
