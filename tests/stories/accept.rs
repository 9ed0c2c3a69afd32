//! Accept: yes, no, busy, and answers that are lost, doubled or too late.

use call_protocol::Word;
use call_protocol::accept::{Answer, AnswerConfirm, AnswerResult};
use call_protocol::end::EndReason::*;
use call_protocol::{DeviceId, Party, UserId};
use insta::assert_snapshot;
use signaling::{CommandError, Phase};
use world::{ALICE, BOB, CAROL, Fate};

use crate::{ringing, talking};

#[test]
fn the_callee_declines() {
    let (mut story, call_id) = ringing();
    story.so_far();
    story.hangs_up(BOB).unwrap();
    assert_snapshot!(story.rests(), @r"
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
    assert_eq!(story.ends(call_id), [Some(RemoteRefuse), Some(Refuse)]);
}

#[test]
fn a_refusal_that_is_lost_is_said_again() {
    let (mut story, call_id) = ringing();
    story.so_far();
    story.to_server("answer", Fate::Lost);
    story.to_phone("answer_confirm", Fate::Lost);
    story.hangs_up(BOB).unwrap();
    assert_snapshot!(story.rests(), @r"
    1.000 bob hangs up
    1.000 bob: ended: refuse
    1.000   bob → server: answer (refuse), lost
    1.010   server → bob: invite
    1.020          bob hears invite
    2.000   bob → server: answer (refuse)
    2.010   server → alice: answer (refuse)
    2.010   server → bob: answer_confirm (refuse by bob), lost
    2.020          alice hears answer (refuse)
    2.020 alice: ended: remote_refuse
    4.000   bob → server: answer (refuse)
    4.010   server → bob: answer_confirm (refuse by bob)
    4.020          bob hears answer_confirm (refuse by bob)
    ");
    assert_eq!(story.ends(call_id), [Some(RemoteRefuse), Some(Refuse)]);
}

#[test]
fn an_answer_and_its_confirmation_may_be_lost() {
    let (mut story, call_id) = ringing();
    story.so_far();
    story.to_server("answer", Fate::Lost);
    story.to_phone("answer", Fate::Lost);
    story.to_phone("answer_confirm", Fate::Lost);
    story.answers(BOB).unwrap();
    story.passes(5_000);
    assert_eq!(story.phase(ALICE), Phase::InCall(call_id));
    assert_eq!(story.phase(BOB), Phase::InCall(call_id));
    assert_snapshot!(story.so_far(), @r"
    1.000 bob answers
    1.000   bob → server: answer (accept), lost
    1.010   server → bob: invite
    1.020          bob hears invite
    2.000   bob → server: answer (accept)
    2.010   server → alice: answer (accept), lost
    2.010   server → bob: answer_confirm (accept by bob), lost
    3.030   server → alice: answer (accept)
    3.040          alice hears answer (accept)
    3.040 alice: bob accepted
    4.000   bob → server: answer (accept)
    4.010   server → bob: answer_confirm (accept by bob)
    4.020          bob hears answer_confirm (accept by bob)
    4.020 bob: in a call with alice
    ");
    story.hangs_up(ALICE).unwrap();
    story.rests();
}

#[test]
fn an_answer_that_comes_twice_is_told_once() {
    let (mut story, _) = ringing();
    story.to_server("answer", Fate::Twice(100));
    story.to_phone("answer", Fate::Twice(100));
    story.to_phone("answer_confirm", Fate::Twice(100));
    story.answers(BOB).unwrap();
    story.passes(1_000);
    story.hangs_up(BOB).unwrap();
    let transcript = story.rests();
    assert_eq!(transcript.matches("bob accepted").count(), 1, "{transcript}");
    assert_eq!(transcript.matches("in a call with alice").count(), 1, "{transcript}");
}

#[test]
fn an_answer_that_comes_after_the_cancel_is_too_late() {
    let (mut story, call_id) = ringing();
    story.so_far();
    story.to_phone("cancel", Fate::Late(500));
    story.hangs_up(ALICE).unwrap();
    story.passes(100);
    story.answers(BOB).unwrap();
    assert_snapshot!(story.rests(), @r"
    1.000 alice hangs up
    1.000 alice: ended: cancel
    1.000   alice → server: cancel (cancel)
    1.010   server → bob: invite
    1.010   server → alice: end (cancel)
    1.010   server → bob: cancel (remote_cancel), arrives at 1520
    1.020          bob hears invite
    1.020          alice hears end (cancel)
    1.100 bob answers
    1.100   bob → server: answer (accept)
    1.110   server → bob: cancel (remote_cancel)
    1.120          bob hears cancel (remote_cancel)
    1.120 bob: ended: remote_cancel
    1.520          bob hears cancel (remote_cancel)
    ");
    assert_eq!(story.ends(call_id), [Some(Cancel), Some(RemoteCancel)]);
}

#[test]
fn an_answer_that_is_never_confirmed_is_given_up() {
    let (mut story, call_id) = ringing();
    story.goes_dark(BOB, 60_000);
    story.answers(BOB).unwrap();
    story.passes(9_999);
    assert_eq!(story.phase(BOB), Phase::Answering(call_id));
    story.passes(1);
    assert_eq!(story.phase(BOB), Phase::Idle);
    story.rests();
    assert_eq!(story.ends(call_id), [Some(RemoteNoResponse), Some(RemoteDrop)]);
}

#[test]
fn a_callee_that_gives_up_is_no_refusal() {
    let (mut story, call_id) = ringing();
    story.goes_dark(BOB, 12_000);
    story.answers(BOB).unwrap();
    story.rests();
    // Another device of Bob's might still take it.
    assert_eq!(story.ends(call_id), [Some(RemoteNoResponse), Some(RemoteDrop)]);
}

#[test]
fn only_what_rings_can_be_answered_and_only_once() {
    let (mut story, _) = ringing();
    assert_eq!(story.answers(ALICE), Err(CommandError::NotRinging));
    assert_eq!(story.answers(CAROL), Err(CommandError::NoSuchCall));
    story.answers(BOB).unwrap();
    assert_eq!(story.answers(BOB), Err(CommandError::NotRinging));
    story.passes(100);
    assert_eq!(story.answers(BOB), Err(CommandError::NotRinging));
    story.hangs_up(BOB).unwrap();
    story.rests();
}

#[test]
fn a_phone_that_was_started_anew_does_not_hold_the_call() {
    // The first copy of the invite rings, the last one reaches the phone when it has forgotten the call.
    let mut story = world::Story::new();
    story.to_phone("invite", Fate::Twice(3_000));
    let call_id = story.calls(ALICE, BOB).unwrap();
    story.passes(1_000);
    story.answers(BOB).unwrap();
    story.passes(500);
    story.crashes(BOB, Some(500));
    story.so_far();
    assert_snapshot!(story.rests(), @r"
    2.000 the app of bob starts
    2.000   server → alice: end (remote_drop)
    2.000   server → bob: end (remote_drop)
    2.010          alice hears end (remote_drop)
    2.010 alice: ended: remote_drop
    2.010          bob hears end (remote_drop)
    3.020          bob hears invite
    ");
    assert_eq!(story.ends(call_id), [Some(RemoteDrop), None]);
}

#[test]
fn a_phone_that_crashes_as_it_answers_says_so_when_it_is_back() {
    let (mut story, call_id) = ringing();
    story.so_far();
    story.to_phone("answer_confirm", Fate::Late(700));
    story.answers(BOB).unwrap();
    story.passes(100);
    story.crashes(BOB, Some(500));
    assert_snapshot!(story.rests(), @r"
    1.000 bob answers
    1.000   bob → server: answer (accept)
    1.010   server → bob: invite
    1.010   server → alice: answer (accept)
    1.010   server → bob: answer_confirm (accept by bob), arrives at 1720
    1.020          bob hears invite
    1.020          alice hears answer (accept)
    1.020 alice: bob accepted
    1.100 the app of bob crashes
    1.600 the app of bob starts
    1.600   server → alice: end (remote_drop)
    1.600   server → bob: end (remote_drop)
    1.610          alice hears end (remote_drop)
    1.610 alice: ended: remote_drop
    1.610          bob hears end (remote_drop)
    1.720          bob hears answer_confirm (accept by bob)
    1.720   bob → server: end (remote_drop)
    1.730   server → bob: end (remote_drop)
    1.740          bob hears end (remote_drop)
    ");
    assert_eq!(story.ends(call_id), [Some(RemoteDrop), None]);
}

#[test]
fn the_answer_and_the_confirmation_of_a_stranger_change_nothing() {
    let (mut story, call_id) = ringing();
    let carol = Party { user: UserId::new("carol").unwrap(), device: DeviceId::new("phone").unwrap() };
    let bob = Party { user: UserId::new("bob").unwrap(), device: DeviceId::new("phone").unwrap() };
    let accept = AnswerResult::Accept;
    story.says(
        CAROL,
        call_id,
        Word::Answer(Answer {
            callee: bob.clone(),
            result: accept,
            call_type: None,
            preparation: false,
            release: None,
        }),
    );
    story.hears_from(
        ALICE,
        CAROL,
        call_id,
        Word::Answer(Answer { callee: carol, result: accept, call_type: None, preparation: false, release: None }),
    );
    story.hears_from(
        BOB,
        CAROL,
        call_id,
        Word::AnswerConfirm(AnswerConfirm { result: accept, winner: bob, release: None }),
    );
    story.passes(100);
    assert_eq!(story.phase(ALICE), Phase::Calling(call_id));
    assert_eq!(story.phase(BOB), Phase::Ringing(call_id));
    story.hangs_up(ALICE).unwrap();
    story.rests();
}

#[test]
fn the_server_is_restarted_while_they_talk() {
    let (mut story, call_id) = talking();
    story.server_restarts(20_000);
    story.passes(30_000);
    assert_eq!(story.phase(ALICE), Phase::InCall(call_id));
    story.hangs_up(BOB).unwrap();
    // How long they talked is checked in every world: it counts the time without a server, too.
    story.rests();
    assert_eq!(story.ends(call_id), [Some(RemoteHangup), Some(Hangup)]);
}
