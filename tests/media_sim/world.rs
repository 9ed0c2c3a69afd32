//! A world: one call from its plan to its end, in virtual time.

use std::collections::BTreeMap;
use std::time::Duration;

use call_protocol::invite::CallType;
use call_protocol::{CallId, CallMessage, UserId};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rtc_transport::simulated::{Network, run};
use signaling::{Address, Command, CommandError, DeskOutput, Event, Input, Now, Role, Time};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::checks::Seen;
use crate::device::{Device, Media};
use crate::peer::Report;
use crate::plan::{Fault, Moment, Plan};
use crate::plant::Plant;
use crate::post::Server;

/// The wall clock when a world begins.
const BEGIN_UNIX_MS: u64 = 1_700_000_000_000;
/// When a world is over at the latest.
const LIMIT_MS: u64 = 120_000;
/// How long a world goes on when everybody has been told the end, for what comes late.
const AFTERWARDS_MS: u64 = 3_000;

/// What is going to happen.
#[derive(Debug)]
pub(crate) enum Happening {
    AtServer {
        from: usize,
        message: CallMessage,
    },
    AtDevice {
        to: usize,
        from: Address,
        message: CallMessage,
    },
    Wake(usize),
    WakeServer,
    Calls,
    Answers(usize),
    HangsUp,
    Fault(Fault),
    FaultOver(Fault),
    /// A device reaches the server, or the chat, again.
    Connected(usize),
}

/// What came of a world.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) plan: Plan,
    /// What was broken, first things first.
    pub(crate) broken: Vec<String>,
    pub(crate) log: Vec<String>,
    /// What a path said went wrong; nothing of it need have hurt.
    pub(crate) failures: Vec<String>,
    pub(crate) seen: Seen,
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) plant: Option<Plant>,
    pub(crate) chance: ChaCha8Rng,
    pub(crate) network: Network,
    pub(crate) devices: Vec<Device>,
    pub(crate) server: Server,
    pub(crate) call_id: CallId,
    pub(crate) reports: mpsc::UnboundedSender<Report>,
    /// Paths opened so far, and tasks of paths that run.
    pub(crate) paths: u64,
    pub(crate) peers: usize,
    pub(crate) seen: Seen,
    pub(crate) failures: Vec<String>,
    begin: Instant,
    agenda: BTreeMap<(u64, u64), Happening>,
    nth: u64,
    log: Vec<String>,
    broken: Vec<String>,
    /// What a plant keeps.
    kept: Vec<Media>,
}

/// Runs the world of a plan to its end.
pub(crate) fn simulate(plan: Plan, plant: Option<Plant>) -> Outcome {
    run(async move {
        let (reports, mut inbox) = mpsc::unbounded_channel();
        let mut world = World::new(plan, plant, reports);
        world.play(&mut inbox).await;
        world.close(&mut inbox).await;
        let World { plan, broken, log, failures, seen, .. } = world;
        Outcome { plan, broken, log, failures, seen }
    })
}

impl World {
    fn new(plan: Plan, plant: Option<Plant>, reports: mpsc::UnboundedSender<Report>) -> World {
        let network = Network::new(plan.seed);
        let hosts: Vec<_> = (0..plan.devices()).map(|_| network.host()).collect();
        for (host, link) in hosts[1..].iter().zip(&plan.links) {
            network.connect(&hosts[0], host, *link);
        }
        let devices = hosts.into_iter().zip(&plan.warm).enumerate();
        let devices = devices.map(|(number, (host, warm))| Device::new(number, plan.placement, host, *warm)).collect();
        World {
            chance: ChaCha8Rng::seed_from_u64(!plan.seed),
            call_id: CallId::from_bits(u128::from(plan.seed) + 1),
            seen: Seen::new(plan.devices()),
            plan,
            plant,
            network,
            devices,
            server: Server::default(),
            reports,
            paths: 0,
            peers: 0,
            failures: Vec::new(),
            begin: Instant::now(),
            agenda: BTreeMap::new(),
            nth: 0,
            log: Vec::new(),
            broken: Vec::new(),
            kept: Vec::new(),
        }
    }

    async fn play(&mut self, inbox: &mut mpsc::UnboundedReceiver<Report>) {
        self.add(0, Happening::Calls);
        let mut over_at = None;
        loop {
            if over_at.is_none() && self.is_over() {
                over_at = Some(self.now() + AFTERWARDS_MS);
            }
            let end = over_at.unwrap_or(LIMIT_MS);
            let next = self.agenda.keys().next().map_or(end, |(at, _)| *at).min(end);
            tokio::select! {
                biased;
                Some(report) = inbox.recv() => self.on_report(report),
                () = sleep_until(self.begin + Duration::from_millis(next)) => {
                    if self.now() >= end {
                        break;
                    }
                    while let Some(entry) = self.agenda.first_entry() && entry.key().0 <= self.now() {
                        let happening = self.agenda.pop_first().map(|(_, happening)| happening);
                        happening.into_iter().for_each(|happening| self.happens(happening));
                    }
                }
            }
        }
        if over_at.is_none() {
            self.broken("the call has no end".to_owned());
        }
    }

