//! What can go wrong, one small enum for each operation.

use thiserror::Error;

/// Why a path did not open.
#[derive(Debug, Error)]
pub enum OpenError {
    /// No local address could be used.
    #[error("no local address to send from")]
    NoAddress,
    /// Only relays may be used, and none is given that this end can use.
    #[error("no relay to use")]
    NoRelay,
    /// The engine refused, for example because no socket could be bound.
    #[error("the media engine did not start: {0}")]
    Engine(String),
}

/// Why a description or a candidate was not taken.
#[derive(Debug, Error)]
pub enum NegotiationError {
    /// The description cannot be read or does not fit the state of the negotiation, or the engine refuses a candidate.
    #[error("the other end's description does not fit: {0}")]
    Rejected(String),
    /// The description is of a path with another certificate: the other end has begun anew, and so has this one to. This path is as it was.
    #[error("the other end's path is another one than before")]
    OtherCertificate,
    /// Both ends have made an offer at once, and this one's goes first: the other end drops its own and answers. Nothing
    /// is to be done.
    #[error("an offer of this end goes first")]
    OfferCollision,
    /// What was said to be a candidate is none (RFC 8839 section 5.1). The path is as it was, and further ones are taken.
    #[error("not a candidate")]
    UnreadableCandidate,
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
