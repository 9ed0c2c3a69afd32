//! A frame for a client, with its body in the bytes of the wire, so that all who are sent the same share it.

use bytes::Bytes;
use call_protocol::session::{Refuse, RefuseReason, ServerBody, ServerFrame};
use call_protocol::{limits, wire};

/// A frame for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its number; zero for one that is lost with its stream.
    pub seq: u64,
    /// The highest number received.
    pub ack: u64,
    /// Empty for a bare acknowledgement; else the bytes that follow those of a frame with these numbers and no body.
    pub body: Bytes,
}

impl Frame {
    /// One that is not numbered.
    pub fn new(ack: u64, body: Option<ServerBody>) -> Self {
        Self { seq: 0, ack, body: body.map(encode).unwrap_or_default() }
    }

    /// The last frame of a stream.
    pub fn refusal(reason: RefuseReason, detail: impl Into<String>) -> Self {
        let mut detail: String = detail.into();
        if detail.len() > limits::NOTE_BYTES {
            let end = (0..=limits::NOTE_BYTES).rev().find(|at| detail.is_char_boundary(*at)).unwrap_or(0);
            detail.truncate(end);
        }
        Self::new(0, Some(ServerBody::Refuse(Refuse { reason, detail })))
    }
}

/// A body as it stands in a frame: the frame's numbers come before it.
pub(crate) fn encode(body: ServerBody) -> Bytes {
    wire::encode_server_frame(&ServerFrame { seq: 0, ack: 0, body: Some(body) }).into()
}
