//! The simulated world: users with several devices each, arbiters on a server or on the caller's device, and carriers between them that
//! lose, repeat, delay and reorder what they say. Time is virtual, everything random comes from one seed.
//!
//! Three kinds of tests live in it. A [`Story`] is written by hand: `story.calls(ALICE, BOB)`. A simulation is written by a seed:
//! [`simulate`] draws a [`Plan`] from it and lets random users, networks and faults loose. A list of operations is written by bytes:
//! [`operations`] does what a fuzzer makes up. In all of them the [`Rule`]s of a call are checked after every step; a [`Plant`] breaks
//! one of them on purpose, to show that the check sees it.

mod campaign;
mod carrier;
mod device;
mod faults;
mod happening;
mod lies;
mod operations;
mod plan;
mod plant;
mod reasons;
mod rest;
mod rules;
mod server;
mod story;
mod transcript;
mod users;
mod ways;
mod world;

pub use campaign::{Report, Summary, campaign, simulate, simulate_without};
pub use carrier::Fate;
pub use operations::operations;
pub use plan::{Fault, Placement, Plan, Switch};
pub use plant::Plant;
pub use rules::{Rule, Violation};
pub use story::{ALICE, BOB, CAROL, Story};
