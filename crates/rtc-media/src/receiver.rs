//! The receiving end of one voice stream: packets in, 10 ms of sound out whenever the ear asks.

use std::time::Instant;

use bytes::Bytes;
use opus::{Channels, Decoder};

use crate::{
    AudioLevel, CodecError, FRAME_SAMPLES, Frame, SAMPLE_RATE,
    encoder::DTX_PACKET_BYTES,
    jitter::{Arrival, Decision, Inserted, JitterBuffer, JitterConfig, Stretch},
    opus_packet::{MAX_PACKET_SAMPLES, PacketInfo},
    stretch::{self, Care, HISTORY_SAMPLES, STRETCH_SAMPLES},
};

/// One voice packet as the transport got it.
#[derive(Clone, Debug, PartialEq)]
pub struct VoicePacket {
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP timestamp, 48 kHz.
    pub timestamp: u32,
    /// RTP marker: the first packet after a pause.
    pub marker: bool,
    /// The Opus packet.
    pub payload: Bytes,
}

/// How one remote voice is received.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VoiceReceiverConfig {
    /// The trade of delay for gaps.
    pub jitter: JitterConfig,
}

/// How a stream fared, since its beginning unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReceiverStats {
    /// Delay the buffer adds now, ms.
    pub delay_ms: f32,
    /// Delay the buffer aims at now, ms.
    pub target_ms: f32,
    /// Mean delay the buffer added, over all sound that came from packets, ms.
    pub mean_delay_ms: f32,
    /// Interarrival jitter now, ms (RFC 3550, section 6.4.1).
    pub jitter_ms: f32,
    /// Different packets that came.
    pub received: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that came too late or were left out to catch up.
    pub late: u64,
    /// Packets that came again.
    pub duplicate: u64,
    /// Packets that came after one sent later.
    pub reordered: u64,
    /// Packets that are no Opus.
    pub malformed: u64,
    /// Times at which the stream started anew.
    pub restarts: u64,
    /// Lost packets that were played from the copy in the next.
    pub fec_recovered: u64,
    /// Samples handed out since the first packet.
    pub total_samples: u64,
    /// Samples of them that had to be guessed.
    pub concealed_samples: u64,
    /// Times at which guessing began.
    pub concealment_events: u64,
    /// Samples left out to shorten the delay.
    pub accelerated_samples: u64,
    /// Samples put in to lengthen the delay.
    pub expanded_samples: u64,
    /// Loudness of the frame handed out last.
    pub level: AudioLevel,
}

/// Jitter buffer and decoder of one remote voice.
///
/// [`insert`](VoiceReceiver::insert) what arrives, [`pull`](VoiceReceiver::pull) every 10 ms. Time comes in with both; give `pull` the time of the
/// tick rather than the time at which a late thread came to it. After the first second `pull` allocates nothing.
pub struct VoiceReceiver {
    buffer: JitterBuffer,
    decoder: Decoder,
    /// Decoded and not yet handed out.
    unplayed: Vec<f32>,
    /// What the decoder wrote last.
    decoded: Vec<f32>,
    /// The end of what went into `unplayed`, for joining what does not follow from it.
    history: [f32; HISTORY_SAMPLES],
    frame: Frame,
    started: bool,
    concealing: bool,
    delay_sum_ms: f64,
    delay_count: u64,
    stats: ReceiverStats,
}

/// Speech overshoots full scale a little, which the mixer bends back; what a forged packet decodes to can be thousands of times louder.
const LOUDEST: f32 = 2.0;

impl VoiceReceiver {
    /// A receiver that has heard nothing yet.
    pub fn new(config: VoiceReceiverConfig) -> Result<VoiceReceiver, CodecError> {
        Ok(VoiceReceiver {
            buffer: JitterBuffer::new(config.jitter),
            decoder: Decoder::new(SAMPLE_RATE, Channels::Mono)?,
            unplayed: Vec::with_capacity(2 * MAX_PACKET_SAMPLES),
            decoded: Vec::with_capacity(MAX_PACKET_SAMPLES),
            history: [0.0; HISTORY_SAMPLES],
            frame: Frame::SILENCE,
            started: false,
            concealing: false,
            delay_sum_ms: 0.0,
            delay_count: 0,
            stats: ReceiverStats::default(),
        })
    }

    /// Takes a packet that came at `now`, in any order, any number of times.
    pub fn insert(&mut self, now: Instant, packet: VoicePacket) {
        let Some(info) = PacketInfo::read(&packet.payload) else {
            self.stats.malformed += 1;
            return;
        };
        let arrival = Arrival {
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            samples: info.samples,
            has_fec: info.has_fec,
            pause: packet.payload.len() <= DTX_PACKET_BYTES,
            payload: packet.payload,
        };
        match self.buffer.insert(now, arrival) {
            Inserted::Restarted => tracing::debug!("voice stream restarted"),
            Inserted::Stored | Inserted::Late | Inserted::Duplicate | Inserted::Doubtful => {}
        }
    }

