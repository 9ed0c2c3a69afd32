//! Time as it comes in through the door.

use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

/// A moment: milliseconds since an epoch of the driver's choosing, never going back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time(pub u64);

impl Add<u64> for Time {
    type Output = Time;
    fn add(self, ms: u64) -> Time {
        Time(self.0.saturating_add(ms))
    }
}

impl Sub for Time {
    type Output = u64;
    fn sub(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The present, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Now {
    /// The driver's monotonic clock.
    pub mono: Time,
    /// The server's wall clock in ms since 1970, by which ring deadlines are told. A device corrects its own clock by what the
    /// server said at sign-in.
    pub unix_ms: u64,
}

impl Now {
    /// The moment on the monotonic clock at which the wall clock shows `unix_ms`; now if that is past.
    pub fn at_unix_ms(self, unix_ms: u64) -> Time {
        self.mono + unix_ms.saturating_sub(self.unix_ms)
    }

    /// What the wall clock shows at `time`.
    pub fn unix_ms_at(self, time: Time) -> u64 {
        if time >= self.mono {
            self.unix_ms + (time - self.mono)
        } else {
            self.unix_ms.saturating_sub(self.mono - time)
        }
    }
}

/// When a statement without a reply is said again: after 1 s, 2 s, 4 s, and then every 4 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Repeat {
    pub(crate) at: Time,
    said: u8,
}

impl Repeat {
    pub(crate) fn first(now: Now) -> Self {
        Self { at: now.mono + 1_000, said: 1 }
    }

    /// Moves on to the next repetition and tells how often the statement has been said before this one.
    pub(crate) fn again(&mut self, now: Now) -> u8 {
        let before = self.said;
        self.said = self.said.saturating_add(1);
        self.at = now.mono + (1_000 << before.min(2));
        before
    }
}
