//! Random users, random faults, and the mending of all.

use call_protocol::accept::{Answer, AnswerConfirm, AnswerResult};
use call_protocol::end::{Cancel, End, EndReason};
use call_protocol::invite::{CallType, Ext};
use call_protocol::media::{Candidate, Negotiation, NegotiationBody};
use call_protocol::ring::{Alert, RingConfirm};
use call_protocol::{CallId, CallMessage, UserId, Word};
use rand::RngExt;
use signaling::{ArbiterInput, Command, Input, Phase};

use crate::happening::Happening;
use crate::rules::Rule;
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

    fn plan_act(&mut self, device: usize) {
        let at = self.now + self.rng.random_range(1..=self.plan.idle_ms);
        if at < self.plan.chaos_ms {
            self.agenda.add(at, Happening::Act { device });
        }
    }

    fn plan_trouble(&mut self) {
        let Some(most) = self.plan.fault_ms else { return };
        let at = self.now + self.rng.random_range(1..=most);
        if at < self.plan.chaos_ms {
            self.agenda.add(at, Happening::Trouble);
        }
    }

    /// One user does something, sensible or silly, or lies.
    pub(crate) fn act(&mut self, at: usize) {
        self.plan_act(at);
        if !self.devices[at].alive || self.now < self.devices[at].paused_until {
            return;
        }
        if self.rng.random_bool(self.plan.forgery) {
            self.lie(at);
        } else if self.rng.random_bool(self.plan.silly) {
            self.be_silly(at);
        } else {
            self.be_sensible(at);
        }
    }

    fn be_sensible(&mut self, at: usize) {
        let chance = self.rng.random_range(0..10);
        let command = match self.devices[at].line.phase() {
            Phase::Idle => {
                let other = (at + self.rng.random_range(1..self.devices.len())) % self.devices.len();
                let callee = self.devices[other].party.user.clone();
                self.invitation(callee)
            }
            Phase::Calling(call_id) if chance < 3 => Command::Hangup { call_id },
            Phase::Ringing(call_id) if chance < 6 => Command::Answer { call_id },
            Phase::Ringing(call_id) if chance < 8 => Command::Hangup { call_id },
            Phase::Answering(call_id) if chance < 1 => Command::Hangup { call_id },
            Phase::InCall(call_id) if chance < 4 => Command::Hangup { call_id },
            Phase::InCall(call_id) if chance < 5 => {
                let reason = if self.rng.random_bool(0.5) { EndReason::Error } else { EndReason::RemoteDrop };
                Command::Fail { call_id, reason }
            }
            Phase::Calling(call_id) | Phase::Answering(call_id) | Phase::InCall(call_id) if chance < 7 => {
                Command::Negotiate { call_id, body: a_candidate() }
            }
            Phase::Calling(_) | Phase::Ringing(_) | Phase::Answering(_) | Phase::InCall(_) => return,
        };
        self.does(at, command);
    }

    /// Anything at any time: the line has to refuse what makes no sense.
    fn be_silly(&mut self, at: usize) {
        let call_id = self.some_call();
        let command = match self.rng.random_range(0..10) {
            0 => self.invitation(self.devices[at].party.user.clone()),
            1 => self.invitation(UserId::new("nobody").expect("it is an id")),
            2 => {
                let mut command = self.invitation(self.devices[(at + 1) % self.devices.len()].party.user.clone());
                if let Command::Invite { ring_timeout_ms, .. } = &mut command {
                    *ring_timeout_ms = [0, 1, u32::MAX][self.rng.random_range(0..3)];
                }
                command
            }
            3 => {
                let mut command = self.invitation(self.devices[(at + 1) % self.devices.len()].party.user.clone());
                if let Command::Invite { callees, .. } = &mut command {
                    callees.clear();
                }
                command
            }
            4 | 5 => self.invitation(self.devices[(at + 1) % self.devices.len()].party.user.clone()),
            6 => Command::Answer { call_id },
            7 => Command::Hangup { call_id },
            8 => Command::Negotiate { call_id, body: a_candidate() },
            _ => Command::Fail { call_id, reason: EndReason::Error },
        };
        self.does(at, command);
    }

    fn does(&mut self, at: usize, command: Command) {
        let name = self.devices[at].name;
        self.transcript.line(self.now, || match &command {
            Command::Invite { callees, .. } => format!("{name} calls {callees:?}"),
            Command::Answer { .. } => format!("{name} answers"),
            Command::Hangup { .. } => format!("{name} hangs up"),
            Command::Negotiate { .. } => format!("{name} negotiates media"),
            Command::Fail { reason, .. } => format!("{name}'s media failed: {reason}"),
        });
        let result = self.command(at, command);
        if let Err(error) = result {
            self.transcript.line(self.now, || format!("{name}: {error}"));
        }
    }

    fn invitation(&mut self, callee: UserId) -> Command {
        let (least, most) = self.plan.ring_ms;
        Command::Invite {
            call_id: CallId::from_bits(self.rng.random()),
            callees: vec![callee],
            call_type: CallType::Audio1v1,
            ext: Ext::new(),
            ring_timeout_ms: self.rng.random_range(least..=most),
        }
    }

    /// Some call there is or was, or none.
    fn some_call(&mut self) -> CallId {
        let calls = self.rules.truths.len();
        if calls == 0 || self.rng.random_bool(0.1) {
            return CallId::from_bits(self.rng.random());
        }
        // Mostly one of the last: those are the ones that somebody is in.
        let back = self.rng.random_range(0..calls.min(4));
        self.rules.truths.keys().nth(calls - 1 - back).copied().unwrap_or(CallId::from_bits(0))
    }

    /// Somebody who has no part in a call speaks of it, to the server or to a phone.
    fn lie(&mut self, liar: usize) {
        let word = self.some_word();
        if self.rng.random_bool(0.5) {
            let running = self.server.calls.len();
            if running > 0 && self.server.is_up() {
                let nth = self.rng.random_range(0..running);
                let call_id = self.server.calls.keys().nth(nth).copied().unwrap_or(CallId::from_bits(0));
                self.lie_to_server(liar, CallMessage { call_id, word });
            }
        } else {
            let to = (liar + self.rng.random_range(1..self.devices.len())) % self.devices.len();
            let present = crate::rules::about(self.devices[to].line.phase());
            let call_id = present.unwrap_or_else(|| self.some_call());
            // An invite in the liar's own name would be an honest one.
            if self.devices[to].alive && !matches!(word, Word::Invite(_)) {
                self.lie_to_device(liar, to, CallMessage { call_id, word });
            }
        }
    }

    fn some_word(&mut self) -> Word {
        let party = self.devices[self.rng.random_range(0..self.devices.len())].party.clone();
        let result = [AnswerResult::Accept, AnswerResult::Refuse, AnswerResult::Busy][self.rng.random_range(0..3)];
        let reason = EndReason::ALL[self.rng.random_range(0..EndReason::ALL.len())];
        match self.rng.random_range(0..10) {
            0 => Word::Alert(Alert { callee: party }),
            1 => Word::RingConfirm(RingConfirm::Ring { deadline_unix_ms: u64::MAX / 2 }),
            2 => Word::RingConfirm(RingConfirm::Over { reason }),
            3 => Word::Answer(Answer { callee: party, result }),
            4 => Word::AnswerConfirm(AnswerConfirm { result, winner: party }),
            5 => Word::Cancel(Cancel { reason }),
            6 => Word::End(End { reason }),
            7 => Word::KeepAlive { in_call: self.rng.random() },
            8 => Word::Negotiation(Box::new(Negotiation { from: party, body: a_candidate() })),
            _ => Word::Reachability { reachable: self.rng.random(), ends_in_ms: 1_000 },
        }
    }

    /// Something breaks.
    pub(crate) fn trouble(&mut self) {
        self.plan_trouble();
        let for_ms = self.rng.random_range(1..=self.plan.outage_ms);
        let device = self.rng.random_range(0..self.devices.len());
        match self.rng.random_range(0..10) {
            0..=3 => self.link_breaks(device, for_ms),
            4 | 5 => self.crashes(device, Some(for_ms)),
            6 => self.sleeps_for(device, for_ms),
            7 => self.signs_out(device, for_ms),
            _ => self.server_stops(for_ms),
        }
    }

    pub(crate) fn link_breaks(&mut self, device: usize, for_ms: u64) {
        self.troubled = true;
        let name = self.devices[device].name;
        self.transcript.line(self.now, || format!("{name} loses the network for {for_ms} ms"));
        let until = (self.now + for_ms).max(self.devices[device].link_down_until);
        self.devices[device].link_down_until = until;
        self.agenda.add(until, Happening::LinkUp { device });
    }

    /// The app crashes; it is started again later, if at all.
    pub(crate) fn crashes(&mut self, at: usize, again_after_ms: Option<u64>) {
        if !self.devices[at].alive {
            return;
        }
        let name = self.devices[at].name;
        self.transcript.line(self.now, || format!("{name}'s app crashes"));
        self.note_vanished(at);
        self.troubled = true;
        let device = &mut self.devices[at];
        device.alive = false;
        if let Some(after_ms) = again_after_ms {
            self.agenda.add(self.now + after_ms, Happening::DeviceStarts { device: at, life: device.life });
        }
    }

    fn note_vanished(&mut self, at: usize) {
        for (call_id, told) in std::mem::take(&mut self.devices[at].told) {
            if let Some(truth) = self.rules.truths.get_mut(&call_id)
                && let Some(side) = truth.side(at)
                && (told.ended.is_none() || truth.ended.is_none())
            {
                // A farewell that nobody heard is gone, too.
                truth.hurt = true;
                truth.vanished[side] = Some(self.now);
            }
        }
    }

    /// The phone sleeps: it hears and does nothing until it wakes up.
    fn sleeps_for(&mut self, device: usize, for_ms: u64) {
        let name = self.devices[device].name;
        self.transcript.line(self.now, || format!("{name}'s phone sleeps for {for_ms} ms"));
        let device = &mut self.devices[device];
        device.paused_until = device.paused_until.max(self.now + for_ms);
    }

    /// The user signs out and in again later; where the server cannot be reached that is a crash.
    pub(crate) fn signs_out(&mut self, at: usize, for_ms: u64) {
        if !self.devices[at].alive {
            return;
        }
        self.crashes(at, Some(for_ms));
        if !self.server.is_up() || self.now < self.devices[at].link_down_until {
            return;
        }
        let name = self.devices[at].name;
        self.transcript.line(self.now, || format!("{name} signed out"));
        let party = self.devices[at].party.clone();
        for call_id in self.server.calls.keys().copied().collect::<Vec<_>>() {
            if let Some(truth) = self.rules.truths.get_mut(&call_id)
                && let Some(side) = truth.side(at)
            {
                truth.hung_up[side] = true;
            }
            self.arbitrate(call_id, ArbiterInput::SignedOut(party.clone()));
        }
    }

    pub(crate) fn server_stops(&mut self, for_ms: u64) {
        if !self.server.is_up() {
            return;
        }
        self.transcript.line(self.now, || format!("the server stops for {for_ms} ms"));
        self.troubled = true;
        self.server.stop(self.now, self.now + for_ms);
        self.agenda.add(self.now + for_ms, Happening::ServerStarts { era: self.server.era });
    }

    pub(crate) fn start_server(&mut self, era: u32) {
        if self.server.era != era {
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
        let name = device.name;
        let boot = self.rng.random_range(0..1_000_000);
        device.restart(self.plan.line.clone(), boot);
        self.transcript.line(self.now, || format!("{name}'s app starts"));
        self.sign_in(at);
    }

    /// Phone and server see each other again.
    pub(crate) fn sign_in(&mut self, at: usize) {
        let device = &self.devices[at];
        if !device.alive || self.now < device.link_down_until || !self.server.is_up() {
            return;
        }
        let party = device.party.clone();
        for call_id in self.server.calls.keys().copied().collect::<Vec<_>>() {
            self.arbitrate(call_id, ArbiterInput::Online(party.clone()));
        }
        let device = &mut self.devices[at];
        if self.now >= device.paused_until {
            let now = device.now(self.now);
            let taken = device.line.handle_input(now, Input::Connected);
            debug_assert!(taken.is_ok());
            self.pump_device(at);
        }
    }

    /// All is mended. Some apps stay closed: nobody waits for them.
    pub(crate) fn mend(&mut self) {
        self.transcript.line(self.now, || "all is mended".to_owned());
        self.carrier.mended = true;
        if !self.server.is_up() {
            self.start_server(self.server.era);
        }
        for at in 0..self.devices.len() {
            let device = &mut self.devices[at];
            device.link_down_until = device.link_down_until.min(self.now);
            if !device.alive && self.rng.random_bool(0.5) {
                self.start_device(at, self.devices[at].life);
            }
            self.sign_in(at);
        }
    }

    /// Those who still talk end it.
    pub(crate) fn part(&mut self, all: bool) {
        for at in 0..self.devices.len() {
            let ends = all || self.rng.random_bool(0.4);
            if let Phase::InCall(call_id) = self.devices[at].line.phase()
                && ends
                && self.devices[at].alive
            {
                self.does(at, Command::Hangup { call_id });
            }
        }
    }

    /// Whoever still talks must know whether the other one can be heard.
    pub(crate) fn check_settled(&mut self) {
        for at in 0..self.devices.len() {
            let device = &self.devices[at];
            let Phase::InCall(call_id) = device.line.phase() else { continue };
            let mistaken = device.alive && device.told.get(&call_id).is_some_and(|told| told.peer_away);
            let what = || format!("{} still believes that the other one cannot be heard", device.name);
            self.rules.expect(!mistaken, Rule::VanishedIsNoticed, what);
        }
    }
}

fn a_candidate() -> NegotiationBody {
    NegotiationBody::Candidate(Candidate::default())
}
