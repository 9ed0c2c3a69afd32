//! The server's own secrets: with them it signs what a phone brings back later, such as a `cc_param`.
//!
//! HMAC-SHA256 (RFC 2104), truncated to 16 bytes (RFC 2104, section 5), with one key for each app, so that what was signed for one
//! app is nothing in another.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use call_protocol::{AppId, CcParam};
use callkit_hub::AppNo;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::clock::Clock;
use crate::config::Secret;
use crate::doubts;
use crate::private;
use crate::token::Apps;

/// Bytes of a signature.
pub(crate) const MAC_BYTES: usize = 16;
/// Where a secret that nobody chose is kept, in the data folder.
const FILE: &str = "server_secret";
/// Apart from everything else that the secret may one day sign.
const KEY_LABEL: &[u8] = b"callkit cc_param key 1";
const ID_LABEL: &[u8] = b"callkit cc_param key id 1";

type HmacSha256 = Hmac<Sha256>;

/// Why the server's secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or made.
    #[error("cannot use {path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file holds nothing that is a secret.
    #[error(
        "{path} holds no secret: delete it, and a new one is made; phones that were pushed before are then refused"
    )]
    Weak {
        /// The file.
        path: PathBuf,
    },
    /// The file holds no secret.
    #[error(
        "{path} holds no secret of {bytes} bytes or more: delete it, and a new one is made; phones that were pushed before are then refused"
    )]
    Short {
        /// The file.
        path: PathBuf,
        /// What it needs.
        bytes: usize,
    },
}

/// How long after the ring's end a `cc_param` is still taken, in ms: a phone that wakes late is to learn that it is late. A day; pushes
/// are dropped long before.
const GRACE_MS: u64 = 24 * 3_600 * 1_000;

/// Why a `cc_param` is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub(crate) enum CcError {
    #[error("it is no cc_param")]
    Shape,
    #[error("the cc_param is not signed by this server for this app")]
    Signature,
    #[error("the cc_param is for another app")]
    OtherApp,
    #[error("the cc_param's time is over")]
    Expired,
}

/// Signs and verifies. The first secret signs; every one verifies, so that a secret can be changed while old signatures are about.
pub(crate) struct CcKeys {
    secrets: Vec<ServerKey>,
}

struct ServerKey {
    /// Tells which secret signed; two secrets with one id are both tried.
    id: u8,
    root: HmacSha256,
}

impl CcKeys {
    /// The configured secrets; without one that of the data folder, made at the first start; without a folder one for this run.
    pub(crate) fn open(configured: &[Secret], data_dir: Option<&Path>) -> Result<CcKeys, KeyError> {
        if !configured.is_empty() {
            return Ok(Self::of(configured.iter().map(|secret| secret.reveal().as_bytes())));
        }
        let secret = match data_dir {
            Some(folder) => kept(folder)?,
            None => generated(),
        };
        Ok(Self::of([secret.as_bytes()]))
    }

    fn of<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> CcKeys {
        let secrets = secrets.into_iter().map(|secret| {
            let root = keyed(secret);
            let id = digest(&root, &[ID_LABEL])[0];
            ServerKey { id, root }
        });
        CcKeys { secrets: secrets.collect() }
    }

    /// The signature of `payload` for `app`, and which secret made it.
    pub(crate) fn sign(&self, app: &AppId, payload: &[u8]) -> (u8, [u8; MAC_BYTES]) {
        let key = &self.secrets[0];
        let full = key.app(app).chain_update(payload).finalize().into_bytes();
        let mut mac = [0; MAC_BYTES];
        mac.copy_from_slice(&full[..MAC_BYTES]);
        (key.id, mac)
    }

    /// What a text says, if this server signed it: for `app` where one is named. `clock` is none where it may be old.
    pub(crate) fn read(
        &self,
        apps: &Apps,
        app: Option<AppNo>,
        text: &str,
        clock: Option<&Clock>,
    ) -> Result<(AppNo, CcParam), CcError> {
        let (param, sealed) = CcParam::open(text).ok_or(CcError::Shape)?;
        let app = app.or_else(|| apps.find(param.app_id.as_str())).ok_or(CcError::OtherApp)?;
        let name = apps.name(app);
        if !self.verify(name, sealed.key_number, &sealed.payload, &sealed.mac) {
            return Err(CcError::Signature);
        }
        if param.app_id != *name {
            return Err(CcError::OtherApp);
        }
        let end = param.ring_deadline_unix_ms.saturating_add(GRACE_MS);
        // The wall clock may have been set, before it was signed or since: it is over when both clocks say so. Of a call that is over the
        // hub says that in any case.
        if clock.is_some_and(|clock| clock.unix_ms().min(clock.steady_unix_ms()) > end) {
            return Err(CcError::Expired);
        }
        Ok((app, param))
    }

