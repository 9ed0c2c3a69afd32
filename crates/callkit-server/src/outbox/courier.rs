//! Webhooks over HTTP.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use call_protocol::AppId;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

use super::{Courier, Kind, Outcome, Pace, sign};
use crate::clock::unix_s;
use crate::config::SECRET_BYTES;
use crate::doubts;
use crate::push::guard::{Origin, Reach};
use crate::push::outgoing::{self, Outgoing, Speaks};
use crate::store::queue::Item;

/// Where an app's backend hears of its calls.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookConfig {
    /// Told when a call rings, so that the backend can push. Default: nobody is told.
    pub notify_url: Option<String>,
    /// Told when a call is over. Default: nobody is told.
    pub call_event_url: Option<String>,
    /// Each signs; 16 bytes or more. Two while the backend changes from one to the other.
    pub secrets: Vec<String>,
    /// Takes `http://` for hosts other than this one: the bodies can then be read on the way. Default false.
    pub allow_http: bool,
    /// After how long a call event that nobody takes is given up, in s. Default 86,400.
    pub give_up_after_s: u32,
}

impl Default for WebhookConfig {
    fn default() -> Self {
        Self { notify_url: None, call_event_url: None, secrets: Vec::new(), allow_http: false, give_up_after_s: 86_400 }
    }
}

/// Without secrets, and without addresses, which may hold some.
impl fmt::Debug for WebhookConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookConfig")
            .field("notify", &self.notify_url.is_some())
            .field("call_event", &self.call_event_url.is_some())
            .field("secrets", &self.secrets.len())
            .finish_non_exhaustive()
    }
}

impl WebhookConfig {
    pub(super) fn url(&self, kind: Kind) -> Option<&str> {
        match kind {
            Kind::Notify => self.notify_url.as_deref(),
            Kind::CallEvent => self.call_event_url.as_deref(),
            Kind::Push | Kind::PushCancel => None,
        }
    }
}

/// What is wrong with a configuration, if anything: the key, and what it must be.
pub(crate) fn check(config: &WebhookConfig) -> Result<(), (&'static str, &'static str)> {
    let urls = [("notify_url", &config.notify_url), ("call_event_url", &config.call_event_url)];
    for (key, url) in urls {
        let Some(url) = url else { continue };
        let url: Uri = url.parse().map_err(|_| (key, "an absolute URL"))?;
        if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err((key, "a URL without user and password; the signature says who sends"));
        }
        let origin = Origin::of(&url).ok_or((key, "an absolute URL"))?;
        let is_http = url.scheme_str() == Some("http") && (config.allow_http || origin.is_loopback());
        if !origin.is_https() && !is_http {
            return Err((key, "an https URL; http only for this machine or with allow_http"));
        }
        if config.secrets.is_empty() {
            return Err(("secrets", "there, one or more"));
        }
    }
    if config.secrets.iter().any(|secret| secret.len() < SECRET_BYTES) {
        return Err(("secrets", "of 16 bytes or more each"));
    }
    if config.secrets.iter().any(|secret| doubts::is_weak(secret)) {
        return Err(("secrets", "ones that cannot be guessed: `openssl rand -hex 32` makes them"));
    }
    if config.give_up_after_s == 0 {
        return Err(("give_up_after_s", "more than 0"));
    }
    Ok(())
}

const AGENT: &str = concat!("callkitd/", env!("CARGO_PKG_VERSION"));

/// Carries webhooks of all apps.
pub(super) struct WebhookCourier {
    http: Outgoing,
    hooks: Arc<HashMap<AppId, WebhookConfig>>,
    timeout: Duration,
}

impl WebhookCourier {
    pub(super) fn new(hooks: Arc<HashMap<AppId, WebhookConfig>>, pace: &Pace) -> Result<Self, String> {
        let urls = hooks.values().flat_map(|hooks| [&hooks.notify_url, &hooks.call_event_url]).flatten();
        // A machine without authorities can still serve those who need none.
        let tls = if urls.into_iter().any(|url| url.to_ascii_lowercase().starts_with("https")) {
            outgoing::trust(None).map_err(|error| error.to_string())?
        } else {
            outgoing::trust_nobody()
        };
        // The operator named the hosts: they may be anywhere.
        let http = Outgoing::with_connect_limit(&tls, Speaks::Both, Reach::Anywhere, pace.connect_timeout);
        Ok(Self { http, hooks, timeout: pace.timeout })
    }

