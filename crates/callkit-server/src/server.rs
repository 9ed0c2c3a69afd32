//! Start and stop.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use call_protocol::AppId;
use callkit_hub::{AppFeatures, AppNo, Hub, HubConfig, InviteLimits, RestoredCall};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::accept::{self, Accepting};
use crate::account::Account;
#[cfg(unix)]
use crate::admin::Admin;
use crate::cc_keys::{CcKeys, KeyError};
use crate::clock::Clock;
use crate::config::{AppConfig, ConfigError, ServerConfig};
use crate::dev::{self, DEV_APP, Directory};
use crate::doubts;
use crate::gate::Gate;
use crate::health::{Health, Stage};
use crate::http::Site;
use crate::hub::{HubDriver, Services};
use crate::hub_link::{HubLink, LastHeard, ToHub};
use crate::limits::Limits;
use crate::listen;
use crate::living::Living;
use crate::metering::Metering;
use crate::outbox::{Kind, Outbox, Pace, Ringing};
use crate::store::{Retention, Setting, Store, StoreError};
use crate::stream::Door;
use crate::stun::{self, StunAddress, StunSocket};
use crate::tls::{self, Tls, TlsError};
use crate::token::Apps;
use crate::vitals::{Failed, Part, Vitals};

/// A running server. Dropping it without [`Server::stop`] ends it without a word to its clients.
pub struct Server {
    local_addr: SocketAddr,
    udp_addr: SocketAddr,
    apps: Vec<AppConfig>,
    to_hub: HubLink,
    health: Arc<Health>,
    vitals: Arc<Vitals>,
    store: Store,
    tls: Option<Arc<Tls>>,
    drain: Duration,
    stop_hub: Option<oneshot::Sender<()>>,
    stop_accepting: watch::Sender<bool>,
    hub: JoinHandle<()>,
    sending: JoinHandle<()>,
    accepting: JoinHandle<()>,
    answering: JoinHandle<()>,
    watching: Option<JoinHandle<()>>,
    #[cfg(unix)]
    admin: Option<Admin>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Server { local_addr, udp_addr, .. } = self;
        f.debug_struct("Server").field("tcp", local_addr).field("udp", udp_addr).finish_non_exhaustive()
    }
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is not sound.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another program has the port.
    #[error("{protocol} port {address} is taken by another program")]
    PortTaken {
        /// "TCP" or "UDP".
        protocol: &'static str,
        /// The address that was wanted.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {protocol} {address}: {error}")]
    Listen {
        /// "TCP" or "UDP".
        protocol: &'static str,
        /// The address that was wanted.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The calls of before cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The server's own secret cannot be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// What others are to be told cannot be sent.
    #[error("cannot send webhooks: {0}")]
    Outbox(String),
}

impl Server {
    /// Starts a server in the current tokio runtime; it serves when this returns.
    ///
    /// With `dev` the app `demo` gets a secret of its own, new at each start.
    pub async fn start(config: ServerConfig) -> Result<Server, StartError> {
        Self::start_with(config, Clock::start()).await
    }

    /// As [`Server::start`], with a wall clock of one's own that tells ms since 1970, for tests of one that is off; not for apps.
    #[doc(hidden)]
    pub async fn start_by(config: ServerConfig, unix_ms: fn() -> u64) -> Result<Server, StartError> {
        Self::start_with(config, Clock::start_by(unix_ms)).await
    }

    async fn start_with(config: ServerConfig, clock: Clock) -> Result<Server, StartError> {
        config.check()?;
        for doubt in doubts::of(&config) {
            warn!("{doubt}");
        }
        let mut app_configs = config.apps.clone();
        if config.dev {
            if !config.listen.ip().is_loopback() {
                warn!("dev is on and others can reach it: whoever does can register and call");
            }
            app_configs.push(dev_app());
        }
        let apps = Arc::new(Apps::new(&app_configs, config.token_leeway_s));
        let listener = listen::tcp(config.listen).map_err(|error| not_listening("TCP", config.listen, error))?;
        let local_addr = listener.local_addr().map_err(|error| not_listening("TCP", config.listen, error))?;
        let (socket, udp_addr) = bind_udp(&config, local_addr)?;
        let metering = Arc::new(Metering::new());
        let tls = match (&config.tls_cert, &config.tls_key) {
            (Some(cert), Some(key)) => Some(Arc::new(Tls::open(cert.clone(), key.clone(), Arc::clone(&metering))?)),
            _ => None,
        };
        let cc_keys = Arc::new(CcKeys::open(&config.server_secret, config.data_dir.as_deref())?);
        let folder = config.data_dir.as_deref();
        let vitals = Arc::new(Vitals::default());
        let alive = vitals.alive(Part::Store);
        let setting = Setting {
            retention: Retention::default(),
            apps: Arc::clone(&apps),
            metering: Arc::clone(&metering),
            clock,
        };
        let (store, kept) = Store::open(folder, setting, alive)?;
        let demo = config.dev.then(|| apps.find(DEV_APP)).flatten();
        let directory = demo.map(|app| Arc::new(Directory::new(app)));
        let heard = LastHeard::default();
        let limits = Arc::new(Limits::new(&config.limits, clock, Arc::clone(&metering)));
        let overload_delay_ms = config.limits.overload_delay_ms;
        let gate = Gate::new(Duration::from_millis(overload_delay_ms.into()));
        let health =
            Health::new(overload_delay_ms, Arc::clone(&gate), Arc::clone(&vitals), clock, Arc::clone(&metering));
        let health = Arc::new(health);

        let (link, inbox) = HubLink::new(config.max_connections.saturating_mul(STREAMS_PER_CONNECTION));
        let alive = vitals.alive(Part::Outbox);
        let rings = |kept: &RestoredCall| Some((apps.name(kept.app).clone(), kept.snapshot.ringing()?));
        let ringing = Ringing::of(kept.iter().filter_map(rings));
        let outbox =
            Outbox::start(store.clone(), &app_configs, Pace::default(), ringing, alive).map_err(StartError::Outbox)?;
        let (outbox, notices, sending) = outbox;
        let living = Arc::new(Living::default());
        let hub_config = hub_config(&config, &apps, &outbox, demo);
        let services = Services {
            clock,
            metering: Arc::clone(&metering),
            limits: Arc::clone(&limits),
            health: Arc::clone(&health),
            living: Arc::clone(&living),
            apps: Arc::clone(&apps),
            outbox,
            cc_keys: Arc::clone(&cc_keys),
            store: store.clone(),
            stun: StunAddress { public_host: config.public_host.clone(), bound: udp_addr },
            heard: heard.clone(),
        };
        #[cfg(unix)]
        let admin = folder.and_then(|folder| Admin::start(folder, store.clone()));
        let calls_kept = kept.len();
        let hub = Hub::new(hub_config, rand::random(), kept, store.last_number(), clock.now());
        let hub = HubDriver::new(hub, services);
        let (stop_hub, hub_stops) = oneshot::channel();
        let hub = vitals.spawn(Part::Hub, hub.run(inbox, notices, hub_stops));

        let door = Arc::new(Door {
            apps: Arc::clone(&apps),
            cc_keys,
            hub: link,
            clock,
            heard,
            metering: Arc::clone(&metering),
            limits: Arc::clone(&limits),
            health: Arc::clone(&health),
            living,
            gate,
            hello_timeout: Duration::from_millis(config.hello_timeout_ms.into()),
            silence_limit_ms: config.silence_limit_ms.into(),
            last_stream: AtomicU64::new(0),
        });
        let backend = directory.map(|directory| dev::routes(Arc::clone(&apps), directory, door.hub.clone()));
        let account = Account {
            apps: Arc::clone(&apps),
            store: store.clone(),
            limits: Arc::clone(&limits),
            metering: Arc::clone(&metering),
        };
        let to_hub = door.hub.clone();
        let site = Site::new(
            door,
            Arc::new(account),
            Arc::clone(&limits),
            Arc::clone(&metering),
            Arc::clone(&health),
            backend,
        );
        let (stop_accepting, stops) = watch::channel(false);
        let accepting = Accepting {
            site: Arc::new(site),
            metering: Arc::clone(&metering),
            limits,
            tls: tls.clone(),
            max_connections: config.max_connections,
            idle_limit: Duration::from_millis(config.hello_timeout_ms.into()),
            close_grace: Duration::from_millis(config.close_grace_ms.into()),
        };
        let accepting = vitals.spawn(Part::Accepting, accept::run(accepting, listener, stops));
        let answering = vitals.spawn(Part::Stun, stun::serve(socket, metering));
        let watching = tls.as_ref().map(|tls| tokio::spawn(Arc::clone(tls).watch()));
        let is_tls = tls.is_some();
        vitals.start();
        info!(%local_addr, %udp_addr, tls = is_tls, apps = app_configs.len(), dev = config.dev, calls_kept, "serving");
        Ok(Server {
            local_addr,
            udp_addr,
            apps: app_configs,
            to_hub,
            health,
            vitals,
            store,
            tls,
            drain: Duration::from_millis(config.drain_ms.into()),
            stop_hub: Some(stop_hub),
            stop_accepting,
            hub,
            sending,
            accepting,
            answering,
            watching,
            #[cfg(unix)]
            admin,
        })
    }

    /// Whether a server could start with this configuration and be of use, as far as that can be told without starting it: keys and
    /// values, the certificate, its key, and whether any client takes it now. Ports and the data folder are not touched.
    pub fn check(config: &ServerConfig) -> Result<(), StartError> {
        config.check()?;
        if let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) {
            tls::check(cert.clone(), key.clone())?;
        }
        Ok(())
    }

    /// What a server can start with and its operator may not have meant, one sentence each. [`Server::start`] logs them as warnings.
    pub fn doubts(config: &ServerConfig) -> Vec<String> {
        doubts::of(config)
    }

    /// Takes up a certificate that has changed on disk; one that cannot be used leaves the old one in place. Connections that are open
    /// go on. A running server looks for itself every 30 s.
    pub fn reload(&self) {
        if let Some(tls) = &self.tls {
            tls.reload();
        }
    }

    /// The TCP address for gRPC and HTTP.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The UDP address that answers STUN.
    pub fn udp_addr(&self) -> SocketAddr {
        self.udp_addr
    }

    /// The apps served, with their secrets; the generated one of `dev` among them.
    pub fn apps(&self) -> &[AppConfig] {
        &self.apps
    }

    /// Waits until the server can no longer do its work, which never happens unless by a fault of its own: `/healthz` and `/readyz`
    /// then say 503. What is to be done then is for the program to say; `callkitd` ends. Cancel safe, and apart from this handle.
    pub fn failed(&self) -> impl Future<Output = Failed> + Send + use<> {
        let vitals = Arc::clone(&self.vitals);
        async move { vitals.fails().await }
    }

    /// Ends a part as a fault in it would, for tests of what then happens; not for apps.
    #[doc(hidden)]
    pub fn lose(&self, part: Part) {
        match part {
            Part::Hub => self.hub.abort(),
            Part::Store => drop(tokio::spawn(self.store.clone().close())),
            Part::Outbox => self.sending.abort(),
            Part::Accepting => self.accepting.abort(),
            Part::Stun => self.answering.abort(),
        }
    }

    /// Makes the hub stand still until the other end is dropped, as a fault in it would, for tests of what then happens; not for apps.
    #[doc(hidden)]
    pub async fn stall(&self) -> oneshot::Sender<()> {
        let (goes_on, until) = oneshot::channel();
        self.to_hub.inputs.send(ToHub::Stalled(until)).await.ok();
        goes_on
    }

    /// Takes nobody new, and returns when no call runs or `drain_ms` are over; at once without `drain_ms`.
    ///
    /// For programs that may be told to hurry: [`Server::stop`] drains by itself, and does not if this was called before. Cancelled, the
    /// server goes on without taking anybody.
    pub async fn drain(&self) {
        if !self.drain.is_zero() {
            self.health.set_stage(Stage::Draining);
            info!("draining");
            let is_drained = timeout(self.drain, self.health.calls_are_over()).await.is_ok();
            info!(is_drained, "drained");
        }
    }

    /// Tells every client that the server stops, closes everything, and returns when all tasks have ended and the ports are free.
    ///
    /// With `drain_ms` the calls that run go on first, for so long at most, while nobody new is taken. Then it takes at most about twice
    /// `close_grace_ms`. Running calls stay in the store, where there is one.
    pub async fn stop(mut self) {
        if self.health.takes_sign_ins() {
            self.drain().await;
        }
        self.health.set_stage(Stage::Stopping);
        #[cfg(unix)]
        drop(self.admin.take());
        // First no new connections, then the goodbyes on the old ones, then their end.
        self.stop_accepting.send_replace(true);
        if let Some(stop) = self.stop_hub.take() {
            stop.send(()).ok();
        }
        (&mut self.hub).await.ok();
        (&mut self.sending).await.ok();
        (&mut self.accepting).await.ok();
        // The hub has done so, unless it had ended before.
        self.store.clone().close().await;
        self.answering.abort();
        (&mut self.answering).await.ok();
        if let Some(mut watching) = self.watching.take() {
            watching.abort();
            (&mut watching).await.ok();
        }
        info!("stopped");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What ends now ends by nobody's fault.
        self.vitals.stop();
        self.hub.abort();
        self.sending.abort();
        self.accepting.abort();
        self.answering.abort();
        if let Some(watching) = &self.watching {
            watching.abort();
        }
    }
}

