//! Two users who call each other, and nobody and nothing disturbs them: they end up in one call.

use call_protocol::CallId;
use call_protocol::invite::CallType;
use signaling::{Command, Phase};

use super::Rule;
use crate::happening::Happening;
use crate::world::World;

/// Two calls across each other.
#[derive(Debug, Clone)]
pub(crate) struct Glare {
    pub(crate) calls: [CallId; 2],
    pub(crate) kinds: [CallType; 2],
    pub(crate) devices: [usize; 2],
    pub(crate) users: [usize; 2],
    pub(crate) since: u64,
    pub(crate) until: u64,
}

impl super::Rules {
    /// Whether this user does nothing, so that a glare can be watched.
    pub(crate) fn is_quiet(&self, user: usize, now: u64) -> bool {
        self.glares.iter().any(|glare| now <= glare.until && glare.users.contains(&user))
    }
}

impl World {
    /// Two are about to call each other. If their network works, they must be in one call soon.
    pub(crate) fn expect_one_call(&mut self, devices: [usize; 2], commands: [&Command; 2]) {
        let Some(way_ms) = self.plan.longest_way_ms().filter(|way_ms| *way_ms <= 500) else { return };
        let users = devices.map(|at| self.devices[at].user);
        let at_rest = self.devices.iter().filter(|device| users.contains(&device.user)).all(|device| {
            device.well_since(self.now, self.now.saturating_sub(2_000)) && device.is_idle() && device.open.is_empty()
        });
        // Nobody calls them, and what was said of earlier calls has been heard.
        let recently = |truth: &super::Truth| {
            let of_theirs = users.contains(&truth.callee) || users.contains(&self.devices[truth.caller].user);
            of_theirs && truth.ended.is_none_or(|(at, ..)| self.now < at + 4 * way_ms + 4_000)
        };
        let unopened = self.rules.begun != self.rules.truths.len() as u64 && self.plan.forgery == 0.0;
        let called = self.rules.recent.iter().rev().take(64).any(|call_id| recently(&self.rules.truths[call_id]));
        if !at_rest
            || called
            || unopened
            || !self.server.is_up()
            || self.rules.glares.iter().any(|g| self.now < g.until)
        {
            return;
        }
        let told = commands.map(|command| match command {
            Command::Invite { call_id, call_type, .. } => Some((*call_id, *call_type)),
            Command::Answer { .. }
            | Command::AnswerToPrepare { .. }
            | Command::Verify { .. }
            | Command::Release { .. }
            | Command::Hangup { .. }
            | Command::Hold { .. }
            | Command::Negotiate { .. }
            | Command::Fail { .. } => None,
        });
        let [Some(one), Some(two)] = told else { return };
        let until = self.now + 8 * way_ms + 100;
        let glare = Glare { calls: [one.0, two.0], kinds: [one.1, two.1], devices, users, since: self.now, until };
        self.rules.glares.push(glare);
        self.agenda.add(until, Happening::GlareIsOver { first: one.0 });
    }

    /// The time is over: they must be in one call, if nothing came between.
    pub(crate) fn check_glare(&mut self, first: CallId) {
        let Some(at) = self.rules.glares.iter().position(|glare| glare.calls[0] == first) else { return };
        let glare = self.rules.glares.remove(at);
        let undisturbed = self.devices.iter().filter(|device| glare.users.contains(&device.user)).all(|device| {
            device.well_since(self.now, glare.since) && {
                let others = device.told.iter().filter(|(call_id, told)| {
                    told.ended.is_none() && told.invited && !glare.calls.contains(call_id) && told.role.is_some()
                });
                others.count() == 0
            }
        });
        let server = self.server.is_up() && self.rules.server_is_back_at <= glare.since;
        if !undisturbed || !server {
            return;
        }
        let call_id = glare.calls[0].min(glare.calls[1]);
        let kind = if glare.kinds[0] == glare.kinds[1] { glare.kinds[0] } else { CallType::Audio1v1 };
        let names = glare.devices.map(|at| self.devices[at].name.clone());
        for (side, at) in glare.devices.into_iter().enumerate() {
            let device = &mut self.devices[at];
            let told = device.told(call_id).clone();
            let phase = device.desk.line().phase();
            let other = glare.devices[1 - side];
            let right = phase == Phase::InCall(call_id) && told.peer == Some(other) && told.kind == Some(kind);
            let what = || {
                format!(
                    "{} and {} called each other as {:?}; {} is {phase:?} with {:?} as {:?}, not in {call_id} as {kind:?}",
                    names[0], names[1], glare.kinds, names[side], told.peer, told.kind
                )
            };
            self.rules.expect(right, Rule::GlareIsOneCall, what);
        }
        for at in 0..self.devices.len() {
            let device = &self.devices[at];
            let silent = !glare.users.contains(&device.user) || glare.devices.contains(&at) || device.is_idle();
            let what = || format!("{} is {:?} beside a glare that is over", device.name, device.phases());
            self.rules.expect(silent, Rule::GlareIsOneCall, what);
        }
    }
}
