//! What kind of world it is: drawn from the seed, or calm.

use std::fmt;
use std::str::FromStr;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use signaling::{ArbiterConfig, LineConfig};

/// Who runs the arbiter of a call, and with that, what carries the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Placement {
    /// The server: each device has one way to it, which loses what the conditions say.
    Server,
    /// The device of the caller: an app's chat carries the messages from device to device, at least once, in any order, late.
    Chat,
}

impl Placement {
    /// Both.
    pub const ALL: [Placement; 2] = [Placement::Server, Placement::Chat];
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Placement::Server => "server",
            Placement::Chat => "chat",
        })
    }
}

/// What can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A device loses the network.
    LinkDown,
    /// One direction of a device's network is dead, and nobody is told.
    HalfOpen,
    /// An app is killed and started again, or not.
    Crash,
    /// A device does nothing for a while.
    Sleep,
    /// A user signs out of a device.
    SignOut,
    /// The server is killed and goes on with what its store holds.
    ServerKill,
    /// The server stands still, and goes on.
    ServerStall,
    /// Nobody reaches the server, nor it anybody.
    ServerCutOff,
}

/// The conditions of one world. Probabilities are for each message, times in ms.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Who runs the arbiters.
    pub placement: Placement,
    /// How many devices each user has.
    pub devices: Vec<usize>,
    /// How often a device is configured for call waiting.
    pub waiting: f64,
    /// How long users call and things break, before all is mended and comes to rest.
    pub chaos_ms: u64,
    /// How long a user waits between two things it does, at most.
    pub idle_ms: u64,
    /// How often a user does something silly.
    pub silly: f64,
    /// How often users do something at the worst moment.
    pub races: f64,
    /// How long a call may ring, at least and at most.
    pub ring_ms: (u32, u32),
    /// How long a message travels, at least and at most.
    pub delay_ms: (u64, u64),
    /// Whether messages of one way keep their order.
    pub in_order: bool,
    /// How often a message is lost; a chat delivers another copy of it much later.
    pub loss: f64,
    /// How often it arrives twice.
    pub repeat: f64,
    /// How often a second copy arrives very late, up to [`Plan::STRAY_MS`].
    pub stray: f64,
    /// Whether the apps set their media up while it still rings.
    pub warm: bool,
    /// How often the media path loses what is said on it; none where there is no such path.
    pub direct_loss: Option<f64>,
    /// What can break.
    pub faults: Vec<Fault>,
    /// How long until the next fault, at most.
    pub fault_ms: u64,
    /// How long a fault lasts, at most.
    pub outage_ms: u64,
    /// Whether the carrier keeps what it cannot deliver, as a resumed stream does, or loses it.
    pub holds: bool,
    /// How far a device's wall clock is off, at most.
    pub skew_ms: u64,
    /// How often somebody tells lies about a call that is not theirs.
    pub forgery: f64,
    /// The knobs of every arbiter.
    pub arbiter: ArbiterConfig,
    /// The knobs of every line; where its arbiter runs and what it does with a second call the world decides.
    pub line: LineConfig,
}

impl Plan {
    /// The latest second copy.
    pub const STRAY_MS: u64 = 40_000;
    /// Older than this no message arrives at or from a server, however often it was held back: less than an arbiter remembers its call, which
    /// is why it remembers.
    pub const OLDEST_MS: u64 = 55_000;

    /// Nothing is lost or broken; a message takes 10 ms.
    pub fn calm(placement: Placement) -> Plan {
        Plan {
            placement,
            devices: vec![1, 1, 1],
            waiting: 0.0,
            chaos_ms: 0,
            idle_ms: 1,
            silly: 0.0,
            races: 0.0,
            ring_ms: (30_000, 30_000),
            delay_ms: (10, 10),
            in_order: true,
            loss: 0.0,
            repeat: 0.0,
            stray: 0.0,
            warm: false,
            direct_loss: None,
            faults: Vec::new(),
            fault_ms: 1,
            outage_ms: 1,
            holds: false,
            skew_ms: 0,
            forgery: 0.0,
            arbiter: ArbiterConfig::default(),
            line: LineConfig::default(),
        }
    }

