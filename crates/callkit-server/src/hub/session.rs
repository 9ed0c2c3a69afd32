//! One signed-in device: its numbered frames in both directions, and the stream that carries them at present.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use call_protocol::session::{Refuse, RefuseReason, ServerBody, ServerFrame};
use call_protocol::{CallId, Party, limits};
use signaling::Time;
use tokio::sync::mpsc;

use crate::connection::Connection;
use crate::token::AppNo;

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
    pub(crate) connection: Arc<Connection>,
}

impl Pulse {
    pub(crate) fn new(now: Time, connection: Arc<Connection>) -> Self {
        Self { heard_ms: AtomicU64::new(now.0), received: AtomicU64::new(0), connection }
    }

    pub(crate) fn heard_at(&self) -> Time {
        Time(self.heard_ms.load(Ordering::Relaxed))
    }

    pub(crate) fn hear(&self, now: Time) {
        self.heard_ms.store(now.0, Ordering::Relaxed);
    }

    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

/// The way to a stream's client. Dropping it ends the stream after what was sent.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) stream: StreamId,
    pub(crate) frames: mpsc::Sender<Arc<ServerFrame>>,
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

/// The client does not keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooSlow;

pub(crate) struct Session {
    /// By which the client resumes it; not to be guessed.
    pub(crate) name: String,
    pub(crate) app: AppNo,
    pub(crate) party: Party,
    /// It speaks of this call alone.
    pub(crate) bound: Option<CallId>,
    pub(crate) link: Option<Link>,
    /// When the last stream broke; the resume window counts from here.
    pub(crate) lost_at: Option<Time>,
    /// When it was last heard, as of the last stream that ended.
    pub(crate) heard: Time,
    /// Missed calls that it was told of and has not acknowledged, and when each ended, in ms since 1970.
    pub(crate) untold: BTreeMap<CallId, u64>,
    /// Whether it is being looked up what it missed: until that is known it does not count as one that knows.
    pub(crate) is_looked_up: bool,
    /// The last call told of, where there are more to tell.
    pub(crate) told_until: Option<(u64, CallId)>,
    /// Whether a timer for an acknowledgement runs.
    pub(crate) ack_waits: bool,
    sent: u64,
    unacknowledged: VecDeque<Arc<ServerFrame>>,
    received: u64,
    acknowledged: u64,
}

impl Session {
    pub(crate) fn new(name: String, app: AppNo, party: Party, bound: Option<CallId>) -> Self {
        Self {
            name,
            app,
            party,
            bound,
            link: None,
            lost_at: None,
            heard: Time(0),
            untold: BTreeMap::new(),
            is_looked_up: false,
            told_until: None,
            ack_waits: false,
            sent: 0,
            unacknowledged: VecDeque::new(),
            received: 0,
            acknowledged: 0,
        }
    }

    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Sends a numbered frame and keeps it until the client has acknowledged it. Without a stream it waits for a resume.
    pub(crate) fn send(&mut self, body: ServerBody) -> Result<(), TooSlow> {
        if self.unacknowledged.len() >= limits::UNACKNOWLEDGED_FRAMES {
            return Err(TooSlow);
        }
        self.sent += 1;
        let frame = Arc::new(ServerFrame { seq: self.sent, ack: self.received, body: Some(body) });
        self.unacknowledged.push_back(Arc::clone(&frame));
        self.acknowledged = self.received;
        self.pass_on(frame)
    }

    /// Sends a frame that is not numbered and is lost with the stream.
    pub(crate) fn send_unnumbered(&mut self, body: Option<ServerBody>) -> Result<(), TooSlow> {
        self.acknowledged = self.received;
        self.pass_on(Arc::new(ServerFrame { seq: 0, ack: self.received, body }))
    }

    /// Sends again what the client has not acknowledged.
    pub(crate) fn replay(&mut self) -> Result<(), TooSlow> {
        for frame in self.unacknowledged.clone() {
            self.pass_on(frame)?;
        }
        Ok(())
    }

    fn pass_on(&self, frame: Arc<ServerFrame>) -> Result<(), TooSlow> {
        match self.link.as_ref().map(|link| link.frames.try_send(frame)) {
            // A closed link is one whose stream has just broken: the frame waits for a resume.
            None | Some(Ok(()) | Err(mpsc::error::TrySendError::Closed(_))) => Ok(()),
            Some(Err(mpsc::error::TrySendError::Full(_))) => Err(TooSlow),
        }
    }

    /// The client has everything up to `ack`. False if that was never sent.
    pub(crate) fn on_ack(&mut self, ack: u64) -> bool {
        while self.unacknowledged.front().is_some_and(|frame| frame.seq <= ack) {
            self.unacknowledged.pop_front();
        }
        ack <= self.sent
    }

