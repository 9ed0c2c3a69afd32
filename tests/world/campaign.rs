//! One seed, one world; many seeds, one verdict.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::plan::{Placement, Plan, Switch};
use crate::plant::Plant;
use crate::rules::Violation;
use crate::transcript::Detail;
use crate::world::World;

/// How one simulated world went.
#[derive(Debug)]
pub struct Report {
    /// What it was drawn from.
    pub seed: u64,
    /// What was taken out of it.
    pub without: Vec<Switch>,
    /// Its conditions.
    pub plan: Plan,
    /// How many calls were begun.
    pub calls: u64,
    /// How the calls ended, for caller and callee, by their names.
    pub ends: BTreeMap<String, u64>,
    /// The first rule that did not hold.
    pub violation: Option<Violation>,
    /// What happened, line by line, if that was asked for.
    pub transcript: String,
}

impl Report {
    /// What to tell whoever has to mend it, with the one command that shows it again.
    pub fn failure(&self) -> Option<String> {
        let Violation { rule, at_ms, what } = self.violation.as_ref()?;
        let without: String = self.without.iter().map(|switch| format!(" --without {switch}")).collect();
        let seed = self.seed;
        Some(format!("{rule} is broken at {at_ms} ms: {what}\nrepeat it with: cargo xtask sim --seed {seed}{without}"))
    }

    /// The same world with as much taken out of it as leaves the same rule broken.
    pub fn shrunk(self, plant: Option<Plant>) -> Report {
        let Some(rule) = self.violation.as_ref().map(|broken| broken.rule) else { return self };
        let mut smallest = self;
        for switch in Switch::ALL {
            let mut plan = smallest.plan.clone();
            if !switch.off(&mut plan) {
                continue;
            }
            let without = [smallest.without.as_slice(), &[switch]].concat();
            let smaller = simulate_without(smallest.seed, &without, plant, false);
            if smaller.violation.as_ref().is_some_and(|broken| broken.rule == rule) {
                smallest = smaller;
            }
        }
        smallest
    }
}

/// Simulates the world of one seed; with `verbose`, writes down everything that happens.
pub fn simulate(seed: u64, plant: Option<Plant>, verbose: bool) -> Report {
    simulate_without(seed, &[], plant, verbose)
}

/// Simulates the world of one seed with some things taken out of it.
pub fn simulate_without(seed: u64, without: &[Switch], plant: Option<Plant>, verbose: bool) -> Report {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut plan = Plan::random(&mut rng);
    for switch in without {
        switch.off(&mut plan);
    }
    let detail = if verbose { Detail::Everything } else { Detail::Nothing };
    let mut world = World::new(rng, plan.clone(), plant, detail);
    world.let_loose();
    world.come_to_rest();
    let ends = ends_of(&world);
    let transcript = world.transcript.take();
    let calls = world.rules.begun;
    Report { seed, without: without.to_vec(), plan, calls, ends, violation: world.rules.violation, transcript }
}

fn ends_of(world: &World) -> BTreeMap<String, u64> {
    let mut ends = BTreeMap::new();
    let name = |reason: Option<call_protocol::end::EndReason>| reason.map_or("nothing", |reason| reason.name());
    for truth in world.rules.truths.values() {
        let hurt = if truth.hurt.is_empty() { "" } else { " (one vanished)" };
        let merged = if truth.merged { " (went on as another)" } else { "" };
        let [caller, callee] = truth.ends();
        *ends.entry(format!("{} | {}{merged}{hurt}", name(caller), name(callee))).or_default() += 1;
    }
    ends
}

/// What many worlds had in all.
#[derive(Debug, Default)]
pub struct Summary {
    /// How many worlds.
    pub worlds: u64,
    /// How many calls.
    pub calls: u64,
    /// How many of them by each placement of the arbiter.
    pub placements: BTreeMap<Placement, u64>,
    /// How the calls ended.
    pub ends: BTreeMap<String, u64>,
    /// The first world in which a rule did not hold, with as much taken out of it as leaves the rule broken.
    pub failed: Option<Report>,
}

impl Summary {
    fn add(&mut self, report: Report) {
        self.worlds += 1;
        self.calls += report.calls;
        *self.placements.entry(report.plan.placement).or_default() += report.calls;
        for (end, count) in &report.ends {
            *self.ends.entry(end.clone()).or_default() += count;
        }
        if self.failed.is_none() && report.violation.is_some() {
            self.failed = Some(report);
        }
    }

    /// Both in one.
    pub fn and(mut self, other: Summary) -> Summary {
        self.worlds += other.worlds;
        self.calls += other.calls;
        for (placement, count) in other.placements {
            *self.placements.entry(placement).or_default() += count;
        }
        for (end, count) in other.ends {
            *self.ends.entry(end).or_default() += count;
        }
        self.failed = self.failed.or(other.failed);
        self
    }
}

/// Simulates the worlds of `first_seed`, `first_seed + step` and so on until there were this many calls, or a rule did not hold.
pub fn campaign(first_seed: u64, step: usize, calls: u64, plant: Option<Plant>) -> Summary {
    let mut summary = Summary::default();
    for seed in (first_seed..).step_by(step) {
        if summary.calls >= calls || summary.failed.is_some() {
            break;
        }
        summary.add(simulate(seed, plant, false));
    }
    summary.failed = summary.failed.map(|report| report.shrunk(plant));
    summary
}
