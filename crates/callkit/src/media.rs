//! Media: the channel is joined, a path to the other member set up, and voice flows.

use std::collections::BTreeMap;

use call_protocol::end::EndReason;
use call_protocol::media::{
    ChannelEvent, ChannelEventBody, ChannelRequest, ChannelRequestBody, JoinRefusal, Member, NegotiationBody,
    TrackState,
};
use call_protocol::session::ClientBody;
use call_protocol::{CallId, ChannelId, Uid, UserId};
use rtc_transport::{MediaPath, PathConfig, PathState};
use signaling::{Command, Input, Role, Time};

use crate::core::{Core, Report};
use crate::error::CallError;
use crate::events::CallKitEvent;
use crate::handlers::{RtcToken, RtcTokenRequest};
use crate::peer::{Peer, PeerCommand, PeerNotice};
use crate::quality::CallQuality;
use crate::voice::{Voice, VoiceCommand, VoiceNotice};

/// How long media may take to be set up, in ms.
const SETUP_MS: u64 = 20_000;
/// How long media may be interrupted before the call is given up, in ms.
const INTERRUPTION_MS: u64 = 15_000;
/// How often a new way is looked for while media is interrupted, in ms.
const RESTART_MS: u64 = 2_000;

/// Steps of the caller kept while it rings: an offer and its candidates.
const OFFERED: usize = 40;

/// The media side of the present call.
pub(crate) struct Media {
    call_id: CallId,
    channel: ChannelId,
    role: Role,
    token: TokenState,
    membership: Membership,
    others: BTreeMap<Uid, Other>,
    voice: Option<Voice>,
    peer: Option<Peer>,
    path: Option<MediaPath>,
    /// What the caller has said about its media while it rings here.
    offered: Vec<NegotiationBody>,
    /// Sound came before the channel said whose it is.
    first_audio_untold: bool,
    link: PathLink,
}

/// The channel token of the present call.
enum TokenState {
    Missing,
    Fetching,
    Ready(RtcToken),
}

/// How far the local user is into the channel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Membership {
    /// The call is not accepted yet.
    NotWanted,
    /// Accepted; waits for a token or for the channel's reply.
    Joining,
    Joined(Uid),
}

/// Another member of the channel.
#[derive(Default)]
struct Other {
    user: Option<UserId>,
    /// The app has been told of it; before that its mapper is being asked.
    told: bool,
    tracks: TrackState,
}

/// How the path does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PathLink {
    Idle,
    SettingUp { give_up: Time },
    Connected,
    Interrupted { give_up: Time, restart: Time },
}

impl Media {
    pub(crate) fn new(call_id: CallId, role: Role) -> Media {
        Media {
            call_id,
            channel: call_id.channel(),
            role,
            token: TokenState::Missing,
            membership: Membership::NotWanted,
            others: BTreeMap::new(),
            voice: None,
            peer: None,
            path: None,
            offered: Vec::new(),
            first_audio_untold: false,
            link: PathLink::Idle,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        match self.link {
            PathLink::Idle | PathLink::Connected => None,
            PathLink::SettingUp { give_up } => Some(give_up),
            PathLink::Interrupted { give_up, restart } => Some(give_up.min(restart)),
        }
    }

    pub(crate) fn quality(&self) -> Option<CallQuality> {
        let (path, voice) = (self.path.as_ref()?, self.voice.as_ref()?);
        Some(CallQuality::of(&path.stats(), &voice.stats()))
    }
}

/// Token and join.
impl Core {
    /// Asks the app for a channel token, ahead of the join, so that the accept does not wait for it.
    pub(crate) fn fetch_token(&mut self) {
        let Some(media) = &mut self.media else { return };
        let uid = match (&media.token, media.membership) {
            (TokenState::Fetching, _) => return,
            (TokenState::Ready(token), _) => Some(token.uid),
            (TokenState::Missing, Membership::Joined(uid)) => Some(uid),
            (TokenState::Missing, Membership::NotWanted | Membership::Joining) => None,
        };
        let (call_id, reports) = (media.call_id, self.reports.clone());
        let request = RtcTokenRequest { channel: media.channel.clone(), app_id: self.settings.app_id.clone(), uid };
        let Some(handler) = self.supplied.token_handler() else {
            let token = Err("no handler is set; call set_rtc_token_handler()".to_owned());
            let _ = reports.send(Report::Token { call_id, token });
            return;
        };
        if !matches!(media.token, TokenState::Ready(_)) {
            media.token = TokenState::Fetching;
        }
        tokio::spawn(async move {
            let token = handler.rtc_token(request).await.map_err(|error| error.0);
            let _ = reports.send(Report::Token { call_id, token });
        });
    }

