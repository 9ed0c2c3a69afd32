//! When nothing is left to happen: is all over, everywhere, and does it match?

use signaling::Phase;

use crate::reasons;
use crate::rules::Rule;
use crate::world::World;

/// How long after the mending all must have come to rest: the longest ring, the last farewell, and the arbiters' memory.
const REST_MS: u64 = 400_000;

impl World {
    /// Lets things happen until nothing is left to happen or a rule is broken.
    pub(crate) fn come_to_rest(&mut self) {
        let latest = self.now.max(self.plan.chaos_ms) + REST_MS;
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
            let (name, phase) = (device.name, device.line.phase());
            self.rules.expect(phase == Phase::Idle, Rule::Rest, || format!("{name} is {phase:?} for ever"));
            for (call_id, told) in &device.told {
                let so = told.role.is_none() || told.ended.is_some();
                self.rules.expect(so, Rule::EndToldOnce, || format!("{name} was never told the end of {call_id}"));
            }
        }
        for (call_id, truth) in &self.rules.truths {
            let ended = truth.ended.is_some();
            if !ended {
                let what = format!("the arbiter of {call_id} never ended it");
                self.rules.broken(Rule::Rest, what);
                return;
            }
            if !truth.hurt && !reasons::may_end_so(truth.told, !self.troubled) {
                let what = format!("{call_id} ended as {:?}, which no row of the table allows", truth.told);
                self.rules.broken(Rule::EndToldOnce, what);
                return;
            }
        }
    }
}
