//! What a kit does about the paths of its call: the same steps as those of `callkit`.

use std::time::Duration;

use call_protocol::end::EndReason;
use call_protocol::media::NegotiationBody;
use call_protocol::{CallMessage, Party, wire};
use rtc_transport::{AddressMode, PathConfig, PathState, Politeness};
use signaling::{Address, Command, Input, Role};

use crate::device::{PathLink, Remote};
use crate::peer::{Peer, PeerCommand, PeerNotice, Report};
use crate::plan::Placement;
use crate::plant::Plant;
use crate::world::World;

/// How long media may take to be set up, in ms.
const SETUP_MS: u64 = 20_000;
/// How long media may be interrupted before the call is given up, in ms.
const INTERRUPTION_MS: u64 = 15_000;
/// How long a path looks for a way: the accept may show it.
const WARM_PATIENCE: Duration = Duration::from_secs(180);
/// How often a new way is looked for meanwhile, in ms.
const RESTART_MS: u64 = 2_000;

impl World {
    /// A device is about to ring: the path to it is set up ahead of the answer.
    pub(crate) fn warm_up(&mut self, at: usize, device: Party) {
        if self.devices[at].warm {
            self.open_path(at, device);
        }
    }

    fn open_path(&mut self, at: usize, other: Party) {
        self.paths += 1;
        let (serial, reports) = (self.paths, self.reports.clone());
        let device = &mut self.devices[at];
        let Some(media) = &mut device.media else { return };
        if media.remotes.contains_key(&other) {
            return;
        }
        let config = PathConfig {
            // What is opened after the accept has nothing to hide.
            address_mode: if media.winner.is_some() { AddressMode::All } else { AddressMode::DefaultRoute },
            politeness: match media.role {
                Role::Caller => Politeness::Impolite,
                Role::Callee => Politeness::Polite,
            },
            failed_after: WARM_PATIENCE,
            ..device.host.path_config()
        };
        let peer = Peer::start(config, (at, other.clone(), serial), reports);
        if media.role == Role::Caller {
            peer.send(PeerCommand::Offer);
        }
        if self.plant == Some(Plant::VoiceBeforeAccept) {
            peer.send(PeerCommand::Voice);
        }
        media.remotes.insert(other, Remote { peer, connected: false });
        self.peers += 1;
    }

    fn tell_peer(&self, at: usize, other: &Party, command: PeerCommand) {
        let remote = self.devices[at].media.as_ref().and_then(|media| media.remotes.get(other));
        if let Some(remote) = remote {
            remote.peer.send(command);
        }
    }

    pub(crate) fn on_negotiation(&mut self, at: usize, from: Party, body: NegotiationBody) {
        let warm = self.devices[at].warm;
        let Some(media) = &mut self.devices[at].media else { return };
        if media.remotes.contains_key(&from) {
            return self.tell_peer(at, &from, PeerCommand::Negotiation(body));
        }
        media.offered.push((from.clone(), body));
        let is_answered = media.accepted || media.winner.is_some();
        let is_winner = media.winner.as_ref() == Some(&from);
        if is_answered || warm {
            self.take_offers(at);
        }
        if is_winner {
            self.open_sound(at, &from);
        }
    }

    /// Opens the paths that the caller has offered.
    pub(crate) fn take_offers(&mut self, at: usize) {
        let Some(media) = &mut self.devices[at].media else { return };
        if media.role == Role::Caller {
            return;
        }
        for (device, body) in std::mem::take(&mut media.offered) {
            self.open_path(at, device.clone());
            self.tell_peer(at, &device, PeerCommand::Negotiation(body));
        }
    }

    /// The call is accepted by this device: the path to it stays, those to others go.
    pub(crate) fn settle_on(&mut self, at: usize, winner: Party) {
        let now = self.now();
        let Some(media) = &mut self.devices[at].media else { return };
        media.remotes.retain(|device, _| *device == winner);
        media.winner = Some(winner.clone());
        let is_connected = media.remotes.get(&winner).is_some_and(|remote| remote.connected);
        media.link = if is_connected { PathLink::Connected } else { PathLink::SettingUp { give_up: now + SETUP_MS } };
        match media.role {
            Role::Caller => self.open_path(at, winner.clone()),
            Role::Callee => self.take_offers(at),
        }
        self.tell_peer(at, &winner, PeerCommand::ShowAllAddresses);
        self.open_sound(at, &winner);
    }

    pub(crate) fn open_sound(&mut self, at: usize, other: &Party) {
        self.tell_peer(at, other, PeerCommand::Voice);
    }

