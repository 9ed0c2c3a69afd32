//! The way to a server's name: its addresses are tried side by side, each a moment after the one before, and the first that answers is
//! taken (RFC 8305). One address that swallows what is sent to it keeps nobody out.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;

/// How long an address has before the next one is tried beside it (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// Opens TCP connections, and notes from which address of this machine the first one leaves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dial(Arc<OnceLock<SocketAddr>>);

impl Dial {
    /// The address of this machine from which the first connection leaves.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.0.get().copied()
    }
}

/// Whether this machine no longer has the address: what was sent from it goes nowhere.
pub(crate) fn is_gone(mut local: SocketAddr) -> bool {
    local.set_port(0);
    UdpSocket::bind(local).is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
}

impl Service<Uri> for Dial {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<TcpStream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let local = Arc::clone(&self.0);
        Box::pin(async move {
            let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
            let addresses = tokio::net::lookup_host((host, port)).await?.collect();
            let stream = first_of(in_turn(addresses), TcpStream::connect).await?;
            stream.set_nodelay(true)?;
            // One that was noted stays.
            let _ = local.set(stream.local_addr()?);
            Ok(TokioIo::new(stream))
        })
    }
}

/// The families in turn, each in the order of the resolver, the one it named first in front.
fn in_turn(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let family = |address: &SocketAddr| matches!(address.ip(), IpAddr::V6(_));
    let first = addresses.first().is_some_and(family);
    let (mut one, mut other): (VecDeque<_>, VecDeque<_>) =
        addresses.into_iter().partition(|address| family(address) == first);
    let mut all = VecDeque::new();
    while let Some(address) = one.pop_front() {
        all.push_back(address);
        all.extend(other.pop_front());
    }
    all.extend(other);
    all
}

/// The first that succeeds. The next one is tried when one has failed or taken [`STAGGER`]; those that lose are let go of.
async fn first_of<T, F>(mut addresses: VecDeque<SocketAddr>, connect: impl Fn(SocketAddr) -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut running = FuturesUnordered::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the server's name has no address");
    loop {
        if let Some(address) = addresses.pop_front() {
            running.push(connect(address));
        }
        if running.is_empty() {
            return Err(failure);
        }
        tokio::select! {
            Some(outcome) = running.next() => match outcome {
                Ok(connected) => return Ok(connected),
                Err(error) => failure = error,
            },
            // sleeps: the start of the address before
            () = tokio::time::sleep(STAGGER), if !addresses.is_empty() => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use tokio::time::Instant;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// What becomes of the addresses whose last number is 1, 2, 3: swallowed, refused at once, connected.
    async fn connects(address: SocketAddr) -> io::Result<SocketAddr> {
        match address.ip().to_string().chars().last() {
            Some('1') => std::future::pending().await,
            Some('2') => Err(io::ErrorKind::ConnectionRefused.into()),
            _ => Ok(address),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_swallows_what_is_sent_to_it_costs_a_quarter_of_a_second() {
        let begin = Instant::now();
        let addresses = ["10.9.0.1:7", "10.9.0.2:7", "10.9.1.1:7", "10.9.0.3:7"].map(address);
        let taken = first_of(addresses.into(), connects).await.unwrap();
        assert_eq!((taken, begin.elapsed()), (address("10.9.0.3:7"), 2 * STAGGER));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_failure_is_told_where_none_connects() {
        let none = first_of(VecDeque::new(), connects).await.unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::NotFound);
        let refused = first_of([address("10.9.0.2:7")].into(), connects).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn an_address_that_the_machine_does_not_have_is_gone() {
        // One of documentation (RFC 5737).
        assert!(is_gone(address("192.0.2.1:4711")));
        assert!(!is_gone(address("127.0.0.1:4711")));
    }

    #[test]
    fn the_families_take_turns() {
        let given = ["[::1]:1", "[::2]:1", "[::3]:1", "10.0.0.1:1"].map(address);
        let wanted = ["[::1]:1", "10.0.0.1:1", "[::2]:1", "[::3]:1"].map(address);
        assert_eq!(in_turn(given.to_vec()), wanted);
    }
}
