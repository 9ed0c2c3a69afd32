//! Who is pushed, who is not, and what happens where nobody can be told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use call_protocol::accept::{Answer, AnswerResult};
use call_protocol::account::PushAddress;
use call_protocol::disconnect::{DisconnectReason, DisconnectSource};
use call_protocol::end::EndReason;
use call_protocol::ring::Alert;
use call_protocol::{CallId, UserId, Word};
use callkit_server::push::{ApnsConfig, PushConfig};
use callkit_server::{AppConfig, LimitsConfig, Server, ServerConfig};
use tokio::sync::mpsc;

use crate::account::{register, register_of};
use crate::backend::{Backend, by_cc_param, invite};
use crate::client::{Client, app, hello, metric_becomes, soon};
use crate::service::{Authority, Heard, Service, said};
use crate::words::party;

const CALL: CallId = CallId::from_bits(0xf00d);

/// Apple's service, as far as a server that knows its business sees it; `tests/push` checks what it checks.
pub struct Apple {
    pub config: PushConfig,
    pub heard: mpsc::UnboundedReceiver<Heard>,
    pub status: Arc<AtomicU16>,
    _service: Service,
    _authority: Authority,
}

impl Apple {
    pub async fn start() -> Apple {
        let (authority, key) = (Authority::new(), rcgen::KeyPair::generate().unwrap());
        let (sender, heard) = mpsc::unbounded_channel();
        let status = Arc::new(AtomicU16::new(200));
        let says = Arc::clone(&status);
        let service = Service::tls(&authority, &["h2"], move |asked| {
            sender.send(asked.clone()).ok();
            match says.load(Ordering::Relaxed) {
                _ if asked.path.ends_with("ee") => said(503, ""),
                410 => said(410, serde_json::json!({ "reason": "Unregistered" })),
                status => said(status, ""),
            }
        })
        .await;
        let apns = ApnsConfig {
            team_id: "TEAM123456".into(),
            key_id: "KEY1234567".into(),
            key_file: authority.file("AuthKey.p8", &key.serialize_pem()),
            bundle_id: "com.example.calls".into(),
            url: service.url.clone(),
            sandbox_url: service.url.clone(),
        };
        let ca_file = Some(authority.ca_file());
        let config = PushConfig { apns: Some(apns), ca_file, ..PushConfig::default() };
        Apple { config, heard, status, _service: service, _authority: authority }
    }

    pub fn server_config(&self, backend: Option<&Backend>) -> ServerConfig {
        let shop = backend.map_or_else(|| app("shop"), Backend::app);
        let shop = AppConfig { push: self.config.clone(), ..shop };
        ServerConfig { apps: vec![shop], ..crate::client::config() }
    }

    pub async fn server(&self, backend: Option<&Backend>) -> Server {
        Server::start(self.server_config(backend)).await.unwrap()
    }

    pub async fn next(&mut self) -> Heard {
        soon("a push", self.heard.recv()).await.unwrap()
    }
}

pub fn phone(digit: &str) -> PushAddress {
    PushAddress::Apns {
        token: digit.repeat(64),
        background_token: Some(format!("{digit}0").repeat(32)),
        sandbox: false,
    }
}

pub async fn place(ann: &mut Client, call_id: CallId) {
    ann.say(call_id, Word::Invite(Box::new(invite(call_id, 30_000)))).await;
    ann.word().await;
}

#[tokio::test]
async fn p4_p7_devices_that_are_away_are_pushed_and_told_to_stop_when_another_takes_the_call() {
    let mut apple = Apple::start().await;
    let server = apple.server(None).await;
    let address = server.local_addr();
    let mut ann = Client::sign_in(address, "ann").await;
    let mut tablet = Client::try_sign_in(address, hello(&app("shop"), "bob", "tablet")).await.unwrap();
    register(address, "phone", phone("a")).await;
    register(address, "tablet", phone("b")).await;
    place(&mut ann, CALL).await;

    let ring = apple.next().await;
    assert_eq!(ring.path, format!("/3/device/{}", "a".repeat(64)), "only the phone, which is away");
    assert_eq!((ring.header("apns-push-type"), ring.header("apns-topic")), ("voip", "com.example.calls.voip"));
    let payload = ring.json();
    assert_eq!((&payload["kind"], &payload["caller"]), (&"ring".into(), &"ann".into()));
    assert_eq!(payload["call_id"], CALL.to_string());
    let cc_param = payload["cc_param"].as_str().unwrap();
    let mut woken = Client::try_sign_in(address, by_cc_param(cc_param)).await.unwrap();
    assert!(matches!(woken.word().await, Word::Invite(_)));
    drop(woken);
    metric_becomes(address, "callkit_streams", 2.0).await;

    assert!(matches!(tablet.word().await, Word::Invite(_)));
    let (callee, result) = (party("bob"), AnswerResult::Accept);
    let accept = Answer { callee, result, call_type: None, preparation: false, release: None };
    tablet.say(CALL, Word::Answer(accept)).await;
    let cancel = apple.next().await;
    assert_eq!(cancel.path, format!("/3/device/{}", "a0".repeat(32)));
    assert_eq!((cancel.header("apns-push-type"), &cancel.json()["kind"]), ("background", &"cancel".into()));
    assert_eq!(cancel.json()["call_id"], CALL.to_string());
    metric_becomes(address, "callkit_pushes_total{result=\"taken\"}", 2.0).await;
    assert!(apple.heard.try_recv().is_err(), "and nobody else was pushed");
    server.stop().await;
}