/// Streams of one connection, as its HTTP/2 allows.
const STREAMS_PER_CONNECTION: usize = accept::STREAMS as usize;

fn hub_config(config: &ServerConfig, apps: &Apps, outbox: &Outbox, directory: Option<AppNo>) -> HubConfig {
    let features = |app: &AppId| AppFeatures {
        ring_webhook: outbox.takes(app, Kind::Notify),
        end_webhook: outbox.takes(app, Kind::CallEvent),
        pushes: outbox.pushes(app),
    };
    HubConfig {
        apps: apps.names().iter().map(features).collect(),
        directory,
        ping_every_ms: config.ping_every_ms,
        silence_limit_ms: config.silence_limit_ms,
        resume_window_ms: config.resume_window_ms,
        ack_delay_ms: config.ack_delay_ms,
        close_grace_ms: config.close_grace_ms,
        call_liveness_ms: config.call_liveness_ms,
        call_tombstone_ms: config.call_tombstone_ms,
        token_leeway_s: config.token_leeway_s,
        max_calls_per_device: config.max_calls_per_device,
        max_channels_per_device: config.max_channels_per_device,
        invites: InviteLimits {
            per_device: config.limits.invites_per_device_per_minute,
            per_user: config.limits.invites_per_user_per_minute,
            per_app: config.limits.invites_per_app_per_minute,
        },
    }
}

