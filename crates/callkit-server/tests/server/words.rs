//! What callers say.

use call_protocol::invite::{CallType, Invite};
use call_protocol::{CallId, DeviceId, Party, UserId, Word};

pub fn party(user: &str) -> Party {
    Party { user: UserId::new(user).unwrap(), device: DeviceId::new("phone").unwrap() }
}

pub fn invite(call_id: CallId, caller: &str, callee: &str) -> Word {
    Word::Invite(Box::new(Invite {
        call_id,
        caller: party(caller),
        callees: vec![UserId::new(callee).unwrap()],
        call_type: CallType::Audio1v1,
        channel: call_id.channel(),
        ext: [("note".to_owned(), "hi".to_owned())].into(),
        ring_timeout_ms: 30_000,
        ring_deadline_unix_ms: 0,
        responder_preparation: false,
        app_server_data: String::new(),
    }))
}
