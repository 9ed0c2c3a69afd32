//! Races, each over both placements of the arbiter: two things happen before either is heard of.

use call_protocol::invite::CallType::{self, Audio1v1, Video1v1};
use insta::assert_snapshot;
use signaling::Phase;
use world::{ALICE, BOB, CAROL, Placement, Story};

use crate::over_both;

/// Both call each other; gives the phases they are in soon after.
fn glare(story: &mut Story, kinds: [CallType; 2]) {
    let one = story.calls_as(ALICE, BOB, kinds[0], 30_000).unwrap();
    let two = story.calls_as(BOB, ALICE, kinds[1], 30_000).unwrap();
    story.passes(1_000);
    let call_id = one.min(two);
    assert_eq!([story.phase(ALICE), story.phase(BOB)], [Phase::InCall(call_id); 2]);
    story.hangs_up(ALICE).unwrap();
}

#[test]
fn two_who_call_each_other_are_in_one_call() {
    let told = over_both(|story| glare(story, [Audio1v1, Audio1v1]));
    assert_snapshot!(told, @r"
    alice: goes on as the call of bob · in a call with bob · ended: hangup
    bob: alice is about to ring · alice accepted · ended: remote_hangup
    ");
}

#[test]
fn two_who_call_each_other_with_and_without_picture_talk_without() {
    // What the kind is both are told, and the world checks it.
    let told = over_both(|story| glare(story, [Video1v1, Audio1v1]));
    assert_eq!(told, over_both(|story| glare(story, [Audio1v1, Video1v1])));
    assert_snapshot!(told, @r"
    alice: goes on as the call of bob · in a call with bob · ended: hangup
    bob: alice is about to ring · alice accepted · ended: remote_hangup
    ");
}

#[test]
fn the_other_devices_of_two_who_call_each_other_fall_silent() {
    let told = over_both(|story| {
        story.another_device(ALICE);
        story.another_device(BOB);
        glare(story, [Audio1v1, Audio1v1]);
    });
    assert_snapshot!(told, @r"
    alice: bob's tablet is about to ring · goes on as the call of bob · in a call with bob · ended: hangup
    alice's tablet: bob rings · ended: answered_elsewhere
    bob: alice is about to ring · alice's tablet is about to ring · alice accepted · ended: remote_hangup
    bob's tablet: alice rings · ended: answered_elsewhere
    ");
}

#[test]
fn two_devices_answer_at_the_same_moment() {
    let told = over_both(|story| {
        let tablet = story.another_device(BOB);
        story.calls(ALICE, BOB).unwrap();
        story.passes(1_000);
        story.answers(BOB).unwrap();
        story.answers(tablet).unwrap();
        story.passes(1_000);
        story.hangs_up(ALICE).unwrap();
    });
    assert_snapshot!(told, @r"
    alice: bob is about to ring · bob's tablet is about to ring · bob accepted · ended: hangup
    bob: alice rings · in a call with alice · ended: remote_hangup
    bob's tablet: alice rings · ended: answered_elsewhere
    ");
}

#[test]
fn one_device_answers_as_another_declines() {
    let told = over_both(|story| {
        let tablet = story.another_device(BOB);
        story.calls(ALICE, BOB).unwrap();
        story.passes(1_000);
        story.answers(BOB).unwrap();
        story.hangs_up(tablet).unwrap();
        story.passes(1_000);
        story.hangs_up(ALICE).unwrap();
    });
    assert_snapshot!(told, @r"
    alice: bob is about to ring · bob's tablet is about to ring · bob accepted · ended: hangup
    bob: alice rings · in a call with alice · ended: remote_hangup
    bob's tablet: alice rings · ended: refuse
    ");
}

#[test]
fn the_caller_gives_up_as_the_callee_answers() {
    let told = over_both(|story| {
        story.calls(ALICE, BOB).unwrap();
        story.passes(1_000);
        story.hangs_up(ALICE).unwrap();
        story.answers(BOB).unwrap();
    });
    assert_snapshot!(told, @r"
    alice: bob is about to ring · ended: cancel
    bob: alice rings · ended: remote_cancel
    ");
}

#[test]
fn an_answer_just_before_the_deadline_counts() {
    let told = over_both(|story| {
        story.calls_for(ALICE, BOB, 5_000).unwrap();
        story.passes(4_980);
        story.answers(BOB).unwrap();
        story.passes(1_000);
        story.hangs_up(BOB).unwrap();
    });
    assert_snapshot!(told, @r"
    alice: bob is about to ring · bob accepted · ended: remote_hangup
    bob: alice rings · in a call with alice · ended: hangup
    ");
}

#[test]
fn an_answer_on_its_way_at_the_deadline_does_not() {
    let told = over_both(|story| {
        story.calls_for(ALICE, BOB, 5_000).unwrap();
        // The call begins at the arbiter, which may be one way away.
        story.passes(if story.placement() == Placement::Server { 5_005 } else { 4_995 });
        story.answers(BOB).unwrap();
    });
    assert_snapshot!(told, @r"
    alice: bob is about to ring · ended: remote_no_response
    bob: alice rings · ended: no_response
    ");
}

#[test]
fn both_hang_up_at_the_same_moment() {
    let told = over_both(|story| {
        story.calls(ALICE, BOB).unwrap();
        story.passes(1_000);
        story.answers(BOB).unwrap();
        story.passes(1_000);
        story.hangs_up(ALICE).unwrap();
        story.hangs_up(BOB).unwrap();
    });
    assert_snapshot!(told, @r"
    alice: bob is about to ring · bob accepted · ended: hangup
    bob: alice rings · in a call with alice · ended: hangup
    ");
}

#[test]
fn who_crashed_calls_again_at_once() {
    for placement in Placement::ALL {
        let mut story = Story::over(placement);
        let first = story.calls(ALICE, BOB).unwrap();
        story.passes(1_000);
        story.answers(BOB).unwrap();
        story.passes(1_000);
        story.crashes(ALICE, Some(500));
        story.passes(600);
        let second = story.calls(ALICE, BOB).unwrap();
        story.passes(1_000);
        // The call that was lost is over before anybody waits for it.
        assert_eq!(story.phases(BOB), [Phase::Ringing(second)], "{placement}");
        assert!(story.end_for(BOB, first).is_some());
        story.answers(BOB).unwrap();
        story.passes(1_000);
        assert_eq!(story.phase(ALICE), Phase::InCall(second));
        story.hangs_up(BOB).unwrap();
        story.rests();
    }
}

#[test]
fn who_was_busy_calls_back_a_call_that_still_rings() {
    for placement in Placement::ALL {
        let mut story = Story::over(placement);
        let tablet = story.another_device(BOB);
        story.calls(BOB, CAROL).unwrap();
        story.passes(500);
        let theirs = story.calls(ALICE, BOB).unwrap();
        story.passes(500);
        story.hangs_up(BOB).unwrap();
        story.passes(100);
        let mine = story.calls(BOB, ALICE).unwrap();
        story.passes(5_000);
        let one = Phase::InCall(theirs.min(mine));
        assert_eq!([story.phase(ALICE), story.phase(BOB)], [one; 2], "{placement}");
        assert_eq!(story.phase(tablet), Phase::Idle);
        story.hangs_up(BOB).unwrap();
        story.rests();
    }
}
