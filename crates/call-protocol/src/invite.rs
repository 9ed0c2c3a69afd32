//! Invite: somebody wants to talk.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::{CallId, ChannelId, Party, UserId};
use crate::limits;

/// What kind of call it is. The numbers are those on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CallType {
    /// One-to-one, voice.
    Audio1v1 = 0,
    /// One-to-one, voice and picture.
    Video1v1 = 1,
    /// Group.
    Multi = 2,
}

impl CallType {
    /// Whether the call ends for both when one hangs up.
    pub fn is_one_to_one(self) -> bool {
        match self {
            CallType::Audio1v1 | CallType::Video1v1 => true,
            CallType::Multi => false,
        }
    }
}

/// What the app sends along with an invite: a small map of texts.
pub type Ext = BTreeMap<String, String>;

/// The invitation to one call, as the caller wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Invite {
    /// The call.
    pub call_id: CallId,
    /// The device that calls.
    pub caller: Party,
    /// Who is called; one user in a one-to-one call. Whoever is named twice is called once.
    pub callees: Vec<UserId>,
    /// The kind of call.
    pub call_type: CallType,
    /// Where the media will meet.
    pub channel: ChannelId,
    /// The app's own data.
    pub ext: Ext,
    /// How long the caller lets it ring, in ms.
    pub ring_timeout_ms: u32,
    /// When ringing ends at the latest, in ms of the server's wall clock; zero until the arbiter has set it.
    pub ring_deadline_unix_ms: u64,
    /// The caller can be connected without media until the callee has finished its preparation.
    #[serde(default)]
    pub responder_preparation: bool,
    /// For the app's own backend; the server keeps it from the callee.
    #[serde(default)]
    pub app_server_data: String,
}

/// Why an invite cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InviteError {
    /// Nobody is invited.
    #[error("an invite needs a callee")]
    NoCallee,
    /// A one-to-one call has one callee.
    #[error("a one-to-one call has exactly one callee")]
    NotOneCallee,
    /// More callees than [`limits::CALLEES`].
    #[error("an invite has at most {} callees", limits::CALLEES)]
    TooManyCallees,
    /// The caller is among the callees.
    #[error("nobody can call themselves")]
    OwnId,
    /// The ext map is larger than [`limits::EXT_ENTRIES`] or [`limits::EXT_BYTES`].
    #[error("ext has at most {} entries and {} bytes", limits::EXT_ENTRIES, limits::EXT_BYTES)]
    ExtTooLarge,
    /// The data for the app's backend is longer than [`limits::APP_SERVER_DATA_BYTES`].
    #[error("app_server_data has at most {} bytes", limits::APP_SERVER_DATA_BYTES)]
    AppServerDataTooLarge,
    /// The ring time is outside the limits.
    #[error("it can ring for {} ms to {} ms", limits::RING_TIMEOUT_MIN_MS, limits::RING_TIMEOUT_MAX_MS)]
    RingTimeout,
}

impl Invite {
    /// Names each callee once, in the order of their first mention.
    pub fn fold_callees(&mut self) {
        let mut seen = BTreeSet::new();
        self.callees.retain(|callee| seen.insert(callee.clone()));
    }

    /// Whether this invite keeps the limits and makes sense.
    pub fn check(&self) -> Result<(), InviteError> {
        let ext_bytes: usize = self.ext.iter().map(|(key, value)| key.len() + value.len()).sum();
        if self.callees.is_empty() {
            Err(InviteError::NoCallee)
        } else if self.call_type.is_one_to_one() && self.callees.len() != 1 {
            Err(InviteError::NotOneCallee)
        } else if self.callees.len() > limits::CALLEES {
            Err(InviteError::TooManyCallees)
        } else if self.callees.contains(&self.caller.user) {
            Err(InviteError::OwnId)
        } else if self.ext.len() > limits::EXT_ENTRIES || ext_bytes > limits::EXT_BYTES {
            Err(InviteError::ExtTooLarge)
        } else if self.app_server_data.len() > limits::APP_SERVER_DATA_BYTES {
            Err(InviteError::AppServerDataTooLarge)
        } else if !(limits::RING_TIMEOUT_MIN_MS..=limits::RING_TIMEOUT_MAX_MS).contains(&self.ring_timeout_ms) {
            Err(InviteError::RingTimeout)
        } else {
            Ok(())
        }
    }
}
