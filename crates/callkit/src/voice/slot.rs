//! One device of a voice: which is wanted, which is open, and what is to be done when it is lost, comes back, or another one is chosen.

use std::time::{Duration, Instant};

use rtc_media::DeviceError;

/// A device that failed is tried again after this, and each time it fails soon after twice as late, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// One that was there for so long has not failed soon.
const LASTED: Duration = Duration::from_secs(10);
/// How often is looked which device of the system it would be now.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The microphone or the loudspeaker. Pure: time and what the threads bring come in, what is to be done goes out.
pub(super) struct Slot {
    wanted: bool,
    /// The number of the device that the app has chosen.
    chosen: u64,
    /// A thread opens it. What it brings is for whoever wants it by then, so that there is but one at a time, however often the wish changes.
    opening: bool,
    open: Option<Open>,
    /// When one that failed is tried again; none if that would be of no use.
    failing: Option<Option<Instant>>,
    pause: Duration,
    /// The one that is chosen was open once, so that another one may stand in for it.
    was_open: bool,
    /// A thread looks which one it would be now.
    looking: bool,
    next_look: Option<Instant>,
}

struct Open {
    choice: u64,
    found: Found,
    since: Instant,
}

/// Which device was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// What the system knows it by; none if it is no device of the system.
    pub(super) device: Option<String>,
    /// It stands in for the chosen one, which is not there.
    pub(super) stands_in: bool,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    /// Open the chosen one; what is open stays until it is there.
    Open {
        /// The system's own may stand in for it.
        may_stand_in: bool,
    },
    LetGo,
}

/// What becomes of what a thread brings.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Used from now on; the one before is let go of.
    Use,
    /// Nobody wants it any more.
    LetGo,
    /// The same, and another one is to be opened.
    OpenAnother,
    /// It could not be opened, and there is none.
    Failed {
        /// The app knows already.
        is_known: bool,
    },
    /// It could not be opened, and what was open before stays.
    Kept,
}

impl Slot {
    pub(super) fn new(chosen: u64) -> Slot {
        Slot {
            wanted: false,
            chosen,
            opening: false,
            open: None,
            failing: None,
            pause: FIRST_PAUSE,
            was_open: false,
            looking: false,
            next_look: None,
        }
    }

    /// What is wanted, and which one.
    pub(super) fn set(&mut self, wanted: bool, chosen: u64) -> Change {
        let was_wanted = std::mem::replace(&mut self.wanted, wanted);
        let is_another = std::mem::replace(&mut self.chosen, chosen) != chosen;
        if is_another {
            self.was_open = self.open.as_ref().is_some_and(|open| open.choice == chosen);
            self.pause = FIRST_PAUSE;
        }
        if !wanted {
            (self.open, self.failing) = (None, None);
            return if was_wanted { Change::LetGo } else { Change::Nothing };
        }
        let is_open = self.open.as_ref().is_some_and(|open| open.choice == chosen);
        if self.opening || is_open || (was_wanted && !is_another) {
            return Change::Nothing;
        }
        self.begin(false)
    }

    fn begin(&mut self, may_stand_in: bool) -> Change {
        self.opening = true;
        Change::Open { may_stand_in }
    }

    /// No thread can be had to open it.
    pub(super) fn cannot_open(&mut self, now: Instant) {
        self.opening = false;
        self.try_later(now);
    }

    /// The thread has done its work.
    pub(super) fn arrived(&mut self, now: Instant, choice: u64, opened: Result<Found, &DeviceError>) -> Arrival {
        self.opening = false;
        if !self.wanted {
            return Arrival::LetGo;
        }
        if choice != self.chosen {
            if self.open.as_ref().is_some_and(|open| open.choice == self.chosen) {
                return Arrival::LetGo;
            }
            self.opening = true;
            return Arrival::OpenAnother;
        }
        match opened {
            Ok(found) => {
                self.open = Some(Open { choice, found, since: now });
                (self.failing, self.was_open) = (None, true);
                self.next_look = Some(now + LOOK_EVERY);
                Arrival::Use
            }
            Err(_) if self.open.is_some() => Arrival::Kept,
            Err(error) => {
                let is_known = self.failing.is_some();
                self.fail(now, error);
                Arrival::Failed { is_known }
            }
        }
    }

