//! End: cancel, hang-up, failure, and farewells that are lost or come late.

use call_protocol::CallId;
use call_protocol::Word;
use call_protocol::accept::{Answer, AnswerResult};
use call_protocol::end::{EndReason, EndReason::*};
use call_protocol::media::KeepAlive;
use call_protocol::ring::Alert;
use call_protocol::{DeviceId, Party, UserId};
use insta::assert_snapshot;
use signaling::{CommandError, Phase};
use world::{ALICE, BOB, CAROL, Fate, Story};

use crate::{ringing, talking};

#[test]
fn the_caller_cancels() {
    let (mut story, call_id) = ringing();
    story.so_far();
    story.hangs_up(ALICE).unwrap();
    assert_snapshot!(story.rests(), @r"
    1.000 alice hangs up
    1.000 alice: ended: cancel
    1.000   alice → server: cancel (cancel)
    1.010   server → bob: invite
    1.010   server → alice: end (cancel)
    1.010   server → bob: cancel (remote_cancel)
    1.020          bob hears invite
    1.020          alice hears end (cancel)
    1.020          bob hears cancel (remote_cancel)
    1.020 bob: ended: remote_cancel
    ");
    assert_eq!(story.ends(call_id), [Some(Cancel), Some(RemoteCancel)]);
}

#[test]
fn a_cancel_that_is_lost_is_said_again() {
    let (mut story, call_id) = ringing();
    story.so_far();
    story.to_server("cancel", Fate::Lost);
    story.to_phone("cancel", Fate::Lost);
    story.to_phone("end", Fate::Lost);
    story.hangs_up(ALICE).unwrap();
    assert_snapshot!(story.rests(), @r"
    1.000 alice hangs up
    1.000 alice: ended: cancel
    1.000   alice → server: cancel (cancel), lost
    1.010   server → bob: invite
    1.020          bob hears invite
    2.000   alice → server: cancel (cancel)
    2.010   server → alice: end (cancel), lost
    2.010   server → bob: cancel (remote_cancel), lost
    3.040   bob → server: alert
    3.050   server → bob: ring_confirm (remote_cancel)
    3.060          bob hears ring_confirm (remote_cancel)
    3.060 bob: ended: remote_cancel
    4.000   alice → server: cancel (cancel)
    4.010   server → alice: end (cancel)
    4.020          alice hears end (cancel)
    ");
    assert_eq!(story.ends(call_id), [Some(Cancel), Some(RemoteCancel)]);
}

#[test]
fn a_cancel_that_comes_after_the_answer_ends_the_call() {
    let (mut story, call_id) = ringing();
    story.so_far();
    story.answers(BOB).unwrap();
    story.hangs_up(ALICE).unwrap();
    assert_snapshot!(story.rests(), @r"
    1.000 bob answers
    1.000   bob → server: answer (accept)
    1.000 alice hangs up
    1.000 alice: ended: cancel
    1.000   alice → server: cancel (cancel)
    1.010   server → bob: invite
    1.010   server → alice: answer (accept)
    1.010   server → bob: answer_confirm (accept by bob)
    1.010   server → alice: end (cancel)
    1.010   server → bob: end (remote_cancel)
    1.020          bob hears invite
    1.020          alice hears answer (accept)
    1.020          bob hears answer_confirm (accept by bob)
    1.020 bob: in a call with alice
    1.020          alice hears end (cancel)
    1.020          bob hears end (remote_cancel)
    1.020 bob: ended: remote_cancel
    1.030   server → bob: end (remote_cancel)
    1.040          bob hears end (remote_cancel)
    ");
    assert_eq!(story.ends(call_id), [Some(Cancel), Some(RemoteCancel)]);
}

#[test]
fn either_hangs_up() {
    for (who, ends) in [(ALICE, [Hangup, RemoteHangup]), (BOB, [RemoteHangup, Hangup])] {
        let (mut story, call_id) = talking();
        story.hangs_up(who).unwrap();
        assert_eq!(story.hangs_up(who), Err(CommandError::NoSuchCall));
        story.rests();
        assert_eq!(story.ends(call_id), ends.map(Some));
    }
}

#[test]
fn both_hang_up_at_once() {
    let (mut story, call_id) = talking();
    story.hangs_up(ALICE).unwrap();
    story.hangs_up(BOB).unwrap();
    story.rests();
    assert_eq!(story.ends(call_id), [Some(Hangup), Some(Hangup)]);
}

#[test]
fn a_farewell_that_is_lost_is_said_again() {
    let (mut story, call_id) = talking();
    story.to_server("end", Fate::Lost);
    story.to_phone("end", Fate::Lost);
    story.to_phone("end", Fate::Lost);
    story.hangs_up(ALICE).unwrap();
    assert_snapshot!(story.rests(), @r"
    2.000 alice hangs up
    2.000 alice: ended: hangup
    2.000   alice → server: end (hangup), lost
    3.000   alice → server: end (hangup)
    3.010   server → alice: end (hangup), lost
    3.010   server → bob: end (remote_hangup), lost
    4.030   server → bob: end (remote_hangup)
    4.040          bob hears end (remote_hangup)
    4.040 bob: ended: remote_hangup
    5.000   alice → server: end (hangup)
    5.010   server → alice: end (hangup)
    5.020          alice hears end (hangup)
    ");
    assert_eq!(story.ends(call_id), [Some(Hangup), Some(RemoteHangup)]);
}

#[test]
fn a_farewell_that_is_never_heard_is_missed() {
    let (mut story, call_id) = talking();
    story.goes_dark(ALICE, 60_000);
    story.hangs_up(ALICE).unwrap();
    story.rests();
    assert_eq!(story.ends(call_id), [Some(Hangup), Some(RemoteDrop)]);
}

#[test]
fn the_media_of_either_fails() {
    for (who, ends) in [(ALICE, [Error, RemoteDrop]), (BOB, [RemoteDrop, Error])] {
        let (mut story, call_id) = talking();
        story.fails(who, Error).unwrap();
        story.rests();
        assert_eq!(story.ends(call_id), ends.map(Some));
    }
}

#[test]
fn whoever_signs_out_hangs_up() {
    for (who, ends) in [(ALICE, [None, Some(RemoteHangup)]), (BOB, [Some(RemoteHangup), None])] {
        let (mut story, call_id) = talking();
        story.signs_out(who);
        story.rests();
        assert_eq!(story.ends(call_id), ends);
    }
    let (mut story, call_id) = ringing();
    story.signs_out(ALICE);
    story.rests();
    assert_eq!(story.ends(call_id), [None, Some(RemoteCancel)]);
}

#[test]
fn a_caller_whose_clock_runs_out_while_the_callee_answers() {
    let mut story = Story::new();
    let call_id = story.calls_for(ALICE, BOB, 5_000).unwrap();
    story.passes(5_005);
    story.answers(BOB).unwrap();
    // The answer left before the deadline and came after it: the deadline holds for both.
    story.rests();
    assert_eq!(story.ends(call_id), [Some(RemoteNoResponse), Some(NoResponse)]);
}

#[test]
fn the_server_is_restarted_after_the_end_and_still_knows_it() {
    let (mut story, call_id) = talking();
    story.to_phone("end", Fate::Lost);
    story.to_phone("end", Fate::Lost);
    story.hangs_up(BOB).unwrap();
    story.passes(500);
    story.server_restarts(1_000);
    story.rests();
    assert_eq!(story.ends(call_id), [Some(RemoteHangup), Some(Hangup)]);
}

#[test]
fn the_end_of_a_stranger_changes_nothing() {
    let (mut story, call_id) = talking();
    let end = Word::End(Hangup.into());
    story.says(CAROL, call_id, end.clone());
    story.hears_from(BOB, CAROL, call_id, end);
    story.hears_from(ALICE, CAROL, call_id, Word::Cancel(RemoteCancel.into()));
    story.passes(1_000);
    assert_eq!(story.phase(ALICE), Phase::InCall(call_id));
    assert_eq!(story.phase(BOB), Phase::InCall(call_id));
    story.hangs_up(BOB).unwrap();
    story.rests();
}

#[test]
fn a_call_that_the_server_forgot_ends() {
    let (mut story, call_id) = talking();
    story.server_forgets(call_id);
    story.passes(5_000);
    assert_eq!(story.phase(ALICE), Phase::Idle);
    assert_eq!(story.phase(BOB), Phase::Idle);
    assert!(story.so_far().contains("alice: ended: remote_drop"));
}

#[test]
fn whatever_is_said_of_an_unknown_call_gets_a_last_word() {
    let mut story = Story::new();
    let carol = || Party { user: UserId::new("carol").unwrap(), device: DeviceId::new("phone").unwrap() };
    let answer =
        |result| Word::Answer(Answer { callee: carol(), result, call_type: None, preparation: false, release: None });
    let words = [
        Word::Alert(Alert { callee: carol(), asked_unix_ms: None }),
        answer(AnswerResult::Accept),
        answer(AnswerResult::Refuse),
        answer(AnswerResult::Busy),
        Word::Cancel(Cancel.into()),
        Word::End(Hangup.into()),
        Word::KeepAlive(KeepAlive { in_call: true, ..KeepAlive::default() }),
        Word::Reachability { reachable: true, ends_in_ms: 0 },
    ];
    for word in words {
        story.says(CAROL, CallId::from_bits(7), word);
    }
    assert_snapshot!(story.rests(), @r"
    0.000   server → carol: ring_confirm (remote_drop)
    0.000   server → carol: cancel (remote_cancel)
    0.000   server → carol: answer_confirm (refuse by carol)
    0.000   server → carol: end (busy)
    0.000   server → carol: end (cancel)
    0.000   server → carol: end (hangup)
    0.000   server → carol: end (remote_drop)
    0.010          carol hears ring_confirm (remote_drop)
    0.010          carol hears cancel (remote_cancel)
    0.010          carol hears answer_confirm (refuse by carol)
    0.010          carol hears end (busy)
    0.010          carol hears end (cancel)
    0.010          carol hears end (hangup)
    0.010          carol hears end (remote_drop)
    ");
}

/// Each message of a call in turn is lost, doubled, or so late that others overtake it: it must end as it would have, or as one who missed that
/// message must believe; and nobody rings or waits for ever.
#[test]
fn each_message_lost_twice_and_late() {
    let up = ["invite", "alert", "answer", "keep_alive", "end"].map(|name| (true, name));
    let down = ["invite", "alert", "ring_confirm", "answer", "answer_confirm", "end"].map(|name| (false, name));
    for (to_server, name) in up.into_iter().chain(down) {
        for fate in [Fate::Lost, Fate::Twice(0), Fate::Twice(2_500), Fate::Late(500), Fate::Late(3_500)] {
            let mut story = Story::new();
            if to_server {
                story.to_server(name, fate)
            } else {
                story.to_phone(name, fate)
            }
            let call_id = story.calls(ALICE, BOB).unwrap();
            story.passes(2_000);
            story.answers(BOB).unwrap_or_else(|error| panic!("{name} {fate:?}: {error}\n{}", story.so_far()));
            story.passes(5_000);
            assert_eq!(story.phase(ALICE), Phase::InCall(call_id), "{name} {fate:?}");
            assert_eq!(story.phase(BOB), Phase::InCall(call_id), "{name} {fate:?}");
            story.hangs_up(ALICE).unwrap();
            story.rests();
            let ends: [Option<EndReason>; 2] = [Some(Hangup), Some(RemoteHangup)];
            assert_eq!(story.ends(call_id), ends, "{name} {fate:?}");
        }
    }
}
