//! The world's clock: takes what happens next, carries it out, has the rules checked.

use call_protocol::{CallId, CallMessage};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use signaling::{Address, Command, CommandError, DeskOutput, Event, Input, Phase, Role, SecondCall};

use crate::carrier::Carrier;
use crate::device::Device;
use crate::happening::{Agenda, Happening};
use crate::plan::{Fault, Placement, Plan};
use crate::plant::Plant;
use crate::rules::{Rule, Rules};
use crate::server::Server;
use crate::transcript::{self, Detail, Transcript};

/// The names of the users, in order.
pub(crate) const NAMES: [&str; 4] = ["alice", "bob", "carol", "dave"];

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
    /// What apps do on their own: set their media up.
    pub(crate) apps_negotiate: bool,
}

impl World {
    pub(crate) fn new(rng: ChaCha8Rng, mut plan: Plan, plant: Option<Plant>, detail: Detail) -> World {
        if plant == Some(Plant::OneBusyIsAll) {
            plan.arbiter.busy_grace_ms = 0;
        }
        let mut server = Server::default();
        server.keeps = plan.faults.contains(&Fault::ServerKill);
        let mut world = World {
            carrier: Carrier::new(),
            rules: Rules::new(&plan),
            transcript: Transcript::new(detail),
            agenda: Agenda::default(),
            server,
            troubled: !plan.is_faultless(),
            apps_negotiate: detail != Detail::Story,
            now: 0,
            plan,
            plant,
            rng,
            devices: Vec::new(),
        };
        let most = world.plan.devices.iter().copied().max().unwrap_or(0);
        for number in 0..most {
            for user in 0..world.plan.devices.len() {
                if number < world.plan.devices[user] {
                    world.add_device(user);
                }
            }
        }
        world
    }

    /// A world in which nothing is random.
    pub(crate) fn calm(placement: Placement) -> World {
        let mut world = World::new(ChaCha8Rng::seed_from_u64(0), Plan::calm(placement), None, Detail::Story);
        world.server.keeps = true;
        world
    }

    /// A user gets one more device.
    pub(crate) fn add_device(&mut self, user: usize) -> usize {
        let number = self.devices.iter().filter(|device| device.user == user).count();
        let mut config = self.plan.line.clone();
        if self.plan.placement == Placement::Chat {
            let nobody = Device::new(user, NAMES[user], number, config.clone(), self.plan.arbiter);
            config.arbiter = Address::Device(nobody.party);
        }
        if self.plan.waiting > 0.0 && self.rng.random_bool(self.plan.waiting) {
            config.second_call = SecondCall::Waiting;
        }
        let mut device = Device::new(user, NAMES[user], number, config, self.plan.arbiter);
        device.boot = self.rng.random_range(0..1_000_000);
        device.skew = Device::SKEW + self.rng.random_range(0..=2 * self.plan.skew_ms) - self.plan.skew_ms;
        self.devices.push(device);
        self.devices.len() - 1
    }

    /// Lets the next thing happen; false if nothing is left to happen.
    pub(crate) fn step(&mut self) -> bool {
        let Some((at, happening)) = self.agenda.next() else { return false };
        self.now = at;
        self.rules.now = at;
        match happening {
            Happening::AtServer { from, message, said_at, life } => self.at_server(from, message, said_at, life),
            Happening::AtDevice { to, from, message, said_at, life } => {
                self.at_device(to, from, message, said_at, life);
            }
            Happening::DeviceWake { device, life } => self.wake_device(device, life),
            Happening::ArbiterWake { call_id, era } => self.wake_arbiter(call_id, era),
            Happening::Act { device } => self.act(device),
            Happening::Does { device, life, command } => self.does_as_planned(device, life, *command),
            Happening::Trouble => self.trouble(),
            Happening::LinkUp { device } => self.link_is_up(device),
            Happening::DeviceStarts { device, life } => self.start_device(device, life),
            Happening::ServerStarts { era } => self.start_server(era),
            Happening::ServerGoesOn => self.server_goes_on(),
            Happening::GlareIsOver { first } => self.check_glare(first),
            Happening::MissedIsTold { device, life, call_id, since } => {
                self.check_missed_is_told(device, life, call_id, since);
            }
            Happening::Mend => self.mend(),
            Happening::Settle => self.check_settled(),
            Happening::Part { all } => self.part(all),
        }
        self.check_time();
        true
    }

    /// The device of this name.
    pub(crate) fn device_of(&self, party: &call_protocol::Party) -> Option<usize> {
        self.devices.iter().position(|device| device.party == *party)
    }

    /// The user wants something of a device.
    pub(crate) fn command(&mut self, at: usize, command: Command) -> Result<(), CommandError> {
        let device = &mut self.devices[at];
        let now = device.now(self.now);
        let before = device.phases();
        let mut changed = None;
        let untouched = self.rules.is_curious().then(|| device.desk.clone());
        let result = device.desk.handle_input(now, Input::Command(command.clone()));
        match &result {
            Ok(()) => self.note_command(at, &before, &command),
            Err(_) if untouched.is_some_and(|untouched| untouched != device.desk) => changed = Some(&command),
            Err(_) => {}
        }
        if let Some(command) = changed {
            let what = format!("{command:?} failed at {} and still changed it", self.devices[at].name);
            self.rules.broken(Rule::StrayChangesNothing, what);
        }
        self.pump_device(at);
        result
    }

