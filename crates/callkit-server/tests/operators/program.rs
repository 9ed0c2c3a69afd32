//! `callkitd` as a program: `check-config`, and a log whose lines about one call can be found.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

use call_protocol::end::EndReason;
use call_protocol::session::RefuseReason;
use call_protocol::{CallId, Word};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::client::{Client, app, http, metric, soon};
use crate::words::invite;

pub fn shop() -> String {
    let shop = app("shop");
    format!("[[apps]]\napp_id = \"{}\"\napi_key = \"{}\"\nsecret = \"{}\"\n", shop.app_id, shop.api_key, shop.secret)
}

fn check(config: &str) -> Output {
    check_with(config, &[], &[])
}

fn check_with(config: &str, options: &[&str], variables: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("callkitd.toml");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_callkitd"));
    command.args(options).args(["check-config", "--config"]).arg(&file).envs(variables.iter().copied());
    let output = command.current_dir(&folder).output().unwrap();
    let left: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["callkitd.toml"], "nothing is made");
    output
}

#[test]
fn a_configuration_is_checked_without_starting() {
    // Behind a proxy on the same machine, with the UDP port in the open.
    let keys = "listen = \"127.0.0.1:7450\"\nstun_listen = \"[::]:7450\"\npublic_host = \"calls.example\"\n";
    let good = check(&format!("{keys}{}", shop()));
    assert!(good.status.success(), "{good:?}");
    assert!(good.stderr.is_empty(), "{good:?}");

    let doubtful = check(&format!("listen = \"0.0.0.0:7450\"\ndev = true\ndev_public = true\n{}", shop()));
    let said = String::from_utf8(doubtful.stderr).unwrap();
    assert!(doubtful.status.success() && said.contains("anybody can register") && said.contains("tls_cert"), "{said}");

    let cases = [
        ("", "no app is configured"),
        ("ping_every = 3\n", "ping_every"),
        ("server_secret = [\"short\"]\n", "server_secret 1 has 5 bytes"),
        ("tls_cert = \"nowhere.pem\"\n", "tls_key is not"),
        ("tls_cert = \"nowhere.pem\"\ntls_key = \"nowhere.key\"\n", "cannot read nowhere.pem"),
        ("log = \"callkit=loud\"\n", "log:"),
        ("public_host = \"https://calls.example\"\n", "without scheme"),
        ("max_calls_per_device = 0\n", "max_calls_per_device is 0"),
        ("listen = \"0.0.0.0:7450\"\ndev = true\n", "set dev_public"),
    ];
    for (config, expected) in cases {
        let apps = if config.is_empty() { String::new() } else { shop() };
        let bad = check(&format!("{config}{apps}"));
        let said = String::from_utf8(bad.stderr).unwrap();
        assert!(!bad.status.success() && said.contains(expected), "{config:?}: {said}");
        assert!(!said.contains("the secret of"), "{said}");
    }
}

#[test]
fn a_word_after_dev_is_a_command() {
    let good = check_with("", &["--dev"], &[]);
    assert!(good.status.success(), "{good:?}");
    let off = check_with("", &["--dev=false"], &[]);
    assert!(!off.status.success() && String::from_utf8_lossy(&off.stderr).contains("no app is configured"), "{off:?}");
}

#[test]
fn what_others_set_in_the_environment_ends_no_start() {
    let of_kubernetes = [
        ("CALLKITD_PORT", "tcp://10.0.0.1:7450"),
        ("CALLKITD_PORT_7450_TCP_ADDR", "10.0.0.1"),
        ("CALLKITD_SERVICE_HOST", "10.0.0.1"),
        ("CALLKITD_SERVICE_PORT", "7450"),
    ];
    let good = check_with("", &["--dev"], &of_kubernetes);
    assert!(good.status.success() && good.stderr.is_empty(), "{good:?}");
    let misspelt = check_with("", &["--dev"], &[("CALLKITD_LISTEM", "127.0.0.1:9")]);
    let said = String::from_utf8(misspelt.stderr).unwrap();
    assert!(misspelt.status.success() && said.contains("CALLKITD_LISTEM"), "{said}");
    let bad = check_with("", &["--dev"], &[("CALLKITD_DRAIN_MS", "soon")]);
    let said = String::from_utf8(bad.stderr).unwrap().to_lowercase();
    assert!(!bad.status.success() && said.contains("drain_ms"), "a key is a key wherever it stands: {said}");
    let limits = check_with("", &["--dev"], &[("CALLKITD_LIMITS", "{frames_per_hour=1}")]);
    assert!(!limits.status.success(), "{limits:?}");
}

#[tokio::test]
async fn the_lines_of_a_call_have_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("callkitd.toml");
    let keys = "listen = \"127.0.0.1:0\"\nlog_format = \"json\"\ndata_dir = \"data\"\nclose_grace_ms = 100\n";
    std::fs::write(&file, format!("{keys}{}", shop())).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_callkitd"));
    command.arg("--config").arg(&file).current_dir(&folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let log = std::thread::spawn(move || log.lines().map(Result::unwrap).collect::<Vec<_>>());
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let address = ready.split("tcp=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap();

    let call_id = CallId::from_bits(0x5eed);
    let (mut ann, mut bob) =
        (Client::sign_in(address, "alexandra").await, Client::sign_in(address, "bernadette").await);
    ann.say(call_id, invite(call_id, "alexandra", "bernadette")).await;
    ann.word().await;
    bob.word().await;
    ann.say(call_id, Word::End(EndReason::Hangup.into())).await;
    ann.word().await;
    let memory = metric(address, "process_resident_memory_bytes").await;
    let started = metric(address, "process_start_time_seconds").await;
    assert!(memory > 1e6 && started > 1.6e9, "{memory} {started}");

    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    let lines = log.join().unwrap();
    let of_the_call: Vec<String> = lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .filter(|line| line["span"]["id"] == call_id.to_string())
        .map(|line| line["fields"]["message"].as_str().unwrap().to_owned())
        .collect();
    assert!(of_the_call.contains(&"opened".to_owned()), "{lines:#?}");
    assert!(of_the_call.len() >= 2, "its end, too: {lines:#?}");
    for secret in ["alexandra", "bernadette", "the secret"] {
        assert!(!lines.iter().any(|line| line.contains(secret)), "{secret} is in {lines:#?}");
    }
}

#[tokio::test]
async fn a_second_signal_does_not_wait_for_calls() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("callkitd.toml");
    let keys = "listen = \"127.0.0.1:0\"\ndrain_ms = 600000\nclose_grace_ms = 100\n";
    std::fs::write(&file, format!("{keys}{}", shop())).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_callkitd"));
    command.arg("--config").arg(&file).current_dir(&folder).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let address = ready.split("tcp=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap();

    let call_id = CallId::from_bits(2);
    let (mut ann, mut bob) = (Client::sign_in(address, "ann").await, Client::sign_in(address, "bob").await);
    ann.say(call_id, invite(call_id, "ann", "bob")).await;
    ann.word().await;
    bob.word().await;
    let terminate = || kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    terminate();
    soon("the drain", async {
        while http(address, "GET /readyz").await != (503, "draining\n".to_owned()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    terminate();
    assert_eq!(bob.end().await, Some(RefuseReason::ShuttingDown), "the goodbye is said");
    let status = tokio::task::spawn_blocking(move || child.wait().unwrap());
    assert!(soon("the end", status).await.unwrap().success());
}
