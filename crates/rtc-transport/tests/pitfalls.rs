//! What the engine does that this crate leans on or works around, as found in webrtc and rtc 0.21.1. A test here fails
//! when a new version behaves differently: then the work-around it names may go.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rtc::interceptor::{
    AttributedPacket, BandwidthEstimator, Gcc, Interceptor, NackGeneratorBuilder, Packet, PacketReport, RTCPFeedback,
    Registry, Slot, StreamInfo, TaggedPacket,
};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::interceptor_registry::register_default_interceptors;
use rtc::rtcp::transport_feedbacks::cc_feedback_report::Ecn;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use rtc_transport::simulated::{Host, Link, Network, pass, run};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceCandidateInit,
    RTCPeerConnectionIceEvent, RTCPeerConnectionState, RTCStatsReportEntry, SettingEngineBuilder, StatsSelector,
};
use world::ms;

fn rtp(ssrc: u32, payload_type: u8, sequence: u16, payload: &[u8], now: Instant) -> TaggedPacket {
    let header = rtc::rtp::Header {
        version: 2,
        ssrc,
        payload_type,
        sequence_number: sequence,
        timestamp: u32::from(sequence) * 3_000,
        ..rtc::rtp::Header::default()
    };
    let packet = rtc::rtp::Packet { header, payload: payload.to_vec().into() };
    TaggedPacket { now, transport: TransportContext::default(), message: AttributedPacket::new(Packet::Rtp(packet)) }
}

/// The (source, sequence number) pairs asked for again at `now`.
fn asked_for(chain: &mut impl Interceptor, now: Instant) -> HashSet<(u32, u16)> {
    while chain.poll_read().is_some() {}
    chain.handle_timeout(now).unwrap();
    let mut asked = HashSet::new();
    while let Some(packet) = chain.poll_write() {
        let Packet::Rtcp(packets) = packet.message.packet else { continue };
        for nack in packets.iter().filter_map(|packet| packet.as_any().downcast_ref::<TransportLayerNack>()) {
            let numbers = nack.nacks.iter().flat_map(|pair| pair.packet_list());
            asked.extend(numbers.map(|number| (nack.media_ssrc, number)));
        }
    }
    asked
}

/// P1: voice does not use retransmission; video needs an interceptor of ours before the generator.
#[test]
fn p1_a_packet_recovered_by_rtx_is_asked_for_again_and_so_are_lost_retransmissions() {
    const MEDIA: u32 = 1;
    const RTX: u32 = 2;
    let nack = RTCPFeedback { typ: "nack".to_owned(), parameter: String::new() };
    let info = |ssrc, payload_type| StreamInfo {
        ssrc,
        payload_type,
        ssrc_rtx: Some(RTX),
        payload_type_rtx: Some(97),
        mime_type: "video/H264".to_owned(),
        clock_rate: 90_000,
        rtcp_feedback: vec![nack.clone()],
        ..StreamInfo::default()
    };
    let mut chain = Registry::new().with(Slot::NackGenerator, NackGeneratorBuilder::new().build()).build();
    chain.bind_remote_stream(&info(MEDIA, 96));
    // The engine binds the retransmission source with the feedback of the primary one.
    chain.bind_remote_stream(&info(RTX, 97));
    let start = Instant::now();
    for sequence in [0, 1, 3] {
        chain.handle_read(rtp(MEDIA, 96, sequence, b"x", start)).unwrap();
    }
    assert_eq!(asked_for(&mut chain, start + ms(150)), HashSet::from([(MEDIA, 2)]));
    // It comes (original sequence number first, RFC 4588), and so does a retransmission with a gap before it.
    chain.handle_read(rtp(RTX, 97, 10, &[0, 2, b'x'], start + ms(160))).unwrap();
    chain.handle_read(rtp(RTX, 97, 12, &[0, 2, b'x'], start + ms(160))).unwrap();
    assert_eq!(asked_for(&mut chain, start + ms(300)), HashSet::from([(MEDIA, 2), (RTX, 11)]));
}

