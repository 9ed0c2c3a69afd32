//! What the server is told: defaults, then a TOML file, then the environment, then flags.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use call_protocol::{AppId, session};
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};

use crate::dev::DEV_APP;
use crate::doubts;
use crate::limits::LimitsConfig;
use crate::outbox::{self, WebhookConfig};
use crate::push::{PushConfig, PushConfigError};

/// The TCP port where nothing else is said.
pub const DEFAULT_PORT: u16 = 7450;

/// `CALLKITD_LISTEN` is the key `listen`.
const ENVIRONMENT_PREFIX: &str = "CALLKITD_";

/// Every knob of a server.
///
/// The keys of the TOML file, of the environment and of the flags are the names of these fields. A key unknown here is an error in the
/// file; in the environment it is passed over ([`ServerConfig::ignored_variables`]), since others set variables there too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// TCP address for gRPC and HTTP; port 0 takes a free one. `[::]` is everybody, by IPv6 and IPv4, and by IPv4 alone on a machine
    /// without IPv6. Default `[::]:7450`; loaded with `dev`, `127.0.0.1:7450`.
    pub listen: SocketAddr,
    /// UDP address that answers STUN. Default: the address and port of `listen`.
    pub stun_listen: Option<SocketAddr>,
    /// Host name or address, and nothing else, under which clients reach the UDP port; set it behind NAT or a proxy. Default: the address
    /// the client connected to; for one of this machine that listens to everybody, the one with which this machine reaches others.
    pub public_host: Option<String>,
    /// The apps served here. An app may be named twice with two keys, to change its secret.
    pub apps: Vec<AppConfig>,
    /// Adds the app `demo` and a backend for it under `/dev/`. Whoever reaches it can register: it is taken where `listen` is an address of
    /// this machine or of a private network, which is warned of, and elsewhere only if `dev_public` says so.
    pub dev: bool,
    /// Lets `dev` listen on every address, or on a public one. Not for the open internet. Default false.
    pub dev_public: bool,
    /// Where running calls are kept, so that they outlive a restart. Default: nowhere (`callkitd`: `./callkit-data`).
    pub data_dir: Option<PathBuf>,
    /// The server's own secrets, 32 bytes or more each: the first signs what phones bring back later, all of them verify. Servers that
    /// share users need the same. Default: one that is made at the first start and kept in `data_dir`.
    pub server_secret: Vec<Secret>,
    /// PEM file with the certificate and those that vouch for it; with it the TCP port speaks TLS only. Read again when it changes and on
    /// SIGHUP. Default: plain text.
    pub tls_cert: Option<PathBuf>,
    /// PEM file with the private key of `tls_cert`. Default: none.
    pub tls_key: Option<PathBuf>,
    /// How long a server that is to stop goes on serving the calls it has while `/readyz` says 503 and sign-ins are refused, in ms.
    /// Default 0.
    pub drain_ms: u32,
    /// How much anybody may ask for.
    pub limits: LimitsConfig,
    /// How often clients are told to ping, in ms. Default 3,000.
    pub ping_every_ms: u32,
    /// After how much silence a stream is given up, in ms. Shorter notices a lost device sooner and loses more to bad radio. Default 10,000.
    pub silence_limit_ms: u32,
    /// How long a broken session can be resumed, in ms. Default 15,000.
    pub resume_window_ms: u32,
    /// How long a new connection may take to say who it is, in ms. Default 5,000.
    pub hello_timeout_ms: u32,
    /// How long an acknowledgement may wait for a frame to ride on, in ms. Default 200.
    pub ack_delay_ms: u32,
    /// How long a refused or stopped peer may take to read the last frame, in ms. Default 1,000.
    pub close_grace_ms: u32,
    /// After how much silence a party of a call is out of reach, in ms. Default 10,000.
    pub call_liveness_ms: u32,
    /// How long a call that is over answers late messages, in ms. Default 60,000.
    pub call_tombstone_ms: u32,
    /// By how much a token's end may be past, for clocks that differ, in s. Default 5.
    pub token_leeway_s: u32,
    /// TCP connections at one time; more wait to be accepted. One costs about 28 KiB. Default 100,000.
    pub max_connections: usize,
    /// Calls that one device may have opened at one time. Default 16.
    pub max_calls_per_device: usize,
    /// Channels that one device may be in at one time. Default 16.
    pub max_channels_per_device: usize,
    /// How `callkitd` writes its log. Default text.
    pub log_format: LogFormat,
    /// What `callkitd` logs, as `tracing` filter. Default `info`.
    pub log: String,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// One app and the secret with which its backend signs tokens.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppConfig {
    /// The app; the tokens' `sub`.
    pub app_id: AppId,
    /// The name of the secret; the tokens' `iss`.
    pub api_key: String,
    /// The HS256 secret, 16 bytes or more.
    pub secret: String,
    /// Where the app's backend hears of its calls. Default: nowhere. Of an app with two keys the first that has it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhooks: Option<WebhookConfig>,
    /// How its users' sleeping devices are reached; of an app that is named twice, the first that names a service counts. Default: not at all.
    #[serde(default)]
    pub push: PushConfig,
}

