//! The kit in other languages. Python: generated from the library that was built for this test, and driven by `test_call.py` and `test_loops.py`.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use callkit_server::{AppConfig, Server, ServerConfig, WebhookConfig};
use uniffi_bindgen::bindings::{GenerateOptions, TargetLanguage, generate};

#[tokio::test(flavor = "multi_thread")]
async fn two_python_phones_call_each_other() {
    python_passes("test_call.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_kits_live_on_any_event_loop_and_not_in_a_forked_process() {
    python_passes("test_loops.py").await;
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

/// No Swift compiler is at hand: what is written by hand beside the generated source is held against its names and signatures.
#[test]
fn swift_by_hand_fits_what_is_generated() {
    let folder = tempfile::tempdir().unwrap();
    bind(vec![TargetLanguage::Swift], folder.path());
    let one_space = |text: String| text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let generated = one_space(fs::read_to_string(folder.path().join("OpenCallKit.swift")).unwrap());
    let ffi = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/callkit-ffi");
    let by_hand = fs::read_to_string(ffi.join("swift/OpenCallKitExtensions.swift")).unwrap();

    let (mut extended, mut empty) = (Vec::new(), HashMap::<&str, usize>::new());
    for line in by_hand.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("extension ") {
            extended.push(name.split([':', ' ']).next().unwrap());
        } else if let Some(element) = line.strip_prefix("public typealias Element = ") {
            let name = extended.last().unwrap();
            let class = generated.split_once(&format!("open class {name}:")).unwrap().1;
            let next = class.split_once("func next()").unwrap().1.lines().next().unwrap();
            assert!(next.contains(&format!("async -> {element}?")), "{name}: {next}");
        } else if let Some(method) = line.strip_prefix("public func on") {
            let method = method.strip_suffix(" {}").unwrap();
            assert!(generated.contains(&format!(" func on{method}")), "{method}");
            *empty.entry(extended.last().unwrap()).or_default() += 1;
        }
    }
    for (protocol, count) in empty {
        let body = generated.split_once(&format!("public protocol {protocol}:")).unwrap().1;
        let methods = body.split_once("\n}").unwrap().0.matches(" func on").count();
        assert_eq!(count, methods, "{protocol}: every method has an empty one");
    }
    assert_eq!(extended.len(), 6, "{extended:?}");

    // Calls of the examples, by what follows a dot: of the kit, or of Swift.
    let of_swift = ["dropFirst", "first", "contains", "sleep", "yield", "finish", "makeStream"];
    for example in ["Answer", "Call"] {
        let text = fs::read_to_string(ffi.join(format!("examples/{example}.swift"))).unwrap();
        for call in text.split('.').skip(1) {
            let name = call.split(|c: char| !c.is_alphanumeric()).next().unwrap();
            if call[name.len()..].starts_with('(') && !of_swift.contains(&name) {
                let known = ["func", "case"].iter().any(|kind| generated.contains(&format!("{kind} {name}(")));
                assert!(known, "{example}.swift calls {name}");
            }
        }
    }
}

/// Runs a file of tests in Python, with a server of its own.
async fn python_passes(tests: &str) {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: there is no python3 to run it");
        return;
    }
    let bindings = tempfile::tempdir().unwrap();
    python_package(&bindings.path().join("callkit"));
    let backend = backend().await;
    let server = Server::start(pushing_to(backend)).await.unwrap();
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("bindings");
    let mut python = Command::new("python3");
    python.arg("-B").arg(here.join(tests)).arg("--verbose");
    python.env("PYTHONPATH", bindings.path()).env("CALLKIT_SERVER", format!("http://{}", server.local_addr()));
    python.env("CALLKIT_BACKEND", format!("http://{backend}"));
    let run = tokio::task::spawn_blocking(move || python.output()).await.unwrap().unwrap();
    server.stop().await;
    let told = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{told}");
    assert!(told.contains("\nOK"), "{told}");
}

/// A server that tells this backend of every call that rings.
fn pushing_to(backend: SocketAddr) -> ServerConfig {
    let webhooks = WebhookConfig {
        notify_url: Some(format!("http://{backend}/notify")),
        secrets: vec!["whsec-0123456789abcdef".into()],
        ..WebhookConfig::default()
    };
    let demo = AppConfig::new("demo".parse().unwrap(), "dev", "0123456789abcdef0123456789abcdef");
    let apps = vec![AppConfig { webhooks: Some(webhooks), ..demo }];
    ServerConfig { apps, ..ServerConfig::dev_on_loopback() }
}

/// The app's backend: it keeps what it is told of calls that ring, for whoever asks by the name of the callee, as a push would bring it.
async fn backend() -> SocketAddr {
    type Kept = Arc<Mutex<HashMap<String, serde_json::Value>>>;
    let notify = async |State(kept): State<Kept>, Json(body): Json<serde_json::Value>| {
        kept.lock().unwrap().insert(body["to_user_id"].as_str().unwrap().to_owned(), body);
        StatusCode::NO_CONTENT
    };
    let pushed = async |State(kept): State<Kept>, Path(user): Path<String>| Json(kept.lock().unwrap().remove(&user));
    let routes = Router::new().route("/notify", post(notify)).route("/pushed/{user}", get(pushed));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = axum::serve(listener, routes.with_state(Kept::default()));
    tokio::spawn(async move { serving.await });
    address
}

/// The package as `cargo xtask bindings python` makes it.
fn python_package(folder: &std::path::Path) {
    bind(vec![TargetLanguage::Python], folder);
    let init = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/callkit-ffi/python/__init__.py");
    fs::copy(init, folder.join("__init__.py")).unwrap();
    let library = library();
    fs::copy(&library, folder.join(library.file_name().unwrap())).unwrap();
}

fn bind(languages: Vec<TargetLanguage>, folder: &std::path::Path) {
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
