//! The rules of a call as two machines without I/O.
//!
//! [`Line`] is what one signed-in device knows: whether it is idle, calls, is called, talks. [`Arbiter`] holds the truth about one
//! call: who is invited, when ringing ends, which device answered, how it ended. They talk to each other in the words of
//! `call-protocol`, over any carrier, which may lose, repeat, delay and reorder what they say.
//!
//! Both have one door in and one door out. Time comes in through the door; randomness (call ids) does too.
//!
//! ```
//! use call_protocol::{DeviceId, Party, UserId, CallId, invite::CallType};
//! use signaling::{Address, Command, Input, Line, LineConfig, Now, Output, Time};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let me = Party { user: UserId::new("alice")?, device: DeviceId::new("phone")? };
//! let mut line = Line::new(me, LineConfig::default());
//! let now = Now { mono: Time(0), unix_ms: 1_700_000_000_000 };
//! let call = Command::Invite {
//!     call_id: CallId::from_bits(7),
//!     callees: vec![UserId::new("bob")?],
//!     call_type: CallType::Audio1v1,
//!     ext: Default::default(),
//!     ring_timeout_ms: 30_000,
//!     options: Default::default(),
//! };
//! line.handle_input(now, Input::Command(call))?;
//! while let Some(output) = line.poll_output() {
//!     match output {
//!         Output::Send { to, message } => assert_eq!((to, message.word.name()), (Address::Server, "invite")),
//!         Output::Direct { to, message } => println!("on the media path, if there is one: {to} {message:?}"),
//!         Output::Tell(event) => println!("for the app: {event:?}"),
//!         Output::WakeAt(time, timer) => println!("call handle_input(Input::Wake) at {time:?} for {timer:?}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The files follow the five words of a call: [`invite`](mod@invite), [`ring`], [`accept`], [`media`], [`end`]; each holds both
//! machines' part of that word. [`Timer`] is the specification of everything that happens without a message.
//!
//! Where an app's own chat carries the messages there is no server to run the arbiters: [`Desk`] is a line together with the arbiters of
//! the calls it places.
//!
//! What it does not do: carry messages, know of packets, store anything, run group calls.

pub mod invite;
pub mod ring;
pub mod accept;
pub mod media;
pub mod end;

mod arbiter;
mod desk;
mod dialog;
mod door;
mod line;
mod snapshot;
mod standing;
mod time;
mod timer;

pub use arbiter::{Arbiter, ArbiterConfig, ArbiterInput, ArbiterOutput, Fact, To};
pub use desk::{Desk, DeskOutput, Route};
pub use door::{Address, Command, CommandError, Event, Input, InviteOptions, Output, Phase, Role};
pub use line::{Line, LineConfig, SecondCall};
pub use snapshot::ArbiterSnapshot;
pub use time::{Now, Time};
pub use timer::Timer;
