//! The one interceptor of a path: hands incoming voice and control words out, keeps the books and writes the RTCP
//! reports.
//!
//! It replaces the engine's report interceptors, whose jitter breaks where the RTP timestamp wraps and which tell
//! nobody what the other end reports. Incoming voice ends here: it reaches the application through the event queue,
//! with the instant it was read, instead of the engine's track, which loses it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rtc::interceptor::{AttributedPacket, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp::goodbye::Goodbye;
use rtc::rtcp::raw_packet::RawPacket;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::sender_report::SenderReport;
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use rtc::shared::error::Error;

use tokio::sync::Notify;

use crate::control;
use crate::event::{AudioLevel, EventQueue, IncomingVoice, PathEvent, lock};
use crate::recent::Recent;
use crate::stats::Accounts;
use crate::{AUDIO_LEVEL_URI, CLOCK_RATE};

/// Time between two reports; RFC 3550 section 6.2 would allow a voice session less than RFC 8834 section 4.1 does.
const INTERVAL: Duration = Duration::from_secs(1);
/// Time to the first one, which gives the first round trip time.
const FIRST: Duration = Duration::from_millis(200);
/// Seconds from 1900 (NTP) to 1970 (Unix).
const NTP_OFFSET: u64 = 2_208_988_800;

/// What the interceptor shares with the handle of its path.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) accounts: Mutex<Accounts>,
    pub(crate) events: Arc<EventQueue>,
    /// Id of the audio level extension on outgoing packets as negotiated; 0 while there is none.
    pub(crate) level_id: AtomicU8,
    /// Control words that are on their way to the socket, where no close can overtake them any more.
    pub(crate) controls_left: AtomicU64,
    pub(crate) control_left: Notify,
    /// The other end has said in a packet of its own that it closes.
    pub(crate) closed_by_other_end: AtomicBool,
    /// Told when the pair in use may be another or the path closed.
    pub(crate) changed: Arc<Notify>,
    /// The ICE user name fragment of this end as it was described last.
    local_fragment: Mutex<Option<String>>,
}

impl Shared {
    pub(crate) fn local_fragment(&self) -> Option<String> {
        lock(&self.local_fragment).clone()
    }

    pub(crate) fn set_local_fragment(&self, fragment: &str) {
        *lock(&self.local_fragment) = Some(fragment.to_owned());
    }
}