    /// Says a word on the media path to a device, if it stands.
    pub(crate) fn say_directly(&mut self, at: usize, to: &Party, message: &CallMessage) {
        if self.plant != Some(Plant::NothingOnThePath) {
            self.tell_peer(at, to, PeerCommand::Control(wire::encode_call(message).into()));
        }
    }

    pub(crate) fn is_connected_to(&self, at: usize, device: &Party) -> bool {
        let remote = self.devices[at].media.as_ref().and_then(|media| media.remotes.get(device));
        remote.is_some_and(|remote| remote.connected)
    }

    pub(crate) fn on_report(&mut self, Report { device: at, other, serial, notice }: Report) {
        if let PeerNotice::Gone = notice {
            self.peers -= 1;
        }
        let Some(media) = &mut self.devices[at].media else { return };
        let is_winner = media.winner.as_ref() == Some(&other);
        let setting_up = matches!(media.link, PathLink::SettingUp { .. });
        if media.remotes.get(&other).is_none_or(|remote| remote.peer.serial != serial) {
            return;
        }
        match notice {
            PeerNotice::Negotiation(body) => {
                let call_id = self.call_id;
                // A device that has left the call meanwhile is told nothing.
                let _ = self.try_input(at, Input::Command(Command::Negotiate { call_id, to: other, body }));
            }
            PeerNotice::Control(bytes) => match wire::decode_call(&bytes) {
                Ok(Some(message)) if message.call_id == self.call_id => {
                    self.log(format!("{at} hears on the path: {}", message.word.name()));
                    self.input(at, Input::Message { from: Address::Device(other), message });
                }
                other => self.broken(format!("a control word is garbled: {other:?}")),
            },
            PeerNotice::State(state) => self.on_path_state(at, &other, state),
            PeerNotice::Failed(why) => {
                self.log(format!("{at}: the path to {other:?} failed: {why}"));
                self.failures.push(why);
                if is_winner && setting_up {
                    self.give_up(at, EndReason::Error);
                } else if !is_winner && let Some(media) = &mut self.devices[at].media {
                    media.remotes.remove(&other);
                }
            }
            PeerNotice::Voice { from, number, opened } => self.on_voice(at, &other, from, number, opened),
            PeerNotice::Gone => {}
        }
    }

    fn on_path_state(&mut self, at: usize, other: &Party, state: PathState) {
        let now = self.now();
        self.log(format!("{at}: the path to {} is {state:?}", other.device));
        let Some(media) = &mut self.devices[at].media else { return };
        let is_winner = media.winner.as_ref() == Some(other);
        let Some(remote) = media.remotes.get_mut(other) else { return };
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
                    media.link = PathLink::Interrupted { give_up: now + INTERRUPTION_MS, restart: now };
                } else if !is_winner && state != PathState::Disconnected {
                    media.remotes.remove(other);
                }
            }
            PathState::New | PathState::Connecting => {}
        }
        self.plan_wake(at);
    }

    pub(crate) fn on_time_path(&mut self, at: usize) {
        let now = self.now();
        let can_negotiate = self.devices[at].connected || self.plan.placement == Placement::Caller;
        let Some(media) = &mut self.devices[at].media else { return };
        match &mut media.link {
            PathLink::SettingUp { give_up } if now >= *give_up => self.give_up(at, EndReason::Error),
            PathLink::Interrupted { give_up, .. } if now >= *give_up => self.give_up(at, EndReason::RemoteDrop),
            PathLink::Interrupted { restart, .. } if now >= *restart => {
                *restart = now + RESTART_MS;
                let looks = can_negotiate && self.plant != Some(Plant::NobodyRebinds);
                if let (true, Some(winner)) = (looks, media.winner.clone()) {
                    self.tell_peer(at, &winner, PeerCommand::Restart);
                }
            }
            PathLink::Idle | PathLink::SettingUp { .. } | PathLink::Connected | PathLink::Interrupted { .. } => {}
        }
    }

    fn give_up(&mut self, at: usize, reason: EndReason) {
        self.log(format!("{at} gives up: {reason}"));
        let call_id = self.call_id;
        // It may be over already.
        let _ = self.try_input(at, Input::Command(Command::Fail { call_id, reason }));
    }

    /// The device has noticed that its address is another one.
    pub(crate) fn rebind(&mut self, at: usize) {
        if self.plant == Some(Plant::NobodyRebinds) {
            return;
        }
        let Some(media) = &self.devices[at].media else { return };
        media.remotes.values().for_each(|remote| remote.peer.send(PeerCommand::Rebind));
    }
}
