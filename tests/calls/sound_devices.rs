//! Devices that count how often they are opened, and that are denied, missing or unplugged.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use callkit::{
    AudioInput, AudioOutput, AudioSink, AudioSource, Builder, CallError, CallKitEvent, DeviceError, Direction,
    EndReason, Frame, MicrophoneFailure, ReadOutcome, Recording,
};

use futures_util::StreamExt;

use crate::house::{House, PATIENCE, Phone};

const ALICE: f32 = 400.0;
const BOB: f32 = 700.0;

/// The devices of one phone.
#[derive(Clone)]
pub(crate) struct Devices {
    input: AudioInput,
    heard: Recording,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    microphones_opened: AtomicUsize,
    microphones_open: AtomicUsize,
    loudspeakers_opened: AtomicUsize,
    loudspeakers_open: AtomicUsize,
    unplugged: AtomicBool,
}

impl State {
    fn is_there(&self, direction: Direction) -> Result<(), DeviceError> {
        let reason = || "unplugged".to_owned();
        if self.unplugged.load(SeqCst) { Err(DeviceError::NoDevice { direction, reason: reason() }) } else { Ok(()) }
    }
}

struct Microphone(Box<dyn AudioSource>, Arc<State>);

impl AudioSource for Microphone {
    fn read(&mut self, frame: &mut Frame) -> Result<ReadOutcome, DeviceError> {
        if self.1.unplugged.load(SeqCst) {
            return Err(DeviceError::Lost { direction: Direction::Input });
        }
        self.0.read(frame)
    }
}

impl Drop for Microphone {
    fn drop(&mut self) {
        self.1.microphones_open.fetch_sub(1, SeqCst);
    }
}

struct Loudspeaker(Box<dyn AudioSink>, Arc<State>);

impl AudioSink for Loudspeaker {
    fn write(&mut self, frame: &Frame) -> Result<(), DeviceError> {
        if self.1.unplugged.load(SeqCst) {
            return Err(DeviceError::Lost { direction: Direction::Output });
        }
        self.0.write(frame)
    }

    fn finish(&mut self) -> Result<(), DeviceError> {
        self.0.finish()
    }
}

impl Drop for Loudspeaker {
    fn drop(&mut self) {
        self.1.loudspeakers_open.fetch_sub(1, SeqCst);
    }
}

impl Devices {
    pub(crate) fn new(input: AudioInput) -> Devices {
        Devices { input, heard: Recording::new(), state: Arc::default() }
    }

    /// The phone of somebody who has these devices.
    pub(crate) async fn phone(&self, house: &House, user: &str, change: impl FnOnce(Builder) -> Builder) -> Phone {
        let backend = house.backend(user).await;
        let token = backend.access_token();
        let (input, state) = (self.input.clone(), self.state.clone());
        let microphone = AudioInput::custom(move || {
            state.is_there(Direction::Input)?;
            let source = input.open()?;
            state.microphones_opened.fetch_add(1, SeqCst);
            state.microphones_open.fetch_add(1, SeqCst);
            Ok(Box::new(Microphone(source, state.clone())))
        });
        let (output, state) = (self.heard.output(), self.state.clone());
        let loudspeaker = AudioOutput::custom(move || {
            state.is_there(Direction::Output)?;
            let sink = output.open()?;
            state.loudspeakers_opened.fetch_add(1, SeqCst);
            state.loudspeakers_open.fetch_add(1, SeqCst);
            Ok(Box::new(Loudspeaker(sink, state.clone())))
        });
        let builder = house.builder().audio_input(microphone).audio_output(loudspeaker);
        let kit = change(builder).sign_in(user, token).await.unwrap();
        Phone::supplied(kit, &backend, self.heard.clone()).await
    }

    pub(crate) fn microphones_opened(&self) -> usize {
        self.state.microphones_opened.load(SeqCst)
    }

    pub(crate) fn microphones_open(&self) -> usize {
        self.state.microphones_open.load(SeqCst)
    }

    pub(crate) fn loudspeakers_opened(&self) -> usize {
        self.state.loudspeakers_opened.load(SeqCst)
    }

    pub(crate) fn loudspeakers_open(&self) -> usize {
        self.state.loudspeakers_open.load(SeqCst)
    }

    fn unplug(&self) {
        self.state.unplugged.store(true, SeqCst);
    }