    /// What was open is gone.
    pub(super) fn lost(&mut self, now: Instant, error: &DeviceError) {
        if self.open.take().is_some_and(|open| now.saturating_duration_since(open.since) >= LASTED) {
            self.pause = FIRST_PAUSE;
        }
        self.fail(now, error);
    }

    fn fail(&mut self, now: Instant, error: &DeviceError) {
        if can_come_back(error) {
            self.try_later(now);
        } else {
            self.failing = Some(None);
        }
    }

    fn try_later(&mut self, now: Instant) {
        self.failing = Some(Some(now + self.pause));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// Whether it is time to try one again that failed.
    pub(super) fn due(&mut self, now: Instant) -> Change {
        let is_due = self.failing.flatten().is_some_and(|again| now >= again);
        if !is_due || !self.wanted || self.opening || self.open.is_some() {
            return Change::Nothing;
        }
        self.begin(self.was_open)
    }

    /// Whether it is time to look which device of the system it would be now.
    pub(super) fn wants_look(&mut self, now: Instant) -> bool {
        let is_of_system = self.open.as_ref().is_some_and(|open| open.found.device.is_some());
        let is_due = self.next_look.is_some_and(|at| now >= at);
        let wants = is_of_system && is_due && self.wanted && !self.opening && !self.looking;
        self.looking |= wants;
        wants
    }

    /// What the chosen one would be now.
    pub(super) fn seen(&mut self, now: Instant, choice: u64, device: Option<String>) -> Change {
        self.looking = false;
        self.next_look = Some(now + LOOK_EVERY);
        let Some(open) = self.open.as_ref().filter(|open| open.choice == choice && choice == self.chosen) else {
            return Change::Nothing;
        };
        let is_another = device.is_some() && (open.found.stands_in || device != open.found.device);
        if is_another && self.wanted && !self.opening { self.begin(false) } else { Change::Nothing }
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    pub(super) fn chosen(&self) -> u64 {
        self.chosen
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// It is being opened for the first time, and there is none meanwhile.
    pub(super) fn is_awaited(&self) -> bool {
        self.wanted && self.opening && self.open.is_none() && self.failing.is_none()
    }
}

/// Whether the device may be there later. A file is not tried again: what is in it would be overwritten.
fn can_come_back(error: &DeviceError) -> bool {
    !matches!(
        error,
        DeviceError::NotBuilt | DeviceError::File { .. } | DeviceError::UnsupportedFile { .. } | DeviceError::Finished
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtc_media::Direction;

    const LOST: DeviceError = DeviceError::Lost { direction: Direction::Input };
    const MS: Duration = Duration::from_millis(1);

    fn opening() -> Change {
        Change::Open { may_stand_in: false }
    }

    fn of_system(device: &str) -> Found {
        Found { device: Some(device.into()), stands_in: false }
    }

    /// One that is open.
    fn open(found: Found) -> (Slot, Instant) {
        let (mut slot, now) = (Slot::new(1), Instant::now());
        assert_eq!(slot.set(true, 1), opening());
        assert_eq!(slot.arrived(now, 1, Ok(found)), Arrival::Use);
        (slot, now)
    }

    #[test]
    fn one_device_is_opened_at_a_time_and_goes_to_whoever_wants_it_when_it_comes() {
        let (mut slot, now) = (Slot::new(1), Instant::now());
        assert_eq!(slot.set(true, 1), opening());
        assert_eq!(slot.set(true, 1), Change::Nothing, "no news");
        assert_eq!(slot.set(false, 1), Change::LetGo);
        assert!(!slot.is_awaited());
        assert_eq!(slot.set(true, 1), Change::Nothing, "the first thread is still at it");
        assert!(slot.is_awaited());
        assert_eq!(slot.arrived(now, 1, Ok(Found::default())), Arrival::Use);
        assert!(!slot.is_awaited());
        assert_eq!(slot.set(false, 1), Change::LetGo);
        assert_eq!(slot.set(true, 1), opening(), "anew");
        slot.set(false, 1);
        assert_eq!(slot.arrived(now, 1, Ok(Found::default())), Arrival::LetGo, "nobody wants it any more");
    }

    #[test]
    fn another_choice_is_opened_beside_the_one_before_which_stays_if_it_cannot_be() {
        let (mut slot, now) = open(Found::default());
        assert_eq!(slot.set(true, 2), opening());
        assert!(slot.is_open() && !slot.is_awaited(), "the one before is still heard");
        assert_eq!(slot.set(true, 3), Change::Nothing, "one at a time");
        assert_eq!(slot.arrived(now, 2, Ok(Found::default())), Arrival::OpenAnother);
        assert_eq!(slot.arrived(now, 3, Err(&LOST)), Arrival::Kept);
        assert!(slot.is_open());
        assert_eq!(slot.set(true, 1), Change::Nothing, "the owner goes back");
        assert_eq!((slot.set(true, 4), slot.set(true, 1)), (opening(), Change::Nothing));
        assert_eq!(slot.arrived(now, 4, Ok(Found::default())), Arrival::LetGo, "the choice was taken back");
        assert!(slot.is_open());
    }

    #[test]
    fn a_device_that_was_lost_is_tried_again_later_and_later_and_the_default_may_stand_in_for_it() {
        let (mut slot, mut now) = open(of_system("headset"));
        slot.lost(now, &LOST);
        assert!(!slot.is_open() && !slot.is_awaited());
        for pause in [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            assert_eq!(slot.due(now + (pause - 1) * MS), Change::Nothing);
            now += pause * MS;
            assert_eq!(slot.due(now), Change::Open { may_stand_in: true });
            assert_eq!(slot.due(now), Change::Nothing, "it is at it");
            assert_eq!(slot.arrived(now, 1, Err(&LOST)), Arrival::Failed { is_known: true });
        }
        now += LONGEST_PAUSE;
        assert_eq!(slot.due(now), Change::Open { may_stand_in: true });
        assert_eq!(slot.arrived(now, 1, Ok(of_system("headset"))), Arrival::Use);
        now += LASTED;
        slot.lost(now, &LOST);
        assert_eq!(
            slot.due(now + FIRST_PAUSE),
            Change::Open { may_stand_in: true },
            "soon again, as it was there for long"
        );
    }

    #[test]
    fn nothing_stands_in_for_a_device_that_never_was_there_and_what_is_lost_on_hold_is_opened_after_it() {
        let (mut slot, now) = (Slot::new(1), Instant::now());
        slot.set(true, 1);
        assert_eq!(slot.arrived(now, 1, Err(&LOST)), Arrival::Failed { is_known: false });
        assert_eq!(slot.due(now + FIRST_PAUSE), opening());
        slot.arrived(now, 1, Ok(Found::default()));
        slot.lost(now, &LOST);
        assert_eq!(slot.set(false, 1), Change::LetGo);
        assert_eq!(slot.due(now + LONGEST_PAUSE), Change::Nothing);
        assert_eq!(slot.set(true, 1), opening());
    }

    #[test]
    fn a_file_that_cannot_be_written_is_not_begun_anew() {
        let (mut slot, now) = open(Found::default());
        slot.lost(now, &DeviceError::Finished);
        assert_eq!(slot.due(now + 2 * LONGEST_PAUSE), Change::Nothing);
    }

    #[test]
    fn the_default_is_followed_and_the_chosen_one_taken_as_soon_as_it_is_back() {
        let (mut slot, now) = open(of_system("built in"));
        assert!(!slot.wants_look(now) && slot.wants_look(now + LOOK_EVERY));
        assert!(!slot.wants_look(now + LOOK_EVERY), "it looks");
        assert_eq!(slot.seen(now, 1, Some("built in".into())), Change::Nothing);
        assert_eq!(slot.seen(now, 1, None), Change::Nothing, "what is open may be good all the same");
        assert_eq!(slot.seen(now, 2, Some("headset".into())), Change::Nothing, "another choice");
        assert_eq!(slot.seen(now, 1, Some("headset".into())), opening());
        assert_eq!(slot.arrived(now, 1, Ok(of_system("headset"))), Arrival::Use);

        slot.lost(now, &LOST);
        slot.due(now + FIRST_PAUSE);
        let instead = Found { device: Some("built in".into()), stands_in: true };
        assert_eq!(slot.arrived(now, 1, Ok(instead)), Arrival::Use);
        assert_eq!(slot.seen(now, 1, None), Change::Nothing, "still away");
        assert_eq!(slot.seen(now, 1, Some("headset".into())), opening());
    }

    #[test]
    fn what_is_no_device_of_the_system_is_not_looked_for() {
        let (mut slot, now) = open(Found::default());
        assert!(!slot.wants_look(now + 10 * LOOK_EVERY));
    }
}
