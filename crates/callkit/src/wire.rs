//! The one place that names the generated gRPC stub.

#[path = "generated/callkit_v1.rs"]
mod proto;

use call_protocol::session::{ClientFrame, ServerFrame};
use call_protocol::wire::{self, WireError};

pub(crate) use call_protocol::wire::proto::{ClientFrame as RawClientFrame, ServerFrame as RawServerFrame};
pub(crate) use proto::account_client::AccountClient;
pub(crate) use proto::signal_client::SignalClient;

/// A frame as the stub sends it.
pub(crate) fn to_raw(frame: &ClientFrame) -> RawClientFrame {
    wire::client_frame_to_proto(frame)
}

/// A frame that the stub received, checked.
pub(crate) fn from_raw(frame: RawServerFrame) -> Result<ServerFrame, WireError> {
    wire::server_frame_from_proto(frame)
}
