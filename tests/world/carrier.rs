//! The way between phone and server.

use call_protocol::Word;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::plan::Plan;

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

/// Decides when a message arrives, and how often.
#[derive(Debug, Default)]
pub(crate) struct Carrier {
    /// The next message of this name that goes this way has this fate.
    scripted: Vec<(Way, &'static str, Fate)>,
    /// All is mended: nothing is lost, repeated or very late any more.
    pub(crate) mended: bool,
    /// When the last message between server and phone arrives, by direction and phone.
    last: [Vec<u64>; 2],
}

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    ToServer,
    ToDevice,
}

impl Carrier {
    pub(crate) fn new(devices: usize) -> Self {
        Self { scripted: Vec::new(), mended: false, last: [vec![0; devices], vec![0; devices]] }
    }

    pub(crate) fn script(&mut self, way: Way, name: &'static str, fate: Fate) {
        self.scripted.push((way, name, fate));
    }

    /// Every fate that was scripted has been met.
    pub(crate) fn script_is_over(&self) -> bool {
        self.scripted.is_empty()
    }

    /// When what is said now arrives: once, twice or never.
    pub(crate) fn arrivals(
        &mut self,
        rng: &mut ChaCha8Rng,
        plan: &Plan,
        now: u64,
        way: Way,
        device: usize,
        word: &Word,
    ) -> [Option<u64>; 2] {
        // A mended network is not so uneven that those who talk miss each other's signs of life.
        let slowest = if self.mended { plan.delay_ms.1.min(plan.delay_ms.0 + 500) } else { plan.delay_ms.1 };
        let delay = |rng: &mut ChaCha8Rng| rng.random_range(plan.delay_ms.0..=slowest);
        let mut at = now + delay(rng);
        if let Some(next) = self.scripted.iter().position(|(its_way, name, _)| (*its_way, *name) == (way, word.name()))
        {
            return match self.scripted.remove(next).2 {
                Fate::Lost => [None, None],
                Fate::Twice(later) => [Some(at), Some(at + later)],
                Fate::Late(later) => [Some(at + later), None],
            };
        }
        if !self.mended && plan.loss > 0.0 && rng.random_bool(plan.loss) {
            return [None, None];
        }
        if plan.in_order {
            let last = &mut self.last[way as usize][device];
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
