//! Rows of threads and runs: as the columns have them, and as the rules of the core need them.

use chrono::{DateTime, Utc};
use runloom_core::bus::RunChange;
use runloom_core::ids::{AssistantId, ClaimId, GraphId, RunId, ThreadId, WorkerId};
use runloom_core::json::{Json as RawJson, JsonMap};
use runloom_core::lease::Fence;
use runloom_core::partial::PartialPolicy;
use runloom_core::run::{
    CancelAction, MultitaskStrategy, Run, RunError, RunKwargs, RunStatus, Transition,
};
use runloom_core::state::Head;
use runloom_core::thread::{Thread, ThreadFacts, ThreadStatus};
use serde::Deserialize;
use sqlx::types::{Json, Text, Uuid};

use crate::error::Result;

/// The columns of `threads`, with those of `thread_values` where they were asked for.
pub(crate) struct ThreadColumns {
    pub(crate) id: ThreadId,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) state_updated_at: DateTime<Utc>,
    pub(crate) metadata: Json<JsonMap>,
    pub(crate) config: Json<JsonMap>,
    pub(crate) status: Text<ThreadStatus>,
    pub(crate) error: Option<Json<RunError>>,
    pub(crate) failed: bool,
    pub(crate) unfinished: bool,
    pub(crate) temporary: bool,
    pub(crate) at_rest_since: Option<DateTime<Utc>>,
    pub(crate) hinted_at: DateTime<Utc>,
    pub(crate) next_seq: i64,
    pub(crate) accepted_at: DateTime<Utc>,
    pub(crate) epoch: i64,
    pub(crate) claim: Option<Uuid>,
    pub(crate) worker_id: Option<Uuid>,
    pub(crate) held_run: Option<Uuid>,
    pub(crate) claimed_at: Option<DateTime<Utc>>,
    pub(crate) values: Option<Json<RawJson>>,
    pub(crate) interrupts: Option<Json<JsonMap>>,
}

/// A thread with what only the queue needs to know.
pub(crate) struct ThreadRow {
    /// As clients see it; its values and interrupts only where they were loaded.
    pub(crate) thread: Thread,
    /// Whether the last run to end failed or timed out.
    pub(crate) failed: bool,
    /// Whether the latest checkpoint has nodes left to run.
    pub(crate) unfinished: bool,
    /// Whether it was made for one run only.
    pub(crate) temporary: bool,
    /// When its last run in flight ended.
    pub(crate) at_rest_since: Option<DateTime<Utc>>,
    /// When somebody was last told that it has a due run.
    pub(crate) hinted_at: DateTime<Utc>,
    /// The place of the next run in the order of acceptance.
    pub(crate) next_seq: i64,
    /// When the last run was accepted, delays left out. Never falls.
    pub(crate) accepted_at: DateTime<Utc>,
    /// Grows with each claim.
    pub(crate) epoch: i64,
    /// The attempt that holds it.
    pub(crate) holder: Option<Holder>,
}

/// The attempt that holds a thread.
#[derive(Clone, Copy)]
pub(crate) struct Holder {
    pub(crate) run_id: RunId,
    pub(crate) worker_id: WorkerId,
    pub(crate) fence: Fence,
    pub(crate) claimed_at: DateTime<Utc>,
}

impl ThreadRow {
    pub(crate) fn new(id: ThreadId, metadata: JsonMap, now: DateTime<Utc>) -> Self {
        Self {
            thread: Thread {
                id,
                created_at: now,
                updated_at: now,
                state_updated_at: now,
                metadata,
                status: ThreadStatus::Idle,
                config: JsonMap::new(),
                values: None,
                interrupts: JsonMap::new(),
                error: None,
            },
            failed: false,
            unfinished: false,
            temporary: false,
            at_rest_since: None,
            hinted_at: now,
            next_seq: 1,
            accepted_at: DateTime::UNIX_EPOCH,
            epoch: 0,
            holder: None,
        }
    }

