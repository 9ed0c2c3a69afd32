//! P9, P10, P12, P13 and P16: what is heard, and who is told of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use callkit::{AudioInput, CallError, CallKitType, CallOptions, MyMediaStatusHandler, Recording};
use futures_util::StreamExt;
use tokio::sync::mpsc;

use crate::house::{PATIENCE, is_tone, loudness};
use crate::p4::{Line, Person, Told, Town, ear, measured};

const ALICE: f32 = 400.0;
const BOB: f32 = 700.0;

async fn two(town: &Town) -> (Person, Person) {
    (town.person("alice", ALICE).await, town.person("bob", BOB).await)
}

/// Waits until this is heard.
async fn sounds(recording: &Recording, is_right: impl Fn(&[f32]) -> bool, what: &str) {
    let from = recording.len();
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    let heard = tokio::time::timeout(PATIENCE, async {
        loop {
            tick.tick().await;
            // What was heard before is of another time.
            if recording.len() >= from + 24_000 {
                let samples = recording.samples();
                if is_right(&samples[samples.len() - 19_200..]) {
                    return;
                }
            }
        }
    });
    assert!(heard.await.is_ok(), "no {what} in {} samples", recording.len() - from);
}

/// Waits until this tone is heard, and no other one.
pub(crate) async fn hears(recording: &Recording, hz: f32) {
    sounds(recording, |sound| is_tone(sound, hz), &format!("{hz} Hz")).await;
}

