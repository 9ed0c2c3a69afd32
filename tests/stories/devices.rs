//! Many devices of one user, each story over both placements of the arbiter: all ring, one answer counts, and the caller's other devices
//! are left alone.

use call_protocol::end::EndReason::*;
use insta::assert_snapshot;
use signaling::Phase;
use world::{ALICE, BOB, CAROL, Fate, Placement, Story};

use crate::over_both;

#[test]
fn two_devices_ring_and_one_answers() {
    let told = over_both(|story| {
        let tablet = story.another_device(BOB);
        let second = story.another_device(ALICE);
        story.calls(ALICE, BOB).unwrap();
        story.passes(1_000);
        story.answers(tablet).unwrap();
        story.passes(100);
        assert_eq!(story.phase(BOB), Phase::Idle, "it stops within a round trip");
        assert_eq!(story.phase(second), Phase::Idle);
        story.hangs_up(ALICE).unwrap();
    });
    assert_snapshot!(told, @r"
    alice: bob is about to ring · bob's tablet is about to ring · bob's tablet accepted · ended: hangup
    bob: alice rings · ended: answered_elsewhere
    bob's tablet: alice rings · in a call with alice · ended: remote_hangup
    ");
}

#[test]
fn one_device_declines_for_all() {
    let told = over_both(|story| {
        let tablet = story.another_device(BOB);
        story.calls(ALICE, BOB).unwrap();
        story.passes(1_000);
        story.hangs_up(tablet).unwrap();
    });
    assert_snapshot!(told, @r"
    alice: bob is about to ring · bob's tablet is about to ring · ended: remote_refuse
    bob: alice rings · ended: refused_elsewhere
    bob's tablet: alice rings · ended: refuse
    ");
}

#[test]
fn ten_devices_ring_and_nine_fall_silent() {
    for placement in Placement::ALL {
        let mut story = Story::over(placement);
        let others: Vec<usize> = (0..9).map(|_| story.another_device(BOB)).collect();
        let call_id = story.calls(ALICE, BOB).unwrap();
        story.passes(1_000);
        story.answers(others[8]).unwrap();
        // There and back.
        story.passes(20);
        for other in [&[BOB], &others[..8]].concat() {
            assert_eq!(story.phase(other), Phase::Idle);
            assert_eq!(story.end_for(other, call_id), Some(AnsweredElsewhere));
        }
        story.hangs_up(others[8]).unwrap();
        story.rests();
    }
}

#[test]
fn a_busy_device_beside_a_free_one_is_no_busy_user() {
    let told = over_both(|story| {
        let tablet = story.another_device(BOB);
        story.calls(CAROL, BOB).unwrap();
        story.passes(500);
        story.answers(BOB).unwrap();
        story.passes(500);
        story.told();
        story.calls(ALICE, BOB).unwrap();
        story.passes(3_000);
        story.answers(tablet).unwrap();
        story.passes(500);
        story.hangs_up(ALICE).unwrap();
        story.hangs_up(CAROL).unwrap();
    });
    assert_snapshot!(told, @r"
    alice: bob's tablet is about to ring · bob's tablet accepted · ended: hangup
    bob: ended: remote_hangup
    bob's tablet: alice rings · in a call with alice · ended: remote_hangup
    carol: ended: hangup
    ");
}

#[test]
fn a_user_whose_devices_are_all_busy_is_busy_and_hears_of_the_call_later() {
    let told = over_both(|story| {
        story.calls(CAROL, BOB).unwrap();
        story.passes(500);
        story.answers(BOB).unwrap();
        story.passes(500);
        story.told();
        story.calls(ALICE, BOB).unwrap();
        story.passes(3_000);
        story.hangs_up(CAROL).unwrap();
    });
    assert_snapshot!(told, @r"
    alice: ended: busy
    bob: missed a call of alice · ended: remote_hangup
    carol: ended: hangup
    ");
}

#[test]
fn a_waiting_call_is_taken_and_the_running_one_is_on_hold() {
    let told = over_both(|story| {
        story.lets_calls_wait(BOB);
        let first = story.calls(CAROL, BOB).unwrap();
        story.passes(500);
        story.answers(BOB).unwrap();
        story.passes(500);
        story.told();
        let second = story.calls(ALICE, BOB).unwrap();
        story.passes(500);
        assert_eq!(story.phase(BOB), Phase::InCall(first));
        story.answers(BOB).unwrap();
        story.passes(500);
        assert_eq!(story.phase(BOB), Phase::InCall(second));
        story.holds(BOB, first, false).unwrap();
        story.passes(500);
        assert_eq!(story.phase(BOB), Phase::InCall(first));
        story.hangs_up_on(BOB, second).unwrap();
        story.passes(500);
        story.hangs_up_on(BOB, first).unwrap();
    });
    assert_snapshot!(told, @r"
    alice: bob is about to ring · bob accepted · the other one holds · ended: remote_hangup
    bob: alice waits · on hold · in a call with alice · goes on · on hold · ended: hangup · ended: hangup
    carol: the other one holds · the other one goes on · ended: remote_hangup
    ");
}

#[test]
fn the_reason_of_a_hold_comes_with_that_hold_and_with_no_other() {
    let told = over_both(|story| {
        let call_id = story.calls(ALICE, BOB).unwrap();
        story.passes(500);
        story.answers(BOB).unwrap();
        story.passes(500);
        story.holds_because(ALICE, call_id, "the door bell").unwrap();
        story.holds(ALICE, call_id, false).unwrap();
        story.holds(ALICE, call_id, true).unwrap();
        story.passes(500);
        story.holds(ALICE, call_id, false).unwrap();
        story.passes(500);
        // Lost on its way, and said again with a sign of life.
        story.to_device(BOB, "hold", Fate::Lost);
        story.holds_because(ALICE, call_id, "a parcel").unwrap();
        story.passes(10_000);
        story.hangs_up(ALICE).unwrap();
    });
    assert_snapshot!(told, @r"
    alice: bob is about to ring · bob accepted · on hold · goes on · on hold · goes on · on hold · ended: hangup
    bob: alice rings · in a call with alice · the other one holds: the door bell · the other one goes on · the other one holds · the other one goes on · the other one holds: a parcel · ended: remote_hangup
    ");
}

#[test]
fn a_third_call_finds_the_line_busy() {
    let told = over_both(|story| {
        story.lets_calls_wait(BOB);
        let dave = story.another_device(CAROL);
        story.calls(CAROL, BOB).unwrap();
        story.passes(500);
        story.answers(BOB).unwrap();
        story.passes(500);
        story.calls(ALICE, BOB).unwrap();
        story.passes(500);
        story.told();
        story.calls(dave, BOB).unwrap();
        story.passes(3_000);
        story.hangs_up(ALICE).unwrap();
        story.hangs_up(CAROL).unwrap();
    });
    assert_snapshot!(told, @r"
    alice: ended: cancel
    bob: missed a call of carol · ended: remote_cancel · ended: remote_hangup
    carol: ended: hangup
    carol's tablet: ended: busy
    ");
}

#[test]
fn a_device_that_was_away_hears_that_it_missed_a_call() {
    let told = over_both(|story| {
        let tablet = story.another_device(BOB);
        story.crashes(BOB, Some(20_000));
        story.goes_dark(tablet, 10_000);
        story.calls_for(ALICE, BOB, 5_000).unwrap();
    });
    assert_snapshot!(told, @r"
    alice: ended: remote_no_response
    bob: missed a call of alice
    bob's tablet: missed a call of alice
    ");
}

#[test]
fn a_device_that_was_away_hears_nothing_of_a_call_that_another_one_took() {
    let told = over_both(|story| {
        let tablet = story.another_device(BOB);
        story.goes_dark(tablet, 10_000);
        story.calls_for(ALICE, BOB, 5_000).unwrap();
        story.passes(1_000);
        story.answers(BOB).unwrap();
        story.passes(20_000);
        story.hangs_up(BOB).unwrap();
    });
    assert_snapshot!(told, @r"
    alice: bob is about to ring · bob accepted · ended: remote_hangup
    bob: alice rings · in a call with alice · ended: hangup
    ");
}

#[test]
fn the_caller_is_gone_and_everything_falls_silent() {
    for placement in Placement::ALL {
        let mut story = Story::over(placement);
        let tablet = story.another_device(BOB);
        let call_id = story.calls(ALICE, BOB).unwrap();
        story.passes(1_000);
        story.crashes(ALICE, None);
        story.passes(10_020);
        assert_eq!([story.phase(BOB), story.phase(tablet)], [Phase::Idle; 2], "{placement}");
        story.rests();
        assert_eq!(story.end_for(BOB, call_id), Some(RemoteDrop));
        assert_eq!(story.end_for(tablet, call_id), Some(RemoteDrop));
    }
}
