//! The numbering of frames, so that a broken stream is resumed with nothing lost or doubled.

use std::collections::VecDeque;

use call_protocol::limits;
use call_protocol::session::{ClientBody, ClientFrame, Resume, Welcome};

/// What a device remembers of its session with the server.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    name: Option<String>,
    sent: u64,
    unacknowledged: VecDeque<(u64, ClientBody)>,
    received: u64,
    acknowledged: u64,
}

impl Numbering {
    pub(super) fn resume(&self) -> Option<Resume> {
        self.name.clone().map(|session| Resume { session, received: self.received })
    }

    /// Numbers a body and keeps it until it is acknowledged; `None` if too many wait already.
    pub(super) fn number(&mut self, body: ClientBody) -> Option<ClientFrame> {
        if self.unacknowledged.len() >= limits::UNACKNOWLEDGED_FRAMES {
            return None;
        }
        self.sent += 1;
        self.unacknowledged.push_back((self.sent, body.clone()));
        Some(self.frame(self.sent, Some(body)))
    }

    /// A frame that is not numbered.
    pub(super) fn bare(&mut self, body: Option<ClientBody>) -> ClientFrame {
        self.frame(0, body)
    }

    fn frame(&mut self, seq: u64, body: Option<ClientBody>) -> ClientFrame {
        self.acknowledged = self.received;
        ClientFrame { seq, ack: self.received, body }
    }

    /// The highest number received.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Whether something received has not been acknowledged yet.
    pub(super) fn owes_ack(&self) -> bool {
        self.acknowledged < self.received
    }

    pub(super) fn on_ack(&mut self, ack: u64) {
        while self.unacknowledged.front().is_some_and(|(seq, _)| *seq <= ack) {
            self.unacknowledged.pop_front();
        }
    }

    /// Whether a frame with this number is new; zero always is.
    pub(super) fn accept(&mut self, seq: u64) -> bool {
        if seq == 0 {
            return true;
        }
        if seq <= self.received {
            return false;
        }
        self.received = seq;
        true
    }

    /// The frames to send again after a sign-in. In a new session only words about calls still mean something; they are idempotent.
    pub(super) fn on_welcome(&mut self, welcome: &Welcome) -> Vec<ClientFrame> {
        self.name = Some(welcome.session.clone());
        if welcome.resumed {
            self.on_ack(welcome.received);
        } else {
            self.received = 0;
            self.acknowledged = 0;
            self.sent = 0;
            let waiting = std::mem::take(&mut self.unacknowledged);
            for (_, body) in waiting {
                if let ClientBody::Call(_) = body {
                    self.sent += 1;
                    self.unacknowledged.push_back((self.sent, body));
                }
            }
        }
        let waiting: Vec<_> = self.unacknowledged.iter().cloned().collect();
        waiting.into_iter().map(|(seq, body)| self.frame(seq, Some(body))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use call_protocol::{CallId, CallMessage, Word, media::ChannelRequest, media::ChannelRequestBody};

    fn call(n: u128) -> ClientBody {
        ClientBody::Call(CallMessage { call_id: CallId::from_bits(n), word: Word::KeepAlive(Default::default()) })
    }

    fn welcome(resumed: bool, received: u64) -> Welcome {
        Welcome {
            session: "s".into(),
            resumed,
            received,
            server_unix_ms: 0,
            ping_every_ms: 1,
            silence_limit_ms: 1,
            resume_window_ms: 1,
            stun_servers: vec![],
            access_left_ms: None,
        }
    }

    #[test]
    fn a_resumed_session_sends_again_just_what_was_not_received() {
        let mut numbering = Numbering::default();
        numbering.on_welcome(&welcome(false, 0));
        for n in 1..=5 {
            numbering.number(call(n)).unwrap();
        }
        numbering.on_ack(2);
        let again = numbering.on_welcome(&welcome(true, 3));
        assert_eq!(again.iter().map(|frame| frame.seq).collect::<Vec<_>>(), [4, 5]);
    }

    #[test]
    fn a_new_session_numbers_anew_and_drops_what_concerned_the_old_one() {
        let mut numbering = Numbering::default();
        numbering.on_welcome(&welcome(false, 0));
        let channel = CallId::from_bits(1).channel();
        numbering.number(ClientBody::Channel(ChannelRequest { channel, body: ChannelRequestBody::Leave })).unwrap();
        numbering.number(call(9)).unwrap();
        assert!(numbering.accept(1));
        let again = numbering.on_welcome(&welcome(false, 0));
        assert_eq!(again, [ClientFrame { seq: 1, ack: 0, body: Some(call(9)) }]);
        assert!(numbering.accept(1), "the server counts anew too");
    }

    #[test]
    fn repeated_frames_are_dropped_and_the_wait_is_bounded() {
        let mut numbering = Numbering::default();
        assert!(numbering.accept(1));
        assert!(!numbering.accept(1));
        assert!(numbering.accept(0) && numbering.accept(0));
        assert!(numbering.owes_ack());
        numbering.bare(None);
        assert!(!numbering.owes_ack());
        for n in 0..limits::UNACKNOWLEDGED_FRAMES {
            assert!(numbering.number(call(n as u128)).is_some());
        }
        assert!(numbering.number(call(0)).is_none());
    }
}
