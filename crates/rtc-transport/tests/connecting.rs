//! How fast and how surely two paths connect, over the simulated network in virtual time.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use std::time::Duration;

use rtc_transport::simulated::{Link, run};
use rtc_transport::{PathConfig, PathState, Swiftness};
use world::{Call, call, ms};

/// All attempts of `seeds`, as (caller, callee) after the answer, each sorted.
fn attempts(seeds: u64, link: Link, limit: Duration) -> (Vec<Duration>, Vec<Duration>) {
    let mut times: (Vec<_>, Vec<_>) = (0..seeds)
        .map(|seed| {
            let connected = call(seed, link, async |mut call| call.connect(limit).await);
            connected.unwrap_or_else(|| panic!("seed {seed} over {link:?} did not connect within {limit:?}"))
        })
        .unzip();
    times.0.sort();
    times.1.sort();
    times
}

#[test]
fn a_clean_path_takes_five_one_way_delays_at_the_caller_and_six_at_the_callee() {
    for delay in [20, 50, 100, 300] {
        let (caller, callee) = attempts(2, Link::delayed(ms(delay)), ms(30_000));
        // The steps of virtual time are 1 ms.
        assert!(caller[1] <= ms(delay * 5 + 3), "{delay} ms: caller {:?}", caller[1]);
        assert!(callee[1] <= ms(delay * 6 + 3), "{delay} ms: callee {:?}", callee[1]);
    }
}

#[test]
fn every_attempt_connects_at_ten_percent_loss() {
    let (caller, callee) = attempts(300, Link::delayed(ms(50)).with_loss(0.1), ms(20_000));
    let p99 = |times: &[Duration]| times[times.len() * 99 / 100];
    assert!(p99(&caller) <= ms(1_500) && p99(&callee) <= ms(1_500), "{:?} {:?}", p99(&caller), p99(&callee));
}

#[test]
fn every_attempt_connects_over_worse_paths() {
    let slow = Link::delayed(ms(100));
    let links = [
        slow.with_loss(0.3),
        slow.with_bursts(0.2, 4.0),
        slow.with_jitter(ms(80)).with_loss(0.05),
        Link { duplicates: 0.3, ..slow.with_jitter(ms(30)) },
        Link { rate: Some(64_000), ..slow },
        Link::delayed(ms(900)).with_loss(0.05),
    ];
    for link in links {
        attempts(25, link, ms(30_000));
    }
}

#[test]
fn a_late_answer_does_not_matter() {
    // The answer needs 6 s while media would take 50 ms: longer than any number of early checks.
    run(async {
        let mut call = Call::new(3, Link::delayed(ms(50))).await;
        call.signalling = ms(6_000);
        let (caller, _) = call.connect(ms(20_000)).await.unwrap();
        assert!(caller < ms(6_000 + 500), "{caller:?}");
    });
}

#[test]
fn the_engine_as_it_comes_gets_stuck_where_the_seam_does_not() {
    let link = Link::delayed(ms(50)).with_loss(0.1);
    let stuck = |swiftness: Swiftness| {
        let attempt = |seed: u64| {
            run(async {
                let mut call = Call::with(seed, link, |config| PathConfig { swiftness, ..config }).await;
                call.connect(ms(20_000)).await.is_none()
            })
        };
        (0..60).filter(|seed| attempt(*seed)).count()
    };
    assert!(stuck(Swiftness::none()) > 0, "a new engine may have cured it: then flights need no repeating");
    let only_repeats = Swiftness { repeat_flights: true, ..Swiftness::none() };
    assert_eq!(stuck(only_repeats), 0, "repeated flights alone make it sure");
}

#[test]
fn each_measure_saves_what_it_claims() {
    let took = |swiftness: Swiftness| {
        run(async {
            let link = Link::delayed(ms(100));
            let mut call = Call::with(1, link, |config| PathConfig { swiftness, ..config }).await;
            call.connect(ms(20_000)).await.unwrap().1
        })
    };
    let all = Swiftness::default();
    let base = took(all);
    let without_cookie = took(Swiftness { announce_cookie: false, ..all });
    assert!(without_cookie >= base + ms(190), "the cookie saves a round trip: {base:?} {without_cookie:?}");
    let without_nomination = took(Swiftness { nominate_at_once: false, ..all });
    assert!(without_nomination >= base + ms(150), "early nomination: {base:?} {without_nomination:?}");
}

#[test]
fn an_end_with_the_measures_connects_to_one_without() {
    for (caller, callee) in [(Swiftness::default(), Swiftness::none()), (Swiftness::none(), Swiftness::default())] {
        run(async {
            let mut call = Call::new(5, Link::delayed(ms(50))).await;
            call.caller = world::End::open(PathConfig { swiftness: caller, ..call.alice.path_config() }).await;
            call.callee = world::End::open(PathConfig { swiftness: callee, ..call.bob.path_config() }).await;
            assert!(call.connect(ms(5_000)).await.is_some());
        });
    }
}

#[test]
fn a_path_nobody_answers_fails_and_says_so() {
    run(async {
        let mut call = Call::new(1, Link::default()).await;
        call.network.cut(&call.alice, &call.bob);
        assert!(call.connect(ms(60_000)).await.is_none());
        let (mut states, _) = call.caller.heard();
        states.extend(call.callee.heard().0);
        assert!(states.iter().all(|state| *state == PathState::Failed), "{states:?}");
    });
}
