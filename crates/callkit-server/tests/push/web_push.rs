//! A browser's push service, and the browser that decrypts.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aes_gcm::aead::Aead;
use aes_gcm::{Aes128Gcm, KeyInit, Nonce};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use callkit_server::push::{
    CallPush, PushAddress, PushConfig, PushKind, PushOutcome, PushSenders, Rejection, WebPushConfig,
};
use hkdf::Hkdf;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use p256::elliptic_curve::sec1::ToEncodedPoint;
use p256::{PublicKey, SecretKey};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::service::{Authority, CC_PARAM, Clock, Content, Heard, RING_MS, START_MS, Said, Service, said};

const SUBJECT: &str = "mailto:ops@calls.example";

struct Browser {
    key: SecretKey,
    auth: [u8; 16],
}

impl Browser {
    fn new() -> Self {
        Self { key: SecretKey::from_slice(&[7; 32]).unwrap(), auth: [9; 16] }
    }

    fn address(&self, service_url: &str) -> PushAddress {
        PushAddress::WebPush {
            endpoint: format!("{service_url}/push/JzLQ3raZJfFBR0aqvOMsLrt54w4rJUsV"),
            p256dh: URL_SAFE_NO_PAD.encode(self.key.public_key().to_encoded_point(false)),
            auth: URL_SAFE_NO_PAD.encode(self.auth),
        }
    }

    /// RFC 8291, section 3.4, from the browser's side.
    fn decrypted(&self, body: &[u8]) -> Value {
        let (salt, rest) = body.split_at(16);
        let (record_bytes, rest) = rest.split_at(4);
        let (key_bytes, rest) = rest.split_at(1);
        let (server_point, sealed) = rest.split_at(usize::from(key_bytes[0]));
        assert!(u32::from_be_bytes(record_bytes.try_into().unwrap()) as usize >= sealed.len());
        let server = PublicKey::from_sec1_bytes(server_point).unwrap();
        let shared = p256::ecdh::diffie_hellman(self.key.to_nonzero_scalar(), server.as_affine());
        let mut info = b"WebPush: info\0".to_vec();
        info.extend_from_slice(self.key.public_key().to_encoded_point(false).as_bytes());
        info.extend_from_slice(server_point);
        let (mut input, mut key, mut nonce) = ([0; 32], [0; 16], [0; 12]);
        Hkdf::<Sha256>::new(Some(&self.auth), shared.raw_secret_bytes()).expand(&info, &mut input).unwrap();
        let derived = Hkdf::<Sha256>::new(Some(salt), &input);
        derived.expand(b"Content-Encoding: aes128gcm\0", &mut key).unwrap();
        derived.expand(b"Content-Encoding: nonce\0", &mut nonce).unwrap();
        let mut text = Aes128Gcm::new(&key.into()).decrypt(Nonce::from_slice(&nonce), sealed).unwrap();
        assert_eq!(text.pop(), Some(2), "the last record");
        serde_json::from_slice(&text).unwrap()
    }
}

/// The checks of RFC 8030, section 5, and RFC 8292, section 4.2.
struct PushService {
    clock: Clock,
    /// The key with which the browser subscribed.
    subscribed_with: String,
    origin: Mutex<String>,
    /// An answer it gives instead.
    says: Mutex<Option<Box<dyn Fn() -> Said + Send>>>,
}

#[derive(Deserialize)]
struct Claims {
    exp: u64,
    sub: String,
}

impl PushService {
    fn judge(&self, heard: &Heard) -> Said {
        if let Some(says) = &*self.says.lock().unwrap() {
            return says();
        }
        match self.checked(heard) {
            Ok(()) => said(201, "").with("location", format!("{}/message/1", self.origin.lock().unwrap())),
            Err((status, why)) => said(status, why),
        }
    }

