//! A bug planted under each rule is found, over each placement of the arbiter in which it can be planted.

use world::{Placement, Plant, simulate};

/// Worlds in which it has to show.
const SEEDS: u64 = 600;

fn is_found(plant: Plant) {
    for placement in plant.placements() {
        let worlds = (0..SEEDS).map(|seed| simulate(seed, Some(plant), false));
        let mut found = worlds.filter(|report| report.plan.placement == *placement).filter_map(|report| report.violation);
        let mut others = Vec::new();
        let seen = found.find(|broken| {
            others.push(broken.rule);
            broken.rule == plant.breaks()
        });
        assert!(seen.is_some(), "{plant:?} over {placement} was found as {others:?}");
    }
}

macro_rules! planted {
    ($($name:ident: $plant:ident,)*) => {
        $(#[test]
        fn $name() {
            is_found(Plant::$plant);
        })*

        #[test]
        fn every_plant_has_a_test() {
            assert_eq!(Plant::ALL, [$(Plant::$plant),*]);
        }
    };
}

planted! {
    every_answer_counts: EveryAnswerCounts,
    ring_confirm_after_end: RingConfirmAfterEnd,
    no_ring_deadline: NoRingDeadline,
    others_ring_on: OthersRingOn,
    ghost_rings: GhostRings,
    ended_twice: EndedTwice,
    talk_after_end: TalkAfterEnd,
    wrong_reason: WrongReason,
    end_untold: EndUntold,
    trusts_strangers: TrustsStrangers,
    deaf_to_glare: DeafToGlare,
    glare_keeps_its_kind: GlareKeepsItsKind,
    silent_when_busy: SilentWhenBusy,
    one_busy_is_all: OneBusyIsAll,
    arbiter_without_clock: ArbiterWithoutClock,
    arbiter_never_forgets: ArbiterNeverForgets,
    step_twice: StepTwice,
    step_lost: StepLost,
    missed_twice: MissedTwice,
    elsewhere_is_missed: ElsewhereIsMissed,
    missed_untold: MissedUntold,
    hold_untold: HoldUntold,
}

/// Some plant for each rule of the design, over both placements.
#[test]
fn every_rule_has_a_plant() {
    for rule in world::Rule::OF_THE_DESIGN {
        for placement in Placement::ALL {
            let covers = |plant: &Plant| plant.breaks() == rule && plant.placements().contains(&placement);
            assert!(Plant::ALL.iter().any(covers), "{rule} over {placement}");
        }
    }
}
