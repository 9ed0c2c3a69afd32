//! The accept loop and one task for each TCP connection.

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use proxy_header::ParseConfig;
use proxy_header::io::ProxiedStream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::connection::{Connection, run_stream};
use crate::http::Site;
use crate::limits::{Limits, Place};
use crate::metering::Metering;
use crate::proxy::ClientAddress;
use crate::tls::Tls;

/// What the loop needs.
pub(crate) struct Accepting {
    pub(crate) site: Arc<Site>,
    pub(crate) metering: Arc<Metering>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) max_connections: usize,
    /// A connection that asks nothing for so long is closed.
    pub(crate) idle_limit: Duration,
    pub(crate) close_grace: Duration,
}

/// Streams of one connection at one time; an app needs one.
pub(crate) const STREAMS: u32 = 16;
/// How long to wait when the system has no more sockets.
const OUT_OF_SOCKETS: Duration = Duration::from_millis(50);

/// Accepts until `stop` turns true, then waits for the connections to end, and cuts those that do not.
pub(crate) async fn run(accepting: Accepting, listener: TcpListener, mut stop: watch::Receiver<bool>) {
    let accepting = Arc::new(accepting);
    let (tasks, mut ended) = mpsc::channel(1);
    let builder = Arc::new(builder(Tasks { alive: tasks }, accepting.idle_limit));
    let mut connections = JoinSet::new();
    loop {
        let has_room = connections.len() < accepting.max_connections;
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => None,
            accepted = listener.accept(), if has_room => Some(accepted),
        };
        match accepted {
            None => {}
            Some(Ok((socket, from))) if accepting.limits.begins_with_client(from.ip()) => {
                let served =
                    serve_proxied(Arc::clone(&accepting), Arc::clone(&builder), socket, from.ip(), stop.clone());
                connections.spawn(served);
            }
            Some(Ok((socket, from))) => match accepting.limits.connect(from.ip()) {
                Ok(place) => {
                    accepting.metering.connections_accepted.increment(1);
                    let local_ip = local_ip(&socket);
                    socket.set_nodelay(true).ok();
                    let peer = Peer { socket, local_ip, address: from.ip().into(), place };
                    connections.spawn(serve(Arc::clone(&accepting), Arc::clone(&builder), peer, stop.clone()));
                }
                Err(_) => {
                    accepting.metering.connections_limited.increment(1);
                    match accepting.limits.turn_away(from.ip()) {
                        Some(place) => {
                            let (local_ip, address) = (local_ip(&socket), from.ip().into());
                            let peer = Peer { socket, local_ip, address, place: Some(place) };
                            connections.spawn(turn_away(
                                Arc::clone(&accepting),
                                Arc::clone(&builder),
                                peer,
                                stop.clone(),
                            ));
                        }
                        None => close(&accepting, socket),
                    }
                }
            },
            Some(Err(error)) if is_about_one_peer(&error) => {}
            Some(Err(error)) => {
                warn!(%error, "cannot accept");
                // sleeps: the system does not tell when it has sockets again.
                sleep(OUT_OF_SOCKETS).await;
            }
        }
        accepting.metering.connections.set(connections.len() as f64);
    }
    drop((listener, builder));
    // The hub gives its goodbyes their grace; this is for connections that hold no session.
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if timeout(accepting.close_grace * 2, all_ended).await.is_err() {
        connections.shutdown().await;
    }
    ended.recv().await;
    accepting.metering.connections.set(0.0);
}

/// Who has just connected.
struct Peer<S> {
    socket: S,
    local_ip: Option<IpAddr>,
    address: ClientAddress,
    place: Option<Place>,
}

fn local_ip(socket: &TcpStream) -> Option<IpAddr> {
    socket.local_addr().ok().map(|address| address.ip())
}

/// Serves a connection of a proxy that says first for whom it speaks; one that does not is closed.
async fn serve_proxied(
    accepting: Arc<Accepting>,
    builder: Arc<Builder<Tasks>>,
    socket: TcpStream,
    proxy: IpAddr,
    mut stop: watch::Receiver<bool>,
) {
    let local_ip = local_ip(&socket);
    socket.set_nodelay(true).ok();
    let begun = tokio::select! {
        _ = stop.wait_for(|stop| *stop) => return,
        begun = timeout(accepting.idle_limit, ProxiedStream::create_from_tokio(socket, ParseConfig::default())) => begun,
    };
    let Ok(Ok(socket)) = begun else { return };
    // Without an address it speaks for itself, to see whether the server is well.
    let ip = socket.proxy_header().proxied_address().map_or(proxy, |told| told.source.ip());
    let address = ClientAddress { ip, is_proxied: true };
    match accepting.limits.connect(address) {
        Ok(place) => {
            accepting.metering.connections_accepted.increment(1);
            serve(accepting, builder, Peer { socket, local_ip, address, place }, stop).await;
        }
        Err(_) => {
            accepting.metering.connections_limited.increment(1);
            if let Some(place) = accepting.limits.turn_away(ip) {
                let peer = Peer { socket, local_ip, address, place: Some(place) };
                turn_away(accepting, builder, peer, stop).await;
            }
        }
    }
}

