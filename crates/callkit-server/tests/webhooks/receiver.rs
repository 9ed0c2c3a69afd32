//! The receiver of the documents, as a process.

use std::net::SocketAddr;
use std::process::Stdio;

use callkit_server::outbox_alone::{Outbox, sign};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::endpoint::{SECRET, app, ended, quick, rings, soon, unix_ms};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/webhooks/receiver.py");

struct Receiver {
    lines: Lines<BufReader<ChildStdout>>,
    address: SocketAddr,
    _process: Child,
}

impl Receiver {
    async fn start(secrets: &[&str]) -> Self {
        let mut command = Command::new("python3");
        command.arg(SCRIPT).stdout(Stdio::piped()).kill_on_drop(true);
        for secret in secrets {
            command.args(["--secret", secret]);
        }
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first = soon(lines.next_line()).await.unwrap().unwrap();
        let port: u16 = first.strip_prefix("listening ").unwrap().parse().unwrap();
        Self { lines, address: ([127, 0, 0, 1], port).into(), _process: process }
    }

    async fn event(&mut self) -> serde_json::Value {
        let line = soon(self.lines.next_line()).await.unwrap().unwrap();
        serde_json::from_str(&line).unwrap()
    }

    async fn post(&self, signature: &str, body: &str) -> u16 {
        // The client of this test asks for a provider even where it needs none.
        rustls::crypto::ring::default_provider().install_default().ok();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.post(format!("http://{}/", self.address)).header("Callkit-Signature", signature);
        soon(request.body(body.to_owned()).send()).await.unwrap().status().as_u16()
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
