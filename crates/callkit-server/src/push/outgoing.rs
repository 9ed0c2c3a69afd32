//! The HTTP client of the senders of pushes and webhooks: rustls, no proxy, no redirect followed, answers bounded.
//!
//! It is hyper's own client. With TLS of `ring`, reqwest would need a process-wide provider, also in every other crate of the same build
//! that makes a client of it.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, SystemTime};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::config::{PushConfigError, bad, read};
use super::guard::{GuardedResolver, LookupError, Reach};

/// How long a connection may take to come about.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How often an HTTP/2 connection without traffic is tried, so that a dead one is noticed before a push needs it.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long a connection to a service that a stranger named is kept for the next push.
const STRANGER_IDLE: Duration = Duration::from_secs(15);
/// Bytes of the longest answer looked at: the services' errors have some hundred.
const ANSWER_BYTES: usize = 16 * 1024;

/// A client with its pool of connections.
pub(crate) struct Outgoing(Client<HttpsConnector<HttpConnector<GuardedResolver>>, Full<Bytes>>);

/// Which versions of HTTP a service speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http2,
    Both,
}

/// What a service said.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<Duration>,
    /// Empty if there was none or too much.
    pub(crate) body: Bytes,
}

/// Why a service said nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// Its name leads where we must not go.
    OutOfReach,
    /// It could not be reached, or broke off.
    Unreachable,
}

/// Whom to trust: the authorities of the system and of the file.
pub(crate) fn trust(ca_file: Option<&Path>) -> Result<ClientConfig, PushConfigError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let not_pem = || bad("ca_file", "a PEM file of certificates");
        let pem = read("ca_file", path)?;
        let mut added = 0;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            roots.add(certificate.map_err(|_| not_pem())?).map_err(|_| not_pem())?;
            added += 1;
        }
        if added == 0 {
            return Err(not_pem());
        }
    }
    if roots.is_empty() {
        return Err(PushConfigError::NoAuthorities);
    }
    Ok(trusting(roots))
}

/// For services without TLS: nobody is trusted.
pub(crate) fn trust_nobody() -> ClientConfig {
    trusting(RootCertStore::empty())
}

fn trusting(roots: RootCertStore) -> ClientConfig {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the ciphers of TLS 1.2 and 1.3");
    config.with_root_certificates(roots).with_no_client_auth()
}

impl Outgoing {
    pub(crate) fn new(tls: &ClientConfig, speaks: Speaks, reach: Reach) -> Self {
        Self::with_connect_limit(tls, speaks, reach, CONNECT_LIMIT)
    }

    /// With another time that a connection may take to come about.
    pub(crate) fn with_connect_limit(
        tls: &ClientConfig,
        speaks: Speaks,
        reach: Reach,
        connect_limit: Duration,
    ) -> Self {
        let mut http = HttpConnector::new_with_resolver(GuardedResolver { reach });
        http.enforce_http(false);
        http.set_connect_timeout(Some(connect_limit));
        http.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls.clone());
        let mut client = Client::builder(TokioExecutor::new());
        client.pool_timer(TokioTimer::new()).timer(TokioTimer::new());
        // Plain text is for services on this machine only, which the configuration sees to; a guarded client never speaks it.
        let connector = match reach {
            Reach::Anywhere => {
                client.http2_keep_alive_interval(KEEP_ALIVE).http2_keep_alive_while_idle(true);
                connector.https_or_http()
            }
            Reach::Public => {
                client.pool_idle_timeout(STRANGER_IDLE);
                connector.https_only()
            }
        };
        let connector = match speaks {
            Speaks::Http2 => {
                client.http2_only(true);
                connector.enable_http2().wrap_connector(http)
            }
            Speaks::Both => connector.enable_http1().enable_http2().wrap_connector(http),
        };
        Self(client.build(connector))
    }

    /// Sends a request and takes the answer, once.
    pub(crate) async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, Unanswered> {
        let (mut answer, body) = self.send(request).await?;
        answer.body = whole(body).await;
        Ok(answer)
    }

    /// Sends a request and takes the head of the answer, and its body as it comes.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<(Answer, Incoming), Unanswered> {
        let response = self.0.request(request).await.map_err(|error| unanswered(&error))?;
        let (parts, body) = response.into_parts();
        let retry_after = retry_after(&parts.headers, SystemTime::now());
        Ok((Answer { status: parts.status, retry_after, body: Bytes::new() }, body))
    }
}

impl Answer {
    /// Whether the service asks to come again later.
    pub(crate) fn is_busy(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS || self.status.is_server_error()
    }

    /// The body, if it is what was expected.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// A body, read so that its connection can be used again; empty if it was too long or broke off.
pub(crate) async fn whole(body: Incoming) -> Bytes {
    let body = Limited::new(body, ANSWER_BYTES).collect().await;
    body.map(|collected| collected.to_bytes()).unwrap_or_default()
}

/// A header's value that no log shows and no compression table keeps.
pub(crate) fn secret(value: String) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn unanswered(error: &(dyn Error + 'static)) -> Unanswered {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(LookupError::OutOfReach) = error.downcast_ref() {
            return Unanswered::OutOfReach;
        }
        cause = error.source();
    }
    Unanswered::Unreachable
}

/// RFC 9110, section 10.2.3: seconds or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_in_seconds_or_as_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let wait = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait(&httpdate::fmt_http_date(now + Duration::from_secs(60))), Some(Duration::from_secs(60)));
        assert_eq!(wait(&httpdate::fmt_http_date(now - Duration::from_secs(60))), Some(Duration::ZERO));
        assert_eq!(wait("soon"), None);
        assert_eq!(wait("-1"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
