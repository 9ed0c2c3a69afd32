//! Voice and video calls for any app, on the developer's own server.

pub mod events;
mod kit;

mod accept;
mod end;
mod invite;
mod media;
mod ring;

mod core;
#[cfg(feature = "dev-backend")]
mod dev_backend;
mod error;
mod handlers;
mod link;
mod peer;
mod quality;
mod session;
mod voice;
mod wire;

#[cfg(feature = "dev-backend")]
pub use dev_backend::{DevBackend, DevBackendError};
pub use error::{CallError, ErrorKind, SignInError};
pub use events::{CallKitEvent, CallKitEventHandler, ConnectionState};
pub use handlers::{HandlerError, RtcToken, RtcTokenHandler, RtcTokenRequest, UserMapper, UserMapperHandler};
pub use kit::{Builder, CallKit};
pub use quality::CallQuality;

pub use call_protocol::end::EndReason;
pub use call_protocol::invite::{CallType, Ext};
pub use call_protocol::media::JoinRefusal;
pub use call_protocol::session::RefuseReason;
pub use call_protocol::{AppId, CallId, ChannelId, DeviceId, IdError, Uid, UserId};
pub use rtc_media::{AudioInput, AudioOutput, AudioSink, AudioSource, DeviceError, Frame, ReadOutcome, Recording};
pub use rtc_transport::Interfaces;
