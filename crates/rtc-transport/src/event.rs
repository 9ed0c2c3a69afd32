//! What a path tells, and the queue it tells it through.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Notify;

/// Voice packets that may wait for the application: 5 s of 20 ms packets, more than any jitter buffer holds.
const VOICE_LIMIT: usize = 256;
/// Control words that may wait: whoever says more than a call needs must not fill the memory.
const CONTROL_LIMIT: usize = 64;

/// What happens on a path.
#[derive(Clone, Debug)]
pub enum PathEvent {
    /// A local candidate to send to the other end (trickle ICE, RFC 8838).
    LocalCandidate(Candidate),
    /// There will be no more local candidates.
    GatheringComplete,
    /// The path changed its state.
    StateChanged(PathState),
    /// A voice packet arrived.
    Voice(IncomingVoice),
    /// This end has dropped an offer of its own for one of the other end that does not do what its own was for: make
    /// another ([`MediaPath::create_offer`](crate::MediaPath::create_offer)).
    NegotiationNeeded,
    /// A control word of the other end arrived ([`MediaPath::send_control`](crate::MediaPath::send_control)).
    Control(Bytes),
}

/// Where a path stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathState {
    /// Not connecting yet.
    New,
    /// Looking for a way and shaking hands.
    Connecting,
    /// Media flows both ways.
    Connected,
    /// Nothing has been heard for a while; may come back by itself.
    Disconnected,
    /// Given up; an ICE restart may help.
    Failed,
    /// Closed, by this end or by the other.
    Closed,
}

/// A way to reach one end, as the signalling carries it (RFC 8839 section 5.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// The candidate line, `candidate:…`; empty says that no more will come.
    pub candidate: String,
    /// The `mid` of the media section it belongs to.
    pub sdp_mid: Option<String>,
    /// The index of the media section it belongs to.
    pub sdp_mline_index: Option<u16>,
    /// The ICE user name fragment of the generation it belongs to.
    pub username_fragment: Option<String>,
}

/// A voice packet as it arrived, decrypted.
#[derive(Clone, Debug)]
pub struct IncomingVoice {
    /// When it was read from the socket, on the clock of the path's runtime.
    pub arrival: Instant,
    /// RTP synchronisation source.
    pub ssrc: u32,
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP timestamp, 48 kHz.
    pub timestamp: u32,
    /// RTP marker: the first packet of a talk spurt.
    pub marker: bool,
    /// The coded voice (Opus).
    pub payload: Bytes,
    /// How loud it is, if the sender said so (RFC 6464).
    pub level: Option<AudioLevel>,
}

/// How loud a packet's sound is (RFC 6464).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioLevel {
    /// Loudness below overload in dB, 0 (loudest) to 127 (silence).
    pub level: u8,
    /// The sender holds it for voice.
    pub voice_activity: bool,
}

/// The events of one path, in order.
#[derive(Debug)]
pub struct PathEvents {
    pub(crate) queue: std::sync::Arc<EventQueue>,
}

impl PathEvents {
    /// Waits for the next event; `None` once the path is closed and all is told.
    ///
    /// Cancel safe: an event is only taken by a call that returns it.
    pub async fn recv(&mut self) -> Option<PathEvent> {
        loop {
            let told = self.queue.told.notified();
            if let Some(next) = self.queue.pop() {
                return next;
            }
            told.await;
        }
    }

    /// The next event, if there is one already.
    pub fn try_recv(&mut self) -> Option<PathEvent> {
        self.queue.pop().flatten()
    }
}

/// A queue that never makes its producer wait: voice drops its oldest packet when full, control words the newest,
/// and everything else is kept.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    waiting: Mutex<Waiting>,
    told: Notify,
    dropped_voice: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<PathEvent>,
    voice: usize,
    control: usize,
    told_closed: bool,
    closed: bool,
}

