//! The app's own chat as the carrier of the words of calls.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use call_protocol::{CallMessage, ChatMessage, DeviceId, Party, UserId, wire};
use callkit_core::Input;
use signaling::Route;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::handlers::HandlerError;
use crate::report::Report;

/// An app's own chat, which carries the words of calls in place of the server.
///
/// With one, the device that calls decides about its call (who answered first, when ringing ends), as there is no server that could. What
/// a call needs beside its words, the channel and its tokens, still comes from the server.
///
/// A chat delivers each message at least once while the receiver is there: it may repeat, delay and reorder, and may deliver later to a
/// device that was away. Messages are small (an SDP description is the largest, about 4 KiB) and binary. A call that rings for 30 s and is
/// taken costs about 40 of them; once the media path stands, signs of life travel on it. Signing out waits, for 3 s at most, for `send` to be
/// done with what it still has to carry.
#[async_trait]
pub trait Chat: Send + Sync {
    /// Carries a message to one device of a user, or to every one. A chat that cannot address a device may always deliver to all: the others
    /// pass it over.
    async fn send(&self, to: &UserId, device: Option<&DeviceId>, message: Vec<u8>) -> Result<(), HandlerError>;

    /// Waits for the next message, and tells which user sent it; the chat vouches for that. `None` when there will be no more.
    async fn receive(&self) -> Option<(UserId, Vec<u8>)>;
}

/// Messages that may wait for a slow chat; after that the newest are dropped, and said again by the rules of the call.
const WAITING: usize = 256;

/// How long the chat has for the last words of a kit that signs out.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// The way from the driver to the chat.
pub(crate) struct ChatSender {
    me: DeviceId,
    outbox: mpsc::Sender<(UserId, Option<DeviceId>, Vec<u8>)>,
    sending: JoinHandle<()>,
}

impl ChatSender {
    /// Starts the tasks that send and receive; they end with the kit.
    pub(crate) fn start(chat: Arc<dyn Chat>, me: &Party, reports: mpsc::Sender<Report>) -> ChatSender {
        let (outbox, mut waiting) = mpsc::channel::<(UserId, Option<DeviceId>, Vec<u8>)>(WAITING);
        let sender = Arc::clone(&chat);
        let sending = tokio::spawn(async move {
            while let Some((user, device, message)) = waiting.recv().await {
                if let Err(error) = sender.send(&user, device.as_ref(), message).await {
                    tracing::warn!(%error, "the chat did not take a message");
                }
            }
        });
        let device = me.device.clone();
        tokio::spawn(async move {
            loop {
                let received = tokio::select! {
                    received = chat.receive() => received,
                    () = reports.closed() => None,
                };
                let Some((user, bytes)) = received else { return };
                if let Some((from, message)) = open(user, &device, &bytes)
                    && reports.send(Report::Input(Input::Chat { from, message })).await.is_err()
                {
                    return;
                }
            }
        });
        ChatSender { me: me.device.clone(), outbox, sending }
    }

    pub(crate) fn send(&self, to: Route, message: &CallMessage) {
        let (user, device) = match to {
            Route::Server => return,
            Route::Device(Party { user, device }) => (user, Some(device)),
            Route::User(user) => (user, None),
        };
        let chat = ChatMessage { from: self.me.clone(), to: device.clone(), message: message.clone() };
        if self.outbox.try_send((user, device, wire::encode_chat(&chat))).is_err() {
            tracing::warn!("too much waits for the chat; dropped");
        }
    }

    /// Until the chat has carried everything, for as long as it has for that.
    pub(crate) async fn close(self) {
        let ChatSender { outbox, sending, .. } = self;
        drop(outbox);
        if timeout(LAST_WORDS, sending).await.is_err() {
            tracing::warn!("the chat takes too long with the last words");
        }
    }
}

/// What a message says to this device, and who says it.
fn open(user: UserId, me: &DeviceId, bytes: &[u8]) -> Option<(Party, CallMessage)> {
    match wire::decode_chat(bytes) {
        Ok(Some(ChatMessage { from, to, message })) => {
            to.is_none_or(|to| to == *me).then_some((Party { user, device: from }, message))
        }
        Ok(None) => None,
        Err(error) => {
            tracing::warn!(%error, "a message of the chat was not understood");
            None
        }
    }
}
