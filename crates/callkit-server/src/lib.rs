//! placeholder

mod config;
mod server;

mod accept;
mod clock;
mod connection;
mod dev;
mod http;
mod hub;
mod metering;
mod sign_in;
mod store;
mod stream;
mod stun;
mod token;
mod wire;

pub use config::{AppConfig, ConfigError, DEFAULT_PORT, LogFormat, SECRET_BYTES, ServerConfig};
pub use server::{Server, StartError};
pub use store::StoreError;
