//! What is going to happen, in order of time.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use call_protocol::{CallId, CallMessage};
use signaling::{Address, Command};

/// One thing that happens.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A message arrives at the server, of a device in this life.
    AtServer { from: usize, message: CallMessage, said_at: u64, life: u32 },
    /// A message of the server or of a device arrives at a device; on the media path only if that device still has this life.
    AtDevice { to: usize, from: Address, message: CallMessage, said_at: u64, life: Option<u32> },
    /// A device wants to be woken.
    DeviceWake { device: usize, life: u32 },
    /// An arbiter of the server wants to be woken.
    ArbiterWake { call_id: CallId, era: u32 },
    /// A user does something.
    Act { device: usize },
    /// A user does this, whatever has become of it meanwhile.
    Does { device: usize, life: u32, command: Box<Command> },
    /// Something breaks.
    Trouble,
    /// A device reaches its carrier again.
    LinkUp { device: usize },
    /// An app is started.
    DeviceStarts { device: usize, life: u32 },
    /// The server is started.
    ServerStarts { era: u32 },
    /// The server goes on where it stood still.
    ServerGoesOn,
    /// By now two who called each other have to be in one call.
    GlareIsOver { first: CallId },
    /// By now this device has to know that it missed this call, if nothing came between.
    MissedIsTold { device: usize, life: u32, call_id: CallId, since: u64 },
    /// All is mended; nobody begins anything new.
    Mend,
    /// The dust has settled: who still talks knows what the other one does.
    Settle,
    /// Some of those who still talk hang up, or all of them.
    Part { all: bool },
}

/// What is going to happen; at the same moment in the order in which it was written down.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    entries: BinaryHeap<Reverse<Entry>>,
    written: u64,
}

#[derive(Debug)]
struct Entry {
    at: u64,
    number: u64,
    happening: Happening,
}

impl Agenda {
    pub(crate) fn add(&mut self, at: u64, happening: Happening) {
        self.written += 1;
        self.entries.push(Reverse(Entry { at, number: self.written, happening }));
    }

    pub(crate) fn next(&mut self) -> Option<(u64, Happening)> {
        self.entries.pop().map(|Reverse(entry)| (entry.at, entry.happening))
    }

    pub(crate) fn next_at(&self) -> Option<u64> {
        self.entries.peek().map(|Reverse(entry)| entry.at)
    }
}

impl Entry {
    fn key(&self) -> (u64, u64) {
        (self.at, self.number)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}
