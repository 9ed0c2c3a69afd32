//! Files of a crate that import each other, directly or round a corner.
//!
//! A file imports another one by a path that leads into its module. Methods of one type may stand in several files: those import the type, and
//! nothing need import them.

use super::{Finding, graph::Graph, tree::Tree};
use std::collections::{BTreeMap, BTreeSet};
use syn::{
    Attribute, Item, ItemMod, ItemUse, Meta, UseTree,
    visit::{self, Visit},
};

/// How many files of a crate are still in a circle. It may only become fewer.
const TIED: &[(&str, usize)] = &[
    ("call-protocol", 9),
    ("callkit", 20),
    ("callkit-ffi", 6),
    ("callkit-server", 39),
    ("rtc-media", 21),
    ("rtc-transport", 21),
    ("signaling", 8),
    ("tests", 9),
    ("model", 4),
    ("world", 7),
    ("xtask", 19),
    ("xtask-tools", 16),
];

pub(super) fn check(tree: &Tree, graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (_, package) in graph.ours() {
        let allowed = TIED.iter().find(|(name, _)| *name == package.name).map_or(0, |(_, files)| *files);
        let circles: Vec<_> = package.roots.iter().flat_map(|root| circles_from(tree, root)).collect();
        let tied = circles.iter().map(Circle::len).sum::<usize>();
        if tied > allowed {
            findings.extend(circles.iter().map(Circle::finding));
        } else if tied < allowed {
            let advice = format!("{tied} files are in circles, fewer than TIED says: write the number there");
            findings.push(Finding::new(&package.manifest, 1, advice));
        }
    }
    findings
}

/// Files that all reach each other by imports.
struct Circle {
    files: BTreeSet<String>,
    /// The shortest way from the first of them back to itself.
    way: Vec<String>,
}

impl Circle {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn finding(&self) -> Finding {
        let first = self.way.first().map_or("", String::as_str);
        let way = self.way.join(" → ");
        let rest = self.files.iter().filter(|file| !self.way.contains(file)).count();
        let more = if rest > 0 { format!(", and {rest} more files with them") } else { String::new() };
        Finding::new(first, 1, format!("imports go round in a circle: {way} → {first}{more}"))
    }
}

fn circles_from(tree: &Tree, root: &str) -> Vec<Circle> {
    let modules = Modules::read(tree, root);
    let imports = modules.imports();
    let reach: BTreeMap<&String, BTreeSet<&String>> =
        imports.keys().map(|file| (file, reached(&imports, file))).collect();
    let mut circles: Vec<Circle> = Vec::new();
    for file in imports.keys() {
        if !reach[file].contains(file) || circles.iter().any(|circle| circle.files.contains(file)) {
            continue;
        }
        let is_tied = |other: &&String| reach.get(*other).is_some_and(|back| back.contains(file));
        let files: BTreeSet<String> = reach[file].iter().copied().filter(is_tied).cloned().collect();
        let ways = files.iter().filter_map(|start| way_back(&imports, start));
        let way = ways.min_by_key(Vec::len).unwrap_or_default();
        circles.push(Circle { files, way });
    }
    circles
}

type Imports = BTreeMap<String, BTreeSet<String>>;

fn reached<'a>(imports: &'a Imports, start: &str) -> BTreeSet<&'a String> {
    let mut found = BTreeSet::new();
    let mut next: Vec<&String> = imports.get(start).into_iter().flatten().collect();
    while let Some(file) = next.pop() {
        if found.insert(file) {
            next.extend(imports.get(file).into_iter().flatten());
        }
    }
    found
}

/// The shortest way from a file back to itself, without the return.
fn way_back(imports: &Imports, start: &str) -> Option<Vec<String>> {
    let mut ways: Vec<Vec<String>> = vec![vec![start.to_owned()]];
    let mut seen: BTreeSet<String> = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for to in way.last().and_then(|last| imports.get(last)).into_iter().flatten() {
                if to == start {
                    return Some(way);
                }
                if seen.insert(to.clone()) {
                    longer.push([way.clone(), vec![to.clone()]].concat());
                }
            }
        }
        ways = longer;
    }
    None
}

/// A module's path from the root of its crate.
type Path = Vec<String>;

/// The modules of one crate that are compiled outside of tests, by path: in which file each is, and what that holds.
#[derive(Default)]
struct Modules {
    files: BTreeMap<Path, String>,
    parsed: BTreeMap<String, (Path, Vec<Item>)>,
}

impl Modules {
    fn read(tree: &Tree, root: &str) -> Modules {
        let mut modules = Modules::default();
        let folder = root.rsplit_once('/').map_or("", |(folder, _)| folder);
        modules.read_file(tree, root, folder, Vec::new());
        modules
    }

    fn read_file(&mut self, tree: &Tree, file: &str, children: &str, path: Path) {
        let Some(parsed) = tree.text(file).and_then(|text| syn::parse_file(text).ok()) else { return };
        self.files.insert(path.clone(), file.to_owned());
        self.read_items(tree, file, children, &path, &parsed.items);
        self.parsed.insert(file.to_owned(), (path, parsed.items));
    }

    fn read_items(&mut self, tree: &Tree, file: &str, children: &str, path: &Path, items: &[Item]) {
        for item in items {
            let Item::Mod(module) = item else { continue };
            if is_of_tests(&module.attrs) {
                continue;
            }
            let name = module.ident.to_string();
            let below = [path.clone(), vec![name.clone()]].concat();
            let folder = format!("{children}/{name}");
            if let Some((_, items)) = &module.content {
                self.files.insert(below.clone(), file.to_owned());
                self.read_items(tree, file, &folder, &below, items);
                continue;
            }
            let candidates = [format!("{folder}.rs"), format!("{folder}/mod.rs")];
            if let Some(found) = candidates.into_iter().find(|candidate| tree.has(candidate)) {
                self.read_file(tree, &found, &folder, below);
            }
        }
    }

