//! The addresses a path binds, asked anew whenever it binds.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;

use crate::config::Interfaces;
use crate::shown::Shown;

impl Interfaces {
    /// The addresses there are now, the one towards the internet first of its family.
    pub(crate) fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Ok(match self {
            Interfaces::Loopback => vec![loopback],
            Interfaces::Addresses(addresses) => addresses.clone(),
            Interfaces::Source(source) => source.addresses(),
            Interfaces::All => {
                let mut usable = usable()?;
                if usable.is_empty() {
                    usable.push(loopback);
                }
                usable
            }
        })
    }
}

impl Interfaces {
    /// The addresses of the default routes as they are now.
    pub(crate) fn default_route(&self) -> Vec<IpAddr> {
        match self {
            Interfaces::Loopback => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            Interfaces::Addresses(addresses) => addresses.clone(),
            Interfaces::Source(source) => source.default_route(),
            Interfaces::All => {
                let mut route = outward();
                // Stands in where there is nothing else, and tells nothing.
                route.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
                route
            }
        }
    }
}
/// Addresses of this end that take part, the promising ones first: every one is paired with every address of the other
/// end (RFC 8445 section 6.1.2.5: a hundred pairs), and a machine with containers has one for each of their bridges.
pub(crate) const LIMIT: usize = 8;

/// What can be bound and reached, of every interface.
fn usable() -> io::Result<Vec<IpAddr>> {
    let mut usable: Vec<(String, IpAddr)> = rtc::shared::ifaces::ifaces()?
        .into_iter()
        .filter_map(|interface| Some((interface.name, interface.addr?.ip())))
        .filter(|(_, ip)| !ip.is_loopback() && !ip.is_unspecified() && !link_local(ip))
        .collect();
    usable.sort_by_key(|(_, ip)| *ip);
    usable.dedup_by_key(|(_, ip)| *ip);
    let outward = outward();
    let mut usable = one_of_each_prefix(usable, &outward, sends_from);
    usable.sort_by_key(|ip| (!outward.contains(ip), is_first_of_its_net(ip)));
    Ok(usable)
}

/// Leaves, of the IPv6 addresses that an interface has in one prefix of 64 bits, the one that the system sends from: a
/// temporary one goes before the stable one (RFC 6724 section 5, rule 7; RFC 8835 section 3.2), and which is which only
/// the system can tell, on each in another way.
///
/// Of several the one towards the internet, `outward`, stays in any case.
fn one_of_each_prefix(
    usable: Vec<(String, IpAddr)>,
    outward: &[IpAddr],
    sends_from: impl Fn(Ipv6Addr) -> Option<IpAddr>,
) -> Vec<IpAddr> {
    let prefix = |ip: &IpAddr| match ip {
        IpAddr::V6(ip) => Some(u128::from(*ip) >> 64),
        IpAddr::V4(_) => None,
    };
    let neighbours = |name: &str, of: u128| {
        let on_the_same = usable.iter().filter(move |(other, ip)| other == name && prefix(ip) == Some(of));
        on_the_same.map(|(_, ip)| *ip).collect::<Vec<_>>()
    };
    let is_left = |(name, ip): &&(String, IpAddr)| {
        let Some(of) = prefix(ip) else { return true };
        let neighbours = neighbours(name, of);
        let chosen = match neighbours.len() {
            1 => None,
            // Nobody has to be there: nothing is sent.
            _ => outward
                .iter()
                .copied()
                .find(|ip| neighbours.contains(ip))
                .or_else(|| sends_from(Ipv6Addr::from((of << 64) | 0xFFFF))),
        };
        chosen.filter(|chosen| neighbours.contains(chosen)).is_none_or(|chosen| chosen == *ip)
    };
    usable.iter().filter(is_left).map(|(_, ip)| *ip).collect()
}

/// The address the system sends from to this one. Connecting a UDP socket sends nothing.
fn sends_from(to: Ipv6Addr) -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((to, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Whether an address looks like that of a bridge or router, such as those for containers and virtual machines: nobody
/// outside of the machine is behind it.
fn is_first_of_its_net(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[3] == 1,
        IpAddr::V6(ip) => ip.octets()[8..] == [0, 0, 0, 0, 0, 0, 0, 1],
    }
}

/// The addresses the machine sends from when it sends into the internet, which tells a change of the default route.
/// Connecting a UDP socket sends nothing.
pub(crate) fn outward() -> Vec<IpAddr> {
    // Nets for documentation (RFC 5737, RFC 3849): the default route leads there.
    let v6 = Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0, 1);
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(v6)].into_iter().filter_map(towards).collect()
}

