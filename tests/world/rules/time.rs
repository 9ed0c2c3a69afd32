//! What must have happened by now.

use call_protocol::CallId;
use signaling::Phase;

use super::Rule;
use crate::plan::Placement;
use crate::world::World;

impl World {
    /// Checked after every step: whoever is late, and with what.
    pub(crate) fn check_time(&mut self) {
        for at in 0..self.devices.len() {
            if !self.devices[at].open.is_empty() && self.devices[at].alive {
                self.check_ringers(at);
            }
        }
        for nth in 0..self.rules.talking.len() {
            let Some(call_id) = self.rules.talking.get(nth).copied() else { break };
            match self.plan.placement {
                Placement::Server if self.server.is_up() => self.check_noticed(call_id),
                Placement::Server => {}
                Placement::Chat => self.check_noticed_by_devices(call_id),
            }
        }
    }

    /// At most one call of a device is not on hold.
    pub(crate) fn check_device(&mut self, at: usize) {
        let device = &mut self.devices[at];
        if !device.is_idle() {
            device.idle_since = u64::MAX;
        } else if device.idle_since == u64::MAX {
            device.idle_since = self.now;
        }
        let unheld = device
            .open
            .iter()
            .filter(|call_id| device.told.get(*call_id).is_some_and(|told| told.peer.is_some() && !told.held));
        let unheld = unheld.count();
        let what = || format!("{} believes {unheld} calls not to be on hold", device.name);
        self.rules.expect(unheld <= 1, Rule::OneUnheld, what);
    }

    fn check_ringers(&mut self, at: usize) {
        let device = &self.devices[at];
        let Some(call_id) = self.ringing(at) else { return };
        let Some(truth) = self.rules.truths.get(&call_id) else { return };
        if self.now <= device.paused_until {
            return;
        }
        let (name, now) = (&device.name, self.now);
        let mut late = None;
        if now > truth.deadline + self.plan.clocks_ms() {
            late = Some(format!("{name} rings {} ms after the deadline", now - truth.deadline));
        }
        // What the arbiter has decided is heard within one way of a network that works.
        let decided = truth.answered_at.into_iter().chain(truth.ended.map(|(at, ..)| at)).min();
        if let Some(decided) = decided
            && let Some(way_ms) = self.way_since_ms(decided)
            && device.well_since(now, decided)
            && self.carries(truth.caller, decided)
            && now > decided + way_ms
        {
            late = Some(format!("{name} rings {} ms after the call was answered or over", now - decided));
        }
        if let Some(gone) = truth.vanished[0]
            && let Some(patience) = self.patience_with_vanished(truth.caller, at, gone)
            && now > gone + patience
        {
            late = Some(format!("{name} rings {} ms after the device that called was gone", now - gone));
        }
        if let Some(what) = late {
            self.rules.broken(Rule::NothingRingsOn, what);
        }
    }

    /// The longest way of what is said from `since` on, where nothing is lost.
    fn way_since_ms(&self, since: u64) -> Option<u64> {
        if self.carrier.was_scripted {
            return None;
        }
        // What was said in the very millisecond of the mending may have been said before it.
        let mended = self.carrier.mended && since > self.plan.chaos_ms;
        if mended { Some(self.plan.delay_ms.1) } else { self.plan.longest_way_ms() }
    }

    /// Whether the arbiter's side of the network has worked since then.
    pub(crate) fn carries(&self, caller: usize, since: u64) -> bool {
        match self.plan.placement {
            Placement::Server => self.server.is_up() && self.rules.server_is_back_at < since.max(1),
            Placement::Chat => self.devices[caller].well_since(self.now, since),
        }
    }

    /// How long a device may ring on when the caller's is gone; none where old messages of the caller may still arrive.
    fn patience_with_vanished(&self, caller: usize, at: usize, gone: u64) -> Option<u64> {
        let way_ms = self.plan.longest_way_ms().filter(|_| self.plan.stray == 0.0 && !self.plan.holds)?;
        if self.carrier.was_scripted {
            return None;
        }
        match self.plan.placement {
            Placement::Server => {
                let works = self.devices[at].well_since(self.now, gone)
                    && self.server.is_up()
                    && self.rules.server_is_back_at <= gone;
                works.then_some(self.rules.liveness_ms + 3 * way_ms)
            }
            // A device notices by itself; what the other one said before is on its way.
            Placement::Chat => {
                let link = self.devices[caller].link.until().max(self.devices[at].link.until());
                let paused = self.devices[at].paused_until;
                (link <= gone && paused <= gone).then_some(self.plan.line.liveness_ms + 2 * way_ms)
            }
        }
    }

