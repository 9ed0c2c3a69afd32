//! The arbiter of one call: its states, its door in and its door out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use call_protocol::accept::{Answer, AnswerConfirm, AnswerResult};
use call_protocol::end::{EndReason, Release};
use call_protocol::invite::{CallType, Invite};
use call_protocol::ring::RingConfirm;
use call_protocol::{CallId, CallMessage, Party, UserId, Word};
use serde::{Deserialize, Serialize};

use crate::time::{Now, Repeat, Time};
use crate::timer::Timer;

/// The knobs of an arbiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ArbiterConfig {
    /// After how much silence a party is out of reach, in ms. Default 10,000.
    pub liveness_ms: u64,
    /// After how much silence a party of an answered call has dropped, in ms. Default 15,000.
    pub resume_window_ms: u64,
    /// How long a call that is over answers late statements, in ms, from its end, or from its deadline if it was not answered: a caller
    /// that has not heard of the end repeats its invite until then. Default 60,000.
    pub tombstone_ms: u64,
    /// How long after the first busy device other devices of the user may still alert, in ms, where it is not known that there are none.
    /// Default 2,000.
    pub busy_grace_ms: u64,
    /// How long an answered call goes on of which neither party can be heard, in ms: the arbiter may be what is cut off. Default 600,000.
    pub abandoned_ms: u64,
    /// Answer each sign of life in a call, so that the parties notice when the arbiter is gone: for one on a device. Default: no.
    pub echo: bool,
}

impl Default for ArbiterConfig {
    fn default() -> Self {
        Self {
            liveness_ms: 10_000,
            resume_window_ms: 15_000,
            tombstone_ms: 60_000,
            busy_grace_ms: 2_000,
            abandoned_ms: 600_000,
            echo: false,
        }
    }
}

/// What comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArbiterInput {
    /// A device says something; the carrier vouches for it.
    Message {
        /// The device.
        from: Party,
        /// What it says.
        word: Word,
    },
    /// A device signed in.
    Online(Party),
    /// A device signed in without what it knew: its app was started anew.
    Restarted(Party),
    /// A device signed out for good.
    SignedOut(Party),
    /// Whoever runs the arbiter ends the call, as the app's backend or an operator wants it.
    Close {
        /// How it ends for the parties; for devices that only ring remote_cancel.
        reason: EndReason,
        /// What is said about it.
        release: Release,
    },
    /// Whoever runs the arbiter stood still, or could hear nobody at all, for so long until now: that is nobody's silence.
    Stalled {
        /// For how long.
        ms: u64,
    },
    /// It is later now.
    Wake,
}

/// Who is to get a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum To {
    /// One device.
    Device(Party),
    /// Every signed-in device of a user.
    User(UserId),
}

/// What goes out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ArbiterOutput {
    /// Carry this there.
    Send {
        /// Who is to get it.
        to: To,
        /// What it says.
        message: CallMessage,
    },
    /// For metrics, history and webhooks.
    Tell(Fact),
    /// Come back at this time at the latest; replaces the time said before.
    WakeAt(Time, Timer),
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fact {
    /// A device of the callee is about to ring.
    Ringing {
        /// The call.
        call_id: CallId,
    },
    /// A device took the call.
    Answered {
        /// The call.
        call_id: CallId,
        /// How long after the invite, in ms.
        ring_ms: u64,
    },
    /// The call is over.
    Ended {
        /// The call.
        call_id: CallId,
        /// How, for the caller.
        caller_reason: EndReason,
        /// How, for the callee.
        callee_reason: EndReason,
        /// How long the parties talked, in ms.
        talk_ms: u64,
    },
}

/// The states of a call.
///
/// ```text
///          Answer(accept)             End, dropped
/// Ringing ───────────────▶ Answered ───────────────▶ Ended ── 60 s ──▶ forgotten
///    │                                                 ▲
///    └── Answer(refuse, busy), Cancel, the deadline, a silent caller
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum State {
    Ringing {
        deadline: Time,
        /// The devices that ring, and when each was last heard.
        alerted: BTreeMap<Party, Time>,
        /// The devices that rang, and learned on another way how that ended.
        knows: BTreeSet<Party>,
        /// The devices that are in another call.
        busy: BTreeSet<Party>,
        /// When the user is busy, if no device alerts until then.
        busy_until: Option<Time>,
        /// The devices that are known to be within reach.
        reachable: BTreeSet<Party>,
        /// The app of the caller has been told that it rings.
        rang: bool,
        caller_heard: Time,
        invite_again: Repeat,
    },
    Answered {
        talk: Talk,
        callee: Party,
        call_type: Option<CallType>,
        preparation: bool,
        caller_link: Link,
        callee_link: Link,
    },
    Ended {
        outcome: Outcome,
        forget: Time,
        /// The callee's devices that know that it was missed, or rang.
        knows: BTreeSet<Party>,
    },
}

