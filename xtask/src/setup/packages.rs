//! The package managers: which one is here and how it installs without asking.

use super::needs::Need;
use std::process::Command;

/// A package manager of the operating system.
pub(super) struct Manager {
    pub(super) name: &'static str,
    program: &'static str,
    pub(super) needs_root: bool,
    packages: fn(&Need) -> &'static str,
    /// Refreshes the package lists; a fresh machine has none, an old one has lists of files that are gone.
    refresh: &'static [&'static str],
    install: &'static [&'static str],
}

const MANAGERS: &[Manager] = &[
    Manager {
        name: "apt",
        program: "apt-get",
        needs_root: true,
        packages: |need| need.apt,
        refresh: &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=120", "update"],
        install: &[
            "env",
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "-o",
            "DPkg::Lock::Timeout=120",
            "install",
            "--yes",
            "--no-install-recommends",
        ],
    },
    Manager {
        name: "dnf",
        program: "dnf",
        needs_root: true,
        packages: |need| need.dnf,
        refresh: &[],
        install: &["dnf", "install", "--assumeyes"],
    },
    Manager {
        name: "pacman",
        program: "pacman",
        needs_root: true,
        packages: |need| need.pacman,
        refresh: &["pacman", "-Sy", "--noconfirm"],
        install: &["pacman", "-S", "--needed", "--noconfirm"],
    },
    Manager {
        name: "brew",
        program: "brew",
        needs_root: false,
        packages: |need| need.brew,
        refresh: &[],
        install: &["brew", "install"],
    },
];

/// One command of an installation.
#[derive(Debug, PartialEq)]
pub(super) struct Step {
    pub(super) words: Vec<String>,
    /// Whether the installation goes on without it.
    pub(super) may_fail: bool,
}

impl Step {
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        command
    }
}

impl Manager {
    /// The first manager that this machine has; on macOS only brew counts.
    pub(super) fn find(runs: &dyn Fn(&str, &[&str]) -> bool, os: &str) -> Option<&'static Self> {
        MANAGERS.iter().filter(|m| os != "macos" || m.name == "brew").find(|m| runs(m.program, &["--version"]))
    }

    pub(super) fn packages_of(&self, need: &Need) -> Vec<&'static str> {
        (self.packages)(need).split_whitespace().collect()
    }

    /// The commands that install `packages`, through sudo where `as_root` is to be gained.
    pub(super) fn steps(&self, packages: &[&str], as_root: bool) -> Vec<Step> {
        let step = |words: &[&str], more: &[&str], may_fail| {
            let sudo = if as_root { &["sudo"][..] } else { &[] };
            Step { words: [sudo, words, more].concat().iter().map(|&w| w.to_owned()).collect(), may_fail }
        };
        let refresh = (!self.refresh.is_empty()).then(|| step(self.refresh, &[], true));
        refresh.into_iter().chain([step(self.install, packages, false)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(program: &'static str) -> impl Fn(&str, &[&str]) -> bool {
        move |asked, _| asked == program
    }

    #[test]
    fn the_manager_is_the_one_that_is_there() {
        for (program, os, name) in [
            ("apt-get", "linux", "apt"),
            ("dnf", "linux", "dnf"),
            ("pacman", "linux", "pacman"),
            ("brew", "macos", "brew"),
        ] {
            assert_eq!(Manager::find(&only(program), os).unwrap().name, name);
        }
        assert!(Manager::find(&only("apt-get"), "macos").is_none());
        assert!(Manager::find(&only("winget"), "windows").is_none());
    }

    #[test]
    fn apt_refreshes_its_lists_first_and_asks_nothing() {
        let apt = Manager::find(&only("apt-get"), "linux").unwrap();
        let steps = apt.steps(&["cmake", "nasm"], true);
        let lines: Vec<_> = steps.iter().map(|step| (step.words.join(" "), step.may_fail)).collect();
        let noninteractive = "sudo env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120";
        let expected = [
            (format!("{noninteractive} update"), true),
            (format!("{noninteractive} install --yes --no-install-recommends cmake nasm"), false),
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn brew_never_runs_as_root() {
        let brew = Manager::find(&only("brew"), "macos").unwrap();
        assert!(!brew.needs_root);
        assert_eq!(brew.steps(&["cmake"], brew.needs_root)[0].words, ["brew", "install", "cmake"]);
    }
}
