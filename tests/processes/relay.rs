//! A wire to the server that can go dead without a word: connections stay open, and nothing gets through.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Carries TCP connections to one address. What is said while it is dead arrives when it is alive again, as with a network that comes back.
/// Ends when dropped.
pub struct Relay {
    /// `http://host:port`, where the server is found through it.
    pub url: String,
    alive: watch::Sender<bool>,
    _connections: JoinSet<()>,
}

impl Relay {
    /// A wire to the server at this `http://host:port`.
    pub async fn to(url: &str) -> Result<Relay, String> {
        let address = url.trim_start_matches("http://").to_owned();
        let address: SocketAddr = address.parse().map_err(|error| format!("{address}: {error}"))?;
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
        let url = format!("http://{}", listener.local_addr().map_err(|error| error.to_string())?);
        let (alive, is_alive) = watch::channel(true);
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            let mut carried = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                carried.spawn(carry(near, address, is_alive.clone()));
            }
        });
        Ok(Relay { url, alive, _connections: connections })
    }

    /// Lets nothing through from now on, or everything that waits and comes.
    pub fn set_alive(&self, alive: bool) {
        self.alive.send_replace(alive);
    }
}

async fn carry(near: TcpStream, address: SocketAddr, alive: watch::Receiver<bool>) {
    let Ok(far) = TcpStream::connect(address).await else { return };
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    // Either end of the connection is the end of both directions.
    tokio::select! {
        () = one_way(near_in, far_out, alive.clone()) => {}
        () = one_way(far_in, near_out, alive) => {}
    }
}

/// Copies until the end, which does not get through a dead wire either.
async fn one_way(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut alive: watch::Receiver<bool>) {
    let mut buffer = vec![0; 16 * 1_024];
    loop {
        let read = from.read(&mut buffer).await;
        if alive.wait_for(|alive| *alive).await.is_err() {
            return;
        }
        match read {
            Ok(len) if len > 0 && to.write_all(&buffer[..len]).await.is_ok() => {}
            Ok(_) | Err(_) => return,
        }
    }
}
