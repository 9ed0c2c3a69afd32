//! The figures of one call, as the documented systems give them.

use std::time::Duration;

use call_protocol::CallId;
use futures_util::Stream;
use rtc_transport::PathStats;
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

use crate::figures::VoiceStats;
use crate::kit::CallKit;
use crate::request::Request;

/// How one direction of the voice fares.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct NetworkStatistics {
    /// Packets lost lately, 0 to 1; what this side sends: as the other side has reported last.
    pub loss_rate: Option<f32>,
    /// Interarrival jitter in ms (RFC 3550, section 6.4.1).
    pub jitter_ms: Option<f32>,
    /// Round trip time in ms.
    pub latency_ms: Option<f32>,
    /// Payload bits a second over the last seconds.
    pub bps: u32,
}

/// The figures of a call at one moment. Loss, jitter and latency are `None` until there is a report of them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct CallStatistics {
    /// What this side sends.
    pub my_audio: NetworkStatistics,
    /// What comes from the other side.
    pub peer_audio: NetworkStatistics,
    /// The codec of both, by its name in SDP.
    pub codec: &'static str,
    /// What the jitter buffer holds at present, in ms.
    pub buffer_ms: f32,
    /// What of the other side's voice had to be guessed since it began, 0 to 100.
    pub concealed_percent: f32,
    /// Loudness of the microphone, 0 to 100.
    pub mic_level: f32,
    /// Loudness of the other side, 0 to 100.
    pub peer_level: f32,
}

/// The one codec there is (RFC 7587).
const CODEC: &str = "opus";

impl CallStatistics {
    pub(crate) fn of(path: &PathStats, voice: &VoiceStats) -> CallStatistics {
        let has_come = path.incoming.packets > 0;
        CallStatistics {
            my_audio: NetworkStatistics {
                loss_rate: path.outgoing.remote_lost_fraction,
                jitter_ms: path.outgoing.remote_jitter_ms,
                latency_ms: path.rtt_ms,
                bps: path.outgoing.bitrate,
            },
            peer_audio: NetworkStatistics {
                loss_rate: has_come.then_some(path.incoming.loss_fraction),
                jitter_ms: has_come.then_some(path.incoming.jitter_ms),
                latency_ms: path.rtt_ms,
                bps: path.incoming.bitrate,
            },
            codec: CODEC,
            buffer_ms: voice.delay_ms,
            concealed_percent: voice.concealed * 100.0,
            mic_level: voice.levels.microphone,
            peer_level: voice.levels.peer,
        }
    }
}

impl CallKit {
    /// The figures of a call; `None` before its media is set up, and when it is over.
    pub async fn statistics(&self, call_id: CallId) -> Option<CallStatistics> {
        let (reply, statistics) = oneshot::channel();
        self.requests.send(Request::Statistics(call_id, reply)).ok()?;
        statistics.await.ok().flatten()
    }

    /// The figures of a call at every interval (once a second is usual, and less than 100 ms is taken for that), from when its media is set up
    /// until it is over. The stream keeps the kit alive.
    pub fn statistics_stream(
        &self,
        call_id: CallId,
        interval: Duration,
    ) -> impl Stream<Item = CallStatistics> + Send + Unpin + use<> {
        let mut clock = tokio::time::interval(interval.max(Duration::from_millis(100)));
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Box::pin(futures_util::stream::unfold((self.clone(), clock), move |(kit, mut clock)| async move {
            loop {
                clock.tick().await;
                let (reply, exists) = oneshot::channel();
                kit.requests.send(Request::IsCall(call_id, reply)).ok()?;
                if !exists.await.ok()? {
                    return None;
                }
                if let Some(statistics) = kit.statistics(call_id).await {
                    return Some((statistics, (kit, clock)));
                }
            }
        }))
    }
}
