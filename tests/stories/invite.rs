//! Invite: a phone calls, and what comes of an invite that is lost, late, doubled or nonsense.

use call_protocol::end::EndReason::*;
use call_protocol::invite::InviteError;
use insta::assert_snapshot;
use signaling::{CommandError, Phase};
use world::{ALICE, BOB, CAROL, Fate, Story};

#[test]
fn a_whole_call() {
    let mut story = Story::new();
    story.calls(ALICE, BOB).unwrap();
    story.passes(2_000);
    story.answers(BOB).unwrap();
    story.passes(2_000);
    story.hangs_up(BOB).unwrap();
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
    2.000 bob answers
    2.000   bob → server: answer (accept)
    2.010   server → alice: answer (accept)
    2.010   server → bob: answer_confirm (accept by bob)
    2.020          alice hears answer (accept)
    2.020 alice: bob accepted
    2.020          bob hears answer_confirm (accept by bob)
    2.020 bob: in a call with alice
    4.000 bob hangs up
    4.000 bob: ended: hangup
    4.000   bob → server: end (hangup)
    4.010   server → alice: end (remote_hangup)
    4.010   server → bob: end (hangup)
    4.020          alice hears end (remote_hangup)
    4.020 alice: ended: remote_hangup
    4.020          bob hears end (hangup)
    ");
}

