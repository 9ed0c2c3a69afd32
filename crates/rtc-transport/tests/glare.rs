//! Offers of both ends at once, over the simulated network in virtual time.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rtc_transport::simulated::{Link, pass};
use rtc_transport::{Candidate, NegotiationError, PathEvent, PathState, Politeness};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;
use world::{Call, End, call, ms, packet};

const LIMIT: Duration = Duration::from_secs(20);

/// What an end is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Offer,
    Restart,
}

enum Message {
    Offer(String),
    Answer(String),
    Candidate(Candidate),
}

/// What has come of an end so far.
#[derive(Default)]
struct Told {
    states: Vec<PathState>,
    /// When voice came last, and the longest time without.
    voice: Option<Instant>,
    longest_silence: Duration,
    fragments: Vec<String>,
    /// Answers to its own offers, and offers of its own that gave way or were ignored.
    answered: usize,
    dropped: usize,
    ignored: usize,
}

/// An end on a task of its own, as an application has it.
struct Driven {
    wishes: UnboundedSender<Wish>,
    told: Arc<Mutex<Told>>,
}

impl Driven {
    fn wishes(&self, wish: Wish) {
        self.wishes.send(wish).unwrap();
    }

    fn told<T>(&self, look: impl FnOnce(&mut Told) -> T) -> T {
        look(&mut self.told.lock().unwrap())
    }

    fn hears(&self) -> bool {
        self.told(|told| told.voice.is_some_and(|at| at.elapsed() <= ms(500)))
    }
}

/// Carries what one end says to the other, `delay` late and in order.
fn carrier(delay: Duration) -> (UnboundedSender<Message>, UnboundedReceiver<Message>) {
    let (said, mut saying) = mpsc::unbounded_channel();
    let (heard, hearing) = mpsc::unbounded_channel();
    let (timed, mut late) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(message) = saying.recv().await {
            let _ = timed.send((Instant::now() + delay, message));
        }
    });
    tokio::spawn(async move {
        while let Some((at, message)) = late.recv().await {
            // sleeps: virtual time
            tokio::time::sleep_until(at).await;
            let _ = heard.send(message);
        }
    });
    (said, hearing)
}

fn drive(end: End, to: UnboundedSender<Message>, mut from: UnboundedReceiver<Message>) -> Driven {
    let (wishes, mut wished) = mpsc::unbounded_channel();
    let (path, told) = (end.path.clone(), Arc::new(Mutex::new(Told::default())));
    let driven = Driven { wishes: wishes.clone(), told: told.clone() };
    let mut events = end.events;
    let speaker = path.clone();
    tokio::spawn(async move {
        for n in 0.. {
            let _ = speaker.send_voice(packet(n));
            pass(ms(20)).await;
        }
    });
    tokio::spawn(async move {
        loop {
            tokio::select! {
                biased;
                Some(wish) = wished.recv() => {
                    let offer = match wish {
                        Wish::Offer => path.create_offer().await,
                        Wish::Restart => path.restart_ice().await,
                    };
                    let _ = to.send(Message::Offer(offer.unwrap()));
                }
                Some(message) = from.recv() => match message {
                    Message::Offer(sdp) => match path.accept_offer(&sdp).await {
                        Ok(answer) => drop(to.send(Message::Answer(answer))),
                        Err(NegotiationError::OfferCollision) => told.lock().unwrap().ignored += 1,
                        Err(error) => panic!("{error}"),
                    },
                    Message::Answer(sdp) => {
                        path.accept_answer(&sdp).await.unwrap();
                        told.lock().unwrap().answered += 1;
                    }
                    Message::Candidate(candidate) => path.add_candidate(candidate).await.unwrap(),
                },
                event = events.recv() => {
                    let mut told = told.lock().unwrap();
                    match event {
                        None => return,
                        Some(PathEvent::LocalCandidate(candidate)) => {
                            let fragment = candidate.username_fragment.clone().unwrap();
                            if !told.fragments.contains(&fragment) {
                                told.fragments.push(fragment);
                            }
                            let _ = to.send(Message::Candidate(candidate));
                        }
                        Some(PathEvent::NegotiationNeeded) => {
                            told.dropped += 1;
                            wishes.send(Wish::Offer).unwrap();
                        }
                        Some(PathEvent::StateChanged(state)) => told.states.push(state),
                        Some(PathEvent::Voice(_)) => {
                            let silence = told.voice.map_or(Duration::ZERO, |last| last.elapsed());
                            told.longest_silence = told.longest_silence.max(silence);
                            told.voice = Some(Instant::now());
                        }
                        Some(PathEvent::GatheringComplete | PathEvent::Control(_)) => {}
                    }
                }
            }
        }
    });
    driven
}

