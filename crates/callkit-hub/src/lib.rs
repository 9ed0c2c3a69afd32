//! What the server of the call kit decides, as one machine without clock, I/O, threads or luck.
//!
//! [`Hub`] owns sessions, calls, channels, who is woken for a call, and what is stored and told of it. A shell gives it what happened
//! ([`Input`]) and the time, carries out what it wants ([`Output`]), and wakes it when it asks to be ([`Hub::next_wake`]). The same
//! inputs with the same seed give the same outputs.
//!
//! ```
//! use callkit_hub::{Hub, HubConfig, Input, Output};
//! use signaling::{Now, Time};
//!
//! let now = |ms| Now { mono: Time(ms), unix_ms: 1_700_000_000_000 + ms };
//! let mut hub = Hub::new(HubConfig::default(), [7; 32], Vec::new(), 0, now(0));
//! let wake = hub.next_wake().expect("it looks from time to time who has fallen silent");
//! hub.handle_input(now(wake.0), Input::Wake);
//! assert!(matches!(hub.poll_output(), Some(Output::AskWhoWasHeard)));
//! ```
//!
//! # What a shell does
//!
//! - It proves who signs in and what tokens allow, seals a cc_param, and carries frames. Pings are answered by it; when it is asked
//!   ([`Output::AskWhoWasHeard`]) it says who was heard when.
//! - What takes time has an id: a [`Request`] is answered by a [`Reply`], a [`Query`] by what was [`Found`].
//! - It stores what it is told to, in that order. With the snapshots of running calls and the last number that it has, a hub goes on after
//!   a restart.
//! - It decides nothing: which turn comes late, and whether the store can be read, are facts that it reports.
//!
//! # Inside
//!
//! Machines that know nothing of each other: sessions and their streams, calls (one `signaling::Arbiter` each), channels, pushes, what a
//! device knows of missed calls. Calls and channels name a device by its address (app, user, device), never by its session. [`Hub`] joins them; its files follow what happens, from a sign-in to the end of the server.
//!
//! Where several servers are to be one: who owns a call is asked in `calls.rs` by its [`CallKey`], where a device is reached in
//! `sessions.rs` by app, user and device; what outlives the process leaves as [`Change`] and comes back as [`Found`]. These are the
//! places at which another server can answer.
//!
//! What it does not do: check tokens, encrypt, read or write anything, carry media.

mod input;
mod output;
mod config;
mod counters;
mod ids;
mod frame;
mod record;

mod hub;
mod sessions;
mod session;
mod outbound;
mod access;
mod missed;
mod calls;
mod channels;
mod push_fan_out;
mod quota;
mod look_ups;
mod timers;

pub use config::{AppFeatures, HubConfig, InviteLimits};
pub use counters::Counters;
pub use frame::Frame;
pub use hub::Hub;
pub use ids::{AppNo, CallKey, LookUpId, RequestId, StreamId, TokenMark};
pub use input::{
    AccessUntil, Delivery, Found, FrameBody, Grant, Identity, Input, KnownDevice, Request, RestoredCall, RevokedTokens,
};
pub use output::{
    CallParam, CallStatus, Change, EndNotice, Fact, InviteLimit, Output, Push, PushKind, Query, Reply, Webhook,
};
pub use record::CallRecord;
