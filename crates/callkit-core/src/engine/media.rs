//! Media: the channel is joined with a token, the others are told what this side sends, and the call may be put on hold.

use call_protocol::CallId;
use call_protocol::end::EndReason;
use call_protocol::media::{ChannelRequest, ChannelRequestBody, TrackState};
use call_protocol::session::ClientBody;

use super::{Asked, Engine};
use crate::call_media::{Membership, TokenState};
use crate::error::CallError;
use crate::event::{CallEvent, KitEvent};
use crate::requests::{Question, RtcToken, RtcTokenRequest};

/// Token and join.
impl Engine {
    /// Asks the app for a channel token, ahead of the join, so that the accept does not wait for it.
    pub(super) fn fetch_token(&mut self, call_id: CallId) {
        let is_own = self.app_calls.is_own(call_id);
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        if let (true, TokenState::Missing) = (is_own, &media.token) {
            media.token = TokenState::NotNeeded;
            return self.join_if_wanted(call_id);
        }
        let uid = match (&media.token, media.membership) {
            (TokenState::Fetching | TokenState::NotNeeded, _) => return,
            (TokenState::Ready(token), _) => Some(token.uid),
            (TokenState::Missing, Membership::Joined(uid)) => Some(uid),
            (TokenState::Missing, Membership::NotWanted | Membership::Joining) => None,
        };
        if let TokenState::Missing = media.token {
            media.token = TokenState::Fetching;
        }
        let request = RtcTokenRequest { channel: media.channel.clone(), app_id: self.settings.app_id.clone(), uid };
        self.ask(Asked::RtcToken(call_id), Question::RtcToken(request));
    }

    pub(super) fn on_token(&mut self, call_id: CallId, token: Result<RtcToken, String>) {
        let is_own = self.app_calls.is_own(call_id);
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
                let can_do_without = is_own && matches!(media.token, TokenState::Missing);
                match media.membership {
                    _ if can_do_without => self.fetch_token(call_id),
                    // It is asked for again at the join.
                    Membership::NotWanted => tracing::debug!("no channel token yet"),
                    // The old token still holds; the channel asks again.
                    Membership::Joined(_) if !media.token_ran_out => {
                        self.emit_error(Some(call_id), CallError::FetchTokenFailed(why));
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

    pub(super) fn join(&mut self, call_id: CallId) {
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
    pub(super) fn join_again(&mut self) {
        let members = self.calls.values().filter(|media| media.membership != Membership::NotWanted);
        let calls: Vec<CallId> = members.map(|media| media.call_id).collect();
        for call_id in calls {
            self.send_join(call_id);
        }
    }

    fn send_join(&mut self, call_id: CallId) {
        let tracks = self.tracks(call_id);
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        let token = match &media.token {
            TokenState::Ready(token) => token.token.clone(),
            TokenState::NotNeeded => String::new(),
            TokenState::Missing | TokenState::Fetching => return,
        };
        media.tracks_sent = Some(tracks);
        self.request(call_id, ChannelRequestBody::Join { token, tracks });
    }

    fn tracks(&self, call_id: CallId) -> TrackState {
        let muted = self.calls.get(&call_id).is_none_or(|media| media.audio.choices.muted);
        TrackState { audio_muted: muted, video_muted: true }
    }

    /// Tells the others what this side sends, wherever they were told something else.
    pub(super) fn update_tracks(&mut self) {
        let joined = self.calls.values().filter(|media| matches!(media.membership, Membership::Joined(_)));
        let stale = joined.filter(|media| media.tracks_sent != Some(self.tracks(media.call_id)));
        let stale: Vec<CallId> = stale.map(|media| media.call_id).collect();
        for call_id in stale {
            let tracks = self.tracks(call_id);
            if let Some(media) = self.calls.get_mut(&call_id) {
                media.tracks_sent = Some(tracks);
            }
            self.request(call_id, ChannelRequestBody::Tracks(tracks));
        }
    }

    fn request(&mut self, call_id: CallId, body: ChannelRequestBody) {
        let Some(media) = self.calls.get(&call_id) else { return };
        let channel = media.channel.clone();
        self.send(ClientBody::Channel(ChannelRequest { channel, body }));
    }

    /// The call is over: out of the channel, paths closed, devices released if no other call has them.
    pub(super) fn leave(&mut self, call_id: CallId) {
        let Some(media) = self.calls.remove(&call_id) else { return };
        if media.membership != Membership::NotWanted {
            let (channel, body) = (media.channel.clone(), ChannelRequestBody::Leave);
            self.send(ClientBody::Channel(ChannelRequest { channel, body }));
        }
        self.end_audio_of(&media);
        media.connections.values().for_each(|connection| self.close_path(connection.path));
    }
}

/// Hold.
impl Engine {
    pub(super) fn on_held(&mut self, call_id: CallId, held: bool) {
        let Some(media) = self.calls.get_mut(&call_id) else { return };
        media.held = held;
        self.emit_of(call_id, KitEvent::CallHeld { call_id, held });
    }

    pub(super) fn on_peer_held(&mut self, call_id: CallId, held: bool, reason: Option<String>) {
        if let Some(media) = self.calls.get_mut(&call_id) {
            media.audio.peer_held = held;
        }
        self.note(call_id, |call| call.peer_held = held);
        let reason = reason.filter(|_| held);
        self.emit_call(call_id, CallEvent::PeerHeld { held, reason });
        self.emit_of(call_id, KitEvent::PeerHeld { call_id, held });
    }
}
