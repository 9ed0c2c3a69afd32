//! Media: the channel is joined; who is in it, and what each sends.

use std::collections::{BTreeMap, BTreeSet};

use call_protocol::end::EndReason;
use call_protocol::media::{
    ChannelEvent, ChannelEventBody, ChannelRequest, ChannelRequestBody, JoinRefusal, Member, NegotiationBody,
    TrackState,
};
use call_protocol::session::ClientBody;
use call_protocol::{CallId, ChannelId, Party, Uid, UserId};
use signaling::{Role, Time};

use crate::core::{Core, Report};
use crate::error::CallError;
use crate::events::CallKitEvent;
use crate::handlers::{RtcToken, RtcTokenRequest, answered};
use crate::network::OwnNetwork;
use crate::paths::Remote;
use crate::sound::{CallSound, SoundChoices};

/// The media side of one call.
pub(crate) struct Media {
    pub(crate) call_id: CallId,
    channel: ChannelId,
    pub(crate) role: Role,
    token: TokenState,
    /// The channel says that the token is over, and another one is asked for to join anew.
    token_ran_out: bool,
    pub(crate) membership: Membership,
    /// What the channel was last told of this side's tracks.
    tracks_said: Option<TrackState>,
    pub(crate) others: BTreeMap<Uid, Other>,
    /// Who is behind uids, as the app's mapper has told; it may tell of more than it is asked for.
    users: BTreeMap<Uid, UserId>,
    /// The paths to devices at the other end: while it rings to each one that may take the call, later to the one that did.
    pub(crate) remotes: BTreeMap<Party, Remote>,
    /// What the caller has said about its media, while nothing of this device is to be shown.
    pub(crate) offered: Vec<(Party, NegotiationBody)>,
    /// The device at the other end, once the call is accepted.
    pub(crate) winner: Option<Party>,
    pub(crate) held: bool,
    /// Callee: the caller can be connected without media until this side has prepared itself.
    pub(crate) offers_preparation: bool,
    /// Caller: the users of whom the app was told that they ring.
    pub(crate) rung: BTreeSet<UserId>,
    /// Sound came before the app was told whose it is.
    pub(crate) first_audio_untold: bool,
    pub(crate) link: PathLink,
    /// Why the last path to the device at the other end failed, while another one may be tried.
    pub(crate) path_failure: Option<String>,
    pub(crate) own_network: OwnNetwork,
    pub(crate) sound: CallSound,
}

/// The channel token of a call.
enum TokenState {
    Missing,
    Fetching,
    Ready(RtcToken),
    /// A party of a call may join the call's channel without one.
    NotNeeded,
}

/// How far the local user is into the channel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Membership {
    /// The call is not accepted yet.
    NotWanted,
    /// Accepted; waits for a token or for the channel's reply.
    Joining,
    Joined(Uid),
}

/// Another member of the channel.
#[derive(Default)]
pub(crate) struct Other {
    user: Option<UserId>,
    /// The app has been told of it; before that its mapper is being asked.
    pub(crate) told: bool,
    tracks: TrackState,
}

/// How the path to the other party does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathLink {
    Idle,
    /// `again`: one has failed, and when another one is tried.
    SettingUp {
        give_up: Time,
        again: Option<Time>,
    },
    Connected,
    Interrupted {
        since: Time,
        give_up: Time,
        restart: Time,
    },
}