    pub(crate) fn on_token(&mut self, call_id: CallId, token: Result<RtcToken, String>) {
        let Some(media) = self.media.as_mut().filter(|media| media.call_id == call_id) else { return };
        match token {
            Ok(token) => {
                let text = token.token.clone();
                media.token = TokenState::Ready(token);
                match media.membership {
                    Membership::NotWanted => {}
                    Membership::Joining => self.send_join(),
                    Membership::Joined(_) => self.request(ChannelRequestBody::RenewToken { token: text }),
                }
            }
            Err(why) => {
                if let TokenState::Fetching = media.token {
                    media.token = TokenState::Missing;
                }
                match media.membership {
                    // It is asked for again at the join.
                    Membership::NotWanted => tracing::debug!("no channel token yet"),
                    Membership::Joining => {
                        self.give_up(call_id, CallError::FetchTokenFailed(why), EndReason::Error);
                    }
                    // The old token still holds; the channel asks again.
                    Membership::Joined(_) => self.fail_with(CallError::FetchTokenFailed(why)),
                }
            }
        }
    }

    pub(crate) fn join(&mut self) {
        let now = self.now().mono;
        let Some(media) = &mut self.media else { return };
        tracing::debug!(call = %media.call_id, "joining the channel");
        media.membership = Membership::Joining;
        if media.link == PathLink::Idle {
            media.link = PathLink::SettingUp { give_up: now + SETUP_MS };
        }
        let (call_id, reports) = (media.call_id, self.reports.clone());
        let tell = move |notice| drop(reports.send(Report::Voice { call_id, notice }));
        match Voice::start(self.settings.voice.clone(), self.muted, self.speaker, tell) {
            Ok(voice) => {
                if let Some(peer) = &media.peer {
                    peer.send(PeerCommand::Voice(voice.commands()));
                }
                media.voice = Some(voice);
            }
            Err(error) => return self.give_up(call_id, CallError::Media(error.to_string()), EndReason::Error),
        }
        match media.token {
            TokenState::Ready(_) => self.send_join(),
            TokenState::Missing => self.fetch_token(),
            TokenState::Fetching => {}
        }
        self.prepare_path();
    }

    /// After a server has lost the session: the channel does not know this member any more.
    pub(crate) fn join_again(&mut self) {
        let Some(media) = &self.media else { return };
        match media.membership {
            Membership::NotWanted => {}
            Membership::Joining | Membership::Joined(_) => self.send_join(),
        }
    }

    fn send_join(&mut self) {
        let tracks = self.tracks();
        let Some(Media { token: TokenState::Ready(token), .. }) = &self.media else { return };
        let token = token.token.clone();
        self.request(ChannelRequestBody::Join { token, tracks });
    }

    fn tracks(&self) -> TrackState {
        TrackState { audio_muted: self.muted, video_muted: true }
    }

    fn request(&mut self, body: ChannelRequestBody) {
        let Some(media) = &self.media else { return };
        let channel = media.channel.clone();
        self.send(ClientBody::Channel(ChannelRequest { channel, body }));
    }

    /// The call is over: out of the channel, path closed, devices released.
    pub(crate) fn leave(&mut self) {
        let Some(media) = self.media.take() else { return };
        if media.membership != Membership::NotWanted {
            let body = ChannelRequestBody::Leave;
            self.send(ClientBody::Channel(ChannelRequest { channel: media.channel, body }));
        }
        self.releasing.retain(|voice| !voice.is_finished());
        self.releasing.extend(media.voice.and_then(Voice::stop));
    }
}

/// What the channel tells.
impl Core {
    pub(crate) fn on_channel(&mut self, event: ChannelEvent) {
        let Some(media) = self.media.as_mut().filter(|media| media.channel == event.channel) else { return };
        match event.body {
            ChannelEventBody::Joined { uid, members, stun_servers } => self.on_joined(uid, members, stun_servers),
            ChannelEventBody::JoinRefused { reason } => self.on_join_refused(reason),
            ChannelEventBody::MemberJoined(member) => self.on_member(member),
            ChannelEventBody::MemberLeft { uid, .. } => {
                media.others.remove(&uid);
            }
            // Between two parties media is negotiated by words of the call, which need no channel.
            ChannelEventBody::Description { .. } | ChannelEventBody::Candidate { .. } => {}
            ChannelEventBody::Tracks { uid, tracks } => self.on_tracks(uid, tracks),
            ChannelEventBody::TokenExpiring { .. } => self.fetch_token(),
        }
    }

