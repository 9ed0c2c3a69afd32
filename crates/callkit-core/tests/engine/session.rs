//! The session with the server: numbers, silence, coming back, and the access token.

use call_protocol::UserId;
use call_protocol::invite::CallType;
use call_protocol::session::{AccessStatus, ClientBody, Refuse, RefuseReason, ServerBody, ServerFrame};
use callkit_core::{
    AccessToken, Answer, Command, ConnectFailure, ConnectionState, FirstSignIn, Input, KitEvent, Output, Question,
    StreamNotice,
};

use crate::device::{Device, UNIX_MS, settings};

fn refuse(reason: RefuseReason) -> ServerBody {
    ServerBody::Refuse(Refuse { reason, detail: String::new() })
}

fn pong(nonce: u64) -> ServerBody {
    ServerBody::Pong { nonce, server_unix_ms: UNIX_MS }
}

/// How often it has begun to connect.
fn attempts(alice: &Device) -> usize {
    alice.said.iter().filter(|output| matches!(output, Output::Connect { .. })).count()
}

fn token_of_last_attempt(alice: &Device) -> String {
    let hello = |output: &Output| match output {
        Output::Connect { hello, .. } => Some(hello.access_token.clone()),
        _ => None,
    };
    alice.said.iter().rev().find_map(hello).unwrap()
}

#[test]
fn what_the_server_has_not_received_is_sent_again_to_it_and_nothing_twice() {
    let mut alice = Device::ready(settings());
    let (user, call_type) = (UserId::new("bob").unwrap(), CallType::Audio1v1);
    alice.wants(Command::StartCall { user, call_type, ext: Default::default() });
    let sent = alice.frames();
    assert_eq!(sent.iter().map(|frame| frame.seq).collect::<Vec<_>>(), [1]);
    alice.breaks();
    assert_eq!(alice.told(), [KitEvent::ConnectionChanged { state: ConnectionState::Reconnecting }]);
    alice.comes_back(true);
    let again: Vec<_> = alice.frames().into_iter().filter(|frame| frame.seq == 1).collect();
    assert_eq!(again, sent);
    alice.take();
    alice.is_acknowledged();
    alice.breaks();
    alice.comes_back(true);
    assert!(alice.frames().iter().all(|frame| frame.seq > 1), "it has received all of that");
}

#[test]
fn what_comes_twice_is_dealt_with_once_and_a_gap_breaks_the_connection() {
    let mut alice = Device::ready(settings());
    let frame = |seq, left_ms| {
        let body = Some(ServerBody::Access(AccessStatus { left_ms, refused: None }));
        StreamNotice::Received(ServerFrame { seq, ack: 0, body })
    };
    alice.on_stream(frame(1, 0));
    alice.pass(1);
    assert_eq!(alice.told(), [KitEvent::AccessTokenExpiring { left_ms: 0 }]);
    alice.take();
    alice.on_stream(frame(1, 100));
    alice.pass(50);
    assert_eq!(alice.take(), []);
    alice.pass(100);
    let [acknowledgement] = &alice.frames()[..] else { panic!("{:?}", alice.frames()) };
    assert_eq!((acknowledgement.ack, &acknowledgement.body), (1, &None), "what nothing else has carried");
    alice.take();
    alice.on_stream(frame(3, 100));
    assert_eq!(alice.told(), [KitEvent::ConnectionChanged { state: ConnectionState::Reconnecting }]);
    assert!(matches!(alice.said[0], Output::Disconnect { .. }));
}

#[test]
fn a_silent_server_is_pinged_and_given_up_after_ten_seconds() {
    let mut alice = Device::ready(settings());
    alice.is_heard = false;
    alice.pass(9_900);
    let pings = alice.frames().iter().filter(|frame| matches!(frame.body, Some(ClientBody::Ping { nonce: 0 }))).count();
    assert_eq!((pings, alice.told()), (3, vec![]));
    alice.pass(100);
    assert_eq!(alice.told(), [KitEvent::ConnectionChanged { state: ConnectionState::Reconnecting }]);
}

#[test]
fn one_that_answers_is_kept_and_a_device_that_stood_still_does_not_take_that_for_silence() {
    let mut alice = Device::ready(settings());
    alice.pass(30_000);
    alice.now += 60_000;
    alice.give(Input::Wake);
    alice.says(pong(0));
    alice.pass(5_000);
    assert_eq!(alice.told(), []);
}

#[test]
fn on_another_network_the_server_is_to_answer_within_two_seconds() {
    let mut alice = Device::ready(settings());
    alice.give(Input::NetworkChanged { is_stream_gone: false });
    alice.says(pong(1));
    alice.pass(2_500);
    assert_eq!(alice.told(), []);
    alice.give(Input::NetworkChanged { is_stream_gone: false });
    alice.says(pong(1));
    alice.pass(2_500);
    assert_eq!(
        alice.told(),
        [KitEvent::ConnectionChanged { state: ConnectionState::Reconnecting }],
        "of the ping before"
    );

    let mut alice = Device::ready(settings());
    alice.give(Input::NetworkChanged { is_stream_gone: true });
    assert_eq!(alice.told(), [KitEvent::ConnectionChanged { state: ConnectionState::Reconnecting }]);
}