#[tokio::test]
async fn p4_p7_a_cancelled_ring_is_cancelled_on_the_phone_and_a_dead_address_is_forgotten() {
    let mut apple = Apple::start().await;
    let server = apple.server(None).await;
    let address = server.local_addr();
    let mut ann = Client::sign_in(address, "ann").await;
    register(address, "phone", phone("a")).await;
    place(&mut ann, CALL).await;
    assert_eq!(apple.next().await.json()["kind"], "ring");
    ann.say(CALL, Word::Cancel(EndReason::Cancel.into())).await;
    assert!(matches!(ann.word().await, Word::End(_)));
    assert_eq!(apple.next().await.json()["kind"], "cancel");

    apple.status.store(410, Ordering::Relaxed);
    for (call_id, expected) in [(CallId::from_bits(2), Some("ring")), (CallId::from_bits(3), None)] {
        place(&mut ann, call_id).await;
        match expected {
            Some(kind) => {
                assert_eq!(apple.next().await.json()["kind"], kind);
                let Word::End(end) = ann.word().await else { panic!() };
                assert_eq!(end.release.unwrap().reason, DisconnectReason::PushError, "nobody else could be told");
            }
            None => {
                ann.say(call_id, Word::Cancel(EndReason::Cancel.into())).await;
                assert!(matches!(ann.word().await, Word::End(end) if end.reason == EndReason::Cancel));
            }
        }
    }
    // Nothing was said in between, not even that the ring is over which the phone never heard of.
    apple.status.store(200, Ordering::Relaxed);
    register(address, "tablet", phone("b")).await;
    place(&mut ann, CallId::from_bits(4)).await;
    let next = apple.next().await;
    assert_eq!(next.path, format!("/3/device/{}", "b".repeat(64)));
    assert_eq!(next.json()["kind"], "ring");
    server.stop().await;
}

#[tokio::test]
async fn p4_p7_a_device_that_goes_away_while_it_rings_is_pushed_and_one_that_comes_back_is_not() {
    let mut apple = Apple::start().await;
    let server = apple.server(None).await;
    let address = server.local_addr();
    let mut ann = Client::sign_in(address, "ann").await;
    let mut tablet = Client::try_sign_in(address, hello(&app("shop"), "bob", "tablet")).await.unwrap();
    let mut phone_of_bob = Client::try_sign_in(address, hello(&app("shop"), "bob", "phone")).await.unwrap();
    register(address, "phone", phone("a")).await;
    register(address, "tablet", phone("b")).await;
    register(address, "watch", phone("c")).await;
    place(&mut ann, CALL).await;
    assert_eq!(apple.next().await.path, format!("/3/device/{}", "c".repeat(64)), "the only one that is away so far");
    for device in [&mut tablet, &mut phone_of_bob] {
        assert!(matches!(device.word().await, Word::Invite(_)));
    }
    drop((tablet, phone_of_bob));
    metric_becomes(address, "callkit_streams", 1.0).await;
    let mut tablet = Client::try_sign_in(address, hello(&app("shop"), "bob", "tablet")).await.unwrap();
    assert!(matches!(tablet.word().await, Word::Invite(_)));
    tablet.say(CALL, Word::Alert(Alert { callee: party("bob"), asked_unix_ms: None })).await;
    let ring = apple.next().await;
    assert_eq!(ring.path, format!("/3/device/{}", "a".repeat(64)));
    assert_eq!((&ring.json()["kind"], &ring.json()["call_id"]), (&"ring".into(), &CALL.to_string().into()));

    ann.say(CALL, Word::Cancel(EndReason::Cancel.into())).await;
    let mut cancelled = [apple.next().await.path, apple.next().await.path];
    cancelled.sort();
    assert_eq!(cancelled, ["a0", "c0"].map(|token| format!("/3/device/{}", token.repeat(32))), "all that were pushed");
    server.stop().await;
}

