//! Connections that say nothing, beside users who call each other.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use tokio::io::AsyncReadExt;
use tokio::net::TcpSocket;

use crate::Options;
use crate::calls::Pair;
use crate::client::metric;
use crate::figures::latency;
use crate::process::Callkitd;

/// Connections that come about at one time.
const AT_ONCE: usize = 64;

pub async fn measure(options: &Options) {
    println!("{} connections that say nothing", options.silent);
    let server = Callkitd::start_with(false, "max_connections = 12000", 500);
    let mut pair = Pair::sign_in(server.address, "pair", 0).await;
    let calm = calls(&mut pair, Duration::from_secs(2)).await;
    println!("  invite → ring before                       {}", latency(&calm));
    let before = server.memory_kib();

    let started = Instant::now();
    let address = server.address;
    let strangers = stream::iter(0..options.silent).map(|number| connect(address, number)).buffer_unordered(AT_ONCE);
    let strangers: Vec<_> = strangers.collect().await;
    println!("  all are connected after                    {:.1} s", started.elapsed().as_secs_f64());
    println!(
        "  memory of each                             {:.1} KiB",
        (server.memory_kib() - before) / options.silent as f64
    );
    let ends = tokio::spawn(async move {
        let ends = strangers.into_iter().map(async |mut socket| {
            let read = socket.read(&mut [0; 16]).await;
            assert!(!matches!(read, Ok(1..)), "the server answers nobody who asks nothing");
        });
        futures_util::future::join_all(ends).await;
        Instant::now()
    });
    let mut during = Vec::new();
    while !ends.is_finished() {
        during.extend(calls(&mut pair, Duration::from_millis(100)).await);
    }
    println!("  invite → ring while they are there         {}", latency(&during));
    println!("  the last was closed after                  {:.1} s", (ends.await.unwrap() - started).as_secs_f64());
    let after = calls(&mut pair, Duration::from_secs(2)).await;
    println!("  invite → ring after                        {}", latency(&after));
    let open = metric(server.address, "callkit_connections").await;
    println!("  connections left                           {open}, two of devices and one that asks");
    println!("  memory beyond that of before               {:.0} KiB", server.memory_kib() - before);
}

async fn calls(pair: &mut Pair, so_long: Duration) -> Vec<Duration> {
    let started = Instant::now();
    let mut times = Vec::new();
    while started.elapsed() < so_long {
        times.push(pair.call().await.ring);
    }
    times
}

async fn connect(server: SocketAddr, number: usize) -> tokio::net::TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    // One address has too few ports for very many connections; on Linux all of 127/8 lead back.
    if cfg!(target_os = "linux") {
        socket.bind(([127, 0, 1, 1 + (number % 8) as u8], 0).into()).unwrap();
    }
    socket.connect(server).await.unwrap()
}