impl Media {
    pub(crate) fn new(call_id: CallId, role: Role, choices: SoundChoices) -> Media {
        Media {
            call_id,
            channel: call_id.channel(),
            role,
            token: TokenState::Missing,
            token_ran_out: false,
            membership: Membership::NotWanted,
            tracks_said: None,
            others: BTreeMap::new(),
            users: BTreeMap::new(),
            remotes: BTreeMap::new(),
            offered: Vec::new(),
            winner: None,
            held: false,
            offers_preparation: false,
            rung: BTreeSet::new(),
            first_audio_untold: false,
            link: PathLink::Idle,
            path_failure: None,
            own_network: OwnNetwork::default(),
            sound: CallSound { choices, ..CallSound::default() },
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        match self.link {
            PathLink::Idle | PathLink::Connected => None,
            PathLink::SettingUp { give_up, again } => Some(again.map_or(give_up, |again| again.min(give_up))),
            PathLink::Interrupted { give_up, restart, .. } => Some(give_up.min(restart)),
        }
    }
}

/// Token and join.
impl Core {
    /// Asks the app for a channel token, ahead of the join, so that the accept does not wait for it.
    pub(crate) fn fetch_token(&mut self, call_id: CallId) {
        let has_face = self.faces.is_own(call_id);
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        if let (true, TokenState::Missing) = (has_face, &media.token) {
            media.token = TokenState::NotNeeded;
            return self.join_if_wanted(call_id);
        }
        let uid = match (&media.token, media.membership) {
            (TokenState::Fetching | TokenState::NotNeeded, _) => return,
            (TokenState::Ready(token), _) => Some(token.uid),
            (TokenState::Missing, Membership::Joined(uid)) => Some(uid),
            (TokenState::Missing, Membership::NotWanted | Membership::Joining) => None,
        };
        let reports = self.reports.clone();
        let request = RtcTokenRequest { channel: media.channel.clone(), app_id: self.settings.app_id.clone(), uid };
        let Some(handler) = self.supplied.token_handler() else {
            let token = Err("no handler is set; call set_rtc_token_handler()".to_owned());
            return self.report(Report::Token { call_id, token });
        };
        if !matches!(media.token, TokenState::Ready(_)) {
            media.token = TokenState::Fetching;
        }
        tokio::spawn(async move {
            let token = answered(async move { handler.rtc_token(request).await }).await;
            let _ = reports.send(Report::Token { call_id, token }).await;
        });
    }

    pub(crate) fn on_token(&mut self, call_id: CallId, token: Result<RtcToken, String>) {
        let has_face = self.faces.is_own(call_id);
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        match token {
            Ok(token) => {
                let text = token.token.clone();
                media.token = TokenState::Ready(token);
                if !media.token_ran_out && matches!(media.membership, Membership::Joined(_)) {
                    return self.request(call_id, ChannelRequestBody::RenewToken { token: text });
                }
                self.join_if_wanted(call_id);
            }
            Err(why) => {
                if let TokenState::Fetching = media.token {
                    media.token = TokenState::Missing;
                }
                let can_do_without = has_face && matches!(media.token, TokenState::Missing);
                match media.membership {
                    _ if can_do_without => self.fetch_token(call_id),
                    // It is asked for again at the join.
                    Membership::NotWanted => tracing::debug!("no channel token yet"),
                    // The old token still holds; the channel asks again.
                    Membership::Joined(_) if !media.token_ran_out => {
                        self.fail_with(Some(call_id), CallError::FetchTokenFailed(why));
                    }
                    Membership::Joining | Membership::Joined(_) => {
                        self.give_up(call_id, CallError::FetchTokenFailed(why), EndReason::Error);
                    }
                }
            }
        }
    }

    /// There is a token now, or none is needed: goes in if this is what is waited for.
    fn join_if_wanted(&mut self, call_id: CallId) {
        let Some(media) = self.calls.get(&call_id) else { return };
        match media.membership {
            Membership::Joining => self.send_join(call_id),
            Membership::Joined(_) if media.token_ran_out => self.send_join(call_id),
            Membership::NotWanted | Membership::Joined(_) => {}
        }
    }

    pub(crate) fn join(&mut self, call_id: CallId) {
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        tracing::debug!(call = %call_id, "joining the channel");
        media.membership = Membership::Joining;
        match media.token {
            TokenState::Ready(_) | TokenState::NotNeeded => self.send_join(call_id),
            TokenState::Missing => self.fetch_token(call_id),
            TokenState::Fetching => {}
        }
    }

