//! The media paths of a call: while it rings one to each device that may take it, after the accept one to the device that did.

use std::time::Duration;

use call_protocol::end::EndReason;
use call_protocol::media::{Description, DescriptionKind, NegotiationBody};
use call_protocol::{CallId, CallMessage, Party, wire};
use rtc_transport::{AddressMode, IcePolicy, MediaPath, PathConfig, PathState, Politeness};
use signaling::{Address, Command, Input, Role, Time};

use crate::core::Core;
use crate::error::CallError;
use crate::events::CallKitEvent;
use crate::media::{Membership, PathLink};
use crate::peer::{Peer, PeerCommand, PeerNotice, PeerReports};
use crate::quality::CallQuality;
use crate::voice::Packets;

/// How long media may take to be set up, in ms.
const SETUP_MS: u64 = 20_000;
/// After so long a path that failed while it was set up is tried again, and so long one is left alone that the other side wants anew, in ms.
const AGAIN_MS: u64 = 1_000;
/// How long a callee that has taken a call waits for an offer before it asks for one, in ms.
const OFFER_MS: u64 = 3_000;
/// How long media may be interrupted before the call is given up, in ms.
const INTERRUPTION_MS: u64 = 15_000;
/// How often a new way is looked for while media is interrupted, in ms.
const RESTART_MS: u64 = 2_000;
/// How long a path looks for a way: longer than it may ring, since the way may be shown by the accept only. How long a call waits for media
/// is counted here.
const WARM_PATIENCE: Duration = Duration::from_secs(180);
/// Devices that a caller sets a path up to while they ring; further ones get theirs if they answer.
const WARM_PATHS: usize = 8;
/// Steps of the caller kept while it rings: an offer and its candidates.
const OFFERED: usize = 40;

/// Whether ICE and DTLS are set up while it rings, so that the accept only opens the sound. Nothing is heard or said before the accept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WarmPath {
    /// Over the addresses of the default routes, and of IPv6 the temporary ones (RFC 8828 mode 2). While it rings the other side sees those,
    /// and what a STUN server sees of them; after the accept every address, so that two on one network connect that have no other way.
    #[default]
    DefaultRoute,
    /// Over every address. Each side sees all addresses of the other one while it rings, those of a VPN too.
    Full,
    /// Over relays only, so that the other side sees no address of this one before the accept; the call stays on the relay. Without a relay
    /// as with `Off`.
    RelayOnly,
    /// Not at all: this side shows nothing of itself before the accept, and the voice begins some round trips later.
    Off,
}

/// A path to one device at the other end.
pub(crate) struct Remote {
    peer: Peer,
    /// Tells the notices of this path from those of one before it.
    serial: u64,
    pub(crate) path: Option<MediaPath>,
    connected: bool,
    /// What comes over it goes to the voice.
    listens: bool,
    opened_at: Time,
    /// Whose key the other side's offer named: another one is that of another path.
    identity: Option<String>,
}

impl Remote {
    /// The number of the path, once it is open.
    pub(crate) fn open_path(&self) -> Option<u64> {
        self.path.is_some().then_some(self.serial)
    }

    /// Whether the other side says this about this path, and not about another one that it has opened since.
    fn is_meant(&self, body: &NegotiationBody) -> bool {
        self.connected || identity_in(body).is_none_or(|identity| self.identity.as_deref() == Some(identity))
    }

    /// Has what comes in go to the voice, or nowhere.
    pub(crate) fn listen(&mut self, packets: Option<Packets>) {
        if std::mem::replace(&mut self.listens, packets.is_some()) != packets.is_some() {
            self.peer.listen(packets);
        }
    }
}

/// The key that an offer names (RFC 8122, section 5).
fn identity_in(body: &NegotiationBody) -> Option<&str> {
    match body {
        NegotiationBody::Description(Description { kind: DescriptionKind::Offer, sdp }) => {
            sdp.lines().find_map(|line| line.trim_end().strip_prefix("a=fingerprint:"))
        }
        NegotiationBody::Description(_)
        | NegotiationBody::Candidate(_)
        | NegotiationBody::Restart
        | NegotiationBody::Notice(_) => None,
    }
}

