//! One signed-in device: its numbered frames in both directions, and the stream that carries them at present.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use call_protocol::session::{Refuse, RefuseReason, ServerBody};
use call_protocol::{CallId, DeviceId, Party, limits};
use hyper::body::Bytes;
use signaling::Time;
use tokio::sync::mpsc;

use super::access::Told;
use super::outbound::{About, Held, Outbound, Passed};
use crate::connection::{Connection, Cut};
use crate::revoked::TokenMark;
use crate::token::AppNo;
use crate::wire::Frame;

/// One session, for as long as the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SessionKey(pub(crate) u64);

/// One stream, for as long as the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct StreamId(pub(crate) u64);

/// What the hub and the task of one stream both see.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// When the client was last heard, in ms of the server's clock.
    heard_ms: AtomicU64,
    /// The highest number received in the session, for the acknowledgement in a pong.
    received: AtomicU64,
    /// When the access token of the stream's client ends, in ms of the server's clock; `u64::MAX` where none was needed.
    access_until_ms: AtomicU64,
    /// Of the access token, where one was needed.
    mark: Mutex<Option<TokenMark>>,
    pub(crate) connection: Arc<Connection>,
    pub(crate) cut: Cut,
}

impl Pulse {
    pub(crate) fn new(now: Time, connection: Arc<Connection>, cut: Cut) -> Self {
        let (heard_ms, received, access_until_ms) =
            (AtomicU64::new(now.0), AtomicU64::new(0), AtomicU64::new(u64::MAX));
        Self { heard_ms, received, access_until_ms, mark: Mutex::new(None), connection, cut }
    }

    /// When the access token ends; `None` where none was needed.
    pub(crate) fn access_until(&self) -> Option<Time> {
        Some(self.access_until_ms.load(Ordering::Relaxed)).filter(|at| *at < u64::MAX).map(Time)
    }

    pub(crate) fn renew_access(&self, until: Time) {
        self.access_until_ms.store(until.0, Ordering::Relaxed);
    }

    /// The access token by which the client is here at present.
    pub(crate) fn mark(&self) -> Option<TokenMark> {
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_mark(&self, mark: Option<TokenMark>) {
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = mark;
    }

    pub(crate) fn heard_at(&self) -> Time {
        Time(self.heard_ms.load(Ordering::Relaxed))
    }

    pub(crate) fn hear(&self, now: Time) {
        self.heard_ms.fetch_max(now.0, Ordering::Relaxed);
    }

    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

/// How an access token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Until {
    /// How long it is good from now on, in ms.
    pub(crate) left_ms: u64,
    /// It is not: it is good only to go on with a session that lives.
    pub(crate) has_ended: bool,
}

/// The way to a stream's client. Dropping it ends the stream after what was sent.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) stream: StreamId,
    pub(crate) frames: mpsc::Sender<Frame>,
    pub(crate) pulse: Arc<Pulse>,
}

/// Frames that may wait in a link: everything a resume can bring, and what goes without a number.
pub(crate) const LINK_FRAMES: usize = limits::UNACKNOWLEDGED_FRAMES + 32;

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

