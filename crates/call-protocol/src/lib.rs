//! The words that two parties of a call share.
//!
//! A call speaks five words, in this order: [`invite`], [`ring`], [`accept`], [`media`], [`end`]. This crate says what each
//! of them holds, how large it may be ([`limits`]), and how it looks on the [`wire`]. It decides nothing: the rules of a call are
//! in the `signaling` crate. It has no I/O, no clock and no randomness.
//!
//! ```
//! use call_protocol::{CallId, CallMessage, Word, end::EndReason, wire};
//!
//! let message = CallMessage { call_id: CallId::from_bits(7), word: Word::End(EndReason::Hangup.into()) };
//! let bytes = wire::encode_call(&message);
//! assert_eq!(wire::decode_call(&bytes), Ok(Some(message)));
//! ```
//!
//! Domain types and wire types are apart: the generated code is reached only through [`wire`], whose conversions check ids, limits
//! and missing parts, so that whoever holds a [`CallMessage`] holds a sound one. A newer peer may send fields, enum values and kinds
//! of messages unknown here: the first two are passed over, the last decodes to `None`.
//!
//! What it does not do: carry anything, retry, keep state, verify a token's signature.

pub mod invite;
pub mod ring;
pub mod accept;
pub mod media;
pub mod end;
pub mod disconnect;

pub mod account;
pub mod cc_param;
mod ids;
pub mod limits;
mod message;
pub mod session;
pub mod token;
pub mod wire;

pub use cc_param::CcParam;
pub use ids::{AppId, CallId, ChannelId, DeviceId, IdError, Party, Uid, UserId};
pub use message::{CallMessage, ChatMessage, Word};
