//! How what happens reaches the app: each listener has a queue and a thread of its own, so that one that blocks delays itself and nobody else.
//!
//! A queue has an end. Who does not keep up loses what can be lost best, in this order: figures, which the next ones replace; calls that began and
//! ended meanwhile, with everything about them; the oldest news. It is told how much that was. The end of a call that it knows of is never lost.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use call_protocol::CallId;
use tokio::sync::oneshot;

/// What may wait for one listener: a call makes about ten events, so that a listener that is blocked for as long as twenty calls still misses
/// nothing.
const WAITING: usize = 256;

/// What an entry means to whoever listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rank {
    /// The next one says the same better.
    Figure,
    News,
    /// A call begins that the listener did not know of.
    Begin,
    /// A call ends.
    End,
}

/// Something to be told.
#[derive(Debug)]
pub(crate) struct Entry<T> {
    /// The call that it is about.
    pub(crate) call: Option<CallId>,
    pub(crate) rank: Rank,
    pub(crate) what: T,
}

/// What a listener is told next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told<T> {
    This(T),
    /// So much was lost before what comes next.
    Lost(u32),
}

/// What waits to be told.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    entries: VecDeque<Entry<T>>,
    limit: usize,
    lost: u32,
}

impl<T> Queue<T> {
    pub(crate) fn new(limit: usize) -> Queue<T> {
        Queue { entries: VecDeque::new(), limit, lost: 0 }
    }

    /// Adds an entry; gives back what had to go for it.
    #[must_use = "an app's own code may run as it is dropped"]
    pub(crate) fn push(&mut self, entry: Entry<T>) -> Vec<Entry<T>> {
        self.entries.push_back(entry);
        let mut gone = Vec::new();
        while self.entries.len() > self.limit {
            let before = gone.len();
            gone.extend(self.make_room());
            if gone.len() == before {
                // Only ends are left, and what rings at present: no more than the calls that this device has at once.
                break;
            }
        }
        gone
    }

    fn make_room(&mut self) -> Vec<Entry<T>> {
        let first = |entries: &VecDeque<Entry<T>>, rank| entries.iter().position(|entry| entry.rank == rank);
        if let Some(at) = first(&self.entries, Rank::Figure) {
            return self.entries.remove(at).into_iter().collect();
        }
        let gone = match self.passed_by() {
            Some(call) => self.take_all_of(call),
            None => {
                let oldest = first(&self.entries, Rank::News);
                oldest.and_then(|at| self.entries.remove(at)).into_iter().collect()
            }
        };
        self.lost = self.lost.saturating_add(u32::try_from(gone.len()).unwrap_or(u32::MAX));
        gone
    }

    /// A call that began and ended in here.
    fn passed_by(&self) -> Option<CallId> {
        let has_begun = |call| self.entries.iter().any(|entry| entry.rank == Rank::Begin && entry.call == Some(call));
        let ends = self.entries.iter().filter(|entry| entry.rank == Rank::End);
        ends.filter_map(|entry| entry.call).find(|call| has_begun(*call))
    }

    /// Takes out everything about this call.
    #[must_use = "an app's own code may run as it is dropped"]
    pub(crate) fn take_all_of(&mut self, call: CallId) -> Vec<Entry<T>> {
        let (of_call, others) =
            std::mem::take(&mut self.entries).into_iter().partition(|entry| entry.call == Some(call));
        self.entries = others;
        let of_call: VecDeque<Entry<T>> = of_call;
        of_call.into()
    }

    /// Takes out what is as said.
    pub(crate) fn forget(&mut self, is_over: impl Fn(&T) -> bool) {
        self.entries.retain(|entry| !is_over(&entry.what));
    }

    fn pop(&mut self) -> Option<Told<T>> {
        match std::mem::take(&mut self.lost) {
            0 => self.entries.pop_front().map(|entry| Told::This(entry.what)),
            lost => Some(Told::Lost(lost)),
        }
    }
}