#[tokio::test]
async fn p4_p14_a_call_of_which_nobody_could_be_told_ends_with_push_error() {
    let mut backend = Backend::answering(404).await;
    let server = backend.server().await;
    let mut ann = Client::sign_in(server.local_addr(), "ann").await;
    place(&mut ann, CALL).await;
    backend.notify().await;
    let Word::End(end) = ann.word().await else { panic!() };
    let release = end.release.unwrap();
    assert_eq!((release.reason, release.source), (DisconnectReason::PushError, DisconnectSource::CloudServer));
    let event = backend.call_event().await;
    assert_eq!((&event["disconnect_reason"], &event["releaser_type"]), (&1302.into(), &4.into()));
    assert_eq!(event["disconnect_reason_name"], "PUSH_ERROR");
    server.stop().await;
}

/// The service takes nothing for the devices of one user, and all goes to the same service.
#[tokio::test]
async fn p4_p7_a_user_whose_pushes_all_fail_is_in_nobodys_way() {
    let mut apple = Apple::start().await;
    let shop = AppConfig { push: apple.config.clone(), ..app("shop") };
    // Each device that registers looks like a sign-in.
    let limits = LimitsConfig::none();
    let server = Server::start(ServerConfig { apps: vec![shop], limits, ..crate::client::config() }).await.unwrap();
    let address = server.local_addr();
    for number in 0..32 {
        let token = format!("{number:02x}").repeat(31) + "ee";
        let push = PushAddress::Apns { token, background_token: None, sandbox: false };
        register_of("eve", address, &format!("device {number}"), push).await;
    }
    register(address, "phone", phone("a")).await;
    let mut carl = Client::sign_in(address, "carl").await;
    for number in 1..=3 {
        let call_id = CallId::from_bits(number);
        let mut invite = invite(call_id, 30_000);
        invite.callees = vec![UserId::new("eve").unwrap()];
        carl.say(call_id, Word::Invite(Box::new(invite))).await;
        carl.word().await;
    }
    // So many failures in a row, and their destination counts as dead.
    for _ in 0..32 {
        assert!(apple.next().await.path.ends_with("ee"));
    }
    let mut ann = Client::sign_in(address, "ann").await;
    ann.say(CALL, Word::Invite(Box::new(invite(CALL, 5_000)))).await;
    ann.word().await;
    while apple.next().await.path != format!("/3/device/{}", "a".repeat(64)) {}
    assert!(matches!(soon("the end of the ring", ann.word()).await, Word::End(_)), "while it still rang");
    server.stop().await;
}

#[tokio::test]
async fn p4_p14_a_backend_that_says_no_ends_nothing_while_a_phone_rings() {
    let mut backend = Backend::answering(404).await;
    let server = backend.server().await;
    let address = server.local_addr();
    let mut ann = Client::sign_in(address, "ann").await;
    let mut bob = Client::sign_in(address, "bob").await;
    place(&mut ann, CALL).await;
    assert!(matches!(bob.word().await, Word::Invite(_)));
    bob.say(CALL, Word::Alert(Alert { callee: party("bob"), asked_unix_ms: None })).await;
    assert!(matches!(bob.word().await, Word::RingConfirm(_)));
    assert!(matches!(ann.word().await, Word::Alert(_)));
    backend.notify().await;
    metric_becomes(address, "callkit_webhooks_total{result=\"given_up\"}", 1.0).await;
    ann.hears_nothing().await;
    bob.hears_nothing().await;
    server.stop().await;
}

#[tokio::test]
async fn p4_p14_a_connected_phone_that_never_rings_is_given_a_moment() {
    let backend = Backend::answering(404).await;
    let server = backend.server().await;
    let mut ann = Client::sign_in(server.local_addr(), "ann").await;
    let mut bob = Client::sign_in(server.local_addr(), "bob").await;
    place(&mut ann, CALL).await;
    assert!(matches!(bob.word().await, Word::Invite(_)));
    let Word::End(end) = ann.word().await else { panic!() };
    assert_eq!(end.release.unwrap().reason, DisconnectReason::PushError);
    server.stop().await;
}