    /// Who is silent for too long in a call must have been noticed.
    fn check_noticed(&mut self, call_id: CallId) {
        let (liveness_ms, window_ms) = (self.rules.liveness_ms, self.rules.resume_window_ms);
        // A copy is sent as late as the first one arrives.
        let way_ms = (self.plan.stray == 0.0 && !self.plan.holds).then_some(2 * self.plan.delay_ms.1);
        let Some(truth) = self.rules.truths.get(&call_id) else { return };
        let mut late = None;
        for side in [0, 1] {
            let silent = self.rules.silence(truth, side);
            // What it said before it vanished is heard by then; what nobody could hear counts for nobody.
            let until = self.now.min(truth.heard[1 - side] + liveness_ms / 2);
            let heard = self.rules.server_is_back_at.max(truth.unheard_until);
            let gone = truth.vanished[side]
                .zip(way_ms)
                .map_or(0, |(at, way_ms)| until.saturating_sub((at + way_ms).max(heard)));
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

    /// The same where the caller's device decides: it watches the other one, and that one watches it.
    fn check_noticed_by_devices(&mut self, call_id: CallId) {
        let (liveness_ms, window_ms) = (self.rules.liveness_ms, self.rules.resume_window_ms);
        let Some(truth) = self.rules.truths.get(&call_id) else { return };
        let caller = &self.devices[truth.caller];
        let knows = |at: usize| self.devices[at].told.get(&call_id).cloned().unwrap_or_default();
        let mut late = None;
        if caller.alive && caller.life == truth.caller_life {
            // While it sleeps it hears nobody.
            let silent = self.now.saturating_sub(truth.heard[1].max(caller.paused_until));
            let told = knows(truth.caller);
            let late_one = silent > window_ms || (silent > liveness_ms && !told.peer_away);
            if self.now > caller.paused_until && told.ended.is_none() && late_one {
                late =
                    Some(format!("{call_id}: the callee is silent for {silent} ms and {} was not told", caller.name));
            }
        } else if let Some(winner) = truth.winner
            && let Some(gone) = truth.vanished[0]
            && self.plan.stray == 0.0
            && self.plan.loss == 0.0
        {
            let callee = &self.devices[winner];
            let told = knows(winner);
            let silent = self.now.saturating_sub(gone + 2 * self.plan.delay_ms.1);
            let works = callee.alive
                && callee.paused_until <= gone
                && caller.link.until().max(callee.link.until()) <= gone
                && callee.desk.line().calls().any(|phase| phase == Phase::InCall(call_id));
            if works && (silent > window_ms || (silent > liveness_ms && !told.peer_away)) {
                late = Some(format!("{call_id}: the caller is gone for {silent} ms and {} was not told", callee.name));
            }
        }
        if let Some(what) = late {
            self.rules.broken(Rule::VanishedIsNoticed, what);
        }
    }

    /// At the device that decides, what is told of the other one goes by its own ear.
    pub(crate) fn check_reachability_told(
        &mut self,
        at: usize,
        call_id: CallId,
        reachable: bool,
        what: &dyn Fn(&str) -> String,
    ) {
        if self.plan.placement == Placement::Server {
            return;
        }
        let Some(truth) = self.rules.truths.get(&call_id) else { return };
        if truth.caller == at {
            let silent = self.now - truth.heard[1];
            let right = reachable || silent >= self.rules.liveness_ms;
            self.rules.expect(right, Rule::VanishedIsNoticed, || what(&format!("it was heard {silent} ms ago")));
        }
    }

    /// Whoever still talks must know whether the other one can be heard, who holds, and all that was said.
    pub(crate) fn check_settled(&mut self) {
        for at in 0..self.devices.len() {
            let device = &self.devices[at];
            if !device.alive {
                continue;
            }
            for call_id in &device.open {
                let Some(told) = device.told.get(call_id) else { continue };
                let Some(peer) = told.peer else { continue };
                let what = || format!("{} still believes that the other one cannot be heard", device.name);
                self.rules.expect(!told.peer_away, Rule::VanishedIsNoticed, what);
                let other = self.devices[peer].told.get(call_id).filter(|other| other.peer == Some(at));
                let Some(other) = other.filter(|_| self.devices[peer].alive) else { continue };
                let agree = other.held == told.peer_held || other.ended.is_some();
                let what = || format!("{} does not know whether the other one holds", device.name);
                self.rules.expect(agree, Rule::OneUnheld, what);
            }
        }
        self.check_steps_are_complete();
    }
}
