//! The kit in other languages. Python: generated from the library that was built for this test, and driven by `test_call.py`.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::fs;
use std::path::Path;
use std::process::Command;

use callkit_server::{Server, ServerConfig};
use uniffi_bindgen::bindings::{GenerateOptions, TargetLanguage, generate};

#[tokio::test(flavor = "multi_thread")]
async fn two_python_phones_call_each_other() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: there is no python3 to run it");
        return;
    }
    let bindings = tempfile::tempdir().unwrap();
    python_package(&bindings.path().join("callkit"));
    let server = Server::start(ServerConfig::dev_on_loopback()).await.unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("bindings");
    let mut python = Command::new("python3");
    python.arg("-B").arg(here.join("test_call.py")).arg("--verbose");
    python.env("PYTHONPATH", bindings.path()).env("CALLKIT_SERVER", format!("http://{}", server.local_addr()));
    let run = tokio::task::spawn_blocking(move || python.output()).await.unwrap().unwrap();
    server.stop().await;
    let told = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{told}");
    assert!(told.contains("\nOK"), "{told}");
}

#[test]
fn kotlin_and_swift_sources_come_out_under_their_names() {
    let folder = tempfile::tempdir().unwrap();
    bind(vec![TargetLanguage::Kotlin, TargetLanguage::Swift], folder.path());
    let kotlin = fs::read_to_string(folder.path().join("org/callkit/callkit.kt")).unwrap();
    assert!(kotlin.contains("suspend fun `startSingleCall`("));
    assert!(kotlin.contains("interface CallKitEventHandler"));
    let swift = fs::read_to_string(folder.path().join("OpenCallKit.swift")).unwrap();
    assert!(swift.contains("func startSingleCall("));
    assert!(swift.contains("protocol CallKitEventHandler"));
}

/// The package as `cargo xtask bindings python` makes it.
fn python_package(folder: &Path) {
    bind(vec![TargetLanguage::Python], folder);
    let init = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/callkit-ffi/python/__init__.py");
    fs::copy(init, folder.join("__init__.py")).unwrap();
    let library = library();
    fs::copy(&library, folder.join(library.file_name().unwrap())).unwrap();
}

fn bind(languages: Vec<TargetLanguage>, folder: &Path) {
    let source = library().to_str().unwrap().into();
    let out_dir = folder.to_str().unwrap().into();
    generate(GenerateOptions { languages, source, out_dir, metadata_no_deps: true, ..GenerateOptions::default() })
        .unwrap();
}

/// The library that cargo built beside this test, as one of its dependencies.
fn library() -> std::path::PathBuf {
    use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
    std::env::current_exe().unwrap().with_file_name(format!("{DLL_PREFIX}callkit_ffi{DLL_SUFFIX}"))
}