    /// Hands out the next 10 ms, finite and within ±2.0; silence before the first packet.
    pub fn pull(&mut self, now: Instant) -> &Frame {
        let mut to_shorten = None;
        while self.unplayed.len() < FRAME_SAMPLES
            || (to_shorten.is_some() && self.unplayed.len() < STRETCH_SAMPLES && self.buffer.has_packet())
        {
            let decision = self.buffer.pull(now, self.unplayed.len());
            to_shorten = self.carry_out(decision).or(to_shorten);
        }
        if let Some((limit, care)) = to_shorten {
            let removed = stretch::accelerate(&mut self.unplayed, limit, care);
            self.stats.accelerated_samples += removed as u64;
            self.buffer.stretched(-(removed as i64));
            self.top_up(now);
        }
        self.frame.0.copy_from_slice(&self.unplayed[..FRAME_SAMPLES]);
        self.unplayed.drain(..FRAME_SAMPLES);
        if self.started {
            self.stats.total_samples += FRAME_SAMPLES as u64;
        }
        self.stats.level = AudioLevel::of(&self.frame.0);
        &self.frame
    }

    /// How the stream fares.
    pub fn stats(&self) -> ReceiverStats {
        let arrivals = self.buffer.arrivals();
        ReceiverStats {
            delay_ms: self.buffer.delay_ms(),
            target_ms: self.buffer.target_ms(),
            mean_delay_ms: (self.delay_sum_ms / self.delay_count.max(1) as f64) as f32,
            jitter_ms: arrivals.jitter_ms,
            received: arrivals.received,
            lost: arrivals.lost,
            late: arrivals.late,
            duplicate: arrivals.duplicate,
            reordered: arrivals.reordered,
            restarts: arrivals.restarts,
            ..self.stats
        }
    }

    /// Makes the sound of one decision; returns what is to be shortened once enough sound is there.
    fn carry_out(&mut self, decision: Decision) -> Option<(usize, Care)> {
        let mut to_shorten = None;
        match decision {
            Decision::Wait => {
                self.decoded.clear();
                self.decoded.resize(FRAME_SAMPLES, 0.0);
            }
            Decision::Decode { payload, splice, fresh, stretch } => {
                self.start(fresh);
                self.decode(&payload, MAX_PACKET_SAMPLES, false);
                if splice {
                    let removed = stretch::splice(&self.history, &mut self.decoded);
                    self.buffer.stretched(-(removed as i64));
                }
                self.concealing = false;
                self.delay_sum_ms += f64::from(self.buffer.delay_ms());
                self.delay_count += 1;
                match stretch {
                    Stretch::Keep => {}
                    Stretch::Accelerate { limit, hurry } => {
                        to_shorten = Some((limit as usize, if hurry { Care::Hurried } else { Care::Full }));
                    }
                    Stretch::Expand { limit } => {
                        let added = stretch::expand(&mut self.decoded, limit as usize);
                        self.stats.expanded_samples += added as u64;
                        self.buffer.stretched(added as i64);
                    }
                }
            }
            Decision::RecoverWithFec { carrier, samples, skip } => {
                self.decode(&carrier, samples as usize, true);
                if skip > 0 {
                    self.decoded.drain(..(skip as usize).min(self.decoded.len()));
                    stretch::splice(&self.history, &mut self.decoded);
                }
                self.concealing = false;
                self.stats.fec_recovered += 1;
            }
            Decision::Conceal { samples } => {
                self.decode(&[], samples as usize, false);
                self.stats.concealed_samples += u64::from(samples);
                self.stats.concealment_events += u64::from(!std::mem::replace(&mut self.concealing, true));
            }
            Decision::ComfortNoise { samples } => self.decode(&[], samples as usize, false),
        }
        self.remember();
        self.unplayed.extend_from_slice(&self.decoded);
        to_shorten
    }

    /// After a piece was left out there may be too little for a frame.
    fn top_up(&mut self, now: Instant) {
        while self.unplayed.len() < FRAME_SAMPLES {
            let decision = self.buffer.pull(now, self.unplayed.len());
            self.carry_out(decision);
        }
    }

    fn start(&mut self, fresh: bool) {
        self.started = true;
        if fresh && let Err(error) = self.decoder.reset_state() {
            tracing::warn!(%error, "opus decoder did not reset");
        }
    }

    /// Decodes `packet` (or, if it is empty, guesses) into `decoded`: up to `samples`, or exactly so many where the packet itself
    /// does not say. What Opus refuses is guessed, and what it cannot guess is silence.
    fn decode(&mut self, packet: &[u8], samples: usize, fec: bool) {
        self.decoded.resize(samples, 0.0);
        let result = match self.decoder.decode_float(packet, &mut self.decoded, fec) {
            Ok(decoded) => Ok(decoded),
            Err(error) => {
                tracing::debug!(%error, "opus packet not decodable");
                self.decoded.truncate(FRAME_SAMPLES);
                self.decoder.decode_float(&[], &mut self.decoded, false)
            }
        };
        match result {
            Ok(decoded) => self.decoded.truncate(decoded),
            Err(_) => self.decoded.fill(0.0),
        }
        for sample in &mut self.decoded {
            *sample = if sample.is_finite() { sample.clamp(-LOUDEST, LOUDEST) } else { 0.0 };
        }
    }

    fn remember(&mut self) {
        let fresh = self.decoded.len().min(HISTORY_SAMPLES);
        self.history.copy_within(fresh.., 0);
        self.history[HISTORY_SAMPLES - fresh..].copy_from_slice(&self.decoded[self.decoded.len() - fresh..]);
    }
}
