//! Where a host is: its address, and the NAT it may stand behind.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The first port of a NAT; every mapping gets a new one.
const FIRST_PORT: u16 = 40_000;

/// The place of one host.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) address: IpAddr,
    /// Of further networks, where nobody stands in between.
    pub(super) further: Vec<IpAddr>,
    /// Those that lead nowhere.
    pub(super) bridges: Vec<IpAddr>,
    /// The first address is that of the default route.
    pub(super) has_route: bool,
    nat: Option<Nat>,
}

/// A NAT with endpoint independent mapping and filtering (RFC 4787).
#[derive(Debug)]
struct Nat {
    outside: IpAddr,
    next_port: u16,
    mappings: HashMap<SocketAddr, SocketAddr>,
}

impl Place {
    pub(super) fn new(address: IpAddr) -> Self {
        Self { address, further: vec![], bridges: vec![], has_route: true, nat: None }
    }

    /// Stands a NAT before the host. Nobody can be reached at its own address any more.
    pub(super) fn put_nat(&mut self) {
        // Of the net for documentation (RFC 5737): datagrams stay in memory.
        let IpAddr::V4(inside) = self.address else { return };
        let [_, _, middle, low] = inside.octets();
        let outside = IpAddr::V4(Ipv4Addr::new(203, 0, middle.wrapping_add(113), low));
        self.nat = Some(Nat { outside, next_port: FIRST_PORT, mappings: HashMap::new() });
    }

    /// The NAT forgets every mapping: what goes out next comes from another port.
    pub(super) fn forget_mappings(&mut self) {
        if let Some(nat) = &mut self.nat {
            nat.mappings.clear();
        }
    }

    pub(super) fn outward(&mut self, socket: SocketAddr) -> Option<SocketAddr> {
        if self.further.contains(&socket.ip()) {
            return Some(socket);
        }
        if socket.ip() != self.address {
            return None;
        }
        let Some(nat) = &mut self.nat else { return Some(socket) };
        let Nat { outside, next_port, mappings } = nat;
        Some(*mappings.entry(socket).or_insert_with(|| {
            *next_port = next_port.checked_add(1).unwrap_or(FIRST_PORT);
            SocketAddr::new(*outside, *next_port)
        }))
    }

    /// The socket behind an address of this place's NAT.
    pub(super) fn inward(&self, address: SocketAddr) -> Option<SocketAddr> {
        self.nat.as_ref()?.mappings.iter().find_map(|(inside, outside)| (*outside == address).then_some(*inside))
    }

    /// Whether what is sent to `address` reaches the socket at `inside`.
    pub(super) fn takes(&self, address: SocketAddr, inside: SocketAddr) -> bool {
        self.further.contains(&inside.ip()) || inside.ip() == self.address && (self.nat.is_none() || address != inside)
    }
}
