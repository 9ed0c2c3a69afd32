//! Ring: the phone of the callee rings, and the caller hears that it does.

use call_protocol::invite::Invite;
use call_protocol::{CallId, Party};
use signaling::Role;

use crate::core::Core;
use crate::events::CallKitEvent;
use crate::media::Media;

impl Core {
    pub(crate) fn on_ringing(&mut self, invite: Invite, waiting: bool) {
        let Invite { call_id, caller, call_type, ext, .. } = invite;
        self.calls.insert(call_id, Media::new(call_id, Role::Callee));
        self.fetch_token(call_id);
        let user = caller.user;
        self.teller.tell(if waiting {
            CallKitEvent::CallWaiting { user, call_id, call_type, ext }
        } else {
            CallKitEvent::ReceiveCall { user, call_id, call_type, ext }
        });
    }

    /// The app is told once for each user, however many devices ring.
    pub(crate) fn on_alerted(&mut self, call_id: CallId, device: Party) {
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        if media.rung.insert(device.user.clone()) {
            self.teller.tell(CallKitEvent::Ringing { call_id, user: device.user.clone() });
        }
        self.warm_up(call_id, device);
    }

    pub(crate) fn on_missed(&self, invite: Invite) {
        let Invite { call_id, caller, call_type, ext, .. } = invite;
        self.teller.tell(CallKitEvent::CallMissed { user: caller.user, call_id, call_type, ext });
    }
}
