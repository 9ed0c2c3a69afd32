//! The receiver of the documents, as a process.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use callkit_server::outbox_alone::{Outbox, sign};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

use crate::endpoint::{SECRET, app, ended, quick, rings, soon, unix_ms};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/webhooks/receiver.py");

struct Receiver {
    lines: Lines<BufReader<ChildStdout>>,
    address: SocketAddr,
    process: Child,
}

impl Receiver {
    async fn start(secrets: &[&str]) -> Self {
        Self::start_with(secrets, None).await
    }

    async fn start_with(secrets: &[&str], deliveries: Option<&Path>) -> Self {
        let mut command = Command::new("python3");
        command.arg(SCRIPT).stdout(Stdio::piped()).kill_on_drop(true);
        if let Some(file) = deliveries {
            command.arg("--deliveries").arg(file);
        }
        for secret in secrets {
            command.args(["--secret", secret]);
        }
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first = soon(lines.next_line()).await.unwrap().unwrap();
        let port: u16 = first.strip_prefix("listening ").unwrap().parse().unwrap();
        Self { lines, address: ([127, 0, 0, 1], port).into(), process }
    }

    async fn event(&mut self) -> serde_json::Value {
        let line = soon(self.lines.next_line()).await.unwrap().unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// The status of the answer; 0 where there was none.
    async fn post(&self, signature: &str, body: &str) -> u16 {
        let length = body.len();
        self.say(&format!("Callkit-Signature: {signature}\r\nContent-Length: {length}\r\n"), body).await
    }

    async fn say(&self, headers: &str, body: &str) -> u16 {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let request = format!("POST / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n{headers}\r\n{body}");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        soon(socket.read_to_string(&mut answer)).await.ok();
        answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }
}

#[tokio::test]
async fn it_takes_what_the_server_sends() {
    let mut receiver = Receiver::start(&["whsec-of-another-time", SECRET]).await;
    let (outbox, mut notices, _running) = Outbox::start_alone(None, &[app("shop", receiver.address)], quick()).unwrap();
    outbox.enqueue(rings("shop", 5, unix_ms() + 30_000));
    outbox.enqueue(ended("shop", 5, 0));
    let notify = receiver.event().await;
    assert_eq!(
        (&notify["event"], &notify["type"], &notify["cc_param"]),
        (&"notify".into(), &"V".into(), &"private-param".into())
    );
    let event = receiver.event().await;
    assert_eq!((&event["event"], &event["terminate"]), (&"call_event".into(), &18.into()));
    for _ in 0..2 {
        assert_eq!(soon(notices.recv()).await.unwrap().given_up, None);
    }
}

#[tokio::test]
async fn it_takes_nothing_forged_or_old_and_nothing_twice() {
    let mut receiver = Receiver::start(&[SECRET]).await;
    let now = unix_ms() / 1_000;
    let signed = |at: u64, secret: &str, body: &str| sign(&[secret.to_owned()], at, body);
    let body = r#"{"event":"notify","delivery":"d1"}"#;
    let old = signed(now - 301, SECRET, body);
    let ahead = signed(now + 400, SECRET, body);
    let foreign = signed(now, "whsec-fedcba9876543210", body);
    let genuine = signed(now, SECRET, body);
    let refreshed = old.replace(&format!("t={}", now - 301), &format!("t={now}"));
    for bad in [&old, &ahead, &foreign, &refreshed, "", "t=,v1=", "v1=00", "t=1,t=2"] {
        assert_eq!(receiver.post(bad, body).await, 401, "{bad}");
    }
    assert_eq!(receiver.post(&genuine, r#"{"event":"notify","delivery":"d2"}"#).await, 401);
    assert_eq!(receiver.post(&genuine, body).await, 204);
    assert_eq!(receiver.post(&genuine, body).await, 204, "a repetition is answered alike");
    let last = r#"{"event":"notify","delivery":"d3"}"#;
    assert_eq!(receiver.post(&signed(now, SECRET, last), last).await, 204);
    assert_eq!(receiver.event().await["delivery"], "d1");
    assert_eq!(receiver.event().await["delivery"], "d3", "and handled once");
}

#[tokio::test]
async fn it_refuses_what_is_absurd_and_goes_on() {
    let mut receiver = Receiver::start(&[SECRET]).await;
    let now = unix_ms() / 1_000;
    let signed = |body: &str| sign(&[SECRET.to_owned()], now, body);
    let good = r#"{"event":"notify","delivery":"d1"}"#;
    // More digits than Python turns into a number, and numbers of other scripts.
    for at in ["9".repeat(5_000), format!("{:0>5000}", now), "\u{661}\u{662}".into(), "-1".into(), "1e9".into()] {
        let signature = signed(good).replace(&format!("t={now}"), &format!("t={at}"));
        assert_eq!(receiver.post(&signature, good).await, 401, "{at}");
    }
    let deep = "[".repeat(60_000);
    for body in ["", "hello", "[]", "null", "7", r#"{"event":"notify"}"#, r#"{"delivery":7}"#, "{\"delivery\":", &deep]
    {
        assert_eq!(receiver.post(&signed(body), body).await, 401, "{body}");
    }
    let signature = signed(good);
    for length in ["9".repeat(5_000).as_str(), "-1", "", "65537", "\u{661}"] {
        let headers = format!("Callkit-Signature: {signature}\r\nContent-Length: {length}\r\n");
        assert_eq!(receiver.say(&headers, "").await, 413, "{length}");
    }
    assert_eq!(receiver.post(&signed(good), good).await, 204);
    assert_eq!(receiver.event().await["delivery"], "d1", "and nothing before it");
}

#[tokio::test]
async fn it_knows_after_a_restart_what_it_has_handled() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deliveries.db");
    let now = unix_ms() / 1_000;
    let bodies = ["d1", "d2"].map(|delivery| format!(r#"{{"event":"notify","delivery":"{delivery}"}}"#));
    let mut before = Receiver::start_with(&[SECRET], Some(&file)).await;
    assert_eq!(before.post(&sign(&[SECRET.to_owned()], now, &bodies[0]), &bodies[0]).await, 204);
    assert_eq!(before.event().await["delivery"], "d1");
    before.process.kill().await.unwrap();

    let mut after = Receiver::start_with(&[SECRET], Some(&file)).await;
    for body in &bodies {
        assert_eq!(after.post(&sign(&[SECRET.to_owned()], now, body), body).await, 204);
    }
    assert_eq!(after.event().await["delivery"], "d2", "the first was handled before");
}
