//! Ring: a callee's device asks whether the call is alive, and rings only when told so.

use call_protocol::accept::AnswerResult;
use call_protocol::end::{EndReason, Release};
use call_protocol::invite::{CallType, Invite};
use call_protocol::media::KeepAlive;
use call_protocol::ring::{Alert, RingConfirm};
use call_protocol::{CallId, Party, Word};

use crate::arbiter::{Arbiter, Fact, Outcome, State as ArbiterState};
use crate::door::{Address, Event};
use crate::end::{MissedCall, is_missed};
use crate::invite::Admission;
use crate::line::{Call, Line, State};
use crate::time::{Now, Repeat, Time};

/// Devices of a callee that one call keeps apart; further ones ring, but the caller does not hear of them.
const DEVICES: usize = 16;

/// An invite that asked whether it may ring.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Alerting {
    pub(crate) invite: Invite,
    pub(crate) arbiter: Address,
    /// It was answered busy before: what confirms that may still be on its way, and is not to make this line ring.
    pub(crate) was_busy: bool,
    /// When it asked, on both clocks; the first time in front.
    pub(crate) asked: Vec<Now>,
    pub(crate) next: Repeat,
    pub(crate) give_up: Time,
}

/// What an arbiter says with its leave to ring.
struct Permit {
    deadline_unix_ms: u64,
    left_ms: Option<u32>,
    asked_unix_ms: Option<u64>,
}

/// A call that a push told of, and that was asked about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Verifying {
    pub(crate) next: Repeat,
    pub(crate) give_up: Time,
}

impl Line {
    pub(crate) fn alert(&mut self, now: Now, invite: Invite, arbiter: Address, was_busy: bool) {
        let call_id = invite.call_id;
        self.send_alert(arbiter.clone(), call_id, Some(now));
        let (asked, give_up) = (vec![now], now.mono + self.config.alert_ms);
        self.alerting.insert(call_id, Alerting { invite, arbiter, was_busy, asked, next: Repeat::first(now), give_up });
    }

    /// Asks about a call of which a push told.
    pub(crate) fn verify(&mut self, now: Now, call_id: CallId) {
        if self.calls.contains_key(&call_id) || self.alerting.contains_key(&call_id) {
            return;
        }
        if let Some(over) = self.over.iter().find(|over| over.call_id == call_id) {
            let reason = over.reason;
            return self.tell(Event::Released { call_id, reason, release: None });
        }
        if self.verifying.len() == Self::ALERTS {
            return self.tell(Event::Released { call_id, reason: EndReason::Error, release: None });
        }
        self.ask_about(call_id);
        let give_up = now.mono + self.config.alert_ms;
        self.verifying.insert(call_id, Verifying { next: Repeat::first(now), give_up });
    }

    /// A sign of life of a device that has no part in the call yet: it is answered with the invite, or with the end.
    fn ask_about(&mut self, call_id: CallId) {
        let arbiter = self.config.arbiter.clone();
        self.send(arbiter, call_id, Word::KeepAlive(KeepAlive::default()));
    }

    pub(crate) fn repeat_questions(&mut self, now: Now) {
        let (mut again, mut given_up) = (Vec::new(), Vec::new());
        for (call_id, verifying) in &mut self.verifying {
            if now.mono >= verifying.give_up {
                given_up.push(*call_id);
            } else if now.mono >= verifying.next.at {
                verifying.next.again(now);
                again.push(*call_id);
            }
        }
        again.into_iter().for_each(|call_id| self.ask_about(call_id));
        for call_id in given_up {
            self.verifying.remove(&call_id);
            self.tell(Event::Released { call_id, reason: EndReason::Error, release: None });
        }
    }

    /// A call that was asked about is over.
    pub(crate) fn on_released(&mut self, call_id: CallId, reason: EndReason, release: Option<Release>) {
        if self.verifying.remove(&call_id).is_some() {
            self.tell(Event::Released { call_id, reason, release });
        }
    }

    /// `asked` where the answer is to tell when it rings to its end.
    fn send_alert(&mut self, arbiter: Address, call_id: CallId, asked: Option<Now>) {
        let alert = Word::Alert(Alert { callee: self.me.clone(), asked_unix_ms: asked.map(|now| now.unix_ms) });
        self.send(arbiter, call_id, alert);
    }

