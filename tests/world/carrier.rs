//! The ways between devices and server, and between device and device.

use call_protocol::Word;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::plan::{Placement, Plan};

/// What a story lets happen to one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It never arrives.
    Lost,
    /// It arrives twice, the second time this many ms after the first.
    Twice(u64),
    /// It arrives this many ms later, behind whatever is sent meanwhile.
    Late(u64),
}

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From a device to the server.
    ToServer(usize),
    /// From the server to a device.
    ToDevice(usize),
    /// From a device to a device, by the app's chat.
    Chat(usize, usize),
    /// From a device to a device, on the media path.
    Direct(usize, usize),
}

/// Ends of a way as a story names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Towards {
    /// From a device: to the server or to another device.
    Arbiter,
    /// To a device: from the server or from another device.
    Device(Option<usize>),
}

/// Decides when a message arrives, and how often.
#[derive(Debug)]
pub(crate) struct Carrier {
    /// The next message of this name that goes this way has this fate.
    scripted: Vec<(Towards, &'static str, Fate)>,
    /// A story let something happen to a message: how long the others take says nothing any more.
    pub(crate) was_scripted: bool,
    /// All is mended: nothing is lost, repeated or very late any more.
    pub(crate) mended: bool,
    /// When the last message of a way arrives.
    last: Vec<u64>,
}

/// More than there are in any world.
const DEVICES: usize = 16;

impl Carrier {
    pub(crate) fn new() -> Self {
        Self { scripted: Vec::new(), was_scripted: false, mended: false, last: vec![0; DEVICES * (2 + DEVICES)] }
    }

    pub(crate) fn script(&mut self, towards: Towards, name: &'static str, fate: Fate) {
        self.was_scripted = true;
        self.scripted.push((towards, name, fate));
    }

    /// Every fate that was scripted has been met.
    pub(crate) fn script_is_over(&self) -> bool {
        self.scripted.is_empty()
    }

    fn scripted(&mut self, way: Way, calls: bool, word: &Word) -> Option<Fate> {
        let met = |towards: &Towards| match (way, towards) {
            (Way::ToServer(_), Towards::Arbiter) => true,
            // On the way between devices, what the caller's device says is what the arbiter says.
            (Way::Chat(..), Towards::Arbiter) => !calls,
            (Way::ToDevice(to), Towards::Device(which)) => which.is_none_or(|which| which == to),
            (Way::Chat(_, to), Towards::Device(which)) => calls && which.is_none_or(|which| which == to),
            (Way::ToServer(_) | Way::Direct(..), Towards::Device(_))
            | (Way::ToDevice(_) | Way::Direct(..), Towards::Arbiter) => false,
        };
        let next = self.scripted.iter().position(|(towards, name, _)| *name == word.name() && met(towards))?;
        Some(self.scripted.remove(next).2)
    }

    /// When what is said now arrives: once, twice or never. `calls` tells whether the sender is the caller of the call.
    pub(crate) fn arrivals(
        &mut self,
        rng: &mut ChaCha8Rng,
        plan: &Plan,
        now: u64,
        way: Way,
        calls: bool,
        word: &Word,
    ) -> [Option<u64>; 2] {
        // A mended network is not so uneven that those who talk miss each other's signs of life.
        let slowest = if self.mended { plan.delay_ms.1.min(plan.delay_ms.0 + 500) } else { plan.delay_ms.1 };
        let delay = |rng: &mut ChaCha8Rng| rng.random_range(plan.delay_ms.0..=slowest);
        let mut at = now + delay(rng);
        if !self.scripted.is_empty()
            && let Some(fate) = self.scripted(way, calls, word)
        {
            return match fate {
                Fate::Lost => [None, None],
                Fate::Twice(later) => [Some(at), Some(at + later)],
                Fate::Late(later) => [Some(at + later), None],
            };
        }
        if let Way::Direct(..) = way {
            let loss = plan.direct_loss.unwrap_or(1.0);
            let lost = loss > 0.0 && rng.random_bool(loss);
            return [(!lost).then_some(at), None];
        }
        if !self.mended && plan.loss > 0.0 && rng.random_bool(plan.loss) {
            return match plan.placement {
                Placement::Server => [None, None],
                // A chat delivers in the end.
                Placement::Chat => [Some(at + rng.random_range(500..15_000)), None],
            };
        }
        if plan.in_order {
            let lane = lane(way);
            let last = &mut self.last[lane];
            at = at.max(*last);
            *last = at;
        }
        let mut copy = None;
        if !self.mended && plan.repeat > 0.0 && rng.random_bool(plan.repeat) {
            copy = Some(at + delay(rng));
        }
        if !self.mended && plan.stray > 0.0 && rng.random_bool(plan.stray) {
            copy = Some(at + rng.random_range(0..Plan::STRAY_MS));
        }
        [Some(at), copy]
    }

}

fn lane(way: Way) -> usize {
    match way {
        Way::ToServer(device) => device,
        Way::ToDevice(device) => DEVICES + device,
        Way::Chat(from, to) | Way::Direct(from, to) => (2 + from) * DEVICES + to,
    }
}
