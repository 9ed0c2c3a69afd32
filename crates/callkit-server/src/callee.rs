//! What a phone, or the service that notifies it, asks over HTTP with a cc_param alone, while no app runs.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use call_protocol::UserId;
use call_protocol::end::UserCode;
use callkit_hub::{CallKey, CallStatus, Request};
use serde::Deserialize;
use serde_json::json;

use crate::cc_keys::{CcError, CcKeys};
use crate::clock::Clock;
use crate::hub_link::HubLink;
use crate::limits::Limits;
use crate::metering::Metering;
use crate::token::{Apps, AuthFailure};

/// Bytes of a request, at most: a cc_param and a code.
const REQUEST_BYTES: usize = 4 * 1024;

/// What the routes need.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) apps: Arc<Apps>,
    pub(crate) cc_keys: Arc<CcKeys>,
    pub(crate) hub: HubLink,
    pub(crate) limits: Arc<Limits>,
    pub(crate) metering: Arc<Metering>,
    pub(crate) clock: Clock,
}

/// The routes below `/v1/`.
pub(crate) fn routes(desk: Desk) -> Router {
    Router::new()
        .route("/v1/decline", post(decline))
        .route("/v1/verify", post(verify))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES))
        .with_state(desk)
}

#[derive(Deserialize)]
struct Asked {
    cc_param: String,
    user_code: Option<String>,
}

/// Why there is no answer.
enum Refused {
    Malformed(&'static str),
    Forged,
    Released,
    TooMany,
    Stopping,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, error) = match self {
            Refused::Malformed(what) => (StatusCode::BAD_REQUEST, what),
            Refused::Forged => (StatusCode::UNAUTHORIZED, "cc_param_invalid"),
            Refused::Released => (StatusCode::GONE, "released_call"),
            Refused::TooMany => (StatusCode::TOO_MANY_REQUESTS, "too_many_requests"),
            Refused::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "shutting_down"),
        };
        let mut response = (status, Json(json!({ "error": error }))).into_response();
        if status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
        }
        response
    }
}

async fn decline(State(desk): State<Desk>, body: Bytes) -> Result<Response, Refused> {
    let asked = parsed(&body)?;
    let code = asked.user_code.as_deref().filter(|code| !code.is_empty());
    let code = code.map(UserCode::new).transpose().map_err(|_| Refused::Malformed("user_code: at most 64 bytes"))?;
    let decline = |call, user| Request::Decline { call, user, user_code: code };
    match desk.ask(&asked.cc_param, decline).await {
        Ok(CallStatus::Rings { .. }) => {
            desk.metering.declines_done.increment(1);
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        Ok(CallStatus::Released) => {
            desk.metering.declines_late.increment(1);
            Err(Refused::Released)
        }
        Err(refused) => {
            desk.metering.declines_refused.increment(1);
            Err(refused)
        }
    }
}

async fn verify(State(desk): State<Desk>, body: Bytes) -> Result<Response, Refused> {
    let asked = parsed(&body)?;
    let server_unix_ms = desk.clock.unix_ms();
    let state = match desk.ask(&asked.cc_param, |call, user| Request::Verify { call, user }).await {
        Ok(CallStatus::Rings { deadline_unix_ms }) => {
            json!({ "state": "ringing", "ring_deadline_unix_ms": deadline_unix_ms, "server_unix_ms": server_unix_ms })
        }
        Ok(CallStatus::Released) | Err(Refused::Released) => json!({ "state": "released_call" }),
        Err(refused) => return Err(refused),
    };
    Ok(Json(state).into_response())
}

/// The header that names the content is not looked at: what sends this is often a few lines beside an app.
fn parsed(body: &[u8]) -> Result<Asked, Refused> {
    serde_json::from_slice(body).map_err(|_| Refused::Malformed("a JSON object with cc_param"))
}

impl Desk {
    async fn ask(
        &self,
        cc_param: &str,
        request: impl FnOnce(CallKey, UserId) -> Request,
    ) -> Result<CallStatus, Refused> {
        let read = self.cc_keys.read(&self.apps, None, cc_param, Some(&self.clock));
        let (app, param) = read.map_err(|error| {
            self.metering.auth_failed(AuthFailure::CcParam(error));
            match error {
                CcError::Shape => Refused::Malformed("cc_param_malformed"),
                CcError::Signature | CcError::OtherApp => Refused::Forged,
                CcError::Expired => Refused::Released,
            }
        })?;
        self.limits.sign_in_for(app, param.call_id).map_err(|_| Refused::TooMany)?;
        let request = request(CallKey { app, call_id: param.call_id }, param.user);
        self.hub.ask_status(request).await.ok_or(Refused::Stopping)
    }
}
