//! Calls from invite to end, with nothing but machines.

use call_protocol::CallId;
use call_protocol::end::EndReason;
use callkit_hub::{AppFeatures, CallKey, CallStatus, Delivery, HubConfig, Input, PushKind, Reply, Request};
use signaling::{Command, Event, Phase};

use crate::world::{APP, World, party};

const CALL: CallId = CallId::from_bits(7);

fn world_of_two() -> (World, usize, usize) {
    let mut world = World::new(HubConfig::default(), 1);
    let (ann, bob) = (world.phone("ann", "phone"), world.phone("bob", "phone"));
    world.sign_in(ann);
    world.sign_in(bob);
    (world, ann, bob)
}

fn talking() -> (World, usize, usize) {
    let (mut world, ann, bob) = world_of_two();
    world.calls(ann, "bob", CALL);
    assert!(matches!(world.devices[bob].line.phase(), Phase::Ringing(CALL)));
    world.pass(2_000);
    world.command(bob, Command::Answer { call_id: CALL });
    for phone in [ann, bob] {
        assert_eq!(world.devices[phone].line.phase(), Phase::InCall(CALL));
    }
    (world, ann, bob)
}

fn ended(world: &World, phone: usize) -> Vec<EndReason> {
    let ended = |event: &Event| match event {
        Event::Ended { reason, .. } => Some(*reason),
        _ => None,
    };
    world.devices[phone].events.iter().filter_map(ended).collect()
}

#[test]
fn two_devices_call_answer_and_end() {
    let (mut world, ann, bob) = talking();
    assert_eq!(world.hub.counters().calls, 1);
    world.pass(5_000);
    world.command(ann, Command::Hangup { call_id: CALL });
    assert_eq!((ended(&world, ann), ended(&world, bob)), (vec![EndReason::Hangup], vec![EndReason::RemoteHangup]));
    let record = &world.store.records[..];
    assert!(matches!(record, [record] if record.number == 1 && !record.missed && record.ring_ms == 2_000));
    assert_eq!(record[0].talk_ms, 5_000);
    assert_eq!(world.hub.counters().calls, 0);
    world.pass(120_000);
    assert!(world.store.calls.is_empty(), "it is forgotten");
}

#[test]
fn a_call_goes_on_after_a_restart_with_what_was_stored() {
    let (mut world, ann, bob) = talking();
    world.restart();
    world.pass(1_000);
    world.sign_in(ann);
    world.sign_in(bob);
    assert!(!world.devices[ann].resumed, "the session is gone, the call is not");
    world.pass(30_000);
    for phone in [ann, bob] {
        assert_eq!(world.devices[phone].line.phase(), Phase::InCall(CALL));
    }
    world.command(bob, Command::Hangup { call_id: CALL });
    assert_eq!((ended(&world, ann), ended(&world, bob)), (vec![EndReason::RemoteHangup], vec![EndReason::Hangup]));
    assert_eq!(world.store.records.len(), 1);
}

#[test]
fn a_call_that_rings_goes_on_ringing_after_a_restart() {
    let (mut world, ann, bob) = world_of_two();
    world.calls(ann, "bob", CALL);
    world.restart();
    world.sign_in(ann);
    world.sign_in(bob);
    world.command(bob, Command::Answer { call_id: CALL });
    assert_eq!(world.devices[ann].line.phase(), Phase::InCall(CALL));
}

#[test]
fn a_sleeping_device_is_pushed_and_told_to_stop() {
    let apps = vec![AppFeatures { pushes: true, ..AppFeatures::default() }];
    let mut world = World::new(HubConfig { apps, ..HubConfig::default() }, 1);
    let ann = world.phone("ann", "phone");
    world.sign_in(ann);
    world.store.reach(party("bob", "tablet"));
    world.calls(ann, "bob", CALL);
    assert_eq!(world.pushes.iter().map(|push| push.kind).collect::<Vec<_>>(), [PushKind::Ring]);
    let call = CallKey { app: APP, call_id: CALL };
    let bob = party("bob", "tablet");
    let status = world.ask(Request::Verify { call, user: bob.user.clone() });
    assert!(matches!(status, Reply::Status(CallStatus::Rings { .. })), "{status:?}");
    world.give(Input::Delivery(Delivery { call, device: Some(bob.clone()), is_done: true }));
    world.command(ann, Command::Hangup { call_id: CALL });
    let last = world.pushes.last().map(|push| (push.kind, push.device.clone()));
    assert_eq!(last, Some((PushKind::Cancel, bob.device)));
    let status = world.ask(Request::Verify { call, user: bob.user });
    assert_eq!(status, Reply::Status(CallStatus::Released));
}

#[test]
fn a_call_of_which_nobody_can_be_told_ends() {
    let apps = vec![AppFeatures { pushes: true, ..AppFeatures::default() }];
    let mut world = World::new(HubConfig { apps, ..HubConfig::default() }, 1);
    let ann = world.phone("ann", "phone");
    world.sign_in(ann);
    world.store.reach(party("bob", "tablet"));
    world.calls(ann, "bob", CALL);
    let call = CallKey { app: APP, call_id: CALL };
    world.give(Input::Delivery(Delivery { call, device: Some(party("bob", "tablet")), is_done: false }));
    assert_eq!(ended(&world, ann), [EndReason::Error]);
}

/// The same people with the same seed: the names of sessions among it.
#[test]
fn the_same_inputs_and_the_same_seed_give_the_same_outputs() {
    let run = |seed| {
        let mut world = World::new(HubConfig::default(), seed);
        let phones: Vec<usize> =
            (0..8).map(|number| world.phone(&format!("user-{}", number / 2), &format!("{number}"))).collect();
        for phone in &phones {
            world.sign_in(*phone);
        }
        world.calls(0, "user-1", CALL);
        world.calls(4, "user-3", CallId::from_bits(8));
        world.command(3, Command::Answer { call_id: CALL });
        world.lose(6);
        world.pass(60_000);
        world.transcript
    };
    let (one, other) = (run(1), run(1));
    assert_eq!(one, other);
    assert!(one.len() > 100 && one != run(2));
}
