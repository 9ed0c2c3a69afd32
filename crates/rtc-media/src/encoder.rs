//! Frames in, Opus packets out.

use opus::{Application, Bitrate, Channels, Encoder};
use thiserror::Error;

use crate::{AudioLevel, FRAME_SAMPLES, Frame, SAMPLE_RATE, level::VoiceActivity};

/// Samples in one Opus packet: 20 ms, two frames.
pub const PACKET_SAMPLES: usize = 2 * FRAME_SAMPLES;

/// The codec refused a setting or a packet.
#[derive(Debug, Error)]
#[error("opus: {0}")]
pub struct CodecError(#[from] opus::Error);

/// How the voice is coded.
#[derive(Clone, Debug, PartialEq)]
pub struct VoiceEncoderConfig {
    /// Target bitrate, 6,000 to 510,000 bit/s; the price of quality. Default 32,000: full-band speech.
    pub bitrate_bps: u32,
    /// Whether each packet carries a coarse copy of the one before it, so that a single loss is recovered. Costs up to a third of the
    /// bitrate once loss is expected, nothing before. Default on.
    pub fec: bool,
    /// Whether pauses are not sent (one packet in 400 ms instead of fifty a second). Saves bitrate, costs room tone. Default off.
    pub dtx: bool,
    /// Effort from 0 (least CPU) to 10. Default 9.
    pub complexity: u8,
    /// Loss the coder should arm itself against, 0 to 100 percent; with 0 it spends nothing on FEC. Default 5.
    pub expected_loss_percent: u8,
    /// RTP timestamp of the first packet. Default 0; a transport that wants the random start of RFC 3550 sets it here or adds its own.
    pub first_timestamp: u32,
}

impl Default for VoiceEncoderConfig {
    fn default() -> VoiceEncoderConfig {
        VoiceEncoderConfig {
            bitrate_bps: 32_000,
            fec: true,
            dtx: false,
            complexity: 9,
            expected_loss_percent: 5,
            first_timestamp: 0,
        }
    }
}

/// One Opus packet of 20 ms and what its RTP header says.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedVoice {
    /// The RTP payload (RFC 7587, section 4.2).
    pub payload: Vec<u8>,
    /// RTP timestamp of the first sample, 48 kHz, wraps.
    pub timestamp: u32,
    /// Set on the first packet after a pause (RFC 3551, section 4.1).
    pub marker: bool,
    /// Loudness of what was coded, for the header extension of RFC 6464.
    pub level: AudioLevel,
}

/// Codes 10 ms frames into 20 ms Opus packets.
pub struct VoiceEncoder {
    encoder: Encoder,
    activity: VoiceActivity,
    pending: [f32; PACKET_SAMPLES],
    pending_frames: usize,
    pending_voice: bool,
    timestamp: u32,
    after_pause: bool,
    dtx: Dtx,
    packet: [u8; MAX_PACKET_BYTES],
}

/// The largest packet of one frame (RFC 6716, section 3.2.1).
const MAX_PACKET_BYTES: usize = 1275;

/// A coder in discontinuous transmission says "nothing new" with a packet of at most this size (RFC 6716, section 3.1: a TOC
/// byte without a frame).
pub(crate) const DTX_PACKET_BYTES: usize = 2;

#[derive(Clone, Copy, PartialEq)]
enum Dtx {
    Speaking,
    /// The first empty packet was sent, to tell the receiver; those after it are not.
    Pausing,
}

