//! What state the server is in: whether it takes sign-ins, how far behind its hub is, how many calls run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::gate::{Gate, Pass};
use crate::hub_link::{HubLink, ToHub};
use crate::metering::Metering;
use crate::vitals::{Part, Vitals};

/// How far a server has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Serving,
    /// The calls that run go on; nobody new is taken.
    Draining,
    Stopping,
}

/// Why nobody should be sent here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unready {
    /// What the server cannot do without is gone.
    #[error("the {0} has ended")]
    Failed(Part),
    /// It is there and does nothing.
    #[error("the {0} is stuck")]
    Stuck(Part),
    #[error("draining")]
    Draining,
    #[error("stopping")]
    Stopping,
    /// What devices send waits too long.
    #[error("overloaded")]
    Overloaded,
    /// The last commit of the store failed: calls would not outlive a restart.
    #[error("store")]
    Store,
}

/// How long the hub may take to show that it goes on. One that is merely behind goes on all the time.
const STUCK_AFTER: Duration = Duration::from_secs(2);

/// After how long a measured delay says nothing any more, in ms: an idle hub measures none.
const DELAY_COUNTS_MS: u64 = 1_000;

/// Written by the hub, the store and whoever stops the server; read by all.
pub(crate) struct Health {
    stage: AtomicU8,
    delay_ms: AtomicU64,
    measured_at_ms: AtomicU64,
    overload_delay_ms: u64,
    gate: Arc<Gate>,
    vitals: Arc<Vitals>,
    calls: watch::Sender<usize>,
    /// How often the hub has gone round.
    turns: watch::Sender<u64>,
    clock: Clock,
    metering: Arc<Metering>,
}

impl Health {
    pub(crate) fn new(
        overload_delay_ms: u32,
        gate: Arc<Gate>,
        vitals: Arc<Vitals>,
        clock: Clock,
        metering: Arc<Metering>,
    ) -> Self {
        Self {
            stage: AtomicU8::new(Stage::Serving as u8),
            delay_ms: AtomicU64::new(0),
            measured_at_ms: AtomicU64::new(0),
            overload_delay_ms: overload_delay_ms.into(),
            gate,
            vitals,
            calls: watch::Sender::new(0),
            turns: watch::Sender::new(0),
            clock,
            metering,
        }
    }

