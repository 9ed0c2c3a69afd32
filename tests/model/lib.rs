//! The signaling machines, model-checked: every order of events in small worlds.
//!
//! A world has a few users with a device or two, and arbiters on the server or on the device that calls. Messages travel on links, one
//! between each two nodes, that keep their order. In each state any link may deliver its oldest message, and any user may do what their
//! device offers; as often as the plan allows it, the oldest message of a link is lost, repeated later, or late, which lets others
//! overtake it. The checker goes through every state that can come of that.
//!
//! Time: the clock goes on only when no link holds a message, and then to the next timer of any machine; what is due at one moment happens
//! in one step. So messages are faster than timers but for those that are late, which come at any moment of the next 8 s. Worlds
//! that differ only in the time of day are one state, which makes their number finite although a call may last for ever.

mod plan;
mod plant;
mod world;
mod relative;
mod watch;
mod rest;
mod stray;
mod small;
mod report;

pub use plan::{Place, Placing, Plan};
pub use plant::Plant;
pub use report::{Report, breaks, check};
pub use small::{
    COMES_TO_REST, COMMANDS_WORK, END_TOLD_ONCE, GLARE_IS_ONE_CALL, MISSED_TOLD_ONCE, NOBODY_DROPS, NOTHING_RINGS_ON,
    ONE_TAKER, ONE_UNHELD, STRAYS_CHANGE_NOTHING,
};
