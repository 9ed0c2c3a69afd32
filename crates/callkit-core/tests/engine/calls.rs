//! Calls from the invite to the end.

use call_protocol::Uid;
use call_protocol::disconnect::{DisconnectReason, StartFailReason};
use call_protocol::end::{End, EndReason};
use call_protocol::invite::CallType;
use call_protocol::media::{ChannelRequestBody, Description, DescriptionKind, NegotiationBody};
use call_protocol::{AppId, CallId, CallMessage, UserId, Word, wire};
use callkit_core::{
    Answer, CallCommand, CallError, CallEvent, CallState, Command, Engine, Input, KitEvent, MakeCall, Output,
    PathCommand, PathNotice, Response, RtcToken, Settings, UserMapper, VerifyCall,
};
use signaling::{Role, Time};

use crate::device::{Device, party, settings};

fn uid(number: u32) -> Uid {
    Uid::new(number).unwrap()
}

#[test]
fn a_call_is_made_answered_and_ended() {
    let mut alice = Device::ready(settings());
    let call_id = alice.calls_bob();
    let path = alice.paths_opened()[0];
    assert_eq!(alice.told(), [KitEvent::Ringing { call_id, user: UserId::new("bob").unwrap() }]);
    assert!(alice.said.contains(&Output::TellPath { path, command: PathCommand::Offer }));
    let request = alice.questions()[0];
    let token = RtcToken { token: "token".into(), uid: uid(1) };
    alice.give(Input::Answer { request, answer: Answer::RtcToken(Ok(token)) });
    alice.take();

    alice.bob_answers(call_id);
    assert_eq!(alice.told(), [KitEvent::Answer { call_id }]);
    assert!(matches!(&alice.channel_requests()[..], [ChannelRequestBody::Join { token, .. }] if token == "token"));
    alice.joins(call_id);
    let request = alice.questions()[0];
    let users = vec![(uid(2), UserId::new("bob").unwrap())];
    let mapper = UserMapper { channel: call_id.channel(), users };
    alice.give(Input::Answer { request, answer: Answer::User(Ok(mapper)) });
    let user = Some(UserId::new("bob").unwrap());
    assert_eq!(alice.told().last(), Some(&KitEvent::UserJoined { call_id, uid: uid(2), user }));
    alice.connects(path);
    assert_eq!(alice.audio().flatten().unwrap().state.open.unwrap().path, path);
    alice.take();

    assert_eq!(alice.wants(Command::Hangup { call_id }), Response::Done(Ok(())));
    assert!(matches!(alice.words()[..], [Word::End(End { reason: EndReason::Hangup, .. })]));
    let end = KitEvent::CallEnd { call_id, reason: EndReason::Hangup, user_code: None };
    assert_eq!(alice.told(), std::slice::from_ref(&end));
    assert_eq!(alice.audio(), Some(None), "the devices are released");
    // What is sent goes first, and whoever is told of the end finds the call gone.
    let sent = alice.place_of(|output| matches!(output, Output::TellPath { command: PathCommand::Send(_), .. }));
    let closed = alice.place_of(|output| *output == Output::ClosePath { path });
    let gone = alice.place_of(|output| matches!(output, Output::CallClosed { .. }));
    let told = alice.place_of(|output| *output == Output::Emit(end.clone()));
    assert!(sent < closed && closed < told && gone < told);
    assert!(!alice.engine.has_call(call_id));
}