fn dev_app() -> AppConfig {
    let secret = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
    AppConfig::new(AppId::new(DEV_APP).expect("the name is a few letters"), "dev", secret)
}

/// The UDP port: by default the number of the TCP port, and any free one where TCP took any and UDP has that number taken.
fn bind_udp(config: &ServerConfig, local_addr: SocketAddr) -> Result<(StunSocket, SocketAddr), StartError> {
    let wanted = config.stun_listen.unwrap_or(local_addr);
    let bound = match listen::udp(wanted) {
        Err(_) if config.stun_listen.is_none() && config.listen.port() == 0 => {
            listen::udp(SocketAddr::new(wanted.ip(), 0))
        }
        bound => bound,
    };
    let socket = bound.map_err(|error| not_listening("UDP", wanted, error))?;
    let address = socket.local_addr().map_err(|error| not_listening("UDP", wanted, error))?;
    let socket = StunSocket::new(socket).map_err(|error| not_listening("UDP", wanted, error))?;
    Ok((socket, address))
}

fn not_listening(protocol: &'static str, address: SocketAddr, error: io::Error) -> StartError {
    match error.kind() {
        io::ErrorKind::AddrInUse => StartError::PortTaken { protocol, address },
        _ => StartError::Listen { protocol, address, error },
    }
}
