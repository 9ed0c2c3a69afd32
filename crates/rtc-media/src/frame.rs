//! The one unit of sound inside: 10 ms of mono at 48 kHz.

use std::fmt;

/// Samples in a second inside this crate, and the RTP clock rate of Opus (RFC 7587, section 4.1).
pub const SAMPLE_RATE: u32 = 48_000;

/// Samples in one [`Frame`]: 10 ms.
pub const FRAME_SAMPLES: usize = 480;

/// 10 ms of sound: 480 mono samples at 48 kHz, full scale ±1.0.
///
/// The default frame is silence.
#[derive(Clone, PartialEq)]
pub struct Frame(pub [f32; FRAME_SAMPLES]);

impl Frame {
    /// 10 ms of digital silence.
    pub const SILENCE: Frame = Frame([0.0; FRAME_SAMPLES]);

    /// Turns the frame into silence.
    pub fn clear(&mut self) {
        self.0.fill(0.0);
    }
}

impl Default for Frame {
    fn default() -> Frame {
        Frame::SILENCE
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peak = self.0.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
        write!(f, "Frame(peak {peak:.3})")
    }
}
