//! Sessions whose access token ends while they live: told before, good for no new call after, and ended unless it is renewed or a call runs.

use call_protocol::session::{AccessStatus, RefuseReason, ServerBody};
use signaling::{Now, Time};

use super::Hub;
use super::calls::CallKey;
use super::session::{Link, Session, SessionKey};

/// How long before its end a token is announced, in ms, as that of a channel is.
const ANNOUNCED_MS: u64 = 30_000;

/// What a device was told of the end of its access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    /// When that token ends.
    until: Time,
    /// When the device was told that it has.
    ended_at: Option<Time>,
}

impl Hub {
    /// Tells whose token is about to end and whose has, and ends the streams of those who had their time to bring another one.
    ///
    /// Their sessions can be gone on with by a new token until the resume window is over.
    pub(super) fn look_for_ended_tokens(&mut self, now: Now) {
        let (mut told, mut over) = (Vec::new(), Vec::new());
        for (key, session) in self.sessions.iter().filter(|(_, session)| session.link.is_some()) {
            let Some(until) = session.access_until() else { continue };
            let known = session.told_of(until);
            if known.is_some_and(|known| known.ended_at.is_some()) {
                if session.has_outstayed(now.mono, self.times.token_grace) {
                    over.push(*key);
                }
            } else if now.mono >= until + self.times.token_leeway {
                told.push((*key, Told { until, ended_at: Some(now.mono) }));
            } else if now.mono + ANNOUNCED_MS >= until && known.is_none() {
                told.push((*key, Told { until, ended_at: None }));
            }
        }
        for (key, notice) in told {
            let Some(session) = self.sessions.get_mut(&key) else { continue };
            session.access_told = Some(notice);
            let status = AccessStatus { left_ms: notice.until - now.mono, refused: None };
            let sent = session.send_unnumbered(Some(ServerBody::Access(status)));
            self.check_pace(now, key, sent);
        }
        for key in over {
            if !self.is_busy(now, key) {
                let detail = "the access token has ended and was not renewed".to_owned();
                self.may_have_to_wake(now, key);
                self.drop_link(now, key, Some((RefuseReason::TokenExpired, detail)));
            }
        }
    }

    /// Whether a session that lives may be taken up by a token that has ended: it may, for as long as its stream might go on with that.
    pub(super) fn goes_on_without_token(&mut self, now: Now, key: SessionKey, link: &Link) -> bool {
        let grace_ms = self.times.token_grace;
        let is_over = self.sessions.get(&key).is_some_and(|session| session.has_outstayed(now.mono, grace_ms));
        if is_over && !self.is_busy(now, key) {
            return false;
        }
        let Some(session) = self.sessions.get_mut(&key).filter(|session| session.bound.is_none()) else { return true };
        // It is no younger for being brought again.
        let until = session.access_until().map_or(now.mono, |until| until.min(now.mono));
        link.pulse.renew_access(until);
        // The welcome says so.
        let ended_at = session.told_of(until).and_then(|known| known.ended_at).unwrap_or(now.mono);
        session.access_told = Some(Told { until, ended_at: Some(ended_at) });
        true
    }

    /// Whether something runs that the end of its stream would disturb: a call, or what its channel token allows.
    fn is_busy(&self, now: Now, key: SessionKey) -> bool {
        let Some(session) = self.sessions.get(&key) else { return false };
        let (app, party) = (session.app, &session.party);
        let mut rings = session.calls.keys().map(|call_id| CallKey { app, call_id: *call_id });
        self.calls.is_in_call(app, party)
            || self.channels.has_session(key)
            || rings.any(|call| self.calls.rings_for(now, call, &party.user))
    }
}

impl Session {
    /// When the access token of its stream ends, or of the last one it had; `None` where none was needed.
    pub(super) fn access_until(&self) -> Option<Time> {
        let until = self.link.as_ref().map_or(self.last_access, |link| link.pulse.access_until());
        until.filter(|_| self.bound.is_none())
    }

    fn told_of(&self, until: Time) -> Option<Told> {
        self.access_told.filter(|told| told.until == until)
    }

    /// Whether its access token is good for nothing new any more.
    pub(super) fn has_ended_token(&self, now: Time, leeway_ms: u64) -> bool {
        let is_told = |until| self.told_of(until).is_some_and(|told| told.ended_at.is_some());
        self.access_until().is_some_and(|until| now >= until + leeway_ms || is_told(until))
    }

    /// Whether it was told that its token has ended, and had its time to bring another one.
    fn has_outstayed(&self, now: Time, grace_ms: u64) -> bool {
        let told = self.access_until().and_then(|until| self.told_of(until));
        told.and_then(|told| told.ended_at).is_some_and(|at| now >= at + grace_ms)
    }
}

impl Told {
    /// So much time up to now was nobody's to use.
    pub(super) fn discount(&mut self, now: Time, ms: u64) {
        self.ended_at = self.ended_at.map(|at| (at + ms).min(now));
    }
}
