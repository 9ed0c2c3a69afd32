//! One seed, one world; many seeds, one verdict.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::plan::Plan;
use crate::plant::Plant;
use crate::rules::Violation;
use crate::transcript::Detail;
use crate::world::World;

/// How one simulated world went.
#[derive(Debug)]
pub struct Report {
    /// What it was drawn from.
    pub seed: u64,
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
        Some(format!("{rule} is broken at {at_ms} ms: {what}\nrepeat it with: cargo xtask sim --seed {}", self.seed))
    }
}

/// Simulates the world of one seed; with `verbose`, writes down everything that happens.
pub fn simulate(seed: u64, plant: Option<Plant>, verbose: bool) -> Report {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let plan = Plan::random(&mut rng);
    let detail = if verbose { Detail::Everything } else { Detail::Nothing };
    let mut world = World::new(rng, plan.clone(), plant, detail);
    world.let_loose();
    world.come_to_rest();
    let mut ends = BTreeMap::new();
    let name = |reason: Option<call_protocol::end::EndReason>| reason.map_or("nothing", |reason| reason.name());
    for truth in world.rules.truths.values() {
        let hurt = if truth.hurt { " (one vanished)" } else { "" };
        let calm = if plan.is_faultless() { " (faultless)" } else { "" };
        let key = format!("{} | {}{hurt}{calm}", name(truth.told[0]), name(truth.told[1]));
        *ends.entry(key).or_default() += 1;
    }
    let transcript = world.transcript.take();
    Report { seed, plan, calls: world.rules.begun, ends, violation: world.rules.violation, transcript }
}

/// What many worlds had in all.
#[derive(Debug, Default)]
pub struct Summary {
    /// How many worlds.
    pub worlds: u64,
    /// How many calls.
    pub calls: u64,
    /// How the calls ended.
    pub ends: BTreeMap<String, u64>,
    /// The first world in which a rule did not hold.
    pub failed: Option<Report>,
}

/// Simulates worlds from `first_seed` on until there were this many calls, or a rule did not hold.
pub fn campaign(first_seed: u64, calls: u64, plant: Option<Plant>) -> Summary {
    let mut summary = Summary::default();
    for seed in first_seed.. {
        if summary.calls >= calls || summary.failed.is_some() {
            break;
        }
        let report = simulate(seed, plant, false);
        summary.worlds += 1;
        summary.calls += report.calls;
        for (end, count) in &report.ends {
            *summary.ends.entry(end.clone()).or_default() += count;
        }
        summary.failed = report.violation.is_some().then_some(report);
    }
    summary
}
