//! A virtual socket and what is on its way to it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tokio::time::{Instant, Sleep, sleep_until};

use super::{HostId, Network};
use crate::event::lock;
use crate::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

/// What is on its way to a socket.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    incoming: Mutex<Incoming>,
}

#[derive(Debug, Default)]
struct Incoming {
    heap: BinaryHeap<Reverse<Datagram>>,
    count: u64,
    waiting: Option<Waker>,
    timer: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Datagram {
    at: Instant,
    number: u64,
    from: SocketAddr,
    bytes: Vec<u8>,
}

impl Mailbox {
    pub(super) fn put(&self, at: Instant, from: SocketAddr, bytes: &[u8]) {
        let mut incoming = lock(&self.incoming);
        incoming.count += 1;
        let number = incoming.count;
        incoming.heap.push(Reverse(Datagram { at, number, from, bytes: bytes.to_vec() }));
        if let Some(waker) = incoming.waiting.take() {
            waker.wake();
        }
    }

    fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Datagram> {
        let mut incoming = lock(&self.incoming);
        let incoming = &mut *incoming;
        loop {
            incoming.waiting = Some(cx.waker().clone());
            let Some(Reverse(first)) = incoming.heap.peek() else {
                incoming.timer = None;
                return Poll::Pending;
            };
            if first.at <= Instant::now()
                && let Some(Reverse(first)) = incoming.heap.pop()
            {
                return Poll::Ready(first);
            }
            let Some(Reverse(first)) = incoming.heap.peek() else { continue };
            let timer = incoming.timer.get_or_insert_with(|| Box::pin(sleep_until(first.at)));
            if timer.deadline() != first.at {
                timer.as_mut().reset(first.at);
            }
            match timer.as_mut().poll(cx) {
                Poll::Ready(()) => incoming.timer = None,
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// A socket of a host. It keeps the real one it stands for, so that nobody else gets its port.
#[derive(Debug)]
pub(super) struct VirtualSocket {
    pub(super) network: Network,
    pub(super) host: HostId,
    pub(super) address: SocketAddr,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) _port: std::net::UdpSocket,
}

impl AsyncUdpSocket for VirtualSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn poll_send(&self, _: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let step = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        for datagram in transmit.contents.chunks(step) {
            self.network.send(self.host, self.address, transmit.destination, datagram);
        }
        Poll::Ready(Ok(transmit.contents.len()))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let (Some(buf), Some(meta)) = (bufs.first_mut(), meta.first_mut()) else { return Poll::Ready(Ok(0)) };
        let Poll::Ready(datagram) = self.mailbox.poll_take(cx) else { return Poll::Pending };
        let len = datagram.bytes.len().min(buf.len());
        buf[..len].copy_from_slice(&datagram.bytes[..len]);
        *meta = RecvMeta::default();
        meta.addr = datagram.from;
        meta.len = len;
        meta.stride = len.max(1);
        Poll::Ready(Ok(1))
    }
}
