//! The server of the call kit: sign-in, ringing, routing, channels, STUN.
//!
//! One TCP port speaks gRPC to apps (`proto/callkit/v1/signal.proto`) and HTTP to operators; one UDP port tells whoever asks by which
//! address it is seen (STUN). Voice and pictures do not pass through: two members of a channel talk to each other.
//!
//! As a program it needs no set-up: `callkitd --dev` serves this machine, with an app `demo` and a backend for it. `callkitd --help`
//! lists every knob; each is also a key of a TOML file and an environment variable ([`ServerConfig`]). As a library:
//!
//! ```
//! use callkit_server::{Server, ServerConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::start(ServerConfig::dev_on_loopback()).await?;
//! println!("sign in at http://{}", server.local_addr());
//!
//! // What an app's own backend does for its users.
//! let app = &server.apps()[0];
//! let access_token = app.access_token(&"ann".parse()?, 3_600);
//! let channel_token = app.channel_token(&"room".parse()?, 7.try_into()?, 3_600);
//! # drop((access_token, channel_token));
//! server.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What a client finds
//!
//! - **Sign-in**: the first frame is a hello with an access token, a JWT (RFC 7519) with `sub`, `iss`, `uid` and `exp`, HS256 by the app's
//!   secret; `nbf` is kept to, times may have fractions. It is answered by a welcome or by a refusal with its reason. The same user on the same device again replaces the first one. A user of one app is nobody in another.
//! - **A session that outlives its stream**: frames are numbered, kept until acknowledged, and sent again after a resume within
//!   [`resume_window_ms`](ServerConfig::resume_window_ms): nothing is lost or doubled. Acknowledgements ride on other frames, or come
//!   alone after [`ack_delay_ms`](ServerConfig::ack_delay_ms) or 16 frames.
//! - **Calls**: each has one `signaling::Arbiter` here. The server writes the true sender into what it carries. With
//!   [`data_dir`](ServerConfig::data_dir) calls outlive a restart; without it, a server that has just started says nothing about
//!   running calls it does not know, so that the voice goes on.
//! - **Sleeping phones**: when a call opens, the app's backend gets a webhook and the devices that are away get a push; both carry a
//!   `cc_param`, signed here, with which a phone signs in for that one call, or declines it over HTTP without its app. Who comes late is
//!   told that the call is over. Missed calls are told to each device once, also after a restart (`docs/push.md`, `docs/webhooks.md`).
//! - **Account**: `proto/callkit/v1/account.proto` takes push addresses and gives the history, each request with an access token.
//! - **Channels of two**: a join needs a channel token for that channel and uid, or none where the channel is the own one, named by the
//!   call's id, of a one-to-one call which the device placed or took; it is told who is there and what they send.
//!   Descriptions, candidates and mute states go from member to member. A token that ends is announced 30 s before (at half its life
//!   if that is shorter) and can be renewed. A member whose session was replaced keeps its place for the resume window: a
//!   join of the same device takes it over, and the others hear `MemberJoined` without a leave before it.
//! - **Misbehaviour is its own affair**: garbage, silence, frames too large, out of order or unread end that one stream.
//!
//! # What an operator finds
//!
//! | path | |
//! | --- | --- |
//! | `GET /healthz` | 200 while everything lives that the server cannot do without, else 503 and what has ended or is stuck |
//! | `GET /readyz` | 200 while it takes sign-ins, else 503 and why |
//! | `GET /metrics` | for Prometheus, from `metrics_addresses` ([`LimitsConfig`]); `docs/operations.md` lists the metrics |
//! | `POST /v1/verify` | `{"cc_param"}` to `{"state":"ringing","ring_deadline_unix_ms","server_unix_ms"}` or `{"state":"released_call"}` |
//! | `POST /v1/decline` | `{"cc_param","user_code"?}`; 204, or 410 `released_call` |
//! | `POST /v1/apps/APP/sign-out` | for the app's backend: `{"user","device"?}` to `{"sessions"}` |
//! | `POST /v1/apps/APP/revoke` | for the app's backend: `{"user","issued_until_s"?,"for_s"?}` or `{"token"}` to `{"sessions"}` |
//! | `POST /v1/apps/APP/end-call` | for the app's backend: `{"call_id"}`; 204, or 404 `no_such_call` |
//! | `POST /dev/register` | with `dev`: `{"user","password"}`; 201, or 409 if taken |
//! | `POST /dev/access-token` | with `dev`: `{"user","password"}` to `{"token","app_id","expires_in_s"}` |
//! | `POST /dev/rtc-token` | with `dev` and a bearer access token: `{"channel","uid"?}` to `{"token","uid","expires_in_s"}` |
//! | `POST /dev/cc-param` | with `dev` and a bearer access token: `{"cc_param"}` of the call that rings for that user, as a push would bring it, or null |
//! | `POST /dev/user-map` | with `dev` and a bearer access token: `{"channel","uid"}` to `{"user"}`, or 404 |
//!
//! The two token requests take `ttl_s`. Errors are `{"error":"…"}` with a fitting status. With [`tls_cert`](ServerConfig::tls_cert) the
//! port speaks TLS only. What strangers cannot do is in `docs/security.md`.
//!
//! Logs go through `tracing`: sessions by number, one span `call` for each call. Tokens, users, devices, channels, addresses and
//! whatever clients send stay out of them at every level.
//!
//! # Inside
//!
//! What is decided is decided by `callkit_hub::Hub`, a machine without I/O, which one task owns and drives. Each connection has a task that pulls its streams'
//! frames, so that a client that does not read is not read either, and each queue on the way has an end. One thread writes the store,
//! from which one task sends webhooks and pushes.
//!
//! What it does not do: carry media, group calls, several servers as one.

mod config;
mod doubts;
mod listen;
mod server;

mod gate;
mod health;
mod validity;
mod vitals;
mod limits;
mod tls;

mod accept;
mod proxy;
#[cfg(unix)]
mod admin;
mod connection;
mod account;
mod callee;
mod operators;
mod http;

mod cc_keys;
mod living;
mod revoked;
mod sign_in;
mod stream;
mod token;
mod wire;

mod hub_link;
mod hub;
mod outbox;
mod private;
mod store;

pub mod push;

mod clock;
mod dev;
mod log_lines;
mod metering;
mod stun;

#[cfg(unix)]
pub use admin::{BackupError, backup};
pub use cc_keys::KeyError;
pub use config::{
    AppConfig, ConfigError, DEFAULT_PORT, IgnoredVariables, LogFormat, SECRET_BYTES, Secret, ServerConfig,
};
pub use limits::LimitsConfig;
pub use log_lines::{LastLines, LogLines};
pub use outbox::WebhookConfig;
pub use proxy::ProxyTells;
pub use server::{Server, StartError};
pub use store::StoreError;
pub use tls::TlsError;
pub use vitals::{Failed, Part};

/// The outbox by itself, for tests and measurements; not for apps.
#[doc(hidden)]
pub mod outbox_alone {
    pub use crate::outbox::{CallEnded, CallRings, Kind, Media, Notice, Outbox, Pace, Quality, Webhook, sign};
}

/// The checks of tokens and parameters by themselves, for tests that feed them noise; not for apps.
#[doc(hidden)]
pub mod checks_alone;
