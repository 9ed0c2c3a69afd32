//! The call kit for other languages.

uniffi::setup_scaffolding!("callkit");

mod events;
mod kit;

mod dev_backend;
mod device;
mod error;
mod handlers;
mod ids;
mod logging;
mod quality;

pub use dev_backend::{DevBackend, DevBackendError};
pub use device::{AudioInput, AudioOutput};
pub use error::{CallError, SignInError};
pub use events::{CallKitEvent, CallKitEventHandler, ConnectionState, EventStream};
pub use handlers::{HandlerError, RtcTokenHandler, UserMapper, UserMapperHandler};
pub use kit::{CallKit, CallKitConfig, Interfaces};
pub use logging::{LoggingError, init_logging};
