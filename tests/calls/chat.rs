//! Calls whose words go by the app's own chat; the channel and its tokens are the server's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use call_protocol::{CallMessage, ChatMessage, DeviceId, UserId, Word, wire};
use callkit::{CallError, CallId, CallKitEvent, CallType, Chat, EndReason, Ext, HandlerError};

use crate::house::{House, Phone, count, ends};
use crate::post::{Post, Seat};

const ALICE: f32 = 400.0;
const BOB: f32 = 700.0;

async fn two(house: &House, post: &Post) -> (Phone, Phone) {
    (post.phone(house, "alice", "phone", ALICE).await, post.phone(house, "bob", "phone", BOB).await)
}

/// Every way in which a call goes, one after another.
async fn all_the_ways(post: Post) {
    let house = House::open().await;
    let (mut alice, mut bob) = two(&house, &post).await;

    let talked = alice.calls(&mut bob).await;
    alice.until("ringing").await;
    bob.kit.answer(talked).await.unwrap();
    bob.hears(ALICE).await;
    alice.hears(BOB).await;
    let mut carol = post.phone(&house, "carol", "phone", 900.0).await;
    let busy = carol.dials("bob").await;
    assert_eq!(carol.until_end(busy).await, EndReason::Busy);
    bob.kit.hangup(talked).await.unwrap();
    assert_eq!(alice.until_end(talked).await, EndReason::RemoteHangup);
    assert_eq!(bob.until_end(talked).await, EndReason::Hangup);

    let cancelled = alice.calls(&mut bob).await;
    alice.kit.hangup(cancelled).await.unwrap();
    assert_eq!(alice.until_end(cancelled).await, EndReason::Cancel);
    assert_eq!(bob.until_end(cancelled).await, EndReason::RemoteCancel);

    let declined = bob.calls(&mut alice).await;
    alice.kit.hangup(declined).await.unwrap();
    assert_eq!(alice.until_end(declined).await, EndReason::Refuse);
    assert_eq!(bob.until_end(declined).await, EndReason::RemoteRefuse);

    for phone in [alice, bob, carol] {
        let seen = phone.sign_out_and_drain().await;
        let told: Vec<usize> = [talked, cancelled, declined].map(|id| ends(&seen, id).len()).to_vec();
        assert!(told == [1, 1, 1] || told == [0, 0, 0], "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_ring_are_taken_and_end_by_way_of_the_chat() {
    all_the_ways(Post::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_that_doubles_delays_and_reorders_changes_nothing() {
    all_the_ways(Post::careless(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_order_of_the_chat_changes_nothing_either() {
    all_the_ways(Post::careless(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_devices_one_takes_the_call_also_where_the_chat_cannot_address_a_device() {
    for post in [Post::careless(3), Post::careless(4).for_everybody()] {
        let house = House::open().await;
        let mut alice = post.phone(&house, "alice", "phone", ALICE).await;
        let idle = post.phone(&house, "alice", "desk", ALICE).await;
        let mut bobs = Vec::new();
        for device in ["phone", "desk", "tablet"] {
            bobs.push(post.phone(&house, "bob", device, BOB).await);
        }
        let taken = alice.dials("bob").await;
        for bob in &mut bobs {
            bob.until("receive_call").await;
        }
        bobs[1].kit.answer(taken).await.unwrap();
        assert_eq!(bobs[0].until_end(taken).await, EndReason::AnsweredElsewhere);
        assert_eq!(bobs[2].until_end(taken).await, EndReason::AnsweredElsewhere);
        bobs[1].hears(ALICE).await;
        alice.hears(BOB).await;
        alice.kit.hangup(taken).await.unwrap();
        assert_eq!(bobs[1].until_end(taken).await, EndReason::RemoteHangup);
        alice.until_end(taken).await;

        let declined = alice.dials("bob").await;
        for bob in &mut bobs {
            bob.until("receive_call").await;
        }
        bobs[2].kit.hangup(declined).await.unwrap();
        assert_eq!(alice.until_end(declined).await, EndReason::RemoteRefuse);
        assert_eq!(bobs[0].until_end(declined).await, EndReason::RefusedElsewhere);
        assert_eq!(bobs[1].until_end(declined).await, EndReason::RefusedElsewhere);
        for bob in bobs {
            let seen = bob.sign_out_and_drain().await;
            assert_eq!((ends(&seen, taken).len(), ends(&seen, declined).len()), (1, 1));
        }
        let seen = idle.sign_out_and_drain().await;
        assert_eq!(count(&seen, "receive_call") + count(&seen, "call_end") + count(&seen, "call_missed"), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_across_each_other_become_one() {
    let house = House::open().await;
    for seed in [5, 6] {
        let post = Post::careless(seed);
        let (alice, bob) = two(&house, &post).await;
        post.hold();
        let of_alice = alice.kit.start_single_call("bob", CallType::Audio1v1, Ext::new()).await.unwrap();
        let of_bob = bob.kit.start_single_call("alice", CallType::Video1v1, Ext::new()).await.unwrap();
        post.go_on();
        let (call_id, old) = (of_alice.min(of_bob), of_alice.max(of_bob));
        bob.hears(ALICE).await;
        alice.hears(BOB).await;
        alice.kit.hangup(call_id).await.unwrap();
        let is_merged = |event: &&CallKitEvent| {
            matches!(event, CallKitEvent::CallMerged { old: was, call_id: of, call_type: CallType::Audio1v1, .. }
                if (*was, *of) == (old, call_id))
        };
        let mut times = 0;
        for mut phone in [alice, bob] {
            phone.until_end(call_id).await;
            let seen = phone.sign_out_and_drain().await;
            times += seen.iter().filter(is_merged).count();
            assert_eq!((count(&seen, "call_end"), count(&seen, "answer")), (1, 1));
        }
        assert_eq!(times, 1, "told at the one side whose call was given up");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signs_of_life_and_holds_travel_on_the_media_path_and_not_through_the_chat() {
    let house = House::open().await;
    let post = Post::new();
    let (mut alice, mut bob) = two(&house, &post).await;
    let call_id = alice.talks_with(&mut bob).await;
    alice.hears(BOB).await;
    bob.hears(ALICE).await;
    // Acknowledgements of the last steps may still be on their way.
    alice.hears_for(1.0, alice.heard.len()).await;
    let said = post.said().len();
    bob.kit.hold(call_id).await.unwrap();
    assert!(
        matches!(alice.until("peer_held").await, CallKitEvent::PeerHeld { call_id: of, held: true, .. } if of == call_id)
    );
    bob.kit.unhold(call_id).await.unwrap();
    assert!(
        matches!(alice.until("peer_held").await, CallKitEvent::PeerHeld { call_id: of, held: false, .. } if of == call_id)
    );
    bob.hears(ALICE).await;
    // More than the time between two signs of life.
    alice.hears_for(4.0, alice.heard.len()).await;
    let words: Vec<_> = post.said()[said..].iter().map(|said| said.message.word.name()).collect();
    assert_eq!(words, [] as [&str; 0]);
    alice.kit.hangup(call_id).await.unwrap();
    assert_eq!(bob.until_end(call_id).await, EndReason::RemoteHangup);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_vanishes_while_it_rings_leaves_nobody_ringing() {
    let house = House::open().await;
    let post = Post::new();
    let seat = post.seat("alice", "phone");
    let doomed = house.mortal("alice", ALICE, |b| b.device("phone").chat(seat)).await;
    let mut bobs = [post.phone(&house, "bob", "phone", BOB).await, post.phone(&house, "bob", "desk", BOB).await];
    let call_id = doomed.phone.dials("bob").await;
    for bob in &mut bobs {
        bob.until("receive_call").await;
    }
    doomed.crash();
    for bob in &mut bobs {
        assert_eq!(bob.until_end(call_id).await, EndReason::RemoteDrop);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_crashes_in_a_call_and_calls_again_gets_through_at_once() {
    let house = House::open().await;
    let post = Post::new();
    let seat = post.seat("alice", "phone");
    let mut doomed = house.mortal("alice", ALICE, |b| b.device("phone").chat(seat)).await;
    let mut bob = post.phone(&house, "bob", "phone", BOB).await;
    let old = doomed.phone.talks_with(&mut bob).await;
    doomed.crash();
    let alice = post.phone(&house, "alice", "phone", 1_100.0).await;
    let again = alice.dials("bob").await;
    assert_eq!(bob.until_end(old).await, EndReason::RemoteDrop);
    bob.until("receive_call").await;
    bob.kit.answer(again).await.unwrap();
    bob.hears(1_100.0).await;
    alice.hears(BOB).await;
}

/// Somebody in the chat says something about a call.
async fn forge(post: &Post, user: &str, call_id: CallId, word: Word) {
    let seat = post.seat(user, "forge");
    for device in ["phone", "desk"] {
        let from = DeviceId::new(device).unwrap();
        let message = CallMessage { call_id, word: word.clone() };
        let bytes = wire::encode_chat(&ChatMessage { from, to: None, message });
        seat.send(&UserId::new("bob").unwrap(), None, bytes).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_else_in_the_chat_can_neither_end_a_call_nor_break_a_phone() {
    let house = House::open().await;
    let post = Post::new();
    let (mut alice, mut bob) = two(&house, &post).await;
    let call_id = alice.calls(&mut bob).await;
    forge(&post, "mallory", call_id, Word::End(EndReason::RemoteHangup.into())).await;
    post.send_raw("mallory", "bob", b"\xff\xff no message at all").await;
    post.send_raw("mallory", "bob", b"").await;
    bob.kit.answer(call_id).await.unwrap();
    bob.hears(ALICE).await;
    forge(&post, "mallory", call_id, Word::End(EndReason::RemoteHangup.into())).await;
    post.send_raw("mallory", "bob", &[0; 70_000]).await;
    bob.hears(ALICE).await;
    alice.hears(BOB).await;
    assert_eq!(bob.ends(call_id), []);
    alice.kit.hangup(call_id).await.unwrap();
    assert_eq!(bob.until_end(call_id).await, EndReason::RemoteHangup);
    let seen = bob.sign_out_and_drain().await;
    assert!(!seen.iter().any(|event| matches!(event, CallKitEvent::Error { .. })), "{seen:?}");
    assert!(!alice.errors().contains(&CallError::Refused));
}

/// A chat that takes its time with each message, as one does that asks its server.
struct Slow {
    seat: Seat,
    handed_in: Arc<AtomicUsize>,
    carried: Arc<AtomicUsize>,
}

#[async_trait]
impl Chat for Slow {
    async fn send(&self, to: &UserId, device: Option<&DeviceId>, message: Vec<u8>) -> Result<(), HandlerError> {
        self.handed_in.fetch_add(1, Ordering::SeqCst);
        // sleeps: the server of the chat is far away.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let sent = self.seat.send(to, device, message).await;
        self.carried.fetch_add(1, Ordering::SeqCst);
        sent
    }

    async fn receive(&self) -> Option<(UserId, Vec<u8>)> {
        self.seat.receive().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_words_of_a_kit_that_signs_out_are_carried_before_it_is_gone() {
    let house = House::open().await;
    let post = Post::new();
    let [handed_in, carried] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let slow =
        Slow { seat: post.seat("alice", "phone"), handed_in: Arc::clone(&handed_in), carried: Arc::clone(&carried) };
    let mut alice = house.singer("alice", ALICE, |b| b.device("phone").chat(slow)).await;
    let mut bob = post.phone(&house, "bob", "phone", BOB).await;
    let call_id = alice.talks_with(&mut bob).await;
    alice.kit.sign_out().await;
    assert_eq!(handed_in.load(Ordering::SeqCst), carried.load(Ordering::SeqCst));
    let last_words = post.said().iter().filter(|said| said.is("alice", "end")).count();
    assert!(last_words > 0, "{:?}", post.said().iter().map(|said| said.message.word.name()).collect::<Vec<_>>());
    assert_eq!(bob.until_end(call_id).await, EndReason::RemoteHangup);
}
