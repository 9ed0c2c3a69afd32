//! The networks of both sides, and a device that stood still: what follows for the calls.

use call_protocol::CallId;
use signaling::{Input, Time};

use super::Engine;
use crate::call_media::{CallMedia, MediaState};
use crate::event::{CallEvent, KitEvent};
use crate::output::{Output, PathCommand};

/// After so long an interruption of the media that the server does not explain it is the other side's, in ms.
const UNEXPLAINED_MS: u64 = 6_000;
/// A wake that comes so late shows that the device stood still, in ms.
const STALLED_MS: u64 = 1_000;

/// This side.
impl Engine {
    /// The addresses of this machine changed: the server is connected to anew where the connection does not lead there any more, and a new
    /// way is looked for, for every call.
    pub(super) fn on_network_changed(&mut self, is_stream_gone: bool) {
        tracing::info!("the network changed");
        self.session.on_network_changed(self.now, is_stream_gone);
        self.follow_session();
        for connection in self.calls.values().flat_map(|media| media.connections.values()) {
            // A path that is not there yet cannot be moved.
            let command = if connection.is_connected { PathCommand::Rebind } else { PathCommand::RestartIce };
            self.outputs.push_back(Output::TellPath { path: connection.path, command });
        }
    }

    /// Tells what has changed. Called when the link to the server or a path has.
    pub(super) fn update_networks(&mut self) {
        let (now, has_server) = (self.now, self.connected);
        let update = |media: &mut CallMedia| {
            let give_up = interruption(media.state).map(|(_, give_up)| give_up);
            Some((media.call_id, media.local_network.update(now, has_server, give_up)?))
        };
        let news: Vec<(CallId, Option<u32>)> = self.calls.values_mut().filter_map(update).collect();
        for (call_id, ends_in_ms) in news {
            let (available, ends_in_ms) = (ends_in_ms.is_none(), ends_in_ms.unwrap_or(0));
            self.emit_of(call_id, KitEvent::NetworkAvailable { call_id, available, ends_in_ms });
        }
    }

    /// The device wanted to be awake at `due`. What others said meanwhile still waits to be read, and is nobody's silence.
    pub(super) fn check_stall(&mut self, due: Option<Time>) {
        let late = due.map_or(0, |due| self.now - due);
        if late >= STALLED_MS {
            tracing::info!(late, "stood still");
            self.on_stalled(late);
        }
    }

    fn on_stalled(&mut self, ms: u64) {
        for media in self.calls.values_mut() {
            match &mut media.state {
                MediaState::Connecting { give_up, .. } | MediaState::Reconnecting { give_up, .. } => {
                    *give_up = *give_up + ms;
                }
                MediaState::Idle | MediaState::Connected => {}
            }
        }
        self.give(Input::Stalled { ms });
    }
}

/// The other side.
impl Engine {
    pub(super) fn on_reachability(&mut self, call_id: CallId, reachable: bool, ends_in_ms: u32) {
        let until = (!reachable).then(|| self.now + u64::from(ends_in_ms));
        if let Some(call) = self.app_calls.get_mut(call_id) {
            call.peer_away = until;
            self.check_peer_network(call_id);
        }
        self.emit_of(call_id, KitEvent::PeerReachable { call_id, reachable, ends_in_ms });
    }

    pub(super) fn check_peer_networks(&mut self) {
        self.app_calls.ids().into_iter().for_each(|call_id| self.check_peer_network(call_id));
    }

    /// The other side is without network if the server says so, or says nothing for long while there is no media. Of this side's own network
    /// both kinds of listeners hear alike.
    fn check_peer_network(&mut self, call_id: CallId) {
        let (now, has_server) = (self.now, self.connected);
        let Some(call) = self.app_calls.get_mut(call_id) else { return };
        let interrupted = self.calls.get(&call_id).and_then(|media| interruption(media.state));
        let unexplained = interrupted.filter(|(since, _)| has_server && now - *since >= UNEXPLAINED_MS);
        let peer = call.peer_away.or(unexplained.map(|(_, give_up)| give_up));
        let was_away = std::mem::replace(&mut call.notified_away, peer.is_some());
        let is_peer = true;
        match peer {
            Some(until) if !was_away => {
                let ends_in_ms = u32::try_from(until - now).unwrap_or(u32::MAX);
                self.emit_call(call_id, CallEvent::NetworkUnavailable { is_peer, ends_in_ms });
            }
            None if was_away => self.emit_call(call_id, CallEvent::NetworkRestored { is_peer }),
            Some(_) | None => {}
        }
    }
}

/// Since when media is interrupted, and when the call is given up for it.
fn interruption(state: MediaState) -> Option<(Time, Time)> {
    match state {
        MediaState::Reconnecting { since, give_up, .. } => Some((since, give_up)),
        MediaState::Idle | MediaState::Connecting { .. } | MediaState::Connected => None,
    }
}
