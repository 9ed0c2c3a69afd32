//! One encrypted media path to one other end: voice over ICE, DTLS and SRTP, connected fast and surely.
//!
//! A [`MediaPath`] is one peer connection with one Opus voice each way. Offer, answer and candidates are text that the
//! application carries; voice packets go in by [`MediaPath::send_voice`], which a media thread may call, and come out
//! as [`PathEvent::Voice`] with the instant they arrived. The engine underneath is `webrtc`; no other crate names it,
//! and nothing of it shows but the [`runtime`] traits, by which clock, tasks and sockets can be replaced.
//!
//! ```
//! use rtc_transport::{Interfaces, MediaPath, PathConfig, PathEvent, PathEvents, PathState};
//!
//! // Carries one end's candidates to the other until it is connected.
//! async fn connect(events: &mut PathEvents, other: &MediaPath) {
//!     while let Some(event) = events.recv().await {
//!         match event {
//!             PathEvent::LocalCandidate(candidate) => other.add_candidate(candidate).await.unwrap(),
//!             PathEvent::StateChanged(PathState::Connected) => return,
//!             _ => {}
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = PathConfig { interfaces: Interfaces::Loopback, ..PathConfig::default() };
//! let (caller, mut caller_events) = MediaPath::open(config.clone()).await?;
//! let (callee, mut callee_events) = MediaPath::open(config).await?;
//! let answer = callee.accept_offer(&caller.create_offer().await?).await?;
//! caller.accept_answer(&answer).await?;
//! tokio::join!(connect(&mut caller_events, &callee), connect(&mut callee_events, &caller));
//! println!("{:?}", caller.stats().selected);
//! # caller.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Connecting
//!
//! From the callee's answer on, a path needs five one-way delays until the caller is connected and six until the
//! callee is: 250 and 300 ms at 50 ms each way, where the engine by itself needs 650 and 700. At 10 % loss every
//! attempt connects; the engine by itself leaves some stuck for good. [`Swiftness`] names the measures, each of which
//! can be switched off; they act on datagrams at the sockets, and the other end need not know of them.
//! `cargo bench -p rtc-transport --bench connect` prints the figures.
//!
//! # Waiting, and words beside the voice
//!
//! A path may be connected long before anybody speaks, as while a phone rings: it stays, and the first packet takes one
//! way. [`MediaPath::send_control`] says a word of the call (accept, hang-up, held) to the other end without any server,
//! from the moment the path is connected, and [`MediaPath::close`] lets what was said leave first.
//! `cargo bench -p rtc-transport --bench warm` prints what a waiting path costs.
//!
//! # Other networks
//!
//! - A NAT that gives the other end a new address is followed without signalling: a round trip and a half after its first
//!   encrypted packet from there, of which a silent end sends one each [`PathConfig::keepalive`].
//! - When the machine's own addresses change ([`NetworkWatch`]), [`MediaPath::rebind`] replaces the sockets under the
//!   path; the other end sees what it would see of a NAT. Two round trips, no signalling.
//! - Where the other end cannot be reached that way, [`MediaPath::restart_ice`] starts over at both ends, over the
//!   addresses there are then. From the answer until the way is found there is no voice.
//!
//! An end of another kind than this crate follows only the last.
//!
//! # What the other end sees
//!
//! Descriptions and candidates tell this end's addresses to the other end, and to whoever carries them.
//! [`AddressMode::DefaultRoute`] tells only those of the default route until [`MediaPath::show_all_addresses`], and
//! [`IcePolicy::RelayOnly`] none. The fingerprints in the descriptions are all that ties the encryption to the other
//! end: whoever could change them on their way could be that end.
//!
//! # Both at once
//!
//! Either end may make an offer at any time; where both do, one gives way ([`PathConfig::politeness`]) and what both
//! wanted is done in the end. An offer that is never answered, or refused, leaves a path that is in use as it is.
//!
//! # Strangers
//!
//! Anybody can send to a path's sockets. What is not the other end's is not answered, not remembered and not shown to
//! the engine; before the handshake, what an offer can make an end send is at most 100 pairs of addresses, checked at a
//! pace that is kept over all of them. An end with more than eight addresses uses the first eight: those that lead to
//! the internet and to its servers, then the others.
//!
//! # Relays
//!
//! [`PathConfig::turn_servers`] are used where no direct way is found; with [`IcePolicy::RelayOnly`] nothing else is, and
//! no description or candidate tells an address of this end.
//!
//! # What it does not do
//!
//! - Signalling, users, calls: it knows one other end, by its descriptions.
//! - Coding, jitter buffering, mixing: payloads are opaque, and packets come as the network delivers them, each once.
//! - Relays over TCP or TLS, ICE over TCP, mDNS candidates: what names them is left out, and the rest is used.
//! - Video and further streams: one voice each way so far.
//! - Media while ICE restarts: the engine gives up the old way when the restart is agreed on.
//! - Following an end that moves while media takes a relay: that needs a restart.
//!
//! # Testing
//!
//! With the feature `simulated` there is a network in memory and in virtual time (`rtc_transport::simulated`).
#![warn(missing_docs)]

mod addresses;
mod candidate;
mod config;
mod control;
mod engine;
mod error;
mod event;
mod negotiation;
mod path;
mod policy;
mod recent;
mod reception;
mod remote;
mod reports;
pub mod runtime;
mod seam;
mod selected;
mod sending;
mod servers;
mod shown;
#[cfg(feature = "simulated")]
pub mod simulated;
mod stats;
mod voice;
mod watch;

pub use config::{AddressMode, IcePolicy, Interfaces, PathConfig, Swiftness, TurnServer};
pub use error::{MAX_CONTROL, MAX_PAYLOAD, NegotiationError, OpenError, SendError};
pub use event::{AudioLevel, Candidate, IncomingVoice, PathEvent, PathEvents, PathState};
pub use negotiation::Politeness;
pub use path::MediaPath;
pub use seam::Rebound;
pub use stats::{CandidateKind, IncomingStats, OutgoingStats, PathStats, Protocol, SelectedPair};
pub use voice::OutgoingVoice;
pub use watch::NetworkWatch;

/// RTP clock of voice in Hz (RFC 7587).
pub const CLOCK_RATE: u32 = 48_000;

/// The audio level header extension (RFC 6464).
const AUDIO_LEVEL_URI: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
