//! A path with an end of another kind: the engine by itself, set up as its documentation does it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use async_trait::async_trait;
use rtc::interceptor::{Interceptor, Packet, Registry, Slot, StreamInfo, TaggedPacket};
use rtc::media_stream::MediaStreamTrack;
use rtc::rtcp::goodbye::Goodbye;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use rtc::sansio::Protocol;
use rtc_transport::simulated::{Host, Link, Network, pass, run};
use rtc_transport::{Candidate, PathEvent, PathState};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceCandidateInit,
    RTCPeerConnectionIceEvent, RTCSessionDescription, SettingEngineBuilder,
};
use world::{End, ms};

const SSRC: u32 = 9;

/// Keeps the BYEs that come.
#[derive(Default)]
struct Listening {
    byes: Arc<Mutex<Vec<Goodbye>>>,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Listening {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = rtc::shared::error::Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Self::Error> {
        if let Packet::Rtcp(packets) = &packet.message.packet {
            let byes = packets.iter().filter_map(|packet| packet.as_any().downcast_ref::<Goodbye>().cloned());
            self.byes.lock().unwrap().extend(byes);
        }
        self.reads.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Self::Error> {
        self.writes.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }

    fn handle_timeout(&mut self, _: Instant) -> Result<(), Self::Error> {
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        None
    }
}

impl Interceptor for Listening {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}

#[derive(Default)]
struct Candidates(Mutex<Vec<RTCIceCandidateInit>>);

#[async_trait]
impl PeerConnectionEventHandler for Candidates {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        self.0.lock().unwrap().push(event.candidate.to_json().unwrap());
    }
}

struct Other {
    connection: Arc<dyn PeerConnection>,
    track: Arc<TrackLocalStaticRTP>,
    candidates: Arc<Candidates>,
    byes: Arc<Mutex<Vec<Goodbye>>>,
}

impl Other {
    async fn open(host: &Arc<Host>) -> Other {
        let codec =
            RTCRtpCodec { mime_type: "audio/opus".to_owned(), clock_rate: 48_000, channels: 2, ..Default::default() };
        let mut media = MediaEngine::default();
        let parameters = RTCRtpCodecParameters { rtp_codec: codec.clone(), payload_type: 111 };
        media.register_codec(parameters, RtpCodecKind::Audio).unwrap();
        let settings =
            SettingEngineBuilder::new().with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled).build();
        let (candidates, listening) = (Arc::new(Candidates::default()), Listening::default());
        let byes = listening.byes.clone();
        let connection = PeerConnectionBuilder::new()
            .with_media_engine(media)
            .with_setting_engine(settings)
            .with_interceptor_registry(Registry::new().with(Slot::ReceiverReport, listening))
            .with_runtime(host.clone())
            .with_handler(candidates.clone())
            .with_udp_addrs(vec![format!("{}:0", host.address())])
            .build()
            .await
            .unwrap();
        let encoding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(SSRC), ..Default::default() },
            codec,
            ..Default::default()
        };
        let named = |name: &str| name.to_owned();
        let track = MediaStreamTrack::new(named("s"), named("t"), named("l"), RtpCodecKind::Audio, vec![encoding]);
        let track = Arc::new(TrackLocalStaticRTP::new(track));
        connection.add_track(track.clone()).await.unwrap();
        Other { connection: Arc::new(connection), track, candidates, byes }
    }

    /// Takes the call of a path.
    async fn connect(&self, path: &mut End) {
        let offer = RTCSessionDescription::offer(path.path.create_offer().await.unwrap()).unwrap();
        self.connection.set_remote_description(offer).await.unwrap();
        let answer = self.connection.create_answer(None).await.unwrap();
        self.connection.set_local_description(answer.clone()).await.unwrap();
        path.path.accept_answer(&answer.sdp).await.unwrap();
        pass(ms(50)).await;
        let told = std::mem::take(&mut *self.candidates.0.lock().unwrap());
        for init in told {
            let candidate = Candidate { candidate: init.candidate, ..Candidate::default() };
            path.path.add_candidate(candidate).await.unwrap();
        }
        loop {
            match path.events.recv().await.unwrap() {
                PathEvent::LocalCandidate(candidate) => {
                    let init = RTCIceCandidateInit { candidate: candidate.candidate, ..Default::default() };
                    self.connection.add_ice_candidate(init).await.unwrap();
                }
                PathEvent::StateChanged(PathState::Connected) => break,
                _ => {}
            }
        }
        pass(ms(1_000)).await;
    }

    async fn says_bye(&self, reason: &'static str) {
        let report = ReceiverReport { ssrc: SSRC, ..ReceiverReport::default() };
        let bye = Goodbye { sources: vec![SSRC], reason: reason.into() };
        self.track.write_rtcp(vec![Box::new(report), Box::new(bye)]).await.unwrap();
    }
}

#[test]
fn an_end_of_another_kind_hears_bye_and_says_it() {
    run(async {
        let network = Network::new(1);
        let (alice, bob) = (network.host(), network.host());
        network.connect(&alice, &bob, Link::delayed(ms(20)));
        for path_closes in [true, false] {
            let (mut path, other) = (End::open(alice.path_config()).await, Other::open(&bob).await);
            other.connect(&mut path).await;
            path.heard();
            if path_closes {
                assert_eq!(other.byes.lock().unwrap().len(), 0);
                path.path.close().await;
                pass(ms(25)).await;
                let byes = other.byes.lock().unwrap();
                assert_eq!((byes.len(), byes[0].sources.len(), &byes[0].reason[..]), (1, 1, &b"path closed"[..]));
            } else {
                // Without the reason it is but a source that has ended, as on hold.
                other.says_bye("").await;
                pass(ms(1_000)).await;
                assert_eq!(path.heard().0, []);
                other.says_bye("path closed").await;
                pass(ms(30)).await;
                assert_eq!(path.heard().0, [PathState::Closed]);
            }
            other.connection.close().await.unwrap();
        }
    });
}
