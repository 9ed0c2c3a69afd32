//! The line of one signed-in device: its states and how inputs find them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use call_protocol::end::{EndReason, Release};
use call_protocol::invite::{CallType, Invite};
use call_protocol::media::KeepAlive;
use call_protocol::ring::RingConfirm;
use call_protocol::{CallId, CallMessage, Party, Word};

use crate::arbiter::said_about_end;
use crate::dialog::Dialog;
use crate::door::{Address, Command, CommandError, Event, Input, InviteOptions, Output, Phase, Role};
use crate::end::{Farewell, Over};
use crate::ring::{Alerting, Verifying};
use crate::time::{Now, Repeat, Time};
use crate::timer::Timer;

/// What becomes of a call that comes in while another one runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum SecondCall {
    /// It is answered busy.
    #[default]
    Busy,
    /// It rings beside the running one, and answering it puts that one on hold. A third one is answered busy.
    Waiting,
}

/// The knobs of a line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LineConfig {
    /// Where the arbiter of this device's own calls runs. Default: the server.
    pub arbiter: Address,
    /// What becomes of a second call. Default: busy.
    pub second_call: SecondCall,
    /// How long an alert waits for its confirmation, in ms. Default 10,000.
    pub alert_ms: u64,
    /// How long an answer waits for its confirmation, in ms. Default 10,000.
    pub answer_confirm_ms: u64,
    /// How often a device that rings or is in a call says so, in ms. Default 3,000: two may be lost within the liveness time.
    pub keep_alive_ms: u64,
    /// How long after the deadline a caller waits for the arbiter's word, in ms. Default 5,000.
    pub caller_patience_ms: u64,
    /// After how much silence of an arbiter that is a device it is out of reach, in ms. Default 10,000.
    pub liveness_ms: u64,
    /// After how much silence of an arbiter that is a device a running call ends, in ms. Default 15,000.
    pub resume_window_ms: u64,
    /// How long an acknowledgement of a negotiation step waits for something to travel with, in ms. Default 200.
    pub ack_ms: u64,
}

impl Default for LineConfig {
    fn default() -> Self {
        Self {
            arbiter: Address::Server,
            second_call: SecondCall::Busy,
            alert_ms: 10_000,
            answer_confirm_ms: 10_000,
            keep_alive_ms: 3_000,
            caller_patience_ms: 5_000,
            liveness_ms: 10_000,
            resume_window_ms: 15_000,
            ack_ms: 200,
        }
    }
}

/// The states of one call of a line.
///
/// ```text
///       invite              Answer(accept)
///  ─────────────▶ Calling ─────────────────────────────┐
///                    │ the other one called, too       ▼
///   RingConfirm      └────────────────┐              InCall ⇄ on hold
///  ─────────────▶ Ringing ─────────▶ Answering ────────▲
///                           answer             AnswerConfirm
///
/// every state ── hangup, Cancel, End, a refusal, a deadline ──▶ gone
/// before it, for each invite heard of: Alert sent ── RingConfirm within 10 s ──▶ Ringing, else forgotten
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum State {
    Calling {
        confirmed: bool,
        /// Devices that are about to ring.
        alerted: BTreeSet<Party>,
        /// Those of them that have said directly that they accept.
        answering: BTreeSet<Party>,
        /// Calls by the user who is called here, each by its device and arbiter: this one goes on in their place.
        yielding: BTreeMap<CallId, (Party, Address)>,
        next: Repeat,
        give_up: Time,
    },
    Ringing {
        next: Time,
        deadline: Time,
    },
    Answering {
        call_type: Option<CallType>,
        preparation: bool,
        next: Repeat,
        give_up: Time,
    },
    InCall {
        role: Role,
        peer: Party,
        held: bool,
        hold_reason: Option<String>,
        peer_held: bool,
        next: Time,
        peer_away_until: Option<Time>,
    },
}

/// One call of a line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Call {
    pub(crate) invite: Invite,
    /// Who decides about it.
    pub(crate) arbiter: Address,
    /// When its arbiter was last heard.
    pub(crate) heard: Time,
    pub(crate) state: State,
    /// What was said about the media, by the device it was said with.
    pub(crate) dialogs: BTreeMap<Party, Dialog>,
    /// What was said about the end that is about to be told.
    pub(crate) release: Option<Release>,
}

impl Call {
    pub(crate) fn new(now: Now, invite: Invite, arbiter: Address, state: State) -> Call {
        Call { invite, arbiter, heard: now.mono, state, dialogs: BTreeMap::new(), release: None }
    }

    pub(crate) fn role(&self) -> Role {
        match &self.state {
            State::Calling { .. } => Role::Caller,
            State::Ringing { .. } | State::Answering { .. } => Role::Callee,
            State::InCall { role, .. } => *role,
        }
    }