fn is_offer(body: &NegotiationBody) -> bool {
    matches!(body, NegotiationBody::Description(Description { kind: DescriptionKind::Offer, .. }))
}

/// Setting up.
impl Core {
    /// A device of the callee is about to ring: the path to it is set up ahead of the answer.
    pub(crate) fn warm_up(&mut self, call_id: CallId, device: Party) {
        let Some(media) = self.calls.get(&call_id) else { return };
        if media.remotes.len() < WARM_PATHS && self.may_warm_up() {
            self.open_path(call_id, device, self.settings.warm_path);
        }
    }

    fn may_warm_up(&self) -> bool {
        match self.settings.warm_path {
            WarmPath::DefaultRoute | WarmPath::Full => true,
            WarmPath::RelayOnly => !self.settings.turn_servers.is_empty(),
            WarmPath::Off => false,
        }
    }

    /// Opens a path, if there is none; a caller makes its offer.
    fn open_path(&mut self, call_id: CallId, device: Party, warm_path: WarmPath) {
        let now = self.now().mono;
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        if media.remotes.contains_key(&device) {
            return;
        }
        let config = PathConfig {
            stun_servers: self.stun_servers.clone(),
            interfaces: self.settings.interfaces.clone(),
            turn_servers: self.settings.turn_servers.clone(),
            policy: match warm_path {
                WarmPath::RelayOnly => IcePolicy::RelayOnly,
                WarmPath::DefaultRoute | WarmPath::Full | WarmPath::Off => IcePolicy::All,
            },
            address_mode: match warm_path {
                WarmPath::DefaultRoute => AddressMode::DefaultRoute,
                WarmPath::RelayOnly | WarmPath::Full | WarmPath::Off => AddressMode::All,
            },
            politeness: match media.role {
                Role::Caller => Politeness::Impolite,
                Role::Callee => Politeness::Polite,
            },
            failed_after: WARM_PATIENCE,
            ..PathConfig::default()
        };
        self.last_path += 1;
        let serial = self.last_path;
        let to = PeerReports { reports: self.reports.clone(), call_id, device: device.clone(), serial };
        let peer = Peer::start(config, to);
        if media.role == Role::Caller {
            peer.send(PeerCommand::Offer);
        }
        media.remotes.insert(
            device,
            Remote { peer, serial, path: None, connected: false, listens: false, opened_at: now, identity: None },
        );
    }

    /// A device at the other end says something about its media. A callee that is to show nothing yet keeps it.
    pub(crate) fn on_negotiation(&mut self, call_id: CallId, from: Party, body: NegotiationBody) {
        let may_open = self.may_warm_up();
        let now = self.now().mono;
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        match media.remotes.get_mut(&from) {
            // The caller has begun anew.
            Some(remote) if media.role == Role::Callee && !remote.is_meant(&body) => {
                media.remotes.remove(&from);
            }
            Some(_) if body == NegotiationBody::Restart && matches!(media.link, PathLink::SettingUp { .. }) => {
                return self.wanted_anew(call_id, from, now);
            }
            Some(remote) => return remote.peer.pass_on(body),
            None => {}
        }
        // A candidate means nothing without the offer that it belongs to.
        let belongs = is_offer(&body) || media.offered.iter().any(|(device, _)| *device == from);
        if media.role == Role::Callee && belongs && media.offered.len() < OFFERED {
            media.offered.push((from.clone(), body));
        }
        let is_answered = media.membership != Membership::NotWanted || media.winner.is_some();
        if is_answered {
            self.take_offers(call_id, WarmPath::Full);
        } else if may_open {
            self.take_offers(call_id, self.settings.warm_path);
        }
    }

