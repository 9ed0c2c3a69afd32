//! Paths whose ends move to other networks, over the simulated network in virtual time.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use std::time::Duration;

use bytes::Bytes;
use rtc_transport::simulated::{Link, pass};
use rtc_transport::{PathEvent, PathState, Rebound};
use tokio::time::Instant;
use world::{Call, End, call, ms, number, packet};

const LIMIT: Duration = Duration::from_secs(10);

/// Speaks at both ends all the time, as people do, and drops what cannot be sent.
fn chatter(call: &Call) {
    for path in [call.caller.path.clone(), call.callee.path.clone()] {
        tokio::spawn(async move {
            for n in 0.. {
                let _ = path.send_voice(packet(n));
                pass(ms(20)).await;
            }
        });
    }
}

/// How long it is from now until the end hears the other and goes on hearing it.
async fn voice_is_back(end: &mut End, since: Instant) -> Duration {
    end.heard();
    end.voice().await;
    let back = since.elapsed();
    for _ in 0..5 {
        end.voice().await;
    }
    assert!(since.elapsed() <= back + ms(150), "it stays");
    back
}

/// Carries candidates for as long as it is polled, and waits for voice.
async fn back_over_new_candidates(end: &mut End, other: rtc_transport::MediaPath, delay: Duration) -> Instant {
    loop {
        match end.events.recv().await.unwrap() {
            PathEvent::LocalCandidate(candidate) => {
                let other = other.clone();
                tokio::spawn(async move {
                    pass(delay).await;
                    let _ = other.add_candidate(candidate).await;
                });
            }
            PathEvent::Voice(_) => return Instant::now(),
            _ => {}
        }
    }
}

#[test]
fn a_nat_that_renumbers_one_end_costs_a_round_trip_and_a_half() {
    for caller_moves in [true, false] {
        call(1, Link::delayed(ms(50)), async |mut call| {
            if caller_moves {
                call.alice.behind_nat()
            } else {
                call.bob.behind_nat()
            };
            call.connect(LIMIT).await.unwrap();
            chatter(&call);
            pass(ms(1_000)).await;
            let start = Instant::now();
            if caller_moves {
                call.alice.renumber()
            } else {
                call.bob.renumber()
            };
            // The end whose address changed is the one that cannot be reached.
            pass(ms(50)).await;
            let moved = if caller_moves { &mut call.caller } else { &mut call.callee };
            let back = voice_is_back(moved, start).await;
            assert!(back <= ms(50 * 4 + 45), "caller moves: {caller_moves}: {back:?}");
            pass(ms(30_000)).await;
            let (states, _) = moved.heard();
            assert_eq!(states, [], "neither end noticed");
            assert_eq!(call.callee.heard().0, []);
        });
    }
}

#[test]
fn a_path_without_voice_is_renumbered_within_its_next_consent_check() {
    call(2, Link::delayed(ms(50)), async |mut call| {
        call.alice.behind_nat();
        call.connect(LIMIT).await.unwrap();
        pass(ms(5_000)).await;
        call.alice.renumber();
        pass(ms(700)).await;
        call.callee.path.send_control(Bytes::from_static(b"held")).unwrap();
        pass(ms(51)).await;
        let mut words = 0;
        while let Some(event) = call.caller.events.try_recv() {
            words += usize::from(matches!(event, PathEvent::Control(_)));
        }
        assert_eq!(words, 1);
    });
}

#[test]
fn a_nat_may_renumber_again_and_again_over_a_bad_network() {
    call(7, Link::delayed(ms(50)).with_loss(0.1).with_jitter(ms(30)), async |mut call| {
        call.alice.behind_nat();
        call.connect(LIMIT).await.unwrap();
        chatter(&call);
        for _ in 0..20 {
            pass(ms(3_000)).await;
            let start = Instant::now();
            call.alice.renumber();
            pass(ms(80)).await;
            let back = voice_is_back(&mut call.caller, start).await;
            assert!(back <= ms(1_000), "{back:?}");
        }
        assert!(call.callee.heard().0.is_empty());
    });
}

#[test]
fn new_sockets_bring_the_voice_back_without_signalling() {
    for caller_moves in [true, false] {
        call(4, Link::delayed(ms(50)), async |mut call| {
            call.connect(LIMIT).await.unwrap();
            chatter(&call);
            for _ in 0..3 {
                pass(ms(1_000)).await;
                let (host, moved, other) = match caller_moves {
                    true => (&call.alice, &mut call.caller, &mut call.callee),
                    false => (&call.bob, &mut call.callee, &mut call.caller),
                };
                host.moves();
                pass(ms(120)).await;
                let (start, path) = (Instant::now(), moved.path.clone());
                let (rebound, at_moved, at_other) =
                    tokio::join!(path.rebind(), voice_is_back(moved, start), voice_is_back(other, start));
                assert_eq!(rebound, Rebound::Answered);
                assert!(at_moved <= ms(4 * 50 + 25), "{at_moved:?}");
                assert!(at_other <= ms(50 + 22), "{at_other:?}");
                assert_eq!(call.network.open_sockets(), 2, "the old socket is closed");
            }
            pass(ms(30_000)).await;
            assert_eq!((call.caller.heard().0, call.callee.heard().0), (vec![], vec![]));
        });
    }
}

