//! The small worlds in short, and a mistake for each property, which has to be found. In full: `cargo xtask model`.

use model::{Plan, Plant, breaks, check};

/// A world with other numbers: what each user does at most, and how many messages go wrong.
fn plan(name: &str, hands: &[u8], faults: u8) -> Plan {
    let plan = Plan::all().into_iter().find(|plan| plan.name == name).unwrap();
    Plan { hands: hands.to_vec(), faults, ..plan }
}

fn holds(name: &str, hands: &[u8], faults: u8) {
    let report = check(plan(name, hands, faults), 1);
    println!("{report}");
    assert!(report.is_fine(), "{report}");
}

fn is_found(plant: Plant, name: &str, hands: &[u8], property: &'static str) {
    let sound = plan(name, hands, 0);
    assert!(breaks(Plan { plant, ..sound }, property), "{plant:?} goes unseen in {name:?}");
}

#[test]
fn one_call_holds() {
    holds("call", &[0, 1], 1);
}

#[test]
fn one_call_with_a_media_path_holds() {
    holds("direct", &[1, 1], 0);
}

#[test]
fn one_call_arbitrated_on_a_device_holds() {
    holds("call on a device", &[0, 1], 1);
}

#[test]
fn glare_holds() {
    holds("glare", &[0, 0], 1);
}

#[test]
fn glare_arbitrated_on_devices_holds() {
    holds("glare on a device", &[0, 0], 0);
}

#[test]
fn a_waiting_call_holds() {
    holds("waiting", &[0, 2, 0], 0);
}

#[test]
fn every_mistake_is_found() {
    is_found(Plant::EveryoneWins, "call", &[0, 2], model::ONE_TAKER);
    is_found(Plant::RingsOn, "call", &[1, 1], model::NOTHING_RINGS_ON);
    is_found(Plant::EndsTwice, "call", &[1, 1], model::END_TOLD_ONCE);
    is_found(Plant::MissedTwice, "call", &[1, 1], model::MISSED_TOLD_ONCE);
    is_found(Plant::StraysCount, "call", &[1, 1], model::STRAYS_CHANGE_NOTHING);
    is_found(Plant::DeafToGlare, "glare", &[0, 0], model::GLARE_IS_ONE_CALL);
    is_found(Plant::HoldsNothing, "waiting", &[0, 2, 0], model::ONE_UNHELD);
    is_found(Plant::NoSignOfLife, "call", &[1, 1], model::NOBODY_DROPS);
    is_found(Plant::TalksOn, "call", &[1, 1], model::COMES_TO_REST);
    is_found(Plant::StutteringHands, "call", &[1, 1], model::COMMANDS_WORK);
}
