//! A server of which a part has ended, and one that cannot write its log.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use callkit_server::{Part, Server, ServerConfig, StartError};
use futures_util::FutureExt as _;
use rustix::process::{Pid, Signal, kill_process};

use crate::client::{Client, config, http, metric, soon};
use crate::program::shop;

#[tokio::test]
async fn a_server_without_a_part_that_it_needs_says_so_and_still_stops() {
    for part in [Part::Hub, Part::Store, Part::Outbox, Part::Stun, Part::Accepting] {
        let server = Server::start(config()).await.unwrap();
        let address = server.local_addr();
        let failed = server.failed();
        assert_eq!(http(address, "GET /healthz").await, (200, "ok\n".to_owned()));
        server.lose(part);
        assert_eq!(soon("the news", failed).await.part, part);
        if part != Part::Accepting {
            let told = (503, format!("the {part} has ended\n"));
            assert_eq!(http(address, "GET /healthz").await, told);
            assert_eq!(http(address, "GET /readyz").await, told);
        }
        soon("the end", server.stop()).await;
    }
}

#[tokio::test]
async fn a_server_whose_hub_is_stuck_says_so_until_it_goes_on() {
    let server = Server::start(config()).await.unwrap();
    let address = server.local_addr();
    let goes_on = server.stall().await;
    assert_eq!(http(address, "GET /healthz").await, (503, "the hub is stuck\n".to_owned()));
    drop(goes_on);
    assert_eq!(http(address, "GET /healthz").await, (200, "ok\n".to_owned()));
    soon("the end", server.stop()).await;
}

#[tokio::test]
async fn a_server_that_is_dropped_has_not_failed() {
    let folder = tempfile::tempdir().unwrap();
    let config = ServerConfig { data_dir: Some(folder.path().into()), ..config() };
    let server = Server::start(config.clone()).await.unwrap();
    let failed = server.failed();
    drop(server);
    let next = async {
        loop {
            // Its file is free when its last part has ended.
            match Server::start(config.clone()).await {
                Ok(server) => return server,
                Err(StartError::Store(_)) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let next = soon("the end of all parts", next).await;
    assert_eq!(failed.now_or_never(), None);
    next.stop().await;
}

#[tokio::test]
async fn a_log_that_nobody_reads_costs_lines_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("callkitd.toml");
    let keys = "listen = \"127.0.0.1:0\"\nlog = \"debug\"\nclose_grace_ms = 100\n";
    std::fs::write(&file, format!("{keys}{}", shop())).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_callkitd"));
    command.arg("--config").arg(&file).current_dir(&folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stderr.take());
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let address = ready.split("tcp=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap();

    let mut ann = Client::sign_in(address, "ann").await;
    Client::sign_in(address, "bob").await.goodbye().await;
    ann.hears_nothing().await;
    assert_eq!(http(address, "GET /readyz").await.0, 200);
    assert!(metric(address, "callkit_log_lines_lost_total").await > 0.0);

    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}
