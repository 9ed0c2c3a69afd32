//! Pushes that wake a callee's sleeping device, and that tell it to stop: APNs, FCM and Web Push.
//!
//! A push is a hint, never the truth: it may come late, twice or not at all. What it carries is enough to ask the server
//! (`cc_param`) and to know without asking that it is too late (`ring_deadline_unix_ms`).

mod address;
mod config;

mod apns;
mod fcm;
mod web_push;

mod encryption;
pub(crate) mod guard;
pub(crate) mod outgoing;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use call_protocol::invite::CallType;
use call_protocol::{CallId, UserId};
use serde_json::{Map, Value};
use tokio::time::timeout;
use tracing::debug;

pub use address::{AddressError, PushAddress};
pub use config::{ApnsConfig, FcmConfig, PushConfig, PushConfigError, WebPushConfig};

use apns::Apns;
use fcm::Fcm;
use web_push::WebPush;

/// How long one push may take, with all that it needs; a ring is short.
const PATIENCE: Duration = Duration::from_secs(10);
/// After how long to try again where the service does not say.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Longest wait taken from a service.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// The senders of one app.
///
/// Connections and tokens are kept between pushes: make it once and share it.
pub struct PushSenders {
    apns: Option<Apns>,
    fcm: Option<Fcm>,
    web_push: Option<WebPush>,
    clock: WallClock,
}

/// What a device is told about a call.
#[derive(Clone, PartialEq, Eq)]
pub struct CallPush {
    /// To ring or to stop.
    pub kind: PushKind,
    /// The call; a later push of the same call takes the place of one that was not delivered yet.
    pub call_id: CallId,
    /// What the device shows the server to verify or decline the call; sent with [`PushKind::Ring`] only.
    pub cc_param: String,
    /// Who calls.
    pub caller: UserId,
    /// What kind of call it is.
    pub call_type: CallType,
    /// When the ring ends, in ms since 1970. Nothing is sent or delivered after it.
    pub ring_deadline_unix_ms: u64,
}

/// Why a device is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PushKind {
    /// A call came in: ask the server, then ring.
    Ring,
    /// The call ended or was taken elsewhere: stop.
    Cancel,
}

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushOutcome {
    /// The service has it. Whether it reaches the device nobody tells.
    Accepted,
    /// The service was not reached, or has no time now.
    Retry {
        /// How long to wait; it may end after the ring does.
        after: Duration,
    },
    /// The address will never work again: forget it.
    Gone,
    /// It was not sent or not taken, and the same again would fail the same way.
    Rejected {
        /// What was wrong.
        why: Rejection,
    },
}

/// Why a push is not sent or not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rejection {
    /// The ring deadline is past; nothing was sent.
    Expired,
    /// The app has no keys for this kind of address; nothing was sent.
    NotConfigured,
    /// The address is malformed, or leads where the server must not go (a private network); nothing was sent.
    BadAddress,
    /// A cancel needs a `background_token`, and there is none or it is dead. The VoIP token may still be good.
    NoBackgroundToken,
    /// The payload is larger than the service takes.
    TooLarge,
    /// The service does not take the app's keys, or not for this device: a matter for the operator.
    Credentials,
    /// Any other refusal.
    Refused {
        /// The HTTP status.
        status: u16,
    },
}

impl PushSenders {
    /// Reads the keys and certificates that the configuration names; connects to nobody.
    pub fn new(config: &PushConfig) -> Result<Self, PushConfigError> {
        Self::with_wall_clock(config, crate::clock::unix_ms)
    }