    /// At the caller: a phone of the callee is about to ring. Where the call is over, what ended it may have overtaken its invite.
    pub(crate) fn on_alert(&mut self, call_id: CallId, alert: Alert) {
        let Some(call) = self.calls.get_mut(&call_id) else { return self.remind_of_end(call_id) };
        let State::Calling { alerted, .. } = &mut call.state else { return };
        if call.invite.callees.contains(&alert.callee.user)
            && alerted.len() < DEVICES
            && alerted.insert(alert.callee.clone())
        {
            self.tell(Event::Alerted { call_id, callee: alert.callee });
        }
    }

    pub(crate) fn on_ring_confirm(&mut self, now: Now, from: Address, call_id: CallId, confirm: RingConfirm) {
        match confirm {
            RingConfirm::Ring { deadline_unix_ms, left_ms, asked_unix_ms } => {
                self.on_may_ring(now, call_id, Permit { deadline_unix_ms, left_ms, asked_unix_ms });
            }
            RingConfirm::Over { reason, .. } => {
                self.over_before_it_rang(now, from, call_id, reason);
                self.on_over(now, call_id, reason);
            }
            RingConfirm::Refused { refusal } => {
                let Some(call) = self.calls.get(&call_id) else { return };
                if let State::Calling { .. } = call.state {
                    self.tell(Event::Failed { call_id, refusal });
                    self.end_call(now, call_id, EndReason::Error, None);
                }
            }
        }
    }

    fn on_may_ring(&mut self, now: Now, call_id: CallId, permit: Permit) {
        let Permit { deadline_unix_ms, left_ms, asked_unix_ms } = permit;
        if let Some(call) = self.calls.get_mut(&call_id) {
            let longest = call.invite.ring_timeout_ms;
            let latest = now.mono + u64::from(left_ms.unwrap_or(longest).min(longest));
            match &mut call.state {
                State::Calling { confirmed, next, give_up, .. } if !*confirmed => {
                    *confirmed = true;
                    next.at = now.mono + self.config.keep_alive_ms;
                    let ends = if left_ms.is_some() { latest } else { now.at_unix_ms(deadline_unix_ms).min(latest) };
                    *give_up = ends + self.config.caller_patience_ms;
                    self.tell(Event::Notifying { call_id });
                }
                // The first one may have been long on its way.
                State::Ringing { deadline, .. } => *deadline = latest.min(*deadline),
                State::Calling { .. } | State::Answering { .. } | State::InCall { .. } => {}
            }
            return;
        }
        let Some(alerting) = self.alerting.remove(&call_id) else { return self.on_still_rings(call_id) };
        let Alerting { mut invite, arbiter, was_busy, asked: alerts, .. } = alerting;
        // What answers no question of this alert may be a word of an earlier one, or of an earlier life of this device.
        let asked = asked_unix_ms.and_then(|asked| alerts.iter().find(|alert| alert.unix_ms == asked));
        let since = alerts.first().map_or(now.mono, |first| first.mono);
        let said = match (asked, &arbiter) {
            (Some(asked), _) => Said::After(asked.mono),
            (None, Address::Server) => Said::Within(OLDEST_MS + (now.mono - since)),
            (None, Address::Device(_)) => Said::AtAnyTime,
        };
        let deadline = ring_deadline(now, &invite, deadline_unix_ms, left_ms, said);
        if deadline <= now.mono {
            let missed = MissedCall::Undecided(Box::new(invite));
            return self.leave(now, call_id, arbiter, EndReason::NoResponse, missed, None);
        }
        invite.ring_deadline_unix_ms = deadline_unix_ms;
        self.admit(now, invite, arbiter, was_busy, deadline);
    }

    fn admit(&mut self, now: Now, invite: Invite, arbiter: Address, was_busy: bool, deadline: Time) {
        match self.admission(&invite) {
            Admission::Ring | Admission::Replaces(_) | Admission::Yields if was_busy => {
                self.answer_busy(now, invite, arbiter);
            }
            Admission::Ring => self.ring(now, invite, arbiter, deadline),
            Admission::Replaces(old) => {
                self.end_call(now, old, EndReason::RemoteDrop, Some(Self::end_word(EndReason::RemoteDrop)));
                // There may be another call beside it.
                self.admit(now, invite, arbiter, was_busy, deadline);
            }
            Admission::Merges(old) => self.merge(now, old, invite, arbiter),
            Admission::Yields => self.take_the_place_of(invite, arbiter),
            Admission::Busy => self.answer_busy(now, invite, arbiter),
        }
    }

