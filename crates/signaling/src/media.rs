//! Media: while the parties talk, each says every few seconds that it is still there, and whether it holds the call; how the media
//! is set up passes between them.

use call_protocol::accept::AnswerResult;
use call_protocol::end::EndReason;
use call_protocol::media::{KeepAlive, Negotiation, NegotiationBody};
use call_protocol::{CallId, Party, Word};

use crate::arbiter::{Arbiter, Link, Outcome, State as ArbiterState};
use crate::dialog::{Dialog, Step};
use crate::door::{Address, CommandError, Event};
use crate::line::{Call, Line, State};
use crate::time::{Now, Time};

/// How long after the announced end a party that is not back would have been told of.
const PEER_BACK_MS: u64 = 5_000;

/// Negotiation.
impl Line {
    /// A step of setting the media up, for a device at the other end.
    pub(crate) fn negotiate(
        &mut self,
        now: Now,
        call_id: CallId,
        to: Party,
        body: NegotiationBody,
    ) -> Result<(), CommandError> {
        let call = self.calls.get_mut(&call_id).ok_or(CommandError::NoSuchCall)?;
        if !negotiates_with(call, &to) {
            return Err(CommandError::NoSuchDevice);
        }
        let dialog = call.dialogs.entry(to.clone()).or_insert_with(|| Dialog::new(now));
        let step = dialog.say(now, body).ok_or(CommandError::TooManySteps)?;
        self.send_step(call_id, to, step);
        Ok(())
    }

    pub(crate) fn on_negotiation(&mut self, now: Now, call_id: CallId, negotiation: Negotiation) {
        let Negotiation { from, to, seq, ack, from_run, to_run, body } = negotiation;
        let ack_ms = self.config.ack_ms;
        let Some(call) = self.calls.get_mut(&call_id) else { return };
        if to != self.me || !negotiates_with(call, &from) {
            return;
        }
        let dialog = call.dialogs.entry(from.clone()).or_insert_with(|| Dialog::new(now));
        for body in dialog.hear(now, ack_ms, Step { seq, ack, from_run, to_run, body }) {
            self.tell(Event::Negotiation { call_id, from: from.clone(), body });
        }
    }

    pub(crate) fn repeat_steps(&mut self, now: Now, call_id: CallId) {
        let Some(call) = self.calls.get_mut(&call_id) else { return };
        let mut due = Vec::new();
        for (device, dialog) in &mut call.dialogs {
            due.extend(dialog.due(now).into_iter().map(|step| (device.clone(), step)));
        }
        for (device, step) in due {
            self.send_step(call_id, device, step);
        }
    }

    fn send_step(&mut self, call_id: CallId, to: Party, step: Step) {
        let Some(call) = self.calls.get(&call_id) else { return };
        let Step { seq, ack, from_run, to_run, body } = step;
        let negotiation = Negotiation { from: self.me.clone(), to, seq, ack, from_run, to_run, body };
        self.send(call.arbiter.clone(), call_id, Word::Negotiation(Box::new(negotiation)));
    }
}

/// Whether steps pass between this call and that device: a caller speaks with each device that has alerted, a callee with the caller's.
fn negotiates_with(call: &Call, device: &Party) -> bool {
    match &call.state {
        State::Calling { alerted, .. } => alerted.contains(device),
        State::Ringing { .. } | State::Answering { .. } => call.invite.caller == *device,
        State::InCall { peer, .. } => peer == device,
    }
}

/// Hold.
impl Line {
    pub(crate) fn hold(&mut self, call_id: CallId, held: bool, reason: Option<String>) -> Result<(), CommandError> {
        let call = self.calls.get(&call_id).ok_or(CommandError::NoSuchCall)?;
        let State::InCall { .. } = &call.state else { return Err(CommandError::NotAnswered) };
        self.set_held(call_id, held, reason);
        if !held {
            self.hold_others(call_id);
        }
        Ok(())
    }

    /// At most one call is not on hold.
    pub(crate) fn hold_others(&mut self, call_id: CallId) {
        let others: Vec<CallId> = self.calls.keys().copied().filter(|other| *other != call_id).collect();
        for other in others {
            self.set_held(other, true, None);
        }
    }

    /// The reason goes with the hold for as long as it lasts: said again with it, it comes with no other one.
    fn set_held(&mut self, call_id: CallId, wanted: bool, reason: Option<String>) {
        let Some(call) = self.calls.get_mut(&call_id) else { return };
        let State::InCall { held, hold_reason, .. } = &mut call.state else { return };
        if std::mem::replace(held, wanted) == wanted {
            return;
        }
        *hold_reason = reason.filter(|_| wanted);
        let (arbiter, alive) = (call.arbiter.clone(), call.keep_alive());
        self.tell(Event::Held { call_id, held: wanted });
        self.send(arbiter, call_id, alive);
    }

