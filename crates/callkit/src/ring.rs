//! Ring: the phone of the callee rings, and the caller hears that it does.

use call_protocol::invite::Invite;
use call_protocol::{CallId, Party};
use signaling::Role;

use crate::core::Core;
use crate::events::CallKitEvent;
use crate::media::Media;

impl Core {
    pub(crate) fn on_ringing(&mut self, invite: Invite, waiting: bool) {
        let mut media = Media::new(invite.call_id, Role::Callee, self.sound_choices(invite.call_id));
        media.offers_preparation = invite.responder_preparation;
        self.calls.insert(invite.call_id, media);
        self.fetch_token(invite.call_id);
        if self.rings_in_its_own_face(&invite) {
            return;
        }
        self.face_rings(&invite);
        let Invite { call_id, caller, call_type, ext, .. } = invite;
        let user = caller.user;
        let event = if waiting {
            CallKitEvent::CallWaiting { user, call_id, call_type, ext }
        } else {
            CallKitEvent::ReceiveCall { user, call_id, call_type, ext }
        };
        self.teller.tell(event);
    }

    /// The app is told once for each user, however many devices ring.
    pub(crate) fn on_alerted(&mut self, call_id: CallId, device: Party) {
        self.face_waits(call_id);
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        if media.rung.insert(device.user.clone()) {
            self.tell_of(call_id, CallKitEvent::Ringing { call_id, user: device.user.clone() });
        }
        self.warm_up(call_id, device);
    }

    pub(crate) fn on_missed(&self, invite: Invite) {
        let Invite { call_id, caller, call_type, ext, .. } = invite;
        self.teller.tell(CallKitEvent::CallMissed { user: caller.user, call_id, call_type, ext });
    }
}