/// How long the parties talk. The part before a restart of the server cannot be told by its present clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Talk {
    pub(crate) since: Time,
    pub(crate) earlier_ms: u64,
}

impl Talk {
    pub(crate) fn ms(self, now: Now) -> u64 {
        self.earlier_ms + (now.mono - self.since)
    }
}

/// When a party was last heard, whether the other one was told that it is away, and whether it holds the call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Link {
    pub(crate) heard: Time,
    pub(crate) away: bool,
    /// Whether it holds the call; unknown after a restart, until it speaks.
    pub(crate) held: Option<bool>,
    /// Why, if it says.
    pub(crate) hold_reason: Option<String>,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// The callee said no.
    Declined { by: Party, result: AnswerResult },
    /// Nobody answered.
    Unanswered { caller_reason: EndReason, callee_reason: EndReason },
    /// The parties talked.
    Talked { winner: Party, caller_reason: EndReason, callee_reason: EndReason },
}

impl Outcome {
    /// Whether no device of the callee took the call or turned it down.
    pub(crate) fn is_missed(&self) -> bool {
        match self {
            Outcome::Declined { result: AnswerResult::Busy, .. } => true,
            Outcome::Unanswered { callee_reason, .. } => *callee_reason != EndReason::AnsweredElsewhere,
            Outcome::Declined { .. } | Outcome::Talked { .. } => false,
        }
    }

    pub(crate) fn caller_reason(&self) -> EndReason {
        match self {
            Outcome::Declined { result: AnswerResult::Busy, .. } => EndReason::Busy,
            Outcome::Declined { .. } => EndReason::RemoteRefuse,
            Outcome::Unanswered { caller_reason, .. } | Outcome::Talked { caller_reason, .. } => *caller_reason,
        }
    }

    pub(crate) fn callee_reason(&self) -> EndReason {
        match self {
            Outcome::Declined { result: AnswerResult::Busy, .. } => EndReason::Busy,
            Outcome::Declined { .. } => EndReason::Refuse,
            Outcome::Unanswered { callee_reason, .. } | Outcome::Talked { callee_reason, .. } => *callee_reason,
        }
    }
}

impl State {
    pub(crate) fn ringing(now: Now, deadline: Time, online: Vec<Party>) -> State {
        State::Ringing {
            deadline,
            alerted: BTreeMap::new(),
            knows: BTreeSet::new(),
            busy: BTreeSet::new(),
            busy_until: None,
            reachable: online.into_iter().collect(),
            rang: false,
            caller_heard: now.mono,
            invite_again: Repeat::first(now),
        }
    }

    pub(crate) fn answered(
        now: Now,
        caller_heard: Time,
        callee: Party,
        call_type: Option<CallType>,
        preparation: bool,
    ) -> State {
        State::Answered {
            talk: Talk { since: now.mono, earlier_ms: 0 },
            callee,
            call_type,
            preparation,
            caller_link: Link { heard: caller_heard, away: false, held: Some(false), hold_reason: None },
            callee_link: Link { heard: now.mono, away: false, held: Some(false), hold_reason: None },
        }
    }
}

/// The truth about one call. See the [crate docs](crate) for its door.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Arbiter {
    pub(crate) config: ArbiterConfig,
    pub(crate) invite: Invite,
    pub(crate) state: State,
    outputs: VecDeque<ArbiterOutput>,
    announced: Option<(Time, Timer)>,
    done: bool,
    /// What whoever ended the call said about that.
    pub(crate) release: Option<Release>,
}

impl Arbiter {
    pub(crate) fn with_state(config: ArbiterConfig, invite: Invite, state: State) -> Arbiter {
        Arbiter { config, invite, state, outputs: VecDeque::new(), announced: None, done: false, release: None }
    }

    /// What whoever ended the call said about that.
    pub fn release(&self) -> Option<Release> {
        self.release
    }

    /// The call.
    pub fn call_id(&self) -> CallId {
        self.invite.call_id
    }

    /// The invitation, with its deadline.
    pub fn invite(&self) -> &Invite {
        &self.invite
    }

