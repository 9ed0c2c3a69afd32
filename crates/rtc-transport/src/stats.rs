//! The figures of a path, all on the clock of its runtime and all computed here: the engine's own leave round trip
//! time at zero and give jitter in RTP units.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::recent::Recent;
use crate::reception::Reception;

/// The figures of a path at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PathStats {
    /// Round trip time in ms: from receiver reports (RFC 3550 section 6.4.1), before the first one from ICE checks.
    pub rtt_ms: Option<f32>,
    /// What this end sent.
    pub outgoing: OutgoingStats,
    /// What this end received.
    pub incoming: IncomingStats,
    /// The way in use.
    pub selected: Option<SelectedPair>,
    /// DTLS cipher suite, by its IANA name.
    pub dtls_cipher: Option<String>,
    /// SRTP protection profile, by its IANA name.
    pub srtp_cipher: Option<String>,
    /// Packets given to `send_voice` that were dropped because the queue was full.
    pub dropped_outgoing: u64,
    /// Voice packets dropped because the application did not read its events.
    pub dropped_incoming: u64,
}

/// What was sent, and what the other end says of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OutgoingStats {
    /// RTP packets.
    pub packets: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Payload bits a second over the last seconds.
    pub bitrate: u32,
    /// The part lost since the report before, 0 to 1, as the other end reported last.
    pub remote_lost_fraction: Option<f32>,
    /// Interarrival jitter in ms as the other end reported last.
    pub remote_jitter_ms: Option<f32>,
}

/// What was received.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct IncomingStats {
    /// RTP packets, repeated ones counted once.
    pub packets: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Payload bits a second over the last seconds.
    pub bitrate: u32,
    /// Packets that never came, since the start.
    pub lost: u64,
    /// The part lost over the last five seconds, 0 to 1.
    pub loss_fraction: f32,
    /// Interarrival jitter in ms (RFC 3550 appendix A.8).
    pub jitter_ms: f32,
}

/// The candidate pair media takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectedPair {
    /// Kind of the local end.
    pub local: CandidateKind,
    /// Kind of the remote end.
    pub remote: CandidateKind,
    /// Transport protocol.
    pub protocol: Protocol,
}

/// How a candidate was found (RFC 8445 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CandidateKind {
    /// An address of the machine itself.
    Host,
    /// The address a STUN server saw.
    ServerReflexive,
    /// An address learned from the other end's checks.
    PeerReflexive,
    /// An address on a relay.
    Relay,
}

/// Transport protocol of a candidate pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// UDP.
    Udp,
    /// TCP (RFC 6544).
    Tcp,
}

/// The books behind [`PathStats`].
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    pub(crate) sent_packets: u64,
    pub(crate) sent_bytes: u64,
    sent_recently: VecDeque<(Instant, usize)>,
    /// The incoming streams by source; one voice has one, an ICE restart keeps it.
    pub(crate) streams: Recent<Reception>,
    /// Sender reports on their way: middle 32 bits of their NTP time, and when they left.
    reports_sent: VecDeque<(u32, Instant)>,
    pub(crate) report_rtt: Option<Duration>,
    pub(crate) check_rtt: Option<Duration>,
    pub(crate) remote_lost_fraction: Option<f32>,
    pub(crate) remote_jitter_ms: Option<f32>,
    pub(crate) selected: Option<SelectedPair>,
    pub(crate) dtls_cipher: Option<String>,
    pub(crate) srtp_cipher: Option<String>,
}

/// Sender reports remembered for the round trip time: half a minute of them.
const REPORTS_KEPT: usize = 30;

impl Accounts {
    pub(crate) fn on_sent(&mut self, now: Instant, bytes: usize) {
        self.sent_packets += 1;
        self.sent_bytes += bytes as u64;
        self.sent_recently.push_back((now, bytes));
        while self.sent_recently.front().is_some_and(|(at, _)| now.saturating_duration_since(*at).as_secs() >= 5) {
            self.sent_recently.pop_front();
        }
    }

    pub(crate) fn stream(&mut self, ssrc: u32, clock_rate: u32) -> &mut Reception {
        self.streams.heard(ssrc, || Reception::new(clock_rate))
    }

    pub(crate) fn on_report_sent(&mut self, now: Instant, ntp: u64) {
        if self.reports_sent.len() == REPORTS_KEPT {
            self.reports_sent.pop_front();
        }
        self.reports_sent.push_back(((ntp >> 16) as u32, now));
    }

    /// Takes a report block about our own stream (RFC 3550 section 6.4.1, "delay since last SR").
    pub(crate) fn on_report(&mut self, now: Instant, last_sr: u32, delay: u32, fraction_lost: u8, jitter_ms: f32) {
        self.remote_lost_fraction = Some(f32::from(fraction_lost) / 256.0);
        self.remote_jitter_ms = Some(jitter_ms);
        if let Some((_, left)) = self.reports_sent.iter().find(|(sr, _)| last_sr != 0 && *sr == last_sr) {
            let held = Duration::from_secs_f64(f64::from(delay) / 65_536.0);
            self.report_rtt = Some(now.saturating_duration_since(*left).saturating_sub(held));
        }
    }

    pub(crate) fn snapshot(&mut self, now: Instant) -> PathStats {
        let sent_bitrate = match self.sent_recently.front() {
            Some((first, _)) => {
                let span = now.saturating_duration_since(*first).as_secs_f64().max(0.2);
                (self.sent_recently.iter().map(|(_, bytes)| bytes).sum::<usize>() as f64 * 8.0 / span) as u32
            }
            None => 0,
        };
        // The stream that spoke last is the voice.
        let incoming = self.streams.last_mut().map_or_else(IncomingStats::default, |stream| IncomingStats {
            packets: stream.received(),
            bytes: stream.bytes(),
            bitrate: stream.recent_bitrate(now),
            lost: stream.lost(),
            loss_fraction: stream.recent_loss(now),
            jitter_ms: stream.jitter_ms(),
        });
        PathStats {
            rtt_ms: self.report_rtt.or(self.check_rtt).map(|rtt| rtt.as_secs_f32() * 1_000.0),
            outgoing: OutgoingStats {
                packets: self.sent_packets,
                bytes: self.sent_bytes,
                bitrate: sent_bitrate,
                remote_lost_fraction: self.remote_lost_fraction,
                remote_jitter_ms: self.remote_jitter_ms,
            },
            incoming,
            selected: self.selected,
            dtls_cipher: self.dtls_cipher.clone(),
            srtp_cipher: self.srtp_cipher.clone(),
            dropped_outgoing: 0,
            dropped_incoming: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_time_leaves_out_what_the_other_end_held_the_report() {
        let (mut accounts, start) = (Accounts::default(), Instant::now());
        let ntp = 0x1234_5678_9ABC_DEF0;
        accounts.on_report_sent(start, ntp);
        accounts.on_report(start + Duration::from_millis(1_120), 0x5678_9ABC, 65_536, 64, 3.0);
        let stats = accounts.snapshot(start);
        assert!((stats.rtt_ms.unwrap() - 120.0).abs() < 0.5);
        assert_eq!(stats.outgoing.remote_lost_fraction, Some(0.25));
        accounts.on_report(start + Duration::from_secs(9), 0x1111_1111, 0, 0, 3.0);
        assert!((accounts.snapshot(start).rtt_ms.unwrap() - 120.0).abs() < 0.5, "an unknown report changes nothing");
    }
}
