//! New work waits here for its turn, so that the work that was taken before does not wait behind it.
//!
//! Invites and fresh sign-ins come to the hub one at a time. Whoever waits does so outside of the hub's queue, and is not read meanwhile:
//! the more there is to do for calls that go on, the fewer new ones come in. Who came first goes first, until there has been somebody
//! waiting for as long as the server may be behind. From then on it is overrun: who came last goes first, since of those who have waited
//! most have given up or soon will, and a server that sees to them first is late for everybody; and who has waited too long is told so.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

/// Who has waited longer than this while the gate is overrun has waited too long.
const LONGEST: Duration = Duration::from_millis(50);
/// How many are told so for each that is let in.
const LATE_AT_ONCE: usize = 4;

pub(crate) struct Gate {
    /// For how long somebody may be waiting all the time before the gate is overrun.
    patience: Duration,
    queue: Mutex<Queue>,
}

struct Queue {
    is_taken: bool,
    waiting: VecDeque<(Instant, oneshot::Sender<Pass>)>,
    /// Since when there has always been somebody waiting.
    since: Option<Instant>,
    /// When somebody was last told to have waited too long.
    late_at: Option<Instant>,
}

/// The turn of a piece of work, to be kept until the hub has seen to it: then it is the next one's.
#[derive(Debug)]
pub(crate) struct Pass {
    /// Of a late one there is none.
    place: Option<Place>,
}

impl Pass {
    /// Whether it waited too long and is to be refused.
    pub(crate) fn is_late(&self) -> bool {
        self.place.is_none()
    }
}

struct Place(Arc<Gate>);

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Place")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.let_in();
    }
}

/// Waits for a [`Pass`]. Whoever drops it does not want it any more.
pub(crate) type Turn = oneshot::Receiver<Pass>;

impl Gate {
    pub(crate) fn new(patience: Duration) -> Arc<Gate> {
        let queue = Queue { is_taken: false, waiting: VecDeque::new(), since: None, late_at: None };
        Arc::new(Gate { patience, queue: Mutex::new(queue) })
    }

    pub(crate) fn turn(self: &Arc<Self>) -> Turn {
        let (sender, turn) = oneshot::channel();
        let mut queue = self.queue();
        let now = Instant::now();
        queue.waiting.push_back((now, sender));
        queue.since.get_or_insert(now);
        let is_free = !std::mem::replace(&mut queue.is_taken, true);
        drop(queue);
        if is_free {
            self.let_in();
        }
        turn
    }

    /// Whether somebody was told within the last second that they waited too long.
    pub(crate) fn is_overrun(&self) -> bool {
        self.queue().late_at.is_some_and(|at| at.elapsed() < Duration::from_secs(1))
    }

