//! A socket that lets the seam see STUN and DTLS go by; media passes untouched.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use super::flights::Sent;
use super::record::{NUDGE, is_alert};
use super::{Seam, Way, is_media, relayed};
use crate::event::lock;
use crate::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

/// How often the notice of a close is said beside the first time.
const FURTHER_NOTICES: usize = 2;
/// Receives of the real socket for one of the engine.
const AT_ONE_TIME: usize = 64;

/// What stands behind a socket of the engine: the real one, and datagrams the engine is to read before those of the
/// network.
#[derive(Debug)]
pub(super) struct Port {
    waiting: Mutex<Waiting>,
    socket: Mutex<Arc<dyn AsyncUdpSocket>>,
}

#[derive(Debug, Default)]
struct Waiting {
    datagrams: VecDeque<Datagram>,
    /// What the seam has to say as soon as the reader looks.
    outgoing: Vec<Sent>,
    reader: Option<Waker>,
}

#[derive(Debug)]
struct Datagram {
    from: SocketAddr,
    /// Where it really came from, if it comes straight from the network.
    origin: Option<SocketAddr>,
    bytes: Vec<u8>,
}

impl Port {
    fn new(socket: Arc<dyn AsyncUdpSocket>) -> Self {
        Self { waiting: Mutex::default(), socket: Mutex::new(socket) }
    }

    pub(super) fn socket(&self) -> Arc<dyn AsyncUdpSocket> {
        lock(&self.socket).clone()
    }

    /// Puts another real socket in the place of the one there is, which is closed.
    pub(super) fn replace(&self, socket: Arc<dyn AsyncUdpSocket>) {
        *lock(&self.socket) = socket;
        self.wake();
    }

    pub(super) fn put(&self, from: SocketAddr, bytes: Vec<u8>) {
        lock(&self.waiting).datagrams.push_back(Datagram { from, origin: None, bytes });
        self.wake();
    }

    /// Has the reader send something.
    pub(super) fn send_soon(&self, sent: impl IntoIterator<Item = Sent>) {
        lock(&self.waiting).outgoing.extend(sent);
        self.wake();
    }

    /// Has the reader look again: at the datagrams, the time or the socket.
    pub(super) fn wake(&self) {
        let reader = lock(&self.waiting).reader.take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn take(&self, cx: &Context<'_>) -> (Vec<Sent>, Option<Datagram>) {
        let mut waiting = lock(&self.waiting);
        let first = waiting.datagrams.pop_front();
        if first.is_none() {
            waiting.reader = Some(cx.waker().clone());
        }
        (std::mem::take(&mut waiting.outgoing), first)
    }
}

pub(super) struct SeamSocket {
    /// The address the engine knows it by.
    local: SocketAddr,
    seam: Arc<Seam>,
    port: Arc<Port>,
    timer: Mutex<Timer>,
    /// Whom the engine heard last, while it may need a nudge, and how often it has found nothing since.
    nudge: Mutex<Option<(SocketAddr, u8)>>,
}

#[derive(Default)]
struct Timer {
    at: Option<Instant>,
    sleep: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl std::fmt::Debug for SeamSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SeamSocket").finish_non_exhaustive()
    }
}

impl SeamSocket {
    pub(super) fn new(local: SocketAddr, inner: Arc<dyn AsyncUdpSocket>, seam: Arc<Seam>) -> Self {
        let port = Arc::new(Port::new(inner));
        seam.add_port(local, &port);
        Self { local, seam, port, timer: Mutex::default(), nudge: Mutex::default() }
    }

    /// Repeats the last flight when it is time, and has `cx` woken at the next.
    fn poll_repeats(&self, cx: &mut Context<'_>) {
        let mut timer = lock(&self.timer);
        loop {
            let Some(at) = self.seam.next_repeat(self.local) else {
                *timer = Timer::default();
                return;
            };
            let left = at.saturating_duration_since(self.seam.now());
            if left.is_zero() {
                let again = self.seam.repeat();
                self.send_all(cx, again);
                continue;
            }
            if timer.at != Some(at) || timer.sleep.is_none() {
                *timer = Timer { at: Some(at), sleep: Some(self.seam.sleep(left)) };
            }
            let done = timer.sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready());
            if !done {
                return;
            }
            timer.sleep = None;
        }
    }

    /// When a pair is selected the engine makes its hello but sends it only with the next DTLS read or tick of a timer.
    /// A record it throws away unread makes it send at once. It must come after the engine has looked at its events:
    /// the first time it finds nothing more to read belongs to the burst of the datagram before, the second does not.
    fn due_nudge(&self) -> Option<SocketAddr> {
        let mut nudge = lock(&self.nudge);
        match nudge.as_mut()? {
            (_, empty @ 0) => {
                *empty = 1;
                None
            }
            _ => nudge.take().map(|(from, _)| from).filter(|_| self.seam.owes_hello()),
        }
    }

    /// Sends what the seam has to say, to the addresses as they are.
    fn send_all(&self, cx: &mut Context<'_>, datagrams: Vec<Sent>) {
        for Sent { remote, bytes, .. } in datagrams {
            // A full send buffer loses a repetition, and the next one makes up for it. An error may be that of the
            // datagram before, which went to where nobody is any more.
            for _ in 0..2 {
                match self.port.socket().poll_send(cx, &plain(remote, &bytes)) {
                    Poll::Ready(Err(error)) => tracing::debug!(%error, "a handshake flight or check was not sent"),
                    Poll::Ready(Ok(_)) | Poll::Pending => break,
                }
            }
        }
    }

    /// Shows the seam what a receive brought: the datagrams for the engine go to the port.
    fn sort(&self, cx: &mut Context<'_>, bufs: &[IoSliceMut<'_>], meta: &[RecvMeta]) {
        for (buf, meta) in bufs.iter().zip(meta) {
            for datagram in buf[..meta.len].chunks(meta.stride.max(1)) {
                let from = self.seam.source(meta.addr);
                let (deliver, again) = match is_media(datagram) {
                    true => (self.seam.on_media(self.local, from, datagram), vec![]),
                    false if self.seam.on_answer(meta.addr, datagram) => continue,
                    false => self.seam.on_received(self.local, from, datagram),
                };
                self.send_all(cx, again);
                if deliver {
                    let (origin, bytes) = (Some(meta.addr), datagram.to_vec());
                    lock(&self.port.waiting).datagrams.push_back(Datagram { from, origin, bytes });
                }
            }
        }
    }
}

