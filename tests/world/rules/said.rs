//! What an arbiter says, against what happened.

use call_protocol::accept::AnswerResult;
use call_protocol::end::EndReason;
use call_protocol::invite::Invite;
use call_protocol::ring::RingConfirm;
use call_protocol::{CallId, CallMessage, Word};
use signaling::{Fact, To};

use super::{Rule, Some16, Truth};
use crate::plan::Placement;
use crate::world::World;

/// What an arbiter waits for the other devices of a user, at least.
const BUSY_GRACE_MS: u64 = 2_000;

impl World {
    /// A call was opened.
    pub(crate) fn note_opened(&mut self, caller: usize, invite: &Invite) {
        let callee = self.devices.iter().find(|device| invite.callees.contains(&device.party.user));
        let callee = callee.map_or(self.plan.devices.len(), |device| device.user);
        let told = self.devices[caller].told.get(&invite.call_id).cloned();
        let mut hurt = Some16::default();
        if told.as_ref().is_none_or(|told| told.role.is_none()) {
            // The invite of an app that is gone.
            hurt.add(caller);
        }
        let told = told.unwrap_or_default();
        let mut truth = Truth {
            caller,
            caller_life: self.devices[caller].life,
            callee,
            invite: invite.clone(),
            opened_at: self.now,
            // What is told of it in wall time goes by a clock that may be off.
            deadline: self.now + u64::from(invite.ring_timeout_ms),
            asked: Some16::default(),
            confirmed: Some16::default(),
            receipts: Some16::default(),
            answered_at: None,
            winner: None,
            takers: Some16::default(),
            ended: None,
            heard: [self.now; 2],
            unheard_until: 0,
            spoken_at: self.now,
            away: [false; 2],
            vanished: [None; 2],
            hurt,
            hung_up: Some16::default(),
            failed: Some16::default(),
            busy: Some16::default(),
            merged: told.merged,
            told: told.ended.map(|reason| (caller, reason)).into_iter().collect(),
        };
        if told.hung_up {
            truth.hung_up.add(caller);
        }
        if told.failed {
            truth.failed.add(caller);
        }
        if !hurt.is_empty() {
            truth.vanished[0] = Some(self.now);
        }
        self.rules.recent.push(invite.call_id);
        let again = self.rules.truths.insert(invite.call_id, truth).is_some();
        self.rules.expect(!again, Rule::StrayChangesNothing, || "a call was opened again".to_owned());
    }

    /// A device says something of a call.
    pub(crate) fn note_said_by_device(&mut self, at: usize, message: &CallMessage) {
        match &message.word {
            Word::Alert(_) => self.note_doing(at, message.call_id, |truth| truth.asked.add(at)),
            Word::Answer(answer) if answer.result == AnswerResult::Busy => {
                if answer.callee == self.devices[at].party {
                    self.devices[at].told(message.call_id).said_busy = true;
                    self.note_doing(at, message.call_id, |truth| {
                        truth.busy.add(at);
                        truth.asked.remove(at);
                    });
                }
            }
            Word::Invite(_)
            | Word::RingConfirm(_)
            | Word::Answer(_)
            | Word::AnswerConfirm(_)
            | Word::Cancel(_)
            | Word::End(_)
            | Word::KeepAlive(_)
            | Word::Negotiation(_)
            | Word::Reachability { .. }
            | Word::Hold { .. }
            | Word::Missed(_) => {}
        }
    }

    /// A device that arbitrates hears another one.
    pub(crate) fn note_heard_by_device(&mut self, at: usize, from: usize, call_id: CallId) {
        if self.rules.truths.get(&call_id).is_some_and(|truth| truth.caller == at) {
            self.rules.heard(&call_id, from, self.now);
        }
    }

