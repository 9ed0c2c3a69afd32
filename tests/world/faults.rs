//! What breaks, and the mending of all.

use call_protocol::CallId;
use rand::RngExt;
use signaling::ArbiterInput;

use crate::happening::Happening;
use crate::plan::{Fault, Placement};
use crate::world::World;

impl World {
    /// Writes down how a random world begins and when it is mended.
    pub(crate) fn let_loose(&mut self) {
        for device in 0..self.devices.len() {
            self.plan_act(device);
        }
        self.plan_trouble();
        let mended = self.plan.chaos_ms;
        // Calls still ring until their deadline, old copies still arrive, and whoever was believed to be away is back.
        let settled = mended + 100_000;
        self.agenda.add(mended, Happening::Mend);
        self.agenda.add(settled, Happening::Settle);
        self.agenda.add(settled + 1, Happening::Part { all: false });
        self.agenda.add(settled + 10_000, Happening::Part { all: true });
    }

    fn plan_trouble(&mut self) {
        if self.plan.faults.is_empty() {
            return;
        }
        let at = self.now + self.rng.random_range(1..=self.plan.fault_ms);
        if at < self.plan.chaos_ms {
            self.agenda.add(at, Happening::Trouble);
        }
    }

    /// Something breaks.
    pub(crate) fn trouble(&mut self) {
        self.plan_trouble();
        let for_ms = self.rng.random_range(1..=self.plan.outage_ms);
        let device = self.rng.random_range(0..self.devices.len());
        let nth = self.rng.random_range(0..self.plan.faults.len());
        self.breaks(self.plan.faults[nth], device, for_ms);
    }

    pub(crate) fn breaks(&mut self, fault: Fault, device: usize, for_ms: u64) {
        match fault {
            Fault::LinkDown => self.link_breaks(device, for_ms),
            Fault::HalfOpen => self.link_breaks_half(device, for_ms),
            Fault::Crash => self.crashes(device, Some(for_ms)),
            Fault::Sleep => self.sleeps_for(device, for_ms),
            Fault::SignOut => self.signs_out(device, for_ms),
            Fault::ServerKill => self.server_is_killed(for_ms),
            Fault::ServerStall => self.server_stalls(for_ms),
            Fault::ServerCutOff => self.server_is_cut_off(for_ms),
        }
    }

    pub(crate) fn link_breaks(&mut self, at: usize, for_ms: u64) {
        self.transcript.line(self.now, || format!("{} loses the network for {for_ms} ms", self.devices[at].name));
        let until = self.now + for_ms;
        self.link_is_bad(at, until, until);
    }

    /// One direction is dead, and nobody is told.
    fn link_breaks_half(&mut self, at: usize, for_ms: u64) {
        let (mute, until) = (self.rng.random_bool(0.5), self.now + for_ms);
        self.transcript.line(self.now, || {
            let what = if mute { "is not heard" } else { "hears nothing" };
            format!("{} {what} for {for_ms} ms", self.devices[at].name)
        });
        self.link_is_bad(at, if mute { until } else { 0 }, if mute { 0 } else { until });
    }

    fn link_is_bad(&mut self, at: usize, mute_until: u64, deaf_until: u64) {
        self.troubled = true;
        let device = &mut self.devices[at];
        device.link.mute_until = device.link.mute_until.max(mute_until);
        device.link.deaf_until = device.link.deaf_until.max(deaf_until);
        let until = device.link.until();
        device.well_since = device.well_since.max(until);
        self.agenda.add(until, Happening::LinkUp { device: at });
    }

    pub(crate) fn link_is_up(&mut self, at: usize) {
        if self.devices[at].link.works(self.now) {
            self.sign_in(at);
        }
    }

    /// The app crashes; it is started again later, if at all.
    pub(crate) fn crashes(&mut self, at: usize, again_after_ms: Option<u64>) {
        if !self.devices[at].alive {
            return;
        }
        self.transcript.line(self.now, || format!("the app of {} crashes", self.devices[at].name));
        self.note_vanished(at);
        self.troubled = true;
        let device = &mut self.devices[at];
        device.alive = false;
        device.died_at = self.now;
        device.well_since = u64::MAX;
        if let Some(after_ms) = again_after_ms {
            self.agenda.add(self.now + after_ms, Happening::DeviceStarts { device: at, life: device.life });
        }
    }

    /// The device sleeps: it hears and does nothing until it wakes up.
    fn sleeps_for(&mut self, at: usize, for_ms: u64) {
        self.transcript.line(self.now, || format!("{} sleeps for {for_ms} ms", self.devices[at].name));
        self.troubled = true;
        let device = &mut self.devices[at];
        device.paused_until = device.paused_until.max(self.now + for_ms);
        device.well_since = device.well_since.max(device.paused_until);
    }

