//! How much anybody may ask for: rates by address, user, device and app, and connections of one address at one time.
//!
//! Rates are counted by `governor` (GCRA): a limit of N a minute allows a burst of N, then one every 60/N s.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::HeaderMap;
use call_protocol::{CallId, UserId};
use callkit_hub::AppNo;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::metering::Metering;
use crate::proxy::{self, ClientAddress, ProxyTells};

mod frames;
pub(crate) use frames::FrameQuota;

/// How much may be asked for. Zero takes a limit away.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Networks that no limit by address holds for, unless they are those of proxies. Default: this machine.
    pub trusted_addresses: Vec<IpNet>,
    /// Networks that may read `/metrics`, but not by way of a proxy. Default: `trusted_addresses`.
    pub metrics_addresses: Option<Vec<IpNet>>,
    /// Proxies in front of the server: limits by address hold for the clients they speak for, and for themselves where they say nothing of
    /// a client. Nobody else is believed. Default: none.
    pub trusted_proxies: Vec<IpNet>,
    /// How these proxies say for whom they speak: "x-forwarded-for", "forwarded" or "proxy-protocol". Default "x-forwarded-for".
    pub proxies_tell_by: ProxyTells,
    /// Connections of one address at one time; behind one address of a mobile network are many phones. Default 1,000.
    pub connections_per_address: u32,
    /// New connections of one address. Default 1,200.
    pub connections_per_address_per_minute: u32,
    /// HTTP requests of one address; streams of apps are none. Default 600.
    pub http_requests_per_address_per_minute: u32,
    /// Sign-ins tried from one address, good or bad. Default 1,200.
    pub sign_ins_per_address_per_minute: u32,
    /// Sign-ins of one user, on all devices. Default 60.
    pub sign_ins_per_user_per_minute: u32,
    /// Frames of one device, pings among them, on whatever streams. A call has about 40. Default 12,000.
    pub frames_per_device_per_minute: u32,
    /// Frames of one user, on all devices. Default 48,000.
    pub frames_per_user_per_minute: u32,
    /// Invites of one user, on all devices; one to a group counts for each of its callees. Default 240.
    pub invites_per_user_per_minute: u32,
    /// Invites of one device. Default 120.
    pub invites_per_device_per_minute: u32,
    /// Invites of all users of one app. Default 60,000.
    pub invites_per_app_per_minute: u32,
    /// For how long new sign-ins and new calls may have to wait for each other without a pause, in ms; beyond that, those that waited 50 ms
    /// or more are refused while what runs goes on. Default 500.
    pub overload_delay_ms: u32,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        let loopback = [IpNet::from(ipnet::Ipv4Net::new_assert([127, 0, 0, 0].into(), 8))];
        let loopback_v6 = IpNet::from(IpAddr::from(Ipv6Addr::LOCALHOST));
        Self {
            trusted_addresses: loopback.into_iter().chain([loopback_v6]).collect(),
            metrics_addresses: None,
            trusted_proxies: Vec::new(),
            proxies_tell_by: ProxyTells::default(),
            connections_per_address: 1_000,
            connections_per_address_per_minute: 1_200,
            http_requests_per_address_per_minute: 600,
            sign_ins_per_address_per_minute: 1_200,
            sign_ins_per_user_per_minute: 60,
            frames_per_device_per_minute: 12_000,
            frames_per_user_per_minute: 48_000,
            invites_per_user_per_minute: 240,
            invites_per_device_per_minute: 120,
            invites_per_app_per_minute: 60_000,
            overload_delay_ms: 500,
        }
    }
}

impl LimitsConfig {
    /// No limit but that of overload, for one's own load tests.
    pub fn none() -> Self {
        Self {
            connections_per_address: 0,
            connections_per_address_per_minute: 0,
            http_requests_per_address_per_minute: 0,
            sign_ins_per_address_per_minute: 0,
            sign_ins_per_user_per_minute: 0,
            frames_per_device_per_minute: 0,
            frames_per_user_per_minute: 0,
            invites_per_user_per_minute: 0,
            invites_per_device_per_minute: 0,
            invites_per_app_per_minute: 0,
            ..Self::default()
        }
    }
}

