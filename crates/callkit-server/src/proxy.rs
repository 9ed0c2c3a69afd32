//! Who is behind a proxy: told by the PROXY protocol before a connection, or by a header of each request.
//!
//! Only a proxy that the configuration names is believed, and only what the nearest such proxy says: what stands before that in a header may
//! be the client's own invention.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use axum::http::header::{FORWARDED, HeaderName};
use serde::{Deserialize, Serialize};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// How proxies say for whom they speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyTells {
    /// The header `X-Forwarded-For`, to which each proxy adds an address at the end.
    #[default]
    XForwardedFor,
    /// The header `Forwarded` (RFC 7239).
    Forwarded,
    /// The PROXY protocol, version 1 or 2, at the begin of each connection.
    ProxyProtocol,
}

/// Where a request comes from, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientAddress {
    pub(crate) ip: IpAddr,
    /// A proxy passed it on. Whoever that is has no rights by address.
    pub(crate) is_proxied: bool,
}

impl From<IpAddr> for ClientAddress {
    fn from(ip: IpAddr) -> Self {
        Self { ip, is_proxied: false }
    }
}

/// The nearest address in the headers that is not that of a proxy; that of the last proxy where its word cannot be read.
pub(crate) fn client_of(
    proxy: IpAddr,
    headers: &HeaderMap,
    tells: ProxyTells,
    is_proxy: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    let named: Vec<&str> = match tells {
        ProxyTells::XForwardedFor => lines(headers, &X_FORWARDED_FOR).flat_map(|line| line.split(',')).collect(),
        ProxyTells::Forwarded => {
            let elements = lines(headers, &FORWARDED).flat_map(|line| outside_of_quotes(line, ','));
            elements.map(|element| parameter(element, "for").unwrap_or_default()).collect()
        }
        ProxyTells::ProxyProtocol => Vec::new(),
    };
    let mut client = proxy;
    for text in named.into_iter().rev() {
        let Some(ip) = parse(text) else { break };
        client = ip;
        if !is_proxy(ip) {
            break;
        }
    }
    client
}

/// Whether a request has been passed on by a proxy, known or not.
pub(crate) fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.contains_key(FORWARDED) || headers.contains_key(X_FORWARDED_FOR)
}

fn lines<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    // A line that is no text is one that cannot be read.
    headers.get_all(name).into_iter().map(|value| value.to_str().unwrap_or_default())
}

/// An address, with or without a port.
fn parse(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let ip = bare.parse::<IpAddr>().ok();
    ip.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip())).map(|ip| ip.to_canonical())
}

/// The value of a parameter of one element of `Forwarded`.
fn parameter<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = outside_of_quotes(element, ';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| key.trim().eq_ignore_ascii_case(name))?;
    let value = value.trim();
    Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

/// The parts of a text between separators, but for those in quotes. An address needs no escapes, so that none are undone.
fn outside_of_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    text.split(move |letter| {
        is_quoted ^= letter == '"';
        letter == separator && !is_quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(tells: ProxyTells, name: HeaderName, said: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in said {
            headers.append(name.clone(), line.parse().unwrap());
        }
        let is_proxy = |ip: IpAddr| ip.to_string().starts_with("10.");
        client_of("10.0.0.1".parse().unwrap(), &headers, tells, is_proxy).to_string()
    }

    #[test]
    fn the_nearest_address_that_is_no_proxy_counts_and_what_the_client_wrote_does_not() {
        let told = |said: &[&str]| client(ProxyTells::XForwardedFor, X_FORWARDED_FOR, said);
        assert_eq!(told(&["192.0.2.7"]), "192.0.2.7");
        assert_eq!(told(&["127.0.0.1, 192.0.2.7"]), "192.0.2.7", "the first is the client's own");
        assert_eq!(told(&["127.0.0.1", "192.0.2.7, 10.0.0.9"]), "192.0.2.7", "by way of two proxies");
        assert_eq!(told(&["[2001:db8::7]:4711"]), "2001:db8::7");
        assert_eq!(told(&["192.0.2.7:80"]), "192.0.2.7");
        assert_eq!(told(&["192.0.2.7, unknown"]), "10.0.0.1", "the proxy that cannot say for whom counts itself");
        assert_eq!(told(&[]), "10.0.0.1");
        assert_eq!(client(ProxyTells::XForwardedFor, FORWARDED, &["for=192.0.2.7"]), "10.0.0.1", "another header");
    }

    #[test]
    fn forwarded_is_read_as_its_rfc_writes_it() {
        let told = |said: &[&str]| client(ProxyTells::Forwarded, FORWARDED, said);
        assert_eq!(told(&["for=192.0.2.43, for=198.51.100.17"]), "198.51.100.17");
        assert_eq!(told(&["proto=https;For=\"[2001:db8:cafe::17]:4711\";by=203.0.113.43"]), "2001:db8:cafe::17");
        assert_eq!(told(&["host=\"a,b;for=192.0.2.1\";for=192.0.2.43"]), "192.0.2.43", "not what is in quotes");
        assert_eq!(told(&["for=_hidden"]), "10.0.0.1");
    }

    #[test]
    fn the_keys_are_written_so() {
        let text = r#"{"trusted_proxies":["10.0.0.0/8"],"metrics_addresses":["192.0.2.9/32"],"proxies_tell_by":"proxy-protocol"}"#;
        let config: crate::LimitsConfig = serde_json::from_str(text).unwrap();
        assert_eq!((config.trusted_proxies.len(), config.proxies_tell_by), (1, ProxyTells::ProxyProtocol));
        assert_eq!(config.metrics_addresses.unwrap().len(), 1);
        assert_eq!(serde_json::to_string(&ProxyTells::XForwardedFor).unwrap(), "\"x-forwarded-for\"");
        assert_eq!(serde_json::to_string(&ProxyTells::Forwarded).unwrap(), "\"forwarded\"");
    }
}
