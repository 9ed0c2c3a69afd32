//! `bindings`: the kit for other languages, generated from the compiled `callkit-ffi`.

use crate::{
    cargo::Build,
    failure::{Failure, Outcome},
    process, project,
};
use clap::{Args, ValueEnum};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use uniffi_bindgen::bindings::{GenerateOptions, TargetLanguage, generate};

/// Which bindings, and where they go.
#[derive(Args)]
pub(crate) struct Options {
    language: Wanted,
    /// Where they go; one language only [default: target/bindings/LANGUAGE]
    #[arg(long, conflicts_with = "check")]
    out: Option<PathBuf>,
    /// Build the library with optimisation
    #[arg(long)]
    release: bool,
    /// Generate into a temporary folder and see that the result can be used
    #[arg(long)]
    check: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Wanted {
    Python,
    Kotlin,
    Swift,
    All,
}

#[derive(Clone, Copy, Debug)]
enum Language {
    Python,
    Kotlin,
    Swift,
}

/// Builds the library and generates what was asked for.
pub(crate) fn run(options: &Options) -> Outcome {
    let languages = options.language.languages();
    if options.out.is_some() && languages.len() > 1 {
        return Err(Failure::found("--out takes one language: each has files of its own"));
    }
    let library = build(options.release)?;
    let elsewhere = tempfile::tempdir().map_err(Failure::file("a temporary folder"))?;
    for language in languages {
        let folder = match &options.out {
            Some(out) => out.clone(),
            None if options.check => elsewhere.path().join(language.name()),
            None => project::root().join("target/bindings").join(language.name()),
        };
        write(*language, &library, &folder)?;
        if options.check {
            language.check(&folder)?;
        }
        let state = if options.check { "usable".to_owned() } else { folder.display().to_string() };
        println!("bindings for {}: {state}", language.name());
    }
    Ok(())
}

fn build(release: bool) -> Outcome<PathBuf> {
    use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
    // Beside the tests, with whose features every dependency is there already.
    let packages: &[&str] = if release { &["callkit-ffi"] } else { &["callkit-ffi", "tests"] };
    let build = Build { packages, binaries: &[], release };
    build.file(&format!("{DLL_PREFIX}callkit_ffi{DLL_SUFFIX}"))
}

/// Generates one language's files, and puts beside them what is written by hand and the library that they load. In Python they are a package.
fn write(language: Language, library: &Path, folder: &Path) -> Outcome {
    let utf8 = |path: &Path| {
        path.to_str().map(Into::into).ok_or_else(|| Failure::found(format!("{} is not UTF-8", path.display())))
    };
    let package = match language {
        Language::Python => folder.join("callkit"),
        Language::Kotlin | Language::Swift => folder.to_owned(),
    };
    let folder = package.as_path();
    fs::create_dir_all(folder).map_err(Failure::file(folder))?;
    let options = GenerateOptions {
        languages: vec![language.target()],
        source: utf8(library)?,
        out_dir: utf8(folder)?,
        ..GenerateOptions::default()
    };
    generate(options).map_err(|e| Failure::found(format!("{} bindings: {e:#}", language.name())))?;
    let by_hand = project::root().join("crates/callkit-ffi").join(language.name());
    for file in project::files_below(&by_hand, language.extension())? {
        let beside = folder.join(language.place()).join(file.file_name().expect("a file has a name"));
        fs::copy(&file, beside).map_err(Failure::file(file))?;
    }
    let beside = folder.join(library.file_name().expect("cargo built a file"));
    fs::copy(library, &beside).map_err(Failure::file(beside)).map(drop)
}

impl Wanted {
    fn languages(self) -> &'static [Language] {
        match self {
            Self::Python => &[Language::Python],
            Self::Kotlin => &[Language::Kotlin],
            Self::Swift => &[Language::Swift],
            Self::All => &[Language::Python, Language::Kotlin, Language::Swift],
        }
    }
}

impl Language {
    fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Kotlin => "kotlin",
            Self::Swift => "swift",
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Python => "py",
            Self::Kotlin => "kt",
            Self::Swift => "swift",
        }
    }

    /// The folder of the sources, from where the library lies.
    fn place(self) -> &'static str {
        match self {
            Self::Kotlin => "org/callkit",
            Self::Python | Self::Swift => "",
        }
    }

    fn target(self) -> TargetLanguage {
        match self {
            Self::Python => TargetLanguage::Python,
            Self::Kotlin => TargetLanguage::Kotlin,
            Self::Swift => TargetLanguage::Swift,
        }
    }

    /// Python is imported, which loads the library and compares its checksums; Kotlin has a task of its own, which compiles it and makes a call;
    /// the compiler of Swift is rarely installed, so there it is seen only that the sources came out.
    fn check(self, folder: &Path) -> Outcome {
        if let Self::Python = self {
            return process::capture(Command::new("python3").current_dir(folder).args(["-c", "import callkit"]))
                .map(drop);
        }
        let sources = project::files_below(folder, self.extension())?;
        let written = sources.iter().filter(|path| fs::metadata(path).is_ok_and(|m| m.len() > 0)).count();
        // What is generated, and what is written by hand.
        if written >= 2 { Ok(()) } else { Err(Failure::found(format!("no {} source was generated", self.name()))) }
    }
}