/// Which limit was met; the label of `callkit_limited_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Limit {
    ConnectionsAtOnce,
    Connections,
    HttpRequests,
    SignInsOfAddress,
    SignInsOfUser,
    Frames,
    FramesOfUser,
    InvitesOfUser,
    InvitesOfDevice,
    InvitesOfApp,
    Streams,
}

impl Limit {
    pub(crate) const ALL: [Limit; 11] = [
        Limit::ConnectionsAtOnce,
        Limit::Connections,
        Limit::HttpRequests,
        Limit::SignInsOfAddress,
        Limit::SignInsOfUser,
        Limit::Frames,
        Limit::FramesOfUser,
        Limit::InvitesOfUser,
        Limit::InvitesOfDevice,
        Limit::InvitesOfApp,
        Limit::Streams,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Limit::ConnectionsAtOnce => "connections_at_once",
            Limit::Connections => "connections_of_address",
            Limit::HttpRequests => "http_requests_of_address",
            Limit::SignInsOfAddress => "sign_ins_of_address",
            Limit::SignInsOfUser => "sign_ins_of_user",
            Limit::Frames => "frames_of_device",
            Limit::FramesOfUser => "frames_of_user",
            Limit::InvitesOfUser => "invites_of_user",
            Limit::InvitesOfDevice => "invites_of_device",
            Limit::InvitesOfApp => "invites_of_app",
            Limit::Streams => "streams_at_once",
        }
    }
}

/// Connections of one address that are being told at one time why they are not served; others are closed without.
const TURNED_AWAY: u32 = 16;
/// How often an address is told so.
const TURN_AWAYS_PER_MINUTE: u32 = 600;

/// The limits of one server and where everybody stands.
pub(crate) struct Limits {
    trusted: Vec<IpNet>,
    reads_metrics: Vec<IpNet>,
    proxies: Vec<IpNet>,
    proxies_tell_by: ProxyTells,
    at_once: u32,
    places: Arc<Places>,
    turned_away: Arc<Places>,
    turn_aways: Option<Rate>,
    connections: Option<Rate>,
    http_requests: Option<Rate>,
    sign_ins_of_address: Option<Rate>,
    sign_ins_of_user: Option<Rate>,
    frames_of_device: Option<Rate>,
    frames_of_user: Option<Rate>,
    /// What the hub remembers of invites.
    invite_keys: AtomicUsize,
    metering: Arc<Metering>,
}

impl Limits {
    pub(crate) fn new(config: &LimitsConfig, clock: Clock, metering: Arc<Metering>) -> Self {
        let rate = |a_minute| Rate::new(a_minute, clock);
        Self {
            trusted: config.trusted_addresses.clone(),
            reads_metrics: config.metrics_addresses.as_ref().unwrap_or(&config.trusted_addresses).clone(),
            proxies: config.trusted_proxies.clone(),
            proxies_tell_by: config.proxies_tell_by,
            at_once: config.connections_per_address,
            places: Arc::default(),
            turned_away: Arc::default(),
            turn_aways: rate(TURN_AWAYS_PER_MINUTE),
            connections: rate(config.connections_per_address_per_minute),
            http_requests: rate(config.http_requests_per_address_per_minute),
            sign_ins_of_address: rate(config.sign_ins_per_address_per_minute),
            sign_ins_of_user: rate(config.sign_ins_per_user_per_minute),
            frames_of_device: rate(config.frames_per_device_per_minute),
            frames_of_user: rate(config.frames_per_user_per_minute),
            invite_keys: AtomicUsize::new(0),
            metering,
        }
    }

    /// Whether limits by address hold for it.
    fn is_limited(&self, from: ClientAddress) -> bool {
        from.is_proxied || !is_in(&self.trusted, from.ip)
    }

    /// Whether this peer is a proxy that is to be believed.
    pub(crate) fn is_proxy(&self, peer: IpAddr) -> bool {
        is_in(&self.proxies, peer)
    }