impl AsyncUdpSocket for SeamSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let whole = transmit.contents.len();
        let destination = self.seam.destination(transmit.destination);
        let step = transmit.segment_size.unwrap_or(whole).max(1);
        if transmit.contents.chunks(step).all(is_media) {
            return self.port.socket().poll_send(cx, &Transmit { destination, ..*transmit });
        }
        if step < whole {
            for datagram in transmit.contents.chunks(step) {
                ready!(self.poll_send(cx, &plain(transmit.destination, datagram)))?;
            }
            return Poll::Ready(Ok(whole));
        }
        if is_alert(relayed::inner(transmit.contents).unwrap_or(transmit.contents)) {
            // The engine says once that it closes, and nobody would repeat it.
            let notice = Sent { local: self.local, remote: destination, bytes: transmit.contents.to_vec() };
            self.send_all(cx, vec![notice; FURTHER_NOTICES]);
        }
        match self.seam.on_sent(self.local, transmit.destination, transmit.contents) {
            Way::Out => self.port.socket().poll_send(cx, &Transmit { destination, ..*transmit }),
            Way::OutAs(bytes) => self.port.socket().poll_send(cx, &plain(destination, &bytes)).map_ok(|_| whole),
            Way::Nowhere => Poll::Ready(Ok(whole)),
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        // Somebody who floods this socket with what is of no use must not keep the engine from everything else.
        for _ in 0..AT_ONE_TIME {
            let (outgoing, datagram) = self.port.take(cx);
            self.send_all(cx, outgoing);
            self.seam.hand_over(None);
            if let Some(Datagram { from, origin, bytes }) = datagram
                && let (Some(buf), Some(meta)) = (bufs.first_mut(), meta.first_mut())
            {
                self.seam.hand_over(origin.map(|origin| (self.local, origin)));
                let len = bytes.len().min(buf.len());
                buf[..len].copy_from_slice(&bytes[..len]);
                describe(meta, from, len);
                *lock(&self.nudge) = (!self.seam.is_media_open()).then_some((from, 0));
                return Poll::Ready(Ok(1));
            }
            if let Some(from) = self.due_nudge()
                && let (Some(buf), Some(meta)) = (bufs.first_mut(), meta.first_mut())
                && let Some(buf) = buf.get_mut(..NUDGE.len())
            {
                buf.copy_from_slice(&NUDGE);
                describe(meta, from, NUDGE.len());
                return Poll::Ready(Ok(1));
            }
            self.poll_repeats(cx);
            let count = match self.port.socket().poll_recv(cx, bufs, meta) {
                Poll::Ready(Ok(count)) => count,
                other => return other,
            };
            // The engine asks for one message, which may be several datagrams of one sender.
            if count == 1
                && let (Some(buf), Some(meta)) = (bufs.first(), meta.first())
                && self.seam.admits_voice(meta.addr, buf[..meta.len].chunks(meta.stride.max(1)))
            {
                self.seam.hand_over(Some((self.local, meta.addr)));
                return Poll::Ready(Ok(count));
            }
            self.sort(cx, &bufs[..count], &meta[..count]);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn max_gso_segments(&self) -> usize {
        self.port.socket().max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.port.socket().max_gro_segments()
    }
}

fn describe(meta: &mut RecvMeta, from: SocketAddr, len: usize) {
    *meta = RecvMeta::default();
    meta.addr = from;
    meta.len = len;
    meta.stride = len.max(1);
}

fn plain(destination: SocketAddr, contents: &[u8]) -> Transmit<'_> {
    Transmit { destination, ecn: None, contents, segment_size: None, src_ip: None }
}