    /// Told to the app only where it changes something: the arbiter says it again to whoever believes something else.
    pub(crate) fn on_peer_held(&mut self, call_id: CallId, held: bool, reason: Option<String>) {
        let Some(call) = self.calls.get_mut(&call_id) else { return };
        let State::InCall { peer_held, .. } = &mut call.state else { return };
        if std::mem::replace(peer_held, held) != held {
            self.tell(Event::PeerHeld { call_id, held, reason });
        }
    }
}

/// Who is still there.
impl Line {
    /// Told to the app only where it changes something: it may come twice, and the good news before the bad.
    pub(crate) fn on_reachability(&mut self, now: Now, call_id: CallId, reachable: bool, ends_in_ms: u32) {
        let Some(call) = self.calls.get_mut(&call_id) else { return self.remind_of_end(call_id) };
        let State::InCall { peer_away_until, .. } = &mut call.state else { return };
        let until = (!reachable).then(|| now.mono + u64::from(ends_in_ms) + PEER_BACK_MS);
        if std::mem::replace(peer_away_until, until).is_some() == reachable {
            self.tell(Event::Reachability { call_id, reachable, ends_in_ms });
        }
    }

    /// The arbiter of a call said something. One that is the device at the other end is back with that.
    pub(crate) fn note_heard(&mut self, now: Now, call_id: CallId) {
        let Some(call) = self.calls.get_mut(&call_id) else { return };
        call.heard = now.mono;
        if let State::InCall { peer, peer_away_until, .. } = &mut call.state
            && call.arbiter == Address::Device(peer.clone())
            && peer_away_until.take().is_some()
        {
            self.tell(Event::Reachability { call_id, reachable: true, ends_in_ms: 0 });
        }
    }

    /// Whether the arbiter of a call is another device and has been silent for so long.
    pub(crate) fn arbiter_is_gone(&self, now: Now, call_id: CallId, patience_ms: u64) -> bool {
        let Some(call) = self.calls.get(&call_id) else { return false };
        match &call.arbiter {
            Address::Server => false,
            Address::Device(device) => *device != self.me && now.mono - call.heard >= patience_ms,
        }
    }

    pub(crate) fn on_time_in_call(&mut self, now: Now, call_id: CallId) {
        let (liveness, window) = (self.config.liveness_ms, self.config.resume_window_ms);
        let is_away = self.arbiter_is_gone(now, call_id, liveness);
        if self.arbiter_is_gone(now, call_id, window) {
            self.end_call(now, call_id, EndReason::RemoteDrop, Some(Self::end_word(EndReason::RemoteDrop)));
            return;
        }
        let Some(call) = self.calls.get_mut(&call_id) else { return };
        let alive = call.keep_alive();
        let State::InCall { next, peer_away_until, .. } = &mut call.state else { return };
        let is_due = now.mono >= *next;
        if is_due {
            *next = now.mono + self.config.keep_alive_ms;
        }
        let mut told = None;
        if is_away && peer_away_until.is_none() {
            let left_ms = window.saturating_sub(now.mono - call.heard);
            *peer_away_until = Some(now.mono + left_ms + PEER_BACK_MS);
            told = Some((false, u32::try_from(left_ms).unwrap_or(u32::MAX)));
        } else if peer_away_until.take_if(|until| now.mono >= *until).is_some() {
            told = Some((true, 0));
        }
        if is_due {
            let arbiter = call.arbiter.clone();
            self.send(arbiter, call_id, alive);
        }
        if let Some((reachable, ends_in_ms)) = told {
            self.tell(Event::Reachability { call_id, reachable, ends_in_ms });
        }
    }
}

impl Arbiter {
    /// Passes a step on: between the caller and each device that has alerted while it rings, and between the parties later.
    pub(crate) fn on_negotiation(&mut self, from: Party, negotiation: Negotiation) {
        let caller = &self.invite.caller;
        let pass = |device: &Party| {
            (from == *caller && negotiation.to == *device) || (from == *device && negotiation.to == *caller)
        };
        let passes = match &self.state {
            ArbiterState::Ringing { alerted, .. } => alerted.keys().any(pass),
            ArbiterState::Answered { callee, .. } => pass(callee),
            ArbiterState::Ended { .. } => false,
        };
        if passes {
            let to = negotiation.to.clone();
            self.send_to(to, Word::Negotiation(Box::new(Negotiation { from, ..negotiation })));
        }
    }

