//! What the microphone gives and who is played.

use std::time::Duration;

use call_protocol::end::EndReason;
use call_protocol::media::{ChannelRequestBody, TrackState};
use callkit_core::{
    AudioDeviceId, AudioNotice, CallCommand, CallError, CallEvent, Command, DeviceKind, Hears, Input, KitEvent,
    MicrophoneFailure, Output, PathNotice, PathState, Response, Sends, Settings, ToneKind, ToneSet,
};

use crate::device::{Device, settings};

fn all_tones() -> Settings {
    let tones = ToneSet { ringback: true, ring: true, hold: true, holding: true, waiting: true, end: true };
    let mut settings = settings();
    settings.audio.tones = tones;
    settings
}

#[test]
fn who_mutes_while_it_rings_sends_nothing_of_the_microphone_from_the_first_moment_on() {
    let mut alice = Device::ready(settings());
    let call_id = alice.calls_bob();
    let path = alice.paths_opened()[0];
    alice.wants(Command::Mute(true));
    alice.bob_answers(call_id);
    alice.connects(path);
    let of_path = |output: &Output| match output {
        Output::Audio(Some(audio)) => audio.state.open.is_some().then_some(audio.state.sends),
        _ => None,
    };
    let sends: Vec<Sends> = alice.said.iter().filter_map(of_path).collect();
    assert_eq!(sends, [Sends::Silence]);
    alice.take();

    alice.commands(Command::Mute(false));
    let said = alice.take();
    let heard = said.iter().position(|output| of_path(output) == Some(Sends::Microphone));
    let answered = said.iter().position(|output| matches!(output, Output::Reply { .. }));
    assert!(heard.unwrap() < answered.unwrap(), "it is so when it is answered");
}

#[test]
fn a_mute_of_one_call_and_that_of_all_are_the_same_and_the_channel_is_told() {
    let mut alice = Device::ready(settings());
    let (call_id, _) = alice.talks();
    let Some(Output::CallOpened { call, .. }) =
        alice.said.iter().find(|output| matches!(output, Output::CallOpened { .. })).cloned()
    else {
        panic!()
    };
    alice.joins(call_id);
    alice.take();
    let mute = |muted| Command::Call { call, command: CallCommand::Mute(muted) };
    assert_eq!(alice.wants(mute(true)), Response::Done(Ok(())));
    let tracks = |audio_muted| ChannelRequestBody::Tracks(TrackState { audio_muted, video_muted: true });
    assert_eq!(alice.channel_requests(), [tracks(true)]);
    assert!(alice.said.contains(&Output::EmitCall { call, event: CallEvent::Muted(true) }));
    alice.take();
    assert_eq!(alice.wants(mute(true)), Response::Done(Ok(())));
    assert_eq!(alice.take(), [], "no news");
    alice.wants(Command::Mute(false));
    assert_eq!(alice.channel_requests(), [tracks(false)]);
    assert_eq!(alice.audio().flatten().unwrap().state.sends, Sends::Microphone);
}

#[test]
fn on_hold_the_microphone_is_let_go_of_and_nothing_flows() {
    let mut alice = Device::ready(all_tones());
    let (call_id, _) = alice.talks();
    alice.take();
    assert_eq!(alice.wants(Command::Hold { call_id, held: true }), Response::Done(Ok(())));
    let audio = alice.audio().flatten().unwrap();
    assert_eq!((audio.state.open, audio.state.sends, audio.state.hears), (None, Sends::Nothing, Hears::Nothing));
    assert_eq!((audio.state.microphone, audio.tone), (false, Some(ToneKind::Holding)));
    assert_eq!(alice.told(), [KitEvent::CallHeld { call_id, held: true }]);
}

#[test]
fn the_caller_hears_that_it_rings_and_the_end_once() {
    let mut alice = Device::ready(all_tones());
    let call_id = alice.calls_bob();
    assert_eq!(alice.audio().flatten().unwrap().tone, Some(ToneKind::Ringback));
    let path = alice.paths_opened()[0];
    alice.bob_answers(call_id);
    alice.connects(path);
    assert_eq!(alice.audio().flatten().unwrap().tone, None);
    alice.take();
    alice.wants(Command::Hangup { call_id });
    let audio = alice.audio().flatten().unwrap();
    assert_eq!((audio.end_tone, audio.state.loudspeaker, audio.state.microphone), (Some(1), true, false));
    alice.take();
    alice.give(Input::Audio { session: audio.session, notice: AudioNotice::EndToneOver });
    assert_eq!(alice.audio(), Some(None));
    alice.take();
    alice.give(Input::Audio { session: audio.session, notice: AudioNotice::MicrophoneOpened });
    assert_eq!(alice.take(), [], "of a session that is over");
}

