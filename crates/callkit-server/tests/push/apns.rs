//! Apple's service: what it checks, and what its refusals mean.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use callkit_server::push::{
    ApnsConfig, CallPush, PushAddress, PushConfig, PushKind, PushOutcome, PushSenders, Rejection,
};
use hyper::Version;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::json;

use crate::service::{Authority, CC_PARAM, Clock, Content, Heard, RING_MS, START_MS, Said, Service, said};

const BUNDLE: &str = "com.example.calls";

fn voip_token() -> String {
    "a1".repeat(32)
}

fn background_token() -> String {
    "b2".repeat(32)
}

fn phone() -> PushAddress {
    PushAddress::Apns { token: voip_token(), background_token: Some(background_token()), sandbox: false }
}

/// The checks of Apple's "Sending notification requests to APNs".
struct Apple {
    clock: Clock,
    key: DecodingKey,
    /// Tokens of devices that are no more.
    dead: Mutex<HashSet<String>>,
    /// By how much its clock is ahead.
    ahead_s: Mutex<u64>,
    /// An answer it gives instead.
    says: Mutex<Option<fn() -> Said>>,
    /// The newest provider token and when it was first seen.
    provider: Mutex<Option<(String, u64)>>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    iat: u64,
}

impl Apple {
    fn judge(&self, heard: &Heard) -> Said {
        if let Some(says) = *self.says.lock().unwrap() {
            return says();
        }
        match self.checked(heard) {
            Ok(()) => said(200, "").with("apns-id", "8f4f8a6e"),
            Err((status, reason)) => said(status, json!({ "reason": reason })),
        }
    }

    fn checked(&self, heard: &Heard) -> Result<(), (u16, &'static str)> {
        assert_eq!(heard.version, Version::HTTP_2);
        let token = heard.path.strip_prefix("/3/device/").ok_or((404, "BadPath"))?;
        self.check_provider(
            heard.header("authorization").strip_prefix("bearer ").ok_or((403, "MissingProviderToken"))?,
        )?;
        let payload = heard.json();
        let (topic, device, limit) = match heard.header("apns-push-type") {
            "voip" => (format!("{BUNDLE}.voip"), voip_token(), 5_120),
            "background" if heard.header("apns-priority") != "5" => return Err((400, "BadPriority")),
            "background" if payload["aps"] != json!({ "content-available": 1 }) => return Err((400, "BadMessage")),
            "background" => (BUNDLE.to_owned(), background_token(), 4_096),
            _ => return Err((400, "InvalidPushType")),
        };
        if heard.header("apns-collapse-id").len() > 64 {
            return Err((400, "BadCollapseId"));
        }
        if heard.header("apns-expiration").parse::<u64>().is_err() {
            return Err((400, "BadExpirationDate"));
        }
        if self.dead.lock().unwrap().contains(token) {
            return Err((410, "Unregistered"));
        }
        match () {
            () if heard.header("apns-topic") != topic => Err((400, "TopicDisallowed")),
            () if ![voip_token(), background_token()].contains(&token.to_owned()) => Err((400, "BadDeviceToken")),
            () if token != device => Err((400, "DeviceTokenNotForTopic")),
            () if heard.body.len() > limit => Err((413, "PayloadTooLarge")),
            () => Ok(()),
        }
    }

    fn check_provider(&self, token: &str) -> Result<(), (u16, &'static str)> {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        let data = jsonwebtoken::decode::<Claims>(token, &self.key, &validation);
        let data = data.map_err(|_| (403, "InvalidProviderToken"))?;
        if data.header.kid.as_deref() != Some("KEY1234567") || data.claims.iss != "TEAM123456" {
            return Err((403, "InvalidProviderToken"));
        }
        let now_s = self.clock.s() + *self.ahead_s.lock().unwrap();
        if data.claims.iat > now_s || now_s - data.claims.iat > 3_600 {
            return Err((403, "ExpiredProviderToken"));
        }
        let mut provider = self.provider.lock().unwrap();
        match &*provider {
            Some((known, _)) if known == token => {}
            Some((_, since_s)) if self.clock.s() - since_s < 20 * 60 => {
                return Err((429, "TooManyProviderTokenUpdates"));
            }
            Some(_) | None => *provider = Some((token.to_owned(), self.clock.s())),
        }
        Ok(())
    }
}

struct World {
    clock: Clock,
    apple: Arc<Apple>,
    service: Service,
    sandbox: Service,
    senders: PushSenders,
    config: ApnsConfig,
    authority: Authority,
}

impl World {
    async fn new() -> Self {
        let (clock, authority, key) = (Clock::start(), Authority::new(), rcgen::KeyPair::generate().unwrap());
        let apple = Arc::new(Apple {
            clock: clock.clone(),
            key: DecodingKey::from_ec_der(key.public_key_raw()),
            dead: Mutex::default(),
            ahead_s: Mutex::default(),
            says: Mutex::default(),
            provider: Mutex::default(),
        });
        let judge = Arc::clone(&apple);
        let service = Service::tls(&authority, &["h2"], move |heard| judge.judge(heard)).await;
        let sandbox = Service::tls(&authority, &["h2"], |_| said(200, "")).await;
        let config = ApnsConfig {
            team_id: "TEAM123456".into(),
            key_id: "KEY1234567".into(),
            key_file: authority.file("AuthKey.p8", &key.serialize_pem()),
            bundle_id: BUNDLE.into(),
            url: service.url.clone(),
            sandbox_url: sandbox.url.clone(),
        };
        let senders = clock.senders(&push_config(&config, &authority));
        Self { clock, apple, service, sandbox, senders, config, authority }
    }

