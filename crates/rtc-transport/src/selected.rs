//! Which way media takes and how it is encrypted, read from the engine when the path changes.

use std::sync::{Arc, Weak};

use tokio::sync::Notify;
use webrtc::peer_connection::{PeerConnection, RTCIceCandidateType, RTCIceProtocol, StatsSelector};
use webrtc::rtp_transceiver::RtpSender;

use crate::event::lock;
use crate::reports::Shared;
use crate::runtime::Runtime;
use crate::stats::{CandidateKind, Protocol, SelectedPair};

/// Reads the selected pair and the ciphers each time `changed` tells, until the path is gone.
pub(crate) async fn follow(
    connection: Weak<dyn PeerConnection>,
    sender: Arc<dyn RtpSender>,
    shared: Arc<Shared>,
    changed: Arc<Notify>,
    runtime: Arc<dyn Runtime>,
) {
    loop {
        changed.notified().await;
        let Some(connection) = connection.upgrade() else { return };
        let selected = selected_pair(&*sender).await;
        let report = connection.get_stats(runtime.now(), StatsSelector::None).await;
        let mut accounts = lock(&shared.accounts);
        accounts.selected = selected.or(accounts.selected);
        if let Some(transport) = report.transport() {
            let named = |name: &String| Some(name.clone()).filter(|name| !name.is_empty());
            accounts.dtls_cipher = named(&transport.dtls_cipher);
            accounts.srtp_cipher = named(&transport.srtp_cipher);
        }
    }
}

async fn selected_pair(sender: &dyn RtpSender) -> Option<SelectedPair> {
    let dtls = sender.transport().await.ok()??;
    let pair = dtls.ice_transport().get_selected_candidate_pair().await.ok()??;
    Some(SelectedPair {
        local: kind(pair.local().typ)?,
        remote: kind(pair.remote().typ)?,
        protocol: match pair.local().protocol {
            RTCIceProtocol::Tcp => Protocol::Tcp,
            _ => Protocol::Udp,
        },
    })
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