impl AppConfig {
    /// An app with this key, and neither webhooks nor pushes.
    pub fn new(app_id: AppId, api_key: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { app_id, api_key: api_key.into(), secret: secret.into(), webhooks: None, push: PushConfig::default() }
    }
}

impl std::fmt::Debug for AppConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppConfig").field("app_id", &self.app_id).finish_non_exhaustive()
    }
}

/// Text that is not shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Bytes of the shortest server secret: as many as its HMAC gives out.
    pub const SERVER_BYTES: usize = 32;

    /// Takes a secret out of sight.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that was named is not there or cannot be read.
    #[error("cannot read the configuration file {path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A key is unknown or its value is none; the text names it and where it was found.
    #[error("{0}")]
    Key(Box<figment::Error>),
    /// There is no app to serve.
    #[error("no app is configured: add [[apps]] with app_id, api_key and secret, or start with --dev")]
    NoApp,
    /// The development backend would serve others than this machine.
    #[error(
        "dev is on and strangers may reach {listen}: whoever does could register and call; listen on 127.0.0.1, or set dev_public"
    )]
    DevPublic {
        /// Where it was to listen.
        listen: SocketAddr,
    },
    /// The development backend would sign with the secret of an app that was configured, for others than this machine.
    #[error(
        "dev is on, an app demo is configured, and others than this machine reach {listen}: whoever does would get its tokens; \
         listen on 127.0.0.1, give one of the two up, or set dev_public"
    )]
    DevApp {
        /// Where it was to listen.
        listen: SocketAddr,
    },
    /// An app has no secret, or one that is too short.
    #[error("the secret of app {app_id} has {bytes} bytes; it needs {SECRET_BYTES} or more")]
    Secret {
        /// The app.
        app_id: AppId,
        /// What it has.
        bytes: usize,
    },
    /// An app has no name for its secret.
    #[error("app {app_id} has no api_key")]
    ApiKey {
        /// The app.
        app_id: AppId,
    },
    /// The secret of an app is no secret.
    #[error("the secret of app {app_id} can be guessed; `openssl rand -hex 32` makes one that cannot")]
    WeakSecret {
        /// The app.
        app_id: AppId,
    },
    /// The same app and key twice.
    #[error("app {app_id} has the same api_key twice")]
    Twice {
        /// The app.
        app_id: AppId,
    },
    /// A server secret that is too short.
    #[error("server_secret {at} has {bytes} bytes; it needs {min} or more", min = Secret::SERVER_BYTES)]
    ServerSecret {
        /// Which one of the list, counted from 1.
        at: usize,
        /// What it has.
        bytes: usize,
    },
    /// A server secret that is no secret.
    #[error("server_secret {at} can be guessed; `openssl rand -hex 32` makes one that cannot")]
    WeakServerSecret {
        /// Which one of the list, counted from 1.
        at: usize,
    },
    /// No client can reach the server by this name.
    #[error("public_host is {given:?}; {why}")]
    PublicHost {
        /// What it is.
        given: String,
        /// What it must be.
        why: &'static str,
    },
    /// A certificate without its key, or a key without a certificate.
    #[error("{given} is set and {missing} is not; TLS needs both")]
    TlsHalf {
        /// The key that is set.
        given: &'static str,
        /// The key that is not.
        missing: &'static str,
    },
    /// The webhooks of an app cannot be used.
    #[error("webhooks.{key} of app {app_id} must be {must}")]
    Webhook {
        /// The app.
        app_id: AppId,
        /// The key.
        key: &'static str,
        /// What it must be.
        must: &'static str,
    },
    /// Pushes cannot be sent with what the app names for them.
    #[error("app {app_id}: {error}")]
    Push {
        /// The app.
        app_id: AppId,
        /// What is wrong.
        error: PushConfigError,
    },
    /// A number that makes no sense.
    #[error("{key} is {value}; it must be {must}")]
    Number {
        /// The key.
        key: &'static str,
        /// Its value.
        value: u64,
        /// What it must be.
        must: &'static str,
    },
}

