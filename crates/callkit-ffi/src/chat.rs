//! The app's own chat as the carrier of the words of calls.

use std::future;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;

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
/// stands in here, so that the thread that lets go of the kit lets go of it too. Python aborts when a thread comes in after its end.
#[derive(Clone)]
pub(crate) struct Carrier(Arc<Foreign>);

struct Foreign {
    chat: Mutex<Option<Arc<dyn Chat>>>,
    sending: Place<Result<(), HandlerError>>,
    receiving: Place<Result<Option<ChatMessage>, HandlerError>>,
}

impl Carrier {
    pub(crate) fn new(chat: Arc<dyn Chat>) -> Carrier {
        let (sending, receiving) = (Place::default(), Place::default());
        Carrier(Arc::new(Foreign { chat: Mutex::new(Some(chat)), sending, receiving }))
    }

    /// From here on no thread of the kit calls the chat.
    pub(crate) fn let_go(&self) {
        self.0.sending.close();
        self.0.receiving.close();
        let chat = lock(&self.0.chat).take();
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
        let begin = || {
            let (chat, to, device) = (self.chat()?, to.clone(), device.cloned());
            Some(Box::pin(async move { chat.send(to, device, message).await }) as Call<_>)
        };
        let sent = self.0.sending.run(begin).await;
        Ok(sent.ok_or_else(|| callkit::HandlerError::from("the kit is gone"))??)
    }

    async fn receive(&self) -> Option<(UserId, Vec<u8>)> {
        let begin = || {
            let chat = self.chat()?;
            Some(Box::pin(async move { chat.receive().await }) as Call<_>)
        };
        let received = self.0.receiving.run(begin).await?;
        let received = received.inspect_err(|error| tracing::error!(%error, "the chat receives no more")).ok()?;
        received.map(|ChatMessage { user, message }| (user, message))
    }
}

type Call<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Where one call at a time into the app's language stands: begun, polled and ended by one task, dropped by whoever closes the place.
struct Place<T> {
    state: Mutex<State<T>>,
    left: Condvar,
}

enum State<T> {
    /// Perhaps a call waits here, and its task to be woken.
    Free(Option<(Call<T>, Waker)>),
    /// This thread is in the app's language, or on its way there or back. No lock is held meanwhile.
    Entered(ThreadId),
    Closed,
}

/// How long a thread is waited for that is in the app's language: it does not stay there, unless it waits for the one that waits.
const PATIENCE: Duration = Duration::from_secs(1);

impl<T> Default for Place<T> {
    fn default() -> Place<T> {
        Place { state: Mutex::new(State::Free(None)), left: Condvar::new() }
    }
}

impl<T> Place<T> {
    /// The result of a call; none if the place is closed.
    async fn run(&self, begin: impl FnOnce() -> Option<Call<T>>) -> Option<T> {
        let mut begin = Some(begin);
        future::poll_fn(|context| {
            let Some(waiting) = self.enter() else { return Poll::Ready(None) };
            let call = waiting.or_else(|| begin.take()?());
            let (result, waiting) = poll(call, context);
            self.leave(waiting).map_or(Poll::Ready(None), |()| result)
        })
        .await
    }

    /// The call that waits here, if there is one; none at all if the place is closed.
    fn enter(&self) -> Option<Option<Call<T>>> {
        let mut state = lock(&self.state);
        match mem::replace(&mut *state, State::Entered(thread::current().id())) {
            State::Free(waiting) => Some(waiting.map(|(call, _)| call)),
            kept @ (State::Entered(_) | State::Closed) => {
                *state = kept;
                None
            }
        }
    }

    /// None if the place was closed meanwhile.
    fn leave(&self, waiting: Option<(Call<T>, Waker)>) -> Option<()> {
        match &mut *lock(&self.state) {
            State::Closed => None,
            state @ (State::Free(_) | State::Entered(_)) => {
                *state = State::Free(waiting);
                self.left.notify_all();
                Some(())
            }
        }
    }

    /// No thread is in the app's language when this returns, but the one that calls: Python may clean up anywhere, and so let go of a kit.
    fn close(&self) {
        let elsewhere = |state: &mut State<T>| match state {
            State::Entered(thread) => *thread != thread::current().id(),
            State::Free(_) | State::Closed => false,
        };
        let state = self.left.wait_timeout_while(lock(&self.state), PATIENCE, elsewhere);
        let (mut state, _) = state.unwrap_or_else(PoisonError::into_inner);
        let before = mem::replace(&mut *state, State::Closed);
        drop(state);
        match before {
            State::Free(Some((call, waker))) => {
                drop(call);
                waker.wake();
            }
            State::Free(None) | State::Entered(_) | State::Closed => {}
        }
    }
}

/// What came of a poll, and the call that goes on with whom to wake.
type Polled<T> = (Poll<Option<T>>, Option<(Call<T>, Waker)>);

/// What came of a call, and what is left of it.
fn poll<T>(call: Option<Call<T>>, context: &mut Context<'_>) -> Polled<T> {
    let Some(mut call) = call else { return (Poll::Ready(None), None) };
    match call.as_mut().poll(context) {
        Poll::Ready(result) => (Poll::Ready(Some(result)), None),
        Poll::Pending => (Poll::Pending, Some((call, context.waker().clone()))),
    }
}

/// Data behind these locks is whole between any two statements, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
