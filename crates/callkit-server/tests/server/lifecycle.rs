//! Start, stop, and what an operator sees.

use call_protocol::session::RefuseReason;
use callkit_server::{ConfigError, Server, ServerConfig, StartError, StoreError};
use tokio::net::{TcpListener, UdpSocket};

use crate::client::{Client, config, http, soon, start};

#[tokio::test]
async fn a_taken_port_is_told() {
    let first = start().await;
    let address = first.local_addr();
    let error = Server::start(ServerConfig { listen: address, ..config() }).await.unwrap_err();
    assert_eq!(error.to_string(), format!("TCP port {address} is taken by another program"));
    let stun_listen = Some(first.udp_addr());
    let error = Server::start(ServerConfig { stun_listen, ..config() }).await.unwrap_err();
    assert!(matches!(error, StartError::PortTaken { protocol: "UDP", .. }), "{error}");
    first.stop().await;
}

#[tokio::test]
async fn a_configuration_without_an_app_and_a_store_in_use_are_told() {
    let error = Server::start(ServerConfig { apps: vec![], ..config() }).await.unwrap_err();
    assert!(matches!(error, StartError::Config(ConfigError::NoApp)), "{error}");

    let folder = tempfile::tempdir().unwrap();
    let with_data = ServerConfig { data_dir: Some(folder.path().to_owned()), ..config() };
    let first = Server::start(with_data.clone()).await.unwrap();
    let error = Server::start(with_data).await.unwrap_err();
    assert!(matches!(error, StartError::Store(StoreError::InUse(_))), "{error}");
    first.stop().await;

    let file = folder.path().join("a file");
    std::fs::write(&file, "").unwrap();
    let error = Server::start(ServerConfig { data_dir: Some(file), ..config() }).await.unwrap_err();
    assert!(error.to_string().contains("a file"), "{error}");
}

#[test]
fn stop_tells_everybody_ends_every_task_and_frees_the_ports() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // The clients live in a runtime of their own, so that the tasks counted are the server's.
    let clients = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(start());
    let (tcp, udp) = (server.local_addr(), server.udp_addr());
    let mut phones = clients.block_on(async {
        let mut phones = Vec::new();
        for number in 0..8 {
            phones.push(Client::sign_in(tcp, &format!("user {number}")).await);
        }
        phones
    });
    // One that has not said hello, and one that said nothing at all.
    let mut at_the_door = clients.block_on(Client::open(tcp));
    let mute = clients.block_on(tokio::net::TcpStream::connect(tcp)).unwrap();

    let stopped = runtime.spawn(server.stop());
    clients.block_on(async {
        for phone in &mut phones {
            assert_eq!(phone.end().await, Some(RefuseReason::ShuttingDown));
        }
        at_the_door.end().await;
    });
    runtime.block_on(async {
        stopped.await.unwrap();
        // A task is counted for a moment longer than it runs.
        let metrics = tokio::runtime::Handle::current().metrics();
        soon("the end of every task", async {
            while metrics.num_alive_tasks() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        drop((TcpListener::bind(tcp).await.unwrap(), UdpSocket::bind(udp).await.unwrap()));
    });
    drop(mute);
}

#[tokio::test]
async fn health_readiness_and_metrics_are_pages() {
    let server = start().await;
    let address = server.local_addr();
    assert_eq!(http(address, "GET /healthz").await, (200, "ok\n".into()));
    assert_eq!(http(address, "GET /readyz").await, (200, "ready\n".into()));
    assert_eq!(http(address, "GET /nowhere").await.0, 404);
    let (status, page) = http(address, "GET /metrics").await;
    assert_eq!(status, 200);
    for name in ["callkit_sessions", "callkit_frames_total{direction=\"in\"}", "callkit_store_writes_total"] {
        assert!(page.contains(name), "{page}");
    }
    server.stop().await;
}