/// The client does not read what it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooSlow;

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
    pub(crate) link: Option<Link>,
    /// When its present stream was taken up.
    pub(crate) since: Time,
    /// When the last stream broke; the resume window counts from here.
    pub(crate) lost_at: Option<Time>,
    /// When it was last heard, as of the last stream that ended.
    pub(crate) heard: Time,
    /// Missed calls that it was told of and has not acknowledged, and the number of each in the store.
    pub(crate) untold: BTreeMap<CallId, u64>,
    /// Whether it is being looked up what it missed: until that is known it does not count as one that knows.
    pub(crate) is_looked_up: bool,
    /// The last call told of, where there are more to tell.
    pub(crate) told_until: Option<u64>,
    /// What has no higher number is not told from the history alone.
    pub(crate) told_since: u64,
    /// Missed calls that it was told of as they ended: with which frame at most, and their numbers.
    pub(crate) unsure: VecDeque<(u64, u64)>,
    /// The number of the first call of which it was not told since too much waited.
    pub(crate) behind_since: Option<u64>,
    /// Up to which number it is noted that it knows.
    pub(crate) noted: u64,
    /// The access token of the last stream that ended.
    last_mark: Option<TokenMark>,
    /// When that ends, or ended.
    pub(super) last_access: Option<Time>,
    /// What it was told of the end of its access token.
    pub(super) access_told: Option<Told>,
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
            heard: Time(0),
            untold: BTreeMap::new(),
            is_looked_up: false,
            told_until: None,
            told_since: 0,
            unsure: VecDeque::new(),
            behind_since: None,
            noted: 0,
            last_mark: None,
            last_access: None,
            access_told: None,
            ack_waits: false,
            outbound: Outbound::new(held),
            progressed_at: Time(0),
            calls: BTreeMap::new(),
            received: 0,
            acknowledged: 0,
        }
    }

    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Sends a numbered frame and keeps it until the client has acknowledged it. Without a stream it waits for a resume.
    pub(crate) fn send(&mut self, now: Time, body: Bytes, about: About) -> Result<Passed, TooSlow> {
        let call = match about {
            About::Invite(call_id) => Some(call_id),
            About::Member(..) | About::Other => None,
        };
        // Said again to a device that has it: it need not wait for that.
        if let Some(call_id) = call
            && self.outbound.is_behind()
            && self.calls.get(&call_id) == Some(&Seen::Yes)
        {
            return Ok(Passed::Folded);
        }
        let passed = self.outbound.put(body, about);
        if let Some(call_id) = call
            && matches!(passed, Passed::Waits | Passed::Dropped)
        {
            self.calls.entry(call_id).or_insert(Seen::No);
        }
        self.flush(now)?;
        Ok(passed)
    }

    /// Sends what waits and has room now.
    pub(crate) fn flush(&mut self, now: Time) -> Result<(), TooSlow> {
        while let Some((frame, about)) = self.outbound.next(self.received) {
            if let About::Invite(call_id) = about {
                self.calls.insert(call_id, Seen::Yes);
            }
            if frame.seq == self.first_unacknowledged() {
                self.progressed_at = now;
            }
            self.acknowledged = self.received;
            self.pass_on(frame)?;
        }
        Ok(())
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
    pub(crate) fn send_unnumbered(&mut self, body: Option<ServerBody>) -> Result<(), TooSlow> {
        self.acknowledged = self.received;
        self.pass_on(Frame::new(self.received, body))
    }

    /// Sends again what the client has not acknowledged.
    pub(crate) fn replay(&mut self) -> Result<(), TooSlow> {
        for frame in self.outbound.unacknowledged() {
            self.pass_on(frame.clone())?;
        }
        Ok(())
    }

    fn pass_on(&self, frame: Frame) -> Result<(), TooSlow> {
        match self.link.as_ref().map(|link| link.frames.try_send(frame)) {
            // A closed link is one whose stream has just broken: the frame waits for a resume.
            None | Some(Ok(()) | Err(mpsc::error::TrySendError::Closed(_))) => Ok(()),
            Some(Err(mpsc::error::TrySendError::Full(_))) => Err(TooSlow),
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
        if let Some(link) = &self.link {
            link.pulse.received.store(seq, Ordering::Relaxed);
        }
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
        if let Some(link) = &self.link {
            link.pulse.hear((link.pulse.heard_at() + ms).min(now));
        }
        self.lost_at = self.lost_at.map(|at| (at + ms).min(now));
        self.progressed_at = (self.progressed_at + ms).min(now);
        if let Some(told) = &mut self.access_told {
            told.discount(now, ms);
        }
    }

    /// Gives up the stream, if there is one.
    pub(crate) fn detach(&mut self, now: Time) -> Option<Link> {
        let link = self.link.take()?;
        self.lost_at = Some(now);
        self.heard = link.pulse.heard_at();
        self.last_mark = link.pulse.mark();
        self.last_access = link.pulse.access_until();
        Some(link)
    }

    /// The access token by which its client is here, or was.
    pub(crate) fn mark(&self) -> Option<TokenMark> {
        self.link.as_ref().map_or(self.last_mark, |link| link.pulse.mark())
    }

    /// Takes up a stream.
    pub(crate) fn attach(&mut self, now: Time, link: Link) {
        self.progressed_at = now;
        link.pulse.received.store(self.received, Ordering::Relaxed);
        self.link = Some(link);
        self.since = now;
        self.lost_at = None;
    }
}

/// The last frame of a stream.
pub(crate) fn refusal(reason: RefuseReason, detail: impl Into<String>) -> Frame {
    let mut detail: String = detail.into();
    if detail.len() > limits::NOTE_BYTES {
        let end = (0..=limits::NOTE_BYTES).rev().find(|at| detail.is_char_boundary(*at)).unwrap_or(0);
        detail.truncate(end);
    }
    Frame::new(0, Some(ServerBody::Refuse(Refuse { reason, detail })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use call_protocol::UserId;

    const NOW: Time = Time(0);

    fn session() -> (Session, mpsc::Receiver<Frame>) {
        let party = Party { user: UserId::new("ann").unwrap(), device: DeviceId::new("phone").unwrap() };
        let mut session = Session::new("name".into(), AppNo(0), party, None, Held::default());
        let frames = attach(&mut session, LINK_FRAMES);
        (session, frames)
    }

    fn attach(session: &mut Session, room: usize) -> mpsc::Receiver<Frame> {
        let (sender, frames) = mpsc::channel(room);
        let pulse = Arc::new(Pulse::new(Time(0), Arc::new(Connection::default()), Cut::default()));
        session.attach(NOW, Link { stream: StreamId(1), frames: sender, pulse });
        frames
    }

    fn send(session: &mut Session) -> Result<Passed, TooSlow> {
        session.send(NOW, Bytes::from_static(b"pong"), About::Other)
    }

    fn numbers(frames: &mut mpsc::Receiver<Frame>) -> Vec<u64> {
        std::iter::from_fn(|| frames.try_recv().ok()).map(|frame| frame.seq).collect()
    }

    #[test]
    fn what_was_not_acknowledged_comes_again_after_a_resume() {
        let (mut session, mut frames) = session();
        for _ in 1..=4 {
            send(&mut session).unwrap();
        }
        assert_eq!(numbers(&mut frames), [1, 2, 3, 4]);
        assert!(session.on_ack(NOW, 2));
        session.link = None;
        send(&mut session).unwrap();

        assert!(session.can_resume_from(2) && session.can_resume_from(5));
        assert!(!session.can_resume_from(1), "frame 2 is gone");
        assert!(!session.can_resume_from(6), "never sent");
        let mut frames = attach(&mut session, LINK_FRAMES);
        session.on_ack(NOW, 3);
        session.replay().unwrap();
        assert_eq!(numbers(&mut frames), [4, 5]);
        assert!(!session.on_ack(NOW, 6));
    }

    #[test]
    fn numbers_from_the_client_are_taken_once_and_in_order() {
        let (mut session, _frames) = session();
        let arrivals: Vec<_> = [1, 2, 2, 1, 4, 3].into_iter().map(|seq| session.on_numbered(seq)).collect();
        use Arrival::{Duplicate, Gap, New};
        assert_eq!(arrivals, [New, New, Duplicate, Duplicate, Gap, New]);
        assert_eq!(session.received(), 3);
        assert!(session.owes_ack() && !session.owes_ack_now());
        send(&mut session).unwrap();
        assert!(!session.owes_ack(), "it rode on the frame");
    }

    #[test]
    fn what_others_cause_waits_and_who_acknowledges_nothing_for_long_is_stalled() {
        let (mut session, mut frames) = session();
        for _ in 0..2 * limits::UNACKNOWLEDGED_FRAMES {
            assert!(send(&mut session).is_ok());
        }
        assert_eq!(numbers(&mut frames).len(), limits::UNACKNOWLEDGED_FRAMES);
        assert!(!session.is_stalled(Time(19), 20) && session.is_stalled(Time(20), 20));
        session.on_ack(Time(20), 1);
        session.flush(Time(20)).unwrap();
        assert_eq!(numbers(&mut frames), [limits::UNACKNOWLEDGED_FRAMES as u64 + 1]);
        assert!(!session.is_stalled(Time(39), 20), "slow is not stalled");

        let mut session = Session::new("name".into(), AppNo(0), session.party, None, Held::default());
        let _unread = attach(&mut session, 2);
        send(&mut session).unwrap();
        send(&mut session).unwrap();
        assert_eq!(session.send_unnumbered(None), Err(TooSlow));
    }

    #[test]
    fn a_call_is_unseen_until_its_invite_went_out() {
        let (mut session, _frames) = session();
        let invite = |session: &mut Session, number| {
            let call_id = CallId::from_bits(number);
            session.send(NOW, Bytes::from_static(b"invite"), About::Invite(call_id)).unwrap()
        };
        assert_eq!(invite(&mut session, 1), Passed::Sent);
        while send(&mut session) == Ok(Passed::Sent) {}
        assert_eq!(invite(&mut session, 1), Passed::Folded, "it has it");
        assert_eq!(invite(&mut session, 2), Passed::Waits);
        assert_eq!(invite(&mut session, 3), Passed::Waits);
        session.on_ack(NOW, 2);
        session.flush(NOW).unwrap();
        assert!(!session.stops_ringing(CallId::from_bits(1)));
        assert!(!session.stops_ringing(CallId::from_bits(2)), "it went out in the place of an acknowledged one");
        assert!(session.stops_ringing(CallId::from_bits(3)));
        assert!(!session.stops_ringing(CallId::from_bits(3)));
    }
}
