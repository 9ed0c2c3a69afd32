//! The one place that names the generated gRPC stub.

#[path = "generated/callkit_v1.rs"]
mod proto;

pub(crate) use proto::signal_client::SignalClient;
