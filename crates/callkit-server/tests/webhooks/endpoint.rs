//! An app's backend: a real HTTP server that answers as it is told.

use std::future::{Future, pending};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, Uri};
use call_protocol::disconnect::{DisconnectReason, DisconnectSource};
use call_protocol::end::EndReason;
use call_protocol::{AppId, CallId, UserId};
use callkit_server::outbox_alone::{CallEnded, CallRings, Media, Pace, Webhook};
use callkit_server::{AppConfig, WebhookConfig};
use tokio::net::TcpListener;

pub const SECRET: &str = "whsec-0123456789abcdef";

/// One request.
#[derive(Debug, Clone)]
pub struct Hit {
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
}

/// What is said to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    Status(u16),
    /// 429 with these seconds.
    Later(u64),
    /// 302 to this path.
    Redirect(&'static str),
    /// Nothing, ever.
    Silence,
}

type Answers = Arc<dyn Fn(Hit) -> Reply + Send + Sync>;

/// Serves on a free port until the runtime ends.
pub async fn serve(answers: impl Fn(Hit) -> Reply + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let pages = Router::new().fallback(answer).with_state(Arc::new(answers) as Answers);
    tokio::spawn(async move { axum::serve(listener, pages).await });
    address
}

async fn answer(State(answers): State<Answers>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let hit = Hit { path: uri.path().to_owned(), headers, body: String::from_utf8_lossy(&body).into_owned() };
    let response = Response::builder();
    let response = match answers(hit) {
        Reply::Status(status) => response.status(status),
        Reply::Later(seconds) => response.status(429).header("Retry-After", seconds),
        Reply::Redirect(path) => response.status(302).header("Location", path),
        Reply::Silence => pending().await,
    };
    response.body(Body::empty()).unwrap()
}

impl Hit {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Call and number of an event made by [`ended`].
    pub fn number(&self) -> (u128, u32) {
        let body = self.json();
        let call = u128::from_str_radix(body["sid"].as_str().unwrap(), 16).unwrap();
        (call, body["user_rel_code"].as_str().unwrap().parse().unwrap())
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

/// An app whose backend is at this address.
pub fn app(name: &str, backend: SocketAddr) -> AppConfig {
    let webhooks = WebhookConfig {
        notify_url: Some(format!("http://{backend}/notify")),
        call_event_url: Some(format!("http://{backend}/call-event")),
        secrets: vec![SECRET.into()],
        ..WebhookConfig::default()
    };
    AppConfig { webhooks: Some(webhooks), ..AppConfig::new(AppId::new(name).unwrap(), "key", "0123456789abcdef") }
}

/// Waits that a test can wait for.
pub fn quick() -> Pace {
    Pace {
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(20),
        probe_max: Duration::from_millis(20),
        seed: Some(7),
        ..Pace::default()
    }
}

/// Event number `n` of a call.
pub fn ended(app: &str, call: u128, n: u32) -> Webhook {
    Webhook::CallEvent(Box::new(CallEnded {
        app_id: AppId::new(app).unwrap(),
        call_id: CallId::from_bits(call),
        from_user_id: UserId::new("private-caller").unwrap(),
        to_user_id: UserId::new("private-callee").unwrap(),
        media: Media::Audio,
        setup_unix_ms: 1_000_000,
        start_unix_ms: None,
        end_unix_ms: 1_030_000,
        caller_reason: EndReason::RemoteNoResponse,
        callee_reason: EndReason::NoResponse,
        disconnect_reason: DisconnectReason::NoAnswer,
        releaser: DisconnectSource::Caller,
        user_rel_code: Some(n.to_string()),
        caller_quality: None,
        callee_quality: None,
    }))
}

/// A call that rings until then.
pub fn rings(app: &str, call: u128, ring_deadline_unix_ms: u64) -> Webhook {
    Webhook::Notify(CallRings {
        app_id: AppId::new(app).unwrap(),
        call_id: CallId::from_bits(call),
        from_user_id: UserId::new("private-caller").unwrap(),
        to_user_id: UserId::new("private-callee").unwrap(),
        media: Media::Video,
        cc_param: "private-param".into(),
        app_server_data: Some("private-data".into()),
        ring_deadline_unix_ms,
    })
}

pub fn unix_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
}

/// What must happen soon.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("within a minute")
}