    /// Whether a client that has everything up to `received` can go on without losing anything.
    pub(crate) fn can_resume_from(&self, received: u64) -> bool {
        let first_kept = self.unacknowledged.front().map_or(self.sent + 1, |frame| frame.seq);
        received <= self.sent && received + 1 >= first_kept
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

    /// Gives up the stream, if there is one.
    pub(crate) fn detach(&mut self, now: Time) -> Option<Link> {
        let link = self.link.take()?;
        self.lost_at = Some(now);
        self.heard = link.pulse.heard_at();
        Some(link)
    }

    /// Takes up a stream.
    pub(crate) fn attach(&mut self, link: Link) {
        link.pulse.received.store(self.received, Ordering::Relaxed);
        self.link = Some(link);
        self.lost_at = None;
    }
}

/// The last frame of a stream.
pub(crate) fn refusal(reason: RefuseReason, detail: impl Into<String>) -> ServerFrame {
    let mut detail: String = detail.into();
    if detail.len() > limits::NOTE_BYTES {
        let end = (0..=limits::NOTE_BYTES).rev().find(|at| detail.is_char_boundary(*at)).unwrap_or(0);
        detail.truncate(end);
    }
    ServerFrame { seq: 0, ack: 0, body: Some(ServerBody::Refuse(Refuse { reason, detail })) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use call_protocol::{DeviceId, UserId};

    fn session() -> (Session, mpsc::Receiver<Arc<ServerFrame>>) {
        let party = Party { user: UserId::new("ann").unwrap(), device: DeviceId::new("phone").unwrap() };
        let mut session = Session::new("name".into(), AppNo(0), party, None);
        let frames = attach(&mut session, LINK_FRAMES);
        (session, frames)
    }

    fn attach(session: &mut Session, room: usize) -> mpsc::Receiver<Arc<ServerFrame>> {
        let (sender, frames) = mpsc::channel(room);
        let pulse = Arc::new(Pulse::new(Time(0), Arc::new(Connection::default())));
        session.attach(Link { stream: StreamId(1), frames: sender, pulse });
        frames
    }

    fn pong(nonce: u64) -> ServerBody {
        ServerBody::Pong { nonce, server_unix_ms: 0 }
    }

    fn numbers(frames: &mut mpsc::Receiver<Arc<ServerFrame>>) -> Vec<u64> {
        std::iter::from_fn(|| frames.try_recv().ok()).map(|frame| frame.seq).collect()
    }

    #[test]
    fn what_was_not_acknowledged_comes_again_after_a_resume() {
        let (mut session, mut frames) = session();
        for nonce in 1..=4 {
            session.send(pong(nonce)).unwrap();
        }
        assert_eq!(numbers(&mut frames), [1, 2, 3, 4]);
        assert!(session.on_ack(2));
        session.link = None;
        session.send(pong(5)).unwrap();

        assert!(session.can_resume_from(2) && session.can_resume_from(5));
        assert!(!session.can_resume_from(1), "frame 2 is gone");
        assert!(!session.can_resume_from(6), "never sent");
        let mut frames = attach(&mut session, LINK_FRAMES);
        session.on_ack(3);
        session.replay().unwrap();
        assert_eq!(numbers(&mut frames), [4, 5]);
        assert!(!session.on_ack(6));
    }

    #[test]
    fn numbers_from_the_client_are_taken_once_and_in_order() {
        let (mut session, _frames) = session();
        let arrivals: Vec<_> = [1, 2, 2, 1, 4, 3].into_iter().map(|seq| session.on_numbered(seq)).collect();
        use Arrival::{Duplicate, Gap, New};
        assert_eq!(arrivals, [New, New, Duplicate, Duplicate, Gap, New]);
        assert_eq!(session.received(), 3);
        assert!(session.owes_ack() && !session.owes_ack_now());
        session.send(pong(1)).unwrap();
        assert!(!session.owes_ack(), "it rode on the frame");
    }

    #[test]
    fn a_client_that_does_not_acknowledge_or_does_not_read_is_too_slow() {
        let (mut session, _frames) = session();
        for nonce in 0..limits::UNACKNOWLEDGED_FRAMES as u64 {
            session.send(pong(nonce)).unwrap();
        }
        assert_eq!(session.send(pong(0)), Err(TooSlow));

        let mut session = Session::new("name".into(), AppNo(0), session.party, None);
        let _unread = attach(&mut session, 2);
        session.send(pong(1)).unwrap();
        session.send(pong(2)).unwrap();
        assert_eq!(session.send(pong(3)), Err(TooSlow));
    }
}
