//! Which calls there are, as the owner loop keeps them and as every handle of the kit can look them up.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard};

use call_protocol::invite::CallType;
use call_protocol::{CallId, UserId};
use signaling::Role;
use tokio::sync::mpsc;

use super::Call;
use super::face::{Beginning, Face, FaceId, Handles, Own};
use crate::core::Command;
use crate::dispatch::lock;
use crate::kit::CallKit;
use crate::sound::SoundChoices;

/// The calls of a kit, for its handles. The lock is held only to look one up.
#[derive(Default)]
pub(crate) struct Directory(Mutex<BTreeMap<CallId, Arc<Handles>>>);

impl Directory {
    fn calls(&self) -> MutexGuard<'_, BTreeMap<CallId, Arc<Handles>>> {
        lock(&self.0)
    }
}

/// The calls of a kit, for its owner loop. Whoever reads them may change them; they come and go by [`Faces::begin`], [`Faces::insert`] and
/// [`Faces::remove`], which the directory follows.
pub(crate) struct Faces {
    calls: BTreeMap<CallId, Face>,
    directory: Arc<Directory>,
    last: u64,
    had_own: bool,
    runtime: tokio::runtime::Handle,
    commands: mpsc::WeakUnboundedSender<Command>,
}

impl Faces {
    pub(crate) fn new(
        directory: Arc<Directory>,
        runtime: tokio::runtime::Handle,
        commands: mpsc::WeakUnboundedSender<Command>,
    ) -> Faces {
        Faces { calls: BTreeMap::new(), directory, last: 0, had_own: false, runtime, commands }
    }

    /// A call that is told to the kit-wide listeners alone.
    pub(crate) fn begin_kit_wide(
        &mut self,
        call_id: CallId,
        peer: UserId,
        call_type: CallType,
        role: Role,
        choices: SoundChoices,
    ) -> &mut Face {
        self.start(call_id, peer, call_type, role, choices, None)
    }

    /// A call with a handler of its own.
    pub(super) fn begin(
        &mut self,
        call_id: CallId,
        peer: UserId,
        call_type: CallType,
        role: Role,
        choices: SoundChoices,
        own: Own,
    ) -> &mut Face {
        self.had_own = true;
        self.start(call_id, peer, call_type, role, choices, Some(own))
    }

    fn start(
        &mut self,
        call_id: CallId,
        peer: UserId,
        call_type: CallType,
        role: Role,
        choices: SoundChoices,
        own: Option<Own>,
    ) -> &mut Face {
        self.last += 1;
        let (id, runtime, commands) = (FaceId(self.last), self.runtime.clone(), self.commands.clone());
        let face = Face::new(Beginning { id, call_id, peer, call_type, role, choices, own, runtime, commands });
        let _before = self.directory.calls().insert(call_id, face.handles());
        self.calls.remove(&call_id);
        self.calls.entry(call_id).or_insert(face)
    }

    /// A call that the kit-wide listeners were told of gets a handler of its own beside them.
    pub(super) fn take_over(&mut self, call_id: CallId, own: Own) -> Result<Call, Own> {
        let Some(face) = self.calls.get_mut(&call_id) else { return Err(own) };
        self.had_own = true;
        Ok(face.is_taken_over(own))
    }

    pub(super) fn insert(&mut self, call_id: CallId, face: Face) {
        // What was known before is dropped when the lock is not held any more: it may be the app's.
        let _before = self.directory.calls().insert(call_id, face.handles());
        self.calls.insert(call_id, face);
    }

    pub(crate) fn remove(&mut self, call_id: &CallId) -> Option<Face> {
        let _before = self.directory.calls().remove(call_id);
        self.calls.remove(call_id)
    }

    /// Whether there is this call, and it has a handler of its own.
    pub(crate) fn is_own(&self, call_id: CallId) -> bool {
        self.calls.get(&call_id).is_some_and(Face::is_own)
    }

    /// Whether there is a call with a handler of its own.
    pub(crate) fn has_own(&self) -> bool {
        self.calls.values().any(Face::is_own)
    }

    /// Whether there ever was one.
    pub(crate) fn had_own(&self) -> bool {
        self.had_own
    }
}

impl Deref for Faces {
    type Target = BTreeMap<CallId, Face>;

    fn deref(&self) -> &Self::Target {
        &self.calls
    }
}

impl DerefMut for Faces {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.calls
    }
}

impl CallKit {
    /// A handle on this call, whether it was made here, rings here, or runs; `None` once it is over. The listeners of the kit go on being told
    /// of it.
    ///
    /// In [`on_receive_call`](crate::CallKitEventHandler::on_receive_call) it is there, unless the call has ended meanwhile.
    pub fn call(&self, call_id: CallId) -> Option<Call> {
        self.directory.calls().get(&call_id).map(|handles| handles.handle())
    }

    /// Every call there is: those being made, those that ring, and those that run or are on hold; the oldest first.
    pub fn calls(&self) -> Vec<Call> {
        let mut calls: Vec<Call> = self.directory.calls().values().map(|handles| handles.handle()).collect();
        calls.sort_by_key(|call| call.id);
        calls
    }
}
