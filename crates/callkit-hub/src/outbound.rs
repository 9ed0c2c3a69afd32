//! What is on its way to one device, and what waits because too much is.
//!
//! A device has a window of frames that it has not acknowledged; what comes beyond waits in order and is folded, so that what others
//! cause costs neither the device its session nor the server its memory. What finds no room at all is dropped: what is said of calls is
//! said again until it is acknowledged.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use call_protocol::media::{ChannelEvent, ChannelEventBody};
use call_protocol::session::ServerBody;
use call_protocol::{CallId, CallMessage, ChannelId, Uid, Word, limits};

use crate::frame::Frame;

/// Bytes that a device may have unacknowledged; one frame may always be.
const WINDOW_BYTES: usize = 256 * 1024;
/// Bytes kept for a device whatever the others of its user have: one frame of the largest, and some words.
const OWN_BYTES: usize = 72 * 1024;
/// Bytes kept for a device, at most.
const DEVICE_BYTES: usize = 512 * 1024;
/// Bytes kept for all devices of a user beyond [`OWN_BYTES`] each.
const USER_BYTES: usize = 2 * 1024 * 1024;
/// Bytes kept for all devices of the server beyond [`OWN_BYTES`] each.
const SERVER_BYTES: usize = 256 * 1024 * 1024;
/// Frames that wait for a device, at most: bare words have few bytes and some cost.
const WAITING: usize = 1_024;
/// What a frame costs beside its bytes.
const FRAME_COST: usize = 96;

/// What waits is folded by what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum About {
    /// The invite of a call, said again for as long as it rings.
    Invite(CallId),
    /// A member of a channel.
    Member(ChannelId, Uid, Change),
    /// Neither repeated nor replaced by a later one.
    Other,
}

/// What is told of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Joined,
    Tracks,
    Left,
}

impl About {
    pub(crate) fn of(body: &ServerBody) -> About {
        match body {
            ServerBody::Call(CallMessage { call_id, word: Word::Invite(_) }) => About::Invite(*call_id),
            ServerBody::Channel(ChannelEvent { channel, body }) => {
                let member = |uid, change| About::Member(channel.clone(), uid, change);
                match body {
                    ChannelEventBody::MemberJoined(joined) => member(joined.uid, Change::Joined),
                    ChannelEventBody::Tracks { uid, .. } => member(*uid, Change::Tracks),
                    ChannelEventBody::MemberLeft { uid, .. } => member(*uid, Change::Left),
                    ChannelEventBody::Joined { .. }
                    | ChannelEventBody::JoinRefused { .. }
                    | ChannelEventBody::Description { .. }
                    | ChannelEventBody::Candidate { .. }
                    | ChannelEventBody::TokenExpiring { .. } => About::Other,
                }
            }
            ServerBody::Call(_)
            | ServerBody::Welcome(_)
            | ServerBody::Refuse(_)
            | ServerBody::Pong { .. }
            | ServerBody::Access(_) => About::Other,
        }
    }
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passed {
    /// It goes out now.
    Sent,
    /// It goes out when earlier ones were acknowledged.
    Waits,
    /// What waited already says as much, or there is nothing to say any more.
    Folded,
    /// There is no room for it.
    Dropped,
}

/// Bytes kept for one device, its user and all.
#[derive(Debug, Default)]
pub(crate) struct Held {
    own: usize,
    user: Arc<AtomicUsize>,
    all: Arc<AtomicUsize>,
}

impl Held {
    /// Nothing yet, for a device of the user of `other`, or of another user.
    pub(crate) fn beside(other: Option<&Held>, all: &Arc<AtomicUsize>) -> Self {
        Self { own: 0, user: other.map_or_else(Arc::default, |other| Arc::clone(&other.user)), all: Arc::clone(all) }
    }

    fn has_room(&self, bytes: usize) -> bool {
        let own = self.own + bytes;
        let within = |sum: &AtomicUsize, most| sum.load(Ordering::Relaxed) + bytes <= most;
        own <= OWN_BYTES || (own <= DEVICE_BYTES && within(&self.user, USER_BYTES) && within(&self.all, SERVER_BYTES))
    }

