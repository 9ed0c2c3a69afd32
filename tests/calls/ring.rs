//! Rows about ringing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use callkit::{CallId, CallKitEvent, CallKitEventHandler, CallType, EndReason, Ext, UserId};

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::house::{House, PATIENCE};

/// Counts the calls that ring, and says when one is over.
struct Counting(Arc<AtomicUsize>, UnboundedSender<()>);

impl CallKitEventHandler for Counting {
    fn on_receive_call(&self, _user: &UserId, _call_id: CallId, _call_type: CallType, _ext: &Ext) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
    fn on_call_end(&self, _: CallId, _: EndReason, _: Option<&str>) {
        let _ = self.1.send(());
    }
}

struct Panicking;

impl CallKitEventHandler for Panicking {
    fn on_receive_call(&self, _user: &UserId, _call_id: CallId, _call_type: CallType, _ext: &Ext) {
        panic!("a listener of the app panics (on purpose)");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_listeners_are_keyed_and_one_that_panics_harms_nobody() {
    let house = House::open().await;
    let (mut alice, mut bob) = (house.phone("alice").await, house.phone("bob").await);
    let counters: Vec<_> = (0..4).map(|_| Arc::new(AtomicUsize::new(0))).collect();
    bob.kit.add_event_listener("a panicking one", Panicking);
    let (over, mut ends) = unbounded_channel();
    let keys = ["kept", "replaced", "replaced", "removed"];
    for (key, counter) in keys.into_iter().zip(&counters) {
        bob.kit.add_event_listener(key, Counting(counter.clone(), over.clone()));
    }
    drop(over);
    bob.kit.remove_event_listener("removed");
    let counts = || counters.iter().map(|c| c.load(Ordering::SeqCst)).collect::<Vec<_>>();

    let call_id = alice.calls(&mut bob).await;
    bob.kit.hangup(call_id).await.unwrap();
    bob.until_end(call_id).await;
    for _ in 0..2 {
        // An event after it: what came before has been delivered to this listener.
        tokio::time::timeout(PATIENCE, ends.recv()).await.unwrap().unwrap();
    }
    assert_eq!(counts(), [1, 0, 1, 0]);

    bob.kit.clear_event_listeners();
    alice.until_end(call_id).await;
    let call_id = alice.calls(&mut bob).await;
    bob.kit.hangup(call_id).await.unwrap();
    bob.until_end(call_id).await;
    // Whatever they were told they have been told by the time that they are dropped.
    assert_eq!(tokio::time::timeout(PATIENCE, ends.recv()).await.unwrap(), None);
    assert_eq!(counts(), [1, 0, 1, 0], "streams go on, listeners are gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn e1_on_receive_call_comes_to_the_callee_only_and_once() {
    let house = House::open().await;
    let (mut alice, mut bob) = (house.phone("alice").await, house.phone("bob").await);
    let carol = house.phone("carol").await;
    let call_id = alice.calls(&mut bob).await;
    alice.kit.hangup(call_id).await.unwrap();
    bob.until_end(call_id).await;
    let is_receive = |event: &&CallKitEvent| event.name() == "receive_call";
    assert_eq!(bob.sign_out_and_drain().await.iter().filter(is_receive).count(), 1);
    assert_eq!(alice.sign_out_and_drain().await.iter().filter(is_receive).count(), 0);
    assert_eq!(carol.sign_out_and_drain().await.iter().filter(is_receive).count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn e1_a_phone_that_signs_in_while_the_call_rings_rings_too() {
    let house = House::open().await;
    house.backend("bob").await;
    let mut alice = house.phone("alice").await;
    let call_id = alice.kit.start_single_call("bob", CallType::Audio1v1, Ext::new()).await.unwrap();
    let mut bob = house.phone("bob").await;
    bob.until("receive_call").await;
    bob.kit.hangup(call_id).await.unwrap();
    assert_eq!(alice.until_end(call_id).await, EndReason::RemoteRefuse);
}