    fn on_joined(&mut self, uid: Uid, members: Vec<Member>, stun_servers: Vec<String>) {
        if !stun_servers.is_empty() {
            self.stun_servers = stun_servers;
        }
        let Some(media) = &mut self.media else { return };
        let again = matches!(media.membership, Membership::Joined(_));
        media.membership = Membership::Joined(uid);
        if !again {
            self.teller.tell(CallKitEvent::JoinedChannel { channel: media.channel.clone() });
        }
        for member in members {
            self.on_member(member);
        }
    }

    fn on_join_refused(&mut self, reason: JoinRefusal) {
        let Some(media) = &self.media else { return };
        self.give_up(media.call_id, CallError::Join(reason), EndReason::Error);
    }

    fn on_member(&mut self, member: Member) {
        let Some(media) = &mut self.media else { return };
        let Member { uid, tracks } = member;
        if media.others.contains_key(&uid) {
            self.on_tracks(uid, tracks);
            return;
        }
        media.others.insert(uid, Other { tracks, ..Other::default() });
        if std::mem::take(&mut media.first_audio_untold) {
            self.teller.tell(CallKitEvent::FirstAudio { uid });
        }
        self.ask_who(uid);
    }

    /// Asks the app who is behind a uid; the app is told of the member when it has answered.
    fn ask_who(&mut self, uid: Uid) {
        let Some(media) = &self.media else { return };
        let (call_id, channel, reports) = (media.call_id, media.channel.clone(), self.reports.clone());
        let Some(handler) = self.supplied.mapper_handler() else {
            let _ = reports.send(Report::User { call_id, uid, user: None });
            return;
        };
        tokio::spawn(async move {
            let user = match handler.map_user(channel.clone(), uid).await {
                Ok(mapper) if mapper.channel == channel => {
                    mapper.users.into_iter().find(|(mapped, _)| *mapped == uid).map(|(_, user)| user)
                }
                Ok(_) => None,
                Err(error) => {
                    tracing::warn!(%error, "the user mapper failed");
                    None
                }
            };
            let _ = reports.send(Report::User { call_id, uid, user });
        });
    }

    pub(crate) fn on_user(&mut self, call_id: CallId, uid: Uid, user: Option<UserId>) {
        let Some(media) = self.media.as_mut().filter(|media| media.call_id == call_id) else { return };
        let Some(other) = media.others.get_mut(&uid) else { return };
        other.user = user.clone();
        other.told = true;
        let tracks = other.tracks;
        self.teller.tell(CallKitEvent::UserJoined { uid, user });
        if tracks.audio_muted {
            self.teller.tell(CallKitEvent::UserMuteAudio { uid, muted: true });
        }
    }

    fn on_tracks(&mut self, uid: Uid, tracks: TrackState) {
        let Some(other) = self.media.as_mut().and_then(|media| media.others.get_mut(&uid)) else { return };
        let before = std::mem::replace(&mut other.tracks, tracks);
        if !other.told {
            return;
        }
        if before.audio_muted != tracks.audio_muted {
            self.teller.tell(CallKitEvent::UserMuteAudio { uid, muted: tracks.audio_muted });
        }
        if before.video_muted != tracks.video_muted {
            self.teller.tell(CallKitEvent::UserMuteVideo { uid, muted: tracks.video_muted });
        }
    }
}

/// Path and voice.
impl Core {
    /// Opens the path as early as this side may: the caller with its call, so that its offer is there when the callee answers; the callee
    /// with its answer, so that nothing of it is shown before.
    pub(crate) fn prepare_path(&mut self) {
        let Some(media) = &mut self.media else { return };
        if media.peer.is_some() {
            return;
        }
        let offered = std::mem::take(&mut media.offered);
        if media.role == Role::Callee && offered.is_empty() {
            // The offer is still to come.
            return;
        }
        let config = PathConfig {
            stun_servers: self.stun_servers.clone(),
            interfaces: self.settings.interfaces.clone(),
            ..PathConfig::default()
        };
        let (call_id, reports) = (media.call_id, self.reports.clone());
        let peer = Peer::start(config, move |notice| drop(reports.send(Report::Peer { call_id, notice })));
        if let Some(voice) = &media.voice {
            peer.send(PeerCommand::Voice(voice.commands()));
        }
        if media.role == Role::Caller {
            peer.send(PeerCommand::Offer);
        }
        for body in offered {
            peer.send(PeerCommand::Negotiation(body));
        }
        media.peer = Some(peer);
    }

