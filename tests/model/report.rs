//! What a check found, for people.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use call_protocol::ring::RingConfirm;
use call_protocol::{CallMessage, Word};
use signaling::Event;
use stateright::{Checker, Expectation, HasDiscoveries, Model, Property};

use crate::plan::Plan;
use crate::rest::Rest;
use crate::small::Small;
use crate::world::{Action, World};

/// What came of the check of one world.
#[derive(Debug, Clone)]
pub struct Report {
    /// The name of the plan.
    pub name: &'static str,
    /// Different states that were seen.
    pub states: usize,
    /// Steps to a state: each one and another way to a known one.
    pub steps: usize,
    /// The longest way that was gone.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// Properties that hold in each state.
    pub held: Vec<&'static str>,
    /// What had to be reached, and was.
    pub reached: Vec<&'static str>,
    /// Properties that do not hold, with the way to where they do not.
    pub failures: Vec<(&'static str, String)>,
}

impl Report {
    /// Whether every property holds and everything was reached.
    pub fn is_fine(&self) -> bool {
        self.failures.is_empty()
    }
}

/// States among which the shortest way to a failure is looked for: more take too much memory.
const NEAR: usize = 4_000_000;

/// Checks a plan with this many threads: every state it can come to, or until a property fails.
///
/// Depth first, which takes little memory; where a property fails the shortest way to a failure is told, if it is near.
pub fn check(plan: Plan, threads: usize) -> Report {
    let started = Instant::now();
    let name = plan.name;
    let until_failure = |plan: &Plan| Small::new(plan.clone()).checker().finish_when(HasDiscoveries::AnyFailures);
    let checker = until_failure(&plan).threads(threads).spawn_dfs().join();
    let (states, steps, depth) = (checker.unique_state_count(), checker.state_count(), checker.max_depth());
    let found = found(&checker);
    let mut report = Report {
        name,
        states,
        steps,
        depth,
        took: started.elapsed(),
        held: Vec::new(),
        reached: Vec::new(),
        failures: Vec::new(),
    };
    let properties = checker.model().properties();
    let fails = |property: &&Property<Small>| is_always(&property.expectation) && found.contains_key(property.name);
    if properties.iter().any(|property| fails(&property)) {
        let near = self::found(&until_failure(&plan).target_state_count(NEAR).spawn_bfs().join());
        let short = near.into_iter().filter(|(name, _)| is_always(&checker.model().property(name).expectation));
        let mut short: Vec<(&'static str, Vec<Action>)> = short.collect();
        if short.is_empty() {
            let long = properties.iter().filter(fails).map(|property| property.name);
            short.extend(long.filter_map(|name| Some((name, found.get(name)?.clone()))));
        }
        report.failures.extend(short.into_iter().map(|(name, actions)| (name, way(checker.model(), &actions))));
        return report;
    }
    for property in properties {
        match (is_always(&property.expectation), found.contains_key(property.name)) {
            (true, _) => report.held.push(property.name),
            (false, true) => report.reached.push(property.name),
            (false, false) => report.failures.push((property.name, "it never happens\n".to_owned())),
        }
    }
    report
}

/// The ways to what was found, by property.
fn found(checker: &impl Checker<Small>) -> BTreeMap<&'static str, Vec<Action>> {
    checker.discoveries().into_iter().map(|(name, path)| (name, path.into_actions())).collect()
}

/// Whether a plan breaks a property: goes on until it does, or until there are no more states.
pub fn breaks(plan: Plan, property: &'static str) -> bool {
    let checker = Small::new(plan).checker().finish_when(HasDiscoveries::AnyOf([property].into()));
    checker.spawn_dfs().join().discoveries().contains_key(property)
}

fn is_always(expectation: &Expectation) -> bool {
    *expectation == Expectation::Always
}

/// A way through a world, with what is said and told on it; then what is wrong where it ends.
fn way(model: &Small, actions: &[Action]) -> String {
    let plan = &model.plan;
    let mut text = String::new();
    let mut world = World::new(plan);
    for action in actions {
        text += &format!("{:>8} ms  {}\n", world.now_ms(), world.describe(plan, *action));
        world = world.after(plan, *action, &mut |what: fmt::Arguments<'_>| text += &format!("{:>16}{what}\n", ""));
    }
    if let Some(rule) = world.watch.broken {
        text += &format!("breaks {rule:?}\n");
    }
    match model.left_alone(&world) {
        Rest::Not(why) => text += &format!("left alone: {why}\n"),
        Rest::Apart => text += "left alone: two who called each other are not in the one call\n",
        Rest::Agreed(_) => {}
    }
    text
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { name, states, steps, depth, took, held, reached, failures } = self;
        writeln!(f, "{name}: {states} states, {steps} steps, depth {depth}, {:.1} s", took.as_secs_f64())?;
        if failures.is_empty() {
            writeln!(f, "    holds: {}", held.join(", "))?;
            writeln!(f, "    happens: {}", reached.join(", "))?;
        }
        for (property, way) in failures {
            writeln!(f, "    DOES NOT HOLD: {property}\n{way}")?;
        }
        Ok(())
    }
}

pub(crate) fn message(message: &CallMessage) -> String {
    let what = match &message.word {
        Word::Alert(alert) => alert.callee.to_string(),
        Word::RingConfirm(RingConfirm::Ring { .. }) => "ring".to_owned(),
        Word::RingConfirm(confirm) => format!("{confirm:?}"),
        Word::Answer(answer) => format!("{:?} by {}", answer.result, answer.callee),
        Word::AnswerConfirm(confirm) => format!("{:?} by {}", confirm.result, confirm.winner),
        Word::Cancel(cancel) => cancel.reason.to_string(),
        Word::End(end) => end.reason.to_string(),
        Word::KeepAlive(alive) => {
            format!("in call {}, held {}, peer held {}", alive.in_call, alive.held, alive.peer_held)
        }
        Word::Hold { held, .. } => held.to_string(),
        Word::Reachability { reachable, .. } => reachable.to_string(),
        Word::Invite(_) | Word::Missed(_) | Word::Negotiation(_) => String::new(),
    };
    format!("call {} {} {what}", message.call_id.bits(), message.word.name())
}

pub(crate) fn event(event: &Event) -> String {
    match event {
        Event::Notifying { call_id } => format!("call {} notifies the callee", call_id.bits()),
        Event::Alerted { call_id, callee } => format!("call {} alerted {callee}", call_id.bits()),
        Event::Ringing { invite, waiting } => format!("call {} rings, waiting {waiting}", invite.call_id.bits()),
        Event::Merged { old, invite } => format!("call {} goes on as {}", old.bits(), invite.call_id.bits()),
        Event::Answering { call_id, peer } => format!("call {} is being answered by {peer}", call_id.bits()),
        Event::Accepted { invite, role, peer, .. } => {
            format!("call {} accepted, {role:?}, with {peer}", invite.call_id.bits())
        }
        Event::Failed { call_id, refusal } => format!("call {} failed: {refusal}", call_id.bits()),
        Event::Negotiation { call_id, .. } => format!("call {} negotiation", call_id.bits()),
        Event::Held { call_id, held } => format!("call {} held {held}", call_id.bits()),
        Event::PeerHeld { call_id, held, .. } => format!("call {} peer held {held}", call_id.bits()),
        Event::Reachability { call_id, reachable, .. } => format!("call {} reachable {reachable}", call_id.bits()),
        Event::Ended { call_id, reason, .. } => format!("call {} ended {reason}", call_id.bits()),
        Event::Released { call_id, reason, .. } => format!("call {} released {reason}", call_id.bits()),
        Event::Missed { invite } => format!("call {} missed", invite.call_id.bits()),
    }
}
