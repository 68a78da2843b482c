//! The columns of threads and runs, and how they become rows that the rules of the core can change.

use chrono::{DateTime, Utc};
use runloom_core::ids::{AssistantId, GraphId, RunId, ThreadId, WorkerId};
use runloom_core::json::{Json as RawJson, JsonMap};
use runloom_core::lease::Fence;
use runloom_core::partial::PartialPolicy;
use runloom_core::run::{CancelAction, MultitaskStrategy, Run, RunError, RunKwargs, RunStatus};
use runloom_core::thread::{Thread, ThreadStatus, Ttl, TtlStrategy};
use serde::Deserialize;
use sqlx::types::{Json, Text, Uuid};

pub(crate) use runloom_core::database::rows::{Holder, RunRow, ThreadRow};

/// The columns of `threads`, with those of `thread_values` and `thread_ttls` where they were asked
/// for.
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
    pub(crate) ttl_minutes: Option<f64>,
    pub(crate) ttl_strategy: Option<Text<TtlStrategy>>,
    pub(crate) values: Option<Json<RawJson>>,
    pub(crate) interrupts: Option<Json<JsonMap>>,
}

impl From<ThreadColumns> for ThreadRow {
    fn from(columns: ThreadColumns) -> Self {
        let epoch = columns.epoch;
        let ttl = columns.ttl_minutes.zip(columns.ttl_strategy);
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
                ttl: ttl.map(|(minutes, strategy)| Ttl {
                    minutes,
                    strategy: strategy.0,
                }),
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
