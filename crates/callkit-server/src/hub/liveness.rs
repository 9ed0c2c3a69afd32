//! Who has fallen silent, and when that is nobody's silence: while the server itself stood still, or could hear nobody at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use call_protocol::session::RefuseReason;
use signaling::{Now, Time};
use tracing::{info, warn};

use super::session::{Link, refusal};
use super::{Due, Hub};

/// A timer that comes so late shows that the process, or this task, stood still, in ms.
const STALLED_MS: u64 = 1_000;
/// For how long at one time the server takes itself for cut off, in ms: longer than that, who is silent is gone.
const CUT_OFF_MS: u64 = 120_000;

/// When the server last heard anybody.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ear {
    heard_ms: Arc<AtomicU64>,
}

impl Ear {
    pub(crate) fn hear(&self, now: Time) {
        self.heard_ms.fetch_max(now.0, Ordering::Relaxed);
    }

    fn heard_at(&self) -> Time {
        Time(self.heard_ms.load(Ordering::Relaxed))
    }
}

impl Hub {
    /// The hub wanted to be awake at `wake`.
    pub(super) fn look_for_stall(&mut self, now: Now, wake: Option<Time>) {
        let late_ms = wake.map_or(0, |wake| now.mono - wake);
        if late_ms >= STALLED_MS {
            warn!(late_ms, "stood still");
            self.discount(now, late_ms);
        }
    }

    /// Ends a stream that has no session.
    pub(super) fn refuse_link(&mut self, now: Now, link: Link, reason: RefuseReason) {
        info!(%reason, "sign-in refused");
        self.around.metering.refused(reason);
        link.frames.try_send(refusal(reason, "")).ok();
        self.ending.insert(link.stream, link.pulse.cut.clone());
        self.timers.push(now.mono + self.times.close_grace, Due::Cut(link.stream));
    }

    /// Several clients that all fall silent at once have not all gone: the server's own network has.
    pub(super) fn look_for_cut_off(&mut self, now: Now) {
        let heard = self.around.ear.heard_at();
        let is_silent = now.mono - heard >= u64::from(self.times.silence_limit) / 2;
        if !is_silent || now.mono - heard >= CUT_OFF_MS || self.devices.len() < 2 {
            return;
        }
        let ms = now.mono - heard.max(self.discounted_until);
        self.discounted_until = now.mono;
        self.discount(now, ms);
    }

    /// A time in which nobody could be heard is nobody's silence, and what waits for somebody waits so much longer.
    fn discount(&mut self, now: Now, ms: u64) {
        self.discounted_until = now.mono;
        for session in self.sessions.values_mut() {
            session.discount(now.mono, ms);
        }
        self.timers.postpone(ms, |due| match due {
            Due::ResumeWindow(_) | Due::Unheard(_) | Due::Away(..) | Due::Unalerted(..) => true,
            Due::Acknowledge(_) | Due::Silence | Due::Cut(_) => false,
        });
        self.calls.on_stalled(now, ms);
        self.channels.on_stalled(ms);
        self.pass_on(now);
    }
}
