//! A server whose wall clock is off, or set while it runs.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::SystemTime;

use call_protocol::end::EndReason;
use call_protocol::{CallId, Word};
use callkit_server::{AppConfig, LimitsConfig, Server, ServerConfig, WebhookConfig};
use tokio::sync::mpsc;

use crate::backend::{Backend, by_cc_param, call, invite};
use crate::client::{Client, app, config, hello, http, soon};
use crate::endpoint::{Reply, SECRET, serve};

const DAY_MS: u64 = 24 * 3_600_000;

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    since.as_millis() as u64
}

async fn device(server: &Server, device: &str) -> Client {
    Client::try_sign_in(server.local_addr(), hello(&app("shop"), "bob", device)).await.unwrap()
}

async fn misses(ann: &mut Client, number: u128) {
    let id = CallId::from_bits(number);
    ann.say(id, Word::Invite(Box::new(invite(id, 1_000)))).await;
    ann.word().await;
    ann.say(id, Word::Cancel(EndReason::Cancel.into())).await;
    assert!(matches!(ann.word().await, Word::End(_)));
}

async fn hears(bob: &mut Client) -> u128 {
    let Word::Missed(missed) = bob.word().await else { panic!() };
    let call_id = missed.call_id;
    bob.say(call_id, Word::End(EndReason::NoResponse.into())).await;
    assert!(matches!(bob.word().await, Word::End(_)), "a receipt");
    call_id.bits()
}

#[tokio::test]
async fn what_a_device_missed_is_told_whatever_the_clock_was_when_it_was_last_here() {
    let walls: [fn() -> u64; 3] = [|| unix_ms() + 30 * DAY_MS, unix_ms, || unix_ms() - 30 * DAY_MS];
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start().await;
    let config = ServerConfig { data_dir: Some(folder.path().into()), call_tombstone_ms: 0, ..backend.config() };
    let mut last = None;
    for (number, wall) in (1..).zip(walls) {
        let server = Server::start_by(config.clone(), wall).await.unwrap();
        let mut bob = device(&server, "phone").await;
        if let Some(last) = last.replace(number) {
            assert_eq!(hears(&mut bob).await, last);
        }
        bob.goodbye().await;
        misses(&mut Client::sign_in(server.local_addr(), "ann").await, number).await;
        server.stop().await;
    }
    let server = Server::start(config).await.unwrap();
    assert_eq!(hears(&mut device(&server, "phone").await).await, 3);
    server.stop().await;
}

#[tokio::test]
async fn a_clock_that_is_set_ahead_ends_no_cc_param() {
    static AHEAD_MS: AtomicU64 = AtomicU64::new(0);
    let mut backend = Backend::start().await;
    let wall = || unix_ms() + AHEAD_MS.load(Ordering::Relaxed);
    let server = Server::start_by(backend.config(), wall).await.unwrap();
    let mut ann = Client::sign_in(server.local_addr(), "ann").await;
    let id = CallId::from_bits(7);
    let cc_param = call(&mut backend, &mut ann, id, 30_000).await;
    AHEAD_MS.store(30 * DAY_MS, Ordering::Relaxed);
    let mut bob = Client::try_sign_in(server.local_addr(), by_cc_param(&cc_param)).await.unwrap();
    assert!(matches!(bob.word().await, Word::Invite(invite) if invite.call_id == id));
    server.stop().await;
}

#[tokio::test]
async fn a_clock_that_is_set_ahead_gives_no_webhook_up() {
    static AHEAD_MS: AtomicU64 = AtomicU64::new(0);
    let tried = AtomicUsize::new(0);
    let (sender, mut hits) = mpsc::unbounded_channel();
    let address = serve(move |_| {
        sender.send(()).ok();
        AHEAD_MS.store(2 * DAY_MS, Ordering::Relaxed);
        Reply::Status(if tried.fetch_add(1, Ordering::Relaxed) == 0 { 500 } else { 204 })
    })
    .await;
    let webhooks = WebhookConfig {
        call_event_url: Some(format!("http://{address}/call-event")),
        secrets: vec![SECRET.into()],
        ..WebhookConfig::default()
    };
    let apps = vec![AppConfig { webhooks: Some(webhooks), ..app("shop") }];
    let config = ServerConfig { apps, limits: LimitsConfig::none(), ..config() };
    let server = Server::start_by(config, || unix_ms() + AHEAD_MS.load(Ordering::Relaxed)).await.unwrap();
    misses(&mut Client::sign_in(server.local_addr(), "ann").await, 1).await;
    for attempt in 1..=2 {
        soon(&format!("attempt {attempt}"), hits.recv()).await.unwrap();
    }
    assert_eq!(http(server.local_addr(), "GET /healthz").await.0, 200);
    server.stop().await;
}
