//! What is known of the media of one call: its channel and who is in it, the paths to other devices, and its sound.

use std::collections::{BTreeMap, BTreeSet};

use call_protocol::media::{NegotiationBody, TrackState};
use call_protocol::{CallId, ChannelId, Party, Uid, UserId};
use signaling::{Role, Time};

use crate::audio_state::{CallFacts, Stage};
use crate::ids::PathId;
use crate::local_network::LocalNetwork;
use crate::requests::RtcToken;

/// The media side of one call.
#[derive(Debug)]
pub(crate) struct CallMedia {
    pub(crate) call_id: CallId,
    pub(crate) channel: ChannelId,
    pub(crate) role: Role,
    pub(crate) token: TokenState,
    /// The channel says that the token is over, and another one is asked for to join anew.
    pub(crate) token_ran_out: bool,
    pub(crate) membership: Membership,
    /// What the channel was last told of this side's tracks.
    pub(crate) tracks_sent: Option<TrackState>,
    pub(crate) participants: BTreeMap<Uid, Participant>,
    /// Who is behind uids, as the app's mapper has told; it may tell of more than it is asked for.
    pub(crate) users: BTreeMap<Uid, UserId>,
    /// The paths to devices at the other end: while it rings to each one that may take the call, later to the one that did.
    pub(crate) connections: BTreeMap<Party, PeerConnection>,
    /// What the caller has said about its media, while nothing of this device is to be shown.
    pub(crate) pending_offers: Vec<(Party, NegotiationBody)>,
    /// The device at the other end, once the call is accepted.
    pub(crate) peer: Option<Party>,
    pub(crate) held: bool,
    /// Callee: the caller can be connected without media until this side has prepared itself.
    pub(crate) preparation_offered: bool,
    /// Caller: the users of whom the app was told that they ring.
    pub(crate) rung: BTreeSet<UserId>,
    /// Sound came before the app was told whose it is.
    pub(crate) first_audio_pending: bool,
    pub(crate) state: MediaState,
    /// Why the last path to the device at the other end failed, while another one may be tried.
    pub(crate) path_failure: Option<String>,
    pub(crate) local_network: LocalNetwork,
    pub(crate) audio: CallAudio,
}

/// The channel token of a call.
#[derive(Debug)]
pub(crate) enum TokenState {
    Missing,
    /// The app is asked for the first one.
    Fetching,
    Ready(RtcToken),
    /// A party of a call may join the call's channel without one.
    NotNeeded,
}

/// How far the local user is into the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Membership {
    /// The call is not accepted yet.
    NotWanted,
    /// Accepted; waits for a token or for the channel's reply.
    Joining,
    Joined(Uid),
}

/// Another member of the channel.
#[derive(Debug, Default)]
pub(crate) struct Participant {
    /// The app has been told of it; before that its mapper is being asked.
    pub(crate) is_known: bool,
    pub(crate) tracks: TrackState,
}

/// How the media to the other party does.
///
/// ```text
///             accepted                    the path stands
/// Idle ──────────────────▶ Connecting ──────────────────▶ Connected ◀──▶ Reconnecting
///                              │ 20 s                                        │ 15 s
///                              ▼                                             ▼
///                            the call is given up                       the call is given up
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MediaState {
    Idle,
    /// `retry`: a path has failed, and when another one is tried.
    Connecting {
        give_up: Time,
        retry: Option<Time>,
    },
    Connected,
    Reconnecting {
        since: Time,
        give_up: Time,
        restart: Time,
    },
}

/// A path to one device at the other end.
#[derive(Debug)]
pub(crate) struct PeerConnection {
    pub(crate) path: PathId,
    pub(crate) is_open: bool,
    pub(crate) is_connected: bool,
    pub(crate) opened_at: Time,
    /// Whose key the other side's offer named: another one is that of another path.
    pub(crate) fingerprint: Option<String>,
}