    /// The arbiter of a call says something to somebody; `arbiter` is the device it runs on, or the caller's.
    pub(crate) fn check_said(&mut self, call_id: CallId, arbiter: usize, to: &To, word: &Word) {
        if let Word::AnswerConfirm(confirm) = word
            && confirm.result == AnswerResult::Accept
        {
            let winner = self.device_of(&confirm.winner);
            let Some(truth) = self.rules.truths.get_mut(&call_id).filter(|truth| truth.caller == arbiter) else {
                return;
            };
            let same = truth.winner.is_none() || truth.winner == winner;
            truth.winner = winner;
            let of_callee = winner.is_some_and(|winner| self.devices[winner].user == truth.callee);
            let what = || format!("{} took a call of somebody else", confirm.winner);
            self.rules.expect(of_callee, Rule::OneTaker, what);
            let what = || format!("{} took a call that another device took", confirm.winner);
            self.rules.expect(same, Rule::OneTaker, what);
        }
        let To::Device(party) = to else { return };
        let Some(at) = self.device_of(party) else { return };
        let user = self.devices[at].user;
        let Some(truth) = self.rules.truths.get_mut(&call_id) else { return };
        if truth.caller != arbiter {
            return;
        }
        match word {
            Word::RingConfirm(RingConfirm::Ring { .. }) if user == truth.callee => {
                if truth.asked.has(at) {
                    truth.confirmed.add(at);
                } else {
                    truth.receipts.add(at);
                }
                let rings = truth.ended.is_none() && truth.answered_at.is_none();
                let what = || format!("{party} may ring, says the arbiter of a call that is over or answered");
                self.rules.expect(rings, Rule::NothingRingsOn, what);
            }
            Word::Reachability { reachable, .. } => {
                let Some(side) = truth.side(at) else { return };
                let (about, since) = (1 - side, self.now - truth.heard[1 - side]);
                let changed = std::mem::replace(&mut truth.away[about], !reachable) == *reachable;
                let right = if *reachable { since == 0 } else { since >= self.plan.arbiter.liveness_ms };
                let remote = self.plan.placement == Placement::Server;
                let what = || format!("{party} hears reachable={reachable} of a peer last heard {since} ms ago");
                self.rules.expect(!remote || (changed && right), Rule::VanishedIsNoticed, what);
            }
            Word::Missed(_) => {
                let missed = truth.ended.is_some() && truth.answered_at.is_none();
                let what = || format!("{party} hears that it missed a call that is not over or was answered");
                self.rules.expect(missed, Rule::MissedToldOnce, what);
            }
            Word::RingConfirm(_)
            | Word::Invite(_)
            | Word::Alert(_)
            | Word::Answer(_)
            | Word::AnswerConfirm(_)
            | Word::Cancel(_)
            | Word::End(_)
            | Word::KeepAlive(_)
            | Word::Negotiation(_)
            | Word::Hold { .. } => {}
        }
    }

    /// The arbiter tells metrics and history what became of a call.
    pub(crate) fn check_fact(&mut self, fact: Fact) {
        let now = self.now;
        match fact {
            Fact::Ringing { .. } => {}
            Fact::Answered { call_id, ring_ms } => {
                let Some(truth) = self.rules.truths.get_mut(&call_id) else { return };
                let first = truth.answered_at.replace(now).is_none() && truth.ended.is_none();
                let rang_ms = now - truth.opened_at;
                // Whoever answers was heard; the caller was heard before.
                truth.heard[1] = now;
                let told = truth.winner.is_some();
                if truth.winner.is_some_and(|winner| self.devices[winner].alive && !truth.hurt.has(winner)) {
                    truth.vanished[1] = None;
                }
                self.rules.talking.push(call_id);
                self.rules.expect(first, Rule::OneTaker, || format!("{call_id} was answered again"));
                self.rules
                    .expect(told, Rule::OneTaker, || format!("{call_id} was answered, and nobody is told by whom"));
                let what = || format!("{call_id} rang for {rang_ms} ms, told as {ring_ms}");
                self.rules.expect(ring_ms == rang_ms, Rule::FactsAreTrue, what);
            }
            Fact::Ended { call_id, caller_reason, callee_reason, talk_ms } => {
                self.check_end_fact(call_id, caller_reason, callee_reason, talk_ms);
                if caller_reason == EndReason::Busy {
                    self.check_busy_counts(call_id);
                }
                self.expect_missed_by_the_busy(call_id);
            }
        }
    }

