//! What becomes of a world when nobody does anything more and nothing goes wrong: it has to come to rest, and all have to agree.

use std::hash::{DefaultHasher, Hash, Hasher};

use signaling::Phase;

use crate::plan::Plan;
use crate::world::{Action, World};

/// How a world that is left alone goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rest {
    /// All agree from then on; these worlds on the way there do, too.
    Agreed(Vec<u64>),
    /// Somebody takes a call to go on that does not, or rings or calls for ever, or they never stop talking.
    Not(String),
    /// Two users who called each other, and did nothing more, are not in the one call they should be in.
    Apart,
}

/// Messages between two ticks, beyond which there is a storm.
const STORM: usize = 1_000;

/// Lets a quiet world go on until it repeats itself. `is_known` says which worlds are known to come to rest.
pub(crate) fn left_alone(plan: &Plan, world: &World, is_known: impl Fn(u64) -> bool) -> Rest {
    let mut seen: Vec<u64> = Vec::new();
    let mut worlds = vec![world.clone()];
    loop {
        let world = &worlds[worlds.len() - 1];
        let hash = hash(world);
        if is_known(hash) || world.watch.broken.is_some() {
            return Rest::Agreed(seen);
        }
        if let Some(first) = seen.iter().position(|other| *other == hash) {
            return judge(plan, &worlds[first..], seen);
        }
        seen.push(hash);
        match next_quiet(plan, world) {
            Ok(Some(next)) => worlds.push(next),
            Ok(None) => return judge(plan, std::slice::from_ref(world), seen),
            Err(storm) => return Rest::Not(storm),
        }
    }
}

/// Whether all is well in worlds that only repeat themselves.
fn judge(plan: &Plan, worlds: &[World], seen: Vec<u64>) -> Rest {
    if let Some(disagreement) = worlds.iter().find_map(disagreement) {
        return Rest::Not(disagreement);
    }
    // Where nobody's hands decided anything the machines had to.
    let is_apart = |world: &World| world.watch.glare && world.hands == plan.hands && !glare_is_one_call(plan, world);
    if worlds.iter().any(is_apart) { Rest::Apart } else { Rest::Agreed(seen) }
}

/// The next quiet world; `None` where the clock stands still for good.
fn next_quiet(plan: &Plan, world: &World) -> Result<Option<World>, String> {
    let mut actions = Vec::new();
    world.actions(plan, &mut actions);
    if !actions.contains(&Action::Tick) {
        return Ok(None);
    }
    let ear = &mut |_: std::fmt::Arguments<'_>| {};
    let mut world = world.after(plan, Action::Tick, ear);
    for _ in 0..STORM {
        let Some((from, to)) = world.links().next() else { return Ok(Some(world)) };
        world = world.after(plan, Action::Deliver(from, to), ear);
    }
    Err("messages never stop".to_owned())
}

pub(crate) fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// Who takes what to go on that another one does not, in a world that only repeats itself.
fn disagreement(world: &World) -> Option<String> {
    for (device, station) in world.stations.iter().enumerate() {
        let (line, me) = (station.desk.line(), world.party(device));
        for phase in line.calls() {
            let Phase::InCall(call_id) = phase else { return Some(format!("{me} is {phase:?} for ever")) };
            let Some(arbiter) = world.arbiters().find(|arbiter| arbiter.call_id() == call_id) else {
                return Some(format!("{me} is in call {}, which nobody decides about", call_id.bits()));
            };
            let Some(winner) = arbiter.winner() else {
                return Some(format!("{me} is in call {}, which is not answered", call_id.bits()));
            };
            let caller = &arbiter.invite().caller;
            let other = if me == caller { winner } else { caller };
            if (me != caller && me != winner) || line.peer(call_id) != Some(other) {
                return Some(format!("{me} is in call {} with a wrong other end", call_id.bits()));
            }
            let there = world.device(other).and_then(|other| world.stations[other].desk.line().holds(call_id));
            let here = line.holds(call_id);
            if there.map(|(held, peer_held)| (peer_held, held)) != here {
                return Some(format!("{me} and {other}: {here:?} and {there:?} (held, peer held)"));
            }
        }
    }
    let stations = || world.stations.iter().map(|station| station.desk.line());
    world.arbiters().find_map(|arbiter| {
        let call_id = arbiter.call_id();
        let talk = stations().filter(|line| line.peer(call_id).is_some()).count();
        let fits = arbiter.has_ended() && talk == 0 || arbiter.winner().is_some() && talk == 2;
        (!fits).then(|| format!("the arbiter of call {} goes on, {talk} talk", call_id.bits()))
    })
}

/// Whether both who call are in the call of the smaller id.
fn glare_is_one_call(plan: &Plan, world: &World) -> bool {
    let Some(wins) = plan.calls.iter().min_by_key(|placing| placing.id) else { return true };
    let mut ends = plan.calls.iter().map(|placing| world.stations[placing.from].desk.line());
    ends.all(|line| line.calls().eq([Phase::InCall(wins.call_id())]))
}
