//! What users do, sensible and silly, and what their apps do on their own.

use call_protocol::end::EndReason;
use call_protocol::invite::{CallType, Ext};
use call_protocol::media::{Candidate, NegotiationBody};
use call_protocol::{CallId, Party, UserId};
use rand::RngExt;
use signaling::{Command, Event, Phase};

use crate::happening::Happening;
use crate::transcript;
use crate::world::World;

/// How many steps an app says when it sets its media up.
const STEPS: usize = 3;

impl World {
    pub(crate) fn plan_act(&mut self, device: usize) {
        let at = self.now + self.rng.random_range(1..=self.plan.idle_ms);
        if at < self.plan.chaos_ms {
            self.agenda.add(at, Happening::Act { device });
        }
    }

    /// One user does something, sensible or silly, or lies.
    pub(crate) fn act(&mut self, at: usize) {
        self.plan_act(at);
        let device = &self.devices[at];
        if !device.alive || self.now < device.paused_until || self.rules.is_quiet(device.user, self.now) {
            return;
        }
        if self.plan.forgery > 0.0 && self.rng.random_bool(self.plan.forgery) {
            self.lie(at);
        } else if self.plan.silly > 0.0 && self.rng.random_bool(self.plan.silly) {
            self.be_silly(at);
        } else {
            self.be_sensible(at);
        }
    }

    fn be_sensible(&mut self, at: usize) {
        let phases = self.devices[at].phases();
        let Some(nth) = (!phases.is_empty()).then(|| self.rng.random_range(0..phases.len())) else {
            let other = self.another_user(at);
            if self.rules.is_quiet(other, self.now) {
                return;
            }
            if self.rng.random_bool(self.plan.races) && self.call_each_other(at, other) {
                return;
            }
            let command = self.invitation(other);
            self.does(at, command);
            return;
        };
        let chance = self.rng.random_range(0..20);
        let command = match phases[nth] {
            Phase::Idle => return,
            Phase::Calling(call_id) if chance < 5 => Command::Hangup { call_id },
            Phase::Ringing(call_id) if chance < 10 => Command::Answer { call_id },
            Phase::Ringing(call_id) if chance < 13 => Command::Hangup { call_id },
            Phase::Answering(call_id) if chance < 2 => Command::Hangup { call_id },
            Phase::InCall(call_id) if chance < 6 => Command::Hangup { call_id },
            Phase::InCall(call_id) if chance < 7 => {
                let reason = if self.rng.random_bool(0.5) { EndReason::Error } else { EndReason::RemoteDrop };
                Command::Fail { call_id, reason }
            }
            Phase::InCall(call_id) if chance < 10 => Command::Hold { call_id, held: self.rng.random(), reason: None },
            Phase::Calling(call_id) | Phase::Answering(call_id) | Phase::InCall(call_id) if chance < 14 => {
                self.a_step_for_the_other_end(at, call_id)
            }
            Phase::Calling(_) | Phase::Ringing(_) | Phase::Answering(_) | Phase::InCall(_) => return,
        };
        self.does(at, command);
    }

    /// Anything at any time: the line has to refuse what makes no sense.
    fn be_silly(&mut self, at: usize) {
        let call_id = self.some_call();
        let mine = self.devices[at].user;
        let other = self.another_user(at);
        let command = match self.rng.random_range(0..11) {
            0 => self.invitation(mine),
            1 => self.invitation_of(UserId::new("nobody").expect("it is an id")),
            2 if !self.rules.is_quiet(other, self.now) => {
                let mut command = self.invitation(other);
                if let Command::Invite { ring_timeout_ms, .. } = &mut command {
                    *ring_timeout_ms = [0, 1, u32::MAX][self.rng.random_range(0..3)];
                }
                command
            }
            3 => {
                let mut command = self.invitation(other);
                if let Command::Invite { callees, .. } = &mut command {
                    callees.clear();
                }
                command
            }
            4 | 5 if !self.rules.is_quiet(other, self.now) => self.invitation(other),
            6 => Command::Answer { call_id },
            7 => Command::Hangup { call_id },
            8 => self.a_step_for_the_other_end(at, call_id),
            9 => Command::Hold { call_id, held: self.rng.random(), reason: None },
            _ => Command::Fail { call_id, reason: EndReason::Error },
        };
        self.does(at, command);
    }