/// Both ends under way, with signalling that takes `delay`.
fn driven(call: Call, delay: Duration) -> (Driven, Driven) {
    let (to_callee, from_caller) = carrier(delay);
    let (to_caller, from_callee) = carrier(delay);
    (drive(call.caller, to_callee, from_callee), drive(call.callee, to_caller, from_caller))
}

fn politenesses() -> [(Politeness, Politeness); 3] {
    [
        (Politeness::ByCertificate, Politeness::ByCertificate),
        (Politeness::Polite, Politeness::Impolite),
        (Politeness::Impolite, Politeness::Polite),
    ]
}

fn polite_call(seed: u64, link: Link, (caller, callee): (Politeness, Politeness), story: impl AsyncFnOnce(Call)) {
    rtc_transport::simulated::run(async {
        let network = rtc_transport::simulated::Network::new(seed);
        let (alice, bob) = (network.host(), network.host());
        network.connect(&alice, &bob, link);
        let with = |host: &Arc<rtc_transport::simulated::Host>, politeness| rtc_transport::PathConfig {
            politeness,
            ..host.path_config()
        };
        let (caller, callee) = (End::open(with(&alice, caller)).await, End::open(with(&bob, callee)).await);
        story(Call { network, alice, bob, caller, callee, signalling: link.delay }).await;
    });
}

/// Every way in which two offers can meet, by when they are made: at once, or while the other's is on its way.
fn meetings() -> impl Iterator<Item = (u64, Duration, Duration, (Politeness, Politeness))> {
    let delays = [(20, 0), (50, 49), (200, 120)];
    let all = (0..2).flat_map(move |seed| delays.map(move |(delay, skew)| (seed, ms(delay), ms(skew))));
    all.flat_map(|(seed, delay, skew)| politenesses().map(move |who| (seed, delay, skew, who)))
}

#[test]
fn both_may_begin_a_call_at_once() {
    for loss in [0.0, 0.1] {
        for (seed, delay, skew, who) in meetings() {
            polite_call(seed, Link::delayed(delay).with_loss(loss), who, async |call| {
                let (one, two) = driven(call, delay);
                one.wishes(Wish::Offer);
                pass(skew).await;
                two.wishes(Wish::Offer);
                pass(ms(6_000)).await;
                assert!(one.hears() && two.hears(), "{seed} {delay:?} {skew:?} {who:?} {loss}");
                assert_eq!(one.told(|told| told.answered) + two.told(|told| told.answered), 1);
                assert_eq!(one.told(|told| told.ignored) + two.told(|told| told.ignored), 1);
            });
        }
    }
}

#[test]
fn restarts_and_offers_of_both_ends_on_a_live_path_are_all_carried_out() {
    for wishes in [
        (Wish::Restart, Wish::Restart),
        (Wish::Offer, Wish::Offer),
        (Wish::Restart, Wish::Offer),
        (Wish::Offer, Wish::Restart),
    ] {
        for loss in [0.0, 0.1] {
            for (seed, delay, skew, who) in meetings() {
                let named = format!("{wishes:?} {seed} {delay:?} {skew:?} {who:?} {loss}");
                polite_call(seed, Link::delayed(delay).with_loss(loss), who, async |mut call| {
                    call.connect(LIMIT).await.unwrap();
                    let (one, two) = driven(call, delay);
                    pass(ms(1_000)).await;
                    let before = (one.told(|told| told.fragments.len()), two.told(|told| told.fragments.len()));
                    one.told(|told| told.longest_silence = Duration::ZERO);
                    one.wishes(wishes.0);
                    pass(skew).await;
                    two.wishes(wishes.1);
                    pass(ms(7_000)).await;
                    assert!(one.hears() && two.hears(), "{named}");
                    let restarts = [wishes.0, wishes.1].contains(&Wish::Restart);
                    let now = (one.told(|told| told.fragments.len()), two.told(|told| told.fragments.len()));
                    assert_eq!((now.0 > before.0, now.1 > before.1), (restarts, restarts), "{named}");
                    // Who gave way with something else than a restart has asked again.
                    let dropped = one.told(|told| told.dropped) + two.told(|told| told.dropped);
                    let answered = one.told(|told| told.answered) + two.told(|told| told.answered);
                    assert_eq!(answered, 1 + dropped, "{named}");
                    let both_restart = wishes == (Wish::Restart, Wish::Restart);
                    assert_eq!(dropped, usize::from(!both_restart), "{named}");
                    for end in [&one, &two] {
                        if loss == 0.0 && !restarts {
                            assert!(end.told(|told| told.longest_silence) <= ms(45), "{named}: nothing is interrupted");
                        }
                    }
                });
            }
        }
    }
}