    /// The place is free.
    fn let_in(self: &Arc<Self>) {
        let (late, next) = self.queue().next(Instant::now(), self.patience);
        for turn in late {
            turn.send(Pass { place: None }).ok();
        }
        if let Some(turn) = next {
            // Of whoever goes in this moment the place comes back.
            turn.send(Pass { place: Some(Place(Arc::clone(self))) }).ok();
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Who is told to have waited too long, and who takes the place that is free.
    fn next(
        &mut self,
        now: Instant,
        patience: Duration,
    ) -> (Vec<oneshot::Sender<Pass>>, Option<oneshot::Sender<Pass>>) {
        let is_overrun = self.since.is_some_and(|since| now.duration_since(since) > patience);
        let mut late = Vec::new();
        while is_overrun
            && late.len() < LATE_AT_ONCE
            && let Some(first) = self.first()
            && now.duration_since(first) > LONGEST
            && let Some((_, turn)) = self.waiting.pop_front()
        {
            self.late_at = Some(now);
            late.push(turn);
        }
        while self.waiting.back().is_some_and(|(_, turn)| turn.is_closed()) {
            self.waiting.pop_back();
        }
        let next = match is_overrun {
            true => self.waiting.pop_back(),
            false => self.first().and_then(|_| self.waiting.pop_front()),
        };
        if self.first().is_none() {
            self.since = None;
        }
        self.is_taken = next.is_some();
        (late, next.map(|(_, turn)| turn))
    }

    /// Since when it waits that waits longest.
    fn first(&mut self) -> Option<Instant> {
        while self.waiting.front().is_some_and(|(_, turn)| turn.is_closed()) {
            self.waiting.pop_front();
        }
        self.waiting.front().map(|(since, _)| *since)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(500);
    const MS: Duration = Duration::from_millis(1);

    fn take(turn: &mut Turn) -> Option<bool> {
        turn.try_recv().ok().map(|pass| pass.is_late())
    }

    /// A gate with its place taken.
    fn taken() -> (Arc<Gate>, Pass) {
        let gate = Gate::new(PATIENCE);
        let pass = gate.turn().try_recv().unwrap();
        (gate, pass)
    }

    #[tokio::test(start_paused = true)]
    async fn who_came_first_goes_first_and_one_at_a_time() {
        let (gate, pass) = taken();
        let (mut first, mut second) = (gate.turn(), gate.turn());
        advance(PATIENCE).await;
        assert!(first.try_recv().is_err() && second.try_recv().is_err());
        drop(pass);
        let pass = first.try_recv().unwrap();
        assert!(!pass.is_late() && second.try_recv().is_err());
        drop(pass);
        assert_eq!(take(&mut second), Some(false));
        assert!(!gate.is_overrun());
        assert_eq!(take(&mut gate.turn()), Some(false), "nobody waits any more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_gate_that_is_overrun_lets_in_who_came_last_and_tells_who_waited_too_long() {
        let (gate, pass) = taken();
        let mut late: Vec<_> = (0..=LATE_AT_ONCE).map(|_| gate.turn()).collect();
        advance(PATIENCE - LONGEST).await;
        let mut in_time = gate.turn();
        advance(LONGEST).await;
        let mut newest = gate.turn();
        advance(MS).await;
        assert!(!gate.is_overrun(), "nobody was told so");
        drop(pass);
        let pass = newest.try_recv().unwrap();
        assert!(!pass.is_late() && gate.is_overrun());
        let told: Vec<_> = late.iter_mut().filter_map(take).collect();
        assert_eq!(told, [true; LATE_AT_ONCE], "a few for each that is let in");
        assert!(in_time.try_recv().is_err());
        drop(pass);
        assert_eq!(late.iter_mut().filter_map(take).collect::<Vec<_>>(), [true]);
        assert_eq!(take(&mut in_time), Some(true));
        advance(Duration::from_secs(1)).await;
        assert!(!gate.is_overrun());
    }

    #[tokio::test(start_paused = true)]
    async fn a_gate_that_was_empty_for_a_moment_is_patient_again() {
        let (gate, pass) = taken();
        let mut early = gate.turn();
        advance(PATIENCE).await;
        drop(pass);
        let pass = early.try_recv().unwrap();
        advance(PATIENCE).await;
        let (mut first, mut second) = (gate.turn(), gate.turn());
        advance(PATIENCE).await;
        drop(pass);
        assert_eq!((take(&mut first), take(&mut second)), (Some(false), Some(false)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_gone_leaves_its_turn_to_the_next() {
        let (gate, pass) = taken();
        drop(gate.turn());
        let mut here = gate.turn();
        drop(gate.turn());
        advance(PATIENCE).await;
        let mut newest = gate.turn();
        drop(gate.turn());
        advance(MS).await;
        drop(pass);
        assert_eq!((take(&mut here), take(&mut newest)), (Some(true), Some(false)));
        // Its turn had come, and it went without a look at it.
        drop(gate.turn());
        assert_eq!(take(&mut gate.turn()), Some(false));
    }
}
