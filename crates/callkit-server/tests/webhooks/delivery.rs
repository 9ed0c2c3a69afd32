//! What arrives, and how it is signed.

use std::time::Duration;

use callkit_server::outbox_alone::{Kind, Outbox};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use tokio::sync::mpsc;

use crate::endpoint::{Hit, Reply, SECRET, app, ended, quick, rings, serve, soon, unix_ms};
use crate::load;

/// As a receiver would: parses the header and lets the library compare in constant time.
fn fits(hit: &Hit, secret: &str) -> bool {
    let parts: Vec<_> = hit.header("Callkit-Signature").split(',').map(|part| part.split_once('=').unwrap()).collect();
    let at = parts.iter().find(|(name, _)| *name == "t").unwrap().1;
    assert!(at.parse::<u64>().unwrap().abs_diff(unix_ms() / 1_000) <= 300);
    parts.iter().filter(|(name, _)| *name == "v1").any(|(_, hex)| {
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let told: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.chain_update(format!("{at}.{}", hit.body)).verify_slice(&told).is_ok()
    })
}

#[tokio::test]
async fn each_event_goes_to_its_url_signed() {
    let (hits, mut heard) = mpsc::unbounded_channel();
    let address = serve(move |hit| {
        hits.send(hit).unwrap();
        Reply::Status(204)
    })
    .await;
    let (outbox, mut notices, _running) = Outbox::start_alone(None, &[app("shop", address)], quick()).unwrap();
    outbox.enqueue(rings("shop", 1, unix_ms() + 30_000));
    outbox.enqueue(ended("shop", 1, 0));
    let (notify, event) = (soon(heard.recv()).await.unwrap(), soon(heard.recv()).await.unwrap());
    assert_eq!((notify.path.as_str(), event.path.as_str()), ("/notify", "/call-event"));
    for hit in [&notify, &event] {
        assert!(fits(hit, SECRET) && !fits(hit, "another-secret-of-some-length"));
        assert!(!fits(&Hit { body: hit.body.replace("private-callee", "someone-else"), ..hit.clone() }, SECRET));
        assert_eq!(hit.header("Callkit-Attempt"), "1");
        assert_eq!(hit.header("Callkit-Delivery"), hit.json()["delivery"].as_str().unwrap());
        assert_eq!(hit.header("Content-Type"), "application/json");
    }
    assert_eq!(notify.json()["cc_param"], "private-param");
    assert_eq!((&event.json()["terminate"], &event.json()["disconnect_reason_name"]), (&18.into(), &"NOANSWER".into()));
    let kinds = [soon(notices.recv()).await.unwrap(), soon(notices.recv()).await.unwrap()];
    assert_eq!(kinds.map(|notice| (notice.kind, notice.given_up)), [(Kind::Notify, None), (Kind::CallEvent, None)]);
}

#[tokio::test]
async fn while_a_secret_changes_both_sign() {
    let (hits, mut heard) = mpsc::unbounded_channel();
    let address = serve(move |hit| {
        hits.send(hit).unwrap();
        Reply::Status(200)
    })
    .await;
    let mut shop = app("shop", address);
    shop.webhooks.as_mut().unwrap().secrets.push("whsec-the-new-one-of-two".into());
    let (outbox, _notices, _running) = Outbox::start_alone(None, &[shop], quick()).unwrap();
    outbox.enqueue(ended("shop", 1, 0));
    let hit = soon(heard.recv()).await.unwrap();
    assert!(fits(&hit, SECRET) && fits(&hit, "whsec-the-new-one-of-two"));
}

#[tokio::test]
async fn an_app_without_webhooks_is_told_nothing() {
    let address = serve(|_| Reply::Status(204)).await;
    let mut quiet = app("quiet", address);
    quiet.webhooks.as_mut().unwrap().notify_url = None;
    let mut silent = app("silent", address);
    silent.webhooks = None;
    let (outbox, mut notices, _running) = Outbox::start_alone(None, &[quiet, silent], quick()).unwrap();
    assert!(!outbox.takes(&"silent".parse().unwrap(), Kind::CallEvent));
    assert!(!outbox.takes(&"quiet".parse().unwrap(), Kind::Notify));
    outbox.enqueue(ended("silent", 1, 0));
    outbox.enqueue(rings("quiet", 2, unix_ms() + 30_000));
    outbox.enqueue(ended("quiet", 3, 0));
    let notice = soon(notices.recv()).await.unwrap();
    assert_eq!(notice.call_id.bits(), 3, "the only one that went out");
}

#[tokio::test]
async fn two_thousand_to_an_endpoint_that_fails_a_third_of_the_time() {
    let folder = tempfile::tempdir().unwrap();
    let figures = load::run(folder.path(), 200, 10, quick()).await;
    assert_eq!((figures.delivered, figures.out_of_order, figures.repeated), (2_000, 0, 0), "{figures:?}");
    assert!(figures.attempts > 2_600, "{figures:?}");
    assert!(figures.took > Duration::ZERO);
}
