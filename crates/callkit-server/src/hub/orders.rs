//! What the backend of an app wants of its users' sessions and calls.

use std::sync::Arc;

use call_protocol::disconnect::{DisconnectReason, DisconnectSource};
use call_protocol::end::{EndReason, Release};
use call_protocol::media::LeaveReason;
use call_protocol::session::RefuseReason;
use call_protocol::{DeviceId, UserId};
use signaling::{ArbiterInput, Now};
use tokio::sync::oneshot;

use super::Hub;
use super::calls::{CallKey, Scope};
use super::session::{Session, SessionKey};
use crate::token::AppNo;

/// What is wanted, by somebody who was found to have the app's key.
#[derive(Debug)]
pub(crate) enum Order {
    /// End the sessions of a user, or of one device.
    SignOut { app: AppNo, user: UserId, device: Option<DeviceId> },
    /// End the sessions of a user whose tokens count no longer.
    Revoked { app: AppNo, user: UserId },
    /// End a call.
    EndCall(CallKey),
}

/// An order, and who waits for how many sessions or calls were ended.
#[derive(Debug)]
pub(crate) struct Ordered {
    pub(crate) order: Order,
    pub(crate) answer: oneshot::Sender<usize>,
}

impl Hub {
    pub(super) fn on_ordered(&mut self, now: Now, Ordered { order, answer }: Ordered) {
        let count = match order {
            Order::SignOut { app, user, device } => {
                let is_meant = |session: &Session| device.as_ref().is_none_or(|device| session.party.device == *device);
                self.sign_out(now, app, &user, RefuseReason::SignedOut, is_meant)
            }
            Order::Revoked { app, user } => {
                let apps = Arc::clone(&self.around.apps);
                let is_revoked =
                    |session: &Session| session.mark().is_some_and(|mark| apps.revoked().has(app, &user, &mark));
                self.sign_out(now, app, &user, RefuseReason::TokenInvalid, is_revoked)
            }
            Order::EndCall(key) => self.end_call(now, key),
        };
        self.pass_on(now);
        // Whoever asked may be gone.
        answer.send(count).ok();
    }

    /// Ends sessions as if their devices had signed out, and tells the devices why.
    fn sign_out(
        &mut self,
        now: Now,
        app: AppNo,
        user: &UserId,
        reason: RefuseReason,
        is_meant: impl Fn(&Session) -> bool,
    ) -> usize {
        let keys = self.devices.get(&(app, user.clone())).into_iter().flatten().copied();
        let meant = |key: &SessionKey| self.sessions.get(key).is_some_and(&is_meant);
        let keys: Vec<SessionKey> = keys.filter(meant).collect();
        for key in &keys {
            let Some(Session { party, bound, .. }) = self.sessions.get(key) else { continue };
            let (party, scope) = (party.clone(), bound.map(Scope::Only));
            let scope = scope.unwrap_or_else(|| self.scope_of(app, &party));
            self.calls.on_signed_out(now, app, &party, &scope);
            self.channels.on_session_over(*key, LeaveReason::Left);
            self.pass_on(now);
            self.end_session(now, *key, Some((reason, "by the app's backend".to_owned())), LeaveReason::Left);
        }
        keys.len()
    }

    fn end_call(&mut self, now: Now, key: CallKey) -> usize {
        let is_running = self.calls.is_running(key);
        if is_running {
            let (reason, source) = (DisconnectReason::Normal, DisconnectSource::AppServer);
            let release = Release { reason, source, user_code: None };
            self.calls.say(now, key, ArbiterInput::Close { reason: EndReason::RemoteHangup, release });
        }
        usize::from(is_running)
    }
}
