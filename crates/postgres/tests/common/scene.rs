//! What tests submit, claim and settle.

use std::time::Duration;

use chrono::DateTime;
use runloom_core::checkpoint::{Blob, Checkpoint, NewCheckpoint};
use runloom_core::compose::{IfThreadMissing, NewRun};
use runloom_core::database::{Guard, Queue, Runs, Settlement, Submission, Transit};
use runloom_core::ids::{CheckpointId, ClaimId, ThreadId, WorkerId};
use runloom_core::json::{Json, JsonMap};
use runloom_core::lease::{ClaimReply, Claimed};
use runloom_core::run::{MultitaskStrategy, Run};
use runloom_core::state::Head;
use runloom_postgres::Postgres;
use runloom_testkit::conformance::database as conformance;
use serde_json::json;

pub(crate) const LEASE: Duration = Duration::from_mins(1);

/// A run with an input; it brings its thread if need be.
pub(crate) fn a_run(thread: ThreadId, strategy: MultitaskStrategy) -> NewRun {
    NewRun {
        multitask_strategy: strategy,
        if_thread_missing: IfThreadMissing::Create,
        ..conformance::a_run(thread)
    }
}

/// Submits a run that must be accepted.
pub(crate) async fn accepted(db: &Postgres, new: NewRun) -> Run {
    match db.submit_run(new).await.unwrap() {
        Submission::Accepted(run, _) => *run,
        Submission::Rejected => panic!("the run was rejected"),
    }
}

/// A worker with a lease.
pub(crate) async fn a_worker(db: &Postgres) -> WorkerId {
    let worker = WorkerId::new();
    db.enlist(worker, LEASE).await.unwrap();
    worker
}

/// Claims what must be there.
pub(crate) async fn claimed(db: &Postgres, thread: ThreadId, worker: WorkerId) -> Claimed {
    match db.claim(thread, worker, ClaimId::new()).await.unwrap() {
        ClaimReply::Claimed(claimed) => *claimed,
        other => panic!("nothing was claimed: {other:?}"),
    }
}

/// The right of an attempt to write.
pub(crate) fn guard(claimed: &Claimed) -> Guard {
    Guard::Attempt(claimed.lease.fence, claimed.run.id)
}

pub(crate) fn a_checkpoint(thread: ThreadId, number: u64) -> NewCheckpoint {
    NewCheckpoint {
        checkpoint: Checkpoint {
            thread_id: thread,
            ns: String::new(),
            id: CheckpointId(format!("1f000000-0000-6000-8000-{number:012}")),
            parent: None,
            run_id: None,
            metadata: JsonMap::new(),
            head: Blob::json(&json!({"v": 4})).unwrap(),
            versions: std::collections::BTreeMap::new(),
            created_at: DateTime::UNIX_EPOCH,
        },
        blobs: Vec::new(),
    }
}

/// A settlement that leaves values on the thread.
pub(crate) fn settled_as(transit: Transit) -> Settlement {
    let values = Json::from_value(&json!({"messages": ["hi", "ho"]}));
    Settlement {
        transit,
        head: Some(Head {
            checkpoint_id: None,
            values: values.clone(),
            next: Vec::new(),
            interrupts: JsonMap::new(),
        }),
        residue: None,
        output: Some(values),
        interrupted_output: None,
    }
}
