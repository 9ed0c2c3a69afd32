//! What must have happened by now.

use call_protocol::CallId;
use signaling::Phase;

use super::Rule;
use crate::world::World;

impl World {
    /// Checked after every step: whoever is late, and with what.
    pub(crate) fn check_time(&mut self) {
        self.rules.now = self.now;
        for at in 0..self.devices.len() {
            self.check_ringers(at);
        }
        if self.server.is_up() {
            for call_id in self.rules.talking.clone() {
                self.check_noticed(call_id);
            }
        }
    }

    fn check_ringers(&mut self, at: usize) {
        let device = &self.devices[at];
        let Phase::Ringing(call_id) = device.line.phase() else { return };
        if !device.alive || self.now <= device.paused_until {
            return;
        }
        let deadline = self.rules.truths.get(&call_id).map_or(0, |truth| truth.deadline);
        let (name, now) = (device.name, self.now);
        let in_time = now <= deadline + self.plan.skew_ms;
        let what = || format!("{name} rings {} ms after the deadline", now - deadline);
        self.rules.expect(in_time, Rule::NothingRingsOn, what);
    }

    /// Who is silent for too long in a call must have been noticed.
    fn check_noticed(&mut self, call_id: CallId) {
        let (liveness_ms, window_ms) = (self.rules.liveness_ms, self.rules.resume_window_ms);
        let way_ms = self.plan.longest_way_ms();
        let Some(truth) = self.rules.truths.get(&call_id) else { return };
        let mut late = None;
        for side in [0, 1] {
            let silent = self.now - truth.heard[side];
            let gone = truth.vanished[side]
                .zip(way_ms)
                .map_or(0, |(at, way_ms)| self.now.saturating_sub((at + way_ms).max(self.rules.server_since)));
            let silent = silent.max(gone);
            if silent > window_ms || (silent > liveness_ms && !truth.away[side]) {
                late = Some((side, silent));
            }
        }
        if let Some((side, silent)) = late {
            let what = format!("{call_id}: side {side} is silent for {silent} ms and nobody was told");
            self.rules.broken(Rule::VanishedIsNoticed, what);
        }
    }
}
