//! Apple Push Notification service, with provider tokens.
//!
//! iOS ends an app, and after some times delivers it no VoIP push any more, if a VoIP push comes and the app reports no new call
//! to CallKit. So a VoIP push says only that a call came in. That a call is over is said by a background push, which has
//! another topic and another device token, and which iOS delivers when it likes; the ring deadline and the app's question to
//! the server stop the ring where it does not.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls::ClientConfig;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::config::{ApnsConfig, PushConfigError, bad, read, service_url};
use super::guard::Reach;
use super::outgoing::{Answer, Outgoing, Speaks, Unanswered, secret};
use super::{CallPush, PushKind, PushOutcome, Rejection};

/// Age of the oldest provider token sent, in s: Apple refuses those over an hour.
const TOKEN_AGE_MAX_S: u64 = 50 * 60;
/// Age of the youngest provider token replaced, in s: Apple refuses providers that renew more often than every 20 minutes.
const TOKEN_AGE_MIN_S: u64 = 20 * 60;
/// Largest payload of a VoIP push, in bytes.
const VOIP_BYTES: usize = 5_120;
/// Largest payload of any other push, in bytes.
const BACKGROUND_BYTES: usize = 4_096;

pub(super) struct Apns {
    http: Outgoing,
    url: String,
    sandbox_url: String,
    bundle_id: String,
    provider: Mutex<ProviderTokens>,
}

/// How one kind of push is sent.
struct Manner<'a> {
    token: &'a str,
    topic: String,
    push_type: &'static str,
    priority: &'static str,
    aps: Value,
    limit_bytes: usize,
}

/// What an answer means.
enum Verdict {
    Final(PushOutcome),
    ProviderTokenExpired,
}

impl Apns {
    pub(super) fn new(config: &ApnsConfig, tls: &ClientConfig) -> Result<Self, PushConfigError> {
        for (key, value) in [("apns.team_id", &config.team_id), ("apns.key_id", &config.key_id)] {
            if value.is_empty() || !value.bytes().all(|b| b.is_ascii_alphanumeric()) {
                return Err(bad(key, "letters and digits"));
            }
        }
        let is_bundle = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
        if config.bundle_id.is_empty() || !config.bundle_id.bytes().all(is_bundle) {
            return Err(bad("apns.bundle_id", "a bundle id, such as com.example.app"));
        }
        if config.bundle_id.ends_with(".voip") {
            return Err(bad("apns.bundle_id", "without .voip, which is added where it belongs"));
        }
        Ok(Self {
            http: Outgoing::new(tls, Speaks::Http2, Reach::Anywhere),
            url: service_url("apns.url", &config.url)?,
            sandbox_url: service_url("apns.sandbox_url", &config.sandbox_url)?,
            bundle_id: config.bundle_id.clone(),
            provider: Mutex::new(ProviderTokens::new(config)?),
        })
    }

    pub(super) async fn send(
        &self,
        voip_token: &str,
        background_token: Option<&str>,
        sandbox: bool,
        push: &CallPush,
        now_ms: u64,
    ) -> PushOutcome {
        let Some(manner) = self.manner(voip_token, background_token, push.kind) else {
            return PushOutcome::rejected(Rejection::NoBackgroundToken);
        };
        let mut payload = Map::from_iter([("aps".to_owned(), manner.aps.clone())]);
        payload.extend(push.payload());
        let body = Bytes::from(Value::Object(payload).to_string());
        if body.len() > manner.limit_bytes {
            return PushOutcome::rejected(Rejection::TooLarge);
        }
        let url = if sandbox { &self.sandbox_url } else { &self.url };
        let Some(mut provider_token) = self.provider().current(now_ms / 1_000) else {
            return PushOutcome::rejected(Rejection::Credentials);
        };
        // A second time only with a provider token that the first time did not have.
        for _ in 0..2 {
            let Some(request) = request(url, &manner, push, &provider_token, body.clone()) else {
                return PushOutcome::rejected(Rejection::BadAddress);
            };
            let answer = match self.http.exchange(request).await {
                Ok(answer) => answer,
                Err(Unanswered::OutOfReach | Unanswered::Unreachable) => return PushOutcome::retry(None),
            };
            match verdict(&answer, push.kind) {
                Verdict::Final(outcome) => return outcome,
                Verdict::ProviderTokenExpired => match self.provider().after(&provider_token, now_ms / 1_000) {
                    Some(next) => provider_token = next,
                    None => break,
                },
            }
        }
        PushOutcome::rejected(Rejection::Credentials)
    }

    /// None where a background push has no token to go to.
    fn manner<'a>(&self, voip: &'a str, background: Option<&'a str>, kind: PushKind) -> Option<Manner<'a>> {
        match kind {
            PushKind::Ring => Some(Manner {
                token: voip,
                topic: format!("{}.voip", self.bundle_id),
                push_type: "voip",
                priority: "10",
                aps: json!({}),
                limit_bytes: VOIP_BYTES,
            }),
            PushKind::Cancel => background.map(|token| Manner {
                token,
                topic: self.bundle_id.clone(),
                push_type: "background",
                // Apple refuses a background push of priority 10.
                priority: "5",
                aps: json!({ "content-available": 1 }),
                limit_bytes: BACKGROUND_BYTES,
            }),
        }
    }

