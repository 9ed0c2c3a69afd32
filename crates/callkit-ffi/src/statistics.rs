//! Figures and levels, once or at an interval.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use callkit::CallId;
use futures_util::{Stream, StreamExt};
use tokio::sync::Mutex;

use crate::call::Call;
use crate::kit::CallKit;

/// The figures of one direction. What is absent is not known yet.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct NetworkStatistics {
    /// Packets lost, 0 to 1; of what goes out, as the other end reports it.
    pub loss_rate: Option<f32>,
    /// Interarrival jitter in ms (RFC 3550).
    pub jitter_ms: Option<f32>,
    /// The round trip in ms.
    pub latency_ms: Option<f32>,
    /// Payload bits a second.
    pub bps: u32,
}

impl From<callkit::NetworkStatistics> for NetworkStatistics {
    fn from(figures: callkit::NetworkStatistics) -> NetworkStatistics {
        NetworkStatistics {
            loss_rate: figures.loss_rate,
            jitter_ms: figures.jitter_ms,
            latency_ms: figures.latency_ms,
            bps: figures.bps,
        }
    }
}

/// The figures of one call at one moment.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct CallStatistics {
    /// What goes out.
    pub my_audio: NetworkStatistics,
    /// What comes in.
    pub peer_audio: NetworkStatistics,
    /// The codec of both, by its name in SDP.
    pub codec: String,
    /// What the jitter buffer holds at present, in ms.
    pub buffer_ms: f32,
    /// What of the other side's voice had to be guessed since it began, 0 to 100.
    pub concealed_percent: f32,
    /// Loudness of the microphone, 0 to 100.
    pub mic_level: f32,
    /// Loudness of the other side, 0 to 100.
    pub peer_level: f32,
}

impl From<callkit::CallStatistics> for CallStatistics {
    fn from(figures: callkit::CallStatistics) -> CallStatistics {
        CallStatistics {
            my_audio: figures.my_audio.into(),
            peer_audio: figures.peer_audio.into(),
            codec: figures.codec.into(),
            buffer_ms: figures.buffer_ms,
            concealed_percent: figures.concealed_percent,
            mic_level: figures.mic_level,
            peer_level: figures.peer_level,
        }
    }
}

/// How loud it is, 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, uniffi::Record)]
pub struct AudioLevels {
    /// The microphone; 0 while it is muted, on hold, or missing.
    pub mic: f32,
    /// The voice of the other side, even where it is not played.
    pub peer: f32,
}

impl From<callkit::AudioLevels> for AudioLevels {
    fn from(levels: callkit::AudioLevels) -> AudioLevels {
        AudioLevels { mic: levels.mic, peer: levels.peer }
    }
}

/// What comes at an interval, one after another.
struct Ticks<T>(Mutex<Pin<Box<dyn Stream<Item = T> + Send>>>);

impl<T: 'static> Ticks<T> {
    fn new<U: Into<T> + 'static>(stream: impl Stream<Item = U> + Send + 'static) -> Ticks<T> {
        Ticks(Mutex::new(Box::pin(stream.map(Into::into))))
    }

    async fn next(&self) -> Option<T> {
        self.0.lock().await.next().await
    }
}

/// The figures of one call at an interval. It keeps the kit signed in for as long as it is held.
#[derive(uniffi::Object)]
pub struct StatisticsStream(Ticks<CallStatistics>);

#[uniffi::export(async_runtime = "tokio")]
impl StatisticsStream {
    /// The next ones; none when the call is over. Cancelled, it loses none.
    pub async fn next(&self) -> Option<CallStatistics> {
        self.0.next().await
    }
}

/// Both levels at an interval.
#[derive(uniffi::Object)]
pub struct AudioLevelStream(Ticks<AudioLevels>);

#[uniffi::export(async_runtime = "tokio")]
impl AudioLevelStream {
    /// The next ones, for as long as they are asked for. Cancelled, it loses none.
    pub async fn next(&self) -> Option<AudioLevels> {
        self.0.next().await
    }
}

#[uniffi::export(async_runtime = "tokio")]
impl CallKit {
    /// The figures of a call; none before its media is set up, and when it is over.
    pub async fn statistics(&self, call_id: CallId) -> Option<CallStatistics> {
        self.0.statistics(call_id).await.map(Into::into)
    }

    /// The figures of a call at this interval, in ms, from when its media is set up until it is over. Less than 100 ms is taken for that.
    pub async fn statistics_stream(&self, call_id: CallId, interval_ms: u64) -> Arc<StatisticsStream> {
        let figures = self.0.statistics_stream(call_id, Duration::from_millis(interval_ms));
        Arc::new(StatisticsStream(Ticks::new(figures)))
    }

    /// Both levels at this interval, in ms; the first at once. Less than 10 ms is taken for that.
    pub async fn audio_levels(&self, interval_ms: u64) -> Arc<AudioLevelStream> {
        Arc::new(AudioLevelStream(Ticks::new(self.0.audio_levels(Duration::from_millis(interval_ms)))))
    }
}

#[uniffi::export(async_runtime = "tokio")]
impl Call {
    /// The figures at present; none unless they were asked for with the call's options, and before media is set up.
    pub async fn statistics(&self) -> Option<CallStatistics> {
        self.0.statistics().await.map(Into::into)
    }

    /// The figures at this interval, in ms, from when media is set up until the call is over.
    pub async fn statistics_stream(&self, interval_ms: u64) -> Arc<StatisticsStream> {
        let figures = self.0.statistics_stream(Duration::from_millis(interval_ms));
        Arc::new(StatisticsStream(Ticks::new(figures)))
    }
}