    /// Whether this peer begins each connection with whom it speaks for.
    pub(crate) fn begins_with_client(&self, peer: IpAddr) -> bool {
        self.proxies_tell_by == ProxyTells::ProxyProtocol && self.is_proxy(peer)
    }

    /// From whom a request comes that has these headers and comes by a connection of this client.
    pub(crate) fn client(&self, of_connection: ClientAddress, headers: &HeaderMap) -> ClientAddress {
        if !self.is_proxy(of_connection.ip) {
            return of_connection;
        }
        let ip = proxy::client_of(of_connection.ip, headers, self.proxies_tell_by, |ip| self.is_proxy(ip));
        ClientAddress { ip, is_proxied: true }
    }

    /// Whether such a request may have the metrics: never by way of a proxy, known or not.
    pub(crate) fn may_read_metrics(&self, from: ClientAddress, headers: &HeaderMap) -> bool {
        !from.is_proxied && !proxy::is_forwarded(headers) && is_in(&self.reads_metrics, from.ip)
    }

    /// A place for a connection; it is free again when dropped. Proxies that speak for many by one connection need none.
    pub(crate) fn connect(&self, from: impl Into<ClientAddress>) -> Result<Option<Place>, Limit> {
        let from = from.into();
        if !self.is_limited(from) || self.is_proxy(from.ip) {
            return Ok(None);
        }
        let key = AddressKey::of(from.ip);
        if !within(&self.connections, &key) {
            return Err(self.met(Limit::Connections));
        }
        match Place::take(&self.places, key, self.at_once) {
            Some(place) => Ok(Some(place)),
            None => Err(self.met(Limit::ConnectionsAtOnce)),
        }
    }

    /// A place for a connection that met a limit and is to be told so in its own protocol, if this address has one left.
    pub(crate) fn turn_away(&self, from: IpAddr) -> Option<Place> {
        let key = AddressKey::of(from);
        within(&self.turn_aways, &key).then(|| Place::take(&self.turned_away, key, TURNED_AWAY)).flatten()
    }

    pub(crate) fn request(&self, from: impl Into<ClientAddress>) -> Result<(), Limit> {
        self.by_address(&self.http_requests, from.into(), Limit::HttpRequests)
    }

    /// Before the token is looked at, since that takes time.
    pub(crate) fn sign_in_from(&self, from: ClientAddress) -> Result<(), Limit> {
        self.by_address(&self.sign_ins_of_address, from, Limit::SignInsOfAddress)
    }

    pub(crate) fn sign_in_of(&self, app: AppNo, user: &UserId) -> Result<(), Limit> {
        self.by_key(&self.sign_ins_of_user, &(app, user), Limit::SignInsOfUser)
    }

    /// Sign-ins for one call, by its cc_param.
    pub(crate) fn sign_in_for(&self, app: AppNo, call_id: CallId) -> Result<(), Limit> {
        self.by_key(&self.sign_ins_of_user, &(app, call_id), Limit::SignInsOfUser)
    }

    /// Requests of one user outside of any call, as many as sign-ins.
    pub(crate) fn account_of(&self, app: AppNo, user: &UserId) -> Result<(), Limit> {
        self.by_key(&self.sign_ins_of_user, &(app, user, "account"), Limit::SignInsOfUser)
    }

    /// So many devices, users and apps are remembered by the hub, which counts invites.
    pub(crate) fn set_invite_keys(&self, keys: usize) {
        self.invite_keys.store(keys, Ordering::Relaxed);
    }

    /// Counts that a limit was met.
    pub(crate) fn met(&self, limit: Limit) -> Limit {
        self.metering.limited(limit);
        limit
    }

    /// How many addresses, users and devices are remembered.
    pub(crate) fn keys(&self) -> usize {
        let rates = [
            &self.connections,
            &self.turn_aways,
            &self.http_requests,
            &self.sign_ins_of_address,
            &self.sign_ins_of_user,
            &self.frames_of_device,
            &self.frames_of_user,
        ];
        let own: usize = rates.into_iter().flatten().map(|rate| rate.states.len()).sum();
        own + self.invite_keys.load(Ordering::Relaxed)
    }