    /// As [`PushSenders::new`], with a clock of one's own that tells ms since 1970.
    pub fn with_wall_clock(
        config: &PushConfig,
        unix_ms: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Result<Self, PushConfigError> {
        let clock = WallClock(Arc::new(unix_ms));
        if config.is_empty() {
            return Ok(Self { apns: None, fcm: None, web_push: None, clock });
        }
        let tls = outgoing::trust(config.ca_file.as_deref())?;
        Ok(Self {
            apns: config.apns.as_ref().map(|apns| Apns::new(apns, &tls)).transpose()?,
            fcm: config.fcm.as_ref().map(|fcm| Fcm::new(fcm, &tls)).transpose()?,
            web_push: config.web_push.as_ref().map(|web_push| WebPush::new(web_push, &tls)).transpose()?,
            clock,
        })
    }

    /// The key with which a browser subscribes (`applicationServerKey`), base64url; none without Web Push.
    pub fn vapid_public_key(&self) -> Option<&str> {
        self.web_push.as_ref().map(WebPush::public_key)
    }

    /// Sends one push, once; trying again is the caller's affair.
    ///
    /// Ends within 10 s and not after the ring deadline. If it is dropped before, the push may or may not have been sent.
    pub async fn send(&self, address: &PushAddress, push: &CallPush) -> PushOutcome {
        let now_ms = (self.clock.0)();
        let left = Duration::from_millis(push.ring_deadline_unix_ms.saturating_sub(now_ms));
        let outcome = if left.is_zero() {
            PushOutcome::rejected(Rejection::Expired)
        } else if address.check().is_err() {
            PushOutcome::rejected(Rejection::BadAddress)
        } else {
            let sent = timeout(PATIENCE.min(left), self.send_by_kind(address, push, now_ms));
            sent.await.unwrap_or(PushOutcome::Retry { after: RETRY_AFTER })
        };
        debug!(service = address.service(), kind = ?push.kind, ?outcome, "push");
        outcome
    }

    async fn send_by_kind(&self, address: &PushAddress, push: &CallPush, now_ms: u64) -> PushOutcome {
        let not_configured = PushOutcome::rejected(Rejection::NotConfigured);
        match address {
            PushAddress::Apns { token, background_token, sandbox } => match &self.apns {
                Some(apns) => apns.send(token, background_token.as_deref(), *sandbox, push, now_ms).await,
                None => not_configured,
            },
            PushAddress::Fcm { token } => match &self.fcm {
                Some(fcm) => fcm.send(token, push, now_ms).await,
                None => not_configured,
            },
            PushAddress::WebPush { endpoint, p256dh, auth } => match &self.web_push {
                Some(web_push) => web_push.send(endpoint, p256dh, auth, push, now_ms).await,
                None => not_configured,
            },
        }
    }
}

impl fmt::Debug for PushSenders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushSenders")
            .field("apns", &self.apns.is_some())
            .field("fcm", &self.fcm.is_some())
            .field("web_push", &self.web_push.is_some())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for CallPush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallPush").field("kind", &self.kind).field("call_id", &self.call_id).finish_non_exhaustive()
    }
}

impl CallPush {
    /// The keys that a device finds, the same from every service; all values are texts, since FCM carries nothing else.
    fn payload(&self) -> Map<String, Value> {
        let (kind, cc_param) = match self.kind {
            PushKind::Ring => ("ring", Some(self.cc_param.clone())),
            PushKind::Cancel => ("cancel", None),
        };
        let call_type = match self.call_type {
            CallType::Audio1v1 => "audio_1v1",
            CallType::Video1v1 => "video_1v1",
            CallType::Multi => "multi",
        };
        let pairs = [
            ("kind", Some(kind.to_owned())),
            ("call_id", Some(self.call_id.to_string())),
            ("cc_param", cc_param),
            ("caller", Some(self.caller.to_string())),
            ("call_type", Some(call_type.to_owned())),
            ("ring_deadline_unix_ms", Some(self.ring_deadline_unix_ms.to_string())),
        ];
        let said = pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), Value::String(value?))));
        said.collect()
    }

    /// Whole seconds until the deadline, rounded down, so that no service delivers after it.
    fn left_s(&self, now_ms: u64) -> u64 {
        self.ring_deadline_unix_ms.saturating_sub(now_ms) / 1_000
    }
}

impl PushOutcome {
    fn rejected(why: Rejection) -> Self {
        PushOutcome::Rejected { why }
    }

    fn retry(after: Option<Duration>) -> Self {
        PushOutcome::Retry { after: after.unwrap_or(RETRY_AFTER).min(RETRY_AFTER_MAX) }
    }
}

/// ms since 1970.
struct WallClock(Arc<dyn Fn() -> u64 + Send + Sync>);