    /// Any world: from a calm one to one that hardly works.
    pub fn random(rng: &mut ChaCha8Rng) -> Plan {
        let sometimes = |rng: &mut ChaCha8Rng, often: f64, most: f64| {
            if rng.random_bool(often) { rng.random_range(0.0..most) } else { 0.0 }
        };
        let placement = if rng.random_bool(0.6) { Placement::Server } else { Placement::Chat };
        let users = rng.random_range(2..=4);
        let most = [1, 2, 2, 4][rng.random_range(0..4)];
        let devices = (0..users).map(|_| rng.random_range(1..=most)).collect();
        let fastest = rng.random_range(0..=50);
        let slowest = fastest + [0, 20, 200, 3_000][rng.random_range(0..4)];
        let rough = rng.random_bool(0.7);
        let liveness_ms = [4_000, 10_000, 10_000, 10_000][rng.random_range(0..4)];
        let resume_window_ms = liveness_ms + rng.random_range(1..=10_000);
        let keep_alive_ms = if liveness_ms == 4_000 { 1_200 } else { 3_000 };
        let shortest = rng.random_range(1_000..=5_000);
        let faults = [Fault::LinkDown, Fault::HalfOpen, Fault::Crash, Fault::Sleep, Fault::SignOut, Fault::ServerKill];
        let breaks = rough && rng.random_bool(0.7);
        let mut faults: Vec<Fault> = faults.into_iter().filter(|_| breaks && rng.random_bool(0.6)).collect();
        let mut plan = Plan {
            placement,
            devices,
            waiting: [0.0, 0.5, 1.0][rng.random_range(0..3)],
            chaos_ms: rng.random_range(20_000..=240_000),
            idle_ms: rng.random_range(1_000..=20_000),
            silly: sometimes(rng, 0.7, 0.3),
            races: sometimes(rng, 0.8, 0.6),
            ring_ms: (shortest, shortest + [0, 5_000, 40_000][rng.random_range(0..3)]),
            delay_ms: (fastest, slowest),
            in_order: rng.random_bool(0.4),
            loss: if rough { sometimes(rng, 0.7, 0.35) } else { 0.0 },
            repeat: if rough { sometimes(rng, 0.6, 0.4) } else { 0.0 },
            stray: if rough { sometimes(rng, 0.4, 0.1) } else { 0.0 },
            warm: rng.random_bool(0.6),
            direct_loss: rng.random_bool(0.7).then(|| sometimes(rng, 0.5, 0.5)),
            faults: Vec::new(),
            fault_ms: rng.random_range(3_000..=60_000),
            outage_ms: [500, 5_000, 12_000, 30_000][rng.random_range(0..4)],
            holds: rng.random_bool(0.4),
            skew_ms: [0, 0, 300, 2_000][rng.random_range(0..4)],
            forgery: sometimes(rng, 0.5, 0.2),
            arbiter: ArbiterConfig { liveness_ms, resume_window_ms, abandoned_ms: 60_000, ..ArbiterConfig::default() },
            line: LineConfig { keep_alive_ms, liveness_ms, resume_window_ms, ..LineConfig::default() },
        };
        // Drawn from what was drawn before, so that a seed that was written down still is the same world in other things.
        for (nth, fault) in [Fault::ServerStall, Fault::ServerCutOff].into_iter().enumerate() {
            if breaks && plan.fault_ms % 4 == nth as u64 {
                faults.push(fault);
            }
        }
        plan.faults = faults;
        plan
    }

    /// Whether the carrier and the machines do what they are to do: then fewer ways to end are allowed.
    pub fn is_faultless(&self) -> bool {
        let prompt = self.delay_ms.1 < 1_000 && self.stray == 0.0;
        prompt && self.loss == 0.0 && self.faults.is_empty() && self.skew_ms == 0
    }

    /// The longest way of a message that is not a second copy, where none is lost.
    pub(crate) fn longest_way_ms(&self) -> Option<u64> {
        (self.loss == 0.0).then_some(self.delay_ms.1)
    }

    /// How far the clocks of two devices may be apart in what they make of a deadline.
    pub(crate) fn clocks_ms(&self) -> u64 {
        match self.placement {
            Placement::Server => self.skew_ms,
            Placement::Chat => 2 * self.skew_ms,
        }
    }
}

/// Something that can be taken out of a world, to see whether a rule breaks without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// Lies.
    Forgery,
    /// Very late copies.
    Stray,
    /// Second copies.
    Repeat,
    /// Lost messages.
    Loss,
    /// The media path.
    Direct,
    /// Clocks that are off.
    Skew,
    /// Silly users.
    Silly,
    /// Users who act at the worst moment.
    Races,
    /// Call waiting.
    Waiting,
    /// Media set up while it rings.
    Warm,
    /// Messages that overtake each other.
    Disorder,
    /// Ways of different length.
    Jitter,
    /// Streams that resume.
    Holds,
    /// A lost network.
    LinkDown,
    /// A half-dead network.
    HalfOpen,
    /// Killed apps.
    Crash,
    /// Sleeping devices.
    Sleep,
    /// Users that sign out.
    SignOut,
    /// A killed server.
    ServerKill,
    /// A server that stands still.
    ServerStall,
    /// A server that is cut off.
    ServerCutOff,
    /// All users but two.
    Users,
    /// All devices of a user but one.
    Devices,
}