    /// Whether this device is at the other end, as far as that is known.
    pub(crate) fn is_with(&self, device: &Party) -> bool {
        match &self.state {
            State::Calling { .. } => false,
            State::Ringing { .. } | State::Answering { .. } => self.invite.caller == *device,
            State::InCall { peer, .. } => peer == device,
        }
    }

    pub(crate) fn keep_alive(&self) -> Word {
        // What is heard is known to whoever has the media.
        let quality = None;
        Word::KeepAlive(match &self.state {
            State::Calling { .. } | State::Ringing { .. } | State::Answering { .. } => KeepAlive::default(),
            State::InCall { held, hold_reason, peer_held, .. } => {
                let (held, hold_reason) = (*held, hold_reason.clone());
                KeepAlive { in_call: true, held, peer_held: *peer_held, quality, hold_reason }
            }
        })
    }

    fn phase(&self) -> Phase {
        let call_id = self.invite.call_id;
        match &self.state {
            State::Calling { .. } => Phase::Calling(call_id),
            State::Ringing { .. } => Phase::Ringing(call_id),
            State::Answering { .. } => Phase::Answering(call_id),
            State::InCall { .. } => Phase::InCall(call_id),
        }
    }

    /// Which of two calls the user is rather in.
    fn rank(&self) -> u8 {
        match &self.state {
            State::InCall { held: false, .. } => 0,
            State::Answering { .. } => 1,
            State::Calling { .. } => 2,
            State::Ringing { .. } => 3,
            State::InCall { held: true, .. } => 4,
        }
    }

    fn next_timer(&self, me: &Party, config: &LineConfig) -> (Time, Timer) {
        let state = match &self.state {
            State::Calling { confirmed, next, give_up, .. } => {
                let repeat = if *confirmed { Timer::KeepAlive } else { Timer::Repeat };
                (next.at, repeat).min((*give_up, Timer::CallerPatience))
            }
            State::Ringing { next, deadline } => {
                let alive = (*next, Timer::KeepAlive).min((*deadline, Timer::RingDeadline));
                self.arbiter_gone_at(me, config).map_or(alive, |at| alive.min((at, Timer::ArbiterLiveness)))
            }
            State::Answering { next, give_up, .. } => (next.at, Timer::Repeat).min((*give_up, Timer::AnswerConfirm)),
            State::InCall { next, peer_away_until, .. } => {
                let back = peer_away_until.map(|at| (at, Timer::PeerBack));
                let gone = self.arbiter_gone_at(me, config).map(|at| (at, Timer::ArbiterLiveness));
                back.into_iter().chain(gone).fold((*next, Timer::KeepAlive), Ord::min)
            }
        };
        let dialogs = self.dialogs.values().filter_map(Dialog::next).map(|at| (at, Timer::Repeat));
        dialogs.fold(state, Ord::min)
    }

    /// When an arbiter that is another device counts as out of reach, or as gone where it is out of reach already.
    fn arbiter_gone_at(&self, me: &Party, config: &LineConfig) -> Option<Time> {
        let Address::Device(device) = &self.arbiter else { return None };
        let is_away = match &self.state {
            State::InCall { peer_away_until, .. } => peer_away_until.is_some(),
            State::Calling { .. } | State::Ringing { .. } | State::Answering { .. } => false,
        };
        let patience = if is_away { config.resume_window_ms } else { config.liveness_ms };
        (device != me).then(|| self.heard + patience)
    }
}

