//! The small worlds: who has which devices, who may call whom, what may go wrong.

use call_protocol::invite::CallType;
use call_protocol::{CallId, DeviceId, Party, UserId};
use signaling::{Address, ArbiterConfig, LineConfig, SecondCall};

use crate::plant::Plant;

/// Where the arbiters run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On the server.
    Server,
    /// On the device that calls.
    Device,
}

/// One call that may be placed, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placing {
    /// The device that calls, by number.
    pub from: usize,
    /// The user who is called, by number.
    pub to: usize,
    /// The id, which decides glare.
    pub id: u128,
    /// With picture, or voice alone.
    pub video: bool,
}

/// One small world.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What it is called.
    pub name: &'static str,
    /// What it is about, in one line.
    pub about: &'static str,
    /// How many devices each user has; they are numbered through.
    pub devices: &'static [usize],
    /// The calls that may be placed.
    pub calls: &'static [Placing],
    /// Whether a call may be placed at any time, or only while another one is being placed.
    pub calls_later: bool,
    /// Where the arbiters run.
    pub place: Place,
    /// Whether a second call waits.
    pub second_call: SecondCall,
    /// How often each user does something besides calling: answer, decline, hang up, hold.
    pub hands: Vec<u8>,
    /// Whether users put calls on hold by hand.
    pub holds: bool,
    /// How many messages are lost, repeated or late.
    pub faults: u8,
    /// Whether devices hear each other on the media path.
    pub media_path: bool,
    /// How long a call may ring, in ms.
    pub ring_ms: u32,
    /// A mistake in the machines, to see that it is found.
    pub plant: Plant,
}

/// How long a late message is late at most, in ms.
pub(crate) const LATE_MS: u64 = 8_000;

/// How long a way to the server stalls at most, in ms: a device is not to be missed for it.
pub(crate) const STALL_MS: u64 = 3_000;

/// Shorter than by default, so that a running call repeats itself sooner; two signs of life may still be lost.
const LIVENESS_MS: u64 = 7_000;
/// No rule of a machine asks whether something is longer ago than this.
pub(crate) const RESUME_WINDOW_MS: u64 = 8_000;

const ALICE: usize = 0;
const BOB: usize = 1;

/// A call of Alice's first device.
const ALICE_CALLS_BOB: Placing = Placing { from: 0, to: BOB, id: 1, video: true };

impl Plan {
    /// Every world, from the simplest on.
    pub fn all() -> Vec<Plan> {
        let call = Plan {
            name: "call",
            about: "one call; each user has two devices",
            devices: &[2, 2],
            calls: &[ALICE_CALLS_BOB],
            calls_later: true,
            place: Place::Server,
            second_call: SecondCall::Busy,
            hands: vec![1, 2],
            holds: false,
            faults: 1,
            media_path: false,
            ring_ms: 5_000,
            plant: Plant::Nothing,
        };
        let glare = Plan {
            name: "glare",
            about: "two users call each other; each has two devices",
            calls: &[ALICE_CALLS_BOB, Placing { from: 2, to: ALICE, id: 2, video: false }],
            calls_later: false,
            hands: vec![0, 1],
            ..call.clone()
        };
        let waiting = Plan {
            name: "waiting",
            about: "Bob is called by Alice and Carol, and the second call waits",
            devices: &[1, 1, 1],
            calls: &[
                Placing { from: 0, to: BOB, id: 1, video: true },
                Placing { from: 2, to: BOB, id: 2, video: false },
            ],
            second_call: SecondCall::Waiting,
            hands: vec![0, 2, 0],
            holds: true,
            ..call.clone()
        };
        vec![
            Plan {
                name: "direct",
                about: "one call to a user with two devices, who also hear each other on the media path",
                devices: &[1, 2],
                hands: vec![1, 1],
                media_path: true,
                ..call.clone()
            },
            Plan {
                name: "busy",
                about: "Bob, who has two devices, is called by Alice and Carol",
                devices: &[1, 2, 1],
                calls: &[
                    Placing { from: 0, to: BOB, id: 1, video: true },
                    Placing { from: 3, to: BOB, id: 2, video: false },
                ],
                hands: vec![0, 1, 0],
                ..call.clone()
            },
            Plan {
                name: "call on a device",
                about: "one call to a user with two devices; the caller's device arbitrates",
                devices: &[1, 2],
                place: Place::Device,
                ..call.clone()
            },
            Plan {
                name: "glare on a device",
                about: "two users call each other; their devices arbitrate",
                place: Place::Device,
                hands: vec![1, 1],
                ..glare.clone()
            },
            call,
            glare,
            Plan {
                name: "changing",
                about: "Bob takes two calls and changes between them; all messages arrive",
                hands: vec![0, 3, 0],
                faults: 0,
                ..waiting.clone()
            },
            waiting,
        ]
    }

    pub(crate) fn parties(&self) -> Vec<Party> {
        let users = self.devices.iter().enumerate();
        users.flat_map(|(user, devices)| (0..*devices).map(move |device| party(user, device))).collect()
    }

    /// The user of each device, by number.
    pub(crate) fn users(&self) -> Vec<usize> {
        let users = self.devices.iter().enumerate();
        users.flat_map(|(user, devices)| std::iter::repeat_n(user, *devices)).collect()
    }

    pub(crate) fn line(&self, me: &Party) -> LineConfig {
        let arbiter = match self.place {
            Place::Server => Address::Server,
            Place::Device => Address::Device(me.clone()),
        };
        let (liveness_ms, resume_window_ms) = (LIVENESS_MS, RESUME_WINDOW_MS);
        LineConfig { arbiter, second_call: self.second_call, liveness_ms, resume_window_ms, ..LineConfig::default() }
    }

    /// A tombstone outlives the last repetition and everything that is late.
    pub(crate) fn arbiter(&self) -> ArbiterConfig {
        let (liveness_ms, resume_window_ms) = (LIVENESS_MS, RESUME_WINDOW_MS);
        // Small worlds want short times: nothing here is as long as a server can be cut off.
        let abandoned_ms = resume_window_ms;
        ArbiterConfig { tombstone_ms: 30_000, liveness_ms, resume_window_ms, abandoned_ms, ..ArbiterConfig::default() }
    }
}

impl Placing {
    pub(crate) fn call_id(self) -> CallId {
        CallId::from_bits(self.id)
    }

    pub(crate) fn call_type(self) -> CallType {
        if self.video { CallType::Video1v1 } else { CallType::Audio1v1 }
    }
}

const NAMES: [&str; 3] = ["alice", "bob", "carol"];

pub(crate) fn user(number: usize) -> UserId {
    UserId::new(NAMES[number]).expect("a name is an id")
}

fn party(owner: usize, device: usize) -> Party {
    let device = DeviceId::new((device + 1).to_string()).expect("a number is an id");
    Party { user: user(owner), device }
}