/// P2: nothing here follows its estimate.
#[test]
fn p2_the_bandwidth_estimate_of_a_sender_that_needs_little_drifts_to_the_top() {
    let mut gcc = Gcc::new(300_000.0, 30_000.0, 50_000_000.0);
    let start = Instant::now();
    // 240 kbit/s of 300 byte packets, 10 ms apart, over a path that delays each by 50 ms and shows nothing of what it could carry.
    for batch in 0..900u64 {
        let reports: Vec<PacketReport> = (0..10)
            .map(|n| {
                let id = batch * 10 + n;
                PacketReport {
                    ssrc: 1,
                    id,
                    rtp_sequence_number: id as u16,
                    is_twcc: true,
                    twcc_sequence_number: id as u16,
                    size: 300,
                    arrived: true,
                    departure: start + ms(10 * id),
                    arrival: Some(ms(10 * id + 50)),
                    ecn: Ecn::default(),
                }
            })
            .collect();
        gcc.on_reports(start + ms(100 * batch + 200), &reports);
    }
    let estimate = gcc.target_bitrate();
    assert!(estimate > 10.0 * 240_000.0, "after 90 s: {estimate}");
}

/// P3: the path registers its own interceptor and nothing else.
#[test]
fn p3_the_default_chain_reports_and_repeats_but_neither_paces_nor_estimates_nor_reorders() {
    let registry = register_default_interceptors(Registry::new(), &mut MediaEngine::default()).unwrap();
    let slots: Vec<Slot> = registry.slots().into_iter().map(|(slot, _)| slot).collect();
    let expected =
        [Slot::NackResponder, Slot::NackGenerator, Slot::TwccReceiver, Slot::ReceiverReport, Slot::SenderReport];
    assert_eq!(slots, expected);
}

struct Engine {
    connection: Arc<dyn PeerConnection>,
    track: Arc<TrackLocalStaticRTP>,
    heard: Arc<Heard>,
}

#[derive(Default)]
struct Heard {
    candidates: Mutex<Vec<RTCIceCandidateInit>>,
    states: Mutex<Vec<RTCPeerConnectionState>>,
}

struct Handler(Arc<Heard>);

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        self.0.candidates.lock().unwrap().push(event.candidate.to_json().unwrap());
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.0.states.lock().unwrap().push(state);
    }
}

fn opus() -> RTCRtpCodec {
    RTCRtpCodec { mime_type: "audio/opus".to_owned(), clock_rate: 48_000, channels: 2, ..RTCRtpCodec::default() }
}

/// The engine as its documentation sets it up, on a host of the simulated network.
async fn engine(host: &Arc<Host>, ssrc: u32, settings: SettingEngineBuilder) -> Engine {
    let mut media = MediaEngine::default();
    let parameters = RTCRtpCodecParameters { rtp_codec: opus(), payload_type: 111 };
    media.register_codec(parameters, RtpCodecKind::Audio).unwrap();
    let registry = register_default_interceptors(Registry::new(), &mut media).unwrap();
    let heard = Arc::new(Heard::default());
    let connection = PeerConnectionBuilder::new()
        .with_media_engine(media)
        .with_setting_engine(settings.build())
        .with_interceptor_registry(registry)
        .with_runtime(host.clone())
        .with_handler(Arc::new(Handler(heard.clone())))
        .with_udp_addrs(vec![format!("{}:0", host.address())])
        .build()
        .await
        .unwrap();
    let encoding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() },
        codec: opus(),
        ..Default::default()
    };
    let named = |name: &str| name.to_owned();
    let track = MediaStreamTrack::new(named("s"), named("t"), named("l"), RtpCodecKind::Audio, vec![encoding]);
    let track = Arc::new(TrackLocalStaticRTP::new(track));
    connection.add_track(track.clone()).await.unwrap();
    Engine { connection: Arc::new(connection), track, heard }
}

fn quiet() -> SettingEngineBuilder {
    SettingEngineBuilder::new().with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled)
}

