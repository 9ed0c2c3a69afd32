//! Voice and control words on their way out: short queues between threads that never wait and the engine.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::error::{MAX_CONTROL, MAX_PAYLOAD, SendError};
use crate::event::lock;

/// Packets that may wait: 400 ms of 20 ms packets. What is older is of no use to a conversation.
const LIMIT: usize = 20;
/// Control words that may wait; a call says a handful in a second.
const CONTROL_LIMIT: usize = 32;

/// A coded voice packet to send.
#[derive(Clone, Debug)]
pub struct OutgoingVoice {
    /// The coded voice (Opus), at most [`MAX_PAYLOAD`] bytes.
    pub payload: Bytes,
    /// RTP timestamp, 48 kHz.
    pub timestamp: u32,
    /// First packet of a talk spurt.
    pub marker: bool,
    /// Loudness below overload in dB, 0 (loudest) to 127 (silence), RFC 6464.
    pub level: u8,
    /// This end holds it for voice.
    pub voice_activity: bool,
}

/// What goes out next.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Voice(OutgoingVoice),
    Control(Bytes),
    /// That this end is there.
    Here,
    /// That this end closes.
    Closing,
}

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    filled: Notify,
    open: AtomicBool,
    closed: AtomicBool,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    voice: VecDeque<OutgoingVoice>,
    control: VecDeque<Bytes>,
    closing: u32,
    here: bool,
    /// Nothing will be said any more, not even that this end closes.
    ended: bool,
    last_control: Option<Bytes>,
    controls_taken: u64,
}

impl Outbox {
    /// Takes a packet without waiting; a full queue drops its oldest.
    pub(crate) fn push(&self, packet: OutgoingVoice) -> Result<(), SendError> {
        self.may_send(packet.payload.len(), MAX_PAYLOAD)?;
        {
            let mut waiting = lock(&self.waiting);
            if waiting.voice.len() == LIMIT {
                waiting.voice.pop_front();
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
            waiting.voice.push_back(packet);
        }
        self.filled.notify_one();
        Ok(())
    }

    /// Takes a control word without waiting; a full queue drops its oldest.
    pub(crate) fn push_control(&self, word: Bytes) -> Result<(), SendError> {
        self.may_send(word.len(), MAX_CONTROL)?;
        self.put_control(word);
        Ok(())
    }

    /// Takes nothing more and has the last control word said once more, since nobody can repeat it after the close;
    /// gives how many words were said in all.
    pub(crate) fn finish(&self) -> u64 {
        let was_closed = self.closed.swap(true, Ordering::AcqRel);
        let last = lock(&self.waiting).last_control.take();
        if let Some(last) = last.filter(|_| !was_closed && self.open.load(Ordering::Acquire)) {
            self.put_control(last);
        }
        self.filled.notify_one();
        lock(&self.waiting).controls_taken
    }

    /// Has it said that this end closes; gives how many words were said in all.
    pub(crate) fn say_closing(&self) -> u64 {
        let said = {
            let mut waiting = lock(&self.waiting);
            waiting.closing += 1;
            waiting.controls_taken += 1;
            waiting.controls_taken
        };
        self.filled.notify_one();
        said
    }

    /// Has it said that this end is there.
    pub(crate) fn say_here(&self) {
        lock(&self.waiting).here = true;
        self.filled.notify_one();
    }

    /// Ends [`Outbox::next`] once what waits is given.
    pub(crate) fn end(&self) {
        self.closed.store(true, Ordering::Release);
        lock(&self.waiting).ended = true;
        self.filled.notify_one();
    }

    /// What to send next, control words first; `None` once ended and every control word is given.
    pub(crate) async fn next(&self) -> Option<Outgoing> {
        loop {
            let filled = self.filled.notified();
            {
                let mut waiting = lock(&self.waiting);
                if let Some(word) = waiting.control.pop_front() {
                    return Some(Outgoing::Control(word));
                }
                if waiting.closing > 0 {
                    waiting.closing -= 1;
                    return Some(Outgoing::Closing);
                }
                if waiting.ended {
                    return None;
                }
                if std::mem::take(&mut waiting.here) {
                    return Some(Outgoing::Here);
                }
                if let Some(packet) = waiting.voice.pop_front() {
                    return Some(Outgoing::Voice(packet));
                }
            }
            filled.await;
        }
    }

    fn may_send(&self, bytes: usize, limit: usize) -> Result<(), SendError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(SendError::Closed);
        }
        if bytes > limit {
            return Err(SendError::TooLarge);
        }
        if self.open.load(Ordering::Acquire) { Ok(()) } else { Err(SendError::NotConnected) }
    }

    fn put_control(&self, word: Bytes) {
        {
            let mut waiting = lock(&self.waiting);
            match waiting.control.len() == CONTROL_LIMIT {
                true => drop(waiting.control.pop_front()),
                false => waiting.controls_taken += 1,
            }
            waiting.last_control = Some(word.clone());
            waiting.control.push_back(word);
        }
        self.filled.notify_one();
    }

    pub(crate) fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::Release);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(timestamp: u32) -> OutgoingVoice {
        OutgoingVoice { payload: Bytes::from_static(b"x"), timestamp, marker: false, level: 30, voice_activity: true }
    }

    #[tokio::test]
    async fn a_full_outbox_drops_the_oldest_and_counts_it() {
        let outbox = Outbox::default();
        assert_eq!(outbox.push(packet(0)), Err(SendError::NotConnected));
        outbox.set_open(true);
        for timestamp in 0..LIMIT as u32 + 3 {
            outbox.push(packet(timestamp)).unwrap();
        }
        assert_eq!(outbox.dropped(), 3);
        assert!(matches!(outbox.next().await, Some(Outgoing::Voice(first)) if first.timestamp == 3));
        let large = OutgoingVoice { payload: Bytes::from(vec![0; MAX_PAYLOAD + 1]), ..packet(0) };
        assert_eq!(outbox.push(large), Err(SendError::TooLarge));
        outbox.finish();
        outbox.end();
        assert_eq!(outbox.push(packet(9)), Err(SendError::Closed));
        assert!(outbox.next().await.is_none());
    }

    #[tokio::test]
    async fn control_words_overtake_voice_and_outlive_the_end_where_the_last_is_said_twice() {
        let outbox = Outbox::default();
        let word = Bytes::from_static(b"accept");
        assert_eq!(outbox.push_control(word.clone()), Err(SendError::NotConnected));
        outbox.set_open(true);
        assert_eq!(outbox.push_control(vec![0; MAX_CONTROL + 1].into()), Err(SendError::TooLarge));
        outbox.push(packet(0)).unwrap();
        outbox.push_control(word.clone()).unwrap();
        assert_eq!(outbox.finish(), 2);
        assert_eq!(outbox.finish(), 2);
        assert_eq!(outbox.push_control(word.clone()), Err(SendError::Closed));
        assert_eq!(outbox.say_closing(), 3);
        outbox.end();
        for _ in 0..2 {
            assert!(matches!(outbox.next().await, Some(Outgoing::Control(said)) if said == word));
        }
        assert!(matches!(outbox.next().await, Some(Outgoing::Closing)));
        assert!(outbox.next().await.is_none());
    }

    #[tokio::test]
    async fn control_words_that_nobody_takes_do_not_pile_up() {
        let outbox = Outbox::default();
        outbox.set_open(true);
        for n in 0..CONTROL_LIMIT as u8 + 5 {
            outbox.push_control(vec![n].into()).unwrap();
        }
        assert!(matches!(outbox.next().await, Some(Outgoing::Control(first)) if first[..] == [5]));
    }
}
