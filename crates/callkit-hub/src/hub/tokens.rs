//! Sessions whose access token ends while they live: told before, good for no new call after, and ended unless it is renewed or a call runs.

use call_protocol::session::{AccessStatus, RefuseReason, ServerBody};
use signaling::{Now, Time};

use super::Hub;
use crate::ids::{CallKey, SessionKey, StreamId, TokenMark};
use crate::session::NewStream;

impl Hub {
    /// The client of a stream brought another token.
    pub(super) fn on_access_renewed(&mut self, stream: StreamId, until: Time, mark: TokenMark) {
        let key = self.sessions.by_stream(stream);
        if let Some(session) = key.and_then(|key| self.sessions.get_mut(key)).filter(|session| session.bound.is_none())
        {
            (session.access.ends, session.access.mark) = (Some(until), Some(mark));
        }
    }

    /// Tells whose token is about to end and whose has, and ends the streams of those who had their time to bring another one.
    ///
    /// Their sessions can be gone on with by a new token until the resume window is over.
    pub(super) fn look_for_ended_tokens(&mut self, now: Now) {
        let (leeway, grace) = (self.times.token_leeway, self.times.token_grace);
        let over =
            self.sessions.keys_of(|session| session.link.is_some() && session.access.has_outstayed(now.mono, grace));
        for session in self.sessions.all_mut().filter(|session| session.link.is_some()) {
            if let Some(notice) = session.access.next_notice(now.mono, leeway) {
                session.access.notice = Some(notice);
                let status = AccessStatus { left_ms: notice.until - now.mono, refused: None };
                session.send_unnumbered(Some(ServerBody::Access(status)), &mut self.outputs);
            }
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
    pub(super) fn goes_on_without_token(&mut self, now: Now, key: SessionKey, new: &mut NewStream) -> bool {
        let grace_ms = self.times.token_grace;
        let is_over = self.sessions.get(key).is_some_and(|session| session.access.has_outstayed(now.mono, grace_ms));
        if is_over && !self.is_busy(now, key) {
            return false;
        }
        let Some(session) = self.sessions.get_mut(key).filter(|session| session.bound.is_none()) else { return true };
        // The welcome says so.
        let notice = session.access.ended_notice(now.mono);
        new.access_until = Some(notice.until);
        session.access.notice = Some(notice);
        true
    }

    /// Whether something runs that the end of its stream would disturb: a call, or what its channel token allows.
    fn is_busy(&self, now: Now, key: SessionKey) -> bool {
        let Some(session) = self.sessions.get(key) else { return false };
        let (app, party) = (session.app, &session.party);
        let mut rings = session.calls.keys().map(|call_id| CallKey { app, call_id: *call_id });
        self.calls.is_in_call(app, party)
            || session.address().is_some_and(|address| self.channels.has(&address))
            || rings.any(|call| self.calls.rings_for(now, call, &party.user))
    }
}
