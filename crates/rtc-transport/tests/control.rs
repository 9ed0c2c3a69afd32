//! Control words on the media path, over the simulated network in virtual time.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use std::time::Duration;

use bytes::Bytes;
use rtc_transport::simulated::{Link, pass};
use rtc_transport::{MAX_CONTROL, PathEvent, PathState, SendError};
use tokio::time::Instant;
use world::{End, call, ms, packet};

const LIMIT: Duration = Duration::from_secs(20);

fn word(n: u32) -> Bytes {
    Bytes::from(format!("word {n}"))
}

/// What has come so far, states as their names.
fn heard(end: &mut End) -> Vec<String> {
    let mut heard = vec![];
    while let Some(event) = end.events.try_recv() {
        match event {
            PathEvent::Control(word) => heard.push(String::from_utf8(word.to_vec()).unwrap()),
            PathEvent::StateChanged(state) => heard.push(format!("{state:?}")),
            _ => {}
        }
    }
    heard
}

#[test]
fn a_word_takes_one_way_and_can_be_said_the_moment_the_path_is_connected() {
    call(1, Link::delayed(ms(50)), async |mut call| {
        assert_eq!(call.caller.path.send_control(word(0)), Err(SendError::NotConnected));
        let offer = call.caller.path.create_offer().await.unwrap();
        let answer = call.callee.path.accept_offer(&offer).await.unwrap();
        call.caller.path.accept_answer(&answer).await.unwrap();
        let (caller, callee) = (call.caller.path.clone(), call.callee.path.clone());
        let first = async {
            assert!(call.caller.until(PathState::Connected, &callee, ms(0)).await);
            // The callee's handshake is complete one way later, when this arrives.
            caller.send_control(word(1)).unwrap();
            Instant::now()
        };
        let (said, connected) = tokio::join!(first, call.callee.until(PathState::Connected, &caller, ms(0)));
        assert!(connected);
        callee.send_control(word(2)).unwrap();
        loop {
            if let Some(PathEvent::Control(heard)) = call.callee.events.recv().await {
                assert_eq!(heard, word(1));
                break;
            }
        }
        assert!(said.elapsed() <= ms(52), "{:?}", said.elapsed());
        pass(ms(51)).await;
        assert_eq!(heard(&mut call.caller), ["word 2"]);
    });
}

#[test]
fn words_of_every_length_arrive_among_voice_and_are_no_voice() {
    call(2, Link::delayed(ms(20)), async |mut call| {
        call.connect(LIMIT).await.unwrap();
        for length in [0, 1, 2, 3, 500, MAX_CONTROL] {
            call.caller.path.send_voice(packet(length as u32)).unwrap();
            call.caller.path.send_control(vec![7; length].into()).unwrap();
            pass(ms(21)).await;
            let mut words = vec![];
            while let Some(event) = call.callee.events.try_recv() {
                if let PathEvent::Control(word) = event {
                    words.push(word.len());
                }
            }
            assert_eq!(words, [length]);
        }
        assert_eq!(call.caller.path.send_control(vec![7; MAX_CONTROL + 1].into()), Err(SendError::TooLarge));
        assert_eq!(call.callee.path.stats().incoming.packets, 6);
        let largest = call.network.counts(&call.alice, &call.bob).largest;
        assert!(largest <= 1_232, "{largest}: more does not fit the smallest IPv6 packet");
    });
}

#[test]
fn each_word_is_heard_once_however_often_the_network_doubles_it() {
    let link = Link { duplicates: 0.5, ..Link::delayed(ms(20)).with_jitter(ms(30)) };
    call(3, link, async |mut call| {
        call.connect(LIMIT).await.unwrap();
        for n in 0..50 {
            call.caller.path.send_control(word(n)).unwrap();
            pass(ms(5)).await;
        }
        pass(ms(100)).await;
        let mut words = heard(&mut call.callee);
        words.retain(|word| word.starts_with("word"));
        words.sort();
        let mut said: Vec<String> = (0..50).map(|n| format!("word {n}")).collect();
        said.sort();
        assert_eq!(words, said);
    });
}

#[test]
fn what_was_said_before_a_close_is_heard_before_it() {
    call(4, Link::delayed(ms(50)), async |mut call| {
        call.connect(LIMIT).await.unwrap();
        heard(&mut call.callee);
        for n in 0..3 {
            call.caller.path.send_control(word(n)).unwrap();
        }
        let closed = Instant::now();
        call.caller.path.close().await;
        assert!(closed.elapsed() <= ms(5), "{:?}", closed.elapsed());
        assert_eq!(call.caller.path.send_control(word(9)), Err(SendError::Closed));
        let other = call.caller.path.clone();
        let mut words = vec![];
        loop {
            match call.callee.events.recv().await.unwrap() {
                PathEvent::Control(said) => words.push(said),
                PathEvent::StateChanged(state) => {
                    assert_eq!(state, PathState::Closed);
                    break;
                }
                _ => {}
            }
        }
        assert!(closed.elapsed() <= ms(60), "{:?}", closed.elapsed());
        assert_eq!(words, [word(0), word(1), word(2), word(2)], "the last one twice");
        drop(other);
        call.callee.path.close().await;
        pass(ms(50)).await;
        assert_eq!((call.network.open_sockets(), call.network.running_tasks()), (0, 0));
    });
}

#[test]
fn a_hang_up_comes_through_a_bad_network() {
    let (mut without_word, mut silent) = (0, 0);
    for seed in 0..40 {
        call(seed, Link::delayed(ms(50)).with_loss(0.2), async |mut call| {
            call.connect(LIMIT).await.unwrap();
            heard(&mut call.callee);
            call.caller.path.send_control(word(0)).unwrap();
            call.caller.path.close().await;
            pass(ms(200)).await;
            let heard = heard(&mut call.callee);
            without_word += usize::from(!heard.contains(&"word 0".to_owned()));
            silent += usize::from(heard.is_empty());
        });
    }
    // Of two copies of the word and three of the notice.
    assert!(without_word <= 4, "{without_word} of 40");
    assert_eq!(silent, 0);
}

#[test]
fn closing_a_path_that_never_connected_waits_for_nothing() {
    call(5, Link::default(), async |call| {
        let start = Instant::now();
        call.caller.path.close().await;
        assert!(start.elapsed() <= ms(5), "{:?}", start.elapsed());
    });
}