    fn plug_in(&self) {
        self.state.unplugged.store(false, SeqCst);
    }

    /// Waits until every device is let go of.
    pub(crate) async fn are_closed(&self) {
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(20));
        let closed = tokio::time::timeout(PATIENCE, async {
            while self.microphones_open() + self.loudspeakers_open() > 0 {
                tick.tick().await;
            }
        });
        closed.await.expect("the devices are closed");
    }
}

fn denied() -> AudioInput {
    AudioInput::custom(|| Err(DeviceError::Denied { direction: Direction::Input }))
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p11_a_denied_microphone_is_a_start_fail_reason_and_ends_a_call_that_needs_one() {
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let mut bob = house.phone_with("bob", denied(), |b| b.allow_call_without_mic(false)).await;
    let failure = bob.kit.check_microphone().await.unwrap_err();
    assert_eq!((failure, failure.start_fail_reason() as u32), (MicrophoneFailure::Denied, 3_000));
    assert_eq!(alice.kit.check_microphone().await, Ok(()));
    let call_id = alice.calls(&mut bob).await;
    bob.kit.answer(call_id).await.unwrap();
    let told = bob.until("microphone_failed").await;
    assert!(matches!(told, CallKitEvent::MicrophoneFailed { failure: MicrophoneFailure::Denied, .. }), "{told:?}");
    assert!(matches!(bob.until("error").await, CallKitEvent::Error { error: CallError::Device(_), .. }));
    assert_eq!(bob.until_end(call_id).await, EndReason::Error);
    alice.until_end(call_id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p11_a_call_without_a_microphone_listens_and_is_not_taken_for_dropped() {
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let mut bob = house.phone_with("bob", denied(), |b| b.allow_call_without_mic(true)).await;
    alice.talks_with(&mut bob).await;
    assert!(bob.names().contains(&"microphone_failed"), "{:?}", bob.names());
    bob.hears(ALICE).await;
    alice.hears_nothing().await;
    // Longer than a path is silent before it counts as broken.
    bob.hears_for(4.0, bob.heard.len()).await;
    let quality = alice.kit.call_quality().await.unwrap();
    assert!(quality.bitrate_in > 0 && quality.lost_packets < 5, "a pause and no loss: {quality:?}");
    assert_eq!(bob.kit.mic_level(), 0.0);
    for phone in [alice, bob] {
        let names = phone.names();
        assert!(!names.contains(&"call_end") && !names.contains(&"peer_reachable"), "{names:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p11_devices_that_vanish_in_a_call_are_told_and_used_again_once_they_are_back() {
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let devices = Devices::new(AudioInput::Tone { hz: BOB, amplitude: 0.3 });
    // It began with one: it does not end without.
    let mut bob = devices.phone(&house, "bob", |b| b.allow_call_without_mic(false)).await;
    let call_id = alice.talks_with(&mut bob).await;
    alice.hears(BOB).await;
    devices.unplug();
    let told = bob.until("microphone_failed").await;
    assert!(matches!(told, CallKitEvent::MicrophoneFailed { failure: MicrophoneFailure::Lost, .. }), "{told:?}");
    alice.hears_nothing().await;
    bob.kit.audio_levels(Duration::ZERO).filter(|levels| ready(levels.mic == 0.0)).next().await;
    assert_eq!(devices.microphones_open(), 0);
    devices.plug_in();
    assert!(
        matches!(bob.until("microphone_restored").await, CallKitEvent::MicrophoneRestored { call_id: of, .. } if of == call_id)
    );
    alice.hears(BOB).await;
    bob.hears(ALICE).await;
    let failures = bob.names().iter().filter(|name| **name == "microphone_failed").count();
    assert_eq!(failures, 1, "a try that fails is no news");
    alice.kit.hangup(call_id).await.unwrap();
    assert_eq!(bob.until_end(call_id).await, EndReason::RemoteHangup);
    devices.are_closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p10_no_device_is_opened_before_the_audio_is_activated_and_the_voice_is_then_the_present_one() {
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let devices = Devices::new(AudioInput::Tone { hz: BOB, amplitude: 0.3 });
    let mut bob = devices.phone(&house, "bob", |b| b.wait_for_audio_activation(true)).await;
    for _ in 0..2 {
        let (microphones, loudspeakers) = (devices.microphones_opened(), devices.loudspeakers_opened());
        let call_id = alice.calls(&mut bob).await;
        bob.kit.answer(call_id).await.unwrap();
        bob.until("user_joined").await;
        // The path stands, and both ways are alive.
        alice.hears_for(2.0, alice.heard.len()).await;
        assert!(alice.kit.statistics(call_id).await.unwrap().peer_audio.bps > 0, "a pause is sent");
        assert!(bob.kit.peer_level() > 50.0, "what comes is known, and heard by nobody");
        assert_eq!((devices.microphones_opened(), devices.loudspeakers_opened()), (microphones, loudspeakers));
        assert!(!bob.names().ends_with(&["first_audio"]));

        bob.kit.set_audio_active(true).await.unwrap();
        bob.until("first_audio").await;
        bob.hears(ALICE).await;
        alice.hears(BOB).await;
        assert_eq!((devices.microphones_opened(), devices.loudspeakers_opened()), (microphones + 1, loudspeakers + 1));
        let buffered = bob.kit.statistics(call_id).await.unwrap().buffer_ms;
        assert!(buffered < 500.0, "{buffered} ms: two seconds came before");

        bob.kit.set_audio_active(false).await.unwrap();
        devices.are_closed().await;
        alice.hears_nothing().await;
        bob.kit.set_audio_active(true).await.unwrap();
        bob.hears(ALICE).await;
        alice.kit.hangup(call_id).await.unwrap();
        bob.until_end(call_id).await;
        alice.until_end(call_id).await;
        devices.are_closed().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p13_on_hold_the_microphone_is_let_go_of() {
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let devices = Devices::new(AudioInput::Tone { hz: BOB, amplitude: 0.3 });
    let mut bob = devices.phone(&house, "bob", |b| b).await;
    let call_id = alice.talks_with(&mut bob).await;
    bob.kit.hold(call_id).await.unwrap();
    alice.until("peer_held").await;
    bob.hears_nothing().await;
    assert_eq!((devices.microphones_open(), devices.loudspeakers_open()), (0, 1));
    bob.kit.unhold(call_id).await.unwrap();
    alice.hears(BOB).await;
    assert_eq!((devices.microphones_opened(), devices.loudspeakers_opened()), (2, 1));
}

fn tone(hz: f32) -> AudioInput {
    AudioInput::Tone { hz, amplitude: 0.3 }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_microphone_and_another_loudspeaker_are_used_in_mid_call_and_one_that_is_not_there_changes_nothing() {
    const OTHER: f32 = 1_000.0;
    let house = House::open().await;
    let mut alice = house.singer("alice", ALICE, |b| b).await;
    let devices = Devices::new(tone(BOB));
    let mut bob = devices.phone(&house, "bob", |b| b).await;
    // Before the call nothing is opened, whatever is chosen.
    bob.kit.set_audio_input(AudioInput::Device("no such microphone".into())).await.unwrap();
    bob.kit.set_audio_input(tone(BOB)).await.unwrap();
    let call_id = alice.talks_with(&mut bob).await;
    alice.hears(BOB).await;
    bob.hears(ALICE).await;

    bob.kit.set_audio_input(tone(OTHER)).await.unwrap();
    alice.hears(OTHER).await;
    let missing = AudioInput::Device("no such microphone".into());
    assert!(matches!(bob.kit.set_audio_input(missing).await, Err(CallError::Device(_))));
    let missing = AudioOutput::Device("no such loudspeaker".into());
    assert!(matches!(bob.kit.set_audio_output(missing).await, Err(CallError::Device(_))));
    alice.hears(OTHER).await;
    bob.hears(ALICE).await;

    let ear = Recording::new();
    bob.kit.set_audio_output(ear.output()).await.unwrap();
    devices.are_closed().await;
    let (before, heard) = (devices.heard.len(), std::mem::replace(&mut bob.heard, ear));
    bob.hears(ALICE).await;
    assert_eq!(heard.len(), before, "the one before is let go of");

    // On hold there is no microphone; the choice counts as soon as there is.
    bob.kit.hold(call_id).await.unwrap();
    alice.until("peer_held").await;
    bob.kit.set_audio_input(tone(BOB)).await.unwrap();
    bob.kit.unhold(call_id).await.unwrap();
    alice.hears(BOB).await;
    let names = bob.names();
    assert!(!names.contains(&"microphone_failed") && !names.contains(&"error"), "{names:?}");
}