    /// The user signs out and in again later; where the server cannot be reached, or there is none, that is a crash.
    pub(crate) fn signs_out(&mut self, at: usize, for_ms: u64) {
        if !self.devices[at].alive {
            return;
        }
        self.crashes(at, Some(for_ms));
        let reached = self.server.is_up() && self.devices[at].link.works(self.now);
        if self.plan.placement == Placement::Chat || !reached {
            return;
        }
        self.transcript.line(self.now, || format!("{} signed out", self.devices[at].name));
        let party = self.devices[at].party.clone();
        // It is told by the server, which no longer waits for it.
        self.devices[at].died_at = 0;
        for call_id in self.server.calls.keys().copied().collect::<Vec<_>>() {
            self.note_doing(at, call_id, |truth| truth.hung_up.add(at));
            self.arbitrate(call_id, ArbiterInput::SignedOut(party.clone()));
        }
    }

    /// The server is killed; what its store holds is left.
    pub(crate) fn server_is_killed(&mut self, for_ms: u64) {
        if !self.server.is_up() || self.plan.placement == Placement::Chat {
            return;
        }
        self.transcript.line(self.now, || format!("the server is killed for {for_ms} ms"));
        self.troubled = true;
        self.server.kill(self.now + for_ms);
        self.rules.server_is_back_at = u64::MAX;
        self.agenda.add(self.now + for_ms, Happening::ServerStarts { era: self.server.era });
    }

    /// The server stands still, as a process that is stopped: what is said to it waits, where it waits at all, and so do its timers.
    pub(crate) fn server_stalls(&mut self, for_ms: u64) {
        if !self.server.is_up() || self.plan.placement == Placement::Chat {
            return;
        }
        self.transcript.line(self.now, || format!("the server stands still for {for_ms} ms"));
        self.troubled = true;
        self.server.stalled_since = Some(self.now);
        self.server.down_until = self.now + for_ms;
        self.rules.server_is_back_at = u64::MAX;
        self.agenda.add(self.now + for_ms, Happening::ServerGoesOn);
    }

    pub(crate) fn server_goes_on(&mut self) {
        let Some(since) = self.server.stalled_since.take() else { return };
        self.transcript.line(self.now, || "the server goes on".to_owned());
        self.server.down_until = self.now;
        let ms = self.now - since;
        self.rules.stalled(self.now, ms);
        for call_id in self.server.calls.keys().copied().collect::<Vec<_>>() {
            self.arbitrate(call_id, ArbiterInput::Stalled { ms });
        }
        for device in 0..self.devices.len() {
            self.sign_in(device);
        }
    }

    /// Nobody reaches the server, and it does not know that this is its own fault.
    pub(crate) fn server_is_cut_off(&mut self, for_ms: u64) {
        if self.plan.placement == Placement::Chat {
            return;
        }
        self.transcript.line(self.now, || format!("the server is cut off for {for_ms} ms"));
        for at in 0..self.devices.len() {
            self.link_is_bad(at, self.now + for_ms, self.now + for_ms);
        }
    }

    pub(crate) fn start_server(&mut self, era: u32) {
        if self.server.era != era || !self.server.stopped {
            return;
        }
        self.transcript.line(self.now, || "the server starts".to_owned());
        let restored = self.server.start(self.now, self.plan.arbiter);
        self.rules.heard_all(self.now);
        for call_id in restored {
            self.pump_arbiter(call_id);
        }
        for device in 0..self.devices.len() {
            self.sign_in(device);
        }
    }

    pub(crate) fn start_device(&mut self, at: usize, life: u32) {
        let device = &mut self.devices[at];
        if device.alive || device.life != life {
            return;
        }
        let boot = self.rng.random_range(0..1_000_000);
        let before = device.open.first().copied();
        device.restart(self.plan.arbiter, boot, self.now);
        self.transcript.line(self.now, || format!("the app of {} starts", self.devices[at].name));
        self.sign_in(at);
        self.empty_mailbox(at);
        if let Some(call_id) = before
            && self.plan.races > 0.0
            && self.rng.random_bool(self.plan.races)
            && let Some(other) = self.other_user_of(at, call_id)
        {
            self.calls_again(at, other);
        }
    }

    /// The user at the other end of a call.
    fn other_user_of(&self, at: usize, call_id: CallId) -> Option<usize> {
        let truth = self.rules.truths.get(&call_id)?;
        let caller = self.devices[truth.caller].user;
        let other = if caller == self.devices[at].user { truth.callee } else { caller };
        (other < self.plan.devices.len()).then_some(other)
    }

    /// All is mended. Some apps stay closed: nobody waits for them.
    pub(crate) fn mend(&mut self) {
        self.transcript.line(self.now, || "all is mended".to_owned());
        self.carrier.mended = true;
        if self.server.stopped {
            self.start_server(self.server.era);
        }
        self.server_goes_on();
        for at in 0..self.devices.len() {
            let device = &mut self.devices[at];
            device.link.mute_until = device.link.mute_until.min(self.now);
            device.link.deaf_until = device.link.deaf_until.min(self.now);
            if device.alive {
                device.well_since = device.well_since.min(self.now.max(device.paused_until));
            }
            if !device.alive && self.rng.random_bool(0.5) {
                self.start_device(at, self.devices[at].life);
            }
            self.sign_in(at);
        }
    }
}
