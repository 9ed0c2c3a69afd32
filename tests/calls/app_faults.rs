//! What belongs to the app fails, panics or hangs, and takes nothing else with it.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use call_protocol::media::{DescriptionKind, NegotiationBody};
use callkit::{
    AudioInput, AudioOutput, AudioSink, AudioSource, CallError, CallKitEvent, ChannelId, DeviceError, EndReason, Frame,
    HandlerError, MicrophoneFailure, ReadOutcome, RtcToken, RtcTokenRequest, Uid, UserMapper, WarmPath,
};

use crate::house::{House, PATIENCE};
use crate::post::Post;

const ALICE: f32 = 400.0;
const BOB: f32 = 700.0;

/// A device that panics as soon as it is told to.
struct Bomb<D> {
    device: D,
    ticks: Arc<AtomicBool>,
}

impl<D> Bomb<D> {
    fn tick(&self) {
        assert!(!self.ticks.load(SeqCst), "an app's own device");
    }
}

impl AudioSource for Bomb<Box<dyn AudioSource>> {
    fn read(&mut self, frame: &mut Frame) -> Result<ReadOutcome, DeviceError> {
        self.tick();
        self.device.read(frame)
    }
}

impl AudioSink for Bomb<Box<dyn AudioSink>> {
    fn write(&mut self, frame: &Frame) -> Result<(), DeviceError> {
        self.tick();
        self.device.write(frame)
    }

    fn finish(&mut self) -> Result<(), DeviceError> {
        self.device.finish()
    }
}

