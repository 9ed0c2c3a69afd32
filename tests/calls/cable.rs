//! The cable between a phone and the server, which can be held or cut.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Everything waits, and nobody is told.
    Held,
    /// Every connection ends, and no new one is made.
    Cut,
}

/// One way to the server. Several phones may go by it.
pub(crate) struct Cable {
    pub(crate) url: String,
    state: watch::Sender<State>,
}

impl Cable {
    pub(crate) async fn to(server: SocketAddr) -> Cable {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (state, follows) = watch::channel(State::Open);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if *follows.borrow() == State::Cut {
                    continue;
                }
                let Ok(other) = TcpStream::connect(server).await else { continue };
                stream.set_nodelay(true).unwrap();
                other.set_nodelay(true).unwrap();
                let ((from, back), (other_from, other_to)) = (stream.into_split(), other.into_split());
                tokio::spawn(carry(from, other_to, follows.clone()));
                tokio::spawn(carry(other_from, back, follows.clone()));
            }
        });
        Cable { url, state }
    }

    pub(crate) fn hold(&self) {
        self.state.send_replace(State::Held);
    }

    pub(crate) fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// What waited goes on its way, and new connections are made.
    pub(crate) fn mend(&self) {
        self.state.send_replace(State::Open);
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>) {
    let mut bytes = vec![0; 16_384];
    loop {
        let read = tokio::select! {
            read = from.read(&mut bytes) => read,
            _ = state.wait_for(|state| *state == State::Cut) => return,
        };
        let Ok(count @ 1..) = read else { return };
        match state.wait_for(|state| *state != State::Held).await.map(|state| *state) {
            Ok(State::Open) => {}
            Ok(State::Held | State::Cut) | Err(_) => return,
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
