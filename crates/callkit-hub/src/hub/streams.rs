//! The streams of sessions: taken up, sent to, ended.

use bytes::Bytes;
use call_protocol::media::LeaveReason;
use call_protocol::session::{RefuseReason, ServerBody, Welcome};
use call_protocol::{CallMessage, Word};
use signaling::{Now, To};
use tracing::{debug, info};

use super::{Due, Hub};
use crate::frame::{Frame, encode};
use crate::ids::{Address, AppNo, CallKey, SessionKey, StreamId};
use crate::outbound::{About, Passed};
use crate::output::{Fact, Output};
use crate::session::{NewStream, Session};

impl Hub {
    /// Binds a stream to a session, new or resumed.
    pub(super) fn take_up(&mut self, now: Now, key: SessionKey, new: NewStream, resumed_from: Option<u64>) {
        self.sessions.bind(new.stream, key);
        let Some(session) = self.sessions.get_mut(key) else { return };
        let stun_servers = vec![new.stun_server.clone()];
        let access_left_ms = new.access_until.map(|until| until - now.mono);
        session.attach(now.mono, new);
        if let Some(received) = resumed_from {
            session.on_ack(now.mono, received);
        }
        let welcome = Welcome {
            session: session.name.clone(),
            resumed: resumed_from.is_some(),
            received: session.received(),
            server_unix_ms: now.unix_ms,
            ping_every_ms: self.times.ping_every,
            silence_limit_ms: self.times.silence_limit,
            resume_window_ms: self.times.resume_window,
            stun_servers,
            access_left_ms,
        };
        session.send_unnumbered(Some(ServerBody::Welcome(welcome)), &mut self.outputs);
        session.replay(&mut self.outputs);
        session.flush(now.mono, &mut self.outputs);
        info!(session = key.0, resumed = resumed_from.is_some(), for_a_call = session.bound.is_some(), "signed in");
        match resumed_from {
            Some(_) => self.counters.resumes += 1,
            None => self.counters.sign_ins += 1,
        }
        if session.bound.is_some() && resumed_from.is_none() {
            self.counters.cc_sign_ins += 1;
        }
    }

    /// What came is to be acknowledged: now if it is much, else in a moment, if nothing goes out before.
    pub(super) fn acknowledge(&mut self, now: Now, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.owes_ack_now() {
            session.send_unnumbered(None, &mut self.outputs);
        } else if session.owes_ack() && !session.ack_waits {
            session.ack_waits = true;
            self.timers.push(now.mono + self.times.ack_delay, Due::Acknowledge(key));
        }
    }

    pub(super) fn on_acknowledgement_due(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.ack_waits = false;
        if session.owes_ack() {
            session.send_unnumbered(None, &mut self.outputs);
        }
    }

    /// The device has acknowledged something, perhaps: what waited for that goes out.
    pub(super) fn on_acknowledged(&mut self, now: Now, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.flush(now.mono, &mut self.outputs);
        self.on_caught_up(key);
    }

    /// Carries what is said of a call to a device, or to all devices of a user.
    pub(super) fn route(&mut self, now: Now, app: AppNo, to: To, message: CallMessage) {
        let (user, device) = match to {
            To::Device(party) => (party.user, Some(party.device)),
            To::User(user) => (user, None),
        };
        let call_id = message.call_id;
        let call = CallKey { app, call_id };
        let mut recipients = self.sessions.recipients(call, &user, device.as_ref());
        if let Word::Missed(invite) = &message.word {
            recipients.retain(|key| self.on_missed_told(*key, invite.call_id));
        }
        let ends_ringing = device.is_none() && matches!(message.word, Word::Cancel(_) | Word::AnswerConfirm(_));
        let (bytes, about) = self.encoded(ServerBody::Call(message));
        for key in recipients {
            let unseen = |session: &mut Session| session.stops_ringing(call_id);
            let is_unseen = ends_ringing && self.sessions.get_mut(key).is_some_and(unseen);
            let is_lost = is_unseen || self.send_bytes(now, key, bytes.clone(), about.clone()) == Passed::Dropped;
            if is_lost && ends_ringing {
                self.on_unseen(key, call);
            }
        }
    }

    pub(super) fn send(&mut self, now: Now, key: SessionKey, body: ServerBody) {
        let about = About::of(&body);
        self.send_bytes(now, key, encode(body), about);
    }

