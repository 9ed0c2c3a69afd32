//! What is known of the sound while it flows: levels, statistics, and whether the own network is there.

use std::time::Duration;

use callkit::{AudioLevels, CallKitEvent, CallStatistics};
use futures_util::StreamExt;
use futures_util::future::ready;

use crate::cable::Cable;
use crate::house::{House, PATIENCE};

const ALICE: f32 = 400.0;
const BOB: f32 = 700.0;

/// Waits until a voice is as loud as a voice is. Where a busy machine lets sound come late, what is heard in its place is quieter.
async fn is_loud(level: impl Fn() -> f32) {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let loud = async {
        while level() <= 70.0 {
            tick.tick().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, loud).await.is_ok(), "{}", level());
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p9_levels_follow_the_voices_and_are_zero_when_muted() {
    let house = House::open().await;
    let (mut alice, mut bob) = (house.singer("alice", ALICE, |b| b).await, house.singer("bob", BOB, |b| b).await);
    assert_eq!((alice.kit.mic_level(), alice.kit.peer_level()), (0.0, 0.0));
    let call_id = alice.talks_with(&mut bob).await;
    // At every interval, the documented one of 500 ms; a sine of amplitude 0.3 is at -13.5 dBov: 100 · (60 - 13.5) / 60.
    let is_right = |level: &AudioLevels| (level.mic - 77.5).abs() < 1.0 && (level.peer - 77.5).abs() < 3.0;
    let right = alice.kit.audio_levels(Duration::from_millis(500)).filter(|level| ready(is_right(level))).take(4);
    assert_eq!(tokio::time::timeout(PATIENCE, right.count()).await, Ok(4), "a busy machine breaks some");
    alice.kit.mute().await.unwrap();
    bob.until("user_mute_audio").await;
    bob.hears_nothing().await;
    // A level is that of the last whole interval.
    bob.hears_for(1.5, bob.heard.len()).await;
    assert_eq!(alice.kit.mic_level(), 0.0);
    assert!(bob.kit.peer_level() < 5.0, "{}", bob.kit.peer_level());
    is_loud(|| alice.kit.peer_level()).await;
    alice.kit.unmute().await.unwrap();
    bob.hears(ALICE).await;
    is_loud(|| alice.kit.mic_level()).await;
    is_loud(|| bob.kit.peer_level()).await;
    alice.kit.hangup(call_id).await.unwrap();
    alice.until_end(call_id).await;
    alice.kit.release_rtc().await.unwrap();
    assert_eq!((alice.kit.mic_level(), alice.kit.peer_level()), (0.0, 0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p13_a_silenced_peer_is_not_heard_here_and_hears_as_before_until_the_call_ends() {
    let house = House::open().await;
    let (mut alice, mut bob) = (house.singer("alice", ALICE, |b| b).await, house.singer("bob", BOB, |b| b).await);
    for _ in 0..2 {
        let call_id = alice.talks_with(&mut bob).await;
        alice.hears(BOB).await;
        alice.kit.silence_peer(call_id, true).await.unwrap();
        alice.hears_nothing().await;
        bob.hears(ALICE).await;
        is_loud(|| alice.kit.peer_level()).await;
        alice.kit.silence_peer(call_id, false).await.unwrap();
        alice.hears(BOB).await;
        alice.kit.silence_peer(call_id, true).await.unwrap();
        bob.kit.hangup(call_id).await.unwrap();
        alice.until_end(call_id).await;
        bob.until_end(call_id).await;
        assert!(alice.kit.silence_peer(call_id, false).await.is_err(), "over");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p16_statistics_come_as_a_stream_until_the_call_is_over() {
    let house = House::open().await;
    let (mut alice, mut bob) = (house.singer("alice", ALICE, |b| b).await, house.singer("bob", BOB, |b| b).await);
    let call_id = alice.talks_with(&mut bob).await;
    let mut stream = alice.kit.statistics_stream(call_id, Duration::from_secs(1));
    let first: Vec<CallStatistics> = stream.by_ref().take(4).collect().await;
    let last = first[3];
    assert_eq!(last.codec, "opus");
    for direction in [last.my_audio, last.peer_audio] {
        assert!((5_000..100_000).contains(&direction.bps), "{last:?}");
        assert!(direction.loss_rate.is_some_and(|loss| (0.0..0.5).contains(&loss)), "{last:?}");
        assert!(direction.jitter_ms.is_some_and(|jitter| (0.0..500.0).contains(&jitter)), "{last:?}");
        assert!(direction.latency_ms.is_some_and(|latency| (0.0..2_000.0).contains(&latency)), "{last:?}");
    }
    assert!(last.buffer_ms > 0.0 && (0.0..=100.0).contains(&last.concealed_percent), "{last:?}");
    assert!(last.mic_level > 70.0 && last.peer_level > 70.0, "{last:?}");
    bob.kit.hangup(call_id).await.unwrap();
    alice.until_end(call_id).await;
    let rest = tokio::time::timeout(PATIENCE, stream.collect::<Vec<_>>()).await.expect("the stream ends");
    assert!(rest.len() <= 2, "{rest:?}");
    assert_eq!(alice.kit.statistics(call_id).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p13_the_own_network_is_told_as_away_with_the_time_that_is_left_and_as_back() {
    let house = House::open().await;
    let cable = Cable::to(house.address()).await;
    let mut alice = house.singer("alice", ALICE, |b| b.server(&cable.url)).await;
    let mut bob = house.mortal("bob", BOB, |b| b).await;
    let call_id = alice.talks_with(&mut bob.phone).await;
    // Neither the server nor the other end: as far as Alice can see it is her network.
    cable.cut();
    bob.crash();
    let CallKitEvent::NetworkAvailable { call_id: of, available: false, ends_in_ms, .. } =
        alice.until("network_available").await
    else {
        panic!("{:?}", alice.seen)
    };
    assert_eq!(of, call_id);
    assert!((10_000..=15_000).contains(&ends_in_ms), "{ends_in_ms} ms");
    cable.mend();
    let back = alice.until("network_available").await;
    assert!(
        matches!(back, CallKitEvent::NetworkAvailable { call_id: of, available: true, ends_in_ms: 0, .. } if of == call_id)
    );
}
