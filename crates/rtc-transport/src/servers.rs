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
/// be resolved is left out.
pub(crate) async fn resolve(config: &PathConfig, runtime: &dyn Runtime) -> Result<Vec<RTCIceServer>, OpenError> {
    if config.policy == IcePolicy::RelayOnly && config.turn_servers.is_empty() {
        return Err(OpenError::NoRelay);
    }
    let mut servers = Vec::new();
    for url in &config.stun_servers {
        let host = host(url, "stun:").ok_or_else(|| OpenError::BadStunServer(url.clone()))?;
        servers.push((host, "stun", RTCIceServer::default()));
    }
    for server in &config.turn_servers {
        let url = server.url.strip_suffix("?transport=udp").unwrap_or(&server.url);
        let host = host(url, "turn:").ok_or_else(|| OpenError::BadTurnServer(server.url.clone()))?;
        let known_by = RTCIceServer {
            username: server.username.clone(),
            credential: server.credential.clone(),
            ..RTCIceServer::default()
        };
        servers.push((host, "turn", known_by));
    }
    let lookups = servers.into_iter().map(|(host, scheme, server)| async move {
        let urls = look_up(&host, config, runtime).await.iter().map(|address| format!("{scheme}:{address}")).collect();
        RTCIceServer { urls, ..server }
    });
    Ok(join_all(lookups).await.into_iter().filter(|server| !server.urls.is_empty()).collect())
}

/// `host:port` of a server's URL.
fn host(url: &str, scheme: &str) -> Option<String> {
    let host = url.strip_prefix(scheme).filter(|host| !host.is_empty() && !host.contains(['?', '/', '@']))?;
    let has_port = host.rsplit_once(':').is_some_and(|(name, port)| !name.is_empty() && port.parse::<u16>().is_ok());
    Some(if has_port { host.to_owned() } else { format!("{host}:3478") })
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
        tracing::warn!(server = host, "a server's name is unknown; going on without it");
    }
    let first = |v4: bool| found.iter().copied().find(|address| address.is_ipv4() == v4);
    [first(true), first(false)].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_a_host_and_maybe_a_port() {
        assert_eq!(host("turn:relay.example:99", "turn:").unwrap(), "relay.example:99");
        assert_eq!(host("turn:relay.example", "turn:").unwrap(), "relay.example:3478");
        assert_eq!(host("turn:[2001:db8::1]:99", "turn:").unwrap(), "[2001:db8::1]:99");
        for wrong in ["turn:", "turns:relay.example", "relay.example", "turn:relay.example?transport=tcp", "turn://x"] {
            assert_eq!(host(wrong, "turn:"), None, "{wrong}");
        }
    }
}
