//! When nothing is left to happen: is all over, everywhere, and does it match?

use call_protocol::end::EndReason;
use signaling::Phase;

use crate::reasons;
use crate::rules::{Rule, Truth};
use crate::world::World;

/// How long after the mending all must have come to rest: the longest ring, the last farewell, and the arbiters' memory.
const REST_MS: u64 = 400_000;

impl World {
    /// Lets things happen until nothing is left to happen or a rule is broken.
    pub(crate) fn come_to_rest(&mut self) {
        // The last moment of a call that was answered and is over may still stand in the agenda.
        let latest = self.now.max(self.plan.chaos_ms) + REST_MS + self.plan.arbiter.abandoned_ms;
        while self.rules.violation.is_none() {
            if self.now > latest {
                self.rules.broken(Rule::Rest, "it does not come to rest");
            }
            if !self.step() {
                self.check_rest();
                return;
            }
        }
    }

    fn check_rest(&mut self) {
        let left = self.server.calls.len();
        self.rules.expect(left == 0, Rule::Rest, || format!("{left} arbiters stay behind"));
        for device in self.devices.iter().filter(|device| device.alive) {
            let (name, phase) = (&device.name, device.desk.line().phase());
            let left = device.desk.arbiters().count();
            self.rules.expect(phase == Phase::Idle, Rule::Rest, || format!("{name} is {phase:?} for ever"));
            self.rules.expect(left == 0, Rule::Rest, || format!("{left} arbiters stay behind at {name}"));
            for (call_id, told) in &device.told {
                let so = told.role.is_none() || told.ended.is_some();
                self.rules.expect(so, Rule::EndToldOnce, || format!("{name} was never told the end of {call_id}"));
            }
        }
        for call_id in self.rules.recent.clone() {
            let truth = &self.rules.truths[&call_id];
            if truth.ended.is_none() && !self.arbiter_is_lost(call_id) {
                let what = format!("the arbiter of {call_id} never ended it");
                return self.rules.broken(Rule::Rest, what);
            }
            if let Some(pair) = self.strange_ends(truth) {
                let what = format!("{call_id} ended as {pair:?}, which no row of the table allows");
                return self.rules.broken(Rule::EndToldOnce, what);
            }
        }
    }

    /// What two of a call were told, if they may not be told so together.
    fn strange_ends(&self, truth: &Truth) -> Option<[Option<EndReason>; 2]> {
        if truth.hurt.has(truth.caller) || truth.merged {
            return None;
        }
        let caller = truth.told.get(&truth.caller).copied();
        // A chat does not know who is no user: nobody answers. Nor does a device that was busy and calls back as the time is over.
        let nobody = truth.callee >= self.plan.devices.len() || !truth.busy.is_empty();
        // Nor does one that calls the caller itself, where that comes too late.
        let crossed = self.rules.recent.iter().any(|other| {
            let other = &self.rules.truths[other];
            other.callee == self.devices[truth.caller].user
                && self.devices[other.caller].user == truth.callee
                && other.opened_at < truth.opened_at
                && other.ended.is_none_or(|(at, ..)| at > truth.opened_at)
        });
        let nobody = nobody || crossed;
        let may = |callee| reasons::may_end_so([caller, callee], !self.troubled && !nobody);
        if let Some(winner) = truth.winner {
            let pair = truth.told.get(&winner).copied();
            return (!truth.hurt.has(winner) && !may(pair)).then_some([caller, pair]);
        }
        // Of several devices one must fit; why the others ended was checked when they were told.
        let told = truth.told.iter().filter(|(at, _)| **at != truth.caller);
        let mut told = told.map(|(_, reason)| *reason).peekable();
        let first = told.peek().copied();
        let fits = told.any(|reason| may(Some(reason)));
        if first.is_some() {
            return (!fits && truth.hurt.is_empty()).then_some([caller, first]);
        }
        (truth.hurt.is_empty() && !may(None)).then_some([caller, None])
    }
}