    fn take(&mut self, bytes: usize) {
        self.own += bytes;
        self.user.fetch_add(bytes, Ordering::Relaxed);
        self.all.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&mut self, bytes: usize) {
        self.own -= bytes;
        self.user.fetch_sub(bytes, Ordering::Relaxed);
        self.all.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.give_back(self.own);
    }
}

/// The numbered frames of a session, from the server to the device.
#[derive(Default)]
pub(crate) struct Outbound {
    sent: u64,
    window: VecDeque<Frame>,
    window_bytes: usize,
    waiting: VecDeque<(Bytes, About)>,
    pub(crate) held: Held,
}

impl Outbound {
    pub(crate) fn new(held: Held) -> Self {
        Self { held, ..Self::default() }
    }

    /// The number of the last frame that the client has acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.window.front().map_or(self.sent, |frame| frame.seq - 1)
    }

    /// Whether something waits for acknowledgements.
    pub(crate) fn is_behind(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether nothing was sent that is not acknowledged.
    pub(crate) fn is_quiet(&self) -> bool {
        self.window.is_empty()
    }

    /// The number that a frame has which goes out after everything that waits, at most.
    pub(crate) fn last(&self) -> u64 {
        self.sent + self.waiting.len() as u64
    }

    /// Numbers a frame, if there is room for it now, or lets it wait. What is to be sent now comes back from [`Outbound::next`].
    pub(crate) fn put(&mut self, body: Bytes, about: About) -> Passed {
        if self.waiting.is_empty() && self.window_takes(cost(&body)) && self.held.has_room(cost(&body)) {
            self.held.take(cost(&body));
            self.waiting.push_back((body, about));
            return Passed::Sent;
        }
        if let Some(folded) = self.fold(&body, &about) {
            return folded;
        }
        // What is told of members is not said again; folded, it is about as much as there are members.
        let is_bounded = matches!(about, About::Member(..));
        if !is_bounded && (self.waiting.len() >= WAITING || !self.held.has_room(cost(&body))) {
            return Passed::Dropped;
        }
        self.held.take(cost(&body));
        self.waiting.push_back((body, about));
        Passed::Waits
    }

    /// The next frame to send, if one waits and there is room for it.
    pub(crate) fn next(&mut self, ack: u64) -> Option<(Frame, About)> {
        if !self.window_takes(cost(&self.waiting.front()?.0)) {
            return None;
        }
        let (body, about) = self.waiting.pop_front()?;
        self.sent += 1;
        self.window_bytes += cost(&body);
        let frame = Frame { seq: self.sent, ack, body };
        self.window.push_back(frame.clone());
        Some((frame, about))
    }

    /// Takes back the invite of a call, if it waits.
    pub(crate) fn withdraw(&mut self, call_id: CallId) {
        self.take_out(|about| *about == About::Invite(call_id));
    }

    /// The client has everything up to `ack`. False if that was never sent.
    pub(crate) fn on_ack(&mut self, ack: u64) -> bool {
        while self.window.front().is_some_and(|frame| frame.seq <= ack)
            && let Some(frame) = self.window.pop_front()
        {
            self.window_bytes -= cost(&frame.body);
            self.held.give_back(cost(&frame.body));
        }
        ack <= self.sent
    }

    /// What the client has not acknowledged.
    pub(crate) fn unacknowledged(&self) -> impl Iterator<Item = &Frame> {
        self.window.iter()
    }

    /// Whether a client that has everything up to `received` can go on without losing anything.
    pub(crate) fn can_resume_from(&self, received: u64) -> bool {
        let first_kept = self.window.front().map_or(self.sent + 1, |frame| frame.seq);
        received <= self.sent && received + 1 >= first_kept
    }

    fn window_takes(&self, cost: usize) -> bool {
        let has_room = self.window.is_empty() || self.window_bytes + cost <= WINDOW_BYTES;
        has_room && self.window.len() < limits::UNACKNOWLEDGED_FRAMES
    }

    /// What becomes of a frame that is made needless by one that waits, or makes one needless.
    fn fold(&mut self, body: &Bytes, about: &About) -> Option<Passed> {
        match about {
            About::Invite(_) => self.waiting.iter().any(|(_, other)| other == about).then_some(Passed::Folded),
            About::Member(_, _, Change::Tracks) => {
                let same = self.waiting.iter_mut().rfind(|(_, other)| other == about)?;
                let (before, after) = (cost(&same.0), cost(body));
                same.0 = body.clone();
                self.held.give_back(before);
                self.held.take(after);
                Some(Passed::Folded)
            }
            About::Member(channel, uid, Change::Left) => {
                let is = |other: &About, change| *other == About::Member(channel.clone(), *uid, change);
                self.take_out(|other| is(other, Change::Tracks));
                let came = self.take_out(|other| is(other, Change::Joined));
                came.then_some(Passed::Folded)
            }
            About::Member(_, _, Change::Joined) | About::Other => None,
        }
    }

    /// Takes such frames out of what waits; whether there were any.
    fn take_out(&mut self, is_meant: impl Fn(&About) -> bool) -> bool {
        let before = self.waiting.len();
        let held = &mut self.held;
        self.waiting.retain(|(body, about)| {
            let goes = is_meant(about);
            if goes {
                held.give_back(cost(body));
            }
            !goes
        });
        self.waiting.len() < before
    }
}

fn cost(body: &Bytes) -> usize {
    body.len() + FRAME_COST
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(size: usize) -> Bytes {
        Bytes::from(vec![0; size])
    }

    fn send(outbound: &mut Outbound) -> Vec<u64> {
        std::iter::from_fn(|| outbound.next(0)).map(|(frame, _)| frame.seq).collect()
    }

    #[test]
    fn what_is_beyond_the_window_waits_in_order_for_acknowledgements() {
        let mut outbound = Outbound::default();
        let frames = limits::UNACKNOWLEDGED_FRAMES as u64;
        for _ in 0..frames {
            assert_eq!(outbound.put(of(1), About::Other), Passed::Sent);
            send(&mut outbound);
        }
        for _ in 0..20 {
            assert_eq!(outbound.put(of(1), About::Other), Passed::Waits);
        }
        assert!(send(&mut outbound).is_empty());
        assert!(outbound.on_ack(5));
        assert_eq!(send(&mut outbound), (frames + 1..=frames + 5).collect::<Vec<_>>());
        assert!(outbound.on_ack(frames));
        assert_eq!(send(&mut outbound).len(), 15);
        assert!(!outbound.is_behind() && !outbound.on_ack(frames + 21));
    }

    #[test]
    fn an_invite_that_waits_waits_once_and_can_be_taken_back() {
        let mut outbound = Outbound::default();
        for _ in 0..limits::UNACKNOWLEDGED_FRAMES {
            outbound.put(of(1), About::Other);
            send(&mut outbound);
        }
        let invite = |number| About::Invite(CallId::from_bits(number));
        assert_eq!(outbound.put(of(1), invite(1)), Passed::Waits);
        assert_eq!(outbound.put(of(1), invite(1)), Passed::Folded);
        assert_eq!(outbound.put(of(1), invite(2)), Passed::Waits);
        outbound.withdraw(CallId::from_bits(1));
        outbound.on_ack(100);
        assert_eq!(send(&mut outbound), [limits::UNACKNOWLEDGED_FRAMES as u64 + 1]);
    }

    #[test]
    fn a_member_that_comes_and_goes_while_nobody_acknowledges_leaves_nothing() {
        let mut outbound = Outbound::default();
        for _ in 0..limits::UNACKNOWLEDGED_FRAMES {
            outbound.put(of(1), About::Other);
            send(&mut outbound);
        }
        let channel = ChannelId::new("room").unwrap();
        let member = |number, change| About::Member(channel.clone(), Uid::new(number).unwrap(), change);
        for number in 1..10_000 {
            outbound.put(of(1), member(number, Change::Joined));
            outbound.put(of(1), member(number, Change::Tracks));
            outbound.put(of(1), member(number, Change::Tracks));
            outbound.put(of(1), member(number, Change::Left));
            assert!(!outbound.is_behind());
        }
        outbound.put(of(1), member(1, Change::Left));
        assert!(outbound.is_behind(), "of one that was there before");
    }

    #[test]
    fn bytes_are_bounded_for_a_device_its_user_and_all_and_come_back() {
        let all = Arc::default();
        let mut devices: Vec<Outbound> = Vec::new();
        for _ in 0..32 {
            let held = Held::beside(devices.first().map(|first| &first.held), &all);
            devices.push(Outbound::new(held));
        }
        for outbound in &mut devices {
            for _ in 0..1_000 {
                outbound.put(of(48 * 1024), About::Other);
                send(outbound);
            }
            assert!(outbound.held.own <= DEVICE_BYTES);
            assert!(outbound.held.own >= 48 * 1024, "one frame always finds room");
        }
        assert!(all.load(Ordering::Relaxed) <= USER_BYTES + 32 * OWN_BYTES);

        let mut other = Outbound::new(Held::beside(None, &all));
        assert_eq!(other.put(of(100 * 1024), About::Other), Passed::Sent, "another user has its own");
        drop((devices, other));
        assert_eq!(all.load(Ordering::Relaxed), 0);
    }
}