impl VoiceEncoder {
    /// An encoder with `config`; fails if Opus refuses a value.
    pub fn new(config: VoiceEncoderConfig) -> Result<VoiceEncoder, CodecError> {
        let mut encoder = Encoder::new(SAMPLE_RATE, Channels::Mono, Application::Voip)?;
        encoder.set_bitrate(bitrate(config.bitrate_bps))?;
        encoder.set_complexity(i32::from(config.complexity))?;
        encoder.set_inband_fec(config.fec)?;
        encoder.set_dtx(config.dtx)?;
        encoder.set_packet_loss_perc(i32::from(config.expected_loss_percent.min(100)))?;
        encoder.set_signal(opus::Signal::Voice)?;
        Ok(VoiceEncoder {
            encoder,
            activity: VoiceActivity::new(),
            pending: [0.0; PACKET_SAMPLES],
            pending_frames: 0,
            pending_voice: false,
            timestamp: config.first_timestamp,
            after_pause: true,
            dtx: Dtx::Speaking,
            packet: [0; MAX_PACKET_BYTES],
        })
    }

    /// Takes 10 ms; every second frame completes a packet. `None` then means that discontinuous transmission has nothing to send.
    pub fn push(&mut self, frame: &Frame) -> Result<Option<EncodedVoice>, CodecError> {
        let start = self.pending_frames * FRAME_SAMPLES;
        self.pending[start..start + FRAME_SAMPLES].copy_from_slice(&frame.0);
        self.pending_voice |= self.activity.push(frame);
        self.pending_frames += 1;
        if self.pending_frames * FRAME_SAMPLES < PACKET_SAMPLES {
            return Ok(None);
        }
        let timestamp = self.timestamp;
        let level = AudioLevel { voice: self.pending_voice, ..AudioLevel::of(&self.pending) };
        self.start_next_packet();

        let bytes = self.encoder.encode_float(&self.pending, &mut self.packet)?;
        let payload = &self.packet[..bytes];
        if payload.len() > DTX_PACKET_BYTES {
            self.dtx = Dtx::Speaking;
        } else if self.dtx == Dtx::Pausing {
            self.after_pause = true;
            return Ok(None);
        } else {
            self.dtx = Dtx::Pausing;
        }
        let marker = std::mem::take(&mut self.after_pause);
        Ok(Some(EncodedVoice { payload: payload.to_vec(), timestamp, marker, level }))
    }

    /// Passes `frames` of 10 ms over without coding them (a muted microphone), so that timestamps keep pace with time.
    ///
    /// A half-filled packet is dropped.
    pub fn skip(&mut self, frames: u64) {
        let frames = frames + self.pending_frames as u64;
        self.pending_frames = 0;
        self.pending_voice = false;
        self.timestamp = self.timestamp.wrapping_add((frames * FRAME_SAMPLES as u64) as u32);
        self.after_pause = true;
    }

    /// Forgets what was coded, so that nothing of it is in the next packet: no prediction and no redundancy. Timestamps go on.
    ///
    /// A half-filled packet is dropped.
    pub fn start_anew(&mut self) -> Result<(), CodecError> {
        self.skip(0);
        self.dtx = Dtx::Speaking;
        Ok(self.encoder.reset_state()?)
    }

    /// Tells the coder what share of packets the other end loses, 0 to 100 percent.
    pub fn set_expected_loss(&mut self, percent: u8) -> Result<(), CodecError> {
        Ok(self.encoder.set_packet_loss_perc(i32::from(percent.min(100)))?)
    }

    /// Changes the target bitrate, 6,000 to 510,000 bit/s.
    pub fn set_bitrate(&mut self, bitrate_bps: u32) -> Result<(), CodecError> {
        Ok(self.encoder.set_bitrate(bitrate(bitrate_bps))?)
    }

    /// Samples by which the coder's output lags its input, at 48 kHz.
    pub fn lookahead_samples(&mut self) -> Result<u32, CodecError> {
        Ok(self.encoder.get_lookahead()?.max(0) as u32)
    }

    fn start_next_packet(&mut self) {
        self.pending_frames = 0;
        self.pending_voice = false;
        self.timestamp = self.timestamp.wrapping_add(PACKET_SAMPLES as u32);
    }
}

fn bitrate(bps: u32) -> Bitrate {
    Bitrate::Bits(bps.clamp(6_000, 510_000) as i32)
}
