//! The server's clocks: one that never goes back, and the wall clock, which may be set at any time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use signaling::{Now, Time};
use tokio::time::Instant;

/// Wall time in ms since 1970.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Wall time in s since 1970.
pub(crate) fn unix_s() -> u64 {
    unix_ms() / 1_000
}

/// Counts from the start of the server; copies count alike.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
    /// What the wall clock showed then.
    start_unix_ms: u64,
    wall: fn() -> u64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self::start_by(unix_ms)
    }

    /// With a wall clock of one's own.
    pub(crate) fn start_by(wall: fn() -> u64) -> Self {
        Self { start: Instant::now(), start_unix_ms: wall(), wall }
    }

    /// Wall time in ms since 1970, whatever it was before.
    pub(crate) fn unix_ms(&self) -> u64 {
        (self.wall)()
    }

    /// The wall time of the start and what has passed since, in ms since 1970: no step of the wall clock changes it.
    pub(crate) fn steady_unix_ms(&self) -> u64 {
        self.start_unix_ms.saturating_add(self.mono().0)
    }

    /// The steady time at which the wall clock, as it is now, shows `unix_ms`.
    pub(crate) fn steady_of(&self, unix_ms: u64) -> u64 {
        moved(unix_ms, self.unix_ms(), self.steady_unix_ms())
    }

    /// What the wall clock, as it is now, shows at this steady time.
    pub(crate) fn wall_of(&self, steady_unix_ms: u64) -> u64 {
        moved(steady_unix_ms, self.steady_unix_ms(), self.unix_ms())
    }

    pub(crate) fn mono(&self) -> Time {
        Time(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn now(&self) -> Now {
        Now { mono: self.mono(), unix_ms: self.unix_ms() }
    }

    pub(crate) fn instant(&self, time: Time) -> Instant {
        self.start + Duration::from_millis(time.0)
    }
}

/// The same moment by another clock.
pub(crate) fn moved(at: u64, from: u64, to: u64) -> u64 {
    if to >= from { at.saturating_add(to - from) } else { at.saturating_sub(from - to) }
}

/// The rates of limits are counted by the same clock, which stands still where a test wants it to.
impl governor::clock::Clock for Clock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}
