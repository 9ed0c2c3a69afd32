//! Where the server may post to: an endpoint that a client names must not lead into the server's own network.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::Uri;
use hyper_util::client::legacy::connect::dns::Name;
use tower::Service;

/// Scheme, host and port of a URL, without a user.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    scheme: &'a str,
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Origin<'a> {
    pub(crate) fn of(uri: &'a Uri) -> Option<Self> {
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
        let host = authority.host();
        let has_user = authority.as_str().contains('@');
        let has_bad_port = authority.port().is_some() && authority.port_u16().is_none();
        (!host.is_empty() && !has_user && !has_bad_port).then_some(Self { scheme, host, port: authority.port_u16() })
    }

    pub(crate) fn is_https(&self) -> bool {
        self.scheme == "https"
    }

    /// The host as an address, if it is written as one.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        self.host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }

    /// Whether it is on this machine whatever a lookup says.
    pub(crate) fn is_loopback(&self) -> bool {
        self.ip().map_or(self.host.eq_ignore_ascii_case("localhost"), |ip| ip.is_loopback())
    }

    /// As RFC 6454 writes it: lower case, the port only where it is not the scheme's own.
    pub(crate) fn text(&self) -> String {
        let own = if self.is_https() { 443 } else { 80 };
        match self.port.filter(|port| *port != own) {
            Some(port) => format!("{}://{}:{port}", self.scheme, self.host.to_lowercase()),
            None => format!("{}://{}", self.scheme, self.host.to_lowercase()),
        }
    }
}

/// How far a client of ours may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// To any address: the operator named the host, or allowed it.
    Anywhere,
    /// To addresses of the open internet: a stranger named the host.
    Public,
}

impl Reach {
    pub(crate) fn includes(self, ip: IpAddr) -> bool {
        match self {
            Reach::Anywhere => true,
            Reach::Public => is_public(ip),
        }
    }
}

/// Looks names up and gives only addresses within reach, so that what is checked is what is connected to.
#[derive(Debug, Clone)]
pub(crate) struct GuardedResolver {
    pub(crate) reach: Reach,
}

/// Why a name gives no address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    #[error("the name cannot be looked up")]
    System(#[from] io::Error),
    #[error("the name leads to no public address")]
    OutOfReach,
}

impl Service<Name> for GuardedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = LookupError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, LookupError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LookupError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let reach = self.reach;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let within: Vec<SocketAddr> = found.filter(|address| reach.includes(address.ip())).collect();
            if within.is_empty() { Err(LookupError::OutOfReach) } else { Ok(within.into_iter()) }
        })
    }
}

/// Whether an address is one of the open internet (IANA special-purpose address registries).
fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let is_special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || ip.is_multicast()
        // This network, shared (carrier NAT), protocol assignments, 6to4 relays, benchmarks, reserved and broadcast.
        || a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19))
        || a >= 240;
    !is_special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, high, low] = ip.segments();
    if [a, b, c, d, e, f] == [0x64, 0xff9b, 0, 0, 0, 0] {
        // NAT64: the way to an IPv4 address.
        let [high, low] = [high.to_be_bytes(), low.to_be_bytes()];
        return is_public_v4(Ipv4Addr::new(high[0], high[1], low[0], low[1]));
    }
    // Global unicast is 2000::/3, without protocol assignments (Teredo, ORCHID), documentation and 6to4.
    let is_special = (a == 0x2001 && (b < 0x200 || b == 0xdb8)) || a == 0x2002 || (a == 0x3fff && b < 0x1000);
    (a & 0xe000) == 0x2000 && !is_special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_open_internet_are_public() {
        for ip in [
            "8.8.8.8",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "64:ff9b::808:808",
            "::ffff:8.8.8.8",
        ] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::7f00:1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn an_origin_is_written_in_one_way() {
        let text = |uri: &str| Origin::of(&uri.parse().unwrap()).map(|origin| origin.text());
        assert_eq!(text("https://Push.Example/a/b?c").unwrap(), "https://push.example");
        assert_eq!(text("https://push.example:443/").unwrap(), "https://push.example");
        assert_eq!(text("https://push.example:8443/").unwrap(), "https://push.example:8443");
        assert_eq!(text("http://push.example:80/").unwrap(), "http://push.example");
        assert_eq!(text("https://[2001:DB8::1]:8/").unwrap(), "https://[2001:db8::1]:8");
        assert_eq!(text("/path"), None);
        assert_eq!(text("https://user@push.example/"), None);
    }

    #[tokio::test]
    async fn a_name_of_this_machine_is_out_of_reach() {
        let look_up = |reach| GuardedResolver { reach }.call("localhost".parse().unwrap());
        assert!(matches!(look_up(Reach::Public).await, Err(LookupError::OutOfReach)));
        assert!(look_up(Reach::Anywhere).await.unwrap().all(|address| address.ip().is_loopback()));
    }
}
