//! Web Push (RFC 8030): encrypted for one browser, sent under the app's own key (VAPID, RFC 8292).

use base64::Engine as _;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::{Request, StatusCode};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use p256::SecretKey;
use p256::elliptic_curve::sec1::ToEncodedPoint as _;
use p256::pkcs8::EncodePrivateKey as _;
use rustls::ClientConfig;
use serde::Serialize;
use serde_json::Value;

use super::address::{BASE64URL, auth_secret, endpoint_uri, public_key};
use super::config::{PushConfigError, WebPushConfig, bad};
use super::encryption::{self, Once};
use super::guard::{Origin, Reach};
use super::outgoing::{Answer, Outgoing, Speaks, Unanswered, secret};
use super::{CallPush, PushOutcome, Rejection};

/// How long a signature is good, in s: half of the day that is allowed, for clocks that differ.
const SIGNATURE_S: u64 = 12 * 3_600;

pub(super) struct WebPush {
    http: Outgoing,
    reach: Reach,
    key: EncodingKey,
    public_key: String,
    subject: String,
}

#[derive(Serialize)]
struct Claims<'a> {
    aud: String,
    exp: u64,
    sub: &'a str,
}

impl WebPush {
    pub(super) fn new(config: &WebPushConfig, tls: &ClientConfig) -> Result<Self, PushConfigError> {
        let no_key = || bad("web_push.private_key", "a P-256 private key: 32 bytes in base64url");
        let bytes = BASE64URL.decode(&config.private_key).map_err(|_| no_key())?;
        let key = (bytes.len() == 32).then(|| SecretKey::from_slice(&bytes).ok()).flatten().ok_or_else(no_key)?;
        let is_contact = |scheme: &str| config.subject.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty());
        if !is_contact("mailto:") && !is_contact("https://") {
            return Err(bad("web_push.subject", "mailto:… or https://…"));
        }
        let reach = if config.allow_private { Reach::Anywhere } else { Reach::Public };
        Ok(Self {
            http: Outgoing::new(tls, Speaks::Both, reach),
            reach,
            key: EncodingKey::from_ec_der(key.to_pkcs8_der().map_err(|_| no_key())?.as_bytes()),
            public_key: BASE64URL.encode(key.public_key().to_encoded_point(false)),
            subject: config.subject.clone(),
        })
    }

    pub(super) fn public_key(&self) -> &str {
        &self.public_key
    }

    pub(super) async fn send(
        &self,
        endpoint: &str,
        p256dh: &str,
        auth: &str,
        push: &CallPush,
        now_ms: u64,
    ) -> PushOutcome {
        let bad_address = PushOutcome::rejected(Rejection::BadAddress);
        let (Ok(uri), Ok(browser), Ok(auth)) = (endpoint_uri(endpoint), public_key(p256dh), auth_secret(auth)) else {
            return bad_address;
        };
        let Some(origin) = Origin::of(&uri) else { return bad_address };
        // An address written out is not looked up, so that the guard of names does not see it.
        if origin.ip().is_some_and(|ip| !self.reach.includes(ip)) {
            return bad_address;
        }
        let text = Value::Object(push.payload()).to_string();
        let Some(body) = encryption::encrypted(text.as_bytes(), &browser, &auth, &Once::random()) else {
            return PushOutcome::rejected(Rejection::TooLarge);
        };
        let Some(authorization) = self.authorization(&origin, now_ms / 1_000) else {
            return PushOutcome::rejected(Rejection::Credentials);
        };
        let request = Request::post(uri)
            .header("authorization", authorization)
            .header("ttl", push.left_s(now_ms))
            .header("urgency", "high")
            // 32 characters of base64url are the most that is allowed; a call id has 32.
            .header("topic", push.call_id.to_string())
            .header("content-type", "application/octet-stream")
            .header("content-encoding", "aes128gcm")
            .body(Full::new(Bytes::from(body)));
        let Ok(request) = request else { return bad_address };
        match self.http.exchange(request).await {
            Ok(answer) => outcome(&answer),
            Err(Unanswered::OutOfReach) => bad_address,
            Err(Unanswered::Unreachable) => PushOutcome::retry(None),
        }
    }

    /// RFC 8292, sections 2 and 3.
    fn authorization(&self, origin: &Origin<'_>, now_s: u64) -> Option<HeaderValue> {
        let claims = Claims { aud: origin.text(), exp: now_s + SIGNATURE_S, sub: &self.subject };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &self.key).ok()?;
        secret(format!("vapid t={token}, k={}", self.public_key))
    }
}

fn outcome(answer: &Answer) -> PushOutcome {
    match answer.status {
        status if status.is_success() => PushOutcome::Accepted,
        StatusCode::NOT_FOUND | StatusCode::GONE => PushOutcome::Gone,
        _ if answer.is_busy() => PushOutcome::retry(answer.retry_after),
        StatusCode::PAYLOAD_TOO_LARGE => PushOutcome::rejected(Rejection::TooLarge),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => PushOutcome::rejected(Rejection::Credentials),
        // A redirect among them: where it leads was not checked.
        status => PushOutcome::rejected(Rejection::Refused { status: status.as_u16() }),
    }
}
