//! Accept: one device of the callee takes the call, or the callee says no.

use serde::{Deserialize, Serialize};

use crate::end::Release;
use crate::ids::Party;
use crate::invite::CallType;

/// What a callee said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AnswerResult {
    /// Yes.
    Accept,
    /// No.
    Refuse,
    /// In another call.
    Busy,
}

/// A callee's device answers; the arbiter passes the one that counts on to the caller.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Answer {
    /// The device that answers; the server fills in the true one.
    pub callee: Party,
    /// What it says.
    pub result: AnswerResult,
    /// The kind of call that is taken; as invited if absent.
    pub call_type: Option<CallType>,
    /// Taken without media, until the callee has finished its preparation.
    pub preparation: bool,
    /// What the app of a callee that refuses says about it.
    pub release: Option<Release>,
}

/// The arbiter tells every device of the callee what counts. Only the winner joins.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AnswerConfirm {
    /// What was answered.
    pub result: AnswerResult,
    /// The device that answered.
    pub winner: Party,
    /// What the app of a callee that refused said about it.
    pub release: Option<Release>,
}
