//! The media paths of a call: while it rings one to each device that may take it, after the accept one to the device that did.

use std::time::Duration;

use call_protocol::end::EndReason;
use call_protocol::media::{Description, DescriptionKind, NegotiationBody};
use call_protocol::{CallId, CallMessage, Party, wire};
use signaling::{Address, Command, Input, Role, Time};

use super::Engine;
use crate::call_media::{CallMedia, MediaState, Membership, PeerConnection};
use crate::error::CallError;
use crate::ids::PathId;
use crate::input::{PathNotice, PathState};
use crate::output::{Output, PathCommand, PathConfig};
use crate::settings::WarmPath;

/// How long media may take to be set up, in ms.
const SETUP_MS: u64 = 20_000;
/// After so long a path that failed while it was set up is tried again, and so long one is left alone that the other side wants anew, in ms.
const RETRY_MS: u64 = 1_000;
/// How long a callee that has taken a call waits for an offer before it asks for one, in ms.
const OFFER_MS: u64 = 3_000;
/// How long media may be interrupted before the call is given up, in ms.
const INTERRUPTION_MS: u64 = 15_000;
/// How often a new way is looked for while media is interrupted, in ms.
const RESTART_MS: u64 = 2_000;
/// How long a path looks for a way: longer than it may ring, since the way may be shown by the accept only. How long a call waits for media
/// is counted here.
const PATH_PATIENCE: Duration = Duration::from_secs(180);
/// Devices that a caller sets a path up to while they ring; further ones get theirs if they answer.
const EARLY_PATHS: usize = 8;
/// Steps of the caller kept while it rings: an offer and its candidates.
const PENDING_OFFERS: usize = 40;

impl PeerConnection {
    /// Whether the other side says this about this path, and not about another one that it has opened since.
    fn is_meant(&self, body: &NegotiationBody) -> bool {
        self.is_connected || fingerprint_in(body).is_none_or(|named| self.fingerprint.as_deref() == Some(named))
    }
}

