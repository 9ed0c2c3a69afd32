//! A kit that stood still, as a process that was stopped: what others said meanwhile still waits to be read, and is nobody's silence.

use signaling::Input;
use tokio::time::Instant;

use crate::core::Core;
use crate::media::PathLink;

/// A timer that comes so late shows that the kit stood still, in ms.
const STALLED_MS: u64 = 1_000;

impl Core {
    /// The kit wanted to be awake at `due`. To be called before anything else is made of what happened.
    pub(crate) fn look_for_stall(&mut self, due: Option<Instant>) {
        let late = due.map_or(0, |due| u64::try_from(due.elapsed().as_millis()).unwrap_or(u64::MAX));
        if late >= STALLED_MS {
            tracing::info!(late, "stood still");
            self.on_stalled(late);
        }
    }

    fn on_stalled(&mut self, ms: u64) {
        for media in self.calls.values_mut() {
            match &mut media.link {
                PathLink::SettingUp { give_up, .. } => *give_up = *give_up + ms,
                PathLink::Interrupted { give_up, .. } => *give_up = *give_up + ms,
                PathLink::Idle | PathLink::Connected => {}
            }
        }
        self.input(Input::Stalled { ms });
    }
}
