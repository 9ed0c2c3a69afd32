//! Ring: a phone asks, rings when it is told to, and stops.

use call_protocol::Word;
use call_protocol::end::EndReason::*;
use call_protocol::ring::RingConfirm;
use insta::assert_snapshot;
use signaling::Phase;
use world::{ALICE, BOB, CAROL, Fate, Story};

#[test]
fn nothing_rings_without_a_confirmation() {
    let mut story = Story::new();
    story.to_phone("ring_confirm", Fate::Twice(10));
    story.to_phone("ring_confirm", Fate::Late(5_000));
    story.calls(ALICE, BOB).unwrap();
    story.passes(900);
    assert_eq!(story.phase(BOB), Phase::Idle);
    story.passes(200);
    assert!(matches!(story.phase(BOB), Phase::Ringing(_)));
    story.hangs_up(ALICE).unwrap();
    story.rests();
}

#[test]
fn a_lost_alert_is_said_again() {
    let mut story = Story::new();
    story.to_server("alert", Fate::Lost);
    story.calls(ALICE, BOB).unwrap();
    story.passes(1_100);
    story.hangs_up(ALICE).unwrap();
    assert_snapshot!(story.rests(), @r"
    0.000 alice calls bob
    0.000   alice → server: invite
    0.010   server → alice: ring_confirm (ring)
    0.010   server → bob: invite
    0.020          alice hears ring_confirm (ring)
    0.020          bob hears invite
    0.020   bob → server: alert, lost
    1.010   server → bob: invite
    1.020   bob → server: alert
    1.020          bob hears invite
    1.030   server → bob: ring_confirm (ring)
    1.030   server → alice: alert
    1.040          bob hears ring_confirm (ring)
    1.040 bob: alice rings
    1.040          alice hears alert
    1.040 alice: bob is about to ring
    1.100 alice hangs up
    1.100 alice: ended: cancel
    1.100   alice → server: cancel (cancel)
    1.110   server → alice: end (cancel)
    1.110   server → bob: cancel (remote_cancel)
    1.120          alice hears end (cancel)
    1.120          bob hears cancel (remote_cancel)
    1.120 bob: ended: remote_cancel
    ");
}

#[test]
fn an_alert_that_comes_twice_is_told_once() {
    let mut story = Story::new();
    story.to_server("alert", Fate::Twice(30));
    story.to_phone("alert", Fate::Twice(30));
    story.calls(ALICE, BOB).unwrap();
    story.passes(1_000);
    story.hangs_up(ALICE).unwrap();
    assert_eq!(story.rests().matches("bob is about to ring").count(), 1);
}

#[test]
fn a_confirmation_from_before_the_cancel_does_not_ring() {
    let mut story = Story::new();
    story.to_phone("ring_confirm", Fate::Twice(0));
    story.to_phone("ring_confirm", Fate::Late(2_000));
    story.to_phone("invite", Fate::Twice(1_500));
    story.calls(ALICE, BOB).unwrap();
    story.passes(500);
    story.hangs_up(ALICE).unwrap();
    assert_snapshot!(story.rests(), @r"
    0.000 alice calls bob
    0.000   alice → server: invite
    0.010   server → alice: ring_confirm (ring), arrives again at 20
    0.010   server → bob: invite, arrives again at 1520
    0.020          alice hears ring_confirm (ring)
    0.020          alice hears ring_confirm (ring)
    0.020          bob hears invite
    0.020   bob → server: alert
    0.030   server → bob: ring_confirm (ring), arrives at 2040
    0.030   server → alice: alert
    0.040          alice hears alert
    0.040 alice: bob is about to ring
    0.500 alice hangs up
    0.500 alice: ended: cancel
    0.500   alice → server: cancel (cancel)
    0.510   server → alice: end (cancel)
    0.510   server → bob: cancel (remote_cancel)
    0.520          alice hears end (cancel)
    0.520          bob hears cancel (remote_cancel)
    0.520   bob → server: end (no_response)
    0.520 bob: missed a call of alice
    0.530   server → bob: end (no_response)
    0.540          bob hears end (no_response)
    1.520          bob hears invite
    2.040          bob hears ring_confirm (ring)
    2.040   bob → server: end (remote_cancel)
    2.050   server → bob: end (remote_cancel)
    2.060          bob hears end (remote_cancel)
    ");
}

#[test]
fn nobody_answers() {
    let mut story = Story::new();
    let call_id = story.calls_for(ALICE, BOB, 5_000).unwrap();
    assert_snapshot!(story.rests(), @r"
    0.000 alice calls bob
    0.000   alice → server: invite
    0.010   server → alice: ring_confirm (ring)
    0.010   server → bob: invite
    0.020          alice hears ring_confirm (ring)
    0.020          bob hears invite
    0.020   bob → server: alert
    0.030   server → bob: ring_confirm (ring)
    0.030   server → alice: alert
    0.040          bob hears ring_confirm (ring)
    0.040 bob: alice rings
    0.040          alice hears alert
    0.040 alice: bob is about to ring
    1.010   server → bob: invite
    1.020          bob hears invite
    3.010   server → bob: invite
    3.020          bob hears invite
    3.040   bob → server: alert
    3.050   server → bob: ring_confirm (ring)
    3.060          bob hears ring_confirm (ring)
    5.010   server → alice: end (remote_no_response)
    5.010   server → bob: cancel (no_response)
    5.010 bob: ended: no_response
    5.020          alice hears end (remote_no_response)
    5.020 alice: ended: remote_no_response
    5.020          bob hears cancel (no_response)
    ");
    assert_eq!(story.ends(call_id), [Some(RemoteNoResponse), Some(NoResponse)]);
}

#[test]
fn ringing_stops_at_the_deadline_without_hearing_anything() {
    let mut story = Story::new();
    story.calls_for(ALICE, BOB, 5_000).unwrap();
    story.passes(1_000);
    story.goes_dark(BOB, 60_000);
    story.passes(4_009);
    assert!(matches!(story.phase(BOB), Phase::Ringing(_)));
    story.passes(1);
    assert_eq!(story.phase(BOB), Phase::Idle);
    assert!(story.rests().contains("5.010 bob: ended: no_response"));
}

#[test]
fn no_phone_of_the_callee_is_there() {
    let mut story = Story::new();
    story.crashes(BOB, None);
    let call_id = story.calls_for(ALICE, BOB, 5_000).unwrap();
    story.rests();
    assert_eq!(story.ends(call_id), [Some(RemoteNoResponse), None]);
}

#[test]
fn a_phone_that_signs_in_while_it_rings_is_rung() {
    let mut story = Story::new();
    story.crashes(BOB, Some(2_000));
    story.calls(ALICE, BOB).unwrap();
    story.passes(2_100);
    assert!(matches!(story.phase(BOB), Phase::Ringing(_)));
    story.hangs_up(ALICE).unwrap();
    story.rests();
}

#[test]
fn a_caller_that_vanishes_leaves_nobody_ringing() {
    let (mut story, call_id) = crate::ringing();
    story.crashes(ALICE, None);
    assert_snapshot!(story.rests(), @r"
     0.000 alice calls bob
     0.000   alice → server: invite
     0.010   server → alice: ring_confirm (ring)
     0.010   server → bob: invite
     0.020          alice hears ring_confirm (ring)
     0.020          bob hears invite
     0.020   bob → server: alert
     0.030   server → bob: ring_confirm (ring)
     0.030   server → alice: alert
     0.040          bob hears ring_confirm (ring)
     0.040 bob: alice rings
     0.040          alice hears alert
     0.040 alice: bob is about to ring
     1.000 the app of alice crashes
     1.010   server → bob: invite
     1.020          bob hears invite
     3.010   server → bob: invite
     3.020          bob hears invite
     3.040   bob → server: alert
     3.050   server → bob: ring_confirm (ring)
     3.060          bob hears ring_confirm (ring)
     6.040   bob → server: alert
     6.050   server → bob: ring_confirm (ring)
     6.060          bob hears ring_confirm (ring)
     7.010   server → bob: invite
     7.020          bob hears invite
     9.040   bob → server: alert
     9.050   server → bob: ring_confirm (ring)
     9.060          bob hears ring_confirm (ring)
    10.010   server → alice: end (remote_drop)
    10.010   server → bob: cancel (remote_drop)
    10.020          bob hears cancel (remote_drop)
    10.020 bob: ended: remote_drop
    ");
    assert_eq!(story.ends(call_id), [None, Some(RemoteDrop)]);
}

#[test]
fn a_phone_in_a_call_answers_busy_by_itself() {
    let (mut story, _) = crate::talking();
    let call_id = story.calls(CAROL, BOB).unwrap();
    story.passes(500);
    assert_snapshot!(story.so_far(), @r"
    2.000 carol calls bob
    2.000   carol → server: invite
    2.010   server → carol: ring_confirm (ring)
    2.010   server → bob: invite
    2.020          carol hears ring_confirm (ring)
    2.020          bob hears invite
    2.020   bob → server: answer (busy)
    2.030   server → carol: answer (busy)
    2.030   server → bob: answer_confirm (busy by bob)
    2.040          carol hears answer (busy)
    2.040 carol: ended: busy
    2.040          bob hears answer_confirm (busy by bob)
    2.040   bob → server: end (no_response)
    2.040 bob: missed a call of carol
    2.050   server → bob: end (no_response)
    2.060          bob hears end (no_response)
    ");
    assert_eq!(story.ends(call_id), [Some(Busy), None]);
    story.hangs_up(BOB).unwrap();
    story.rests();
}

#[test]
fn of_two_that_call_at_once_one_rings_and_the_other_hears_busy() {
    let mut story = Story::new();
    let calls = [story.calls(ALICE, BOB).unwrap(), story.calls(CAROL, BOB).unwrap()];
    story.passes(500);
    story.hangs_up(BOB).unwrap();
    story.rests();
    let mut ends = calls.map(|call_id| story.ends(call_id));
    ends.sort();
    assert_eq!(ends, [[Some(RemoteRefuse), Some(Refuse)], [Some(Busy), None]]);
}

#[test]
fn a_phone_rings_to_the_deadline_whatever_the_wall_clocks_show() {
    // By hand, or by a clock that is off by 200 ppm, for a day and for three.
    let set = [40_000, 20_000, 17_280, 51_840, 60_000, 90_000, 3_600_000];
    for by_ms in set.into_iter().flat_map(|by_ms| [by_ms, -by_ms]) {
        let mut story = Story::new();
        story.server_clock_is_set(by_ms);
        let call_id = story.calls(ALICE, BOB).unwrap();
        story.passes(20_000);
        assert_eq!(story.phase(BOB), Phase::Ringing(call_id), "{by_ms}");
        // Nothing more is heard: it stops by itself.
        story.goes_dark(BOB, 60_000);
        story.passes(10_500);
        assert_eq!(story.phase(BOB), Phase::Idle, "{by_ms}");
        story.rests();
        assert_eq!(story.ends(call_id), [Some(RemoteNoResponse), Some(NoResponse)], "{by_ms}");
    }
}

#[test]
fn a_clock_that_is_set_while_it_rings_changes_nothing() {
    for by_ms in [-60_000, 60_000] {
        let mut story = Story::new();
        let call_id = story.calls(ALICE, BOB).unwrap();
        story.passes(10_000);
        story.server_clock_is_set(by_ms);
        story.passes(19_000);
        assert_eq!(story.phase(BOB), Phase::Ringing(call_id));
        story.rests();
        assert_eq!(story.ends(call_id), [Some(RemoteNoResponse), Some(NoResponse)]);
    }
}

#[test]
fn a_call_rings_on_while_the_server_stands_still() {
    let mut story = Story::new();
    let call_id = story.calls(ALICE, BOB).unwrap();
    story.passes(1_000);
    story.server_stalls(16_000);
    story.passes(17_000);
    story.answers(BOB).unwrap();
    story.passes(500);
    assert_eq!([story.phase(ALICE), story.phase(BOB)], [Phase::InCall(call_id); 2]);
    story.hangs_up(BOB).unwrap();
    story.rests();
}

#[test]
fn a_confirmation_from_a_stranger_does_not_ring() {
    let mut story = Story::new();
    story.to_phone("ring_confirm", Fate::Twice(0));
    story.to_phone("ring_confirm", Fate::Lost);
    let call_id = story.calls(ALICE, BOB).unwrap();
    story.passes(500);
    let ring = RingConfirm::Ring { deadline_unix_ms: u64::MAX / 2, left_ms: Some(u32::MAX), asked_unix_ms: None };
    story.hears_from(BOB, CAROL, call_id, Word::RingConfirm(ring));
    assert_eq!(story.phase(BOB), Phase::Idle);
    story.hangs_up(ALICE).unwrap();
    story.rests();
}
