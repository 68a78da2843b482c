//! What the worker does for the code of one attempt: stores under the fence, publishes, remembers
//! what was said, and refuses everything once the attempt is over.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBuilder};
use runloom_core::checkpoint::{CheckpointQuery, CheckpointTuple, NewCheckpoint, NewWrites, Put};
use runloom_core::database::{Database, DatabaseError, Guard, Items};
use runloom_core::executor::{CheckpointReader, Emission, Host, HostError, StopKind};
use runloom_core::ids::{CheckpointId, RunId, ThreadId};
use runloom_core::lease::Fence;

use crate::gate::Gate;
use crate::guarded_items::GuardedItems;
use crate::incarnation::Incarnation;
use crate::measures::{self, Refused};
use crate::publisher::Publisher;
use crate::said::Observed;
use crate::stopper::Stopper;

/// The host of one execution. A run's execution and the visit after it have one each, so that code
/// of the first can be shut out while the second goes on.
pub(crate) struct AttemptHost {
    /// The worker.
    pub(crate) worker: Arc<Incarnation>,
    /// The thread that is held.
    pub(crate) thread: ThreadId,
    /// The run.
    pub(crate) run: RunId,
    /// Proves that it is held.
    pub(crate) fence: Fence,
    /// Where to say that it is not held any more.
    pub(crate) stopper: Arc<Stopper>,
    /// Takes events.
    pub(crate) publisher: Arc<Publisher>,
    /// Takes note of what passes.
    pub(crate) observed: Arc<Observed>,
    /// Closed when the execution is over.
    pub(crate) gate: Arc<Gate>,
}

impl AttemptHost {
    /// Shuts the code out. Waits for calls inside, but not for ever: those that write are fenced
    /// by the settlement anyhow.
    pub(crate) async fn close(&self) {
        let patience = self.worker.config.call_timeout;
        if tokio::time::timeout(patience, self.gate.close())
            .await
            .is_err()
        {
            tracing::warn!(run.id = %self.run, thread.id = %self.thread,
                "calls to storage are still open");
        }
    }

    /// Makes one call to the database as long as the attempt may, again and again if the database
    /// is out of reach.
    async fn call<T, F>(&self, call: impl Fn() -> F) -> Result<T, HostError>
    where
        F: Future<Output = Result<T, DatabaseError>>,
    {
        let _inside = self.gate.enter().ok_or(HostError::Fenced)?;
        let mut delays = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(Duration::from_secs(1))
            .with_jitter()
            .without_max_times()
            .build();
        loop {
            if self.worker.deadline.left().is_none() {
                self.stopper.ask(StopKind::LeaseLost);
            }
            if self.stopper.is_lost() || self.gate.is_closed() {
                return Err(HostError::Fenced);
            }
            let answer = tokio::select! {
                biased;
                answer = call() => answer,
                () = self.stopper.lost() => return Err(HostError::Fenced),
            };
            match answer {
                Ok(value) => return Ok(value),
                Err(DatabaseError::Fenced) => {
                    measures::fenced(Refused::Write);
                    self.stopper.ask(StopKind::LeaseLost);
                    return Err(HostError::Fenced);
                }
                Err(DatabaseError::Unavailable(reason)) => {
                    tracing::debug!(run.id = %self.run, thread.id = %self.thread, reason,
                        "storage is out of reach");
                    tokio::time::sleep(delays.next().unwrap_or_default()).await;
                }
                Err(error) => return Err(HostError::Unavailable(error.to_string())),
            }
        }
    }

    fn database(&self) -> &dyn Database {
        &*self.worker.ports.database
    }

    fn guard(&self) -> Guard {
        Guard::Attempt(self.fence, self.run)
    }
}

#[async_trait]
impl CheckpointReader for AttemptHost {
    async fn checkpoint(
        &self,
        ns: &str,
        id: Option<&CheckpointId>,
    ) -> Result<Option<CheckpointTuple>, HostError> {
        self.call(|| self.database().checkpoint(self.thread, ns, id))
            .await
    }

    async fn checkpoints(&self, query: CheckpointQuery) -> Result<Vec<CheckpointTuple>, HostError> {
        self.call(|| self.database().checkpoints(self.thread, query.clone()))
            .await
    }
}

#[async_trait]
impl Host for AttemptHost {
    async fn put_checkpoint(&self, checkpoint: NewCheckpoint) -> Result<(), HostError> {
        self.put(vec![Put::Checkpoint(Box::new(checkpoint))]).await
    }

    async fn put_writes(&self, writes: NewWrites) -> Result<(), HostError> {
        self.put(vec![Put::Writes(writes)]).await
    }

    /// All of it in one transaction: whatever comes between, the thread never shows a part.
    async fn put(&self, gathered: Vec<Put>) -> Result<(), HostError> {
        let (mut checkpoints, mut writes) = (Vec::new(), Vec::new());
        for put in gathered {
            match put {
                Put::Checkpoint(checkpoint) => checkpoints.push(*checkpoint),
                Put::Writes(new) => writes.push(new),
            }
        }
        let put = || {
            let (checkpoints, writes) = (checkpoints.clone(), writes.clone());
            self.database()
                .put_checkpoints(self.thread, self.guard(), checkpoints, writes)
        };
        self.call(put).await?;
        for checkpoint in &checkpoints {
            self.observed.stored_checkpoint(checkpoint);
        }
        for writes in &writes {
            self.observed.stored_writes(writes);
        }
        Ok(())
    }

    async fn emit(&self, events: Vec<Emission>) {
        let Some(_inside) = self.gate.enter() else {
            return;
        };
        if self.worker.deadline.left().is_none() || self.stopper.is_lost() {
            return;
        }
        for emission in events {
            if let Some(said) = &emission.said {
                self.observed.said(said);
            }
            let name = match emission.ns.as_slice() {
                [] => emission.event.into(),
                ns => format!("{}|{}", emission.event, ns.join("|")).into(),
            };
            self.publisher.publish(name, emission.data).await;
        }
    }

    fn may_act(&self) -> bool {
        if self.worker.deadline.left().is_none() {
            self.stopper.ask(StopKind::LeaseLost);
        }
        !self.stopper.is_lost()
    }

    fn items(&self) -> Arc<dyn Items> {
        Arc::new(GuardedItems {
            worker: self.worker.clone(),
            gate: self.gate.clone(),
            stopper: self.stopper.clone(),
        })
    }
}
