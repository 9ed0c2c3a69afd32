//! What is waited for as a kit signs out.

use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::dispatch::Ended;

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

pub(crate) async fn wait_for_voices(voices: Vec<JoinHandle<()>>) {
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
