//! Missed calls, told to each device once.

use call_protocol::CallId;
use callkit_hub::HubConfig;
use signaling::{Command, Event};

use crate::world::{World, party};

fn missed(world: &World, phone: usize) -> Vec<CallId> {
    let missed = |event: &Event| match event {
        Event::Missed { invite } => Some(invite.call_id),
        _ => None,
    };
    world.devices[phone].events.iter().filter_map(missed).collect()
}

#[test]
fn a_device_that_was_away_hears_once_of_each_call_also_after_a_restart() {
    let mut world = World::new(HubConfig::default(), 1);
    let (ann, bob) = (world.phone("ann", "phone"), world.phone("bob", "phone"));
    world.sign_in(bob);
    world.lose(bob);
    world.pass(20_000);
    world.sign_in(ann);
    let calls: Vec<CallId> = (1..=40).map(CallId::from_bits).collect();
    for call_id in &calls {
        world.calls(ann, "bob", *call_id);
        world.pass(100);
        world.command(ann, Command::Hangup { call_id: *call_id });
        world.pass(100);
    }
    world.sign_in(bob);
    world.pass(5_000);
    assert_eq!(missed(&world, bob), calls, "more than are told at one time");
    let known = world.store.known[&party("bob", "phone")].knows;
    assert_eq!(known, 40);
    world.restart();
    world.sign_in(bob);
    world.pass(5_000);
    assert_eq!(missed(&world, bob).len(), 40);
}

#[test]
fn a_device_that_leaves_before_anything_was_looked_up_counts_for_itself_from_then_on() {
    let mut world = World::new(HubConfig::default(), 1);
    let (ann, phone, tablet) = (world.phone("ann", "phone"), world.phone("bob", "phone"), world.phone("bob", "tablet"));
    world.store.is_slow = true;
    world.sign_in(phone);
    world.sign_in(tablet);
    world.say_goodbye(tablet);
    world.find();
    world.store.is_slow = false;
    world.say_goodbye(phone);
    world.sign_in(ann);
    let call_id = CallId::from_bits(1);
    world.calls(ann, "bob", call_id);
    world.command(ann, Command::Hangup { call_id });
    world.pass(120_000);
    world.sign_in(phone);
    world.pass(1_000);
    world.sign_in(tablet);
    world.pass(1_000);
    assert_eq!((missed(&world, phone), missed(&world, tablet)), (vec![call_id], vec![call_id]));
}
