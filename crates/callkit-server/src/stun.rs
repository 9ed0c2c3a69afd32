//! The UDP port: tells whoever asks by which address it is seen (RFC 8489, Binding), and nothing else.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};

use rtc_stun::attributes::ATTR_FINGERPRINT;
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, is_stun_message};
use rtc_stun::xoraddr::XorMappedAddress;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::doubts;
use crate::metering::Metering;

/// Longest request looked at; one without credentials has far less.
const REQUEST_BYTES: usize = 548;
/// The longest that the system hands out at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Under which name clients are told to ask.
#[derive(Debug, Clone)]
pub(crate) struct StunAddress {
    pub(crate) public_host: Option<String>,
    pub(crate) bound: SocketAddr,
}

impl StunAddress {
    /// "stun:host:port" for a client that reached the server by `local_ip`.
    pub(crate) fn announced(&self, local_ip: Option<IpAddr>) -> String {
        self.announced_beside(local_ip, doubts::own_ip)
    }

    /// `own_ip` is the address from which this machine reaches others.
    fn announced_beside(&self, local_ip: Option<IpAddr>, own_ip: impl Fn() -> Option<IpAddr>) -> String {
        // A client that seems to be on this machine may be a proxy that speaks for others.
        let reachable = |ip: IpAddr| if ip.to_canonical().is_loopback() { own_ip().unwrap_or(ip) } else { ip };
        let port = self.bound.port();
        match &self.public_host {
            Some(host) if host.contains(':') && !host.starts_with('[') => format!("stun:[{host}]:{port}"),
            Some(host) => format!("stun:{host}:{port}"),
            None => {
                let ip = if self.bound.ip().is_unspecified() { local_ip.map(reachable) } else { None };
                format!("stun:{}", SocketAddr::new(ip.unwrap_or(self.bound.ip()).to_canonical(), port))
            }
        }
    }
}

/// The UDP port, which answers from the address that was asked: a client takes no answer from another, and a machine may have several.
pub(crate) struct StunSocket {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl StunSocket {
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Self { socket, state })
    }

    async fn receive(&self, buffer: &mut [u8]) -> io::Result<RecvMeta> {
        let receive = || {
            let mut meta = [RecvMeta::default()];
            self.state.recv((&self.socket).into(), &mut [IoSliceMut::new(buffer)], &mut meta)?;
            Ok(meta[0])
        };
        self.socket.async_io(Interest::READABLE, receive).await
    }

    async fn answer(&self, answer: &[u8], asked: &RecvMeta) -> io::Result<()> {
        let transmit =
            Transmit { destination: asked.addr, ecn: None, contents: answer, segment_size: None, src_ip: asked.dst_ip };
        let send = || self.state.try_send((&self.socket).into(), &transmit);
        self.socket.async_io(Interest::WRITABLE, send).await
    }
}

/// Answers until it is dropped. Answers are 40 bytes (IPv6: 52), so that nobody gains much by asking in another's name.
pub(crate) async fn serve(socket: StunSocket, metering: Arc<Metering>) {
    // The system hands out several datagrams of one sender in one piece.
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let Ok(meta) = socket.receive(&mut buffer).await else {
            // A port-unreachable of an earlier answer; the next datagram is as good as ever.
            tokio::task::yield_now().await;
            continue;
        };
        let length = meta.len.min(buffer.len());
        if length == 0 {
            metering.stun_ignored.increment(1);
        }
        for request in buffer[..length].chunks(meta.stride.max(1)) {
            match answer(request, meta.addr) {
                Some(answer) => {
                    metering.stun_answers.increment(1);
                    socket.answer(&answer, &meta).await.ok();
                }
                None => metering.stun_ignored.increment(1),
            }
        }
    }
}

