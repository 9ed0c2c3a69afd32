//! What in a configuration cannot work for anybody, and what its operator may not have meant.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use rustls::pki_types::ServerName;

use crate::clock::unix_s;
use crate::config::ServerConfig;
use crate::tls;

/// Why no client can use this as `public_host`, if so.
pub(crate) fn public_host(host: &str) -> Option<&'static str> {
    let Ok(name) = ServerName::try_from(bare(host)) else {
        return Some("it must be a host name or an address by itself, without scheme, port, user or path");
    };
    let ip = ip_of(&name)?;
    let is_for_one = !(ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST));
    (!is_for_one).then_some("it must be an address that can be reached")
}

/// Without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn ip_of(name: &ServerName<'_>) -> Option<IpAddr> {
    match name {
        ServerName::IpAddress(ip) => Some(IpAddr::from(*ip).to_canonical()),
        _ => None,
    }
}

/// Whether a secret is one that somebody guesses: hardly any different bytes, or a few of them again and again.
pub(crate) fn is_weak(secret: &str) -> bool {
    let bytes = secret.as_bytes();
    let different = bytes.iter().enumerate().filter(|(at, byte)| !bytes[..*at].contains(byte)).count();
    let repeats =
        |unit: usize| bytes.len() > unit && bytes[unit..].iter().zip(bytes).all(|(later, byte)| later == byte);
    different < 4 || (1..=8).any(repeats)
}

/// What a server can start with and an operator may not have meant, one sentence each.
pub(crate) fn of(config: &ServerConfig) -> Vec<String> {
    let is_open = !config.listen.ip().is_loopback();
    let fixed = [
        (config.dev && is_open, "dev is on and others can reach it: anybody can register"),
        (
            config.tls_cert.is_none() && is_open,
            "there is no tls_cert: tokens travel in plain text unless a proxy adds TLS",
        ),
        (config.limits.trusted_addresses.iter().any(|net| net.prefix_len() == 0), "trusted_addresses holds everybody"),
        (config.limits.trusted_proxies.iter().any(|net| net.prefix_len() == 0), "trusted_proxies holds everybody"),
        (config.max_connections < 100, "max_connections is below 100"),
    ];
    let fixed = fixed.into_iter().filter(|(is_so, _)| *is_so).map(|(_, doubt)| doubt.to_owned());
    fixed.chain(told_address(config)).chain(certificate_names(config)).chain(last_certificate(config)).collect()
}

/// Phones are told where to ask by which address they are seen (STUN): whether any of them gets there.
fn told_address(config: &ServerConfig) -> Option<String> {
    let udp = config.stun_listen.unwrap_or(config.listen);
    let host = config.public_host.as_deref();
    let is_local = config.listen.ip().is_loopback() && (udp.ip().is_loopback() || udp.ip().is_unspecified());
    // All of it is for this machine: development.
    if config.dev && host.is_none() && is_local {
        return None;
    }
    if udp.ip().is_loopback() {
        return Some(
            "the UDP port listens to this machine alone, where no phone reaches it: set stun_listen".to_owned(),
        );
    }
    match host {
        Some(host) => {
            let ip = ServerName::try_from(bare(host)).ok().as_ref().and_then(ip_of)?;
            let what = if ip.is_loopback() {
                "which to each phone is the phone itself"
            } else if is_private(ip) {
                "which only phones in the same private network reach"
            } else {
                return None;
            };
            Some(format!("public_host is {host}, {what}"))
        }
        None => {
            let told = if udp.ip().is_unspecified() { own_ip()? } else { udp.ip() };
            let is_useless = is_private(told) || told.is_loopback();
            is_useless.then(|| {
                format!(
                    "public_host is not set: phones that come through a proxy or NAT are told to reach the UDP port at {told}, \
                     an address of this machine's own network"
                )
            })
        }
    }
}

fn last_certificate(config: &ServerConfig) -> Option<String> {
    let fault = tls::last_fault(config.tls_cert.as_deref()?, unix_s())?;
    Some(format!(
        "the last certificate in tls_cert {fault}: only clients that know the one before it accept the server"
    ))
}

fn certificate_names(config: &ServerConfig) -> Option<String> {
    let (host, cert) = (config.public_host.as_deref()?, config.tls_cert.as_deref()?);
    let name = ServerName::try_from(bare(host)).ok()?;
    let is_of_another = tls::names(cert, &name).is_some_and(|names| !names);
    is_of_another.then(|| format!("the certificate of tls_cert is not for {host}, the public_host"))
}

/// Addresses that mean something only within a network.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            // RFC 6598: the shared addresses of carriers.
            ip.is_private() || ip.is_link_local() || (first == 100 && (64..128).contains(&second))
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// The address from which this machine reaches others, if it reaches any. Sends nothing.
pub(crate) fn own_ip() -> Option<IpAddr> {
    let from = |any: IpAddr, to: IpAddr| {
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect(SocketAddr::new(to, 9)).ok()?;
        let ip = socket.local_addr().ok()?.ip();
        (!ip.is_unspecified() && !ip.is_loopback()).then_some(ip)
    };
    // Addresses of documentation (RFC 5737, RFC 3849): the default route leads there.
    from(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into())
        .or_else(|| from(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_or_an_address_is_a_public_host() {
        for good in
            ["calls.example", "calls.example.", "10.0.0.1", "2001:db8::1", "[2001:db8::1]", "localhost", "a-b.c"]
        {
            assert_eq!(public_host(good), None, "{good}");
        }
        let bad = [
            "https://calls.example",
            "calls.example/",
            "calls.example:7450",
            "stun:calls.example",
            "[2001:db8::1]:7450",
            "me@calls.example",
            "calls example",
            "",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
        ];
        for bad in bad {
            assert!(public_host(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_secret_that_is_hardly_one_is_weak() {
        let weak = [
            "0000000000000000",
            "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            "abababababababab",
            "changemechangeme",
            "1231231231231231",
        ];
        for weak in weak {
            assert!(is_weak(weak), "{weak}");
        }
        for fine in ["0123456789abcdef", "the secret of shop, long enough", "f3a1c05b9d7e4428b6c0de3f51a27788"] {
            assert!(!is_weak(fine), "{fine}");
        }
    }

    #[test]
    fn an_address_that_phones_do_not_reach_is_doubtful() {
        let doubt = |listen: &str, stun_listen: Option<&str>, host: Option<&str>| {
            let config = ServerConfig {
                listen: listen.parse().unwrap(),
                stun_listen: stun_listen.map(|address| address.parse().unwrap()),
                public_host: host.map(str::to_owned),
                ..ServerConfig::default()
            };
            told_address(&config).unwrap_or_default()
        };
        assert!(doubt("127.0.0.1:7450", None, Some("calls.example")).contains("stun_listen"));
        assert!(doubt("127.0.0.1:7450", None, None).contains("stun_listen"));
        assert_eq!(doubt("127.0.0.1:7450", Some("[::]:7450"), Some("calls.example")), "");
        assert!(doubt("[::]:7450", None, Some("127.0.0.1")).contains("the phone itself"));
        assert!(doubt("[::]:7450", None, Some("192.168.7.7")).contains("private network"));
        assert!(doubt("10.0.0.5:7450", None, None).contains("public_host is not set"));
        assert_eq!(doubt("198.51.100.7:7450", None, None), "");
        assert_eq!(told_address(&ServerConfig::dev_on_loopback()), None);
    }
}