    fn ring(&mut self, now: Now, invite: Invite, arbiter: Address, deadline: Time) {
        let waiting = !self.calls.is_empty();
        self.tell(Event::Ringing { invite: Box::new(invite.clone()), waiting });
        let state = State::Ringing { next: now.mono + self.config.keep_alive_ms, deadline };
        self.calls.insert(invite.call_id, Call::new(now, invite, arbiter, state));
        self.look_again_at_alerts(now);
    }

    /// Both called each other: the call placed here ends without a word to the app but that it goes on as the other one, which is
    /// answered: the user wants to talk to that user.
    fn merge(&mut self, now: Now, old: CallId, mut invite: Invite, arbiter: Address) {
        let Some(mine) = self.calls.remove(&old) else { return };
        let farewell = Some(Self::cancel_word(EndReason::AnsweredElsewhere));
        self.leave(now, old, mine.arbiter, EndReason::AnsweredElsewhere, MissedCall::No, farewell);
        let call_type = (mine.invite.call_type != invite.call_type).then_some(CallType::Audio1v1);
        invite.call_type = call_type.unwrap_or(invite.call_type);
        self.tell(Event::Merged { old, invite: Box::new(invite.clone()) });
        let call_id = invite.call_id;
        let give_up = now.mono + self.config.answer_confirm_ms;
        let state = State::Answering { call_type, preparation: false, next: Repeat::first(now), give_up };
        self.calls.insert(call_id, Call::new(now, invite, arbiter, state));
        self.send_answer(call_id);
        self.look_again_at_alerts(now);
    }

    /// The arbiter believes that a call rings here which does not: an alert may have overtaken the answer that this line is busy, and that
    /// one's receipt may be on its way.
    fn on_still_rings(&mut self, call_id: CallId) {
        let Some(over) = self.over.iter().find(|over| over.call_id == call_id) else { return };
        if over.reason == EndReason::Busy {
            let (arbiter, answer) = (over.arbiter.clone(), self.busy_answer());
            self.send(arbiter, call_id, answer);
        } else {
            self.remind_of_end(call_id);
        }
    }

    /// The line is in another state: whoever asked whether they may ring, and may not any more, is told busy.
    pub(crate) fn look_again_at_alerts(&mut self, now: Now) {
        let busy = |line: &Line, invite: &Invite| match line.admission(invite) {
            Admission::Busy => true,
            Admission::Ring | Admission::Replaces(_) | Admission::Merges(_) | Admission::Yields => false,
        };
        let calls: Vec<CallId> =
            self.alerting.iter().filter(|(_, a)| busy(self, &a.invite)).map(|(id, _)| *id).collect();
        for call_id in calls {
            let Some(Alerting { invite, arbiter, .. }) = self.alerting.remove(&call_id) else { continue };
            self.answer_busy(now, invite, arbiter);
        }
    }

    /// The call is over before it rang here: a late invite or confirmation must not make it ring.
    pub(crate) fn will_not_ring(&mut self, now: Now, arbiter: Address, call_id: CallId, reason: EndReason) {
        self.alerting.remove(&call_id);
        if !self.calls.contains_key(&call_id) && !self.is_over(call_id) {
            self.leave(now, call_id, arbiter, reason, MissedCall::No, None);
        }
    }

    /// In reply to an alert. Who has forgotten the call says remote_drop: what became of it may still be on its way.
    fn over_before_it_rang(&mut self, now: Now, arbiter: Address, call_id: CallId, reason: EndReason) {
        let Some(alerting) = self.alerting.remove(&call_id) else {
            return self.will_not_ring(now, arbiter, call_id, reason);
        };
        let invite = Box::new(alerting.invite);
        if reason == EndReason::RemoteDrop {
            return self.leave(now, call_id, arbiter, reason, MissedCall::Undecided(invite), None);
        }
        self.leave(now, call_id, arbiter.clone(), reason, MissedCall::No, None);
        if is_missed(reason) || reason == EndReason::Busy {
            self.tell_missed(now, arbiter, invite);
        }
    }

    pub(crate) fn repeat_alerts(&mut self, now: Now) {
        let mut due = Vec::new();
        let mut given_up = Vec::new();
        for (call_id, alerting) in &mut self.alerting {
            if now.mono >= alerting.give_up {
                given_up.push(*call_id);
            } else if now.mono >= alerting.next.at {
                alerting.next.again(now);
                alerting.asked.push(now);
                due.push((alerting.arbiter.clone(), *call_id));
            }
        }
        for call_id in given_up {
            let Some(Alerting { invite, arbiter, was_busy, .. }) = self.alerting.remove(&call_id) else { continue };
            if was_busy {
                let missed = MissedCall::Undecided(Box::new(invite));
                self.leave(now, call_id, arbiter, EndReason::Busy, missed, None);
            }
        }
        for (arbiter, call_id) in due {
            self.send_alert(arbiter, call_id, Some(now));
        }
    }

