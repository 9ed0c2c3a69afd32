//! What carries the words: ways to and from a server, or a chat between the devices; and what the server makes of them.

use call_protocol::{CallMessage, Word};
use rand::RngExt;
use signaling::{Address, Arbiter, ArbiterConfig, ArbiterInput, ArbiterOutput, ArbiterSnapshot, Input, Route, To};

use crate::plan::{Fault, Placement};
use crate::world::{Happening, World};

/// The server, or where there is none the chat.
#[derive(Debug, Default)]
pub(crate) struct Server {
    pub(crate) is_dead: bool,
    /// When a dead one is back.
    back_at: u64,
    arbiter: Option<Arbiter>,
    stored: Option<ArbiterSnapshot>,
    wake: Option<u64>,
}

impl World {
    /// When a message that is sent now arrives: once, twice or never.
    fn arrivals(&mut self) -> [Option<u64>; 2] {
        let (least, most) = self.plan.post_ms;
        let mut first = self.chance.random_range(least..=most);
        if self.chance.random_bool(self.plan.post_loss) {
            match self.plan.placement {
                Placement::Server => return [None, None],
                // A chat delivers in the end.
                Placement::Caller => first += self.chance.random_range(500..5_000),
            }
        }
        let again = self.chance.random_bool(self.plan.post_repeats);
        let second = first + self.chance.random_range(0..=300);
        [Some(first), again.then_some(second)]
    }

    /// Whether a device's words reach the server, or come from it.
    fn reaches(&self, at: usize) -> bool {
        let device = &self.devices[at];
        !self.server.is_dead && device.connected && !device.is_lost && self.now() >= device.offline_until
    }

    pub(crate) fn device_says(&mut self, at: usize, to: &Route, message: CallMessage) {
        match to {
            Route::Server => {
                if self.reaches(at) {
                    for in_ms in self.arrivals().into_iter().flatten() {
                        self.add(in_ms, Happening::AtServer { from: at, message: message.clone() });
                    }
                }
            }
            Route::Device(party) => {
                let to = self.devices.iter().position(|device| device.party == *party);
                let to = to.expect("a desk speaks to devices of this world");
                // What two devices tell each other all the time goes on the path; what is urgent goes both ways.
                let alive = matches!(message.word, Word::KeepAlive(_) | Word::Hold { .. });
                if alive && self.is_connected_to(at, party) {
                    return self.say_directly(at, party, &message);
                }
                if matches!(message.word, Word::Answer(_) | Word::AnswerConfirm(_) | Word::Cancel(_) | Word::End(_)) {
                    self.say_directly(at, party, &message);
                }
                self.chat(at, to, message);
            }
            Route::User(user) => {
                for to in 0..self.devices.len() {
                    if self.devices[to].party.user == *user {
                        self.chat(at, to, message.clone());
                    }
                }
            }
        }
    }

    /// A chat keeps what it cannot deliver yet.
    fn chat(&mut self, at: usize, to: usize, message: CallMessage) {
        let from = Address::Device(self.devices[at].party.clone());
        let held_ms = self.devices[at].offline_until.max(self.server.back_at).saturating_sub(self.now());
        for in_ms in self.arrivals().into_iter().flatten() {
            let (from, message) = (from.clone(), message.clone());
            self.add(in_ms + held_ms, Happening::AtDevice { to, from, message });
        }
    }

    pub(crate) fn at_device(&mut self, to: usize, from: Address, message: CallMessage) {
        if self.plan.placement == Placement::Server {
            if self.reaches(to) {
                self.hears(to, from, message);
            }
            return;
        }
        let device = &self.devices[to];
        let held_ms = device.offline_until.max(self.server.back_at).saturating_sub(self.now());
        let lost_ms = if device.is_lost || !device.connected { 100 } else { 0 };
        match held_ms.max(lost_ms) {
            0 => self.hears(to, from, message),
            held_ms => self.add(held_ms, Happening::AtDevice { to, from, message }),
        }
    }

