//! Calls per second of one core, and how long a callee waits, while many devices are signed in.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::time::sleep;

use crate::Options;
use crate::calls::Pair;
use crate::figures::{latency, median};
use crate::process::Callkitd;

pub async fn measure(options: &Options, server: &Callkitd) {
    let pairs = (0..options.pairs).map(|number| Pair::sign_in(server.address, "pair", number));
    let mut pairs = join_all(pairs).await;

    let (mut ring, mut confirm) = (Vec::new(), Vec::new());
    for _ in 0..options.calls {
        let times = pairs[0].call().await;
        ring.push(times.ring);
        confirm.push(times.confirm);
    }
    println!("  invite → ring, one call at a time          {}", latency(&ring));
    println!("  answer → confirm, one call at a time       {}", latency(&confirm));

    // What the devices' pings cost is not the calls'.
    let (cpu, started) = (server.cpu(), Instant::now());
    sleep(Duration::from_secs_f64(options.seconds)).await; // sleeps: this is the time that is measured
    let idle = (server.cpu() - cpu).as_secs_f64() / started.elapsed().as_secs_f64();
    println!("  the idle devices' pings, of one core       {:6.1} %", idle * 100.0);

    let (mut of_core, mut of_wall) = (Vec::new(), Vec::new());
    let (mut ring, mut confirm) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let (cpu, started) = (server.cpu(), Instant::now());
        let until = started + Duration::from_secs_f64(options.seconds);
        let tasks = pairs.into_iter().map(|mut pair| {
            tokio::spawn(async move {
                let mut times = Vec::new();
                while Instant::now() < until {
                    times.push(pair.call().await);
                }
                (pair, times)
            })
        });
        let done = join_all(tasks).await;
        let wall = started.elapsed().as_secs_f64();
        let cpu = (server.cpu() - cpu).as_secs_f64();
        pairs = Vec::new();
        let mut calls = 0.0;
        for ended in done {
            let (pair, times) = ended.unwrap();
            pairs.push(pair);
            calls += times.len() as f64;
            ring.extend(times.iter().map(|times| times.ring));
            confirm.extend(times.iter().map(|times| times.confirm));
        }
        of_core.push(calls / (cpu - idle * wall).max(0.01));
        of_wall.push(calls / wall);
    }
    println!("  calls per second of one core               {}", median(&mut of_core));
    println!("  calls per second on this machine           {}, {} pairs", median(&mut of_wall), options.pairs);
    println!("  invite → ring, {:3} pairs at once           {}", options.pairs, latency(&ring));
    println!("  answer → confirm, {:3} pairs at once        {}", options.pairs, latency(&confirm));
}
