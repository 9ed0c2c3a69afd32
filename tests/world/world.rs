//! The world's clock: takes what happens next, carries it out, has the rules checked.

use call_protocol::ring::{InviteRefusal, RingConfirm};
use call_protocol::{CallId, CallMessage, Word};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use signaling::{
    Address, Arbiter, ArbiterInput, ArbiterOutput, Command, CommandError, Event, Input, Output, Phase, Role, To,
};

use crate::carrier::{Carrier, Way};
use crate::device::Device;
use crate::happening::{Agenda, Happening};
use crate::plan::Plan;
use crate::plant::Plant;
use crate::rules::{Rule, Rules};
use crate::server::{Server, Slot};
use crate::transcript::{self, Detail, Transcript};

/// The names of the users, in order.
const NAMES: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];

/// Everything there is.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) plant: Option<Plant>,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) now: u64,
    pub(crate) agenda: Agenda,
    pub(crate) devices: Vec<Device>,
    pub(crate) server: Server,
    pub(crate) carrier: Carrier,
    pub(crate) rules: Rules,
    pub(crate) transcript: Transcript,
    /// Something broke or was lost: more ways to end are allowed.
    pub(crate) troubled: bool,
}

impl World {
    pub(crate) fn new(mut rng: ChaCha8Rng, plan: Plan, plant: Option<Plant>, detail: Detail) -> World {
        let mut devices: Vec<_> = NAMES[..plan.users].iter().map(|name| Device::new(name, plan.line.clone())).collect();
        for device in &mut devices {
            device.boot = rng.random_range(0..1_000_000);
            device.skew = Device::SKEW + rng.random_range(0..=2 * plan.skew_ms) - plan.skew_ms;
        }
        World {
            carrier: Carrier::new(devices.len()),
            rules: Rules::new(&plan),
            transcript: Transcript::new(detail),
            agenda: Agenda::default(),
            server: Server::default(),
            troubled: !plan.is_faultless(),
            now: 0,
            plan,
            plant,
            rng,
            devices,
        }
    }

    /// A world in which nothing is random.
    pub(crate) fn calm() -> World {
        World::new(ChaCha8Rng::seed_from_u64(0), Plan::calm(), None, Detail::Story)
    }

    /// Lets the next thing happen; false if nothing is left to happen.
    pub(crate) fn step(&mut self) -> bool {
        let Some((at, happening)) = self.agenda.next() else { return false };
        self.now = at;
        match happening {
            Happening::AtServer { from, message, said_at } => self.at_server(from, message, said_at),
            Happening::AtDevice { to, message, said_at } => self.at_device(to, message, said_at),
            Happening::DeviceWake { device, life } => self.wake_device(device, life),
            Happening::ArbiterWake { call_id, era } => self.wake_arbiter(call_id, era),
            Happening::Act { device } => self.act(device),
            Happening::Trouble => self.trouble(),
            Happening::LinkUp { device } => self.sign_in(device),
            Happening::DeviceStarts { device, life } => self.start_device(device, life),
            Happening::ServerStarts { era } => self.start_server(era),
            Happening::Mend => self.mend(),
            Happening::Settle => self.check_settled(),
            Happening::Part { all } => self.part(all),
        }
        self.check_time();
        true
    }

    // ---- phones ---------------------------------------------------------------------------------------------------

    pub(crate) fn command(&mut self, at: usize, command: Command) -> Result<(), CommandError> {
        let device = &mut self.devices[at];
        let (before, now) = (device.line.clone(), device.now(self.now));
        let result = device.line.handle_input(now, Input::Command(command.clone()));
        match &result {
            Ok(()) => self.note_command(at, &before, &command),
            Err(_) if self.devices[at].line != before => {
                let what = format!("{command:?} failed at {} and still changed it", self.devices[at].name);
                self.rules.broken(Rule::StrayChangesNothing, what);
            }
            Err(_) => {}
        }
        self.pump_device(at);
        result
    }

    fn at_device(&mut self, to: usize, message: CallMessage, said_at: u64) {
        let device = &self.devices[to];
        if !device.alive || self.now > said_at + Plan::OLDEST_MS {
            return;
        }
        let until = device.paused_until.max(if self.plan.holds { device.link_down_until } else { 0 });
        if self.now < until {
            self.agenda.add(until, Happening::AtDevice { to, message, said_at });
            return;
        }
        if self.now < device.link_down_until {
            return;
        }
        self.hear(to, Address::Server, message);
    }