    /// The other side says something about its media.
    pub(crate) fn on_negotiation(&mut self, call_id: CallId, body: NegotiationBody) {
        let Some(media) = self.media.as_mut().filter(|media| media.call_id == call_id) else { return };
        if let Some(peer) = &media.peer {
            peer.send(PeerCommand::Negotiation(body));
            return;
        }
        if media.offered.len() < OFFERED {
            media.offered.push(body);
        }
        if media.membership != Membership::NotWanted {
            self.prepare_path();
        }
    }

    fn negotiate(&mut self, call_id: CallId, body: NegotiationBody) {
        if let Err(error) = self.try_input(Input::Command(Command::Negotiate { call_id, body })) {
            tracing::debug!(%error, "over already");
        }
    }

    pub(crate) fn on_peer(&mut self, call_id: CallId, notice: PeerNotice) {
        let Some(media) = self.media.as_mut().filter(|media| media.call_id == call_id) else { return };
        match notice {
            PeerNotice::Opened(path) => media.path = Some(path),
            PeerNotice::Negotiation(body) => self.negotiate(call_id, body),
            PeerNotice::State(state) => self.on_path_state(state),
            PeerNotice::Failed(why) => match media.link {
                PathLink::SettingUp { .. } => self.give_up(call_id, CallError::Media(why), EndReason::Error),
                // Tried again when the call is accepted.
                PathLink::Idle => media.peer = None,
                PathLink::Connected | PathLink::Interrupted { .. } => {}
            },
        }
    }

    fn on_path_state(&mut self, state: PathState) {
        let now = self.now().mono;
        let Some(media) = &mut self.media else { return };
        match state {
            PathState::Connected => media.link = PathLink::Connected,
            PathState::Disconnected | PathState::Failed | PathState::Closed => {
                if media.link == PathLink::Connected {
                    media.link = PathLink::Interrupted { give_up: now + INTERRUPTION_MS, restart: now };
                }
            }
            PathState::New | PathState::Connecting => {}
        }
    }

    pub(crate) fn on_time_media(&mut self) {
        let now = self.now().mono;
        let connected = self.connected;
        let Some(media) = &mut self.media else { return };
        let call_id = media.call_id;
        match &mut media.link {
            PathLink::SettingUp { give_up } if now >= *give_up => {
                let why = "no media path to the other end within 20 s".to_owned();
                self.give_up(call_id, CallError::Media(why), EndReason::Error);
            }
            PathLink::Interrupted { give_up, .. } if now >= *give_up => {
                let why = "the media path broke and did not come back".to_owned();
                self.give_up(call_id, CallError::Media(why), EndReason::RemoteDrop);
            }
            PathLink::Interrupted { restart, .. } if now >= *restart => {
                *restart = now + RESTART_MS;
                if let (Role::Caller, true, Some(peer)) = (media.role, connected, &media.peer) {
                    peer.send(PeerCommand::Restart);
                }
            }
            PathLink::Idle | PathLink::SettingUp { .. } | PathLink::Connected | PathLink::Interrupted { .. } => {}
        }
    }

    pub(crate) fn on_voice(&mut self, call_id: CallId, notice: VoiceNotice) {
        let Some(media) = self.media.as_mut().filter(|media| media.call_id == call_id) else { return };
        match notice {
            VoiceNotice::FirstAudio => match media.others.keys().next() {
                Some(uid) => self.teller.tell(CallKitEvent::FirstAudio { uid: *uid }),
                None => media.first_audio_untold = true,
            },
            VoiceNotice::Device(why) => self.fail_with(CallError::Device(why)),
        }
    }

    pub(crate) fn mute(&mut self, muted: bool) -> Result<(), CallError> {
        self.muted = muted;
        let tracks = self.tracks();
        let Some(media) = &self.media else { return Ok(()) };
        if let Some(voice) = &media.voice {
            voice.send(VoiceCommand::Mute(muted));
        }
        if let Membership::Joined(_) = media.membership {
            self.request(ChannelRequestBody::Tracks(tracks));
        }
        Ok(())
    }

    pub(crate) fn speaker(&mut self, on: bool) -> Result<(), CallError> {
        self.speaker = on;
        if let Some(voice) = self.media.as_ref().and_then(|media| media.voice.as_ref()) {
            voice.send(VoiceCommand::Speaker(on));
        }
        Ok(())
    }
}
