//! Who listens to a kit, and what they are told before there is anybody.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_util::Stream;

use crate::dispatch::{Ended, Entry, Mailbox, Queue, Rank, Told, Worker, lock};
use crate::events::{CallKitEvent, CallKitEventHandler};

/// Events kept for a kit that has no listener yet: a call may ring before the app has had the time to add one.
const EARLY_EVENTS: usize = 64;

/// Tells the app's listeners what happens.
#[derive(Clone)]
pub(crate) struct Teller {
    runtime: tokio::runtime::Handle,
    listeners: Arc<Mutex<Listeners>>,
}

/// The lock is held only to look them up. No listener runs, or is dropped, under it.
struct Listeners {
    keyed: BTreeMap<String, Worker<CallKitEvent>>,
    streams: Vec<Arc<Mailbox<CallKitEvent>>>,
    /// What happened before anybody listened; `None` once somebody has.
    early: Option<Queue<CallKitEvent>>,
    closed: bool,
}

impl Teller {
    pub(crate) fn new(runtime: tokio::runtime::Handle) -> Teller {
        let early = Some(Queue::new(EARLY_EVENTS));
        let listeners = Listeners { keyed: BTreeMap::new(), streams: Vec::new(), early, closed: false };
        Teller { runtime, listeners: Arc::new(Mutex::new(listeners)) }
    }

    pub(crate) fn tell(&self, event: CallKitEvent) {
        tracing::debug!(event = event.name(), "told");
        let entry = entry(event);
        let mut listeners = lock(&self.listeners);
        if let Some(early) = &mut listeners.early {
            return keep(early, entry);
        }
        listeners.streams.retain(|stream| !stream.is_closed());
        listeners.streams.iter().for_each(|stream| stream.put(copy(&entry)));
        listeners.keyed.values().for_each(|listener| listener.put(copy(&entry)));
    }

    /// Every listener is told what waits for it, and let go of, which can be waited for; every stream ends.
    pub(crate) fn close(&self) -> Vec<Ended> {
        let mut listeners = lock(&self.listeners);
        listeners.closed = true;
        let (keyed, streams) = (std::mem::take(&mut listeners.keyed), std::mem::take(&mut listeners.streams));
        drop(listeners);
        streams.iter().for_each(|stream| stream.close());
        keyed.into_values().filter_map(Worker::close).collect()
    }

    /// Adds a listener; one that was there under this key is told nothing more.
    pub(crate) fn add(&self, key: String, handler: Arc<dyn CallKitEventHandler>) {
        let worker = Worker::start(&self.runtime, move |told| event_of(told).deliver(&*handler));
        let mut listeners = lock(&self.listeners);
        if listeners.closed {
            drop(listeners);
            return worker.discard();
        }
        listeners.early.take().into_iter().flatten().for_each(|entry| worker.put(entry));
        let before = listeners.keyed.insert(key, worker);
        drop(listeners);
        before.iter().for_each(Worker::discard);
    }

    pub(crate) fn remove(&self, key: &str) {
        let removed = lock(&self.listeners).keyed.remove(key);
        removed.iter().for_each(Worker::discard);
    }

    pub(crate) fn clear(&self) {
        let removed = std::mem::take(&mut lock(&self.listeners).keyed);
        removed.values().for_each(Worker::discard);
    }

    pub(crate) fn stream(&self) -> Events {
        let mailbox = Mailbox::new();
        let mut listeners = lock(&self.listeners);
        if listeners.closed {
            mailbox.close();
        } else {
            listeners.early.take().into_iter().flatten().for_each(|entry| mailbox.put(entry));
            listeners.streams.push(mailbox.clone());
        }
        Events(mailbox)
    }
}

/// The events of a kit as values.
pub(crate) struct Events(Arc<Mailbox<CallKitEvent>>);

impl Stream for Events {
    type Item = CallKitEvent;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<CallKitEvent>> {
        self.0.poll_take(context).map(|told| told.map(event_of))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.0.discard();
    }
}

fn event_of(told: Told<CallKitEvent>) -> CallKitEvent {
    match told {
        Told::This(event) => event,
        Told::Lost(count) => CallKitEvent::EventsLost { count },
    }
}

fn entry(what: CallKitEvent) -> Entry<CallKitEvent> {
    let call = match &what {
        // Nobody who comes later may miss it, although the call is over.
        CallKitEvent::CallMissed { .. } => None,
        what => what.call_id(),
    };
    let rank = match &what {
        CallKitEvent::ReceiveCall { .. } | CallKitEvent::CallWaiting { .. } => Rank::Begin,
        CallKitEvent::CallEnd { .. } => Rank::End,
        CallKitEvent::CallMissed { .. }
        | CallKitEvent::CallMerged { .. }
        | CallKitEvent::CallHeld { .. }
        | CallKitEvent::PeerHeld { .. }
        | CallKitEvent::Ringing { .. }
        | CallKitEvent::Answer { .. }
        | CallKitEvent::JoinedChannel { .. }
        | CallKitEvent::UserJoined { .. }
        | CallKitEvent::UserLeft { .. }
        | CallKitEvent::UserMuteAudio { .. }
        | CallKitEvent::UserMuteVideo { .. }
        | CallKitEvent::UserRemoved { .. }
        | CallKitEvent::FirstAudio { .. }
        | CallKitEvent::PeerReachable { .. }
        | CallKitEvent::NetworkAvailable { .. }
        | CallKitEvent::MicrophoneFailed { .. }
        | CallKitEvent::MicrophoneRestored { .. }
        | CallKitEvent::Error { .. }
        | CallKitEvent::AccessTokenExpiring { .. }
        | CallKitEvent::ConnectionChanged { .. }
        | CallKitEvent::EventsLost { .. } => Rank::News,
    };
    Entry { call, rank, what }
}

