//! A call that is over, as the history keeps it.

use call_protocol::end::EndReason;
use call_protocol::invite::{CallType, Invite};
use call_protocol::{CallId, Party, UserId, limits};
use serde::{Deserialize, Serialize};

/// A call that is over, for one of its callees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRecord {
    /// The call.
    pub call_id: CallId,
    /// Who called.
    pub caller: Party,
    /// Who was called.
    pub callee: UserId,
    /// The kind of call.
    pub call_type: CallType,
    /// When it was opened, in ms since 1970.
    pub began_unix_ms: u64,
    /// How long it rang.
    pub ring_ms: u64,
    /// How long they talked.
    pub talk_ms: u64,
    /// How it ended for the caller.
    pub caller_reason: EndReason,
    /// How it ended for the callee.
    pub callee_reason: EndReason,
    /// The documented number.
    pub disconnect_reason: i32,
    /// The documented number.
    pub disconnect_source: i32,
    /// The app's own code for it.
    pub user_code: Option<String>,
    /// The callee rang, or should have, and did not answer.
    pub missed: bool,
    /// Of two calls the one that ended later has the higher one, whatever the wall clock showed. Zero where an older server wrote it.
    #[serde(default)]
    pub number: u64,
}

impl CallRecord {
    /// The invite of a call of which only this is left.
    pub(crate) fn invite(&self) -> Invite {
        let rang_ms = u32::try_from(self.ring_ms).unwrap_or(u32::MAX);
        let ring_timeout_ms = rang_ms.clamp(limits::RING_TIMEOUT_MIN_MS, limits::RING_TIMEOUT_MAX_MS);
        Invite {
            call_id: self.call_id,
            caller: self.caller.clone(),
            callees: vec![self.callee.clone()],
            call_type: self.call_type,
            channel: self.call_id.channel(),
            ext: Default::default(),
            ring_timeout_ms,
            ring_deadline_unix_ms: self.began_unix_ms.saturating_add(ring_timeout_ms.into()),
            responder_preparation: false,
            app_server_data: String::new(),
        }
    }
}
