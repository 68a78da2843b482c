//! The columns of threads and runs, and how they become rows that the rules of the core can change.

use runloom_core::ids::{GraphId, RunId, WorkerId};
use runloom_core::json::{Json as RawJson, JsonMap};
use runloom_core::lease::Fence;
use runloom_core::partial::PartialPolicy;
use runloom_core::run::{CancelAction, MultitaskStrategy, Run, RunError, RunKwargs, RunStatus};
use runloom_core::thread::{Thread, ThreadStatus, Ttl, TtlStrategy};
use uuid::Uuid;

use crate::convert::time;
use crate::statement::{Json, Word, columns};

pub(crate) use runloom_core::database::rows::{Holder, RunRow, ThreadRow};

columns! {
    /// The columns of `threads`, with those of `thread_values` where they were asked for.
    #[expect(dead_code, reason = "only statements ask when a thread was trimmed")]
    pub(crate) struct ThreadColumns {
        id: Uuid,
        created_at: i64,
        updated_at: i64,
        state_updated_at: i64,
        metadata: Json<JsonMap>,
        config: Json<JsonMap>,
        status: Word<ThreadStatus>,
        error: Option<Json<RunError>>,
        failed: bool,
        unfinished: bool,
        temporary: bool,
        at_rest_since: Option<i64>,
        hinted_at: i64,
        next_seq: i64,
        accepted_at: i64,
        epoch: i64,
        claim: Option<Uuid>,
        worker_id: Option<Uuid>,
        held_run: Option<Uuid>,
        claimed_at: Option<i64>,
        ttl_minutes: Option<f64>,
        ttl_strategy: Option<Word<TtlStrategy>>,
        trimmed_at: Option<i64>,
        values: Option<Json<RawJson>>,
        interrupts: Option<Json<JsonMap>>,
    }
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
                claimed_at: time(columns.claimed_at?),
            })
        };
        Self {
            holder: holder(),
            thread: Thread {
                id: columns.id.into(),
                created_at: time(columns.created_at),
                updated_at: time(columns.updated_at),
                state_updated_at: time(columns.state_updated_at),
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
            at_rest_since: columns.at_rest_since.map(time),
            hinted_at: time(columns.hinted_at),
            next_seq: columns.next_seq,
            accepted_at: time(columns.accepted_at),
            epoch,
        }
    }
}

columns! {
    /// The columns of `runs`.
    pub(crate) struct RunColumns {
        id: Uuid,
        thread_id: Uuid,
        assistant_id: Uuid,
        graph_id: String,
        seq: i64,
        created_at: i64,
        updated_at: i64,
        status: Word<RunStatus>,
        metadata: Json<JsonMap>,
        kwargs: Json<RunKwargs>,
        multitask_strategy: Word<MultitaskStrategy>,
        policy: Json<PartialPolicy>,
        cancel: Option<Word<CancelAction>>,
        cancel_reason: Option<String>,
        superseded_by: Option<Uuid>,
        attempt: u32,
        handed_back: u32,
        not_before: i64,
        worker_id: Option<Uuid>,
        error: Option<Json<RunError>>,
        output: Option<Json<RawJson>>,
        interrupted_output: Option<Json<RawJson>>,
    }
}

impl From<RunColumns> for RunRow {
    fn from(columns: RunColumns) -> Self {
        let run = Run {
            id: columns.id.into(),
            thread_id: columns.thread_id.into(),
            assistant_id: columns.assistant_id.into(),
            graph_id: GraphId(columns.graph_id),
            seq: columns.seq,
            created_at: time(columns.created_at),
            updated_at: time(columns.updated_at),
            status: columns.status.0,
            metadata: columns.metadata.0,
            kwargs: columns.kwargs.0,
            multitask_strategy: columns.multitask_strategy.0,
            policy: columns.policy.0,
            attempt: columns.attempt,
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
            not_before: time(columns.not_before),
            handed_back: columns.handed_back,
        }
    }
}
