//! Certificates, with those of a test.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use callkit_server::{ConfigError, Server, ServerConfig, StartError};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use crate::client::{Client, app, config, hello, metric_of, soon};

/// A folder with a certificate and its key.
struct Files {
    folder: tempfile::TempDir,
}

/// A certificate that vouches for itself.
struct Made {
    pem: String,
    key_pem: String,
    der: CertificateDer<'static>,
}

fn make() -> Made {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    Made { pem: made.cert.pem(), key_pem: made.signing_key.serialize_pem(), der: made.cert.der().clone() }
}

impl Files {
    fn with(made: &Made) -> Files {
        let files = Files { folder: tempfile::tempdir().unwrap() };
        files.write(&made.pem, &made.key_pem);
        files
    }

    fn write(&self, cert: &str, key: &str) {
        std::fs::write(self.cert(), cert).unwrap();
        std::fs::write(self.key(), key).unwrap();
    }

    fn cert(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    fn config(&self) -> ServerConfig {
        ServerConfig { tls_cert: Some(self.cert()), tls_key: Some(self.key()), ..config() }
    }
}

async fn handshake(server: SocketAddr, trusted: &Made, alpn: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der.clone()).unwrap();
    let mut client = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    let socket = TcpStream::connect(server).await.unwrap();
    TlsConnector::from(Arc::new(client)).connect(ServerName::try_from("localhost").unwrap(), socket).await
}

/// The certificate that a new connection gets.
async fn presented(server: SocketAddr, trusted: &Made) -> Option<CertificateDer<'static>> {
    let stream = soon("a handshake", handshake(server, trusted, "h2")).await.ok()?;
    stream.get_ref().1.peer_certificates().map(|chain| chain[0].clone())
}

async fn page(server: SocketAddr, trusted: &Made, path: &str) -> String {
    let mut stream = handshake(server, trusted, "http/1.1").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let request = format!("GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("an answer", stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn one_port_speaks_grpc_and_http_over_tls_and_nothing_else() {
    let made = make();
    let server = Server::start(Files::with(&made).config()).await.unwrap();
    let address = server.local_addr();

    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&made.pem));
    let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap();
    let mut ann = Client::open_on(endpoint.connect().await.unwrap()).await;
    ann.greet(hello(&app("shop"), "ann", "phone")).await.unwrap();
    ann.hears_nothing().await;

    assert!(page(address, &made, "/healthz").await.ends_with("ok\n"));
    assert!(presented(address, &make()).await.is_none(), "a client that trusts another certificate");

    // Plain text on the port of TLS is no request.
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    soon("the end", plain.read_to_end(&mut answer)).await.ok();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");

    let metrics = page(address, &made, "/metrics").await;
    assert_eq!(metric_of(&metrics, "callkit_tls_handshakes_total{result=\"failed\"}"), 2.0);
    ann.hears_nothing().await;
    server.stop().await;
}

#[tokio::test]
async fn one_that_begins_a_handshake_and_falls_silent_is_closed() {
    let made = make();
    let files = Files::with(&made);
    let server = Server::start(ServerConfig { hello_timeout_ms: 50, ..files.config() }).await.unwrap();
    for said in [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00"] {
        let mut socket = TcpStream::connect(server.local_addr()).await.unwrap();
        socket.write_all(said).await.unwrap();
        assert_eq!(soon("the end", socket.read(&mut [0; 16])).await.unwrap(), 0);
    }
    let metrics = page(server.local_addr(), &made, "/metrics").await;
    assert_eq!(metric_of(&metrics, "callkit_tls_handshakes_total{result=\"timed_out\"}"), 2.0);
    server.stop().await;
}

