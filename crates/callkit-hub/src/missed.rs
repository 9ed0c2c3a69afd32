//! What one device knows of the calls that it missed: each is told once, however long the device was away.
//!
//! Each call that is over has a number, in the order of their ends, and of each device it is noted up to which number it knows what it
//! missed: what it was told and has not acknowledged it does not know. No clock has a part in that. It is told a few at a time, as it
//! acknowledges, however many there are: others make them, and none of them ends a session.

use std::collections::{BTreeMap, VecDeque};

use call_protocol::CallId;
use call_protocol::invite::Invite;

use crate::record::CallRecord;

/// Calls told at one time; the next ones follow when these are acknowledged.
const AT_ONCE: usize = 32;
/// Missed calls of which a device may not have acknowledged yet that it was told; of more it is told again when it signs in anew.
const UNSURE: usize = 64;

/// What is known here of a call that the history has as missed.
#[derive(Debug)]
pub(crate) enum MissedBy<'a> {
    /// The device knows, or nobody missed it.
    Nobody,
    /// The call is only in the history.
    Forgotten,
    Remembered(&'a Invite),
}

/// What a session's device knows, and what it is still to be told.
#[derive(Debug, Default)]
pub(crate) struct MissedState {
    /// Missed calls that it was told of and has not acknowledged, and the number of each in the history.
    untold: BTreeMap<CallId, u64>,
    /// Whether it is being looked up what it missed: until that is known it does not count as one that knows.
    is_looked_up: bool,
    /// The last call told of, where there are more to tell.
    told_until: Option<u64>,
    /// What has no higher number is not told from the history alone.
    told_since: u64,
    /// Missed calls that it was told of as they ended: with which frame at most, and their numbers.
    unsure: VecDeque<(u64, u64)>,
    /// The number of the first call of which it was not told since too much waited.
    behind_since: Option<u64>,
    /// Up to which number it is noted that it knows.
    noted: u64,
}

/// What follows when a device has said that it knows of a missed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NowKnown {
    /// Nothing: it was not told of that one, or has others to acknowledge.
    Nothing,
    /// There is more to tell after this number.
    More(u64),
    /// It knows all that it was told.
    All,
}

impl MissedState {
    pub(crate) fn begin_look_up(&mut self) {
        self.is_looked_up = true;
    }

    /// Up to which number it is noted that it knows.
    pub(crate) fn noted(&self) -> u64 {
        self.noted
    }

    pub(crate) fn set_noted(&mut self, known: u64) {
        self.noted = self.noted.max(known);
    }

    /// Of what calls it is to be told now. `since` is none where that was said before.
    pub(crate) fn on_found<'a>(
        &mut self,
        calls: &[CallRecord],
        since: Option<u64>,
        missed_by: impl Fn(&CallRecord) -> MissedBy<'a>,
    ) -> Vec<Invite> {
        (self.is_looked_up, self.told_until) = (false, None);
        self.told_since = since.unwrap_or(self.told_since);
        let mut told: Vec<Invite> = Vec::new();
        let mut last = None;
        for call in calls {
            let invite = match missed_by(call) {
                MissedBy::Nobody => continue,
                MissedBy::Forgotten if call.number <= self.told_since => continue,
                MissedBy::Forgotten => call.invite(),
                MissedBy::Remembered(invite) => invite.clone(),
            };
            if told.len() == AT_ONCE {
                self.told_until = last;
                break;
            }
            last = Some(call.number);
            self.untold.insert(call.call_id, call.number);
            told.push(invite);
        }
        told
    }

    /// It has said that it knows that it missed a call.
    pub(crate) fn on_known(&mut self, call_id: CallId) -> NowKnown {
        if self.untold.remove(&call_id).is_none() || !self.untold.is_empty() || self.is_looked_up {
            return NowKnown::Nothing;
        }
        self.told_until.take().map_or(NowKnown::All, NowKnown::More)
    }

    /// It is about to be told of a missed call, whose number may be any that is not noted yet.
    pub(crate) fn on_told(&mut self, call_id: CallId) {
        self.untold.entry(call_id).or_insert(self.noted + 1);
    }

    /// A call was missed and its devices were told: with the frame of this number at most. False if it was behind already.
    pub(crate) fn on_missed(&mut self, last_frame: u64, number: u64) -> bool {
        if self.behind_since.is_some() {
            return false;
        }
        if self.unsure.len() < UNSURE {
            self.unsure.push_back((last_frame, number));
        } else {
            self.behind_since = Some(number);
        }
        true
    }

    /// It was not told of a call, which will have this number at least.
    pub(crate) fn on_untold(&mut self, next_number: u64) {
        self.behind_since.get_or_insert(next_number);
    }

    /// It has everything up to the frame of this number. Whether it knows more now.
    pub(crate) fn on_acknowledged(&mut self, acknowledged: u64) -> bool {
        let before = self.unsure.len();
        while self.unsure.front().is_some_and(|(last, _)| *last <= acknowledged) {
            self.unsure.pop_front();
        }
        self.unsure.len() < before
    }

    /// Whether it was behind and can be told now of what it was not told then.
    pub(crate) fn catches_up(&mut self) -> bool {
        let is_told = self.untold.is_empty() && !self.is_looked_up && self.told_until.is_none();
        is_told && self.behind_since.take().is_some()
    }

    /// Up to which call it knows of all that it missed: the last one, but for what it has not acknowledged or was not told yet.
    pub(crate) fn known(&self, last_number: u64) -> Option<u64> {
        let untold = self.untold.values().min().copied();
        let unsure = self.unsure.front().map(|(_, number)| *number);
        let further = self.told_until.map(|number| number + 1);
        let unknown = [untold, unsure, further, self.behind_since].into_iter().flatten().min();
        (!self.is_looked_up).then(|| unknown.map_or(last_number, |unknown| unknown - 1))
    }
}