    /// After a server has lost the session: the channels do not know this member any more.
    pub(crate) fn join_again(&mut self) {
        let member = |media: &&Media| media.membership != Membership::NotWanted;
        let calls: Vec<CallId> = self.calls.values().filter(member).map(|media| media.call_id).collect();
        for call_id in calls {
            self.send_join(call_id);
        }
    }

    fn send_join(&mut self, call_id: CallId) {
        let tracks = self.tracks(call_id);
        let token = match self.calls.get(&call_id).map(|media| &media.token) {
            Some(TokenState::Ready(token)) => token.token.clone(),
            Some(TokenState::NotNeeded) => String::new(),
            Some(TokenState::Missing | TokenState::Fetching) | None => return,
        };
        self.said_tracks(call_id, tracks);
        self.request(call_id, ChannelRequestBody::Join { token, tracks });
    }

    fn tracks(&self, call_id: CallId) -> TrackState {
        let muted = self.calls.get(&call_id).is_none_or(|media| media.sound.choices.muted);
        TrackState { audio_muted: muted, video_muted: true }
    }

    /// Tells the others what this side sends, wherever they were told something else.
    pub(crate) fn update_tracks(&mut self) {
        let joined = self.calls.values().filter(|media| matches!(media.membership, Membership::Joined(_)));
        let stale: Vec<CallId> = joined
            .filter(|media| media.tracks_said != Some(self.tracks(media.call_id)))
            .map(|media| media.call_id)
            .collect();
        for call_id in stale {
            let tracks = self.tracks(call_id);
            self.said_tracks(call_id, tracks);
            self.request(call_id, ChannelRequestBody::Tracks(tracks));
        }
    }

    fn request(&mut self, call_id: CallId, body: ChannelRequestBody) {
        let Some(media) = self.calls.get(&call_id) else { return };
        let channel = media.channel.clone();
        self.send(ClientBody::Channel(ChannelRequest { channel, body }));
    }

    fn said_tracks(&mut self, call_id: CallId, tracks: TrackState) {
        if let Some(media) = self.calls.get_mut(&call_id) {
            media.tracks_said = Some(tracks);
        }
    }

    /// The call is over: out of the channel, paths closed, devices released if no other call has them.
    pub(crate) fn leave(&mut self, call_id: CallId) {
        let Some(media) = self.calls.remove(&call_id) else { return };
        if media.membership != Membership::NotWanted {
            let (channel, body) = (media.channel.clone(), ChannelRequestBody::Leave);
            self.send(ClientBody::Channel(ChannelRequest { channel, body }));
        }
        self.end_sound_of(&media);
    }
}

/// What the channel tells.
impl Core {
    pub(crate) fn on_channel(&mut self, event: ChannelEvent) {
        let Some(media) = self.calls.values_mut().find(|media| media.channel == event.channel) else { return };
        let call_id = media.call_id;
        match event.body {
            ChannelEventBody::Joined { uid, members, stun_servers } => {
                self.on_joined(call_id, uid, members, stun_servers);
            }
            ChannelEventBody::JoinRefused { reason } => self.on_refused(call_id, reason),
            ChannelEventBody::MemberJoined(member) => self.on_member(call_id, member),
            ChannelEventBody::MemberLeft { uid, .. } => {
                media.others.remove(&uid);
            }
            // Between two parties media is negotiated by words of the call, which need no channel.
            ChannelEventBody::Description { .. } | ChannelEventBody::Candidate { .. } => {}
            ChannelEventBody::Tracks { uid, tracks } => self.on_tracks(call_id, uid, tracks),
            ChannelEventBody::TokenExpiring { .. } => self.fetch_token(call_id),
        }
    }

