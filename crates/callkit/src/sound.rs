//! The sound of a kit, for its app: levels, and what can be chosen.

use std::time::Duration;

use call_protocol::CallId;
use callkit_core::Command;
use futures_util::Stream;
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

use crate::error::CallError;
use crate::kit::CallKit;
use crate::microphone::{self, MicrophoneFailure};
use crate::request::Request;

/// How loud it is, 0 to 100; see [`CallKit::mic_level`].
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct AudioLevels {
    /// The microphone; 0 while it is muted, on hold, or missing.
    pub mic: f32,
    /// The voice of the other side, even where it is not played.
    pub peer: f32,
}

/// Sound.
impl CallKit {
    /// How loud the microphone is that the other side hears: 0 (-60 dBov and below) to 100 (full scale), linear in decibels, over the last
    /// [`level_interval`](crate::Builder::level_interval); 0 while muted, on hold or without a call. May be read at any time, and costs nothing.
    pub fn mic_level(&self) -> f32 {
        self.figures.levels().microphone
    }

    /// The same for the voice of the other side, whether it is played or not.
    pub fn peer_level(&self) -> f32 {
        self.figures.levels().peer
    }

    /// Both levels at every interval, for as long as it is read; the first at once. An interval of less than 10 ms is taken for 10 ms.
    pub fn audio_levels(&self, interval: Duration) -> impl Stream<Item = AudioLevels> + Send + Unpin + use<> {
        let figures = self.figures.clone();
        let mut clock = tokio::time::interval(interval.max(Duration::from_millis(10)));
        clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Box::pin(futures_util::stream::unfold((figures, clock), |(figures, mut clock)| async move {
            clock.tick().await;
            let levels = figures.levels();
            Some((AudioLevels { mic: levels.microphone, peer: levels.peer }, (figures, clock)))
        }))
    }

    /// The system has activated the app's audio session, or taken it back: devices are opened, or let go of. Only of a kit that
    /// [waits for it](crate::Builder::wait_for_audio_activation); the end of the call takes it back by itself.
    pub async fn set_audio_active(&self, active: bool) -> Result<(), CallError> {
        self.ask(|reply| Request::Do(Command::AudioActive(active), reply)).await
    }

    /// Stops playing the other side of a call, or plays it again; only here, and until the call ends. Its level is still measured.
    ///
    /// # Errors
    /// [`CallError::NoSuchCall`].
    pub async fn silence_peer(&self, call_id: CallId, silenced: bool) -> Result<(), CallError> {
        let command = Command::MutePeer { call_id, muted: silenced };
        self.ask(|reply| Request::Do(command, reply)).await
    }

    /// Whether the microphone could be opened now, for an app that asks before it calls. It is opened for a moment, unless it is open.
    pub async fn check_microphone(&self) -> Result<(), MicrophoneFailure> {
        if self.figures.microphone_is_open() {
            return Ok(());
        }
        let (reply, input) = oneshot::channel();
        let asked = self.requests.send(Request::Microphone(reply)).is_ok();
        match input.await {
            Ok(input) if asked => microphone::probe(input).await,
            Ok(_) | Err(_) => Err(MicrophoneFailure::Unusable),
        }
    }
}
