//! Missed calls: told where it did not ring, once, and only if nobody answered or declined.

use call_protocol::CallId;
use call_protocol::end::EndReason;
use call_protocol::invite::Invite;

use super::{Rule, Truth};
use crate::happening::Happening;
use crate::world::World;

impl Truth {
    /// When it ended, if nobody answered or declined it and it does not go on as another one.
    fn missed_at(&self) -> Option<u64> {
        let (at, caller, callee) = self.ended?;
        let missed = self.answered_at.is_none()
            && !self.merged
            && caller != EndReason::RemoteRefuse
            && callee != EndReason::AnsweredElsewhere;
        missed.then_some(at)
    }
}

impl World {
    /// An app is told that it missed a call.
    pub(crate) fn check_missed(&mut self, at: usize, invite: &Invite) {
        let call_id = invite.call_id;
        let name = &self.devices[at].name;
        let told = self.devices[at].told.get(&call_id).cloned().unwrap_or_default();
        let user = self.devices[at].user;
        let what = |why: &str| format!("{name} missed {call_id}: {why}");
        let Some(truth) = self.rules.truths.get(&call_id) else {
            let what = what("there is no such call");
            return self.rules.broken(Rule::MissedToldOnce, what);
        };
        let declined = truth.ended.is_some_and(|(_, caller, _)| caller == EndReason::RemoteRefuse);
        // An arbiter that died with its device is as good as one that ended the call.
        let over = truth.ended.is_some() || self.arbiter_is_lost(call_id);
        // Where no word of the caller reaches the arbiter before the deadline, that ends a call that went on as another one.
        let merged = truth.ended.is_some_and(|(_, _, callee)| callee == EndReason::AnsweredElsewhere);
        // Where both sides have lost the call, nobody knows that it was answered or went on as another one.
        let forgotten = self.arbiter_is_lost(call_id) && self.devices[at].life > 0;
        let merged = merged && !forgotten;
        let (of_user, answered) = (truth.callee == user, truth.answered_at.is_some() && !forgotten);
        let checks = [
            (!told.missed, "it had been told so"),
            (!told.rang && told.role.is_none(), "it had rung"),
            (of_user, "it is a call to somebody else"),
            (!answered, "it was answered"),
            (!declined, "it was declined"),
            (!merged, "it went on as another call"),
            (over, "it is not over"),
        ];
        if let Some((_, why)) = checks.into_iter().find(|(holds, _)| !holds) {
            let what = what(why);
            self.rules.broken(Rule::MissedToldOnce, what);
        }
        self.devices[at].told(call_id).missed = true;
    }

    /// A device signs in: if it missed this call, it has to hear of it.
    pub(crate) fn expect_missed(&mut self, at: usize, call_id: CallId) {
        let Some(way_ms) = self.way_that_works_ms() else { return };
        let Some(truth) = self.rules.truths.get(&call_id) else { return };
        let Some(ended_at) = truth.missed_at() else { return };
        let device = &self.devices[at];
        let knew = device.told.contains_key(&call_id) || truth.confirmed.has(at) || truth.hurt.has(at);
        let remembered = self.now < ended_at + self.plan.arbiter.tombstone_ms;
        if !knew && truth.callee == device.user && device.life == 0 && remembered {
            let (life, since) = (device.life, self.now.max(device.paused_until));
            let due = since + 2 * way_ms + 1;
            self.agenda.add(due, Happening::MissedIsTold { device: at, life, call_id, since });
        }
    }

    /// A device whose line was busy hears how the call ended.
    pub(crate) fn expect_missed_by_the_busy(&mut self, call_id: CallId) {
        let Some(way_ms) = self.way_that_works_ms() else { return };
        let Some(truth) = self.rules.truths.get(&call_id) else { return };
        let Some(ended_at) = truth.missed_at() else { return };
        let user = truth.callee;
        for at in 0..self.devices.len() {
            let device = &self.devices[at];
            let never_rang = device.told.get(&call_id).is_some_and(|told| told.said_busy && told.role.is_none());
            if device.user == user && device.alive && never_rang {
                let life = device.life;
                let due = ended_at + 2 * way_ms + 1;
                self.agenda.add(due, Happening::MissedIsTold { device: at, life, call_id, since: ended_at });
            }
        }
    }

    pub(crate) fn check_missed_is_told(&mut self, at: usize, life: u32, call_id: CallId, since: u64) {
        let device = &self.devices[at];
        let Some(truth) = self.rules.truths.get(&call_id) else { return };
        let carried = self.carries(truth.caller, since);
        let told = device.told.get(&call_id).is_some_and(|told| told.missed || told.role.is_some());
        // Who has talked to the caller since has not missed anything.
        let told = told || device.told.values().any(|told| told.peer == Some(truth.caller));
        if device.life == life && device.well_since(self.now, since) && carried {
            let what = || format!("{} was never told that it missed {call_id}", device.name);
            self.rules.expect(told, Rule::MissedToldOnce, what);
        }
    }

    /// The longest way, where no message is lost or held back.
    pub(crate) fn way_that_works_ms(&self) -> Option<u64> {
        if self.carrier.was_scripted {
            None
        } else if self.carrier.mended {
            Some(self.plan.delay_ms.1)
        } else {
            self.plan.longest_way_ms()
        }
    }
}
