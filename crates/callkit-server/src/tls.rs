//! TLS on the port of the apps: rustls with ring, and a certificate that can change while the server runs.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, RootCertStore};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tracing::{error, info, warn};

use crate::metering::Metering;
use crate::validity;

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
    /// No client takes the certificate, whomever it trusts.
    #[error("every client refuses {cert}: {why}")]
    Refused {
        /// The file of the certificate.
        cert: PathBuf,
        /// Why, as a client puts it.
        why: String,
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

/// Whether a certificate and its key can be used, and whether a client takes it now.
pub(crate) fn check(cert: PathBuf, key: PathBuf) -> Result<(), TlsError> {
    let (files, provider) = (read(&cert, &key)?, default_provider());
    let pair = pair(&files, &cert, &key, &provider)?;
    taken_by_clients(&pair.cert, &cert, &provider, UnixTime::now())
}

/// What is wrong with the last certificate of the file by itself, where a client may do without it: it vouches for another authority.
pub(crate) fn last_fault(cert: &Path, now_unix_s: u64) -> Option<&'static str> {
    let pem = std::fs::read(cert).ok()?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().ok()?;
    chain.get(2..)?.last().and_then(|last| validity::fault(last, now_unix_s))
}

/// Whether the certificate is for this name, if it can be read.
pub(crate) fn names(cert: &Path, name: &ServerName<'_>) -> Option<bool> {
    let pem = std::fs::read(cert).ok()?;
    let first = CertificateDer::pem_slice_iter(&pem).next()?.ok()?;
    let parsed = ParsedCertificate::try_from(&first).ok()?;
    Some(verify_server_name(&parsed, name).is_ok())
}

/// Checks the chain as a kit does, which looks at it with rustls, too. Whom a client trusts is not known here: the last certificate
/// stands for that.
fn taken_by_clients(
    chain: &[CertificateDer<'static>],
    path: &Path,
    provider: &CryptoProvider,
    now: UnixTime,
) -> Result<(), TlsError> {
    let (Some(first), Some(last)) = (chain.first(), chain.last()) else { return Ok(()) };
    let verify = || {
        let parsed = ParsedCertificate::try_from(first)?;
        let mut roots = RootCertStore::empty();
        roots.add(last.clone())?;
        let algorithms = provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &chain[1..], now, algorithms)
    };
    let refused = |why: String| Err(TlsError::Refused { cert: path.to_owned(), why });
    let Err(error) = verify() else {
        // What vouches for the server itself is trusted by nobody without its own authority.
        let issuer = chain.get(1).filter(|_| chain.len() == 2);
        return match issuer.and_then(|issuer| validity::fault(issuer, now.as_secs())) {
            Some(fault) => refused(format!("the second certificate in the file {fault}")),
            None => Ok(()),
        };
    };
    let why = match error {
        // By itself: a client may have the next one of the chain already.
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) if chain.len() == 1 => return Ok(()),
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "a certificate in the file is not vouched for by the one after it".to_owned()
        }
        error if format!("{error:?}").contains("CaUsedAsEndEntity") => {
            "it is the certificate of an authority (CA:TRUE), not of a server".to_owned()
        }
        rustls::Error::InvalidCertificate(error) => error.to_string(),
        error => error.to_string(),
    };
    refused(why)
}

impl Tls {
    pub(crate) fn open(cert: PathBuf, key: PathBuf, metering: Arc<Metering>) -> Result<Tls, TlsError> {
        let provider = Arc::new(default_provider());
        let files = read(&cert, &key)?;
        let pair = pair(&files, &cert, &key, &provider)?;
        // Served nevertheless: its time may come, or the next one.
        if let Err(error) = taken_by_clients(&pair.cert, &cert, &provider, UnixTime::now()) {
            error!(%error, "the certificate is of no use");
        }
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
            let provider = default_provider();
            let pair = pair(&files, &self.cert, &self.key, &provider);
            *seen = Some(files);
            let pair = pair?;
            taken_by_clients(&pair.cert, &self.cert, &provider, UnixTime::now())?;
            *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
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
