//! End: whoever ends it, the app is told once and the media is freed.

use std::thread::JoinHandle;
use std::time::Duration;

use call_protocol::CallId;
use call_protocol::end::{EndReason, Release};
use futures_util::future::join_all;
use signaling::{Command, Input, Phase, Role};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::core::Core;
use crate::dispatch::Ended;
use crate::error::CallError;
use crate::events::CallKitEvent;

impl Core {
    pub(crate) fn hang_up(&mut self, call_id: CallId) -> Result<(), CallError> {
        self.try_input(Input::Command(Command::Hangup { call_id }))
    }

    /// Ends whatever call there is, and replies when the audio devices are released.
    pub(crate) fn release_rtc(&mut self, done: oneshot::Sender<()>) {
        self.end_whatever_there_is();
        self.hush();
        self.initialized = false;
        let voices = std::mem::take(&mut self.releasing);
        tokio::spawn(async move {
            wait_for(voices).await;
            let _ = done.send(());
        });
    }

    pub(crate) fn end_whatever_there_is(&mut self) {
        for call_id in self.present_calls() {
            self.input(Input::Command(Command::Hangup { call_id }));
        }
    }

    /// The kit cannot hold a call any more.
    pub(crate) fn give_up_whatever_there_is(&mut self, error: CallError) {
        for call_id in self.present_calls() {
            self.give_up(call_id, error.clone(), EndReason::Error);
        }
    }

    fn present_calls(&self) -> Vec<CallId> {
        let calls = self.desk.line().calls().filter_map(|phase| match phase {
            Phase::Idle => None,
            Phase::Calling(call_id) | Phase::Ringing(call_id) | Phase::Answering(call_id) | Phase::InCall(call_id) => {
                Some(call_id)
            }
        });
        calls.collect()
    }

    /// The call cannot go on.
    pub(crate) fn give_up(&mut self, call_id: CallId, error: CallError, reason: EndReason) {
        self.note_error(call_id, error, reason);
        if let Err(error) = self.try_input(Input::Command(Command::Fail { call_id, reason })) {
            tracing::debug!(%error, "over already");
        }
    }

    pub(crate) fn on_ended(&mut self, call_id: CallId, reason: EndReason, role: Role, release: Option<Release>) {
        tracing::info!(call = %call_id, %reason, "ended");
        self.leave(call_id);
        let is_kit_wide = self.is_kit_wide(call_id);
        // Whoever is told of the end finds the call gone.
        self.face_ended(call_id, reason, role, release);
        if is_kit_wide {
            if (reason, role) == (EndReason::RemoteRefuse, Role::Caller) {
                self.fail_with(Some(call_id), CallError::Refused);
            }
            let user_code = release.and_then(|release| release.user_code).map(|code| code.as_str().to_owned());
            self.teller.tell(CallKitEvent::CallEnd { call_id, reason, user_code });
        }
    }

    pub(crate) async fn wait_for_devices(&mut self) {
        wait_for(std::mem::take(&mut self.releasing)).await;
    }
}

/// How long a listener has to hear the last events. One that takes longer, or itself waits for the kit to sign out, hears them later.
const LISTENER_PATIENCE: Duration = Duration::from_secs(1);

/// An app that ends its program after it has signed out has been told everything.
pub(crate) async fn wait_for_listeners(listeners: Vec<Ended>) {
    if timeout(LISTENER_PATIENCE, join_all(listeners)).await.is_err() {
        tracing::warn!("a listener is still being told");
    }
}

/// How long is waited for devices to be let go of. One that the system, or the app, takes longer for is let go of later, by its thread.
const DEVICE_PATIENCE: Duration = Duration::from_secs(3);

async fn wait_for(voices: Vec<JoinHandle<()>>) {
    if voices.is_empty() {
        return;
    }
    let (told, released) = oneshot::channel();
    // A thread of its own: one of the runtime's would keep that from ending for as long as a device hangs.
    let thread = std::thread::Builder::new().name("callkit-release".into()).spawn(move || {
        if !voices.into_iter().all(|voice| voice.join().is_ok()) {
            tracing::error!("a voice thread panicked");
        }
        let _ = told.send(());
    });
    if thread.is_ok() && timeout(DEVICE_PATIENCE, released).await.is_err() {
        tracing::warn!("a device is still being opened or let go of");
    }
}
