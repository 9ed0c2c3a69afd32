//! Media: while the parties talk, each says every few seconds that it is still there.

use call_protocol::accept::AnswerResult;
use call_protocol::end::EndReason;
use call_protocol::media::{Negotiation, NegotiationBody};
use call_protocol::{CallId, Party, Word};

use crate::arbiter::{Arbiter, Outcome, State as ArbiterState};
use crate::line::{CommandError, Event, Line, State};
use crate::time::Now;

/// How long after the announced end a party that is not back would have been told of.
const PEER_BACK_MS: u64 = 5_000;

/// Candidates of the caller kept for devices that alert later; a phone on many networks has about twenty.
const CANDIDATES_KEPT: usize = 32;

impl Line {
    /// A step of setting the media up, for the other party. Which device that is, and whether it may hear it, the arbiter knows.
    pub(crate) fn negotiate(&mut self, call_id: CallId, body: NegotiationBody) -> Result<(), CommandError> {
        let call = self.call_with(call_id).ok_or(CommandError::NoSuchCall)?;
        let to = call.arbiter.clone();
        let negotiation = Negotiation { from: self.me.clone(), body };
        self.send(to, call_id, Word::Negotiation(Box::new(negotiation)));
        Ok(())
    }

    pub(crate) fn on_negotiation(&mut self, call_id: CallId, body: NegotiationBody) {
        if self.call_with(call_id).is_some() {
            self.tell(Event::Negotiation { call_id, body });
        }
    }

    /// Told to the app only where it changes something: it may come twice, and the good news before the bad.
    pub(crate) fn on_reachability(&mut self, now: Now, call_id: CallId, reachable: bool, ends_in_ms: u32) {
        match &mut self.state {
            State::InCall { call, peer_away_until, .. } if call.invite.call_id == call_id => {
                let until = (!reachable).then(|| now.mono + u64::from(ends_in_ms) + PEER_BACK_MS);
                if std::mem::replace(peer_away_until, until).is_some() == reachable {
                    self.tell(Event::Reachability { call_id, reachable, ends_in_ms });
                }
            }
            State::Idle
            | State::Calling { .. }
            | State::Ringing { .. }
            | State::Answering { .. }
            | State::InCall { .. } => {
                if self.call_with(call_id).is_none() {
                    self.remind_of_end(call_id);
                }
            }
        }
    }

    pub(crate) fn on_time_in_call(&mut self, now: Now) {
        let State::InCall { call, next, peer_away_until, .. } = &mut self.state else { return };
        let (to, call_id) = (call.arbiter.clone(), call.invite.call_id);
        let is_back = peer_away_until.take_if(|until| now.mono >= *until).is_some();
        if now.mono >= *next {
            *next = now.mono + self.config.keep_alive_ms;
            self.send(to, call_id, Word::KeepAlive { in_call: true });
        }
        if is_back {
            self.tell(Event::Reachability { call_id, reachable: true, ends_in_ms: 0 });
        }
    }
}

impl Arbiter {
    /// Passes a step on to the other party. The caller's are kept while it rings; of the callee's devices only the one that took the call is
    /// heard.
    pub(crate) fn on_negotiation(&mut self, from: Party, body: NegotiationBody) {
        let is_caller = from == self.invite.caller;
        let to: Vec<Party> = match &self.state {
            ArbiterState::Ringing { alerted, .. } if is_caller => {
                let to = alerted.iter().cloned().collect();
                self.keep_offered(body.clone());
                to
            }
            ArbiterState::Answered { callee, .. } if is_caller => vec![callee.clone()],
            ArbiterState::Answered { callee, .. } if *callee == from => vec![self.invite.caller.clone()],
            ArbiterState::Ringing { .. } | ArbiterState::Answered { .. } | ArbiterState::Ended { .. } => vec![],
        };
        for party in to {
            let negotiation = Negotiation { from: from.clone(), body: body.clone() };
            self.send_to(party, Word::Negotiation(Box::new(negotiation)));
        }
    }

    /// A new offer makes the old one and its candidates worthless.
    fn keep_offered(&mut self, body: NegotiationBody) {
        match body {
            NegotiationBody::Description(_) => self.offered = vec![body],
            NegotiationBody::Candidate(_) if self.offered.len() <= CANDIDATES_KEPT => self.offered.push(body),
            NegotiationBody::Candidate(_) => {}
        }
    }

    /// What the caller has said so far about its media, for a device that has just alerted.
    pub(crate) fn pass_on_offered(&mut self, to: &Party) {
        for body in self.offered.clone() {
            let negotiation = Negotiation { from: self.invite.caller.clone(), body };
            self.send_to(to.clone(), Word::Negotiation(Box::new(negotiation)));
        }
    }

    /// Somebody is still there; whoever missed something is told it again.
    pub(crate) fn on_keep_alive(&mut self, from: Party, in_call: bool) {
        let is_caller = from == self.invite.caller;
        match &self.state {
            ArbiterState::Ringing { .. } => {}
            ArbiterState::Answered { .. } if is_caller => {
                if !in_call {
                    self.tell_caller_of_answer();
                }
            }
            ArbiterState::Answered { callee, .. } => {
                if from != *callee {
                    let winner = callee.clone();
                    self.confirm_answer(from, AnswerResult::Accept, winner);
                }
            }
            ArbiterState::Ended { .. } => self.last_word(from),
        }
    }

    /// Any message of a party of the call shows that it is alive.
    pub(crate) fn note_heard(&mut self, now: Now, from: &Party) {
        let is_caller = *from == self.invite.caller;
        match &mut self.state {
            ArbiterState::Ringing { caller_heard, .. } => {
                if is_caller {
                    *caller_heard = now.mono;
                }
            }
            ArbiterState::Answered { callee, caller_link, callee_link, .. } => {
                let (link, other) = if is_caller {
                    (caller_link, callee.clone())
                } else if from == callee {
                    (callee_link, self.invite.caller.clone())
                } else {
                    return;
                };
                link.heard = now.mono;
                if std::mem::take(&mut link.away) {
                    self.send_to(other, Word::Reachability { reachable: true, ends_in_ms: 0 });
                }
            }
            ArbiterState::Ended { .. } => {}
        }
    }

    /// A party of an answered call that is silent is out of reach, then dropped.
    pub(crate) fn watch_parties(&mut self, now: Now) {
        let (liveness, window) = (self.config.liveness_ms, self.config.resume_window_ms);
        let ArbiterState::Answered { callee, caller_link, callee_link, .. } = &mut self.state else { return };
        let (caller, callee) = (self.invite.caller.clone(), callee.clone());
        let mut away = Vec::new();
        let mut dropped = false;
        for (link, other) in [(caller_link, &callee), (callee_link, &caller)] {
            let silent = now.mono - link.heard;
            if silent >= window {
                dropped = true;
            } else if silent >= liveness && !link.away {
                link.away = true;
                let ends_in_ms = u32::try_from(window - silent).unwrap_or(u32::MAX);
                away.push((other.clone(), Word::Reachability { reachable: false, ends_in_ms }));
            }
        }
        if dropped {
            let outcome = Outcome::Talked {
                winner: callee,
                caller_reason: EndReason::RemoteDrop,
                callee_reason: EndReason::RemoteDrop,
            };
            self.end_talk(now, outcome);
            return;
        }
        for (to, word) in away {
            self.send_to(to, word);
        }
    }
}
