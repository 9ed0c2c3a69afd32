//! One signed-in device: its numbered frames in both directions, and the stream that carries them at present.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use call_protocol::session::ServerBody;
use call_protocol::{CallId, DeviceId, Party};
use signaling::Time;

use crate::access::AccessState;
use crate::frame::Frame;
use crate::ids::{Address, AppNo, StreamId, TokenMark};
use crate::missed::MissedState;
use crate::outbound::{About, Held, Outbound, Passed};
use crate::output::Output;

/// After how many frames an acknowledgement is sent without waiting for one to ride on.
const ACK_EVERY: u64 = 16;

/// What became of a numbered frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    New,
    Duplicate,
    Gap,
}

/// Whether a device was sent the invite of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Yes,
    /// It waited, or found no room.
    No,
}

/// A stream whose client signed in.
#[derive(Debug)]
pub(crate) struct NewStream {
    pub(crate) stream: StreamId,
    /// When the access token of its client ends; none where none was needed.
    pub(crate) access_until: Option<Time>,
    pub(crate) mark: Option<TokenMark>,
    /// What the client is told of servers for its candidates.
    pub(crate) stun_server: String,
}

/// The stream of a session.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) stream: StreamId,
    pub(crate) stun_server: String,
    /// When its client was last heard, as far as was asked.
    pub(crate) heard: Time,
}

pub(crate) struct Session {
    /// By which the client resumes it; not to be guessed.
    pub(crate) name: String,
    pub(crate) app: AppNo,
    pub(crate) party: Party,
    /// It speaks of this call alone.
    pub(crate) bound: Option<CallId>,
    /// The device whose push brought it, which may have another name.
    pub(crate) woken: Option<DeviceId>,
    /// It asked late about a call that its own device is in: it is told so, and has no part in anything.
    pub(crate) is_visitor: bool,
    /// There for one call and gone with it: nothing is remembered of its device.
    pub(crate) for_one_call: bool,
    pub(crate) link: Option<Attached>,
    /// When its present stream was taken up.
    pub(crate) since: Time,
    /// When the last stream broke; the resume window counts from here.
    pub(crate) lost_at: Option<Time>,
    /// What its device knows of the calls that it missed.
    pub(crate) missed: MissedState,
    pub(crate) access: AccessState,
    /// Whether a timer for an acknowledgement runs.
    pub(crate) ack_waits: bool,
    pub(crate) outbound: Outbound,
    /// When it last acknowledged something, or was sent the first of what it has not.
    progressed_at: Time,
    /// Calls that ring, as far as this device was to hear of them.
    pub(crate) calls: BTreeMap<CallId, Seen>,
    received: u64,
    acknowledged: u64,
}

impl Session {
    pub(crate) fn new(name: String, app: AppNo, party: Party, bound: Option<CallId>, held: Held) -> Self {
        Self {
            name,
            app,
            party,
            bound,
            woken: None,
            is_visitor: false,
            for_one_call: false,
            link: None,
            since: Time(0),
            lost_at: None,
            missed: MissedState::default(),
            access: AccessState::default(),
            ack_waits: false,
            outbound: Outbound::new(held),
            progressed_at: Time(0),
            calls: BTreeMap::new(),
            received: 0,
            acknowledged: 0,
        }
    }

    /// Where channels reach its device; a visitor is in none.
    pub(crate) fn address(&self) -> Option<Address> {
        let (app, party, only_for) = (self.app, &self.party, self.bound);
        (!self.is_visitor).then(|| Address { app, party: party.clone(), only_for })
    }

    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Sends a numbered frame and keeps it until the client has acknowledged it. Without a stream it waits for a resume.
    pub(crate) fn send(&mut self, now: Time, body: Bytes, about: About, outputs: &mut VecDeque<Output>) -> Passed {
        let call = match about {
            About::Invite(call_id) => Some(call_id),
            About::Member(..) | About::Other => None,
        };
        // Said again to a device that has it: it need not wait for that.
        if let Some(call_id) = call
            && self.outbound.is_behind()
            && self.calls.get(&call_id) == Some(&Seen::Yes)
        {
            return Passed::Folded;
        }
        let passed = self.outbound.put(body, about);
        if let Some(call_id) = call
            && matches!(passed, Passed::Waits | Passed::Dropped)
        {
            self.calls.entry(call_id).or_insert(Seen::No);
        }
        self.flush(now, outputs);
        passed
    }

