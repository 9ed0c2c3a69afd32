//! Which way media takes, how it is encrypted and whether the other end closed it, read from the engine when the path
//! changes: the engine has no event for any of them.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use rtc::peer_connection::transport::RTCDtlsTransportState;
use tokio::sync::Notify;
use webrtc::peer_connection::{PeerConnection, RTCIceCandidateType, RTCIceProtocol, StatsSelector};
use webrtc::rtp_transceiver::RtpSender;

use crate::event::{PathEvent, PathState, lock};
use crate::reports::Shared;
use crate::runtime::Runtime;
use crate::seam::Seam;
use crate::stats::{CandidateKind, Protocol, SelectedPair};
use crate::voice::Outbox;

/// Reads the selected pair and the ciphers each time `changed` tells, until the path is gone.
pub(crate) async fn follow(
    connection: Weak<dyn PeerConnection>,
    sender: Arc<dyn RtpSender>,
    shared: Arc<Shared>,
    outbox: Arc<Outbox>,
    seam: Arc<Seam>,
    changed: Arc<Notify>,
    runtime: Arc<dyn Runtime>,
) {
    loop {
        changed.notified().await;
        if connection.strong_count() == 0 {
            return;
        }
        let (selected, addresses) = selected_pair(&*sender).await.unzip();
        seam.on_selected(addresses.flatten());
        {
            let mut accounts = lock(&shared.accounts);
            accounts.selected = selected.or(accounts.selected);
        }
        if shared.closed_by_other_end.load(Ordering::Acquire) || closed_by_other_end(&*sender, &*runtime).await {
            outbox.set_open(false);
            shared.events.push(PathEvent::StateChanged(PathState::Closed));
            return;
        }
        let Some(connection) = connection.upgrade() else { return };
        let report = connection.get_stats(runtime.now(), StatsSelector::None).await;
        let mut accounts = lock(&shared.accounts);
        if let Some(transport) = report.transport() {
            let named = |name: &String| Some(name.clone()).filter(|name| !name.is_empty());
            accounts.dtls_cipher = named(&transport.dtls_cipher);
            accounts.srtp_cipher = named(&transport.srtp_cipher);
        }
    }
}

/// Whether the other end's notice has closed the encryption; asked twice, for the notice is on its way to the engine
/// when it is seen.
async fn closed_by_other_end(sender: &dyn RtpSender, runtime: &dyn Runtime) -> bool {
    for _ in 0..2 {
        runtime.sleep(Duration::from_millis(2)).await;
        if let Ok(Some(dtls)) = sender.transport().await
            && dtls.state().await.is_ok_and(|state| state == RTCDtlsTransportState::Closed)
        {
            return true;
        }
    }
    false
}

/// The pair in use, and its addresses if datagrams of this end's own sockets take it.
async fn selected_pair(sender: &dyn RtpSender) -> Option<(SelectedPair, Option<(SocketAddr, SocketAddr)>)> {
    let dtls = sender.transport().await.ok()??;
    let pair = dtls.ice_transport().get_selected_candidate_pair().await.ok()??;
    let (local, remote) = (pair.local(), pair.remote());
    let selected = SelectedPair {
        local: kind(local.typ)?,
        remote: kind(remote.typ)?,
        protocol: match local.protocol {
            RTCIceProtocol::Tcp => Protocol::Tcp,
            _ => Protocol::Udp,
        },
    };
    let address = |ip: &str, port: u16| Some(SocketAddr::new(ip.parse::<IpAddr>().ok()?, port));
    let base = match selected.local {
        CandidateKind::Host => address(&local.address, local.port),
        CandidateKind::ServerReflexive | CandidateKind::PeerReflexive => {
            address(&local.related_address, local.related_port)
        }
        CandidateKind::Relay => None,
    };
    Some((selected, base.zip(address(&remote.address, remote.port))))
}

fn kind(kind: RTCIceCandidateType) -> Option<CandidateKind> {
    match kind {
        RTCIceCandidateType::Host => Some(CandidateKind::Host),
        RTCIceCandidateType::Srflx => Some(CandidateKind::ServerReflexive),
        RTCIceCandidateType::Prflx => Some(CandidateKind::PeerReflexive),
        RTCIceCandidateType::Relay => Some(CandidateKind::Relay),
        _ => None,
    }
}
