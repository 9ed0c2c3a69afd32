//! A client of the reference app backend that `callkitd --dev` serves. A real app talks to its own backend instead.

use std::time::Duration;

use call_protocol::{ChannelId, Uid, UserId};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::handlers::{HandlerError, RtcToken, RtcTokenRequest, UserMapper};

/// One user's view of the reference app backend.
#[derive(Clone)]
pub struct DevBackend {
    http: reqwest::Client,
    url: String,
    access_token: String,
}

/// Why the reference app backend did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
struct Refusal {
    error: String,
}

/// How long a request may take. It is made twice: the network may have changed under the first.
const PATIENCE: Duration = Duration::from_secs(3);

impl DevBackend {
    /// Registers the user unless that was done before, and fetches an access token.
    pub async fn sign_in(url: impl Into<String>, user: &str, password: &str) -> Result<DevBackend, DevBackendError> {
        let url = url.into();
        // No connection is kept: after a change of network a kept one would hang.
        let http = reqwest::Client::builder().timeout(PATIENCE).pool_max_idle_per_host(0).build();
        let http = http.map_err(|error| DevBackendError::Unreachable(error.to_string()))?;
        let mut backend = DevBackend { http, url, access_token: String::new() };
        let who = json!({ "user": user, "password": password });
        match backend.post::<Value>("register", &who).await {
            // Known already: the password decides below.
            Ok(_) | Err(DevBackendError::Refused(_)) => {}
            Err(error) => return Err(error),
        }
        backend.access_token = backend.post::<Token>("access-token", &who).await?.token;
        Ok(backend)
    }

    /// The user's access token, for [`crate::Builder::sign_in`].
    pub fn access_token(&self) -> &str {
        &self.access_token
    }

    /// A channel token, for [`crate::CallKit::set_rtc_token_handler`].
    pub async fn rtc_token(&self, request: RtcTokenRequest) -> Result<RtcToken, HandlerError> {
        let ask = json!({ "channel": request.channel.as_str(), "uid": request.uid.map_or(0, Uid::get) });
        let reply: ChannelToken = self.post("rtc-token", &ask).await.map_err(|error| error.to_string())?;
        let uid = Uid::new(reply.uid).map_err(|error| error.to_string())?;
        Ok(RtcToken { token: reply.token, uid })
    }

    /// The user behind a uid, for [`crate::CallKit::set_user_mapper_handler`].
    pub async fn map_user(&self, channel: ChannelId, uid: Uid) -> Result<UserMapper, HandlerError> {
        let ask = json!({ "channel": channel.as_str(), "uid": uid.get() });
        let reply: Mapped = self.post("user-map", &ask).await.map_err(|error| error.to_string())?;
        let user = UserId::new(reply.user).map_err(|error| error.to_string())?;
        Ok(UserMapper { channel, users: vec![(uid, user)] })
    }

    /// Sets both handlers of a kit to this backend.
    pub fn supply(&self, kit: &crate::CallKit) {
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
        let unreachable = |error: reqwest::Error| DevBackendError::Unreachable(error.to_string());
        let request = || self.http.post(format!("{}/dev/{what}", self.url)).bearer_auth(&self.access_token).json(body);
        let response = match request().send().await {
            Err(error) if error.is_timeout() => request().send().await,
            response => response,
        };
        let response = response.map_err(unreachable)?;
        if response.status().is_success() {
            return response.json().await.map_err(|_| DevBackendError::NotUnderstood);
        }
        let status = response.status();
        let why = response.json::<Refusal>().await.map_or_else(|_| status.to_string(), |refusal| refusal.error);
        Err(DevBackendError::Refused(why))
    }
}