#[test]
fn an_end_that_moves_again_asks_anew_whether_it_is_heard() {
    call(8, Link::delayed(ms(50)), async |mut call| {
        call.connect(LIMIT).await.unwrap();
        chatter(&call);
        for _ in 0..3 {
            call.alice.moves();
            assert_eq!(call.caller.path.rebind().await, Rebound::Answered);
            // Further answers of the same move come when nobody waits for them any more.
            pass(ms(1_000)).await;
        }
        call.network.cut(&call.alice, &call.bob);
        call.alice.moves();
        let start = Instant::now();
        assert_eq!(call.caller.path.rebind().await, Rebound::Unreachable);
        assert!(start.elapsed() >= ms(950), "{:?}", start.elapsed());
    });
}

#[test]
fn both_ends_may_move_at_once_if_an_ice_restart_follows() {
    call(5, Link::delayed(ms(50)), async |mut call| {
        call.connect(LIMIT).await.unwrap();
        chatter(&call);
        pass(ms(500)).await;
        call.alice.moves();
        call.bob.moves();
        let start = Instant::now();
        let rebound = tokio::join!(call.caller.path.rebind(), call.callee.path.rebind());
        assert_eq!(rebound, (Rebound::Unreachable, Rebound::Unreachable));
        assert!(start.elapsed() <= ms(1_001), "{:?}", start.elapsed());
        restarted(&mut call, false, ms(50)).await;
    });
}

/// An ICE restart after which voice is back both ways; gives how long after the answer.
async fn restarted(call: &mut Call, callee_asks: bool, delay: Duration) -> Duration {
    let (from, to) = match callee_asks {
        false => (&mut call.caller, &mut call.callee),
        true => (&mut call.callee, &mut call.caller),
    };
    from.heard();
    to.heard();
    // Neither hears the other: the first voice is that of the new way.
    let (a, b) = (from.path.clone(), to.path.clone());
    let negotiate = async {
        let offer = a.restart_ice().await.unwrap();
        pass(delay).await;
        let answer = b.accept_offer(&offer).await.unwrap();
        pass(delay).await;
        a.accept_answer(&answer).await.unwrap();
        Instant::now()
    };
    let all = async {
        tokio::join!(
            negotiate,
            back_over_new_candidates(from, b.clone(), delay),
            back_over_new_candidates(to, a.clone(), delay)
        )
    };
    let (answered, at_from, at_to) = tokio::time::timeout(LIMIT, all).await.unwrap();
    assert_eq!(call.network.open_sockets(), 2, "no old socket stays open");
    at_from.max(at_to).saturating_duration_since(answered)
}

#[test]
fn an_ice_restart_moves_to_the_addresses_there_are_now() {
    for (callee_moves, callee_asks) in [(false, false), (false, true), (true, false), (true, true)] {
        for delay in [20, 50, 100] {
            call(6, Link::delayed(ms(delay)), async |mut call| {
                call.connect(LIMIT).await.unwrap();
                chatter(&call);
                pass(ms(500)).await;
                let (before, host) = match callee_moves {
                    false => (call.alice.address(), call.alice.clone()),
                    true => (call.bob.address(), call.bob.clone()),
                };
                host.moves();
                assert_ne!(host.address(), before);
                pass(ms(300)).await;
                let back = restarted(&mut call, callee_asks, ms(delay)).await;
                assert!(
                    back <= ms(4 * delay + 200),
                    "callee moves {callee_moves}, asks {callee_asks}: {back:?} after the answer at {delay} ms each way"
                );
                pass(ms(1_000)).await;
                let last = call.callee.heard().1.iter().map(number).max().unwrap();
                pass(ms(500)).await;
                assert!(call.callee.heard().1.iter().map(number).max().unwrap() > last + 20);
            });
        }
    }
}

#[test]
fn a_path_that_has_failed_comes_back_by_a_restart() {
    call(7, Link::delayed(ms(50)), async |mut call| {
        call.connect(LIMIT).await.unwrap();
        chatter(&call);
        call.alice.moves();
        let other = call.callee.path.clone();
        assert!(call.caller.until(PathState::Failed, &other, ms(0)).await);
        pass(ms(2_000)).await;
        restarted(&mut call, false, ms(50)).await;
    });
}
