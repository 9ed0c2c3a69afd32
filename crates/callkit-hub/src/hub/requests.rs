//! What is asked without a stream: by a callee whose app does not run, and by the backend of an app.

use call_protocol::UserId;
use call_protocol::disconnect::{DisconnectReason, DisconnectSource};
use call_protocol::end::{EndReason, Release};
use call_protocol::media::LeaveReason;
use call_protocol::session::RefuseReason;
use signaling::{ArbiterInput, Now};

use super::Hub;
use crate::calls::CallFilter;
use crate::ids::{AppNo, CallKey, RequestId, SessionKey};
use crate::input::Request;
use crate::output::{CallParam, Output, Reply};
use crate::session::Session;

impl Hub {
    pub(super) fn on_request(&mut self, now: Now, id: RequestId, request: Request) {
        let reply = match request {
            Request::Verify { call, user } => Reply::Status(self.calls.status(now, call, &user)),
            Request::Decline { call, user, user_code } => Reply::Status(self.calls.decline(now, call, user, user_code)),
            Request::Param { app, user } => Reply::Param(self.param_of(now, app, &user)),
            Request::SignOut { app, user, device } => {
                let is_meant = |session: &Session| device.as_ref().is_none_or(|device| session.party.device == *device);
                Reply::Ended(self.end_sessions(now, app, &user, RefuseReason::SignedOut, is_meant))
            }
            Request::Revoke { app, user, tokens } => {
                let is_revoked = |session: &Session| session.access.mark.is_some_and(|mark| tokens.has(mark));
                Reply::Ended(self.end_sessions(now, app, &user, RefuseReason::TokenInvalid, is_revoked))
            }
            Request::EndCall(key) => Reply::Ended(self.end_call(now, key)),
        };
        // What the request caused comes before its reply.
        self.pass_on(now);
        self.outputs.push_back(Output::Reply { id, reply });
    }

    fn param_of(&self, now: Now, app: AppNo, user: &UserId) -> Option<CallParam> {
        let keys = self.calls.of_user(app, user).into_iter().rev().map(|call_id| CallKey { app, call_id });
        let mut rings = keys.filter(|key| self.calls.rings_for(now, *key, user));
        let invite = rings.next().and_then(|key| self.calls.invite_of(key));
        invite.map(|invite| CallParam::of(app, invite, user, None))
    }

    /// Ends sessions as if their devices had signed out, and tells the devices why.
    fn end_sessions(
        &mut self,
        now: Now,
        app: AppNo,
        user: &UserId,
        reason: RefuseReason,
        is_meant: impl Fn(&Session) -> bool,
    ) -> usize {
        let meant = self.sessions.of_user(app, user).filter(|(_, session)| is_meant(session));
        let keys: Vec<SessionKey> = meant.map(|(key, _)| key).collect();
        for key in &keys {
            let Some(Session { party, bound, .. }) = self.sessions.get(*key) else { continue };
            let (party, filter) = (party.clone(), bound.map(CallFilter::Only));
            self.sign_out(now, *key, app, &party, filter);
            self.end_session(now, *key, Some((reason, "by the app's backend".to_owned())), LeaveReason::Left);
        }
        keys.len()
    }

    fn end_call(&mut self, now: Now, key: CallKey) -> usize {
        let is_running = self.calls.is_running(key);
        if is_running {
            let (reason, source) = (DisconnectReason::Normal, DisconnectSource::AppServer);
            let release = Release { reason, source, user_code: None };
            self.calls.apply(now, key, ArbiterInput::Close { reason: EndReason::RemoteHangup, release });
        }
        usize::from(is_running)
    }
}
