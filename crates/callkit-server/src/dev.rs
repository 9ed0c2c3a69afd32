//! The reference backend of an app, for development: accounts, tokens, and who is behind a uid. All of it in memory.
//!
//! A real app has its own backend, which signs the same tokens with the app's secret; nothing else in the server knows of this one.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use argon2::{Algorithm, Argon2, Params, Version};
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use call_protocol::{ChannelId, Uid, UserId};
use callkit_hub::{AppNo, Request as HubRequest};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::hub_link::{HubLink, ToHub};
use crate::token::Apps;

/// The app that the backend serves.
pub(crate) const DEV_APP: &str = "demo";

/// How long tokens are good where the request does not say, in s.
const TTL_S: u64 = 3_600;
/// Accounts, and uids handed out, at most: it is for a table full of phones.
const ACCOUNTS: usize = 10_000;
/// Bytes of a password, at most.
const PASSWORD_BYTES: usize = 256;
/// Bytes of a request, at most.
const REQUEST_BYTES: usize = 8 * 1024;

/// The accounts.
pub(crate) struct Directory {
    pub(crate) app: AppNo,
    accounts: Mutex<Accounts>,
}

#[derive(Default)]
struct Accounts {
    passwords: HashMap<UserId, PasswordHash>,
    uids: HashMap<UserId, Uid>,
    users: HashMap<Uid, UserId>,
    /// Uids that a request chose itself, by channel.
    chosen: HashMap<(ChannelId, Uid), UserId>,
}

struct PasswordHash {
    salt: [u8; 16],
    hash: [u8; 32],
}

impl Directory {
    pub(crate) fn new(app: AppNo) -> Self {
        Self { app, accounts: Mutex::default() }
    }

    pub(crate) fn knows(&self, user: &UserId) -> bool {
        self.lock().passwords.contains_key(user)
    }

    fn lock(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Accounts {
    fn add(&mut self, user: &UserId, password: PasswordHash) -> Result<(), Failure> {
        if self.passwords.contains_key(user) {
            return Err(taken());
        }
        if self.passwords.len() >= ACCOUNTS {
            return Err(failure(StatusCode::INSUFFICIENT_STORAGE, "there are too many accounts"));
        }
        self.passwords.insert(user.clone(), password);
        Ok(())
    }

    /// The uid of a user, the same in every channel and after a restart: its name's hash, or the next one that is free.
    fn uid_of(&mut self, user: &UserId) -> Uid {
        if let Some(uid) = self.uids.get(user) {
            return *uid;
        }
        let mut hasher = DefaultHasher::new();
        user.hash(&mut hasher);
        let mut number = hasher.finish() as u32 >> 1;
        let uid = loop {
            number = number.wrapping_add(1);
            match Uid::new(number) {
                Ok(uid) if !self.users.contains_key(&uid) => break uid,
                Ok(_) | Err(_) => {}
            }
        };
        self.uids.insert(user.clone(), uid);
        self.users.insert(uid, user.clone());
        uid
    }

    fn user_of(&self, channel: &ChannelId, uid: Uid) -> Option<&UserId> {
        self.chosen.get(&(channel.clone(), uid)).or_else(|| self.users.get(&uid))
    }
}

#[derive(Clone)]
struct Backend {
    apps: Arc<Apps>,
    directory: Arc<Directory>,
    hub: HubLink,
}

/// The routes below `/dev/`.
pub(crate) fn routes(apps: Arc<Apps>, directory: Arc<Directory>, hub: HubLink) -> Router {
    Router::new()
        .route("/dev/register", post(register))
        .route("/dev/access-token", post(access_token))
        .route("/dev/rtc-token", post(rtc_token))
        .route("/dev/user-map", post(user_map))
        .route("/dev/cc-param", post(cc_param))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES))
        .with_state(Backend { apps, directory, hub })
}

/// A status and what is wrong, told as `{"error": "…"}`.
struct Failure(StatusCode, String);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Told {
            error: String,
        }
        (self.0, Json(Told { error: self.1 })).into_response()
    }
}

impl From<JsonRejection> for Failure {
    fn from(rejection: JsonRejection) -> Self {
        Failure(rejection.status(), rejection.body_text())
    }
}

/// A JSON body whose errors are JSON too.
struct Asked<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Asked<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let Json(asked) = Json::from_request(request, state).await?;
        Ok(Asked(asked))
    }
}

fn failure(status: StatusCode, error: &str) -> Failure {
    Failure(status, error.to_owned())
}

fn taken() -> Failure {
    failure(StatusCode::CONFLICT, "the user is taken")
}

fn bad_request(error: impl std::fmt::Display) -> Failure {
    Failure(StatusCode::BAD_REQUEST, error.to_string())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    user: String,
    password: String,
    ttl_s: Option<u64>,
}

impl Credentials {
    fn user(&self) -> Result<UserId, Failure> {
        UserId::new(&self.user).map_err(|error| bad_request(format!("user: {error}")))
    }
}

async fn register(State(backend): State<Backend>, Asked(asked): Asked<Credentials>) -> Result<Response, Failure> {
    let user = asked.user()?;
    if asked.password.is_empty() || asked.password.len() > PASSWORD_BYTES {
        return Err(bad_request(format!("password: 1 to {PASSWORD_BYTES} bytes")));
    }
    if backend.directory.knows(&user) {
        return Err(taken());
    }
    let salt = rand::random();
    let hash = hashed(asked.password, salt).await?;
    backend.directory.lock().add(&user, PasswordHash { salt, hash })?;
    // Before the reply: from then on the user can be called.
    backend.hub.inputs.send(ToHub::Registered(user.clone())).await.ok();
    Ok((StatusCode::CREATED, Json(serde_json::json!({ "user": user }))).into_response())
}

