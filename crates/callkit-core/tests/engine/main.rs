//! One engine alone, in virtual time: what it makes of what comes in, from the invite to the end.

#![allow(clippy::unwrap_used, reason = "tests")]

mod device;

mod calls;
mod outage;
mod session;
mod sound;
mod tokens;