    /// Opens the paths that the caller has offered.
    pub(crate) fn take_offers(&mut self, call_id: CallId, warm_path: WarmPath) {
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        if media.role == Role::Caller {
            return;
        }
        for (device, body) in std::mem::take(&mut media.offered) {
            self.open_path(call_id, device.clone(), warm_path);
            let remote = self.calls.get_mut(&call_id).and_then(|media| media.remotes.get_mut(&device));
            if let (Some(remote), Some(identity)) = (remote, identity_in(&body)) {
                remote.identity = Some(identity.to_owned());
            }
            if let Some(remote) = self.calls.get(&call_id).and_then(|media| media.remotes.get(&device)) {
                remote.peer.pass_on(body);
            }
        }
    }

    /// The callee could not do anything with the path that it was offered: another one is, unless this one is new.
    fn wanted_anew(&mut self, call_id: CallId, device: Party, now: Time) {
        let Some(media) = self.calls.get_mut(&call_id).filter(|media| media.role == Role::Caller) else { return };
        let Some(remote) = media.remotes.get(&device) else { return };
        let at = remote.opened_at + AGAIN_MS;
        match &mut media.link {
            PathLink::SettingUp { again, .. } if now < at => *again = Some(again.map_or(at, |again| again.min(at))),
            PathLink::SettingUp { .. } => self.try_again(call_id),
            // A call that only rings sets its path up as it is taken.
            PathLink::Idle | PathLink::Connected | PathLink::Interrupted { .. } => {}
        }
    }

    /// The path that was being set up is given up for another one. The callee can offer none, and asks for it.
    fn try_again(&mut self, call_id: CallId) {
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        let Some(winner) = media.winner.clone() else { return };
        media.remotes.remove(&winner);
        match media.role {
            Role::Caller => self.open_path(call_id, winner, WarmPath::Full),
            Role::Callee => self.negotiate(call_id, winner, NegotiationBody::Restart),
        }
    }

    fn tell_peer(&self, call_id: CallId, device: &Party, command: PeerCommand) {
        if let Some(remote) = self.calls.get(&call_id).and_then(|media| media.remotes.get(device)) {
            remote.peer.send(command);
        }
    }

    fn negotiate(&mut self, call_id: CallId, to: Party, body: NegotiationBody) {
        if let Err(error) = self.try_input(Input::Command(Command::Negotiate { call_id, to, body })) {
            tracing::debug!(%error, "a step of negotiation");
        }
    }
}

/// Accept.
impl Core {
    /// The call is accepted by this device: the path to it stays, those to others go.
    pub(crate) fn settle_on(&mut self, call_id: CallId, winner: Party) {
        let now = self.now().mono;
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        media.remotes.retain(|device, _| *device == winner);
        media.winner = Some(winner.clone());
        let is_connected = media.remotes.get(&winner).is_some_and(|remote| remote.connected);
        media.link = if is_connected {
            PathLink::Connected
        } else {
            PathLink::SettingUp { give_up: now + SETUP_MS, again: None }
        };
        match media.role {
            Role::Caller => self.open_path(call_id, winner.clone(), WarmPath::Full),
            Role::Callee => {
                let has_failed = media.path_failure.is_some();
                self.take_offers(call_id, WarmPath::Full);
                let media = self.calls.get_mut(&call_id).filter(|media| !media.remotes.contains_key(&winner));
                if let Some(PathLink::SettingUp { again, .. }) = media.map(|media| &mut media.link) {
                    // What was offered to the process that had the call before is not offered again unless it is asked for.
                    *again = Some(if has_failed { now } else { now + OFFER_MS });
                }
            }
        }
        // Shows nothing where the path is of relays only.
        self.tell_peer(call_id, &winner, PeerCommand::ShowAllAddresses);
    }

    /// Caller: a device says itself that it has taken the call, before the arbiter has said so.
    pub(crate) fn on_answering(&mut self, call_id: CallId, device: Party) {
        // Whether its callee is about to prepare only the arbiter's word tells.
        if self.may_be_prepared(call_id) {
            return;
        }
        if let Some(media) = self.calls.get_mut(&call_id) {
            media.sound.answered_by.insert(device);
        }
    }

