//! HTTP on the port of the apps: gRPC to the streams, the rest to health, metrics and the development backend.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::body::Incoming;
use hyper::{Request, Response};
use tower::ServiceExt;

use crate::connection::Connection;
use crate::metering::Metering;
use crate::stream::{self, Door};
use crate::wire;

/// Everything that is served.
pub(crate) struct Site {
    door: Arc<Door>,
    pages: Router,
}

impl Site {
    pub(crate) fn new(
        door: Arc<Door>,
        metering: Arc<Metering>,
        is_ready: Arc<AtomicBool>,
        dev: Option<Router>,
    ) -> Self {
        let pages = Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(async move || readiness(&is_ready)))
            .route("/metrics", get(async move || metrics_page(&metering)))
            .merge(dev.unwrap_or_default());
        Self { door, pages }
    }

    pub(crate) async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
        connection: Arc<Connection>,
    ) -> Result<Response<Body>, Infallible> {
        let path = request.uri().path();
        let is_connect = path
            .strip_prefix('/')
            .and_then(|path| path.strip_prefix(wire::SERVICE_NAME))
            .is_some_and(|method| method == "/Connect");
        if is_connect {
            let door = Arc::clone(&self.door);
            return Ok(wire::serve_connect(request, |inbound| stream::open(door, connection, inbound)).await);
        }
        let _serving = connection.serve();
        self.pages.clone().oneshot(request).await
    }
}

fn readiness(is_ready: &AtomicBool) -> impl IntoResponse + use<> {
    if is_ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    }
}

fn metrics_page(metering: &Metering) -> impl IntoResponse + use<> {
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], metering.render())
}
