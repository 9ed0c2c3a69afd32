//! Rows about ringing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use callkit::{CallId, CallKitEvent, CallKitEventHandler, CallType, EndReason, Ext, UserId};

use crate::house::House;

struct Counting(Arc<AtomicUsize>);

impl CallKitEventHandler for Counting {
    fn on_receive_call(&self, _user: &UserId, _call_id: CallId, _call_type: CallType, _ext: &Ext) {
        self.0.fetch_add(1, Ordering::SeqCst);
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
    bob.kit.add_event_listener("kept", Counting(counters[0].clone()));
    bob.kit.add_event_listener("replaced", Counting(counters[1].clone()));
    bob.kit.add_event_listener("replaced", Counting(counters[2].clone()));
    bob.kit.add_event_listener("removed", Counting(counters[3].clone()));
    bob.kit.remove_event_listener("removed");
    let counts = || counters.iter().map(|c| c.load(Ordering::SeqCst)).collect::<Vec<_>>();

    let call_id = alice.calls(&mut bob).await;
    bob.kit.hangup(call_id).await.unwrap();
    // An event after it: what came before has been delivered.
    bob.until_end(call_id).await;
    assert_eq!(counts(), [1, 0, 1, 0]);

    bob.kit.clear_event_listeners();
    alice.until_end(call_id).await;
    let call_id = alice.calls(&mut bob).await;
    bob.kit.hangup(call_id).await.unwrap();
    bob.until_end(call_id).await;
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
