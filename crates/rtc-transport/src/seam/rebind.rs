//! New sockets for a path that is in use, because the machine's addresses have changed.
//!
//! The engine would need an ICE restart, and signalling, and is silent meanwhile. Here the real sockets are replaced
//! under it: to the other end it looks like a NAT that has given this end a new address, which it follows
//! ([`super::moves`]).

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use super::flights::Sent;
use super::socket::Port;
use super::{Seam, Weak};
use crate::event::lock;

/// Time between two checks over new sockets.
const GAP: Duration = Duration::from_millis(50);
/// Checks until the other end counts as out of reach: a second.
const TRIES: usize = 20;

/// What came of new sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebound {
    /// The other end has answered: media flows, and the path needs nothing more.
    Answered,
    /// It has not, within a second, or there was no pair in use that could be kept: an ICE restart is needed.
    Unreachable,
}

impl Seam {
    /// Gives each socket whose address is gone a new one, and asks the other end whether it hears this end.
    pub(crate) async fn rebind(&self, addresses: &[IpAddr]) -> Rebound {
        // An answer counts from here on only: what came to an earlier call, when nobody waited any more, says nothing
        // of the sockets there are now.
        let answered = self.answered.notified();
        tokio::pin!(answered);
        self.replace_sockets(addresses);
        for _ in 0..TRIES {
            let Some((port, check)) = self.check_pair() else { return Rebound::Unreachable };
            // By the task of the engine: of two that wait to send, a socket wakes only one.
            port.send_soon([check]);
            tokio::select! {
                () = &mut answered => return Rebound::Answered,
                () = self.sleep(GAP) => {}
            }
        }
        Rebound::Unreachable
    }

    fn check_pair(&self) -> Option<(Arc<Port>, Sent)> {
        let now = self.now();
        let mut state = lock(&self.state);
        let pair = state.moves.pair()?;
        let port = state.port(pair.0)?;
        let check = state.ask(now, pair, self.crypto.as_ref()?)?;
        Some((port, check))
    }

    fn replace_sockets(&self, addresses: &[IpAddr]) {
        let ports: Vec<_> = lock(&self.state).ports.values().filter_map(Weak::upgrade).collect();
        for port in ports {
            let Ok(bound) = port.socket().local_addr() else { continue };
            let same_family = |ip: &&IpAddr| ip.is_ipv4() == bound.is_ipv4();
            if addresses.contains(&bound.ip()) {
                continue;
            }
            let Some(ip) = addresses.iter().find(same_family) else { continue };
            match self.bind(*ip) {
                Ok(socket) => port.replace(socket),
                Err(error) => tracing::warn!(%error, "a socket could not be replaced"),
            }
        }
    }

    fn bind(&self, ip: IpAddr) -> io::Result<Arc<dyn crate::runtime::AsyncUdpSocket>> {
        let socket = UdpSocket::bind(SocketAddr::new(ip, 0))?;
        socket.set_nonblocking(true)?;
        self.runtime.wrap_udp_socket(socket)
    }
}
