//! Tones: what the own user hears of the state of a call, and the other side never.

use callkit::{AudioInput, CallKitEvent, Clip, EndReason, SecondCall, Tone, Tones};

use crate::house::House;
use crate::sound_devices::Devices;

const ALICE: f32 = 400.0;
const BOB: f32 = 700.0;
const TONE: f32 = 550.0;

/// So many seconds of a sine.
fn sine(hz: f32, seconds: u32) -> Tone {
    let step = std::f32::consts::TAU * hz / 48_000.0;
    Tone::Pcm(Clip::new((0..48_000 * seconds).map(|n| 0.3 * (n as f32 * step).sin())))
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p13_on_hold_the_held_side_hears_its_tone_and_neither_microphone_is_sent() {
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |b| b.tones(Tones { hold: sine(900.0, 1), ..Tones::default() })).await;
    let tones = Tones { hold: sine(TONE, 1), ..Tones::default() };
    let mut bob = house.singer("bob", BOB, |b| b.tones(tones)).await;
    let call_id = alice.talks_with(&mut bob).await;
    alice.kit.hold(call_id).await.unwrap();
    bob.until("peer_held").await;
    bob.hears(TONE).await;
    alice.hears_nothing().await;
    assert_eq!((bob.kit.mic_level(), alice.kit.mic_level()), (0.0, 0.0));
    let sent = bob.kit.call_quality().await.unwrap().sent_packets;
    bob.hears_for(1.0, bob.heard.len()).await;
    assert_eq!(bob.kit.call_quality().await.unwrap().sent_packets, sent, "nothing of Bob is sent");
    alice.kit.unhold(call_id).await.unwrap();
    bob.hears(ALICE).await;
    alice.hears(BOB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p13_whoever_holds_may_have_a_tone_of_its_own() {
    let house = House::open().await;
    let tones = Tones { holding: sine(TONE, 1), ..Tones::default() };
    let mut alice = house.singer("alice", ALICE, |b| b.tones(tones)).await;
    let mut bob = house.singer("bob", BOB, |b| b).await;
    let call_id = alice.talks_with(&mut bob).await;
    alice.kit.hold(call_id).await.unwrap();
    alice.hears(TONE).await;
    bob.hears_nothing().await;
    alice.kit.unhold(call_id).await.unwrap();
    alice.hears(BOB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p2_ringback_while_it_rings_without_a_microphone_and_the_end_tone_after_it() {
    let house = House::open().await;
    let tones = Tones { ringback: sine(TONE, 1), end: sine(880.0, 2), ..Tones::default() };
    let devices = Devices::new(AudioInput::Tone { hz: ALICE, amplitude: 0.3 });
    let mut alice = devices.phone(&house, "alice", |b| b.tones(tones)).await;
    let mut bob = house.singer("bob", BOB, |b| b).await;
    let call_id = alice.calls(&mut bob).await;
    alice.hears(TONE).await;
    assert!(bob.heard.is_empty(), "a tone is not sent");
    assert_eq!(devices.microphones_opened(), 0);
    bob.kit.answer(call_id).await.unwrap();
    alice.hears(BOB).await;
    bob.hears(ALICE).await;
    assert_eq!((devices.microphones_opened(), devices.loudspeakers_opened()), (1, 1));
    bob.kit.hangup(call_id).await.unwrap();
    assert_eq!(alice.until_end(call_id).await, EndReason::RemoteHangup);
    alice.hears(880.0).await;
    assert_eq!(devices.microphones_open(), 0, "nobody listens to an end tone");
    devices.are_closed().await;
    // Nothing of it is waited for by one that leaves.
    let again = alice.talks_with(&mut bob).await;
    alice.kit.hangup(again).await.unwrap();
    alice.kit.release_rtc().await.unwrap();
    assert_eq!((devices.microphones_open(), devices.loudspeakers_open()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p4_a_phone_rings_and_is_quiet_once_it_rings_no_more() {
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let bobs = Devices::new(AudioInput::Silence);
    let mut bob = bobs.phone(&house, "bob", |b| b.tones(Tones { ring: sine(TONE, 1), ..Tones::default() })).await;
    let call_id = alice.calls(&mut bob).await;
    bob.hears(TONE).await;
    assert_eq!(bobs.microphones_opened(), 0);
    alice.kit.hangup(call_id).await.unwrap();
    bob.until_end(call_id).await;
    bobs.are_closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p13_a_waiting_call_is_heard_beside_the_voice() {
    let house = House::open().await;
    let (mut alice, mut carol) =
        (house.phone_with("alice", AudioInput::Silence, |b| b).await, house.singer("carol", 1_000.0, |b| b).await);
    let tones = Tones { waiting: sine(TONE, 1), ..Tones::default() };
    let mut bob = house.singer("bob", BOB, |b| b.second_call(SecondCall::Waiting).tones(tones)).await;
    alice.talks_with(&mut bob).await;
    bob.hears_nothing().await;
    let second = carol.dials("bob").await;
    assert!(matches!(bob.until("call_waiting").await, CallKitEvent::CallWaiting { .. }));
    bob.hears(TONE).await;
    alice.hears(BOB).await;
    carol.kit.hangup(second).await.unwrap();
    carol.until_end(second).await;
    bob.until_end(second).await;
    bob.hears_nothing().await;
}