    /// A line gets a message, and the rules see what it makes of it.
    pub(crate) fn hear(&mut self, to: usize, from: Address, message: CallMessage) {
        self.transcript.message(self.now, &message, || {
            let name = &self.devices[to].name;
            format!("         {name} hears {}", transcript::word(&message.word))
        });
        let device = &mut self.devices[to];
        let now = device.now(self.now);
        let before = device.phases();
        let due = device.wake.is_some_and(|wake| wake <= self.now);
        // A message cannot be refused: only commands can fail.
        let taken = device.desk.handle_input(now, Input::Message { from: from.clone(), message: message.clone() });
        debug_assert!(taken.is_ok());
        let outputs = self.pump_device(to);
        self.check_heard(to, &from, &message, &before, due, &outputs);
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
        if self.plant_stops_the_clock_of(at) {
            return;
        }
        let device = &mut self.devices[at];
        device.wake = None;
        let now = device.now(self.now);
        let taken = device.desk.handle_input(now, Input::Wake);
        debug_assert!(taken.is_ok());
        self.pump_device(at);
    }

    /// Carries out what a device wants; gives what it wanted, for the rules.
    pub(crate) fn pump_device(&mut self, at: usize) -> Vec<DeskOutput> {
        let mut outputs = Vec::new();
        while let Some(output) = self.devices[at].desk.poll_output() {
            match &output {
                DeskOutput::Send { message, .. } if self.plant_swallows(at, message) => continue,
                DeskOutput::Send { to, message } => self.device_says(at, to, message),
                DeskOutput::Direct { to, message } => self.says_directly(at, to, message),
                DeskOutput::Tell(event) => self.tell(at, event.clone()),
                DeskOutput::Fact(fact) => self.check_fact(*fact),
                DeskOutput::WakeAt(time, _) => {
                    let device = &mut self.devices[at];
                    let moment = device.moment(*time).max(self.now);
                    device.wake = Some(moment);
                    self.agenda.add(moment, Happening::DeviceWake { device: at, life: device.life });
                }
            }
            outputs.push(output);
        }
        self.check_device(at);
        if self.apps_negotiate {
            for output in &outputs {
                if let DeskOutput::Tell(event) = output {
                    self.app_acts_on(at, event);
                }
            }
        }
        outputs
    }

    /// The app is told, unless a plant garbles it.
    fn tell(&mut self, at: usize, event: Event) {
        use call_protocol::end::EndReason::{RemoteCancel, RemoteHangup};
        let name = &self.devices[at].name;
        self.transcript.told(self.now, name, &event);
        let Some(plant) = self.plant else { return self.check_told(at, &event) };
        match (plant, &event) {
            (Plant::EndUntold, Event::Ended { reason: RemoteHangup, .. })
            | (Plant::HoldUntold, Event::Held { held: true, .. })
            | (Plant::MissedUntold, Event::Missed { .. }) => {}
            (Plant::WrongReason, Event::Ended { call_id, reason: RemoteCancel, role: Role::Callee, release }) => {
                let wrong =
                    Event::Ended { call_id: *call_id, reason: RemoteHangup, role: Role::Callee, release: *release };
                self.check_told(at, &wrong);
            }
            (Plant::EndedTwice, Event::Ended { .. })
            | (Plant::StepTwice, Event::Negotiation { .. })
            | (Plant::MissedTwice, Event::Missed { .. }) => {
                self.check_told(at, &event);
                self.check_told(at, &event);
            }
            (Plant::StepLost, Event::Negotiation { .. }) => {
                self.rules.steps_seen += 1;
                if !self.rules.steps_seen.is_multiple_of(7) {
                    self.check_told(at, &event);
                }
            }
            (Plant::TalkAfterEnd, Event::Ended { call_id, .. }) => {
                self.check_told(at, &event);
                let callee = self.devices[at].party.clone();
                self.check_told(at, &Event::Alerted { call_id: *call_id, callee });
            }
            (Plant::ElsewhereIsMissed, Event::Ended { call_id, reason, role: Role::Callee, .. }) => {
                self.check_told(at, &event);
                let elsewhere = *reason == call_protocol::end::EndReason::AnsweredElsewhere;
                if elsewhere && let Some(invite) = self.rules.invite_of(*call_id) {
                    self.check_told(at, &Event::Missed { invite: Box::new(invite) });
                }
            }
            (Plant::GlareKeepsItsKind, Event::Accepted { invite, role, peer, preparation }) => {
                let mut invite = invite.clone();
                invite.call_type = call_protocol::invite::CallType::Video1v1;
                let event = Event::Accepted { invite, role: *role, peer: peer.clone(), preparation: *preparation };
                self.check_told(at, &event);
            }
            (_, _) => self.check_told(at, &event),
        }
    }

    /// The call that rings at this device, if one does.
    pub(crate) fn ringing(&self, at: usize) -> Option<CallId> {
        self.devices[at].desk.line().calls().find_map(|phase| match phase {
            Phase::Ringing(call_id) => Some(call_id),
            Phase::Idle | Phase::Calling(_) | Phase::Answering(_) | Phase::InCall(_) => None,
        })
    }
}
