//! HTTP on the port of the apps: gRPC to the streams, the rest to health, metrics, callees without an app, and the development backend.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::time::timeout;
use tonic::Status;
use tower::ServiceExt;

use crate::account::Account;
use crate::callee::{self, Desk};
use crate::connection::Connection;
use crate::health::{Health, Unready};
use crate::limits::Limits;
use crate::metering::Metering;
use crate::operators::{self, Operators};
use crate::stream::{self, Door};
use crate::wire;

/// How long a request and its answer may take: a page is small, and whoever sends it byte by byte holds a socket meanwhile.
const PAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Everything that is served.
pub(crate) struct Site {
    door: Arc<Door>,
    account: Arc<Account>,
    limits: Arc<Limits>,
    metering: Arc<Metering>,
    pages: Router,
}

impl Site {
    pub(crate) fn new(
        door: Arc<Door>,
        account: Arc<Account>,
        limits: Arc<Limits>,
        metering: Arc<Metering>,
        health: Arc<Health>,
        dev: Option<Router>,
    ) -> Self {
        let desk = Desk {
            apps: Arc::clone(&door.apps),
            cc_keys: Arc::clone(&door.cc_keys),
            hub: door.hub.clone(),
            limits: Arc::clone(&limits),
            metering: Arc::clone(&metering),
            clock: door.clock,
        };
        let operators = Operators {
            apps: Arc::clone(&door.apps),
            hub: door.hub.clone(),
            store: account.store.clone(),
            metering: Arc::clone(&metering),
        };
        let (counted, keys, state) = (Arc::clone(&metering), Arc::clone(&limits), Arc::clone(&health));
        let (alive, hub) = (Arc::clone(&health), door.hub.clone());
        let lives = move || {
            let (alive, hub) = (Arc::clone(&alive), hub.clone());
            async move { told(alive.liveness(&hub).await, "ok\n") }
        };
        let pages = Router::new()
            .route("/healthz", get(lives))
            .route("/readyz", get(async move || told(health.readiness(), "ready\n")))
            .route(METRICS, get(async move || metrics_page(&counted, &keys, &state)))
            .merge(callee::routes(desk))
            .merge(operators::routes(operators))
            .merge(dev.unwrap_or_default());
        Self { door, account, limits, metering, pages }
    }

    pub(crate) async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
        connection: Arc<Connection>,
    ) -> Result<Response<Body>, Infallible> {
        let from = self.limits.client(connection.remote(), request.headers());
        let path = request.uri().path();
        let method_of = |service| path.strip_prefix('/').and_then(|path| path.strip_prefix(service));
        if method_of(wire::SERVICE_NAME) == Some("/Connect") {
            let door = Arc::clone(&self.door);
            return Ok(wire::serve_connect(request, |inbound| stream::open(door, connection, from, inbound)).await);
        }
        let _serving = connection.serve();
        let is_account = method_of(wire::ACCOUNT_SERVICE).is_some_and(|method| method.starts_with('/'));
        let response = if is_account {
            // It looks at the limits itself, and says in its own way that they were met.
            match timeout(PAGE_TIMEOUT, wire::serve_account(request, Arc::clone(&self.account), from)).await {
                Ok(response) => response,
                Err(_) => Status::deadline_exceeded("too slow").into_http::<Body>(),
            }
        } else if self.limits.request(from).is_err() {
            let wait = [(header::RETRY_AFTER, HeaderValue::from_static("60"))];
            (StatusCode::TOO_MANY_REQUESTS, wait, "too many requests\n").into_response()
        } else if path == METRICS && !self.limits.may_read_metrics(from, request.headers()) {
            (StatusCode::FORBIDDEN, "metrics are for trusted addresses\n").into_response()
        } else {
            match timeout(PAGE_TIMEOUT, self.pages.clone().oneshot(request)).await {
                Ok(Ok(response)) => response,
                Ok(Err(never)) => match never {},
                Err(_) => (StatusCode::REQUEST_TIMEOUT, "too slow\n").into_response(),
            }
        };
        self.metering.answered(response.status().as_u16());
        Ok(response)
    }
}

/// What somebody is told whose address met a limit.
const TOO_MANY: &str = "too many connections of this address: come back in a minute";

impl Site {
    /// Answers a request on a connection that is one too many.
    pub(crate) async fn turn_away(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        if request.uri().path().strip_prefix('/').and_then(|path| path.strip_prefix(wire::SERVICE_NAME))
            == Some("/Connect")
        {
            let door = Arc::clone(&self.door);
            return Ok(wire::serve_connect(request, |inbound| stream::turn_away(door, inbound, TOO_MANY)).await);
        }
        let response = if is_grpc(&request) {
            Status::resource_exhausted(TOO_MANY).into_http::<Body>()
        } else {
            let wait = [(header::RETRY_AFTER, HeaderValue::from_static("60"))];
            (StatusCode::TOO_MANY_REQUESTS, wait, format!("{TOO_MANY}\n")).into_response()
        };
        self.metering.answered(response.status().as_u16());
        Ok(response)
    }
}

fn is_grpc(request: &Request<Incoming>) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

const METRICS: &str = "/metrics";

fn told(state: Result<(), Unready>, good: &str) -> impl IntoResponse + use<> {
    match state {
        Ok(()) => (StatusCode::OK, good.to_owned()),
        Err(unready) => (StatusCode::SERVICE_UNAVAILABLE, format!("{unready}\n")),
    }
}

fn metrics_page(metering: &Metering, limits: &Limits, health: &Health) -> impl IntoResponse + use<> {
    metering.limit_keys.set(limits.keys() as f64);
    metering.ready.set(if health.readiness().is_ok() { 1.0 } else { 0.0 });
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], metering.render())
}
