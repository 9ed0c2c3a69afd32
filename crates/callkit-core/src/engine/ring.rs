//! Ring: the phone of the callee rings, and the caller hears that it does.

use call_protocol::invite::Invite;
use call_protocol::{CallId, Party};
use signaling::Role;

use super::Engine;
use crate::call_media::CallMedia;
use crate::event::KitEvent;

impl Engine {
    pub(super) fn on_ringing(&mut self, invite: Invite, waiting: bool) {
        let mut media = CallMedia::new(invite.call_id, Role::Callee, self.audio_choices(invite.call_id));
        media.preparation_offered = invite.responder_preparation;
        self.calls.insert(invite.call_id, media);
        self.fetch_token(invite.call_id);
        if self.app_calls.is_own(invite.call_id) {
            return self.on_verified(invite.call_id, invite.responder_preparation);
        }
        self.begin_incoming(&invite);
        let Invite { call_id, caller, call_type, ext, .. } = invite;
        let user = caller.user;
        self.emit(if waiting {
            KitEvent::CallWaiting { user, call_id, call_type, ext }
        } else {
            KitEvent::ReceiveCall { user, call_id, call_type, ext }
        });
    }

    /// The app is told once for each user, however many devices ring.
    pub(super) fn on_alerted(&mut self, call_id: CallId, device: Party) {
        self.on_notifying(call_id);
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        if media.rung.insert(device.user.clone()) {
            self.emit_of(call_id, KitEvent::Ringing { call_id, user: device.user.clone() });
        }
        self.preconnect(call_id, device);
    }

    pub(super) fn on_missed(&mut self, invite: Invite) {
        let Invite { call_id, caller, call_type, ext, .. } = invite;
        self.emit(KitEvent::CallMissed { user: caller.user, call_id, call_type, ext });
    }
}