    fn by_address(&self, rate: &Option<Rate>, from: ClientAddress, limit: Limit) -> Result<(), Limit> {
        if self.is_limited(from) { self.by_key(rate, &AddressKey::of(from.ip), limit) } else { Ok(()) }
    }

    fn by_key(&self, rate: &Option<Rate>, key: &impl Hash, limit: Limit) -> Result<(), Limit> {
        if within(rate, key) { Ok(()) } else { Err(self.met(limit)) }
    }
}

fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

fn within(rate: &Option<Rate>, key: &impl Hash) -> bool {
    rate.as_ref().is_none_or(|rate| rate.take(key))
}

/// Who an address counts as: itself, or the network of 64 bits that one subscriber has in IPv6 (RFC 6177).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct AddressKey(IpAddr);

impl AddressKey {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => AddressKey(address.into()),
            IpAddr::V6(address) => AddressKey(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into()),
        }
    }
}

/// Keys remembered by each rate, at most: 65,536 take about 4 MiB.
const KEYS: usize = 65_536;
/// Once that many are known, those who are new share so many places.
const SHARED: u64 = 4_096;
/// How often those who are within their limit again are forgotten, in ms.
const FORGET_EVERY_MS: u64 = 10_000;

/// One limit and where each of its keys stands. Keys are hashed with a seed of this run: nobody can choose whom to collide with.
struct Rate {
    states: RateLimiter<u64, DashMapStateStore<u64>, Clock, NoOpMiddleware<Duration>>,
    hasher: RandomState,
    clock: Clock,
    forgot_at_ms: AtomicU64,
}

impl Rate {
    fn new(a_minute: u32, clock: Clock) -> Option<Rate> {
        let quota = quota(a_minute)?;
        Some(Rate {
            states: RateLimiter::dashmap_with_clock(quota, clock),
            hasher: RandomState::new(),
            clock,
            forgot_at_ms: AtomicU64::new(0),
        })
    }

    fn hash(&self, key: &impl Hash) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Whether one more is within the limit.
    fn take(&self, key: &impl Hash) -> bool {
        self.take_hashed(self.hash(key))
    }

    fn take_hashed(&self, hash: u64) -> bool {
        self.forget();
        let is_full = self.states.len() >= KEYS;
        let place = if is_full { hash % SHARED } else { hash };
        self.states.check_key(&place).is_ok()
    }

    fn forget(&self) {
        let (now, last) = (self.clock.mono().0, self.forgot_at_ms.load(Ordering::Relaxed));
        let is_due = now.saturating_sub(last) >= FORGET_EVERY_MS;
        let change = || self.forgot_at_ms.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed);
        if is_due && change().is_ok() {
            self.states.retain_recent();
        }
    }
}

fn quota(a_minute: u32) -> Option<Quota> {
    NonZeroU32::new(a_minute).map(Quota::per_minute)
}

/// How many connections each address has. No more entries than connections.
#[derive(Default)]
struct Places(Mutex<HashMap<AddressKey, u32>>);

