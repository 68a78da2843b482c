//! What the cases are told with: a fixture, and short words for what most of them do.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use runloom_core::assistant::Assistant;
use runloom_core::checkpoint::{
    Blob, ChannelBlob, Checkpoint, CheckpointQuery, CheckpointTuple, NewCheckpoint, NewWrites,
    PendingWrite,
};
use runloom_core::clock::Clock;
use runloom_core::compose::{IfThreadMissing, NewRun};
use runloom_core::database::{
    CancelRequest, Cancelled, Database, DatabaseError, Guard, Settled, Settlement, Submission,
    Transit,
};
use runloom_core::effects::Effects;
use runloom_core::ids::{AssistantId, CheckpointId, ClaimId, RunId, ThreadId, WorkerId};
use runloom_core::json::{Json, JsonMap};
use runloom_core::lease::{ClaimReply, Claimed, Lease};
use runloom_core::partial::PartialPolicy;
use runloom_core::run::{CancelAction, MultitaskStrategy, Run, RunKwargs};
use runloom_core::search::{CancelSelection, Page};
use runloom_core::state::Head;
use runloom_core::thread::{IfExists, NewThread, Thread};
use serde_json::{Value, json};

use crate::doubles::ManualClock;

/// How a case ends.
pub(super) type Done = Result<(), DatabaseError>;

/// The lease of every worker.
pub(super) const LEASE: Duration = Duration::from_secs(10);

/// A page that holds everything.
pub(super) const ALL: Page = Page {
    limit: 1_000,
    offset: 0,
};

/// An empty database and the clock it goes by. Its runs have three attempts.
pub struct Fixture {
    /// The database.
    pub db: Arc<dyn Database>,
    /// Its clock.
    pub clock: Arc<ManualClock>,
    keep: Option<Box<dyn Any + Send + Sync>>,
}

impl Fixture {
    /// A fixture of `db`, which takes the time from `clock`.
    pub fn new(db: Arc<dyn Database>, clock: Arc<ManualClock>) -> Self {
        Self {
            db,
            clock,
            keep: None,
        }
    }

