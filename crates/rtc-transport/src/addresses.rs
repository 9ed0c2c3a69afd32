//! The addresses a path binds, asked anew whenever it binds.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};

use crate::config::Interfaces;

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

/// What can be bound and reached, of every interface.
fn usable() -> io::Result<Vec<IpAddr>> {
    let mut usable: Vec<IpAddr> = rtc::shared::ifaces::ifaces()?
        .into_iter()
        .filter_map(|interface| interface.addr.map(|address| address.ip()))
        .filter(|ip| !ip.is_loopback() && !ip.is_unspecified() && !link_local(ip))
        .collect();
    usable.sort();
    usable.dedup();
    let outward = outward();
    usable.sort_by_key(|ip| !outward.contains(ip));
    Ok(usable)
}

/// The addresses the machine sends from when it sends into the internet, which tells a change of the default route.
/// Connecting a UDP socket sends nothing.
pub(crate) fn outward() -> Vec<IpAddr> {
    // Nets for documentation (RFC 5737, RFC 3849): the default route leads there.
    let far = [
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0, 1))),
    ];
    let from = far.into_iter().filter_map(|(any, far)| {
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect((far, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    });
    from.filter(|ip| !ip.is_unspecified()).collect()
}

/// The addresses of a path in the form the engine takes: it asks again at every ICE restart. An engine that can bind
/// nothing gives up for good, so an address that is just gone is left out, and loopback stands in where there is none.
pub(crate) struct BindAddresses(pub(crate) Interfaces);

impl ToSocketAddrs for BindAddresses {
    type Iter = std::vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        let mut addresses = self.0.addresses().unwrap_or_default();
        addresses.retain(|ip| can_be_bound(*ip));
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
