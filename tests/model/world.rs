//! One state of a small world, and how each action changes it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use call_protocol::invite::Invite;
use call_protocol::{CallId, CallMessage, Party, UserId, Word};
use signaling::{
    Address, Arbiter, ArbiterInput, ArbiterOutput, Command, Desk, DeskOutput, Input, Now, Phase, Route, Time, To,
};

use crate::plan::{LATE_MS, Place, Plan, STALL_MS, user};
use crate::plant::Plant;
use crate::relative::{MONO, Relative, UNIX};
use crate::watch::{Rule, Watch};

/// An end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Node {
    Server,
    Device(usize),
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// The oldest message of a link arrives.
    Deliver(Node, Node),
    /// It is lost.
    Lose(Node, Node),
    /// It arrives, and will once more, later.
    Repeat(Node, Node),
    /// It will arrive later. What was said after it overtakes it; on the way to the server it waits behind it.
    Delay(Node, Node),
    /// What was delayed or repeated arrives.
    ComeLate(usize),
    /// Nothing is on its way: the clock goes on to the next timer.
    Tick,
    /// A user does something.
    Do(usize, Deed),
}

/// What a user does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    Place(usize),
    Answer(CallId),
    Hangup(CallId),
    Hold(CallId, bool),
}

/// A device with its timer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Station {
    pub(crate) desk: Desk,
    wake: Option<Time>,
}

/// A call on the server with its timer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Slot {
    arbiter: Arbiter,
    wake: Option<Time>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Late {
    since: Time,
    /// What is said on this link meanwhile waits behind it.
    stalls: bool,
    from: Node,
    to: Node,
    message: Arc<CallMessage>,
}

impl Late {
    /// Whether another one has to wait for this one.
    fn stalls_with(&self, other: &Late) -> bool {
        self.stalls && other.stalls && (self.from, self.to) == (other.from, other.to)
    }
}

/// One state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct World {
    now_ms: u64,
    pub(crate) stations: Vec<Arc<Station>>,
    slots: BTreeMap<CallId, Arc<Slot>>,
    /// Messages on their way; each link keeps their order.
    links: BTreeMap<(Node, Node), VecDeque<Arc<CallMessage>>>,
    late: Vec<Late>,
    placed: u8,
    pub(crate) hands: Vec<u8>,
    pub(crate) faults: u8,
    pub(crate) watch: Watch,
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut state = Relative::new(state, self.now_ms);
        self.stations.hash(&mut state);
        self.slots.hash(&mut state);
        self.links.hash(&mut state);
        self.late.hash(&mut state);
        (self.placed, &self.hands, self.faults, &self.watch).hash(&mut state);
    }
}

