//! Bugs planted on purpose: each breaks one rule, so that a test can show that its check sees it.

use call_protocol::accept::{AnswerConfirm, AnswerResult};
use call_protocol::end::EndReason;
use call_protocol::ring::RingConfirm;
use call_protocol::{CallMessage, Word};
use signaling::Phase;

use crate::device::BEGIN_UNIX_MS;
use crate::plan::Placement;
use crate::rules::Rule;
use crate::world::World;

/// What is wrong in this world. No shipped code knows of it: the world itself lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// Rule 1: a device that answers is told at once that it took the call, whatever the arbiter thinks.
    EveryAnswerCounts,
    /// Rule 2: an alert about a call that is over is confirmed as if it still rang.
    RingConfirmAfterEnd,
    /// Rule 2: a device that rings has no clock.
    NoRingDeadline,
    /// Rule 2: the other devices of a user that answered hear nothing of it.
    OthersRingOn,
    /// Rule 2: when the caller's device is gone, something else confirms in its name that it rings.
    GhostRings,
    /// Rule 3: the app is told every end twice.
    EndedTwice,
    /// Rule 3: the app is told an event of a call that it was told the end of.
    TalkAfterEnd,
    /// Rule 3: a cancelled callee is told that the caller hung up.
    WrongReason,
    /// Rule 3: an app is never told that the other one hung up.
    EndUntold,
    /// Rule 4: whatever anybody says about a call is taken as the arbiter's word.
    TrustsStrangers,
    /// Rule 5: who calls does not hear that the other one calls, too.
    DeafToGlare,
    /// Rule 5: a call across another keeps its kind at one end.
    GlareKeepsItsKind,
    /// Rule 6: a busy line says nothing.
    SilentWhenBusy,
    /// Rule 6: the first busy device makes its user busy: the arbiter does not wait for the others.
    OneBusyIsAll,
    /// Rule 7: the arbiter never looks at its clock.
    ArbiterWithoutClock,
    /// Rest: the server never forgets a call.
    ArbiterNeverForgets,
    /// Steps: the app hears a step twice.
    StepTwice,
    /// Steps: every seventh never reaches the app.
    StepLost,
    /// Missed: a missed call is told twice.
    MissedTwice,
    /// Missed: a call another device took is told as missed.
    ElsewhereIsMissed,
    /// Missed: a missed call is not told.
    MissedUntold,
    /// Hold: a call that is put on hold is not told to be.
    HoldUntold,
}

impl Plant {
    /// Every one.
    pub const ALL: [Plant; 22] = [
        Plant::EveryAnswerCounts,
        Plant::RingConfirmAfterEnd,
        Plant::NoRingDeadline,
        Plant::OthersRingOn,
        Plant::GhostRings,
        Plant::EndedTwice,
        Plant::TalkAfterEnd,
        Plant::WrongReason,
        Plant::EndUntold,
        Plant::TrustsStrangers,
        Plant::DeafToGlare,
        Plant::GlareKeepsItsKind,
        Plant::SilentWhenBusy,
        Plant::OneBusyIsAll,
        Plant::ArbiterWithoutClock,
        Plant::ArbiterNeverForgets,
        Plant::StepTwice,
        Plant::StepLost,
        Plant::MissedTwice,
        Plant::ElsewhereIsMissed,
        Plant::MissedUntold,
        Plant::HoldUntold,
    ];

    /// The rule it breaks.
    pub fn breaks(self) -> Rule {
        match self {
            Plant::EveryAnswerCounts => Rule::OneTaker,
            Plant::RingConfirmAfterEnd | Plant::NoRingDeadline | Plant::OthersRingOn | Plant::GhostRings => {
                Rule::NothingRingsOn
            }
            Plant::EndedTwice | Plant::TalkAfterEnd | Plant::WrongReason | Plant::EndUntold => Rule::EndToldOnce,
            Plant::TrustsStrangers => Rule::StrayChangesNothing,
            Plant::DeafToGlare | Plant::GlareKeepsItsKind => Rule::GlareIsOneCall,
            Plant::SilentWhenBusy | Plant::OneBusyIsAll => Rule::BusyAnswersItself,
            Plant::ArbiterWithoutClock => Rule::VanishedIsNoticed,
            Plant::ArbiterNeverForgets => Rule::Rest,
            Plant::StepTwice | Plant::StepLost => Rule::StepsInOrder,
            Plant::MissedTwice | Plant::ElsewhereIsMissed | Plant::MissedUntold => Rule::MissedToldOnce,
            Plant::HoldUntold => Rule::OneUnheld,
        }
    }