/// The rules of one signed-in device. See the [crate docs](crate) for its door.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Line {
    pub(crate) me: Party,
    pub(crate) config: LineConfig,
    /// The calls of this device: at most one that runs and one that waits or is on hold.
    pub(crate) calls: BTreeMap<CallId, Call>,
    /// Calls that a push told of, until their arbiter has said how they do, at most [`Line::ALERTS`].
    pub(crate) verifying: BTreeMap<CallId, Verifying>,
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
    /// Calls remembered as over, so that their late messages change nothing: more than a device hears of in the minute for which an arbiter
    /// remembers a call.
    pub(crate) const MEMORY: usize = 128;

    /// An idle line.
    pub fn new(me: Party, config: LineConfig) -> Self {
        Self {
            me,
            config,
            calls: BTreeMap::new(),
            verifying: BTreeMap::new(),
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

    /// What the line does at present; of two calls the one that is not on hold and does not wait.
    pub fn phase(&self) -> Phase {
        self.calls.values().min_by_key(|call| call.rank()).map_or(Phase::Idle, Call::phase)
    }

    /// Its calls, by id.
    pub fn calls(&self) -> impl Iterator<Item = Phase> {
        self.calls.values().map(Call::phase)
    }

    /// The device at the other end of a running call.
    pub fn peer(&self, call_id: CallId) -> Option<&Party> {
        match &self.calls.get(&call_id)?.state {
            State::InCall { peer, .. } => Some(peer),
            State::Calling { .. } | State::Ringing { .. } | State::Answering { .. } => None,
        }
    }

    /// Whether a running call is on hold here, and at the other end.
    pub fn holds(&self, call_id: CallId) -> Option<(bool, bool)> {
        match &self.calls.get(&call_id)?.state {
            State::InCall { held, peer_held, .. } => Some((*held, *peer_held)),
            State::Calling { .. } | State::Ringing { .. } | State::Answering { .. } => None,
        }
    }

    /// How a call is over here, if it is and is remembered.
    pub fn outcome(&self, call_id: CallId) -> Option<EndReason> {
        self.over.iter().find(|over| over.call_id == call_id).map(|over| over.reason)
    }

    /// The door in. Only a command can fail; it then changes nothing.
    pub fn handle_input(&mut self, now: Now, input: Input) -> Result<(), CommandError> {
        match input {
            Input::Message { from, message } => self.on_message(now, from, message),
            Input::Command(command) => self.on_command(now, command)?,
            Input::Connected => self.on_connected(now),
            Input::Stalled { ms } => self.on_stalled(now, ms),
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
            Command::Invite { call_id, callees, call_type, ext, ring_timeout_ms, options } => {
                let InviteOptions { responder_preparation, app_server_data } = options;
                let invite = Invite {
                    call_id,
                    caller: self.me.clone(),
                    callees,
                    call_type,
                    channel: call_id.channel(),
                    ext,
                    ring_timeout_ms,
                    ring_deadline_unix_ms: 0,
                    responder_preparation,
                    app_server_data,
                };
                self.invite(now, invite)
            }
            Command::Answer { call_id } => self.answer(now, call_id, false),
            Command::AnswerToPrepare { call_id } => self.answer(now, call_id, true),
            Command::Verify { call_id } => {
                self.verify(now, call_id);
                Ok(())
            }
            Command::Hangup { call_id } => self.hang_up(now, call_id, None),
            Command::Release { call_id, release } => self.hang_up(now, call_id, Some(release)),
            Command::Hold { call_id, held, reason } => self.hold(call_id, held, reason),
            Command::Negotiate { call_id, to, body } => self.negotiate(now, call_id, to, body),
            Command::Fail { call_id, reason } => self.fail(now, call_id, reason),
        }
    }

    fn on_message(&mut self, now: Now, from: Address, message: CallMessage) {
        let CallMessage { call_id, word } = message;
        if !self.is_from_arbiter(call_id, &from, &word) {
            if let Address::Device(sender) = from {
                self.on_direct(now, sender, call_id, word);
            }
            return;
        }
        self.note_heard(now, call_id);
        self.note_release(call_id, &word);
        match word {
            Word::Invite(invite) => self.on_invite(now, from, *invite),
            Word::Alert(alert) => self.on_alert(call_id, alert),
            Word::RingConfirm(confirm) => self.on_ring_confirm(now, from, call_id, confirm),
            Word::Answer(answer) => self.on_answer(now, call_id, answer),
            Word::AnswerConfirm(confirm) => self.on_answer_confirm(now, from, call_id, confirm),
            Word::Cancel(cancel) => self.on_cancel(now, from, call_id, cancel),
            Word::End(end) => self.on_end(now, from, call_id, end),
            Word::Negotiation(negotiation) => self.on_negotiation(now, call_id, *negotiation),
            Word::KeepAlive(_) => {}
            Word::Reachability { reachable, ends_in_ms } => self.on_reachability(now, call_id, reachable, ends_in_ms),
            Word::Hold { held, reason } => self.on_peer_held(call_id, held, reason),
            Word::Missed(invite) => self.on_missed(now, from, *invite),
        }
    }

    /// Whether a message about a call comes from whoever decides about that call.
    fn is_from_arbiter(&self, call_id: CallId, from: &Address, word: &Word) -> bool {
        if let Some(call) = self.calls.get(&call_id) {
            return call.arbiter == *from;
        }
        if let Some(alerting) = self.alerting.get(&call_id) {
            return alerting.arbiter == *from;
        }
        if self.verifying.contains_key(&call_id) {
            return self.config.arbiter == *from;
        }
        if let Some(farewell) = self.farewells.get(&call_id) {
            return farewell.to == *from;
        }
        if let Some(over) = self.over.iter().find(|over| over.call_id == call_id) {
            return over.arbiter == *from;
        }
        match (word, from) {
            (Word::Invite(_) | Word::Missed(_), Address::Server) => true,
            (Word::Invite(invite) | Word::Missed(invite), Address::Device(party)) => invite.caller == *party,
            // The end of a call may come before its invite: it is remembered, so that nothing older makes it ring.
            (
                Word::AnswerConfirm(_) | Word::Cancel(_) | Word::End(_) | Word::RingConfirm(RingConfirm::Over { .. }),
                Address::Server | Address::Device(_),
            ) => true,
            (
                Word::RingConfirm(RingConfirm::Ring { .. } | RingConfirm::Refused { .. })
                | Word::Alert(_)
                | Word::Answer(_)
                | Word::KeepAlive(_)
                | Word::Reachability { .. }
                | Word::Hold { .. }
                | Word::Negotiation(_),
                Address::Server | Address::Device(_),
            ) => false,
        }
    }

    pub(crate) fn is_over(&self, call_id: CallId) -> bool {
        self.over.iter().any(|over| over.call_id == call_id)
    }

    pub(crate) fn send(&mut self, to: Address, call_id: CallId, word: Word) {
        self.outputs.push_back(Output::Send { to, message: CallMessage { call_id, word } });
    }

    /// Says something on the media path as well, so that it is heard where the server is slow or dead. A device that arbitrates is told by
    /// both ways anyhow.
    pub(crate) fn say_directly(&mut self, arbiter: &Address, to: Party, call_id: CallId, word: Word) {
        match arbiter {
            Address::Server => self.outputs.push_back(Output::Direct { to, message: CallMessage { call_id, word } }),
            Address::Device(_) => {}
        }
    }

    /// Remembers what is said about an end, for the event that tells it.
    pub(crate) fn note_release(&mut self, call_id: CallId, word: &Word) {
        if let Some(call) = self.calls.get_mut(&call_id) {
            call.release = said_about_end(word);
        }
    }

    pub(crate) fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Tell(event));
    }

    fn next_timer(&self) -> Option<(Time, Timer)> {
        let calls = self.calls.values().map(|call| call.next_timer(&self.me, &self.config));
        let alerts = self.alerting.values().map(|a| (a.next.at, Timer::Repeat).min((a.give_up, Timer::Alert)));
        let farewells = self.farewells.values().map(|farewell| (farewell.next.at, Timer::Farewell));
        let verifying = self.verifying.values().map(|v| (v.next.at, Timer::Repeat).min((v.give_up, Timer::Alert)));
        calls.chain(alerts).chain(farewells).chain(verifying).min()
    }

    /// A device that was out of reach is heard at once, not only with its next sign of life.
    fn on_connected(&mut self, now: Now) {
        for call in self.calls.values_mut() {
            match &mut call.state {
                State::Calling { next, .. } | State::Answering { next, .. } => next.at = now.mono,
                State::Ringing { next, .. } | State::InCall { next, .. } => *next = now.mono,
            }
            call.dialogs.values_mut().for_each(|dialog| dialog.hurry(now));
        }
        let alerts = self.alerting.values_mut().map(|alerting| &mut alerting.next);
        let farewells = self.farewells.values_mut().map(|farewell| &mut farewell.next);
        let questions = self.verifying.values_mut().map(|verifying| &mut verifying.next);
        alerts.chain(farewells).chain(questions).for_each(|next| next.at = now.mono);
    }

    /// What others may have said meanwhile still waits to be read. When ringing ends stays as it is.
    fn on_stalled(&mut self, now: Now, ms: u64) {
        let patience = now.mono + self.config.caller_patience_ms;
        for call in self.calls.values_mut() {
            call.heard = (call.heard + ms).min(now.mono);
            match &mut call.state {
                State::Calling { give_up, .. } => *give_up = (*give_up + ms).min(patience.max(*give_up)),
                State::Answering { give_up, .. } => *give_up = *give_up + ms,
                State::InCall { peer_away_until: Some(until), .. } => *until = *until + ms,
                State::Ringing { .. } | State::InCall { peer_away_until: None, .. } => {}
            }
        }
        let alerts = self.alerting.values_mut().map(|alerting| &mut alerting.give_up);
        let questions = self.verifying.values_mut().map(|verifying| &mut verifying.give_up);
        alerts.chain(questions).for_each(|give_up| *give_up = *give_up + ms);
    }

    fn on_time(&mut self, now: Now) {
        self.repeat_alerts(now);
        self.repeat_questions(now);
        self.repeat_farewells(now);
        let calls: Vec<CallId> = self.calls.keys().copied().collect();
        for call_id in calls {
            self.repeat_steps(now, call_id);
            let Some(call) = self.calls.get(&call_id) else { continue };
            match &call.state {
                State::Calling { .. } => self.on_time_calling(now, call_id),
                State::Ringing { .. } => self.on_time_ringing(now, call_id),
                State::Answering { .. } => self.on_time_answering(now, call_id),
                State::InCall { .. } => self.on_time_in_call(now, call_id),
            }
        }
    }
}
