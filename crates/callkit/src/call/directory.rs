//! Which calls there are, as the driver keeps them and as every handle of the kit can look them up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use call_protocol::CallId;
use callkit_core::{CallEvent, CallKey, CallSnapshot, Disconnect};
use rtc_media::Levels;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::live::{Handles, LiveCall};
use super::{Call, CallEventHandler};
use crate::dispatch::lock;
use crate::kit::CallKit;
use crate::request::Request;

/// The calls of a kit, for its handles. The lock is held only to look one up.
#[derive(Default)]
pub(crate) struct Directory(Mutex<BTreeMap<CallId, Arc<Handles>>>);

impl Directory {
    fn calls(&self) -> MutexGuard<'_, BTreeMap<CallId, Arc<Handles>>> {
        lock(&self.0)
    }

    // What was known before is dropped when the lock is not held any more: it may be the app's.
    fn insert(&self, call_id: CallId, handles: Arc<Handles>) {
        let _before = self.calls().insert(call_id, handles);
    }

    fn remove(&self, call_id: CallId) {
        let _before = self.calls().remove(&call_id);
    }
}

/// The calls of a kit, for its driver; the directory follows them.
pub(crate) struct LiveCalls {
    calls: BTreeMap<CallKey, (CallId, LiveCall)>,
    directory: Arc<Directory>,
    runtime: Handle,
    requests: mpsc::WeakUnboundedSender<Request>,
}

impl LiveCalls {
    pub(crate) fn new(
        directory: Arc<Directory>,
        runtime: Handle,
        requests: mpsc::WeakUnboundedSender<Request>,
    ) -> LiveCalls {
        LiveCalls { calls: BTreeMap::new(), directory, runtime, requests }
    }

    pub(crate) fn open(&mut self, key: CallKey, snapshot: CallSnapshot) {
        let call_id = snapshot.call_id;
        let call = LiveCall::new(key, snapshot, self.runtime.clone(), self.requests.clone());
        self.directory.insert(call_id, call.handles());
        self.calls.insert(key, (call_id, call));
    }

    pub(crate) fn update(&mut self, key: CallKey, snapshot: CallSnapshot) {
        let Some((call_id, call)) = self.calls.get_mut(&key) else { return };
        let before = std::mem::replace(call_id, snapshot.call_id);
        call.update(snapshot);
        if before != *call_id {
            self.directory.remove(before);
            self.directory.insert(*call_id, call.handles());
        }
    }

    /// Gives a handle of the call.
    pub(crate) fn set_handler(&mut self, key: CallKey, handler: Arc<dyn CallEventHandler>) -> Option<Call> {
        let (_, call) = self.calls.get_mut(&key)?;
        call.set_handler(handler);
        Some(call.handle())
    }

    pub(crate) fn emit(&self, key: CallKey, event: CallEvent, levels: Levels) {
        if let Some((_, call)) = self.calls.get(&key) {
            call.emit(event, levels);
        }
    }

    pub(crate) fn close(&mut self, key: CallKey, end: Option<Disconnect>) {
        let Some((call_id, call)) = self.calls.remove(&key) else { return };
        self.directory.remove(call_id);
        if let Some(end) = end {
            call.end(end);
        }
    }

    /// Whether the handles of the call are given its figures.
    pub(crate) fn keeps_statistics(&self, key: CallKey) -> bool {
        self.calls.get(&key).is_some_and(|(_, call)| call.keeps_statistics())
    }

    pub(crate) fn set_keeps_statistics(&mut self, key: CallKey, keeps: bool) {
        if let Some((_, call)) = self.calls.get_mut(&key) {
            call.set_keeps_statistics(keeps);
        }
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
        calls.sort_by_key(|call| call.key);
        calls
    }
}