/// The answer to a sound Binding request without attributes that must be understood.
fn answer(request: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
    if request.len() > REQUEST_BYTES || !is_stun_message(request) {
        return None;
    }
    let mut asked = Message::new();
    asked.unmarshal_binary(request).ok()?;
    let is_whole = asked.raw.len() == request.len() && request.len() == 20 + asked.length as usize;
    let is_plain = asked.attributes.0.iter().all(|attribute| attribute.typ.optional());
    if !is_whole || !is_plain || asked.typ != BINDING_REQUEST {
        return None;
    }
    if asked.contains(ATTR_FINGERPRINT) && FINGERPRINT.check(&asked).is_err() {
        return None;
    }
    let seen = XorMappedAddress { ip: from.ip().to_canonical(), port: from.port() };
    let mut said = Message::new();
    said.build(&[Box::new(BINDING_SUCCESS), Box::new(asked.transaction_id), Box::new(seen), Box::new(FINGERPRINT)])
        .ok()?;
    Some(said.raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtc_stun::message::{Getter, TransactionId};

    fn from() -> SocketAddr {
        "192.0.2.7:4711".parse().unwrap()
    }

    fn binding() -> Vec<u8> {
        let mut request = Message::new();
        request.build(&[Box::new(TransactionId::new()), Box::new(BINDING_REQUEST)]).unwrap();
        request.raw
    }

    #[test]
    fn a_binding_request_is_answered_with_the_address_it_came_from() {
        let request = binding();
        let said = answer(&request, from()).unwrap();
        assert_eq!(said.len(), 40);
        let mut read = Message::new();
        read.unmarshal_binary(&said).unwrap();
        assert_eq!(read.typ, BINDING_SUCCESS);
        assert_eq!(read.transaction_id.0, request[8..20]);
        FINGERPRINT.check(&read).unwrap();
        let mut seen = XorMappedAddress::default();
        seen.get_from(&read).unwrap();
        assert_eq!((seen.ip, seen.port), (from().ip(), from().port()));
    }

    #[test]
    fn nothing_else_is_answered() {
        let good = binding();
        let changed = |at: usize, to: u8| {
            let mut bytes = good.clone();
            bytes[at] = to;
            answer(&bytes, from())
        };
        assert_eq!(changed(1, 0x03), None, "allocate");
        assert_eq!(changed(0, 0x01), None, "a response");
        assert_eq!(changed(1, 0x11), None, "an indication");
        assert_eq!(changed(4, 0), None, "no magic cookie");
        assert_eq!(changed(3, 4), None, "a length that is not there");
        assert_eq!(answer(&good[..19], from()), None);
        assert_eq!(answer(&[], from()), None);
        let trailing: Vec<u8> = good.iter().copied().chain([0; 4]).collect();
        assert_eq!(answer(&trailing, from()), None);
        let mut long = good.clone();
        long.resize(REQUEST_BYTES + 1, 0);
        assert_eq!(answer(&long, from()), None);
        let mut with_user = good.clone();
        with_user[3] = 8;
        with_user.extend([0x00, 0x06, 0, 4, b'u', b's', b'e', b'r']);
        assert_eq!(answer(&with_user, from()), None, "a connectivity check");
        let mut wrong_sum = good.clone();
        wrong_sum[3] = 8;
        wrong_sum.extend([0x80, 0x28, 0, 4, 1, 2, 3, 4]);
        assert_eq!(answer(&wrong_sum, from()), None);
    }

    #[test]
    fn it_is_announced_by_the_name_under_which_it_is_reached() {
        let any = StunAddress { public_host: None, bound: "0.0.0.0:3478".parse().unwrap() };
        assert_eq!(any.announced(Some("10.0.0.1".parse().unwrap())), "stun:10.0.0.1:3478");
        assert_eq!(any.announced(Some("::ffff:10.0.0.1".parse().unwrap())), "stun:10.0.0.1:3478");
        assert_eq!(any.announced(Some("2001:db8::1".parse().unwrap())), "stun:[2001:db8::1]:3478");
        let named = StunAddress { public_host: Some("calls.example".into()), ..any.clone() };
        assert_eq!(named.announced(None), "stun:calls.example:3478");
        let six = StunAddress { public_host: Some("2001:db8::1".into()), ..any };
        assert_eq!(six.announced(None), "stun:[2001:db8::1]:3478");
    }

    #[test]
    fn who_comes_through_a_proxy_on_this_machine_is_told_the_address_of_its_default_route() {
        let any = StunAddress { public_host: None, bound: "[::]:3478".parse().unwrap() };
        let own: IpAddr = "198.51.100.7".parse().unwrap();
        for proxy in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            let by_proxy = |own: Option<IpAddr>| any.announced_beside(Some(proxy.parse().unwrap()), || own);
            assert_eq!(by_proxy(Some(own)), "stun:198.51.100.7:3478", "{proxy}");
            assert!(
                by_proxy(None).contains(proxy.trim_start_matches("::ffff:")),
                "a machine alone: {}",
                by_proxy(None)
            );
        }
        let direct = any.announced_beside(Some("10.0.0.1".parse().unwrap()), || Some(own));
        assert_eq!(direct, "stun:10.0.0.1:3478", "who came by an address gets there");
        let named = StunAddress { public_host: Some("calls.example".into()), ..any };
        assert_eq!(named.announced_beside(Some("127.0.0.1".parse().unwrap()), || Some(own)), "stun:calls.example:3478");
    }

    /// By the machine's own address, if it has one.
    #[test]
    fn this_machine_sends_no_phone_to_loopback() {
        let any = StunAddress { public_host: None, bound: "0.0.0.0:3478".parse().unwrap() };
        let own = doubts::own_ip();
        let told = any.announced(Some("127.0.0.1".parse().unwrap()));
        assert_eq!(told, format!("stun:{}", SocketAddr::new(own.unwrap_or("127.0.0.1".parse().unwrap()), 3478)));
    }
}
