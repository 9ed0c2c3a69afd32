//! Firebase Cloud Messaging, HTTP v1, with a service account.

use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls::ClientConfig;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Mutex;

use super::config::{FcmConfig, PushConfigError, bad, read, service_url};
use super::guard::Reach;
use super::outgoing::{Answer, Outgoing, Speaks, Unanswered, secret};
use super::{CallPush, PushOutcome, Rejection};

const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
const GRANT_TYPE: &str = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
/// How long an assertion is good, in s: the longest that Google takes.
const ASSERTION_S: u64 = 3_600;
/// How long before its end an access token is no longer used, in s.
const RENEW_BEFORE_S: u64 = 300;
/// Google's own word for 429 without a Retry-After.
const QUOTA_WAIT: Duration = Duration::from_secs(60);
/// Largest data of a message, in bytes.
const DATA_BYTES: usize = 4_096;

pub(super) struct Fcm {
    http: Outgoing,
    send_url: String,
    token_url: String,
    account: Account,
    /// Held while a new one is asked for, so that a burst of pushes asks once.
    access: Mutex<Option<Access>>,
}

/// Who signs the request for an access token.
struct Account {
    key: EncodingKey,
    header: Header,
    email: String,
    /// As the file says it: Google compares it with its own.
    audience: String,
}

#[derive(Clone)]
struct Access {
    token: String,
    from_s: u64,
    until_s: u64,
}

/// The JSON file that Google gives out.
#[derive(Deserialize)]
struct ServiceAccount {
    project_id: String,
    private_key_id: String,
    private_key: String,
    client_email: String,
    token_uri: String,
}

#[derive(Serialize)]
struct Assertion<'a> {
    iss: &'a str,
    scope: &'a str,
    aud: &'a str,
    iat: u64,
    exp: u64,
}

impl Fcm {
    pub(super) fn new(config: &FcmConfig, tls: &ClientConfig) -> Result<Self, PushConfigError> {
        let key = "fcm.service_account_file";
        let file: ServiceAccount = serde_json::from_slice(&read(key, &config.service_account_file)?)
            .map_err(|_| bad(key, "the JSON file of a service account's key"))?;
        let project = &file.project_id;
        if project.is_empty() || !project.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:".contains(&b)) {
            return Err(bad(key, "the file of a service account with a project_id"));
        }
        let no_key = || bad(key, "the file of a service account whose private_key is an RSA key in PEM");
        let account = Account {
            key: EncodingKey::from_rsa_pem(file.private_key.as_bytes()).map_err(|_| no_key())?,
            header: Header { kid: Some(file.private_key_id), ..Header::new(Algorithm::RS256) },
            email: file.client_email,
            audience: file.token_uri,
        };
        // Whether the key can sign is known only when it does.
        account.assertion(0).ok_or_else(no_key)?;
        Ok(Self {
            http: Outgoing::new(tls, Speaks::Both, Reach::Anywhere),
            send_url: format!("{}/v1/projects/{project}/messages:send", service_url("fcm.url", &config.url)?),
            token_url: service_url("the token_uri of fcm.service_account_file", &account.audience)?,
            account,
            access: Mutex::new(None),
        })
    }

    pub(super) async fn send(&self, token: &str, push: &CallPush, now_ms: u64) -> PushOutcome {
        let data = push.payload();
        let data_bytes: usize = data.iter().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
        if data_bytes > DATA_BYTES {
            return PushOutcome::rejected(Rejection::TooLarge);
        }
        let message = json!({
            "message": {
                "token": token,
                "data": data,
                "android": {
                    // Only this wakes a sleeping device; a cancel as well, since the device is ringing.
                    "priority": "HIGH",
                    "ttl": format!("{}s", push.left_s(now_ms)),
                    "collapse_key": push.call_id.to_string(),
                },
            },
        });
        let body = Bytes::from(message.to_string());
        let mut refused = None;
        // A second time only with an access token that the first time did not have.
        for _ in 0..2 {
            let access = match self.access(refused.as_deref(), now_ms / 1_000).await {
                Ok(access) => access,
                Err(outcome) => return outcome,
            };
            let Some(bearer) = secret(format!("Bearer {access}")) else {
                return PushOutcome::rejected(Rejection::Credentials);
            };
            let request = Request::post(&self.send_url)
                .header("authorization", bearer)
                .header("content-type", "application/json; charset=utf-8")
                .body(Full::new(body.clone()));
            let Ok(request) = request else { return PushOutcome::rejected(Rejection::Credentials) };
            let answer = match self.http.exchange(request).await {
                Ok(answer) => answer,
                Err(Unanswered::OutOfReach | Unanswered::Unreachable) => return PushOutcome::retry(None),
            };
            if answer.status != StatusCode::UNAUTHORIZED {
                return outcome(&answer);
            }
            refused = Some(access);
        }
        PushOutcome::rejected(Rejection::Credentials)
    }

    /// An access token that is good now and is not the one that was refused.
    async fn access(&self, refused: Option<&str>, now_s: u64) -> Result<String, PushOutcome> {
        let mut access = self.access.lock().await;
        if let Some(kept) = access.as_ref().filter(|kept| kept.is_good(now_s) && Some(kept.token.as_str()) != refused) {
            return Ok(kept.token.clone());
        }
        let new = self.ask_for_access(now_s).await?;
        Ok(access.insert(new).token.clone())
    }

    /// RFC 7523, section 2.1.
    async fn ask_for_access(&self, now_s: u64) -> Result<Access, PushOutcome> {
        #[derive(Deserialize)]
        struct Granted {
            access_token: String,
            #[serde(default = "an_hour_s")]
            expires_in: u64,
        }
        let credentials = PushOutcome::rejected(Rejection::Credentials);
        let assertion = self.account.assertion(now_s).ok_or(credentials)?;
        // A JWT is of characters that a form takes as they are.
        let form = format!("grant_type={GRANT_TYPE}&assertion={assertion}");
        let request = Request::post(&self.token_url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form)))
            .map_err(|_| credentials)?;
        let answer = self.http.exchange(request).await.map_err(|_| PushOutcome::retry(None))?;
        if answer.is_busy() {
            return Err(PushOutcome::retry(answer.retry_after));
        }
        let granted: Granted = answer.status.is_success().then(|| answer.json()).flatten().ok_or(credentials)?;
        Ok(Access { token: granted.access_token, from_s: now_s, until_s: now_s.saturating_add(granted.expires_in) })
    }
}

