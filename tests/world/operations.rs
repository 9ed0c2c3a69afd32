//! A world written by bytes: each few of them are one thing that a user does, that breaks, or that becomes of a message.

use call_protocol::CallId;
use call_protocol::end::EndReason;
use call_protocol::invite::{CallType, Ext};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use signaling::Command;

use crate::plan::{Fault, Placement, Plan};
use crate::rules::{Violation, about};
use crate::transcript::Detail;
use crate::world::World;

/// At most this many operations: a fuzzer learns more from many short worlds.
const OPERATIONS: usize = 200;

/// Does what the bytes say in a world of two or three users with two devices each, lets it come to rest, and gives the first rule that did
/// not hold.
pub fn operations(bytes: &[u8]) -> Option<Violation> {
    let mut bytes = Bytes(bytes);
    let (kind, network, seed) = (bytes.next(), bytes.next(), bytes.next());
    let placement = if kind & 1 == 0 { Placement::Server } else { Placement::Chat };
    let rough = [0.0, 0.0, 0.1, 0.3][usize::from(network & 3)];
    let plan = Plan {
        devices: if kind & 2 == 0 { vec![2, 2] } else { vec![2, 1, 1] },
        waiting: if kind & 4 == 0 { 0.0 } else { 1.0 },
        warm: kind & 8 == 0,
        direct_loss: (kind & 16 == 0).then_some(rough),
        holds: kind & 32 == 0,
        delay_ms: [(10, 10), (0, 40), (0, 200), (0, 3_000)][usize::from(network >> 2 & 3)],
        in_order: network & 16 == 0,
        loss: rough,
        repeat: if network & 32 == 0 { 0.0 } else { 0.3 },
        stray: if network & 64 == 0 { 0.0 } else { 0.1 },
        // For the store of the server: what breaks the bytes say.
        faults: vec![Fault::ServerKill],
        forgery: f64::MIN_POSITIVE,
        ..Plan::calm(placement)
    };
    let mut world = World::new(ChaCha8Rng::seed_from_u64(u64::from(seed)), plan, None, Detail::Nothing);
    for _ in 0..OPERATIONS {
        if bytes.0.is_empty() || world.rules.violation.is_some() {
            break;
        }
        let what = bytes.next();
        let at = usize::from(bytes.next()) % world.devices.len();
        world.operate(what, at, bytes.next());
    }
    world.plan.chaos_ms = world.now;
    world.mend();
    world.agenda.add(world.now + 100_000, crate::happening::Happening::Settle);
    world.agenda.add(world.now + 100_001, crate::happening::Happening::Part { all: true });
    world.come_to_rest();
    world.rules.violation
}

/// What is left of the bytes; zeros behind their end.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }
}

impl World {
    fn operate(&mut self, what: u8, at: usize, more: u8) {
        // Most outages are shorter than the resume window, most waits shorter than a ring.
        let long_ms = u64::from(more) * 80;
        let fault = |nth| {
            [Fault::LinkDown, Fault::HalfOpen, Fault::Crash, Fault::Sleep, Fault::SignOut, Fault::ServerKill][nth]
        };
        match what % 20 {
            0..=5 => self.pass(1 << (more % 15)),
            6 => self.pass(long_ms),
            7 | 8 => self.operate_invite(at, more),
            9 => self.operate_call(at, more, |call_id| Command::Answer { call_id }),
            10 => self.operate_call(at, more, |call_id| Command::Hangup { call_id }),
            11 => self.operate_call(at, more, |call_id| Command::Hold { call_id, held: more & 128 == 0, reason: None }),
            12 => self.operate_call(at, more, |call_id| Command::Fail { call_id, reason: EndReason::Error }),
            13 => self.lie(at),
            nth => self.breaks(fault(usize::from(nth - 14)), at, long_ms + 1),
        }
    }

    fn operate_invite(&mut self, at: usize, more: u8) {
        let users = self.plan.devices.len();
        let other = (self.devices[at].user + 1 + usize::from(more) % (users - 1)) % users;
        let call_id = CallId::from_bits(self.rng.random());
        if !self.devices[at].alive || self.now < self.devices[at].paused_until {
            return;
        }
        let Command::Invite { callees, .. } = self.invitation(other) else { return };
        let call_type = if more & 64 == 0 { CallType::Audio1v1 } else { CallType::Video1v1 };
        let ring_timeout_ms = if more & 128 == 0 { 30_000 } else { 2_000 };
        self.does(
            at,
            Command::Invite {
                call_id,
                callees,
                call_type,
                ext: Ext::new(),
                ring_timeout_ms,
                options: Default::default(),
            },
        );
    }

    /// One of the calls of a device, or some other.
    fn operate_call(&mut self, at: usize, more: u8, command: impl FnOnce(CallId) -> Command) {
        let device = &self.devices[at];
        if !device.alive || self.now < device.paused_until {
            return;
        }
        let calls: Vec<CallId> = device.desk.line().calls().filter_map(about).collect();
        let call_id = match calls.as_slice() {
            [] => self.some_call(),
            calls => calls[usize::from(more) % calls.len()],
        };
        self.does(at, command(call_id));
    }

    /// Time goes by.
    pub(crate) fn pass(&mut self, ms: u64) {
        let until = self.now + ms;
        while self.rules.violation.is_none() && self.agenda.next_at().is_some_and(|at| at <= until) {
            self.step();
        }
        self.now = self.now.max(until);
        self.rules.now = self.now;
    }
}
