//! Random calls whose media is real: the machines of signaling, and between the devices real media paths over a network in virtual time.
//!
//! One world by its seed: `MEDIA_SEED=7 cargo test -p tests --test media_sim one_world -- --nocapture`; many from it on with
//! `MEDIA_WORLDS=1000` beside it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod checks;
mod device;
mod paths;
mod peer;
mod plan;
mod plant;
mod post;
mod world;

use std::time::Instant;

use plan::Plan;
use plant::Plant;
use world::{Outcome, simulate};

/// What a broken world says, with the command that shows it again.
fn failure(outcome: &Outcome) -> Option<String> {
    let first = outcome.broken.first()?;
    let seed = outcome.plan.seed;
    Some(format!(
        "{first}\n{:?}\nrepeat it with: MEDIA_SEED={seed} cargo test -p tests --test media_sim one_world -- --nocapture",
        outcome.plan
    ))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("it is a number"))
}

/// Worlds from a seed on; all are run before the first broken one is told.
fn holds(first: u64, worlds: u64) {
    let began = Instant::now();
    let outcomes: Vec<Outcome> = (first..first + worlds).map(|seed| simulate(Plan::new(seed), None)).collect();
    let failures: Vec<String> = outcomes.iter().filter_map(failure).collect();
    println!("{worlds} worlds from seed {first} on, {:.1} in a second", worlds as f64 / began.elapsed().as_secs_f64());
    if let Some(first) = failures.first() {
        panic!("{} of {worlds} worlds are broken: {first}", failures.len());
    }
}

#[test]
fn the_rules_hold_in_worlds_from_seed_0() {
    holds(0, 34);
}

#[test]
fn the_rules_hold_in_worlds_from_seed_1_000_000() {
    holds(1_000_000, 40);
}

/// By hand: the world of a seed with all that happens in it, or with `MEDIA_WORLDS` that many from it on.
#[test]
fn one_world() {
    let first = number("MEDIA_SEED").unwrap_or(7);
    if let Some(worlds) = number("MEDIA_WORLDS") {
        return report(first, worlds);
    }
    let outcome = simulate(Plan::new(first), None);
    println!("{:?}\n{}", outcome.plan, outcome.log.join("\n"));
    if let Some(failure) = failure(&outcome) {
        panic!("{failure}");
    }
}

/// Every broken world in a line, and the figures.
fn report(first: u64, worlds: u64) {
    let began = Instant::now();
    let mut broken = 0;
    for seed in first..first + worlds {
        let outcome = simulate(Plan::new(seed), None);
        let seen = &outcome.seen;
        let figures =
            (seen.voice_after_ms, seen.voice_back_ms, seen.end_after_ms, seen.hung_up.map(|(_, _, dead)| dead));
        let plan = &outcome.plan;
        println!(
            "{seed}: {:?} lossless {} {:?} way {} post {:?}: {figures:?} {:?} {:?}",
            plan.placement,
            plan.is_lossless(),
            plan.fault,
            plan.one_way_ms(),
            plan.post_ms,
            outcome.broken,
            outcome.failures,
        );
        broken += u64::from(!outcome.broken.is_empty());
    }
    println!("{worlds} worlds, {broken} broken, {:.1} in a second", worlds as f64 / began.elapsed().as_secs_f64());
    assert_eq!(broken, 0);
}

#[test]
fn a_seed_gives_the_same_world_each_time() {
    for seed in [9, 23] {
        let (one, two) = (simulate(Plan::new(seed), None), simulate(Plan::new(seed), None));
        assert_eq!(one.log, two.log);
        assert_eq!(one.seen.heard, two.seen.heard);
    }
}

#[test]
fn every_planted_mistake_is_found() {
    for (plant, seed, sign) in [
        (Plant::VoiceBeforeAccept, 9, "gets voice before the accept"),
        (Plant::PathsOutliveTheCall, 9, "paths, tasks and sockets are left"),
        (Plant::NothingOnThePath, 11, "is told the end after"),
        (Plant::NobodyRebinds, 9, "voice does not come back"),
        (Plant::EndedTwice, 11, "the end is the last thing"),
    ] {
        let outcome = simulate(Plan::new(seed), Some(plant));
        assert!(outcome.broken.iter().any(|broken| broken.contains(sign)), "{plant:?}: {:?}", outcome.broken);
    }
}