    pub(crate) fn on_held(&mut self, call_id: CallId, held: bool) {
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        media.held = held;
        self.tell_of(call_id, CallKitEvent::CallHeld { call_id, held });
    }

    pub(crate) fn speaker(&mut self, on: bool) {
        self.speaker = on;
        self.update_sound();
    }

    pub(crate) fn quality(&self) -> Option<CallQuality> {
        self.quality_of(self.sounding()?)
    }

    pub(crate) fn quality_of(&self, call_id: CallId) -> Option<CallQuality> {
        let media = self.calls.get(&call_id)?;
        let path = media.remotes.get(media.winner.as_ref()?)?.path.as_ref()?;
        Some(CallQuality::of(&path.stats(), &self.voice.as_ref()?.stats()))
    }
}

/// What is said on the path itself.
impl Core {
    /// Says a word on the media path to a device, if it stands.
    pub(crate) fn say_directly(&mut self, to: &Party, message: &CallMessage) {
        tracing::debug!(call = %message.call_id, word = message.word.name(), "said on the media path");
        self.tell_peer(message.call_id, to, PeerCommand::Control(wire::encode_call(message).into()));
    }

    /// The same to every device at the other end.
    pub(crate) fn say_to_all(&mut self, message: &CallMessage) {
        let Some(media) = self.calls.get(&message.call_id) else { return };
        let devices: Vec<Party> = media.remotes.keys().cloned().collect();
        devices.iter().for_each(|device| self.say_directly(device, message));
    }

    pub(crate) fn is_connected_to(&self, call_id: CallId, device: &Party) -> bool {
        let remote = self.calls.get(&call_id).and_then(|media| media.remotes.get(device));
        remote.is_some_and(|remote| remote.connected)
    }

    /// The encryption vouches for the device; it may speak of the call whose path it is only.
    fn on_control(&mut self, call_id: CallId, from: Party, bytes: &[u8]) {
        match wire::decode_call(bytes) {
            Ok(Some(message)) if message.call_id == call_id => {
                self.input(Input::Message { from: Address::Device(from), message });
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "a control message"),
        }
    }
}

/// How the paths do.
impl Core {
    pub(crate) fn on_peer(&mut self, call_id: CallId, device: Party, serial: u64, notice: PeerNotice) {
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        let is_winner = media.winner.as_ref() == Some(&device);
        let Some(remote) = media.remotes.get_mut(&device).filter(|remote| remote.serial == serial) else { return };
        match notice {
            PeerNotice::Opened(path) => remote.path = Some(path),
            PeerNotice::Negotiation(body) => self.negotiate(call_id, device, body),
            PeerNotice::Control(bytes) => self.on_control(call_id, device, &bytes),
            PeerNotice::State(state) => self.on_path_state(call_id, &device, state),
            PeerNotice::Replaced => self.path_replaced(call_id, device),
            PeerNotice::Failed(why) if is_winner => self.path_failed(call_id, &device, why),
            // Tried again when the call is accepted.
            PeerNotice::Failed(why) => {
                media.path_failure = Some(why);
                media.remotes.remove(&device);
            }
        }
    }

    /// The device goes on with another path, as one does whose call another process has taken over. The caller makes a new one, and the callee asks for it.
    fn path_replaced(&mut self, call_id: CallId, device: Party) {
        let now = self.now().mono;
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        media.remotes.remove(&device);
        let is_winner = media.winner.as_ref() == Some(&device);
        if is_winner && media.link == PathLink::Connected {
            let (give_up, restart) = (now + INTERRUPTION_MS, now + RESTART_MS);
            media.link = PathLink::Interrupted { since: now, give_up, restart };
        }
        match media.role {
            Role::Caller if is_winner => self.open_path(call_id, device, WarmPath::Full),
            Role::Caller => self.warm_up(call_id, device),
            Role::Callee => {}
        }
    }

