//! A small world as the checker sees it: its states, its actions, and what has to hold in each state.

use std::collections::HashSet;
use std::sync::Mutex;

use signaling::Phase;
use stateright::{Model, Property};

use crate::plan::Plan;
use crate::plant::Plant;
use crate::relative::Relative;
use crate::rest::{self, Rest};
use crate::stray;
use crate::watch::Rule;
use crate::world::{Action, World};

/// How long a device rings at most without a word to the arbiter.
const SAYS_SO_MS: u64 = 3_000;

/// One plan, ready to be checked.
pub(crate) struct Small {
    pub(crate) plan: Plan,
    /// Quiet worlds that are known to come to rest.
    at_rest: Mutex<HashSet<u64>>,
    /// Devices that are known to take no notice of strays.
    unmoved: Mutex<HashSet<u64>>,
}

impl Small {
    pub(crate) fn new(plan: Plan) -> Small {
        Small { plan, at_rest: Mutex::default(), unmoved: Mutex::default() }
    }

    /// How a quiet world goes on when it is left alone; the same for one that is not quiet yet is asked when it is.
    pub(crate) fn left_alone(&self, world: &World) -> Rest {
        if !world.is_quiet() {
            return Rest::Agreed(Vec::new());
        }
        let known = || self.at_rest.lock().expect("no checker panics while it holds this");
        let rest = rest::left_alone(&self.plan, world, |hash| known().contains(&hash));
        if let Rest::Agreed(worlds) = &rest {
            known().extend(worlds);
        }
        rest
    }

    fn strays_change_nothing(&self, world: &World) -> bool {
        let is_fine = |desk: &signaling::Desk| {
            let hash = rest::hash(&Desk { desk, now_ms: world.now_ms() });
            if self.unmoved.lock().expect("no checker panics while it holds this").contains(&hash) {
                return true;
            }
            let is_fine = stray::change_nothing(&self.plan, world.now(), desk);
            if is_fine {
                self.unmoved.lock().expect("no checker panics while it holds this").insert(hash);
            }
            is_fine
        };
        !world.is_still() || world.stations.iter().all(|station| is_fine(&station.desk))
    }

    /// Once everything is delivered nothing rings that the arbiter has decided. Each message that went wrong can put that off until a
    /// device that rings says so again.
    fn nothing_rings_on(&self, world: &World) -> bool {
        let went_wrong = u64::from(self.plan.faults - world.faults);
        let is_late = |phase| match phase {
            Phase::Ringing(call_id) => world
                .watch
                .decided
                .get(&call_id)
                .is_some_and(|decided| world.now().mono - *decided >= SAYS_SO_MS * went_wrong),
            Phase::Idle | Phase::Calling(_) | Phase::Answering(_) | Phase::InCall(_) => false,
        };
        !world.is_still() || !world.stations.iter().flat_map(|station| station.desk.line().calls()).any(is_late)
    }

    fn one_unheld(&self, world: &World) -> bool {
        world.stations.iter().all(|station| {
            let line = station.desk.line();
            let runs = |phase: &Phase| match phase {
                Phase::InCall(call_id) => {
                    let held = line.holds(*call_id).is_some_and(|(held, _)| held);
                    !held || self.plan.plant == Plant::HoldsNothing
                }
                Phase::Idle | Phase::Calling(_) | Phase::Ringing(_) | Phase::Answering(_) => false,
            };
            line.calls().filter(runs).count() <= 1 && line.calls().count() <= 2
        })
    }
}

struct Desk<'a> {
    desk: &'a signaling::Desk,
    now_ms: u64,
}

impl std::hash::Hash for Desk<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.desk.hash(&mut Relative::new(state, self.now_ms));
    }
}

fn keeps(world: &World, rule: Rule) -> bool {
    world.watch.broken != Some(rule)
}

/// What must hold in every state, and what a plan has to reach, or it would show nothing.
impl Model for Small {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.plan)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        world.actions(&self.plan, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        Some(world.after(&self.plan, action, &mut |_| {}))
    }

    fn properties(&self) -> Vec<Property<Small>> {
        let mut properties = vec![
            Property::<Small>::always(ONE_TAKER, |_, world| keeps(world, Rule::OneTaker)),
            Property::<Small>::always(NOTHING_RINGS_ON, |model, world| model.nothing_rings_on(world)),
            Property::<Small>::always(END_TOLD_ONCE, |_, world| keeps(world, Rule::EndToldOnce)),
            Property::<Small>::always(MISSED_TOLD_ONCE, |_, world| keeps(world, Rule::MissedToldOnce)),
            Property::<Small>::always(STRAYS_CHANGE_NOTHING, |model, world| model.strays_change_nothing(world)),
            Property::<Small>::always(GLARE_IS_ONE_CALL, |model, world| {
                !matches!(model.left_alone(world), Rest::Apart)
            }),
            Property::<Small>::always(ONE_UNHELD, |model, world| model.one_unheld(world)),
            Property::<Small>::always(NOBODY_DROPS, |_, world| keeps(world, Rule::NobodyDrops)),
            Property::<Small>::always(COMES_TO_REST, |model, world| !matches!(model.left_alone(world), Rest::Not(_))),
            Property::<Small>::always(COMMANDS_WORK, |_, world| keeps(world, Rule::CommandsWork)),
            Property::<Small>::sometimes("a call is answered", |_, world| world.watch.is_talking()),
        ];
        if self.plan.holds {
            properties.push(Property::<Small>::sometimes("a call is put on hold", |_, world| world.watch.held));
        }
        if self.plan.calls.len() == 2 && !self.plan.calls_later {
            properties.push(Property::<Small>::sometimes("two calls become one", |_, world| world.watch.merged));
        }
        properties
    }
}

/// At most one device of a callee is told that it took the call.
pub const ONE_TAKER: &str = "one taker";
/// Nothing rings after the arbiter ended or answered the call.
pub const NOTHING_RINGS_ON: &str = "nothing rings on";
/// Each app is told the end of a call once, and nothing of it before its beginning or after its end.
pub const END_TOLD_ONCE: &str = "the end is told once";
/// A call is told as missed at most once, and not where it rang.
pub const MISSED_TOLD_ONCE: &str = "a missed call is told once";
/// Messages of other calls and of strangers, and commands about other calls, change nothing.
pub const STRAYS_CHANGE_NOTHING: &str = "a stray changes nothing";
/// Two users who call each other, and do nothing more, are in one call, that of the smaller id.
pub const GLARE_IS_ONE_CALL: &str = "glare is one call";
/// At most one call of a device is not on hold, and it has at most two.
pub const ONE_UNHELD: &str = "at most one call is not on hold";
/// No call is lost by what happened to one message; with more it may be.
pub const NOBODY_DROPS: &str = "nobody drops";
/// Left alone, each world comes to rest, and there all agree about who talks to whom and who holds.
pub const COMES_TO_REST: &str = "all come to rest and agree";
/// A user can do what the state of the line allows.
pub const COMMANDS_WORK: &str = "commands work";
