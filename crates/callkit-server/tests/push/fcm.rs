//! Google's service: the grant, the message, and what its refusals mean.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use callkit_server::push::{
    CallPush, FcmConfig, PushAddress, PushConfig, PushKind, PushOutcome, PushSenders, Rejection,
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey, LineEnding};
use rsa::traits::PublicKeyParts;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::service::{Authority, CC_PARAM, Clock, Heard, RING_MS, START_MS, Said, Service, said};

const SEND: &str = "/v1/projects/calls-1234/messages:send";
const TOKEN: &str = "cXz:APA91b-registration_token";

/// RSA keys are long in the making.
fn key() -> &'static RsaPrivateKey {
    static KEY: OnceLock<RsaPrivateKey> = OnceLock::new();
    KEY.get_or_init(|| RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2_048).unwrap())
}

/// The checks of Google's token endpoint and of `projects.messages.send`.
struct Google {
    clock: Clock,
    token_uri: OnceLock<String>,
    /// Access tokens given out, and until when they are good.
    access: Mutex<HashMap<String, u64>>,
    /// Answers it gives instead.
    says_of_grants: Mutex<Option<fn() -> Said>>,
    says_of_messages: Mutex<Option<fn() -> Said>>,
}

#[derive(Deserialize)]
struct Assertion {
    iss: String,
    scope: String,
    iat: u64,
    exp: u64,
}

impl Google {
    fn judge(&self, heard: &Heard) -> Said {
        match heard.path.as_str() {
            "/token" => match *self.says_of_grants.lock().unwrap() {
                Some(says) => says(),
                None => self.grant(heard),
            },
            SEND => match *self.says_of_messages.lock().unwrap() {
                Some(says) => says(),
                None => self.message(heard),
            },
            _ => said(404, "<html>"),
        }
    }

    fn grant(&self, heard: &Heard) -> Said {
        let refused = |why: &str| said(400, json!({ "error": "invalid_grant", "error_description": why }));
        if heard.header("content-type") != "application/x-www-form-urlencoded" {
            return refused("not a form");
        }
        let form = String::from_utf8(heard.body.to_vec()).unwrap();
        let fields: HashMap<&str, &str> = form.split('&').filter_map(|field| field.split_once('=')).collect();
        if fields.get("grant_type") != Some(&"urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer") {
            return refused("grant_type");
        }
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_audience(&[self.token_uri.get().unwrap()]);
        validation.set_required_spec_claims(&["aud"]);
        // By the test's clock, below.
        validation.validate_exp = false;
        let public = key().to_public_key();
        let public = DecodingKey::from_rsa_raw_components(&public.n().to_bytes_be(), &public.e().to_bytes_be());
        let Ok(data) = jsonwebtoken::decode::<Assertion>(fields["assertion"], &public, &validation) else {
            return refused("assertion");
        };
        let (claims, now_s) = (data.claims, self.clock.s());
        let is_now = claims.iat <= now_s && now_s < claims.exp && claims.exp - claims.iat <= 3_600;
        let is_ours = claims.iss == "push@calls-1234.example" && data.header.kid.as_deref() == Some("0123abcd");
        if !is_now || !is_ours || claims.scope != "https://www.googleapis.com/auth/firebase.messaging" {
            return refused("claims");
        }
        let mut access = self.access.lock().unwrap();
        let token = format!("ya29.{}", access.len());
        access.insert(token.clone(), now_s + 3_599);
        said(200, json!({ "access_token": token, "expires_in": 3_599, "token_type": "Bearer" }))
    }

