//! The line of one signed-in device: its states, its door in and its door out.

use std::collections::{BTreeMap, VecDeque};

use call_protocol::invite::{CallType, Ext, Invite, InviteError};
use call_protocol::media::NegotiationBody;
use call_protocol::ring::{InviteRefusal, RingConfirm};
use call_protocol::{CallId, CallMessage, Party, UserId, Word};

use crate::end::{Farewell, Over};
use crate::ring::Alerting;
use crate::time::{Now, Repeat, Time};
use crate::timer::Timer;

/// Where a message comes from or goes to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// The server, which runs the arbiters.
    Server,
    /// The caller's device, where the app's own chat carries the messages and that device runs the arbiter.
    Device(Party),
}

/// The knobs of a line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LineConfig {
    /// Where the arbiter of this device's own calls runs. Default: the server.
    pub arbiter: Address,
    /// How long an alert waits for its confirmation, in ms. Default 10,000.
    pub alert_ms: u64,
    /// How long an answer waits for its confirmation, in ms. Default 10,000.
    pub answer_confirm_ms: u64,
    /// How often a device that rings or is in a call says so, in ms. Default 3,000: two may be lost within the liveness time.
    pub keep_alive_ms: u64,
    /// How long after the deadline a caller waits for the arbiter's word, in ms. Default 5,000.
    pub caller_patience_ms: u64,
}

impl Default for LineConfig {
    fn default() -> Self {
        Self {
            arbiter: Address::Server,
            alert_ms: 10_000,
            answer_confirm_ms: 10_000,
            keep_alive_ms: 3_000,
            caller_patience_ms: 5_000,
        }
    }
}

/// What comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A message; the carrier vouches for its sender.
    Message {
        /// Who sent it.
        from: Address,
        /// What it says.
        message: CallMessage,
    },
    /// The carrier reaches the arbiter again: what waits for its next repetition is said now.
    Connected,
    /// The local user wants something.
    Command(Command),
    /// It is later now.
    Wake,
}

/// What the local user can want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Call somebody.
    Invite {
        /// 128 random bits.
        call_id: CallId,
        /// Who is called.
        callees: Vec<UserId>,
        /// The kind of call.
        call_type: CallType,
        /// The app's own data.
        ext: Ext,
        /// How long it may ring, in ms.
        ring_timeout_ms: u32,
    },
    /// Take the call that rings.
    Answer {
        /// The call.
        call_id: CallId,
    },
    /// Cancel, decline or end, by state.
    Hangup {
        /// The call.
        call_id: CallId,
    },
    /// Tell the other party a step of setting the media up.
    Negotiate {
        /// The call.
        call_id: CallId,
        /// The step.
        body: NegotiationBody,
    },
    /// The call cannot go on: its media failed for good.
    Fail {
        /// The call.
        call_id: CallId,
        /// How it ends for the local user: error or remote_drop.
        reason: call_protocol::end::EndReason,
    },
}

/// Why a command was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is a call already.
    #[error("there is a call already")]
    Busy,
    /// There is no such call, or no longer.
    #[error("there is no such call")]
    NoSuchCall,
    /// The call does not ring here.
    #[error("the call does not ring here")]
    NotRinging,
    /// The invite breaks a limit.
    #[error(transparent)]
    Invite(#[from] InviteError),
}

/// Which side of a call this device is on. The caller makes the offer when the media is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// It called.
    Caller,
    /// It was called.
    Callee,
}

/// What goes out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Output {
    /// Carry this there.
    Send {
        /// Who is to get it.
        to: Address,
        /// What it says.
        message: CallMessage,
    },
    /// Tell the app.
    Tell(Event),
    /// Come back at this time at the latest; replaces the time said before.
    WakeAt(Time, Timer),
}

/// What the app is told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// Caller: a device of the callee has the invite and is about to ring.
    Alerted {
        /// The call.
        call_id: CallId,
        /// Who is about to be rung.
        callee: UserId,
    },
    /// Callee: ring.
    Ringing {
        /// Who calls, and how.
        invite: Box<Invite>,
    },
    /// The call was accepted: join its channel.
    Accepted {
        /// The call.
        invite: Box<Invite>,
        /// Which side this is.
        role: Role,
        /// The device at the other end.
        peer: Party,
    },
    /// The call never began; `Ended` with error follows.
    Failed {
        /// The call.
        call_id: CallId,
        /// Why.
        refusal: InviteRefusal,
    },
    /// The other party says a step of setting the media up.
    Negotiation {
        /// The call.
        call_id: CallId,
        /// The step.
        body: NegotiationBody,
    },
    /// The other party cannot be heard by the arbiter at the moment, or is back.
    Reachability {
        /// The call.
        call_id: CallId,
        /// Whether it can be heard.
        reachable: bool,
        /// How long until the call ends if it stays away, in ms.
        ends_in_ms: u32,
    },
    /// The call is over; told once for every call that was told before.
    Ended {
        /// The call.
        call_id: CallId,
        /// How.
        reason: call_protocol::end::EndReason,
        /// Which side this was.
        role: Role,
    },
}

