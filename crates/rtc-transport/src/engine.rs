//! How the engine is set up for a voice path, and its events translated.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use rtc::interceptor::{Registry, Slot};
use rtc::media_stream::MediaStreamTrack;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use tokio::sync::Notify;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceGatheringState, RTCIceServer, RTCIceTransportPolicy, RTCPeerConnectionIceEvent, RTCPeerConnectionState,
    SettingEngine, SettingEngineBuilder, SrtpProtectionProfile,
};

use crate::addresses::{BindAddresses, can_be_bound};
use crate::config::{IcePolicy, PathConfig};
use crate::error::OpenError;
use crate::event::{Candidate, PathEvent, PathState};
use crate::reports::{Reports, Shared};
use crate::runtime::Runtime;
use crate::seam::{Authentic, Seam};
use crate::shown::Shown;
use crate::voice::Outbox;
use crate::{AUDIO_LEVEL_URI, CLOCK_RATE};

/// The payload type offered for Opus; an answer takes the one it is offered.
pub(crate) const OPUS_PAYLOAD_TYPE: u8 = 111;

fn failed(error: impl std::fmt::Display) -> OpenError {
    OpenError::Engine(error.to_string())
}

fn opus() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: "audio/opus".to_owned(),
        clock_rate: CLOCK_RATE,
        channels: 2,
        sdp_fmtp_line: "minptime=10;useinbandfec=1".to_owned(),
        rtcp_feedback: vec![],
    }
}

fn media_engine() -> Result<MediaEngine, OpenError> {
    let mut media = MediaEngine::default();
    let parameters = RTCRtpCodecParameters { rtp_codec: opus(), payload_type: OPUS_PAYLOAD_TYPE };
    media.register_codec(parameters, RtpCodecKind::Audio).map_err(failed)?;
    let level = RTCRtpHeaderExtensionCapability { uri: AUDIO_LEVEL_URI.to_owned() };
    media.register_header_extension(level, RtpCodecKind::Audio, None).map_err(failed)?;
    Ok(media)
}

fn settings(config: &PathConfig, seam: &Seam, addresses: usize) -> Result<SettingEngine, OpenError> {
    // A look goes over all pairs and all questions of the last seconds, and must be over long before the next.
    const MANY: usize = 3;
    const WITH_MANY: Duration = Duration::from_millis(50);
    // The agent gives a pair up after this many looks. Its count cannot be tied to what reached the wire, so it is
    // set beyond any connection attempt: `failed_after` ends an attempt, nothing else.
    const LOOKS: u16 = u16::MAX - 1;
    // Checks of direct pairs are paced at the socket, those through a relay only by this (Ta of RFC 8445 section 14.2).
    let (check_interval, relay_wait) = match config.policy {
        IcePolicy::All if addresses < MANY => (config.swiftness.check_interval, Duration::from_millis(200)),
        IcePolicy::All => (config.swiftness.check_interval.max(WITH_MANY), Duration::from_millis(200)),
        IcePolicy::RelayOnly => (config.swiftness.check_interval.max(WITH_MANY), Duration::ZERO),
    };
    let mut settings = SettingEngineBuilder::new()
        .with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled)
        .with_ice_timeouts(Some(config.disconnected_after), Some(config.failed_after), Some(config.keepalive))
        .with_ice_connection_attempts(Some(check_interval), Some(LOOKS))
        .with_srtp_protection_profiles(vec![
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
            SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
        ])
        .with_discard_local_candidates_during_ice_restart(true)
        // A pair that works is taken: waiting for a better kind (the engine waits up to 1 s) would delay every call
        // through a NAT, and media follows a better pair at the next restart.
        .with_host_acceptance_min_wait(Some(Duration::ZERO))
        .with_srflx_acceptance_min_wait(Some(Duration::ZERO))
        .with_prflx_acceptance_min_wait(Some(Duration::ZERO))
        .with_relay_acceptance_min_wait(Some(relay_wait));
    if let Some(provider) = seam.crypto_provider() {
        settings = settings.with_crypto_provider(provider);
    }
    Ok(settings.build())
}

/// A voice track with a source of its own.
pub(crate) fn voice_track(ssrc: u32) -> Arc<TrackLocalStaticRTP> {
    let encoding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), ..RTCRtpCodingParameters::default() },
        codec: opus(),
        ..RTCRtpEncodingParameters::default()
    };
    let named = |name: &str| name.to_owned();
    let track =
        MediaStreamTrack::new(named("call"), named("voice"), named("voice"), RtpCodecKind::Audio, vec![encoding]);
    Arc::new(TrackLocalStaticRTP::new(track))
}