    async fn post(&self, item: &Item, attempt: u32) -> Outcome {
        let hooks = self.hooks.get(&item.app);
        let Some((hooks, url)) = hooks.and_then(|hooks| Some((hooks, hooks.url(item.kind)?))) else {
            return Outcome::GiveUp { why: "no longer configured" };
        };
        let request = Request::post(url)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, AGENT)
            .header("Callkit-Signature", sign(&hooks.secrets, unix_s(), &item.body))
            .header("Callkit-Delivery", &item.id)
            .header("Callkit-Attempt", attempt)
            .body(Full::new(Bytes::from(item.body.clone())));
        let Ok(request) = request else { return Outcome::GiveUp { why: "not a request" } };
        let end = Instant::now() + self.timeout;
        let (answer, body) = match timeout_at(end, self.http.send(request)).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(_)) => return Outcome::Retry { after: None, why: "no connection" },
            Err(_) => return Outcome::Retry { after: None, why: "timeout" },
        };
        // Nothing in it matters, nor whether it comes.
        timeout_at(end, outgoing::whole(body)).await.ok();
        judged(item.kind, answer.status, answer.retry_after)
    }
}

impl Courier for WebhookCourier {
    fn deliver<'a>(&'a self, item: &'a Item, attempt: u32) -> BoxFuture<'a, Outcome> {
        self.post(item, attempt).boxed()
    }
}

fn judged(kind: Kind, status: StatusCode, retry_after: Option<Duration>) -> Outcome {
    if status.is_success() {
        return Outcome::Done;
    }
    let is_refused = status.is_client_error()
        && !matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS);
    let why = match status.as_u16() {
        300..400 => "redirected",
        400..500 if is_refused => "refused",
        400..500 => "told to wait",
        _ => "failed there",
    };
    match kind {
        // The call rings now: a backend that says no will not say yes before it is over.
        Kind::Notify if is_refused || status.is_redirection() => Outcome::GiveUp { why },
        Kind::Notify | Kind::CallEvent | Kind::Push | Kind::PushCancel => Outcome::Retry { after: retry_after, why },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: Kind, status: u16) -> Outcome {
        judged(kind, StatusCode::from_u16(status).unwrap(), None)
    }

    #[test]
    fn an_answer_is_judged_by_its_status() {
        for status in [200, 201, 202, 204] {
            assert_eq!(told(Kind::Notify, status), Outcome::Done);
        }
        for status in [400, 401, 403, 404, 410, 422, 301] {
            assert!(matches!(told(Kind::Notify, status), Outcome::GiveUp { .. }), "{status}");
            assert!(matches!(told(Kind::CallEvent, status), Outcome::Retry { .. }), "{status}");
        }
        for status in [408, 425, 429, 500, 502, 503] {
            assert!(matches!(told(Kind::Notify, status), Outcome::Retry { .. }), "{status}");
        }
    }

    #[test]
    fn an_address_that_can_be_read_on_the_way_is_not_taken() {
        let with = |url: &str, allow_http| {
            let secrets = vec!["0123456789abcdef".to_owned()];
            check(&WebhookConfig { notify_url: Some(url.into()), secrets, allow_http, ..WebhookConfig::default() })
        };
        for url in ["https://shop.example/hook", "http://127.0.0.1:8/hook", "http://localhost/hook", "http://[::1]/h"] {
            assert_eq!(with(url, false), Ok(()), "{url}");
        }
        for url in
            ["http://shop.example/", "http://127.0.0.1.shop.example/", "ftp://shop.example/", "/hook", "https://a:b@c/"]
        {
            assert_eq!(with(url, false).unwrap_err().0, "notify_url", "{url}");
        }
        assert_eq!(with("http://shop.example/", true), Ok(()));
        let url = Some("https://shop.example/".to_owned());
        let unsigned = WebhookConfig { call_event_url: url.clone(), ..WebhookConfig::default() };
        assert_eq!(check(&unsigned).unwrap_err().0, "secrets");
        let weak = WebhookConfig { call_event_url: url, secrets: vec!["short".into()], ..WebhookConfig::default() };
        assert_eq!(check(&weak).unwrap_err().0, "secrets");
        assert!(!format!("{weak:?}").contains("short"));
    }
}