    /// Whether `mac` is the signature of `payload` for `app` by the secret `key_id`. Takes as long for a near miss as for any other.
    pub(crate) fn verify(&self, app: &AppId, key_id: u8, payload: &[u8], mac: &[u8; MAC_BYTES]) -> bool {
        let keys = self.secrets.iter().filter(|key| key.id == key_id);
        keys.fold(false, |is_good, key| is_good | key.app(app).chain_update(payload).verify_truncated_left(mac).is_ok())
    }
}

impl ServerKey {
    fn app(&self, app: &AppId) -> HmacSha256 {
        keyed(&digest(&self.root, &[KEY_LABEL, &[0], app.as_str().as_bytes()]))
    }
}

fn keyed(secret: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(secret).expect("an HMAC takes a key of any length")
}

fn digest(root: &HmacSha256, parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = root.clone();
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn generated() -> String {
    format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>())
}

/// The secret of the folder; it is made if there is none, for the eyes of the server's user only.
fn kept(folder: &Path) -> Result<String, KeyError> {
    let path = folder.join(FILE);
    let failed = |error| KeyError::File { path: path.clone(), error };
    private::make_folder(folder).map_err(failed)?;
    match private::make_file(&path) {
        Ok(mut file) => {
            let secret = generated();
            file.write_all(secret.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
            Ok(secret)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let mut secret = String::new();
            let mut file = OpenOptions::new().read(true).open(&path).map_err(failed)?;
            file.read_to_string(&mut secret).map_err(failed)?;
            let secret = secret.trim();
            if secret.len() < Secret::SERVER_BYTES {
                return Err(KeyError::Short { path, bytes: Secret::SERVER_BYTES });
            }
            if doubts::is_weak(secret) {
                return Err(KeyError::Weak { path });
            }
            Ok(secret.to_owned())
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str) -> AppId {
        AppId::new(name).unwrap()
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.repeat(Secret::SERVER_BYTES))
    }

    #[test]
    fn what_is_signed_is_good_for_one_app_and_one_payload() {
        let keys = CcKeys::open(&[secret("a")], None).unwrap();
        let (id, mac) = keys.sign(&app("shop"), b"payload");
        assert!(keys.verify(&app("shop"), id, b"payload", &mac));
        assert!(!keys.verify(&app("bank"), id, b"payload", &mac));
        assert!(!keys.verify(&app("shop"), id, b"payloae", &mac));
        assert!(!keys.verify(&app("shop"), id.wrapping_add(1), b"payload", &mac));
        for bit in 0..MAC_BYTES * 8 {
            let mut forged = mac;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(!keys.verify(&app("shop"), id, b"payload", &forged), "bit {bit}");
        }
    }

    #[test]
    fn a_secret_is_changed_without_breaking_what_it_signed() {
        let before = CcKeys::open(&[secret("a")], None).unwrap();
        let (id, mac) = before.sign(&app("shop"), b"payload");
        let between = CcKeys::open(&[secret("b"), secret("a")], None).unwrap();
        assert!(between.verify(&app("shop"), id, b"payload", &mac));
        let (new_id, new_mac) = between.sign(&app("shop"), b"payload");
        assert_ne!(new_mac, mac);
        let after = CcKeys::open(&[secret("b")], None).unwrap();
        assert!(after.verify(&app("shop"), new_id, b"payload", &new_mac));
        assert!(!after.verify(&app("shop"), id, b"payload", &mac));
    }

    #[test]
    fn a_secret_that_nobody_chose_outlives_the_server_and_is_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        let first = CcKeys::open(&[], Some(&data_dir)).unwrap();
        let (id, mac) = first.sign(&app("shop"), b"payload");
        let second = CcKeys::open(&[], Some(&data_dir)).unwrap();
        assert!(second.verify(&app("shop"), id, b"payload", &mac));
        let other = CcKeys::open(&[], None).unwrap();
        assert!(!other.verify(&app("shop"), id, b"payload", &mac));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(data_dir.join(FILE)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        std::fs::write(data_dir.join(FILE), "short").unwrap();
        assert!(matches!(CcKeys::open(&[], Some(&data_dir)), Err(KeyError::Short { .. })));
        std::fs::write(data_dir.join(FILE), [0; 64]).unwrap();
        let lost = CcKeys::open(&[], Some(&data_dir)).err().unwrap();
        assert!(matches!(lost, KeyError::Weak { .. }) && lost.to_string().contains("delete it"), "{lost}");
    }
}