impl<T> IntoIterator for Queue<T> {
    type Item = Entry<T>;
    type IntoIter = std::collections::vec_deque::IntoIter<Entry<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

/// A queue that one side fills and the other empties. Nothing of the app's runs, or is dropped, under its lock.
pub(crate) struct Mailbox<T> {
    inner: Mutex<Inner<T>>,
    filled: Condvar,
}

struct Inner<T> {
    queue: Queue<T>,
    /// Nothing comes any more.
    closed: bool,
    reader: Option<Waker>,
}

impl<T> Mailbox<T> {
    pub(crate) fn new() -> Arc<Mailbox<T>> {
        let inner = Inner { queue: Queue::new(WAITING), closed: false, reader: None };
        Arc::new(Mailbox { inner: Mutex::new(inner), filled: Condvar::new() })
    }

    pub(crate) fn put(&self, entry: Entry<T>) {
        let mut inner = lock(&self.inner);
        let gone = if inner.closed { vec![entry] } else { inner.queue.push(entry) };
        let reader = inner.reader.take();
        drop(inner);
        self.wake(reader);
        drop(gone);
    }

    /// Nothing comes any more; what waits is still told.
    pub(crate) fn close(&self) {
        let mut inner = lock(&self.inner);
        inner.closed = true;
        let reader = inner.reader.take();
        drop(inner);
        self.wake(reader);
    }

