//! The dependency graph, reduced to what the rules ask.

use crate::{
    cargo,
    failure::{Failure, Outcome},
    project,
};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};
use std::collections::{BTreeMap, BTreeSet};

/// The identity that cargo gives a package; names are not enough, some exist twice.
pub(super) type Id = String;

/// Every package that some build of the workspace may contain, on any platform.
#[derive(Default)]
pub(super) struct Graph {
    pub(super) packages: BTreeMap<Id, Package>,
}

#[derive(Clone)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    /// Whether it is a member of this workspace.
    pub(super) ours: bool,
    pub(super) licence: Option<String>,
    /// The path of its manifest from the workspace's folder; of a foreign package, an absolute one.
    pub(super) manifest: String,
    pub(super) declared: Vec<Declared>,
    pub(super) edges: Vec<Edge>,
    /// The files at which the compiler begins to read its targets.
    pub(super) roots: Vec<String>,
}

/// A dependency as the manifest names it.
#[derive(Clone)]
pub(super) struct Declared {
    pub(super) name: String,
    /// Whether it is a member of this workspace.
    pub(super) ours: bool,
}

/// A dependency as cargo resolved it.
#[derive(Clone)]
pub(super) struct Edge {
    pub(super) to: Id,
    /// Whether the compiled library contains it, as opposed to its tests and build scripts.
    pub(super) normal: bool,
    /// Whether only tests and benchmarks use it.
    pub(super) dev_only: bool,
}

impl Graph {
    pub(super) fn of_project() -> Outcome<Self> {
        let metadata = MetadataCommand::new().manifest_path(project::root().join("Cargo.toml")).exec();
        metadata.map(Self::from).map_err(|error| Failure::found(format!("cargo metadata: {error}")))
    }

    pub(super) fn ours(&self) -> impl Iterator<Item = (&Id, &Package)> {
        self.packages.iter().filter(|(_, package)| package.ours)
    }

    /// Everything that is reached from `start` over edges that `follow` accepts, with the way there by names.
    pub(super) fn reached(&self, start: &Id, follow: fn(&Edge) -> bool) -> BTreeMap<Id, Vec<String>> {
        let mut ways = BTreeMap::from([(start.clone(), Vec::new())]);
        let mut next = vec![start.clone()];
        while let Some(id) = next.pop() {
            let Some(package) = self.packages.get(&id) else { continue };
            let way = [ways[&id].clone(), vec![package.name.clone()]].concat();
            for edge in package.edges.iter().filter(|edge| follow(edge)) {
                if !ways.contains_key(&edge.to) {
                    ways.insert(edge.to.clone(), way.clone());
                    next.push(edge.to.clone());
                }
            }
        }
        ways
    }
}

impl From<Metadata> for Graph {
    fn from(metadata: Metadata) -> Self {
        let members: BTreeSet<_> = metadata.workspace_members.iter().cloned().collect();
        let mut edges = BTreeMap::new();
        for node in metadata.resolve.map(|resolve| resolve.nodes).unwrap_or_default() {
            let of_node = node.deps.into_iter().map(|dep| Edge {
                to: dep.pkg.repr,
                normal: dep.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal),
                dev_only: dep.dep_kinds.iter().all(|kind| kind.kind == DependencyKind::Development),
            });
            edges.insert(node.id.repr.clone(), of_node.collect::<Vec<_>>());
        }
        let mut packages = BTreeMap::new();
        for package in metadata.packages {
            let Some(edges) = edges.remove(&package.id.repr) else { continue };
            let declared =
                package.dependencies.iter().map(|d| Declared { name: d.name.clone(), ours: d.path.is_some() });
            let reduced = Package {
                name: package.name.to_string(),
                version: package.version.to_string(),
                ours: members.contains(&package.id),
                licence: package.license.clone(),
                manifest: cargo::relative(package.manifest_path.as_std_path()),
                declared: declared.collect(),
                edges,
                roots: package.targets.iter().map(|t| cargo::relative(t.src_path.as_std_path())).collect(),
            };
            packages.insert(package.id.repr, reduced);
        }
        Self { packages }
    }
}

#[cfg(test)]
pub(super) mod planted {
    use super::*;

    /// A graph of packages written `name -> dep, dep` for ours and `name = dep, dep` for foreign ones.
    pub(in crate::tidy) fn graph(lines: &[&str]) -> Graph {
        let parse = |line: &&str| {
            let (name, deps, ours) = match line.split_once(" -> ") {
                Some((name, deps)) => (name.to_owned(), deps.to_owned(), true),
                None => line.split_once(" = ").map(|(n, d)| (n.to_owned(), d.to_owned(), false)).unwrap(),
            };
            let deps: Vec<String> = deps.split(", ").filter(|d| !d.is_empty()).map(str::to_owned).collect();
            (name, deps, ours)
        };
        let parsed: Vec<_> = lines.iter().map(parse).collect();
        let is_ours = |name: &str| parsed.iter().any(|(n, _, ours)| n == name && *ours);
        let package = |(name, deps, ours): &(String, Vec<String>, bool)| Package {
            name: name.clone(),
            version: "1.0.0".to_owned(),
            ours: *ours,
            licence: Some("MIT".to_owned()),
            manifest: format!("crates/{name}/Cargo.toml"),
            declared: deps.iter().map(|d| Declared { name: d.clone(), ours: is_ours(d) }).collect(),
            edges: deps.iter().map(|d| Edge { to: d.clone(), normal: true, dev_only: false }).collect(),
            roots: vec![format!("crates/{name}/src/lib.rs")],
        };
        Graph { packages: parsed.iter().map(|entry| (entry.0.clone(), package(entry))).collect() }
    }
}
