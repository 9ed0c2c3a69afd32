//! Connections and paths that break, and a device that stands still.

use call_protocol::end::EndReason;
use call_protocol::media::ChannelRequestBody;
use call_protocol::session::{Refuse, RefuseReason, ServerBody};
use call_protocol::{Uid, Word};
use callkit_core::{
    Answer, CallError, ConnectionState, Input, KitEvent, Output, PathCommand, PathNotice, PathState, RtcToken,
};

use crate::device::{Device, settings};

fn gone(path: callkit_core::PathId) -> Input {
    Input::Path { path, notice: PathNotice::State(PathState::Disconnected) }
}

#[test]
fn a_server_that_was_started_anew_is_told_of_the_call_and_joined_again_and_one_that_resumes_is_not() {
    let mut alice = Device::ready(settings());
    let (call_id, _) = alice.talks();
    let request = alice.questions()[0];
    let token = RtcToken { token: "token".into(), uid: Uid::new(1).unwrap() };
    alice.give(Input::Answer { request, answer: Answer::RtcToken(Ok(token)) });
    alice.joins(call_id);
    for resumed in [false, true] {
        alice.is_acknowledged();
        alice.breaks();
        alice.comes_back(resumed);
        let joins = alice.channel_requests();
        let joins = joins.iter().filter(|body| matches!(body, ChannelRequestBody::Join { .. })).count();
        assert_eq!(joins, usize::from(!resumed));
        assert!(matches!(alice.words()[..], [.., Word::KeepAlive(_)]), "the arbiter hears of this device at once");
        assert_eq!(alice.told(), [KitEvent::ConnectionChanged { state: ConnectionState::Connected }]);
    }
}

#[test]
fn a_path_that_broke_is_looked_for_anew_and_the_call_given_up_after_fifteen_seconds() {
    let mut alice = Device::ready(settings());
    let (call_id, path) = alice.talks();
    alice.take();
    alice.give(gone(path));
    alice.pass(14_900);
    let restarts = |alice: &Device| {
        let restart = Output::TellPath { path, command: PathCommand::RestartIce };
        alice.said.iter().filter(|output| **output == restart).count()
    };
    assert_eq!((restarts(&alice), alice.engine.has_call(call_id)), (8, true));
    alice.pass(200);
    let end = KitEvent::CallEnd { call_id, reason: EndReason::RemoteDrop, user_code: None };
    assert_eq!(alice.told().last(), Some(&end));
}

#[test]
fn a_path_that_comes_back_in_time_lets_the_call_go_on() {
    let mut alice = Device::ready(settings());
    let (call_id, path) = alice.talks();
    alice.give(gone(path));
    alice.pass(10_000);
    alice.give(Input::Path { path, notice: PathNotice::State(PathState::Connected) });
    alice.take();
    alice.pass(20_000);
    assert!(alice.engine.has_call(call_id));
    assert!(!alice.said.iter().any(|output| matches!(output, Output::TellPath { .. })));
}

#[test]
fn a_path_that_cannot_be_set_up_is_tried_again_and_given_up_after_twenty_seconds() {
    let mut alice = Device::ready(settings());
    let call_id = alice.calls_bob();
    alice.bob_answers(call_id);
    let mut path = alice.paths_opened()[0];
    for _ in 0..3 {
        alice.take();
        alice.give(Input::Path { path, notice: PathNotice::Failed("no way".into()) });
        assert!(alice.said.contains(&Output::ClosePath { path }));
        alice.pass(1_000);
        path = alice.paths_opened()[0];
    }
    alice.pass(17_000);
    let error = CallError::Media("no media path to the other end within 20 s: no way".into());
    let [.., told, end] = &alice.told()[..] else { panic!() };
    assert_eq!(*told, KitEvent::Error { call_id: Some(call_id), error });
    assert_eq!(*end, KitEvent::CallEnd { call_id, reason: EndReason::Error, user_code: None });
}

#[test]
fn a_device_that_stood_still_gives_nobody_up_for_it() {
    let mut alice = Device::ready(settings());
    let (call_id, path) = alice.talks();
    alice.give(gone(path));
    alice.pass(1_000);
    // As a process that was stopped: no wake came.
    alice.now += 60_000;
    alice.give(Input::Wake);
    assert!(alice.engine.has_call(call_id));
    alice.give(Input::Path { path, notice: PathNotice::State(PathState::Connected) });
    alice.pass(20_000);
    assert!(alice.engine.has_call(call_id));
}

#[test]
fn where_neither_the_server_nor_the_other_end_is_heard_it_is_the_own_network() {
    let mut alice = Device::ready(settings());
    let (call_id, path) = alice.talks();
    alice.give(gone(path));
    alice.take();
    alice.breaks();
    let away = KitEvent::NetworkAvailable { call_id, available: false, ends_in_ms: 15_000 };
    assert_eq!(alice.told()[1..], [away]);
    alice.give(Input::Path { path, notice: PathNotice::State(PathState::Connected) });
    let back = KitEvent::NetworkAvailable { call_id, available: true, ends_in_ms: 0 };
    assert_eq!(alice.told().last(), Some(&back));
}

#[test]
fn a_changed_network_moves_what_stands_and_restarts_what_does_not() {
    let mut alice = Device::ready(settings());
    let (_, path) = alice.talks();
    alice.take();
    alice.give(Input::NetworkChanged { is_stream_gone: false });
    assert!(alice.said.contains(&Output::TellPath { path, command: PathCommand::Rebind }));
    alice.give(gone(path));
    alice.take();
    alice.give(Input::NetworkChanged { is_stream_gone: false });
    assert!(alice.said.contains(&Output::TellPath { path, command: PathCommand::RestartIce }));
}

#[test]
fn a_device_that_is_signed_out_by_the_server_tells_the_ends_of_its_calls() {
    let mut alice = Device::ready(settings());
    let (call_id, _) = alice.talks();
    alice.take();
    alice.says(ServerBody::Refuse(Refuse { reason: RefuseReason::Replaced, detail: String::new() }));
    let state = ConnectionState::SignedOut(RefuseReason::Replaced);
    let [connection, _, end] = &alice.told()[..] else { panic!("{:?}", alice.told()) };
    assert_eq!(*connection, KitEvent::ConnectionChanged { state });
    assert_eq!(*end, KitEvent::CallEnd { call_id, reason: EndReason::Error, user_code: None });
    assert_eq!(alice.said.last(), Some(&Output::Finished));
}