    /// Whether `fence` is that of the attempt that holds it for `run`.
    pub(crate) fn is_held(&self, fence: Fence, run: RunId) -> bool {
        let holder = self.holder.as_ref();
        holder.is_some_and(|holder| holder.fence == fence && holder.run_id == run)
    }

    /// Gives it to an attempt, under the next epoch.
    pub(crate) fn hold(
        &mut self,
        run_id: RunId,
        worker_id: WorkerId,
        claim: ClaimId,
        now: DateTime<Utc>,
    ) -> Holder {
        self.epoch += 1;
        let holder = Holder {
            run_id,
            worker_id,
            fence: Fence {
                epoch: self.epoch,
                claim,
            },
            claimed_at: now,
        };
        self.holder = Some(holder);
        holder
    }

    /// Recomputes its status, now that facts may have changed.
    pub(crate) fn refresh(&mut self, in_flight: bool, now: DateTime<Utc>) {
        let facts = ThreadFacts {
            in_flight,
            failed: self.failed,
            unfinished: self.unfinished,
        };
        if self.thread.status != facts.status() {
            self.thread.status = facts.status();
            self.thread.updated_at = now;
        }
        let since = self.at_rest_since.unwrap_or(now);
        self.at_rest_since = (!in_flight).then_some(since);
    }

    /// Takes over what is known of the latest checkpoint.
    pub(crate) fn apply_head(&mut self, head: Head) {
        self.unfinished = !head.next.is_empty();
        self.thread.values = Some(head.values);
        self.thread.interrupts = head.interrupts;
    }

    /// Notes how its last run ended, or that somebody wrote its state from outside.
    pub(crate) fn note_end(&mut self, failed: bool, error: Option<RunError>, now: DateTime<Utc>) {
        self.failed = failed;
        self.thread.error = error;
        self.thread.state_updated_at = now;
        self.thread.updated_at = now;
    }
}

impl From<ThreadColumns> for ThreadRow {
    fn from(columns: ThreadColumns) -> Self {
        let epoch = columns.epoch;
        let holder = || {
            Some(Holder {
                run_id: columns.held_run?.into(),
                worker_id: columns.worker_id?.into(),
                fence: Fence {
                    epoch,
                    claim: columns.claim?.into(),
                },
                claimed_at: columns.claimed_at?,
            })
        };
        Self {
            holder: holder(),
            thread: Thread {
                id: columns.id,
                created_at: columns.created_at,
                updated_at: columns.updated_at,
                state_updated_at: columns.state_updated_at,
                metadata: columns.metadata.0,
                status: columns.status.0,
                config: columns.config.0,
                values: columns.values.map(|values| values.0),
                interrupts: columns.interrupts.map_or_else(JsonMap::new, |map| map.0),
                error: columns.error.map(|error| error.0),
            },
            failed: columns.failed,
            unfinished: columns.unfinished,
            temporary: columns.temporary,
            at_rest_since: columns.at_rest_since,
            hinted_at: columns.hinted_at,
            next_seq: columns.next_seq,
            accepted_at: columns.accepted_at,
            epoch,
        }
    }
}

/// The columns of `runs`.
pub(crate) struct RunColumns {
    pub(crate) id: RunId,
    pub(crate) thread_id: ThreadId,
    pub(crate) assistant_id: AssistantId,
    pub(crate) graph_id: String,
    pub(crate) seq: i64,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) status: Text<RunStatus>,
    pub(crate) metadata: Json<JsonMap>,
    pub(crate) kwargs: Json<RunKwargs>,
    pub(crate) multitask_strategy: Text<MultitaskStrategy>,
    pub(crate) policy: Json<PartialPolicy>,
    pub(crate) cancel: Option<Text<CancelAction>>,
    pub(crate) cancel_reason: Option<String>,
    pub(crate) superseded_by: Option<Uuid>,
    pub(crate) attempt: i32,
    pub(crate) handed_back: i32,
    pub(crate) not_before: DateTime<Utc>,
    pub(crate) worker_id: Option<Uuid>,
    pub(crate) error: Option<Json<RunError>>,
    pub(crate) output: Option<Json<RawJson>>,
    pub(crate) interrupted_output: Option<Json<RawJson>>,
}

