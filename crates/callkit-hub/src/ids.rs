//! Numbers by which the hub and its shell name things to each other.

use call_protocol::{CallId, Party};

/// Which app, in the order in which the apps of a server are first named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppNo(pub u16);

/// One call of one app: the same id in two apps is two calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallKey {
    /// The app.
    pub app: AppNo,
    /// The call.
    pub call_id: CallId,
}

/// One stream of frames, for as long as the server runs. The shell gives each another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// One session, for as long as the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SessionKey(pub(crate) u64);

/// Where a device is reached, whatever its session is at present: in general, or for one call alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address {
    pub(crate) app: AppNo,
    pub(crate) party: Party,
    pub(crate) only_for: Option<CallId>,
}

/// Something that the shell asked; the reply has the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Something that the hub looks up; what is found has the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LookUpId(pub u64);

/// What tells one access token from another, without being one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenMark {
    /// A digest of the token and its app.
    pub digest: [u8; 32],
    /// In s since 1970; zero where it does not say.
    pub issued_s: u64,
}
