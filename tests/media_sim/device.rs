//! A device: its desk, its host, and the paths of its call.

use std::collections::BTreeMap;
use std::sync::Arc;

use call_protocol::media::NegotiationBody;
use call_protocol::{DeviceId, Party, UserId};
use rtc_transport::simulated::Host;
use signaling::{Address, ArbiterConfig, Desk, LineConfig, Role};

use crate::peer::Peer;
use crate::plan::Placement;

/// One device.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) party: Party,
    pub(crate) host: Arc<Host>,
    pub(crate) desk: Desk,
    /// Whether it reaches the server, or the chat.
    pub(crate) connected: bool,
    /// Its host moved, and it has not noticed.
    pub(crate) is_lost: bool,
    /// Nothing of the signaling passes until then.
    pub(crate) offline_until: u64,
    pub(crate) warm: bool,
    pub(crate) desk_wake: Option<u64>,
    /// The wake that is on the agenda.
    pub(crate) planned: Option<u64>,
    pub(crate) media: Option<Media>,
}

/// The media side of its call.
#[derive(Debug)]
pub(crate) struct Media {
    pub(crate) role: Role,
    /// The user here has accepted.
    pub(crate) accepted: bool,
    pub(crate) remotes: BTreeMap<Party, Remote>,
    /// What the caller said about its media while nothing of this device is to be shown.
    pub(crate) offered: Vec<(Party, NegotiationBody)>,
    pub(crate) winner: Option<Party>,
    pub(crate) link: PathLink,
}

/// A path to one device at the other end.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) peer: Peer,
    pub(crate) connected: bool,
}

/// How the path to the other party does; times in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathLink {
    Idle,
    SettingUp { give_up: u64 },
    Connected,
    Interrupted { give_up: u64, restart: u64 },
}

impl Media {
    pub(crate) fn new(role: Role) -> Media {
        Media {
            role,
            accepted: false,
            remotes: BTreeMap::new(),
            offered: Vec::new(),
            winner: None,
            link: PathLink::Idle,
        }
    }
}

impl Device {
    /// Device 0 calls; the others are those of the user who is called.
    pub(crate) fn new(number: usize, placement: Placement, host: Arc<Host>, warm: bool) -> Device {
        let user = UserId::new(if number == 0 { "alice" } else { "bob" }).expect("it is an id");
        let party = Party { user, device: DeviceId::new(format!("device{number}")).expect("it is an id") };
        let arbiter = match placement {
            Placement::Server => Address::Server,
            Placement::Caller => Address::Device(party.clone()),
        };
        let line = LineConfig { arbiter, ..LineConfig::default() };
        Device {
            desk: Desk::new(party.clone(), line, ArbiterConfig::default()),
            party,
            host,
            connected: true,
            is_lost: false,
            offline_until: 0,
            warm,
            desk_wake: None,
            planned: None,
            media: None,
        }
    }

    /// When it wants to be woken.
    pub(crate) fn wake(&self) -> Option<u64> {
        let path = match self.media.as_ref().map(|media| media.link) {
            None | Some(PathLink::Idle | PathLink::Connected) => None,
            Some(PathLink::SettingUp { give_up }) => Some(give_up),
            Some(PathLink::Interrupted { give_up, restart }) => Some(give_up.min(restart)),
        };
        path.into_iter().chain(self.desk_wake).min()
    }
}