#[test]
fn without_an_audio_engine_calls_that_need_it_are_given_up_and_it_is_not_tried_on_and_on() {
    let mut alice = Device::ready(all_tones());
    let (call_id, _) = alice.talks();
    let session = alice.audio().flatten().unwrap().session;
    alice.take();
    alice.give(Input::Audio { session, notice: AudioNotice::Ended("no thread".into()) });
    let error = CallError::Media("no thread".into());
    let end = KitEvent::CallEnd { call_id, reason: EndReason::Error, user_code: None };
    assert_eq!(alice.told(), [KitEvent::Error { call_id: Some(call_id), error }, end]);
    assert_eq!(alice.audio(), Some(None));

    alice.bob_calls();
    let session = alice.audio().flatten().unwrap().session;
    alice.take();
    alice.give(Input::Audio { session, notice: AudioNotice::Ended("no thread".into()) });
    assert_eq!(alice.audio(), Some(None), "the ring tone is not tried again");
    alice.take();
    alice.pass(1_000);
    assert_eq!(alice.audio(), None);
}

#[test]
fn a_microphone_that_cannot_be_opened_ends_a_call_that_may_not_be_without_and_no_other_one() {
    let failed =
        AudioNotice::MicrophoneFailed { failure: MicrophoneFailure::Denied, at_open: true, why: "denied".into() };
    for allow_without_mic in [false, true] {
        let mut settings = settings();
        settings.audio.allow_without_mic = allow_without_mic;
        let mut alice = Device::ready(settings);
        let (call_id, _) = alice.talks();
        let session = alice.audio().flatten().unwrap().session;
        alice.give(Input::Audio { session, notice: failed.clone() });
        assert!(alice.told().contains(&KitEvent::MicrophoneFailed { call_id, failure: MicrophoneFailure::Denied }));
        assert_eq!(alice.engine.has_call(call_id), allow_without_mic);
        if allow_without_mic {
            alice.give(Input::Audio { session, notice: AudioNotice::MicrophoneOpened });
            assert_eq!(alice.told().last(), Some(&KitEvent::MicrophoneRestored { call_id }));
        }
    }
}

#[test]
fn another_microphone_is_answered_when_it_is_open_and_the_one_before_is_used_if_it_cannot_be() {
    let mut alice = Device::ready(settings());
    let (second, third) = (AudioDeviceId(2), AudioDeviceId(3));
    assert_eq!(alice.wants(Command::ChooseMicrophone(second)), Response::Done(Ok(())), "nobody needs it yet");
    alice.talks();
    let session = alice.audio().flatten().unwrap().session;
    alice.take();
    let id = alice.commands(Command::ChooseMicrophone(third));
    assert_eq!(alice.audio().flatten().unwrap().microphone, third);
    assert!(!alice.said.iter().any(|output| matches!(output, Output::Reply { .. })));
    let (kind, result) = (DeviceKind::Microphone, Err("gone".to_owned()));
    let notice = AudioNotice::DeviceOpened { kind, device: third, result, goes_on: true };
    alice.give(Input::Audio { session, notice });
    let response = Response::Done(Err(CallError::Device("gone".into())));
    assert!(alice.said.contains(&Output::Reply { id, response }));
    assert_eq!(alice.audio().flatten().unwrap().microphone, second);
    assert!(alice.engine.uses_microphone(second) && !alice.engine.uses_microphone(third));
}

#[test]
fn levels_are_told_from_the_accept_to_the_end() {
    let mut alice = Device::ready(settings());
    let (call_id, path) = alice.talks();
    alice.take();
    let levels = |alice: &mut Device| -> Vec<bool> {
        let of = |output: &Output| match output {
            Output::EmitCall { event: CallEvent::Levels { has_sound, .. }, .. } => Some(*has_sound),
            _ => None,
        };
        alice.take().iter().filter_map(of).collect()
    };
    alice.pass(1_600);
    assert_eq!(levels(&mut alice), [true; 4], "the first at once");
    alice.wants(Command::Hold { call_id, held: true });
    alice.take();
    alice.pass(Duration::from_millis(1_000).as_millis() as u64);
    assert_eq!(levels(&mut alice), [false; 2]);
    alice.give(Input::Path { path, notice: PathNotice::State(PathState::Connected) });
    alice.wants(Command::Hangup { call_id });
    alice.take();
    alice.pass(5_000);
    assert_eq!(levels(&mut alice), [false; 0]);
}
