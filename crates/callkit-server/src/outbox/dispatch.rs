//! The task that sends: asks the store for what is due, hands it to its courier, writes down what became of it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use call_protocol::Party;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::{Courier, Kind, Notice, Outcome, Pace};
use crate::store::queue::{Bell, Busy, Room, Waiting, service_of};
use crate::store::{Store, StoreError};

/// The pause after the store could not be read.
const STORE_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Dispatch {
    store: Store,
    bell: Arc<Bell>,
    couriers: HashMap<Kind, Arc<dyn Courier>>,
    pace: Pace,
    rng: StdRng,
    notices: mpsc::Sender<Notice>,
    sending: JoinSet<Outcome>,
    /// What each attempt is about, and since when it runs.
    attempts: HashMap<Id, (Waiting, Instant)>,
    /// Numbers being sent, or whose outcome is not written yet.
    taken: HashSet<u64>,
    destinations: HashMap<String, Destination>,
    /// The destination that took one of the shared attempts last.
    last: String,
}

/// How it goes with a destination.
#[derive(Debug, Default)]
struct Destination {
    busy: usize,
    /// The last failure was long in coming: what it holds, it holds for long.
    is_slow: bool,
    failures: u32,
    /// When the last failure was.
    failed_at: u64,
    /// While it counts as dead: the time of the next probe.
    probe_at: u64,
}

impl Dispatch {
    pub(super) fn new(
        store: Store,
        bell: Arc<Bell>,
        couriers: HashMap<Kind, Arc<dyn Courier>>,
        pace: Pace,
        rng: StdRng,
        notices: mpsc::Sender<Notice>,
    ) -> Self {
        Self {
            store,
            bell,
            couriers,
            pace,
            rng,
            notices,
            sending: JoinSet::new(),
            attempts: HashMap::new(),
            taken: HashSet::new(),
            destinations: HashMap::new(),
            last: String::new(),
        }
    }