impl Places {
    fn lock(&self) -> MutexGuard<'_, HashMap<AddressKey, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection of an address.
pub(crate) struct Place {
    places: Arc<Places>,
    key: AddressKey,
}

impl Place {
    fn take(places: &Arc<Places>, key: AddressKey, at_once: u32) -> Option<Place> {
        let mut taken = places.lock();
        let count = taken.entry(key).or_default();
        if at_once != 0 && *count >= at_once {
            return None;
        }
        *count += 1;
        Some(Place { places: Arc::clone(places), key })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(config: LimitsConfig) -> Limits {
        Limits::new(&config, Clock::start(), Arc::new(Metering::new()))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn stranger(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_allows_a_burst_and_then_comes_back_with_time() {
        let limits = limits(LimitsConfig { http_requests_per_address_per_minute: 3, ..LimitsConfig::default() });
        for _ in 0..3 {
            limits.request(stranger(1)).unwrap();
        }
        assert_eq!(limits.request(stranger(1)), Err(Limit::HttpRequests));
        limits.request(stranger(2)).unwrap();
        tokio::time::advance(Duration::from_secs(21)).await;
        limits.request(stranger(1)).unwrap();
        assert_eq!(limits.request(stranger(1)), Err(Limit::HttpRequests));
    }

    #[tokio::test(start_paused = true)]
    async fn the_trusted_have_no_limit_by_address_and_zero_is_none() {
        let one = LimitsConfig {
            http_requests_per_address_per_minute: 1,
            connections_per_address: 1,
            ..LimitsConfig::default()
        };
        let limits_of_one = limits(one);
        for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            let address: IpAddr = address.parse().unwrap();
            for _ in 0..3 {
                limits_of_one.request(address).unwrap();
                assert!(matches!(limits_of_one.connect(address), Ok(None)));
            }
        }
        let none = limits(LimitsConfig::none());
        for _ in 0..5_000 {
            none.request(stranger(1)).unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_free_again_when_the_connection_is_gone() {
        let limits = limits(LimitsConfig { connections_per_address: 2, ..LimitsConfig::default() });
        let first = limits.connect(stranger(1)).unwrap();
        let _second = limits.connect(stranger(1)).unwrap();
        assert!(matches!(limits.connect(stranger(1)), Err(Limit::ConnectionsAtOnce)));
        drop(first);
        assert!(limits.connect(stranger(1)).is_ok());
        drop(_second);
        assert!(limits.places.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_subscriber_with_a_network_of_addresses_is_one() {
        let limits = limits(LimitsConfig { connections_per_address: 1, ..LimitsConfig::default() });
        let _one = limits.connect(ip("2001:db8:1:2::1")).unwrap();
        assert!(limits.connect(ip("2001:db8:1:2:ffff::9")).is_err());
        assert!(limits.connect(ip("2001:db8:1:3::1")).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded_and_forgotten() {
        let limits = limits(LimitsConfig { http_requests_per_address_per_minute: 60, ..LimitsConfig::default() });
        for number in 0..3 * KEYS as u32 {
            limits.request(IpAddr::from((0x0b00_0000 + number).to_be_bytes())).ok();
        }
        assert!(limits.keys() <= KEYS + SHARED as usize, "{}", limits.keys());
        tokio::time::advance(Duration::from_secs(70)).await;
        limits.request(stranger(1)).unwrap();
        assert!(limits.keys() <= 1 + SHARED as usize, "{}", limits.keys());
    }

    #[tokio::test(start_paused = true)]
    async fn behind_a_proxy_each_client_has_its_own_limit_and_nobody_is_trusted() {
        let proxy = || stranger(200);
        let limits = limits(LimitsConfig {
            trusted_addresses: vec!["192.0.2.0/24".parse().unwrap()],
            trusted_proxies: vec![IpNet::from(proxy())],
            http_requests_per_address_per_minute: 1,
            ..LimitsConfig::default()
        });
        let client = |said: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(said) = said {
                headers.insert("x-forwarded-for", said.parse().unwrap());
            }
            (limits.client(proxy().into(), &headers), headers)
        };
        for said in [Some("192.0.2.7"), Some("192.0.2.8"), Some("127.0.0.1"), None] {
            let (from, headers) = client(said);
            assert_eq!(limits.request(from), Ok(()), "{said:?}");
            assert_eq!(limits.request(from), Err(Limit::HttpRequests), "{said:?}");
            assert!(!limits.may_read_metrics(from, &headers), "{said:?}");
        }
        let (_, headers) = client(Some("192.0.2.9"));
        assert_eq!(limits.client(stranger(7).into(), &headers), stranger(7).into(), "it is no proxy");
        assert!(!limits.may_read_metrics(stranger(7).into(), &headers), "it may be one that nobody named");
        assert!(limits.may_read_metrics(stranger(7).into(), &HeaderMap::new()));
    }
}