/// Builds the engine's connection on `runtime`, which is the seam's.
pub(crate) async fn build(
    config: &PathConfig,
    servers: Vec<RTCIceServer>,
    runtime: Arc<dyn Runtime>,
    seam: &Seam,
    shared: &Arc<Shared>,
    handler: Handler,
) -> Result<Box<dyn PeerConnection>, OpenError> {
    let addresses = config.interfaces.addresses().map_err(failed)?;
    if addresses.is_empty() {
        return Err(OpenError::NoAddress);
    }
    if !addresses.iter().copied().any(can_be_bound) {
        return Err(failed("none of the local addresses can be bound"));
    }
    // By address, since their names are resolved: `stun:address:port`.
    let address = |url: &String| url.split_once(':')?.1.parse().ok().map(|server: SocketAddr| server.ip());
    let bind = BindAddresses {
        interfaces: config.interfaces.clone(),
        shown: handler.shown.clone(),
        servers: servers.iter().flat_map(|server| &server.urls).filter_map(address).collect(),
    };
    let policy = match config.policy {
        IcePolicy::All => RTCIceTransportPolicy::All,
        IcePolicy::RelayOnly => RTCIceTransportPolicy::Relay,
    };
    let configuration =
        RTCConfigurationBuilder::new().with_ice_servers(servers).with_ice_transport_policy(policy).build();
    let interceptors = Registry::new()
        .with(Authentic::slot(), Authentic::new(handler.seam.clone()))
        .with(Slot::ReceiverReport, Reports::new(shared.clone(), runtime.now()));
    let connection = PeerConnectionBuilder::new()
        .with_configuration(configuration)
        .with_media_engine(media_engine()?)
        .with_setting_engine(settings(config, seam, addresses.len())?)
        .with_interceptor_registry(interceptors)
        .with_runtime(runtime)
        .with_udp_addrs(vec![bind])
        .with_handler(Arc::new(handler))
        // Only an engine on a reactor of its own ends when its handle is dropped. The runtime the seam gives it puts
        // that reactor where every other task is.
        .with_dedicated_reactor_pool_size(1)
        .build()
        .await
        .map_err(failed)?;
    Ok(Box::new(connection))
}

/// Hears the engine. It is awaited by the task that also drives ICE and DTLS, so it only queues.
pub(crate) struct Handler {
    pub(crate) shared: Arc<Shared>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) seam: Arc<Seam>,
    pub(crate) changed: Arc<Notify>,
    pub(crate) policy: IcePolicy,
    pub(crate) shown: Arc<Shown>,
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        match event.candidate.to_json() {
            Ok(init) if !init.candidate.is_empty() => {
                let Some(candidate) = self.policy.said_of_candidate(&init.candidate) else { return };
                let candidate = Candidate {
                    candidate,
                    sdp_mid: init.sdp_mid.filter(|mid| !mid.is_empty()).or_else(|| Some("0".to_owned())),
                    sdp_mline_index: init.sdp_mline_index.or(Some(0)),
                    // Tells the other end to which of its descriptions the candidate belongs.
                    username_fragment: self.shared.local_fragment(),
                };
                if let Some(candidate) = self.shown.pass(candidate) {
                    self.shared.events.push(PathEvent::LocalCandidate(candidate));
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "a local candidate cannot be written"),
        }
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.shared.events.push(PathEvent::GatheringComplete);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        let state = match state {
            RTCPeerConnectionState::New => PathState::New,
            RTCPeerConnectionState::Connecting => PathState::Connecting,
            RTCPeerConnectionState::Connected => PathState::Connected,
            RTCPeerConnectionState::Disconnected => PathState::Disconnected,
            RTCPeerConnectionState::Failed => PathState::Failed,
            RTCPeerConnectionState::Closed => PathState::Closed,
            _ => return,
        };
        tracing::debug!(?state, "path");
        match state {
            PathState::Connected => {
                self.seam.on_connected();
                self.outbox.set_open(true);
                self.changed.notify_one();
            }
            PathState::Failed | PathState::Closed => self.outbox.set_open(false),
            PathState::New | PathState::Connecting | PathState::Disconnected => {}
        }
        self.shared.events.push(PathEvent::StateChanged(state));
    }
}

/// The id negotiated for the audio level, if any.
pub(crate) fn negotiated_level_id(shared: &Shared) -> Option<u8> {
    Some(shared.level_id.load(Ordering::Relaxed)).filter(|id| *id != 0)
}
