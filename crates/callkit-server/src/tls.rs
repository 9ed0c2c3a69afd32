//! TLS on the port of the apps: rustls with ring, and a certificate that can change while the server runs.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use crate::metering::Metering;

/// How often the files are looked at; whoever is in a hurry sends SIGHUP.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A file does not hold what it is for.
    #[error("{path} has no {what} in PEM")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should have.
        what: &'static str,
    },
    /// The two do not belong together, or are of a kind that is not served.
    #[error("{cert} with {key}: {error}")]
    Pair {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What rustls said.
        error: rustls::Error,
    },
}

/// The certificate in use and the files it comes from.
pub(crate) struct Tls {
    cert: PathBuf,
    key: PathBuf,
    /// What the files held when they were last looked at.
    seen: Mutex<Option<Files>>,
    current: Arc<Current>,
    acceptor: TlsAcceptor,
    metering: Arc<Metering>,
}

#[derive(PartialEq, Eq)]
struct Files {
    cert: Vec<u8>,
    key: Vec<u8>,
}

struct Current(RwLock<Arc<CertifiedKey>>);

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Whether a certificate and its key can be used.
pub(crate) fn check(cert: PathBuf, key: PathBuf) -> Result<(), TlsError> {
    let files = read(&cert, &key)?;
    pair(&files, &cert, &key, &default_provider()).map(drop)
}

impl Tls {
    pub(crate) fn open(cert: PathBuf, key: PathBuf, metering: Arc<Metering>) -> Result<Tls, TlsError> {
        let provider = Arc::new(default_provider());
        let files = read(&cert, &key)?;
        let pair = pair(&files, &cert, &key, &provider)?;
        let current = Arc::new(Current(RwLock::new(Arc::new(pair))));
        let failed = |error| TlsError::Pair { cert: cert.clone(), key: key.clone(), error };
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Tls { cert, key, seen: Mutex::new(Some(files)), current, acceptor, metering })
    }

    pub(crate) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    /// Takes up the files if they have changed. A pair that cannot be used leaves the old one in place, and is told once.
    pub(crate) fn reload(&self) {
        let taken = read(&self.cert, &self.key).and_then(|files| {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.as_ref() == Some(&files) {
                return Ok(false);
            }
            let pair = pair(&files, &self.cert, &self.key, &default_provider());
            *seen = Some(files);
            *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair?);
            Ok(true)
        });
        match taken {
            Ok(false) => {}
            Ok(true) => {
                self.metering.certificates_taken.increment(1);
                info!("a new certificate is in use");
            }
            Err(error) => {
                self.metering.certificates_refused.increment(1);
                warn!(%error, "the new certificate cannot be used; the old one stays");
            }
        }
    }

    /// Looks at the files again and again, until it is dropped.
    pub(crate) async fn watch(self: Arc<Self>) {
        loop {
            // sleeps: files do not tell when they change.
            sleep(LOOK_EVERY).await;
            self.reload();
        }
    }
}

fn read(cert: &PathBuf, key: &PathBuf) -> Result<Files, TlsError> {
    let read = |path: &PathBuf| std::fs::read(path).map_err(|error| TlsError::File { path: path.clone(), error });
    Ok(Files { cert: read(cert)?, key: read(key)? })
}

fn pair(files: &Files, cert: &PathBuf, key: &PathBuf, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let pem = |path: &PathBuf, what| TlsError::Pem { path: path.clone(), what };
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(&files.cert).collect::<Result<_, _>>().map_err(|_| pem(cert, "certificate"))?;
    if chain.is_empty() {
        return Err(pem(cert, "certificate"));
    }
    let secret = PrivateKeyDer::from_pem_slice(&files.key).map_err(|_| pem(key, "private key"))?;
    CertifiedKey::from_der(chain, secret, provider).map_err(|error| TlsError::Pair {
        cert: cert.clone(),
        key: key.clone(),
        error,
    })
}