    fn another_user(&mut self, at: usize) -> usize {
        let users = self.plan.devices.len();
        (self.devices[at].user + self.rng.random_range(1..users)) % users
    }

    pub(crate) fn does(&mut self, at: usize, command: Command) {
        self.transcript.line(self.now, || format!("{} {}", self.devices[at].name, transcript::command(&command)));
        let result = self.command(at, command);
        if let Err(error) = result {
            self.transcript.line(self.now, || format!("{}: {error}", self.devices[at].name));
        }
    }

    pub(crate) fn does_as_planned(&mut self, at: usize, life: u32, command: Command) {
        let device = &self.devices[at];
        let ready = device.alive && device.life == life && self.now >= device.paused_until;
        if ready && !self.rules.is_quiet(device.user, self.now) {
            self.does(at, command);
        }
    }

    /// Somebody does this at a moment to come.
    fn will_do(&mut self, at: usize, after_ms: u64, command: Command) {
        let life = self.devices[at].life;
        self.agenda.add(self.now + after_ms, Happening::Does { device: at, life, command: Box::new(command) });
    }

    pub(crate) fn invitation(&mut self, user: usize) -> Command {
        self.invitation_of(UserId::new(crate::world::NAMES[user]).expect("the names of this world are ids"))
    }

    fn invitation_of(&mut self, callee: UserId) -> Command {
        let (least, most) = self.plan.ring_ms;
        Command::Invite {
            call_id: CallId::from_bits(self.rng.random()),
            callees: vec![callee],
            call_type: if self.rng.random_bool(0.5) { CallType::Audio1v1 } else { CallType::Video1v1 },
            ext: Ext::new(),
            ring_timeout_ms: self.rng.random_range(least..=most),
            options: Default::default(),
        }
    }

    /// Two idle users call each other at the same moment, as far as they can know.
    fn call_each_other(&mut self, at: usize, other: usize) -> bool {
        let ready = |device: &&usize| {
            let device = &self.devices[**device];
            device.user == other && device.alive && self.now >= device.paused_until && device.is_idle()
        };
        let everybody: Vec<usize> = (0..self.devices.len()).collect();
        let Some(partner) = everybody.iter().find(ready).copied() else { return false };
        let user = self.devices[at].user;
        let (mut one, mut two) = (self.invitation(other), self.invitation(user));
        for command in [&mut one, &mut two] {
            if let Command::Invite { ring_timeout_ms, .. } = command {
                *ring_timeout_ms = 30_000;
            }
        }
        self.expect_one_call([at, partner], [&one, &two]);
        self.does(at, one);
        self.does(partner, two);
        true
    }

    /// A call there is or was, or none.
    pub(crate) fn some_call(&mut self) -> CallId {
        let calls = self.rules.recent.len();
        if calls == 0 || self.rng.random_bool(0.1) {
            return CallId::from_bits(self.rng.random());
        }
        // Mostly one of the last: those are the ones that somebody is in.
        let back = self.rng.random_range(0..calls.min(4));
        self.rules.recent[calls - 1 - back]
    }

    fn a_step_for_the_other_end(&mut self, at: usize, call_id: CallId) -> Command {
        let told = self.devices[at].told.get(&call_id);
        let device = told.and_then(|told| told.peer.or(told.alerted.first().copied()));
        let caller = self.rules.truths.get(&call_id).map_or(at, |truth| truth.caller);
        let to = self.devices[device.unwrap_or(caller)].party.clone();
        Command::Negotiate { call_id, to, body: self.a_step() }
    }

    /// A step that is like no other.
    fn a_step(&mut self) -> NegotiationBody {
        self.rules.steps += 1;
        let candidate = self.rules.steps.to_string();
        NegotiationBody::Candidate(Candidate { candidate, ..Candidate::default() })
    }

    // ---- what apps and users do about what they are told ------------------------------------------------------------