#[test]
fn two_ends_that_have_both_moved_may_both_ask_for_the_restart() {
    for (seed, delay, skew, who) in meetings() {
        polite_call(seed, Link::delayed(delay).with_loss(0.05), who, async |mut call| {
            call.connect(LIMIT).await.unwrap();
            let (alice, bob) = (call.alice.clone(), call.bob.clone());
            let (one, two) = driven(call, delay);
            for _ in 0..2 {
                pass(ms(1_000)).await;
                alice.moves();
                bob.moves();
                one.wishes(Wish::Restart);
                pass(skew).await;
                two.wishes(Wish::Restart);
                pass(ms(6_000)).await;
                assert!(one.hears() && two.hears(), "{seed} {delay:?} {skew:?} {who:?}");
            }
        });
    }
}

#[test]
fn an_offer_that_nobody_answers_costs_nothing() {
    call(1, Link::delayed(ms(50)), async |mut call| {
        call.connect(LIMIT).await.unwrap();
        let unanswered = call.caller.path.clone();
        let (one, two) = driven(call, ms(50));
        pass(ms(1_000)).await;
        unanswered.restart_ice().await.unwrap();
        pass(ms(60_000)).await;
        for end in [&one, &two] {
            assert!(end.told(|told| told.longest_silence) <= ms(25), "{:?}", end.told(|told| told.longest_silence));
            assert_eq!(end.told(|told| told.states.clone()), []);
        }
        // The next one, which is answered, is the one that counts.
        one.wishes(Wish::Restart);
        pass(ms(5_000)).await;
        assert!(one.hears() && two.hears());
        assert_eq!(one.told(|told| told.answered) + two.told(|told| told.answered), 1);
    });
}

#[test]
fn a_description_that_is_refused_leaves_a_live_path_as_it_is() {
    call(2, Link::delayed(ms(50)), async |mut call| {
        call.connect(LIMIT).await.unwrap();
        let stranger = End::open(call.alice.path_config()).await;
        let (caller, callee) = (call.caller.path.clone(), call.callee.path.clone());
        let (one, two) = driven(call, ms(50));
        pass(ms(1_000)).await;
        let good = caller.restart_ice().await.unwrap();
        let without = |name: &str| {
            let lines = good.lines().filter(|line| !line.starts_with(name));
            lines.flat_map(|line| [line, "\r\n"]).collect::<String>()
        };
        let no_media = good.split("m=audio").next().unwrap().to_owned();
        let bad = [
            "garbage".to_owned(),
            without("a=ice-ufrag"),
            without("a=ice-pwd"),
            without("a=fingerprint"),
            without("a=mid"),
            format!("{no_media}a=ice-ufrag:abcdefgh\r\n"),
            stranger.path.create_offer().await.unwrap(),
        ];
        for bad in &bad {
            assert!(callee.accept_offer(bad).await.is_err(), "{bad}");
            assert!(caller.accept_answer(bad).await.is_err(), "{bad}");
            assert!(callee.accept_answer(bad).await.is_err(), "{bad}");
        }
        pass(ms(30_000)).await;
        for end in [&one, &two] {
            assert!(end.told(|told| told.longest_silence) <= ms(45), "{:?}", end.told(|told| told.longest_silence));
            assert_eq!(end.told(|told| told.states.clone()), []);
        }
        // What was asked for before still comes to pass.
        caller.accept_answer(&callee.accept_offer(&good).await.unwrap()).await.unwrap();
        pass(ms(5_000)).await;
        assert!(one.hears() && two.hears() && one.told(|told| told.fragments.len()) == 1);
    });
}