impl Switch {
    /// Every one, in the order in which they are tried.
    pub const ALL: [Switch; 23] = [
        Switch::Forgery,
        Switch::Stray,
        Switch::Repeat,
        Switch::Loss,
        Switch::Direct,
        Switch::Skew,
        Switch::Silly,
        Switch::Races,
        Switch::Waiting,
        Switch::Warm,
        Switch::Disorder,
        Switch::Jitter,
        Switch::Holds,
        Switch::LinkDown,
        Switch::HalfOpen,
        Switch::Crash,
        Switch::Sleep,
        Switch::SignOut,
        Switch::ServerKill,
        Switch::ServerStall,
        Switch::ServerCutOff,
        Switch::Users,
        Switch::Devices,
    ];

    /// Takes it out; false if it was not in.
    pub(crate) fn off(self, plan: &mut Plan) -> bool {
        let zero = |value: &mut f64| std::mem::replace(value, 0.0) != 0.0;
        match self {
            Switch::Forgery => zero(&mut plan.forgery),
            Switch::Stray => zero(&mut plan.stray),
            Switch::Repeat => zero(&mut plan.repeat),
            Switch::Loss => zero(&mut plan.loss),
            Switch::Direct => plan.direct_loss.take().is_some(),
            Switch::Skew => std::mem::replace(&mut plan.skew_ms, 0) != 0,
            Switch::Silly => zero(&mut plan.silly),
            Switch::Races => zero(&mut plan.races),
            Switch::Waiting => zero(&mut plan.waiting),
            Switch::Warm => std::mem::replace(&mut plan.warm, false),
            Switch::Disorder => !std::mem::replace(&mut plan.in_order, true),
            Switch::Jitter => std::mem::replace(&mut plan.delay_ms.1, plan.delay_ms.0) != plan.delay_ms.0,
            Switch::Holds => std::mem::replace(&mut plan.holds, false),
            Switch::LinkDown => without(plan, Fault::LinkDown),
            Switch::HalfOpen => without(plan, Fault::HalfOpen),
            Switch::Crash => without(plan, Fault::Crash),
            Switch::Sleep => without(plan, Fault::Sleep),
            Switch::SignOut => without(plan, Fault::SignOut),
            Switch::ServerKill => without(plan, Fault::ServerKill),
            Switch::ServerStall => without(plan, Fault::ServerStall),
            Switch::ServerCutOff => without(plan, Fault::ServerCutOff),
            Switch::Users => {
                let more = plan.devices.len() > 2;
                plan.devices.truncate(2);
                more
            }
            Switch::Devices => {
                let more = plan.devices.iter().any(|devices| *devices > 1);
                plan.devices.iter_mut().for_each(|devices| *devices = 1);
                more
            }
        }
    }
}

fn without(plan: &mut Plan, fault: Fault) -> bool {
    let before = plan.faults.len();
    plan.faults.retain(|other| *other != fault);
    plan.faults.len() != before
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Switch::Forgery => "forgery",
            Switch::Stray => "stray",
            Switch::Repeat => "repeat",
            Switch::Loss => "loss",
            Switch::Direct => "direct",
            Switch::Skew => "skew",
            Switch::Silly => "silly",
            Switch::Races => "races",
            Switch::Waiting => "waiting",
            Switch::Warm => "warm",
            Switch::Disorder => "disorder",
            Switch::Jitter => "jitter",
            Switch::Holds => "holds",
            Switch::LinkDown => "link-down",
            Switch::HalfOpen => "half-open",
            Switch::Crash => "crash",
            Switch::Sleep => "sleep",
            Switch::SignOut => "sign-out",
            Switch::ServerKill => "server-kill",
            Switch::ServerStall => "server-stall",
            Switch::ServerCutOff => "server-cut-off",
            Switch::Users => "users",
            Switch::Devices => "devices",
        })
    }
}

impl FromStr for Switch {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|switch| switch.to_string() == word);
        found.ok_or_else(|| format!("{word:?} cannot be taken out of a world"))
    }
}