/// Tells a peer that met a limit why it is not served, in the protocol that it speaks: it has one request.
async fn turn_away(
    accepting: Arc<Accepting>,
    builder: Arc<Builder<Tasks>>,
    peer: Peer<impl AsyncRead + AsyncWrite + Unpin + Send + 'static>,
    mut stop: watch::Receiver<bool>,
) {
    let Peer { socket, place, .. } = peer;
    let telling = async {
        match &accepting.tls {
            None => tell(&accepting, &builder, socket).await,
            Some(tls) => {
                if let Ok(stream) = tls.acceptor().accept(socket).await {
                    Box::pin(tell(&accepting, &builder, stream)).await;
                }
            }
        }
    };
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        _ = timeout(accepting.idle_limit, telling) => {}
    }
    drop(place);
}

async fn tell(
    accepting: &Accepting,
    builder: &Builder<Tasks>,
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) {
    let asked = Arc::new(Notify::new());
    let told = {
        let (site, asked) = (Arc::clone(&accepting.site), Arc::clone(&asked));
        service_fn(move |request| {
            asked.notify_one();
            Box::pin(Arc::clone(&site).turn_away(request))
        })
    };
    let mut http = pin!(builder.serve_connection(TokioIo::new(socket), told));
    tokio::select! {
        _ = http.as_mut() => return,
        () = asked.notified() => http.as_mut().graceful_shutdown(),
    }
    http.await.ok();
}

/// The same without waiting for the peer, as far as that goes.
fn close(accepting: &Accepting, socket: TcpStream) {
    const ANSWER: &[u8] =
        b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 60\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    if accepting.tls.is_none()
        && let Ok(mut socket) = socket.into_std()
    {
        socket.write_all(ANSWER).ok();
    }
}

async fn serve(
    accepting: Arc<Accepting>,
    builder: Arc<Builder<Tasks>>,
    peer: Peer<impl AsyncRead + AsyncWrite + Unpin + Send + 'static>,
    stop: watch::Receiver<bool>,
) {
    let Peer { socket, local_ip, address, place } = peer;
    let connection = Arc::new(Connection::new(local_ip, address));
    match accepting.tls.clone() {
        None => serve_http(accepting, builder, connection, socket, stop).await,
        // Boxed: a connection without TLS need not have room for it.
        Some(tls) => Box::pin(serve_tls(accepting, &tls, builder, connection, socket, stop)).await,
    }
    drop(place);
}

async fn serve_tls(
    accepting: Arc<Accepting>,
    tls: &Tls,
    builder: Arc<Builder<Tasks>>,
    connection: Arc<Connection>,
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    mut stop: watch::Receiver<bool>,
) {
    let handshake = tokio::select! {
        _ = stop.wait_for(|stop| *stop) => return,
        handshake = timeout(accepting.idle_limit, tls.acceptor().accept(socket)) => handshake,
    };
    match handshake {
        Ok(Ok(stream)) => {
            accepting.metering.handshakes_done.increment(1);
            serve_http(accepting, builder, connection, stream, stop).await;
        }
        Ok(Err(_)) => accepting.metering.handshakes_failed.increment(1),
        Err(_) => accepting.metering.handshakes_timed_out.increment(1),
    }
}

async fn serve_http(
    accepting: Arc<Accepting>,
    builder: Arc<Builder<Tasks>>,
    connection: Arc<Connection>,
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    mut stop: watch::Receiver<bool>,
) {
    let served = {
        let (site, connection) = (Arc::clone(&accepting.site), Arc::clone(&connection));
        // Boxed: it is gone once a stream has begun, and its size would stay with every stream.
        service_fn(move |request| Box::pin(Arc::clone(&site).serve(request, Arc::clone(&connection))))
    };
    let mut http = pin!(builder.serve_connection(TokioIo::new(socket), served));
    let mut is_stopping = false;
    loop {
        let is_serving = connection.is_serving();
        tokio::select! {
            // What a peer does wrong is its own affair: garbage, resets and half-closed connections all end here.
            _ = http.as_mut() => return,
            () = connection.is_cut() => return,
            _ = stop.wait_for(|stop| *stop), if !is_stopping => {
                is_stopping = true;
                http.as_mut().graceful_shutdown();
            }
            // The limit counts from here. A request that began meanwhile is seen when the limit is over.
            () = connection.falls_idle(), if is_serving => {
                connection.was_idle();
            }
            // sleeps: the limit is what is waited for.
            () = sleep(accepting.idle_limit), if !is_serving => {
                if connection.was_idle() {
                    return;
                }
            }
        }
    }
}

/// One builder for all connections. Windows and buffers are small: a frame is 64 KiB at most, and most connections idle.
///
/// What remains of an idle connection is mostly h2's own, for which it has no knob: 16 KiB to write, 8 KiB to read and 4 KiB for headers.
/// Keep-alive of HTTP/2 stays off: clients ping in the stream, and the hub ends streams that fall silent.
fn builder(tasks: Tasks, header_timeout: Duration) -> Builder<Tasks> {
    let mut builder = Builder::new(tasks);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(header_timeout).max_buf_size(16 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(128 * 1024)
        .max_frame_size(16 * 1024)
        .max_send_buf_size(64 * 1024)
        .max_header_list_size(8 * 1024)
        .max_concurrent_streams(STREAMS);
    builder
}

/// Runs the streams of connections, so that their end can be waited for.
#[derive(Clone)]
struct Tasks {
    alive: mpsc::Sender<()>,
}

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        let alive = self.alive.clone();
        tokio::spawn(async move {
            run_stream(task).await;
            drop(alive);
        });
    }
}

/// Errors that say nothing about the listener.
fn is_about_one_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