    fn checked(&self, heard: &Heard) -> Result<(), (u16, &'static str)> {
        let fields = heard.header("authorization").strip_prefix("vapid ").ok_or((401, "no vapid"))?;
        let field = |name: &str| fields.split(", ").find_map(|field| field.strip_prefix(name));
        let (token, key) = (field("t=").ok_or((401, "no t"))?, field("k=").ok_or((401, "no k"))?);
        if key != self.subscribed_with {
            return Err((403, "subscribed with another key"));
        }
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[self.origin.lock().unwrap().as_str()]);
        validation.set_required_spec_claims(&["aud", "exp"]);
        // By the test's clock, below.
        validation.validate_exp = false;
        let key = DecodingKey::from_ec_der(&URL_SAFE_NO_PAD.decode(key).map_err(|_| (401, "k"))?);
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation).map_err(|_| (403, "t"))?.claims;
        let good_for_s = claims.exp.checked_sub(self.clock.s()).ok_or((403, "exp is past"))?;
        if good_for_s > 24 * 3_600 || claims.sub != SUBJECT {
            return Err((403, "exp or sub"));
        }
        heard.header("ttl").parse::<u64>().map_err(|_| (400, "ttl"))?;
        let is_topic = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let topic = heard.header("topic");
        if topic.len() > 32 || !topic.bytes().all(is_topic) {
            return Err((400, "topic"));
        }
        if heard.header("content-encoding") != "aes128gcm" {
            return Err((415, "content-encoding"));
        }
        if heard.body.len() > 4_096 { Err((413, "body")) } else { Ok(()) }
    }
}

struct World {
    clock: Clock,
    browser: Browser,
    rules: Arc<PushService>,
    service: Service,
    senders: PushSenders,
    authority: Authority,
}

fn config(authority: &Authority, allow_private: bool) -> PushConfig {
    let private_key = URL_SAFE_NO_PAD.encode([5; 32]);
    let web_push = WebPushConfig { private_key, subject: SUBJECT.into(), allow_private };
    PushConfig { web_push: Some(web_push), ca_file: Some(authority.ca_file()), ..PushConfig::default() }
}

impl World {
    async fn new() -> Self {
        let (clock, authority) = (Clock::start(), Authority::new());
        let senders = clock.senders(&config(&authority, true));
        let rules = Arc::new(PushService {
            clock: clock.clone(),
            subscribed_with: senders.vapid_public_key().unwrap().to_owned(),
            origin: Mutex::default(),
            says: Mutex::default(),
        });
        let judge = Arc::clone(&rules);
        let service = Service::tls(&authority, &["h2", "http/1.1"], move |heard| judge.judge(heard)).await;
        *rules.origin.lock().unwrap() = service.url.clone();
        Self { clock, browser: Browser::new(), rules, service, senders, authority }
    }

    async fn send(&self, push: &CallPush) -> PushOutcome {
        self.senders.send(&self.browser.address(&self.service.url), push).await
    }

    async fn ring_answered(&self, says: impl Fn() -> Said + Send + 'static) -> PushOutcome {
        *self.rules.says.lock().unwrap() = Some(Box::new(says));
        self.send(&self.clock.push(PushKind::Ring)).await
    }
}

fn rejected(why: Rejection) -> PushOutcome {
    PushOutcome::Rejected { why }
}

#[tokio::test]
async fn a_ring_is_read_by_the_browser_alone() {
    let world = World::new().await;
    assert_eq!(world.send(&world.clock.push(PushKind::Ring)).await, PushOutcome::Accepted);
    let heard = world.service.last();
    assert_eq!(heard.method, "POST");
    assert_eq!(heard.path, "/push/JzLQ3raZJfFBR0aqvOMsLrt54w4rJUsV");
    assert_eq!(heard.header("ttl"), "30");
    assert_eq!(heard.header("urgency"), "high");
    assert_eq!(heard.header("topic"), "00000000000000000000000000c0ffee");
    assert!(!heard.body.windows(8).any(|bytes| bytes == &CC_PARAM.as_bytes()[..8]));
    let expected = json!({
        "kind": "ring",
        "call_id": "00000000000000000000000000c0ffee",
        "cc_param": CC_PARAM,
        "caller": "ann",
        "call_type": "video_1v1",
        "ring_deadline_unix_ms": (START_MS + RING_MS).to_string(),
    });
    assert_eq!(world.browser.decrypted(&heard.body), expected);
}