/// A run with what only the queue needs to know.
pub(crate) struct RunRow {
    /// As clients see it.
    pub(crate) run: Run,
    /// When a retry is due. The run keeps its place meanwhile: nothing overtakes it.
    pub(crate) not_before: DateTime<Utc>,
    /// How many of its attempts were handed back and don't count.
    pub(crate) handed_back: u32,
}

impl RunRow {
    /// Moves it to the status after `transition`.
    pub(crate) fn apply(&mut self, transition: Transition, now: DateTime<Utc>) -> Result<()> {
        self.run.status = self.run.status.after(transition)?;
        self.run.updated_at = now;
        if self.run.status != RunStatus::Running {
            self.run.worker_id = None;
        }
        Ok(())
    }

    /// Whether another attempt may start after one that counts has failed.
    pub(crate) fn has_attempts_left(&self, max_attempts: u32) -> bool {
        self.run.attempt.saturating_sub(self.handed_back) < max_attempts
    }

    /// What must be told of it now.
    pub(crate) fn told(&self) -> RunChange {
        RunChange {
            thread_id: self.run.thread_id,
            run_id: self.run.id,
            status: Some(self.run.status),
        }
    }

    /// What must be told of it once it is discarded.
    pub(crate) fn told_gone(&self) -> RunChange {
        RunChange {
            status: None,
            ..self.told()
        }
    }
}

impl From<RunColumns> for RunRow {
    fn from(columns: RunColumns) -> Self {
        let run = Run {
            id: columns.id,
            thread_id: columns.thread_id,
            assistant_id: columns.assistant_id,
            graph_id: GraphId(columns.graph_id),
            seq: columns.seq,
            created_at: columns.created_at,
            updated_at: columns.updated_at,
            status: columns.status.0,
            metadata: columns.metadata.0,
            kwargs: columns.kwargs.0,
            multitask_strategy: columns.multitask_strategy.0,
            policy: columns.policy.0,
            attempt: columns.attempt.cast_unsigned(),
            cancel: columns.cancel.map(|cancel| cancel.0),
            cancel_reason: columns.cancel_reason,
            superseded_by: columns.superseded_by.map(RunId),
            worker_id: columns.worker_id.map(WorkerId),
            error: columns.error.map(|error| error.0),
            output: columns.output.map(|output| output.0),
            interrupted_output: columns.interrupted_output.map(|output| output.0),
        };
        Self {
            run,
            not_before: columns.not_before,
            handed_back: columns.handed_back.cast_unsigned(),
        }
    }
}

/// A run as Postgres writes a whole row into one document: what a function answers with.
#[derive(Deserialize)]
pub(crate) struct RunDocument {
    id: RunId,
    thread_id: ThreadId,
    assistant_id: AssistantId,
    graph_id: GraphId,
    seq: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    status: RunStatus,
    metadata: JsonMap,
    kwargs: RunKwargs,
    multitask_strategy: MultitaskStrategy,
    policy: PartialPolicy,
    cancel: Option<CancelAction>,
    cancel_reason: Option<String>,
    superseded_by: Option<RunId>,
    attempt: u32,
    worker_id: Option<WorkerId>,
    error: Option<RunError>,
    output: Option<RawJson>,
    interrupted_output: Option<RawJson>,
}

impl From<RunDocument> for Run {
    fn from(document: RunDocument) -> Self {
        Self {
            id: document.id,
            thread_id: document.thread_id,
            assistant_id: document.assistant_id,
            graph_id: document.graph_id,
            seq: document.seq,
            created_at: document.created_at,
            updated_at: document.updated_at,
            status: document.status,
            metadata: document.metadata,
            kwargs: document.kwargs,
            multitask_strategy: document.multitask_strategy,
            policy: document.policy,
            attempt: document.attempt,
            cancel: document.cancel,
            cancel_reason: document.cancel_reason,
            superseded_by: document.superseded_by,
            worker_id: document.worker_id,
            error: document.error,
            output: document.output,
            interrupted_output: document.interrupted_output,
        }
    }
}
