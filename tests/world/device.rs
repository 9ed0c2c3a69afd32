//! A device: its line and arbiters, its clocks, its network, and what its app was told.

use std::collections::BTreeMap;

use call_protocol::end::EndReason;
use call_protocol::invite::CallType;
use call_protocol::{CallId, CallMessage, DeviceId, Party, UserId};
use signaling::{Address, ArbiterConfig, Desk, LineConfig, Now, Phase, Role, Time};

/// The wall clock when a world begins.
pub(crate) const BEGIN_UNIX_MS: u64 = 1_700_000_000_000;

/// The devices of one user, in order.
const KINDS: [&str; 10] =
    ["phone", "tablet", "laptop", "watch", "desk", "car", "television", "speaker", "glasses", "door"];

/// One device of one user.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) name: String,
    /// Which user it belongs to.
    pub(crate) user: usize,
    pub(crate) party: Party,
    pub(crate) desk: Desk,
    pub(crate) config: LineConfig,
    /// How often it was started. What an earlier life knew is gone.
    pub(crate) life: u32,
    /// The life in which it signed in last.
    pub(crate) announced: u32,
    pub(crate) alive: bool,
    /// When it died, if it did.
    pub(crate) died_at: u64,
    pub(crate) paused_until: u64,
    pub(crate) link: Link,
    /// Since when it lives, is awake and has a network that works.
    pub(crate) well_since: u64,
    /// Since when its line has had no call.
    pub(crate) idle_since: u64,
    /// What its monotonic clock showed when the world began.
    pub(crate) boot: u64,
    /// How far its wall clock is ahead, less [`Device::SKEW`].
    pub(crate) skew: u64,
    pub(crate) wake: Option<u64>,
    /// What the app was told and did in this life, by call.
    pub(crate) told: BTreeMap<CallId, Told>,
    /// Calls of which the app was not told the end.
    pub(crate) open: Vec<CallId>,
    /// What a chat keeps for it until its app is started again.
    pub(crate) mailbox: Vec<(Address, CallMessage, u64)>,
}

/// The network of a device.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Link {
    /// Nothing leaves until then.
    pub(crate) mute_until: u64,
    /// Nothing arrives until then.
    pub(crate) deaf_until: u64,
}

impl Link {
    pub(crate) fn works(&self, now: u64) -> bool {
        now >= self.until()
    }

    pub(crate) fn until(&self) -> u64 {
        self.mute_until.max(self.deaf_until)
    }
}

/// What an app knows of one call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    pub(crate) role: Option<Role>,
    pub(crate) kind: Option<CallType>,
    pub(crate) rang: bool,
    /// The callee is being notified.
    pub(crate) notifying: bool,
    /// Devices that are about to ring.
    pub(crate) alerted: Vec<usize>,
    /// The device that said directly that it accepts.
    pub(crate) answering: Option<usize>,
    /// The device at the other end.
    pub(crate) peer: Option<usize>,
    pub(crate) held: bool,
    pub(crate) peer_held: bool,
    pub(crate) peer_away: bool,
    pub(crate) ended: Option<EndReason>,
    /// It went on as another call.
    pub(crate) merged: bool,
    pub(crate) missed: bool,
    /// The line said that it is busy.
    pub(crate) said_busy: bool,
    /// The line heard of the call.
    pub(crate) invited: bool,
    /// The line heard that the call is over or taken.
    pub(crate) closed: bool,
    /// When a caller has waited long enough, whatever it heard.
    pub(crate) patient_until: u64,
    /// The user took the call, or the line did for both called each other.
    pub(crate) answered: bool,
    /// The user hung up.
    pub(crate) hung_up: bool,
    /// The media failed, so the app said.
    pub(crate) failed: bool,
    /// Devices a step of the negotiation was heard from.
    pub(crate) heard_from: Vec<usize>,
}

impl Device {
    /// The most that a wall clock can be behind, in ms.
    pub(crate) const SKEW: u64 = 10_000;

    pub(crate) fn new(user: usize, user_name: &str, number: usize, config: LineConfig, arbiter: ArbiterConfig) -> Self {
        let kind = KINDS[number];
        let user_id = UserId::new(user_name).expect("the names of this world are ids");
        let party = Party { user: user_id, device: DeviceId::new(kind).expect("it is an id") };
        let mut config = config;
        if config.arbiter != Address::Server {
            config.arbiter = Address::Device(party.clone());
        }
        Self {
            name: if number == 0 { user_name.to_owned() } else { format!("{user_name}'s {kind}") },
            user,
            desk: Desk::new(party.clone(), config.clone(), arbiter),
            config,
            party,
            life: 0,
            announced: 0,
            alive: true,
            died_at: 0,
            paused_until: 0,
            link: Link::default(),
            well_since: 0,
            idle_since: 0,
            boot: 0,
            skew: Self::SKEW,
            wake: None,
            told: BTreeMap::new(),
            open: Vec::new(),
            mailbox: Vec::new(),
        }
    }

    /// Its app is started anew: it knows nothing.
    pub(crate) fn restart(&mut self, arbiter: ArbiterConfig, boot: u64, now: u64) {
        self.desk = Desk::new(self.party.clone(), self.config.clone(), arbiter);
        self.life += 1;
        self.alive = true;
        self.paused_until = 0;
        self.well_since = now.max(self.link.until());
        self.idle_since = now;
        self.boot = boot;
        self.wake = None;
        self.told.clear();
        self.open.clear();
    }

    /// Its clocks at this moment of the world.
    pub(crate) fn now(&self, now: u64) -> Now {
        Now { mono: Time(now + self.boot), unix_ms: BEGIN_UNIX_MS + now + self.skew - Self::SKEW }
    }

    /// The moment of the world at which its monotonic clock shows `time`.
    pub(crate) fn moment(&self, time: Time) -> u64 {
        time.0.saturating_sub(self.boot)
    }

    pub(crate) fn told(&mut self, call_id: CallId) -> &mut Told {
        self.told.entry(call_id).or_default()
    }

    /// What its line does, call by call.
    pub(crate) fn phases(&self) -> Vec<Phase> {
        self.desk.line().calls().collect()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.desk.line().phase() == Phase::Idle
    }

    /// Whether it lives, is awake and has had a network that works since before then: what was said in the very millisecond in which that came
    /// back may have been said before it did.
    pub(crate) fn well_since(&self, now: u64, since: u64) -> bool {
        self.alive && now >= self.paused_until && self.link.works(now) && self.well_since < since.max(1)
    }
}
