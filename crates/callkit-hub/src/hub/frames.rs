//! The frames of sessions: numbered, taken once and in order, and given to calls and channels.

use call_protocol::media::{
    ChannelEvent, ChannelEventBody, ChannelRequest, ChannelRequestBody, JoinRefusal, LeaveReason,
};
use call_protocol::session::{RefuseReason, ServerBody};
use call_protocol::{CallMessage, Party};
use signaling::Now;

use super::Hub;
use super::admission::Admission;
use crate::calls::CallFilter;
use crate::channels::Requester;
use crate::ids::{AppNo, CallKey, SessionKey, StreamId};
use crate::input::{FrameBody, Grant};
use crate::session::{Arrival, Session};

impl Hub {
    pub(super) fn on_frame(
        &mut self,
        now: Now,
        stream: StreamId,
        seq: u64,
        ack: u64,
        body: Option<FrameBody>,
        is_admitted: bool,
    ) {
        let Some(key) = self.sessions.by_stream(stream) else { return };
        self.counters.frames_in += 1;
        let Some(session) = self.sessions.get_mut(key) else { return };
        if !session.on_ack(now.mono, ack) {
            let detail = format!("ack {ack} was never sent");
            return self.end_session(now, key, Some((RefuseReason::BadFrame, detail)), LeaveReason::Dropped);
        }
        self.on_acknowledged(now, key);
        let Some(session) = self.sessions.get_mut(key) else { return };
        let arrival = match (seq, &body) {
            (0, None | Some(FrameBody::Goodbye)) => Arrival::New,
            (0, Some(_)) => Arrival::Gap,
            (seq, _) => session.on_numbered(seq),
        };
        match arrival {
            Arrival::Gap => {
                let detail = format!("frame {seq} after {}", session.received());
                return self.drop_link(now, key, Some((RefuseReason::BadFrame, detail)));
            }
            Arrival::Duplicate => return session.send_unnumbered(None, &mut self.outputs),
            Arrival::New => {}
        }
        match body {
            None => {}
            Some(FrameBody::Goodbye) => return self.on_goodbye(now, key),
            Some(FrameBody::Call(message)) if self.is_not_its(key, &message) => {
                self.answer_stranger(now, key, &message);
            }
            Some(FrameBody::Call(message)) => self.on_call_message(now, key, message, is_admitted),
            Some(FrameBody::Channel(request, grant)) => self.on_channel_request(now, key, request, grant),
        }
        self.pass_on(now);
        self.acknowledge(now, key);
    }

    /// What a session sent was no frame, or too many of them.
    pub(super) fn on_unsound(&mut self, now: Now, stream: StreamId, reason: RefuseReason, detail: String) {
        if let Some(key) = self.sessions.by_stream(stream) {
            self.end_session(now, key, Some((reason, detail)), LeaveReason::Dropped);
        }
    }

    fn on_goodbye(&mut self, now: Now, key: SessionKey) {
        let Some(Session { app, party, bound, is_visitor: false, .. }) = self.sessions.get(key) else {
            return self.end_session(now, key, None, LeaveReason::Left);
        };
        let (app, party, bound) = (*app, party.clone(), *bound);
        self.sign_out(now, key, app, &party, bound.map(CallFilter::Only));
        self.end_session(now, key, None, LeaveReason::Left);
    }

    /// Calls and channels hear that a session's device has signed out.
    pub(super) fn sign_out(&mut self, now: Now, key: SessionKey, app: AppNo, party: &Party, of: Option<CallFilter>) {
        let filter = of.unwrap_or_else(|| self.sessions.filter_of(app, party));
        self.calls.on_signed_out(now, app, party, &filter);
        let address = self.sessions.get(key).and_then(Session::address);
        if let Some(address) = address {
            self.channels.on_session_over(&address, LeaveReason::Left);
        }
        self.pass_on(now);
    }

    fn on_channel_request(
        &mut self,
        now: Now,
        key: SessionKey,
        request: ChannelRequest,
        grant: Option<Result<Grant, JoinRefusal>>,
    ) {
        let Some(session) = self.sessions.get(key) else { return };
        let stun_server = session.link.as_ref().map(|link| link.stun_server.clone()).unwrap_or_default();
        if let Some(address) = session.address() {
            let grant = self.granted(now, key, &request, grant);
            let requester = Requester { address, stun_server };
            self.channels.on_request(now, &requester, request.channel, request.body, grant);
        } else if matches!(request.body, ChannelRequestBody::Join { .. } | ChannelRequestBody::RenewToken { .. }) {
            let body = ChannelEventBody::JoinRefused { reason: JoinRefusal::TokenInvalid };
            self.send(now, key, ServerBody::Channel(ChannelEvent { channel: request.channel, body }));
        }
    }

    fn on_call_message(&mut self, now: Now, key: SessionKey, message: CallMessage, is_admitted: bool) {
        let Some(session) = self.sessions.get(key) else { return };
        let (app, party) = (session.app, session.party.clone());
        let has_ended_token = session.access.has_ended(now.mono, self.times.token_leeway);
        self.on_missed_known(key, &message);
        self.pushes.note_heard(CallKey { app, call_id: message.call_id }, &party);
        let directory = self.directory.as_ref().filter(|directory| directory.app == app);
        let mut admission = Admission {
            now,
            app,
            users: directory.map(|directory| &directory.users),
            stage: self.stage,
            is_admitted,
            has_ended_token,
            sessions: &self.sessions,
            quotas: &mut self.quotas,
            counters: &mut self.counters,
            outputs: &mut self.outputs,
        };
        self.calls.on_message(now, app, party, message, &mut admission);
    }
}
