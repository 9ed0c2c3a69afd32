//! Sessions that outlive their streams, and those that do not.

use call_protocol::CallId;
use call_protocol::media::{ChannelEventBody, ChannelRequest, ChannelRequestBody, JoinRefusal, TrackState};
use call_protocol::session::{RefuseReason, ServerBody};
use callkit_hub::{FrameBody, HubConfig, Identity, Input, Output, Reply, Request, StreamId};
use signaling::{Command, Phase};

use crate::world::{APP, World, party};

const CALL: CallId = CallId::from_bits(7);

#[test]
fn a_resume_loses_nothing_of_what_was_said_meanwhile() {
    let mut world = World::new(HubConfig::default(), 1);
    let (ann, bob) = (world.phone("ann", "phone"), world.phone("bob", "phone"));
    world.sign_in(ann);
    world.sign_in(bob);
    world.lose(bob);
    world.calls(ann, "bob", CALL);
    assert_eq!(world.devices[bob].line.phase(), Phase::Idle);
    world.pass(1_000);
    world.sign_in(bob);
    assert!(world.devices[bob].resumed);
    assert_eq!(world.devices[bob].line.phase(), Phase::Ringing(CALL));
    world.command(bob, Command::Answer { call_id: CALL });
    assert_eq!(world.devices[ann].line.phase(), Phase::InCall(CALL));
    assert_eq!(world.hub.counters().resumes, 1);
}

#[test]
fn a_session_ends_when_it_is_not_resumed_in_time() {
    let mut world = World::new(HubConfig::default(), 1);
    let ann = world.phone("ann", "phone");
    world.sign_in(ann);
    world.lose(ann);
    world.pass(14_999);
    assert_eq!(world.hub.counters().sessions, 1);
    world.pass(1);
    assert_eq!(world.hub.counters().sessions, 0);
    world.sign_in(ann);
    assert!(!world.devices[ann].resumed);
}

#[test]
fn the_same_device_again_replaces_the_first_one() {
    let mut world = World::new(HubConfig::default(), 1);
    let (first, second) = (world.phone("ann", "phone"), world.phone("ann", "phone"));
    world.sign_in(first);
    world.sign_in(second);
    assert_eq!(world.devices[first].refused, Some(RefuseReason::Replaced));
    assert_eq!((world.devices[second].refused, world.hub.counters().sessions), (None, 1));
}

#[test]
fn a_stream_without_room_ends_its_session_and_is_cut_if_it_has_none_for_that_either() {
    let mut world = World::new(HubConfig::default(), 1);
    let ann = world.phone("ann", "phone");
    world.sign_in(ann);
    let stream = world.devices[ann].stream.unwrap();
    world.hub.handle_input(world.now(), Input::TooSlow(stream));
    let closed = std::iter::from_fn(|| world.hub.poll_output());
    assert_eq!(closed.filter(|output| matches!(output, Output::Close { .. })).count(), 1);
    assert_eq!(world.hub.counters().sessions, 0);
    world.hub.handle_input(world.now(), Input::TooSlow(stream));
    assert!(matches!(world.hub.poll_output(), Some(Output::Cut(cut)) if cut == stream));
}

#[test]
fn a_stream_that_does_not_end_is_cut_after_its_grace() {
    let mut world = World::new(HubConfig::default(), 1);
    let ann = world.phone("ann", "phone");
    world.sign_in(ann);
    let stream = world.devices[ann].stream.unwrap();
    world.hub.handle_input(world.now(), Input::Stopping);
    assert!(!world.hub.is_stopped());
    world.hub.handle_input(
        world.now(),
        Input::SignedIn { stream: StreamId(99), identity: identity(), resume: None, stun_server: "stun:h:1".into() },
    );
    let told = std::iter::from_fn(|| world.hub.poll_output());
    let told: Vec<_> = told.filter(|output| matches!(output, Output::Close { refusal: Some(_), .. })).collect();
    assert_eq!(told.len(), 2, "also one that came at this very moment");
    world.now_ms += 999;
    world.hub.handle_input(world.now(), Input::Wake);
    assert!(world.hub.poll_output().is_none());
    world.now_ms += 1;
    world.hub.handle_input(world.now(), Input::Wake);
    assert!(matches!(world.hub.poll_output(), Some(Output::Cut(cut)) if cut == stream));
    assert!(world.hub.is_stopped());
}