    /// Somebody is still there; whoever missed something is told it again.
    pub(crate) fn on_keep_alive(&mut self, from: Party, alive: KeepAlive) {
        let is_caller = from == self.invite.caller;
        match &mut self.state {
            // A device that a push told of the call asks about it.
            ArbiterState::Ringing { alerted, busy, .. } => {
                if !is_caller && !alerted.contains_key(&from) && !busy.contains(&from) {
                    let invite = Word::Invite(Box::new(self.invite.clone()));
                    self.send_to(from, invite);
                }
            }
            ArbiterState::Answered { callee, caller_link, callee_link, .. } => {
                if is_caller && !alive.in_call {
                    return self.tell_caller_of_answer();
                }
                if !is_caller && from != *callee {
                    let winner = callee.clone();
                    return self.confirm_answer(from, AnswerResult::Accept, winner);
                }
                if !alive.in_call {
                    return;
                }
                let callee = callee.clone();
                let (mine, other_link, other) = if is_caller {
                    (caller_link, callee_link.clone(), callee)
                } else {
                    (callee_link, caller_link.clone(), self.invite.caller.clone())
                };
                let before = mine.held.replace(alive.held);
                mine.hold_reason.clone_from(&alive.hold_reason);
                if before.is_some_and(|before| before != alive.held) {
                    self.send_to(other, Word::Hold { held: alive.held, reason: alive.hold_reason });
                }
                let believes_wrong = other_link.held.is_some_and(|held| held != alive.peer_held);
                if believes_wrong || self.config.echo {
                    let held = other_link.held.unwrap_or(alive.peer_held);
                    self.send_to(from, Word::Hold { held, reason: other_link.hold_reason });
                }
            }
            ArbiterState::Ended { .. } => self.last_word(from),
        }
    }

    /// Any message of a party of the call shows that it is alive.
    pub(crate) fn note_heard(&mut self, now: Now, from: &Party) {
        let is_caller = *from == self.invite.caller;
        match &mut self.state {
            ArbiterState::Ringing { caller_heard, alerted, .. } => {
                if is_caller {
                    *caller_heard = now.mono;
                } else if let Some(heard) = alerted.get_mut(from) {
                    *heard = now.mono;
                }
            }
            ArbiterState::Answered { callee, caller_link, callee_link, .. } => {
                let (link, other_link, other) = if is_caller {
                    (caller_link, callee_link, callee.clone())
                } else if from == callee {
                    (callee_link, caller_link, self.invite.caller.clone())
                } else {
                    return;
                };
                let unheard_ms = now.mono - link.heard.max(other_link.heard);
                if unheard_ms > self.config.liveness_ms / 2 {
                    other_link.heard = other_link.heard + unheard_ms;
                }
                link.heard = now.mono;
                if std::mem::take(&mut link.away) {
                    self.send_to(other, Word::Reachability { reachable: true, ends_in_ms: 0 });
                }
            }
            ArbiterState::Ended { .. } => {}
        }
    }

    /// Until when the silence of a party counts: while the other one is heard.
    pub(crate) fn counts_until(&self, other: &Link) -> Time {
        other.heard + self.config.liveness_ms / 2
    }

    /// Nobody could be heard for so long.
    pub(crate) fn on_stalled(&mut self, now: Now, ms: u64) {
        let later = |heard: &mut Time| *heard = (*heard + ms).min(now.mono);
        match &mut self.state {
            ArbiterState::Ringing { alerted, busy_until, caller_heard, deadline, .. } => {
                alerted.values_mut().chain([caller_heard]).for_each(later);
                if let Some(until) = busy_until {
                    *until = (*until + ms).min(*deadline);
                }
            }
            ArbiterState::Answered { caller_link, callee_link, .. } => {
                later(&mut caller_link.heard);
                later(&mut callee_link.heard);
            }
            ArbiterState::Ended { .. } => {}
        }
    }

    /// A party of an answered call that is silent is out of reach, then dropped.
    pub(crate) fn watch_parties(&mut self, now: Now) {
        let (liveness, window) = (self.config.liveness_ms, self.config.resume_window_ms);
        let ArbiterState::Answered { caller_link, callee_link, .. } = &self.state else { return };
        let mut dropped = now.mono - caller_link.heard.max(callee_link.heard) >= self.config.abandoned_ms;
        let until = [self.counts_until(callee_link).min(now.mono), self.counts_until(caller_link).min(now.mono)];
        let ArbiterState::Answered { callee, caller_link, callee_link, .. } = &mut self.state else { return };
        let (caller, callee) = (self.invite.caller.clone(), callee.clone());
        let mut away = Vec::new();
        for (link, until, other) in [(caller_link, until[0], &callee), (callee_link, until[1], &caller)] {
            let silent = until - link.heard;
            if silent >= window {
                dropped = true;
            } else if silent >= liveness && !link.away {
                link.away = true;
                let ends_in_ms = u32::try_from(window - silent).unwrap_or(u32::MAX);
                away.push((other.clone(), Word::Reachability { reachable: false, ends_in_ms }));
            }
        }
        if dropped {
            return self.drop_call(now);
        }
        for (to, word) in away {
            self.send_to(to, word);
        }
    }

    /// A party of an answered call is gone for good.
    pub(crate) fn drop_call(&mut self, now: Now) {
        let ArbiterState::Answered { callee, .. } = &self.state else { return };
        let winner = callee.clone();
        let (caller_reason, callee_reason) = (EndReason::RemoteDrop, EndReason::RemoteDrop);
        self.end_talk(now, Outcome::Talked { winner, caller_reason, callee_reason });
    }
}
