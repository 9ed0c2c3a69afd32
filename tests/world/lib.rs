//! The simulated world: users with a phone each, a server that holds the arbiters, and a carrier between them that loses,
//! repeats, delays and reorders what they say. Time is virtual, everything random comes from one seed.
//!
//! Two kinds of tests live in it. A [`Story`] is written by hand: `story.calls(ALICE, BOB)`. A simulation is written by a seed:
//! [`simulate`] draws a [`Plan`] from it and lets random users, networks and faults loose. In both, the [`Rule`]s of a call are
//! checked after every step; a [`Plant`] breaks one of them on purpose, to show that the check sees it.

mod campaign;
mod carrier;
mod chaos;
mod device;
mod happening;
mod plan;
mod plant;
mod reasons;
mod rest;
mod rules;
mod server;
mod story;
mod transcript;
mod world;

pub use campaign::{Report, Summary, campaign, simulate};
pub use carrier::Fate;
pub use plan::Plan;
pub use plant::Plant;
pub use rules::{Rule, Violation};
pub use story::{ALICE, BOB, CAROL, Story};
