//! Two people act at the same moment, or one of them is gone: one consistent outcome.

use callkit::{CallId, CallKitEvent, CallType, EndReason, Ext, SecondCall};
use callkit_server::ServerConfig;

use crate::cable::Cable;
use crate::house::{House, Phone, count, ends, is_answered};

const ALICE: f32 = 400.0;
const BOB: f32 = 700.0;
const CAROL: f32 = 1_100.0;

/// Two phones whose cables can be held.
async fn two_by_cable(house: &House) -> ((Phone, Cable), (Phone, Cable)) {
    let (mine, other) = (Cable::to(house.address()).await, Cable::to(house.address()).await);
    let alice = house.singer("alice", ALICE, |b| b.server(&mine.url)).await;
    let bob = house.singer("bob", BOB, |b| b.server(&other.url)).await;
    ((alice, mine), (bob, other))
}

/// Both call each other before either can know, and end up in one call: its id, and whether it is Alice's.
async fn glare(
    alice: (&mut Phone, &Cable, CallType),
    bob: (&mut Phone, &Cable, CallType),
    expected: CallType,
) -> CallId {
    let ((alice, cable, kind), (bob, other_cable, other_kind)) = (alice, bob);
    cable.hold();
    other_cable.hold();
    let of_alice = alice.kit.start_single_call("bob", kind, Ext::new()).await.unwrap();
    let of_bob = bob.kit.start_single_call("alice", other_kind, Ext::new()).await.unwrap();
    cable.mend();
    other_cable.mend();
    let (going_on, old) = (of_alice.min(of_bob), of_alice.max(of_bob));
    let (winner, loser) = if going_on == of_alice { (&mut *alice, &mut *bob) } else { (&mut *bob, &mut *alice) };
    let merged = loser.until("call_merged").await;
    assert!(
        matches!(merged, CallKitEvent::CallMerged { old: was, call_id: of, call_type: kind, .. } if was == old && of == going_on && kind == expected)
    );
    for phone in [winner, loser] {
        assert!(matches!(phone.until("answer").await, CallKitEvent::Answer { call_id: of, .. } if of == going_on));
    }
    alice.hears(BOB).await;
    bob.hears(ALICE).await;
    alice.kit.hangup(going_on).await.unwrap();
    assert_eq!(bob.until_end(going_on).await, EndReason::RemoteHangup);
    assert_eq!(alice.until_end(going_on).await, EndReason::Hangup);
    for phone in [&*alice, &*bob] {
        assert_eq!(phone.ends(old), [], "nothing more is told of the old one");
    }
    going_on
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_call_each_other_at_the_same_moment_end_up_in_one_call() {
    let house = House::open().await;
    let ((mut alice, cable), (mut bob, other)) = two_by_cable(&house).await;
    const CALLS: usize = 4;
    for _ in 0..CALLS {
        let (audio, expected) = (CallType::Audio1v1, CallType::Audio1v1);
        glare((&mut alice, &cable, audio), (&mut bob, &other, audio), expected).await;
    }
    let seen = [alice.sign_out_and_drain().await, bob.sign_out_and_drain().await];
    for (name, times) in [("call_merged", CALLS), ("call_end", 2 * CALLS), ("answer", 2 * CALLS), ("receive_call", 0)] {
        assert_eq!(seen.iter().map(|seen| count(seen, name)).sum::<usize>(), times, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_across_each_other_of_different_kinds_become_a_voice_call() {
    let house = House::open().await;
    let ((mut alice, cable), (mut bob, other)) = two_by_cable(&house).await;
    let (audio, video) = (CallType::Audio1v1, CallType::Video1v1);
    for (kind, other_kind, expected) in [(audio, video, audio), (video, audio, audio), (video, video, video)] {
        glare((&mut alice, &cable, kind), (&mut bob, &other, other_kind), expected).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_across_each_other_leave_no_other_device_ringing() {
    let house = House::open().await;
    let ((mut alice, cable), (mut bob, other)) = two_by_cable(&house).await;
    let desks = [house.singer("alice", ALICE, |b| b).await, house.singer("bob", BOB, |b| b).await];
    let audio = CallType::Audio1v1;
    glare((&mut alice, &cable, audio), (&mut bob, &other, audio), audio).await;
    // A call after it: whatever was to be said of the ones before has been said.
    let [mut desk, mut other_desk] = desks;
    let last = desk.dials("bob").await;
    bob.until_rings(last).await;
    other_desk.until_rings(last).await;
    bob.kit.hangup(last).await.unwrap();
    desk.until_end_of(last).await;
    assert_eq!(other_desk.until_end_of(last).await, EndReason::RefusedElsewhere);
    for desk in [desk, other_desk] {
        let seen = desk.sign_out_and_drain().await;
        let rang: Vec<CallId> = seen
            .iter()
            .filter_map(|event| match event {
                CallKitEvent::ReceiveCall { call_id, .. } if *call_id != last => Some(*call_id),
                _ => None,
            })
            .collect();
        for call_id in rang {
            assert_eq!(ends(&seen, call_id), [EndReason::AnsweredElsewhere]);
        }
        assert_eq!(count(&seen, "call_missed"), 0, "nobody missed a call: they talked");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_call_is_taken_with_hold_and_the_first_one_goes_on_later() {
    let house = House::open().await;
    let (mut alice, mut carol) = (house.singer("alice", ALICE, |b| b).await, house.singer("carol", CAROL, |b| b).await);
    let mut bob = house.singer("bob", BOB, |b| b.second_call(SecondCall::Waiting)).await;
    let first = alice.talks_with(&mut bob).await;
    let second = carol.dials("bob").await;
    let waiting = bob.until("call_waiting").await;
    assert!(
        matches!(waiting, CallKitEvent::CallWaiting { user, call_id, .. } if user.as_str() == "carol" && call_id == second)
    );
    bob.hears(ALICE).await;

    bob.kit.answer(second).await.unwrap();
    assert!(
        matches!(bob.until("call_held").await, CallKitEvent::CallHeld { call_id: of, held: true, .. } if of == first)
    );
    assert!(
        matches!(alice.until("peer_held").await, CallKitEvent::PeerHeld { call_id: of, held: true, .. } if of == first)
    );
    bob.hears(CAROL).await;
    carol.hears(BOB).await;
    alice.hears_nothing().await;

    let mut dave = house.singer("dave", 1_500.0, |b| b).await;
    let third = dave.dials("bob").await;
    assert_eq!(dave.until_end(third).await, EndReason::Busy, "two are enough");

    bob.kit.unhold(first).await.unwrap();
    assert!(
        matches!(carol.until("peer_held").await, CallKitEvent::PeerHeld { call_id: of, held: true, .. } if of == second)
    );
    assert!(
        matches!(alice.until("peer_held").await, CallKitEvent::PeerHeld { call_id: of, held: false, .. } if of == first)
    );
    bob.hears(ALICE).await;
    alice.hears(BOB).await;
    carol.hears_nothing().await;

    // One ends, the other one stays.
    carol.kit.hangup(second).await.unwrap();
    assert_eq!(bob.until_end(second).await, EndReason::RemoteHangup);
    bob.hears(ALICE).await;
    alice.hears(BOB).await;
    bob.kit.hangup(first).await.unwrap();
    assert_eq!(alice.until_end(first).await, EndReason::RemoteHangup);
    let seen = bob.sign_out_and_drain().await;
    assert_eq!((ends(&seen, first), ends(&seen, second)), (vec![EndReason::Hangup], vec![EndReason::RemoteHangup]));
    assert_eq!(count(&seen, "call_missed"), 1, "the one of Dave");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_call_can_be_declined_and_one_on_hold_outlives_the_one_that_runs() {
    let house = House::open().await;
    let (mut alice, mut carol) = (house.singer("alice", ALICE, |b| b).await, house.singer("carol", CAROL, |b| b).await);
    let mut bob = house.singer("bob", BOB, |b| b.second_call(SecondCall::Waiting)).await;
    let first = alice.talks_with(&mut bob).await;
    let declined = carol.dials("bob").await;
    bob.until("call_waiting").await;
    bob.kit.hangup(declined).await.unwrap();
    assert_eq!(carol.until_end(declined).await, EndReason::RemoteRefuse);
    assert_eq!(bob.until_end(declined).await, EndReason::Refuse);
    bob.hears(ALICE).await;

    let second = carol.dials("bob").await;
    bob.until("call_waiting").await;
    bob.kit.answer(second).await.unwrap();
    bob.hears(CAROL).await;
    bob.kit.hangup(second).await.unwrap();
    assert_eq!(carol.until_end(second).await, EndReason::RemoteHangup);
    // The first one stays on hold until the user wants it back.
    bob.hears_nothing().await;
    bob.kit.unhold(first).await.unwrap();
    bob.hears(ALICE).await;
    alice.hears(BOB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hold_silences_both_ways_and_tells_the_other_side_and_unhold_brings_the_sound_back() {
    let house = House::open().await;
    let (mut alice, mut bob) = (house.singer("alice", ALICE, |b| b).await, house.singer("bob", BOB, |b| b).await);
    let call_id = alice.talks_with(&mut bob).await;
    for _ in 0..2 {
        bob.kit.hold(call_id).await.unwrap();
        assert!(
            matches!(bob.until("call_held").await, CallKitEvent::CallHeld { call_id: of, held: true, .. } if of == call_id)
        );
        assert!(
            matches!(alice.until("peer_held").await, CallKitEvent::PeerHeld { call_id: of, held: true, .. } if of == call_id)
        );
        alice.hears_nothing().await;
        bob.hears_nothing().await;
        bob.kit.unhold(call_id).await.unwrap();
        assert!(
            matches!(bob.until("call_held").await, CallKitEvent::CallHeld { call_id: of, held: false, .. } if of == call_id)
        );
        assert!(
            matches!(alice.until("peer_held").await, CallKitEvent::PeerHeld { call_id: of, held: false, .. } if of == call_id)
        );
        alice.hears(BOB).await;
        bob.hears(ALICE).await;
    }
    // Both hold; the sound is back when neither does.
    alice.kit.hold(call_id).await.unwrap();
    bob.kit.hold(call_id).await.unwrap();
    alice.until("peer_held").await;
    bob.until("peer_held").await;
    alice.kit.unhold(call_id).await.unwrap();
    bob.until("peer_held").await;
    bob.hears_nothing().await;
    bob.kit.unhold(call_id).await.unwrap();
    alice.hears(BOB).await;
    bob.hears(ALICE).await;
}

/// How a call may end whose caller cancels as the callee answers: as if one of them had been first.
const CANCEL_AGAINST_ANSWER: [(EndReason, EndReason); 2] =
    [(EndReason::Cancel, EndReason::RemoteCancel), (EndReason::Hangup, EndReason::RemoteHangup)];

/// Both are free, and were told one end each.
async fn both_are_done(mut alice: Phone, mut bob: Phone, call_id: CallId) -> (EndReason, EndReason) {
    let reasons = (alice.until_end(call_id).await, bob.until_end(call_id).await);
    let after = alice.talks_with(&mut bob).await;
    alice.kit.hangup(after).await.unwrap();
    for phone in [alice, bob] {
        assert_eq!(ends(&phone.sign_out_and_drain().await, call_id).len(), 1);
    }
    reasons
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_that_the_answer_overtakes_ends_the_call_for_both() {
    let house = House::open().await;
    let ((mut alice, cable), (mut bob, _other)) = two_by_cable(&house).await;
    let call_id = alice.calls(&mut bob).await;
    cable.hold();
    bob.kit.answer(call_id).await.unwrap();
    alice.kit.hangup(call_id).await.unwrap();
    cable.mend();
    let reasons = both_are_done(alice, bob, call_id).await;
    assert!(CANCEL_AGAINST_ANSWER.contains(&reasons), "{reasons:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_the_cancel_overtakes_takes_nothing() {
    let house = House::open().await;
    let ((mut alice, _cable), (mut bob, other)) = two_by_cable(&house).await;
    let call_id = alice.calls(&mut bob).await;
    other.hold();
    bob.kit.answer(call_id).await.unwrap();
    alice.kit.hangup(call_id).await.unwrap();
    other.mend();
    let reasons = both_are_done(alice, bob, call_id).await;
    assert!(CANCEL_AGAINST_ANSWER.contains(&reasons), "{reasons:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_hang_up_at_once_and_each_is_told_one_end() {
    let house = House::open().await;
    let ((mut alice, cable), (mut bob, other)) = two_by_cable(&house).await;
    let call_id = alice.talks_with(&mut bob).await;
    cable.hold();
    other.hold();
    let (one, another) = tokio::join!(alice.kit.hangup(call_id), bob.kit.hangup(call_id));
    assert!(one.is_ok() || another.is_ok());
    cable.mend();
    other.mend();
    let reasons = both_are_done(alice, bob, call_id).await;
    let (hangup, remote) = (EndReason::Hangup, EndReason::RemoteHangup);
    assert!([(hangup, hangup), (hangup, remote), (remote, hangup)].contains(&reasons), "{reasons:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_device_declines_as_another_one_answers_and_the_first_to_be_heard_decides() {
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let (mut bob, cable) = {
        let cable = Cable::to(house.address()).await;
        (house.singer("bob", BOB, |b| b.device("phone").server(&cable.url)).await, cable)
    };
    let mut desk = house.singer("bob", BOB, |b| b.device("desk")).await;
    // The decline is on its way as the desk answers.
    let taken = alice.calls(&mut bob).await;
    desk.until("receive_call").await;
    cable.hold();
    bob.kit.hangup(taken).await.unwrap();
    desk.kit.answer(taken).await.unwrap();
    desk.hears(ALICE).await;
    cable.mend();
    assert_eq!(bob.until_end(taken).await, EndReason::Refuse);
    alice.hears(BOB).await;
    alice.kit.hangup(taken).await.unwrap();
    assert_eq!(desk.until_end(taken).await, EndReason::RemoteHangup);
    assert_eq!(alice.until_end(taken).await, EndReason::Hangup);

    // The answer is on its way as the desk declines.
    let declined = alice.calls(&mut bob).await;
    desk.until("receive_call").await;
    cable.hold();
    bob.kit.answer(declined).await.unwrap();
    desk.kit.hangup(declined).await.unwrap();
    assert_eq!(alice.until_end(declined).await, EndReason::RemoteRefuse);
    cable.mend();
    assert_eq!(bob.until_end(declined).await, EndReason::RefusedElsewhere);
    assert_eq!(desk.until_end(declined).await, EndReason::Refuse);
    for phone in [alice, bob, desk] {
        let seen = phone.sign_out_and_drain().await;
        assert_eq!((ends(&seen, taken).len(), ends(&seen, declined).len()), (1, 1));
        assert!(!is_answered(&seen, declined));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_crashes_and_calls_again_gets_through_at_once() {
    let house = House::open().await;
    let mut doomed = house.mortal("alice", ALICE, |b| b.device("phone")).await;
    let mut bob = house.singer("bob", BOB, |b| b).await;
    let old = doomed.phone.talks_with(&mut bob).await;
    doomed.crash();
    let alice = house.singer("alice", CAROL, |b| b.device("phone")).await;
    let again = alice.dials("bob").await;
    assert_eq!(bob.until_end(old).await, EndReason::RemoteDrop);
    bob.until("receive_call").await;
    bob.kit.answer(again).await.unwrap();
    bob.hears(CAROL).await;
    alice.hears(BOB).await;
    let seen = alice.sign_out_and_drain().await;
    assert_eq!(ends(&seen, old), [], "the new app knows nothing of the old one's call");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_crashes_while_it_rings_and_calls_again_rings_anew() {
    let house = House::open().await;
    let mut doomed = house.mortal("alice", ALICE, |b| b.device("phone")).await;
    let mut bob = house.singer("bob", BOB, |b| b).await;
    let old = doomed.phone.calls(&mut bob).await;
    doomed.crash();
    let alice = house.singer("alice", ALICE, |b| b.device("phone")).await;
    let again = alice.dials("bob").await;
    assert_eq!(bob.until_end(old).await, EndReason::RemoteDrop);
    bob.until("receive_call").await;
    bob.kit.answer(again).await.unwrap();
    alice.hears(BOB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_that_crashes_and_comes_back_frees_its_caller_at_once() {
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let mut doomed = house.mortal("bob", BOB, |b| b.device("phone")).await;
    let old = alice.talks_with(&mut doomed.phone).await;
    doomed.crash();
    let mut bob = house.singer("bob", BOB, |b| b.device("phone")).await;
    assert_eq!(alice.until_end(old).await, EndReason::RemoteDrop);
    alice.talks_with(&mut bob).await;
}

/// Alice calls Bob, whose phone is off, and gives up.
async fn call_nobody(alice: &mut Phone) -> CallId {
    let call_id = alice.dials("bob").await;
    // The next event is the end; before it the server must have heard of the call.
    alice.kit.hangup(call_id).await.unwrap();
    assert_eq!(alice.until_end(call_id).await, EndReason::Cancel);
    call_id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_was_off_hears_of_a_missed_call_once() {
    let house = House::open().await;
    house.backend("bob").await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let call_id = call_nobody(&mut alice).await;
    let mut bob = house.singer("bob", BOB, |b| b.device("phone")).await;
    let told = bob.until("call_missed").await;
    assert!(
        matches!(told, CallKitEvent::CallMissed { user, call_id: missed, .. } if user.as_str() == "alice" && missed == call_id)
    );
    let seen = bob.sign_out_and_drain().await;
    assert_eq!((count(&seen, "call_missed"), count(&seen, "receive_call"), count(&seen, "call_end")), (1, 0, 0));

    // It knows already; another device does not.
    let mut again = house.singer("bob", BOB, |b| b.device("phone")).await;
    let mut tablet = house.singer("bob", BOB, |b| b.device("tablet")).await;
    tablet.until("call_missed").await;
    let later = alice.calls(&mut again).await;
    again.kit.hangup(later).await.unwrap();
    again.until_end(later).await;
    assert_eq!(count(&again.sign_out_and_drain().await, "call_missed"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missed_call_outlives_a_restart_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = ServerConfig { data_dir: Some(folder.path().to_owned()), ..ServerConfig::dev_on_loopback() };
    let house = House::with(config.clone()).await;
    house.backend("bob").await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let call_id = call_nobody(&mut alice).await;
    alice.kit.sign_out().await;
    let House { server, .. } = house;
    (config.listen, config.apps) = (server.local_addr(), server.apps().to_vec());
    server.stop().await;

    let house = House::with(config.clone()).await;
    let mut bob = house.singer("bob", BOB, |b| b.device("phone")).await;
    let told = bob.until("call_missed").await;
    assert!(matches!(told, CallKitEvent::CallMissed { call_id: missed, .. } if missed == call_id));
    bob.kit.sign_out().await;
    house.server.stop().await;

    // It was told, and that is remembered, too.
    let house = House::with(config).await;
    let mut bob = house.singer("bob", BOB, |b| b.device("phone")).await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let later = alice.calls(&mut bob).await;
    alice.kit.hangup(later).await.unwrap();
    bob.until_end(later).await;
    assert_eq!(count(&bob.sign_out_and_drain().await, "call_missed"), 0);
}