#[test]
fn a_backend_signs_a_user_out() {
    let mut world = World::new(HubConfig::default(), 1);
    let (phone, tablet) = (world.phone("ann", "phone"), world.phone("ann", "tablet"));
    world.sign_in(phone);
    world.sign_in(tablet);
    let user = party("ann", "phone").user;
    let device = Some(party("ann", "tablet").device);
    let one = Request::SignOut { app: APP, user: user.clone(), device };
    assert_eq!(world.ask(one), Reply::Ended(1));
    assert_eq!(world.devices[tablet].refused, Some(RefuseReason::SignedOut));
    assert_eq!(world.ask(Request::SignOut { app: APP, user, device: None }), Reply::Ended(1));
    assert_eq!(world.hub.counters().sessions, 0);
}

/// A push that comes late asks about a call that its own device is in, and is told so; what it says of the call's channel is nobody's.
#[test]
fn a_visitor_has_no_part_in_the_channel_of_its_device() {
    let mut world = World::new(HubConfig::default(), 1);
    let (ann, bob) = (world.phone("ann", "phone"), world.phone("bob", "phone"));
    world.sign_in(ann);
    world.sign_in(bob);
    world.calls(ann, "bob", CALL);
    world.command(bob, Command::Answer { call_id: CALL });
    let tracks = TrackState { audio_muted: false, video_muted: true };
    let join = || ChannelRequestBody::Join { token: String::new(), tracks };
    world.ask_channel(ann, CALL.channel(), join());
    world.ask_channel(bob, CALL.channel(), join());
    assert_eq!(world.hub.counters().members, 2);

    let stream = StreamId(99);
    let late = Identity { party: party("bob", "phone"), bound: Some(CALL), for_one_call: true, ..identity() };
    world.give(Input::SignedIn { stream, identity: late, resume: None, stun_server: "stun:h:1".into() });
    for (seq, body) in [(1, join()), (2, ChannelRequestBody::Leave)] {
        let body = Some(FrameBody::Channel(ChannelRequest { channel: CALL.channel(), body }, None));
        world.give(Input::Frame { stream, seq, ack: 0, body, is_admitted: false });
    }
    let refused = |(to, body): &(StreamId, ServerBody)| {
        let ServerBody::Channel(event) = body else { return false };
        *to == stream && event.body == ChannelEventBody::JoinRefused { reason: JoinRefusal::TokenInvalid }
    };
    assert_eq!(world.strays.iter().filter(|stray| refused(stray)).count(), 1);
    world.give(Input::StreamEnded(stream));
    world.pass(60_000);
    assert_eq!((world.hub.counters().members, world.hub.counters().sessions), (2, 2));
    assert_eq!(world.devices[bob].line.phase(), Phase::InCall(CALL));
}

/// A device that was started anew takes its place in the channel again, and the other one does not see it leave.
#[test]
fn a_member_whose_session_was_replaced_takes_its_place_again() {
    let mut world = World::new(HubConfig::default(), 1);
    let (ann, bob) = (world.phone("ann", "phone"), world.phone("bob", "phone"));
    world.sign_in(ann);
    world.sign_in(bob);
    world.calls(ann, "bob", CALL);
    world.command(bob, Command::Answer { call_id: CALL });
    let tracks = TrackState { audio_muted: false, video_muted: true };
    let join = || ChannelRequestBody::Join { token: String::new(), tracks };
    world.ask_channel(ann, CALL.channel(), join());
    world.ask_channel(bob, CALL.channel(), join());
    world.devices[bob].session = None;
    world.sign_in(bob);
    assert_eq!(world.hub.counters().members, 2);
    world.ask_channel(bob, CALL.channel(), join());
    assert_eq!(world.hub.counters().members, 2);
    let left = |event: &&ChannelEventBody| matches!(event, ChannelEventBody::MemberLeft { .. });
    assert_eq!(world.devices[ann].channel_events.iter().find(left), None);
}

fn identity() -> Identity {
    let party = party("eve", "phone");
    Identity { app: APP, party, bound: None, woken: None, for_one_call: false, mark: None, access: None }
}
