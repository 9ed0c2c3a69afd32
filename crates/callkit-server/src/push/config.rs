//! The keys with which an app's pushes are sent.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::PushSenders;
use super::guard::Origin;

/// The push services of one app; those that are not named are not used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PushConfig {
    /// Apple's, for iOS devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apns: Option<ApnsConfig>,
    /// Google's, for Android devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fcm: Option<FcmConfig>,
    /// Those of the browsers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub web_push: Option<WebPushConfig>,
    /// PEM file of certificate authorities to trust beside the system's. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

/// How to reach iOS devices, with a token signing key of the developer account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApnsConfig {
    /// The developer team, ten characters.
    pub team_id: String,
    /// The name of the key, ten characters.
    pub key_id: String,
    /// The key as Apple gave it out, a `.p8` file.
    pub key_file: PathBuf,
    /// The app's bundle id, without `.voip`.
    pub bundle_id: String,
    /// Where apps from the store are reached. Default `https://api.push.apple.com`.
    #[serde(default = "apns_url")]
    pub url: String,
    /// Where apps built for development are reached. Default `https://api.sandbox.push.apple.com`.
    #[serde(default = "apns_sandbox_url")]
    pub sandbox_url: String,
}

/// How to reach Android devices, with a service account of the app's Firebase project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FcmConfig {
    /// The service account's key as Google gave it out, a JSON file. It also names the project and where to ask for access.
    pub service_account_file: PathBuf,
    /// Where messages are sent. Default `https://fcm.googleapis.com`.
    #[serde(default = "fcm_url")]
    pub url: String,
}

/// How to reach browsers, with a key pair of the app's own (VAPID, RFC 8292).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebPushConfig {
    /// The private key: 32 bytes in base64url. Browsers subscribe with its public half; another key ends all subscriptions.
    pub private_key: String,
    /// Whom a push service may turn to: `mailto:…` or `https://…`.
    pub subject: String,
    /// Allows endpoints in private networks: for tests and closed networks only. Default false.
    #[serde(default)]
    pub allow_private: bool,
}

impl fmt::Debug for WebPushConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebPushConfig")
            .field("subject", &self.subject)
            .field("allow_private", &self.allow_private)
            .finish_non_exhaustive()
    }
}

/// Why pushes cannot be sent with a configuration. The text names no secret.
#[derive(Debug, thiserror::Error)]
pub enum PushConfigError {
    /// A file that is named is not there or cannot be read.
    #[error("push: cannot read {key} {path}: {error}")]
    File {
        /// The key of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A value, or what its file holds, is not what it must be.
    #[error("push: {key} must be {must}")]
    Value {
        /// The key of the configuration.
        key: &'static str,
        /// What it must be.
        must: &'static str,
    },
    /// Nobody vouches for the push services.
    #[error("push: the system has no certificate authorities; install them (ca-certificates) or name a ca_file")]
    NoAuthorities,
}

impl PushConfig {
    /// Whether pushes can be sent with it: files are there, keys are keys, URLs are URLs. Connects to nobody.
    pub fn check(&self) -> Result<(), PushConfigError> {
        PushSenders::new(self).map(drop)
    }

    /// Whether no service is named.
    pub fn is_empty(&self) -> bool {
        self.apns.is_none() && self.fcm.is_none() && self.web_push.is_none()
    }
}

fn apns_url() -> String {
    "https://api.push.apple.com".into()
}

fn apns_sandbox_url() -> String {
    "https://api.sandbox.push.apple.com".into()
}

fn fcm_url() -> String {
    "https://fcm.googleapis.com".into()
}

pub(super) fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, PushConfigError> {
    std::fs::read(path).map_err(|error| PushConfigError::File { key, path: path.to_owned(), error })
}

pub(super) fn bad(key: &'static str, must: &'static str) -> PushConfigError {
    PushConfigError::Value { key, must }
}

/// A URL of a service without a slash at its end. Secrets go there, so that it is https, or on this machine.
pub(super) fn service_url(key: &'static str, url: &str) -> Result<String, PushConfigError> {
    let uri = url.parse::<hyper::Uri>().ok();
    let is_safe = uri.as_ref().and_then(Origin::of).is_some_and(|origin| {
        origin.is_https() || (url.starts_with("http://") && origin.ip().is_some_and(|ip| ip.is_loopback()))
    });
    let is_safe = is_safe && uri.is_some_and(|uri| uri.query().is_none());
    is_safe.then(|| url.trim_end_matches('/').to_owned()).ok_or_else(|| bad(key, "an https URL"))
}
