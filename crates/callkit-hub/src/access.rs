//! The access token of a session: when it ends, and what the device was told of that.

use signaling::Time;

use crate::ids::TokenMark;

/// How long before its end a token is announced, in ms, as that of a channel is.
const ANNOUNCED_MS: u64 = 30_000;

/// The access token by which the client of a session is here, or was.
#[derive(Debug, Default)]
pub(crate) struct AccessState {
    /// When it ends, or ended; none where none was needed.
    pub(crate) ends: Option<Time>,
    /// What tells it from others.
    pub(crate) mark: Option<TokenMark>,
    /// What the device was told.
    pub(crate) notice: Option<AccessNotice>,
}

/// What a device was told of the end of its access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AccessNotice {
    /// When that token ends.
    pub(crate) until: Time,
    /// When the device was told that it has.
    pub(crate) ended_at: Option<Time>,
}

impl AccessState {
    /// What it is to be told now, if anything.
    pub(crate) fn next_notice(&self, now: Time, leeway_ms: u64) -> Option<AccessNotice> {
        let until = self.ends?;
        let known = self.notice_of(until);
        if known.is_some_and(|known| known.ended_at.is_some()) {
            None
        } else if now >= until + leeway_ms {
            Some(AccessNotice { until, ended_at: Some(now) })
        } else {
            (now + ANNOUNCED_MS >= until && known.is_none()).then_some(AccessNotice { until, ended_at: None })
        }
    }

    /// Whether the token is good for nothing new any more.
    pub(crate) fn has_ended(&self, now: Time, leeway_ms: u64) -> bool {
        let is_told = |until| self.notice_of(until).is_some_and(|notice| notice.ended_at.is_some());
        self.ends.is_some_and(|until| now >= until + leeway_ms || is_told(until))
    }

    /// Whether the device was told that its token has ended, and had its time to bring another one.
    pub(crate) fn has_outstayed(&self, now: Time, grace_ms: u64) -> bool {
        let notice = self.ends.and_then(|until| self.notice_of(until));
        notice.and_then(|notice| notice.ended_at).is_some_and(|at| now >= at + grace_ms)
    }

    /// When the session that is brought again by a token that has ended is to count as told so: it is no younger for that.
    pub(crate) fn ended_notice(&self, now: Time) -> AccessNotice {
        let until = self.ends.map_or(now, |until| until.min(now));
        let ended_at = self.notice_of(until).and_then(|known| known.ended_at).unwrap_or(now);
        AccessNotice { until, ended_at: Some(ended_at) }
    }

    /// So much time up to now was nobody's to use.
    pub(crate) fn discount(&mut self, now: Time, ms: u64) {
        if let Some(notice) = &mut self.notice {
            notice.ended_at = notice.ended_at.map(|at| (at + ms).min(now));
        }
    }

    fn notice_of(&self, until: Time) -> Option<AccessNotice> {
        self.notice.filter(|notice| notice.until == until)
    }
}
