//! One word about one call.

use serde::{Deserialize, Serialize};

use crate::accept::{Answer, AnswerConfirm};
use crate::end::{Cancel, End};
use crate::ids::{CallId, DeviceId};
use crate::invite::Invite;
use crate::media::{KeepAlive, Negotiation};
use crate::ring::{Alert, RingConfirm};

/// What device and arbiter say to each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CallMessage {
    /// The call it is about.
    pub call_id: CallId,
    /// What is said.
    pub word: Word,
}

/// The kinds of [`CallMessage`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Word {
    /// Caller to arbiter to callee: do you want to talk?
    Invite(Box<Invite>),
    /// Callee to arbiter to caller: I have it, may I ring?
    Alert(Alert),
    /// Arbiter to callee, and to the caller for the invite: ring, or it is over.
    RingConfirm(RingConfirm),
    /// Callee to arbiter to caller: yes, no, busy.
    Answer(Answer),
    /// Arbiter to callee: this is what counts.
    AnswerConfirm(AnswerConfirm),
    /// Caller to arbiter to callee, before the answer: never mind.
    Cancel(Cancel),
    /// Either party to arbiter to the other, and back as the receipt: it is over.
    End(End),
    /// Party to arbiter, every few seconds: I am still in it.
    KeepAlive(KeepAlive),
    /// Party to arbiter to the other party: a step of setting the media up.
    Negotiation(Box<Negotiation>),
    /// Arbiter to party: the other one cannot be heard at the moment, or is back.
    Reachability {
        /// Whether it can be heard.
        reachable: bool,
        /// How long until the call ends if it stays away, in ms.
        ends_in_ms: u32,
    },
    /// Arbiter to party: whether the other one has put the call on hold.
    Hold {
        /// It has.
        held: bool,
        /// Why, if it says; at most [`NOTE_BYTES`](crate::limits::NOTE_BYTES).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Arbiter to a device that was not there while it rang: nobody answered. Its receipt is an [`End`].
    Missed(Box<Invite>),
}

/// A word as an app's own chat carries it, which vouches for the user it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChatMessage {
    /// The device of that user.
    pub from: DeviceId,
    /// The device it is for; every device of the user if absent.
    pub to: Option<DeviceId>,
    /// What is said.
    pub message: CallMessage,
}

impl Word {
    /// The word's name, for logs and transcripts.
    pub fn name(&self) -> &'static str {
        match self {
            Word::Invite(_) => "invite",
            Word::Alert(_) => "alert",
            Word::RingConfirm(_) => "ring_confirm",
            Word::Answer(_) => "answer",
            Word::AnswerConfirm(_) => "answer_confirm",
            Word::Cancel(_) => "cancel",
            Word::End(_) => "end",
            Word::KeepAlive(_) => "keep_alive",
            Word::Negotiation(_) => "negotiation",
            Word::Reachability { .. } => "reachability",
            Word::Hold { .. } => "hold",
            Word::Missed(_) => "missed",
        }
    }
}