    /// Sends what waits and has room now.
    pub(crate) fn flush(&mut self, now: Time, outputs: &mut VecDeque<Output>) {
        while let Some((frame, about)) = self.outbound.next(self.received) {
            if let About::Invite(call_id) = about {
                self.calls.insert(call_id, Seen::Yes);
            }
            if frame.seq == self.first_unacknowledged() {
                self.progressed_at = now;
            }
            self.acknowledged = self.received;
            self.pass_on(frame, outputs);
        }
    }

    /// What rang, perhaps, does no more. True if the device never saw that it did, and will not.
    pub(crate) fn stops_ringing(&mut self, call_id: CallId) -> bool {
        let is_unseen = self.calls.remove(&call_id) == Some(Seen::No);
        if is_unseen {
            self.outbound.withdraw(call_id);
        }
        is_unseen
    }

    /// Sends a frame that is not numbered and is lost with the stream.
    pub(crate) fn send_unnumbered(&mut self, body: Option<ServerBody>, outputs: &mut VecDeque<Output>) {
        self.acknowledged = self.received;
        self.pass_on(Frame::new(self.received, body), outputs);
    }

    /// Sends again what the client has not acknowledged.
    pub(crate) fn replay(&mut self, outputs: &mut VecDeque<Output>) {
        for frame in self.outbound.unacknowledged() {
            self.pass_on(frame.clone(), outputs);
        }
    }

    fn pass_on(&self, frame: Frame, outputs: &mut VecDeque<Output>) {
        if let Some(Attached { stream, .. }) = self.link {
            outputs.push_back(Output::Send { stream, frame });
        }
    }

    fn first_unacknowledged(&self) -> u64 {
        self.outbound.unacknowledged().next().map_or(0, |frame| frame.seq)
    }

    /// The client has everything up to `ack`; what waits can be sent by [`Session::flush`]. False if that was never sent.
    pub(crate) fn on_ack(&mut self, now: Time, ack: u64) -> bool {
        if ack >= self.first_unacknowledged() {
            self.progressed_at = now;
        }
        self.outbound.on_ack(ack)
    }

    /// Whether it reads, or at least speaks, and has acknowledged nothing of what it was sent for so long.
    pub(crate) fn is_stalled(&self, now: Time, limit_ms: u64) -> bool {
        self.link.is_some() && !self.outbound.is_quiet() && now - self.progressed_at >= limit_ms
    }

    /// Whether its client has said nothing for so long.
    pub(crate) fn is_silent(&self, now: Time, limit_ms: u64) -> bool {
        self.link.as_ref().is_some_and(|link| now - link.heard >= limit_ms)
    }

    /// Whether a client that has everything up to `received` can go on without losing anything.
    pub(crate) fn can_resume_from(&self, received: u64) -> bool {
        self.outbound.can_resume_from(received)
    }

    pub(crate) fn on_numbered(&mut self, seq: u64) -> Arrival {
        if seq <= self.received {
            return Arrival::Duplicate;
        }
        if seq != self.received + 1 {
            return Arrival::Gap;
        }
        self.received = seq;
        Arrival::New
    }

    pub(crate) fn owes_ack(&self) -> bool {
        self.received > self.acknowledged
    }

    pub(crate) fn owes_ack_now(&self) -> bool {
        self.received - self.acknowledged >= ACK_EVERY
    }

    /// So much time up to now counts as no silence of this device.
    pub(crate) fn discount(&mut self, now: Time, ms: u64) {
        if let Some(link) = &mut self.link {
            link.heard = (link.heard + ms).min(now);
        }
        self.lost_at = self.lost_at.map(|at| (at + ms).min(now));
        self.progressed_at = (self.progressed_at + ms).min(now);
        self.access.discount(now, ms);
    }

    /// Gives up the stream, if there is one.
    pub(crate) fn detach(&mut self, now: Time) -> Option<StreamId> {
        let link = self.link.take()?;
        self.lost_at = Some(now);
        Some(link.stream)
    }

