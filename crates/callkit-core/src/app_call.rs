//! A call as the app knows it: what handles of it can read, and what its own handler is told, where it has one.

use std::collections::BTreeMap;

use call_protocol::invite::CallType;
use call_protocol::{CallId, UserId};
use signaling::{Role, Time};

use crate::call_media::AudioChoices;
use crate::command::Ending;
use crate::ids::CallKey;
use crate::reasons::Disconnect;
use crate::settings::CallSettings;
use crate::snapshot::{CallSnapshot, CallState};

/// One call.
#[derive(Debug)]
pub(crate) struct AppCall {
    pub(crate) key: CallKey,
    pub(crate) snapshot: CallSnapshot,
    /// Of a call with a handler of its own; none where only the listeners of the kit are told.
    pub(crate) own: Option<CallSettings>,
    /// The listeners of the kit know of this call.
    pub(crate) is_shared: bool,
    /// It was verified for another part of the app to adopt it.
    pub(crate) is_background: bool,
    /// Caller: it was offered here. Callee: the caller offers it.
    pub(crate) preparation_offered: bool,
    /// Callee: it is being accepted with preparation.
    pub(crate) prepares: bool,
    /// The app has declined it before it was known to be alive.
    pub(crate) declined: Option<Ending>,
    /// Why this side gives the call up, until its end is told.
    pub(crate) cause: Option<Disconnect>,
    /// The server says that the other one cannot be heard, until then.
    pub(crate) peer_away: Option<Time>,
    /// The handler believes that the other side is without network.
    pub(crate) notified_away: bool,
    /// When a call that was asked about counts as gone if nothing was heard of it.
    pub(crate) give_up: Option<Time>,
    /// When the levels are told next.
    pub(crate) levels_at: Option<Time>,
}

/// What a call begins with.
pub(crate) struct NewCall {
    pub(crate) call_id: CallId,
    pub(crate) peer: UserId,
    pub(crate) call_type: CallType,
    pub(crate) role: Role,
    pub(crate) choices: AudioChoices,
    /// See [`AppCall::own`].
    pub(crate) own: Option<CallSettings>,
    pub(crate) is_background: bool,
}

impl AppCall {
    fn new(key: CallKey, new: NewCall) -> AppCall {
        let NewCall { call_id, peer, call_type, role, choices, own, is_background } = new;
        let AudioChoices { muted, peer_silenced } = choices;
        let snapshot = CallSnapshot {
            call_id,
            peer,
            call_type,
            role,
            state: CallState::Trying,
            held: false,
            peer_held: false,
            muted,
            peer_muted: false,
            peer_silenced,
            preparing: false,
        };
        AppCall {
            key,
            snapshot,
            own,
            is_shared: own.is_none(),
            is_background,
            preparation_offered: false,
            prepares: false,
            declined: None,
            cause: None,
            peer_away: None,
            notified_away: false,
            give_up: None,
            levels_at: None,
        }
    }

    /// Whether it has a handler of its own.
    pub(crate) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    pub(crate) fn role(&self) -> Role {
        self.snapshot.role
    }

    pub(crate) fn choices(&self) -> AudioChoices {
        AudioChoices { muted: self.snapshot.muted, peer_silenced: self.snapshot.peer_silenced }
    }
}

/// The calls that the app knows of.
#[derive(Debug, Default)]
pub(crate) struct AppCalls {
    calls: BTreeMap<CallId, AppCall>,
    last_key: u64,
    had_own: bool,
}

impl AppCalls {
    /// Gives the call, and the key of one of the same id that it takes the place of.
    pub(crate) fn begin(&mut self, new: NewCall) -> (&mut AppCall, Option<CallKey>) {
        self.had_own |= new.own.is_some();
        self.last_key += 1;
        let call_id = new.call_id;
        let replaced = self.calls.remove(&call_id).map(|call| call.key);
        let call = AppCall::new(CallKey(self.last_key), new);
        (self.calls.entry(call_id).or_insert(call), replaced)
    }

    /// A call that the listeners of the kit were told of gets a handler of its own beside them.
    pub(crate) fn take_over(&mut self, call_id: CallId, own: CallSettings, is_background: bool) -> Option<CallKey> {
        let call = self.calls.get_mut(&call_id)?;
        (call.own, call.is_background) = (Some(own), is_background);
        self.had_own = true;
        Some(call.key)
    }

    /// The call goes on under the id that it has now.
    pub(crate) fn insert(&mut self, call: AppCall) {
        self.calls.insert(call.snapshot.call_id, call);
    }

    pub(crate) fn remove(&mut self, call_id: CallId) -> Option<AppCall> {
        self.calls.remove(&call_id)
    }

    pub(crate) fn get(&self, call_id: CallId) -> Option<&AppCall> {
        self.calls.get(&call_id)
    }

    pub(crate) fn get_mut(&mut self, call_id: CallId) -> Option<&mut AppCall> {
        self.calls.get_mut(&call_id)
    }

    pub(crate) fn contains(&self, call_id: CallId) -> bool {
        self.calls.contains_key(&call_id)
    }

    pub(crate) fn ids(&self) -> Vec<CallId> {
        self.calls.keys().copied().collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &AppCall> {
        self.calls.values()
    }

    /// The call of this key.
    pub(crate) fn find(&self, key: CallKey) -> Option<CallId> {
        self.calls.values().find(|call| call.key == key).map(|call| call.snapshot.call_id)
    }

    /// Whether there is this call, and it has a handler of its own.
    pub(crate) fn is_own(&self, call_id: CallId) -> bool {
        self.calls.get(&call_id).is_some_and(AppCall::is_own)
    }

    /// Whether there is a call with a handler of its own.
    pub(crate) fn has_own(&self) -> bool {
        self.calls.values().any(AppCall::is_own)
    }

    /// Whether there ever was one.
    pub(crate) fn had_own(&self) -> bool {
        self.had_own
    }
}
