//! From the outbox to the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rtc::rtcp::receiver_report::ReceiverReport;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;

use crate::control;
use crate::engine::negotiated_level_id;
use crate::reports::Shared;
use crate::runtime::Runtime;
use crate::voice::{Outbox, Outgoing, OutgoingVoice};

/// Takes voice and control words from the outbox to the engine.
pub(crate) struct Sending {
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) track: Arc<TrackLocalStaticRTP>,
    pub(crate) ssrc: u32,
    pub(crate) payload_type: Arc<AtomicU8>,
}

impl Sending {
    /// Until the path closes and its last control word is given to the engine.
    ///
    /// An end that says nothing for `silence` says that it is there. The checks of the agent can be passed on by
    /// anybody, so it is only by this that an end is believed to be where it is seen.
    pub(crate) async fn run(self, first_sequence: u16, runtime: Arc<dyn Runtime>, silence: Duration) {
        let mut sequence = first_sequence;
        loop {
            let next = tokio::select! {
                biased;
                next = self.outbox.next() => next,
                () = runtime.sleep(silence) => Some(Outgoing::Here),
            };
            let Some(next) = next else { return };
            match next {
                Outgoing::Here if !self.outbox.is_open() => {}
                Outgoing::Here => {
                    self.write(vec![Box::new(ReceiverReport { ssrc: self.ssrc, ..Default::default() })]).await
                }
                Outgoing::Voice(voice) => match self.track.write_rtp(self.packet(voice, sequence)).await {
                    Ok(()) => sequence = sequence.wrapping_add(1),
                    Err(error) => tracing::debug!(%error, "a voice packet was not sent"),
                },
                Outgoing::Control(word) => self.write(vec![Box::new(control::packet(self.ssrc, &word))]).await,
                Outgoing::Closing => self.write(control::closing(self.ssrc)).await,
            }
        }
    }

    async fn write(&self, packets: Vec<Box<dyn rtc::rtcp::Packet>>) {
        if let Err(error) = self.track.write_rtcp(packets).await {
            tracing::debug!(%error, "a control word was not sent");
        }
    }

    fn packet(&self, voice: OutgoingVoice, sequence_number: u16) -> rtc::rtp::Packet {
        let mut packet = rtc::rtp::Packet {
            header: rtc::rtp::Header {
                version: 2,
                marker: voice.marker,
                payload_type: self.payload_type.load(Ordering::Relaxed),
                sequence_number,
                timestamp: voice.timestamp,
                ssrc: self.ssrc,
                ..rtc::rtp::Header::default()
            },
            payload: voice.payload,
        };
        if let Some(id) = negotiated_level_id(&self.shared) {
            let byte = voice.level.min(127) | if voice.voice_activity { 0x80 } else { 0 };
            if let Err(error) = packet.header.set_extension(id, Bytes::copy_from_slice(&[byte])) {
                tracing::debug!(%error, "audio level");
            }
        }
        packet
    }
}
