//! How a call sounds, in figures.

/// The figures of the present call.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct CallQuality {
    /// Round trip time of the media path in ms.
    pub rtt_ms: Option<f32>,
    /// Incoming packets lost over the last seconds, 0 to 1.
    pub loss: f32,
    /// Incoming packets lost since the start.
    pub lost_packets: u64,
    /// Incoming packets since the start.
    pub received_packets: u64,
    /// Outgoing packets since the start.
    pub sent_packets: u64,
    /// Outgoing packets lost, as the other end sees it, 0 to 1.
    pub remote_loss: Option<f32>,
    /// Interarrival jitter of what comes in, in ms.
    pub jitter_ms: f32,
    /// What the jitter buffer holds at present, in ms.
    pub jitter_buffer_ms: f32,
    /// What the jitter buffer aims at, in ms.
    pub jitter_buffer_target_ms: f32,
    /// The part of what was played that had to be guessed, 0 to 1.
    pub concealed: f32,
    /// Packets that arrived too late to be played.
    pub late_packets: u64,
    /// Lost packets that the redundancy in the next one replaced.
    pub recovered_packets: u64,
    /// Payload bits a second in.
    pub bitrate_in: u32,
    /// Payload bits a second out.
    pub bitrate_out: u32,
    /// Loudness of the microphone, 0 to 100.
    pub input_level: u8,
    /// Loudness of what is played, 0 to 100.
    pub output_level: u8,
}

impl From<callkit::CallQuality> for CallQuality {
    fn from(figures: callkit::CallQuality) -> CallQuality {
        CallQuality {
            rtt_ms: figures.rtt_ms,
            loss: figures.loss,
            lost_packets: figures.lost_packets,
            received_packets: figures.received_packets,
            sent_packets: figures.sent_packets,
            remote_loss: figures.remote_loss,
            jitter_ms: figures.jitter_ms,
            jitter_buffer_ms: figures.jitter_buffer_ms,
            jitter_buffer_target_ms: figures.jitter_buffer_target_ms,
            concealed: figures.concealed,
            late_packets: figures.late_packets,
            recovered_packets: figures.recovered_packets,
            bitrate_in: figures.bitrate_in,
            bitrate_out: figures.bitrate_out,
            input_level: figures.input_level,
            output_level: figures.output_level,
        }
    }
}
