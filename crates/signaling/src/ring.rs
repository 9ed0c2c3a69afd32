//! Ring: a callee's device asks whether the call is alive, and rings only when told so.

use call_protocol::accept::AnswerResult;
use call_protocol::end::EndReason;
use call_protocol::ring::{Alert, RingConfirm};
use call_protocol::{CallId, Party, Word};

use crate::arbiter::{Arbiter, Fact, State as ArbiterState};
use crate::line::{Address, Call, Event, Line, State};
use crate::time::{Now, Repeat, Time};

/// An invite that asked whether it may ring.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Alerting {
    pub(crate) call: Call,
    pub(crate) next: Repeat,
    pub(crate) give_up: Time,
}

impl Line {
    pub(crate) fn alert(&mut self, now: Now, call: Call) {
        self.send_alert(&call);
        let give_up = now.mono + self.config.alert_ms;
        self.alerting.insert(call.invite.call_id, Alerting { call, next: Repeat::first(now), give_up });
    }

    fn send_alert(&mut self, call: &Call) {
        let alert = Word::Alert(Alert { callee: self.me.clone() });
        self.send(call.arbiter.clone(), call.invite.call_id, alert);
    }

    /// At the caller: the callee's phone is about to ring.
    pub(crate) fn on_alert(&mut self, call_id: CallId, alert: Alert) {
        let State::Calling { call, alerted, .. } = &mut self.state else { return };
        if call.invite.call_id == call_id && call.invite.callees.contains(&alert.callee.user) && !*alerted {
            *alerted = true;
            self.tell(Event::Alerted { call_id, callee: alert.callee.user });
        }
    }

    pub(crate) fn on_ring_confirm(&mut self, now: Now, from: Address, call_id: CallId, confirm: RingConfirm) {
        match confirm {
            RingConfirm::Ring { deadline_unix_ms } => self.on_may_ring(now, call_id, deadline_unix_ms),
            RingConfirm::Over { reason } => {
                self.will_not_ring(now, from, call_id, reason);
                self.on_over(now, call_id, reason);
            }
            RingConfirm::Refused { refusal } => {
                let State::Calling { call, .. } = &self.state else { return };
                if call.invite.call_id == call_id {
                    self.tell(Event::Failed { call_id, refusal });
                    self.end_current(now, EndReason::Error, None);
                }
            }
        }
    }

    fn on_may_ring(&mut self, now: Now, call_id: CallId, deadline_unix_ms: u64) {
        if let State::Calling { call, confirmed, next, give_up, .. } = &mut self.state
            && call.invite.call_id == call_id
        {
            if !*confirmed {
                *confirmed = true;
                next.at = now.mono + self.config.keep_alive_ms;
                let longest = now.mono + u64::from(call.invite.ring_timeout_ms);
                *give_up = now.at_unix_ms(deadline_unix_ms).min(longest) + self.config.caller_patience_ms;
            }
            return;
        }
        let Some(alerting) = self.alerting.remove(&call_id) else {
            self.remind_of_end(call_id);
            return;
        };
        let mut call = alerting.call;
        if deadline_unix_ms <= now.unix_ms {
            return;
        }
        if self.state != State::Idle {
            self.answer_busy(now, call_id, call.arbiter);
            return;
        }
        // A clock that is off must not make a phone ring for longer than the caller asked.
        let longest = now.mono + u64::from(call.invite.ring_timeout_ms);
        let deadline = now.at_unix_ms(deadline_unix_ms).min(longest);
        call.invite.ring_deadline_unix_ms = deadline_unix_ms;
        self.tell(Event::Ringing { invite: Box::new(call.invite.clone()) });
        self.state = State::Ringing { call, next: now.mono + self.config.keep_alive_ms, deadline };
        self.others_are_busy(now);
    }

    /// The line is taken: whoever else asked whether they may ring is told busy.
    pub(crate) fn others_are_busy(&mut self, now: Now) {
        for (call_id, alerting) in std::mem::take(&mut self.alerting) {
            self.answer_busy(now, call_id, alerting.call.arbiter);
        }
    }

    /// The call is over before it rang here: a late invite or confirmation must not make it ring.
    pub(crate) fn will_not_ring(&mut self, now: Now, arbiter: Address, call_id: CallId, reason: EndReason) {
        self.alerting.remove(&call_id);
        if self.call_with(call_id).is_none() && !self.is_over(call_id) {
            self.leave(now, call_id, arbiter, reason, None);
        }
    }

    pub(crate) fn repeat_alerts(&mut self, now: Now) {
        self.alerting.retain(|_, alerting| now.mono < alerting.give_up);
        let mut due = Vec::new();
        for alerting in self.alerting.values_mut() {
            if now.mono >= alerting.next.at {
                alerting.next.again(now);
                due.push(alerting.call.clone());
            }
        }
        for call in due {
            self.send_alert(&call);
        }
    }

    pub(crate) fn on_time_ringing(&mut self, now: Now) {
        let State::Ringing { call, next, deadline } = &mut self.state else { return };
        if now.mono >= *deadline {
            self.end_current(now, EndReason::NoResponse, None);
        } else if now.mono >= *next {
            *next = now.mono + self.config.keep_alive_ms;
            let call = call.clone();
            self.send_alert(&call);
        }
    }
}

impl Arbiter {
    pub(crate) fn on_alert(&mut self, now: Now, from: Party) {
        if !self.invite.callees.contains(&from.user) {
            return;
        }
        match &mut self.state {
            ArbiterState::Ringing { alerted, deadline, .. } => {
                if now.mono >= *deadline {
                    return;
                }
                let first = alerted.is_empty();
                let asks_again = !alerted.insert(from.clone());
                let confirm = RingConfirm::Ring { deadline_unix_ms: self.invite.ring_deadline_unix_ms };
                self.send_to(from.clone(), Word::RingConfirm(confirm));
                if !asks_again {
                    self.pass_on_offered(&from);
                }
                if first {
                    self.tell(Fact::Ringing { call_id: self.invite.call_id });
                    self.send_to(self.invite.caller.clone(), Word::Alert(Alert { callee: from }));
                }
            }
            ArbiterState::Answered { callee, .. } => {
                let winner = callee.clone();
                self.confirm_answer(from, AnswerResult::Accept, winner);
            }
            ArbiterState::Ended { .. } => {
                let reason = self.reason_for(&from);
                self.send_to(from, Word::RingConfirm(RingConfirm::Over { reason }));
            }
        }
    }
}