pub(crate) struct Reports {
    shared: Arc<Shared>,
    epoch: (Instant, Duration),
    incoming_level_id: u8,
    outgoing: Option<Outgoing>,
    /// For the remote sources heard last the middle of the last sender report's NTP time and when it came.
    heard: Recent<(u32, Instant)>,
    next: Option<Instant>,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

struct Outgoing {
    ssrc: u32,
    packets: u32,
    octets: u32,
    last: Option<(Instant, u32)>,
}

impl Reports {
    pub(crate) fn new(shared: Arc<Shared>, now: Instant) -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            shared,
            epoch: (now, wall),
            incoming_level_id: 0,
            outgoing: None,
            heard: Recent::default(),
            next: None,
            reads: VecDeque::new(),
            writes: VecDeque::new(),
        }
    }

    fn on_voice(&mut self, now: Instant, packet: rtc::rtp::Packet) {
        let header = packet.header;
        let new = lock(&self.shared.accounts).stream(header.ssrc, CLOCK_RATE).on_packet(
            now,
            header.sequence_number,
            header.timestamp,
            packet.payload.len(),
        );
        self.next.get_or_insert(now + FIRST);
        if !new || packet.payload.is_empty() {
            return;
        }
        let level = match self.incoming_level_id {
            0 => None,
            id => header.get_extension(id).and_then(|bytes| bytes.first().copied()),
        };
        self.shared.events.push(PathEvent::Voice(IncomingVoice {
            arrival: now,
            ssrc: header.ssrc,
            sequence: header.sequence_number,
            timestamp: header.timestamp,
            marker: header.marker,
            payload: packet.payload,
            level: level.map(|byte| AudioLevel { level: byte & 0x7F, voice_activity: byte & 0x80 != 0 }),
        }));
    }

    fn on_reports(&mut self, now: Instant, packets: &[Box<dyn rtc::rtcp::Packet>]) {
        for packet in packets {
            if let Some(report) = packet.as_any().downcast_ref::<SenderReport>() {
                let last = ((report.ntp_time >> 16) as u32, now);
                *self.heard.heard(report.ssrc, || last) = last;
                self.on_blocks(now, &report.reports);
            } else if let Some(report) = packet.as_any().downcast_ref::<ReceiverReport>() {
                self.on_blocks(now, &report.reports);
            } else if let Some(bye) = packet.as_any().downcast_ref::<Goodbye>() {
                bye.sources.iter().for_each(|ssrc| self.heard.forget(*ssrc));
                if control::is_last_bye(bye) {
                    self.on_closed();
                }
            } else if let Some(raw) = packet.as_any().downcast_ref() {
                if let Some(word) = control::word(raw) {
                    self.shared.events.push(PathEvent::Control(word));
                } else if control::is_closing(raw) {
                    self.on_closed();
                }
            }
        }
    }

    /// The other end has said, in a packet that only it can have sent, that it closes.
    fn on_closed(&self) {
        self.shared.closed_by_other_end.store(true, Ordering::Release);
        self.shared.changed.notify_one();
    }

    fn on_blocks(&mut self, now: Instant, blocks: &[ReceptionReport]) {
        let Some(outgoing) = &self.outgoing else { return };
        for block in blocks.iter().filter(|block| block.ssrc == outgoing.ssrc) {
            let jitter_ms = block.jitter as f32 * 1_000.0 / CLOCK_RATE as f32;
            lock(&self.shared.accounts).on_report(
                now,
                block.last_sender_report,
                block.delay,
                block.fraction_lost,
                jitter_ms,
            );
        }
    }

    fn on_sent(&mut self, now: Instant, packet: &rtc::rtp::Packet) {
        let Some(outgoing) = &mut self.outgoing else { return };
        if packet.header.ssrc == outgoing.ssrc {
            outgoing.packets = outgoing.packets.wrapping_add(1);
            outgoing.octets = outgoing.octets.wrapping_add(packet.payload.len() as u32);
            outgoing.last = Some((now, packet.header.timestamp));
            lock(&self.shared.accounts).on_sent(now, packet.payload.len());
            self.next.get_or_insert(now + FIRST);
        }
    }

    fn report(&mut self, now: Instant) {
        let mut accounts = lock(&self.shared.accounts);
        let blocks: Vec<ReceptionReport> = accounts
            .streams
            .iter_mut()
            .map(|(ssrc, stream)| {
                let block = stream.report();
                let heard = self.heard.get(ssrc);
                ReceptionReport {
                    ssrc,
                    fraction_lost: block.fraction_lost,
                    total_lost: block.total_lost,
                    last_sequence_number: block.highest,
                    jitter: block.jitter,
                    last_sender_report: heard.map_or(0, |(middle, _)| *middle),
                    delay: heard.map_or(0, |(_, at)| {
                        (now.saturating_duration_since(*at).as_secs_f64() * 65_536.0).round() as u32
                    }),
                }
            })
            .collect();
        let report: Box<dyn rtc::rtcp::Packet> = match &self.outgoing {
            Some(Outgoing { ssrc, packets, octets, last: Some((at, timestamp)) }) => {
                let ntp = ntp(self.epoch.1 + now.saturating_duration_since(self.epoch.0));
                accounts.on_report_sent(now, ntp);
                let since = now.saturating_duration_since(*at).as_secs_f64() * f64::from(CLOCK_RATE);
                Box::new(SenderReport {
                    ssrc: *ssrc,
                    ntp_time: ntp,
                    rtp_time: timestamp.wrapping_add(since as u32),
                    packet_count: *packets,
                    octet_count: *octets,
                    reports: blocks,
                    ..SenderReport::default()
                })
            }
            other => Box::new(ReceiverReport {
                ssrc: other.as_ref().map_or(1, |outgoing| outgoing.ssrc),
                reports: blocks,
                ..ReceiverReport::default()
            }),
        };
        self.writes.push_back(TaggedPacket {
            now,
            transport: TransportContext::default(),
            message: AttributedPacket::new(Packet::Rtcp(vec![report])),
        });
    }
}

fn ntp(wall: Duration) -> u64 {
    ((wall.as_secs() + NTP_OFFSET) << 32) | ((u64::from(wall.subsec_nanos()) << 32) / 1_000_000_000)
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Reports {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        match packet.message.packet {
            Packet::Rtp(voice) => self.on_voice(packet.now, voice),
            Packet::Rtcp(reports) => self.on_reports(packet.now, &reports),
            _ => self.reads.push_back(packet),
        }
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtp(voice) = &packet.message.packet {
            self.on_sent(packet.now, voice);
        }
        self.writes.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        let next = self.writes.pop_front()?;
        if let Packet::Rtcp(packets) = &next.message.packet {
            // One word to a packet; what else is in it goes with it.
            if packets.iter().any(|packet| packet.as_any().is::<RawPacket>()) {
                self.shared.controls_left.fetch_add(1, Ordering::Release);
                self.shared.control_left.notify_waiters();
            }
        }
        Some(next)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if self.next.is_some_and(|next| now >= next) {
            self.next = Some(now + INTERVAL);
            self.report(now);
        }
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.next
    }
}

fn level_id(info: &StreamInfo) -> u8 {
    let extension = info.rtp_header_extensions.iter().find(|extension| extension.uri == AUDIO_LEVEL_URI);
    extension.map_or(0, |extension| extension.id as u8)
}

impl Interceptor for Reports {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        self.shared.level_id.store(level_id(info), Ordering::Relaxed);
        if self.outgoing.as_ref().is_none_or(|outgoing| outgoing.ssrc != info.ssrc) {
            self.outgoing = Some(Outgoing { ssrc: info.ssrc, packets: 0, octets: 0, last: None });
        }
    }

    fn unbind_local_stream(&mut self, _: &StreamInfo) {}

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        self.incoming_level_id = level_id(info);
    }

    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}
