//! Listeners that hang, hold handles for too long, or come late.

use std::sync::{Mutex, mpsc};
use std::time::Duration;

use callkit::{
    Call, CallError, CallEventHandler, CallId, CallKitEvent, CallKitEventHandler, CallState, CallType, EndReason, Ext,
    UserId, WeakCallKit,
};
use futures_util::StreamExt;

use crate::house::{House, PATIENCE, Phone};
use crate::p4::{Told, Town};
use crate::sound_muted::makes;

const ALICE: f32 = 400.0;
const BOB: f32 = 700.0;

/// Hangs in the first thing that it is told, until the sender is dropped.
struct Hangs(Mutex<mpsc::Receiver<()>>);

impl Hangs {
    fn new() -> (Hangs, mpsc::Sender<()>) {
        let (go_on, hangs) = mpsc::channel();
        (Hangs(Mutex::new(hangs)), go_on)
    }

    fn hang(&self) {
        let _ = self.0.lock().map(|hangs| hangs.recv());
    }
}

impl CallKitEventHandler for Hangs {
    fn on_receive_call(&self, _: &UserId, _: CallId, _: CallType, _: &Ext) {
        self.hang();
    }
}

impl CallEventHandler for Hangs {
    fn on_wait_connected(&self, _: &Call) {
        self.hang();
    }
}

/// Takes its time with each end, as one does that writes it down.
struct Slow(mpsc::Sender<CallId>);

impl CallKitEventHandler for Slow {
    fn on_call_end(&self, call_id: CallId, _: EndReason, _: Option<&str>) {
        // sleeps: this is what the app's own listener does.
        std::thread::sleep(Duration::from_millis(200));
        let _ = self.0.send(call_id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kit_is_signed_out_when_its_listeners_have_heard_the_last_events_and_waits_for_none_that_hangs() {
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let mut bob = house.singer("bob", BOB, |b| b).await;
    let (listener, hears) = mpsc::channel();
    alice.kit.add_event_listener("slow", Slow(listener));
    let (listener, go_on) = Hangs::new();
    bob.kit.add_event_listener("one that hangs", listener);
    let call_id = alice.talks_with(&mut bob).await;
    // The call ends as the kit signs out.
    alice.kit.sign_out().await;
    assert_eq!(hears.try_recv(), Ok(call_id));
    bob.until_end(call_id).await;
    tokio::time::timeout(PATIENCE, bob.kit.sign_out()).await.unwrap();
    drop(go_on);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_hangs_delays_neither_the_events_nor_the_handlers_of_calls() {
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let mut bob = house.singer("bob", BOB, |b| b).await;
    let (listener, go_on) = Hangs::new();
    bob.kit.add_event_listener("one that hangs", listener);
    let call_id = alice.talks_with(&mut bob).await;
    alice.kit.hangup(call_id).await.unwrap();
    bob.until_end(call_id).await;
    alice.until_end(call_id).await;

    let (call, mut told) = makes(&bob, "alice").await;
    alice.until_rings(call.id()).await;
    alice.kit.answer(call.id()).await.unwrap();
    told.until_connected().await;
    call.end().await.unwrap();
    told.until_end().await;
    drop(go_on);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_of_a_call_that_hangs_delays_no_listener_of_the_kit() {
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let mut bob = house.singer("bob", BOB, |b| b).await;
    let (handler, go_on) = Hangs::new();
    let param = callkit::MakeCallParam::builder().my_user_id("bob").my_service_id("demo").peer_user_id("alice");
    let param = param.peer_service_id("demo").access_token("signed in already").build().unwrap();
    let call = bob.kit.make_call(param, handler).await.call.unwrap();
    alice.until_rings(call.id()).await;
    alice.kit.answer(call.id()).await.unwrap();
    alice.hears(BOB).await;
    call.end().await.unwrap();
    alice.until_end(call.id()).await;
    alice.talks_with(&mut bob).await;
    drop(go_on);
}

/// Waits until everybody has let go of the kit, and it has signed out.
async fn signs_out(events: impl futures_util::Stream<Item = CallKitEvent>) {
    let end = tokio::time::timeout(PATIENCE, events.for_each(async |_| ()));
    end.await.expect("the kit is let go of");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_over_keeps_no_kit_signed_in() {
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let bob = house.singer("bob", BOB, |b| b).await;
    let events = bob.kit.events();
    let (call, mut told) = makes(&bob, "alice").await;
    alice.until_rings(call.id()).await;
    drop(bob);
    // It rings on, as there is a handle of it.
    alice.kit.answer(call.id()).await.unwrap();
    told.until_connected().await;
    call.end().await.unwrap();
    told.until_end().await;
    signs_out(events).await;
    assert_eq!((call.state(), call.end().await), (CallState::Disconnected, Err(CallError::NoSuchCall)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_a_manager_that_is_over_says_so_though_nobody_holds_it() {
    let town = Town::open().await;
    let (alice, bob) = (town.person("alice", ALICE).await, town.person("bob", BOB).await);
    let (here, mut there) = town.talk(&alice, &bob).await;
    here.call.end().await.unwrap();
    drop(here);
    assert!(matches!(there.ear.next().await, Told::Disconnected(_)));
}

/// Answers everybody, as the example of the crate does.
struct Secretary(WeakCallKit);

impl CallKitEventHandler for Secretary {
    fn on_receive_call(&self, _: &UserId, call_id: CallId, _: CallType, _: &Ext) {
        let Some(kit) = self.0.upgrade() else { return };
        tokio::spawn(async move { kit.answer(call_id).await });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_with_a_weak_handle_answers_and_keeps_no_kit_signed_in() {
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let Phone { kit, .. } = house.singer("bob", BOB, |b| b).await;
    kit.add_event_listener("secretary", Secretary(kit.downgrade()));
    let events = kit.events();
    let weak = kit.downgrade();
    let call_id = alice.dials("bob").await;
    alice.until("answer").await;
    alice.hears(BOB).await;
    drop(kit);
    assert_eq!(alice.until_end(call_id).await, EndReason::RemoteHangup);
    signs_out(events).await;
    assert!(weak.upgrade().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_listens_first_hears_nothing_of_calls_that_are_over() {
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let backend = house.backend("bob").await;
    let kit = house.builder().sign_in("bob", backend.access_token()).await.unwrap();
    backend.supply(&kit);
    kit.init_rtc().await.unwrap();
    for _ in 0..2 {
        let over = alice.dials("bob").await;
        alice.until("ringing").await;
        alice.kit.hangup(over).await.unwrap();
        alice.until_end(over).await;
    }
    let rings = alice.dials("bob").await;
    alice.until("ringing").await;
    let mut phone = Phone::of(kit, callkit::Recording::new());
    let first = phone.next().await;
    assert!(matches!(first, CallKitEvent::ReceiveCall { call_id, .. } if call_id == rings), "{first:?}");
    alice.kit.hangup(rings).await.unwrap();
    assert_eq!(phone.until_end(rings).await, EndReason::RemoteCancel);
}