    /// Takes up a stream.
    pub(crate) fn attach(&mut self, now: Time, new: NewStream) {
        let NewStream { stream, access_until, mark, stun_server } = new;
        self.progressed_at = now;
        self.link = Some(Attached { stream, stun_server, heard: now });
        (self.access.ends, self.access.mark) = (access_until, mark);
        self.since = now;
        self.lost_at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use call_protocol::{UserId, limits};

    const NOW: Time = Time(0);

    fn session() -> (Session, VecDeque<Output>) {
        let party = Party { user: UserId::new("ann").unwrap(), device: DeviceId::new("phone").unwrap() };
        let mut session = Session::new("name".into(), AppNo(0), party, None, Held::default());
        attach(&mut session);
        (session, VecDeque::new())
    }

    fn attach(session: &mut Session) {
        let (access_until, mark, stun_server) = (None, None, "stun:h:1".into());
        session.attach(NOW, NewStream { stream: StreamId(1), access_until, mark, stun_server });
    }

    fn send(session: &mut Session, frames: &mut VecDeque<Output>) -> Passed {
        session.send(NOW, Bytes::from_static(b"pong"), About::Other, frames)
    }

    fn numbers(frames: &mut VecDeque<Output>) -> Vec<u64> {
        let number = |output| match output {
            Output::Send { stream: StreamId(1), frame } => frame.seq,
            other => panic!("{other:?}"),
        };
        frames.drain(..).map(number).collect()
    }

    #[test]
    fn what_was_not_acknowledged_comes_again_after_a_resume() {
        let (mut session, mut frames) = session();
        for _ in 1..=4 {
            send(&mut session, &mut frames);
        }
        assert_eq!(numbers(&mut frames), [1, 2, 3, 4]);
        assert!(session.on_ack(NOW, 2));
        session.link = None;
        send(&mut session, &mut frames);
        assert_eq!(numbers(&mut frames), [0; 0]);

        assert!(session.can_resume_from(2) && session.can_resume_from(5));
        assert!(!session.can_resume_from(1), "frame 2 is gone");
        assert!(!session.can_resume_from(6), "never sent");
        attach(&mut session);
        session.on_ack(NOW, 3);
        session.replay(&mut frames);
        assert_eq!(numbers(&mut frames), [4, 5]);
        assert!(!session.on_ack(NOW, 6));
    }

    #[test]
    fn numbers_from_the_client_are_taken_once_and_in_order() {
        let (mut session, mut frames) = session();
        let arrivals: Vec<_> = [1, 2, 2, 1, 4, 3].into_iter().map(|seq| session.on_numbered(seq)).collect();
        use Arrival::{Duplicate, Gap, New};
        assert_eq!(arrivals, [New, New, Duplicate, Duplicate, Gap, New]);
        assert_eq!(session.received(), 3);
        assert!(session.owes_ack() && !session.owes_ack_now());
        send(&mut session, &mut frames);
        assert!(!session.owes_ack(), "it rode on the frame");
    }

    #[test]
    fn what_others_cause_waits_and_who_acknowledges_nothing_for_long_is_stalled() {
        let (mut session, mut frames) = session();
        for _ in 0..2 * limits::UNACKNOWLEDGED_FRAMES {
            send(&mut session, &mut frames);
        }
        assert_eq!(numbers(&mut frames).len(), limits::UNACKNOWLEDGED_FRAMES);
        assert!(!session.is_stalled(Time(19), 20) && session.is_stalled(Time(20), 20));
        session.on_ack(Time(20), 1);
        session.flush(Time(20), &mut frames);
        assert_eq!(numbers(&mut frames), [limits::UNACKNOWLEDGED_FRAMES as u64 + 1]);
        assert!(!session.is_stalled(Time(39), 20), "slow is not stalled");
    }

    #[test]
    fn a_call_is_unseen_until_its_invite_went_out() {
        let (mut session, mut frames) = session();
        let invite = |session: &mut Session, number| {
            let call_id = CallId::from_bits(number);
            session.send(NOW, Bytes::from_static(b"invite"), About::Invite(call_id), &mut VecDeque::new())
        };
        assert_eq!(invite(&mut session, 1), Passed::Sent);
        while send(&mut session, &mut frames) == Passed::Sent {}
        assert_eq!(invite(&mut session, 1), Passed::Folded, "it has it");
        assert_eq!(invite(&mut session, 2), Passed::Waits);
        assert_eq!(invite(&mut session, 3), Passed::Waits);
        session.on_ack(NOW, 2);
        session.flush(NOW, &mut frames);
        assert!(!session.stops_ringing(CallId::from_bits(1)));
        assert!(!session.stops_ringing(CallId::from_bits(2)), "it went out in the place of an acknowledged one");
        assert!(session.stops_ringing(CallId::from_bits(3)));
        assert!(!session.stops_ringing(CallId::from_bits(3)));
    }
}