/// What this side has chosen about the sound of a call, by whichever handle: there is but this, which is obeyed, told to the app, and told to the
/// other side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct AudioChoices {
    /// The microphone is muted.
    pub(crate) muted: bool,
    /// The other side is not played.
    pub(crate) peer_silenced: bool,
}

/// The sound of one call.
#[derive(Debug, Default)]
pub(crate) struct CallAudio {
    pub(crate) choices: AudioChoices,
    /// The user has taken the call; devices are opened while the arbiter is asked.
    pub(crate) answering: bool,
    /// Caller: the devices that say themselves that they have taken it. Once the arbiter has said which one did, they mean nothing.
    pub(crate) answered_by: BTreeSet<Party>,
    /// Connected, but nothing is to be said or heard yet.
    pub(crate) preparing: bool,
    /// The other side holds the call.
    pub(crate) peer_held: bool,
    /// The microphone was open once in this call.
    pub(crate) had_microphone: bool,
    /// The app was told that there is none.
    pub(crate) lacks_microphone: bool,
}

impl CallMedia {
    pub(crate) fn new(call_id: CallId, role: Role, choices: AudioChoices) -> CallMedia {
        CallMedia {
            call_id,
            channel: call_id.channel(),
            role,
            token: TokenState::Missing,
            token_ran_out: false,
            membership: Membership::NotWanted,
            tracks_sent: None,
            participants: BTreeMap::new(),
            users: BTreeMap::new(),
            connections: BTreeMap::new(),
            pending_offers: Vec::new(),
            peer: None,
            held: false,
            preparation_offered: false,
            rung: BTreeSet::new(),
            first_audio_pending: false,
            state: MediaState::Idle,
            path_failure: None,
            local_network: LocalNetwork::default(),
            audio: CallAudio { choices, ..CallAudio::default() },
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        match self.state {
            MediaState::Idle | MediaState::Connected => None,
            MediaState::Connecting { give_up, retry } => Some(retry.map_or(give_up, |retry| retry.min(give_up))),
            MediaState::Reconnecting { give_up, restart, .. } => Some(give_up.min(restart)),
        }
    }

    /// The path to the device at the other end, once the call is accepted and the path is open.
    pub(crate) fn open_path(&self) -> Option<PathId> {
        self.connections.get(self.peer.as_ref()?)?.open_path()
    }

    /// As its sound sees it.
    pub(crate) fn facts(&self) -> CallFacts {
        let path_to = |device| self.connections.get(device).and_then(PeerConnection::open_path);
        let mut answered = self.audio.answered_by.iter();
        let stage = match (&self.peer, answered.next(), answered.next()) {
            (Some(device), _, _) | (None, Some(device), None) => Stage::Taken { path: path_to(device) },
            (None, Some(_), Some(_)) => Stage::Answering,
            (None, None, _) if self.audio.answering => Stage::Answering,
            (None, None, _) => Stage::Ringing,
        };
        let AudioChoices { muted, peer_silenced: silenced } = self.audio.choices;
        let CallAudio { preparing, peer_held, .. } = self.audio;
        CallFacts { call_id: self.call_id, stage, held: self.held, peer_held, preparing, muted, silenced }
    }

    pub(crate) fn is_ringing(&self) -> bool {
        self.facts().stage == Stage::Ringing
    }

    /// Whether its user speaks in it, or is about to.
    pub(crate) fn wants_microphone(&self) -> bool {
        !self.is_ringing() && !self.held && !self.audio.preparing
    }

    pub(crate) fn rings_here(&self) -> bool {
        self.role == Role::Callee && self.is_ringing()
    }
}

impl PeerConnection {
    pub(crate) fn new(path: PathId, now: Time) -> PeerConnection {
        PeerConnection { path, is_open: false, is_connected: false, opened_at: now, fingerprint: None }
    }

    /// The path, once it is open.
    pub(crate) fn open_path(&self) -> Option<PathId> {
        self.is_open.then_some(self.path)
    }
}