    /// Sends something to the session by which a device is reached at present, if it has one.
    pub(super) fn send_to(&mut self, now: Now, to: &Address, body: ServerBody) {
        if let Some(key) = self.sessions.key_of(to.app, &to.party, to.only_for) {
            self.send(now, key, body);
        }
    }

    fn send_bytes(&mut self, now: Now, key: SessionKey, bytes: Bytes, about: About) -> Passed {
        let Some(session) = self.sessions.get_mut(key) else { return Passed::Folded };
        let passed = session.send(now.mono, bytes, about, &mut self.outputs);
        match passed {
            Passed::Sent | Passed::Waits => self.counters.frames_out += 1,
            Passed::Dropped => self.counters.frames_dropped += 1,
            Passed::Folded => {}
        }
        passed
    }

    /// The body in bytes; the same one again is not encoded again.
    fn encoded(&mut self, body: ServerBody) -> (Bytes, About) {
        let about = About::of(&body);
        if let Some((last, bytes)) = &self.encoded
            && *last == body
        {
            return (bytes.clone(), about);
        }
        // The others go to one or two devices.
        if !matches!(about, About::Invite(_)) {
            return (encode(body), about);
        }
        let bytes = encode(body.clone());
        self.encoded = Some((body, bytes.clone()));
        (bytes, about)
    }

    /// A stream has no room for what it was sent. Where that was its last frame, nothing is waited for.
    pub(super) fn on_too_slow(&mut self, now: Now, stream: StreamId) {
        if let Some(key) = self.sessions.by_stream(stream) {
            let detail = "frames are not read".to_owned();
            self.end_session(now, key, Some((RefuseReason::TooSlow, detail)), LeaveReason::Dropped);
        } else {
            self.cut(stream);
        }
    }

    /// The session is over; its calls notice by themselves.
    pub(super) fn end_session(
        &mut self,
        now: Now,
        key: SessionKey,
        refuse: Option<(RefuseReason, String)>,
        reason: LeaveReason,
    ) {
        if reason == LeaveReason::Dropped {
            self.may_have_to_wake(now, key);
        }
        self.drop_link(now, key, refuse);
        let Some(session) = self.sessions.remove(key) else { return };
        self.store_seen(&session);
        if let Some(address) = session.address() {
            self.channels.on_session_over(&address, reason);
        }
        self.outputs.push_back(Output::SessionEnded(session.name));
    }

    /// Ends the session's stream, if it has one. The session stays, for a resume.
    pub(super) fn drop_link(&mut self, now: Now, key: SessionKey, refuse: Option<(RefuseReason, String)>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(stream) = session.detach(now.mono) else { return };
        self.timers.push(now.mono + u64::from(self.times.resume_window), Due::ResumeWindow(key));
        self.sessions.unbind(stream);
        let refusal = refuse.map(|(reason, detail)| {
            info!(session = key.0, %reason, %detail, "stream ended");
            self.outputs.push_back(Output::Fact(Fact::Refused(reason)));
            Frame::refusal(reason, detail)
        });
        self.close(now, stream, refusal);
    }

    /// Ends a stream that has no session.
    pub(super) fn refuse_stream(&mut self, now: Now, stream: StreamId, reason: RefuseReason) {
        info!(%reason, "sign-in refused");
        self.outputs.push_back(Output::Fact(Fact::Refused(reason)));
        self.close(now, stream, Some(Frame::refusal(reason, "")));
    }

    fn close(&mut self, now: Now, stream: StreamId, refusal: Option<Frame>) {
        self.outputs.push_back(Output::Close { stream, refusal });
        self.ending.insert(stream);
        self.timers.push(now.mono + self.times.close_grace, Due::Cut(stream));
    }

    /// Ends a stream at once that was told to end and has not.
    pub(super) fn cut(&mut self, stream: StreamId) {
        if self.ending.remove(&stream) {
            self.outputs.push_back(Output::Cut(stream));
        }
    }

    pub(super) fn on_stream_ended(&mut self, now: Now, stream: StreamId) {
        self.ending.remove(&stream);
        let Some(key) = self.sessions.unbind(stream) else { return };
        if let Some(session) = self.sessions.get_mut(key) {
            debug!(session = key.0, "stream broke");
            session.detach(now.mono);
            self.timers.push(now.mono + u64::from(self.times.resume_window), Due::ResumeWindow(key));
            self.may_have_to_wake(now, key);
        }
    }
}