    fn hears(&mut self, to: usize, from: Address, message: CallMessage) {
        self.log(format!("{to} hears: {}", message.word.name()));
        self.input(to, Input::Message { from, message });
    }

    pub(crate) fn at_server(&mut self, from: usize, message: CallMessage) {
        if self.server.is_dead {
            return;
        }
        let party = self.devices[from].party.clone();
        let present = self.present();
        match (&mut self.server.arbiter, message.word) {
            (Some(arbiter), word) => arbiter.handle_input(present, ArbiterInput::Message { from: party, word }),
            (none, Word::Invite(invite)) => {
                let online = self.devices[1..].iter().map(|device| device.party.clone()).collect();
                *none = Some(Arbiter::open(ArbiterConfig::default(), present, party, *invite, online));
            }
            (None, word) => {
                let message = CallMessage { call_id: message.call_id, word };
                if let Some(reply) = Arbiter::reply_to_unknown(&party, &message) {
                    self.server_says(&To::Device(party), &reply);
                }
            }
        }
        self.drain_server();
    }

    fn drain_server(&mut self) {
        while let Some(output) = self.server.arbiter.as_mut().and_then(Arbiter::poll_output) {
            match output {
                ArbiterOutput::Send { to, message } => self.server_says(&to, &message),
                ArbiterOutput::Tell(fact) => self.log(format!("the server decides: {fact:?}")),
                ArbiterOutput::WakeAt(time, _timer) => {
                    self.server.wake = Some(time.0);
                    let in_ms = time.0.saturating_sub(self.now()).max(1);
                    self.add(in_ms, Happening::WakeServer);
                }
            }
        }
    }

    fn server_says(&mut self, to: &To, message: &CallMessage) {
        for at in 0..self.devices.len() {
            let is_meant = match to {
                To::Device(party) => self.devices[at].party == *party,
                To::User(user) => self.devices[at].party.user == *user,
            };
            if !is_meant || !self.reaches(at) {
                continue;
            }
            for in_ms in self.arrivals().into_iter().flatten() {
                self.add(in_ms, Happening::AtDevice { to: at, from: Address::Server, message: message.clone() });
            }
        }
    }

    pub(crate) fn wake_server(&mut self) {
        let (now, present) = (self.now(), self.present());
        if let Some(arbiter) = &mut self.server.arbiter
            && self.server.wake.take_if(|wake| *wake <= now).is_some()
        {
            arbiter.handle_input(present, ArbiterInput::Wake);
            self.drain_server();
        }
    }

    /// The server is killed; what its store holds is all that is left. A chat keeps what it is given.
    pub(crate) fn die(&mut self) {
        let present = self.present();
        self.server.is_dead = true;
        self.server.stored = self.server.arbiter.take().map(|arbiter| arbiter.snapshot(present));
        if self.plan.placement == Placement::Caller {
            self.server.back_at = self.now() + self.plan.fault.map_or(0, Fault::lasts_ms);
        }
        self.devices.iter_mut().for_each(|device| device.connected = false);
    }

    pub(crate) fn start(&mut self) {
        let present = self.present();
        self.server.is_dead = false;
        let restore = |stored| Arbiter::restore(ArbiterConfig::default(), present, stored);
        self.server.arbiter = self.server.stored.take().map(restore);
        if let Some(arbiter) = &mut self.server.arbiter {
            arbiter.handle_input(present, ArbiterInput::Wake);
        }
        self.drain_server();
        for at in 0..self.devices.len() {
            let in_ms = 2 * self.plan.post_ms.1 + self.chance.random_range(0..500);
            self.add(in_ms, Happening::Connected(at));
        }
    }

    pub(crate) fn is_connected(&mut self, at: usize) {
        if self.server.is_dead {
            return;
        }
        self.log(format!("{at} is connected again"));
        self.devices[at].connected = true;
        let (party, present) = (self.devices[at].party.clone(), self.present());
        if let Some(arbiter) = &mut self.server.arbiter {
            arbiter.handle_input(present, ArbiterInput::Online(party));
            self.drain_server();
        }
        self.input(at, Input::Connected);
    }
}
