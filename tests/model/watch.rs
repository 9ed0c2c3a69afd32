//! What the apps were told, and the first rule that was broken by it.

use std::collections::BTreeMap;

use call_protocol::CallId;
use call_protocol::end::EndReason;
use signaling::{Event, Fact, Role, Time};

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Rule {
    /// At most one device of a callee is told that it took the call.
    OneTaker,
    /// An app is told the end of each call once, and nothing of it before its beginning or after its end.
    EndToldOnce,
    /// A call is told as missed at most once, and not where it rang.
    MissedToldOnce,
    /// No call is lost because of one message.
    NobodyDrops,
    /// What a user may do in a state can be done.
    CommandsWork,
}

/// What one app knows of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Told {
    Calling,
    Ringing,
    Talking,
    Over,
    Missed,
}

/// What was told, and what the arbiters decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Watch {
    told: BTreeMap<(usize, CallId), Told>,
    takers: BTreeMap<CallId, usize>,
    /// When the arbiter of a call stopped its ringing.
    pub(crate) decided: BTreeMap<CallId, Time>,
    /// Two users were calling each other, which decides how it has to go on.
    pub(crate) glare: bool,
    pub(crate) held: bool,
    pub(crate) merged: bool,
    pub(crate) broken: Option<Rule>,
    /// So much goes wrong that a call may be lost by it.
    may_drop: bool,
}

impl Watch {
    pub(crate) fn new(may_drop: bool) -> Watch {
        Watch { may_drop, ..Watch::default() }
    }

    pub(crate) fn breaks(&mut self, rule: Rule) {
        self.broken.get_or_insert(rule);
    }

    pub(crate) fn placed(&mut self, device: usize, call_id: CallId) {
        self.told.insert((device, call_id), Told::Calling);
    }

    pub(crate) fn fact(&mut self, now: Time, fact: &Fact) {
        match fact {
            Fact::Ringing { .. } => {}
            Fact::Answered { call_id, .. } | Fact::Ended { call_id, .. } => {
                self.decided.entry(*call_id).or_insert(now);
            }
        }
    }

    pub(crate) fn is_talking(&self) -> bool {
        self.told.values().any(|told| *told == Told::Talking)
    }

    pub(crate) fn tell(&mut self, device: usize, event: &Event) {
        let told = |watch: &Watch, call_id: &CallId| watch.told.get(&(device, *call_id)).copied();
        let fits = match event {
            Event::Notifying { call_id }
            | Event::Alerted { call_id, .. }
            | Event::Answering { call_id, .. }
            | Event::Failed { call_id, .. } => told(self, call_id) == Some(Told::Calling),
            Event::Ringing { invite, .. } => self.told.insert((device, invite.call_id), Told::Ringing).is_none(),
            Event::Merged { old, invite } => {
                self.merged = true;
                self.told.insert((device, *old), Told::Over) == Some(Told::Calling)
                    && self.told.insert((device, invite.call_id), Told::Ringing).is_none()
            }
            Event::Accepted { invite, role, .. } => {
                let before = match role {
                    Role::Caller => Told::Calling,
                    Role::Callee => Told::Ringing,
                };
                if *role == Role::Callee && *self.takers.entry(invite.call_id).or_insert(device) != device {
                    self.breaks(Rule::OneTaker);
                }
                self.told.insert((device, invite.call_id), Told::Talking) == Some(before)
            }
            Event::Held { call_id, held } => {
                self.held |= held;
                told(self, call_id) == Some(Told::Talking)
            }
            // Nobody asks about a call of a push in these worlds.
            Event::Released { .. } => false,
            Event::Negotiation { call_id, .. }
            | Event::PeerHeld { call_id, .. }
            | Event::Reachability { call_id, .. } => told(self, call_id) == Some(Told::Talking),
            Event::Ended { call_id, reason, .. } => {
                match reason {
                    EndReason::RemoteDrop | EndReason::Error if self.may_drop => {}
                    EndReason::RemoteDrop | EndReason::Error => self.breaks(Rule::NobodyDrops),
                    EndReason::Hangup
                    | EndReason::RemoteHangup
                    | EndReason::Cancel
                    | EndReason::RemoteCancel
                    | EndReason::Refuse
                    | EndReason::RemoteRefuse
                    | EndReason::Busy
                    | EndReason::NoResponse
                    | EndReason::RemoteNoResponse
                    | EndReason::AnsweredElsewhere
                    | EndReason::RefusedElsewhere => {}
                }
                match self.told.insert((device, *call_id), Told::Over) {
                    Some(Told::Calling | Told::Ringing | Told::Talking) => true,
                    Some(Told::Over | Told::Missed) | None => false,
                }
            }
            Event::Missed { invite } => {
                if self.told.insert((device, invite.call_id), Told::Missed).is_some() {
                    self.breaks(Rule::MissedToldOnce);
                }
                true
            }
        };
        if !fits {
            self.breaks(Rule::EndToldOnce);
        }
    }
}
