//! From the microphone to coded frames, and from packets back to the ear.
//!
//! The voice part of a call, without the call: this crate knows samples, packets and devices, and neither people, calls nor
//! networks. Its parts stand alone and meet in 10 ms [`Frame`]s of 48 kHz mono.
//!
//! ```text
//!  AudioInput ──▶ AudioSource ──▶ VoiceEncoder ──▶ EncodedVoice ┄┄▶ (transport)
//!                                                                      ┊
//!  AudioOutput ◀── AudioSink ◀── Mixer ◀── VoiceReceiver ◀── VoicePacket ┘
//! ```
//!
//! - [`AudioInput`] and [`AudioOutput`] name a device; `open` gives an [`AudioSource`] or [`AudioSink`]: a sound card (feature `cpal`), a WAV
//!   file, memory, or a generator. All kinds behave alike, so that a test speaks and hears what a user would.
//! - [`VoiceEncoder`] makes 20 ms Opus packets with in-band FEC and, on request, discontinuous transmission.
//! - [`VoiceReceiver`] is the adaptive jitter buffer ([`jitter`]) and decoder of one remote voice. It reorders, recovers losses from FEC, conceals what is
//!   left, and stretches the sound so that the delay follows the network's jitter.
//! - [`Handset`] puts these together for one conversation: both ways on one clock, devices that come and go, mute, hold, tones ([`Cadence`], [`Clip`]) and
//!   [`Levels`].
//! - [`Mixer`] adds several voices, [`LevelMeter`] says how loud they are, [`score`](score::score) measures whether what was heard is what was said.
//!
//! # Time
//!
//! Whoever uses this crate has the one clock: every 10 ms it reads the source, pulls the receivers and writes the sink. Nothing in here asks what
//! time it is, so a call can be simulated faster than real time and repeats to the sample. A sound card's own clock is met in a lock-free ring, and
//! the drift between the two is resampled away.
//!
//! # Example
//!
//! ```
//! # use std::time::{Duration, Instant};
//! use rtc_media::{AudioInput, AudioOutput, Frame, VoiceEncoder, VoicePacket, VoiceReceiver};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut microphone = AudioInput::Tone { hz: 440.0, amplitude: 0.5 }.open()?;
//! let mut loudspeaker = AudioOutput::Null.open()?;
//! let mut encoder = VoiceEncoder::new(Default::default())?;
//! let mut receiver = VoiceReceiver::new(Default::default())?;
//!
//! let (mut now, mut sequence, mut frame) = (Instant::now(), 0u16, Frame::default());
//! for _tick in 0..100 {
//!     microphone.read(&mut frame)?;
//!     if let Some(voice) = encoder.push(&frame)? {
//!         // Here a network would take its time.
//!         receiver.insert(
//!             now,
//!             VoicePacket { sequence, timestamp: voice.timestamp, marker: voice.marker, payload: voice.payload.into() },
//!         );
//!         sequence = sequence.wrapping_add(1);
//!     }
//!     loudspeaker.write(receiver.pull(now))?;
//!     now += Duration::from_millis(10);
//! }
//! assert_eq!(receiver.stats().lost, 0);
//! assert!(receiver.stats().level.minus_dbov < 20);
//! # Ok(())
//! # }
//! ```
//!
//! # What it does not do
//!
//! No echo cancellation, noise suppression or gain control yet: a loudspeaker beside an open microphone is heard by the other side. No DRED or deep
//! concealment: bursts of loss beyond the reach of FEC are extrapolated by the decoder. Mono only. No pictures yet. Nothing is sent or encrypted:
//! that is the transport's work.
//!
//! # Features
//!
//! - `cpal` (default): real sound devices. On Linux it needs the ALSA headers to build; a machine without a sound card gets a clear error at `open`.
//! - `pulseaudio`: speaks to a PulseAudio or PipeWire server directly, where one runs.

#[cfg(all(test, feature = "cpal"))]
mod allocations;
mod device;
mod encoder;
mod frame;
mod handset;
pub mod jitter;
mod level;
mod mixer;
mod opus_packet;
mod receiver;
mod resample;
pub mod score;
mod speech;
mod stretch;
mod tone;

pub use self::{
    device::{
        AudioInput, AudioOutput, AudioSink, AudioSource, DeviceError, Direction, ReadOutcome, Recording, input_devices,
        output_devices,
    },
    encoder::{CodecError, EncodedVoice, PACKET_SAMPLES, VoiceEncoder, VoiceEncoderConfig},
    frame::{FRAME_SAMPLES, Frame, SAMPLE_RATE},
    handset::{Handset, Levels, Tick},
    level::{AudioLevel, LevelMeter, LevelReading},
    mixer::Mixer,
    receiver::{ReceiverStats, VoicePacket, VoiceReceiver, VoiceReceiverConfig},
    speech::SPEECH_WAV,
    tone::{Cadence, Clip},
};