async fn hears_nothing(recording: &Recording) {
    sounds(recording, |sound| loudness(sound) < 0.001, "silence").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p12_a_prepared_call_has_no_media_until_the_callee_has_finished() {
    let town = Town::open().await;
    let (alice, bob) = two(&town).await;
    let mut here = alice.calls("bob", |param| param.use_responder_preparation(true)).await;
    let mut there = bob.verifies(&town.cc_param().await).await;
    assert_eq!(there.ear.next().await, Told::Verified(true));
    here.ear.until(&Told::WaitConnected).await;
    there.call.accept(true).await.unwrap();
    assert_eq!(there.ear.next().await, Told::Connected { in_preparation: true, should_finish: true });
    assert_eq!(here.ear.next().await, Told::Connected { in_preparation: true, should_finish: false });
    assert!(here.call.is_in_responder_preparation() && there.call.is_in_responder_preparation());
    assert!(matches!(here.call.finish_preparation().await, Err(CallError::InvalidParam(_))));
    // Said and heard by each other's apps, in order, while there is no media: time enough for it to flow if it were to.
    for muted in [true, false, true] {
        here.call.request_peer_mute(muted).await.unwrap();
        assert_eq!(there.ear.next().await, Told::MuteRequested(muted));
        there.call.request_peer_mute(muted).await.unwrap();
        assert_eq!(here.ear.next().await, Told::MuteRequested(muted));
    }
    // Not a sample was played: the devices are not even open.
    assert_eq!((alice.heard.len(), bob.heard.len()), (0, 0));
    there.call.finish_preparation().await.unwrap();
    assert_eq!(there.ear.next().await, Told::PreparationFinished);
    assert_eq!(here.ear.next().await, Told::PreparationFinished);
    assert!(!here.call.is_in_responder_preparation());
    hears(&alice.heard, BOB).await;
    hears(&bob.heard, ALICE).await;
    assert!(matches!(there.call.finish_preparation().await, Err(CallError::InvalidParam(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p12_without_an_offer_the_call_is_connected_with_media() {
    let town = Town::open().await;
    let (alice, bob) = two(&town).await;
    let (mut here, mut there) = town.ring(&alice, &bob, |param| param).await;
    there.call.accept(true).await.unwrap();
    let connected = Told::Connected { in_preparation: false, should_finish: false };
    assert_eq!(there.ear.next().await, connected);
    assert_eq!(here.ear.next().await, connected);
    hears(&bob.heard, ALICE).await;

    // Nor does an offer that is not taken up change anything.
    there.call.end().await.unwrap();
    let (mut here, there) = town.ring(&alice, &bob, |param| param.use_responder_preparation(true)).await;
    there.call.accept(false).await.unwrap();
    assert_eq!(here.ear.next().await, connected);
    hears(&alice.heard, BOB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p13_hold_with_a_reason_silences_both_and_unhold_goes_on() {
    let town = Town::open().await;
    let (alice, bob) = two(&town).await;
    let (mut here, mut there) = town.talk(&alice, &bob).await;
    hears(&bob.heard, ALICE).await;
    let too_long = "x".repeat(257);
    assert!(matches!(here.call.hold(Some(&too_long)).await, Err(CallError::InvalidParam(_))));
    here.call.hold(Some("the door bell")).await.unwrap();
    assert_eq!(there.ear.next().await, Told::PeerHold(Some("the door bell".into())));
    assert!(here.call.is_on_hold() && there.call.is_peer_on_hold());
    hears_nothing(&alice.heard).await;
    here.call.unhold().await.unwrap();
    assert_eq!(there.ear.next().await, Told::PeerUnhold);
    hears(&bob.heard, ALICE).await;
    hears(&alice.heard, BOB).await;
    there.call.hold(None).await.unwrap();
    assert_eq!(here.ear.next().await, Told::PeerHold(None));
    assert!(there.call.is_on_hold() && !there.call.is_peer_on_hold());
}

/// What a handler of one's own media was told.
#[derive(Debug, PartialEq, Eq)]
enum Mine {
    Mute,
    Unmute,
    Level(u8),
}

struct MyScribe(mpsc::UnboundedSender<Mine>);

impl MyMediaStatusHandler for MyScribe {
    fn on_mic_mute(&self) {
        let _ = self.0.send(Mine::Mute);
    }
    fn on_mic_unmute(&self) {
        let _ = self.0.send(Mine::Unmute);
    }
    fn on_audio_description_update(&self, level: u8) {
        let _ = self.0.send(Mine::Level(level));
    }
}

async fn until(mine: &mut mpsc::UnboundedReceiver<Mine>, is_right: impl Fn(&Mine) -> bool) {
    let wait = async { while !is_right(&mine.recv().await.unwrap()) {} };
    tokio::time::timeout(PATIENCE, wait).await.expect("it is told");
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p9_p13_mute_levels_and_requests_are_told() {
    let town = Town::open().await;
    let (alice, bob) = two(&town).await;
    let options = CallOptions { audio_description_interval: Some(Duration::from_millis(100)), ..measured() };
    let (mut here, mut there) = town.ring(&alice, &bob, |param| param.options(options)).await;
    let (sender, mut mine) = mpsc::unbounded_channel();
    here.call.my_media_status().set_handler(MyScribe(sender));
    there.call.accept(false).await.unwrap();
    here.ear.until_connected().await;
    // A tone with a peak of 0.3 is loud.
    until(&mut mine, |told| matches!(told, Mine::Level(50..=100))).await;
    loop {
        if let Told::PeerLevel(50..=100) = here.ear.next().await {
            break;
        }
    }
    here.call.mute_my_audio(true).await.unwrap();
    here.call.mute_my_audio(true).await.unwrap();
    until(&mut mine, |told| *told == Mine::Mute).await;
    until(&mut mine, |told| *told == Mine::Level(0)).await;
    there.ear.until(&Told::PeerMicMuted).await;
    assert!(here.call.is_my_audio_muted() && there.call.is_peer_audio_muted());
    hears_nothing(&bob.heard).await;
    here.call.mute_my_audio(false).await.unwrap();
    until(&mut mine, |told| *told == Mine::Unmute).await;
    assert_eq!(there.ear.next().await, Told::PeerMicUnmuted);
    hears(&bob.heard, ALICE).await;

    // A request is the app's to follow.
    there.call.request_peer_mute(true).await.unwrap();
    here.ear.until(&Told::MuteRequested(true)).await;
    assert!(!here.call.is_my_audio_muted());

    // Silencing is one's own affair.
    there.call.silence_peer_audio(true).await.unwrap();
    hears_nothing(&bob.heard).await;
    assert!(there.call.is_peer_audio_silenced());
    there.call.silence_peer_audio(false).await.unwrap();
    hears(&bob.heard, ALICE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p9_the_own_level_is_told_to_whoever_listens_also_where_no_interval_was_chosen() {
    let town = Town::open().await;
    let (alice, bob) = two(&town).await;
    let (here, there) = town.talk(&alice, &bob).await;
    let (sender, mut mine) = mpsc::unbounded_channel();
    here.call.my_media_status().set_handler(MyScribe(sender));
    until(&mut mine, |told| matches!(told, Mine::Level(50..=100))).await;
    there.call.end().await.unwrap();
    let told = here.ear.drain().await;
    assert!(!told.iter().any(|told| matches!(told, Told::PeerLevel(_))), "nobody asked for those: {told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p13_a_mute_before_the_accept_counts_from_the_first_sound_on_and_ends_with_the_call() {
    let town = Town::open().await;
    let (alice, bob) = two(&town).await;
    let (mut here, there) = town.ring(&alice, &bob, |param| param).await;
    here.call.mute_my_audio(true).await.unwrap();
    there.call.accept(false).await.unwrap();
    here.ear.until_connected().await;
    hears(&alice.heard, BOB).await;
    assert!(loudness(&bob.heard.samples()) < 0.001, "not a word was heard");
    here.call.end().await.unwrap();
    let (_here, _there) = town.talk(&alice, &bob).await;
    hears(&bob.heard, ALICE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p10_no_device_starts_before_the_app_says_that_audio_is_active() {
    let town = Town::open().await;
    let opened = Arc::new(AtomicUsize::new(0));
    let counter = opened.clone();
    let input = AudioInput::custom(move || {
        counter.fetch_add(1, Ordering::SeqCst);
        AudioInput::Tone { hz: BOB, amplitude: 0.3 }.open()
    });
    let alice = town.person("alice", ALICE).await;
    let bob = town.person_with("bob", BOB, |builder| builder.audio_input(input)).await;
    let mut here = alice.calls("bob", |param| param).await;
    let options = CallOptions { callkit_type: CallKitType::User, ..CallOptions::default() };
    let param = callkit::VerifyCallParam::builder().my_user_id("bob").my_service_id("demo");
    let param = param.cc_param(town.cc_param().await).options(options).build().unwrap();
    let (handler, ear) = ear();
    let verified = bob.manager.verify_call(param, handler).await.call.unwrap();
    let mut there = Line { call: verified, ear };
    there.ear.until_verified().await;
    there.call.accept(false).await.unwrap();
    there.ear.until_connected().await;
    here.ear.until_connected().await;
    here.call.request_peer_mute(true).await.unwrap();
    there.ear.until(&Told::MuteRequested(true)).await;
    assert_eq!((opened.load(Ordering::SeqCst), bob.heard.len()), (0, 0));
    there.call.notify_callkit_audio_activation().await.unwrap();
    hears(&alice.heard, BOB).await;
    hears(&bob.heard, ALICE).await;
    assert_eq!(opened.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p16_statistics_are_there_for_whoever_asked_and_as_a_stream_until_the_end() {
    let town = Town::open().await;
    let (alice, bob) = two(&town).await;
    let (mut here, there) = town.ring(&alice, &bob, |param| param.options(CallOptions::default())).await;
    there.call.accept(false).await.unwrap();
    here.ear.until_connected().await;
    let mut stream = there.call.statistics_stream(Duration::from_millis(100));
    let flowing = async {
        loop {
            let figures = stream.next().await.expect("the call goes on");
            if figures.my_audio.bps > 5_000 && figures.peer_audio.bps > 5_000 {
                return figures;
            }
        }
    };
    let figures = tokio::time::timeout(PATIENCE, flowing).await.unwrap();
    assert!(figures.peer_audio.jitter_ms.is_some() && figures.peer_audio.loss_rate.is_some(), "{figures:?}");
    assert!(there.call.statistics().await.is_some());
    assert!(here.call.statistics().await.is_none(), "nobody asked for them here");
    here.call.end().await.unwrap();
    let rest = async { while stream.next().await.is_some() {} };
    tokio::time::timeout(PATIENCE, rest).await.expect("it ends with the call");
}