/// Whether nobody but this machine and those in its own house, or a virtual one, reaches it.
fn is_of_a_private_network(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    }
}

/// Bytes of the shortest secret taken.
pub const SECRET_BYTES: usize = 16;

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, DEFAULT_PORT)),
            stun_listen: None,
            public_host: None,
            apps: Vec::new(),
            dev: false,
            dev_public: false,
            data_dir: None,
            server_secret: Vec::new(),
            tls_cert: None,
            tls_key: None,
            drain_ms: 0,
            limits: LimitsConfig::default(),
            ping_every_ms: session::PING_EVERY_MS,
            silence_limit_ms: session::SILENCE_LIMIT_MS,
            resume_window_ms: session::RESUME_WINDOW_MS,
            hello_timeout_ms: 5_000,
            ack_delay_ms: 200,
            close_grace_ms: 1_000,
            call_liveness_ms: 10_000,
            call_tombstone_ms: 60_000,
            token_leeway_s: 5,
            max_connections: 100_000,
            max_calls_per_device: 16,
            max_channels_per_device: 16,
            log_format: LogFormat::Text,
            log: "info".into(),
        }
    }
}

impl ServerConfig {
    /// A server for this machine only: loopback, a free port, the app `demo` with its backend, nothing on disk.
    pub fn dev_on_loopback() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), dev: true, ..Self::default() }
    }

    /// The configuration of these sources, the later ones first in rank: defaults, `file`, the environment, `flags`.
    ///
    /// `flags` is a map of keys to values that leaves out what was not given.
    pub fn load(file: Option<&Path>, flags: impl Serialize) -> Result<Self, ConfigError> {
        let mut given = Figment::new();
        if let Some(path) = file {
            // Opened first, for an error that says why it cannot be read.
            std::fs::File::open(path).map_err(|error| ConfigError::File { path: path.to_owned(), error })?;
            given = given.merge(Toml::file_exact(path));
        }
        let keys = keys();
        let is_key = move |key: &str| key.split('.').next().is_some_and(|key| keys.contains(&key.to_lowercase()));
        let environment = Env::prefixed(ENVIRONMENT_PREFIX).filter(move |key| is_key(key.as_str()));
        given = given.merge(environment).merge(Serialized::globals(flags));
        let mut defaults = Self::default();
        if given.extract_inner("dev").unwrap_or(false) {
            defaults.listen.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        Figment::from(Serialized::defaults(defaults))
            .merge(given)
            .extract()
            .map_err(|error| ConfigError::Key(Box::new(error)))
    }

    /// Variables of the environment that begin like keys and are none: their names.
    pub fn ignored_variables() -> IgnoredVariables {
        let keys = keys();
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let ignored = names.filter(|name| {
            let rest = name.to_uppercase().strip_prefix(ENVIRONMENT_PREFIX).map(str::to_lowercase);
            rest.is_some_and(|rest| rest != "config" && !keys.contains(rest.split('.').next().unwrap_or_default()))
        });
        let (of_kubernetes, unknown) = ignored.partition(|name| is_of_kubernetes(name));
        IgnoredVariables { unknown, of_kubernetes }
    }

    /// Whether a server can run with it.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.apps.is_empty() && !self.dev {
            return Err(ConfigError::NoApp);
        }
        if self.dev && !self.dev_public && !is_of_a_private_network(self.listen.ip()) {
            return Err(ConfigError::DevPublic { listen: self.listen });
        }
        let is_shown = !self.dev_public && !self.listen.ip().to_canonical().is_loopback();
        if self.dev && is_shown && self.apps.iter().any(|app| app.app_id.as_str() == DEV_APP) {
            return Err(ConfigError::DevApp { listen: self.listen });
        }
        for (at, app) in self.apps.iter().enumerate() {
            let app_id = app.app_id.clone();
            if app.api_key.is_empty() {
                return Err(ConfigError::ApiKey { app_id });
            }
            if app.secret.len() < SECRET_BYTES {
                return Err(ConfigError::Secret { app_id, bytes: app.secret.len() });
            }
            if doubts::is_weak(&app.secret) {
                return Err(ConfigError::WeakSecret { app_id });
            }
            if self.apps[..at].iter().any(|other| other.app_id == app.app_id && other.api_key == app.api_key) {
                return Err(ConfigError::Twice { app_id });
            }
            if let Some(Err((key, must))) = app.webhooks.as_ref().map(outbox::check) {
                return Err(ConfigError::Webhook { app_id, key, must });
            }
            app.push.check().map_err(|error| ConfigError::Push { app_id, error })?;
        }
        for (at, secret) in self.server_secret.iter().enumerate() {
            let bytes = secret.reveal().len();
            if bytes < Secret::SERVER_BYTES {
                return Err(ConfigError::ServerSecret { at: at + 1, bytes });
            }
            if doubts::is_weak(secret.reveal()) {
                return Err(ConfigError::WeakServerSecret { at: at + 1 });
            }
        }
        if let Some(host) = &self.public_host
            && let Some(why) = doubts::public_host(host)
        {
            return Err(ConfigError::PublicHost { given: host.clone(), why });
        }
        match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => return Err(ConfigError::TlsHalf { given: "tls_cert", missing: "tls_key" }),
            (None, Some(_)) => return Err(ConfigError::TlsHalf { given: "tls_key", missing: "tls_cert" }),
            (Some(_), Some(_)) | (None, None) => {}
        }
        let positive = [
            ("ping_every_ms", self.ping_every_ms),
            ("hello_timeout_ms", self.hello_timeout_ms),
            ("call_liveness_ms", self.call_liveness_ms),
            ("limits.overload_delay_ms", self.limits.overload_delay_ms),
        ];
        for (key, value) in positive {
            if value == 0 {
                return Err(ConfigError::Number { key, value: 0, must: "more than 0" });
            }
        }
        if self.silence_limit_ms <= self.ping_every_ms {
            let (key, value) = ("silence_limit_ms", self.silence_limit_ms.into());
            return Err(ConfigError::Number { key, value, must: "more than ping_every_ms" });
        }
        let counts = [
            ("max_connections", self.max_connections),
            ("max_calls_per_device", self.max_calls_per_device),
            ("max_channels_per_device", self.max_channels_per_device),
        ];
        for (key, value) in counts {
            if value == 0 {
                return Err(ConfigError::Number { key, value: 0, must: "more than 0" });
            }
        }
        Ok(())
    }
}