#[test]
fn a_call_comes_in_and_is_taken_and_nothing_is_shown_of_this_device_before_that() {
    let off = Settings { warm_path: callkit_core::WarmPath::Off, ..settings() };
    let mut alice = Device::ready(off);
    let call_id = alice.bob_calls();
    assert!(matches!(&alice.told()[..], [KitEvent::ReceiveCall { user, .. }] if user.as_str() == "bob"));
    let offer = Description { kind: DescriptionKind::Offer, sdp: "a=fingerprint:sha-256 AA".into() };
    let step = call_protocol::media::Negotiation {
        from: party("bob", "phone"),
        to: party("alice", "desk"),
        seq: 1,
        ack: 0,
        from_run: 1,
        to_run: 0,
        body: Some(NegotiationBody::Description(offer.clone())),
    };
    alice.hears(call_id, Word::Negotiation(Box::new(step)));
    assert_eq!(alice.paths_opened(), []);
    alice.take();

    assert_eq!(alice.wants(Command::Answer { call_id }), Response::Done(Ok(())));
    assert_eq!(alice.role_of_paths(), [Role::Callee]);
    let path = alice.paths_opened()[0];
    let command = PathCommand::Negotiation(NegotiationBody::Description(offer));
    assert!(alice.said.contains(&Output::TellPath { path, command }));
    let audio = alice.audio().flatten().unwrap();
    assert!(audio.state.microphone && audio.state.open.is_none(), "opened ahead, and nothing flows");
    alice.take();
    alice.is_confirmed(call_id);
    assert_eq!(alice.told(), [KitEvent::Answer { call_id }]);
    alice.connects(path);
    assert_eq!(alice.audio().flatten().unwrap().state.open.unwrap().path, path);
}

fn to_bob() -> MakeCall {
    MakeCall {
        user: UserId::new("alice").unwrap(),
        app_id: AppId::new("demo").unwrap(),
        peer: UserId::new("bob").unwrap(),
        call_type: CallType::Audio1v1,
        ext: Default::default(),
        app_server_data: String::new(),
        offers_preparation: false,
        ring_timeout_ms: 60_000,
        settings: Default::default(),
    }
}

#[test]
fn a_call_with_a_handler_of_its_own_is_told_to_that_alone() {
    let mut alice = Device::ready(settings());
    let made = alice.wants(Command::MakeCall(Box::new(to_bob())));
    let Response::Made(Ok(call)) = made else { panic!("{made:?}") };
    assert!(matches!(&alice.said[..2], [Output::CallOpened { .. }, Output::SetHandler { .. }]), "before its answer");
    assert_eq!(alice.questions(), [], "it needs no token");
    let call_id = alice.engine.call_of(call).unwrap();
    alice.take();
    alice.bob_answers(call_id);
    let connected = CallEvent::Connected { in_preparation: false, should_finish: false };
    let is_connected = |output: &Output| matches!(output, Output::CallSnapshot { snapshot, .. } if snapshot.state == CallState::Connected);
    let told = Output::EmitCall { call, event: connected };
    assert!(alice.place_of(is_connected) < alice.place_of(|output| *output == told));
    let command = CallCommand::Hold(Some("a moment".into()));
    assert_eq!(alice.wants(Command::Call { call, command }), Response::Done(Ok(())));
    alice.hears(call_id, Word::End(EndReason::RemoteHangup.into()));
    assert_eq!(alice.told(), []);
    let Some(Output::CallClosed { end: Some(end), .. }) =
        alice.said.iter().find(|output| matches!(output, Output::CallClosed { .. }))
    else {
        panic!("{:#?}", alice.said)
    };
    assert_eq!((end.reason, end.by_remote), (DisconnectReason::Normal, true));
    let over = alice.wants(Command::Call { call, command: CallCommand::Unhold });
    assert_eq!(over, Response::Done(Err(CallError::NoSuchCall)));
}

#[test]
fn a_call_cannot_be_made_by_somebody_else_or_before_the_media_is_ready() {
    let mut alice = Device::ready(settings());
    let by_carol = MakeCall { user: UserId::new("carol").unwrap(), ..to_bob() };
    let refused = alice.wants(Command::MakeCall(Box::new(by_carol)));
    assert_eq!(refused, Response::Made(Err(StartFailReason::InvalidUserId)));
    alice.wants(Command::ReleaseRtc);
    let refused = alice.wants(Command::MakeCall(Box::new(to_bob())));
    assert_eq!(refused, Response::Made(Err(StartFailReason::NotInitialized)));
}

