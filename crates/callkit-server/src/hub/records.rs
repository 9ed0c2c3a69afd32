//! What is told and kept of a call that is over.

use call_protocol::disconnect::DisconnectReason;
use call_protocol::end::UserCode;
use signaling::Now;

use super::Hub;
use super::calls::{CallKey, EndedCall};
use super::cc::media;
use crate::outbox::{CallEnded, Kind, Quality, Webhook};
use crate::store::{Store, StoredCall};

impl Hub {
    pub(super) fn on_ended(&mut self, now: Now, ended: &EndedCall) {
        let EndedCall { app, invite, caller_reason, callee_reason, release, ended_unix_ms, talk_ms, missed, quality } =
            ended;
        let [caller_quality, callee_quality] = *quality;
        self.channels.on_call_over(now, *app, &invite.call_id.channel());
        self.cancel_pushes(now, CallKey { app: *app, call_id: invite.call_id }, None);
        let app_id = self.around.apps.name(*app).clone();
        let (reason, source) = release
            .map_or_else(|| DisconnectReason::of(*caller_reason, true), |release| (release.reason, release.source));
        let user_code =
            release.and_then(|release| release.user_code).as_ref().map(|code| UserCode::as_str(code).to_owned());
        let began_unix_ms = invite.ring_deadline_unix_ms.saturating_sub(invite.ring_timeout_ms.into());
        let number = self.around.store.as_ref().map_or(0, Store::next_number);
        let answered_unix_ms = talk_ms.map(|talk_ms| ended_unix_ms.saturating_sub(talk_ms));
        for callee in &invite.callees {
            if self.around.outbox.takes(&app_id, Kind::CallEvent) {
                self.around.outbox.enqueue(Webhook::CallEvent(Box::new(CallEnded {
                    app_id: app_id.clone(),
                    call_id: invite.call_id,
                    from_user_id: invite.caller.user.clone(),
                    to_user_id: callee.clone(),
                    media: media(invite.call_type),
                    setup_unix_ms: began_unix_ms,
                    start_unix_ms: answered_unix_ms,
                    end_unix_ms: *ended_unix_ms,
                    caller_reason: *caller_reason,
                    callee_reason: *callee_reason,
                    disconnect_reason: reason,
                    releaser: source,
                    user_rel_code: user_code.clone(),
                    caller_quality: caller_quality.map(Quality::of),
                    callee_quality: callee_quality.map(Quality::of),
                })));
            }
            if let Some(store) = &self.around.store {
                let call = StoredCall {
                    call_id: invite.call_id,
                    caller: invite.caller.clone(),
                    callee: callee.clone(),
                    call_type: invite.call_type,
                    began_unix_ms,
                    ring_ms: answered_unix_ms.unwrap_or(*ended_unix_ms).saturating_sub(began_unix_ms),
                    talk_ms: talk_ms.unwrap_or(0),
                    caller_reason: *caller_reason,
                    callee_reason: *callee_reason,
                    disconnect_reason: reason.number(),
                    disconnect_source: source.number(),
                    user_code: user_code.clone(),
                    missed: *missed,
                    number,
                };
                store.record(&app_id, call);
            }
        }
        if *missed {
            self.on_missed(ended, number);
        }
    }
}