    /// Where it can be planted.
    pub fn placements(self) -> &'static [Placement] {
        match self {
            // The world runs the server's loop, but not that of a device that arbitrates.
            Plant::ArbiterNeverForgets => &[Placement::Server],
            Plant::GhostRings => &[Placement::Chat],
            Plant::EveryAnswerCounts
            | Plant::RingConfirmAfterEnd
            | Plant::NoRingDeadline
            | Plant::OthersRingOn
            | Plant::EndedTwice
            | Plant::TalkAfterEnd
            | Plant::WrongReason
            | Plant::EndUntold
            | Plant::TrustsStrangers
            | Plant::DeafToGlare
            | Plant::GlareKeepsItsKind
            | Plant::SilentWhenBusy
            | Plant::OneBusyIsAll
            | Plant::ArbiterWithoutClock
            | Plant::StepTwice
            | Plant::StepLost
            | Plant::MissedTwice
            | Plant::ElsewhereIsMissed
            | Plant::MissedUntold
            | Plant::HoldUntold => &Placement::ALL,
        }
    }
}

impl World {
    /// What planted bugs make of a message on its way to a device.
    pub(crate) fn garble(&self, message: &mut CallMessage, to: usize) {
        let Some(truth) = self.rules.truths.get(&message.call_id) else { return };
        let calls = truth.caller == to;
        let party = &self.devices[to].party;
        let rings = || {
            Word::RingConfirm(RingConfirm::Ring {
                deadline_unix_ms: BEGIN_UNIX_MS + self.now + 5_000,
                left_ms: Some(5_000),
                asked_unix_ms: None,
            })
        };
        match (self.plant, &message.word) {
            (Some(Plant::RingConfirmAfterEnd), Word::RingConfirm(RingConfirm::Over { .. })) if !calls => {
                message.word = rings();
            }
            (Some(Plant::OthersRingOn), Word::AnswerConfirm(confirm))
                if confirm.winner != *party && self.ringing(to) == Some(message.call_id) =>
            {
                message.word = rings();
            }
            (Some(Plant::EveryAnswerCounts), Word::Cancel(_) | Word::AnswerConfirm(_))
                if self.devices[to].told.contains_key(&message.call_id) && !calls =>
            {
                let winner = party.clone();
                message.word =
                    Word::AnswerConfirm(AnswerConfirm { result: AnswerResult::Accept, winner, release: None });
            }
            // It hears of an end that cannot be, and forgets it.
            (Some(Plant::DeafToGlare), Word::Invite(_))
                if matches!(self.devices[to].desk.line().phase(), Phase::Calling(_)) =>
            {
                message.word = Word::Cancel(EndReason::AnsweredElsewhere.into());
            }
            (None | Some(_), _) => {}
        }
    }

    /// Whether a planted bug keeps a device from saying this.
    pub(crate) fn plant_swallows(&mut self, at: usize, message: &CallMessage) -> bool {
        let Word::Answer(answer) = &message.word else { return self.ghost_answers(message) };
        if answer.result != AnswerResult::Busy || answer.callee != self.devices[at].party {
            return false;
        }
        self.plant == Some(Plant::SilentWhenBusy)
    }

    /// In the name of a device that is gone a ghost says that it still rings.
    fn ghost_answers(&mut self, message: &CallMessage) -> bool {
        if self.plant != Some(Plant::GhostRings) || !matches!(message.word, Word::Alert(_)) {
            return false;
        }
        let Some(truth) = self.rules.truths.get(&message.call_id) else { return false };
        let (caller, callee) = (truth.caller, truth.callee);
        if self.devices[caller].alive && self.devices[caller].life == truth.caller_life {
            return false;
        }
        let (deadline_unix_ms, left_ms) = (truth.invite.ring_deadline_unix_ms, None);
        let word = Word::RingConfirm(RingConfirm::Ring { deadline_unix_ms, left_ms, asked_unix_ms: None });
        for to in 0..self.devices.len() {
            if self.devices[to].user == callee {
                let message = CallMessage { call_id: message.call_id, word: word.clone() };
                self.send(crate::carrier::Way::Chat(caller, to), message);
            }
        }
        true
    }

    /// Whether a planted bug keeps a device from looking at its clock.
    pub(crate) fn plant_stops_the_clock_of(&self, at: usize) -> bool {
        match self.plant {
            Some(Plant::NoRingDeadline) => self.ringing(at).is_some(),
            Some(Plant::ArbiterWithoutClock) => {
                self.devices[at].desk.arbiters().any(|arbiter| arbiter.winner().is_some())
            }
            None | Some(_) => false,
        }
    }
}