/// Variables that begin like keys of the configuration and are none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IgnoredVariables {
    /// Perhaps misspelt.
    pub unknown: Vec<String>,
    /// What Kubernetes sets in every pod beside a service whose name begins with `callkitd`.
    pub of_kubernetes: Vec<String>,
}

/// The names of all keys.
fn keys() -> HashSet<String> {
    let all = serde_json::to_value(ServerConfig::default()).unwrap_or_default();
    all.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect()
}

/// `X_SERVICE_HOST`, `X_SERVICE_PORT`, `X_SERVICE_PORT_NAME`, `X_PORT`, `X_PORT_7450_TCP` and what follows that.
fn is_of_kubernetes(name: &str) -> bool {
    let of_a_port = |rest: &str| {
        let mut parts = rest.split('_');
        let is_number = parts.next().is_some_and(|port| port.parse::<u16>().is_ok());
        is_number && parts.next().is_some_and(|protocol| matches!(protocol, "TCP" | "UDP" | "SCTP"))
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || name.ends_with("_PORT")
        || name.split_once("_PORT_").is_some_and(|(_, rest)| of_a_port(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_file(text: &str) -> Result<ServerConfig, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("callkitd.toml");
        std::fs::write(&path, text).unwrap();
        ServerConfig::load(Some(&path), serde_json::json!({ "dev": true }))
    }

    #[test]
    fn later_sources_win_and_what_is_not_said_is_the_default() {
        let config = from_file("listen = \"127.0.0.1:9\"\nack_delay_ms = 7\ndev = false").unwrap();
        assert_eq!(config.listen.port(), 9);
        assert_eq!(config.ack_delay_ms, 7);
        assert!(config.dev, "the flag wins over the file");
        assert_eq!(config.silence_limit_ms, 10_000);
    }

    #[test]
    fn an_unknown_key_and_a_bad_value_are_named() {
        let said = from_file("lissten = \"127.0.0.1:9\"").unwrap_err().to_string();
        assert!(said.contains("lissten") && said.contains("callkitd.toml"), "{said}");
        let said = from_file("ack_delay_ms = \"soon\"").unwrap_err().to_string();
        assert!(said.contains("ack_delay_ms"), "{said}");
        let said = ServerConfig::load(Some(Path::new("/nowhere/x.toml")), ()).unwrap_err().to_string();
        assert!(said.contains("/nowhere/x.toml"), "{said}");
    }

    #[test]
    fn apps_need_a_secret() {
        let app = |secret: &str| AppConfig::new(AppId::new("shop").unwrap(), "key", secret);
        let with = |apps| ServerConfig { apps, ..ServerConfig::default() }.check();
        assert!(matches!(with(vec![]), Err(ConfigError::NoApp)));
        assert!(matches!(with(vec![app("")]), Err(ConfigError::Secret { bytes: 0, .. })));
        assert!(matches!(with(vec![app("0123456789abcdef"); 2]), Err(ConfigError::Twice { .. })));
        assert!(with(vec![app("0123456789abcdef")]).is_ok());
        assert!(matches!(with(vec![app("0000000000000000")]), Err(ConfigError::WeakSecret { .. })));
        assert!(ServerConfig::dev_on_loopback().check().is_ok());
        let dev = |listen: &str, dev_public, apps| {
            let listen = listen.parse().unwrap();
            ServerConfig { listen, dev_public, apps, ..ServerConfig::dev_on_loopback() }.check()
        };
        for listen in ["127.0.0.1:1", "[::1]:1", "192.168.1.2:1", "10.7.9.1:1", "[fd00::7]:1", "[::ffff:10.0.0.1]:1"] {
            assert!(dev(listen, false, vec![app("0123456789abcdef")]).is_ok());
        }
        for listen in ["0.0.0.0:1", "[::]:1", "203.0.113.7:1", "[2001:db8::7]:1"] {
            assert!(matches!(dev(listen, false, vec![]), Err(ConfigError::DevPublic { .. })), "{listen}");
            assert!(dev(listen, true, vec![]).is_ok());
        }
        let demo = AppConfig::new(AppId::new(DEV_APP).unwrap(), "key", "0123456789abcdef");
        for listen in ["192.168.1.2:1", "[fd00::7]:1"] {
            assert!(matches!(dev(listen, false, vec![demo.clone()]), Err(ConfigError::DevApp { .. })), "{listen}");
            assert!(dev(listen, true, vec![demo.clone()]).is_ok(), "said so");
        }
        assert!(dev("127.0.0.1:1", false, vec![demo.clone()]).is_ok(), "this machine alone");
        assert!(with(vec![demo]).is_ok());
        let quick = ServerConfig { silence_limit_ms: 3_000, ..ServerConfig::dev_on_loopback() };
        assert!(quick.check().unwrap_err().to_string().contains("silence_limit_ms"));
    }

    #[test]
    fn limits_are_a_table_and_half_of_tls_is_told() {
        let config =
            from_file("[limits]\nframes_per_device_per_minute = 5\ntrusted_addresses = [\"10.0.0.0/8\"]").unwrap();
        assert_eq!(config.limits.frames_per_device_per_minute, 5);
        assert_eq!(config.limits.trusted_addresses.len(), 1);
        assert_eq!(config.limits.sign_ins_per_user_per_minute, 60);
        let said = from_file("[limits]\nframes_per_hour = 5").unwrap_err().to_string();
        assert!(said.contains("frames_per_hour"), "{said}");
        let said = from_file("tls_cert = \"c.pem\"").unwrap().check().unwrap_err().to_string();
        assert!(said.contains("tls_cert") && said.contains("tls_key"), "{said}");
        let said = from_file("server_secret = [\"short\"]").unwrap().check().unwrap_err().to_string();
        assert!(said.contains("server_secret 1 has 5 bytes"), "{said}");
    }

    #[test]
    fn what_no_client_can_use_is_told() {
        let told = |config: ServerConfig| config.check().unwrap_err().to_string();
        let dev = ServerConfig::dev_on_loopback;
        let host = "https://calls.example".to_owned();
        let said = told(ServerConfig { public_host: Some(host), ..dev() });
        assert!(said.contains("https://calls.example") && said.contains("without scheme"), "{said}");
        assert!(told(ServerConfig { max_calls_per_device: 0, ..dev() }).contains("max_calls_per_device"));
        assert!(told(ServerConfig { max_channels_per_device: 0, ..dev() }).contains("max_channels_per_device"));
        let zeros = Secret::new("0".repeat(64));
        assert!(told(ServerConfig { server_secret: vec![zeros], ..dev() }).contains("server_secret 1 can be guessed"));
    }

    #[test]
    fn variables_of_kubernetes_are_known_by_their_shape() {
        let of_a_service = [
            "CALLKITD_PORT",
            "CALLKITD_SERVICE_HOST",
            "CALLKITD_SERVICE_PORT",
            "CALLKITD_SERVICE_PORT_HTTP",
            "CALLKITD_PORT_7450_TCP",
            "CALLKITD_PORT_7450_UDP_ADDR",
            "CALLKITD_ADMIN_SERVICE_HOST",
        ];
        assert!(of_a_service.into_iter().all(is_of_kubernetes));
        assert!(!["CALLKITD_LISTEM", "CALLKITD_PORT_OF_UDP", "CALLKITD_HOST"].into_iter().any(is_of_kubernetes));
    }

    #[test]
    fn no_secret_is_shown() {
        let mut config = ServerConfig::dev_on_loopback();
        let secret = "0123456789abcdef".to_owned();
        let webhooks = WebhookConfig { secrets: vec![secret.clone()], ..WebhookConfig::default() };
        let app = AppConfig::new(AppId::new("shop").unwrap(), "key", secret);
        config.apps.push(AppConfig { webhooks: Some(webhooks), ..app });
        config.server_secret.push(Secret::new("0123456789abcdef"));
        assert!(!format!("{config:?}").contains("0123456789abcdef"));
    }
}