    /// The path to the device that has the call failed. One that was being set up is tried again, until its time is over.
    fn path_failed(&mut self, call_id: CallId, device: &Party, why: String) {
        let now = self.now().mono;
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        match &mut media.link {
            PathLink::SettingUp { again, .. } => {
                tracing::info!(call = %call_id, %why, "a path failed as it was set up");
                *again = Some(now + AGAIN_MS);
                media.path_failure = Some(why);
                media.remotes.remove(device);
            }
            PathLink::Idle | PathLink::Connected | PathLink::Interrupted { .. } => {}
        }
    }

    fn on_path_state(&mut self, call_id: CallId, device: &Party, state: PathState) {
        let now = self.now().mono;
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        let is_winner = media.winner.as_ref() == Some(device);
        let Some(remote) = media.remotes.get_mut(device) else { return };
        match state {
            PathState::Connected => {
                remote.connected = true;
                if is_winner {
                    media.link = PathLink::Connected;
                }
            }
            PathState::Disconnected | PathState::Failed | PathState::Closed => {
                remote.connected = false;
                if is_winner && media.link == PathLink::Connected {
                    media.link = PathLink::Interrupted { since: now, give_up: now + INTERRUPTION_MS, restart: now };
                    // Whatever comes back, this one does not.
                    if state == PathState::Closed {
                        media.remotes.remove(device);
                    }
                } else if state != PathState::Disconnected {
                    if is_winner {
                        self.path_failed(call_id, device, "no way to the other end was found".into());
                    } else {
                        media.remotes.remove(device);
                    }
                }
            }
            PathState::New | PathState::Connecting => {}
        }
    }

    /// The addresses of this machine changed: the server is connected to anew where the connection does not lead there any more, and a new
    /// way is looked for, for every call.
    pub(crate) fn on_network_changed(&mut self) {
        tracing::info!("the network changed");
        self.look_after_link();
        for media in self.calls.values() {
            for remote in media.remotes.values() {
                // A path that is not there yet cannot be moved.
                let command = if remote.connected { PeerCommand::Rebind } else { PeerCommand::Restart };
                remote.peer.send(command);
            }
        }
    }

    pub(crate) fn on_time_media(&mut self) {
        let calls: Vec<CallId> = self.calls.keys().copied().collect();
        calls.into_iter().for_each(|call_id| self.on_time_path(call_id));
    }

    fn on_time_path(&mut self, call_id: CallId) {
        let now = self.now().mono;
        let can_negotiate = self.connected || self.chat.is_some();
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        match &mut media.link {
            PathLink::SettingUp { give_up, .. } if now >= *give_up => {
                let why = media.path_failure.take().map(|why| format!(": {why}")).unwrap_or_default();
                let why = format!("no media path to the other end within 20 s{why}");
                self.give_up(call_id, CallError::Media(why), EndReason::Error);
            }
            PathLink::SettingUp { again, .. } if again.is_some_and(|again| now >= again) => {
                let is_callee = media.role == Role::Callee;
                *again = is_callee.then(|| now + OFFER_MS);
                let is_offered = media.winner.as_ref().is_some_and(|winner| media.remotes.contains_key(winner));
                // A caller's path is given up for another one; a callee has none, or has been offered one meanwhile.
                if !(is_callee && is_offered) {
                    self.try_again(call_id);
                }
            }
            PathLink::Interrupted { give_up, .. } if now >= *give_up => {
                let why = "the media path broke and did not come back".to_owned();
                self.give_up(call_id, CallError::Media(why), EndReason::RemoteDrop);
            }
            PathLink::Interrupted { restart, .. } if now >= *restart => {
                *restart = now + RESTART_MS;
                let Some(winner) = media.winner.clone().filter(|_| can_negotiate) else { return };
                if media.remotes.contains_key(&winner) {
                    self.tell_peer(call_id, &winner, PeerCommand::Restart);
                } else {
                    self.try_again(call_id);
                }
            }
            PathLink::Idle | PathLink::SettingUp { .. } | PathLink::Connected | PathLink::Interrupted { .. } => {}
        }
    }
}