    async fn send(&self, push: &CallPush) -> PushOutcome {
        self.senders.send(&phone(), push).await
    }

    async fn ring(&self) -> PushOutcome {
        self.send(&self.clock.push(PushKind::Ring)).await
    }

    async fn cancel(&self) -> PushOutcome {
        self.send(&self.clock.push(PushKind::Cancel)).await
    }

    /// The outcome of a ring that Apple answers so.
    async fn ring_answered(&self, says: fn() -> Said) -> PushOutcome {
        *self.apple.says.lock().unwrap() = Some(says);
        let outcome = self.ring().await;
        *self.apple.says.lock().unwrap() = None;
        outcome
    }
}

fn push_config(apns: &ApnsConfig, authority: &Authority) -> PushConfig {
    PushConfig { apns: Some(apns.clone()), ca_file: Some(authority.ca_file()), ..PushConfig::default() }
}

fn rejected(why: Rejection) -> PushOutcome {
    PushOutcome::Rejected { why }
}

#[tokio::test]
async fn a_ring_is_a_voip_push_that_ends_with_the_ring() {
    let world = World::new().await;
    assert_eq!(world.ring().await, PushOutcome::Accepted);
    let heard = world.service.last();
    assert_eq!(heard.method, "POST");
    assert_eq!(heard.path, format!("/3/device/{}", voip_token()));
    assert_eq!(heard.header("apns-topic"), "com.example.calls.voip");
    assert_eq!(heard.header("apns-push-type"), "voip");
    assert_eq!(heard.header("apns-priority"), "10");
    assert_eq!(heard.header("apns-expiration"), ((START_MS + RING_MS) / 1_000).to_string());
    assert_eq!(heard.header("apns-collapse-id"), "00000000000000000000000000c0ffee");
    let expected = json!({
        "aps": {},
        "kind": "ring",
        "call_id": "00000000000000000000000000c0ffee",
        "cc_param": CC_PARAM,
        "caller": "ann",
        "call_type": "video_1v1",
        "ring_deadline_unix_ms": (START_MS + RING_MS).to_string(),
    });
    assert_eq!(heard.json(), expected);
}

#[tokio::test]
async fn a_cancel_is_a_background_push_to_the_other_token() {
    let world = World::new().await;
    assert_eq!(world.cancel().await, PushOutcome::Accepted);
    let heard = world.service.last();
    assert_eq!(heard.path, format!("/3/device/{}", background_token()));
    assert_eq!(heard.header("apns-topic"), BUNDLE);
    assert_eq!(heard.header("apns-push-type"), "background");
    assert_eq!(heard.header("apns-collapse-id"), "00000000000000000000000000c0ffee");
    let payload = heard.json();
    assert_eq!(payload["kind"], "cancel");
    assert_eq!(payload.get("cc_param"), None);

    let without = PushAddress::Apns { token: voip_token(), background_token: None, sandbox: false };
    let outcome = world.senders.send(&without, &world.clock.push(PushKind::Cancel)).await;
    assert_eq!(outcome, rejected(Rejection::NoBackgroundToken));
    assert_eq!(world.service.heard().len(), 1, "no VoIP push says that a call is over");
}

#[tokio::test]
async fn development_builds_are_reached_in_the_sandbox() {
    let world = World::new().await;
    let phone = PushAddress::Apns { token: voip_token(), background_token: None, sandbox: true };
    assert_eq!(world.senders.send(&phone, &world.clock.push(PushKind::Ring)).await, PushOutcome::Accepted);
    assert_eq!((world.service.heard().len(), world.sandbox.heard().len()), (0, 1));
}

#[tokio::test]
async fn one_connection_and_one_provider_token_serve_many_pushes_and_the_token_never_gets_too_old() {
    let world = World::new().await;
    let mut tokens = HashSet::new();
    // Every five minutes for four hours; Apple refuses what is over an hour old or renewed within 20 minutes.
    for _ in 0..48 {
        assert_eq!(world.ring().await, PushOutcome::Accepted);
        tokens.insert(world.service.last().header("authorization").to_owned());
        world.clock.advance_s(300);
    }
    assert_eq!(tokens.len(), 5, "one for each 50 minutes");
    assert_eq!(world.service.connections(), 1);
}