/// The states of a line.
///
/// ```text
///        invite              Answer(accept)
/// Idle ─────────▶ Calling ─────────────────────────────┐
///  │                                                   ▼
///  │ RingConfirm          answer             AnswerConfirm
///  └─────────▶ Ringing ─────────▶ Answering ─────────▶ InCall
///
/// every state ── hangup, Cancel, End, a refusal, a deadline ──▶ Idle
/// beside it, for each invite heard of: Alert sent ── RingConfirm within 10 s ──▶ Ringing, else forgotten
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum State {
    Idle,
    Calling { call: Call, confirmed: bool, alerted: bool, next: Repeat, give_up: Time },
    Ringing { call: Call, next: Time, deadline: Time },
    Answering { call: Call, next: Repeat, give_up: Time },
    InCall { call: Call, role: Role, next: Time, peer_away_until: Option<Time> },
}

/// The call a state is about, and who decides about it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Call {
    pub(crate) invite: Invite,
    pub(crate) arbiter: Address,
}

/// What a line does at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing.
    Idle,
    /// It calls.
    Calling(CallId),
    /// It rings.
    Ringing(CallId),
    /// It answered and waits for the confirmation.
    Answering(CallId),
    /// It is in a call.
    InCall(CallId),
}

/// The rules of one signed-in device. See the [crate docs](crate) for its door.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Line {
    pub(crate) me: Party,
    pub(crate) config: LineConfig,
    pub(crate) state: State,
    /// Invites that asked whether they may ring, at most [`Line::ALERTS`].
    pub(crate) alerting: BTreeMap<CallId, Alerting>,
    /// Last statements that wait for their receipt, at most [`Line::FAREWELLS`].
    pub(crate) farewells: BTreeMap<CallId, Farewell>,
    /// Calls that are over here, the newest last, at most [`Line::MEMORY`].
    pub(crate) over: VecDeque<Over>,
    outputs: VecDeque<Output>,
    announced: Option<(Time, Timer)>,
}

impl Line {
    /// Invites that wait for their confirmation: more than anybody is called by honest people within 10 s.
    pub(crate) const ALERTS: usize = 8;
    /// Last statements that wait for their receipt.
    pub(crate) const FAREWELLS: usize = 16;
    /// Calls remembered as over, so that their late messages change nothing.
    pub(crate) const MEMORY: usize = 32;

    /// An idle line.
    pub fn new(me: Party, config: LineConfig) -> Self {
        Self {
            me,
            config,
            state: State::Idle,
            alerting: BTreeMap::new(),
            farewells: BTreeMap::new(),
            over: VecDeque::new(),
            outputs: VecDeque::new(),
            announced: None,
        }
    }

    /// The device this line belongs to.
    pub fn party(&self) -> &Party {
        &self.me
    }

    /// What the line does at present.
    pub fn phase(&self) -> Phase {
        match &self.state {
            State::Idle => Phase::Idle,
            State::Calling { call, .. } => Phase::Calling(call.invite.call_id),
            State::Ringing { call, .. } => Phase::Ringing(call.invite.call_id),
            State::Answering { call, .. } => Phase::Answering(call.invite.call_id),
            State::InCall { call, .. } => Phase::InCall(call.invite.call_id),
        }
    }

    /// The door in. Only a command can fail; it then changes nothing.
    pub fn handle_input(&mut self, now: Now, input: Input) -> Result<(), CommandError> {
        match input {
            Input::Message { from, message } => self.on_message(now, from, message),
            Input::Command(command) => self.on_command(now, command)?,
            Input::Connected => self.on_connected(now),
            Input::Wake => {}
        }
        self.on_time(now);
        Ok(())
    }