    pub(crate) fn app_acts_on(&mut self, at: usize, event: &Event) {
        match event {
            Event::Alerted { call_id, callee } if self.plan.warm => self.sets_media_up(at, *call_id, callee),
            Event::Accepted { invite, peer, .. } => self.sets_media_up(at, invite.call_id, peer),
            Event::Negotiation { call_id, from, .. } => {
                // The first thing heard of somebody is replied to.
                let from = from.clone();
                let other = self.device_of(&from).unwrap_or(usize::MAX);
                let told = self.devices[at].told(*call_id);
                let heard_before = told.heard_from.iter().filter(|heard| **heard == other).count() > 1;
                if !heard_before && told.ended.is_none() {
                    self.sets_media_up(at, *call_id, &from);
                }
            }
            Event::Ringing { invite, .. } => self.acts_at_the_worst_moment(at, invite.call_id),
            Event::Notifying { .. }
            | Event::Merged { .. }
            | Event::Alerted { .. }
            | Event::Answering { .. }
            | Event::Failed { .. }
            | Event::Held { .. }
            | Event::PeerHeld { .. }
            | Event::Reachability { .. }
            | Event::Ended { .. }
            | Event::Released { .. }
            | Event::Missed { .. } => {}
        }
    }

    /// Says a few steps at once, in order.
    fn sets_media_up(&mut self, at: usize, call_id: CallId, to: &Party) {
        for _ in 0..STEPS {
            let body = self.a_step();
            let command = Command::Negotiate { call_id, to: to.clone(), body };
            // The call may be over, or too many steps may wait: the app does not mind.
            if self.command(at, command).is_err() {
                return;
            }
        }
    }

    /// It rings: users answer at the deadline, on two devices at once, while the caller gives up.
    fn acts_at_the_worst_moment(&mut self, at: usize, call_id: CallId) {
        if self.plan.races == 0.0 || !self.rng.random_bool(self.plan.races) {
            return;
        }
        let Some(truth) = self.rules.truths.get(&call_id) else { return };
        let (caller, deadline) = (truth.caller, truth.deadline);
        let user = self.devices[at].user;
        let others: Vec<usize> =
            (0..self.devices.len()).filter(|other| *other != at && self.devices[*other].user == user).collect();
        let way_ms = self.plan.delay_ms.1.max(1);
        let soon = self.rng.random_range(1..2_000);
        let next_to = |world: &mut World| soon + world.rng.random_range(0..=way_ms);
        match self.rng.random_range(0..6) {
            0 => {
                let before = self.rng.random_range(0..=3 * way_ms);
                let left = deadline.saturating_sub(self.now + before);
                self.will_do(at, left, Command::Answer { call_id });
            }
            1 => {
                self.will_do(at, soon, Command::Answer { call_id });
                let later = next_to(self);
                self.will_do(caller, later, Command::Hangup { call_id });
            }
            2 => {
                self.will_do(at, soon, Command::Answer { call_id });
                for other in others {
                    let later = next_to(self);
                    self.will_do(other, later, Command::Hangup { call_id });
                }
            }
            3 => {
                self.will_do(at, soon, Command::Answer { call_id });
                for other in others {
                    let later = next_to(self);
                    self.will_do(other, later, Command::Answer { call_id });
                }
            }
            4 => {
                self.will_do(at, soon, Command::Answer { call_id });
                let later = soon + self.rng.random_range(0..=4 * way_ms);
                let who = if self.rng.random_bool(0.5) { at } else { caller };
                self.will_do(who, later, Command::Hangup { call_id });
            }
            _ => {
                self.will_do(at, soon, Command::Hangup { call_id });
                let later = next_to(self);
                self.will_do(caller, later, Command::Hangup { call_id });
            }
        }
    }

    /// The call that somebody was in when the app crashed is made again at once.
    pub(crate) fn calls_again(&mut self, at: usize, user: usize) {
        if self.now < self.plan.chaos_ms && !self.rules.is_quiet(user, self.now) {
            let command = self.invitation(user);
            self.does(at, command);
        }
    }

    /// Those who still talk end it.
    pub(crate) fn part(&mut self, all: bool) {
        for at in 0..self.devices.len() {
            for phase in self.devices[at].phases() {
                let ends = all || self.rng.random_bool(0.4);
                if let Phase::InCall(call_id) = phase
                    && ends
                    && self.devices[at].alive
                {
                    self.does(at, Command::Hangup { call_id });
                }
            }
        }
    }
}