    /// Nobody wants to hear it any more.
    pub(crate) fn discard(&self) {
        let mut inner = lock(&self.inner);
        inner.closed = true;
        let gone = std::mem::replace(&mut inner.queue, Queue::new(WAITING));
        let reader = inner.reader.take();
        drop(inner);
        self.wake(reader);
        drop(gone);
    }

    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.inner).closed
    }

    fn wake(&self, reader: Option<Waker>) {
        self.filled.notify_one();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Waits for the next one; `None` once it is closed and empty.
    fn take(&self) -> Option<Told<T>> {
        let mut inner = lock(&self.inner);
        loop {
            match inner.queue.pop() {
                Some(told) => return Some(told),
                None if inner.closed => return None,
                None => inner = self.filled.wait(inner).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    pub(crate) fn poll_take(&self, context: &mut Context<'_>) -> Poll<Option<Told<T>>> {
        let mut inner = lock(&self.inner);
        match inner.queue.pop() {
            Some(told) => Poll::Ready(Some(told)),
            None if inner.closed => Poll::Ready(None),
            None => {
                let before = inner.reader.replace(context.waker().clone());
                drop(inner);
                drop(before);
                Poll::Pending
            }
        }
    }
}

/// Data behind these locks is whole between any two statements, so a panic elsewhere does not spoil it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A listener's thread and what waits for it. When dropped it tells what waits, and ends.
pub(crate) struct Worker<T> {
    mailbox: Arc<Mailbox<T>>,
    ended: Option<Ended>,
}

/// Resolves when a listener's thread has ended.
pub(crate) type Ended = oneshot::Receiver<()>;

impl<T: Send + 'static> Worker<T> {
    /// Starts the thread, in this runtime.
    pub(crate) fn start(runtime: &tokio::runtime::Handle, mut tell: impl FnMut(Told<T>) + Send + 'static) -> Worker<T> {
        let mailbox = Mailbox::new();
        let (waiting, runtime) = (mailbox.clone(), runtime.clone());
        let (ends, ended) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("callkit-events".into()).spawn(move || {
            let _entered = runtime.enter();
            // Dropped as the thread ends.
            let _ends = ends;
            while let Some(told) = waiting.take() {
                // A listener that panics must not miss what comes next.
                if catch_unwind(AssertUnwindSafe(|| tell(told))).is_err() {
                    tracing::error!("an event listener panicked");
                }
            }
            // Whatever of the app's goes with it goes here, on its own thread.
            if catch_unwind(AssertUnwindSafe(|| drop(tell))).is_err() {
                tracing::error!("an event listener panicked as it was let go of");
            }
        });
        if let Err(error) = thread {
            tracing::error!(%error, "no thread for a listener, which is told nothing");
            mailbox.discard();
        }
        Worker { mailbox, ended: Some(ended) }
    }

    pub(crate) fn put(&self, entry: Entry<T>) {
        self.mailbox.put(entry);
    }

    /// Tells what waits, and ends.
    pub(crate) fn close(mut self) -> Option<Ended> {
        self.ended.take()
    }

    /// Nothing is told any more but what is being told just now.
    pub(crate) fn discard(&self) {
        self.mailbox.discard();
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        self.mailbox.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(call: u128, rank: Rank, what: &'static str) -> Entry<&'static str> {
        Entry { call: (call > 0).then_some(CallId::from_bits(call)), rank, what }
    }

    fn told(queue: &mut Queue<&'static str>) -> Vec<Told<&'static str>> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    fn push_all(queue: &mut Queue<&'static str>, entries: impl IntoIterator<Item = Entry<&'static str>>) {
        entries.into_iter().for_each(|entry| drop(queue.push(entry)));
    }

    #[test]
    fn figures_go_first_and_nobody_misses_them() {
        let mut queue = Queue::new(3);
        push_all(&mut queue, [entry(1, Rank::Begin, "rings"), entry(1, Rank::Figure, "level 1")]);
        push_all(&mut queue, [entry(1, Rank::Figure, "level 2"), entry(1, Rank::News, "muted")]);
        assert_eq!(told(&mut queue), [Told::This("rings"), Told::This("level 2"), Told::This("muted")]);
    }

    #[test]
    fn a_call_that_began_and_ended_meanwhile_goes_before_any_news_and_the_listener_is_told_how_much_it_lost() {
        let mut queue = Queue::new(4);
        push_all(&mut queue, [entry(0, Rank::News, "connected"), entry(1, Rank::Begin, "rings")]);
        push_all(&mut queue, [entry(1, Rank::News, "missed"), entry(1, Rank::End, "over")]);
        push_all(&mut queue, [entry(2, Rank::Begin, "another rings")]);
        assert_eq!(told(&mut queue), [Told::Lost(3), Told::This("connected"), Told::This("another rings")]);
    }

    #[test]
    fn the_end_of_a_call_that_the_listener_knows_of_is_never_lost() {
        let mut queue = Queue::new(4);
        push_all(&mut queue, [entry(7, Rank::End, "over")]);
        push_all(&mut queue, (0..100).map(|_| entry(0, Rank::News, "news")));
        assert_eq!(told(&mut queue)[..2], [Told::Lost(97), Told::This("over")]);
        push_all(&mut queue, (1..=6).map(|call| entry(call, Rank::End, "over")));
        assert_eq!(told(&mut queue), [const { Told::This("over") }; 6], "not even where there are more than its limit");
    }

    #[test]
    fn whoever_blocks_delays_nobody_and_is_told_the_rest_later() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (go_on, blocked) = std::sync::mpsc::channel::<()>();
        let (heard, hears) = std::sync::mpsc::channel();
        let worker = Worker::start(runtime.handle(), move |told| {
            let _ = blocked.recv();
            let _ = heard.send(told);
        });
        for what in ["one", "two", "three"] {
            worker.put(entry(0, Rank::News, what));
        }
        drop(worker);
        assert!(hears.try_recv().is_err());
        drop(go_on);
        let all: Vec<_> = hears.iter().collect();
        assert_eq!(all, [Told::This("one"), Told::This("two"), Told::This("three")]);
    }

    #[test]
    fn what_is_discarded_is_dropped_outside_of_the_lock() {
        struct CallsBack(Arc<Mailbox<CallsBack>>);
        impl Drop for CallsBack {
            fn drop(&mut self) {
                assert!(self.0.is_closed());
            }
        }
        let mailbox = Mailbox::new();
        for rank in [Rank::News, Rank::End] {
            mailbox.put(Entry { call: None, rank, what: CallsBack(mailbox.clone()) });
        }
        mailbox.discard();
        mailbox.put(Entry { call: None, rank: Rank::News, what: CallsBack(mailbox.clone()) });
    }
}
