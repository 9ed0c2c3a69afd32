//! What is told and kept of a call that is over.

use call_protocol::UserId;
use call_protocol::disconnect::DisconnectReason;
use call_protocol::end::UserCode;
use signaling::Now;

use super::Hub;
use crate::calls::EndedCall;
use crate::ids::CallKey;
use crate::output::{Change, EndNotice, Output, Webhook};
use crate::record::CallRecord;

impl Hub {
    pub(super) fn on_ended(&mut self, now: Now, ended: &EndedCall) {
        let EndedCall { app, invite, missed, .. } = ended;
        self.channels.on_call_over(now, *app, &invite.call_id.channel());
        self.end_ring(now, CallKey { app: *app, call_id: invite.call_id }, None);
        self.last_number += 1;
        let number = self.last_number;
        for callee in &invite.callees {
            let notice = notice_of(ended, callee);
            let record = record_of(ended, &notice, number);
            if self.features(*app).end_webhook {
                self.outputs.push_back(Output::Webhook(Box::new(Webhook::Ended(notice))));
            }
            self.outputs.push_back(Output::Store(Change::Record(*app, Box::new(record))));
        }
        if *missed {
            self.on_missed(ended, number);
        }
    }
}

fn notice_of(ended: &EndedCall, callee: &UserId) -> EndNotice {
    let EndedCall { app, invite, caller_reason, callee_reason, release, ended_unix_ms, talk_ms, missed: _, quality } =
        ended;
    let (disconnect_reason, disconnect_source) =
        release.map_or_else(|| DisconnectReason::of(*caller_reason, true), |release| (release.reason, release.source));
    let [caller_quality, callee_quality] = *quality;
    EndNotice {
        app: *app,
        call_id: invite.call_id,
        caller: invite.caller.user.clone(),
        callee: callee.clone(),
        call_type: invite.call_type,
        began_unix_ms: invite.ring_deadline_unix_ms.saturating_sub(invite.ring_timeout_ms.into()),
        answered_unix_ms: talk_ms.map(|talk_ms| ended_unix_ms.saturating_sub(talk_ms)),
        ended_unix_ms: *ended_unix_ms,
        caller_reason: *caller_reason,
        callee_reason: *callee_reason,
        disconnect_reason,
        disconnect_source,
        user_code: release.and_then(|release| release.user_code).as_ref().map(|code| UserCode::as_str(code).to_owned()),
        caller_quality,
        callee_quality,
    }
}

fn record_of(ended: &EndedCall, notice: &EndNotice, number: u64) -> CallRecord {
    let rang_until = notice.answered_unix_ms.unwrap_or(notice.ended_unix_ms);
    CallRecord {
        call_id: notice.call_id,
        caller: ended.invite.caller.clone(),
        callee: notice.callee.clone(),
        call_type: notice.call_type,
        began_unix_ms: notice.began_unix_ms,
        ring_ms: rang_until.saturating_sub(notice.began_unix_ms),
        talk_ms: ended.talk_ms.unwrap_or(0),
        caller_reason: notice.caller_reason,
        callee_reason: notice.callee_reason,
        disconnect_reason: notice.disconnect_reason.number(),
        disconnect_source: notice.disconnect_source.number(),
        user_code: notice.user_code.clone(),
        missed: ended.missed,
        number,
    }
}
