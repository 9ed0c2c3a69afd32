//! The knobs of a hub.

use call_protocol::session;

use crate::ids::AppNo;

/// What a hub is to go by. Times are in ms where their names do not say otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubConfig {
    /// What each app wants to be told, in the order of their numbers.
    pub apps: Vec<AppFeatures>,
    /// The app whose users are known one by one ([`Input::Registered`](crate::Input::Registered)); of others every user can exist.
    pub directory: Option<AppNo>,
    /// How often a client is to ping. Default 3,000.
    pub ping_every_ms: u32,
    /// After how much silence a client has vanished. Default 10,000.
    pub silence_limit_ms: u32,
    /// How long a broken session can be resumed. Default 15,000.
    pub resume_window_ms: u32,
    /// How long an acknowledgement may wait for a frame to ride on. Default 200.
    pub ack_delay_ms: u32,
    /// How long a stream that was told to end may take. Default 1,000.
    pub close_grace_ms: u32,
    /// After how much silence of a party its call counts it as away. Default 10,000.
    pub call_liveness_ms: u32,
    /// How long a call that is over still answers. Default 60,000.
    pub call_tombstone_ms: u32,
    /// By how much the end of an access token may be past, in s. Default 5.
    pub token_leeway_s: u32,
    /// Calls that a device can have opened and that are not over. Default 16.
    pub max_calls_per_device: usize,
    /// Channels that a device can be in. Default 16.
    pub max_channels_per_device: usize,
    /// How many calls can be opened.
    pub invites: InviteLimits,
}

/// What is done beside the calls of an app.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AppFeatures {
    /// Its backend is told that a call rings.
    pub ring_webhook: bool,
    /// Its backend is told that a call is over.
    pub end_webhook: bool,
    /// Its devices can be pushed.
    pub pushes: bool,
}

/// Invites a minute; one to a group counts for each of its callees. Zero is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InviteLimits {
    /// Of one device.
    pub per_device: u32,
    /// Of one user, on all devices.
    pub per_user: u32,
    /// Of all users of one app.
    pub per_app: u32,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            apps: vec![AppFeatures::default()],
            directory: None,
            ping_every_ms: session::PING_EVERY_MS,
            silence_limit_ms: session::SILENCE_LIMIT_MS,
            resume_window_ms: session::RESUME_WINDOW_MS,
            ack_delay_ms: 200,
            close_grace_ms: 1_000,
            call_liveness_ms: 10_000,
            call_tombstone_ms: 60_000,
            token_leeway_s: 5,
            max_calls_per_device: 16,
            max_channels_per_device: 16,
            invites: InviteLimits::default(),
        }
    }
}
