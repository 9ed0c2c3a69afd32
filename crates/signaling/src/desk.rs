//! A line together with the arbiters of the calls it places, for carriers that have no server to run them.

use std::collections::{BTreeMap, VecDeque};

use call_protocol::{CallId, CallMessage, Party, UserId, Word};

use crate::arbiter::{Arbiter, ArbiterConfig, ArbiterInput, ArbiterOutput, Fact, To};
use crate::door::{Address, CommandError, Event, Input, Output};
use crate::line::{Line, LineConfig};
use crate::time::{Now, Time};
use crate::timer::Timer;

/// Where a message is to be carried.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Route {
    /// To the server, which runs the arbiter of the call.
    Server,
    /// To one device.
    Device(Party),
    /// To every device of a user.
    User(UserId),
}

/// What goes out of a desk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DeskOutput {
    /// Carry this there.
    Send {
        /// Who is to get it.
        to: Route,
        /// What it says.
        message: CallMessage,
    },
    /// Say this on the media path to that device, if it stands; else drop it.
    Direct {
        /// Who is to get it.
        to: Party,
        /// What it says.
        message: CallMessage,
    },
    /// Tell the app.
    Tell(Event),
    /// What became of a call that is arbitrated here.
    Fact(Fact),
    /// Come back at this time at the latest; replaces the time said before.
    WakeAt(Time, Timer),
}

/// A line and the arbiters of its own calls.
///
/// With [`LineConfig::arbiter`] on the server it is the line alone; with the line's own device there it decides about the calls it places,
/// and the devices it calls speak to it. It has the same door as a [`Line`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Desk {
    line: Line,
    arbiters: BTreeMap<CallId, Arbitrated>,
    config: ArbiterConfig,
    line_wake: Option<(Time, Timer)>,
    outputs: VecDeque<DeskOutput>,
    announced: Option<(Time, Timer)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Arbitrated {
    arbiter: Arbiter,
    wake: Option<(Time, Timer)>,
}

impl Desk {
    /// An idle desk. Its arbiters answer signs of life, so that the other party notices when this device is gone.
    pub fn new(me: Party, line: LineConfig, arbiter: ArbiterConfig) -> Desk {
        Desk {
            line: Line::new(me, line),
            arbiters: BTreeMap::new(),
            config: ArbiterConfig { echo: true, ..arbiter },
            line_wake: None,
            outputs: VecDeque::new(),
            announced: None,
        }
    }

    /// The line.
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// The calls that are decided here and not forgotten yet.
    pub fn arbiters(&self) -> impl Iterator<Item = &Arbiter> {
        self.arbiters.values().map(|arbitrated| &arbitrated.arbiter)
    }

    /// The door in. Only a command can fail; it then changes nothing.
    pub fn handle_input(&mut self, now: Now, input: Input) -> Result<(), CommandError> {
        let result = match input {
            Input::Message { from: Address::Device(from), message } if self.is_for_arbiter(&message) => {
                self.arbitrate(now, from, message);
                self.line.handle_input(now, Input::Wake)
            }
            Input::Stalled { ms } => {
                for call_id in self.arbiters.keys().copied().collect::<Vec<_>>() {
                    self.give(now, call_id, ArbiterInput::Stalled { ms });
                }
                self.line.handle_input(now, input)
            }
            Input::Message { .. } | Input::Connected | Input::Command(_) | Input::Wake => {
                self.line.handle_input(now, input)
            }
        };
        // What failed has changed nothing, not even what is due by now.
        result?;
        self.drain(now);
        let late: Vec<CallId> = self.arbiters.iter().filter(|(_, a)| is_due(a.wake, now)).map(|(id, _)| *id).collect();
        for call_id in late {
            self.give(now, call_id, ArbiterInput::Wake);
            self.drain(now);
        }
        self.arbiters.retain(|_, arbitrated| !arbitrated.arbiter.is_done());
        Ok(())
    }