    fn provider(&self) -> MutexGuard<'_, ProviderTokens> {
        self.provider.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn request(url: &str, manner: &Manner<'_>, push: &CallPush, bearer: &str, body: Bytes) -> Option<Request<Full<Bytes>>> {
    Request::post(format!("{url}/3/device/{}", manner.token))
        .header("authorization", secret(format!("bearer {bearer}"))?)
        .header("apns-topic", &manner.topic)
        .header("apns-push-type", manner.push_type)
        .header("apns-priority", manner.priority)
        .header("apns-expiration", push.ring_deadline_unix_ms / 1_000)
        // 32 characters of the 64 that are allowed.
        .header("apns-collapse-id", push.call_id.to_string())
        .body(Full::new(body))
        .ok()
}

fn verdict(answer: &Answer, kind: PushKind) -> Verdict {
    #[derive(Deserialize)]
    struct Refusal {
        reason: String,
    }
    if answer.status.is_success() {
        return Verdict::Final(PushOutcome::Accepted);
    }
    if answer.is_busy() {
        return Verdict::Final(PushOutcome::retry(answer.retry_after));
    }
    let refusal: Option<Refusal> = answer.json();
    let reason = refusal.as_ref().map_or("", |refusal| refusal.reason.as_str());
    let status = answer.status.as_u16();
    Verdict::Final(match (answer.status, reason) {
        (_, "ExpiredProviderToken") => return Verdict::ProviderTokenExpired,
        (StatusCode::GONE, _) | (_, "BadDeviceToken" | "Unregistered" | "ExpiredToken") => match kind {
            PushKind::Ring => PushOutcome::Gone,
            PushKind::Cancel => PushOutcome::rejected(Rejection::NoBackgroundToken),
        },
        (StatusCode::PAYLOAD_TOO_LARGE, _) => PushOutcome::rejected(Rejection::TooLarge),
        (StatusCode::FORBIDDEN, _) => PushOutcome::rejected(Rejection::Credentials),
        _ => PushOutcome::rejected(Rejection::Refused { status }),
    })
}

/// The token by which Apple knows the developer: a JWT, ES256, used for many pushes.
struct ProviderTokens {
    key: EncodingKey,
    header: Header,
    team_id: String,
    newest: Option<Issued>,
    /// When a refusal last made a new one.
    renewed_at_s: Option<u64>,
}

struct Issued {
    token: Arc<str>,
    at_s: u64,
}

#[derive(Serialize)]
struct ProviderClaims<'a> {
    iss: &'a str,
    iat: u64,
}

impl ProviderTokens {
    fn new(config: &ApnsConfig) -> Result<Self, PushConfigError> {
        let no_key = || bad("apns.key_file", "a .p8 file: an EC private key of P-256 in PEM");
        let key = EncodingKey::from_ec_pem(&read("apns.key_file", &config.key_file)?).map_err(|_| no_key())?;
        let header = Header { typ: None, kid: Some(config.key_id.clone()), ..Header::new(Algorithm::ES256) };
        let mut tokens = Self { key, header, team_id: config.team_id.clone(), newest: None, renewed_at_s: None };
        // Whether the key can sign is known only when it does.
        tokens.issue(0).ok_or_else(no_key)?;
        tokens.newest = None;
        Ok(tokens)
    }

    /// The token to use now.
    fn current(&mut self, now_s: u64) -> Option<Arc<str>> {
        match &self.newest {
            // One from the future was made before the clock was put right.
            Some(newest) if newest.at_s <= now_s && now_s - newest.at_s < TOKEN_AGE_MAX_S => {
                Some(Arc::clone(&newest.token))
            }
            Some(_) | None => self.issue(now_s),
        }
    }

    /// The token to use after Apple called `refused` expired; none if another one would not help.
    fn after(&mut self, refused: &str, now_s: u64) -> Option<Arc<str>> {
        if let Some(newest) = self.newest.as_ref().filter(|newest| &*newest.token != refused) {
            return Some(Arc::clone(&newest.token));
        }
        if self.renewed_at_s.is_some_and(|at_s| now_s.abs_diff(at_s) < TOKEN_AGE_MIN_S) {
            return None;
        }
        self.renewed_at_s = Some(now_s);
        self.issue(now_s).filter(|token| &**token != refused)
    }

    fn issue(&mut self, now_s: u64) -> Option<Arc<str>> {
        let claims = ProviderClaims { iss: &self.team_id, iat: now_s };
        let token: Arc<str> = jsonwebtoken::encode(&self.header, &claims, &self.key).ok()?.into();
        self.newest = Some(Issued { token: Arc::clone(&token), at_s: now_s });
        Some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: u64 = 1_800_000_000;

    fn tokens() -> ProviderTokens {
        let folder = tempfile::tempdir().unwrap();
        let key_file = folder.path().join("key.p8");
        std::fs::write(&key_file, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
        let config = serde_json::from_value(json!({
            "team_id": "TEAM", "key_id": "KEY", "key_file": key_file, "bundle_id": "com.example.app"
        }));
        ProviderTokens::new(&config.unwrap()).unwrap()
    }

    #[test]
    fn a_provider_token_is_used_for_fifty_minutes() {
        let mut tokens = tokens();
        let first = tokens.current(NOW_S).unwrap();
        assert_eq!(tokens.current(NOW_S + 50 * 60 - 1).unwrap(), first);
        let second = tokens.current(NOW_S + 50 * 60).unwrap();
        assert_ne!(second, first);
        assert_ne!(tokens.current(NOW_S).unwrap(), second, "one from the future is not used");
    }

    #[test]
    fn a_refused_provider_token_is_renewed_but_not_more_often_than_apple_allows() {
        let mut tokens = tokens();
        let first = tokens.current(NOW_S).unwrap();
        let second = tokens.after(&first, NOW_S + 60).unwrap();
        assert_ne!(second, first);
        assert_eq!(tokens.after(&first, NOW_S + 61).unwrap(), second, "whoever comes later takes what is there");
        assert_eq!(tokens.after(&second, NOW_S + 60 + 20 * 60 - 1), None);
        assert_ne!(tokens.after(&second, NOW_S + 60 + 20 * 60).unwrap(), second);
    }
}