    /// Keeps something, such as a temporary folder, as long as the fixture.
    pub fn keeping(mut self, thing: impl Any + Send + Sync) -> Self {
        self.keep = Some(Box::new(thing));
        self
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Lets so many seconds pass.
    pub(super) fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// A new thread.
    pub(super) async fn thread(&self) -> Result<ThreadId, DatabaseError> {
        let new = new_thread(&json!({}));
        Ok(self.db.create_thread(new).await?.id)
    }

    /// The thread as it is now.
    pub(super) async fn look(&self, thread: ThreadId) -> Result<Thread, DatabaseError> {
        let found = self.db.thread(thread).await?;
        found.ok_or(DatabaseError::NotFound("thread"))
    }

    /// The run as it is now.
    pub(super) async fn run(&self, run: RunId) -> Result<Run, DatabaseError> {
        let found = self.db.run(None, run).await?;
        found.ok_or(DatabaseError::NotFound("run"))
    }

    pub(super) async fn is_gone(&self, run: RunId) -> Result<bool, DatabaseError> {
        Ok(self.db.run(None, run).await?.is_none())
    }

    /// Submits a run that must be accepted.
    pub(super) async fn submit(&self, new: NewRun) -> Result<(Run, Effects), DatabaseError> {
        match self.db.submit_run(new).await? {
            Submission::Accepted(run, effects) => Ok((*run, effects)),
            Submission::Rejected => panic!("the run was rejected"),
        }
    }

    /// A run with an input, accepted.
    pub(super) async fn accepted(&self, thread: ThreadId) -> Result<RunId, DatabaseError> {
        Ok(self.submit(a_run(thread)).await?.0.id)
    }

    /// A new run that supersedes by `strategy`, with what must follow.
    pub(super) async fn supersede(
        &self,
        thread: ThreadId,
        strategy: MultitaskStrategy,
    ) -> Result<(RunId, Effects), DatabaseError> {
        let (run, effects) = self.submit(a_run_that(thread, strategy)).await?;
        Ok((run.id, effects))
    }

    pub(super) async fn cancel(
        &self,
        thread: ThreadId,
        run: RunId,
        action: CancelAction,
    ) -> Result<Cancelled, DatabaseError> {
        let request = CancelRequest {
            selection: CancelSelection::Runs(thread, vec![run]),
            action,
            reason: "asked by a test".to_owned(),
        };
        self.db.cancel_runs(request).await
    }

    /// A worker with a lease.
    pub(super) async fn worker(&self) -> Result<WorkerId, DatabaseError> {
        let worker = WorkerId::new();
        self.db.enlist(worker, LEASE).await?;
        Ok(worker)
    }

    /// Claims for a worker; there must be something.
    pub(super) async fn claim(
        &self,
        thread: ThreadId,
        worker: WorkerId,
    ) -> Result<Claimed, DatabaseError> {
        match self.db.claim(thread, worker, ClaimId::new()).await? {
            ClaimReply::Claimed(claimed) => Ok(*claimed),
            other => panic!("nothing was claimed: {other:?}"),
        }
    }

    /// Whether there is nothing to claim.
    pub(super) async fn is_empty(&self, thread: ThreadId) -> Result<bool, DatabaseError> {
        let worker = self.worker().await?;
        let reply = self.db.claim(thread, worker, ClaimId::new()).await?;
        Ok(reply == ClaimReply::Empty)
    }

    /// An accepted run, claimed by a new worker.
    pub(super) async fn running(&self, thread: ThreadId) -> Result<Claimed, DatabaseError> {
        self.accepted(thread).await?;
        let worker = self.worker().await?;
        self.claim(thread, worker).await
    }

    /// Settles without a next claim.
    pub(super) async fn settle(
        &self,
        lease: &Lease,
        transit: Transit,
    ) -> Result<Settled, DatabaseError> {
        self.db.settle(lease, settled_as(transit), None).await
    }

    /// Runs an accepted run to its end, leaving `head`.
    pub(super) async fn complete(
        &self,
        thread: ThreadId,
        head: Head,
    ) -> Result<RunId, DatabaseError> {
        let claimed = self.running(thread).await?;
        let settlement = Settlement {
            head: Some(head),
            ..settled_as(Transit::Succeed)
        };
        self.db.settle(&claimed.lease, settlement, None).await?;
        Ok(claimed.run.id)
    }

    /// Stores checkpoints for the attempt that was claimed.
    pub(super) async fn put(
        &self,
        claimed: &Claimed,
        checkpoints: Vec<NewCheckpoint>,
        writes: Vec<NewWrites>,
    ) -> Result<(), DatabaseError> {
        let guard = Guard::Attempt(claimed.lease.fence, claimed.run.id);
        self.db
            .put_checkpoints(claimed.run.thread_id, guard, checkpoints, writes)
            .await
    }

    /// The latest checkpoint of the root namespace.
    pub(super) async fn latest(&self, thread: ThreadId) -> Result<CheckpointTuple, DatabaseError> {
        let found = self.db.checkpoint(thread, "", None).await?;
        found.ok_or(DatabaseError::NotFound("checkpoint"))
    }

    /// All checkpoints of a thread.
    pub(super) async fn shelf(
        &self,
        thread: ThreadId,
    ) -> Result<Vec<CheckpointTuple>, DatabaseError> {
        self.db
            .checkpoints(thread, CheckpointQuery::default())
            .await
    }
}

pub(super) fn map(value: &Value) -> JsonMap {
    value.as_object().cloned().unwrap_or_default()
}

pub(super) fn text(value: &Value) -> Json {
    Json::from_value(value)
}

pub(super) fn new_thread(metadata: &Value) -> NewThread {
    NewThread {
        id: ThreadId::new(),
        metadata: map(metadata),
        if_exists: IfExists::Raise,
        ttl: None,
    }
}

/// A run to be accepted on `thread`, with an input.
pub fn a_run(thread: ThreadId) -> NewRun {
    NewRun {
        id: RunId::new(),
        thread_id: thread,
        assistant: an_assistant(),
        kwargs: RunKwargs {
            input: Some(text(&json!({"messages": ["hi"]}))),
            ..RunKwargs::default()
        },
        metadata: JsonMap::new(),
        multitask_strategy: MultitaskStrategy::Enqueue,
        delay: TimeDelta::zero(),
        if_thread_missing: IfThreadMissing::Reject,
        policy: PartialPolicy::default(),
        server_configurable: JsonMap::new(),
        thread_ttl: None,
    }
}

pub(super) fn a_run_that(thread: ThreadId, strategy: MultitaskStrategy) -> NewRun {
    NewRun {
        multitask_strategy: strategy,
        ..a_run(thread)
    }
}

/// A run that is due after so many seconds.
pub(super) fn a_delayed_run(thread: ThreadId, seconds: i64) -> NewRun {
    NewRun {
        delay: TimeDelta::seconds(seconds),
        ..a_run(thread)
    }
}

/// A run that continues from the checkpoint.
pub(super) fn a_run_without_input(thread: ThreadId) -> NewRun {
    NewRun {
        kwargs: RunKwargs::default(),
        ..a_run(thread)
    }
}

pub(super) fn an_assistant() -> Assistant {
    let graph = "agent".into();
    Assistant {
        id: AssistantId::of_graph(&graph),
        graph_id: graph,
        config: JsonMap::new(),
        context: JsonMap::new(),
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
        metadata: JsonMap::new(),
        version: 1,
        name: "agent".to_owned(),
        description: None,
    }
}

pub(super) fn settled_as(transit: Transit) -> Settlement {
    Settlement {
        transit,
        head: None,
        residue: None,
        output: None,
        interrupted_output: None,
    }
}

/// A head with nothing left to run.
pub(super) fn finished(values: &Value) -> Head {
    Head {
        checkpoint_id: None,
        values: text(values),
        next: Vec::new(),
        interrupts: JsonMap::new(),
    }
}

/// A head with a node left to run.
pub(super) fn unfinished(values: &Value) -> Head {
    Head {
        next: vec!["tools".to_owned()],
        ..finished(values)
    }
}

/// The checkpoint id that comes `number`-th.
pub(super) fn checkpoint_id(number: u32) -> CheckpointId {
    CheckpointId(format!("1f000000-0000-6000-8000-{number:012}"))
}

/// The `number`-th checkpoint of the root namespace, built upon the one before it.
pub(super) fn checkpoint(claimed: &Claimed, number: u32) -> NewCheckpoint {
    NewCheckpoint {
        checkpoint: Checkpoint {
            run_id: Some(claimed.run.id),
            ..outside_checkpoint(claimed.run.thread_id, number).checkpoint
        },
        blobs: Vec::new(),
    }
}

/// The same, written from outside any run.
pub(super) fn outside_checkpoint(thread: ThreadId, number: u32) -> NewCheckpoint {
    NewCheckpoint {
        checkpoint: Checkpoint {
            thread_id: thread,
            ns: String::new(),
            id: checkpoint_id(number),
            parent: number.checked_sub(1).map(checkpoint_id),
            run_id: None,
            metadata: map(&json!({"source": "loop", "step": number})),
            head: blob(&[1, 2, 3]),
            versions: std::collections::BTreeMap::new(),
            created_at: DateTime::from_timestamp(1_900_000_000, 0).expect("a time within range"),
        },
        blobs: Vec::new(),
    }
}

/// Gives a checkpoint a channel value; without bytes, one that is stored already.
pub(super) fn with_channel(
    mut new: NewCheckpoint,
    channel: &str,
    version: &str,
    data: Option<&[u8]>,
) -> NewCheckpoint {
    let versions = &mut new.checkpoint.versions;
    versions.insert(channel.to_owned(), version.to_owned());
    new.blobs.extend(data.map(|data| ChannelBlob {
        channel: channel.to_owned(),
        version: version.to_owned(),
        blob: blob(data),
    }));
    new
}

pub(super) fn blob(data: &[u8]) -> Blob {
    Blob {
        kind: "msgpack".to_owned(),
        data: Bytes::copy_from_slice(data),
    }
}

/// Writes beside the `number`-th checkpoint.
pub(super) fn writes(number: u32, writes: Vec<PendingWrite>) -> NewWrites {
    NewWrites {
        ns: String::new(),
        checkpoint_id: checkpoint_id(number),
        writes,
    }
}

pub(super) fn write(task: &str, index: i32, data: &[u8]) -> PendingWrite {
    PendingWrite {
        task_id: task.to_owned(),
        task_path: format!("path of {task}"),
        index,
        channel: "messages".to_owned(),
        blob: blob(data),
    }
}

/// What was written, in the order of reading, as task and bytes.
pub(super) fn written(tuple: &CheckpointTuple) -> Vec<(&str, &[u8])> {
    let rows = tuple.writes.iter();
    rows.map(|row| (row.task_id.as_str(), row.blob.data.as_ref()))
        .collect()
}
