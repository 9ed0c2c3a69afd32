//! When the addresses of this machine change.

use rtc_transport::{Interfaces, NetworkWatch};
use tokio::sync::mpsc;

use crate::report::Report;

/// Tells the driver when the addresses of the machine change, for as long as it lives.
pub(crate) async fn watch_network(interfaces: Interfaces, reports: mpsc::Sender<Report>) {
    let mut watch = NetworkWatch::of(interfaces, rtc_transport::runtime::tokio());
    loop {
        tokio::select! {
            () = watch.changed() => {}
            () = reports.closed() => return,
        }
        if reports.send(Report::NetworkChanged).await.is_err() {
            return;
        }
    }
}
