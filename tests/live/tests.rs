//! The promises of `live`, each scenario as a test; the figures are for the command.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::process::Command;

/// Runs a scenario, in short and with this program's own server, and fails with everything it printed if a promise is broken.
fn keeps_its_promises(scenario: &str) {
    let program = env!("CARGO_BIN_EXE_live");
    let output = Command::new(program).args([scenario, "--short", "--own-server"]).output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{}\n{}", said[0], said[1]);
    assert!(said[0].contains("kept"), "nothing was promised:\n{}", said[0]);
}

#[test]
fn what_happens_while_the_server_is_dead_arrives_once_when_it_is_back() {
    keeps_its_promises("server-killed");
}

#[test]
fn devices_of_a_call_whose_caller_was_killed_are_told_its_end_once() {
    keeps_its_promises("caller-killed");
}

#[test]
fn one_of_ten_devices_answers_and_each_is_told_once() {
    keeps_its_promises("many-devices");
}

#[test]
fn who_is_left_alone_in_a_call_is_told_its_end_once() {
    keeps_its_promises("callee-killed");
}

#[test]
fn what_is_done_on_a_half_open_connection_arrives_once_afterwards() {
    keeps_its_promises("half-open");
}

#[test]
fn a_call_outlives_a_phone_that_slept_for_eight_seconds() {
    keeps_its_promises("asleep");
}

#[test]
fn a_phone_that_a_push_wakes_takes_a_call_that_rings_and_never_rings_for_one_that_is_over() {
    keeps_its_promises("pushed");
}
