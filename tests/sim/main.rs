//! Random calls under the rules: more than 100,000 in each run of the tests, and a planted bug for every rule.
//!
//! By hand: `cargo xtask sim --help`.

use std::time::{SystemTime, UNIX_EPOCH};

use world::{Plant, Rule, campaign, simulate};

/// Runs worlds from `first_seed` on, and fails with the command that shows the first broken rule again.
fn holds(first_seed: u64, calls: u64) {
    let summary = campaign(first_seed, calls, None);
    println!("{} calls in {} worlds from seed {first_seed} on", summary.calls, summary.worlds);
    if let Some(failure) = summary.failed.and_then(|report| report.failure()) {
        panic!("{failure}");
    }
    assert!(summary.calls >= calls);
}

#[test]
fn the_rules_hold_in_25_000_calls_from_seed_0() {
    holds(0, 25_000);
}

#[test]
fn the_rules_hold_in_25_000_calls_from_seed_1_000_000() {
    holds(1_000_000, 25_000);
}

#[test]
fn the_rules_hold_in_25_000_calls_from_seed_2_000_000() {
    holds(2_000_000, 25_000);
}

#[test]
fn the_rules_hold_in_25_000_calls_from_seed_3_000_000() {
    holds(3_000_000, 25_000);
}

/// Seeds nobody has seen before: the one test whose outcome may differ from run to run, which is why it names its seed.
#[test]
fn the_rules_hold_in_10_000_calls_from_a_fresh_seed() {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    holds(u64::from(since.subsec_nanos()) << 32 | (since.as_secs() & 0xffff_ffff), 10_000);
}

/// Seeds in which a bug was found once.
#[test]
fn what_was_found_once_stays_mended() {
    for seed in [2, 12, 116, 126, 134, 2257, 7338, 8465, 81_522, 83_839] {
        assert_eq!(simulate(seed, None, false).failure(), None);
    }
}

#[test]
fn a_seed_gives_the_same_world_each_time() {
    for seed in 0..20 {
        let (one, two) = (simulate(seed, None, true), simulate(seed, None, true));
        assert_eq!(one.transcript, two.transcript);
    }
    assert_ne!(simulate(0, None, true).transcript, simulate(1, None, true).transcript);
}

/// Every way a call may end is seen: a table with rows that never happen would prove little.
#[test]
fn the_worlds_are_rich_enough() {
    let summary = campaign(0, 20_000, None);
    for end in [
        "busy | nothing",
        "cancel | remote_cancel",
        "hangup | remote_hangup",
        "remote_hangup | hangup",
        "remote_refuse | refuse",
        "remote_no_response | no_response",
        "remote_drop | remote_drop",
        "error | remote_drop",
        "remote_drop | error",
    ] {
        let count = summary.ends.get(end).copied().unwrap_or_default();
        assert!(count >= 3, "{end}: only {count} of {} calls", summary.calls);
    }
}

/// The rule whose check must see the plant.
fn broken_by(plant: Plant) -> Rule {
    match plant {
        Plant::EveryAnswerCounts => Rule::OneTaker,
        Plant::RingConfirmAfterEnd | Plant::NoRingDeadline => Rule::NothingRingsOn,
        Plant::EndedTwice | Plant::TalkAfterEnd | Plant::WrongReason | Plant::EndUntold => Rule::EndToldOnce,
        Plant::TrustsStrangers => Rule::StrayChangesNothing,
        Plant::SilentWhenBusy => Rule::BusyAnswersItself,
        Plant::ServerWithoutClock => Rule::VanishedIsNoticed,
        Plant::ServerNeverForgets => Rule::Rest,
    }
}

#[test]
fn a_bug_planted_under_each_rule_is_found() {
    for plant in Plant::ALL {
        let found = (0..400).filter_map(|seed| simulate(seed, Some(plant), false).violation).map(|broken| broken.rule);
        let found: Vec<_> = found.collect();
        assert!(found.contains(&broken_by(plant)), "{plant:?} was found as {found:?}");
    }
}

#[test]
fn a_failure_names_the_command_that_repeats_it() {
    let summary = campaign(0, 10_000, Some(Plant::EndedTwice));
    let failed = summary.failed.expect("a plant that is hit in every call is found");
    let failure = failed.failure().expect("it failed");
    assert!(failure.ends_with(&format!("repeat it with: cargo xtask sim --seed {}", failed.seed)), "{failure}");
    assert!(failure.starts_with("rule 3 (the end is told once) is broken at "), "{failure}");
}
