//! What goes between devices and server: sent, held back, delivered, and what the server makes of it.

use call_protocol::ring::InviteRefusal;
use call_protocol::{CallId, CallMessage, Party, Word};
use rand::RngExt;
use signaling::{Address, Arbiter, ArbiterInput, ArbiterOutput, Route, To};

use crate::carrier::Way;
use crate::device::Device;
use crate::happening::Happening;
use crate::plan::{Placement, Plan};
use crate::plant::Plant;
use crate::server::Slot;
use crate::transcript;
use crate::world::World;

/// How long a server believes a device that vanished to be there.
const PRESENT_MS: u64 = 10_000;

impl World {
    /// A device wants a message carried to its arbiter, or to those who take part in a call that it arbitrates.
    pub(crate) fn device_says(&mut self, at: usize, to: &Route, message: &CallMessage) {
        self.note_said_by_device(at, message);
        match to {
            Route::Server => self.send(Way::ToServer(at), message.clone()),
            Route::Device(party) => {
                self.check_said(message.call_id, at, &To::Device(party.clone()), &message.word);
                if let Some(to) = self.device_of(party) {
                    self.send(Way::Chat(at, to), message.clone());
                }
            }
            Route::User(user) => {
                self.check_said(message.call_id, at, &To::User(user.clone()), &message.word);
                for to in 0..self.devices.len() {
                    if self.devices[to].party.user == *user {
                        self.send(Way::Chat(at, to), message.clone());
                    }
                }
            }
        }
    }

    /// A device says something on the media path, if that stands.
    pub(crate) fn says_directly(&mut self, at: usize, to: &Party, message: &CallMessage) {
        let Some(to) = self.device_of(to) else { return };
        if self.plan.direct_loss.is_some() && self.path_stands(message.call_id, at, to) {
            self.send(Way::Direct(at, to), message.clone());
        }
    }

    /// The media path stands once both have heard each other's steps.
    fn path_stands(&self, call_id: CallId, one: usize, other: usize) -> bool {
        let heard = |at: usize, from: usize| {
            let device = &self.devices[at];
            let told = device.told.get(&call_id);
            device.alive && device.link.works(self.now) && told.is_some_and(|told| told.heard_from.contains(&from))
        };
        heard(one, other) && heard(other, one)
    }

    /// Hands a message to a carrier.
    pub(crate) fn send(&mut self, way: Way, mut message: CallMessage) {
        let (from, to) = match way {
            Way::ToServer(from) => (Some(from), None),
            Way::ToDevice(to) => (None, Some(to)),
            Way::Chat(from, to) | Way::Direct(from, to) => (Some(from), Some(to)),
        };
        if let Some(to) = to
            && self.plant.is_some()
        {
            self.garble(&mut message, to);
        }
        let truth = self.rules.truths.get(&message.call_id);
        let calls = truth.is_some_and(|truth| Some(truth.caller) == from);
        let arrivals = self.carrier.arrivals(&mut self.rng, &self.plan, self.now, way, calls, &message.word);
        self.transcript.message(self.now, &message, || {
            let name = |device: Option<usize>| device.map_or("server", |at| self.devices[at].name.as_str());
            let what = transcript::word(&message.word);
            let arrow = if matches!(way, Way::Direct(..)) { "⇒" } else { "→" };
            let line = format!("  {} {arrow} {}: {what}", name(from), name(to));
            match arrivals {
                [None, None] => format!("{line}, lost"),
                [Some(at), None] | [None, Some(at)] if at > self.now + self.plan.delay_ms.1 => {
                    format!("{line}, arrives at {at}")
                }
                [Some(_), Some(again)] => format!("{line}, arrives again at {again}"),
                [Some(_), None] | [None, Some(_)] => line,
            }
        });
        let said_at = self.now;
        for at in arrivals.into_iter().flatten() {
            let message = message.clone();
            let happening = match way {
                Way::ToServer(from) => {
                    let life = self.devices[from].life;
                    Happening::AtServer { from, message, said_at, life }
                }
                Way::ToDevice(to) => Happening::AtDevice { to, from: Address::Server, message, said_at, life: None },
                Way::Chat(from, to) => {
                    let from = Address::Device(self.devices[from].party.clone());
                    Happening::AtDevice { to, from, message, said_at, life: None }
                }
                Way::Direct(from, to) => {
                    let from = Address::Device(self.devices[from].party.clone());
                    let life = Some(self.devices[to].life);
                    Happening::AtDevice { to, from, message, said_at, life }
                }
            };
            // A chat takes what is said without a network when the network is back.
            let waits = match way {
                Way::Chat(from, _) => self.devices[from].link.mute_until.saturating_sub(self.now),
                Way::ToServer(_) | Way::ToDevice(_) | Way::Direct(..) => 0,
            };
            self.agenda.add(at + waits, happening);
        }
    }

