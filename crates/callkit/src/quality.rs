//! How a call sounds, in figures.

use rtc_transport::PathStats;

use crate::figures::VoiceStats;

/// The figures of the present call.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
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

impl CallQuality {
    pub(crate) fn of(path: &PathStats, voice: &VoiceStats) -> CallQuality {
        CallQuality {
            rtt_ms: path.rtt_ms,
            loss: path.incoming.loss_fraction,
            lost_packets: path.incoming.lost,
            received_packets: path.incoming.packets,
            sent_packets: path.outgoing.packets,
            remote_loss: path.outgoing.remote_lost_fraction,
            jitter_ms: path.incoming.jitter_ms,
            jitter_buffer_ms: voice.delay_ms,
            jitter_buffer_target_ms: voice.target_ms,
            concealed: voice.concealed,
            late_packets: voice.late,
            recovered_packets: voice.recovered,
            bitrate_in: path.incoming.bitrate,
            bitrate_out: path.outgoing.bitrate,
            input_level: voice.levels.microphone.round() as u8,
            output_level: voice.levels.played.round() as u8,
        }
    }
}