    /// Whether it can be forgotten.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// The door in.
    pub fn handle_input(&mut self, now: Now, input: ArbiterInput) {
        if let ArbiterInput::Stalled { ms } = input {
            self.on_stalled(now, ms);
        }
        self.end_what_is_late(now, &input);
        match input {
            ArbiterInput::Message { from, word } => self.on_message(now, from, word),
            ArbiterInput::Close { reason, release } => self.close(now, reason, release),
            ArbiterInput::Online(party) => self.on_online(party),
            ArbiterInput::Restarted(party) => self.on_restarted(now, party),
            ArbiterInput::SignedOut(party) => self.on_signed_out(now, party),
            ArbiterInput::Stalled { .. } | ArbiterInput::Wake => {}
        }
        self.on_time(now);
    }

    /// The door out: to be called until it gives `None` after each input.
    pub fn poll_output(&mut self) -> Option<ArbiterOutput> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        let next = self.next_timer();
        if next == self.announced {
            return None;
        }
        self.announced = next;
        next.map(|(time, timer)| ArbiterOutput::WakeAt(time, timer))
    }

    fn on_message(&mut self, now: Now, from: Party, word: Word) {
        if from != self.invite.caller && !self.invite.callees.contains(&from.user) {
            return;
        }
        self.note_heard(now, &from);
        let (said, was_over) = (said_about_end(&word), self.has_ended());
        // In place before the end is passed on; taken back where it ended nothing.
        if !was_over {
            self.release = said;
        }
        self.on_word(now, from, word);
        if !was_over && !self.has_ended() {
            self.release = None;
        }
    }

    fn on_word(&mut self, now: Now, from: Party, word: Word) {
        match word {
            Word::Invite(_) => self.on_invite(now, &from),
            Word::Alert(alert) => self.on_alert(now, from, alert.asked_unix_ms),
            Word::Answer(answer) => self.on_answer(now, from, answer),
            Word::Cancel(cancel) => self.on_cancel(now, from, cancel.reason),
            Word::End(end) => self.on_end(now, from, end.reason),
            Word::KeepAlive(alive) => self.on_keep_alive(from, alive),
            Word::Negotiation(negotiation) => self.on_negotiation(from, *negotiation),
            Word::RingConfirm(_)
            | Word::AnswerConfirm(_)
            | Word::Reachability { .. }
            | Word::Hold { .. }
            | Word::Missed(_) => {}
        }
    }

    /// A device that signs out hangs up; a callee's device that only rings falls silent.
    fn on_signed_out(&mut self, now: Now, party: Party) {
        let is_party = party == self.invite.caller || self.winner() == Some(&party);
        if is_party && !self.has_ended() {
            let reason = if self.winner().is_some() { EndReason::Hangup } else { EndReason::Cancel };
            self.on_end(now, party, reason);
        } else {
            self.forget_device(now, &party);
        }
    }

    /// The app of a device was started anew: a call it was in is gone, and one that rang there rings anew.
    fn on_restarted(&mut self, now: Now, party: Party) {
        let calls = party == self.invite.caller;
        match &self.state {
            State::Ringing { .. } if calls => self.call_off(now, EndReason::RemoteDrop, EndReason::RemoteDrop),
            State::Answered { callee, .. } if calls || *callee == party => self.drop_call(now),
            State::Ringing { .. } | State::Answered { .. } | State::Ended { .. } => {
                self.forget_device(now, &party);
                self.on_online(party);
            }
        }
    }

    /// A device of the callee neither rings nor is busy any more, as it is gone.
    fn forget_device(&mut self, now: Now, party: &Party) {
        let State::Ringing { alerted, busy, reachable, .. } = &mut self.state else { return };
        alerted.remove(party);
        busy.remove(party);
        reachable.remove(party);
        self.settle_busy(now);
    }

    fn on_time(&mut self, now: Now) {
        match &mut self.state {
            State::Ringing { deadline, caller_heard, alerted, invite_again, .. } => {
                // A device that rings says so every few seconds.
                let liveness_ms = self.config.liveness_ms;
                alerted.retain(|_, heard| now.mono - *heard < liveness_ms);
                let (is_late, is_alone) = (now.mono >= *deadline, now.mono - *caller_heard >= liveness_ms);
                let says_invite = now.mono >= invite_again.at;
                if says_invite {
                    invite_again.again(now);
                }
                if self.settle_busy(now) {
                    // Also at the deadline: a user who is busy is told so, rather than that nobody answers.
                } else if is_late {
                    self.give_up_on_ringing(now, EndReason::RemoteNoResponse, EndReason::NoResponse);
                } else if is_alone {
                    self.give_up_on_ringing(now, EndReason::RemoteDrop, EndReason::RemoteDrop);
                } else if says_invite {
                    self.send_invites();
                }
            }
            State::Answered { .. } => self.watch_parties(now),
            State::Ended { forget, .. } => self.done = now.mono >= *forget,
        }
    }

    fn give_up_on_ringing(&mut self, now: Now, caller_reason: EndReason, callee_reason: EndReason) {
        self.send_to(self.invite.caller.clone(), crate::Line::end_word(caller_reason));
        self.call_off(now, caller_reason, callee_reason);
    }

    /// What comes after the deadline comes too late, also where the wake is late, as after a restart of the server; so does what a
    /// callee says when the caller is gone.
    fn end_what_is_late(&mut self, now: Now, input: &ArbiterInput) {
        let State::Ringing { deadline, caller_heard, .. } = &self.state else { return };
        let of_caller = matches!(input, ArbiterInput::Message { from, .. } if *from == self.invite.caller);
        let silent = !of_caller && now.mono - *caller_heard >= self.config.liveness_ms;
        if now.mono >= *deadline || silent {
            self.on_time(now);
        }
    }

    fn next_timer(&self) -> Option<(Time, Timer)> {
        match &self.state {
            State::Ringing { deadline, caller_heard, alerted, busy, busy_until, invite_again, .. } => {
                let quietest = alerted.values().chain([caller_heard]).min().copied().unwrap_or(*caller_heard);
                // A device that was busy and now rings, or is gone, settles nothing.
                let settles = alerted.is_empty() && !busy.is_empty();
                let busy = busy_until.filter(|_| settles).map(|at| (at, Timer::BusyGrace));
                [(*deadline, Timer::Deadline), (invite_again.at, Timer::InviteRepeat)]
                    .into_iter()
                    .chain([(quietest + self.config.liveness_ms, Timer::Liveness)])
                    .chain(busy)
                    .min()
            }
            State::Answered { caller_link, callee_link, .. } => {
                let due = |link: &Link, other: &Link| {
                    let (ms, timer) = if link.away {
                        (self.config.resume_window_ms, Timer::ResumeWindow)
                    } else {
                        (self.config.liveness_ms, Timer::Liveness)
                    };
                    let at = link.heard + ms;
                    (at <= self.counts_until(other)).then_some((at, timer))
                };
                let abandoned = caller_link.heard.max(callee_link.heard) + self.config.abandoned_ms;
                [due(caller_link, callee_link), due(callee_link, caller_link), Some((abandoned, Timer::Abandoned))]
                    .into_iter()
                    .flatten()
                    .min()
            }
            State::Ended { forget, .. } => (!self.done).then_some((*forget, Timer::Tombstone)),
        }
    }

    pub(crate) fn send(&mut self, to: To, mut word: Word) {
        let end = match &mut word {
            Word::Cancel(cancel) => Some(&mut cancel.release),
            Word::End(end) => Some(&mut end.release),
            Word::RingConfirm(RingConfirm::Over { release, .. }) => Some(release),
            Word::Answer(Answer { result: AnswerResult::Refuse, release, .. })
            | Word::AnswerConfirm(AnswerConfirm { result: AnswerResult::Refuse, release, .. }) => Some(release),
            Word::Invite(_)
            | Word::Alert(_)
            | Word::RingConfirm(RingConfirm::Ring { .. } | RingConfirm::Refused { .. })
            | Word::Answer(_)
            | Word::AnswerConfirm(_)
            | Word::KeepAlive(_)
            | Word::Negotiation(_)
            | Word::Reachability { .. }
            | Word::Hold { .. }
            | Word::Missed(_) => None,
        };
        if let Some(release) = end {
            *release = self.release;
        }
        let message = CallMessage { call_id: self.invite.call_id, word };
        self.outputs.push_back(ArbiterOutput::Send { to, message });
    }

    pub(crate) fn send_to(&mut self, party: Party, word: Word) {
        self.send(To::Device(party), word);
    }

    pub(crate) fn tell(&mut self, fact: Fact) {
        self.outputs.push_back(ArbiterOutput::Tell(fact));
    }
}

/// What a word says about the end beyond its reason.
pub(crate) fn said_about_end(word: &Word) -> Option<Release> {
    match word {
        Word::Cancel(cancel) => cancel.release,
        Word::End(end) => end.release,
        Word::Answer(answer) => answer.release,
        Word::AnswerConfirm(confirm) => confirm.release,
        Word::RingConfirm(RingConfirm::Over { release, .. }) => *release,
        Word::Invite(_)
        | Word::Alert(_)
        | Word::RingConfirm(RingConfirm::Ring { .. } | RingConfirm::Refused { .. })
        | Word::KeepAlive(_)
        | Word::Negotiation(_)
        | Word::Reachability { .. }
        | Word::Hold { .. }
        | Word::Missed(_) => None,
    }
}
