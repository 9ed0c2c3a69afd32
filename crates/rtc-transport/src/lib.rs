//! One encrypted media path to one other end.
#![warn(missing_docs)]

mod config;
mod engine;
mod error;
mod event;
mod path;
mod reception;
mod reports;
pub mod runtime;
mod seam;
mod selected;
#[cfg(feature = "simulated")]
pub mod simulated;
mod stats;
mod voice;

pub use config::{Interfaces, PathConfig, Swiftness};
pub use error::{MAX_PAYLOAD, NegotiationError, OpenError, SendError};
pub use event::{AudioLevel, Candidate, IncomingVoice, PathEvent, PathEvents, PathState};
pub use path::MediaPath;
pub use stats::{CandidateKind, IncomingStats, OutgoingStats, PathStats, Protocol, SelectedPair};
pub use voice::OutgoingVoice;

/// RTP clock of voice in Hz (RFC 7587).
pub const CLOCK_RATE: u32 = 48_000;

/// The audio level header extension (RFC 6464).
const AUDIO_LEVEL_URI: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