async fn connected_engines(link: Link) -> (Network, Engine, Engine) {
    let network = Network::new(1);
    let (alice, bob) = (network.host(), network.host());
    network.connect(&alice, &bob, link);
    let (caller, callee) = (engine(&alice, 1, quiet()).await, engine(&bob, 2, quiet()).await);
    let offer = caller.connection.create_offer(None).await.unwrap();
    caller.connection.set_local_description(offer.clone()).await.unwrap();
    callee.connection.set_remote_description(offer).await.unwrap();
    let answer = callee.connection.create_answer(None).await.unwrap();
    callee.connection.set_local_description(answer.clone()).await.unwrap();
    caller.connection.set_remote_description(answer).await.unwrap();
    pass(ms(50)).await;
    for (from, to) in [(&caller, &callee), (&callee, &caller)] {
        let candidates = std::mem::take(&mut *from.heard.candidates.lock().unwrap());
        for candidate in candidates {
            to.connection.add_ice_candidate(candidate).await.unwrap();
        }
    }
    pass(ms(3_000)).await;
    for end in [&caller, &callee] {
        assert_eq!(end.heard.states.lock().unwrap().last(), Some(&RTCPeerConnectionState::Connected));
    }
    (network, caller, callee)
}

/// P4: round trip time, jitter and loss are computed here.
#[test]
fn p4_the_engines_statistics_have_no_round_trip_time_and_jitter_in_rtp_units() {
    run(async {
        let link = Link { jitter: ms(12), ..Link::delayed(ms(50)) };
        let (_network, caller, callee) = connected_engines(link).await;
        for n in 0..500u32 {
            let header = rtc::rtp::Header {
                version: 2,
                payload_type: 111,
                sequence_number: n as u16,
                timestamp: n * 960,
                ssrc: 1,
                ..rtc::rtp::Header::default()
            };
            let packet = rtc::rtp::Packet { header, payload: vec![0; 60].into() };
            caller.track.write_rtp(packet).await.unwrap();
            pass(ms(20)).await;
        }
        let now = tokio::time::Instant::now().into_std();
        let report = caller.connection.get_stats(now, StatsSelector::None).await;
        let remote = report.iter().find_map(|entry| match entry {
            RTCStatsReportEntry::RemoteInboundRtp(remote) => Some(remote),
            _ => None,
        });
        assert_eq!(remote.expect("the other end reports each second").round_trip_time, 0.0, "100 ms in truth");
        let report = callee.connection.get_stats(now, StatsSelector::None).await;
        let jitter = report.inbound_rtp_streams().next().unwrap().received_rtp_stream_stats.jitter;
        assert!(jitter > 10.0, "seconds by its documentation, some 4 ms in truth: {jitter}");
    });
}

/// P5: a path switches mDNS off.
#[test]
fn p5_mdns_is_on_by_default_and_opens_a_multicast_socket_for_each_connection() {
    run(async {
        let sockets = async |settings: SettingEngineBuilder| {
            let network = Network::new(1);
            let engine = engine(&network.host(), 1, settings).await;
            let open = network.open_sockets();
            engine.connection.close().await.unwrap();
            open
        };
        assert_eq!(sockets(quiet()).await, 1);
        assert_eq!(sockets(SettingEngineBuilder::new()).await, 2);
    });
}

/// A path asks the DTLS state when an alert goes by, because nothing tells it.
#[test]
fn the_other_ends_close_is_no_event_but_silence() {
    run(async {
        let (_network, caller, callee) = connected_engines(Link::delayed(ms(20))).await;
        caller.connection.close().await.unwrap();
        pass(ms(1_000)).await;
        assert_eq!(callee.heard.states.lock().unwrap().last(), Some(&RTCPeerConnectionState::Connected));
        pass(ms(6_000)).await;
        assert_eq!(callee.heard.states.lock().unwrap().last(), Some(&RTCPeerConnectionState::Disconnected));
    });
}

/// A path has its engine on a reactor of its own, which is one task of the injected runtime.
#[test]
fn an_engine_dropped_without_close_goes_on_for_ever() {
    run(async {
        let network = Network::new(1);
        drop(engine(&network.host(), 1, quiet()).await);
        pass(Duration::from_secs(3_600)).await;
        assert_eq!((network.open_sockets(), network.running_tasks()), (1, 1));
    });
}
