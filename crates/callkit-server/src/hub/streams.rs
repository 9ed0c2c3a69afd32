//! The streams of sessions: taken up, sent to, ended.

use call_protocol::media::LeaveReason;
use call_protocol::session::{RefuseReason, ServerBody, Welcome};
use call_protocol::{CallMessage, Word};
use hyper::body::Bytes;
use signaling::{Now, To};
use tracing::{debug, info};

use super::calls::CallKey;
use super::outbound::{About, Passed};
use super::session::{Link, Session, SessionKey, StreamId, TooSlow, refusal};
use super::{Due, Hub};
use crate::token::AppNo;
use crate::wire::encode;

impl Hub {
    /// Binds a stream to a session, new or resumed.
    pub(super) fn take_up(&mut self, now: Now, key: SessionKey, link: Link, resumed_from: Option<u64>) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let stun_server = self.around.stun.announced(link.pulse.connection.local_ip);
        self.streams.insert(link.stream, key);
        let access_left_ms = link.pulse.access_until().map(|until| until - now.mono);
        session.attach(now.mono, link);
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
            stun_servers: vec![stun_server],
            access_left_ms,
        };
        let sent = session.send_unnumbered(Some(ServerBody::Welcome(welcome))).and_then(|()| session.replay());
        let sent = sent.and_then(|()| session.flush(now.mono));
        let metering = &self.around.metering;
        info!(session = key.0, resumed = resumed_from.is_some(), for_a_call = session.bound.is_some(), "signed in");
        match resumed_from {
            Some(_) => metering.resumes.increment(1),
            None => metering.sign_ins.increment(1),
        }
        if session.bound.is_some() && resumed_from.is_none() {
            metering.cc_sign_ins.increment(1);
        }
        self.check_pace(now, key, sent);
    }

    pub(super) fn acknowledge(&mut self, now: Now, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if session.owes_ack_now() {
            let sent = session.send_unnumbered(None);
            self.check_pace(now, key, sent);
        } else if session.owes_ack() && !session.ack_waits {
            session.ack_waits = true;
            self.timers.push(now.mono + self.times.ack_delay, Due::Acknowledge(key));
        }
    }

    /// Carries what is said of a call to a device, or to all devices of a user.
    pub(super) fn carry(&mut self, now: Now, app: AppNo, to: To, message: CallMessage) {
        let (user, device) = match to {
            To::Device(party) => (party.user, Some(party.device)),
            To::User(user) => (user, None),
        };
        let call_id = message.call_id;
        let mut recipients = self.recipients(app, user, device.as_ref(), call_id);
        if let Word::Missed(invite) = &message.word {
            recipients.retain(|key| self.on_missed_told(*key, invite));
        }
        let ends_ringing = device.is_none() && matches!(message.word, Word::Cancel(_) | Word::AnswerConfirm(_));
        let (bytes, about) = self.encoded(ServerBody::Call(message));
        for key in recipients {
            let unseen = |session: &mut Session| session.stops_ringing(call_id);
            let is_unseen = ends_ringing && self.sessions.get_mut(&key).is_some_and(unseen);
            let is_lost = is_unseen || self.send_bytes(now, key, bytes.clone(), about.clone()) == Passed::Dropped;
            if is_lost && ends_ringing {
                self.on_unseen(key, CallKey { app, call_id });
            }
        }
    }

    pub(super) fn send(&mut self, now: Now, key: SessionKey, body: ServerBody) {
        let about = About::of(&body);
        self.send_bytes(now, key, encode(body), about);
    }

    fn send_bytes(&mut self, now: Now, key: SessionKey, bytes: Bytes, about: About) -> Passed {
        let Some(session) = self.sessions.get_mut(&key) else { return Passed::Folded };
        let metering = &self.around.metering;
        let sent = session.send(now.mono, bytes, about);
        match sent {
            Ok(Passed::Sent | Passed::Waits) | Err(TooSlow) => metering.frames_out.increment(1),
            Ok(Passed::Dropped) => metering.frames_dropped.increment(1),
            Ok(Passed::Folded) => {}
        }
        self.check_pace(now, key, sent.map(drop));
        sent.unwrap_or(Passed::Sent)
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

    /// The device has acknowledged something, perhaps: what waited for that goes out.
    pub(super) fn on_acknowledged(&mut self, now: Now, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let sent = session.flush(now.mono);
        self.check_pace(now, key, sent);
        self.on_caught_up(key);
    }

    pub(super) fn check_pace(&mut self, now: Now, key: SessionKey, sent: Result<(), TooSlow>) {
        if let Err(TooSlow) = sent {
            let detail = "frames are not read".to_owned();
            self.end_session(now, key, Some((RefuseReason::TooSlow, detail)), LeaveReason::Dropped);
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
        let Some(session) = self.sessions.remove(&key) else { return };
        self.around.living.end(&session.name);
        self.note_known(&session);
        let device = (session.app, session.party.user);
        if let Some(keys) = self.devices.get_mut(&device) {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.devices.remove(&device);
            }
        }
        self.channels.on_session_over(key, reason);
    }

    /// Ends the session's stream, if it has one. The session stays, for a resume.
    pub(super) fn drop_link(&mut self, now: Now, key: SessionKey, refuse: Option<(RefuseReason, String)>) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let Some(link) = session.detach(now.mono) else { return };
        self.timers.push(now.mono + u64::from(self.times.resume_window), Due::ResumeWindow(key));
        self.streams.remove(&link.stream);
        let mut grace_ms = self.times.close_grace;
        if let Some((reason, detail)) = refuse {
            info!(session = key.0, %reason, %detail, "stream ended");
            self.around.metering.refused(reason);
            if link.frames.try_send(refusal(reason, detail)).is_err() {
                grace_ms = 0;
            }
        }
        self.ending.insert(link.stream, link.pulse.cut.clone());
        self.timers.push(now.mono + grace_ms, Due::Cut(link.stream));
    }

    pub(super) fn on_stream_ended(&mut self, stream: StreamId) {
        self.ending.remove(&stream);
        let Some(key) = self.streams.remove(&stream) else { return };
        let now = self.around.clock.now();
        if let Some(session) = self.sessions.get_mut(&key) {
            debug!(session = key.0, "stream broke");
            session.detach(now.mono);
            self.timers.push(now.mono + u64::from(self.times.resume_window), Due::ResumeWindow(key));
            self.may_have_to_wake(now, key);
        }
    }

    /// Drops the streams whose clients have said nothing for the silence limit, and comes back in a quarter of it.
    pub(super) fn look_for_silence(&mut self, now: Now) {
        self.look_for_cut_off(now);
        let limit = u64::from(self.times.silence_limit);
        let silent =
            |session: &Session| session.link.as_ref().is_some_and(|link| now.mono - link.pulse.heard_at() >= limit);
        let keys: Vec<_> = self.sessions.iter().filter(|(_, session)| silent(session)).map(|(key, _)| *key).collect();
        for key in keys {
            info!(session = key.0, "silent");
            self.may_have_to_wake(now, key);
            self.drop_link(now, key, None);
        }
        // Who asked late was told, and has nothing to stay for.
        let lingers = |session: &Session| session.is_visitor && now.mono - session.since >= limit;
        let keys: Vec<_> = self.sessions.iter().filter(|(_, session)| lingers(session)).map(|(key, _)| *key).collect();
        for key in keys {
            self.end_session(now, key, None, LeaveReason::Left);
        }
        let is_stalled = |session: &Session| session.is_stalled(now.mono, 2 * limit);
        let keys: Vec<_> =
            self.sessions.iter().filter(|(_, session)| is_stalled(session)).map(|(key, _)| *key).collect();
        for key in keys {
            let detail = "frames are not acknowledged".to_owned();
            self.end_session(now, key, Some((RefuseReason::TooSlow, detail)), LeaveReason::Dropped);
        }
        for session in self.sessions.values_mut() {
            let app = session.app;
            session.calls.retain(|call_id, _| self.calls.is_running(CallKey { app, call_id: *call_id }));
        }
        self.look_for_ended_tokens(now);
        self.around.metering.upkeep();
        self.timers.push(now.mono + (limit / 4).max(1), Due::Silence);
    }
}
