//! What is being looked up, and for what.

use std::collections::BTreeMap;

use call_protocol::{Party, UserId};

use crate::ids::{AppNo, CallKey, LookUpId, SessionKey};

/// Look-ups that may be open; a device that finds no room is told of what it missed at its next sign-in.
const OPEN: usize = 65_536;

/// For what something is looked up.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// To push the devices of a callee that are away.
    Push { key: CallKey, user: UserId },
    /// To end sessions of a user who has too many, those first that no push reaches.
    TooManyDevices { app: AppNo, user: UserId },
    /// To find out from where on a device may have missed calls. `until` is the last call that it may have missed without being told. Its
    /// session may be gone by then.
    Devices { session: SessionKey, app: AppNo, party: Party, until: u64 },
    /// To tell a device which calls it missed. `since` is none where that was said before.
    Missed { session: SessionKey, until: u64, since: Option<u64> },
}

#[derive(Debug, Default)]
pub(crate) struct LookUps {
    open: BTreeMap<LookUpId, Purpose>,
    last: u64,
}

impl LookUps {
    pub(crate) fn is_full(&self) -> bool {
        self.open.len() >= OPEN
    }

    pub(crate) fn begin(&mut self, purpose: Purpose) -> LookUpId {
        self.last += 1;
        let id = LookUpId(self.last);
        self.open.insert(id, purpose);
        id
    }

    pub(crate) fn end(&mut self, id: LookUpId) -> Option<Purpose> {
        self.open.remove(&id)
    }
}
