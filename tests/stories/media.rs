//! Media: while they talk, each is heard every few seconds, or the other one is told.

use call_protocol::Word;
use call_protocol::end::EndReason::*;
use call_protocol::media::DescriptionKind::{Answer, Offer};
use call_protocol::media::KeepAlive;
use insta::assert_snapshot;
use signaling::{CommandError, Phase};
use world::{ALICE, BOB, CAROL, Fate, Story};

use crate::talking;

#[test]
fn a_party_that_is_back_in_time_resumes() {
    let (mut story, call_id) = talking();
    story.goes_dark(BOB, 13_900);
    story.passes(20_000);
    assert_eq!(story.phase(ALICE), Phase::InCall(call_id));
    assert_eq!(story.phase(BOB), Phase::InCall(call_id));
    assert_snapshot!(story.so_far(), @r"
     2.000 bob loses the network for 13900 ms
    11.030   server → alice: reachability (away, ends in 5000 ms)
    11.040          alice hears reachability (away, ends in 5000 ms)
    11.040 alice: the other one cannot be heard
    15.910   server → alice: reachability (back)
    15.920          alice hears reachability (back)
    15.920 alice: the other one is back
    ");
    story.hangs_up(ALICE).unwrap();
    story.rests();
}

#[test]
fn a_party_that_stays_away_has_dropped() {
    let (mut story, call_id) = talking();
    story.goes_dark(BOB, 30_000);
    assert_snapshot!(story.rests(), @r"
     2.000 bob loses the network for 30000 ms
    11.030   server → alice: reachability (away, ends in 5000 ms)
    11.040          alice hears reachability (away, ends in 5000 ms)
    11.040 alice: the other one cannot be heard
    16.030   server → alice: end (remote_drop)
    16.030   server → bob: end (remote_drop)
    16.030   server → alice: end (remote_drop)
    16.040          alice hears end (remote_drop)
    16.040 alice: ended: remote_drop
    16.040          alice hears end (remote_drop)
    32.010   server → bob: end (remote_drop)
    32.020          bob hears end (remote_drop)
    32.020 bob: ended: remote_drop
    ");
    assert_eq!(story.ends(call_id), [Some(RemoteDrop), Some(RemoteDrop)]);
}

#[test]
fn a_server_that_stands_still_or_is_cut_off_ends_no_call() {
    for for_ms in [5_000, 16_000, 60_000, 300_000] {
        for is_cut_off in [false, true] {
            let (mut story, call_id) = talking();
            if is_cut_off {
                story.server_is_cut_off(for_ms);
            } else {
                story.server_stalls(for_ms);
            }
            story.passes(for_ms + 30_000);
            let phases = [story.phase(ALICE), story.phase(BOB)];
            let transcript = story.so_far();
            assert_eq!(phases, [Phase::InCall(call_id); 2], "{for_ms} ms, cut off: {is_cut_off}\n{transcript}");
            assert!(!transcript.contains("cannot be heard"), "{transcript}");
            // Who is gone when it is back is noticed as ever.
            story.crashes(BOB, None);
            story.rests();
            assert_eq!(story.ends(call_id), [Some(RemoteDrop), None]);
        }
    }
}

#[test]
fn a_party_that_is_gone_when_the_server_is_back_is_noticed() {
    let (mut story, call_id) = talking();
    story.server_stalls(60_000);
    story.passes(10_000);
    story.crashes(BOB, None);
    story.passes(51_000);
    assert_eq!(story.phase(ALICE), Phase::InCall(call_id));
    story.passes(16_000);
    assert_eq!(story.ends(call_id), [Some(RemoteDrop), None]);
    story.rests();
}

#[test]
fn a_call_of_which_nobody_is_left_is_over_after_ten_minutes() {
    let (mut story, _) = talking();
    story.crashes(ALICE, None);
    story.crashes(BOB, None);
    story.passes(590_000);
    assert!(!story.so_far().contains("end (remote_drop)"));
    story.passes(20_000);
    assert!(story.so_far().contains("end (remote_drop)"));
}

#[test]
fn a_party_whose_app_crashes_has_dropped() {
    let (mut story, call_id) = talking();
    story.crashes(ALICE, Some(1_000));
    story.rests();
    assert_eq!(story.ends(call_id), [None, Some(RemoteDrop)]);
}

#[test]
fn news_of_a_party_that_comes_twice_is_told_once() {
    let (mut story, _) = talking();
    story.to_phone("reachability", Fate::Twice(500));
    story.to_phone("reachability", Fate::Twice(500));
    story.goes_dark(BOB, 13_900);
    story.passes(20_000);
    let transcript = story.so_far();
    assert_eq!(transcript.matches("cannot be heard").count(), 1, "{transcript}");
    assert_eq!(transcript.matches("is back").count(), 1, "{transcript}");
    story.hangs_up(BOB).unwrap();
    story.rests();
}

#[test]
fn good_news_that_is_lost_is_inferred() {
    let (mut story, _) = talking();
    story.to_phone("reachability", Fate::Twice(0));
    story.to_phone("reachability", Fate::Lost);
    story.goes_dark(BOB, 13_900);
    story.passes(30_000);
    assert_snapshot!(story.so_far(), @r"
     2.000 bob loses the network for 13900 ms
    11.030   server → alice: reachability (away, ends in 5000 ms), arrives again at 11040
    11.040          alice hears reachability (away, ends in 5000 ms)
    11.040 alice: the other one cannot be heard
    11.040          alice hears reachability (away, ends in 5000 ms)
    15.910   server → alice: reachability (back), lost
    21.040 alice: the other one is back
    ");
    story.hangs_up(BOB).unwrap();
    story.rests();
}

#[test]
fn good_news_that_overtakes_the_bad_does_not_last() {
    let (mut story, _) = talking();
    story.to_phone("reachability", Fate::Late(5_000));
    story.goes_dark(BOB, 13_900);
    story.passes(40_000);
    let transcript = story.so_far();
    let (bad, good) = (transcript.find("cannot be heard").unwrap(), transcript.rfind("other one is back").unwrap());
    assert!(bad < good, "{transcript}");
    story.hangs_up(BOB).unwrap();
    story.rests();
}

#[test]
fn a_stranger_keeps_nobody_alive() {
    let (mut story, call_id) = talking();
    story.crashes(BOB, None);
    for _ in 0..10 {
        story.says(CAROL, call_id, Word::KeepAlive(KeepAlive { in_call: true, ..KeepAlive::default() }));
        story.passes(2_000);
    }
    let transcript = story.rests();
    assert!(!transcript.contains("carol hears"), "nothing is told to a stranger\n{transcript}");
    assert_eq!(story.ends(call_id), [Some(RemoteDrop), None]);
}

#[test]
fn media_is_set_up_while_it_rings() {
    let mut story = Story::new();
    story.calls(ALICE, BOB).unwrap();
    assert_eq!(story.negotiates(ALICE, BOB, Offer, "an offer"), Err(CommandError::NoSuchDevice));
    story.passes(1_000);
    story.so_far();
    story.negotiates(ALICE, BOB, Offer, "an offer").unwrap();
    story.passes(100);
    story.negotiates(BOB, ALICE, Answer, "an answer").unwrap();
    story.passes(400);
    assert_snapshot!(story.so_far(), @r"
    1.000 alice says an offer
    1.000   alice → server: negotiation
    1.010   server → bob: invite
    1.010   server → bob: negotiation
    1.020          bob hears invite
    1.020          bob hears negotiation
    1.020 bob: alice says an offer
    1.100 bob says an answer
    1.100   bob → server: negotiation
    1.110   server → alice: negotiation
    1.120          alice hears negotiation
    1.120 alice: bob says an answer
    ");
    story.hangs_up(BOB).unwrap();
    story.rests();
}

#[test]
fn steps_that_are_lost_late_or_doubled_are_told_in_order_and_once() {
    let (mut story, _) = talking();
    story.to_phone("negotiation", Fate::Lost);
    story.to_phone("negotiation", Fate::Twice(50));
    story.to_phone("negotiation", Fate::Late(3_000));
    for step in ["one", "two", "three", "four"] {
        story.negotiates(ALICE, BOB, Offer, step).unwrap();
    }
    story.passes(5_000);
    let told = story.told().into_iter().filter(|(who, what)| who == "bob" && what.starts_with("alice says"));
    let told: Vec<_> = told.map(|(_, what)| what).collect();
    assert_eq!(told, ["alice says one", "alice says two", "alice says three", "alice says four"]);
    story.hangs_up(BOB).unwrap();
    story.rests();
}

#[test]
fn a_step_of_before_a_restart_of_the_server_is_not_lost() {
    let mut story = Story::new();
    story.calls(ALICE, BOB).unwrap();
    story.passes(500);
    story.to_server("negotiation", Fate::Lost);
    story.negotiates(ALICE, BOB, Offer, "an offer").unwrap();
    story.server_restarts(100);
    story.passes(3_000);
    let so_far = story.so_far();
    assert!(so_far.contains("bob: alice says an offer"), "{so_far}");
    story.hangs_up(ALICE).unwrap();
    story.rests();
}

#[test]
fn what_is_said_on_the_media_path_is_heard_without_the_server() {
    let mut story = Story::new();
    story.has_media_paths();
    let call_id = story.calls(ALICE, BOB).unwrap();
    story.passes(500);
    story.negotiates(ALICE, BOB, Offer, "an offer").unwrap();
    story.negotiates(BOB, ALICE, Answer, "an answer").unwrap();
    story.passes(500);
    story.so_far();
    story.server_restarts(2_000);
    story.answers(BOB).unwrap();
    story.passes(1_000);
    assert_snapshot!(story.so_far(), @r"
    1.000 the server is killed for 2000 ms
    1.000 bob answers
    1.000   bob → server: answer (accept)
    1.000   bob ⇒ alice: answer (accept)
    1.010          alice hears answer (accept)
    1.010 alice: bob says that it accepts
    2.000   bob → server: answer (accept)
    2.000   bob ⇒ alice: answer (accept)
    ");
    story.passes(4_000);
    assert_eq!(story.phase(ALICE), Phase::InCall(call_id));
    story.so_far();
    story.server_restarts(2_000);
    story.hangs_up(ALICE).unwrap();
    story.passes(100);
    assert_eq!(story.phase(BOB), Phase::Idle);
    story.rests();
    assert_eq!(story.ends(call_id), [Some(Hangup), Some(RemoteHangup)]);
}
