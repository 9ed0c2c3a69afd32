//! Who has fallen silent, and when that is nobody's silence: while the server itself stood still, or could hear nobody at all.

use call_protocol::media::LeaveReason;
use call_protocol::session::RefuseReason;
use signaling::{Now, Time};
use tracing::{info, warn};

use super::{Due, Hub};
use crate::ids::{CallKey, StreamId};
use crate::output::Output;

/// A wake that comes so late shows that the process, or the hub's driver, stood still, in ms.
const STALLED_MS: u64 = 1_000;
/// For how long at one time the server takes itself for cut off, in ms: longer than that, who is silent is gone.
const CUT_OFF_MS: u64 = 120_000;

impl Hub {
    /// Whether the hub was to be awake long before.
    pub(super) fn look_for_stall(&mut self, now: Now) {
        let late_ms = self.next_wake().map_or(0, |wake| now.mono - wake.max(self.discounted_until));
        if late_ms >= STALLED_MS {
            warn!(late_ms, "stood still");
            self.discount(now, late_ms);
        }
    }

    /// Comes back in a quarter of the silence limit.
    pub(super) fn expect_silence(&mut self, now: Now) {
        let limit = u64::from(self.times.silence_limit);
        self.timers.push(now.mono + (limit / 4).max(1), Due::Silence);
    }

    /// Drops the streams whose clients have said nothing for the silence limit.
    pub(super) fn on_heard(&mut self, now: Now, anybody: Time, streams: &[(StreamId, Time)]) {
        for (stream, heard) in streams {
            let key = self.sessions.by_stream(*stream);
            if let Some(link) = key.and_then(|key| self.sessions.get_mut(key)?.link.as_mut()) {
                link.heard = link.heard.max(*heard);
            }
        }
        self.look_for_cut_off(now, anybody);
        let limit = u64::from(self.times.silence_limit);
        for key in self.sessions.keys_of(|session| session.is_silent(now.mono, limit)) {
            info!(session = key.0, "silent");
            self.may_have_to_wake(now, key);
            self.drop_link(now, key, None);
        }
        // Who asked late was told, and has nothing to stay for.
        for key in self.sessions.keys_of(|session| session.is_visitor && now.mono - session.since >= limit) {
            self.end_session(now, key, None, LeaveReason::Left);
        }
        for key in self.sessions.keys_of(|session| session.is_stalled(now.mono, 2 * limit)) {
            let detail = "frames are not acknowledged".to_owned();
            self.end_session(now, key, Some((RefuseReason::TooSlow, detail)), LeaveReason::Dropped);
        }
        for session in self.sessions.all_mut() {
            let app = session.app;
            session.calls.retain(|call_id, _| self.calls.is_running(CallKey { app, call_id: *call_id }));
        }
        self.look_for_ended_tokens(now);
        self.expect_silence(now);
    }

    /// Several clients that all fall silent at once have not all gone: the server's own network has.
    fn look_for_cut_off(&mut self, now: Now, heard: Time) {
        let is_silent = now.mono - heard >= u64::from(self.times.silence_limit) / 2;
        if !is_silent || now.mono - heard >= CUT_OFF_MS || self.sessions.users() < 2 {
            return;
        }
        let ms = now.mono - heard.max(self.discounted_until);
        self.discount(now, ms);
    }

    /// A time in which nobody could be heard is nobody's silence, and what waits for somebody waits so much longer.
    fn discount(&mut self, now: Now, ms: u64) {
        self.discounted_until = now.mono;
        self.outputs.push_back(Output::Stalled { ms });
        for session in self.sessions.all_mut() {
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
