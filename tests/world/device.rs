//! A phone: its line, its clocks, and what its app was told.

use std::collections::BTreeMap;

use call_protocol::end::EndReason;
use call_protocol::{CallId, DeviceId, Party, UserId};
use signaling::{Line, LineConfig, Now, Role, Time};

/// The wall clock when a world begins.
pub(crate) const BEGIN_UNIX_MS: u64 = 1_700_000_000_000;

/// One phone of one user.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) name: &'static str,
    pub(crate) party: Party,
    pub(crate) line: Line,
    /// How often it was started. What an earlier life knew is gone.
    pub(crate) life: u32,
    pub(crate) alive: bool,
    pub(crate) paused_until: u64,
    pub(crate) link_down_until: u64,
    /// What its monotonic clock showed when the world began.
    pub(crate) boot: u64,
    /// How far its wall clock is ahead, less [`Device::SKEW`].
    pub(crate) skew: u64,
    pub(crate) wake: Option<u64>,
    /// What the app was told and did in this life, by call.
    pub(crate) told: BTreeMap<CallId, Told>,
}

/// What an app knows of one call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    pub(crate) role: Option<Role>,
    pub(crate) rang: bool,
    pub(crate) alerted: bool,
    pub(crate) accepted: bool,
    pub(crate) peer_away: bool,
    pub(crate) ended: Option<EndReason>,
    /// The line heard of the call.
    pub(crate) invited: bool,
    /// The line heard that the call is over or taken.
    pub(crate) closed: bool,
    /// When a caller has waited long enough, whatever it heard.
    pub(crate) patient_until: u64,
    /// The user hung up.
    pub(crate) hung_up: bool,
    /// The media failed, so the app said.
    pub(crate) failed: bool,
}

impl Device {
    /// The most that a wall clock can be behind, in ms.
    pub(crate) const SKEW: u64 = 10_000;

    pub(crate) fn new(name: &'static str, config: LineConfig) -> Self {
        let user = UserId::new(name).expect("the names of this world are ids");
        let party = Party { user, device: DeviceId::new("phone").expect("it is an id") };
        Self {
            name,
            line: Line::new(party.clone(), config),
            party,
            life: 0,
            alive: true,
            paused_until: 0,
            link_down_until: 0,
            boot: 0,
            skew: Self::SKEW,
            wake: None,
            told: BTreeMap::new(),
        }
    }

    /// Its app is started anew: it knows nothing.
    pub(crate) fn restart(&mut self, config: LineConfig, boot: u64) {
        self.line = Line::new(self.party.clone(), config);
        self.life += 1;
        self.alive = true;
        self.paused_until = 0;
        self.boot = boot;
        self.wake = None;
        self.told.clear();
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
}
