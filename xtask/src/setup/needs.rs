//! The table of what is needed and how to see whether it is there.

use super::Machine;

/// One thing that the build, the tests or the demo need from the operating system.
pub(super) struct Need {
    pub(super) name: &'static str,
    /// What it is for, for the person who is asked to install it.
    pub(super) purpose: &'static str,
    /// Commands of which one has to succeed; the same question that the build will ask.
    probes: &'static [&'static [&'static str]],
    when: When,
    /// Package names, separated by spaces; empty where the manager has none.
    pub(super) apt: &'static str,
    pub(super) dnf: &'static str,
    pub(super) pacman: &'static str,
    pub(super) brew: &'static str,
    /// What to do where no manager is known.
    pub(super) without_a_manager: &'static str,
}

/// Where a need exists at all.
enum When {
    Always,
    /// Where a default build compiles this package.
    Builds(&'static str),
    /// Where a default build compiles this package, on Linux only.
    BuildsOnLinux(&'static str),
}

impl Need {
    pub(super) fn is_wanted(&self, machine: &Machine<'_>) -> bool {
        match self.when {
            When::Always => true,
            When::Builds(package) => machine.graph.contains(package),
            When::BuildsOnLinux(package) => machine.os == "linux" && machine.graph.contains(package),
        }
    }

    pub(super) fn is_there(&self, machine: &Machine<'_>) -> bool {
        self.probes.iter().any(|probe| (machine.runs)(probe[0], &probe[1..]))
    }
}

pub(super) const NEEDS: &[Need] = &[
    Need {
        name: "C compiler",
        purpose: "compiles the voice codec and the cryptography",
        probes: &[&["cc", "--version"], &["gcc", "--version"], &["clang", "--version"]],
        when: When::Always,
        apt: "gcc libc6-dev",
        dnf: "gcc",
        pacman: "gcc",
        brew: "",
        without_a_manager: "a C compiler (macOS: xcode-select --install)",
    },
    Need {
        name: "make",
        purpose: "runs the voice codec's build",
        probes: &[&["make", "--version"], &["ninja", "--version"]],
        when: When::Builds("opusic-sys"),
        apt: "make",
        dnf: "make",
        pacman: "make",
        brew: "make",
        without_a_manager: "make",
    },
    Need {
        name: "CMake",
        purpose: "configures the voice codec's build (libopus)",
        probes: &[&["cmake", "--version"]],
        when: When::Builds("opusic-sys"),
        apt: "cmake",
        dnf: "cmake",
        pacman: "cmake",
        brew: "cmake",
        without_a_manager: "cmake",
    },
    Need {
        name: "pkg-config",
        purpose: "finds the sound library",
        probes: &[&["pkg-config", "--version"]],
        when: When::BuildsOnLinux("alsa-sys"),
        apt: "pkg-config",
        dnf: "pkgconf-pkg-config",
        pacman: "pkgconf",
        brew: "pkgconf",
        without_a_manager: "pkg-config",
    },
    Need {
        name: "ALSA headers",
        purpose: "microphone and loudspeaker on Linux",
        probes: &[&["pkg-config", "--exists", "alsa"]],
        when: When::BuildsOnLinux("alsa-sys"),
        apt: "libasound2-dev",
        dnf: "alsa-lib-devel",
        pacman: "alsa-lib",
        brew: "",
        without_a_manager: "the headers of ALSA (alsa.pc)",
    },
    Need {
        name: "NASM",
        purpose: "assembles the video codec's fast paths (openh264)",
        probes: &[&["nasm", "-v"]],
        when: When::Builds("openh264-sys2"),
        apt: "nasm",
        dnf: "nasm",
        pacman: "nasm",
        brew: "nasm",
        without_a_manager: "nasm",
    },
    Need {
        name: "libclang",
        purpose: "generates the camera's bindings to Video4Linux",
        probes: &[
            &["sh", "-c", "test -n \"$LIBCLANG_PATH\""],
            &["sh", "-c", "/sbin/ldconfig -p | grep -qE 'libclang(-[0-9.]+)?\\.so'"],
            &["sh", "-c", "ls /usr/lib*/llvm*/lib*/libclang.so* /usr/lib/libclang.so*"],
        ],
        when: When::BuildsOnLinux("v4l2-sys-mit"),
        apt: "libclang-dev",
        dnf: "clang-devel",
        pacman: "clang",
        brew: "llvm",
        without_a_manager: "libclang",
    },
    Need {
        name: "Python 3",
        purpose: "runs the test of the Python bindings",
        probes: &[&["python3", "-c", "import asyncio, ctypes"]],
        when: When::Builds("uniffi"),
        apt: "python3",
        dnf: "python3",
        pacman: "python",
        brew: "python",
        without_a_manager: "python3",
    },
];

/// What the test of the Kotlin bindings runs on; the compiler itself it gets from PyPI.
pub(super) const KOTLIN: &[Need] = &[
    Need {
        name: "Java",
        purpose: "runs the Kotlin compiler and what it compiles",
        probes: &[&["java", "--version"]],
        when: When::Always,
        apt: "openjdk-17-jre-headless",
        dnf: "java-17-openjdk-headless",
        pacman: "jre17-openjdk-headless",
        brew: "",
        without_a_manager: "Java 17 or newer",
    },
    Need {
        name: "JNA",
        purpose: "lets Kotlin call the library",
        probes: &[&["test", "-e", "/usr/share/java/jna.jar"]],
        when: When::Always,
        apt: "libjna-java",
        dnf: "jna",
        pacman: "java-jna",
        brew: "",
        without_a_manager: "JNA 5 as /usr/share/java/jna.jar",
    },
    Need {
        name: "pip",
        purpose: "downloads the Kotlin compiler",
        probes: &[&["python3", "-m", "pip", "--version"]],
        when: When::Always,
        apt: "python3-pip",
        dnf: "python3-pip",
        pacman: "python-pip",
        brew: "python",
        without_a_manager: "pip of Python 3",
    },
];

/// What the benchmark of signaling measures beside the server; no build, test or demo needs it.
pub(super) const COMPARED: &[Need] = &[
    Need {
        name: "ejabberd",
        purpose: "is measured beside the server",
        probes: &[&["test", "-x", "/usr/sbin/ejabberdctl"]],
        when: When::Always,
        apt: "ejabberd",
        dnf: "",
        pacman: "",
        brew: "",
        without_a_manager: "ejabberd as Debian packages it",
    },
    Need {
        name: "prosody",
        purpose: "is measured beside the server",
        probes: &[&["sh", "-c", "command -v prosody"]],
        when: When::Always,
        apt: "prosody",
        dnf: "prosody",
        pacman: "prosody",
        brew: "",
        without_a_manager: "prosody",
    },
];
