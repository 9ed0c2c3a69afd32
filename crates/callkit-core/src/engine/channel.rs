//! What the channel of a call tells: that this side is in, who else is, and what each of them sends.

use call_protocol::end::EndReason;
use call_protocol::media::{ChannelEvent, ChannelEventBody, JoinRefusal, Member, TrackState};
use call_protocol::{CallId, Uid};

use super::{Asked, Engine};
use crate::call_media::{Membership, Participant, TokenState};
use crate::error::CallError;
use crate::event::KitEvent;
use crate::requests::{Question, UserMapper};

impl Engine {
    pub(super) fn on_channel(&mut self, event: ChannelEvent) {
        let Some(media) = self.calls.values_mut().find(|media| media.channel == event.channel) else { return };
        let call_id = media.call_id;
        match event.body {
            ChannelEventBody::Joined { uid, members, stun_servers } => {
                self.on_joined(call_id, uid, members, stun_servers);
            }
            ChannelEventBody::JoinRefused { reason } => self.on_refused(call_id, reason),
            ChannelEventBody::MemberJoined(member) => self.on_member(call_id, member),
            ChannelEventBody::MemberLeft { uid, .. } => {
                media.participants.remove(&uid);
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
            self.emit_of(call_id, KitEvent::JoinedChannel { call_id, channel });
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
        if media.participants.contains_key(&uid) {
            return self.on_tracks(call_id, uid, tracks);
        }
        media.participants.insert(uid, Participant { tracks, ..Participant::default() });
        if media.users.contains_key(&uid) {
            return self.introduce(call_id, uid);
        }
        let channel = media.channel.clone();
        self.ask(Asked::User { call_id, uid }, Question::User { channel, uid });
    }

    /// The app's mapper has answered, perhaps for others, too.
    pub(super) fn on_users(&mut self, call_id: CallId, uid: Uid, answer: Result<UserMapper, String>) {
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        match answer {
            Ok(mapper) if mapper.channel == media.channel => media.users.extend(mapper.users),
            Ok(_) => {}
            Err(why) => tracing::warn!(%why, "the user mapper failed"),
        }
        self.introduce(call_id, uid);
    }

    /// Who is behind a uid is known now, or will not be: the app is told of the member.
    fn introduce(&mut self, call_id: CallId, uid: Uid) {
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        let user = media.users.get(&uid).cloned();
        let Some(participant) = media.participants.get_mut(&uid).filter(|one| !one.is_known) else { return };
        participant.is_known = true;
        let tracks = participant.tracks;
        let first_audio = std::mem::take(&mut media.first_audio_pending);
        self.emit_of(call_id, KitEvent::UserJoined { call_id, uid, user });
        if tracks.audio_muted {
            self.emit_of(call_id, KitEvent::UserMuteAudio { call_id, uid, muted: true });
        }
        if first_audio {
            self.emit_of(call_id, KitEvent::FirstAudio { call_id, uid });
        }
    }

    fn on_tracks(&mut self, call_id: CallId, uid: Uid, tracks: TrackState) {
        let participant = self.calls.get_mut(&call_id).and_then(|media| media.participants.get_mut(&uid));
        let Some(participant) = participant else { return };
        let before = std::mem::replace(&mut participant.tracks, tracks);
        if !participant.is_known {
            return;
        }
        if before.audio_muted != tracks.audio_muted {
            self.emit_of(call_id, KitEvent::UserMuteAudio { call_id, uid, muted: tracks.audio_muted });
        }
        if before.video_muted != tracks.video_muted {
            self.emit_of(call_id, KitEvent::UserMuteVideo { call_id, uid, muted: tracks.video_muted });
        }
    }
}
