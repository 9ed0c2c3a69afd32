//! What the arbiter says, against what happened.

use call_protocol::accept::AnswerResult;
use call_protocol::end::EndReason;
use call_protocol::ring::RingConfirm;
use call_protocol::{CallId, Word};
use signaling::{Arbiter, Fact, To};

use super::{Rule, Truth, moment_of_unix};
use crate::world::World;

impl World {
    /// A call was opened.
    pub(crate) fn note_opened(&mut self, caller: usize, arbiter: &Arbiter) {
        let invite = arbiter.invite();
        let callee = self.devices.iter().position(|device| invite.callees.contains(&device.party.user));
        let told = self.devices[caller].told.get(&invite.call_id).cloned();
        // The invite of an app that is gone.
        let hurt = told.as_ref().is_none_or(|told| told.role.is_none());
        let told = told.unwrap_or_default();
        let truth = Truth {
            caller,
            callee: callee.unwrap_or(usize::MAX),
            opened_at: self.now,
            deadline: moment_of_unix(invite.ring_deadline_unix_ms),
            confirmed: false,
            answered_at: None,
            takers: Vec::new(),
            ended: None,
            heard: [self.now; 2],
            away: [false; 2],
            vanished: [None; 2],
            hurt,
            hung_up: [told.hung_up, false],
            failed: [told.failed, false],
            busy: false,
            told: [told.ended, None],
        };
        let again = self.rules.truths.insert(invite.call_id, truth).is_some();
        self.rules.expect(!again, Rule::StrayChangesNothing, || "a call was opened again".to_owned());
    }

    /// The arbiter says something to somebody.
    pub(crate) fn check_said(&mut self, call_id: CallId, to: &To, word: &Word) {
        let To::Device(party) = to else { return };
        let Some(at) = self.devices.iter().position(|device| device.party == *party) else { return };
        let over = self.server.calls.get(&call_id).is_none_or(|slot| slot.arbiter.has_ended());
        let taken = self.server.calls.get(&call_id).is_some_and(|slot| slot.arbiter.winner().is_some());
        let Some(truth) = self.rules.truths.get_mut(&call_id) else { return };
        let Some(side) = truth.side(at) else { return };
        match word {
            Word::RingConfirm(RingConfirm::Ring { .. }) if side == 1 => {
                truth.confirmed = true;
                let what = || format!("{party} may ring, says the arbiter of a call that is over or answered");
                self.rules.expect(!over && !taken, Rule::NothingRingsOn, what);
            }
            Word::Reachability { reachable, .. } => {
                let (about, since) = (1 - side, self.now - truth.heard[1 - side]);
                let changed = std::mem::replace(&mut truth.away[about], !reachable) == *reachable;
                let right = if *reachable { since == 0 } else { since >= self.plan.arbiter.liveness_ms };
                let what = || format!("{party} hears reachable={reachable} of a peer last heard {since} ms ago");
                self.rules.expect(changed && right, Rule::VanishedIsNoticed, what);
            }
            Word::AnswerConfirm(confirm) if confirm.result == AnswerResult::Accept && confirm.winner == *party => {
                let what = || format!("{party} took a call that nobody took");
                let so = taken || truth.answered_at.is_some();
                self.rules.expect(so && side == 1, Rule::OneTaker, what);
            }
            Word::Negotiation(_) => {
                let what = || format!("{party} hears a device that did not take the call");
                self.rules.expect(taken || side == 1, Rule::OneTaker, what);
            }
            Word::Invite(_)
            | Word::Alert(_)
            | Word::RingConfirm(_)
            | Word::Answer(_)
            | Word::AnswerConfirm(_)
            | Word::Cancel(_)
            | Word::End(_)
            | Word::KeepAlive { .. } => {}
        }
    }

    /// The arbiter decided who took the call.
    pub(crate) fn note_winner(&mut self, call_id: CallId) {
        let Some(winner) = self.server.calls.get(&call_id).and_then(|slot| slot.arbiter.winner()) else { return };
        let Some(truth) = self.rules.truths.get(&call_id) else { return };
        let so = self.devices.get(truth.callee).is_some_and(|device| device.party == *winner);
        let what = format!("{winner} took a call for somebody else");
        self.rules.expect(so, Rule::OneTaker, || what);
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
                if self.devices.get(truth.callee).is_some_and(|device| device.alive) {
                    truth.vanished[1] = None;
                }
                self.rules.talking.push(call_id);
                self.rules.expect(first, Rule::OneTaker, || format!("{call_id} was answered again"));
                let what = || format!("{call_id} rang for {rang_ms} ms, told as {ring_ms}");
                self.rules.expect(ring_ms == rang_ms, Rule::FactsAreTrue, what);
            }
            Fact::Ended { call_id, caller_reason, callee_reason, talk_ms } => {
                let Some(truth) = self.rules.truths.get_mut(&call_id) else { return };
                let first = truth.ended.replace((now, caller_reason, callee_reason)).is_none();
                let talked_ms = truth.answered_at.map_or(0, |since| now - since);
                let silent = truth.heard.map(|heard| now - heard);
                let (answered, failed) = (truth.answered_at.is_some(), truth.failed != [false; 2]);
                self.rules.talking.retain(|talking| *talking != call_id);
                self.rules.expect(first, Rule::EndToldOnce, || format!("{call_id} ended again"));
                let what = || format!("{call_id}: {talked_ms} ms of talk, told as {talk_ms}");
                self.rules.expect(talk_ms == talked_ms, Rule::FactsAreTrue, what);
                if caller_reason == EndReason::RemoteDrop && callee_reason == EndReason::RemoteDrop {
                    let arbiter = self.plan.arbiter;
                    // A phone may say so itself: it answered in vain, or was started anew in the middle of the call.
                    let said = silent.contains(&0);
                    let so = if answered {
                        silent.iter().any(|ms| *ms >= arbiter.resume_window_ms)
                    } else {
                        silent[0] >= arbiter.liveness_ms
                    };
                    let what = || format!("{call_id}: dropped, though they were heard {silent:?} ms ago");
                    self.rules.expect(so || failed || said, Rule::VanishedIsNoticed, what);
                }
            }
        }
    }
}
