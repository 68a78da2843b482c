//! One life of a worker under one lease: what its parts share, and how it begins and ends.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use runloom_core::database::DatabaseError;
use runloom_core::executor::StopKind;
use runloom_core::health::Health;
use runloom_core::ids::WorkerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::active::Active;
use crate::config::Config;
use crate::deadline::Deadline;
use crate::{Ports, dispatch, heartbeat, housekeeping, signals};

/// A worker that has, or had, a lease. A worker whose lease was taken begins anew as another one.
pub(crate) struct Incarnation {
    /// How it works.
    pub(crate) config: Config,
    /// What it works with.
    pub(crate) ports: Ports,
    /// Its name in this life.
    pub(crate) id: WorkerId,
    /// One permit for each run that it may execute.
    pub(crate) slots: Arc<Semaphore>,
    /// Its attempts.
    pub(crate) active: Active,
    /// When its lease runs out.
    pub(crate) deadline: Deadline,
    /// It claims nothing more, and hands back what it holds.
    pub(crate) stopping: CancellationToken,
    /// Its lease was taken: what it still does counts for nothing.
    pub(crate) fenced: CancellationToken,
    /// There is no more time to repeat what failed.
    pub(crate) hurried: CancellationToken,
    /// Its attempts, each to be settled.
    pub(crate) attempts: TaskTracker,
    /// The code of executors. Code that does not end when it is abandoned can only be left behind.
    pub(crate) code: TaskTracker,
    /// What is published and announced.
    pub(crate) publications: TaskTracker,
    /// Is told whether there is a lease.
    pub(crate) health: Health,
}

impl Incarnation {
    /// A worker without a lease yet.
    pub(crate) fn new(config: Config, ports: Ports, health: Health) -> Arc<Self> {
        Arc::new(Self {
            id: WorkerId::new(),
            slots: Arc::new(Semaphore::new(config.slots.max(1))),
            active: Active::default(),
            deadline: Deadline::new(ports.time.clone()),
            stopping: CancellationToken::new(),
            fenced: CancellationToken::new(),
            hurried: CancellationToken::new(),
            attempts: TaskTracker::new(),
            code: TaskTracker::new(),
            publications: TaskTracker::new(),
            health,
            config,
            ports,
        })
    }

    /// Works until it is to shut down or its lease is taken, then ends what it began.
    pub(crate) async fn live(self: Arc<Self>, shutdown: &CancellationToken) {
        // Signals first: as soon as the worker holds something, somebody may want it stopped.
        let signals = signals::subscribe(&self).await;
        tokio::select! {
            biased;
            enlisted = self.enlist() => if !enlisted { return },
            () = shutdown.cancelled() => return,
        }
        self.health.lease_is(true);
        tracing::info!(worker.id = %self.id, slots = self.config.slots, "working");
        let mut parts = JoinSet::new();
        parts.spawn(heartbeat::beat(self.clone()));
        parts.spawn(heartbeat::watch(self.clone()));
        parts.spawn(signals::listen(self.clone(), signals));
        parts.spawn(dispatch::run(self.clone()));
        parts.spawn(housekeeping::run(self.clone()));

        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = self.fenced.cancelled() => {
                tracing::warn!(worker.id = %self.id, "the lease was taken; beginning anew");
            }
        }
        self.end().await;
        parts.shutdown().await;
    }

    /// Takes a free slot, if there is one.
    pub(crate) fn try_slot(&self) -> Option<OwnedSemaphorePermit> {
        self.slots.clone().try_acquire_owned().ok()
    }

    /// Takes note of a lease that was asked for at `sent`.
    pub(crate) fn extended(&self, sent: Duration) {
        let term = self.config.lease.saturating_sub(self.config.margin);
        self.deadline.extend(sent, term);
    }

    /// Announces the worker, however long that takes. False if it cannot be.
    async fn enlist(&self) -> bool {
        let mut delays = patient_delays();
        loop {
            let sent = self.deadline.now();
            let enlist = self.ports.database.enlist(self.id, self.config.lease);
            match timeout(self.config.call_timeout, enlist).await {
                Ok(Ok(())) => {
                    self.extended(sent);
                    return true;
                }
                // Enlisted by a call whose answer was lost, and taken since: try another name.
                Ok(Err(DatabaseError::Fenced)) => return false,
                Ok(Err(error)) => tracing::warn!(%error, "cannot enlist; trying again"),
                Err(_elapsed) => tracing::warn!("enlisting takes long; trying again"),
            }
            tokio::time::sleep(delays.next().unwrap_or_default()).await;
        }
    }

    /// Hands back what can be handed back, gives up the rest, and leaves.
    async fn end(&self) {
        self.stopping.cancel();
        // The next life may have one again.
        self.health.lease_is(false);
        if self.fenced.is_cancelled() {
            self.active.stop_all(StopKind::LeaseLost);
        }
        self.attempts.close();
        let patience = self.config.drain + self.config.patience();
        let last_call = self.config.call_timeout * 2;
        if timeout(patience + last_call, self.attempts.wait())
            .await
            .is_err()
        {
            tracing::warn!(worker.id = %self.id, "giving up attempts; their lease will end");
            self.hurried.cancel();
            self.attempts.wait().await;
        }
        self.publications.close();
        if timeout(last_call, self.publications.wait()).await.is_err() {
            tracing::warn!(worker.id = %self.id, "not everything was announced");
        }
        if !self.fenced.is_cancelled() {
            let retire = self.ports.database.retire(self.id);
            if !matches!(timeout(last_call, retire).await, Ok(Ok(()))) {
                tracing::warn!(worker.id = %self.id, "left without saying so");
            }
        }
    }
}

/// Delays for what is repeated until it succeeds.
pub(crate) fn patient_delays() -> impl Iterator<Item = Duration> + Send {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(5))
        .with_jitter()
        .without_max_times()
        .build()
}