fn copy(entry: &Entry<CallKitEvent>) -> Entry<CallKitEvent> {
    Entry { call: entry.call, rank: entry.rank, what: entry.what.clone() }
}

/// Keeps what happens for whoever listens first, who has no use for what is over by then: a call that has ended, a connection that has changed
/// again.
fn keep(early: &mut Queue<CallKitEvent>, entry: Entry<CallKitEvent>) {
    match (&entry.what, entry.call) {
        (CallKitEvent::CallEnd { .. }, Some(call_id)) => drop(early.take_all_of(call_id)),
        (CallKitEvent::CallMerged { old, .. }, _) => {
            drop(early.take_all_of(*old));
            drop(early.push(entry));
        }
        (CallKitEvent::ConnectionChanged { .. }, _) => {
            early.forget(|event| matches!(event, CallKitEvent::ConnectionChanged { .. }));
            drop(early.push(entry));
        }
        _ => drop(early.push(entry)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use call_protocol::CallId;
    use call_protocol::end::EndReason;
    use call_protocol::invite::{CallType, Ext};
    use futures_util::StreamExt;

    use super::*;
    use crate::events::ConnectionState;

    fn rings(call_id: CallId) -> CallKitEvent {
        let (user, call_type) = ("alice".parse().unwrap(), CallType::Audio1v1);
        CallKitEvent::ReceiveCall { user, call_id, call_type, ext: Ext::new() }
    }

    fn ends(call_id: CallId) -> CallKitEvent {
        CallKitEvent::CallEnd { call_id, reason: EndReason::RemoteCancel, user_code: None }
    }

    fn call(number: u128) -> CallId {
        CallId::from_bits(number)
    }

    #[tokio::test]
    async fn whoever_listens_first_hears_of_what_goes_on_and_not_of_what_is_over() {
        let teller = Teller::new(tokio::runtime::Handle::current());
        for number in 1..=100 {
            teller.tell(rings(call(number)));
            teller.tell(ends(call(number)));
        }
        teller.tell(CallKitEvent::ConnectionChanged { state: ConnectionState::Reconnecting });
        teller.tell(rings(call(200)));
        let back = CallKitEvent::ConnectionChanged { state: ConnectionState::Connected };
        teller.tell(back.clone());
        let first = teller.stream();
        let second = teller.stream();
        teller.tell(ends(call(200)));
        teller.close();
        let first: Vec<_> = first.collect().await;
        assert_eq!(first, [rings(call(200)), back, ends(call(200))]);
        assert_eq!(second.collect::<Vec<_>>().await, [ends(call(200))]);
    }

    /// Hangs in whatever it is told, until it is let go on.
    struct Hangs(std::sync::Mutex<mpsc::Receiver<()>>, mpsc::Sender<CallId>);

    impl CallKitEventHandler for Hangs {
        fn on_call_end(&self, call_id: CallId, _: EndReason, _: Option<&str>) {
            let _ = lock(&self.0).recv();
            let _ = self.1.send(call_id);
        }
    }

    #[tokio::test]
    async fn a_listener_that_hangs_delays_neither_streams_nor_other_listeners() {
        let teller = Teller::new(tokio::runtime::Handle::current());
        let ((go_on, hangs), (told, hears)) = (mpsc::channel(), mpsc::channel());
        let ((_open, open), (other_told, other_hears)) = (mpsc::channel(), mpsc::channel());
        drop(_open);
        teller.add("one that hangs".into(), Arc::new(Hangs(hangs.into(), told)));
        teller.add("one that does not".into(), Arc::new(Hangs(open.into(), other_told)));
        let mut stream = teller.stream();
        for number in 1..=3 {
            teller.tell(ends(call(number)));
            assert_eq!(stream.next().await, Some(ends(call(number))));
        }
        teller.close();
        assert_eq!(other_hears.iter().collect::<Vec<_>>(), [call(1), call(2), call(3)]);
        assert!(hears.try_recv().is_err());
        drop(go_on);
        assert_eq!(hears.iter().collect::<Vec<_>>(), [call(1), call(2), call(3)]);
    }

    /// Uses the kit as it is dropped, as foreign objects may.
    struct CallsBack(Teller, mpsc::Sender<()>);

    impl CallKitEventHandler for CallsBack {}

    impl Drop for CallsBack {
        fn drop(&mut self) {
            self.0.remove("whoever");
            drop(self.0.stream());
            let _ = self.1.send(());
        }
    }

    #[tokio::test]
    async fn a_listener_may_use_the_kit_as_it_is_dropped() {
        let teller = Teller::new(tokio::runtime::Handle::current());
        let (dropped, all_dropped) = mpsc::channel();
        let add = |key: &str| teller.add(key.into(), Arc::new(CallsBack(teller.clone(), dropped.clone())));
        add("replaced");
        add("replaced");
        add("removed");
        teller.remove("removed");
        add("cleared");
        teller.clear();
        add("closed");
        teller.close();
        add("late");
        for _ in 0..5 {
            all_dropped.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
        }
    }
}
