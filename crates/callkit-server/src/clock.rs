//! The server's two clocks.

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
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn mono(&self) -> Time {
        Time(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn now(&self) -> Now {
        Now { mono: self.mono(), unix_ms: unix_ms() }
    }

    pub(crate) fn instant(&self, time: Time) -> Instant {
        self.start + Duration::from_millis(time.0)
    }
}

/// The rates of limits are counted by the same clock, which stands still where a test wants it to.
impl governor::clock::Clock for Clock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}