    pub(crate) fn on_time_ringing(&mut self, now: Now, call_id: CallId) {
        let keep_alive_ms = self.config.keep_alive_ms;
        let gone = self.arbiter_is_gone(now, call_id, self.config.liveness_ms);
        let Some(call) = self.calls.get_mut(&call_id) else { return };
        let State::Ringing { next, deadline } = &mut call.state else { return };
        if now.mono >= *deadline {
            self.end_call(now, call_id, EndReason::NoResponse, None);
        } else if gone {
            self.end_call(now, call_id, EndReason::RemoteDrop, None);
        } else if now.mono >= *next {
            *next = now.mono + keep_alive_ms;
            let arbiter = call.arbiter.clone();
            self.send_alert(arbiter, call_id, None);
        }
    }
}

/// No word of a server is older than this, in ms, however long it was held back: a wall clock that says so was set.
const OLDEST_MS: u64 = 57_000;

/// What a line knows of when the arbiter spoke.
#[derive(Clone, Copy)]
enum Said {
    /// Not before this line asked.
    After(Time),
    /// Not longer ago than so many ms.
    Within(u64),
    AtAnyTime,
}

/// When ringing ends, by the clock of this device that never goes back.
///
/// The duration counts from the moment at which the arbiter said it: that is now at the latest, and when this line asked at the earliest.
/// Where between the two, the wall clocks say. One that is off so makes a phone ring too long or too short by the way of a question and
/// its answer, at most.
fn ring_deadline(now: Now, invite: &Invite, deadline_unix_ms: u64, left_ms: Option<u32>, said: Said) -> Time {
    let by_wall = now.at_unix_ms(deadline_unix_ms);
    // A clock that is off must not make a phone ring for longer than the caller asked, and a word neither.
    let longest = u64::from(invite.ring_timeout_ms);
    let Some(left_ms) = left_ms.map(|left_ms| u64::from(left_ms).min(longest)) else {
        return by_wall.min(now.mono + longest);
    };
    let latest = now.mono + left_ms;
    let early_ms = (now.unix_ms + left_ms).saturating_sub(deadline_unix_ms);
    match said {
        Said::After(asked) => by_wall.max(asked + left_ms).min(latest),
        Said::Within(oldest_ms) if early_ms > oldest_ms => latest,
        Said::Within(_) | Said::AtAnyTime => by_wall.min(latest),
    }
}

impl Arbiter {
    pub(crate) fn on_alert(&mut self, now: Now, from: Party, asked_unix_ms: Option<u64>) {
        if !self.invite.callees.contains(&from.user) {
            return;
        }
        match &mut self.state {
            ArbiterState::Ringing { alerted, busy, rang, deadline, .. } => {
                if now.mono >= *deadline {
                    return;
                }
                let first = !std::mem::replace(rang, true);
                busy.remove(&from);
                let is_new = alerted.insert(from.clone(), now.mono).is_none();
                // By the clock as it is now.
                let deadline_unix_ms = now.unix_ms_at(*deadline);
                let left_ms = u32::try_from(*deadline - now.mono).ok();
                let confirm = RingConfirm::Ring { deadline_unix_ms, left_ms, asked_unix_ms };
                self.send_to(from.clone(), Word::RingConfirm(confirm));
                if first {
                    self.tell(Fact::Ringing { call_id: self.invite.call_id });
                }
                if is_new {
                    self.send_to(self.invite.caller.clone(), Word::Alert(Alert { callee: from, asked_unix_ms: None }));
                }
            }
            ArbiterState::Answered { callee, .. } => {
                let winner = callee.clone();
                self.confirm_answer(from, AnswerResult::Accept, winner);
            }
            ArbiterState::Ended { outcome, .. } => {
                // Who asks about a call that was answered did not miss it, whatever ended it.
                let reason = match outcome {
                    Outcome::Talked { .. } => EndReason::AnsweredElsewhere,
                    Outcome::Declined { .. } | Outcome::Unanswered { .. } => self.reason_for(&from),
                };
                self.send_to(from, Word::RingConfirm(RingConfirm::Over { reason, release: None }));
            }
        }
    }
}