/// Hears what happens in a step, for who reads it; the checker does not listen.
pub(crate) type Ear<'a> = &'a mut dyn FnMut(fmt::Arguments<'_>);

impl World {
    pub(crate) fn new(plan: &Plan) -> World {
        let station = |me: Party| {
            let desk = Desk::new(me.clone(), plan.line(&me), plan.arbiter());
            Arc::new(Station { desk, wake: None })
        };
        World {
            now_ms: 0,
            stations: plan.parties().into_iter().map(station).collect(),
            slots: BTreeMap::new(),
            links: BTreeMap::new(),
            late: Vec::new(),
            placed: 0,
            hands: plan.hands.clone(),
            faults: plan.faults,
            // Two in a row may keep a party from being heard for as long as one that is gone.
            watch: Watch::new(plan.faults > 1),
        }
    }

    pub(crate) fn now(&self) -> Now {
        Now { mono: Time(MONO + self.now_ms), unix_ms: UNIX + self.now_ms }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Nothing is on its way but what comes late.
    pub(crate) fn is_still(&self) -> bool {
        self.links.is_empty()
    }

    /// Nothing is on its way at all.
    pub(crate) fn is_quiet(&self) -> bool {
        self.links.is_empty() && self.late.is_empty()
    }

    /// The arbiters that know of their call.
    pub(crate) fn arbiters(&self) -> impl Iterator<Item = &Arbiter> {
        let on_devices = self.stations.iter().flat_map(|station| station.desk.arbiters());
        self.slots.values().map(|slot| &slot.arbiter).chain(on_devices)
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = (Node, Node)> {
        self.links.keys().copied()
    }

    /// What may happen. Where the order of events at one device does not matter, only one order is gone through.
    pub(crate) fn actions(&self, plan: &Plan, actions: &mut Vec<Action>) {
        if self.watch.broken.is_some() {
            return;
        }
        let users = plan.users();
        if let Some((from, to)) = self.links().find(|(_, to)| self.only_hears_this(plan, &users, *to)) {
            return self.on_link(from, to, actions);
        }
        for (from, to) in self.links() {
            self.on_link(from, to, actions);
        }
        let first = |at: &usize| !self.late[..*at].iter().any(|earlier| earlier.stalls_with(&self.late[*at]));
        actions.extend((0..self.late.len()).filter(first).map(Action::ComeLate));
        if self.next_wake().is_some() {
            actions.push(Action::Tick);
        }
        for (device, user) in users.into_iter().enumerate() {
            self.deeds(plan, device, user, actions);
        }
    }

    fn on_link(&self, from: Node, to: Node, actions: &mut Vec<Action>) {
        actions.push(Action::Deliver(from, to));
        if self.faults > 0 {
            actions.extend([Action::Lose(from, to), Action::Repeat(from, to), Action::Delay(from, to)]);
        }
    }

    /// Whether nothing else can happen at a device before the oldest message for it has arrived or gone wrong: it hears the server alone,
    /// its user can do nothing, nothing late is on its way to it. Whatever happens elsewhere meanwhile can as well happen afterwards.
    fn only_hears_this(&self, plan: &Plan, users: &[usize], to: Node) -> bool {
        let Node::Device(device) = to else { return false };
        let hears_one = plan.place == Place::Server && !plan.media_path;
        let mut placings = plan.calls.iter().enumerate();
        let may_place = placings.any(|(number, placing)| placing.from == device && self.placed & (1 << number) == 0);
        let mut deeds = Vec::new();
        self.deeds(plan, device, users[device], &mut deeds);
        hears_one && !may_place && deeds.is_empty() && !self.late.iter().any(|late| late.to == to)
    }

    fn deeds(&self, plan: &Plan, device: usize, user: usize, actions: &mut Vec<Action>) {
        let line = self.stations[device].desk.line();
        let is_placing = self.placed == 0 || plan.calls_later || self.somebody_is_calling();
        for (number, placing) in plan.calls.iter().enumerate() {
            let is_free = line.phase() == Phase::Idle && is_placing;
            if placing.from == device && self.placed & (1 << number) == 0 && is_free {
                actions.push(Action::Do(device, Deed::Place(number)));
            }
        }
        if self.hands[user] == 0 {
            return;
        }
        for phase in line.calls() {
            let mut may = |deed| actions.push(Action::Do(device, deed));
            match phase {
                Phase::Idle => {}
                Phase::Ringing(call_id) => {
                    may(Deed::Answer(call_id));
                    may(Deed::Hangup(call_id));
                }
                Phase::Calling(call_id) | Phase::Answering(call_id) => may(Deed::Hangup(call_id)),
                Phase::InCall(call_id) => {
                    may(Deed::Hangup(call_id));
                    if let (true, Some((held, _))) = (plan.holds, line.holds(call_id)) {
                        may(Deed::Hold(call_id, !held));
                    }
                }
            }
        }
    }

    fn somebody_is_calling(&self) -> bool {
        self.stations.iter().any(|station| matches!(station.desk.line().phase(), Phase::Calling(_)))
    }

    /// When the clock may go on, and to where. A message is not late for ever.
    fn next_wake(&self) -> Option<Time> {
        let wakes = self.stations.iter().filter_map(|station| station.wake);
        let next = wakes.chain(self.slots.values().filter_map(|slot| slot.wake)).min()?;
        let in_time = self.late.iter().all(|late| next <= late.since + if late.stalls { STALL_MS } else { LATE_MS });
        (self.is_still() && in_time).then_some(next)
    }

    /// The world after an action.
    pub(crate) fn after(&self, plan: &Plan, action: Action, ear: Ear<'_>) -> World {
        let mut world = self.clone();
        match action {
            Action::Deliver(from, to) => {
                let message = world.take(from, to);
                world.deliver(plan, from, to, &message, ear);
            }
            Action::Lose(from, to) => {
                world.faults -= 1;
                world.take(from, to);
            }
            Action::Repeat(from, to) => {
                world.faults -= 1;
                let message = world.take(from, to);
                world.come_late(from, to, message.clone(), false);
                world.deliver(plan, from, to, &message, ear);
            }
            Action::Delay(from, to) => {
                world.faults -= 1;
                let message = world.take(from, to);
                // The server's streams are numbered: there nothing is overtaken.
                world.come_late(from, to, message, to == Node::Server);
            }
            Action::ComeLate(at) => {
                let Late { from, to, message, .. } = world.late.remove(at);
                world.deliver(plan, from, to, &message, ear);
            }
            Action::Tick => world.tick(plan, ear),
            Action::Do(device, deed) => world.act(plan, device, deed, ear),
        }
        world
    }

    fn take(&mut self, from: Node, to: Node) -> Arc<CallMessage> {
        let link = self.links.get_mut(&(from, to)).expect("the action was offered as the link holds something");
        let message = link.pop_front().expect("an empty link is removed");
        if link.is_empty() {
            self.links.remove(&(from, to));
        }
        message
    }

    fn come_late(&mut self, from: Node, to: Node, message: Arc<CallMessage>, stalls: bool) {
        let stalled = self.late.iter().find(|late| stalls && late.stalls && (late.from, late.to) == (from, to));
        let since = stalled.map_or(self.now().mono, |first| first.since);
        self.late.push(Late { since, stalls, from, to, message });
        if let (true, Some(link)) = (stalls, self.links.remove(&(from, to))) {
            link.into_iter().for_each(|message| self.come_late(from, to, message, true));
        }
    }

    fn deliver(&mut self, plan: &Plan, from: Node, to: Node, message: &Arc<CallMessage>, ear: Ear<'_>) {
        match (to, from) {
            (Node::Device(device), from) => {
                let address = match from {
                    Node::Server => Address::Server,
                    Node::Device(other) => Address::Device(self.party(other).clone()),
                };
                let line = self.stations[device].desk.line();
                let is_calling = matches!(line.phase(), Phase::Calling(_));
                let heard = plan.plant.heard(line.party(), is_calling, (**message).clone());
                if let Some(message) = heard {
                    self.give(plan, device, Input::Message { from: address, message }, ear);
                }
            }
            (Node::Server, Node::Device(device)) => self.server_hears(plan, device, message, ear),
            (Node::Server, Node::Server) => {}
        }
    }

    fn act(&mut self, plan: &Plan, device: usize, deed: Deed, ear: Ear<'_>) {
        let command = match deed {
            Deed::Place(number) => {
                let placing = plan.calls[number];
                self.placed |= 1 << number;
                self.watch.placed(device, placing.call_id());
                Command::Invite {
                    call_id: placing.call_id(),
                    callees: vec![user(placing.to)],
                    call_type: placing.call_type(),
                    ext: Default::default(),
                    ring_timeout_ms: plan.ring_ms,
                    options: Default::default(),
                }
            }
            Deed::Answer(call_id) => Command::Answer { call_id },
            Deed::Hangup(call_id) => Command::Hangup { call_id },
            Deed::Hold(call_id, held) => Command::Hold { call_id, held, reason: None },
        };
        if !matches!(deed, Deed::Place(_)) {
            self.hands[plan.users()[device]] -= 1;
        }
        if plan.plant == Plant::StutteringHands {
            self.give(plan, device, Input::Command(command.clone()), ear);
        }
        self.give(plan, device, Input::Command(command), ear);
        self.watch.glare |= matches!(deed, Deed::Place(_)) && self.is_glare(plan);
    }

    /// Whether two users call each other right now, and neither call is decided.
    fn is_glare(&self, plan: &Plan) -> bool {
        let users = plan.users();
        let calling: Vec<(usize, usize)> = plan
            .calls
            .iter()
            .filter(|placing| {
                let call_id = placing.call_id();
                let is_decided = self.watch.decided.contains_key(&call_id);
                !is_decided && self.stations[placing.from].desk.line().phase() == Phase::Calling(call_id)
            })
            .map(|placing| (users[placing.from], placing.to))
            .collect();
        calling.iter().any(|(from, to)| calling.contains(&(*to, *from)))
    }

    /// The clock goes on to the next timer, and everything that is due happens.
    fn tick(&mut self, plan: &Plan, ear: Ear<'_>) {
        let Some(next) = self.next_wake() else { return };
        self.now_ms = self.now_ms.max(next.0 - MONO);
        let now = self.now();
        for device in 0..self.stations.len() {
            if self.stations[device].wake.is_some_and(|at| at <= now.mono) {
                Arc::make_mut(&mut self.stations[device]).wake = None;
                self.give(plan, device, Input::Wake, ear);
            }
        }
        let slots = self.slots.iter().filter(|(_, slot)| slot.wake.is_some_and(|at| at <= now.mono));
        let due: Vec<CallId> = slots.map(|(call_id, _)| *call_id).collect();
        for call_id in due {
            self.give_arbiter(plan, call_id, ArbiterInput::Wake, ear);
        }
    }

    fn give(&mut self, plan: &Plan, device: usize, input: Input, ear: Ear<'_>) {
        let now = self.now();
        let station = Arc::make_mut(&mut self.stations[device]);
        if let Err(error) = station.desk.handle_input(now, input) {
            ear(format_args!("the command fails: {error}"));
            self.watch.breaks(Rule::CommandsWork);
        }
        while let Some(output) = Arc::make_mut(&mut self.stations[device]).desk.poll_output() {
            match output {
                DeskOutput::Send { to: Route::Server, message } => {
                    self.send(plan, Node::Device(device), Node::Server, message, ear);
                }
                DeskOutput::Send { to: Route::Device(to), message } => {
                    if let Some(to) = self.device(&to) {
                        self.send(plan, Node::Device(device), Node::Device(to), message, ear);
                    }
                }
                DeskOutput::Send { to: Route::User(user), message } => {
                    for to in self.devices_of(&user) {
                        self.send(plan, Node::Device(device), Node::Device(to), message.clone(), ear);
                    }
                }
                DeskOutput::Direct { to, message } => {
                    if let (true, Some(to)) = (plan.media_path, self.device(&to)) {
                        self.send(plan, Node::Device(device), Node::Device(to), message, ear);
                    }
                }
                DeskOutput::Tell(event) => {
                    ear(format_args!("{} is told: {}", self.party(device), crate::report::event(&event)));
                    self.watch.tell(device, &event);
                    let twice = match plan.plant {
                        Plant::EndsTwice => matches!(event, signaling::Event::Ended { .. }),
                        Plant::MissedTwice => matches!(event, signaling::Event::Missed { .. }),
                        _ => false,
                    };
                    if twice {
                        self.watch.tell(device, &event);
                    }
                }
                DeskOutput::Fact(fact) => self.watch.fact(now.mono, &fact),
                DeskOutput::WakeAt(at, _) => Arc::make_mut(&mut self.stations[device]).wake = Some(at),
            }
        }
    }

    fn send(&mut self, plan: &Plan, from: Node, to: Node, message: CallMessage, ear: Ear<'_>) {
        if plan.plant.says(&message) {
            ear(format_args!("{} → {}: {}", self.name(from), self.name(to), crate::report::message(&message)));
            if self.late.iter().any(|late| late.stalls && (late.from, late.to) == (from, to)) {
                return self.come_late(from, to, Arc::new(message), true);
            }
            self.links.entry((from, to)).or_default().push_back(Arc::new(message));
        }
    }

    /// What the server does with a message of a device.
    fn server_hears(&mut self, plan: &Plan, device: usize, message: &CallMessage, ear: Ear<'_>) {
        let from = self.party(device).clone();
        let CallMessage { call_id, word } = message.clone();
        if self.slots.contains_key(&call_id) {
            return self.give_arbiter(plan, call_id, ArbiterInput::Message { from, word }, ear);
        }
        if let Word::Invite(invite) = word {
            self.open(plan, from, *invite, ear);
        } else if let Some(reply) = Arbiter::reply_to_unknown(&from, message) {
            self.send(plan, Node::Server, Node::Device(device), reply, ear);
        }
    }

    fn open(&mut self, plan: &Plan, from: Party, invite: Invite, ear: Ear<'_>) {
        let call_id = invite.call_id;
        let callees = invite.callees.iter().flat_map(|user| self.devices_of(user));
        let online = callees.map(|device| self.party(device).clone()).collect();
        let arbiter = Arbiter::open(plan.arbiter(), self.now(), from, invite, online);
        self.slots.insert(call_id, Arc::new(Slot { arbiter, wake: None }));
        self.drain(plan, call_id, ear);
    }

    fn give_arbiter(&mut self, plan: &Plan, call_id: CallId, input: ArbiterInput, ear: Ear<'_>) {
        let now = self.now();
        if let Some(slot) = self.slots.get_mut(&call_id) {
            let slot = Arc::make_mut(slot);
            slot.wake.take_if(|at| *at <= now.mono);
            slot.arbiter.handle_input(now, input);
        }
        self.drain(plan, call_id, ear);
    }

    fn drain(&mut self, plan: &Plan, call_id: CallId, ear: Ear<'_>) {
        let now = self.now().mono;
        while let Some(slot) = self.slots.get_mut(&call_id) {
            let slot = Arc::make_mut(slot);
            match slot.arbiter.poll_output() {
                Some(ArbiterOutput::Send { to: To::Device(to), message }) => {
                    if let Some(to) = self.device(&to) {
                        self.send(plan, Node::Server, Node::Device(to), message, ear);
                    }
                }
                Some(ArbiterOutput::Send { to: To::User(user), message }) => {
                    for to in self.devices_of(&user) {
                        self.send(plan, Node::Server, Node::Device(to), message.clone(), ear);
                    }
                }
                Some(ArbiterOutput::Tell(fact)) => self.watch.fact(now, &fact),
                Some(ArbiterOutput::WakeAt(at, _)) => slot.wake = Some(at),
                None if slot.arbiter.is_done() => {
                    self.slots.remove(&call_id);
                }
                None => return,
            }
        }
    }

    pub(crate) fn party(&self, device: usize) -> &Party {
        self.stations[device].desk.line().party()
    }

    pub(crate) fn device(&self, party: &Party) -> Option<usize> {
        (0..self.stations.len()).find(|device| self.party(*device) == party)
    }

    fn devices_of(&self, user: &UserId) -> Vec<usize> {
        (0..self.stations.len()).filter(|device| self.party(*device).user == *user).collect()
    }

    fn name(&self, node: Node) -> String {
        match node {
            Node::Server => "server".to_owned(),
            Node::Device(device) => self.party(device).to_string(),
        }
    }

    /// An action in words.
    pub(crate) fn describe(&self, plan: &Plan, action: Action) -> String {
        let on_link = |what: &str, from: Node, to: Node| {
            let message = self.links.get(&(from, to)).and_then(VecDeque::front);
            let message = message.map(|message| crate::report::message(message)).unwrap_or_default();
            format!("{what} {} → {}: {message}", self.name(from), self.name(to))
        };
        match action {
            Action::Deliver(from, to) => on_link("arrives", from, to),
            Action::Lose(from, to) => on_link("IS LOST", from, to),
            Action::Repeat(from, to) => on_link("ARRIVES, and will again,", from, to),
            Action::Delay(from, to) => on_link("IS DELAYED", from, to),
            Action::ComeLate(at) => {
                let Late { from, to, message, .. } = &self.late[at];
                let message = crate::report::message(message);
                format!("COMES LATE {} → {}: {message}", self.name(*from), self.name(*to))
            }
            Action::Tick => "the next timer".to_owned(),
            Action::Do(device, deed) => {
                let deed = match deed {
                    Deed::Place(number) => {
                        let placing = plan.calls[number];
                        format!("calls {} (call {})", user(placing.to), placing.id)
                    }
                    Deed::Answer(call) => format!("answers call {}", call.bits()),
                    Deed::Hangup(call) => format!("hangs up call {}", call.bits()),
                    Deed::Hold(call, true) => format!("holds call {}", call.bits()),
                    Deed::Hold(call, false) => format!("goes on with call {}", call.bits()),
                };
                format!("{} {deed}", self.party(device))
            }
        }
    }
}