#[test]
fn attempts_to_come_back_grow_rarer_and_another_network_ends_the_wait() {
    let mut alice = Device::ready(settings());
    alice.breaks();
    for _ in 0..12 {
        while !alice.connects_to_server() {
            alice.pass(10);
        }
        alice.take();
        alice.on_stream(StreamNotice::Failed(ConnectFailure::Unreachable));
    }
    alice.pass(900);
    assert_eq!(attempts(&alice), 0);
    alice.give(Input::NetworkChanged { is_stream_gone: false });
    assert_eq!(attempts(&alice), 1);
    assert!(alice.connects_to_server());
    let before = alice.stream;
    alice.take();
    alice.give(Input::NetworkChanged { is_stream_gone: false });
    assert_eq!(alice.said, [Output::Disconnect { stream: before }], "what was begun on the old one is given up");
    alice.pass(300);
    assert_eq!(attempts(&alice), 1);
}

#[test]
fn the_first_sign_in_is_tried_again_for_a_few_seconds_where_that_can_help() {
    let mut first = FirstSignIn::new(&settings());
    assert_eq!(first.on_failure(ConnectFailure::Unreachable), None);
    assert_eq!(first.on_failure(ConnectFailure::Refused(RefuseReason::TokenInvalid)), None);
    for middle_ms in [500, 1_000, 2_000] {
        let pause = first.on_failure(ConnectFailure::Refused(RefuseReason::Overloaded)).unwrap();
        assert!((middle_ms / 2..=middle_ms * 3 / 2).contains(&(pause.as_millis() as u64)), "{pause:?}");
    }
    assert_eq!(first.on_failure(ConnectFailure::Refused(RefuseReason::Overloaded)), None);
}

#[test]
fn a_refusal_that_may_pass_is_tried_again_and_one_that_does_not_ends_it() {
    let mut alice = Device::ready(settings());
    alice.says(refuse(RefuseReason::ShuttingDown));
    alice.pass(499);
    assert_eq!(attempts(&alice), 0, "everybody was sent away");
    alice.pass(1_001);
    assert_eq!(attempts(&alice), 1);
    assert!(alice.connects_to_server());
    alice.on_stream(StreamNotice::Failed(ConnectFailure::Refused(RefuseReason::SignedOut)));
    let state = ConnectionState::SignedOut(RefuseReason::SignedOut);
    assert_eq!(alice.told().last(), Some(&KitEvent::ConnectionChanged { state }));
    assert_eq!(alice.said.last(), Some(&Output::Finished));
}

#[test]
fn a_token_that_has_ended_is_waited_for_and_no_attempt_is_made_without_another_one() {
    let mut alice = Device::ready(settings());
    alice.says(refuse(RefuseReason::TokenExpired));
    alice.pass(60_000);
    assert_eq!(attempts(&alice), 0);
    assert_eq!(alice.told().last(), Some(&KitEvent::AccessTokenExpiring { left_ms: 0 }));
    alice.take();
    alice.wants(Command::AccessToken(AccessToken("first".into())));
    assert_eq!(attempts(&alice), 0, "it is the same one again");
    alice.wants(Command::AccessToken(AccessToken("second".into())));
    assert_eq!((attempts(&alice), token_of_last_attempt(&alice)), (1, "second".into()));
    assert!(alice.said.contains(&Output::AccessToken(AccessToken("second".into()))));
}

#[test]
fn whoever_gives_tokens_is_asked_and_what_was_refused_is_not_the_token_any_more() {
    let mut alice = Device::ready(settings());
    alice.give(Input::AccessHandler);
    alice.says(ServerBody::Access(AccessStatus { left_ms: 40_000, refused: None }));
    alice.take();
    alice.pass(30_000);
    let ask = |output: &Output| match output {
        Output::Ask { request, question: Question::AccessToken } => Some(*request),
        _ => None,
    };
    let Some(request) = alice.said.iter().find_map(ask) else { panic!("{:#?}", alice.said) };
    alice.take();
    let second = || AccessToken("second".into());
    alice.give(Input::Answer { request, answer: Answer::AccessToken(Ok(second())) });
    let renewal = ClientBody::RenewAccess { access_token: "second".into() };
    assert!(alice.frames().iter().any(|frame| frame.body.as_ref() == Some(&renewal)));
    assert_eq!(alice.said[0], Output::AccessToken(second()));
    alice.take();
    let refused = Some(RefuseReason::TokenInvalid);
    alice.says(ServerBody::Access(AccessStatus { left_ms: 0, refused }));
    assert_eq!(alice.said[0], Output::AccessToken(AccessToken("first".into())));
    alice.says(pong(0));
    alice.take();
    alice.pass(1_000);
    assert!(alice.said.iter().any(|output| ask(output).is_some()), "it is asked again a second later");
}

#[test]
fn whoever_signs_out_says_goodbye_last() {
    let mut alice = Device::ready(settings());
    alice.talks();
    alice.take();
    alice.commands(Command::SignOut);
    assert!(matches!(alice.frames().last().unwrap().body, Some(ClientBody::Goodbye)));
    assert_eq!(alice.said.last(), Some(&Output::Finished));
}