async fn access_token(State(backend): State<Backend>, Asked(asked): Asked<Credentials>) -> Result<Response, Failure> {
    let user = asked.user()?;
    let wrong = || failure(StatusCode::UNAUTHORIZED, "user or password is wrong");
    let stored = backend.directory.lock().passwords.get(&user).map(|stored| (stored.salt, stored.hash));
    let (salt, expected) = stored.ok_or_else(wrong)?;
    if hashed(asked.password, salt).await? != expected {
        return Err(wrong());
    }
    let (signer, ttl_s) = (backend.signer()?, ttl(asked.ttl_s)?);
    let token = signer.access_token(&user, ttl_s);
    let app_id = &signer.app_id;
    Ok(Json(serde_json::json!({ "token": token, "app_id": app_id, "expires_in_s": ttl_s })).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RtcTokenRequest {
    channel: ChannelId,
    #[serde(default)]
    uid: u32,
    ttl_s: Option<u64>,
}

async fn rtc_token(
    State(backend): State<Backend>,
    headers: HeaderMap,
    Asked(asked): Asked<RtcTokenRequest>,
) -> Result<Response, Failure> {
    let user = backend.bearer(&headers)?;
    let ttl_s = ttl(asked.ttl_s)?;
    let mut accounts = backend.directory.lock();
    if accounts.uids.len() + accounts.chosen.len() >= ACCOUNTS {
        return Err(failure(StatusCode::INSUFFICIENT_STORAGE, "there are too many uids"));
    }
    let uid = match Uid::new(asked.uid) {
        Err(_) => accounts.uid_of(&user),
        Ok(uid) => {
            if accounts.user_of(&asked.channel, uid).is_some_and(|other| *other != user) {
                return Err(failure(StatusCode::CONFLICT, "the uid is another user's"));
            }
            accounts.chosen.insert((asked.channel.clone(), uid), user);
            uid
        }
    };
    drop(accounts);
    let token = backend.signer()?.channel_token(&asked.channel, uid, ttl_s);
    Ok(Json(serde_json::json!({ "token": token, "uid": uid, "expires_in_s": ttl_s })).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserMapRequest {
    channel: ChannelId,
    uid: Uid,
}

async fn user_map(
    State(backend): State<Backend>,
    headers: HeaderMap,
    Asked(asked): Asked<UserMapRequest>,
) -> Result<Response, Failure> {
    backend.bearer(&headers)?;
    let user = backend.directory.lock().user_of(&asked.channel, asked.uid).cloned();
    let user = user.ok_or_else(|| failure(StatusCode::NOT_FOUND, "nobody has this uid there"))?;
    Ok(Json(serde_json::json!({ "user": user })).into_response())
}

/// What a push would have brought the user: of the call that rings for it, or null.
async fn cc_param(State(backend): State<Backend>, headers: HeaderMap) -> Result<Response, Failure> {
    let user = backend.bearer(&headers)?;
    let stopping = || failure(StatusCode::SERVICE_UNAVAILABLE, "the server is shutting down");
    let wanted = HubRequest::Param { app: backend.directory.app, user };
    let cc_param = backend.hub.ask_param(wanted).await.ok_or_else(stopping)?;
    Ok(Json(serde_json::json!({ "cc_param": cc_param })).into_response())
}

impl Backend {
    fn signer(&self) -> Result<&crate::config::AppConfig, Failure> {
        self.apps
            .signer(self.directory.app)
            .ok_or_else(|| failure(StatusCode::INTERNAL_SERVER_ERROR, "the app has no secret"))
    }

    /// Whose access token the request bears.
    fn bearer(&self, headers: &HeaderMap) -> Result<UserId, Failure> {
        let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = token.and_then(|value| value.strip_prefix("Bearer "));
        let token = token.ok_or_else(|| failure(StatusCode::UNAUTHORIZED, "a bearer token is needed"))?;
        self.apps
            .check_access(self.directory.app, token)
            .map_err(|error| Failure(StatusCode::UNAUTHORIZED, error.to_string()))
    }
}

fn ttl(asked_s: Option<u64>) -> Result<u64, Failure> {
    match asked_s.unwrap_or(TTL_S) {
        ttl_s @ 1..=86_400 => Ok(ttl_s),
        _ => Err(bad_request("ttl_s: 1 to 86400")),
    }
}

/// Argon2id with little memory: the accounts live as long as the process and only on a developer's machine.
async fn hashed(password: String, salt: [u8; 16]) -> Result<[u8; 32], Failure> {
    let hash = tokio::task::spawn_blocking(move || {
        let params = Params::new(256, 2, 1, None)?;
        let mut hash = [0; 32];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(password.as_bytes(), &salt, &mut hash)
            .map(|()| hash)
    });
    match hash.await {
        Ok(Ok(hash)) => Ok(hash),
        Ok(Err(_)) | Err(_) => Err(failure(StatusCode::INTERNAL_SERVER_ERROR, "the password cannot be hashed")),
    }
}
