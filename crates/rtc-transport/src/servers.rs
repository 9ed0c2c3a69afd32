//! STUN and TURN servers: what they are called, and where they are.

use std::net::SocketAddr;

use futures_util::future::join_all;
use webrtc::peer_connection::RTCIceServer;

use crate::config::{IcePolicy, PathConfig};
use crate::error::OpenError;
use crate::runtime::Runtime;

/// The servers by address, in the engine's form.
///
/// All names at once and not for long: the engine would resolve on the task that drives the path. A server that cannot
/// be resolved, or is of a kind that is not supported, is left out: the others are as good as without it.
pub(crate) async fn resolve(config: &PathConfig, runtime: &dyn Runtime) -> Result<Vec<RTCIceServer>, OpenError> {
    let stun = config.stun_servers.iter().map(|url| (url, "stun", RTCIceServer::default()));
    let turn = config.turn_servers.iter().map(|server| {
        let known_by = RTCIceServer {
            username: server.username.clone(),
            credential: server.credential.clone(),
            ..RTCIceServer::default()
        };
        (&server.url, "turn", known_by)
    });
    let usable: Vec<_> = stun
        .chain(turn)
        .filter_map(|(url, scheme, server)| match host(url, scheme) {
            Ok(host) => Some((host, scheme, server)),
            Err(why) => {
                // Without the address: whose servers are used is nobody's business in a log.
                tracing::warn!(kind = scheme, why, "a server of the list is left out");
                None
            }
        })
        .collect();
    if config.policy == IcePolicy::RelayOnly && !usable.iter().any(|(_, scheme, _)| *scheme == "turn") {
        return Err(OpenError::NoRelay);
    }
    let lookups = usable.into_iter().map(|(host, scheme, server)| async move {
        let urls = look_up(&host, config, runtime).await.iter().map(|address| format!("{scheme}:{address}")).collect();
        RTCIceServer { urls, ..server }
    });
    Ok(join_all(lookups).await.into_iter().filter(|server| !server.urls.is_empty()).collect())
}

/// `host:port` of a server's URL (RFC 7064, RFC 7065), or why it cannot be used.
fn host(url: &str, wanted: &str) -> Result<String, &'static str> {
    let (scheme, rest) = url.split_once(':').ok_or("it has no scheme")?;
    if !scheme.eq_ignore_ascii_case(wanted) {
        return Err(match scheme.to_ascii_lowercase().as_str() {
            "stuns" | "turns" => "TLS is not supported",
            "stun" | "turn" => "it is in the wrong list",
            _ => "its scheme is unknown",
        });
    }
    let (host, query) = rest.split_once('?').map_or((rest, None), |(host, query)| (host, Some(query)));
    if query.is_some_and(|query| !query.eq_ignore_ascii_case("transport=udp")) {
        return Err("its transport is not UDP");
    }
    if host.is_empty() || host.contains(['/', '@']) || host.contains(char::is_whitespace) {
        return Err("it has no host");
    }
    let has_port = host.rsplit_once(':').is_some_and(|(name, port)| !name.is_empty() && port.parse::<u16>().is_ok());
    Ok(if has_port { host.to_owned() } else { format!("{host}:3478") })
}

/// The first address of each family.
async fn look_up(host: &str, config: &PathConfig, runtime: &dyn Runtime) -> Vec<SocketAddr> {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return vec![address];
    }
    let found = tokio::select! {
        found = runtime.resolve_host(host) => found.unwrap_or_default(),
        () = runtime.sleep(config.resolve_timeout) => vec![],
    };
    if found.is_empty() {
        tracing::warn!("a server's name is unknown; going on without it");
    }
    let first = |v4: bool| found.iter().copied().find(|address| address.is_ipv4() == v4);
    [first(true), first(false)].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_a_host_and_maybe_a_port() {
        assert_eq!(host("turn:relay.example:99", "turn").unwrap(), "relay.example:99");
        assert_eq!(host("turn:relay.example", "turn").unwrap(), "relay.example:3478");
        assert_eq!(host("turn:[2001:db8::1]:99", "turn").unwrap(), "[2001:db8::1]:99");
        assert_eq!(host("TURN:relay.example?transport=UDP", "turn").unwrap(), "relay.example:3478");
        for wrong in [
            "turn:",
            "turns:relay.example",
            "relay.example",
            "turn:relay.example?transport=tcp",
            "turn://x",
            "",
            "stun:x",
        ] {
            assert!(host(wrong, "turn").is_err(), "{wrong}");
        }
    }
}