impl Account {
    fn assertion(&self, now_s: u64) -> Option<String> {
        let claims =
            Assertion { iss: &self.email, scope: SCOPE, aud: &self.audience, iat: now_s, exp: now_s + ASSERTION_S };
        jsonwebtoken::encode(&self.header, &claims, &self.key).ok()
    }
}

impl Access {
    fn is_good(&self, now_s: u64) -> bool {
        let margin_s = RENEW_BEFORE_S.min(self.until_s.saturating_sub(self.from_s) / 2);
        (self.from_s..self.until_s - margin_s).contains(&now_s)
    }
}

fn an_hour_s() -> u64 {
    3_600
}

/// What an answer to a message means.
fn outcome(answer: &Answer) -> PushOutcome {
    if answer.status.is_success() {
        return PushOutcome::Accepted;
    }
    if answer.is_busy() {
        let own = (answer.status == StatusCode::TOO_MANY_REQUESTS).then_some(QUOTA_WAIT);
        return PushOutcome::retry(answer.retry_after.or(own));
    }
    let refusal: Option<Refusal> = answer.json();
    let is_unregistered = refusal.is_some_and(|refusal| refusal.error.is_unregistered());
    match answer.status {
        _ if is_unregistered => PushOutcome::Gone,
        StatusCode::FORBIDDEN => PushOutcome::rejected(Rejection::Credentials),
        status => PushOutcome::rejected(Rejection::Refused { status: status.as_u16() }),
    }
}

#[derive(Deserialize)]
struct Refusal {
    error: Cause,
}

#[derive(Deserialize)]
struct Cause {
    #[serde(default)]
    status: String,
    #[serde(default)]
    details: Vec<Detail>,
}

#[derive(Deserialize)]
struct Detail {
    #[serde(default, rename = "errorCode")]
    error_code: String,
}

impl Cause {
    /// A 404 counts only if Firebase itself says so: a wrong URL must not make the app forget its devices.
    fn is_unregistered(&self) -> bool {
        self.status == "NOT_FOUND" || self.details.iter().any(|detail| detail.error_code == "UNREGISTERED")
    }
}
