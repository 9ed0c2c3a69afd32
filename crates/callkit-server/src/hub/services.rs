//! What carries out what the hub wants: stores, tells backends, pushes and counts, each in its own terms.

use std::sync::Arc;
use std::time::Duration;

use call_protocol::invite::CallType;
use call_protocol::{CcParam, Party};
use callkit_hub::{CallParam, Change, EndNotice, Fact, InviteLimit, Push, Webhook};

use crate::cc_keys::CcKeys;
use crate::clock::Clock;
use crate::health::Health;
use crate::hub_link::LastHeard;
use crate::limits::{Limit, Limits};
use crate::living::Living;
use crate::metering::Metering;
use crate::outbox::{self, CallEnded, CallRings, Media, Outbox, PushOrder, Quality};
use crate::push::{self, PushAddress};
use crate::store::Store;
use crate::stun::StunAddress;
use crate::token::{Apps, AuthFailure, TokenError};

/// The parts of the server that the hub needs.
pub(crate) struct Services {
    pub(crate) clock: Clock,
    pub(crate) metering: Arc<Metering>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) health: Arc<Health>,
    pub(crate) living: Arc<Living>,
    pub(crate) apps: Arc<Apps>,
    pub(crate) outbox: Outbox,
    pub(crate) cc_keys: Arc<CcKeys>,
    pub(crate) store: Store,
    pub(crate) stun: StunAddress,
    /// When anybody was last heard.
    pub(crate) heard: LastHeard,
}

impl Services {
    pub(super) fn seal(&self, param: &CallParam) -> String {
        let app_id = self.apps.name(param.app);
        let sealed = CcParam {
            app_id: app_id.clone(),
            call_id: param.call_id,
            user: param.user.clone(),
            peer: param.caller.clone(),
            call_type: param.call_type,
            ring_deadline_unix_ms: param.ring_deadline_unix_ms,
            device: param.device.clone(),
        };
        sealed.seal(|payload| self.cc_keys.sign(app_id, payload))
    }

    pub(super) fn store(&self, change: Change) {
        match change {
            Change::Save(key, snapshot) => self.store.save(key, snapshot),
            Change::Forget(key) => self.store.forget(key),
            Change::Record(app, record) => self.store.record(self.apps.name(app), *record),
            Change::Seen { app, party: Party { user, device }, knows } => {
                self.store.seen(self.apps.name(app), &user, &device, knows);
            }
        }
    }

    pub(super) fn tell_backend(&self, webhook: Webhook) {
        self.outbox.enqueue(match webhook {
            Webhook::Rings { param, app_server_data } => outbox::Webhook::Notify(CallRings {
                app_id: self.apps.name(param.app).clone(),
                cc_param: self.seal(&param),
                call_id: param.call_id,
                from_user_id: param.caller,
                to_user_id: param.user,
                media: media(param.call_type),
                app_server_data,
                ring_deadline_unix_ms: param.ring_deadline_unix_ms,
            }),
            Webhook::Ended(notice) => outbox::Webhook::CallEvent(Box::new(self.call_ended(notice))),
        });
    }

    fn call_ended(&self, notice: EndNotice) -> CallEnded {
        CallEnded {
            app_id: self.apps.name(notice.app).clone(),
            call_id: notice.call_id,
            from_user_id: notice.caller,
            to_user_id: notice.callee,
            media: media(notice.call_type),
            setup_unix_ms: notice.began_unix_ms,
            start_unix_ms: notice.answered_unix_ms,
            end_unix_ms: notice.ended_unix_ms,
            caller_reason: notice.caller_reason,
            callee_reason: notice.callee_reason,
            disconnect_reason: notice.disconnect_reason,
            releaser: notice.disconnect_source,
            user_rel_code: notice.user_code,
            caller_quality: notice.caller_quality.map(Quality::of),
            callee_quality: notice.callee_quality.map(Quality::of),
        }
    }

    pub(super) fn push(&self, push: Push) {
        let Push { kind, param, device, address } = push;
        // It comes from the store, where nothing else is.
        let Ok(address) = PushAddress::try_from(address) else { return };
        let (kind, cc_param) = match kind {
            callkit_hub::PushKind::Ring => (push::PushKind::Ring, self.seal(&param)),
            callkit_hub::PushKind::Cancel => (push::PushKind::Cancel, String::new()),
        };
        let order = PushOrder {
            call_id: param.call_id,
            caller: param.caller,
            call_type: param.call_type,
            ring_deadline_unix_ms: param.ring_deadline_unix_ms,
            party: Party { user: param.user, device },
            address,
            kind,
            cc_param,
        };
        self.outbox.push(self.apps.name(param.app), order);
    }

    pub(super) fn meter(&self, fact: Fact) {
        let metering = &self.metering;
        match fact {
            Fact::Refused(reason) => metering.refused(reason),
            Fact::InviteRefused(refusal) => metering.invite_refused(refusal),
            Fact::Limited(limit) => metering.limited(match limit {
                InviteLimit::Device => Limit::InvitesOfDevice,
                InviteLimit::User => Limit::InvitesOfUser,
                InviteLimit::App => Limit::InvitesOfApp,
            }),
            Fact::TokenMissing => metering.auth_failed(AuthFailure::Token(TokenError::Shape)),
            Fact::Answered { ring_ms } => metering.ring_seconds.record(Duration::from_millis(ring_ms)),
            Fact::Ended(reason) => metering.ended(reason),
        }
    }
}

fn media(call_type: CallType) -> Media {
    match call_type {
        CallType::Audio1v1 => Media::Audio,
        CallType::Video1v1 | CallType::Multi => Media::Video,
    }
}