    /// The door out: to be called until it gives `None` after each input.
    pub fn poll_output(&mut self) -> Option<DeskOutput> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        let wakes = self.arbiters.values().filter_map(|arbitrated| arbitrated.wake);
        let next = wakes.chain(self.line_wake).min();
        if next == self.announced {
            return None;
        }
        self.announced = next;
        next.map(|(time, timer)| DeskOutput::WakeAt(time, timer))
    }

    /// Whether a device speaks to this one as to the arbiter of the call.
    fn is_for_arbiter(&self, message: &CallMessage) -> bool {
        if self.arbiters.contains_key(&message.call_id) {
            return true;
        }
        let decides = match &self.line.config.arbiter {
            Address::Server => false,
            Address::Device(device) => *device == self.line.me,
        };
        match &message.word {
            Word::Alert(_) | Word::Answer(_) | Word::KeepAlive(_) => decides,
            Word::Invite(_)
            | Word::RingConfirm(_)
            | Word::AnswerConfirm(_)
            | Word::Cancel(_)
            | Word::End(_)
            | Word::Negotiation(_)
            | Word::Reachability { .. }
            | Word::Hold { .. }
            | Word::Missed(_) => false,
        }
    }

    /// A device, this one or another, says something to the arbiter of a call.
    fn arbitrate(&mut self, now: Now, from: Party, message: CallMessage) {
        let CallMessage { call_id, word } = message;
        if self.arbiters.contains_key(&call_id) {
            return self.give(now, call_id, ArbiterInput::Message { from, word });
        }
        match word {
            Word::Invite(invite) => {
                if from == self.line.me {
                    let arbiter = Arbiter::open(self.config, now, from, *invite, Vec::new());
                    self.arbiters.insert(call_id, Arbitrated { arbiter, wake: None });
                    self.drain_arbiter(now, call_id);
                }
            }
            word => {
                if let Some(message) = Arbiter::reply_to_unknown(&from, &CallMessage { call_id, word }) {
                    self.carry(now, To::Device(from), message);
                }
            }
        }
    }

    fn give(&mut self, now: Now, call_id: CallId, input: ArbiterInput) {
        let Some(arbitrated) = self.arbiters.get_mut(&call_id) else { return };
        if is_due(arbitrated.wake, now) {
            arbitrated.wake = None;
        }
        arbitrated.arbiter.handle_input(now, input);
        self.drain_arbiter(now, call_id);
    }

    fn drain_arbiter(&mut self, now: Now, call_id: CallId) {
        while let Some(arbitrated) = self.arbiters.get_mut(&call_id) {
            match arbitrated.arbiter.poll_output() {
                Some(ArbiterOutput::Send { to, message }) => self.carry(now, to, message),
                Some(ArbiterOutput::Tell(fact)) => self.outputs.push_back(DeskOutput::Fact(fact)),
                Some(ArbiterOutput::WakeAt(time, timer)) => arbitrated.wake = Some((time, timer)),
                None => return,
            }
        }
    }

    /// What an arbiter here says goes out, or to the line beside it.
    fn carry(&mut self, now: Now, to: To, message: CallMessage) {
        let to = match to {
            To::Device(device) if device == self.line.me => {
                let from = Address::Device(self.line.me.clone());
                // A message cannot fail.
                let _ = self.line.handle_input(now, Input::Message { from, message });
                return;
            }
            To::Device(device) => Route::Device(device),
            To::User(user) => Route::User(user),
        };
        self.outputs.push_back(DeskOutput::Send { to, message });
    }

    /// Passes on what the line says, until neither it nor its arbiters have anything more to say.
    fn drain(&mut self, now: Now) {
        if is_due(self.line_wake, now) {
            self.line_wake = None;
        }
        while let Some(output) = self.line.poll_output() {
            match output {
                Output::Send { to: Address::Server, message } => {
                    self.outputs.push_back(DeskOutput::Send { to: Route::Server, message });
                }
                Output::Send { to: Address::Device(device), message } if device == self.line.me => {
                    self.arbitrate(now, device, message);
                }
                Output::Send { to: Address::Device(device), message } => {
                    self.outputs.push_back(DeskOutput::Send { to: Route::Device(device), message });
                }
                Output::Direct { to, message } => self.outputs.push_back(DeskOutput::Direct { to, message }),
                Output::Tell(event) => self.outputs.push_back(DeskOutput::Tell(event)),
                Output::WakeAt(time, timer) => self.line_wake = Some((time, timer)),
            }
        }
    }
}

fn is_due(wake: Option<(Time, Timer)>, now: Now) -> bool {
    wake.is_some_and(|(time, _)| now.mono >= time)
}