    /// Works until told to stop or until the store is closed; attempts under way are dropped.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.work() => {}
        }
    }

    /// No step of the wall clock stalls or hurries what is to be sent.
    fn now(&self) -> u64 {
        self.store.clock().steady_unix_ms()
    }

    async fn work(&mut self) {
        loop {
            for seq in self.bell.settled() {
                self.taken.remove(&seq);
            }
            let next = match self.start_what_is_due().await {
                Ok(next) => next,
                Err(StoreError::Closed) => return,
                Err(error) => {
                    warn!(%error, "what is to be sent cannot be read");
                    Some(self.now() + STORE_PAUSE.as_millis() as u64)
                }
            };
            let wait = next.map(|at| Duration::from_millis(at.saturating_sub(self.now())));
            tokio::select! {
                () = self.bell.wait() => {}
                Some(ended) = self.sending.join_next_with_id() => self.on_attempt_ended(ended).await,
                // sleeps: the store says when something is due
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
            while let Some(ended) = self.sending.try_join_next_with_id() {
                self.on_attempt_ended(ended).await;
            }
        }
    }

    /// Starts as many attempts as there is room for; the result is when to look again at the latest.
    async fn start_what_is_due(&mut self) -> Result<Option<u64>, StoreError> {
        let now = self.now();
        self.forget_destinations(now);
        let room = |destination: &Destination| destination.room(&self.pace, now);
        let mut services: HashMap<String, usize> = HashMap::new();
        let mut failing: HashMap<&str, usize> = HashMap::new();
        for (name, destination) in self.destinations.iter().filter(|(_, destination)| destination.busy > 0) {
            let left = services.entry(service_of(name).to_owned()).or_insert(self.pace.at_once);
            *left = left.saturating_sub(destination.busy);
            if destination.failures > 0 {
                *failing.entry(service_of(name)).or_default() += destination.busy;
            }
        }
        let room = |(name, destination): (&String, &Destination)| {
            // Those that fail, perhaps since their users want it, have half of what their service has.
            let is_crowded = failing.get(service_of(name)).is_some_and(|busy| *busy >= self.pace.at_once / 2);
            let is_behind = destination.failures > 0 && is_crowded;
            (name.clone(), if is_behind { Room::default() } else { room(destination) })
        };
        let busy = Busy {
            taken: self.taken.clone(),
            services,
            of_service: self.pace.at_once,
            room: self.destinations.iter().map(room).collect(),
            otherwise: Destination::default().room(&self.pace, now),
            shared: self.pace.at_once.saturating_sub(self.destinations.values().map(Destination::shared).sum()),
            after: self.last.clone(),
        };
        let work = self.store.work(now, busy).await?;
        self.last = work.last.unwrap_or(std::mem::take(&mut self.last));
        for waiting in work.expired {
            self.settle(&waiting, Some("out of time")).await;
        }
        for waiting in work.due {
            self.start(waiting).await;
        }
        let probes = self.destinations.values().filter(|destination| destination.busy == 0);
        let probes = probes.map(|destination| destination.probe_at).filter(|at| *at > now);
        Ok(work.next_unix_ms.into_iter().chain(probes).min())
    }

    /// Forgets of whom there is nothing to remember, so that not everybody who was ever pushed is.
    fn forget_destinations(&mut self, now: u64) {
        let remembered = 2 * self.pace.backoff_max.as_millis() as u64;
        self.destinations.retain(|_, destination| {
            destination.busy > 0 || (destination.failures > 0 && now < destination.failed_at + remembered)
        });
    }

    async fn start(&mut self, waiting: Waiting) {
        let Some(courier) = self.couriers.get(&waiting.item.kind).cloned() else {
            return self.settle(&waiting, Some("nobody carries it")).await;
        };
        self.taken.insert(waiting.seq);
        self.destinations.entry(waiting.item.destination()).or_default().busy += 1;
        let (item, attempt) = (waiting.item.clone(), waiting.attempts.saturating_add(1));
        let task = self.sending.spawn(async move { courier.deliver(&item, attempt).await });
        self.attempts.insert(task.id(), (waiting, Instant::now()));
    }

    async fn on_attempt_ended(&mut self, ended: Result<(Id, Outcome), JoinError>) {
        let (id, outcome) = match ended {
            Ok(ended) => ended,
            Err(error) => (error.id(), Outcome::Retry { after: None, why: "broke off" }),
        };
        let Some((waiting, since)) = self.attempts.remove(&id) else { return };
        let now = self.now();
        let attempt = waiting.attempts.saturating_add(1);
        let kind = waiting.item.kind.name();
        let destination = self.destinations.entry(waiting.item.destination()).or_default();
        destination.busy = destination.busy.saturating_sub(1);
        match outcome {
            Outcome::Done => {
                if destination.failures >= self.pace.dead_after {
                    info!(app = %waiting.item.app, kind, "a destination is back");
                }
                destination.answers();
                debug!(call = %waiting.item.call_id, kind, attempt, "delivered");
                self.settle(&waiting, None).await;
            }
            Outcome::Retry { after, why } => {
                destination.failures = destination.failures.saturating_add(1);
                destination.failed_at = now;
                destination.is_slow = since.elapsed() >= self.pace.slow_after;
                if destination.failures >= self.pace.dead_after {
                    destination.probe_at = now + self.pace.probe_ms(destination.failures);
                }
                if destination.failures == self.pace.dead_after {
                    warn!(app = %waiting.item.app, kind, why, "a destination does not take anything; from now on it is probed");
                }
                debug!(call = %waiting.item.call_id, kind, attempt, why, "not delivered");
                let due = now + self.pace.backoff_ms(attempt, after, &mut self.rng);
                self.store.postpone(waiting.seq, due, &self.bell);
            }
            Outcome::GiveUp { why } => {
                // It answers, if not as wished.
                destination.answers();
                self.settle(&waiting, Some(why)).await;
            }
        }
    }

    /// The item is over, one way or the other.
    async fn settle(&mut self, waiting: &Waiting, given_up: Option<&'static str>) {
        let item = &waiting.item;
        if let Some(why) = given_up {
            warn!(call = %item.call_id, kind = item.kind.name(), why, "given up");
        }
        self.taken.insert(waiting.seq);
        self.store.remove(waiting.seq, &self.bell);
        let device = item.target.as_ref().map(|to| Party { user: to.user.clone(), device: to.device.clone() });
        let notice = Notice { app: item.app.clone(), call_id: item.call_id, kind: item.kind, device, given_up };
        // Whoever does not want to hear has dropped the receiver.
        self.notices.send(notice).await.ok();
    }
}

impl Destination {
    fn room(&self, pace: &Pace, now: u64) -> Room {
        let own = 1_usize.saturating_sub(self.busy);
        if self.failures >= pace.dead_after {
            Room { own: if now < self.probe_at { 0 } else { own }, shared: 0 }
        } else if self.is_slow {
            Room { own, shared: 0 }
        } else {
            Room { own, shared: pace.per_destination.saturating_sub(self.busy.max(1)) }
        }
    }

    /// Attempts under way that are not its own.
    fn shared(&self) -> usize {
        self.busy.saturating_sub(1)
    }

    fn answers(&mut self) {
        (self.failures, self.probe_at, self.is_slow) = (0, 0, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_has_one_attempt_of_its_own_and_shares_the_others() {
        let pace = Pace::default();
        let room = |busy, is_slow| Destination { busy, is_slow, ..Destination::default() }.room(&pace, 0);
        assert_eq!(room(0, false), Room { own: 1, shared: 31 });
        assert_eq!(room(2, false), Room { own: 0, shared: 30 });
        assert_eq!(room(32, false), Room { own: 0, shared: 0 });
        assert_eq!(room(0, true), Room { own: 1, shared: 0 });
        assert_eq!(room(32, true), Room { own: 0, shared: 0 });
    }

    #[test]
    fn a_dead_destination_gets_one_probe_at_a_time() {
        let pace = Pace::default();
        let mut destination = Destination { failures: 16, probe_at: 100, ..Destination::default() };
        assert_eq!(destination.room(&pace, 99), Room { own: 0, shared: 0 });
        assert_eq!(destination.room(&pace, 100), Room { own: 1, shared: 0 });
        destination.busy = 1;
        assert_eq!(destination.room(&pace, 100), Room { own: 0, shared: 0 });
    }
}
