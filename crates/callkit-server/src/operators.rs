//! What the backend of an app may do to its own users over HTTP: sign one out, revoke tokens, end a call.
//!
//! It proves itself by a token that its app's secret signed, like those of its users, but with `"scope": "operator"` in place of a user: no
//! user's token is one, and what is asked reaches nobody of another app.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use call_protocol::{CallId, DeviceId, UserId};
use callkit_hub::{AppNo, CallKey, Request, RevokedTokens};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::info;

use crate::clock::unix_s;
use crate::hub_link::HubLink;
use crate::metering::Metering;
use crate::revoked::{Revocation, RevokedKey};
use crate::store::Store;
use crate::token::{Apps, AuthFailure, TokenError};

/// Bytes of a request, at most: a token and a few words.
const REQUEST_BYTES: usize = 8 * 1024;
/// For how long the tokens of a user are refused where the request does not say, in s: longer than an app lets them live.
const REVOKED_FOR_S: u64 = 30 * 24 * 3_600;
/// The longest that can be asked for, in s.
const REVOKED_FOR_MAX_S: u64 = 366 * 24 * 3_600;
/// How long the hub may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the routes need.
#[derive(Clone)]
pub(crate) struct Operators {
    pub(crate) apps: Arc<Apps>,
    pub(crate) hub: HubLink,
    pub(crate) store: Store,
    pub(crate) metering: Arc<Metering>,
}

/// The routes below `/v1/apps/`.
pub(crate) fn routes(operators: Operators) -> Router {
    Router::new()
        .route("/v1/apps/{app}/sign-out", post(sign_out))
        .route("/v1/apps/{app}/revoke", post(revoke))
        .route("/v1/apps/{app}/end-call", post(end_call))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES))
        .with_state(operators)
}

/// Why nothing was done.
enum Refused {
    Credentials(TokenError),
    UnknownApp,
    Malformed(&'static str),
    NoSuchCall,
    Full,
    Stopping,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, error) = match self {
            Refused::Credentials(error) => (StatusCode::UNAUTHORIZED, error.to_string()),
            // As for a token that is not good: who has no key need not learn which apps there are.
            Refused::UnknownApp => (StatusCode::UNAUTHORIZED, TokenError::Signature.to_string()),
            Refused::Malformed(what) => (StatusCode::BAD_REQUEST, what.to_owned()),
            Refused::NoSuchCall => (StatusCode::NOT_FOUND, "no_such_call".to_owned()),
            Refused::Full => (StatusCode::INSUFFICIENT_STORAGE, "too_many_revocations".to_owned()),
            Refused::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "shutting_down".to_owned()),
        };
        (status, Json(json!({ "error": error }))).into_response()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignOut {
    user: UserId,
    device: Option<DeviceId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoke {
    user: Option<UserId>,
    token: Option<String>,
    issued_until_s: Option<u64>,
    for_s: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndCall {
    call_id: CallId,
}

async fn sign_out(
    State(operators): State<Operators>,
    Path(app): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refused> {
    let app = operators.admit(&app, &headers)?;
    let SignOut { user, device } = parsed(&body, "a JSON object with user, and device for one device only")?;
    let sessions = operators.ask(Request::SignOut { app, user, device }).await?;
    info!(sessions, "an app's backend signed a user out");
    Ok(Json(json!({ "sessions": sessions })).into_response())
}

async fn revoke(
    State(operators): State<Operators>,
    Path(app): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refused> {
    const SHAPE: &str = "a JSON object with user (and issued_until_s, and for_s, 1 to 31622400), or with token";
    let app = operators.admit(&app, &headers)?;
    let now = unix_s();
    let (key, revocation, user, tokens) = match parsed(&body, SHAPE)? {
        Revoke { user: Some(user), token: None, issued_until_s, for_s } => {
            let for_s = for_s.unwrap_or(REVOKED_FOR_S);
            if !(1..=REVOKED_FOR_MAX_S).contains(&for_s) {
                return Err(Refused::Malformed(SHAPE));
            }
            // Whole seconds: what is issued within this one is revoked, too.
            let issued_until_s = issued_until_s.unwrap_or(now);
            let revocation = Revocation { issued_until_s, until_unix_s: now + for_s };
            (RevokedKey::of_user(app, &user), revocation, user, RevokedTokens::IssuedUntil(issued_until_s))
        }
        Revoke { user: None, token: Some(token), issued_until_s: None, for_s: None } => {
            let (user, exp) =
                operators.apps.owner_of(app, &token).map_err(|_| Refused::Malformed("no token of this app"))?;
            let revocation = Revocation { issued_until_s: u64::MAX, until_unix_s: exp };
            let key = RevokedKey::of_token(app, &token);
            (key, revocation, user, RevokedTokens::One(key.digest))
        }
        Revoke { .. } => return Err(Refused::Malformed(SHAPE)),
    };
    if !operators.apps.revoked().add(key, revocation, now) {
        return Err(Refused::Full);
    }
    operators.store.revoke(operators.apps.name(app), key, revocation);
    operators.store.flush().await;
    let sessions = operators.ask(Request::Revoke { app, user, tokens }).await?;
    info!(sessions, "an app's backend revoked tokens");
    Ok(Json(json!({ "sessions": sessions })).into_response())
}

async fn end_call(
    State(operators): State<Operators>,
    Path(app): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refused> {
    let app = operators.admit(&app, &headers)?;
    let EndCall { call_id } = parsed(&body, "a JSON object with call_id")?;
    let key = CallKey { app, call_id };
    match operators.ask(Request::EndCall(key)).await? {
        0 => Err(Refused::NoSuchCall),
        _ => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

fn parsed<T: DeserializeOwned>(body: &[u8], shape: &'static str) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|_| Refused::Malformed(shape))
}

impl Operators {
    /// The app of the path, if whoever asks has its key.
    fn admit(&self, app: &str, headers: &HeaderMap) -> Result<AppNo, Refused> {
        let failed = |failure| self.metering.auth_failed(failure);
        let app = self.apps.find(app).ok_or_else(|| {
            failed(AuthFailure::AppUnknown);
            Refused::UnknownApp
        })?;
        let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = token.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        self.apps.check_operator(app, token).map_err(|error| {
            failed(AuthFailure::Token(error));
            Refused::Credentials(error)
        })?;
        Ok(app)
    }

    async fn ask(&self, request: Request) -> Result<usize, Refused> {
        let answered = tokio::time::timeout(PATIENCE, self.hub.ask_to_end(request)).await;
        answered.ok().flatten().ok_or(Refused::Stopping)
    }
}
