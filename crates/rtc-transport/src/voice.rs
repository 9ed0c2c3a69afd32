//! Voice on its way out: a short queue between the media thread, which never waits, and the engine.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::error::{MAX_PAYLOAD, SendError};
use crate::event::lock;

/// Packets that may wait: 400 ms of 20 ms packets. What is older is of no use to a conversation.
const LIMIT: usize = 20;

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

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Mutex<VecDeque<OutgoingVoice>>,
    filled: Notify,
    open: AtomicBool,
    closed: AtomicBool,
    dropped: AtomicU64,
}

impl Outbox {
    /// Takes a packet without waiting; a full queue drops its oldest.
    pub(crate) fn push(&self, packet: OutgoingVoice) -> Result<(), SendError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(SendError::Closed);
        }
        if packet.payload.len() > MAX_PAYLOAD {
            return Err(SendError::TooLarge);
        }
        if !self.open.load(Ordering::Acquire) {
            return Err(SendError::NotConnected);
        }
        {
            let mut waiting = lock(&self.waiting);
            if waiting.len() == LIMIT {
                waiting.pop_front();
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
            waiting.push_back(packet);
        }
        self.filled.notify_one();
        Ok(())
    }

    /// The next packet to send; `None` once closed.
    pub(crate) async fn next(&self) -> Option<OutgoingVoice> {
        loop {
            let filled = self.filled.notified();
            if self.closed.load(Ordering::Acquire) {
                return None;
            }
            if let Some(packet) = lock(&self.waiting).pop_front() {
                return Some(packet);
            }
            filled.await;
        }
    }

    pub(crate) fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::Release);
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.filled.notify_one();
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
        assert_eq!(outbox.next().await.unwrap().timestamp, 3);
        let large = OutgoingVoice { payload: Bytes::from(vec![0; MAX_PAYLOAD + 1]), ..packet(0) };
        assert_eq!(outbox.push(large), Err(SendError::TooLarge));
        outbox.close();
        assert_eq!(outbox.push(packet(9)), Err(SendError::Closed));
        assert!(outbox.next().await.is_none());
    }
}
