//! One superstep after the other.

use std::sync::Arc;

use serde_json::Value;

use super::ledger::Ledger;
use super::{End, Fault, Level, start_writes};
use crate::builder::START;
use crate::error::Failure;
use crate::node::Values;
use crate::run::StoreError;
use crate::state::{Origin, Plan, Readers, Snapshot, plan_after};

/// How many supersteps a run may take if it does not say so itself.
const RECURSION_LIMIT: u64 = 25;

/// Drives one graph.
pub(crate) struct Loop {
    pub(super) level: Arc<Level>,
    /// The checkpoint that the next superstep starts from.
    pub(super) at: Snapshot,
    pub(super) ledger: Ledger,
    /// Supersteps that ran in this attempt.
    pub(super) supersteps: u64,
    /// Whether `at` was read from the storage: its tasks may have progress.
    pub(super) resumed: bool,
    /// Whether breakpoints before the first superstep were passed by an earlier run.
    pub(super) passes_breakpoints: bool,
}

impl Loop {
    /// A loop at `at`, which is stored.
    pub(crate) fn resume(level: &Arc<Level>, at: Snapshot) -> Self {
        let mut new = Self::fresh(level, at);
        new.ledger = new_ledger(level, Some(&new.at));
        new.resumed = true;
        new
    }

    /// A loop whose first checkpoint `at` is still to be stored.
    pub(crate) fn fresh(level: &Arc<Level>, at: Snapshot) -> Self {
        Self {
            level: level.clone(),
            at,
            ledger: new_ledger(level, None),
            supersteps: 0,
            resumed: false,
            passes_breakpoints: false,
        }
    }

    /// Where it is.
    pub(crate) fn at(&self) -> &Snapshot {
        &self.at
    }

    /// Whether this attempt stored a checkpoint.
    pub(crate) fn wrote(&self) -> bool {
        self.ledger.wrote()
    }

    /// Stores the complete checkpoint `next` and goes on from there.
    pub(super) async fn advance(&mut self, mut next: Snapshot) -> Result<(), Fault> {
        next.seal();
        self.at = next;
        self.resumed = false;
        self.ledger.checkpoint(&self.at).await
    }

    /// Records `input`, which was accepted, in a checkpoint on top of `self.at`, and applies it.
    pub(super) async fn take_input(&mut self, input: Snapshot) -> Result<(), Fault> {
        self.advance(input).await?;
        self.level.show_checkpoint(self).await;
        self.apply_start().await
    }

    /// Applies the input that `self.at` holds. Nothing stops between an input's own checkpoint and
    /// this one, so that an input is part of the thread from then on.
    pub(super) async fn apply_start(&mut self) -> Result<(), Fault> {
        let graph = self.level.graph.parts();
        let input = self.at.input.clone().unwrap_or_default();
        let start = start_writes(graph, &self.at.values, &input)?;
        let plan = plan_after(graph, &self.at.plan.joins, [(START, &start.places[..])]);
        let mut next = self.next(Origin::Loop, plan);
        next.fold(graph, &start.writes)?;
        self.advance(next).await?;
        self.level.show_values(&self.at.values, &[]).await;
        self.level.show_checkpoint(self).await;
        Ok(())
    }

    /// The checkpoint after this one.
    pub(super) fn next(&self, origin: Origin, plan: Plan) -> Snapshot {
        let now = self.level.run.clock.now();
        self.at.next(&self.level.stamp, origin, plan, None, now)
    }

    /// Runs until there is nothing left to do, or something comes between. What was held back is
    /// stored then.
    pub(crate) async fn run(&mut self) -> Result<End, Fault> {
        let end = self.drive().await;
        let unneeded = !self.level.is_root() && end == Ok(End::Done);
        if !unneeded {
            self.ledger.finish(&self.at)?;
        }
        end
    }

    /// Stores what was held back: nothing more is to be done.
    pub(crate) fn stop_here(mut self) -> Result<(), Fault> {
        self.ledger.finish(&self.at)
    }

    async fn drive(&mut self) -> Result<End, Fault> {
        loop {
            if self.pauses_after().await {
                return Ok(self.paused_or_done());
            }
            if self.at.plan.next.is_empty() {
                return Ok(End::Done);
            }
            if self.level.token.is_cancelled() {
                return Ok(End::Stopped);
            }
            if self.level.run.stop.is_asked() {
                return Ok(End::Drained);
            }
            if !self.level.run.may_act() {
                return Err(Fault::Store(StoreError::Fenced));
            }
            let limit = self.recursion_limit();
            if self.supersteps >= limit {
                return Err(Fault::Failed(too_long(limit)));
            }
            if self.pauses_before().await {
                return Ok(End::Paused(Vec::new()));
            }
            self.passes_breakpoints = false;
            if let Some(end) = self.superstep().await? {
                return Ok(end);
            }
            self.supersteps += 1;
        }
    }

    /// A breakpoint after the last node leaves nothing to wait for.
    fn paused_or_done(&self) -> End {
        if self.at.plan.next.is_empty() {
            End::Done
        } else {
            End::Paused(Vec::new())
        }
    }

    fn recursion_limit(&self) -> u64 {
        let limit = self.level.run.attempt.kwargs.config.get("recursion_limit");
        limit.and_then(Value::as_u64).unwrap_or(RECURSION_LIMIT)
    }

    /// The channels as the graph leaves them.
    pub(crate) fn values(&self) -> &Values {
        &self.at.values
    }
}

fn new_ledger(level: &Level, at: Option<&Snapshot>) -> Ledger {
    let run = &level.run;
    Ledger::new(
        run.store.clone(),
        run.attempt.kwargs.durability,
        level.stamp.clone(),
        at,
    )
}

fn too_long(limit: u64) -> Failure {
    let text = format!(
        "the graph did not come to its end within {limit} supersteps; \
         the run's config can raise the `recursion_limit`"
    );
    Failure::new("GraphRecursionError", text)
}

/// Reads the checkpoint that a loop of `level` resumes from.
pub(super) fn read(
    level: &Level,
    tuple: runloom_core::checkpoint::CheckpointTuple,
    readers: Readers,
) -> Result<Snapshot, Fault> {
    Ok(Snapshot::read(level.graph.parts(), tuple, readers)?)
}