    /// A line gets a message, and the rules see what it makes of it.
    pub(crate) fn hear(&mut self, to: usize, from: Address, message: CallMessage) {
        let device = &mut self.devices[to];
        let (name, now) = (device.name, device.now(self.now));
        let before = device.line.phase();
        let due = device.wake.is_some_and(|wake| wake <= self.now);
        self.transcript
            .message(self.now, &message, || format!("         {name} hears {}", transcript::word(&message.word)));
        // A message cannot be refused: only commands can fail.
        let taken = device.line.handle_input(now, Input::Message { from, message: message.clone() });
        debug_assert!(taken.is_ok());
        let outputs = self.pump_device(to);
        self.check_heard(to, &message, before, due, &outputs);
    }

    fn wake_device(&mut self, at: usize, life: u32) {
        let device = &mut self.devices[at];
        if !device.alive || device.life != life || device.wake.is_none_or(|wake| wake > self.now) {
            return;
        }
        if self.now < device.paused_until {
            self.agenda.add(device.paused_until, Happening::DeviceWake { device: at, life });
            return;
        }
        if self.plant == Some(Plant::NoRingDeadline) && matches!(device.line.phase(), Phase::Ringing(_)) {
            return;
        }
        device.wake = None;
        let now = device.now(self.now);
        let taken = device.line.handle_input(now, Input::Wake);
        debug_assert!(taken.is_ok());
        self.pump_device(at);
    }

    /// Carries out what a line wants; gives what it wanted, for the rules.
    pub(crate) fn pump_device(&mut self, at: usize) -> Vec<Output> {
        let mut outputs = Vec::new();
        while let Some(output) = self.devices[at].line.poll_output() {
            match &output {
                Output::Send { message, .. } => {
                    let busy = matches!(&message.word, Word::Answer(answer) if answer.result == BUSY);
                    if busy && self.plant == Some(Plant::SilentWhenBusy) {
                        continue;
                    }
                    if busy && let Some(truth) = self.rules.truths.get_mut(&message.call_id) {
                        truth.busy = true;
                    }
                    self.send(Way::ToServer, at, message.clone());
                }
                Output::Tell(event) => self.tell(at, event.clone()),
                Output::WakeAt(time, _) => {
                    let device = &mut self.devices[at];
                    let moment = device.moment(*time).max(self.now);
                    device.wake = Some(moment);
                    self.agenda.add(moment, Happening::DeviceWake { device: at, life: device.life });
                }
            }
            outputs.push(output);
        }
        outputs
    }

    /// The app is told, unless a plant garbles it.
    fn tell(&mut self, at: usize, event: Event) {
        use call_protocol::end::EndReason::{RemoteCancel, RemoteHangup};
        let name = self.devices[at].name;
        self.transcript.line(self.now, || format!("{name}: {}", transcript::event(&event)));
        match (self.plant, &event) {
            (Some(Plant::EndUntold), Event::Ended { reason: RemoteHangup, .. }) => {}
            (Some(Plant::WrongReason), Event::Ended { call_id, reason: RemoteCancel, role: Role::Callee }) => {
                let wrong = Event::Ended { call_id: *call_id, reason: RemoteHangup, role: Role::Callee };
                self.check_told(at, &wrong);
            }
            (Some(Plant::EndedTwice), Event::Ended { .. }) => {
                self.check_told(at, &event);
                self.check_told(at, &event);
            }
            (Some(Plant::TalkAfterEnd), Event::Ended { call_id, .. }) => {
                self.check_told(at, &event);
                let callee = self.devices[at].party.user.clone();
                self.check_told(at, &Event::Alerted { call_id: *call_id, callee });
            }
            (None | Some(_), _) => self.check_told(at, &event),
        }
    }

    // ---- the server -----------------------------------------------------------------------------------------------