    /// The door out: to be called until it gives `None` after each input.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        let next = self.next_timer();
        if next == self.announced {
            return None;
        }
        self.announced = next;
        next.map(|(time, timer)| Output::WakeAt(time, timer))
    }

    fn on_command(&mut self, now: Now, command: Command) -> Result<(), CommandError> {
        match command {
            Command::Invite { call_id, callees, call_type, ext, ring_timeout_ms } => {
                self.invite(now, call_id, callees, call_type, ext, ring_timeout_ms)
            }
            Command::Answer { call_id } => self.answer(now, call_id),
            Command::Hangup { call_id } => self.hang_up(now, call_id),
            Command::Negotiate { call_id, body } => self.negotiate(call_id, body),
            Command::Fail { call_id, reason } => self.fail(now, call_id, reason),
        }
    }

    fn on_message(&mut self, now: Now, from: Address, message: CallMessage) {
        let CallMessage { call_id, word } = message;
        if !self.is_from_arbiter(call_id, &from, &word) {
            return;
        }
        match word {
            Word::Invite(invite) => self.on_invite(now, from, *invite),
            Word::Alert(alert) => self.on_alert(call_id, alert),
            Word::RingConfirm(confirm) => self.on_ring_confirm(now, from, call_id, confirm),
            Word::Answer(answer) => self.on_answer(now, call_id, answer),
            Word::AnswerConfirm(confirm) => self.on_answer_confirm(now, from, call_id, confirm),
            Word::Cancel(cancel) => self.on_cancel(now, from, call_id, cancel),
            Word::End(end) => self.on_end(now, from, call_id, end),
            Word::Negotiation(negotiation) => self.on_negotiation(call_id, negotiation.body),
            Word::KeepAlive { .. } => {}
            Word::Reachability { reachable, ends_in_ms } => self.on_reachability(now, call_id, reachable, ends_in_ms),
        }
    }

    /// Whether a message about a call comes from whoever decides about that call.
    fn is_from_arbiter(&self, call_id: CallId, from: &Address, word: &Word) -> bool {
        if let Some(call) = self.call_with(call_id) {
            return call.arbiter == *from;
        }
        if let Some(alerting) = self.alerting.get(&call_id) {
            return alerting.call.arbiter == *from;
        }
        if let Some(farewell) = self.farewells.get(&call_id) {
            return farewell.to == *from;
        }
        if let Some(over) = self.over.iter().find(|over| over.call_id == call_id) {
            return over.arbiter == *from;
        }
        match (word, from) {
            // The end of a call may come before its invite: it is remembered, so that nothing older makes it ring.
            (
                Word::Invite(_)
                | Word::AnswerConfirm(_)
                | Word::Cancel(_)
                | Word::End(_)
                | Word::RingConfirm(RingConfirm::Over { .. }),
                Address::Server,
            ) => true,
            (Word::Invite(invite), Address::Device(party)) => invite.caller == *party,
            (
                Word::RingConfirm(_)
                | Word::Alert(_)
                | Word::Answer(_)
                | Word::AnswerConfirm(_)
                | Word::Cancel(_)
                | Word::End(_)
                | Word::KeepAlive { .. }
                | Word::Reachability { .. }
                | Word::Negotiation(_),
                Address::Server | Address::Device(_),
            ) => false,
        }
    }

    /// The call of the present state, if it is this one.
    pub(crate) fn call_with(&self, call_id: CallId) -> Option<&Call> {
        match &self.state {
            State::Idle => None,
            State::Calling { call, .. }
            | State::Ringing { call, .. }
            | State::Answering { call, .. }
            | State::InCall { call, .. } => (call.invite.call_id == call_id).then_some(call),
        }
    }

    pub(crate) fn is_over(&self, call_id: CallId) -> bool {
        self.over.iter().any(|over| over.call_id == call_id)
    }

    pub(crate) fn send(&mut self, to: Address, call_id: CallId, word: Word) {
        self.outputs.push_back(Output::Send { to, message: CallMessage { call_id, word } });
    }

    pub(crate) fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Tell(event));
    }

    fn next_timer(&self) -> Option<(Time, Timer)> {
        let state = match &self.state {
            State::Idle => None,
            State::Calling { confirmed, next, give_up, .. } => {
                let repeat = if *confirmed { Timer::KeepAlive } else { Timer::Repeat };
                Some((next.at, repeat).min((*give_up, Timer::CallerPatience)))
            }
            State::Ringing { next, deadline, .. } => {
                Some((*next, Timer::KeepAlive).min((*deadline, Timer::RingDeadline)))
            }
            State::Answering { next, give_up, .. } => {
                Some((next.at, Timer::Repeat).min((*give_up, Timer::AnswerConfirm)))
            }
            State::InCall { next, peer_away_until, .. } => {
                let back = peer_away_until.map(|at| (at, Timer::PeerBack));
                back.into_iter().chain([(*next, Timer::KeepAlive)]).min()
            }
        };
        let alerts = self.alerting.values().map(|a| (a.next.at, Timer::Repeat).min((a.give_up, Timer::Alert)));
        let farewells = self.farewells.values().map(|farewell| (farewell.next.at, Timer::Farewell));
        state.into_iter().chain(alerts).chain(farewells).min()
    }

    /// A device that was out of reach is heard at once, not only with its next sign of life.
    fn on_connected(&mut self, now: Now) {
        match &mut self.state {
            State::Idle => {}
            State::Calling { next, .. } | State::Answering { next, .. } => next.at = now.mono,
            State::Ringing { next, .. } | State::InCall { next, .. } => *next = now.mono,
        }
        let alerts = self.alerting.values_mut().map(|alerting| &mut alerting.next);
        let farewells = self.farewells.values_mut().map(|farewell| &mut farewell.next);
        alerts.chain(farewells).for_each(|next| next.at = now.mono);
    }

    fn on_time(&mut self, now: Now) {
        self.repeat_alerts(now);
        self.repeat_farewells(now);
        match &self.state {
            State::Idle => {}
            State::Calling { .. } => self.on_time_calling(now),
            State::Ringing { .. } => self.on_time_ringing(now),
            State::Answering { .. } => self.on_time_answering(now),
            State::InCall { .. } => self.on_time_in_call(now),
        }
    }
}