    fn imports(&self) -> Imports {
        let mut imports: Imports = self.parsed.keys().map(|file| (file.clone(), BTreeSet::new())).collect();
        for (file, (path, items)) in &self.parsed {
            let mut reader = Reader { modules: self, path: path.clone(), to: BTreeSet::new() };
            items.iter().for_each(|item| reader.visit_item(item));
            imports.entry(file.clone()).or_default().extend(reader.to.into_iter().filter(|to| to != file));
        }
        imports
    }

    /// The file of the innermost module on a path, and how many of its parts name modules.
    fn file_of(&self, path: &[String]) -> Option<&String> {
        (0..=path.len()).rev().find_map(|parts| self.files.get(&path[..parts]))
    }
}

/// Reads what one file imports.
struct Reader<'a> {
    modules: &'a Modules,
    path: Path,
    to: BTreeSet<String>,
}

impl Reader<'_> {
    /// The path from the root of the crate; none where it leads out of that.
    fn absolute(&self, parts: &[String]) -> Option<Path> {
        let (first, rest) = parts.split_first()?;
        let mut path = match first.as_str() {
            "crate" => Vec::new(),
            "self" => self.path.clone(),
            "super" => self.path[..self.path.len().checked_sub(1)?].to_vec(),
            name => {
                let child = [self.path.clone(), vec![name.to_owned()]].concat();
                return self.modules.files.contains_key(&child).then(|| [child, rest.to_vec()].concat());
            }
        };
        for part in rest {
            match part.as_str() {
                "super" => drop(path.pop()),
                name => path.push(name.to_owned()),
            }
        }
        Some(path)
    }

    fn imports(&mut self, parts: &[String]) {
        let Some(path) = self.absolute(parts) else { return };
        let Some(file) = self.modules.file_of(&path) else { return };
        self.to.insert(file.clone());
    }

    fn imports_tree(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: String| [before, &[name]].concat();
        match tree {
            UseTree::Path(path) => self.imports_tree(&with(path.ident.to_string()), &path.tree),
            UseTree::Name(name) if name.ident == "self" => self.imports(before),
            UseTree::Name(name) => self.imports(&with(name.ident.to_string())),
            UseTree::Rename(name) => self.imports(&with(name.ident.to_string())),
            UseTree::Glob(_) => self.imports(before),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.imports_tree(before, tree)),
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !attributes_of(item).is_some_and(is_of_tests) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if module.content.is_some() {
            self.path.push(module.ident.to_string());
            visit::visit_item_mod(self, module);
            self.path.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.imports_tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if parts.len() > 1 && path.leading_colon.is_none() {
            self.imports(&parts);
        }
        visit::visit_path(self, path);
    }

    // `pub(in crate::a)` says who may see, and imports nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}

fn attributes_of(item: &Item) -> Option<&[Attribute]> {
    Some(match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => return None,
    })
}

fn is_of_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        Meta::Path(_) | Meta::NameValue(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::{super::graph::planted::graph, *};

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> = files.iter().map(|(path, text)| (format!("crates/a/src/{path}"), *text)).collect();
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        let found = check(&Tree::planted(&files), &graph(&["a -> "]));
        found.iter().map(|finding| finding.to_string().replace("crates/a/src/", "")).collect()
    }

    #[test]
    fn a_type_may_flow_one_way() {
        let found = found(&[
            ("lib.rs", "mod a; mod b; pub use a::A; pub use b::B;"),
            ("a.rs", "use crate::b::B; pub struct A(B);"),
            ("b.rs", "mod c; use c::C; pub struct B(C); impl B {}"),
            ("b/c.rs", "pub struct C; #[cfg(test)] mod tests { use super::super::B; }"),
        ]);
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn two_files_that_import_each_other_are_found_by_use_and_by_path() {
        for text in
            ["use crate::a::A;", "use super::a::{self, B};", "fn f() -> crate::a::A { todo!() }", "use crate::a::*;"]
        {
            let found = found(&[("lib.rs", "mod a; mod b;"), ("a.rs", "use crate::b;"), ("b.rs", text)]);
            assert_eq!(found, ["a.rs:1: imports go round in a circle: a.rs → b.rs → a.rs"], "{text}");
        }
    }

    #[test]
    fn a_child_that_needs_its_parent_is_found() {
        let found = found(&[
            ("lib.rs", "mod a;"),
            ("a.rs", "mod b; use b::B; struct A;"),
            ("a/b.rs", "use super::A; struct B;"),
        ]);
        assert_eq!(found, ["a.rs:1: imports go round in a circle: a.rs → a/b.rs → a.rs"]);
    }

    #[test]
    fn methods_of_a_type_may_stand_in_several_files() {
        let found =
            found(&[("lib.rs", "mod a; mod b;"), ("a.rs", "pub struct A;"), ("b.rs", "use crate::a::A; impl A {}")]);
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn a_circle_round_a_corner_is_found_once_with_all_that_hangs_on_it() {
        let found = found(&[
            ("lib.rs", "mod a; mod b; mod c; mod d;"),
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "use crate::c::C;"),
            ("c.rs", "use crate::a::A; use crate::d::D;"),
            ("d.rs", "use crate::c::C;"),
        ]);
        assert_eq!(found, ["c.rs:1: imports go round in a circle: c.rs → d.rs → c.rs, and 2 more files with them"]);
    }
}