/// The key that an offer names (RFC 8122, section 5).
fn fingerprint_in(body: &NegotiationBody) -> Option<&str> {
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
impl Engine {
    /// A device of the callee is about to ring: the path to it is set up ahead of the answer.
    pub(super) fn preconnect(&mut self, call_id: CallId, device: Party) {
        let Some(media) = self.calls.get(&call_id) else { return };
        if media.connections.len() < EARLY_PATHS && self.may_preconnect() {
            self.open_path(call_id, device, self.settings.warm_path);
        }
    }

    fn may_preconnect(&self) -> bool {
        match self.settings.warm_path {
            WarmPath::DefaultRoute | WarmPath::Full => true,
            WarmPath::RelayOnly => self.settings.has_relay,
            WarmPath::Off => false,
        }
    }

    /// Opens a path, if there is none; a caller makes its offer.
    fn open_path(&mut self, call_id: CallId, device: Party, warm_path: WarmPath) {
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        if media.connections.contains_key(&device) {
            return;
        }
        self.last_path += 1;
        let path = PathId(self.last_path);
        let config = PathConfig {
            stun_servers: self.stun_servers.clone(),
            role: media.role,
            relay_only: warm_path == WarmPath::RelayOnly,
            default_routes_only: warm_path == WarmPath::DefaultRoute,
            failed_after: PATH_PATIENCE,
        };
        media.connections.insert(device, PeerConnection::new(path, self.now));
        self.outputs.push_back(Output::OpenPath { path, config });
        if media.role == Role::Caller {
            self.tell_path(path, PathCommand::Offer);
        }
    }

    pub(super) fn close_path(&mut self, path: PathId) {
        self.outputs.push_back(Output::ClosePath { path });
    }

    fn close_connection(&mut self, call_id: CallId, device: &Party) {
        let connection = self.calls.get_mut(&call_id).and_then(|media| media.connections.remove(device));
        if let Some(connection) = connection {
            self.close_path(connection.path);
        }
    }

    /// A device at the other end says something about its media. A callee that is to show nothing yet keeps it.
    pub(super) fn on_negotiation(&mut self, call_id: CallId, from: Party, body: NegotiationBody) {
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        match media.connections.get_mut(&from) {
            // The caller has begun anew.
            Some(connection) if media.role == Role::Callee && !connection.is_meant(&body) => {
                self.close_connection(call_id, &from);
            }
            Some(_) if body == NegotiationBody::Restart && matches!(media.state, MediaState::Connecting { .. }) => {
                return self.on_path_wanted(call_id, from);
            }
            Some(connection) => {
                let path = connection.path;
                return self.tell_path(path, PathCommand::Negotiation(body));
            }
            None => {}
        }
        let may_preconnect = self.may_preconnect();
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        // A candidate means nothing without the offer that it belongs to.
        let belongs = is_offer(&body) || media.pending_offers.iter().any(|(device, _)| *device == from);
        if media.role == Role::Callee && belongs && media.pending_offers.len() < PENDING_OFFERS {
            media.pending_offers.push((from, body));
        }
        let is_answered = media.membership != Membership::NotWanted || media.peer.is_some();
        if is_answered {
            self.take_offers(call_id, WarmPath::Full);
        } else if may_preconnect {
            self.take_offers(call_id, self.settings.warm_path);
        }
    }

    /// Opens the paths that the caller has offered.
    pub(super) fn take_offers(&mut self, call_id: CallId, warm_path: WarmPath) {
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        if media.role == Role::Caller {
            return;
        }
        for (device, body) in std::mem::take(&mut media.pending_offers) {
            self.open_path(call_id, device.clone(), warm_path);
            let connection = self.calls.get_mut(&call_id).and_then(|media| media.connections.get_mut(&device));
            if let Some(connection) = connection {
                if let Some(fingerprint) = fingerprint_in(&body) {
                    connection.fingerprint = Some(fingerprint.to_owned());
                }
                let path = connection.path;
                self.tell_path(path, PathCommand::Negotiation(body));
            }
        }
    }

    /// The callee could not do anything with the path that it was offered: another one is, unless this one is new.
    fn on_path_wanted(&mut self, call_id: CallId, device: Party) {
        let now = self.now;
        let Some(media) = self.calls.get_mut(&call_id).filter(|media| media.role == Role::Caller) else { return };
        let Some(connection) = media.connections.get(&device) else { return };
        let at = connection.opened_at + RETRY_MS;
        match &mut media.state {
            MediaState::Connecting { retry, .. } if now < at => {
                *retry = Some(retry.map_or(at, |retry| retry.min(at)));
            }
            MediaState::Connecting { .. } => self.reopen_path(call_id),
            // A call that only rings sets its path up as it is taken.
            MediaState::Idle | MediaState::Connected | MediaState::Reconnecting { .. } => {}
        }
    }

    /// The path that was being set up is given up for another one. The callee can offer none, and asks for it.
    fn reopen_path(&mut self, call_id: CallId) {
        let Some(media) = self.calls.get(&call_id) else { return };
        let (role, Some(peer)) = (media.role, media.peer.clone()) else { return };
        self.close_connection(call_id, &peer);
        match role {
            Role::Caller => self.open_path(call_id, peer, WarmPath::Full),
            Role::Callee => self.negotiate(call_id, peer, NegotiationBody::Restart),
        }
    }

    fn tell_path(&mut self, path: PathId, command: PathCommand) {
        self.outputs.push_back(Output::TellPath { path, command });
    }

    fn tell_path_to(&mut self, call_id: CallId, device: &Party, command: PathCommand) {
        let connection = self.calls.get(&call_id).and_then(|media| media.connections.get(device));
        if let Some(path) = connection.map(|connection| connection.path) {
            self.tell_path(path, command);
        }
    }

    fn negotiate(&mut self, call_id: CallId, to: Party, body: NegotiationBody) {
        if let Err(error) = self.try_give(Input::Command(Command::Negotiate { call_id, to, body })) {
            tracing::debug!(%error, "a step of negotiation");
        }
    }

    /// The call is accepted by this device: the path to it stays, those to others go.
    pub(super) fn connect_to(&mut self, call_id: CallId, peer: Party) {
        let now = self.now;
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        media.peer = Some(peer.clone());
        let others: Vec<Party> = media.connections.keys().filter(|device| **device != peer).cloned().collect();
        let is_connected = media.connections.get(&peer).is_some_and(|connection| connection.is_connected);
        media.state = if is_connected {
            MediaState::Connected
        } else {
            MediaState::Connecting { give_up: now + SETUP_MS, retry: None }
        };
        let (role, has_failed) = (media.role, media.path_failure.is_some());
        others.iter().for_each(|device| self.close_connection(call_id, device));
        match role {
            Role::Caller => self.open_path(call_id, peer.clone(), WarmPath::Full),
            Role::Callee => {
                self.take_offers(call_id, WarmPath::Full);
                let media = self.calls.get_mut(&call_id).filter(|media| !media.connections.contains_key(&peer));
                if let Some(MediaState::Connecting { retry, .. }) = media.map(|media| &mut media.state) {
                    // What was offered to the process that had the call before is not offered again unless it is asked for.
                    *retry = Some(if has_failed { now } else { now + OFFER_MS });
                }
            }
        }
        // Shows nothing where the path is of relays only.
        self.tell_path_to(call_id, &peer, PathCommand::ShowAllAddresses);
    }
}

/// What is sent on the path itself.
impl Engine {
    /// Sends a message on the media path to a device, if it stands.
    pub(super) fn send_in_band(&mut self, to: &Party, message: CallMessage) {
        tracing::debug!(call = %message.call_id, word = message.word.name(), "sent on the media path");
        self.tell_path_to(message.call_id, to, PathCommand::Send(message));
    }

    /// The same to every device at the other end.
    pub(super) fn send_in_band_to_all(&mut self, message: &CallMessage) {
        let Some(media) = self.calls.get(&message.call_id) else { return };
        let devices: Vec<Party> = media.connections.keys().cloned().collect();
        devices.iter().for_each(|device| self.send_in_band(device, message.clone()));
    }

    pub(super) fn is_connected_to(&self, call_id: CallId, device: &Party) -> bool {
        let connection = self.calls.get(&call_id).and_then(|media| media.connections.get(device));
        connection.is_some_and(|connection| connection.is_connected)
    }

    /// The encryption vouches for the device; it may speak of the call whose path it is only.
    fn on_in_band(&mut self, call_id: CallId, from: Party, bytes: &[u8]) {
        match wire::decode_call(bytes) {
            Ok(Some(message)) if message.call_id == call_id => {
                self.give(Input::Message { from: Address::Device(from), message });
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "an in-band message"),
        }
    }
}

/// How the paths do.
impl Engine {
    pub(super) fn on_path(&mut self, path: PathId, notice: PathNotice) {
        let Some((call_id, device)) = self.connection_of(path) else { return };
        match notice {
            PathNotice::Opened => {
                let connection = self.calls.get_mut(&call_id).and_then(|media| media.connections.get_mut(&device));
                if let Some(connection) = connection {
                    connection.is_open = true;
                }
            }
            PathNotice::Negotiation(body) => self.negotiate(call_id, device, body),
            PathNotice::Message(bytes) => self.on_in_band(call_id, device, &bytes),
            PathNotice::State(state) => self.on_path_state(call_id, &device, state),
            PathNotice::Replaced => self.on_path_replaced(call_id, device),
            PathNotice::Failed(why) => self.on_path_failed(call_id, &device, why),
        }
        self.update_networks();
    }

    fn connection_of(&self, path: PathId) -> Option<(CallId, Party)> {
        let of = |media: &CallMedia| {
            let found = media.connections.iter().find(|(_, connection)| connection.path == path);
            found.map(|(device, _)| (media.call_id, device.clone()))
        };
        self.calls.values().find_map(of)
    }

    /// The device goes on with another path, as one does whose call another process has taken over. The caller makes a new one, and the callee asks for it.
    fn on_path_replaced(&mut self, call_id: CallId, device: Party) {
        self.close_connection(call_id, &device);
        let now = self.now;
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        let is_peer = media.peer.as_ref() == Some(&device);
        if is_peer && media.state == MediaState::Connected {
            let (give_up, restart) = (now + INTERRUPTION_MS, now + RESTART_MS);
            media.state = MediaState::Reconnecting { since: now, give_up, restart };
        }
        match media.role {
            Role::Caller if is_peer => self.open_path(call_id, device, WarmPath::Full),
            Role::Caller => self.preconnect(call_id, device),
            Role::Callee => {}
        }
    }

    /// A path failed. One to the device that has the call, that was being set up, is tried again, until its time is over; others when the call is
    /// accepted.
    fn on_path_failed(&mut self, call_id: CallId, device: &Party, why: String) {
        let now = self.now;
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        if media.peer.as_ref() == Some(device) {
            match &mut media.state {
                MediaState::Connecting { retry, .. } => {
                    tracing::info!(call = %call_id, %why, "a path failed as it was set up");
                    *retry = Some(now + RETRY_MS);
                }
                MediaState::Idle | MediaState::Connected | MediaState::Reconnecting { .. } => return,
            }
        }
        media.path_failure = Some(why);
        self.close_connection(call_id, device);
    }

    fn on_path_state(&mut self, call_id: CallId, device: &Party, state: PathState) {
        let now = self.now;
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        let is_peer = media.peer.as_ref() == Some(device);
        let Some(connection) = media.connections.get_mut(device) else { return };
        match state {
            PathState::Connected => {
                connection.is_connected = true;
                if is_peer {
                    media.state = MediaState::Connected;
                }
            }
            PathState::Disconnected | PathState::Failed | PathState::Closed => {
                connection.is_connected = false;
                if is_peer && media.state == MediaState::Connected {
                    media.state = MediaState::Reconnecting { since: now, give_up: now + INTERRUPTION_MS, restart: now };
                    // Whatever comes back, this one does not.
                    if state == PathState::Closed {
                        self.close_connection(call_id, device);
                    }
                } else if state != PathState::Disconnected {
                    if is_peer {
                        self.on_path_failed(call_id, device, "no way to the other end was found".into());
                    } else {
                        self.close_connection(call_id, device);
                    }
                }
            }
            PathState::Connecting => {}
        }
    }

    pub(super) fn check_connections(&mut self) {
        let calls: Vec<CallId> = self.calls.keys().copied().collect();
        calls.into_iter().for_each(|call_id| self.check_connection(call_id));
    }

    fn check_connection(&mut self, call_id: CallId) {
        let now = self.now;
        let can_negotiate = self.may_call();
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        let has_path = media.peer.as_ref().is_some_and(|peer| media.connections.contains_key(peer));
        match &mut media.state {
            MediaState::Connecting { give_up, .. } if now >= *give_up => {
                let why = media.path_failure.take().map(|why| format!(": {why}")).unwrap_or_default();
                let why = format!("no media path to the other end within 20 s{why}");
                self.give_up(call_id, CallError::Media(why), EndReason::Error);
            }
            MediaState::Connecting { retry, .. } if retry.is_some_and(|at: Time| now >= at) => {
                let is_callee = media.role == Role::Callee;
                *retry = is_callee.then(|| now + OFFER_MS);
                // A caller's path is given up for another one; a callee has none, or has been offered one meanwhile.
                if !(is_callee && has_path) {
                    self.reopen_path(call_id);
                }
            }
            MediaState::Reconnecting { give_up, .. } if now >= *give_up => {
                let why = "the media path broke and did not come back".to_owned();
                self.give_up(call_id, CallError::Media(why), EndReason::RemoteDrop);
            }
            MediaState::Reconnecting { restart, .. } if now >= *restart => {
                *restart = now + RESTART_MS;
                let Some(peer) = media.peer.clone().filter(|_| can_negotiate) else { return };
                if has_path {
                    self.tell_path_to(call_id, &peer, PathCommand::RestartIce);
                } else {
                    self.reopen_path(call_id);
                }
            }
            MediaState::Idle
            | MediaState::Connecting { .. }
            | MediaState::Connected
            | MediaState::Reconnecting { .. } => {}
        }
    }
}