fn tone(hz: f32) -> AudioInput {
    AudioInput::Tone { hz, amplitude: 0.3 }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_microphone_of_the_app_that_panics_has_failed_and_the_other_way_goes_on() {
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let ticks = Arc::new(AtomicBool::new(false));
    let watched = ticks.clone();
    let input = AudioInput::custom(move || Ok(Box::new(Bomb { device: tone(BOB).open()?, ticks: watched.clone() })));
    let mut bob = house.phone_with("bob", input, |b| b).await;
    let call_id = alice.talks_with(&mut bob).await;
    alice.hears(BOB).await;
    ticks.store(true, SeqCst);
    let told = bob.until("microphone_failed").await;
    assert!(matches!(told, CallKitEvent::MicrophoneFailed { failure: MicrophoneFailure::Unusable, .. }), "{told:?}");
    alice.hears_nothing().await;
    bob.hears(ALICE).await;
    // A device that is opened anew is another one.
    ticks.store(false, SeqCst);
    bob.kit.hold(call_id).await.unwrap();
    bob.hears_nothing().await;
    bob.kit.unhold(call_id).await.unwrap();
    alice.hears(BOB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loudspeaker_of_the_app_that_panics_is_told_and_the_other_way_goes_on() {
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let ticks = Arc::new(AtomicBool::new(false));
    let watched = ticks.clone();
    let output =
        AudioOutput::custom(move || Ok(Box::new(Bomb { device: AudioOutput::Null.open()?, ticks: watched.clone() })));
    let mut bob = house.singer("bob", BOB, |b| b.audio_output(output)).await;
    alice.talks_with(&mut bob).await;
    ticks.store(true, SeqCst);
    let told = bob.until("error").await;
    assert!(matches!(told, CallKitEvent::Error { error: CallError::Device(_), .. }), "{told:?}");
    alice.hears(BOB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_of_the_app_that_panic_as_they_are_opened_are_told_and_the_call_goes_on() {
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let mut bob = house.phone_with("bob", AudioInput::custom(|| panic!("an app's own microphone")), |b| b).await;
    let call_id = alice.calls(&mut bob).await;
    bob.kit.answer(call_id).await.unwrap();
    bob.until("microphone_failed").await;
    bob.hears(ALICE).await;
    alice.kit.hangup(call_id).await.unwrap();
    bob.until_end(call_id).await;
    alice.until_end(call_id).await;

    let output = AudioOutput::custom(|| panic!("an app's own loudspeaker"));
    let mut carol = house.singer("carol", BOB, |b| b.audio_output(output)).await;
    let call_id = alice.calls(&mut carol).await;
    carol.kit.answer(call_id).await.unwrap();
    let told = carol.until("error").await;
    assert!(matches!(told, CallKitEvent::Error { error: CallError::Device(_), .. }), "{told:?}");
    alice.hears(BOB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_hangs_as_it_is_opened_holds_up_neither_release_nor_sign_out() {
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let (opens, hangs) = mpsc::channel::<()>();
    let hangs = Mutex::new(hangs);
    let input = AudioInput::custom(move || {
        let _ = hangs.lock().map(|hangs| hangs.recv());
        tone(BOB).open()
    });
    let mut bob = house.phone_with("bob", input, |b| b).await;
    let call_id = alice.calls(&mut bob).await;
    bob.kit.answer(call_id).await.unwrap();
    bob.hears(ALICE).await;
    tokio::time::timeout(PATIENCE, bob.kit.release_rtc()).await.expect("it is not waited for").unwrap();
    assert_eq!(alice.until_end(call_id).await, EndReason::RemoteHangup);
    bob.kit.init_rtc().await.unwrap();
    let again = alice.dials("bob").await;
    bob.until_rings(again).await;
    bob.kit.answer(again).await.unwrap();
    tokio::time::timeout(PATIENCE, bob.kit.sign_out()).await.expect("nor here");
    assert_eq!(alice.until_end_of(again).await, EndReason::RemoteHangup);
    drop(opens);
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_of_the_app_that_panic_have_failed() {
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let mut bob = house.singer("bob", BOB, |b| b).await;
    bob.kit.set_user_mapper_handler(|channel: ChannelId, _: Uid| async move {
        assert!(channel.as_str().is_empty(), "an app's mapper");
        Err::<UserMapper, HandlerError>("never said".into())
    });
    let call_id = alice.talks_with(&mut bob).await;
    let joined = bob.seen.iter().find(|event| event.name() == "user_joined");
    assert!(matches!(joined, Some(CallKitEvent::UserJoined { user: None, .. })), "{joined:?}");
    alice.kit.hangup(call_id).await.unwrap();
    bob.until_end(call_id).await;
    alice.until_end(call_id).await;

    bob.kit.set_rtc_token_handler(|request: RtcTokenRequest| async move {
        assert!(request.app_id.as_str().is_empty(), "an app's token handler");
        Err::<RtcToken, HandlerError>("never said".into())
    });
    let call_id = alice.calls(&mut bob).await;
    bob.kit.answer(call_id).await.unwrap();
    let told = bob.until("error").await;
    let CallKitEvent::Error { error: CallError::FetchTokenFailed(why), .. } = told else { panic!("{told:?}") };
    assert!(why.contains("panicked"), "{why}");
    assert_eq!(bob.until_end(call_id).await, EndReason::Error);
}

/// Two phones whose first word of a kind is spoilt on its way, and who hear each other nevertheless.
async fn they_hear_each_other_although(
    warm: WarmPath,
    spoils: impl Fn(&mut NegotiationBody) -> bool + Send + Sync + 'static,
) {
    let house = House::open().await;
    let done = AtomicBool::new(false);
    let post = Post::new().spoiling(move |body| {
        if !done.load(SeqCst) && spoils(body) {
            done.store(true, SeqCst);
        }
    });
    let mut alice = post.phone_with(&house, "alice", "phone", ALICE, |b| b.warm_path(warm)).await;
    let mut bob = post.phone_with(&house, "bob", "phone", BOB, |b| b.warm_path(warm)).await;
    let call_id = alice.calls(&mut bob).await;
    bob.kit.answer(call_id).await.unwrap();
    alice.hears(BOB).await;
    bob.hears(ALICE).await;
    alice.kit.hangup(call_id).await.unwrap();
    bob.until_end(call_id).await;
    alice.until_end(call_id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_cannot_be_read_is_passed_over() {
    for warm in [WarmPath::Off, WarmPath::Full] {
        let spoilt = |body: &mut NegotiationBody| match body {
            NegotiationBody::Candidate(candidate) => {
                candidate.candidate = "candidate:1 1 carrier-pigeon 1 nest 0 typ coop".into();
                true
            }
            _ => false,
        };
        they_hear_each_other_although(warm, spoilt).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_whose_offer_or_answer_came_to_nothing_is_tried_again() {
    for warm in [WarmPath::Off, WarmPath::Full] {
        for kind in [DescriptionKind::Answer, DescriptionKind::Offer] {
            let spoilt = move |body: &mut NegotiationBody| match body {
                NegotiationBody::Description(description) if description.kind == kind => {
                    description.sdp = "v=0\r\nno description\r\n".into();
                    true
                }
                _ => false,
            };
            let heard = they_hear_each_other_although(warm, spoilt);
            tokio::time::timeout(PATIENCE + Duration::from_secs(60), heard)
                .await
                .expect("within the time of two calls");
        }
    }
}
