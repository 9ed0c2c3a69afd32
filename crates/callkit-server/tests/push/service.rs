//! A push service on loopback: HTTP/1.1 or HTTP/2, with or without TLS, that answers as its judge says.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use call_protocol::invite::CallType;
use call_protocol::{CallId, UserId};
use callkit_server::push::{CallPush, PushConfig, PushKind, PushSenders};
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Wall time at which the tests begin, in ms since 1970.
pub const START_MS: u64 = 1_800_000_000_000;
/// How long their calls ring.
pub const RING_MS: u64 = 30_000;
/// A text in every private value, to be looked for where it must not be.
pub const CC_PARAM: &str = "eyJwcml2YXRlIjoxfQ.c2lnbmF0dXJl";

/// What a service was asked.
#[derive(Debug, Clone)]
pub struct Heard {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub version: Version,
    pub body: Bytes,
}

impl Heard {
    /// A header, empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What it answers.
pub struct Said {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Content,
}

pub enum Content {
    Text(String),
    /// A body that never ends.
    Endless,
    /// No answer at all.
    Silence,
}

pub fn said(status: u16, body: impl ToString) -> Said {
    Said { status, headers: Vec::new(), body: Content::Text(body.to_string()) }
}

impl Said {
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}

type Judge = Arc<dyn Fn(&Heard) -> Said + Send + Sync>;

pub struct Service {
    pub url: String,
    heard: Arc<Mutex<Vec<Heard>>>,
    connections: Arc<AtomicUsize>,
}

impl Service {
    pub async fn plain(judge: impl Fn(&Heard) -> Said + Send + Sync + 'static) -> Self {
        Self::start(None, "http://127.0.0.1", Arc::new(judge)).await
    }

    /// With TLS under the name `localhost`, as the authority vouches for; `protocols` by their ALPN names.
    pub async fn tls(
        authority: &Authority,
        protocols: &[&str],
        judge: impl Fn(&Heard) -> Said + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(authority.acceptor(protocols)), "https://localhost", Arc::new(judge)).await
    }

    async fn start(tls: Option<TlsAcceptor>, base: &str, judge: Judge) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{base}:{}", listener.local_addr().unwrap().port());
        let (heard, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (all_heard, accepted) = (Arc::clone(&heard), Arc::clone(&connections));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                accepted.fetch_add(1, Ordering::Relaxed);
                let (tls, judge, heard) = (tls.clone(), Arc::clone(&judge), Arc::clone(&all_heard));
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, judge, heard).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, judge, heard).await;
                            }
                        }
                    }
                });
            }
        });
        Self { url, heard, connections }
    }

    /// What it was asked so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    pub fn last(&self) -> Heard {
        self.heard().pop().expect("the service was asked")
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    judge: Judge,
    all_heard: Arc<Mutex<Vec<Heard>>>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (judge, all_heard) = (Arc::clone(&judge), Arc::clone(&all_heard));
        async move {
            let (parts, body) = request.into_parts();
            let heard = Heard {
                method: parts.method.to_string(),
                path: parts.uri.path().to_owned(),
                headers: parts.headers,
                version: parts.version,
                body: body.collect().await.map(|body| body.to_bytes()).unwrap_or_default(),
            };
            let said = judge(&heard);
            all_heard.lock().unwrap().push(heard);
            Ok::<_, Infallible>(response(said).await)
        }
    });
    // A client that goes away is none of the service's concern.
    auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await.ok();
}

async fn response(said: Said) -> Response<BoxBody<Bytes, Infallible>> {
    let body = match said.body {
        Content::Text(text) => Full::new(Bytes::from(text)).boxed(),
        Content::Endless => {
            let frame = || Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b' '; 1_024])));
            BodyExt::boxed(StreamBody::new(stream::repeat_with(frame)))
        }
        Content::Silence => std::future::pending().await,
    };
    let mut response = Response::builder().status(said.status);
    for (name, value) in said.headers {
        response = response.header(name, value);
    }
    response.body(body).unwrap()
}

/// Who vouches for the services of a test, and a folder for the files of its configuration.
pub struct Authority {
    folder: TempDir,
    certified: rcgen::CertifiedKey<rcgen::KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certified = rcgen::generate_simple_self_signed(names).unwrap();
        let authority = Self { folder: tempfile::tempdir().unwrap(), certified };
        authority.file("ca.pem", &authority.certified.cert.pem());
        authority
    }

    /// Writes a file into the folder.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn acceptor(&self, protocols: &[&str]) -> TlsAcceptor {
        let key = PrivateKeyDer::try_from(self.certified.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certified.cert.der().clone()], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A wall clock that goes when the test says so.
#[derive(Clone)]
pub struct Clock(Arc<AtomicU64>);

impl Clock {
    pub fn start() -> Self {
        Self(Arc::new(AtomicU64::new(START_MS)))
    }

    pub fn ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn s(&self) -> u64 {
        self.ms() / 1_000
    }

    pub fn advance_s(&self, seconds: u64) {
        self.0.fetch_add(seconds * 1_000, Ordering::Relaxed);
    }

    pub fn senders(&self, config: &PushConfig) -> PushSenders {
        let clock = self.clone();
        PushSenders::with_wall_clock(config, move || clock.ms()).unwrap()
    }

    /// A push of a call that begins to ring now.
    pub fn push(&self, kind: PushKind) -> CallPush {
        CallPush {
            kind,
            call_id: CallId::from_bits(0x00c0_ffee),
            cc_param: CC_PARAM.into(),
            caller: UserId::new("ann").unwrap(),
            call_type: CallType::Video1v1,
            ring_deadline_unix_ms: self.ms() + RING_MS,
        }
    }
}