    fn at_server(&mut self, from: usize, message: CallMessage, said_at: u64) {
        let until = self.server.down_until.max(self.devices[from].link_down_until);
        if self.now < until || !self.server.is_up() {
            if self.plan.holds {
                self.agenda.add(until, Happening::AtServer { from, message, said_at });
            }
            return;
        }
        if self.now > said_at + Plan::OLDEST_MS {
            return;
        }
        let party = self.devices[from].party.clone();
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
                    let arbiter = Arbiter::open(self.plan.arbiter, now, party, (**invite).clone());
                    self.note_opened(from, &arbiter);
                    self.server.calls.insert(call_id, Slot { arbiter, wake: None });
                    self.pump_arbiter(call_id);
                    None
                }
            }
            _ => Arbiter::reply_to_unknown(&party, &message),
        };
        if let Some(reply) = reply {
            self.send(Way::ToDevice, from, reply);
        }
    }

    /// An arbiter gets an input, and the rules see what it makes of it.
    pub(crate) fn arbitrate(&mut self, call_id: CallId, input: ArbiterInput) {
        let now = self.server.now(self.now);
        let Some(slot) = self.server.calls.get_mut(&call_id) else { return };
        slot.arbiter.handle_input(now, input);
        self.pump_arbiter(call_id);
    }

    fn wake_arbiter(&mut self, call_id: CallId, era: u32) {
        if !self.server.is_up() || self.server.era != era || self.plant == Some(Plant::ServerWithoutClock) {
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
        loop {
            let Some(slot) = self.server.calls.get_mut(&call_id) else { return };
            let Some(output) = slot.arbiter.poll_output() else { break };
            match output {
                ArbiterOutput::Send { to, message } => {
                    self.check_said(call_id, &to, &message.word);
                    let reached = |device: &Device| match &to {
                        To::Device(party) => device.party == *party,
                        To::User(user) => device.party.user == *user,
                    };
                    for at in 0..self.devices.len() {
                        if reached(&self.devices[at]) {
                            self.send(Way::ToDevice, at, message.clone());
                        }
                    }
                }
                ArbiterOutput::Tell(fact) => self.check_fact(fact),
                ArbiterOutput::WakeAt(time, _) => {
                    let moment = self.server.moment(time).max(self.now);
                    if let Some(slot) = self.server.calls.get_mut(&call_id) {
                        slot.wake = Some(moment);
                    }
                    self.agenda.add(moment, Happening::ArbiterWake { call_id, era: self.server.era });
                }
            }
        }
        self.note_winner(call_id);
        let done = self.server.calls.get(&call_id).is_some_and(|slot| slot.arbiter.is_done());
        if done && self.plant != Some(Plant::ServerNeverForgets) {
            self.server.calls.remove(&call_id);
        }
    }

    // ---- the way between ------------------------------------------------------------------------------------------

    /// Hands a message to the carrier.
    fn send(&mut self, way: Way, device: usize, mut message: CallMessage) {
        if way == Way::ToDevice && self.plant.is_some() {
            self.garble(&mut message, device);
        }
        let arrivals = self.carrier.arrivals(&mut self.rng, &self.plan, self.now, way, device, &message.word);
        let name = self.devices[device].name;
        self.transcript.message(self.now, &message, || {
            let (from, to) = if way == Way::ToServer { (name, "server") } else { ("server", name) };
            let arrives = match arrivals {
                [Some(at), None] if at == self.now + 10 => String::new(),
                [Some(at), None] => format!(", arrives at {at}"),
                [Some(at), Some(again)] => format!(", arrives at {at} and {again}"),
                [None, _] => ", lost".to_owned(),
            };
            format!("  {from} → {to}: {}{arrives}", transcript::word(&message.word))
        });
        for at in arrivals.into_iter().flatten() {
            let message = message.clone();
            let happening = match way {
                Way::ToServer => Happening::AtServer { from: device, message, said_at: self.now },
                Way::ToDevice => Happening::AtDevice { to: device, message, said_at: self.now },
            };
            self.agenda.add(at, happening);
        }
    }

    /// What planted bugs make of the server's words.
    fn garble(&self, message: &mut CallMessage, to: usize) {
        use call_protocol::accept::{AnswerConfirm, AnswerResult};
        let Some(truth) = self.rules.truths.get(&message.call_id) else { return };
        let calls = truth.caller == to;
        match (self.plant, &message.word) {
            (Some(Plant::RingConfirmAfterEnd), Word::RingConfirm(RingConfirm::Over { .. })) if !calls => {
                let deadline_unix_ms = crate::device::BEGIN_UNIX_MS + self.now + 5_000;
                message.word = Word::RingConfirm(RingConfirm::Ring { deadline_unix_ms });
            }
            (Some(Plant::EveryAnswerCounts), Word::Cancel(_))
                if self.devices[to].told.contains_key(&message.call_id) =>
            {
                let winner = self.devices[to].party.clone();
                message.word = Word::AnswerConfirm(AnswerConfirm { result: AnswerResult::Accept, winner });
            }
            (None | Some(_), _) => {}
        }
    }
}

const BUSY: call_protocol::accept::AnswerResult = call_protocol::accept::AnswerResult::Busy;