    fn on_joined(&mut self, call_id: CallId, uid: Uid, members: Vec<Member>, stun_servers: Vec<String>) {
        if !stun_servers.is_empty() {
            self.stun_servers = stun_servers;
        }
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        let again = matches!(media.membership, Membership::Joined(_));
        media.membership = Membership::Joined(uid);
        media.token_ran_out = false;
        if !again {
            let channel = media.channel.clone();
            self.tell_of(call_id, CallKitEvent::JoinedChannel { call_id, channel });
        }
        for member in members {
            self.on_member(call_id, member);
        }
    }

    /// A token may run out while it rings, while the server is away, or because no renewal came in time: another one is asked for, once.
    fn on_refused(&mut self, call_id: CallId, reason: JoinRefusal) {
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        let is_over = reason == JoinRefusal::TokenExpired;
        if !is_over || std::mem::replace(&mut media.token_ran_out, true) {
            return self.give_up(call_id, CallError::Join(reason), EndReason::Error);
        }
        media.token = TokenState::Missing;
        self.fetch_token(call_id);
    }

    fn on_member(&mut self, call_id: CallId, member: Member) {
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        let Member { uid, tracks } = member;
        if media.others.contains_key(&uid) {
            self.on_tracks(call_id, uid, tracks);
            return;
        }
        media.others.insert(uid, Other { tracks, ..Other::default() });
        if media.users.contains_key(&uid) {
            return self.on_user(call_id, uid);
        }
        self.ask_who(call_id, uid);
    }

    /// Asks the app who is behind a uid; the app is told of the member when it has answered.
    fn ask_who(&mut self, call_id: CallId, uid: Uid) {
        let Some(media) = self.calls.get(&call_id) else { return };
        let (channel, reports) = (media.channel.clone(), self.reports.clone());
        let Some(handler) = self.supplied.mapper_handler() else {
            return self.report(Report::Users { call_id, uid, users: Vec::new() });
        };
        tokio::spawn(async move {
            let asked = channel.clone();
            let users = match answered(async move { handler.map_user(asked, uid).await }).await {
                Ok(mapper) if mapper.channel == channel => mapper.users,
                Ok(_) => Vec::new(),
                Err(error) => {
                    tracing::warn!(%error, "the user mapper failed");
                    Vec::new()
                }
            };
            let _ = reports.send(Report::Users { call_id, uid, users }).await;
        });
    }

    /// The app's mapper has answered, perhaps for others, too.
    pub(crate) fn on_users(&mut self, call_id: CallId, uid: Uid, users: Vec<(Uid, UserId)>) {
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        media.users.extend(users);
        self.on_user(call_id, uid);
    }

    /// Who is behind a uid is known now, or will not be.
    fn on_user(&mut self, call_id: CallId, uid: Uid) {
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        let user = media.users.get(&uid).cloned();
        let Some(other) = media.others.get_mut(&uid).filter(|other| !other.told) else { return };
        other.user = user.clone();
        other.told = true;
        let tracks = other.tracks;
        let first_audio = std::mem::take(&mut media.first_audio_untold);
        self.tell_of(call_id, CallKitEvent::UserJoined { call_id, uid, user });
        if tracks.audio_muted {
            self.tell_of(call_id, CallKitEvent::UserMuteAudio { call_id, uid, muted: true });
        }
        if first_audio {
            self.tell_of(call_id, CallKitEvent::FirstAudio { call_id, uid });
        }
    }

    fn on_tracks(&mut self, call_id: CallId, uid: Uid, tracks: TrackState) {
        let Some(other) = self.calls.get_mut(&call_id).and_then(|media| media.others.get_mut(&uid)) else { return };
        let before = std::mem::replace(&mut other.tracks, tracks);
        if !other.told {
            return;
        }
        if before.audio_muted != tracks.audio_muted {
            self.tell_of(call_id, CallKitEvent::UserMuteAudio { call_id, uid, muted: tracks.audio_muted });
        }
        if before.video_muted != tracks.video_muted {
            self.tell_of(call_id, CallKitEvent::UserMuteVideo { call_id, uid, muted: tracks.video_muted });
        }
    }
}
