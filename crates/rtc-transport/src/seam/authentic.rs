//! Tells the seam which of the datagrams it let through were encrypted by the other end.
//!
//! The engine tells nobody where a packet came from. But it decrypts a datagram before it asks a socket for the next,
//! and what is decrypted passes here on the same call: so it is the one that was handed over last.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use rtc::interceptor::{Interceptor, Slot, StreamInfo, TaggedPacket};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;

use super::Seam;

/// Before every other interceptor: voice and words end at one of them.
const NEXT_TO_THE_WIRE: usize = 500;

pub(crate) struct Authentic {
    seam: Arc<Seam>,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

impl Authentic {
    pub(crate) fn new(seam: Arc<Seam>) -> Self {
        Self { seam, reads: VecDeque::new(), writes: VecDeque::new() }
    }

    pub(crate) fn slot() -> Slot {
        Slot::from(NEXT_TO_THE_WIRE)
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Authentic {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.seam.on_authentic();
        self.reads.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.writes.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }
}

impl Interceptor for Authentic {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}

    fn unbind_local_stream(&mut self, _: &StreamInfo) {}

    fn bind_remote_stream(&mut self, _: &StreamInfo) {}

    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}
