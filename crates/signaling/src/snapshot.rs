//! A call as a store keeps it, so that a restarted server goes on with it.

use std::collections::BTreeSet;

use call_protocol::end::Release;
use call_protocol::invite::{CallType, Invite};
use call_protocol::{CallId, Party};
use serde::{Deserialize, Serialize};

use crate::arbiter::{Arbiter, ArbiterConfig, Link, Outcome, State, Talk};
use crate::time::{Now, Repeat};

impl Arbiter {
    /// What a store keeps of this call, so that a restarted server goes on with it.
    pub fn snapshot(&self, now: Now) -> ArbiterSnapshot {
        let state = match &self.state {
            State::Ringing { alerted, knows, busy, rang, .. } => {
                let alerted = alerted.keys().cloned().collect();
                Kept::Ringing { alerted, knows: knows.clone(), busy: busy.clone(), rang: *rang }
            }
            State::Answered { talk, callee, call_type, preparation, .. } => {
                let since_unix_ms = now.unix_ms.saturating_sub(talk.ms(now));
                let (callee, call_type, preparation) = (callee.clone(), *call_type, *preparation);
                Kept::Answered { since_unix_ms, callee, call_type, preparation }
            }
            State::Ended { outcome, forget, knows } => {
                let forget_unix_ms = now.unix_ms_at(*forget);
                Kept::Ended { outcome: outcome.clone(), forget_unix_ms, knows: knows.clone() }
            }
        };
        ArbiterSnapshot { invite: self.invite.clone(), state, release: self.release }
    }

    /// The call of a snapshot, at its next wake. Everybody counts as just heard: they could not speak meanwhile. A wall clock that was set
    /// meanwhile makes nothing last longer than it can.
    pub fn restore(config: ArbiterConfig, now: Now, snapshot: ArbiterSnapshot) -> Arbiter {
        let ArbiterSnapshot { mut invite, state, release } = snapshot;
        invite.fold_callees();
        let heard = Link { heard: now.mono, away: false, held: None, hold_reason: None };
        let state = match state {
            Kept::Ringing { alerted, knows, busy, rang } => {
                let left_ms = invite.ring_deadline_unix_ms.saturating_sub(now.unix_ms);
                let left_ms = left_ms.min(invite.ring_timeout_ms.into());
                State::Ringing {
                    deadline: now.mono + left_ms,
                    alerted: alerted.into_iter().map(|device| (device, now.mono)).collect(),
                    knows,
                    busy_until: (!busy.is_empty()).then_some(now.mono + config.busy_grace_ms),
                    busy,
                    // Who is there is not known yet.
                    reachable: BTreeSet::new(),
                    rang,
                    caller_heard: now.mono,
                    invite_again: Repeat::first(now),
                }
            }
            Kept::Answered { since_unix_ms, callee, call_type, preparation } => {
                let talk = Talk { since: now.mono, earlier_ms: now.unix_ms.saturating_sub(since_unix_ms) };
                State::Answered { talk, callee, call_type, preparation, caller_link: heard.clone(), callee_link: heard }
            }
            Kept::Ended { outcome, forget_unix_ms, knows } => {
                let longest = now.mono + u64::from(invite.ring_timeout_ms) + config.tombstone_ms;
                State::Ended { outcome, forget: now.at_unix_ms(forget_unix_ms).min(longest), knows }
            }
        };
        let mut arbiter = Arbiter::with_state(config, invite, state);
        arbiter.release = release;
        arbiter
    }
}

/// One call as a store keeps it; times are wall times, since the monotonic clock starts anew with the server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ArbiterSnapshot {
    invite: Invite,
    state: Kept,
    #[serde(default)]
    release: Option<Release>,
}

impl ArbiterSnapshot {
    /// The call, if it rings.
    pub fn ringing(&self) -> Option<CallId> {
        matches!(self.state, Kept::Ringing { .. }).then_some(self.invite.call_id)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Kept {
    Ringing {
        alerted: BTreeSet<Party>,
        #[serde(default)]
        knows: BTreeSet<Party>,
        busy: BTreeSet<Party>,
        rang: bool,
    },
    Answered {
        since_unix_ms: u64,
        callee: Party,
        call_type: Option<CallType>,
        #[serde(default)]
        preparation: bool,
    },
    Ended {
        outcome: Outcome,
        forget_unix_ms: u64,
        knows: BTreeSet<Party>,
    },
}