#[tokio::test]
async fn a_provider_token_that_apple_calls_expired_is_renewed_at_once_and_once() {
    let world = World::new().await;
    assert_eq!(world.ring().await, PushOutcome::Accepted);
    world.clock.advance_s(30 * 60);
    *world.apple.ahead_s.lock().unwrap() = 31 * 60;
    assert_eq!(world.ring().await, PushOutcome::Accepted);
    assert_eq!(world.service.heard().len(), 3, "one refused, then the same again");

    // Clocks that differ by more than an hour: no token will do, and Apple is not flooded with new ones.
    *world.apple.ahead_s.lock().unwrap() = 2 * 3_600;
    world.clock.advance_s(1);
    assert_eq!(world.ring().await, rejected(Rejection::Credentials));
    assert_eq!(world.ring().await, rejected(Rejection::Credentials));
    assert_eq!(world.service.heard().len(), 5);
}

#[tokio::test]
async fn a_dead_token_is_gone_and_a_dead_background_token_leaves_the_other() {
    let world = World::new().await;
    world.apple.dead.lock().unwrap().extend([voip_token(), background_token()]);
    assert_eq!(world.ring().await, PushOutcome::Gone);
    assert_eq!(world.cancel().await, rejected(Rejection::NoBackgroundToken));
    world.apple.dead.lock().unwrap().clear();
    let stranger = PushAddress::Apns { token: "c3".repeat(32), background_token: None, sandbox: false };
    assert_eq!(world.senders.send(&stranger, &world.clock.push(PushKind::Ring)).await, PushOutcome::Gone);
}

#[tokio::test]
async fn what_apple_answers_is_told() {
    let world = World::new().await;
    let retry = |seconds| PushOutcome::Retry { after: Duration::from_secs(seconds) };
    assert_eq!(world.ring_answered(|| said(429, r#"{"reason":"TooManyRequests"}"#)).await, retry(1));
    assert_eq!(world.ring_answered(|| said(503, "").with("retry-after", 7)).await, retry(7));
    assert_eq!(world.ring_answered(|| said(503, "").with("retry-after", 1_000_000)).await, retry(3_600));
    assert_eq!(world.ring_answered(|| said(500, "")).await, retry(1));
    assert_eq!(world.ring_answered(|| said(410, "no JSON")).await, PushOutcome::Gone);
    assert_eq!(world.ring_answered(|| said(413, "")).await, rejected(Rejection::TooLarge));
    assert_eq!(
        world.ring_answered(|| said(403, r#"{"reason":"InvalidProviderToken"}"#)).await,
        rejected(Rejection::Credentials)
    );
    assert_eq!(
        world.ring_answered(|| said(400, r#"{"reason":"TopicDisallowed"}"#)).await,
        rejected(Rejection::Refused { status: 400 })
    );
    assert_eq!(world.ring_answered(|| said(404, "")).await, rejected(Rejection::Refused { status: 404 }));
    let endless = || Said { status: 410, headers: vec![], body: Content::Endless };
    assert_eq!(world.ring_answered(endless).await, PushOutcome::Gone);
}

#[tokio::test]
async fn what_is_over_is_not_sent() {
    let world = World::new().await;
    let ring = world.clock.push(PushKind::Ring);
    world.clock.advance_s(RING_MS / 1_000);
    assert_eq!(world.send(&ring).await, rejected(Rejection::Expired));
    assert_eq!(world.send(&CallPush { kind: PushKind::Cancel, ..ring }).await, rejected(Rejection::Expired));
    assert_eq!(world.service.connections(), 0);
}

#[tokio::test]
async fn a_service_that_says_nothing_holds_a_push_no_longer_than_the_ring() {
    let world = World::new().await;
    *world.apple.says.lock().unwrap() = Some(|| Said { status: 200, headers: vec![], body: Content::Silence });
    let ring = CallPush { ring_deadline_unix_ms: world.clock.ms() + 300, ..world.clock.push(PushKind::Ring) };
    assert!(matches!(world.send(&ring).await, PushOutcome::Retry { .. }));
}

#[tokio::test]
async fn what_is_too_large_is_not_sent() {
    let world = World::new().await;
    let ring = CallPush { cc_param: "a".repeat(5_120), ..world.clock.push(PushKind::Ring) };
    assert_eq!(world.send(&ring).await, rejected(Rejection::TooLarge));
    assert_eq!(world.service.connections(), 0);
}

#[tokio::test]
async fn nobody_is_trusted_whom_no_authority_vouches_for() {
    let world = World::new().await;
    let strangers = world.clock.senders(&push_config(&world.config, &Authority::new()));
    let outcome = strangers.send(&phone(), &world.clock.push(PushKind::Ring)).await;
    assert!(matches!(outcome, PushOutcome::Retry { .. }), "{outcome:?}");
    assert_eq!(world.service.connections(), 1);
    assert!(world.service.heard().is_empty());
}

#[tokio::test]
async fn a_service_that_is_not_there_is_tried_again() {
    let world = World::new().await;
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = ApnsConfig { url: format!("https://127.0.0.1:{port}"), ..world.config.clone() };
    let senders = world.clock.senders(&push_config(&config, &world.authority));
    let outcome = senders.send(&phone(), &world.clock.push(PushKind::Ring)).await;
    assert!(matches!(outcome, PushOutcome::Retry { .. }), "{outcome:?}");
}
