//! The two ports: who can reach them, and what becomes of a machine without IPv6.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, UdpSocket};

/// Connections that may wait to be accepted, as far as the system allows. After a restart all devices come back at once, and one that
/// finds no room tries again a whole second later.
const WAITING_CONNECTIONS: u32 = 65_535;

/// Listens there; `[::]` means everybody, by IPv4 too, and only by IPv4 where there is no IPv6.
pub(crate) fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    everywhere(address, |address| {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if is_everybody(address) {
            SockRef::from(&socket).set_only_v6(false)?;
        }
        // On Windows this would let two servers have one port.
        if cfg!(unix) {
            socket.set_reuseaddr(true)?;
        }
        socket.bind(address)?;
        socket.listen(WAITING_CONNECTIONS)
    })
}

/// The same for datagrams.
pub(crate) fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    everywhere(address, |address| {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if is_everybody(address) {
            socket.set_only_v6(false)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        UdpSocket::from_std(socket.into())
    })
}

fn is_everybody(address: SocketAddr) -> bool {
    address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
}

fn everywhere<T>(address: SocketAddr, bind: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    match bind(address) {
        Err(error) if is_everybody(address) && has_no_ipv6(&error) => {
            bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()))
        }
        bound => bound,
    }
}

/// The kernel has none, or was told to have none.
fn has_no_ipv6(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(NO_FAMILY)
}

/// `EAFNOSUPPORT`, for which the standard library has no name.
#[cfg(unix)]
const NO_FAMILY: i32 = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
/// `WSAEAFNOSUPPORT`.
#[cfg(not(unix))]
const NO_FAMILY: i32 = 10_047;

#[cfg(test)]
mod tests {
    use std::net::{TcpStream, UdpSocket as Client};

    use super::*;

    #[tokio::test]
    async fn everybody_is_reached_by_both_families() {
        let listener = tcp("[::]:0".parse().unwrap()).unwrap();
        let socket = udp("[::]:0".parse().unwrap()).unwrap();
        let (tcp, udp) = (listener.local_addr().unwrap(), socket.local_addr().unwrap());
        let mut ips = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
        // Where there is no IPv6 there is nothing to reach.
        ips.extend(tcp.is_ipv6().then_some(IpAddr::V6(Ipv6Addr::LOCALHOST)));
        for ip in ips {
            TcpStream::connect((ip, tcp.port())).unwrap();
            let client = Client::bind((ip, 0)).unwrap();
            client.send_to(b"here", (ip, udp.port())).unwrap();
            let mut heard = [0; 9];
            let (length, from) = socket.recv_from(&mut heard).await.unwrap();
            assert_eq!((&heard[..length], from.ip().to_canonical()), (&b"here"[..], ip));
        }
    }

    #[test]
    fn a_machine_without_ipv6_is_served_by_ipv4() {
        let without = |address: SocketAddr| match address.is_ipv6() {
            true => Err(io::Error::from_raw_os_error(NO_FAMILY)),
            false => Ok(address),
        };
        assert_eq!(everywhere("[::]:7".parse().unwrap(), without).unwrap(), "0.0.0.0:7".parse().unwrap());
        assert!(everywhere("[::1]:7".parse().unwrap(), without).is_err(), "one that was named is not given up");
        let taken = |_| Err::<(), _>(io::Error::from(io::ErrorKind::AddrInUse));
        assert_eq!(everywhere("[::]:7".parse().unwrap(), taken).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