#[test]
fn a_lost_invite_is_said_again() {
    let mut story = Story::new();
    story.to_server("invite", Fate::Lost);
    story.to_phone("invite", Fate::Lost);
    story.calls(ALICE, BOB).unwrap();
    story.passes(3_000);
    story.hangs_up(ALICE).unwrap();
    assert_snapshot!(story.rests(), @r"
    0.000 alice calls bob
    0.000   alice → server: invite, lost
    1.000   alice → server: invite
    1.010   server → alice: ring_confirm (ring)
    1.010   server → bob: invite, lost
    1.020          alice hears ring_confirm (ring)
    2.010   server → bob: invite
    2.020          bob hears invite
    2.020   bob → server: alert
    2.030   server → bob: ring_confirm (ring)
    2.030   server → alice: alert
    2.040          bob hears ring_confirm (ring)
    2.040 bob: alice rings
    2.040          alice hears alert
    2.040 alice: bob is about to ring
    3.000 alice hangs up
    3.000 alice: ended: cancel
    3.000   alice → server: cancel (cancel)
    3.010   server → alice: end (cancel)
    3.010   server → bob: cancel (remote_cancel)
    3.020          alice hears end (cancel)
    3.020          bob hears cancel (remote_cancel)
    3.020 bob: ended: remote_cancel
    ");
}

#[test]
fn an_invite_that_comes_twice_rings_once() {
    let mut story = Story::new();
    story.to_server("invite", Fate::Twice(40));
    story.to_phone("invite", Fate::Twice(40));
    story.calls(ALICE, BOB).unwrap();
    story.passes(1_000);
    story.hangs_up(BOB).unwrap();
    assert_snapshot!(story.rests(), @r"
    0.000 alice calls bob
    0.000   alice → server: invite, arrives again at 50
    0.010   server → alice: ring_confirm (ring)
    0.010   server → bob: invite, arrives again at 60
    0.020          alice hears ring_confirm (ring)
    0.020          bob hears invite
    0.020   bob → server: alert
    0.030   server → bob: ring_confirm (ring)
    0.030   server → alice: alert
    0.040          bob hears ring_confirm (ring)
    0.040 bob: alice rings
    0.040          alice hears alert
    0.040 alice: bob is about to ring
    0.050   server → alice: ring_confirm (ring)
    0.060          bob hears invite
    0.060          alice hears ring_confirm (ring)
    1.000 bob hangs up
    1.000 bob: ended: refuse
    1.000   bob → server: answer (refuse)
    1.010   server → bob: invite
    1.010   server → alice: answer (refuse)
    1.010   server → bob: answer_confirm (refuse by bob)
    1.020          bob hears invite
    1.020          alice hears answer (refuse)
    1.020 alice: ended: remote_refuse
    1.020          bob hears answer_confirm (refuse by bob)
    ");
}

#[test]
fn a_late_invite_never_rings() {
    let mut story = Story::new();
    story.to_phone("invite", Fate::Late(20_000));
    let call_id = story.calls(ALICE, BOB).unwrap();
    story.passes(500);
    story.hangs_up(ALICE).unwrap();
    assert_snapshot!(story.rests(), @r"
     0.000 alice calls bob
     0.000   alice → server: invite
     0.010   server → alice: ring_confirm (ring)
     0.010   server → bob: invite, arrives at 20020
     0.020          alice hears ring_confirm (ring)
     0.500 alice hangs up
     0.500 alice: ended: cancel
     0.500   alice → server: cancel (cancel)
     0.510   server → alice: end (cancel)
     0.510   server → bob: cancel (remote_cancel)
     0.520          alice hears end (cancel)
     0.520          bob hears cancel (remote_cancel)
    20.020          bob hears invite
    20.020   bob → server: end (no_response)
    20.020 bob: missed a call of alice
    20.030   server → bob: end (no_response)
    20.040          bob hears end (no_response)
    ");
    assert_eq!(story.ends(call_id), [Some(Cancel), None]);
}

#[test]
fn a_cancel_that_overtakes_its_invite_is_remembered() {
    let mut story = Story::new();
    story.to_phone("invite", Fate::Late(700));
    story.calls(ALICE, BOB).unwrap();
    story.passes(500);
    story.hangs_up(ALICE).unwrap();
    let transcript = story.rests();
    assert!(transcript.contains("bob: missed a call of alice") && !transcript.contains("alert"), "{transcript}");
}

/// The first ring_confirm comes while the cancel waits for its receipt, which the alert comes after.
#[test]
fn a_cancel_that_overtakes_the_invite_on_its_way_to_the_server_is_said_again() {
    let mut story = Story::new();
    story.to_server("invite", Fate::Late(700));
    story.to_phone("end", Fate::Late(25));
    let call_id = story.calls(ALICE, BOB).unwrap();
    story.passes(690);
    story.hangs_up(ALICE).unwrap();
    assert_snapshot!(story.rests(), @r"
    0.000 alice calls bob
    0.000   alice → server: invite, arrives at 710
    0.690 alice hangs up
    0.690 alice: ended: cancel
    0.690   alice → server: cancel (cancel)
    0.700   server → alice: end (cancel), arrives at 735
    0.710   server → alice: ring_confirm (ring)
    0.710   server → bob: invite
    0.720          alice hears ring_confirm (ring)
    0.720          bob hears invite
    0.720   bob → server: alert
    0.730   server → bob: ring_confirm (ring)
    0.730   server → alice: alert
    0.735          alice hears end (cancel)
    0.740          bob hears ring_confirm (ring)
    0.740 bob: alice rings
    0.740          alice hears alert
    0.740   alice → server: end (cancel)
    0.750   server → alice: end (cancel)
    0.750   server → bob: cancel (remote_cancel)
    0.760          alice hears end (cancel)
    0.760          bob hears cancel (remote_cancel)
    0.760 bob: ended: remote_cancel
    ");
    assert_eq!(story.ends(call_id), [Some(Cancel), Some(RemoteCancel)]);
}

#[test]
fn an_invite_of_nobody_or_to_oneself_is_not_sent() {
    let mut story = Story::new();
    assert_eq!(story.calls(ALICE, ALICE), Err(CommandError::Invite(InviteError::OwnId)));
    assert_eq!(story.calls_for(ALICE, BOB, 999), Err(CommandError::Invite(InviteError::RingTimeout)));
    assert!(!story.rests().contains('→'));
}

#[test]
fn a_call_to_somebody_unknown_fails() {
    let mut story = Story::new();
    story.calls_a_stranger(ALICE).unwrap();
    assert_snapshot!(story.rests(), @r"
    0.000 alice calls nobody
    0.000   alice → server: invite
    0.010   server → alice: ring_confirm (the callee is not a user of this app)
    0.020          alice hears ring_confirm (the callee is not a user of this app)
    0.020 alice: failed: the callee is not a user of this app
    0.020 alice: ended: error
    ");
}

#[test]
fn a_second_call_is_not_begun_beside_the_first() {
    let mut story = Story::new();
    story.calls(ALICE, BOB).unwrap();
    assert_eq!(story.calls(ALICE, CAROL), Err(CommandError::Busy));
    story.passes(100);
    assert_eq!(story.calls(BOB, CAROL), Err(CommandError::Busy));
    story.hangs_up(ALICE).unwrap();
    story.rests();
}

#[test]
fn a_server_that_is_silent_all_the_time_is_given_up() {
    let mut story = Story::new();
    story.server_restarts(100_000);
    story.calls(ALICE, BOB).unwrap();
    story.passes(34_999);
    assert!(matches!(story.phase(ALICE), Phase::Calling(_)));
    story.passes(1);
    assert_eq!(story.phase(ALICE), Phase::Idle);
    assert!(story.rests().contains("35.000 alice: ended: remote_no_response"));
}

#[test]
fn the_server_is_restarted_while_it_rings() {
    let (mut story, call_id) = crate::ringing();
    story.server_restarts(5_000);
    story.passes(6_000);
    story.answers(BOB).unwrap();
    story.passes(1_000);
    story.hangs_up(ALICE).unwrap();
    story.rests();
    assert_eq!(story.ends(call_id), [Some(Hangup), Some(RemoteHangup)]);
}

#[test]
fn a_deadline_that_passes_while_the_server_is_down_holds() {
    let (mut story, call_id) = crate::ringing();
    story.passes(28_000);
    story.server_restarts(5_000);
    story.answers(BOB).unwrap();
    story.rests();
    assert_eq!(story.ends(call_id), [Some(RemoteNoResponse), Some(NoResponse)]);
}
