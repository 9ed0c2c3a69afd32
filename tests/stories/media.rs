//! Media: while they talk, each is heard every few seconds, or the other one is told.

use call_protocol::Word;
use call_protocol::end::EndReason::*;
use call_protocol::media::DescriptionKind::{Answer, Offer};
use insta::assert_snapshot;
use signaling::Phase;
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
    11.030   server → alice: reachability (away, ends in 5000 ms), arrives at 11040 and 11040
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
        story.says(CAROL, call_id, Word::KeepAlive { in_call: true });
        story.passes(2_000);
    }
    let transcript = story.rests();
    assert!(!transcript.contains("carol hears"), "nothing is told to a stranger\n{transcript}");
    assert_eq!(story.ends(call_id), [Some(RemoteDrop), None]);
}

#[test]
fn what_the_caller_offers_waits_at_the_server_for_the_phone_that_alerts() {
    let mut story = Story::new();
    story.calls(ALICE, BOB).unwrap();
    story.negotiates(ALICE, Offer, "an offer").unwrap();
    story.passes(1_000);
    story.answers(BOB).unwrap();
    story.negotiates(BOB, Answer, "an answer").unwrap();
    story.passes(100);
    assert_snapshot!(story.so_far(), @r"
     0.000 alice calls bob
     0.000   alice → server: invite
     0.000 alice says an offer
     0.000   alice → server: negotiation
     0.010   server → alice: ring_confirm (ring)
     0.010   server → bob: invite
     0.020          alice hears ring_confirm (ring)
     0.020          bob hears invite
     0.020   bob → server: alert
     0.030   server → bob: ring_confirm (ring)
     0.030   server → bob: negotiation
     0.030   server → alice: alert
     0.040          bob hears ring_confirm (ring)
     0.040 bob: alice rings
     0.040          bob hears negotiation
     0.040 bob: the other one says an offer
     0.040          alice hears alert
     0.040 alice: bob is about to ring
     1.000 bob answers
     1.000   bob → server: answer (accept)
     1.000 bob says an answer
     1.000   bob → server: negotiation
     1.010   server → alice: answer (accept)
     1.010   server → bob: answer_confirm (accept by bob)
     1.010   server → alice: negotiation
     1.020          alice hears answer (accept)
     1.020 alice: bob accepted
     1.020          bob hears answer_confirm (accept by bob)
     1.020 bob: in a call with alice
     1.020          alice hears negotiation
     1.020 alice: the other one says an answer
    ");
    story.hangs_up(BOB).unwrap();
    story.rests();
}

#[test]
fn an_offer_of_before_a_restart_of_the_server_is_not_lost() {
    let mut story = Story::new();
    story.calls(ALICE, BOB).unwrap();
    story.to_server("alert", Fate::Lost);
    story.negotiates(ALICE, Offer, "an offer").unwrap();
    story.passes(500);
    story.server_restarts(100);
    story.passes(3_000);
    let so_far = story.so_far();
    assert!(so_far.contains("bob: the other one says an offer"), "{so_far}");
    story.hangs_up(ALICE).unwrap();
    story.rests();
}

#[test]
fn a_phone_that_has_not_answered_says_nothing_about_its_media() {
    let mut story = Story::new();
    story.calls(ALICE, BOB).unwrap();
    story.passes(1_000);
    story.negotiates(BOB, Answer, "an address too early").unwrap();
    story.passes(1_000);
    assert!(!story.so_far().contains("alice: the other one says"));
    story.hangs_up(BOB).unwrap();
    story.rests();
}