/// The address the machine sends from when it sends to `far`.
fn towards(far: IpAddr) -> Option<IpAddr> {
    let any = if far.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((far, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
}

/// The addresses of a path in the form the engine takes: it asks again at every ICE restart. An engine that can bind
/// nothing gives up for good, so an address that is just gone is left out, and loopback stands in where there is none.
pub(crate) struct BindAddresses {
    pub(crate) interfaces: Interfaces,
    pub(crate) shown: Arc<Shown>,
    /// STUN and TURN servers: the address that leads to one of them leads out, on a net without a default route too.
    pub(crate) servers: Vec<IpAddr>,
}

impl ToSocketAddrs for BindAddresses {
    type Iter = std::vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        // What waits to be shown is of sockets that are about to be replaced.
        self.shown.forget_waiting();
        self.shown.refresh();
        let mut addresses = self.interfaces.addresses().unwrap_or_default();
        addresses.retain(|ip| can_be_bound(*ip));
        if self.interfaces == Interfaces::All {
            let first: Vec<IpAddr> = self.servers.iter().filter_map(|server| towards(*server)).collect();
            addresses.sort_by_key(|ip| !first.contains(ip));
        }
        addresses.truncate(LIMIT);
        if addresses.is_empty() {
            addresses.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        Ok(addresses.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect::<Vec<_>>().into_iter())
    }
}

pub(crate) fn can_be_bound(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

fn link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_temporary_address_of_a_prefix_goes_before_the_stable_ones() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let has = |name: &str, text: &str| (name.to_owned(), ip(text));
        let (stable, temporary) = ("2001:db8:1:1:21a:2bff:fe3c:4d5e", "2001:db8:1:1:9c1d:77aa:3f02:55b1");
        let machine = vec![
            has("wifi", "192.0.2.5"),
            has("wifi", "192.0.2.6"),
            has("wifi", stable),
            has("wifi", temporary),
            has("wifi", "fd00:1::5"),
            has("vpn", "2001:db8:1:1::77"),
        ];
        let asks = |to: Ipv6Addr| to.to_string().starts_with("2001:db8:1:1:").then(|| ip(temporary));
        let left = one_of_each_prefix(machine.clone(), &[], asks);
        assert_eq!(left, [ip("192.0.2.5"), ip("192.0.2.6"), ip(temporary), ip("fd00:1::5"), ip("2001:db8:1:1::77")]);
        // The one towards the internet is the one that is shown while it rings.
        let left = one_of_each_prefix(machine.clone(), &[ip(stable)], asks);
        assert!(left.contains(&ip(stable)) && !left.contains(&ip(temporary)));
        // A system that does not tell, or tells of another interface, leaves them all.
        assert_eq!(one_of_each_prefix(machine.clone(), &[], |_| None).len(), machine.len());
        assert_eq!(one_of_each_prefix(machine.clone(), &[], |_| Some(ip("2001:db8:1:1::77"))).len(), machine.len());
    }

    #[test]
    fn an_end_with_many_addresses_uses_the_first_of_them() {
        let many: Vec<IpAddr> = (1..60).map(|n| IpAddr::from([127, 0, 0, n])).collect();
        let bind = BindAddresses {
            interfaces: Interfaces::Addresses(many.clone()),
            shown: Arc::new(Shown::new(Interfaces::Addresses(many.clone()), crate::config::AddressMode::All)),
            servers: vec![],
        };
        let bound: Vec<IpAddr> = bind.to_socket_addrs().unwrap().map(|address| address.ip()).collect();
        assert!(bound.len() <= LIMIT && many.starts_with(&bound[..1]), "{bound:?}");
        assert_eq!(bound.len(), if cfg!(target_os = "linux") { LIMIT } else { 1 });
    }

    #[test]
    fn the_address_that_leads_to_a_server_is_known_and_bridges_are_told_apart() {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(towards(loopback), Some(loopback));
        assert!(
            is_first_of_its_net(&IpAddr::from([172, 17, 0, 1])) && !is_first_of_its_net(&IpAddr::from([10, 7, 9, 2]))
        );
    }
}
