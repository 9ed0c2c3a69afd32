//! What can go wrong, one small enum for each operation.

use thiserror::Error;

/// Why a path did not open.
#[derive(Debug, Error)]
pub enum OpenError {
    /// No local address could be used.
    #[error("no local address to send from")]
    NoAddress,
    /// A STUN server is not written as `stun:host:port`.
    #[error("not a STUN server address: {0}")]
    BadStunServer(String),
    /// A relay is not written as `turn:host:port`, or asks for another transport than UDP.
    #[error("not a relay address: {0}")]
    BadTurnServer(String),
    /// Only relays may be used, and none is given.
    #[error("no relay to use")]
    NoRelay,
    /// The engine refused, for example because no socket could be bound.
    #[error("the media engine did not start: {0}")]
    Engine(String),
}

/// Why a description or a candidate was not taken.
#[derive(Debug, Error)]
pub enum NegotiationError {
    /// The description or candidate cannot be read, or does not fit the state of the negotiation.
    #[error("the other end's description does not fit: {0}")]
    Rejected(String),
    /// The engine could not make a description, or not in this state.
    #[error("no description could be made: {0}")]
    Unavailable(String),
    /// The path is closed.
    #[error("the path is closed")]
    Closed,
    /// More candidates came before the description than can be kept.
    #[error("too many candidates before the description")]
    TooManyCandidates,
}

/// Why a packet was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SendError {
    /// The path is not connected (yet, or any more); the packet is dropped.
    #[error("the path is not connected")]
    NotConnected,
    /// The path is closed.
    #[error("the path is closed")]
    Closed,
    /// It does not fit a datagram: voice may have [`MAX_PAYLOAD`] bytes, a control word [`MAX_CONTROL`].
    #[error("larger than a datagram holds")]
    TooLarge,
}

/// The largest payload sent, which with every header stays below a 1,280 byte IPv6 packet.
pub const MAX_PAYLOAD: usize = 1_150;

/// The largest control word sent, which with APP header, SRTCP index and tag just fills a 1,280 byte IPv6 packet.
pub const MAX_CONTROL: usize = 1_200;