#[test]
fn a_call_that_was_asked_about_and_of_which_nothing_is_heard_counts_as_gone_after_twelve_seconds() {
    let mut alice = Device::ready(settings());
    let call_id = CallId::from_bits(5);
    let verify = VerifyCall {
        user: UserId::new("alice").unwrap(),
        app_id: AppId::new("demo").unwrap(),
        call_id,
        peer: UserId::new("bob").unwrap(),
        call_type: CallType::Audio1v1,
        is_background: false,
        settings: Default::default(),
    };
    let made = alice.wants(Command::VerifyCall(Box::new(verify.clone())));
    assert!(matches!(made, Response::Made(Ok(_))));
    let again = alice.wants(Command::VerifyCall(Box::new(verify)));
    assert_eq!(again, Response::Made(Err(StartFailReason::AlreadyExist)));
    let is_closed = |output: &Output| matches!(output, Output::CallClosed { .. });
    alice.pass(9_000);
    assert!(!alice.said.iter().any(is_closed));
    alice.pass(4_000);
    assert!(alice.said.iter().any(is_closed));
}

#[test]
fn a_word_on_a_media_path_counts_for_its_own_call_alone() {
    let mut alice = Device::ready(settings());
    let (call_id, path) = alice.talks();
    alice.take();
    let say = |call_id| {
        let message = CallMessage { call_id, word: Word::End(EndReason::RemoteHangup.into()) };
        Input::Path { path, notice: PathNotice::Message(wire::encode_call(&message)) }
    };
    alice.give(say(CallId::from_bits(1)));
    assert_eq!(alice.take(), []);
    alice.give(say(call_id));
    assert_eq!(alice.told(), [KitEvent::CallEnd { call_id, reason: EndReason::RemoteHangup, user_code: None }]);
    alice.take();
    alice.give(say(call_id));
    assert_eq!(alice.take(), [], "a path that is closed is heard no more");
}

#[test]
fn a_device_of_one_call_is_done_when_that_is_over_and_hears_nothing_after_it() {
    let mut alice = Device::ready(Settings { one_call: true, ..settings() });
    let made = alice.wants(Command::MakeCall(Box::new(to_bob())));
    let Response::Made(Ok(call)) = made else { panic!("{made:?}") };
    let end = Command::Call { call, command: CallCommand::End(callkit_core::Ending::Plain) };
    alice.commands(end);
    assert_eq!(alice.said.last(), Some(&Output::Finished));
    alice.take();
    alice.commands(Command::InitRtc);
    assert_eq!((alice.take(), alice.engine.next_wake()), (vec![], None));
}

#[test]
fn signing_out_ends_what_there_is() {
    let mut alice = Device::ready(settings());
    let (call_id, path) = alice.talks();
    alice.take();
    alice.commands(Command::SignOut);
    assert_eq!(alice.told(), [KitEvent::CallEnd { call_id, reason: EndReason::Hangup, user_code: None }]);
    assert!(alice.said.contains(&Output::ClosePath { path }));
    assert_eq!(alice.said.last(), Some(&Output::Finished));
}

#[test]
fn the_same_inputs_and_seed_give_the_same_outputs() {
    let run = |seed| {
        let mut alice = Device::ready(Settings { seed, ..settings() });
        let (call_id, _) = alice.talks();
        alice.pass(10_000);
        alice.commands(Command::Hangup { call_id });
        alice.pass(60_000);
        (call_id, alice.take())
    };
    assert_eq!(run([1; 32]), run([1; 32]));
    assert_ne!(run([1; 32]).0, run([2; 32]).0);
    let mut engine = Engine::new(settings());
    engine.handle_input(Time(5), Input::Wake);
    assert_eq!((engine.poll_output(), engine.next_wake()), (None, None));
}