#[tokio::test]
async fn a_new_certificate_is_taken_up_and_a_bad_one_is_not() {
    let (old, new) = (make(), make());
    let files = Files::with(&old);
    let server = Server::start(files.config()).await.unwrap();
    let address = server.local_addr();
    let mut open = handshake(address, &old, "http/1.1").await.unwrap();

    let (other_key, half) = (make().key_pem, &new.pem[..new.pem.len() / 2]);
    for (cert, key) in [(&*new.pem, &*other_key), (half, &new.key_pem), ("", &new.key_pem), (&new.pem, "")] {
        files.write(cert, key);
        server.reload();
        assert_eq!(presented(address, &old).await, Some(old.der.clone()), "the old one stays");
    }
    std::fs::remove_file(files.key()).unwrap();
    server.reload();
    assert_eq!(presented(address, &old).await, Some(old.der.clone()));

    files.write(&new.pem, &new.key_pem);
    server.reload();
    assert_eq!(presented(address, &new).await, Some(new.der.clone()));
    assert_eq!(presented(address, &old).await, None);

    open.write_all(b"GET /healthz HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    soon("an answer", open.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.ends_with("ok\n"), "what was open goes on: {answer}");
    let metrics = page(address, &new, "/metrics").await;
    assert_eq!(metric_of(&metrics, "callkit_tls_reloads_total{result=\"taken\"}"), 1.0);
    assert_eq!(metric_of(&metrics, "callkit_tls_reloads_total{result=\"refused\"}"), 5.0);
    server.stop().await;
}

#[tokio::test]
async fn a_server_does_not_start_with_a_certificate_that_cannot_be_used() {
    let files = Files::with(&make());
    files.write(&make().pem, &make().key_pem);
    let error = Server::start(files.config()).await.unwrap_err();
    assert!(matches!(error, StartError::Tls(_)), "{error}");
    assert_eq!(Server::check(&files.config()).unwrap_err().to_string(), error.to_string());
    let half = ServerConfig { tls_key: None, ..files.config() };
    let error = Server::start(half).await.unwrap_err();
    assert!(matches!(error, StartError::Config(ConfigError::TlsHalf { .. })), "{error}");
}

/// A certificate for localhost with something about it, and its key.
fn with(change: impl FnOnce(&mut CertificateParams)) -> Made {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let cert = params.self_signed(&key).unwrap();
    Made { pem: cert.pem(), key_pem: key.serialize_pem(), der: cert.der().clone() }
}

#[tokio::test]
async fn a_certificate_that_every_client_refuses_is_found_before_anybody_meets_it() {
    let expired = with(|params| params.not_after = date_time_ymd(2020, 1, 1));
    let not_yet = with(|params| params.not_before = date_time_ymd(4_000, 1, 1));
    let authority = with(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    for (made, why) in [(&expired, "expired"), (&not_yet, "not valid yet"), (&authority, "CA:TRUE")] {
        let files = Files::with(made);
        let said = Server::check(&files.config()).unwrap_err().to_string();
        assert!(said.contains("every client refuses") && said.contains(why), "{said}");
        // It may be its clock: the server serves, and a client is the one who refuses.
        let server = Server::start(files.config()).await.unwrap();
        assert!(presented(server.local_addr(), made).await.is_none(), "{why}");
        server.stop().await;
    }
    let (mut chain, stranger) = (Files::with(&make()), make());
    let leaf = make();
    chain.write(&format!("{}{}", leaf.pem, stranger.pem), &leaf.key_pem);
    let said = Server::check(&chain.config()).unwrap_err().to_string();
    assert!(said.contains("not vouched for"), "{said}");
    chain = Files::with(&leaf);
    Server::check(&chain.config()).unwrap();

    // Nor is one taken up in place of one that works.
    let server = Server::start(chain.config()).await.unwrap();
    chain.write(&expired.pem, &expired.key_pem);
    server.reload();
    assert_eq!(presented(server.local_addr(), &leaf).await, Some(leaf.der.clone()));
    server.stop().await;
}

/// Certificates that vouch each for the one before, the first one's key, and the dates at which those after the first end.
fn chain(ends: &[(i32, &str)]) -> Made {
    let root_key = KeyPair::generate().unwrap();
    let mut issuer = Issuer::new(authority("a root that clients know", 4_000), root_key);
    let mut pem = Vec::new();
    for (year, name) in ends.iter().rev() {
        let (params, key) = (authority(name, *year), KeyPair::generate().unwrap());
        pem.push(params.signed_by(&key, &issuer).unwrap().pem());
        issuer = Issuer::new(params, key);
    }
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    pem.push(cert.pem());
    pem.reverse();
    Made { pem: pem.concat(), key_pem: key.serialize_pem(), der: cert.der().clone() }
}

fn authority(name: &str, end: i32) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_after = date_time_ymd(end, 1, 1);
    params
}

#[test]
fn a_certificate_of_a_chain_that_has_expired_is_found_also_if_it_is_the_last() {
    let good = Files::with(&chain(&[(4_000, "one")]));
    Server::check(&good.config()).unwrap();
    let last = Files::with(&chain(&[(2_020, "one")]));
    let said = Server::check(&last.config()).unwrap_err().to_string();
    assert!(said.contains("every client refuses") && said.contains("second") && said.contains("expired"), "{said}");
    let between = Files::with(&chain(&[(2_020, "one"), (4_000, "two")]));
    assert!(Server::check(&between.config()).unwrap_err().to_string().contains("expired"));

    // A client may know the one before it.
    let further = Files::with(&chain(&[(4_000, "one"), (2_020, "two")]));
    Server::check(&further.config()).unwrap();
    let doubts = |files: &Files| Server::doubts(&files.config()).join("\n");
    assert!(doubts(&further).contains("the last certificate in tls_cert has expired"), "{}", doubts(&further));
    assert!(!doubts(&good).contains("expired"));
}

#[test]
fn a_certificate_for_another_name_is_doubtful() {
    let files = Files::with(&make());
    let doubts = |host: &str| {
        let config = ServerConfig { public_host: Some(host.into()), ..files.config() };
        Server::doubts(&config).join("\n")
    };
    assert!(doubts("calls.example").contains("is not for calls.example"));
    assert!(!doubts("localhost").contains("is not for"));
}
