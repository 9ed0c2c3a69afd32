//! The figures of one call.

use std::time::Duration;

use futures_util::Stream;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};

use super::{Call, CallState};
use crate::core::Command;
use crate::quality::CallQuality;

/// The figures of one call at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct CallStatistics {
    /// What goes out.
    pub my_audio: AudioStatistics,
    /// What comes in.
    pub peer_audio: AudioStatistics,
    /// Everything that is measured.
    pub quality: CallQuality,
}

/// The figures of one direction. What is absent is not known yet.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct AudioStatistics {
    /// Packets lost, 0 to 1; of what goes out, as the other end reports it.
    pub loss_rate: Option<f32>,
    /// Interarrival jitter in ms (RFC 3550 section 6.4.1); known of what comes in only.
    pub jitter_ms: Option<f32>,
    /// The round trip in ms, which is the same of both directions.
    pub latency_ms: Option<f32>,
    /// Payload bits a second.
    pub bps: u32,
}

impl From<CallQuality> for CallStatistics {
    fn from(quality: CallQuality) -> Self {
        let latency_ms = quality.rtt_ms;
        let my_audio =
            AudioStatistics { loss_rate: quality.remote_loss, jitter_ms: None, latency_ms, bps: quality.bitrate_out };
        let peer_audio = AudioStatistics {
            loss_rate: (quality.received_packets > 0).then_some(quality.loss),
            jitter_ms: (quality.received_packets > 0).then_some(quality.jitter_ms),
            latency_ms,
            bps: quality.bitrate_in,
        };
        CallStatistics { my_audio, peer_audio, quality }
    }
}

impl Call {
    /// The figures at present; `None` unless they were asked for with the call's options, and before media is set up.
    pub async fn statistics(&self) -> Option<CallStatistics> {
        let (reply, figures) = oneshot::channel();
        self.commands.send(Command::FaceStatistics { face: self.id, reply }).ok()?;
        figures.await.ok().flatten().map(CallStatistics::from)
    }

    /// The figures at this interval, from when media is set up until the call is over.
    pub fn statistics_stream(&self, every: Duration) -> impl Stream<Item = CallStatistics> + Send + Unpin + use<> {
        let mut ticks = interval(every.max(Duration::from_millis(10)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let states = (self.clone(), ticks);
        Box::pin(futures_util::stream::unfold(states, |(call, mut ticks)| async move {
            while call.state() != CallState::Disconnected {
                ticks.tick().await;
                if let Some(figures) = call.statistics().await {
                    return Some((figures, (call, ticks)));
                }
            }
            None
        }))
    }
}