impl EventQueue {
    pub(crate) fn push(&self, event: PathEvent) {
        {
            let mut waiting = lock(&self.waiting);
            if waiting.closed {
                return;
            }
            if let PathEvent::StateChanged(state) = event {
                // Closed is the last word.
                if waiting.told_closed {
                    return;
                }
                waiting.told_closed = state == PathState::Closed;
            }
            if matches!(event, PathEvent::Voice(_)) {
                if waiting.voice == VOICE_LIMIT {
                    if let Some(oldest) = waiting.events.iter().position(|e| matches!(e, PathEvent::Voice(_))) {
                        waiting.events.remove(oldest);
                    }
                    waiting.voice -= 1;
                    self.dropped_voice.fetch_add(1, Ordering::Relaxed);
                }
                waiting.voice += 1;
            }
            if matches!(event, PathEvent::Control(_)) {
                if waiting.control == CONTROL_LIMIT {
                    return;
                }
                waiting.control += 1;
            }
            waiting.events.push_back(event);
        }
        self.told.notify_one();
    }

    /// Nothing more is taken; what waits can still be read.
    pub(crate) fn close(&self) {
        lock(&self.waiting).closed = true;
        self.told.notify_one();
    }

    pub(crate) fn dropped_voice(&self) -> u64 {
        self.dropped_voice.load(Ordering::Relaxed)
    }

    /// `None`: wait. `Some(None)`: the end.
    fn pop(&self) -> Option<Option<PathEvent>> {
        let mut waiting = lock(&self.waiting);
        match waiting.events.pop_front() {
            Some(event) => {
                match event {
                    PathEvent::Voice(_) => waiting.voice -= 1,
                    PathEvent::Control(_) => waiting.control -= 1,
                    PathEvent::LocalCandidate(_)
                    | PathEvent::GatheringComplete
                    | PathEvent::NegotiationNeeded
                    | PathEvent::StateChanged(_) => {}
                }
                Some(Some(event))
            }
            None => waiting.closed.then_some(None),
        }
    }
}

/// Locks, going on with the data if a holder panicked: every critical section here leaves it consistent.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voice(sequence: u16) -> PathEvent {
        PathEvent::Voice(IncomingVoice {
            arrival: Instant::now(),
            ssrc: 1,
            sequence,
            timestamp: 0,
            marker: false,
            payload: Bytes::new(),
            level: None,
        })
    }

    #[tokio::test]
    async fn a_reader_that_lags_loses_the_oldest_voice_and_no_state() {
        let queue = std::sync::Arc::new(EventQueue::default());
        let mut events = PathEvents { queue: queue.clone() };
        queue.push(PathEvent::StateChanged(PathState::Connected));
        for sequence in 0..300 {
            queue.push(voice(sequence));
        }
        assert_eq!(queue.dropped_voice(), 300 - VOICE_LIMIT as u64);
        assert!(matches!(events.recv().await, Some(PathEvent::StateChanged(PathState::Connected))));
        match events.recv().await {
            Some(PathEvent::Voice(first)) => assert_eq!(first.sequence, 300 - VOICE_LIMIT as u16),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn control_words_nobody_reads_do_not_pile_up() {
        let queue = std::sync::Arc::new(EventQueue::default());
        let mut events = PathEvents { queue: queue.clone() };
        for n in 0..CONTROL_LIMIT as u8 + 9 {
            queue.push(PathEvent::Control(vec![n].into()));
        }
        queue.push(PathEvent::GatheringComplete);
        for n in 0..CONTROL_LIMIT as u8 {
            assert!(matches!(events.try_recv(), Some(PathEvent::Control(word)) if word[..] == [n]));
        }
        assert!(matches!(events.try_recv(), Some(PathEvent::GatheringComplete)));
        queue.push(PathEvent::Control(Bytes::new()));
        assert!(matches!(events.try_recv(), Some(PathEvent::Control(_))));
    }

    #[tokio::test]
    async fn a_closed_queue_is_read_to_its_end() {
        let queue = std::sync::Arc::new(EventQueue::default());
        let mut events = PathEvents { queue: queue.clone() };
        queue.push(PathEvent::StateChanged(PathState::Closed));
        queue.close();
        queue.push(voice(1));
        assert!(matches!(events.recv().await, Some(PathEvent::StateChanged(PathState::Closed))));
        assert!(events.recv().await.is_none());
    }
}