    fn check_end_fact(&mut self, call_id: CallId, caller_reason: EndReason, callee_reason: EndReason, talk_ms: u64) {
        let now = self.now;
        let sleeper = |at: Option<usize>| at.is_none_or(|at| self.devices[at].well_since.saturating_add(20_000) > now);
        let calls_again = self.calls_again_in_mid_call(call_id);
        let Some(truth) = self.rules.truths.get(&call_id) else { return };
        let on_server = self.plan.placement == Placement::Server;
        let counted = |side| if on_server { self.rules.silence(truth, side) } else { now - truth.heard[side] };
        let silent =
            if truth.answered_at.is_some() { [0, 1].map(counted) } else { truth.heard.map(|heard| now - heard) };
        let unheard_ms = now - truth.heard[0].max(truth.heard[1]);
        let Some(truth) = self.rules.truths.get_mut(&call_id) else { return };
        let first = truth.ended.replace((now, caller_reason, callee_reason)).is_none();
        let talked_ms = truth.answered_at.map_or(0, |since| now - since);
        let answered = truth.answered_at.is_some();
        let spoken = truth.spoken_at == now;
        let (failed, hurt) = (!truth.failed.is_empty(), !truth.hurt.is_empty());
        // A device that arbitrates and slept has heard nobody meanwhile.
        let slept = self.plan.placement == Placement::Chat && sleeper(Some(truth.caller));
        self.rules.talking.retain(|talking| *talking != call_id);
        self.rules.expect(first, Rule::EndToldOnce, || format!("{call_id} ended again"));
        let what = || format!("{call_id}: {talked_ms} ms of talk, told as {talk_ms}");
        self.rules.expect(talk_ms == talked_ms, Rule::FactsAreTrue, what);
        if caller_reason == EndReason::RemoteDrop && callee_reason == EndReason::RemoteDrop {
            let arbiter = self.plan.arbiter;
            // A device may say so itself: it answered in vain, or was started anew in the middle of the call.
            let said = spoken || hurt;
            let so = if answered {
                silent.iter().any(|ms| *ms >= arbiter.resume_window_ms) || unheard_ms >= arbiter.abandoned_ms
            } else {
                silent[0] >= arbiter.liveness_ms
            };
            let what = || format!("{call_id}: dropped, though they were heard {silent:?} ms ago");
            self.rules.expect(so || failed || said || slept || calls_again, Rule::VanishedIsNoticed, what);
        }
    }

    /// Whether a device at an end of a call calls anew, which tells the other end that it has lost the call.
    pub(crate) fn calls_again_in_mid_call(&self, call_id: CallId) -> bool {
        let Some(truth) = self.rules.truths.get(&call_id) else { return false };
        self.rules.recent.iter().rev().take(64).any(|other| {
            let other = &self.rules.truths[other];
            truth.side(other.caller).is_some() && other.opened_at > truth.opened_at
        })
    }

    /// A user is busy only if each of the user's devices that could ring is in another call.
    fn check_busy_counts(&mut self, call_id: CallId) {
        let Some(way_ms) = self.plan.longest_way_ms() else { return };
        let Some(truth) = self.rules.truths.get(&call_id) else { return };
        let (callee, busy, opened_at, caller) = (truth.callee, truth.busy, truth.opened_at, truth.caller);
        if 4 * way_ms >= BUSY_GRACE_MS || self.rules.server_is_back_at > opened_at {
            return;
        }
        // Where a device arbitrates, its network has to work as well.
        if self.plan.placement == Placement::Chat && !self.devices[caller].well_since(self.now, opened_at) {
            return;
        }
        for at in 0..self.devices.len() {
            let device = &self.devices[at];
            let free = device.user == callee
                && device.well_since(self.now, opened_at)
                && device.announced == device.life
                && device.idle_since <= opened_at
                && !busy.has(at);
            let what = || format!("{call_id} ended as busy, but {} is free", device.name);
            self.rules.expect(!free, Rule::BusyAnswersItself, what);
        }
        let what = || format!("{call_id} ended as busy, but no line said so");
        self.rules.expect(!busy.is_empty(), Rule::BusyAnswersItself, what);
    }

    /// The app of a device is gone, with all that it knew.
    pub(crate) fn note_vanished(&mut self, at: usize) {
        self.devices[at].idle_since = u64::MAX;
        for (call_id, told) in std::mem::take(&mut self.devices[at].told) {
            if let Some(truth) = self.rules.truths.get_mut(&call_id) {
                // A farewell that nobody heard is gone, too.
                if told.ended.is_none() || truth.ended.is_none() {
                    truth.hurt.add(at);
                }
                if let Some(side) = truth.side(at)
                    && (told.ended.is_none() || truth.ended.is_none())
                {
                    truth.vanished[side] = Some(self.now);
                }
            }
        }
    }
}