#[tokio::test]
async fn a_cancel_takes_the_place_of_a_ring_that_was_not_delivered() {
    let world = World::new().await;
    let ring = world.clock.push(PushKind::Ring);
    assert_eq!(world.send(&ring).await, PushOutcome::Accepted);
    world.clock.advance_s(10);
    assert_eq!(world.send(&CallPush { kind: PushKind::Cancel, ..ring }).await, PushOutcome::Accepted);
    let heard = world.service.heard();
    assert_eq!(heard[0].header("topic"), heard[1].header("topic"));
    assert_eq!(heard[1].header("ttl"), "20");
    let said = world.browser.decrypted(&heard[1].body);
    assert_eq!((&said["kind"], said.get("cc_param")), (&json!("cancel"), None));
}

#[tokio::test]
async fn what_a_push_service_answers_is_told() {
    let world = World::new().await;
    let retry = |seconds| PushOutcome::Retry { after: Duration::from_secs(seconds) };
    for status in [200, 201, 202, 204] {
        assert_eq!(world.ring_answered(move || said(status, "")).await, PushOutcome::Accepted);
    }
    for status in [404, 410] {
        assert_eq!(world.ring_answered(move || said(status, "")).await, PushOutcome::Gone);
    }
    assert_eq!(world.ring_answered(|| said(429, "").with("retry-after", 9)).await, retry(9));
    for status in [500, 502, 503] {
        assert_eq!(world.ring_answered(move || said(status, "")).await, retry(1));
    }
    for status in [401, 403] {
        assert_eq!(world.ring_answered(move || said(status, "")).await, rejected(Rejection::Credentials));
    }
    assert_eq!(world.ring_answered(|| said(413, "")).await, rejected(Rejection::TooLarge));
    assert_eq!(world.ring_answered(|| said(400, "")).await, rejected(Rejection::Refused { status: 400 }));
    let endless = || Said { status: 410, headers: vec![], body: Content::Endless };
    assert_eq!(world.ring_answered(endless).await, PushOutcome::Gone);
    let large = CallPush { cc_param: "a".repeat(4_000), ..world.clock.push(PushKind::Ring) };
    assert_eq!(world.send(&large).await, rejected(Rejection::TooLarge));
}

#[tokio::test]
async fn no_endpoint_leads_into_a_private_network() {
    let world = World::new().await;
    let guarded = world.clock.senders(&config(&world.authority, false));
    let ring = world.clock.push(PushKind::Ring);
    let port = world.service.url.rsplit(':').next().unwrap();
    // By address, by a name for it, and by the ways to write it that only the system's resolver knows.
    for host in [
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost",
        "LOCALHOST",
        "10.0.0.1",
        "169.254.169.254",
        "[fd00::1]",
    ] {
        let outcome = guarded.send(&world.browser.address(&format!("https://{host}:{port}")), &ring).await;
        assert_eq!(outcome, rejected(Rejection::BadAddress), "{host}");
    }
    for host in ["127.1", "0x7f000001", "2130706433", "0"] {
        let outcome = guarded.send(&world.browser.address(&format!("https://{host}:{port}")), &ring).await;
        assert_ne!(outcome, PushOutcome::Accepted, "{host}");
    }
    let plain = guarded.send(&world.browser.address(&format!("http://localhost:{port}")), &ring).await;
    assert_eq!(plain, rejected(Rejection::BadAddress));
    assert_eq!(world.service.connections(), 0);
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let world = World::new().await;
    let elsewhere = Service::tls(&world.authority, &["h2", "http/1.1"], |_| said(201, "")).await;
    let location = format!("{}/inside", elsewhere.url);
    for status in [301, 307, 308] {
        let location = location.clone();
        let outcome = world.ring_answered(move || said(status, "").with("location", &location)).await;
        assert_eq!(outcome, rejected(Rejection::Refused { status }));
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn an_address_made_by_hand_is_checked_before_it_is_used() {
    let world = World::new().await;
    let PushAddress::WebPush { endpoint, p256dh, .. } = world.browser.address(&world.service.url) else {
        unreachable!("a browser's address")
    };
    let address = PushAddress::WebPush { endpoint, p256dh, auth: "short".into() };
    let outcome = world.senders.send(&address, &world.clock.push(PushKind::Ring)).await;
    assert_eq!(outcome, rejected(Rejection::BadAddress));
    assert_eq!(world.service.connections(), 0);
}
