//! Ring: the phone of the callee rings, and the caller hears that it does.

use call_protocol::invite::Invite;
use call_protocol::{CallId, UserId};
use signaling::Role;

use crate::core::Core;
use crate::events::CallKitEvent;
use crate::media::Media;

impl Core {
    pub(crate) fn on_ringing(&mut self, invite: Invite) {
        self.media = Some(Media::new(invite.call_id, Role::Callee));
        self.fetch_token();
        let Invite { call_id, caller, call_type, ext, .. } = invite;
        self.teller.tell(CallKitEvent::ReceiveCall { user: caller.user, call_id, call_type, ext });
    }

    pub(crate) fn on_alerted(&mut self, call_id: CallId, user: UserId) {
        self.teller.tell(CallKitEvent::Ringing { call_id, user });
    }
}