    pub(crate) fn at_device(
        &mut self,
        to: usize,
        from: Address,
        message: CallMessage,
        said_at: u64,
        life: Option<u32>,
    ) {
        let device = &mut self.devices[to];
        let direct = life.is_some();
        let by_chat = !direct && from != Address::Server;
        if direct && (life != Some(device.life) || !device.alive || !device.link.works(self.now)) {
            return;
        }
        if !device.alive {
            if by_chat {
                device.mailbox.push((from, message, said_at));
            }
            return;
        }
        if !by_chat && self.now > said_at + Plan::OLDEST_MS {
            return;
        }
        let deaf_until = if by_chat || (self.plan.holds && !direct) { device.link.deaf_until } else { 0 };
        let until = device.paused_until.max(deaf_until);
        if self.now < until {
            self.agenda.add(until, Happening::AtDevice { to, from, message, said_at, life });
            return;
        }
        if self.now < device.link.deaf_until {
            return;
        }
        if by_chat
            && let Address::Device(sender) = &from
            && let Some(sender) = self.device_of(sender)
        {
            self.note_heard_by_device(to, sender, message.call_id);
        }
        self.hear(to, from, message);
    }

    /// What a chat has kept for an app that is started.
    pub(crate) fn empty_mailbox(&mut self, at: usize) {
        for (from, message, said_at) in std::mem::take(&mut self.devices[at].mailbox) {
            let later = self.rng.random_range(0..=self.plan.delay_ms.1 + 1);
            let happening = Happening::AtDevice { to: at, from, message, said_at, life: None };
            self.agenda.add(self.now + later, happening);
        }
    }

    // ---- the server -----------------------------------------------------------------------------------------------

    pub(crate) fn at_server(&mut self, from: usize, message: CallMessage, said_at: u64, life: u32) {
        let device = &self.devices[from];
        let until = self.server.down_until.max(device.link.mute_until);
        // An app that was started anew has to sign in first.
        let is_stranger = device.alive && device.announced != device.life;
        let until = if is_stranger { until.max(device.link.until()) } else { until };
        if self.now < until || !self.server.is_up() || is_stranger {
            if self.plan.holds {
                self.agenda.add(until.max(self.now + 1), Happening::AtServer { from, message, said_at, life });
            }
            return;
        }
        // With the sign-in of a new session the one before is dead.
        if self.now > said_at + Plan::OLDEST_MS || life < device.announced {
            return;
        }
        let party = device.party.clone();
        let call_id = message.call_id;
        if self.server.calls.contains_key(&call_id) {
            self.rules.heard(&call_id, from, self.now);
            self.arbitrate(call_id, ArbiterInput::Message { from: party, word: message.word });
            return;
        }
        let reply = match &message.word {
            Word::Invite(invite) => {
                let known = self.devices.iter().any(|device| invite.callees.contains(&device.party.user));
                if invite.check().is_err() {
                    Some(Arbiter::refuse(call_id, InviteRefusal::Invalid))
                } else if !known {
                    Some(Arbiter::refuse(call_id, InviteRefusal::UnknownUser))
                } else {
                    let now = self.server.now(self.now);
                    let online = self.present(|device| invite.callees.contains(&device.party.user));
                    let arbiter = Arbiter::open(self.plan.arbiter, now, party, (**invite).clone(), online);
                    self.note_opened(from, arbiter.invite());
                    self.server.calls.insert(call_id, Slot { arbiter, wake: None });
                    self.pump_arbiter(call_id);
                    None
                }
            }
            _ => Arbiter::reply_to_unknown(&party, &message),
        };
        if let Some(reply) = reply {
            self.send(Way::ToDevice(from), reply);
        }
    }

