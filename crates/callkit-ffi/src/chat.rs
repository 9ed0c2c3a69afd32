//! The app's own chat as the carrier of the words of calls.

use std::future::{self, Future};
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use async_trait::async_trait;
use callkit::{DeviceId, UserId};

use crate::handlers::HandlerError;

/// A message of a chat, and which user sent it; the chat vouches for that.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct ChatMessage {
    /// Who sent it.
    pub user: UserId,
    /// What was given to `send`.
    pub message: Vec<u8>,
}

/// An app's own chat, which carries the words of calls in place of the server.
///
/// With one, the device that calls decides about its call (who answered first, when ringing ends), as there is no server that could. What
/// a call needs beside its words, the channel and its tokens, still comes from the server.
///
/// A chat delivers each message at least once while the receiver is there: it may repeat, delay and reorder, and may deliver later to a
/// device that was away. Messages are small (an SDP description is the largest, about 4 KiB) and binary.
///
/// It is let go with the kit, and what it still does then is cancelled: an app that wants its last words delivered signs out.
#[uniffi::export(foreign)]
#[async_trait]
pub trait Chat: Send + Sync {
    /// Carries a message to one device of a user, or to every one. A chat that cannot address a device may always deliver to all: the others
    /// pass it over. A message that fails is dropped, and said again by the rules of the call.
    async fn send(&self, to: UserId, device: Option<DeviceId>, message: Vec<u8>) -> Result<(), HandlerError>;

    /// Waits for the next message; none when there will be no more, and a failure is the same. Called again after each message.
    async fn receive(&self) -> Result<Option<ChatMessage>, HandlerError>;
}

/// A foreign chat as one of callkit's. callkit waits in `receive` for as long as a kit lives, on threads of its own; what is foreign about that
/// stands in here, so that the thread that lets go of the kit lets go of it too.
#[derive(Clone)]
pub(crate) struct Carrier(Arc<Foreign>);

struct Foreign {
    chat: Mutex<Option<Arc<dyn Chat>>>,
    sending: Place<Result<(), HandlerError>>,
    receiving: Place<Result<Option<ChatMessage>, HandlerError>>,
}

impl Carrier {
    pub(crate) fn new(chat: Arc<dyn Chat>) -> Carrier {
        Carrier(Arc::new(Foreign { chat: Mutex::new(Some(chat)), sending: Place::new(), receiving: Place::new() }))
    }

    /// From here on no thread of the kit calls the chat.
    pub(crate) fn let_go(&self) {
        let chat = lock(&self.0.chat).take();
        self.0.sending.close();
        self.0.receiving.close();
        drop(chat);
    }

    fn chat(&self) -> Option<Arc<dyn Chat>> {
        lock(&self.0.chat).clone()
    }
}

#[async_trait]
impl callkit::Chat for Carrier {
    async fn send(
        &self,
        to: &UserId,
        device: Option<&DeviceId>,
        message: Vec<u8>,
    ) -> Result<(), callkit::HandlerError> {
        let gone = || callkit::HandlerError::from("the kit is gone");
        let (chat, to, device) = (self.chat().ok_or_else(gone)?, to.clone(), device.cloned());
        let call = async move { chat.send(to, device, message).await };
        Ok(self.0.sending.run(call).await.ok_or_else(gone)??)
    }

    async fn receive(&self) -> Option<(UserId, Vec<u8>)> {
        let chat = self.chat()?;
        let received = self.0.receiving.run(async move { chat.receive().await }).await?;
        let received = received.inspect_err(|error| tracing::error!(%error, "the chat receives no more")).ok()?;
        received.map(|ChatMessage { user, message }| (user, message))
    }
}

/// Where a call into the app's language waits: polled by one thread, and dropped by another when that closes the place.
struct Place<T>(Mutex<Waiting<T>>);

enum Waiting<T> {
    /// Nobody, or the one who is being polled: no lock is held meanwhile, as Python may clean up then and so let go of the kit.
    Nobody,
    Call(Call<T>, Waker),
    Closed,
}

type Call<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<T> Place<T> {
    fn new() -> Place<T> {
        Place(Mutex::new(Waiting::Nobody))
    }

    /// The result of a call, one call at a time; none if the place is closed.
    async fn run(&self, call: impl Future<Output = T> + Send + 'static) -> Option<T> {
        self.put(Box::pin(call), Waker::noop())?;
        future::poll_fn(|context| {
            let Some(mut call) = self.take() else { return Poll::Ready(None) };
            match call.as_mut().poll(context) {
                Poll::Ready(result) => Poll::Ready(Some(result)),
                Poll::Pending => self.put(call, context.waker()).map_or(Poll::Ready(None), |()| Poll::Pending),
            }
        })
        .await
    }

    fn put(&self, call: Call<T>, waker: &Waker) -> Option<()> {
        match &mut *lock(&self.0) {
            Waiting::Closed => None,
            place @ (Waiting::Nobody | Waiting::Call(..)) => {
                *place = Waiting::Call(call, waker.clone());
                Some(())
            }
        }
    }

    fn take(&self) -> Option<Call<T>> {
        let mut place = lock(&self.0);
        match mem::replace(&mut *place, Waiting::Nobody) {
            Waiting::Nobody => None,
            Waiting::Call(call, _) => Some(call),
            Waiting::Closed => {
                *place = Waiting::Closed;
                None
            }
        }
    }

    fn close(&self) {
        let waiting = mem::replace(&mut *lock(&self.0), Waiting::Closed);
        match waiting {
            Waiting::Nobody | Waiting::Closed => {}
            Waiting::Call(call, waker) => {
                drop(call);
                waker.wake();
            }
        }
    }
}

/// Data behind these locks is whole between any two statements, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