    /// Every path is closed by now; what is left belongs to nobody.
    async fn close(&mut self, inbox: &mut mpsc::UnboundedReceiver<Report>) {
        while let Ok(report) = inbox.try_recv() {
            self.on_report(report);
        }
        let left = (self.peers, self.network.running_tasks(), self.network.open_sockets());
        if left != (0, 0, 0) {
            self.broken(format!("paths, tasks and sockets are left: {left:?}"));
        }
        self.check_the_end();
    }

    pub(crate) fn now(&self) -> u64 {
        self.begin.elapsed().as_millis() as u64
    }

    pub(crate) fn present(&self) -> Now {
        Now { mono: Time(self.now()), unix_ms: BEGIN_UNIX_MS + self.now() }
    }

    pub(crate) fn add(&mut self, in_ms: u64, happening: Happening) {
        self.nth += 1;
        self.agenda.insert((self.now() + in_ms, self.nth), happening);
    }

    pub(crate) fn log(&mut self, line: String) {
        self.log.push(format!("{:>6} {line}", self.now()));
    }

    pub(crate) fn broken(&mut self, what: String) {
        self.log(format!("BROKEN: {what}"));
        self.broken.push(format!("{what}, at {} ms", self.now()));
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::AtServer { from, message } => self.at_server(from, message),
            Happening::AtDevice { to, from, message } => self.at_device(to, from, message),
            Happening::Wake(at) => {
                let now = self.now();
                if self.devices[at].planned.take_if(|planned| *planned <= now).is_none() {
                    return;
                }
                self.devices[at].desk_wake.take_if(|wake| *wake <= now);
                self.input(at, Input::Wake);
                self.on_time_path(at);
                self.plan_wake(at);
            }
            Happening::WakeServer => self.wake_server(),
            Happening::Calls => self.calls(),
            Happening::Answers(at) => self.answers(at),
            Happening::HangsUp => self.hangs_up(),
            Happening::Fault(fault) => self.goes_wrong(fault),
            Happening::FaultOver(fault) => self.is_mended(fault),
            Happening::Connected(at) => self.is_connected(at),
        }
    }

    fn calls(&mut self) {
        self.devices[0].media = Some(Media::new(Role::Caller));
        self.seen.told[0] = true;
        let command = Command::Invite {
            call_id: self.call_id,
            callees: vec![UserId::new("bob").expect("it is an id")],
            call_type: CallType::Audio1v1,
            ext: Default::default(),
            ring_timeout_ms: 60_000,
            options: Default::default(),
        };
        self.input(0, Input::Command(command));
    }

    fn answers(&mut self, at: usize) {
        self.log(format!("{at}: the user accepts"));
        let (now, call_id) = (self.now(), self.call_id);
        let stands =
            self.is_connected_to(at, &self.devices[0].party) && self.is_connected_to(0, &self.devices[at].party);
        if self.try_input(at, Input::Command(Command::Answer { call_id })).is_ok() {
            self.seen.answered = Some((now, stands));
            if let Some(media) = &mut self.devices[at].media {
                media.accepted = true;
            }
            self.take_offers(at);
        }
    }

    fn hangs_up(&mut self) {
        let (now, call_id, at) = (self.now(), self.call_id, self.plan.hangs_up);
        self.log(format!("{at}: the user hangs up"));
        let other = if at == 0 { self.plan.winner } else { 0 };
        let stands = self.is_connected_to(at, &self.devices[other].party)
            && self.is_connected_to(other, &self.devices[at].party);
        self.seen.hung_up = Some((now, stands, self.server.is_dead));
        if self.try_input(at, Input::Command(Command::Hangup { call_id })).is_err() {
            self.broken("there is no call any more to hang up".to_owned());
        }
    }

    /// Gives a desk an input that cannot fail.
    pub(crate) fn input(&mut self, at: usize, input: Input) {
        if let Err(error) = self.try_input(at, input) {
            self.broken(format!("{at}'s line refused: {error}"));
        }
    }

    pub(crate) fn try_input(&mut self, at: usize, input: Input) -> Result<(), CommandError> {
        let present = self.present();
        let result = self.devices[at].desk.handle_input(present, input);
        while let Some(output) = self.devices[at].desk.poll_output() {
            match output {
                DeskOutput::Send { to, message } => self.device_says(at, &to, message),
                DeskOutput::Direct { to, message } => self.say_directly(at, &to, &message),
                DeskOutput::Tell(event) => {
                    if self.plant == Some(Plant::EndedTwice) && matches!(event, Event::Ended { .. }) {
                        self.on_event(at, event.clone());
                    }
                    self.on_event(at, event);
                }
                DeskOutput::Fact(fact) => self.log(format!("{at} decides: {fact:?}")),
                DeskOutput::WakeAt(time, _timer) => self.devices[at].desk_wake = Some(time.0),
            }
        }
        self.plan_wake(at);
        result
    }

    pub(crate) fn plan_wake(&mut self, at: usize) {
        if let Some(wake) = self.devices[at].wake() {
            // A moment that is past is the next one.
            let wake = wake.max(self.now() + 1);
            if self.devices[at].planned.is_none_or(|planned| wake < planned) {
                self.devices[at].planned = Some(wake);
                self.add(wake - self.now(), Happening::Wake(at));
            }
        }
    }

    fn on_event(&mut self, at: usize, event: Event) {
        self.see(at, &event);
        match event {
            Event::Alerted { callee, .. } => self.warm_up(at, callee),
            Event::Ringing { .. } => {
                self.devices[at].media = Some(Media::new(Role::Callee));
                self.rings(at);
            }
            Event::Answering { peer, .. } => self.open_sound(at, &peer),
            Event::Accepted { peer, .. } => {
                self.settle_on(at, peer);
                if at == self.plan.winner {
                    self.begin_fault(|moment| match moment {
                        Moment::Talking(ms) => Some(ms),
                        Moment::Ringing(_) => None,
                    });
                }
                if at == self.plan.hangs_up {
                    self.add(self.plan.talk_ms, Happening::HangsUp);
                }
            }
            Event::Negotiation { from, body, .. } => self.on_negotiation(at, from, body),
            Event::Ended { .. } => {
                let media = self.devices[at].media.take();
                if self.plant == Some(Plant::PathsOutliveTheCall) {
                    self.kept.extend(media);
                }
            }
            Event::Merged { .. } | Event::Failed { .. } | Event::Missed { .. } | Event::Released { .. } => {
                self.broken(format!("{at} is told what does not happen here: {event:?}"));
            }
            Event::Notifying { .. } | Event::Held { .. } | Event::PeerHeld { .. } | Event::Reachability { .. } => {}
        }
    }

    fn rings(&mut self, at: usize) {
        let is_first = self.seen.told[1..].iter().filter(|told| **told).count() == 1;
        if is_first {
            self.begin_fault(|moment| match moment {
                Moment::Ringing(ms) => Some(ms),
                Moment::Talking(_) => None,
            });
        }
        if at == self.plan.winner {
            self.add(self.plan.ring_ms, Happening::Answers(at));
        }
    }

    fn begin_fault(&mut self, now: impl Fn(Moment) -> Option<u64>) {
        if let Some(fault) = self.plan.fault
            && let Some(in_ms) = now(fault.moment())
        {
            self.add(in_ms, Happening::Fault(fault));
        }
    }

    fn goes_wrong(&mut self, fault: Fault) {
        self.log(format!("fault: {fault:?}"));
        match fault {
            Fault::Dead(..) => self.die(),
            Fault::Moves(_, who, _) => {
                self.devices[who].host.moves();
                self.devices[who].is_lost = true;
            }
            Fault::Cut(..) => self.network.cut(&self.devices[0].host, &self.devices[self.plan.winner].host),
            Fault::Offline(_, who, ms) => {
                self.cut_off(who);
                self.devices[who].offline_until = self.now() + ms;
            }
        }
        self.add(fault.lasts_ms(), Happening::FaultOver(fault));
    }

    fn cut_off(&self, who: usize) {
        for other in (0..self.devices.len()).filter(|other| *other != who) {
            self.network.cut(&self.devices[who].host, &self.devices[other].host);
        }
    }

    fn is_mended(&mut self, fault: Fault) {
        self.log("the fault is over".to_owned());
        self.seen.fault_over = Some(self.now());
        match fault {
            Fault::Dead(..) => self.start(),
            Fault::Moves(_, who, _) => {
                self.devices[who].is_lost = false;
                self.rebind(who);
                self.signs_in_again(who);
            }
            Fault::Cut(..) | Fault::Offline(..) => {
                if let Fault::Offline(_, who, _) = fault {
                    self.signs_in_again(who);
                }
                for (device, link) in self.devices[1..].iter().zip(&self.plan.links) {
                    self.network.connect(&self.devices[0].host, &device.host, *link);
                }
            }
        }
    }

    fn signs_in_again(&mut self, who: usize) {
        self.devices[who].connected = false;
        self.add(2 * self.plan.post_ms.1, Happening::Connected(who));
    }

    fn is_over(&self) -> bool {
        let ended = self.seen.told.iter().zip(&self.seen.ended).all(|(told, ended)| !told || !ended.is_empty());
        // A device that hears of the call late is told its end at once.
        self.seen.hung_up.is_some() && ended
    }
}