    /// The devices the server believes to be there.
    fn present(&self, of: impl Fn(&Device) -> bool) -> Vec<Party> {
        let there = |device: &&Device| {
            of(device) && device.announced == device.life && (device.alive || self.now < device.died_at + PRESENT_MS)
        };
        self.devices.iter().filter(there).map(|device| device.party.clone()).collect()
    }

    /// An arbiter gets an input, and the rules see what it makes of it.
    pub(crate) fn arbitrate(&mut self, call_id: CallId, input: ArbiterInput) {
        let now = self.server.now(self.now);
        let Some(slot) = self.server.calls.get_mut(&call_id) else { return };
        slot.arbiter.handle_input(now, input);
        self.pump_arbiter(call_id);
    }

    pub(crate) fn wake_arbiter(&mut self, call_id: CallId, era: u32) {
        if self.server.stalled_since.is_some() {
            self.agenda.add(self.server.down_until, Happening::ArbiterWake { call_id, era });
            return;
        }
        if !self.server.is_up() || self.server.era != era || self.plant == Some(Plant::ArbiterWithoutClock) {
            return;
        }
        let Some(slot) = self.server.calls.get_mut(&call_id) else { return };
        if slot.wake.is_none_or(|wake| wake > self.now) {
            return;
        }
        slot.wake = None;
        self.arbitrate(call_id, ArbiterInput::Wake);
    }

    pub(crate) fn pump_arbiter(&mut self, call_id: CallId) {
        let mut changed = false;
        loop {
            let Some(slot) = self.server.calls.get_mut(&call_id) else { return };
            let caller = slot.arbiter.invite().caller.clone();
            let Some(output) = slot.arbiter.poll_output() else { break };
            match output {
                ArbiterOutput::Send { to, message } => {
                    changed = true;
                    let caller = self.device_of(&caller).unwrap_or(usize::MAX);
                    self.check_said(call_id, caller, &to, &message.word);
                    for at in 0..self.devices.len() {
                        let device = &self.devices[at];
                        let reached = match &to {
                            To::Device(party) => device.party == *party,
                            To::User(user) => device.party.user == *user,
                        };
                        if reached {
                            self.send(Way::ToDevice(at), message.clone());
                        }
                    }
                }
                ArbiterOutput::Tell(fact) => {
                    changed = true;
                    self.check_fact(fact);
                }
                ArbiterOutput::WakeAt(time, _) => {
                    let moment = self.server.moment(time).max(self.now);
                    if let Some(slot) = self.server.calls.get_mut(&call_id) {
                        slot.wake = Some(moment);
                    }
                    self.agenda.add(moment, Happening::ArbiterWake { call_id, era: self.server.era });
                }
            }
        }
        let done = self.server.calls.get(&call_id).is_some_and(|slot| slot.arbiter.is_done());
        if done && self.plant != Some(Plant::ArbiterNeverForgets) {
            self.server.calls.remove(&call_id);
        }
        if changed || done {
            self.server.keep(call_id, self.now);
        }
    }

    /// Device and carrier see each other again.
    pub(crate) fn sign_in(&mut self, at: usize) {
        let device = &self.devices[at];
        if !device.alive || !device.link.works(self.now) {
            return;
        }
        if self.plan.placement == Placement::Server {
            if !self.server.is_up() {
                return;
            }
            self.announce(at);
        }
        let device = &mut self.devices[at];
        if self.now >= device.paused_until {
            let now = device.now(self.now);
            let taken = device.desk.handle_input(now, signaling::Input::Connected);
            debug_assert!(taken.is_ok());
            self.pump_device(at);
        }
    }

    /// The server sees that a device is there, and whether it has lost its state.
    fn announce(&mut self, at: usize) {
        let device = &mut self.devices[at];
        let party = device.party.clone();
        let restarted = std::mem::replace(&mut device.announced, device.life) != device.life;
        for call_id in self.server.calls.keys().copied().collect::<Vec<_>>() {
            self.expect_missed(at, call_id);
            if restarted {
                self.arbitrate(call_id, ArbiterInput::Restarted(party.clone()));
            }
            self.arbitrate(call_id, ArbiterInput::Online(party.clone()));
        }
    }
}