    fn message(&self, heard: &Heard) -> Said {
        let bearer = heard.header("authorization").strip_prefix("Bearer ").unwrap_or_default();
        if self.access.lock().unwrap().get(bearer).is_none_or(|until_s| *until_s <= self.clock.s()) {
            return refusal(401, "UNAUTHENTICATED", "");
        }
        let message = &heard.json()["message"];
        let is_text = |(key, value): (&String, &Value)| {
            let is_reserved =
                key == "from" || key.starts_with("google") || key.starts_with("gcm") || key == "message_type";
            value.is_string() && !is_reserved
        };
        let is_duration = |text: &str| text.strip_suffix('s').is_some_and(|number| number.parse::<u64>().is_ok());
        let android = &message["android"];
        let is_sound = message["data"].as_object().is_some_and(|data| data.iter().all(is_text))
            && android["ttl"].as_str().is_some_and(is_duration)
            && ["HIGH", "NORMAL"].contains(&android["priority"].as_str().unwrap_or_default());
        match message["token"].as_str() {
            _ if !is_sound => refusal(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
            Some(TOKEN) => said(200, json!({ "name": "projects/calls-1234/messages/0:1500415314455276" })),
            Some(_) | None => refusal(404, "NOT_FOUND", "UNREGISTERED"),
        }
    }
}

fn refusal(code: u16, status: &str, error_code: &str) -> Said {
    let of_fcm = json!({ "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": error_code });
    let other = json!({ "@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [] });
    said(code, json!({ "error": { "code": code, "message": "…", "status": status, "details": [other, of_fcm] } }))
}

struct World {
    clock: Clock,
    google: Arc<Google>,
    service: Service,
    senders: PushSenders,
}

impl World {
    async fn new() -> Self {
        let (clock, authority) = (Clock::start(), Authority::new());
        let google = Arc::new(Google {
            clock: clock.clone(),
            token_uri: OnceLock::new(),
            access: Mutex::default(),
            says_of_grants: Mutex::default(),
            says_of_messages: Mutex::default(),
        });
        let judge = Arc::clone(&google);
        let service = Service::plain(move |heard| judge.judge(heard)).await;
        let token_uri = format!("{}/token", service.url);
        google.token_uri.set(token_uri.clone()).unwrap();
        let account = json!({
            "type": "service_account",
            "project_id": "calls-1234",
            "private_key_id": "0123abcd",
            "private_key": key().to_pkcs8_pem(LineEnding::LF).unwrap().as_str(),
            "client_email": "push@calls-1234.example",
            "client_id": "1",
            "token_uri": token_uri,
        });
        let service_account_file = authority.file("account.json", &account.to_string());
        let fcm = FcmConfig { service_account_file, url: service.url.clone() };
        let ca_file = Some(authority.ca_file());
        let senders = clock.senders(&PushConfig { fcm: Some(fcm), ca_file, ..PushConfig::default() });
        Self { clock, google, service, senders }
    }

    async fn send(&self, token: &str, push: &CallPush) -> PushOutcome {
        self.senders.send(&PushAddress::Fcm { token: token.into() }, push).await
    }

    async fn ring(&self) -> PushOutcome {
        self.send(TOKEN, &self.clock.push(PushKind::Ring)).await
    }

    async fn ring_answered(&self, says: fn() -> Said) -> PushOutcome {
        *self.google.says_of_messages.lock().unwrap() = Some(says);
        let outcome = self.ring().await;
        *self.google.says_of_messages.lock().unwrap() = None;
        outcome
    }

    fn heard_at(&self, path: &str) -> usize {
        self.service.heard().iter().filter(|heard| heard.path == path).count()
    }
}

fn rejected(why: Rejection) -> PushOutcome {
    PushOutcome::Rejected { why }
}

#[tokio::test]
async fn a_ring_and_its_cancel_are_data_of_high_priority_that_end_with_the_ring() {
    let world = World::new().await;
    let ring = CallPush { ring_deadline_unix_ms: START_MS + RING_MS + 999, ..world.clock.push(PushKind::Ring) };
    assert_eq!(world.send(TOKEN, &ring).await, PushOutcome::Accepted);
    let expected = json!({ "message": {
        "token": TOKEN,
        "data": {
            "kind": "ring",
            "call_id": "00000000000000000000000000c0ffee",
            "cc_param": CC_PARAM,
            "caller": "ann",
            "call_type": "video_1v1",
            "ring_deadline_unix_ms": (START_MS + RING_MS + 999).to_string(),
        },
        "android": { "priority": "HIGH", "ttl": "30s", "collapse_key": "00000000000000000000000000c0ffee" },
    }});
    assert_eq!(world.service.last().json(), expected);

    world.clock.advance_s(12);
    assert_eq!(world.send(TOKEN, &CallPush { kind: PushKind::Cancel, ..ring }).await, PushOutcome::Accepted);
    let message = &world.service.last().json()["message"];
    assert_eq!(message["data"]["kind"], "cancel");
    assert_eq!(message["data"].get("cc_param"), None);
    assert_eq!(
        message["android"],
        json!({ "priority": "HIGH", "ttl": "18s", "collapse_key": "00000000000000000000000000c0ffee" })
    );
}

#[tokio::test]
async fn access_is_asked_for_once_an_hour_however_many_push_at_once() {
    let world = World::new().await;
    let rings = futures_util::future::join_all((0..20).map(|_| world.ring())).await;
    assert!(rings.iter().all(|outcome| *outcome == PushOutcome::Accepted), "{rings:?}");
    assert_eq!((world.heard_at("/token"), world.heard_at(SEND)), (1, 20));
    // Every ten minutes for five hours; an access token is used for 54 minutes.
    for _ in 0..30 {
        world.clock.advance_s(600);
        assert_eq!(world.ring().await, PushOutcome::Accepted);
    }
    assert_eq!((world.heard_at("/token"), world.heard_at(SEND)), (6, 50));
}

#[tokio::test]
async fn access_that_was_taken_back_is_asked_for_again() {
    let world = World::new().await;
    assert_eq!(world.ring().await, PushOutcome::Accepted);
    world.google.access.lock().unwrap().insert("ya29.0".into(), 0);
    assert_eq!(world.ring().await, PushOutcome::Accepted);
    assert_eq!((world.heard_at("/token"), world.heard_at(SEND)), (2, 3));
    assert_eq!(world.ring_answered(|| refusal(401, "UNAUTHENTICATED", "")).await, rejected(Rejection::Credentials));
}

#[tokio::test]
async fn without_access_nothing_is_sent() {
    let world = World::new().await;
    let grants = |says: fn() -> Said| *world.google.says_of_grants.lock().unwrap() = Some(says);
    grants(|| said(400, r#"{"error":"invalid_grant"}"#));
    assert_eq!(world.ring().await, rejected(Rejection::Credentials));
    grants(|| said(503, "").with("retry-after", 3));
    assert_eq!(world.ring().await, PushOutcome::Retry { after: Duration::from_secs(3) });
    grants(|| said(200, "no JSON"));
    assert_eq!(world.ring().await, rejected(Rejection::Credentials));
    assert_eq!(world.heard_at(SEND), 0);
}

#[tokio::test]
async fn what_google_answers_is_told() {
    let world = World::new().await;
    let retry = |seconds| PushOutcome::Retry { after: Duration::from_secs(seconds) };
    let ring = world.clock.push(PushKind::Ring);
    assert_eq!(world.send("another", &ring).await, PushOutcome::Gone);
    assert_eq!(world.ring_answered(|| refusal(404, "NOT_FOUND", "")).await, PushOutcome::Gone);
    assert_eq!(
        world.ring_answered(|| said(404, "<html>")).await,
        rejected(Rejection::Refused { status: 404 }),
        "not Firebase's own word"
    );
    assert_eq!(world.ring_answered(|| refusal(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")).await, retry(60));
    assert_eq!(world.ring_answered(|| refusal(429, "", "").with("retry-after", 5)).await, retry(5));
    assert_eq!(world.ring_answered(|| refusal(503, "UNAVAILABLE", "UNAVAILABLE")).await, retry(1));
    assert_eq!(
        world.ring_answered(|| refusal(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH")).await,
        rejected(Rejection::Credentials)
    );
    assert_eq!(
        world.ring_answered(|| refusal(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT")).await,
        rejected(Rejection::Refused { status: 400 })
    );
    let large = CallPush { cc_param: "a".repeat(4_096), ..ring };
    assert_eq!(world.send(TOKEN, &large).await, rejected(Rejection::TooLarge));
}
