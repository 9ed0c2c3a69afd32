//! A client of the reference app backend that `callkitd --dev` serves. A real app talks to its own backend instead.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use call_protocol::{ChannelId, Uid, UserId};
use callkit_core::{RtcToken, RtcTokenRequest, UserMapper};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::dial::Dial;
use crate::handlers::HandlerError;

/// One user's view of the reference app backend.
#[derive(Clone)]
pub struct DevBackend {
    http: Client<Dial, Full<Bytes>>,
    url: String,
    user: String,
    password: String,
    /// The newest one, for all clones.
    access_token: Arc<Mutex<String>>,
}

/// Why the reference app backend did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DevBackendError {
    /// It cannot be reached.
    #[error("the app backend cannot be reached: {0}")]
    Unreachable(String),
    /// It said no, and why.
    #[error("the app backend refused: {0}")]
    Refused(String),
    /// Its reply is not what was asked for.
    #[error("the app backend's reply was not understood")]
    NotUnderstood,
}

#[derive(serde::Deserialize)]
struct Token {
    token: String,
}

#[derive(serde::Deserialize)]
struct ChannelToken {
    token: String,
    uid: u32,
}

#[derive(serde::Deserialize)]
struct Mapped {
    user: String,
}

#[derive(serde::Deserialize)]
struct Pushed {
    cc_param: Option<String>,
}

#[derive(serde::Deserialize)]
struct Refusal {
    error: String,
}

/// How long a request may take. It is made twice: the network may have changed under the first.
const PATIENCE: Duration = Duration::from_secs(3);
/// Bytes of the longest reply looked at.
const REPLY_BYTES: usize = 64 * 1024;

impl DevBackend {
    /// Registers the user unless that was done before, and fetches an access token.
    pub async fn sign_in(url: impl Into<String>, user: &str, password: &str) -> Result<DevBackend, DevBackendError> {
        let url = url.into();
        // No connection is kept: after a change of network a kept one would hang.
        let http = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(Dial::default());
        let (user, password, access_token) = (user.to_owned(), password.to_owned(), Arc::default());
        let backend = DevBackend { http, url, user, password, access_token };
        match backend.post::<Value>("register", &backend.who()).await {
            // Known already: the password decides below.
            Ok(_) | Err(DevBackendError::Refused(_)) => {}
            Err(error) => return Err(error),
        }
        backend.renew_access_token().await?;
        Ok(backend)
    }

    /// The user's newest access token, for [`crate::Builder::sign_in`].
    pub fn access_token(&self) -> String {
        self.access_token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fetches a new access token, for [`crate::CallKit::set_access_token_handler`].
    pub async fn renew_access_token(&self) -> Result<String, DevBackendError> {
        let token = self.post::<Token>("access-token", &self.who()).await?.token;
        self.access_token.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&token);
        Ok(token)
    }

    fn who(&self) -> Value {
        json!({ "user": self.user, "password": self.password })
    }

    /// A channel token, for [`crate::CallKit::set_rtc_token_handler`].
    pub async fn rtc_token(&self, request: RtcTokenRequest) -> Result<RtcToken, HandlerError> {
        let ask = json!({ "channel": request.channel.as_str(), "uid": request.uid.map_or(0, Uid::get) });
        let reply: ChannelToken = self.post("rtc-token", &ask).await.map_err(|error| error.to_string())?;
        let uid = Uid::new(reply.uid).map_err(|error| error.to_string())?;
        Ok(RtcToken { token: reply.token, uid })
    }

    /// What a push would have brought this user, for [`crate::VerifyCallParam`]: of the call that rings for it, or `None` if none does.
    pub async fn cc_param(&self) -> Result<Option<String>, DevBackendError> {
        Ok(self.post::<Pushed>("cc-param", &json!({})).await?.cc_param)
    }

    /// The user behind a uid, for [`crate::CallKit::set_user_mapper_handler`].
    pub async fn map_user(&self, channel: ChannelId, uid: Uid) -> Result<UserMapper, HandlerError> {
        let ask = json!({ "channel": channel.as_str(), "uid": uid.get() });
        let reply: Mapped = self.post("user-map", &ask).await.map_err(|error| error.to_string())?;
        let user = UserId::new(reply.user).map_err(|error| error.to_string())?;
        Ok(UserMapper { channel, users: vec![(uid, user)] })
    }

    /// Sets all handlers of a kit to this backend.
    pub fn supply(&self, kit: &crate::CallKit) {
        let backend = self.clone();
        kit.set_access_token_handler(move || {
            let backend = backend.clone();
            async move { backend.renew_access_token().await.map_err(|error| HandlerError(error.to_string())) }
        });
        let backend = self.clone();
        kit.set_rtc_token_handler(move |request| {
            let backend = backend.clone();
            async move { backend.rtc_token(request).await }
        });
        let backend = self.clone();
        kit.set_user_mapper_handler(move |channel, uid| {
            let backend = backend.clone();
            async move { backend.map_user(channel, uid).await }
        });
    }

    async fn post<T: DeserializeOwned>(&self, what: &str, body: &Value) -> Result<T, DevBackendError> {
        let (status, reply) = match self.exchange(what, body).await {
            Err(None) => self.exchange(what, body).await,
            outcome => outcome,
        }
        .map_err(|error| DevBackendError::Unreachable(error.unwrap_or_else(|| "no reply in time".into())))?;
        if status.is_success() {
            return serde_json::from_slice(&reply).map_err(|_| DevBackendError::NotUnderstood);
        }
        let why = serde_json::from_slice::<Refusal>(&reply);
        Err(DevBackendError::Refused(why.map_or_else(|_| status.to_string(), |refusal| refusal.error)))
    }

    /// One request and its reply; `None` if that took too long.
    async fn exchange(&self, what: &str, body: &Value) -> Result<(StatusCode, Bytes), Option<String>> {
        let request = Request::post(format!("{}/dev/{what}", self.url))
            .header(AUTHORIZATION, format!("Bearer {}", self.access_token()))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(body.to_string()))
            .map_err(|error| Some(error.to_string()))?;
        let exchange = async {
            let response = self.http.request(request).await.map_err(|error| with_cause(&error))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, REPLY_BYTES).collect().await.map_err(|error| error.to_string())?;
            Ok((parts.status, body.to_bytes()))
        };
        tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| None)?.map_err(Some)
    }
}

fn with_cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}