    pub(crate) fn set_stage(&self, stage: Stage) {
        if stage == Stage::Stopping {
            self.vitals.stop();
        }
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    pub(crate) fn takes_sign_ins(&self) -> bool {
        self.stage.load(Ordering::Relaxed) == Stage::Serving as u8
    }

    /// Whether somebody may still sign in for a call that rings here, or come back to a session.
    pub(crate) fn takes_callees(&self) -> bool {
        self.stage.load(Ordering::Relaxed) != Stage::Stopping as u8
    }

    /// What one device sent waited so long for the hub.
    pub(crate) fn waited(&self, delay: Duration) {
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.delay_ms.store(delay_ms, Ordering::Relaxed);
        self.measured_at_ms.store(self.clock.mono().0, Ordering::Relaxed);
    }

    pub(crate) fn is_overloaded(&self) -> bool {
        self.gate.is_overrun() || self.is_far_behind()
    }

    /// Whether new work may come in with this turn of the gate.
    pub(crate) fn takes_work(&self, pass: &Pass) -> bool {
        !pass.is_late() && !self.is_far_behind()
    }

    /// Whether all work waits too long, not only the new.
    fn is_far_behind(&self) -> bool {
        let age = self.clock.mono().0.saturating_sub(self.measured_at_ms.load(Ordering::Relaxed));
        age < DELAY_COUNTS_MS && self.delay_ms.load(Ordering::Relaxed) > self.overload_delay_ms
    }

    pub(crate) fn set_calls(&self, running: usize) {
        self.calls.send_if_modified(|calls| std::mem::replace(calls, running) != running);
    }

    /// Waits until no call runs, or none can run any more.
    pub(crate) async fn calls_are_over(&self) {
        let mut calls = self.calls.subscribe();
        tokio::select! {
            // It cannot close: the sender is here.
            _ = calls.wait_for(|calls| *calls == 0) => {}
            _ = self.vitals.fails() => {}
        }
    }

    /// The hub has gone round once more.
    pub(crate) fn turned(&self) {
        self.turns.send_modify(|turns| *turns += 1);
    }

    /// Whether everything is there that the server cannot do without.
    fn vitality(&self) -> Result<(), Unready> {
        self.vitals.failed().map_or(Ok(()), |part| Err(Unready::Failed(part)))
    }

    /// Whether everything lives that the server cannot do without. Takes 2 s at most; cancel safe.
    pub(crate) async fn liveness(&self, hub: &HubLink) -> Result<(), Unready> {
        self.vitality()?;
        let mut turns = self.turns.subscribe();
        // With a full inbox it has reason enough to go on; one that was closed is about to stop.
        if let Err(TrySendError::Closed(_)) = hub.inputs.try_send(ToHub::Nudged) {
            return self.vitality();
        }
        match timeout(STUCK_AFTER, turns.changed()).await {
            Ok(_) => Ok(()),
            Err(_) if self.stage.load(Ordering::Relaxed) == Stage::Stopping as u8 => Ok(()),
            Err(_) => self.vitality().and(Err(Unready::Stuck(Part::Hub))),
        }
    }

    pub(crate) fn readiness(&self) -> Result<(), Unready> {
        self.vitality()?;
        let stage = self.stage.load(Ordering::Relaxed);
        if stage == Stage::Stopping as u8 {
            Err(Unready::Stopping)
        } else if stage == Stage::Draining as u8 {
            Err(Unready::Draining)
        } else if self.is_overloaded() {
            Err(Unready::Overloaded)
        } else if !self.metering.store_works() {
            Err(Unready::Store)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_is_not_ready_for_as_long_as_something_is_wrong() {
        let metering = Arc::new(Metering::new());
        let gate = Gate::new(Duration::from_millis(500));
        let health = Health::new(500, gate, Arc::default(), Clock::start(), Arc::clone(&metering));
        assert_eq!(health.readiness(), Ok(()));

        health.waited(Duration::from_millis(501));
        assert_eq!(health.readiness(), Err(Unready::Overloaded));
        health.waited(Duration::from_millis(2));
        assert_eq!(health.readiness(), Ok(()));
        health.waited(Duration::from_secs(9));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(health.readiness(), Ok(()), "nothing has waited since");

        metering.store_committed(1, Duration::ZERO, false);
        assert_eq!(health.readiness(), Err(Unready::Store));
        metering.store_committed(1, Duration::ZERO, true);
        assert_eq!(health.readiness(), Ok(()));

        health.set_stage(Stage::Draining);
        assert_eq!(health.readiness(), Err(Unready::Draining));
        assert!(!health.takes_sign_ins() && health.takes_callees());
        health.set_stage(Stage::Stopping);
        assert!(!health.takes_callees());
        assert_eq!(health.readiness(), Err(Unready::Stopping));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_that_does_not_go_on_is_stuck_and_one_that_is_behind_is_not() {
        let gate = Gate::new(Duration::from_millis(500));
        let health = Arc::new(Health::new(500, gate, Arc::default(), Clock::start(), Arc::new(Metering::new())));
        let (link, inbox) = HubLink::new(1);
        while link.inputs.try_send(ToHub::Nudged).is_ok() {}
        let began = tokio::time::Instant::now();
        assert_eq!(health.liveness(&link).await, Err(Unready::Stuck(Part::Hub)));
        assert_eq!(began.elapsed(), STUCK_AFTER);
        let turning = Arc::clone(&health);
        tokio::spawn(async move {
            // sleeps: a hub that takes its time for each turn
            tokio::time::sleep(Duration::from_secs(1)).await;
            turning.turned();
        });
        assert_eq!(health.liveness(&link).await, Ok(()), "what it was asked still waits in its inbox");
        drop(inbox);
        assert_eq!(health.liveness(&link).await, Ok(()), "it stops");
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_last_call_is_told() {
        let gate = Gate::new(Duration::from_millis(500));
        let health = Health::new(500, gate, Arc::default(), Clock::start(), Arc::new(Metering::new()));
        health.set_calls(2);
        let over = health.calls_are_over();
        let mut over = std::pin::pin!(over);
        assert!(timeout(Duration::ZERO, over.as_mut()).await.is_err());
        health.set_calls(1);
        assert!(timeout(Duration::ZERO, over.as_mut()).await.is_err());
        health.set_calls(0);
        over.await;
    }
}
