//! Notices of changed addresses: in the simulated network, and on a real interface where the test may make one.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use std::time::Duration;

use rtc_transport::simulated::{Network, pass, run};
use rtc_transport::{NetworkWatch, PathConfig};
use world::ms;

fn watch(config: PathConfig) -> NetworkWatch {
    NetworkWatch::of(config.interfaces, config.runtime.unwrap())
}

#[test]
#[cfg(target_os = "linux")]
fn a_move_is_noticed_within_a_quarter_of_a_second_and_once() {
    run(async {
        let network = Network::new(1);
        let host = network.host();
        let mut watch = watch(host.path_config());
        assert!(tokio::time::timeout(ms(60_000), watch.changed()).await.is_err(), "nothing changes");
        host.moves();
        tokio::time::timeout(ms(260), watch.changed()).await.unwrap();
        assert!(tokio::time::timeout(ms(60_000), watch.changed()).await.is_err(), "it has been told");
        host.moves();
        pass(ms(5_000)).await;
        tokio::time::timeout(ms(0), watch.changed()).await.unwrap();
    });
}

/// In a network namespace of its own thread, so that the machine's interfaces stay as they are.
#[test]
#[cfg(target_os = "linux")]
fn a_real_interface_that_comes_and_goes_is_noticed() {
    // This test runs itself again in the namespace.
    const INSIDE: &str = "INSIDE_A_NETWORK_NAMESPACE";
    if std::env::var_os(INSIDE).is_none() {
        let name = "a_real_interface_that_comes_and_goes_is_noticed";
        let itself = std::env::current_exe().unwrap();
        let usable = std::process::Command::new("unshare").args(["--net", "ip", "link", "set", "lo", "up"]).output();
        if !usable.is_ok_and(|output| output.status.success()) {
            println!("skipped: no network namespace can be made here (needs root, unshare and ip)");
            return;
        }
        let mut inside = std::process::Command::new("unshare");
        let output = inside.arg("--net").arg(itself).args(["--exact", name]).env(INSIDE, "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let ip = |arguments: &str| {
        let status = std::process::Command::new("ip").args(arguments.split(' ')).status().unwrap();
        assert!(status.success(), "ip {arguments}");
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut watch = NetworkWatch::new();
        let mut noticed = async |change: &str| {
            ip(change);
            tokio::time::timeout(Duration::from_secs(5), watch.changed()).await.expect(change);
        };
        ip("link add wifi type veth peer name mobile");
        ip("link set wifi up");
        ip("link set mobile up");
        noticed("addr add 10.7.0.1/24 dev wifi").await;
        noticed("addr add 10.8.0.1/24 dev mobile").await;
        noticed("route add default via 10.7.0.254").await;
        noticed("route replace default via 10.8.0.254").await;
        noticed("addr del 10.7.0.1/24 dev wifi").await;
        assert!(tokio::time::timeout(Duration::from_millis(600), watch.changed()).await.is_err(), "all is told");
    });
}
